// This file owns settings: what needs a proof of the factor within the last minutes, and how that proof is asked for.

package secondfactor

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"countersign.dev/client"
)

// freshAtMost is how long one proof opens settings, however often they are used.
const freshAtMost = 2 * time.Hour

// Confirmed is a signed-in person who proved the factor within the last minutes. Only [Guard.RequireConfirmed] makes one that names anybody.
type Confirmed struct{ SignedIn }

// RequireConfirmed lets only signed-in people through who proved their factor within the last 15 minutes: put it before whatever
// changes a password, a factor, an address or shows recovery codes. Others are asked to prove it, and then come back. A trusted
// browser never counts, and neither does a text message alone: who has nothing else logs in again. It panics without Config.Person.
func (g *Guard) RequireConfirmed(next func(http.ResponseWriter, *http.Request, Confirmed)) http.Handler {
	if g.config.Person == nil {
		panic("secondfactor: RequireConfirmed needs Config.Person")
	}
	return g.Require(func(w http.ResponseWriter, r *http.Request, who SignedIn) {
		now := g.config.Now()
		s := who.session
		if !now.Before(s.FreshUntil) {
			back := r.URL.RequestURI()
			if r.Method != http.MethodGet {
				back = g.cameFrom(r)
			}
			g.redirect(w, r, "/login/confirm?next="+url.QueryEscape(back))
			return
		}
		// It slides, but not for ever.
		if until := s.fresh(now, g.config.Limits.Fresh); until.Sub(s.FreshUntil) >= time.Minute {
			s.FreshUntil = until
			if err := g.config.Store.UpdateSession(r.Context(), s); err != nil {
				g.fail(w, r, err)
				return
			}
		}
		next(w, r, Confirmed{who})
	})
}

// fresh is how long the last proof opens settings, seen from now.
func (s Session) fresh(now time.Time, window time.Duration) time.Time {
	until, most := now.Add(window), s.ConfirmedAt.Add(freshAtMost)
	if until.After(most) {
		return most
	}
	return until
}

// cameFrom is the page that a form was sent from, "/" if it does not say so.
func (g *Guard) cameFrom(r *http.Request) string {
	from, err := url.Parse(r.Referer())
	if err != nil || from.Host == "" {
		return "/"
	}
	return LocalPath(g.local(from.RequestURI()), "/")
}

// Confirm is what the template "confirm" is given.
type Confirm struct {
	App, Base string
	Next      string
}

// showConfirm says why the factor is asked for, and asks for the go-ahead: loading a page sends nothing.
func (g *Guard) showConfirm(w http.ResponseWriter, r *http.Request) error {
	if _, err := g.Who(r); errors.Is(err, ErrNotFound) {
		g.redirect(w, r, g.config.LoginURL)
		return nil
	} else if err != nil {
		return err
	}
	return g.render(w, http.StatusOK, "confirm", Confirm{App: g.config.Name, Base: g.base, Next: LocalPath(r.FormValue("next"), "/")})
}

// confirmSettings begins the proof.
func (g *Guard) confirmSettings(w http.ResponseWriter, r *http.Request) error {
	who, err := g.Who(r)
	if errors.Is(err, ErrNotFound) {
		g.redirect(w, r, g.config.LoginURL)
		return nil
	} else if err != nil {
		return err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		return g.refuse(w, r, http.StatusBadRequest, "The form could not be read.")
	}
	next := LocalPath(r.PostForm.Get("next"), "/")
	if r.PostForm.Get("again") != "" {
		return g.logInAgain(w, r, next)
	}
	if g.config.Person == nil {
		return errors.New("secondfactor: Config.Person is needed to confirm settings")
	}
	p, err := g.config.Person(r.Context(), who.User())
	if err != nil {
		return err
	}
	g.begin(w, r, Attempt{
		Purpose: ForConfirm, User: who.User(), AuthyID: p.AuthyID, Keys: p.Keys, Stamp: p.Stamp, Session: who.session.Hash,
		Ask: Ask{
			Message: "Change the settings of your account at " + g.config.Name,
			Details: []client.Field{{Name: "Account", Value: p.Account}}, Logo: g.config.Logo,
		},
		ReturnTo: next, StartOver: next,
	}, p.Prefer, g.config.Limits.Login)
	return nil
}

// logInAgain ends the session, because a log-in with the password and any factor counts as a proof.
func (g *Guard) logInAgain(w http.ResponseWriter, r *http.Request, next string) error {
	if err := g.endHere(context.WithoutCancel(r.Context()), w, r); err != nil {
		return err
	}
	g.redirect(w, r, g.config.LoginURL+"?next="+url.QueryEscape(next))
	return nil
}

// Change lets a signed-in person prove a new factor: p is the same person with the new AuthyID, such as that of a new phone number. When it is
// proved, Config.Completed gets a [Completion] with the purpose [ForChange], that AuthyID and ref. Until then nothing has changed.
func (g *Guard) Change(w http.ResponseWriter, r *http.Request, who Confirmed, p Person, ref, returnTo string) {
	if p.ID == "" || p.ID != who.User() {
		g.fail(w, r, errors.New("secondfactor: change for somebody else than who is signed in"))
		return
	}
	g.begin(w, r, Attempt{
		Purpose: ForChange, User: p.ID, AuthyID: p.AuthyID, Keys: p.Keys, Stamp: p.Stamp, Session: who.session.Hash, Ref: ref,
		Ask: Ask{
			Message: "Confirm that this device protects your account",
			Details: []client.Field{{Name: "Account", Value: p.Account}}, Logo: g.config.Logo,
		},
		ReturnTo: LocalPath(returnTo, "/"), StartOver: LocalPath(returnTo, "/"),
	}, SMS, g.config.Limits.Enrol)
}
