// This file owns waiting: waking those who wait for an attempt, and the one long poll at the provider that runs while anybody does.

package secondfactor

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"countersign.dev/client"
)

// linger is how long the long poll goes on after the last one who waited left: a browser that polls comes back within five seconds.
const linger = 10 * time.Second

// hub knows who waits for which attempt, by the hash of its browser. It carries no facts: whoever is woken reads the row. Its
// zero value is ready.
type hub struct {
	mu    sync.Mutex // guards all below
	rooms map[string]*room
}

// room is everybody who waits for one attempt.
type room struct {
	wakes   map[chan struct{}]bool
	waiting int                // browsers; the long poll is woken too but does not count
	stop    context.CancelFunc // ends the long poll
	closing *time.Timer        // runs while nobody waits
}

// wake wakes everybody who waits for an attempt. It never blocks: one wake-up outstanding is enough.
func (h *hub) wake(browser string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := h.rooms[browser]; room != nil {
		for c := range room.wakes {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}
}

// join begins to wait for an attempt: read the row after it, not before. The first one starts watch, whose context ends
// some time after the last one left, and with parent.
func (h *hub) join(parent context.Context, browser string, watch func(context.Context, <-chan struct{})) (wake <-chan struct{}, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	in := h.rooms[browser]
	if in == nil {
		in = &room{wakes: map[chan struct{}]bool{}}
		if h.rooms == nil {
			h.rooms = map[string]*room{}
		}
		h.rooms[browser] = in
		var stop context.Context
		stop, in.stop = context.WithCancel(parent)
		watch(stop, in.add())
	} else if in.closing != nil {
		in.closing.Stop()
	}
	in.waiting++
	own := in.add()
	return own, func() { h.leave(browser, in, own) }
}

// add adds somebody to wake. The caller holds the lock.
func (r *room) add() chan struct{} {
	c := make(chan struct{}, 1)
	r.wakes[c] = true
	return c
}

// leave ends a wait that join began.
func (h *hub) leave(browser string, in *room, own chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(in.wakes, own)
	if in.waiting--; in.waiting > 0 {
		return
	}
	in.closing = time.AfterFunc(linger, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if in.waiting == 0 && h.rooms[browser] == in {
			delete(h.rooms, browser)
			in.stop()
		}
	})
}

// wait joins the wait for an attempt, with the long poll.
func (g *Guard) wait(browser string) (wake <-chan struct{}, leave func()) {
	return g.hub.join(g.ctx, browser, func(stop context.Context, wake <-chan struct{}) {
		g.background(func(context.Context) { g.watch(stop, browser, wake) })
	})
}

// watch asks the provider for the end of an attempt's request, again and again, while somebody waits for it. It finds a decision
// when callbacks are late, lost or not configured at all.
func (g *Guard) watch(ctx context.Context, browser string, wake <-chan struct{}) {
	failures := 0
	for ctx.Err() == nil {
		pause := time.Duration(0)
		a, err := g.config.Store.AttemptOf(ctx, browser)
		switch {
		case errors.Is(err, ErrNotFound), err == nil && !a.at(g.config.Now()).State.waiting():
			return
		case err == nil && !a.awaitsPush():
			pause = time.Hour // until somebody asks a device: that wakes us
		case err == nil:
			if pause, err = g.ask(ctx, a); err == nil {
				failures = 0
			}
		}
		if err != nil && ctx.Err() == nil {
			// 1 s, 2 s, 4 s, 8 s, with jitter, so that a provider that comes back is not run over.
			pause = (time.Second << min(failures, 3)) * time.Duration(75+rand.IntN(50)) / 100
			failures++
			g.config.Log.WarnContext(ctx, "decision not known", "attempt", a.ID, reason(err))
		}
		if pause > 0 {
			sleep(ctx, wake, pause)
		}
	}
}

// ask waits once at the provider for an attempt's request to end, and records what it says. The pause is what to wait before asking again.
func (g *Guard) ask(ctx context.Context, a Attempt) (pause time.Duration, err error) {
	began := time.Now()
	approval, err := g.config.Provider.WaitApproval(ctx, a.Request, 30*time.Second)
	if errors.Is(err, client.ErrApprovalNotFound) {
		approval, err = client.Approval{AuthyID: a.AuthyID, Status: client.StatusExpired}, nil
	}
	if err != nil {
		return 0, err
	}
	if approval.Status == client.StatusPending && time.Since(began) < time.Second {
		return time.Second, nil // a provider without the long poll
	}
	return 0, g.record(ctx, a.Browser, a.Request, approval)
}

// record notes what the provider said about a request, by long poll, by callback or when asked. What does not fit is logged and ignored.
func (g *Guard) record(ctx context.Context, browser, request string, said client.Approval) error {
	if said.Status == client.StatusPending {
		return nil
	}
	a, err := g.change(ctx, browser, func(a *Attempt, now time.Time) error {
		return a.decide(request, said, g.config.Limits.Unused, now)
	})
	switch {
	case err == nil:
		g.config.Log.InfoContext(ctx, "request ended", "attempt", a.ID, "status", said.Status, "state", a.State)
		if a.State == Denied {
			return g.denied(ctx, a)
		}
	case errors.Is(err, errDecided), errors.Is(err, errOver):
		g.config.Log.DebugContext(ctx, "decision ignored, it is not the first", "attempt", a.ID, "status", said.Status)
	case errors.Is(err, errOther):
		g.config.Log.WarnContext(ctx, "decision ignored, it is for another request or user", "attempt", a.ID)
	}
	return lateIsFine(err)
}

// denied tells the application of a no. "That was not me" means that somebody else knows the password: then no browser is trusted any more.
func (g *Guard) denied(ctx context.Context, a Attempt) error {
	switch a.Reason {
	case ReasonNotMe:
		g.tell(ctx, a, Event{Kind: NotMe})
		return g.forgetTrust(ctx, a.User)
	case ReasonWrongNumber:
		g.tell(ctx, a, Event{Kind: WrongNumber})
	default:
		g.tell(ctx, a, Event{Kind: Refused})
	}
	return nil
}

// sleep waits for a time, a wake-up or the end.
func sleep(ctx context.Context, wake <-chan struct{}, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-timer.C:
	}
}
