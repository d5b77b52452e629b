// This file owns what a person does on the waiting page: ask a device again, ask for a text message, type a code, give up.

package secondfactor

import (
	"cmp"
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"countersign.dev/client"
)

// form returns the browser's attempt for a form of the waiting page. When there is none, or when the form stood in a tab
// that a newer attempt has replaced, it answers the request and returns false.
func (g *Guard) form(w http.ResponseWriter, r *http.Request) (a Attempt, ok bool, err error) {
	a, err = g.attempt(r)
	if errors.Is(err, ErrNotFound) {
		g.redirect(w, r, g.config.LoginURL)
		return a, false, nil
	} else if err != nil {
		return a, false, err
	}
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		return a, false, g.refuse(w, r, http.StatusBadRequest, "The form could not be read.")
	}
	if tag := r.PostForm.Get("attempt"); tag != "" && subtle.ConstantTimeCompare([]byte(tag), []byte(a.tag())) != 1 {
		return a, false, g.note(w, r, a, func(a *Attempt, _ time.Time) { a.Notice = NoticeStale })
	}
	return a, true, nil
}

// note changes an attempt that is still waiting and answers with the waiting page, which shows the change, or what happened instead.
func (g *Guard) note(w http.ResponseWriter, r *http.Request, a Attempt, change func(*Attempt, time.Time)) error {
	_, err := g.change(context.WithoutCancel(r.Context()), a.Browser, func(a *Attempt, now time.Time) error {
		if !a.State.waiting() {
			return errDecided
		}
		change(a, now)
		return nil
	})
	if err := lateIsFine(err); err != nil {
		return err
	}
	g.redirect(w, r, "/login/verify")
	return nil
}

// askDevice sends an approval request, or another after the last one ended. While one is alive the device is told of that one again: it
// stays the same request with the same number, and the device does not show two.
func (g *Guard) askDevice(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := g.form(w, r)
	if !ok {
		return err
	}
	ctx := context.WithoutCancel(r.Context())
	// The last request may have been answered in its last moment.
	if err := g.refresh(ctx, a); err != nil {
		return err
	}
	if a, err = g.attempt(r); err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	now := g.config.Now()
	if err == nil && a.pushLive(now) {
		return g.tellAgain(w, r, a)
	}
	if err == nil && a.may(Push, now) {
		if a.awaitsPush() {
			g.withdraw(a.Request) // its end came by our clock first
		}
		if err := g.push(ctx, a); err != nil {
			return err
		}
	}
	g.redirect(w, r, "/login/verify")
	return nil
}

// tellAgain tells the device of the live request once more. It is counted before it happens.
func (g *Guard) tellAgain(w http.ResponseWriter, r *http.Request, a Attempt) error {
	ctx := context.WithoutCancel(r.Context())
	early := false
	a, err := g.change(ctx, a.Browser, func(a *Attempt, now time.Time) error {
		if !a.pushLive(now) {
			return errDecided
		}
		if early = now.Before(a.AskedAt.Add(g.config.Limits.PushAgain)); early {
			a.Notice = NoticeAskedEnough
			return nil
		}
		a.AskedAt, a.Notice = now, NoticeAskedAgain
		return nil
	})
	if err == nil && !early {
		asking, cancel := context.WithTimeout(ctx, g.config.Limits.Provider)
		defer cancel()
		_, cause := g.config.Provider.RenotifyApproval(asking, a.Request)
		if cause != nil && !errors.Is(cause, client.ErrNotPending) {
			g.config.Log.WarnContext(ctx, "device not told again", "attempt", a.ID, reason(cause))
			return g.note(w, r, a, func(a *Attempt, _ time.Time) { a.Notice = againNotice(cause) })
		}
	}
	if err := lateIsFine(err); err != nil {
		return err
	}
	g.redirect(w, r, "/login/verify")
	return nil
}

// againNotice says why the device was not told again. A provider that cannot do it leaves the request as it is.
func againNotice(cause error) Notice {
	if refused(cause) {
		return NoticeAskedEnough
	}
	return NoticeUnreachable
}

// sendText sends a code, by text message or (field by=call) by a call. The sending is counted before it happens.
func (g *Guard) sendText(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := g.form(w, r)
	if !ok {
		return err
	}
	ctx := context.WithoutCancel(r.Context())
	by := SMS
	if r.PostForm.Get("by") == string(Call) {
		by = Call
	}
	var refused Notice
	a, err = g.change(ctx, a.Browser, func(a *Attempt, now time.Time) error {
		refused = NoticeNone
		switch {
		case !a.may(by, now):
			return errDecided
		case a.Sends >= g.config.Limits.Sends:
			refused = NoticeLimited
		case now.Before(a.SentAt.Add(g.config.Limits.SMSAgain)):
			refused = NoticeWait
		default:
			a.Sends, a.SentAt, a.SentBy = a.Sends+1, now, by
		}
		a.Notice = refused
		return nil
	})
	if err := lateIsFine(err); err != nil {
		return err
	}
	if err != nil || refused != NoticeNone {
		g.redirect(w, r, "/login/verify")
		return nil
	}
	result, err := g.text(ctx, a, r.PostForm.Get("force") != "")
	notice := textNotice(result, err)
	if err != nil {
		g.config.Log.WarnContext(ctx, "text message not sent", "attempt", a.ID, "notice", notice, reason(err))
	}
	return g.note(w, r, a, func(a *Attempt, now time.Time) {
		a.Notice, a.Phone = notice, result.Phone
		a.waitFor(waitOf(err), now)
		if notice == NoticeSent {
			a.CodeSent = by
		} else {
			a.SentAt = time.Time{} // nothing to wait for
		}
		a.State = a.unasked(now)
	})
}

// text asks the provider to send a code. A code for an act names the act, and counts for nothing else (D12).
func (g *Guard) text(ctx context.Context, a Attempt, force bool) (client.SentCode, error) {
	ctx, cancel := context.WithTimeout(ctx, g.config.Limits.Provider)
	defer cancel()
	message := client.CodeMessage{Force: force, UserIP: a.Origin.Address}
	if a.Purpose == ForStepUp {
		message.Action, message.ActionMessage = a.ID, a.Ask.inWords()
	}
	if a.SentBy == Call {
		return g.config.Provider.SendCall(ctx, a.AuthyID, message)
	}
	return g.config.Provider.SendSMS(ctx, a.AuthyID, message)
}

// inWords is the message with its details, for a text message.
func (a Ask) inWords() string {
	words := []string{a.Message}
	for _, d := range a.Details {
		words = append(words, d.Name+": "+d.Value)
	}
	return strings.Join(words, ". ")
}

// textNotice says how the sending of a text message went.
func textNotice(result client.SentCode, err error) Notice {
	switch {
	case err == nil && result.Ignored:
		return NoticeIgnored
	case err == nil:
		return NoticeSent
	case errors.Is(err, client.ErrBudgetSpent):
		return NoticeNotSent // it was not this person who asked too often
	case errors.Is(err, client.ErrRateLimited):
		return NoticeLimited
	case errors.Is(err, client.ErrSuspended):
		return NoticeSuspended
	case refused(err):
		return NoticeNotSent
	}
	return NoticeUnreachable
}

// checkCode checks a typed code. A right one approves the attempt and hands the browser on to complete, by 307, so that the browser
// posts again by itself and complete stays the only place that signs in. A wrong one keeps the attempt.
func (g *Guard) checkCode(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := g.form(w, r)
	if !ok {
		return err
	}
	code, sound := cleanCode(r.PostForm.Get("token"))
	if !sound {
		return g.note(w, r, a, func(a *Attempt, now time.Time) {
			if a.mayType(now) {
				a.Notice = NoticeMalformed
			}
		})
	}
	ctx := context.WithoutCancel(r.Context())
	a, reserved, err := g.reserveTry(ctx, a, Code, SMS)
	if err != nil {
		return err
	}
	if reserved {
		if a, err = g.redeem(ctx, a, code); err != nil {
			return err
		}
		if a.State == Approved {
			g.onToComplete(w, r)
			return nil
		}
	}
	g.redirect(w, r, "/login/verify")
	return nil
}

// onToComplete makes the browser post the same form again to the only place that signs in.
func (g *Guard) onToComplete(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, g.base+"/login/verify/complete", http.StatusTemporaryRedirect)
}

// cleanCode drops spaces and dashes, and reports whether 6 to 8 digits are left.
func cleanCode(typed string) (code string, sound bool) {
	code = strings.NewReplacer(" ", "", "-", "", "\u00a0", "", "\t", "").Replace(typed)
	return code, len(code) >= 6 && len(code) <= 8 && strings.Trim(code, "0123456789") == ""
}

// reserveTry counts a try as wrong before anything is compared, so that parallel guesses cannot exceed the limit (INV-2).
func (g *Guard) reserveTry(ctx context.Context, a Attempt, ways ...Method) (_ Attempt, reserved bool, err error) {
	a, err = g.change(ctx, a.Browser, func(a *Attempt, now time.Time) error {
		reserved = false
		if !slices.ContainsFunc(ways, func(m Method) bool { return a.may(m, now) }) {
			return errDecided
		}
		if a.WrongCodes >= g.config.Limits.WrongCodes {
			return errDecided // others are being compared right now; their outcome decides
		}
		a.WrongCodes++
		a.Notice = NoticeNone
		reserved = true
		return nil
	})
	return a, reserved && err == nil, lateIsFine(err)
}

// redeem compares a code at the provider and notes the outcome of the reserved try.
func (g *Guard) redeem(ctx context.Context, a Attempt, code string) (Attempt, error) {
	asking, cancel := context.WithTimeout(ctx, g.config.Limits.Provider)
	defer cancel()
	options := client.CodeOptions{UserIP: a.Origin.Address}
	// For an act only the text message counts that named it, and settings are opened by no text message: none is ever sent in this attempt's name (D12).
	if a.Purpose == ForStepUp || a.Purpose == ForConfirm {
		options.Action = a.ID
	}
	// Nor does a code of whichever authenticator pass in the field of that text message (ST6).
	options.SentOnly = !a.may(Code, g.config.Now())
	verified, cause := g.config.Provider.VerifyCode(asking, a.AuthyID, code, options)
	by := Code
	if verified.Sent {
		by = cmp.Or(a.CodeSent, a.SentBy, SMS) // the provider does not say which; what it said went out first
	}
	said := verdict{right: cause == nil, notice: NoticeWrong, wait: waitOf(cause)}
	if cause != nil {
		said.wrong = errors.Is(cause, client.ErrCodeWrong) || errors.Is(cause, client.ErrCodeUsed)
		if !said.wrong {
			said.notice = codeNotice(cause)
		}
		g.config.Log.InfoContext(ctx, "code not accepted", "attempt", a.ID, "state", a.State, reason(cause))
	}
	return g.settle(ctx, a, by, said)
}

// verdict is what became of something typed. Neither right nor wrong means that nothing was compared.
type verdict struct {
	right, wrong bool
	notice       Notice
	wait         time.Duration // how long nothing more will be compared, 0 for unknown
}

// settle notes the outcome of a reserved try.
func (g *Guard) settle(ctx context.Context, a Attempt, by Method, said verdict) (Attempt, error) {
	live := ""
	a, err := g.change(ctx, a.Browser, func(a *Attempt, now time.Time) error {
		if !a.State.waiting() {
			return errDecided
		}
		live = ""
		if a.awaitsPush() {
			live = a.Request
		}
		switch {
		case said.right:
			a.WrongCodes--
			a.approve(by, g.config.Limits.Unused, now)
		case said.wrong && a.WrongCodes >= g.config.Limits.WrongCodes:
			a.State = Locked
		case said.wrong:
			a.Notice = said.notice
		default:
			a.WrongCodes--
			a.Notice = said.notice
			a.waitFor(said.wait, now)
		}
		return nil
	})
	if err == nil && !a.State.waiting() {
		g.withdraw(live)
	}
	if err == nil && a.State == Locked {
		g.tell(ctx, a, Event{Kind: TooManyCodes})
	}
	return a, lateIsFine(err)
}

// codeNotice says why a code was not compared.
func codeNotice(cause error) Notice {
	switch {
	case errors.Is(cause, client.ErrSuspended):
		return NoticeSuspended
	case errors.Is(cause, client.ErrRateLimited):
		return NoticeLimited
	}
	return NoticeUnreachable
}

// giveUp cancels the attempt and takes its request off the device.
func (g *Guard) giveUp(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := g.form(w, r)
	if !ok {
		return err
	}
	if err := g.cancelAttempt(context.WithoutCancel(r.Context()), a.Browser, NoticeNone); err != nil {
		return err
	}
	g.setCookie(w, pendingCookie, "", -time.Second)
	g.redirect(w, r, withNotice(a.StartOver, "cancelled"))
	return nil
}

// withNotice adds a word for the application's page to a local path.
func withNotice(path, word string) string {
	u, err := url.Parse(path)
	if err != nil {
		return path
	}
	query := u.Query()
	query.Set("notice", word)
	u.RawQuery = query.Encode()
	return u.String()
}
