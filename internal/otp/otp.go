// Package otp owns one-time codes: app codes (RFC 6238) and sent codes, and the
// budget of wrong ones that a user has over all kinds of code.
//
// A verification is one transaction: a try is reserved by a conditional
// statement, then the code is compared, then what matched is marked used by a
// conditional statement. Nothing about the comparison leaves the process
// before the commit that counted the try (INV-2).
package otp

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
)

// Errors that this package reports.
var (
	ErrWrong  = fault.New(fault.Unauthenticated, "code-wrong", "Token is invalid")
	ErrUsed   = fault.New(fault.Unauthenticated, "code-used", "Token is invalid. Token was used recently.")
	ErrBudget = fault.New(fault.Unavailable, "budget-spent", "User has been suspended.")
	ErrAction = fault.New(fault.Invalid, "action-invalid", "Invalid parameter: action - At most 255 characters")
)

// Budget of wrong codes (design section 9). It is counted for the user, never for a session, request or address (INV-4).
const (
	BudgetTries   = 5
	BudgetWait    = 15 * time.Minute
	BudgetWaitMax = 24 * time.Hour
)

// maxAction is how many characters an action or its message has at most (contract section 4.5).
const maxAction = 255

// AppSecret is what an app code is checked against: a grant's, or one that the user scanned into another authenticator app.
type AppSecret struct {
	GrantID   int64 // one of the two
	GenericID int64
	Sealed    []byte
	LastStep  int64 // highest accepted; it and every earlier one are refused (RFC 6238 section 5.2)
	Digits    int
	Period    tenant.Seconds
	Device    Device // of a grant
}

// Device is what an application is told of the device whose code was right.
type Device struct {
	Platform, Method      string // what it is, and how its grant was made
	CreatedAt, LastSeenAt time.Time
}

// SentHash is what a sent code is checked against: a keyed hash of id and code.
type SentHash struct {
	ID, Hash string
	Used     bool
}

// Candidates are what the user's code may match.
type Candidates struct {
	Apps []AppSecret
	Sent []SentHash
}

// Verdict is the outcome of comparing.
type Verdict struct {
	Matched   bool
	Used      bool  // matched, but something spent already
	GrantID   int64 // app code: of a device,
	Device    Device
	GenericID int64 // or of another authenticator app
	Step      int64
	SentID    string // sent code
}

// Attempt names whose code is verified and what for.
type Attempt struct {
	AppID, UserID, Action string
	Generic               bool // codes of another authenticator app count too
	SentOnly              bool // no app code counts: the action is named in a message, and in nothing else
	Now                   time.Time
}

// Store is what this package needs to keep.
type Store interface {
	// Redeem reserves one try of the user's budget and of each of the user's live sent codes, calls compare once
	// with what is left to compare, spends what matched, and commits, in this order and in one transaction.
	// It reports ErrBudget with RetryAfter (compare is then never called), ErrWrong, ErrUsed, or tenant.ErrUser.
	Redeem(ctx context.Context, a Attempt, compare func(Candidates) Verdict) (Verdict, error)
	// KeepSentCode ends the user's older codes of the same action, keeps the new one and its message job. It reports
	// ErrSendMany when SentMax are reached in SentWindow, or the rule of package sending that the message breaks.
	KeepSentCode(ctx context.Context, s Sending, rec audit.Record) error
	// KeepNotice keeps the job of a notice, or reports the rule of package sending that it breaks.
	KeepNotice(ctx context.Context, send sending.Send, message job.Job, rec audit.Record) error
	// HasGrant returns the platform of one of the user's devices, or "" when there is none.
	HasGrant(ctx context.Context, userID string) (platform string, err error)

	// KeepGeneric keeps a new generic secret beside the one in use, and ends one that was never confirmed.
	KeepGeneric(ctx context.Context, g StoredGeneric, rec audit.Record) error // tenant.ErrUser
	// Generic returns the user's generic secret in use, or ErrNoGeneric, and records that it was read.
	Generic(ctx context.Context, appID, userID string, rec audit.Record) (AppSecret, error)

	verificationStore

	Record(ctx context.Context, rec audit.Record) error
}

// Service is the entrance to this package.
type Service struct {
	Store Store
	Ring  *seal.Ring
	Meter *tenant.Meter
	Now   func() time.Time
	// NewMessage makes the job that sends a code.
	NewMessage func(out Outgoing, now time.Time) job.Job
	// Alert makes the notice that sending was paused.
	Alert   func(s sending.Send, owner string, p sending.Pause) job.Job
	CanSend func(Channel) bool // a gateway is set up
	Offer   func(...job.Job)
	// Compared is called once for each comparison, for tests of INV-2; nil is fine.
	Compared func()
	// Checked is told how each verification ended: the code of the refusal, or "ok". nil is fine.
	Checked func(outcome string)
}

// Verify checks a code of any kind and spends it. A nil error is the only "yes".
func (s *Service) Verify(ctx context.Context, app tenant.Application, u tenant.User, code, action string) (Verdict, error) {
	return s.verify(ctx, app, u, code, Attempt{Action: action})
}

// VerifySent is Verify for a code that was sent for the action: app codes, which can name no action, are wrong.
func (s *Service) VerifySent(ctx context.Context, app tenant.Application, u tenant.User, code, action string) (Verdict, error) {
	return s.verify(ctx, app, u, code, Attempt{Action: action, SentOnly: true})
}

func (s *Service) verify(ctx context.Context, app tenant.Application, u tenant.User, code string, a Attempt) (Verdict, error) {
	if utf8.RuneCountInString(a.Action) > maxAction {
		return Verdict{}, ErrAction
	}
	now := s.Now()
	a.AppID, a.UserID, a.Generic, a.Now = app.ID, u.ID, app.Settings.GenericTokens, now
	v, err := s.Store.Redeem(ctx, a, func(c Candidates) Verdict {
		if s.Compared != nil {
			s.Compared()
		}
		return s.compare(c, app.Settings, code, now)
	})
	if s.Checked != nil {
		s.Checked(outcome(err))
	}
	if err == nil {
		s.Meter.Count(app.ID, tenant.CountAuths)
	}
	return v, err
}

// Unchecked reports whether the application's operator has any code pass for this user, as Authy did for who never finished
// registration unless it was told to check by force. It is recorded.
func (s *Service) Unchecked(ctx context.Context, app tenant.Application, u tenant.User) (bool, error) {
	if !app.Settings.AnyCodeAtOnce || u.Confirmed {
		return false, nil
	}
	platform, err := s.Store.HasGrant(ctx, u.ID)
	if err != nil || platform != "" {
		return false, err
	}
	return true, s.Store.Record(ctx, audit.New(s.Now(), app.ID, "app:"+app.ID, "code.unchecked", "user:"+u.ID))
}

// outcome is a word for how something ended, of which there are few.
func outcome(err error) string {
	if err == nil {
		return audit.OK
	}
	if refused, ok := errors.AsType[*fault.Error](err); ok {
		return refused.Code
	}
	return "error"
}

// compare looks at every candidate in full, whatever matches first (T-06).
func (s *Service) compare(c Candidates, set tenant.Settings, code string, now time.Time) (v Verdict) {
	for _, sent := range c.Sent {
		if equal(sent.Hash, s.sentHash(sent.ID, code)) && !(v.Matched && !v.Used) {
			v = Verdict{Matched: true, Used: sent.Used, SentID: sent.ID}
		}
	}
	for _, app := range c.Apps {
		context, skew := AppSecretContext(app.GrantID), int64(set.CodeSkew)
		if app.GenericID != 0 {
			context, skew = GenericContext(app.GenericID), genericSkew
		}
		secret, err := s.Ring.Open(context, app.Sealed)
		if err != nil {
			continue // fails closed (INV-7): a secret that does not open matches nothing
		}
		at := Step(now, app.Period.Duration())
		for step := at - skew; step <= at+skew; step++ {
			if equal(HOTP(secret, uint64(step), app.Digits), code) && !(v.Matched && !v.Used) {
				v = Verdict{Matched: true, Used: step <= app.LastStep, GrantID: app.GrantID, Device: app.Device, GenericID: app.GenericID, Step: step}
			}
		}
	}
	return v
}

func equal(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func (s *Service) sentHash(id, code string) string { return s.Ring.Hash("sent code", id+":"+code) }

// AppSecretContext names the row that a grant's sealed secret belongs to.
func AppSecretContext(grantID int64) string { return fmt.Sprint("grants.secret:", grantID) }
