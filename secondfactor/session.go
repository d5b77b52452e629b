// This file owns who is signed in: the guard before handlers, the types that tell a signed-in person from one who is still
// waiting, and the end of a session.

package secondfactor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// SignedIn is a person who completed an attempt in this browser. Only [Guard.Require] and [Guard.Who] make one that names anybody.
type SignedIn struct {
	session  Session
	mayTrust bool
}

// User is the application's id of the person.
func (s SignedIn) User() string { return s.session.User }

// AuthyID is the provider's id of the person.
func (s SignedIn) AuthyID() int64 { return s.session.AuthyID }

// Method is how the factor was proved.
func (s SignedIn) Method() Method { return s.session.Method }

// Since is when the person signed in.
func (s SignedIn) Since() time.Time { return s.session.CreatedAt }

// MayTrust reports whether to ask if this browser shall be trusted: post yes or no in the field "trust" to /login/trust, and where to go on
// in "next". It is asked for ten minutes after a log-in with a factor, until it was answered.
func (s SignedIn) MayTrust() bool { return s.mayTrust }

// Enrolling is a person whose password was right and who has no factor yet. It is another type than [SignedIn], so that a page
// for signed-in people cannot take it (D4).
type Enrolling struct{ attempt Attempt }

// User is the application's id of the person.
func (e Enrolling) User() string { return e.attempt.User }

// Waiting is a person whose password was right and whose second factor is awaited. It is another type than [SignedIn], for pages that help
// who cannot give it; nothing that is the account's own belongs on them.
type Waiting struct{ attempt Attempt }

// User is the application's id of the person.
func (w Waiting) User() string { return w.attempt.User }

// Require lets only signed-in people through. Others are sent to the log-in form, with the page they wanted in the parameter
// "next" if they wanted to read one.
func (g *Guard) Require(next func(http.ResponseWriter, *http.Request, SignedIn)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := g.Who(r)
		switch {
		case errors.Is(err, ErrNotFound):
			path := g.config.LoginURL
			if r.Method == http.MethodGet {
				path += "?next=" + url.QueryEscape(r.URL.RequestURI())
			}
			g.redirect(w, r, path)
		case err != nil:
			g.fail(w, r, err)
		default:
			w.Header().Set("Cache-Control", "no-store")
			next(w, r, who)
		}
	})
}

// RequireEnrolling lets only people through who are setting up their factor in this browser. Where that is over, the waiting page says so or leads on; others
// are sent to the log-in form.
func (g *Guard) RequireEnrolling(next func(http.ResponseWriter, *http.Request, Enrolling)) http.Handler {
	return g.requireAttempt(ForEnrol, func(w http.ResponseWriter, r *http.Request, a Attempt) { next(w, r, Enrolling{a}) })
}

// RequireWaiting lets only people through who gave the password and wait for their second factor in this browser. Where that is over, or something else
// was begun since, as after a second click, the waiting page says so or leads on; others are sent to the log-in form.
func (g *Guard) RequireWaiting(next func(http.ResponseWriter, *http.Request, Waiting)) http.Handler {
	return g.requireAttempt(ForLogin, func(w http.ResponseWriter, r *http.Request, a Attempt) { next(w, r, Waiting{a}) })
}

// requireAttempt lets only browsers through whose attempt has this purpose and waits.
func (g *Guard) requireAttempt(purpose Purpose, next func(http.ResponseWriter, *http.Request, Attempt)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := g.attempt(r)
		switch {
		case err != nil && !errors.Is(err, ErrNotFound):
			g.fail(w, r, err)
		case err == nil && a.Purpose == purpose && a.State.waiting():
			w.Header().Set("Cache-Control", "no-store")
			next(w, r, a)
		case err == nil && (a.Purpose == purpose || purpose == ForLogin):
			g.redirect(w, r, "/login/verify")
		default:
			g.redirect(w, r, g.config.LoginURL)
		}
	})
}

// Who returns the person signed in in this browser, or [ErrNotFound]. Any other error means that nobody knows.
func (g *Guard) Who(r *http.Request) (SignedIn, error) {
	hash := g.cookieHash(r, sessionCookie)
	if hash == "" {
		return SignedIn{}, ErrNotFound
	}
	s, err := g.config.Store.Session(r.Context(), hash)
	if err != nil {
		return SignedIn{}, err
	}
	now := g.config.Now()
	if !now.Before(g.ends(s)) {
		// The row goes too: a value that was stolen and kept is of no more use.
		if err := g.config.Store.EndSession(r.Context(), hash); err != nil {
			return SignedIn{}, err
		}
		return SignedIn{}, ErrNotFound
	}
	if now.Sub(s.SeenAt) >= time.Minute {
		s.SeenAt = now
		if err := g.config.Store.UpdateSession(r.Context(), s); err != nil {
			return SignedIn{}, err
		}
	}
	proved := s.Method == Push || s.Method == Code || s.Method == SMS || s.Method == Call
	return SignedIn{s, proved && !s.TrustAsked && s.Trusted == "" && now.Before(s.CreatedAt.Add(trustQuestion))}, nil
}

// Sessions lists the browsers in which a person is signed in.
func (g *Guard) Sessions(ctx context.Context, who SignedIn) (list []Place, err error) {
	sessions, err := g.config.Store.SessionsOf(ctx, who.User())
	if err != nil {
		return nil, err
	}
	now := g.config.Now()
	for _, s := range sessions {
		if until := g.ends(s); now.Before(until) {
			list = append(list, Place{s.ID, Origin{s.Browser, s.Address}, s.CreatedAt, s.SeenAt, until, s.Hash == who.session.Hash})
		}
	}
	return list, nil
}

// SignOut signs a person out in one other browser, a [Place] of [Guard.Sessions]. The own one and an unknown one, such as "", are left as they are.
func (g *Guard) SignOut(ctx context.Context, who SignedIn, id string) error {
	return g.endSessions(ctx, who.User(), func(s Session) bool { return id != "" && s.ID == id && s.Hash != who.session.Hash })
}

// SignOutOthers signs a person out in all other browsers, and ends the attempts that wait there.
func (g *Guard) SignOutOthers(ctx context.Context, who SignedIn) error {
	own := who.session.Hash
	return errors.Join(
		g.cancelAll(ctx, who.User(), func(a Attempt) bool { return a.Session != own }),
		g.endSessions(ctx, who.User(), func(s Session) bool { return s.Hash != own }))
}

// SignOutEverywhere signs a person out everywhere, ends waiting attempts and forgets trusted browsers: after the password was reset, or when the factor was
// switched off.
func (g *Guard) SignOutEverywhere(ctx context.Context, user string) error {
	return errors.Join(g.forgetTrust(ctx, user), g.cancelAll(ctx, user, anyAttempt), g.endSessions(ctx, user, func(Session) bool { return true }))
}

// endSessions ends the sessions of a user that are meant. What could still become a session must have ended before.
func (g *Guard) endSessions(ctx context.Context, user string, meant func(Session) bool) error {
	sessions, err := g.config.Store.SessionsOf(ctx, user)
	for _, s := range sessions {
		if meant(s) {
			err = errors.Join(err, g.config.Store.EndSession(ctx, s.Hash))
		}
	}
	return err
}

// cancelAll ends the waiting attempts of a user that are meant.
func (g *Guard) cancelAll(ctx context.Context, user string, meant func(Attempt) bool) error {
	waiting, err := g.config.Store.AttemptsBy(ctx, user)
	for _, a := range waiting {
		if meant(a) {
			err = errors.Join(err, g.cancelAttempt(ctx, a.Browser, NoticeEnded))
		}
	}
	return err
}

func anyAttempt(Attempt) bool { return true }

// ends is when a session ends unless it is used.
func (g *Guard) ends(s Session) time.Time {
	idle, life := s.SeenAt.Add(g.config.Limits.SessionIdle), s.CreatedAt.Add(g.config.Limits.SessionLife)
	if idle.Before(life) {
		return idle
	}
	return life
}

// attempt returns this browser's attempt as it stands now, or [ErrNotFound]: also for one that was consumed, so that after
// a log-out nothing is left to ask about (D2).
func (g *Guard) attempt(r *http.Request) (Attempt, error) {
	hash := g.cookieHash(r, pendingCookie)
	if hash == "" {
		return Attempt{}, ErrNotFound
	}
	a, err := g.config.Store.AttemptOf(r.Context(), hash)
	if err != nil {
		return Attempt{}, err
	}
	if a.State == Consumed {
		return Attempt{}, ErrNotFound
	}
	return a.at(g.config.Now()), nil
}

// logOut ends the session and the attempt of this browser, on the server and in the browser.
func (g *Guard) logOut(w http.ResponseWriter, r *http.Request) error {
	if err := g.endHere(context.WithoutCancel(r.Context()), w, r); err != nil {
		return err
	}
	g.redirect(w, r, g.config.AfterLogout)
	return nil
}

// endHere destroys what this browser has. That it is trusted stays: trust ends on the security page.
func (g *Guard) endHere(ctx context.Context, w http.ResponseWriter, r *http.Request) error {
	if hash := g.cookieHash(r, sessionCookie); hash != "" {
		if err := g.config.Store.EndSession(ctx, hash); err != nil {
			return err
		}
	}
	if err := g.cancelAttempt(ctx, g.cookieHash(r, pendingCookie), NoticeNone); err != nil {
		return err
	}
	g.setCookie(w, sessionCookie, "", -time.Second)
	g.setCookie(w, pendingCookie, "", -time.Second)
	if g.config.SignedOut != nil {
		g.config.SignedOut(w, r)
	}
	return nil
}

// complete signs in. It is the only place that does.
func (g *Guard) complete(w http.ResponseWriter, r *http.Request) error {
	ctx := context.WithoutCancel(r.Context())
	a, err := g.attempt(r)
	if errors.Is(err, ErrNotFound) {
		return g.gone(w, r)
	} else if err != nil {
		return err
	}
	if a.State != Approved { // exactly approved (D6)
		g.redirect(w, r, "/login/verify")
		return nil
	}
	old := g.cookieHash(r, sessionCookie)
	if a.Session != "" && old != a.Session {
		return g.refuse(w, r, http.StatusForbidden, "This confirmation belongs to another session. Nothing was done.")
	}
	done, ok, err := g.proof(w, r, a)
	if !ok {
		return err
	}
	value, err := g.consume(ctx, a, old)
	if errors.Is(err, ErrConflict) {
		return g.gone(w, r)
	} else if err != nil {
		return err
	}
	return g.finish(w, r, a, done, value)
}

// proof asks a last time for what approved an attempt, and returns what is completed by it. Where it does not hold, it answers the request and
// returns false.
func (g *Guard) proof(w http.ResponseWriter, r *http.Request, a Attempt) (done Completion, ok bool, err error) {
	ctx := context.WithoutCancel(r.Context())
	done = Completion{
		Purpose: a.Purpose, User: a.User, AuthyID: a.AuthyID, Method: a.Method, Ref: a.Ref, Origin: a.Origin, digest: a.Digest,
	}
	switch a.Method {
	case Push:
		switch done.DeviceKey, err = g.confirm(ctx, a); {
		case errors.Is(err, errUnconfirmed):
			return Completion{}, false, g.unconfirmed(w, r, a, Denied, err)
		case err != nil:
			return Completion{}, false, g.unconfirmed(w, r, a, Approved, err)
		}
		done.Approval = a.Request
	case Trusted:
		// It may have been forgotten since the password was typed.
		if _, err := g.config.Store.Trusted(ctx, a.Trusted); errors.Is(err, ErrNotFound) {
			return Completion{}, false, g.gone(w, r)
		} else if err != nil {
			return Completion{}, false, err
		}
	}
	return done, true, nil
}

// finish has done what a consumed attempt approved, and then gives the browser its new session. When that fails the session ends, but after an act: then it
// is as it was before, under a new value.
func (g *Guard) finish(w http.ResponseWriter, r *http.Request, a Attempt, done Completion, value string) (err error) {
	ctx := context.WithoutCancel(r.Context())
	if a.Purpose == ForChange {
		// What waits for the old factor, or was trusted on its word, is over.
		err = errors.Join(g.cancelAll(ctx, a.User, anyAttempt), g.forgetTrust(ctx, a.User))
	}
	if err == nil && g.config.Completed != nil {
		err = g.config.Completed(ctx, done)
	}
	if err == nil && g.config.SignedIn != nil {
		err = g.config.SignedIn(w, r, done)
		if err != nil && a.Purpose == ForStepUp { // the act is done: who is told that it failed does it again (ST2)
			g.config.Log.ErrorContext(ctx, "an act is done, but the application's own session was not told", "attempt", a.ID, "error", err)
			err = nil
		}
	}
	if err != nil {
		err = fmt.Errorf("completed %s: %w", a.Purpose, err)
		if a.Purpose != ForStepUp {
			return errors.Join(err, g.config.Store.EndSession(ctx, hashOf(value)))
		}
	}
	g.hub.wake(a.Browser) // other tabs stop waiting
	g.setCookie(w, sessionCookie, value, 0)
	g.setCookie(w, pendingCookie, "", -time.Second)
	if err != nil {
		return err
	}
	g.config.Log.InfoContext(ctx, "attempt completed", "attempt", a.ID, "purpose", a.Purpose, "user", a.User, "method", a.Method)
	g.redirect(w, r, a.ReturnTo)
	return nil
}

// consume uses up the approved attempt and makes the session, in one step. What a signed-in person confirms goes on with the age of the session.
func (g *Guard) consume(ctx context.Context, a Attempt, old string) (value string, err error) {
	value, hash := newToken()
	now := g.config.Now()
	s := Session{ID: rand.Text(), User: a.User, AuthyID: a.AuthyID, Method: a.Method, Stamp: a.Stamp, Browser: a.Origin.Browser, Address: a.Origin.Address, CreatedAt: now, Trusted: a.Trusted}
	if a.Session != "" {
		s, err = g.config.Store.Session(ctx, old)
		if errors.Is(err, ErrNotFound) {
			return "", ErrConflict
		} else if err != nil {
			return "", err
		}
		if !now.Before(g.ends(s)) {
			return "", ErrConflict // a confirmation brings no ended session back
		}
	}
	s.Hash, s.SeenAt = hash, now
	switch a.Purpose {
	case ForStepUp: // says yes to one act, and to nothing else
	case ForChange:
		s.AuthyID = a.AuthyID
	default:
		if a.Method != Trusted {
			s.ConfirmedAt = now
			s.FreshUntil = s.fresh(now, g.config.Limits.Fresh)
		}
	}
	return value, g.config.Store.Consume(ctx, a, old, s)
}

// unconfirmed notes that an approval could not be confirmed: denied for good when the provider contradicts it, and still
// approved, to be tried again, when the provider did not answer.
func (g *Guard) unconfirmed(w http.ResponseWriter, r *http.Request, a Attempt, state State, cause error) error {
	g.config.Log.ErrorContext(r.Context(), "approval not confirmed", "attempt", a.ID, "state", state, reason(cause))
	_, err := g.change(context.WithoutCancel(r.Context()), a.Browser, func(a *Attempt, _ time.Time) error {
		a.State, a.Notice = state, NoticeUnconfirmed
		return nil
	})
	if err := lateIsFine(err); err != nil {
		return err
	}
	g.redirect(w, r, "/login/verify")
	return nil
}

// gone answers who has nothing to complete: a second click, or a tab that was left open.
func (g *Guard) gone(w http.ResponseWriter, r *http.Request) error {
	return g.refuse(w, r, http.StatusConflict, "There is nothing left to confirm here. It was completed already, or it ran out.")
}
