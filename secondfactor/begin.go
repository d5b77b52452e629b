// This file owns how attempts begin: at a log-in, at an enrolment, before an act.

package secondfactor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"countersign.dev/client"
)

// Person is a user of the application whose password was right.
type Person struct {
	ID      string   // the application's id
	AuthyID int64    // the provider's id of this person
	Account string   // how the person knows the account, such as the e-mail address; shown on the device
	Prefer  Method   // tried first; "" means [Push]
	Stamp   string   // changes with the password or the factor (a counter in the user's row will do); browsers trusted under another stamp are no longer trusted
	Keys    []string // public keys of this person's devices, when the application pinned them: then only these may approve, and codes count for nothing
}

// Act is one thing a signed-in person wants done, with the exact values that are to be approved.
type Act struct {
	Ref       string // the application's id of the act
	Ask       Ask    // says what will be done; every value that matters is in it
	ReturnTo  string // local path shown after it was done
	StartOver string // local path shown when it was not
}

// Completion is a completed attempt. Only a [Guard] makes one.
type Completion struct {
	Purpose   Purpose
	User      string // the application's id
	AuthyID   int64
	Method    Method
	Ref       string // of the act, for a step-up
	DeviceKey string // public key of the device that approved, when the provider sent a receipt
	Approval  string // UUID of the approval, "" when a code was given
	Origin    Origin // of the browser

	digest string
}

// Covers reports whether exactly this act was approved: same Ref, same message, same details in the same order. Build the act again
// from your own records, where nobody could change it meanwhile, and ask before you carry it out.
func (c Completion) Covers(act Act) bool {
	return c.Purpose == ForStepUp && c.digest == act.digest()
}

// Login begins the second step after the password was right, and answers the request with the way to the waiting page. The browser
// is not signed in. Once the attempt is completed it goes to returnTo, a local path. In a trusted browser nothing is asked.
func (g *Guard) Login(w http.ResponseWriter, r *http.Request, p Person, returnTo string) {
	ctx := context.WithoutCancel(r.Context())
	a := Attempt{
		Purpose: ForLogin, User: p.ID, AuthyID: p.AuthyID, Keys: p.Keys, Stamp: p.Stamp,
		Ask:      Ask{Message: "Log in to " + g.config.Name, Details: []client.Field{{Name: "Account", Value: p.Account}}, Logo: g.config.Logo},
		ReturnTo: LocalPath(returnTo, "/"), StartOver: g.config.LoginURL,
	}
	left, err := g.RecoveryCodesLeft(ctx, p.ID)
	if err == nil && p.ID != "" {
		a.Trusted, err = g.trusts(ctx, w, r, p)
	}
	if err != nil {
		g.fail(w, r, err)
		return
	}
	a.Recovery = left > 0
	g.begin(w, r, a, p.Prefer, g.config.Limits.Login)
}

// Enrol begins the proof of a new factor and answers with the way to Config.EnrolURL. Nothing is sent yet: the application's page lets
// the person set up a device, wrapped in [Guard.RequireEnrolling], and then posts to /login/verify/push or /authy/send_token.
func (g *Guard) Enrol(w http.ResponseWriter, r *http.Request, p Person, returnTo string) {
	g.begin(w, r, Attempt{
		Purpose: ForEnrol, User: p.ID, AuthyID: p.AuthyID, Keys: p.Keys, Stamp: p.Stamp,
		Ask: Ask{
			Message: "Confirm that this device protects your account",
			Details: []client.Field{{Name: "Account", Value: p.Account}}, Logo: g.config.Logo,
		},
		ReturnTo: LocalPath(returnTo, "/"), StartOver: g.config.LoginURL,
	}, "", g.config.Limits.Enrol)
}

// StepUp asks a signed-in person for one act and answers with the way to the waiting page. When it is approved, Config.Completed
// gets a [Completion] that covers exactly this act.
func (g *Guard) StepUp(w http.ResponseWriter, r *http.Request, who SignedIn, p Person, act Act) {
	if p.ID == "" || p.ID != who.session.User {
		g.fail(w, r, errors.New("secondfactor: step-up for somebody else than who is signed in"))
		return
	}
	g.begin(w, r, Attempt{
		Purpose: ForStepUp, User: p.ID, AuthyID: p.AuthyID, Keys: p.Keys, Stamp: p.Stamp, Ask: act.Ask,
		Ref: act.Ref, Digest: act.digest(), Session: who.session.Hash,
		ReturnTo: LocalPath(act.ReturnTo, "/"), StartOver: LocalPath(act.StartOver, "/"),
	}, Push, g.config.Limits.Login)
}

// begin replaces the browser's attempt, stores the new one under a new pending cookie and asks the device, if that is the way.
func (g *Guard) begin(w http.ResponseWriter, r *http.Request, a Attempt, prefer Method, life time.Duration) {
	// From here on things happen that must not be left half done when the browser goes away.
	ctx, now := context.WithoutCancel(r.Context()), g.config.Now()
	if a.User == "" {
		g.fail(w, r, errors.New("secondfactor: person without an id"))
		return
	}
	if err := g.cancelAttempt(ctx, g.cookieHash(r, pendingCookie), NoticeReplaced); err != nil {
		g.fail(w, r, err)
		return
	}
	value, hash := newToken()
	a.ID, a.Browser, a.Origin = rand.Text(), hash, g.Origin(r)
	a.State, a.CreatedAt, a.ExpiresAt, a.Calls = Choosing, now, now.Add(life), g.config.Calls
	a.AppCodes = g.config.AppCodesForActs
	switch {
	case a.Trusted != "":
		a.approve(Trusted, g.config.Limits.Unused, now)
	case prefer != Push && a.may(prefer, now) && a.mayType(now):
		a.State = CodePending
	}
	if err := g.config.Store.CreateAttempt(ctx, a); err != nil {
		g.fail(w, r, fmt.Errorf("begin attempt: %w", err))
		return
	}
	g.sweep(ctx, now)
	g.config.Log.InfoContext(ctx, "attempt begins", "attempt", a.ID, "purpose", a.Purpose, "user", a.User)
	next := g.config.EnrolURL
	if a.Purpose != ForEnrol {
		next = "/login/verify"
		if a.State == Choosing {
			if err := g.push(ctx, a); err != nil {
				g.fail(w, r, err)
				return
			}
		}
	}
	g.setCookie(w, pendingCookie, value, life+attemptKept) // so that who comes back too late is told so (D14)
	g.redirect(w, r, next)
}

// push asks the provider for an approval and notes it in the attempt. What the provider refuses becomes a state and a
// notice of the attempt; an error means that our own store failed.
func (g *Guard) push(ctx context.Context, a Attempt) error {
	asking, cancel := context.WithTimeout(ctx, g.config.Limits.Provider)
	defer cancel()
	request := client.ApprovalRequest{
		Message: a.Ask.Message, Details: a.Ask.Details, HiddenDetails: a.Ask.Hidden, Expire: g.config.Limits.Push, Match: g.config.Match,
		Context: g.context(a),
		// Two tabs that ask at once, and a retry of ours, get one approval.
		IdempotencyKey: a.ID + "-" + strconv.Itoa(a.Requests+1),
	}
	if a.Ask.Logo != "" {
		request.Logos = []client.Logo{{Res: "default", URL: a.Ask.Logo}}
	}
	named := make(chan string, 1)
	go func() { named <- g.deviceInWords(asking, a.AuthyID) }()
	approval, err := g.config.Provider.CreateApproval(asking, a.AuthyID, request)
	if err != nil {
		return g.notPushed(ctx, a, err)
	}
	device := <-named
	_, err = g.change(ctx, a.Browser, func(a *Attempt, now time.Time) error {
		if a.Request == approval.UUID {
			return errDecided // the other tab noted it
		}
		return a.attach(approval, device, g.config.Limits.Push, now)
	})
	if errors.Is(err, errOver) {
		g.withdraw(approval.UUID)
	}
	return lateIsFine(err)
}

// deviceInWords says which devices will show a request. Nothing depends on it: when the provider does not tell soon, the page says "your device".
func (g *Guard) deviceInWords(ctx context.Context, authyID int64) string {
	ctx, cancel := context.WithTimeout(ctx, min(time.Second, g.config.Limits.Provider))
	defer cancel()
	user, err := g.config.Provider.User(ctx, authyID)
	if err != nil || len(user.DetailedDevices) == 0 || user.DetailedDevices[0].Name == "" {
		return ""
	}
	switch name, more := user.DetailedDevices[0].Name, len(user.DetailedDevices)-1; more {
	case 0:
		return name
	case 1:
		return name + " or your other device"
	default:
		return name + " or one of your " + strconv.Itoa(more) + " other devices"
	}
}

// notPushed notes why no device could be asked, and for how long none can be.
func (g *Guard) notPushed(ctx context.Context, a Attempt, cause error) error {
	notice := NoticeUnreachable
	switch {
	case errors.Is(cause, client.ErrNoDevice):
		notice = NoticeNoDevice
	case errors.Is(cause, client.ErrNotMe):
		notice = NoticeStopped
	case errors.Is(cause, client.ErrRateLimited):
		notice = NoticePaused
	case errors.Is(cause, client.ErrSuspended):
		notice = NoticeSuspended
	case refused(cause):
		notice = NoticeNotAsked
	}
	wait := waitOf(cause)
	g.config.Log.WarnContext(ctx, "no device asked", "attempt", a.ID, "notice", notice, reason(cause))
	_, err := g.change(ctx, a.Browser, func(a *Attempt, now time.Time) error {
		if !a.State.waiting() {
			return errOver
		}
		a.State, a.Notice, a.NoDevice = Choosing, notice, notice == NoticeNoDevice
		a.waitFor(wait, now)
		a.RestsUntil = time.Time{}
		switch notice {
		case NoticeUnreachable:
			return nil
		case NoticeNotAsked:
			a.RestsUntil = a.ExpiresAt // asking again will not help
		default:
			a.RestsUntil = a.WaitUntil
		}
		a.State = a.unasked(now)
		return nil
	})
	return lateIsFine(err)
}

// refused reports whether the provider was reached and said no. Code 60000 is an error of its own, or none of its addresses.
func refused(cause error) bool {
	e, ok := errors.AsType[*client.Error](cause)
	return ok && e.Code != "" && e.Code != "60000"
}

// waitOf is how long the provider says to wait, 0 when it does not.
func waitOf(cause error) time.Duration {
	if e, ok := errors.AsType[*client.Error](cause); ok {
		return e.RetryAfter
	}
	return 0
}

// reason is an error of the provider as the log may have it: status and code, never its text, which may name a number (D26).
func reason(err error) slog.Attr {
	if e, ok := errors.AsType[*client.Error](err); ok {
		return slog.Group("provider", "status", e.Status, "code", e.Code)
	}
	if e, ok := errors.AsType[*url.Error](err); ok {
		err = e.Err // without the address, which names user and code
	}
	return slog.String("error", err.Error())
}

// change applies a change to a browser's attempt as it stands now, and tries again when somebody else was faster. The change returns an
// error to leave the attempt as it is; what is final is left as it is anyway (errOver). Everyone who waits is woken afterwards.
func (g *Guard) change(ctx context.Context, browser string, change func(a *Attempt, now time.Time) error) (Attempt, error) {
	for {
		a, err := g.config.Store.AttemptOf(ctx, browser)
		if err != nil {
			return Attempt{}, fmt.Errorf("read attempt: %w", err)
		}
		now := g.config.Now()
		a = a.at(now)
		if a.State.final() {
			return a, errOver
		}
		if err := change(&a, now); err != nil {
			return a, err
		}
		switch err := g.config.Store.UpdateAttempt(ctx, a); {
		case err == nil:
			a.Version++
			g.hub.wake(browser)
			return a, nil
		case !errors.Is(err, ErrConflict):
			return a, fmt.Errorf("write attempt: %w", err)
		}
	}
}

// lateIsFine drops the errors of changes that came too late: the page shows what is.
func lateIsFine(err error) error {
	if errors.Is(err, errOver) || errors.Is(err, errDecided) || errors.Is(err, errOther) {
		return nil
	}
	return err
}

// cancelAttempt ends a browser's attempt, if it has one that is not over, and takes its request off the device.
func (g *Guard) cancelAttempt(ctx context.Context, browser string, notice Notice) error {
	if browser == "" {
		return nil
	}
	live := ""
	a, err := g.change(ctx, browser, func(a *Attempt, now time.Time) error {
		live = ""
		if a.awaitsPush() {
			live = a.Request
		}
		a.State, a.Notice = Cancelled, notice
		return nil
	})
	if errors.Is(err, ErrNotFound) || errors.Is(err, errOver) {
		return nil
	}
	if err == nil {
		g.config.Log.InfoContext(ctx, "attempt cancelled", "attempt", a.ID, "notice", notice)
		g.withdraw(live)
	}
	return err
}

// withdraw takes a request off the device, in the background. If that fails, the request runs out by itself and nobody waits for it.
func (g *Guard) withdraw(request string) {
	if request == "" {
		return
	}
	g.background(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, g.config.Limits.Provider)
		defer cancel()
		if _, err := g.config.Provider.CancelApproval(ctx, request); err != nil && !errors.Is(err, client.ErrNotPending) {
			g.config.Log.WarnContext(ctx, "request not withdrawn", reason(err))
		}
	})
}

// attemptKept is how long an attempt is known after its end, to its browser and to whoever looks into a complaint.
const attemptKept = 24 * time.Hour

// sweep deletes old rows, once a minute at most, on the back of somebody's log-in.
func (g *Guard) sweep(ctx context.Context, now time.Time) {
	last := g.swept.Load()
	if now.Unix()-last < 60 || !g.swept.CompareAndSwap(last, now.Unix()) {
		return
	}
	if err := g.config.Store.Sweep(ctx, now.Add(-attemptKept), now.Add(-g.config.Limits.SessionLife), now); err != nil {
		g.config.Log.WarnContext(ctx, "old attempts not swept", "error", err)
	}
}

// redirect answers a POST with a page to GET.
func (g *Guard) redirect(w http.ResponseWriter, r *http.Request, path string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, g.base+path, http.StatusSeeOther)
}
