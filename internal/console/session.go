package console

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"

	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/internal/web"
)

// This file owns signing in and out, and who may see a page.

// refreshHeader marks what a page's script asks for to keep the page new. It shows the same and counts as no activity.
const refreshHeader = "X-Countersign-Refresh"

// sessionCookie returns the cookie without its value. Cookies ignore ports, so the name is the console's own.
func sessionCookie(https bool) http.Cookie {
	k := http.Cookie{Name: "countersign_console", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: https}
	if https {
		k.Name = "__Host-" + k.Name
	}
	return k
}

func (c *console) setSession(w http.ResponseWriter, token string) {
	k := c.cookie
	if k.Value = token; token == "" {
		k.MaxAge = -1
	}
	http.SetCookie(w, &k)
}

func (c *console) session(r *http.Request) (operator.Session, error) {
	k, err := r.Cookie(c.cookie.Name)
	if err != nil {
		return operator.Session{}, operator.ErrSignedOut
	}
	return c.Operators.Session(r.Context(), k.Value, r.Header.Get(refreshHeader) == "")
}

// signedIn is a page for operators. Who is not signed in is asked to, and then comes back.
func (c *console) signedIn(h func(http.ResponseWriter, *http.Request, operator.Session) error) http.Handler {
	return c.open(func(w http.ResponseWriter, r *http.Request) error {
		ses, err := c.session(r)
		if errors.Is(err, operator.ErrSignedOut) && r.Header.Get(refreshHeader) == "" {
			to := "/signin"
			if r.Method == http.MethodGet && r.URL.Path != "/" {
				to += "?next=" + url.QueryEscape(r.URL.Path)
			}
			http.Redirect(w, r, to, http.StatusSeeOther)
			return nil
		}
		if err != nil {
			return err
		}
		return h(w, r, ses)
	})
}

// ofApp is a page about an application of the operator's account.
func (c *console) ofApp(h func(http.ResponseWriter, *http.Request, operator.Session, tenant.Application) error) http.Handler {
	return c.signedIn(func(w http.ResponseWriter, r *http.Request, ses operator.Session) error {
		app, err := c.Tenants.Store.Application(r.Context(), ses.Operator.AccountID, r.PathValue("app"))
		if err != nil {
			return err
		}
		return h(w, r, ses, app)
	})
}

// allow limits how often an address may try to get in.
func (c *console) allow(r *http.Request) error { return c.strangers.Allow(c.Proxies.Address(r)) }

// signInForm is the data of template "signin".
type signInForm struct {
	Email, Next, Error string
	Dev                bool // this is `dev`: its link is the way in
	Out                bool // just signed out
}

func (c *console) signInPage(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	return c.renderSignIn(w, http.StatusOK, signInForm{Next: ownPath(q.Get("next")), Out: q.Has("out")})
}

func (c *console) renderSignIn(w http.ResponseWriter, status int, f signInForm) error {
	f.Dev = c.Operators.Dev()
	return c.render(w, status, "signin", view{Title: "Sign in", Page: f})
}

func (c *console) signIn(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, "email", "password", "code", "next")
	if err != nil {
		return err
	}
	if err := c.allow(r); err != nil {
		return err
	}
	token, err := c.Operators.SignIn(r.Context(), form["email"], form["password"], form["code"])
	if errors.Is(err, operator.ErrSignIn) {
		web.Note(r, slog.String("problem", operator.ErrSignIn.Code))
		return c.renderSignIn(w, http.StatusUnauthorized, signInForm{Email: form["email"], Next: ownPath(form["next"]), Error: operator.ErrSignIn.Detail})
	}
	if err != nil {
		return err
	}
	return c.enter(w, r, token, ownPath(form["next"]))
}

// signInDev signs in who opened the link that `dev` printed. It is the one GET that changes something: the token in it is
// known only to who started the program.
func (c *console) signInDev(w http.ResponseWriter, r *http.Request) error {
	if err := c.allow(r); err != nil {
		return err
	}
	token, err := c.Operators.SignInDev(r.Context(), r.URL.Query().Get("token"))
	if err != nil {
		return err
	}
	return c.enter(w, r, token, "/")
}

// enter gives the browser its new session, and ends the one it had.
func (c *console) enter(w http.ResponseWriter, r *http.Request, token, next string) error {
	if old, err := c.session(r); err == nil {
		if err := c.Operators.SignOut(r.Context(), old); err != nil {
			return err
		}
	}
	c.setSession(w, token)
	http.Redirect(w, r, next, http.StatusSeeOther)
	return nil
}

func (c *console) signOut(w http.ResponseWriter, r *http.Request, ses operator.Session) error {
	if err := c.Operators.SignOut(r.Context(), ses); err != nil {
		return err
	}
	c.setSession(w, "")
	http.Redirect(w, r, "/signin?out", http.StatusSeeOther)
	return nil
}

// ownPath returns path when it is one of this site, else "/".
func ownPath(path string) string {
	u, err := url.Parse(path)
	if err != nil || u.Host != "" || u.Scheme != "" || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || strings.ContainsAny(path, "\\\r\n") {
		return "/"
	}
	return path
}

// purpose is what a proof is for.
type purpose struct {
	Act  string // "see the API key"
	For  string // whose
	Path string // where the form goes
	Back string // the page that asked
}

// ofApplication is an act on one of the application's paths.
func ofApplication(app tenant.Application, path, act string) purpose {
	page := "/applications/" + app.ID
	return purpose{Act: act, For: app.Name, Path: page + "/" + path, Back: page}
}

// proveForm is the page that asks for both factors again.
type proveForm struct {
	purpose
	Keep   map[string]string // what was filled in already
	Dev    bool
	Error  string
	Minute int
}

// proved makes sure that the operator proved who they are a short while ago: it takes both factors from the form when they are
// there, or asks for them. False says that it has answered.
func (c *console) proved(w http.ResponseWriter, r *http.Request, ses operator.Session, form map[string]string, what purpose) (bool, error) {
	if ses.Fresh(c.Now()) {
		return true, nil
	}
	ask := proveForm{purpose: what, Keep: map[string]string{}, Dev: ses.Operator.Email == operator.DevEmail, Minute: int(operator.ProofLife.Minutes())}
	for name, value := range form {
		if name != "password" && name != "code" && value != "" {
			ask.Keep[name] = value
		}
	}
	if form["password"] != "" || form["code"] != "" {
		if err := c.allow(r); err != nil {
			return false, err
		}
		token, err := c.Operators.SignIn(r.Context(), ses.Operator.Email, form["password"], form["code"])
		if err == nil {
			c.setSession(w, token)
			return true, c.Operators.SignOut(r.Context(), ses)
		}
		if !errors.Is(err, operator.ErrSignIn) {
			return false, err
		}
		ask.Error = operator.ErrSignIn.Detail
	}
	return false, c.render(w, http.StatusForbidden, "prove", view{Title: "Confirm it is you", Nav: "applications", Operator: ses.Operator, Page: ask})
}
