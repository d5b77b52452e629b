package deviceapi_test

import (
	"encoding/base32"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/device"
	"countersign.dev/internal/deviceapi"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

const anaPhone = "+12025550123"

// byPhone begins the proof of a number and returns the enrollment.
func (b *bench) byPhone(t testing.TB, number string) string {
	t.Helper()
	var in struct{ Enrollment string }
	b.send(t, "POST", "/device/v1/enrollments", map[string]string{"phone": number}, "").into(t, 202, &in)
	return in.Enrollment
}

// A proved number makes a grant for each user of the number within the account, with secrets told once.
func TestEnrollByPhone(t *testing.T) {
	b := newBench(t)
	b.Clock.Advance(time.Second) // grants come in the order of their users
	bank := b.App(t, "Bank", func(set *tenant.Settings) { *set = tenant.DropIn() })
	b.User(t, bank, "ana@work.example", "202-555-0123")
	p := b.newPhone(t)
	enrollment := b.byPhone(t, "+1 (202) 555-0123")
	code := b.Delivered(t, anaPhone).Code
	r := p.confirm(t, map[string]any{"enrollment": enrollment, "code": code[:3] + " " + code[3:]})
	r.want(t, 201, "")
	if len(p.grants) != 2 {
		t.Fatalf("%d grants: %s", len(p.grants), r.body)
	}
	now := b.Clock.Now().Unix()
	shop, work := p.grants[0], p.grants[1]
	if shop.Application.ID != b.shop.ID || shop.Application.Name != "Shop" || shop.Account != "ana@example.com" || shop.Digits != 6 || shop.Period != 30 || shop.EnrolledAt != now {
		t.Errorf("%+v", shop)
	}
	if work.Account != "ana@work.example" || work.Digits != 7 || work.Period != 10 {
		t.Errorf("%+v", work)
	}
	for _, g := range p.grants {
		if secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(g.Secret); err != nil || len(secret) != 20 {
			t.Errorf("secret %q", g.Secret)
		}
	}
	c := r.Cookies()[0]
	if c.Name != "countersign_device" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/device/" || c.Secure || c.MaxAge != 90*86400 {
		t.Errorf("cookie %+v", c)
	}
	var list struct {
		Grants     []map[string]any
		Device     struct{ ID, Name, Platform string }
		ServerTime int64 `json:"server_time"`
	}
	p.do(t, "GET", "grants", nil).into(t, 200, &list)
	if len(list.Grants) != 2 || list.Grants[0]["secret"] != nil || list.ServerTime != b.Clock.Now().UnixMilli() {
		t.Errorf("grants: %+v", list)
	}
	if list.Device.ID != p.device || list.Device.Name != "Ana's phone" || list.Device.Platform != "android" {
		t.Errorf("device: %+v", list.Device)
	}
}

func TestSecureCookie(t *testing.T) {
	const origin = "https://auth.example.com"
	b := newBench(t, func(a *deviceapi.API) { a.PublicURL = origin })
	r := b.request(t, "DELETE", "/device/v1/sessions", nil, "")
	r.Host = "auth.example.com"
	res, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if c := res.Cookies(); len(c) != 1 || !c[0].Secure {
		t.Errorf("%d %v", res.StatusCode, c)
	}
}

func TestWrongCodes(t *testing.T) {
	b := newBench(t)
	p := b.newPhone(t)
	enrollment := b.byPhone(t, anaPhone)
	code := b.Delivered(t, anaPhone).Code
	wrong := map[string]any{"enrollment": enrollment, "code": "x" + code[1:]}
	for range 4 {
		p.confirm(t, wrong).want(t, 401, "code-wrong")
	}
	p.confirm(t, map[string]any{"enrollment": enrollment, "code": code}).want(t, 201, "") // the fifth try is still one

	b.Clock.Advance(time.Second)
	ben := b.User(t, b.shop, "ben@example.com", "202-555-0124")
	enrollment = b.byPhone(t, ben.Phone)
	code = b.Delivered(t, ben.Phone).Code
	wrong = map[string]any{"enrollment": enrollment, "code": "x" + code[1:]}
	for range 5 {
		p.confirm(t, wrong).want(t, 401, "code-wrong")
	}
	p.confirm(t, map[string]any{"enrollment": enrollment, "code": code}).want(t, 410, "code-expired")
	p.confirm(t, map[string]any{"enrollment": "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "code": code}).want(t, 410, "code-expired")
	p.confirm(t, map[string]any{"enrollment": "\x00", "code": code}).want(t, 410, "code-expired")
}

func TestCodeInTime(t *testing.T) {
	b := newBench(t)
	p := b.newPhone(t)
	first := b.byPhone(t, anaPhone)
	code := b.Delivered(t, anaPhone).Code
	b.Clock.Advance(time.Second)
	second := b.byPhone(t, anaPhone)
	p.confirm(t, map[string]any{"enrollment": first, "code": code}).want(t, 410, "code-expired") // only the newest works
	code = b.Delivered(t, anaPhone).Code
	b.Clock.Advance(10 * time.Minute)
	p.confirm(t, map[string]any{"enrollment": second, "code": code}).want(t, 410, "code-expired")
}

// A number alone never adds a second device (T-20), and a code is good for one.
func TestSecondDeviceByPhone(t *testing.T) {
	b := newBench(t)
	first := b.newPhone(t)
	enrollment := b.byPhone(t, anaPhone)
	claim := map[string]any{"enrollment": enrollment, "code": b.Delivered(t, anaPhone).Code}
	first.confirm(t, claim).want(t, 201, "")
	first.confirm(t, claim).want(t, 410, "code-expired")
	second := b.newPhone(t)
	b.Clock.Advance(time.Second)
	enrollment = b.byPhone(t, anaPhone)
	second.confirm(t, map[string]any{"enrollment": enrollment, "code": b.Delivered(t, anaPhone).Code}).want(t, 409, "second-device")
	// With a ticket, shown by the application in a signed-in session, it may.
	second.confirm(t, map[string]any{"ticket": b.ticket(t, b.shop, b.ana)}).want(t, 201, "")
	if second.device == first.device {
		t.Error("two keys made one device")
	}
}

// INV-9: whoever proves nothing learns nothing: known and unknown numbers get the same answers, step by step.
func TestKnownAndUnknownNumbersAlike(t *testing.T) {
	b := newBench(t)
	type step struct {
		Status  int
		Headers http.Header
		Body    string
	}
	var variable []string // what may differ: ids and what was sent
	take := func(r reply) step {
		h := r.Header.Clone()
		h.Del("X-Request-Id")
		h.Del("Date")
		body := string(r.body)
		for _, v := range variable {
			body = strings.ReplaceAll(body, v, strings.Repeat("*", len(v)))
		}
		return step{r.StatusCode, h, body}
	}
	walk := func(number string) (steps []step) {
		p := b.newPhone(t)
		for range 6 { // past the limit of codes for one number
			r := b.send(t, "POST", "/device/v1/enrollments", map[string]string{"phone": number}, "")
			var in struct{ Enrollment string }
			if r.StatusCode == 202 {
				r.into(t, 202, &in)
				variable = append(variable, in.Enrollment)
			}
			steps = append(steps, take(r))
			b.Outbox(t, "") // what is sent leaves afterwards
			for range 2 * min(1, len(in.Enrollment)) {
				steps = append(steps, take(p.confirm(t, map[string]any{"enrollment": in.Enrollment, "code": "0000000x"})))
			}
		}
		last := map[string]any{"enrollment": variable[len(variable)-1], "code": "0000000x"}
		for range 5 {
			steps = append(steps, take(p.confirm(t, last)))
		}
		return steps
	}
	known, unknown := walk(anaPhone), walk("+12025550199")
	if diff := cmp.Diff(known, unknown); diff != "" {
		t.Errorf("known and unknown numbers differ (-known +unknown):\n%s", diff)
	}
	statuses := []int{}
	for _, s := range known {
		if !slices.Contains(statuses, s.Status) {
			statuses = append(statuses, s.Status)
		}
	}
	if want := []int{202, 401, 429, 410}; !slices.Equal(statuses, want) {
		t.Errorf("the walk met the statuses %v, want %v", statuses, want)
	}
	if n := len(b.Outbox(t, "")); n != device.MaxCodes || len(b.Outbox(t, "+12025550199")) != 0 {
		t.Errorf("%d messages were sent", n)
	}
}

func TestBadNumbers(t *testing.T) {
	b := newBench(t)
	for _, number := range []string{"", "2025550123", "+1", "+1202555012x", "+12025550123 ext. 5", "+999999999999999", "＋12025550123", "+1٢025550123", "+12025550123\x00"} {
		b.send(t, "POST", "/device/v1/enrollments", map[string]string{"phone": number}, "").want(t, 400, "invalid")
	}
}

func TestLookTicket(t *testing.T) {
	b := newBench(t)
	words := b.ticket(t, b.shop, b.ana)
	var in struct {
		Application, Account string
		ExpiresAt            int64 `json:"expires_at"`
	}
	look := func(typed string) reply {
		return b.send(t, "POST", "/device/v1/tickets/look", map[string]string{"ticket": typed}, "")
	}
	for _, typed := range []string{words, strings.ToUpper(strings.ReplaceAll(words, "-", " ")), " " + words + "\n"} {
		look(typed).into(t, 200, &in)
		if in.Application != "Shop" || in.Account != "a•••@example.com" || in.ExpiresAt != b.Clock.Now().Add(10*time.Minute).Unix() {
			t.Errorf("%q: %+v", typed, in)
		}
	}
	// Unknown, mistyped, used and expired tickets are told alike.
	unknown := look("babab-babab-babab-babab-babab-babab-babab-babab")
	unknown.want(t, 410, "ticket-invalid")
	p := b.newPhone(t)
	p.confirm(t, map[string]any{"ticket": words}).want(t, 201, "")
	expired := b.ticket(t, b.shop, b.ana)
	b.Clock.Advance(10 * time.Minute)
	for name, typed := range map[string]string{"used": words, "expired": expired, "mistyped": "x" + words[1:], "nothing": "", "long": strings.Repeat("babab-", 50)} {
		if r := look(typed); r.StatusCode != 410 || string(r.body) != string(unknown.body) {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
	p.confirm(t, map[string]any{"ticket": expired}).want(t, 410, "ticket-invalid")
	p.confirm(t, map[string]any{"ticket": words}).want(t, 410, "ticket-invalid")
}

// T-20, INV-1: two phones scan one code at the same time: one has it, the other is told.
func TestTicketRace(t *testing.T) {
	b := newBench(t)
	words := b.ticket(t, b.shop, b.ana)
	const phones = 8
	bodies, statuses := make([]any, phones), make([]int, phones)
	for i := range phones {
		bodies[i] = b.newPhone(t).confirmation(t, map[string]any{"ticket": words})
	}
	var wg sync.WaitGroup
	for i := range phones {
		wg.Go(func() { statuses[i] = b.send(t, "POST", "/device/v1/enrollments/confirm", bodies[i], "").StatusCode })
	}
	wg.Wait()
	slices.Sort(statuses)
	if want := []int{201, 410, 410, 410, 410, 410, 410, 410}; !slices.Equal(statuses, want) {
		t.Errorf("%v", statuses)
	}
	if grants, err := b.Store.GrantsOfUser(t.Context(), b.ana.ID); err != nil || len(grants) != 1 {
		t.Errorf("%d grants, %v", len(grants), err)
	}
}

// The same key again is the same device, with more grants.
func TestSameKeyAddsGrants(t *testing.T) {
	b := newBench(t)
	ben := b.User(t, b.shop, "ben@example.com", "202-555-0124")
	p := b.enrolled(t, b.shop, b.ana)
	device := p.device
	p.confirm(t, map[string]any{"ticket": b.ticket(t, b.shop, ben)}).want(t, 201, "")
	if p.device != device || len(p.grants) != 2 || p.grants[1].Account != "ben@example.com" {
		t.Errorf("device %s, then %s: %+v", device, p.device, p.grants)
	}
	// For a user that it has already, the newer grant takes the older one's place.
	b.Clock.Advance(time.Second)
	p.confirm(t, map[string]any{"ticket": b.ticket(t, b.shop, ben)}).want(t, 201, "")
	if grants, err := b.Store.Grants(t.Context(), p.device); err != nil || len(grants) != 2 {
		t.Errorf("%d grants, %v", len(grants), err)
	}
}

// T-12, T-20: a confirmation is good for one key, token, origin and time, once.
func TestConfirmRefuses(t *testing.T) {
	b := newBench(t)
	p, other := b.newPhone(t), b.newPhone(t)
	words, second := b.ticket(t, b.shop, b.ana), b.ticket(t, b.shop, b.User(t, b.shop, "eve@example.com", "202-555-0166"))
	device := func(body map[string]any) map[string]any { return body["device"].(map[string]any) }
	for _, c := range []struct {
		name    string
		change  func(body map[string]any)
		status  int
		problem string
	}{
		{"ticket and code", func(m map[string]any) { m["enrollment"], m["code"] = "A", "1" }, 400, "invalid"},
		{"ticket and enrollment", func(m map[string]any) { m["enrollment"] = "A" }, 400, "invalid"},
		{"nothing", func(m map[string]any) { delete(m, "ticket") }, 400, "invalid"},
		{"no code", func(m map[string]any) { delete(m, "ticket"); m["enrollment"] = "A" }, 400, "invalid"},
		{"no name", func(m map[string]any) { device(m)["name"] = "" }, 400, "invalid"},
		{"a name of nothing to see", func(m map[string]any) { device(m)["name"] = "\u200b\u202e\u0000" }, 400, "invalid"},
		{"a long name", func(m map[string]any) { device(m)["name"] = strings.Repeat("é", 61) }, 400, "invalid"},
		{"another platform", func(m map[string]any) { device(m)["platform"] = "toaster" }, 400, "invalid"},
		{"no device", func(m map[string]any) { delete(m, "device") }, 400, "invalid"},
		{"no key", func(m map[string]any) { device(m)["public_key"] = "" }, 400, "invalid"},
		{"another form of the key", func(m map[string]any) { device(m)["public_key"] = device(m)["public_key"].(string) + "=" }, 400, "invalid"},
		{"somebody else's key", func(m map[string]any) { device(m)["public_key"] = receipt.EncodePublicKey(&other.key.PublicKey) }, 401, "not-signed-in"},
		{"another ticket", func(m map[string]any) { m["ticket"] = second }, 401, "not-signed-in"},
		{"another challenge", func(m map[string]any) { m["challenge"] = b.challenge(t) }, 401, "not-signed-in"},
		{"an invented challenge", func(m map[string]any) { m["challenge"] = strings.Repeat("A", 75) }, 401, "not-signed-in"},
		{"no challenge", func(m map[string]any) { m["challenge"] = "" }, 401, "not-signed-in"},
		{"no proof", func(m map[string]any) { m["proof"] = "" }, 401, "not-signed-in"},
		{"an empty proof", func(m map[string]any) { m["proof"] = strings.Repeat("A", 86) }, 401, "not-signed-in"},
		{"a proof for another origin", func(m map[string]any) {
			proof := receipt.EnrollmentProof{
				Challenge: m["challenge"].(string), Origin: "http://evil.example", PublicKey: device(m)["public_key"].(string), Token: words,
			}
			m["proof"] = p.sign(t, proof.Canonical())
		}, 401, "not-signed-in"},
		{"a proof of a session", func(m map[string]any) {
			m["proof"] = p.sign(t, receipt.SessionProof{Challenge: m["challenge"].(string), Device: "x", Origin: servertest.Origin}.Canonical())
		}, 401, "not-signed-in"},
		{"too late", func(map[string]any) { b.Clock.Advance(2 * time.Minute) }, 401, "not-signed-in"},
	} {
		body := p.confirmation(t, map[string]any{"ticket": words})
		c.change(body)
		r := b.send(t, "POST", "/device/v1/enrollments/confirm", body, "")
		if r.StatusCode != c.status || r.problem() != c.problem || len(r.Cookies()) > 0 {
			t.Errorf("%s: %d %s %v", c.name, r.StatusCode, r.body, r.Cookies())
		}
	}
	// None of them used the ticket up; the good confirmation does, with its challenge.
	body := p.confirmation(t, map[string]any{"ticket": words})
	b.send(t, "POST", "/device/v1/enrollments/confirm", body, "").want(t, 201, "")
	body["ticket"] = words
	b.send(t, "POST", "/device/v1/enrollments/confirm", body, "").want(t, 410, "ticket-invalid")
}
