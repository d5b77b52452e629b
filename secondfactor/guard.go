// This file owns the Guard: its settings, how it is built and closed, and its routes.

package secondfactor

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"countersign.dev/client"
	"countersign.dev/client/callback"
)

// Config is what a [Guard] needs. PublicURL, Name, Provider and Store must be given.
type Config struct {
	PublicURL string         // where browsers reach the application: https://app.example.com, or with a path prefix https://example.com/app
	Name      string         // of the application, as the person knows it
	Provider  *client.Client // the provider
	Store     Store          // attempts and sessions

	// APIKeys may have signed callbacks, see [callback.Verifier]. Everything works without callbacks; but if the provider sends any and there
	// is no key, each is answered with 401, and the third in a row makes it stop sending and write to the owner of the account.
	APIKeys []string
	// Trust is what receipts are checked against. Without it the origin and the application are taken from the provider's own word,
	// which is as good as the provider.
	Trust Trust
	// Completed is called once for each completed attempt, before the browser learns of it. Do here what was approved: switch the
	// factor on, carry out the act. An error ends the session, and the browser is told that nothing was done; only who confirmed an act
	// stays signed in as before.
	Completed func(context.Context, Completion) error
	// Person looks a signed-in person up again. [Guard.RequireConfirmed] needs it.
	Person func(ctx context.Context, user string) (Person, error)
	// Happened is told what the owner of an account should hear of: a no, a wrong number, too many wrong codes, a stolen cookie.
	Happened func(context.Context, Event)
	// SignedIn and SignedOut let an application keep a session of its own beside the guard's: they may set cookies. SignedIn runs after
	// Completed; an error of it does the same, but after an act, which is done then: there it is logged, and the browser goes on.
	SignedIn  func(http.ResponseWriter, *http.Request, Completion) error
	SignedOut func(http.ResponseWriter, *http.Request)

	LoginURL         string // local path of the log-in form, without a query; default /login
	EnrolURL         string // local path of the page that sets up the factor; default /enrol
	AfterLogout      string // local path; default /
	AuthenticatorURL string // of the authenticator, for a link from the waiting page; "" for none
	Logo             string // absolute URL of a PNG shown with log-ins on the device, "" for none
	Calls            bool   // also offer codes by phone call; the provider must be able to call
	AppCodesForActs  bool   // an act may also be confirmed by a code of an authenticator, which shows nobody what it confirms. Leave it off where values matter
	Match            string // [client.MatchType] for every approval; "" or [client.MatchOff] leaves it to the provider's settings

	Templates *template.Template // pages; default [Templates]
	Limits    Limits
	Address   func(*http.Request) string // the person's network address, "" if unknown; default: the connection's. Behind a proxy: [ForwardedBy]
	Now       func() time.Time           // default time.Now
	Log       *slog.Logger               // default: nothing is logged
}

// Trust is what an application knows of the provider by itself, so that a receipt needs no further word. Leave it
// empty or fill it in whole.
type Trust struct {
	Origin      string // public origin of the authenticator
	Application string // id of the application at the provider
	Name        string // of the application at the provider
}

// Limits are times and counts. Zero values mean the defaults.
type Limits struct {
	Login       time.Duration // life of an attempt to log in or to step up; default 10 min
	Enrol       time.Duration // life of an attempt to enrol; default 30 min
	Push        time.Duration // life of one approval request; default 120 s, at most 10 min
	PushAgain   time.Duration // before the device is told of the same request again; default 30 s
	Unused      time.Duration // how long an approval waits to be consumed; default 60 s
	Provider    time.Duration // how long a page waits for the provider; default 4 s
	SMSAgain    time.Duration // between text messages; default 30 s
	SessionIdle time.Duration // default 30 min
	SessionLife time.Duration // default 12 h
	Fresh       time.Duration // how long after a proof settings stay open; each use extends it, up to two hours in all; default 15 min
	Trust       time.Duration // how long a browser is trusted; default 30 days

	WrongCodes    int // of one attempt; default 5
	WrongRecovery int // wrong recovery codes of one person in an hour, over all attempts; default 5
	Sends         int // text messages of one attempt; default 5
}

func (l *Limits) defaults() {
	set := func(d *time.Duration, to time.Duration) {
		if *d <= 0 {
			*d = to
		}
	}
	set(&l.Login, 10*time.Minute)
	set(&l.Enrol, 30*time.Minute)
	set(&l.Push, 2*time.Minute)
	l.Push = min(l.Push, 10*time.Minute)
	set(&l.PushAgain, 30*time.Second)
	set(&l.Unused, time.Minute)
	set(&l.Provider, 4*time.Second)
	set(&l.SMSAgain, 30*time.Second)
	set(&l.SessionIdle, 30*time.Minute)
	set(&l.SessionLife, 12*time.Hour)
	set(&l.Fresh, 15*time.Minute)
	set(&l.Trust, 30*24*time.Hour)
	for _, n := range []*int{&l.WrongCodes, &l.WrongRecovery, &l.Sends} {
		if *n <= 0 {
			*n = 5
		}
	}
}

// Guard runs attempts and keeps sessions. It is safe for concurrent use. [New] makes it, Close ends it.
type Guard struct {
	config   Config
	origin   string // of the application's pages
	base     string // path prefix under which browsers reach the application, "" for none
	secure   bool   // the public URL is https
	origins  *http.CrossOriginProtection
	callback *callback.Verifier
	hub      hub
	swept    atomic.Int64 // Unix seconds of the last sweep

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup // goroutines that outlive their request
}

// New checks the settings and returns a Guard.
func New(c Config) (*Guard, error) {
	public, err := url.Parse(c.PublicURL)
	switch {
	case err != nil || public.Host == "" || (public.Scheme != "http" && public.Scheme != "https"):
		return nil, fmt.Errorf("secondfactor: PublicURL %q is no http or https address", c.PublicURL)
	case public.RawQuery != "" || public.Fragment != "" || path.Clean("/"+public.Path) != "/"+strings.Trim(public.Path, "/"):
		return nil, fmt.Errorf("secondfactor: PublicURL %q has more than a host and a path", c.PublicURL)
	case c.Name == "":
		return nil, errors.New("secondfactor: Name is empty")
	case c.Provider == nil:
		return nil, errors.New("secondfactor: Provider is nil")
	case c.Store == nil:
		return nil, errors.New("secondfactor: Store is nil")
	case c.Trust != Trust{} && (c.Trust.Origin == "" || c.Trust.Application == "" || c.Trust.Name == ""):
		return nil, errors.New("secondfactor: Trust is filled in only half")
	case c.Match != "" && c.Match != client.MatchType && c.Match != client.MatchOff:
		return nil, fmt.Errorf("secondfactor: Match %q is neither %q nor %q nor empty", c.Match, client.MatchType, client.MatchOff)
	case strings.Contains(c.LoginURL, "?"):
		return nil, fmt.Errorf("secondfactor: LoginURL %q has a query, which is where the page to return to is named", c.LoginURL)
	}
	base := strings.TrimSuffix(public.EscapedPath(), "/")
	origin := public.Scheme + "://" + strings.ToLower(public.Host)
	c.PublicURL = origin + base
	if err := c.localPaths(); err != nil {
		return nil, err
	}
	if c.Templates == nil {
		c.Templates = Templates()
	}
	if c.Address == nil {
		c.Address = connectionAddress
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits.defaults()
	g := &Guard{config: c, origin: origin, base: base, secure: public.Scheme == "https", origins: http.NewCrossOriginProtection()}
	// A proxy may change the Host that requests are compared with; our own address is trusted whatever it does.
	if err := g.origins.AddTrustedOrigin(origin); err != nil {
		return nil, fmt.Errorf("secondfactor: PublicURL: %w", err)
	}
	g.origins.SetDenyHandler(g.handler(func(w http.ResponseWriter, r *http.Request) error {
		return g.refuse(w, r, http.StatusForbidden, "This form was sent from another site, so nothing was done. Open the page here and try again.")
	}))
	g.callback = &callback.Verifier{URL: g.CallbackURL(), Keys: c.APIKeys, Now: c.Now, Log: c.Log}
	g.ctx, g.stop = context.WithCancel(context.Background())
	return g, nil
}

// localPaths fills in the paths that were not given, and checks the others.
func (c *Config) localPaths() error {
	for _, p := range []struct {
		name, otherwise string
		path            *string
	}{{"LoginURL", "/login", &c.LoginURL}, {"EnrolURL", "/enrol", &c.EnrolURL}, {"AfterLogout", "/", &c.AfterLogout}} {
		if *p.path == "" {
			*p.path = p.otherwise
		}
		if !strings.HasPrefix(*p.path, "/") || strings.HasPrefix(*p.path, "//") || strings.Contains(*p.path, `\`) {
			return fmt.Errorf("secondfactor: %s %q is no local path, such as %s", p.name, *p.path, p.otherwise)
		}
	}
	return nil
}

// Close ends all streams and background work and waits for them. Call it when the server begins to shut down
// ([http.Server.RegisterOnShutdown]): a waiting stream would hold it up. Attempts and sessions stay in the store.
func (g *Guard) Close() {
	g.stop()
	g.work.Wait()
}

// CallbackURL is the address to set as the application's callback at the provider.
func (g *Guard) CallbackURL() string { return g.config.PublicURL + "/authy/callback" }

// Routes mounts everything that the second step needs, see the package comment. It panics when the mux has one of these patterns already, such as
// POST /logout; and since pages below /login/ and /authy/ are its own, [LocalPath] takes none there to return to. Under a path prefix the handlers expect
// paths without it: mount with [http.StripPrefix], or let the proxy strip it.
func (g *Guard) Routes(mux *http.ServeMux) {
	for _, route := range g.routes() {
		mux.Handle(route.pattern, g.Protect(g.handler(route.handle)))
	}
	// By method, so that an application may have a page for "GET /".
	mux.Handle("POST /authy/callback", g.callback.Handler(g.called))
	mux.Handle("GET /authy/callback", g.callback.Handler(g.called))
}

// route is one line of the map of this package.
type route struct {
	pattern string
	handle  func(http.ResponseWriter, *http.Request) error
}

func (g *Guard) routes() []route {
	return []route{
		{"GET /login/verify", g.showPage},
		{"GET /login/verify/events", g.streamEvents},
		{"GET /login/verify/assets/{name}", g.serveAsset},
		{"GET /authy/status", g.tellStatus},
		{"POST /login/verify/push", g.askDevice},
		{"POST /authy/send_token", g.sendText},
		{"POST /authy/verify", g.checkCode},
		{"POST /login/verify/recovery", g.checkRecovery},
		{"POST /login/verify/cancel", g.giveUp},
		{"POST /login/verify/complete", g.complete},
		{"POST /login/trust", g.answerTrust},
		{"GET /login/confirm", g.showConfirm},
		{"POST /login/confirm", g.confirmSettings},
		{"POST /logout", g.logOut},
	}
}

// Protect refuses whatever changes something and comes from a page of another origin. Put it around your own handlers; Routes has it.
func (g *Guard) Protect(next http.Handler) http.Handler { return g.origins.Handler(next) }

// background runs work that outlives the request that caused it, because the person should not wait for it, until Close.
func (g *Guard) background(work func(context.Context)) {
	if g.ctx.Err() != nil {
		return
	}
	g.work.Go(func() { work(g.ctx) })
}
