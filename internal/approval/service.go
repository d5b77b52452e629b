package approval

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	oteltrace "go.opentelemetry.io/otel/trace"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/trace"
)

// This file owns the entrance to the package: what it needs of a store, and everything that happens to an approval but its making (create.go) and its
// decision (decide.go): reading, waiting, withdrawing, telling again, expiring.

// Creation is an approval on its way into its row, with what the statement must ask.
type Creation struct {
	Approval
	Settings        tenant.Settings // the limits
	IdempotencyHash string          // "" = none
	RequestHash     string          // tells an honest repetition from a key used twice
	Push            Push            // nil: nothing is pushed
	Now             time.Time
}

// Store is what this package needs to keep.
type Store interface {
	// CreateApproval inserts the push job of each subscribed device of the user too, and returns them leased to the caller. It asks inside the
	// transaction whether the user is still there and has a grant, and whether the limits allow one more: tenant.ErrUser, ErrNoDevice,
	// ErrReported, ErrWaiting, ErrFlood, ErrPause. A known idempotency hash returns the first approval, or ErrReused.
	CreateApproval(ctx context.Context, c Creation, rec audit.Record) (Approval, []job.Job, error)
	Approval(ctx context.Context, appID, uuid string) (Approval, error) // ErrUnknown
	// Standing returns what At needs of an approval, and no more: whether it waits, and until when. ErrUnknown.
	Standing(ctx context.Context, appID, uuid string) (Approval, error)
	// Decide changes a pending, unexpired approval whose user and grant are still there, and inserts the callback job
	// where the application has a callback. It returns ErrNotPending when it changed nothing, and the jobs leased to the caller.
	// With the reason NotMe it also cancels the user's other pending requests, returns them as ended, and stops new ones for StopFor.
	Decide(ctx context.Context, d Decision, callback job.Job, rec audit.Record) (ended []string, jobs []job.Job, err error)
	Cancel(ctx context.Context, appID, uuid string, now time.Time, rec audit.Record) (Approval, error) // ErrUnknown, ErrNotPending
	// Renotify inserts push jobs anew, if the approval is pending, was made and last repeated RenotifyPause ago, and was repeated less than
	// RenotifyMax times: ErrUnknown, ErrNotPending, ErrRenotified.
	Renotify(ctx context.Context, appID, uuid string, now time.Time, push Push, rec audit.Record) (Approval, []job.Job, error)
	// ApprovalForDevice returns an approval of a user that the device has a grant for, without who answered it, and the grant, without its device. ErrUnknown.
	ApprovalForDevice(ctx context.Context, deviceID, uuid string) (Approval, device.Grant, error)
	Inbox(ctx context.Context, deviceID string, now time.Time) (Inbox, error)
	// Expire marks at most limit approvals whose time is over and returns how many it found.
	Expire(ctx context.Context, now time.Time, limit int) (int, error)
}

// Service is the entrance to this package.
type Service struct {
	Store  Store
	Ring   *seal.Ring
	Live   *live.Hub
	Meter  *tenant.Meter
	Now    func() time.Time
	Origin string // the authenticator's public URL, which devices sign
	// Logo returns the digest of the picture at url as devices will see it, or "" when it cannot be had in time.
	Logo  func(ctx context.Context, url string) string
	Offer func(...job.Job)
	// NewPush makes the job that pushes an approval to one device; nil: nothing is pushed.
	NewPush func(appID, uuid, deviceID string, now time.Time) job.Job
	// Changed is told how many approvals became pending or ended, and how long after it was asked for one was answered. nil is fine.
	Changed func(to Status, took time.Duration, n int)
}

// Push makes the push job of one device for one approval.
type Push func(deviceID string) job.Job

func (s *Service) push(appID, uuid, traceparent string, now time.Time) Push {
	if s.NewPush == nil {
		return nil
	}
	return func(deviceID string) job.Job {
		j := s.NewPush(appID, uuid, deviceID, now)
		j.Trace = traceparent
		return j
	}
}

// changed tells whoever counts.
func (s *Service) changed(to Status, took time.Duration, n int) {
	if s.Changed != nil {
		s.Changed(to, took, n)
	}
}

// Get returns the application's approval as it is now, or ErrUnknown.
func (s *Service) Get(ctx context.Context, appID, uuid string) (Approval, error) {
	a, err := s.Store.Approval(ctx, appID, uuid)
	return a.At(s.Now()), err
}

// WaitMax bounds a long poll.
const WaitMax = 60 * time.Second

// awayPause is how long who waits lets a database alone that cannot be reached.
const awayPause = time.Second

// Wait returns the approval once it is no longer pending, or as it is after d, or when ctx ends or the program stops. While it cannot be
// read, who was already waiting goes on waiting: nobody is sent away, and nothing is taken for decided (INV-7).
func (s *Service) Wait(ctx context.Context, appID, uuid string, d time.Duration) (Approval, error) {
	sub := s.Live.Subscribe(live.ApprovalTopic(uuid)) // first subscribe, then read: nothing falls between
	defer sub.Close()
	deadline := time.After(min(d, WaitMax))
	begun := s.Now()
	pending, err := s.Store.Standing(ctx, appID, uuid) // nearly always it waits, and the rest of the row is read when it does not
	a, again := pending.At(begun), expiry(pending, begun)
	if err == nil && a.Status != Pending {
		a, err = s.Get(ctx, appID, uuid)
	}
	for err == nil && a.Status == Pending {
		select {
		case _, open := <-sub.C():
			if !open {
				return s.Get(ctx, appID, uuid)
			}
			sub.Take()
		case <-again:
		case <-deadline:
			return s.Get(ctx, appID, uuid)
		case <-ctx.Done():
			return a, ctx.Err()
		}
		a, err = s.Get(ctx, appID, uuid)
		again = expiry(pending, s.Now())
		if fault.KindOf(err) == fault.Unavailable {
			a, err, again = pending, nil, time.After(awayPause)
		}
	}
	_, span := trace.Continue(ctx, a.Trace, "approval.told", oteltrace.WithTimestamp(begun))
	span.Note(attribute.String("status", string(a.Status)))
	span.End(err)
	return a, err
}

// expiry is readable when a expires; never for one that does not.
func expiry(a Approval, now time.Time) <-chan time.Time {
	if a.ExpiresAt.IsZero() {
		return nil
	}
	return time.After(max(a.ExpiresAt.Sub(now), time.Millisecond))
}

// Cancel withdraws a pending approval. One that is final already is ErrNotPending.
func (s *Service) Cancel(ctx context.Context, app tenant.Application, uuid string) (Approval, error) {
	now := s.Now()
	rec := audit.New(now, app.ID, "app:"+app.ID, "approval.cancelled", "approval:"+uuid)
	a, err := s.Store.Cancel(ctx, app.ID, uuid, now, rec)
	if err != nil {
		return Approval{}, err
	}
	s.changed(Cancelled, 0, 1)
	s.Live.Wake(live.ApprovalTopic(uuid), live.UserTopic(a.UserID))
	return a, nil
}

// How often a person may be told again of the same request (T-10).
const (
	RenotifyMax   = 3
	RenotifyPause = 20 * time.Second
)

// Renotify tells the user's devices of a pending approval once more. It stays the same request, with the same number and end.
func (s *Service) Renotify(ctx context.Context, app tenant.Application, uuid string) (Approval, error) {
	now := s.Now()
	rec := audit.New(now, app.ID, "app:"+app.ID, "approval.renotified", "approval:"+uuid)
	a, jobs, err := s.Store.Renotify(ctx, app.ID, uuid, now, s.push(app.ID, uuid, trace.Parent(ctx), now), rec)
	if err != nil {
		return Approval{}, err
	}
	s.Live.Wake(live.UserTopic(a.UserID))
	s.Offer(jobs...)
	return a, nil
}

// Inbox returns what a device shows when it is opened or woken.
func (s *Service) Inbox(ctx context.Context, d device.Device) (Inbox, error) {
	begun := s.Now()
	in, err := s.Store.Inbox(ctx, d.ID, begun)
	for _, a := range in.Waiting {
		_, span := trace.Continue(ctx, a.Trace, "approval.fetch", oteltrace.WithTimestamp(begun))
		span.End(nil)
	}
	return in, err
}

// ForDevice returns one approval that a device may see, whatever its state.
func (s *Service) ForDevice(ctx context.Context, d device.Device, uuid string) (Approval, error) {
	begun := s.Now()
	a, _, err := s.Store.ApprovalForDevice(ctx, d.ID, uuid)
	_, span := trace.Continue(ctx, a.Trace, "approval.fetch", oteltrace.WithTimestamp(begun))
	span.End(err)
	return a.At(s.Now()), err
}

// sweepBatch bounds one sweep's transaction.
const sweepBatch = 500

// Sweep marks what has expired in the rows, in small batches. Readers see expiry without it.
func (s *Service) Sweep(ctx context.Context) error {
	for {
		n, err := s.Store.Expire(ctx, s.Now(), sweepBatch)
		if n > 0 {
			s.changed(Expired, 0, n)
		}
		if err != nil || n < sweepBatch {
			return err
		}
	}
}
