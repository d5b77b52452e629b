// Package login is the sample application: a small bank, Owlgate, where people sign up, protect their account with a second
// factor, log in with it, and confirm a transfer with it. It is made to be read and copied.
//
// # What to read, in this order
//
//	login.go      this page: settings, routes, and how the second step is plugged in
//	signup.go     an address is confirmed, then the account is made; nobody is signed in yet
//	number.go     the phone number is proved by a text message
//	enrol.go      the second factor is set up, proved once, and only then switched on
//	codes.go      the recovery codes are shown and saved; now the account is open
//	signin.go     the password, and what comes after it
//	account.go    a page that only signed-in people see
//	transfer.go   an act that must be approved with its exact values
//	security.go   what protects the account, seen and changed
//	lost.go       the last way back, through the provider's operators
//	reset.go      the forgotten password: by mail, and never around the second factor
//	mail.go       what the owner of an account is told;  link.go: links by mail
//	users.go      the tables;  password.go, waits.go, phone.go, qr.go, page.go: one small thing each
//
// # One log-in
//
//  1. POST /login checks the password and calls guard.Login. The browser gets a pending cookie, the phone gets a question.
//  2. GET /login/verify waits. It belongs to package secondfactor, as do /authy/status, /authy/verify and the other routes
//     that integrations of Authy know. It hears of the decision by a long poll at the provider, and sooner by the callback if there is one.
//  3. The page posts to /login/verify/complete. That asks the provider once more, consumes the approval and makes the session.
//  4. guard.Require lets the browser see /account.
//
// The transfer goes the same way with guard.StepUp, enrolment with guard.Enrol, and a new phone number with guard.Change. Whatever was approved is carried out in one
// place: [App.completed].
//
// # What to change for production
//
//   - Serve it by https and say so in PublicURL: then cookies get the __Host- prefix and Secure. Behind a proxy set
//     secondfactor.Config.Address (see secondfactor.ForwardedBy).
//   - Give it a way to send mail (Config.Mail) that puts it into a queue, so that no answer waits for it and none takes longer because somebody has an account.
//   - Limit sign-ups and password resets per network address. Here an address gets one mail of a kind a minute, wrong passwords wait per account, the
//     provider limits texts by number and by network address, and the work of hashing is bounded.
//   - Decide who helps people who lost phone and recovery codes, and how they make sure who it is: an operator of the provider's console allows a new
//     start, which waits two days there. Here the page sends people to a counter that is not there.
//   - Pin device keys at enrolment (secondfactor.Person.Keys) if the provider is not to be trusted with your people's decisions.
package login

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
)

// Config is what the application needs. PublicURL, Provider, DB and Mail must be given.
type Config struct {
	PublicURL        string         // where browsers reach it, such as http://localhost:8300
	Provider         *client.Client // the provider, called with the application's API key
	APIKeys          []string       // the same key (two while one replaces the other); callbacks are signed with it
	DB               string         // path of the SQLite file
	AuthenticatorURL string         // of the authenticator, for links to it on the waiting page; "" for none
	Name             string         // of the bank; default Owlgate

	Mail func(context.Context, Mail) error // sends a mail; without a way to do so nobody can sign up

	Limits secondfactor.Limits // zero values mean the defaults
	Clock  func() time.Time    // default time.Now
	Logger *slog.Logger        // default: nothing is logged
}

// App is the running application. [New] makes it.
type App struct {
	config  Config
	guard   *secondfactor.Guard
	users   *users
	pages   *template.Template
	hashing *hashing
	waits   waits
	handler http.Handler
	getting singleflight.Group // tickets, by person

	mu      sync.Mutex // guards tickets
	tickets map[string]client.Ticket
}

// New opens the database and returns the application.
func New(c Config) (*App, error) {
	switch {
	case c.Provider == nil:
		return nil, errors.New("login: Provider is nil")
	case c.DB == "":
		return nil, errors.New("login: DB is empty")
	case c.Mail == nil:
		return nil, errors.New("login: Mail is nil, and sign-up confirms addresses by mail")
	}
	c.PublicURL = strings.TrimRight(c.PublicURL, "/")
	if c.Name == "" {
		c.Name = "Owlgate"
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	users, err := openUsers(c.DB)
	if err != nil {
		return nil, err
	}
	a := &App{
		config: c, users: users, pages: templates(), hashing: newHashing(runtime.GOMAXPROCS(0)), tickets: map[string]client.Ticket{},
		waits: waits{by: map[string]patienceWith{}, clock: c.Clock},
	}
	if err := a.plugIn(users.db); err != nil {
		users.db.Close()
		return nil, err
	}
	return a, nil
}

// plugIn makes the second step. This is all that an application has to do to have one, beside calling guard.Login.
func (a *App) plugIn(db *sql.DB) error {
	store, err := secondfactor.OpenSQLStore(context.Background(), db)
	if err != nil {
		return err
	}
	a.guard, err = secondfactor.New(secondfactor.Config{
		PublicURL: a.config.PublicURL, Name: a.config.Name, Provider: a.config.Provider, APIKeys: a.config.APIKeys, Store: store,
		Completed: a.completed, Happened: a.happened, Person: a.person, AfterLogout: "/?notice=logged-out", Logo: a.config.PublicURL + "/assets/logo.png",
		AuthenticatorURL: a.config.AuthenticatorURL, Templates: a.pages,
		Limits: a.config.Limits, Now: a.config.Clock, Log: a.config.Logger,
	})
	if err != nil {
		return err
	}
	a.handler = a.routes()
	return nil
}

// route is one page: its pattern, and the handler with the gate before it.
type route struct {
	pattern string
	handler http.Handler
}

// pageRoutes is every page of the application beside the guard's own. What stands before a handler is its gate, and the handler's last argument
// is what only that gate can give.
func (a *App) pageRoutes() []route {
	anybody := func(h http.HandlerFunc) http.Handler { return h }
	return []route{
		{"GET /{$}", anybody(a.home)},
		{"GET /signup", anybody(a.showSignup)},
		{"POST /signup", anybody(a.signup)},
		{"GET /signup/details", anybody(a.showDetails)},
		{"POST /signup/details", anybody(a.openAccount)},
		{"GET /login", anybody(a.showLogin)},
		{"POST /login", anybody(a.login)},
		{"GET /forgot", anybody(a.showForgot)},
		{"POST /forgot", anybody(a.forgot)},
		{"GET /reset", anybody(a.showReset)},
		{"POST /reset", anybody(a.reset)},
		{"GET /assets/{name}", anybody(a.serveAsset)},
		{"GET /", anybody(a.notFound)},

		// Whoever gave the password and has no factor yet.
		{"GET /enrol", a.guard.RequireEnrolling(a.showEnrol)},
		{"POST /enrol", a.guard.RequireEnrolling(a.enrolAgain)},
		{"POST /enrol/number", a.guard.RequireEnrolling(a.proveNumber)},
		{"GET /enrol/status", a.guard.RequireEnrolling(a.enrolStatus)},

		// Whoever gave the password and waits for the second factor.
		{"GET /lost", a.waiting(a.showLost)},
		{"POST /lost", a.waiting(a.askReset)},
		{"POST /lost/finish", a.waiting(a.finishReset)},

		// Whoever is signed in.
		{"GET /account", a.member(a.showAccount)},
		{"GET /account/devices", a.member(a.listDevices)},
		{"POST /transfer", a.member(a.transfer)},
		{"GET /transfers/{id}", a.member(a.showTransfer)},
		{"GET /security", a.member(a.showSecurity)},
		{"POST /security/trusted", a.member(a.forgetBrowser)},
		{"POST /security/sessions", a.member(a.signOut)},
		{"POST /security/reset/stop", a.member(a.stopReset)},

		// Whoever proved the factor a moment ago.
		{"GET /codes", a.confirmed(a.showCodes)},
		{"POST /codes", a.confirmed(a.makeCodes)},
		{"POST /codes/saved", a.confirmed(a.savedCodes)},
		{"GET /security/password", a.confirmed(a.showPassword)},
		{"POST /security/password", a.confirmed(a.changePassword)},
		{"GET /security/phone", a.confirmed(a.showPhone)},
		{"POST /security/phone", a.confirmed(a.changePhone)},
		{"GET /security/device", a.confirmed(a.showDevice)},
		{"POST /security/device", a.confirmed(a.addDevice)},
		{"GET /security/device/remove", a.confirmed(a.askRemoval)},
		{"POST /security/device/remove", a.confirmed(a.removeDevice)},
		{"GET /security/off", a.confirmed(a.showOff)},
		{"POST /security/off", a.confirmed(a.turnOff)},
		{"POST /security/alarm", a.confirmed(a.dismissAlarm)},
	}
}

// routes mounts everything. All posts from other origins are refused, here and in the guard's own routes.
func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	a.guard.Routes(mux)
	for _, r := range a.pageRoutes() {
		mux.Handle(r.pattern, r.handler)
	}
	return a.guard.Protect(mux)
}

// Handler serves the application.
func (a *App) Handler() http.Handler { return a.handler }

// CallbackURL is where the provider should report decisions. Without it everything works, a moment slower.
func (a *App) CallbackURL() string { return a.guard.CallbackURL() }

// EndStreams ends what waits: register it with http.Server.RegisterOnShutdown, or open streams hold the shutdown up.
func (a *App) EndStreams() { a.guard.Close() }

// Close ends what waits and closes the database, once no request is served any more.
func (a *App) Close() error {
	a.guard.Close()
	return a.users.db.Close()
}

// completed carries out what was approved: once for each attempt, before the browser hears of it. An error undoes the sign-in.
func (a *App) completed(ctx context.Context, done secondfactor.Completion) error {
	u, err := a.users.byID(ctx, done.User)
	if err != nil {
		return err
	}
	switch done.Purpose {
	case secondfactor.ForEnrol:
		a.forgetTicket(u.ID)
		if err := a.users.protect(ctx, u.ID, done.AuthyID, done.Method); err != nil {
			return err
		}
		return a.tell(ctx, u, done.Origin, "Two-factor authentication switched on with "+methodName(done.Method), "From now on your password alone opens nothing.")
	case secondfactor.ForLogin:
		if err := a.users.signedIn(ctx, u.ID, done.Method); err != nil {
			return err
		}
		return a.users.record(ctx, u.ID, "Signed in with "+methodName(done.Method), done.Origin, a.config.Clock())
	case secondfactor.ForStepUp:
		return a.carryOut(ctx, done)
	case secondfactor.ForChange:
		return a.phoneChanged(ctx, u, done)
	case secondfactor.ForConfirm:
		return nil // the guard remembers for how long settings are open
	}
	return fmt.Errorf("unknown purpose %q", done.Purpose)
}

// person is what the second step needs to know of a user.
func person(u user) secondfactor.Person {
	return secondfactor.Person{ID: u.ID, AuthyID: u.AuthyID, Account: u.Email, Prefer: u.Method, Stamp: strconv.FormatInt(u.Stamp, 10)}
}

func (a *App) person(ctx context.Context, id string) (secondfactor.Person, error) {
	u, err := a.users.byID(ctx, id)
	return person(u), err
}
