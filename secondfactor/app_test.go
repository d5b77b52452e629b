// This file owns the application and the browser that the tests use.

package secondfactor_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/client/callback"
	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

const publicURL = "http://app.test"

// app is a small application around a guard. Its log-in form believes whoever it is told.
type app struct {
	t        *testing.T
	guard    *secondfactor.Guard
	store    secondfactor.Store
	provider *secondfactortest.Provider
	mux      *http.ServeMux
	log      *buffer
	prefer   secondfactor.Method
	prefix   string // under which browsers reach the application

	mu      sync.Mutex // guards all below
	now     time.Time
	people  map[string]secondfactor.Person
	done    []secondfactor.Completion
	events  []secondfactor.Event
	failing error // what Completed returns
}

// buffer is a log that goroutines may share.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// newApp starts an application with the people ana and bob, each with a device. The clock stands still unless moved.
func newApp(t *testing.T, settings ...func(*secondfactor.Config)) *app {
	t.Helper()
	a := &app{
		t: t, provider: secondfactortest.New(), store: secondfactor.NewMemoryStore(), mux: http.NewServeMux(), log: &buffer{},
		now: time.Now(), people: map[string]secondfactor.Person{},
	}
	a.addPerson("ana", "2025550123", true)
	a.addPerson("bob", "2025550199", true)
	config := secondfactor.Config{
		PublicURL: publicURL, Name: "Owlgate", Provider: a.provider.Client(t), Store: a.store, APIKeys: []string{secondfactortest.APIKey},
		Completed: a.completed, Happened: a.happened, Person: a.lookUp, Now: a.clock, Log: slog.New(slog.NewTextHandler(a.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		AuthenticatorURL: secondfactortest.Origin,
	}
	for _, set := range settings {
		set(&config)
	}
	guard, err := secondfactor.New(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(guard.Close)
	a.guard, a.store = guard, config.Store
	a.routes()
	return a
}

func (a *app) addPerson(name, phone string, device bool) {
	id := a.provider.AddUser(name+"@example.com", "1", phone)
	if device {
		a.provider.AddDevice(id)
	}
	a.people[name] = secondfactor.Person{ID: name, AuthyID: id, Account: name + "@example.com"}
}

func (a *app) routes() {
	a.guard.Routes(a.mux)
	a.mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		a.guard.Login(w, r, a.person(r.FormValue("user")), r.FormValue("next"))
	})
	a.mux.HandleFunc("POST /enrol", func(w http.ResponseWriter, r *http.Request) {
		a.guard.Enrol(w, r, a.person(r.FormValue("user")), "/account")
	})
	a.mux.Handle("GET /enrol", a.guard.RequireEnrolling(func(w http.ResponseWriter, _ *http.Request, who secondfactor.Enrolling) {
		fmt.Fprintf(w, "enrolling %s", who.User())
	}))
	a.mux.Handle("GET /account", a.guard.Require(func(w http.ResponseWriter, _ *http.Request, who secondfactor.SignedIn) {
		fmt.Fprintf(w, "account of %s, since %d", who.User(), who.Since().Unix())
	}))
	a.mux.Handle("GET /settings", a.guard.RequireConfirmed(func(w http.ResponseWriter, _ *http.Request, who secondfactor.Confirmed) {
		fmt.Fprintf(w, "settings of %s", who.User())
	}))
	a.mux.Handle("POST /settings/phone", a.guard.RequireConfirmed(func(w http.ResponseWriter, r *http.Request, who secondfactor.Confirmed) {
		p := a.person(who.User())
		p.AuthyID = a.provider.AddUser(p.Account, "1", r.FormValue("phone"))
		a.guard.Change(w, r, who, p, r.FormValue("phone"), "/settings")
	}))
	a.mux.Handle("POST /transfer", a.guard.Require(func(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn) {
		a.guard.StepUp(w, r, who, a.person(who.User()), transfer(r.FormValue("amount")))
	}))
}

// handler takes the prefix off, as an application under one does.
func (a *app) handler() http.Handler { return http.StripPrefix(a.prefix, a.mux) }

// transfer is an act.
func transfer(amount string) secondfactor.Act {
	return secondfactor.Act{
		Ref: "t1", ReturnTo: "/account?sent", StartOver: "/account",
		Ask: secondfactor.Ask{
			Message: "Send money to Jarod's vault",
			Details: []client.Field{{Name: "Request From", Value: "Jarod"}, {Name: "Amount Request", Value: amount}, {Name: "Currency", Value: "Galleons"}},
			Hidden:  []client.Field{{Name: "transfer", Value: "t1"}},
		},
	}
}

func (a *app) person(name string) secondfactor.Person {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.people[name]
	p.Prefer = a.prefer
	return p
}

func (a *app) setKeys(name string, keys ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.people[name]
	p.Keys = keys
	a.people[name] = p
}

func (a *app) clock() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.now
}

func (a *app) pass(d time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.now = a.now.Add(d)
}

func (a *app) lookUp(_ context.Context, user string) (secondfactor.Person, error) {
	return a.person(user), nil
}

func (a *app) happened(_ context.Context, e secondfactor.Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.events = append(a.events, e)
}

// heard is the kinds of all events, in order.
func (a *app) heard() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var kinds []string
	for _, e := range a.events {
		kinds = append(kinds, string(e.Kind))
	}
	return strings.Join(kinds, " ")
}

func (a *app) setStamp(name, stamp string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.people[name]
	p.Stamp = stamp
	a.people[name] = p
}

func (a *app) completed(_ context.Context, c secondfactor.Completion) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failing != nil {
		return a.failing
	}
	a.done = append(a.done, c)
	return nil
}

func (a *app) completions() []secondfactor.Completion {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done
}

var errHook = errors.New("hook failed")

// browser keeps cookies for as long as they live, and sends what a browser sends.
type browser struct {
	app     *app
	cookies map[string]string
	ends    map[string]time.Time // of those cookies that end by themselves
	header  http.Header          // sent with every request
}

func (a *app) browser() *browser {
	return &browser{app: a, cookies: map[string]string{}, ends: map[string]time.Time{}, header: http.Header{"Sec-Fetch-Site": {"same-origin"}}}
}

// answer is what came back.
type answer struct {
	code     int
	location string
	body     string
	header   http.Header
}

func (b *browser) request(method, path string, form url.Values) *http.Request {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, publicURL+path, body)
	for name, values := range b.header {
		r.Header[name] = values
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, end := range b.ends {
		if !b.app.clock().Before(end) {
			delete(b.cookies, name)
			delete(b.ends, name)
		}
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

func (b *browser) send(r *http.Request) answer {
	w := httptest.NewRecorder()
	b.app.handler().ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		delete(b.ends, c.Name)
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
			continue
		}
		b.cookies[c.Name] = c.Value
		if c.MaxAge > 0 {
			b.ends[c.Name] = b.app.clock().Add(time.Duration(c.MaxAge) * time.Second)
		}
	}
	return answer{w.Code, w.Header().Get("Location"), w.Body.String(), w.Result().Header}
}

func (b *browser) get(path string) answer { return b.send(b.request("GET", path, nil)) }

func (b *browser) post(path string, form ...string) answer {
	return b.send(b.request("POST", path, values(form...)))
}

// values makes a form of names and values in turn.
func values(pairs ...string) url.Values {
	form := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return form
}

// login posts the log-in form and returns the approval that went out.
func (b *browser) login(user string) secondfactortest.Approval {
	b.app.t.Helper()
	if got := b.post("/login", "user", user, "next", "/account"); got.code != 303 || got.location != "/login/verify" {
		b.app.t.Fatalf("log-in answered %d to %q", got.code, got.location)
	}
	return b.app.provider.Last(b.app.t)
}

// signIn goes the whole way.
func (b *browser) signIn(user string) {
	b.app.t.Helper()
	approval := b.login(user)
	b.app.provider.Approve(approval.UUID)
	b.get("/login/verify") // asks the provider
	if got := b.complete(); got.code != 303 || got.location != "/account" {
		b.app.t.Fatalf("complete answered %d to %q", got.code, got.location)
	}
	if !b.signedIn(user) {
		b.app.t.Fatalf("%s is not signed in", user)
	}
}

func (b *browser) complete() answer { return b.post("/login/verify/complete") }

// signedIn reports whether the account page is this user's.
func (b *browser) signedIn(user string) bool {
	got := b.get("/account")
	return got.code == 200 && strings.HasPrefix(got.body, "account of "+user+",")
}

// anybody reports whether anybody is signed in.
func (b *browser) anybody() bool { return b.get("/account").code == 200 }

// state is what the status says, "401" without an attempt.
func (b *browser) state() string {
	got := b.get("/authy/status")
	if got.code != 200 {
		return fmt.Sprint(got.code)
	}
	_, rest, _ := strings.Cut(got.body, `"state":"`)
	state, _, _ := strings.Cut(rest, `"`)
	return state
}

// callback sends the provider's callback with a good signature, changed by edit if given.
func (a *app) callback(uuid, status string, authyID int64, nonce string, edit func(*http.Request)) int {
	a.t.Helper()
	body := fmt.Sprintf(`{"authy_id":%d,"uuid":%q,"status":%q,"callback_action":"approval_request_status","approval_request":{"transaction":{}}}`, authyID, uuid, status)
	params, err := callback.Canonical([]byte(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if nonce == "" {
		nonce = fmt.Sprintf("%d.123456789", a.clock().Unix())
	}
	r := httptest.NewRequest("POST", "http://elsewhere.test/authy/callback", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set(callback.HeaderNonce, nonce)
	r.Header.Set(callback.HeaderSignature, callback.Sign(secondfactortest.APIKey, nonce, "POST", a.guard.CallbackURL(), params))
	if edit != nil {
		edit(r)
	}
	w := httptest.NewRecorder()
	a.mux.ServeHTTP(w, r)
	return w.Code
}
