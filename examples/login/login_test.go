// This file owns the tests of the whole sample: its stories, and the rules that concern an application rather than the library.

package login_test

import (
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"countersign.dev/examples/login"
	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	publicURL = "http://bank.test"
	password  = "correct horse battery"
)

// bank is the sample with a provider in memory.
type bank struct {
	t        *testing.T
	provider *secondfactortest.Provider
	app      *login.App
	log      *safeBuffer

	mu    sync.Mutex
	later time.Duration
}

type safeBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func newBank(t *testing.T) *bank {
	t.Helper()
	b := &bank{t: t, provider: secondfactortest.New(), log: &safeBuffer{}}
	app, err := login.New(login.Config{
		PublicURL: publicURL, Provider: b.provider.Client(t), APIKeys: []string{secondfactortest.APIKey},
		DB: filepath.Join(t.TempDir(), "bank #1?.db"), AuthenticatorURL: secondfactortest.Origin,
		Limits: secondfactor.Limits{Provider: 200 * time.Millisecond}, Clock: b.now,
		Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := app.Close(); err != nil {
			t.Error(err)
		}
	})
	b.app = app
	return b
}

func (b *bank) now() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Now().Add(b.later)
}

func (b *bank) pass(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.later += d
}

// browser keeps cookies.
type browser struct {
	bank    *bank
	cookies map[string]string
	origin  string // Sec-Fetch-Site
}

func (b *bank) browser() *browser {
	return &browser{bank: b, cookies: map[string]string{}, origin: "same-origin"}
}

type page struct {
	code           int
	location, body string
	header         http.Header
}

func (b *browser) send(method, path, body string) page {
	r := httptest.NewRequest(method, publicURL+path, strings.NewReader(body))
	r.Header.Set("Sec-Fetch-Site", b.origin)
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	if method == "POST" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.bank.app.Handler().ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return page{w.Code, w.Header().Get("Location"), w.Body.String(), w.Header()}
}

func (b *browser) get(path string) page { return b.send("GET", path, "") }

func (b *browser) post(path string, fields ...string) page {
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return b.send("POST", path, form.Encode())
}

// expect checks where an answer leads and what it says.
func (p page) expect(t *testing.T, code int, location string, says ...string) page {
	t.Helper()
	if p.code != code || p.location != location {
		t.Fatalf("answered %d to %q, want %d to %q\n%s", p.code, p.location, code, location, p.body)
	}
	for _, text := range says {
		if !strings.Contains(p.body, text) && !strings.Contains(html.UnescapeString(p.body), text) {
			t.Errorf("the page does not say %q:\n%s", text, p.body)
		}
	}
	return p
}

func (b *browser) signup(email string) page {
	return b.post("/signup", "name", "Ana", "email", email, "country_code", "1", "phone", "(202) 555-0123", "password", password)
}

func (b *browser) login(email string) page {
	return b.post("/login", "email", email, "password", password)
}

// approve lets the person approve everything, and completes as the page's script does.
func (b *browser) approve() page {
	b.bank.t.Helper()
	b.bank.provider.ApproveAll()
	b.get("/login/verify").expect(b.bank.t, 200, "", `data-state="approved"`)
	return b.post("/login/verify/complete")
}

// open opens an account with a device, signed in.
func (b *browser) open(email string) {
	b.bank.t.Helper()
	t := b.bank.t
	b.signup(email).expect(t, 303, "/enrol")
	b.bank.provider.AddDevice(b.authyID())
	b.post("/login/verify/push").expect(t, 303, "/login/verify")
	b.approve().expect(t, 303, "/account")
	b.get("/account").expect(t, 200, "", "Good day", email)
}

func (b *browser) authyID() int64 {
	return b.bank.provider.AddUser("any@example.com", "1", "2025550123")
}

func (b *browser) signedIn() bool { return b.get("/account").code == 200 }

// The tutorial's story, from sign-up to the transfer.
func TestStory(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.get("/").expect(t, 200, "", "/signup", "/login")
	b.get("/account").expect(t, 303, "/login?next=%2Faccount")
	b.signup("ana@example.com").expect(t, 303, "/enrol")
	enrol := b.get("/enrol").expect(t, 200, "", `data-testid="ticket-words"`, `class="qr"`, secondfactortest.Origin+"/enroll#lusab", "Send me a code")
	if b.signedIn() {
		t.Fatal("signed in before the factor is proved (D11)")
	}
	if got := b.get("/enrol/status").body; !strings.Contains(got, `"device":false`) {
		t.Errorf("status %s", got)
	}
	bank.provider.AddDevice(b.authyID())
	if got := b.get("/enrol/status").body; !strings.Contains(got, `"device":true`) {
		t.Errorf("status %s", got)
	}
	if !strings.Contains(enrol.body, `action="/login/verify/push" id="prove" data-auto`) {
		t.Error("the page has no form to ask the device with")
	}
	b.post("/login/verify/push").expect(t, 303, "/login/verify")
	if asked := bank.provider.Last(t); asked.Message != "Confirm that this device protects your account" {
		t.Errorf("asked %q", asked.Message)
	}
	b.approve().expect(t, 303, "/account")
	b.get("/account").expect(t, 200, "", "ana@example.com", "+1 ••••••••23", "switched on with an approval", "Android phone")

	b.post("/logout").expect(t, 303, "/?notice=logged-out")
	b.get("/?notice=logged-out").expect(t, 200, "", "You are logged out.")
	b.post("/login", "email", " ANA@Example.com ", "password", password, "next", "/account?x=1").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", `data-state="push_pending"`, "Owlgate", "/assets/style.css")
	asked := bank.provider.Last(t)
	if asked.Life != 2*time.Minute || asked.Logo != publicURL+"/assets/logo.png" || len(asked.Details) != 3 ||
		asked.Details[0].Value != "ana@example.com" || asked.Details[1].Value != "Firefox on Linux" || asked.Details[2].Value != "192.0.2.1" {
		t.Errorf("asked %+v", asked)
	}
	b.approve().expect(t, 303, "/account?x=1")

	b.post("/transfer", "payee", "Jarod's vault", "amount", "1,000,000", "currency", "Galleons").expect(t, 303, "/login/verify")
	asked = bank.provider.Last(t)
	want := "[{Request From Jarod} {Amount Request 1,000,000} {Currency Galleons}]"
	if fmt.Sprint(asked.Details) != want || asked.Message != "Request to send money to Jarod's vault" || asked.Logo == "" || asked.Hidden[0].Name != "transfer" {
		t.Errorf("asked %+v", asked)
	}
	b.get("/login/verify").expect(t, 200, "", "Request From", "1,000,000", "Galleons")
	sent := b.approve()
	b.get(sent.location).expect(t, 200, "", "The money is on its way", "1,000,000 Galleons", asked.Hidden[0].Value)
	b.get("/account").expect(t, 200, "", "Sent 1,000,000 Galleons to Jarod's vault")
	b.post("/login/verify/complete").expect(t, 409, "")
}

func TestEnrolByTextMessage(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.signup("ana@example.com").expect(t, 303, "/enrol")
	b.post("/authy/send_token", "force", "true").expect(t, 303, "/login/verify")
	code, n := bank.provider.Sent(b.authyID())
	if n != 1 {
		t.Fatalf("%d text messages", n)
	}
	b.get("/login/verify").expect(t, 200, "", "We sent a code to +1-XXX-XXX-XX23", "/enrol")
	b.post("/authy/verify", "token", "0000000").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", "not right")
	b.post("/authy/verify", "token", code).expect(t, 307, "/login/verify/complete")
	if b.signedIn() {
		t.Fatal("signed in by the check itself")
	}
	b.post("/login/verify/complete", "token", code).expect(t, 303, "/account")
	b.get("/account").expect(t, 200, "", "switched on with a text message", "None. You log in with text messages.")
	// The next log-in begins with what worked last, and sends nothing unasked.
	b.post("/logout")
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", `data-state="code_pending"`, "Send me a text message")
	if _, n := bank.provider.Sent(b.authyID()); n != 1 {
		t.Errorf("%d text messages", n)
	}
}

// SU8: leaving half-way is not the end, and the password alone opens nothing.
func TestD11_EnrolmentIsResumed(t *testing.T) {
	bank := newBank(t)
	bank.browser().signup("ana@example.com")
	b := bank.browser()
	b.login("ana@example.com").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "ticket-words")
	for _, path := range []string{"/account", "/transfers/x"} {
		if got := b.get(path); got.code != 303 {
			t.Errorf("%s answered %d before the factor is proved", path, got.code)
		}
	}
	bank.provider.AddDevice(b.authyID())
	b.post("/login/verify/push")
	b.approve().expect(t, 303, "/account")
	// An enrolment that was begun before and left open does not go on, and makes no ticket.
	other := bank.browser()
	other.cookies = map[string]string{}
	other.login("ana@example.com").expect(t, 303, "/login/verify")
	other.get("/enrol").expect(t, 303, "/login")
}

func TestD11_OpenEnrolmentEndsWhenTheAccountIsProtected(t *testing.T) {
	bank := newBank(t)
	thief := bank.browser() // knows the password
	b := bank.browser()
	b.signup("ana@example.com")
	thief.login("ana@example.com").expect(t, 303, "/enrol")
	bank.provider.AddDevice(b.authyID())
	b.post("/login/verify/push")
	b.approve()
	tickets := bank.provider.Calls("ticket")
	thief.get("/enrol").expect(t, 303, "/login")
	thief.post("/enrol").expect(t, 303, "/login")
	thief.post("/enrol", "country_code", "1", "phone", "2025550199").expect(t, 303, "/login")
	thief.get("/enrol/status").expect(t, 303, "/login")
	if bank.provider.Calls("ticket") != tickets || thief.signedIn() {
		t.Error("an old enrolment still makes tickets")
	}
}

// SU9: the provider is down during sign-up.
func TestD11_RegistrationFailureIsShownAndRetried(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	bank.provider.Refuse("add", "60003")
	b.signup("ana@example.com").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "could not register", "Your account is kept", "Try again")
	if strings.Contains(b.get("/enrol").body, "/authy/send_token") {
		t.Error("a text message is offered without a registered number")
	}
	bank.provider.Refuse("add", "")
	bank.provider.Refuse("ticket", "60003")
	b.post("/enrol").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "Show a new one")
	bank.provider.Refuse("ticket", "")
	b.post("/enrol").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "ticket-words")
	b.post("/enrol", "country_code", "1", "phone", "12").expect(t, 422, "", "Enter a phone number")
	b.post("/enrol", "country_code", "44", "phone", "07400 123456").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "+44 ••••••••56", "ticket-words")
}

func TestTicketRunsOut(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.signup("ana@example.com")
	bank.pass(11 * time.Minute)
	b.get("/enrol").expect(t, 200, "", "has run out")
	b.get("/enrol/status").expect(t, 200, "", `"ticket":false`)
}

// SU10, D13, T-22: a second account with the same number gets no ticket, so nobody adds a device beside another person's.
func TestD13_SharedNumberGetsNoTicket(t *testing.T) {
	bank := newBank(t)
	ana, eve := bank.browser(), bank.browser()
	ana.open("ana@example.com")
	tickets := bank.provider.Calls("ticket")
	eve.signup("eve@example.com").expect(t, 303, "/enrol")
	eve.get("/enrol").expect(t, 200, "", "There is a device for")
	if bank.provider.Calls("ticket") != tickets || strings.Contains(eve.get("/enrol").body, "ticket-words") {
		t.Error("a ticket for somebody else's number")
	}
	eve.post("/login/verify/push")
	eve.approve().expect(t, 303, "/account")
	if !ana.signedIn() || !eve.signedIn() {
		t.Error("two accounts with one number do not both work")
	}
}

// D7, D19: wrong, unknown, empty and missing look alike, and take the same work.
func TestD7_D19_NeutralPasswordStep(t *testing.T) {
	bank := newBank(t)
	bank.browser().open("ana@example.com")
	var first string
	for name, form := range map[string]string{
		"wrong":            "email=ana%40example.com&password=wrong",
		"unknown":          "email=nobody%40example.com&password=" + url.QueryEscape(password),
		"empty":            "email=ana%40example.com&password=",
		"missing":          "email=ana%40example.com",
		"nothing":          "",
		"unknown, missing": "email=nobody%40example.com",
		"array":            "email=ana%40example.com&password[]=" + url.QueryEscape(password),
	} {
		b := bank.browser()
		got := b.send("POST", "/login", form).expect(t, 401, "", "E-mail or password is not right.")
		neutral := regexp.MustCompile(`value="[^"]*"`).ReplaceAllString(got.body, "")
		if first == "" {
			first = neutral
		}
		if neutral != first || len(b.cookies) != 0 || b.signedIn() {
			t.Errorf("%s differs", name)
		}
	}
}

// The decoy makes an unknown address cost a hash as well. Work is counted in time here, and generously, because machines are busy.
func TestD19_UnknownAddressCostsAHash(t *testing.T) {
	bank := newBank(t)
	bank.browser().open("ana@example.com")
	fastest := func(form string) time.Duration {
		best := time.Hour
		for range 5 {
			start := time.Now()
			bank.browser().send("POST", "/login", form)
			best = min(best, time.Since(start))
		}
		return best
	}
	known, unknown := fastest("email=ana%40example.com&password=wrong"), fastest("email=nobody%40example.com&password=wrong")
	if unknown < known/3 {
		t.Errorf("wrong password takes %s, unknown address %s", known, unknown)
	}
}

// D19, D28: an address in use gets a neutral answer, whatever its letter case, also when two sign up at once.
func TestD28_OneAccountPerAddress(t *testing.T) {
	bank := newBank(t)
	bank.browser().signup("ana@example.com").expect(t, 303, "/enrol")
	got := bank.browser().signup("Ana@EXAMPLE.com").expect(t, 422, "", "could not open an account with these details")
	for _, word := range []string{"exists", "in use", "taken", "already registered"} {
		if strings.Contains(got.body, word) {
			t.Errorf("the answer says %q", word)
		}
	}
	var all sync.WaitGroup
	made := make(chan int, 10)
	for range 10 {
		b := bank.browser()
		all.Go(func() {
			if b.signup("bob@example.com").code == 303 {
				made <- 1
			}
		})
	}
	all.Wait()
	if len(made) != 1 {
		t.Errorf("%d accounts with one address", len(made))
	}
}

// SU1, SU2: each field has its own message, values stay, the password does not come back.
func TestSU1_SignupErrors(t *testing.T) {
	bank := newBank(t)
	good := map[string]string{"name": "Ana", "email": "ana@example.com", "country_code": "1", "phone": "2025550123", "password": password}
	for _, c := range []struct{ field, value, says string }{
		{"name", "", "Tell us your name."},
		{"name", strings.Repeat("x", 101), "at most 100"},
		{"email", "ana", "Enter an e-mail address"},
		{"email", "Ana <ana@example.com>", "Enter an e-mail address"},
		{"email", "ana@example.com\r\nBcc: x@example.com", "Enter an e-mail address"},
		{"phone", "12", "Enter a phone number"},
		{"phone", "", "Enter a phone number"},
		{"country_code", "", "Enter a phone number"},
		{"country_code", "999999", "Enter a phone number"},
		{"password", "", "Choose a password."},
		{"password", "short", "at least 8"},
		{"password", "Password123", "easy to guess"},
		{"password", "ana@example.com", "easy to guess"},
	} {
		form := url.Values{}
		for name, value := range good {
			form.Set(name, value)
		}
		form.Set(c.field, c.value)
		b := bank.browser()
		got := b.send("POST", "/signup", form.Encode()).expect(t, 422, "", c.says, `aria-invalid="true"`, `role="alert"`, `value="2025550123"`[:7])
		if strings.Contains(got.body, password) || c.field == "password" && c.value != "" && c.value != "ana@example.com" && strings.Contains(got.body, `"`+c.value+`"`) {
			t.Error("the password comes back")
		}
		if c.field != "name" && !strings.Contains(got.body, `value="Ana"`) {
			t.Error("the name is lost")
		}
		if len(b.cookies) != 0 {
			t.Error("cookies after a refused sign-up")
		}
	}
	empty := bank.browser().send("POST", "/signup", "")
	empty.expect(t, 422, "", "name-error", "email-error", "phone-error", "password-error")
}

func TestSU2_Phones(t *testing.T) {
	for _, c := range []struct{ code, typed, wantCode, wantPhone string }{
		{"1", "(202) 555-0123", "1", "2025550123"},
		{"+1", "202 555 0123", "1", "2025550123"},
		{"44", "07400 123456", "44", "7400123456"},
		{"1", "+44 7400 123456", "44", "7400123456"},
		{"1", "0044 7400 123456", "44", "7400123456"},
		{"", "+351 912 345 678", "351", "912345678"},
		{"1 CA", "604 555 0123", "1", "6045550123"},
		{"39", "06 6988 4857", "39", "0669884857"},
		{"1", "12", "", ""},
		{"1", "+", "", ""},
		{"x", "2025550123", "", ""},
		{"1", strings.Repeat("1", 300), "", ""},
	} {
		code, phone, ok := login.ReadPhone(c.code, c.typed)
		if ok != (c.wantCode != "") || code != c.wantCode || phone != c.wantPhone {
			t.Errorf("%q %q: %q %q %v", c.code, c.typed, code, phone, ok)
		}
	}
}

// ST2 to ST4: a transfer moves once, with the values that were shown, and not at all when it was not approved.
func TestST_TransferNeedsItsApproval(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	for _, end := range []string{"deny", "expire", "cancel"} {
		b.post("/transfer", "payee", "Jarod's vault", "amount", "5", "currency", "Knuts").expect(t, 303, "/login/verify")
		asked := bank.provider.Last(t)
		id := asked.Hidden[0].Value
		says := map[string]string{"deny": "You said no", "expire": "has expired", "cancel": ""}[end]
		switch end {
		case "deny":
			bank.provider.Deny(asked.UUID)
		case "expire":
			bank.provider.Expire(asked.UUID)
		case "cancel":
			b.post("/login/verify/cancel").expect(t, 303, "/account?notice=cancelled")
		}
		if says != "" {
			b.get("/login/verify").expect(t, 200, "", says, "Nothing was done.")
		}
		b.post("/login/verify/complete")
		b.get("/transfers/"+id).expect(t, 200, "", "Nothing was moved")
	}
	b.get("/account").expect(t, 200, "")
	if strings.Contains(b.get("/account").body, "Sent 5") {
		t.Error("something moved")
	}
	// Another person's transfer does not exist.
	id := bank.provider.Last(t).Hidden[0].Value
	eve := bank.browser()
	eve.signup("eve@example.com")
	eve.post("/login/verify/push")
	eve.approve()
	eve.get("/transfers/"+id).expect(t, 404, "")
}

func TestST7_OddTransfers(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	for _, c := range []struct{ payee, amount, currency string }{
		{"", "1", "Galleons"},
		{"Jarod\u202e's vault", "1", "Galleons"},
		{"a\nb", "1", "Galleons"},
		{"\xff", "1", "Galleons"},
		{strings.Repeat("x", 101), "1", "Galleons"},
		{"Jarod", "0", "Galleons"},
		{"Jarod", "-5", "Galleons"},
		{"Jarod", "1.5", "Galleons"},
		{"Jarod", "99999999999999999999", "Galleons"},
		{"Jarod", "1", "Dollars"},
	} {
		got := b.post("/transfer", "payee", c.payee, "amount", c.amount, "currency", c.currency)
		if got.code != 422 {
			t.Errorf("%+v answered %d", c, got.code)
		}
	}
	b.post("/transfer", "payee", "<b>Jarod</b>", "amount", "1", "currency", "Galleons").expect(t, 303, "/login/verify")
	if strings.Contains(b.get("/login/verify").body, "<b>Jarod") {
		t.Error("markup is not shown as text")
	}
}

// D16: the sample's own forms refuse other origins, and nothing changes by GET.
func TestD16_OwnForms(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	b.origin = "cross-site"
	for _, path := range []string{"/signup", "/login", "/enrol", "/transfer", "/logout"} {
		if got := b.post(path); got.code != 403 || got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s answered %d to another site", path, got.code)
		}
	}
	b.origin = "same-origin"
	if got := b.get("/logout"); got.code == 303 || !b.signedIn() {
		t.Errorf("GET /logout answered %d", got.code)
	}
}

// D9, T-60: no secret in any page; headers on all of them.
func TestT60_EveryPage(t *testing.T) {
	bank := newBank(t)
	b, visitor := bank.browser(), bank.browser()
	b.open("ana@example.com")
	for path, by := range map[string]*browser{"/": b, "/account": b, "/signup": visitor, "/login": visitor, "/nothing": visitor, "/assets/logo.png": visitor, "/assets/../login.go": visitor} {
		got := by.get(path)
		if got.code >= 300 && got.code < 400 {
			continue
		}
		csp := got.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") || got.header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: policy %q", path, csp)
		}
		for _, inline := range []string{"<style", " style=", " onclick=", "argon2id", password} {
			if strings.Contains(got.body, inline) {
				t.Errorf("%s contains %q", path, inline)
			}
		}
	}
	visitor.get("/assets/draw.go").expect(t, 404, "")
	visitor.get("/nothing").expect(t, 404, "")
}

// D26: neither codes nor numbers nor passwords are logged.
func TestD26_NothingSecretIsLogged(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	bank.provider.Refuse("add", "60003")
	b.signup("ana@example.com")
	bank.provider.Refuse("add", "")
	b.post("/enrol")
	b.post("/authy/send_token", "force", "true")
	code, _ := bank.provider.Sent(b.authyID())
	b.post("/authy/verify", "token", code)
	b.post("/login/verify/complete")
	if !b.signedIn() {
		t.Fatal("not signed in")
	}
	for _, secret := range []string{code, "5550123", "555-0123", "202 555", password, "lusab-", "argon2id", secondfactortest.APIKey, b.cookies["countersign_login"]} {
		if strings.Contains(bank.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if !strings.Contains(bank.log.String(), "attempt completed") {
		t.Error("the log says nothing")
	}
}

func FuzzForms(f *testing.F) {
	for _, seed := range []string{"name=a&email=b&phone=c", "%zz=1", "email=ana%40example.com&password=x", "payee=%ff&amount=-0", strings.Repeat("a=b&", 5000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		b := newBank(t).browser()
		for _, path := range []string{"/signup", "/login", "/transfer", "/enrol"} {
			if got := b.send("POST", path, body); got.code >= 500 || strings.ContainsAny(got.location, "\r\n") {
				t.Errorf("%s answered %d to %q", path, got.code, body)
			}
		}
		if b.signedIn() {
			t.Errorf("%q signs in", body)
		}
	})
}
