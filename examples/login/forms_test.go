// This file owns the tests of forms: what is refused, what is told, and to whom.

package login_test

import (
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
