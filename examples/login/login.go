// Package login is the sample application: a small bank, Owlgate, where people sign up, protect their account with a second
// factor, log in with it, and confirm a transfer with it. It is made to be read and copied.
//
// # What to read, in this order
//
//	login.go      this page: settings, routes, and how the second step is plugged in
//	signup.go     an account is made; nobody is signed in yet
//	enrol.go      the second factor is set up, proved once, and only then switched on
//	signin.go     the password, and what comes after it
//	account.go    a page that only signed-in people see
//	transfer.go   an act that must be approved with its exact values
//	users.go      the tables;  password.go, phone.go, qr.go, page.go: one small thing each
//
// # One log-in
//
//  1. POST /login checks the password and calls guard.Login. The browser gets a pending cookie, the phone gets a question.
//  2. GET /login/verify waits. It belongs to package secondfactor, as do /authy/status, /authy/verify and the other routes
//     that integrations of Authy know. It hears of the decision by a long poll at the provider, and sooner by the callback if there is one.
//  3. The page posts to /login/verify/complete. That asks the provider once more, consumes the approval and makes the session.
//  4. guard.Require lets the browser see /account.
//
// The transfer goes the same way with guard.StepUp, and enrolment with guard.Enrol. Whatever was approved is carried out in one
// place: [App.completed].
//
// # What to change for production
//
//   - Serve it by https and say so in PublicURL: then cookies get the __Host- prefix and Secure.
//   - Limit log-ins and sign-ups per account and per address. Here only the work of hashing is bounded.
//   - Confirm e-mail addresses, and tell the owner by mail when somebody signs up with an address in use. Here a neutral sentence must do.
//   - Prove the phone number by a text message before an authenticator is set up. Here a number that is already known is the only one that
//     must be proved, so somebody may still be the first to claim a number that is not theirs.
//   - Give people recovery codes, or another way back when the phone is lost.
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
	"strings"
	"sync"
	"time"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
)

// Config is what the application needs. PublicURL, Provider and DB must be given.
type Config struct {
	PublicURL        string         // where browsers reach it, such as http://localhost:8300
	Provider         *client.Client // the provider, called with the application's API key
	APIKeys          []string       // the same key (two while one replaces the other); callbacks are signed with it
	DB               string         // path of the SQLite file
	AuthenticatorURL string         // of the authenticator, for links to it on the waiting page; "" for none
	Name             string         // of the bank; default Owlgate

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
	handler http.Handler

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
	a := &App{config: c, users: users, pages: templates(), hashing: newHashing(runtime.GOMAXPROCS(0)), tickets: map[string]client.Ticket{}}
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
		Completed: a.completed, AfterLogout: "/?notice=logged-out", Logo: a.config.PublicURL + "/assets/logo.png",
		AuthenticatorURL: a.config.AuthenticatorURL, Templates: a.pages,
		Limits: a.config.Limits, Now: a.config.Clock, Log: a.config.Logger,
	})
	if err != nil {
		return err
	}
	a.handler = a.routes()
	return nil
}

// routes is every page of the application. All posts from other origins are refused, here and in the guard's own routes.
func (a *App) routes() http.Handler {
	mux := http.NewServeMux()
	a.guard.Routes(mux)
	page := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, h) }
	page("GET /{$}", a.home)
	page("GET /signup", a.showSignup)
	page("POST /signup", a.signup)
	page("GET /login", a.showLogin)
	page("POST /login", a.login)
	mux.Handle("GET /enrol", a.guard.RequireEnrolling(a.showEnrol))
	mux.Handle("POST /enrol", a.guard.RequireEnrolling(a.enrolAgain))
	mux.Handle("GET /enrol/status", a.guard.RequireEnrolling(a.enrolStatus))
	mux.Handle("GET /account", a.guard.Require(a.showAccount))
	mux.Handle("POST /transfer", a.guard.Require(a.transfer))
	mux.Handle("GET /transfers/{id}", a.guard.Require(a.showTransfer))
	page("GET /assets/{name}", a.serveAsset)
	page("GET /", a.notFound)
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
	switch done.Purpose {
	case secondfactor.ForEnrol:
		a.forgetTicket(done.User)
		return a.users.protect(ctx, done.User, done.AuthyID, done.Method, a.config.Clock())
	case secondfactor.ForLogin:
		return a.users.signedIn(ctx, done.User, done.Method, a.config.Clock())
	case secondfactor.ForStepUp:
		return a.carryOut(ctx, done)
	}
	return fmt.Errorf("unknown purpose %q", done.Purpose)
}

// person is what the second step needs to know of a user.
func person(u user) secondfactor.Person {
	return secondfactor.Person{ID: u.ID, AuthyID: u.AuthyID, Account: u.Email, Prefer: u.Method}
}
