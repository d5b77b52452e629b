// This file owns the pages: what the templates are given, the assets, and how errors are told.

package secondfactor

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed page
var pageFiles embed.FS

// Templates returns the built-in pages: "verify", "confirm" and "problem", and the parts they are made of. To give them your look, define "head" (inside
// the HTML head), "top" and "bottom" (around the main element) anew in what is returned; all three get the same data as the page.
// Pages carry the Content-Security-Policy of [Headers], default-src 'self': inline styles, and fonts or scripts from elsewhere, do not load.
// "help" says how to reach whoever can help when phone and recovery codes are lost. To replace a whole page, define it anew.
func Templates() *template.Template {
	return template.Must(template.ParseFS(pageFiles, "page/*.html"))
}

// Page is what the template "verify" is given.
type Page struct {
	App     string // name of the application
	Base    string // path prefix of all addresses, "" for none
	Purpose Purpose
	State   State
	Notice  Notice
	Reason  string // why the device said no
	Attempt string // to be sent back in every form as "attempt"
	Ask     Ask    // as Match and Phone, nothing once the attempt has ended without a yes and nothing can be tried any more

	Match       string // number to type on the device
	Device      string // which device was asked, in words
	SecondsLeft int
	PushLive    bool   // a device can still answer
	CanPush     bool   // a device can be asked (again)
	Resting     bool   // no device is asked for now, whatever the person does
	PushIn      int    // seconds until a device can be asked, 0 for now or not in this attempt
	PushWait    int    // seconds until it can be told of the live request again
	CanSMS      bool   // a text message can be asked for
	CanCall     bool   // a call can be asked for
	ByCall      bool   // the last code was spoken by a call
	CanType     bool   // a code is accepted: of an authenticator, or one that was sent
	CanCode     bool   // a code of an authenticator is accepted
	Sent        bool   // a code was sent
	NoDevice    bool   // the provider knows no device of this person
	CanRecover  bool   // a recovery code is accepted
	CodeFirst   bool   // the code form is the main thing on the page
	Lost        bool   // the part for people without their phone is the main thing on the page
	TriesLeft   int    // -1 while it is not worth telling
	Clock       bool   // codes were wrong again and again: perhaps the phone's clock is
	Phone       string // masked
	SMSWait     int    // seconds until a text message can be asked for again
	Wait        string // how long the provider will not listen, in words, "" when unknown
	DeviceLink  string // opens the request in the authenticator on this device
	StartOver   string
	Back        string // page that sets up the factor, while it is being set up
	Home        string // where the person wanted to go
	Next        string // the same as a local path, without the prefix
}

// page builds the view of an attempt.
func (g *Guard) page(a Attempt, now time.Time) Page {
	p := Page{
		App: g.config.Name, Base: g.base, Purpose: a.Purpose, Notice: a.Notice, Reason: a.Reason, Attempt: a.tag(), Ask: a.Ask, Match: a.Match, Device: cmp.Or(a.Device, "your device"),
		PushLive: a.pushLive(now), CanPush: a.may(Push, now) && !a.pushLive(now) && !a.rests(now), CanSMS: a.may(SMS, now), CanCall: a.may(Call, now), ByCall: a.SentBy == Call, CanType: a.mayType(now), CanCode: a.may(Code, now), Sent: a.CodeSent != "", NoDevice: a.NoDevice,
		CanRecover: a.may(Recovery, now), TriesLeft: -1, Phone: a.Phone, StartOver: g.base + a.StartOver, Home: g.base + a.ReturnTo, Next: a.ReturnTo,
		Clock: a.WrongCodes >= 2 && a.CodeSent == "", Wait: inWords(a.WaitUntil.Sub(now)),
	}
	s := statusOf(a, now)
	p.State, p.SecondsLeft = s.State, s.SecondsLeft
	if !p.State.waiting() && p.State != Approved && !p.CanPush && !p.CanSMS && !p.CanCall && !p.CanType {
		p.Ask, p.Match, p.Phone = Ask{}, "", "" // the page is there for a day more, whoever opens it then
	}
	if p.PushLive {
		p.SecondsLeft = seconds(a.RequestEnds.Sub(now)) // also beside a code
	}
	switch a.Notice {
	case NoticeWrong, NoticeMalformed, NoticeSent, NoticeIgnored, NoticeWait, NoticeNotSent, NoticeSuspended, NoticeLimited:
		p.CodeFirst = p.CanType
	case NoticeNoRecovery, NoticeNoMoreTries:
		p.Lost = true
	default:
		p.CodeFirst = p.CanType && p.State == CodePending
	}
	if left := g.config.Limits.WrongCodes - a.WrongCodes; a.WrongCodes >= 3 {
		p.TriesLeft = max(left, 0)
	}
	if wait := a.AskedAt.Add(g.config.Limits.PushAgain).Sub(now); p.PushLive && wait > 0 {
		p.PushWait = seconds(wait)
	}
	if wait := a.SentAt.Add(g.config.Limits.SMSAgain).Sub(now); wait > 0 {
		p.SMSWait = seconds(wait)
	}
	p.rest(a, now)
	if a.Purpose == ForEnrol {
		p.Back = g.base + g.config.EnrolURL
	}
	if g.config.AuthenticatorURL != "" && p.PushLive {
		p.DeviceLink = strings.TrimSuffix(g.config.AuthenticatorURL, "/") + "/approvals/" + a.Request
	}
	return p
}

// rest says whether devices are asked at all. A rest that is over needs no more words.
func (p *Page) rest(a Attempt, now time.Time) {
	p.Resting = a.may(Push, now) && !p.PushLive && a.rests(now)
	if p.Resting && a.RestsUntil.Before(a.ExpiresAt) {
		p.PushIn = seconds(a.RestsUntil.Sub(now))
	}
	if !a.RestsUntil.IsZero() && !p.Resting && (a.Notice == NoticePaused || a.Notice == NoticeStopped) {
		p.Notice = NoticeNone
	}
}

// inWords is a wait as people say it, "" when there is none.
func inWords(d time.Duration) string {
	count := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return strconv.Itoa(n) + " " + unit + "s"
	}
	switch n := seconds(d); {
	case n <= 0:
		return ""
	case n < 120:
		return count(n, "second")
	case n < 120*60:
		return count((n+59)/60, "minute")
	default:
		return count((n+3599)/3600, "hour")
	}
}

// Digits is the number as it is read aloud: digit by digit.
func (p Page) Digits() string { return strings.Join(strings.Split(p.Match, ""), " ") }

// Waiting reports whether the page has something to wait for; a page without a script then loads itself again.
func (p Page) Waiting() bool { return p.PushLive && p.State.waiting() }

// Open reports whether the attempt can still be approved: it waits, or its request ran out and another may be sent.
func (p Page) Open() bool {
	return p.State.waiting() || p.State == Expired && (p.CanType || p.CanPush)
}

// Nothing reports whether there is no way to go on but to log in again.
func (p Page) Nothing() bool {
	return p.Open() && !p.CanPush && !p.PushLive && !p.Resting && !p.CanSMS && !p.CanType && !p.CanRecover
}

// DeviceOnly reports whether only a device counts and none is asked for now: there is nothing to do but to come back.
func (p Page) DeviceOnly() bool {
	return p.State == Choosing && p.Resting && !p.CanSMS && !p.CanType
}

// TextFirst reports whether only a code counts that is not sent yet.
func (p Page) TextFirst() bool {
	return p.State == Choosing && p.CanSMS && !p.CanType && !p.CanPush && !p.PushLive
}

// Serious reports whether the notice should interrupt.
func (p Page) Serious() bool {
	return p.Notice != NoticeNone && p.Notice != NoticeSent && p.Notice != NoticeAskedAgain
}

// Failed reports whether the notice is about something that went wrong, rather than something to know.
func (p Page) Failed() bool {
	switch p.Notice {
	case NoticeIgnored, NoticeNoDevice, NoticeWait, NoticePaused, NoticeStopped, NoticeAskedEnough:
		return false
	}
	return p.Serious()
}

// showPage shows the waiting page. Loading it again sends nothing and changes nothing.
func (g *Guard) showPage(w http.ResponseWriter, r *http.Request) error {
	a, err := g.attempt(r)
	if err == nil && a.awaitsPush() {
		if err := g.refresh(r.Context(), a); err != nil {
			return err
		}
		a, err = g.attempt(r)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		g.redirect(w, r, g.config.LoginURL)
		return nil
	case err != nil:
		return err
	case a.Purpose == ForEnrol && a.State == Choosing && a.Notice == NoticeNone:
		g.redirect(w, r, g.config.EnrolURL)
		return nil
	}
	return g.render(w, http.StatusOK, "verify", g.page(a, g.config.Now()))
}

// Problem is what the template "problem" is given.
type Problem struct {
	App, Base string
	Text      string
	Reference string // found again in the log, "" when there is nothing to find
	Home      string
}

// refuse answers with a page that says why nothing was done.
func (g *Guard) refuse(w http.ResponseWriter, _ *http.Request, code int, text string) error {
	return g.render(w, code, "problem", Problem{App: g.config.Name, Base: g.base, Text: text, Home: g.base + "/"})
}

// fail answers an error of our own with a neutral page; the log has the rest. Nobody is signed in by it.
func (g *Guard) fail(w http.ResponseWriter, r *http.Request, err error) {
	reference := rand.Text()[:8]
	g.config.Log.ErrorContext(r.Context(), "request failed", "reference", reference, "method", r.Method, "path", r.URL.Path, reason(err))
	problem := Problem{
		App: g.config.Name, Base: g.base, Text: "Something went wrong on our side. Nothing was changed.", Reference: reference, Home: g.base + "/",
	}
	if err := g.render(w, http.StatusInternalServerError, "problem", problem); err != nil {
		g.config.Log.ErrorContext(r.Context(), "problem page failed", "reference", reference, "error", err)
	}
}

// render writes a page, or nothing of it if the template fails.
func (g *Guard) render(w http.ResponseWriter, code int, name string, data any) error {
	var out bytes.Buffer
	if err := g.config.Templates.ExecuteTemplate(&out, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = out.WriteTo(w) // a browser that went away is no error of ours
	return nil
}

// handler gives a handler the headers of a log-in and one place where its errors end.
func (g *Guard) handler(h func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		Headers(w.Header())
		if err := h(w, r); err != nil {
			g.fail(w, r, err)
		}
	})
}

// serveAsset serves the style and the script of the waiting page.
func (g *Guard) serveAsset(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if name != "verify.css" && name != "verify.js" {
		http.NotFound(w, r)
		return nil
	}
	file, err := pageFiles.ReadFile("page/" + name)
	if err != nil {
		return err
	}
	// Asked for again each time, so that an update counts at once; answered with 304 otherwise.
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", `"`+hashOf(string(file))+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file))
	return nil
}
