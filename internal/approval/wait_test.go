package approval

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/live"
)

// This file tests Wait in bubbles, where time moves only when everybody waits.

// one is a store with one approval, as it is in the row now.
type one struct {
	Store
	mu    sync.Mutex
	a     Approval
	err   error
	reads int
}

func (o *one) Approval(ctx context.Context, appID, uuid string) (Approval, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reads++
	return o.a, o.err
}

func (o *one) Standing(ctx context.Context, appID, uuid string) (Approval, error) {
	a, err := o.Approval(ctx, appID, uuid)
	return Approval{Status: a.Status, ExpiresAt: a.ExpiresAt}, err
}

func (o *one) set(change func(o *one)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(o)
}

func (o *one) looked() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reads
}

// pass lets the bubble's time pass.
func pass(d time.Duration) { <-time.After(d) }

// waiting starts a wait for an approval that is pending for life; the result comes when it ends.
type waiting struct {
	*Service
	row    *one
	start  time.Time
	cancel context.CancelFunc
	result chan outcome
}

type outcome struct {
	status Status
	err    error
	after  time.Duration
}

func wait(t *testing.T, life, patience time.Duration) *waiting {
	t.Helper()
	now := time.Now()
	w := &waiting{row: &one{a: Approval{UUID: "x", Status: Pending, CreatedAt: now}}, start: now, result: make(chan outcome, 1)}
	if life > 0 {
		w.row.a.ExpiresAt = now.Add(life)
	}
	w.Service = &Service{Store: w.row, Live: live.NewHub(), Now: time.Now}
	ctx, cancel := context.WithCancel(t.Context())
	w.cancel = cancel
	go func() {
		a, err := w.Wait(ctx, "app", "x", patience)
		w.result <- outcome{a.Status, err, time.Since(now)}
	}()
	synctest.Wait() // now it waits, or has ended
	return w
}

func (w *waiting) want(t *testing.T, status Status, err error, after time.Duration) {
	t.Helper()
	got := <-w.result
	if got.status != status || !errors.Is(got.err, err) || got.after != after {
		t.Errorf("ended after %v as %s, %v, want after %v as %s, %v", got.after, got.status, got.err, after, status, err)
	}
	w.cancel()
}

func TestWaitIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wait(t, 2*time.Minute, time.Minute)
		pass(7 * time.Second)
		w.row.set(func(o *one) { o.a.Status = Approved })
		synctest.Wait() // nobody has told it
		if len(w.result) > 0 {
			t.Error("ended before it was woken: it polls")
		}
		w.Live.Wake(live.ApprovalTopic("x"))
		w.want(t, Approved, nil, 7*time.Second)
	})
}

// Wake-ups for nothing, and for others, cost a read or nothing.
func TestWaitIgnoresRumours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wait(t, 0, time.Minute)
		w.Live.Wake(live.ApprovalTopic("y"), live.UserTopic("x"))
		synctest.Wait()
		if n := w.row.looked(); n != 1 {
			t.Errorf("%d reads after a wake-up for others, want 1", n)
		}
		w.Live.Wake(live.ApprovalTopic("x"))
		synctest.Wait()
		if n := w.row.looked(); n != 2 || len(w.result) > 0 {
			t.Errorf("%d reads after a wake-up for nothing, want 2 and to wait on", n)
		}
		w.want(t, Pending, nil, time.Minute)
	})
}

func TestWaitEndsWithTheApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait(t, 20*time.Second, time.Minute).want(t, Expired, nil, 20*time.Second)
	})
}

func TestWaitEndsWithItsTime(t *testing.T) {
	for _, row := range []struct{ patience, want time.Duration }{
		{10 * time.Second, 10 * time.Second}, {time.Minute, time.Minute}, {time.Hour, WaitMax}, {0, 0}, {-time.Second, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := wait(t, 2*time.Minute, row.patience)
			w.want(t, Pending, nil, row.want)
			if n := w.row.looked(); n != 2 {
				t.Errorf("%d reads, want one at each end", n)
			}
		})
	}
}

// The last look counts: a decision whose wake-up was lost is seen when the time is over.
func TestWaitLooksOnceMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wait(t, 2*time.Minute, time.Minute)
		w.row.set(func(o *one) { o.a.Status = Denied })
		w.want(t, Denied, nil, time.Minute)
	})
}

func TestWaitEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wait(t, 2*time.Minute, time.Minute)
		pass(3 * time.Second)
		w.cancel()
		w.want(t, Pending, context.Canceled, 3*time.Second)
	})
}

func TestWaitEndsWithTheProgram(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wait(t, 2*time.Minute, time.Minute)
		pass(3 * time.Second)
		w.Live.Close()
		w.want(t, Pending, nil, 3*time.Second)
	})
	synctest.Test(t, func(t *testing.T) { // who comes later is not kept either
		s := &Service{Store: &one{a: Approval{Status: Pending}}, Live: live.NewHub(), Now: time.Now}
		s.Live.Close()
		start := time.Now()
		if a, err := s.Wait(t.Context(), "app", "x", time.Minute); a.Status != Pending || err != nil || time.Since(start) > 0 {
			t.Errorf("ended after %v as %s, %v", time.Since(start), a.Status, err)
		}
	})
}

func TestWaitDoesNotWaitForWhatIsFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Service{Store: &one{a: Approval{Status: Cancelled}}, Live: live.NewHub(), Now: time.Now}
		if a, err := s.Wait(t.Context(), "app", "x", time.Minute); a.Status != Cancelled || err != nil {
			t.Errorf("%s, %v", a.Status, err)
		}
	})
}

// INV-7: what cannot be read is an error, at the first look and at a later one.
func TestWaitFailsClosed(t *testing.T) {
	broken := errors.New("the database is gone")
	synctest.Test(t, func(t *testing.T) {
		w := wait(t, 2*time.Minute, time.Minute)
		w.row.set(func(o *one) { o.a, o.err = Approval{}, broken })
		w.Live.Wake(live.ApprovalTopic("x"))
		w.want(t, "", broken, 0)
	})
	synctest.Test(t, func(t *testing.T) {
		s := &Service{Store: &one{err: ErrUnknown}, Live: live.NewHub(), Now: time.Now}
		if a, err := s.Wait(t.Context(), "app", "x", time.Minute); !errors.Is(err, ErrUnknown) || a.Status != "" {
			t.Errorf("%s, %v", a.Status, err)
		}
	})
}

// TestWaitOutlastsTheDatabase: while the approval cannot be read, who waits goes on waiting, is told of no decision that nobody read
// (INV-7), also not of an end that time alone seems to have brought, and hears of the real one as soon as it can be read. Who comes
// while the database is away is sent away.
func TestWaitOutlastsTheDatabase(t *testing.T) {
	away := fault.New(fault.Unavailable, "database-away", "Away.")
	synctest.Test(t, func(t *testing.T) {
		w := wait(t, 5*time.Second, time.Minute)
		w.row.set(func(o *one) { o.a, o.err = Approval{}, away })
		w.Live.Wake(live.ApprovalTopic("x"))
		pass(20*time.Second + awayPause/2)
		if len(w.result) > 0 {
			t.Error("ended while the database was away")
		}
		if n := w.row.looked(); n > 23 {
			t.Errorf("looked %d times in 20 seconds", n)
		}
		w.row.set(func(o *one) { o.a, o.err = Approval{UUID: "x", Status: Approved}, nil })
		w.want(t, Approved, nil, 21*time.Second)
	})
	synctest.Test(t, func(t *testing.T) {
		w := wait(t, 0, 7*time.Second)
		w.row.set(func(o *one) { o.a, o.err = Approval{}, away })
		w.Live.Wake(live.ApprovalTopic("x"))
		w.want(t, "", away, 7*time.Second)
	})
	synctest.Test(t, func(t *testing.T) {
		s := &Service{Store: &one{err: away}, Live: live.NewHub(), Now: time.Now}
		if a, err := s.Wait(t.Context(), "app", "x", time.Minute); !errors.Is(err, away) || a.Status != "" {
			t.Errorf("%s, %v", a.Status, err)
		}
	})
}

// A decision that falls between the subscription and the read is seen by the read, one after it wakes; none is lost.
func TestWaitMissesNothing(t *testing.T) {
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			row := &one{a: Approval{UUID: "x", Status: Pending}}
			s := &Service{Store: row, Live: live.NewHub(), Now: time.Now}
			go func() {
				row.set(func(o *one) { o.a.Status = Approved })
				s.Live.Wake(live.ApprovalTopic("x"))
			}()
			start := time.Now()
			if a, err := s.Wait(t.Context(), "app", "x", time.Minute); a.Status != Approved || err != nil || time.Since(start) > 0 {
				t.Fatalf("ended after %v as %s, %v", time.Since(start), a.Status, err)
			}
		})
	}
}
