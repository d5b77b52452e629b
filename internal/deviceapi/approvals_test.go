package deviceapi_test

import (
	"encoding/base64"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/job"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// A device sees what waits for its users, newest first, and nothing of the number to match or the hidden details.
func TestWaitingApprovals(t *testing.T) {
	b := newBench(t)
	typed := b.App(t, "Bank", func(set *tenant.Settings) { set.Match, set.MatchDigits = tenant.MatchType, 4 })
	ana := b.User(t, typed, "ana@work.example", "202-555-0123")
	p := b.enrolled(t, b.shop, b.ana)
	p.confirm(t, map[string]any{"ticket": b.ticket(t, typed, ana)}).want(t, 201, "")
	first := b.Ask(t, b.shop, b.ana, "Log in?", func(r *approval.Request) {
		r.Life = new(int64)
		*r.Life = 600
	})
	b.Clock.Advance(time.Second)
	second := b.Ask(t, typed, ana, "Pay <b>5</b>\u202e?", func(r *approval.Request) {
		r.Details = []receipt.Field{{Name: "To", Value: "Žofie"}, {Name: "Amount", Value: "5 €"}}
		r.Hidden = []receipt.Field{{Name: "secret", Value: "canary"}}
	})
	list := p.approvals(t)
	if len(list) != 2 || list[0].UUID != second.UUID || list[1].UUID != first.UUID {
		t.Fatalf("%+v", list)
	}
	got := list[0]
	if got.Account != "ana@work.example" || got.Application.ID != typed.ID || got.Application.Name != "Bank" || got.Message != "Pay <b>5</b>?" || got.Status != "pending" {
		t.Errorf("%+v", got)
	}
	if diff := cmp.Diff(second.Content.Details, got.Details); diff != "" {
		t.Error(diff)
	}
	if got.Match.Mode != "type" || got.Match.Digits != 4 || list[1].Match.Mode != "off" || list[1].Match.Digits != 0 {
		t.Errorf("match %+v and %+v", got.Match, list[1].Match)
	}
	if got.CreatedAt != second.CreatedAt.Unix() || got.ExpiresAt != second.CreatedAt.Unix()+120 || got.Sign.IssuedAt != got.CreatedAt {
		t.Errorf("times %+v", got)
	}
	if got.Sign.Origin != servertest.Origin || got.Sign.Device != p.device || got.Sign.User != ana.AuthyID || got.Sign.Hidden != receipt.HiddenDigest(second.Hidden) {
		t.Errorf("sign %+v", got.Sign)
	}
	for _, path := range []string{"approvals", "approvals/" + second.UUID} {
		body := string(p.do(t, "GET", path, nil).body)
		if strings.Contains(body, `"`+second.Match.Value+`"`) || strings.Contains(body, "canary") {
			t.Errorf("%s tells too much (T-11): %s", path, body)
		}
	}
	if diff := cmp.Diff(got, p.approval(t, second.UUID)); diff != "" {
		t.Errorf("list and single differ: %s", diff)
	}
	b.Clock.Advance(120 * time.Second)
	if list := p.approvals(t); len(list) != 1 || list[0].UUID != first.UUID {
		t.Errorf("after two minutes: %+v", list)
	}
	if got := p.approval(t, second.UUID); got.Status != "expired" {
		t.Errorf("status %s", got.Status)
	}
}

// One approval from the request to a receipt that the application can check by itself; the same answer again is fine.
func TestApprove(t *testing.T) {
	b := newBench(t)
	if err := b.Tenants.SetCallback(t.Context(), b.Account.ID, b.shop.ID, "https://shop.example/callback", "operator:test"); err != nil {
		t.Fatal(err)
	}
	p := b.enrolled(t, b.shop, b.ana)
	asked := b.Ask(t, b.shop, b.ana, "Log in?", func(r *approval.Request) {
		r.Details = []receipt.Field{{Name: "From", Value: "Prague"}}
		r.Hidden = []receipt.Field{{Name: "ip", Value: "192.0.2.1"}}
	})
	b.Clock.Advance(3 * time.Second)
	var out struct {
		Status      string
		ProcessedAt int64 `json:"processed_at"`
	}
	for range 3 { // each with another signature of the same bytes
		p.answer(t, asked.UUID, "approve", "").into(t, 200, &out)
		if out.Status != "approved" || out.ProcessedAt != asked.CreatedAt.Unix()+3 {
			t.Errorf("%+v", out)
		}
		b.Clock.Advance(time.Second)
	}
	p.answer(t, asked.UUID, "deny", "").want(t, 409, "already-decided")
	a, err := b.Approvals.Get(t.Context(), b.shop.ID, asked.UUID)
	if err != nil {
		t.Fatal(err)
	}
	err = a.Receipt().Verify(receipt.Expected{
		Origin: servertest.Origin, Application: b.shop.ID, User: b.ana.AuthyID, Approval: asked.UUID, Content: asked.Content, Hidden: asked.Hidden,
		Decision: "approve", Keys: []string{receipt.EncodePublicKey(&p.key.PublicKey)},
	})
	if err != nil {
		t.Error(err)
	}
	if jobs := b.Jobs.Offered(job.Callback); len(jobs) != 1 {
		t.Errorf("%d callbacks", len(jobs))
	}
	if got := p.approval(t, asked.UUID); got.Status != "approved" || len(p.approvals(t)) != 0 {
		t.Errorf("status %s", got.Status)
	}
}

// T-12: a signature is good for one device, approval, decision, number, time, origin and content.
func TestForgedAnswers(t *testing.T) {
	b := newBench(t)
	ben := b.User(t, b.shop, "ben@example.com", "202-555-0124")
	p, other := b.enrolled(t, b.shop, b.ana), b.enrolled(t, b.shop, ben)
	beside := b.enrolled(t, b.shop, b.ana) // another device of the same user
	asked, twin := b.Ask(t, b.shop, b.ana, "Log in?"), b.Ask(t, b.shop, b.ana, "Log in?")
	good := p.approval(t, asked.UUID)
	for name, change := range map[string]func(a *receipt.Answer){
		"deny for approve":    func(a *receipt.Answer) { a.Decision = "deny" },
		"another approval":    func(a *receipt.Answer) { *a = p.approval(t, twin.UUID).signed("approve", "") },
		"another device":      func(a *receipt.Answer) { a.Device = beside.device },
		"another user":        func(a *receipt.Answer) { a.User = ben.AuthyID },
		"another application": func(a *receipt.Answer) { a.Application = strings.Repeat("0", 24) },
		"another origin":      func(a *receipt.Answer) { a.Origin = "http://evil.example" },
		"another text":        func(a *receipt.Answer) { a.Shown = receipt.Content{Message: "Pay?"}.Digest() },
		"other details": func(a *receipt.Answer) {
			a.Hidden = receipt.HiddenDigest([]receipt.Field{{Name: "a", Value: "b"}})
		},
		"a number": func(a *receipt.Answer) { a.Match = "123" },
		"another nonce": func(a *receipt.Answer) {
			a.Nonce = base64.RawURLEncoding.EncodeToString(make([]byte, 16))
		},
		"issued later":  func(a *receipt.Answer) { a.IssuedAt++ },
		"expires later": func(a *receipt.Answer) { a.ExpiresAt++ },
		"never expires": func(a *receipt.Answer) { a.ExpiresAt = 0 },
	} {
		signed := good.signed("approve", "")
		change(&signed)
		if r := p.post(t, asked.UUID, "approve", "", signed); r.StatusCode != 401 || r.problem() != "bad-signature" {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
	answer := func(p *phone, uuid, signature string) reply {
		return p.do(t, "POST", "approvals/"+uuid+"/answer", map[string]string{"decision": "approve", "match": "", "signature": signature})
	}
	signature := p.sign(t, good.signed("approve", "").Canonical())
	answer(p, twin.UUID, signature).want(t, 401, "bad-signature")
	answer(beside, asked.UUID, signature).want(t, 401, "bad-signature") // stolen by another device of the user
	answer(other, asked.UUID, signature).want(t, 404, "unknown")        // by another user's
	answer(p, asked.UUID, beside.sign(t, good.signed("approve", "").Canonical())).want(t, 401, "bad-signature")
	answer(p, asked.UUID, p.sign(t, receipt.SessionProof{Challenge: "x", Device: p.device, Origin: servertest.Origin}.Canonical())).want(t, 401, "bad-signature")
	for _, s := range []string{"", "A", signature + "=", signature[:85], signature + "\n", strings.Repeat("A", 86), strings.Repeat("_", 86)} {
		answer(p, asked.UUID, s).want(t, 401, "bad-signature")
	}
	// Any single bit.
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		t.Fatal(err)
	}
	for bit := 0; bit < len(raw)*8; bit += 13 {
		raw[bit/8] ^= 1 << (bit % 8)
		answer(p, asked.UUID, base64.RawURLEncoding.EncodeToString(raw)).want(t, 401, "bad-signature")
		raw[bit/8] ^= 1 << (bit % 8)
	}
	if a := p.approval(t, asked.UUID); a.Status != "pending" {
		t.Fatalf("it is %s", a.Status)
	}
	answer(p, asked.UUID, signature).want(t, 200, "")
}

func TestTooLate(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	expired, cancelled := b.Ask(t, b.shop, b.ana, "Log in?"), b.Ask(t, b.shop, b.ana, "Log in?")
	if _, err := b.Approvals.Cancel(t.Context(), b.shop, cancelled.UUID); err != nil {
		t.Fatal(err)
	}
	p.answer(t, cancelled.UUID, "approve", "").want(t, 410, "cancelled")
	b.Clock.Advance(119 * time.Second)
	if a := p.approval(t, expired.UUID); a.Status != "pending" {
		t.Fatalf("a second before its end it is %s", a.Status)
	}
	b.Clock.Advance(time.Second)
	for range 2 { // before and after the sweep has written it into the row
		p.answer(t, expired.UUID, "approve", "").want(t, 410, "expired")
		p.answer(t, expired.UUID, "deny", "").want(t, 410, "expired")
		if err := b.Approvals.Sweep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	p.answer(t, cancelled.UUID, "deny", "").want(t, 410, "cancelled")
}

// T-11: one wrong number ends the request, for the right number too.
func TestNumberMatch(t *testing.T) {
	b := newBench(t)
	bank := b.App(t, "Bank", func(set *tenant.Settings) { set.Match = tenant.MatchType })
	ana := b.User(t, bank, "ana@example.com", "202-555-0123")
	p := b.enrolled(t, bank, ana)
	wrong := func(value string) string { return string('0'+(value[0]-'0'+1)%10) + value[1:] }

	asked := b.Ask(t, bank, ana, "Log in?")
	for range 2 {
		p.answer(t, asked.UUID, "approve", wrong(asked.Match.Value)).want(t, 409, "number-mismatch")
		if a := p.approval(t, asked.UUID); a.Status != "denied" {
			t.Fatalf("it is %s", a.Status)
		}
	}
	p.answer(t, asked.UUID, "approve", asked.Match.Value).want(t, 409, "already-decided")

	asked = b.Ask(t, bank, ana, "Log in?")
	p.answer(t, asked.UUID, "approve", "").want(t, 409, "number-mismatch")

	asked = b.Ask(t, bank, ana, "Log in?")
	for _, typed := range []string{"1234567", "12a", "１２３", " 12", "-12", "+12"} {
		p.answer(t, asked.UUID, "approve", typed).want(t, 400, "invalid") // and is no try
	}
	p.answer(t, asked.UUID, "approve", asked.Match.Value).want(t, 200, "")
	b.Clock.Advance(time.Second)
	asked = b.Ask(t, bank, ana, "Log in?")
	p.answer(t, asked.UUID, "deny", "").want(t, 200, "")
}

// INV-1, INV-5: all devices answer at once, both ways: one decision stands, and everybody is told the truth.
func TestAnswersRace(t *testing.T) {
	b := newBench(t)
	const devices = 8
	phones := make([]*phone, devices)
	for i := range phones {
		phones[i] = b.enrolled(t, b.shop, b.ana)
	}
	asked := b.Ask(t, b.shop, b.ana, "Log in?")
	decision := func(i int) string { return []string{"approve", "deny"}[i%2] }
	signed := make([]receipt.Answer, devices)
	for i, p := range phones {
		signed[i] = p.approval(t, asked.UUID).signed(decision(i), "")
	}
	replies := make([]reply, devices)
	var wg sync.WaitGroup
	for i, p := range phones {
		wg.Go(func() { replies[i] = p.post(t, asked.UUID, decision(i), "", signed[i]) })
	}
	wg.Wait()
	var winners []int
	for i, r := range replies {
		if r.StatusCode == 200 {
			winners = append(winners, i)
		} else {
			r.want(t, 409, "already-decided")
		}
	}
	if len(winners) != 1 {
		t.Fatalf("%d devices were told that their answer counts", len(winners))
	}
	want := map[string]string{"approve": "approved", "deny": "denied"}[decision(winners[0])]
	if a := phones[0].approval(t, asked.UUID); a.Status != want {
		t.Errorf("it is %s, the winner said %s", a.Status, want)
	}
}

// A removed grant ends at once, also for what waits already, and for other devices of the user.
func TestRemovedGrant(t *testing.T) {
	b := newBench(t)
	ben := b.User(t, b.shop, "ben@example.com", "202-555-0124")
	p, lost, stranger := b.enrolled(t, b.shop, b.ana), b.enrolled(t, b.shop, b.ana), b.enrolled(t, b.shop, ben)
	asked := b.Ask(t, b.shop, b.ana, "Log in?")
	signed := lost.approval(t, asked.UUID).signed("approve", "")

	var list struct {
		Devices []struct {
			Grant       int64
			Application struct{ ID, Name string }
			Account     string
			Name        string
			Platform    string
			EnrolledAt  int64 `json:"enrolled_at"`
			LastSeenAt  int64 `json:"last_seen_at"`
			This        bool
		}
	}
	p.do(t, "GET", "devices", nil).into(t, 200, &list)
	if len(list.Devices) != 2 || list.Devices[0].This == list.Devices[1].This {
		t.Fatalf("%+v", list)
	}
	for _, d := range list.Devices {
		if d.This != (d.Grant == p.grants[0].ID) || d.Application.Name != "Shop" || d.Account != "ana@example.com" || d.Name != "Ana's phone" ||
			d.Platform != "android" || d.EnrolledAt != b.Clock.Now().Unix() || d.LastSeenAt != d.EnrolledAt {
			t.Errorf("%+v", d)
		}
	}
	grant := func(g grant) string { return "grants/" + id(g) }
	stranger.do(t, "DELETE", grant(p.grants[0]), nil).want(t, 404, "unknown")
	p.do(t, "DELETE", grant(stranger.grants[0]), nil).want(t, 404, "unknown")
	p.do(t, "DELETE", grant(lost.grants[0]), nil).want(t, 204, "")
	p.do(t, "DELETE", grant(lost.grants[0]), nil).want(t, 404, "unknown")
	for _, id := range []string{"0", "-1", "x", "9223372036854775807", "9223372036854775808", "1.5", "%00"} {
		p.do(t, "DELETE", "grants/"+id, nil).want(t, 404, "unknown")
	}
	// The session is still there, and sees nothing.
	if n := len(lost.approvals(t)); n != 0 {
		t.Errorf("%d approvals", n)
	}
	lost.do(t, "GET", "approvals/"+asked.UUID, nil).want(t, 404, "unknown")
	lost.post(t, asked.UUID, "approve", "", signed).want(t, 404, "unknown")
	lost.do(t, "DELETE", grant(p.grants[0]), nil).want(t, 404, "unknown")
	for path, want := range map[string]string{"grants": `"grants":[]`, "devices": `"devices":[]`} {
		if r := lost.do(t, "GET", path, nil); r.StatusCode != 200 || !strings.Contains(string(r.body), want) {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
	p.do(t, "DELETE", grant(p.grants[0]), nil).want(t, 204, "") // its own
	p.do(t, "GET", "approvals/"+asked.UUID, nil).want(t, 404, "unknown")
}

// INV-11: another user's approval is no different from none.
func TestForeignApproval(t *testing.T) {
	b := newBench(t)
	ben := b.User(t, b.shop, "ben@example.com", "202-555-0124")
	p, other := b.enrolled(t, b.shop, b.ana), b.enrolled(t, b.shop, ben)
	asked := b.Ask(t, b.shop, b.ana, "Log in?")
	signed := p.approval(t, asked.UUID).signed("approve", "")
	const nowhere = "00000000-0000-4000-8000-000000000000"
	for _, path := range []string{"approvals/%s", "approvals/%s/answer"} {
		ask := func(uuid string) reply {
			path := strings.Replace(path, "%s", uuid, 1)
			if strings.HasSuffix(path, "answer") {
				return other.do(t, "POST", path, map[string]string{"decision": "approve", "signature": other.sign(t, signed.Canonical())})
			}
			return other.do(t, "GET", path, nil)
		}
		foreign, none := ask(asked.UUID), ask(nowhere)
		foreign.want(t, 404, "unknown")
		if string(foreign.body) != string(none.body) {
			t.Errorf("%s: %s and %s", path, foreign.body, none.body)
		}
		for _, id := range []string{"x", "%00", "a%2fb", "%ff", strings.Repeat("a", 5000), "..%2f"} {
			ask(id).want(t, 404, "unknown")
		}
	}
}

// A user who was removed takes the approvals and grants along.
func TestRemovedUser(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	asked := b.Ask(t, b.shop, b.ana, "Log in?")
	signed := p.approval(t, asked.UUID).signed("approve", "")
	if err := b.Tenants.RemoveUser(t.Context(), b.shop, b.ana.AuthyID); err != nil {
		t.Fatal(err)
	}
	p.post(t, asked.UUID, "approve", "", signed).want(t, 404, "unknown")
	if len(p.approvals(t)) != 0 {
		t.Error("approvals of a removed user are shown")
	}
	if a, err := b.Approvals.Get(t.Context(), b.shop.ID, asked.UUID); err != nil || a.Status != approval.Cancelled {
		t.Errorf("%s, %v", a.Status, err)
	}
}

func TestLogos(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	digest := strings.Repeat("ab", 32)
	if err := b.Store.KeepLogo(t.Context(), digest, []byte("\x89PNG"), b.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	r := p.do(t, "GET", "logos/"+digest, nil)
	if r.StatusCode != 200 || string(r.body) != "\x89PNG" || r.Header.Get("Content-Type") != "image/png" || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	for _, id := range []string{strings.Repeat("00", 32), "x", "%00", strings.Repeat("a", 500)} {
		p.do(t, "GET", "logos/"+id, nil).want(t, 404, "unknown")
	}
	b.send(t, "GET", "/device/v1/logos/"+digest, nil, "").want(t, 401, "not-signed-in")
}

// "It was not me" (T-10) and where a request was started (T-17), as two devices of one person see them.
func TestNotMe(t *testing.T) {
	b := newBench(t)
	p, tablet := b.enrolled(t, b.shop, b.ana), b.enrolled(t, b.shop, b.ana)
	asked := b.Ask(t, b.shop, b.ana, "Log in?", func(r *approval.Request) {
		r.Context = receipt.Context{Address: "192.0.2.7", Browser: "Mozilla/5.0", Origin: "https://shop.example"}
	})
	if got := p.approval(t, asked.UUID); got.Context != asked.Content.Context {
		t.Errorf("context %+v", got.Context)
	}
	p.answer(t, asked.UUID, "not-mine", "").want(t, 400, "invalid")
	p.post(t, asked.UUID, "not-me", "", p.approval(t, asked.UUID).signed("deny", "")).want(t, 401, "bad-signature")
	p.answer(t, asked.UUID, "not-me", "").want(t, 200, "")
	p.answer(t, asked.UUID, "not-me", "").want(t, 200, "")
	p.answer(t, asked.UUID, "deny", "").want(t, 409, "already-decided")
	var list struct {
		Reports []struct {
			Application, Account, Device string
			At, Until                    int64
		}
	}
	tablet.do(t, "GET", "approvals", nil).into(t, 200, &list)
	now := b.Clock.Now().Unix()
	if len(list.Reports) != 1 || list.Reports[0].Application != asked.Content.Application || list.Reports[0].At != now || list.Reports[0].Until != now+1200 || list.Reports[0].Device == "" {
		t.Errorf("the other device is told %+v", list.Reports)
	}
}
