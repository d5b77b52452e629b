package console

import (
	"bytes"
	"encoding/base32"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/ui"
)

// This file owns what the tests of this package share: a console over the real store, and a browser without script.

const (
	publicURL = "http://localhost:8303"
	email     = "ana@example.com"
	password  = "correct horse battery"
)

// fixture is a console and everything behind it.
type fixture struct {
	*servertest.Server
	ops     *operator.Service
	console *console
	handler http.Handler
	logged  *bytes.Buffer
}

// newFixture builds a console; change sees the configuration first.
func newFixture(t testing.TB, change ...func(*Config)) *fixture {
	t.Helper()
	f := &fixture{Server: servertest.New(t), logged: &bytes.Buffer{}}
	cfg := Config{
		Tenants: f.Tenants, Webhooks: f.Webhooks, Approvals: f.Approvals, Devices: f.Devices, Resets: f.Resets, Lists: f.Store, Live: f.Live, Outbox: f.Messages, Gateways: f.Messages.Conditions,
		Again: (&callback.Worker{Store: f.Store, Offer: f.Jobs.Offer, Now: f.Clock.Now}).Again,
		URL:   publicURL, APIURL: "http://localhost:8301", Shared: ui.Shared(), Now: f.Clock.Now,
		Log: slog.New(slog.NewTextHandler(f.logged, nil)),
	}
	for _, c := range change {
		c(&cfg)
	}
	f.ops = operator.New(operator.Config{Store: f.Store, Ring: f.Ring, Now: f.Clock.Now, AccountID: f.Account.ID, URL: cfg.URL})
	cfg.Operators = f.ops
	f.console = newConsole(cfg)
	f.handler = f.console.handler()
	return f
}

// dev opens the console by the link of `dev`.
func (f *fixture) dev(t testing.TB) *browser {
	t.Helper()
	b := f.browser()
	link, err := url.Parse(f.ops.EnableDev())
	if err != nil {
		t.Fatal(err)
	}
	b.get(t, link.RequestURI(), http.StatusSeeOther)
	return b
}

// browser keeps cookies, and follows nothing by itself.
type browser struct {
	f       *fixture
	cookies map[string]*http.Cookie
	remote  string
	header  http.Header // sent with each request
}

func (f *fixture) browser() *browser {
	return &browser{f: f, cookies: map[string]*http.Cookie{}, remote: "127.0.0.1:50000", header: http.Header{"Accept": {"text/html"}}}
}

// answer is what a request got.
type answer struct {
	*http.Response
	body string
}

// text is the page without its markup.
func (a answer) text() string {
	bare := regexp.MustCompile(`(?s)<(script|style|head)\b.*?</(script|style|head)>|<[^>]*>`).ReplaceAllString(strings.ReplaceAll(a.body, "<wbr>", ""), " ")
	return strings.Join(strings.Fields(html.UnescapeString(bare)), " ")
}

func (b *browser) send(t testing.TB, method, path string, form url.Values) answer {
	t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	return b.do(t, httptest.NewRequest(method, publicURL+path, body), form != nil)
}

func (b *browser) do(t testing.TB, r *http.Request, form bool) answer {
	t.Helper()
	for name, values := range b.header {
		r.Header[name] = values
	}
	if form {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, k := range b.cookies {
		r.AddCookie(k)
	}
	r.RemoteAddr = b.remote
	w := httptest.NewRecorder()
	b.f.handler.ServeHTTP(w, r)
	for _, k := range w.Result().Cookies() {
		b.cookies[k.Name] = k
		if k.MaxAge < 0 {
			delete(b.cookies, k.Name)
		}
	}
	return answer{w.Result(), w.Body.String()}
}

func (b *browser) get(t testing.TB, path string, status int) answer {
	t.Helper()
	return expect(t, b.send(t, "GET", path, nil), "GET "+path, status)
}

func (b *browser) post(t testing.TB, path string, status int, form ...string) answer {
	t.Helper()
	values := url.Values{}
	for i := 0; i < len(form); i += 2 {
		values.Set(form[i], form[i+1])
	}
	return expect(t, b.send(t, "POST", path, values), "POST "+path, status)
}

// follow posts a form and returns the page that it leads to.
func (b *browser) follow(t testing.TB, path string, form ...string) answer {
	t.Helper()
	to := b.post(t, path, http.StatusSeeOther, form...).Header.Get("Location")
	return b.get(t, to, http.StatusOK)
}

func expect(t testing.TB, a answer, what string, status int) answer {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("%s answers %d, want %d: %s", what, a.StatusCode, status, a.text())
	}
	return a
}

// mustSay fails the test unless the page says each of what.
func mustSay(t testing.TB, a answer, what ...string) {
	t.Helper()
	for _, w := range what {
		if !strings.Contains(a.text(), w) {
			t.Errorf("the page does not say %q:\n%s", w, a.text())
		}
	}
}

// person is an operator with a password and an app.
type person struct {
	*browser
	secret []byte
}

// setUp goes through the set-up as the first operator and ends signed in; the code of this half minute is spent.
func (f *fixture) setUp(t testing.TB) *person {
	t.Helper()
	link, err := f.ops.SetupLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(link, "#")
	p := &person{browser: f.browser()}
	page := p.post(t, "/setup", http.StatusOK, "link", token, "email", email, "password", password)
	p.secret = secretOn(t, page)
	p.post(t, "/setup/confirm", http.StatusSeeOther, "sealed", sealedOn(t, page), "code", p.code())
	return p
}

func secretOn(t testing.TB, page answer) []byte {
	t.Helper()
	m := regexp.MustCompile(`id="secret">([A-Z2-7 ]+)<`).FindStringSubmatch(page.body)
	if m == nil {
		t.Fatal("no secret on the page: ", page.text())
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ReplaceAll(m[1], " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return secret
}

func sealedOn(t testing.TB, page answer) string {
	t.Helper()
	m := regexp.MustCompile(`name="sealed" value="([^"]+)"`).FindStringSubmatch(page.body)
	if m == nil {
		t.Fatal("no draft on the page: ", page.text())
	}
	return m[1]
}

func (p *person) code() string {
	return otp.HOTP(p.secret, uint64(otp.Step(p.f.Clock.Now(), 30*time.Second)), 6)
}

// try keeps a delivery attempt, as the worker does: status 0 is no answer, 2xx a delivery, anything else a strike.
func (f *fixture) try(t testing.TB, appID, uuid string, status int, text string) {
	t.Helper()
	app, err := f.Store.Application(t.Context(), f.Account.ID, appID)
	if err != nil {
		t.Fatal(err)
	}
	now := f.Clock.Now()
	made := callback.Try{ID: ident.New(now), AppID: appID, UUID: uuid, URL: app.Callback.URL, At: now, Status: status, Error: text, Took: 23450 * time.Microsecond}
	j := job.New(job.Callback, appID, uuid, now)
	if made.Delivered() {
		err = f.Store.Delivered(t.Context(), j, made, app.Callback.Version)
	} else {
		reason := http.StatusText(status)
		mail := func(owner string) job.Job {
			return f.Messages.CallbackDisabledJob(app, owner, app.Callback.URL, reason, now)
		}
		var struck callback.Struck
		struck, err = f.Store.Failed(t.Context(), j, made, app.Callback.Version, now.Add(time.Minute), reason, mail,
			audit.New(now, appID, "system", "callback.disabled", "application:"+appID))
		f.Jobs.Offer(struck.Jobs...)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// furnish fills an application with one of everything that a page can show.
func (f *fixture) furnish(t testing.TB, app tenant.Application) (uuid string) {
	t.Helper()
	u := f.User(t, app, "bob@example.com", "202-555-0123")
	phone := f.Phone(t, app, u)
	asked := f.Ask(t, app, u, "Log in to the shop")
	if _, err := phone.Answer(t, asked.UUID, "approve", asked.Match.Value); err != nil {
		t.Fatal(err)
	}
	f.setCallback(t, app, "https://shop.example.com/hook")
	f.try(t, app.ID, asked.UUID, 503, "")
	f.try(t, app.ID, asked.UUID, 0, "connection refused")
	if _, err := f.Codes.Send(t.Context(), app, u, otp.Request{Channel: otp.SMS, Force: true}); err != nil {
		t.Fatal(err)
	}
	f.Outbox(t, "")
	return asked.UUID
}

func (f *fixture) setCallback(t testing.TB, app tenant.Application, address string) {
	t.Helper()
	if err := f.Tenants.SetCallback(t.Context(), app.AccountID, app.ID, address, "operator:test"); err != nil {
		t.Fatal(err)
	}
}

// wantRecords fails the test unless an operator did that, as often, by the application's record.
func (f *fixture) wantRecords(t *testing.T, app tenant.Application, action string, n int) {
	t.Helper()
	records, err := f.Store.Audit(t.Context(), app.ID, 100)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, rec := range records {
		if rec.Action == action && strings.HasPrefix(rec.Actor, "operator:") {
			found++
		}
	}
	if found != n {
		t.Errorf("%s is recorded %d times, want %d", action, found, n)
	}
}
