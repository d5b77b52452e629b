// This file owns trusted browsers: where a person's password is enough for 30 days, because a factor was proved there before.

package secondfactor

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

const (
	// trustGrace is how long the value before the last is still taken, for a log-in that was under way in another tab.
	trustGrace = 30 * time.Second
	// trustQuestion is how long after a log-in the browser may be trusted.
	trustQuestion = 10 * time.Minute
)

// trustCookie is the name of the cookie that makes a browser trusted for one person: each account has its own (D25).
func trustCookie(user string) string { return "countersign_trust_" + hashOf("trust|" + user)[:10] }

// trusts reports whether this browser is trusted for a person, and replaces the cookie's value. An old value that comes back means that
// there are two copies: then that trust ends (T-24).
func (g *Guard) trusts(ctx context.Context, w http.ResponseWriter, r *http.Request, p Person) (id string, err error) {
	cookie, err := r.Cookie(g.cookieName(trustCookie(p.ID)))
	if err != nil {
		return "", nil
	}
	id, value, _ := strings.Cut(cookie.Value, ".")
	b, err := g.config.Store.Trusted(ctx, id)
	if errors.Is(err, ErrNotFound) {
		g.setCookie(w, trustCookie(p.ID), "", -time.Second)
		return "", nil
	} else if err != nil {
		return "", fmt.Errorf("read trusted browser: %w", err)
	}
	now, hash := g.config.Now(), hashOf(value)
	same := func(kept string) bool { return subtle.ConstantTimeCompare([]byte(hash), []byte(kept)) == 1 }
	switch {
	case b.User != p.ID:
		return "", nil
	case !now.Before(b.ExpiresAt) || b.Stamp != p.Stamp:
		g.setCookie(w, trustCookie(p.ID), "", -time.Second)
		return "", g.config.Store.RemoveTrusted(ctx, p.ID, id)
	case same(b.Hash):
		return id, g.rotateTrust(ctx, w, r, b)
	case same(b.Before) && now.Before(b.RotatedAt.Add(trustGrace)):
		return id, nil // the other tab has the new value
	}
	g.setCookie(w, trustCookie(p.ID), "", -time.Second)
	// Nobody can tell which copy is the thief's: the trust ends, and so does whatever it opened.
	err = errors.Join(g.config.Store.RemoveTrusted(ctx, p.ID, id),
		g.endSessions(ctx, p.ID, func(s Session) bool { return s.Method == Trusted && s.Trusted == id }))
	if err != nil {
		return "", err
	}
	g.tell(ctx, Attempt{User: p.ID, Purpose: ForLogin, Origin: g.Origin(r)}, Event{Kind: TrustStolen})
	return "", nil
}

// rotateTrust gives the browser a new value. Who comes second in a race keeps the old one, which is good for the moment that it takes.
func (g *Guard) rotateTrust(ctx context.Context, w http.ResponseWriter, r *http.Request, b TrustedBrowser) error {
	value, hash := newToken()
	now, from := g.config.Now(), g.Origin(r)
	b.Before, b.Hash, b.RotatedAt, b.SeenAt, b.Browser, b.Address = b.Hash, hash, now, now, from.Browser, from.Address
	switch err := g.config.Store.PutTrusted(ctx, b); {
	case errors.Is(err, ErrConflict):
		return nil
	case err != nil:
		return fmt.Errorf("rotate trust: %w", err)
	}
	g.setCookie(w, trustCookie(b.User), b.ID+"."+value, b.ExpiresAt.Sub(now))
	return nil
}

// answerTrust takes the answer to "trust this browser?". It is asked after a log-in, never before; a recovery code or trust itself
// gives none.
func (g *Guard) answerTrust(w http.ResponseWriter, r *http.Request) error {
	ctx := context.WithoutCancel(r.Context())
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
	if !who.MayTrust() {
		return g.refuse(w, r, http.StatusConflict, "This browser can be trusted only right after a log-in with your second factor.")
	}
	s := who.session
	s.TrustAsked = true
	if r.PostForm.Get("trust") == "yes" {
		if s.Stamp, err = g.stamp(ctx, s); err == nil {
			s.Trusted, err = g.trust(ctx, w, r, s)
		}
		if err != nil {
			return err
		}
	}
	if err := g.config.Store.UpdateSession(ctx, s); err != nil {
		return err
	}
	g.redirect(w, r, LocalPath(r.PostForm.Get("next"), "/"))
	return nil
}

// stamp is a person's stamp of now, or without Config.Person that of the log-in.
func (g *Guard) stamp(ctx context.Context, s Session) (string, error) {
	if g.config.Person == nil {
		return s.Stamp, nil
	}
	p, err := g.config.Person(ctx, s.User)
	return p.Stamp, err
}

// trust makes this browser a trusted one.
func (g *Guard) trust(ctx context.Context, w http.ResponseWriter, r *http.Request, s Session) (id string, err error) {
	value, hash := newToken()
	now, from := g.config.Now(), g.Origin(r)
	b := TrustedBrowser{
		ID: rand.Text(), User: s.User, Stamp: s.Stamp, Hash: hash, RotatedAt: now, Browser: from.Browser, Address: from.Address,
		CreatedAt: now, SeenAt: now, ExpiresAt: now.Add(g.config.Limits.Trust),
	}
	if err := g.config.Store.PutTrusted(ctx, b); err != nil {
		return "", fmt.Errorf("trust browser: %w", err)
	}
	g.setCookie(w, trustCookie(s.User), b.ID+"."+value, g.config.Limits.Trust)
	g.tell(ctx, Attempt{User: s.User, Purpose: ForLogin, Origin: from}, Event{Kind: BrowserTrusted})
	return b.ID, nil
}

// Place is a browser in a list for its owner: one that is signed in, or one that is trusted.
type Place struct {
	ID      string // for [Guard.SignOut] or [Guard.ForgetBrowser]
	Origin  Origin
	Since   time.Time
	Seen    time.Time
	Until   time.Time // when it ends by itself
	Current bool      // the browser that asks
}

// TrustedBrowsers lists the browsers that are trusted for a person.
func (g *Guard) TrustedBrowsers(ctx context.Context, who SignedIn) (list []Place, err error) {
	stamp, err := g.stamp(ctx, who.session)
	if err != nil {
		return nil, err
	}
	trusted, err := g.config.Store.TrustedOf(ctx, who.User())
	if err != nil {
		return nil, err
	}
	for _, b := range trusted {
		if g.config.Now().Before(b.ExpiresAt) && b.Stamp == stamp {
			list = append(list, Place{b.ID, Origin{b.Browser, b.Address}, b.CreatedAt, b.SeenAt, b.ExpiresAt, b.ID == who.session.Trusted})
		}
	}
	return list, nil
}

// ForgetBrowser ends the trust in one browser of a person, a [Place] of [Guard.TrustedBrowsers]. An unknown one, such as "", is no error.
func (g *Guard) ForgetBrowser(ctx context.Context, who SignedIn, id string) error {
	return g.config.Store.RemoveTrusted(ctx, who.User(), id)
}

// ForgetAllBrowsers ends the trust in all browsers of a person.
func (g *Guard) ForgetAllBrowsers(ctx context.Context, who SignedIn) error {
	return g.forgetTrust(ctx, who.User())
}

// forgetTrust ends the trust in all browsers of a person.
func (g *Guard) forgetTrust(ctx context.Context, user string) error {
	trusted, err := g.config.Store.TrustedOf(ctx, user)
	for _, b := range trusted {
		err = errors.Join(err, g.config.Store.RemoveTrusted(ctx, user, b.ID))
	}
	return err
}
