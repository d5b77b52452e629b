// Package callback owns telling applications of decisions (journey step 7):
// what is said, how it is signed, sent, retried, and when it is given up.
//
// An HTTP status outside 2xx is a strike; a connection failure or time-out is
// retried but is none. The third strike in a row disables the callback: its
// address is blanked, the owner is told by mail, and what is queued waits 24
// hours for a new address.
package callback

import (
	"context"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

// Errors of sending again.
var (
	ErrNotAnswered = fault.New(fault.Conflict, "approval-not-answered", "Nobody has answered this approval, so there is nothing to tell.")
	ErrNoAddress   = fault.New(fault.Conflict, "callback-no-address", "This application has no callback address now. Give it one first.")
)

// Try is one delivery attempt, as the console shows it.
type Try struct {
	ID, AppID, UUID string
	URL             string
	At              time.Time
	Status          int    // of HTTP; 0 = no answer
	Error           string // what went wrong; "" for a delivery
	Took            time.Duration
	After           time.Duration // how long the receiver asked to be left alone; not kept
}

// Delivered reports whether the receiver took it.
func (t Try) Delivered() bool { return t.Status >= 200 && t.Status <= 299 }

// Delivery is what a callback job is about, and what signs it.
type Delivery struct {
	App      tenant.Application
	Approval approval.Approval
	Key      tenant.Key       // that signs
	Signing  []tenant.Signing // what signs by Standard Webhooks, newest first; none when nothing did yet
}

// Struck says what a strike did.
type Struck struct {
	Strikes  int // in a row, after this one; 0 when the address had changed meanwhile
	Disabled bool
	Jobs     []job.Job // the mail to the owner, leased to the caller
}

// Store is what this package needs to keep.
type Store interface {
	// Delivery returns whose callback it is and what signs, as the rows are now, without the approval: tenant.ErrApplication.
	Delivery(ctx context.Context, appID string, now time.Time) (Delivery, error)
	Approval(ctx context.Context, appID, uuid string) (approval.Approval, error) // approval.ErrUnknown
	// Delivered keeps the try, clears the strikes of that version of the address, and ends the job.
	Delivered(ctx context.Context, j job.Job, t Try, version int64) error
	// Failed keeps the try and gives the job up until next (zero: for good). A try with a status is a strike against
	// that version of the address; the third disables it, holds the application's jobs, and inserts the mail that
	// mail makes of the owner's address.
	Failed(ctx context.Context, j job.Job, t Try, version int64, next time.Time, reason string, mail func(ownerEmail string) job.Job, rec audit.Record) (Struck, error)
	// Hold parks a job whose application has no address now, until at most until.
	Hold(ctx context.Context, j job.Job, until time.Time) error
	// SendAgain inserts a callback job, leased to the caller, for an approval of the application that was answered: ErrNotAnswered,
	// ErrNoAddress, approval.ErrUnknown.
	SendAgain(ctx context.Context, j job.Job, rec audit.Record) ([]job.Job, error)
	Tries(ctx context.Context, appID string, limit int) ([]Try, error) // newest first
}
