// This file owns the tests of forms: what is refused, what is told, and to whom.

package login_test

import (
	"maps"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/examples/login"
)

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

// The decoy makes an unknown address cost a hash as well. Work is counted in time here, generously and in several rounds, because machines
// are busy: without the decoy every round fails.
func TestD19_UnknownAddressCostsAHash(t *testing.T) {
	var known, unknown time.Duration
	for range 5 {
		if known, unknown = quickest(t); unknown >= known/3 {
			return
		}
	}
	t.Errorf("wrong password takes %s, unknown address %s", known, unknown)
}

// quickest returns the quickest answers to a wrong password and to an unknown address, asked in turn, so that a busy moment strikes both. Each
// call has an application to itself, because many wrong passwords would have to wait.
func quickest(t *testing.T) (known, unknown time.Duration) {
	t.Helper()
	bank := newBank(t)
	bank.browser().open("ana@example.com")
	known, unknown = time.Hour, time.Hour
	for range 4 {
		for form, best := range map[string]*time.Duration{"email=ana%40example.com&password=wrong": &known, "email=nobody%40example.com&password=wrong": &unknown} {
			start := time.Now()
			bank.browser().send("POST", "/login", form)
			*best = min(*best, time.Since(start))
		}
	}
	return known, unknown
}

// SU3, D19: whether an address has an account is told to whoever reads its mail, and to nobody else.
func TestSU3_SameNextPage(t *testing.T) {
	bank := newBank(t)
	bank.browser().open("ana@example.com")
	ask := func(email string) string {
		b := bank.browser()
		got := b.post("/signup", "email", email).expect(t, 200, "", "Look into your mail")
		if len(b.cookies) != 0 {
			t.Errorf("%s leaves cookies", email)
		}
		return strings.ReplaceAll(got.body, email, "")
	}
	bank.pass(2 * time.Minute) // the sign-up of before is no reason to keep quiet
	known, unknown := ask("Ana@EXAMPLE.com"), ask("nobody@example.com")
	if known != unknown {
		t.Errorf("the page for a known address is\n%s\nand for an unknown one\n%s", known, unknown)
	}
	if note := bank.mailedTo("ana@example.com"); !strings.Contains(note.Subject, "You have an account already") || strings.Contains(note.Text, "token=") {
		t.Errorf("the owner was sent %+v", note)
	}
	if mail := bank.mailedTo("nobody@example.com"); !strings.Contains(mail.Subject, "Open your account") || !strings.Contains(mail.Text, "/signup/details?token=") {
		t.Errorf("the new address was sent %+v", mail)
	}
	// Asking again at once mails neither again.
	ask("ana@example.com")
	ask("nobody@example.com")
	if n := len(bank.mailsAbout("You have an account already")) + len(bank.mailsAbout("Open your account")); n != 3 {
		t.Errorf("%d mails, want one for each of three sign-ups", n)
	}
}

// SU3: a link opens one account, for its address and its purpose, for half an hour.
func TestSU3_LinkIsUsedOnce(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.post("/signup", "email", "ana@example.com")
	path := link(bank.mailedTo("ana@example.com"))
	_, token, _ := strings.Cut(path, "token=")
	open := func(token string) page {
		return bank.browser().post("/signup/details", "token", token, "email", "eve@example.com", "name", "Ana", "country_code", "1", "phone", "2025550123", "password", password)
	}
	for _, bad := range []string{"", "x", token + "x", strings.ToLower(token)} {
		bank.browser().get("/signup/details?token="+bad).expect(t, 410, "", "Ask for a new one")
		open(bad).expect(t, 410, "")
	}
	bank.browser().post("/reset", "token", token, "password", password).expect(t, 410, "") // it sets no password
	for range 2 {
		b.get(path).expect(t, 200, "", `value="ana@example.com"`) // looking uses nothing up
	}
	open(token).expect(t, 303, "/enrol")
	open(token).expect(t, 410, "", "used before")
	b.get(path).expect(t, 410, "")
	b.login("ana@example.com").expect(t, 303, "/enrol")
	b.login("eve@example.com").expect(t, 401, "") // the form does not choose the address

	b.post("/forgot", "email", "ana@example.com")
	_, token, _ = strings.Cut(link(bank.mailed("A new password")), "token=")
	open(token).expect(t, 410, "") // one for a password opens no account

	b.post("/signup", "email", "bob@example.com")
	_, token, _ = strings.Cut(link(bank.mailedTo("bob@example.com")), "token=")
	bank.pass(31 * time.Minute)
	open(token).expect(t, 410, "", "run out")
}

// D28: one account for an address, whatever its letter case, however many links there are and whoever follows them at once.
func TestD28_OneAccountPerAddress(t *testing.T) {
	bank := newBank(t)
	var tokens []string
	for _, email := range []string{"bob@example.com", "Bob@EXAMPLE.com"} {
		bank.browser().post("/signup", "email", email).expect(t, 200, "")
		_, token, _ := strings.Cut(link(bank.mailedTo(email)), "token=")
		tokens = append(tokens, token)
		bank.pass(2 * time.Minute)
	}
	var all sync.WaitGroup
	made := make(chan int, 10)
	for i := range 10 {
		b := bank.browser()
		all.Go(func() {
			got := b.post("/signup/details", "token", tokens[i%2], "name", "Bob", "country_code", "1", "phone", "2025550123", "password", password)
			switch got.code {
			case 303:
				made <- 1
			case 409, 410:
			default:
				t.Errorf("answered %d", got.code)
			}
		})
	}
	all.Wait()
	if len(made) != 1 {
		t.Errorf("%d accounts with one address", len(made))
	}
}

// SU1, SU2: each field has its own message, values stay, the password does not come back, and the link stays good.
func TestSU1_SignupErrors(t *testing.T) {
	bank := newBank(t)
	for _, email := range []string{"", "ana", "Ana <ana@example.com>", "ana@example.com\r\nBcc: x@example.com", strings.Repeat("x", 250) + "@example.com"} {
		b := bank.browser()
		b.post("/signup", "email", email).expect(t, 422, "", "Enter an e-mail address", "email-error", `aria-invalid="true"`, `role="alert"`)
		if len(b.cookies) != 0 {
			t.Error("cookies after a refused sign-up")
		}
	}
	bank.browser().post("/signup", "email", " ana@example.com ").expect(t, 200, "", "ana@example.com")
	_, token, _ := strings.Cut(link(bank.mailed("Open your account")), "token=")
	good := map[string]string{"token": token, "name": "Ana", "country_code": "1", "phone": "2025550123", "password": password}
	send := func(form map[string]string) page {
		values := url.Values{}
		for name, value := range form {
			values.Set(name, value)
		}
		b := bank.browser()
		got := b.send("POST", "/signup/details", values.Encode())
		if got.code == 422 && len(b.cookies) != 0 {
			t.Error("cookies after a refused sign-up")
		}
		return got
	}
	for _, c := range []struct{ field, value, says string }{
		{"name", "", "Tell us your name."},
		{"name", strings.Repeat("x", 101), "at most 100"},
		{"phone", "12", "Enter a phone number"},
		{"phone", "", "Enter a phone number"},
		{"country_code", "", "Enter a phone number"},
		{"country_code", "999999", "Enter a phone number"},
		{"password", "", "Choose a password."},
		{"password", "short", "at least 8"},
		{"password", "Password123", "easy to guess"},
		{"password", "ana@example.com", "easy to guess"},
	} {
		form := maps.Clone(good)
		form[c.field] = c.value
		got := send(form).expect(t, 422, "", c.says, `aria-invalid="true"`, `role="alert"`, `value="ana@example.com"`)
		if strings.Contains(got.body, password) || c.field == "password" && c.value != "" && c.value != "ana@example.com" && strings.Contains(got.body, `"`+c.value+`"`) {
			t.Error("the password comes back")
		}
		if c.field != "name" && !strings.Contains(got.body, `value="Ana"`) {
			t.Error("the name is lost")
		}
	}
	send(map[string]string{"token": token}).expect(t, 422, "", "name-error", "phone-error", "password-error")
	send(good).expect(t, 303, "/enrol")
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
	for _, path := range []string{"/signup", "/signup/details", "/login", "/enrol", "/enrol/number", "/transfer", "/logout"} {
		if got := b.post(path); got.code != 403 || got.header.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(got.body, "sent from another site") {
			t.Errorf("%s answered %d to another site, %q", path, got.code, got.body)
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
	visitor.get("/nothing").expect(t, 404, "", "Nothing here", "no page at this address")
}

func FuzzForms(f *testing.F) {
	for _, seed := range []string{"name=a&email=b&phone=c", "%zz=1", "email=ana%40example.com&password=x", "payee=%ff&amount=-0", strings.Repeat("a=b&", 5000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		b := newBank(t).browser()
		for _, path := range []string{"/signup", "/signup/details", "/login", "/transfer", "/enrol", "/enrol/number"} {
			if got := b.send("POST", path, body); got.code >= 500 || strings.ContainsAny(got.location, "\r\n") {
				t.Errorf("%s answered %d to %q", path, got.code, body)
			}
		}
		if b.signedIn() {
			t.Errorf("%q signs in", body)
		}
	})
}
