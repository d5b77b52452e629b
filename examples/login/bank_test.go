// This file owns the bank and the browser that the tests use.

package login_test

import (
	"context"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"countersign.dev/examples/login"
	"countersign.dev/secondfactor/secondfactortest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bank is the sample with a provider in memory.
type bank struct {
	t        *testing.T
	provider *secondfactortest.Provider
	app      *login.App
	log      *safeBuffer

	mu    sync.Mutex // guards later and mails
	later time.Duration
	mails []login.Mail // newest last
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

func newBank(t *testing.T) *bank { return newBankWith(t, func(*login.Config) {}) }

func newBankWith(t *testing.T, set func(*login.Config)) *bank {
	t.Helper()
	b := &bank{t: t, provider: secondfactortest.New(), log: &safeBuffer{}}
	config := login.Config{
		PublicURL: publicURL, Provider: b.provider.Client(t), APIKeys: []string{secondfactortest.APIKey},
		DB: filepath.Join(t.TempDir(), "bank #1?.db"), AuthenticatorURL: secondfactortest.Origin,
		Mail: b.mail, Clock: b.now,
		Logger: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	set(&config)
	app, err := login.New(config)
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

func (b *bank) mail(_ context.Context, m login.Mail) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = append(b.mails, m)
	return nil
}

// mailed returns the newest mail whose subject contains a text.
func (b *bank) mailed(subject string) login.Mail {
	b.t.Helper()
	mails := b.mailsAbout(subject)
	if len(mails) == 0 {
		b.t.Fatalf("no mail about %q", subject)
	}
	return mails[len(mails)-1]
}

// mailedTo returns the newest mail to an address.
func (b *bank) mailedTo(email string) (found login.Mail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.mails {
		if m.To == email {
			found = m
		}
	}
	return found
}

func (b *bank) mailsAbout(subject string) (found []login.Mail) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.mails {
		if strings.Contains(m.Subject, subject) {
			found = append(found, m)
		}
	}
	return found
}

// link returns the path and query of the first link in a mail.
func link(m login.Mail) string {
	_, rest, _ := strings.Cut(m.Text, publicURL)
	path, _, _ := strings.Cut(rest, "\n")
	return path
}

// browser keeps cookies for as long as they live.
type browser struct {
	bank    *bank
	cookies map[string]string
	ends    map[string]time.Time // of those cookies that end by themselves
	origin  string               // Sec-Fetch-Site
}

func (b *bank) browser() *browser {
	return &browser{bank: b, cookies: map[string]string{}, ends: map[string]time.Time{}, origin: "same-origin"}
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
	for name, end := range b.ends {
		if !b.bank.now().Before(end) {
			delete(b.cookies, name)
			delete(b.ends, name)
		}
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	w := httptest.NewRecorder()
	b.bank.app.Handler().ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		delete(b.ends, c.Name)
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c.Value
		if c.MaxAge > 0 {
			b.ends[c.Name] = b.bank.now().Add(time.Duration(c.MaxAge) * time.Second)
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

// signup confirms the address, opens the account, and proves the number.
func (b *browser) signup(email string) page {
	b.bank.t.Helper()
	b.openAccount(email).expect(b.bank.t, 303, "/enrol")
	return b.proveNumber("1", "2025550123")
}

// openAccount confirms the address and opens the account. Its number is not proved yet.
func (b *browser) openAccount(email string) page {
	b.bank.t.Helper()
	b.post("/signup", "email", email).expect(b.bank.t, 200, "", "Look into your mail")
	_, token, _ := strings.Cut(link(b.bank.mailedTo(email)), "token=")
	return b.post("/signup/details", "token", token, "name", "Ana", "country_code", "1", "phone", "(202) 555-0123", "password", password)
}

func (b *browser) proveNumber(countryCode, phone string) page {
	b.bank.t.Helper()
	code, _ := b.bank.provider.Texted(countryCode, phone)
	b.get("/enrol").expect(b.bank.t, 200, "", "We sent a code to +"+countryCode+" "+phone)
	return b.post("/enrol/number", "code", code)
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
	b.saveCodes()
	b.get("/account").expect(t, 200, "", "Good day", email)
}

// saveCodes makes the first recovery codes and says that they are saved.
func (b *browser) saveCodes() (codes []string) {
	b.bank.t.Helper()
	b.get("/account").expect(b.bank.t, 303, "/codes")
	_, rest, _ := strings.Cut(b.post("/codes").expect(b.bank.t, 200, "").body, `data-testid="codes">`)
	text, _, _ := strings.Cut(rest, "</pre>")
	b.post("/codes/saved", "saved", "yes").expect(b.bank.t, 303, "/account?notice=protected")
	return strings.Fields(text)
}

func (b *browser) authyID() int64 {
	return b.bank.provider.AddUser("any@example.com", "1", "2025550123")
}

func (b *browser) signedIn() bool { return b.get("/account").code == 200 }
