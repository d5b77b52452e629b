// This file owns what a waiting browser is told: the page, its stream, the status and the provider's callback.

package secondfactor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"countersign.dev/client"
	"countersign.dev/client/callback"
)

// status is what a browser learns of its attempt.
type status struct {
	Attempt     string   `json:"attempt"` // tells the page whether this is still the attempt it shows
	State       State    `json:"state"`
	Notice      Notice   `json:"notice,omitempty"`
	Reason      string   `json:"reason,omitempty"` // why the device said no
	SecondsLeft int      `json:"seconds_left"`     // until the request, or without one the attempt, runs out
	Methods     []Method `json:"methods"`
}

func statusOf(a Attempt, now time.Time) status {
	s := status{Attempt: a.tag(), State: a.shown(now), Notice: a.Notice, Reason: a.Reason, Methods: a.methods(now)}
	if end := a.end(now); s.State.waiting() || s.State == Approved {
		s.SecondsLeft = seconds(end.Sub(now))
	}
	return s
}

// seconds rounds up, so that nothing ends while it says 0 and is not over.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// end is when the state changes by itself.
func (a Attempt) end(now time.Time) time.Time {
	if a.pushLive(now) && a.State == PushPending && a.RequestEnds.Before(a.ExpiresAt) {
		return a.RequestEnds
	}
	return a.ExpiresAt
}

// tellStatus answers a poll. It changes nothing; that somebody polls keeps the long poll at the provider going.
func (g *Guard) tellStatus(w http.ResponseWriter, r *http.Request) error {
	a, err := g.attempt(r)
	answer, code := any(statusOf(a, g.config.Now())), http.StatusOK
	switch {
	case errors.Is(err, ErrNotFound):
		answer, code = map[string]string{"error": "no attempt in this browser"}, http.StatusUnauthorized
	case err != nil:
		return err
	case a.awaitsPush():
		_, leave := g.wait(a.Browser)
		defer leave()
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	return json.NewEncoder(w).Encode(answer)
}

// streamEvents sends the status now and after every change, and ends when nothing can change any more.
func (g *Guard) streamEvents(w http.ResponseWriter, r *http.Request) error {
	a, err := g.attempt(r)
	if errors.Is(err, ErrNotFound) {
		return g.refuse(w, r, http.StatusUnauthorized, "There is no attempt in this browser.")
	} else if err != nil {
		return err
	}
	wake, leave := g.wait(a.Browser)
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // asks common proxies not to hold the stream back
	out := stream{w: w, control: http.NewResponseController(w)}
	out.send(fmt.Sprintf("retry: %d\n\n", 500+rand.IntN(1500))) // ms; each browser at a moment of its own after a restart
	var told status
	for out.err == nil {
		a, err := g.attempt(r)
		if err != nil {
			return nil // consumed in another tab: the browser asks again and learns it
		}
		now := g.config.Now()
		s := statusOf(a, now)
		if s.State != told.State || s.Notice != told.Notice || told.Attempt == "" {
			out.event(s)
			told = s
		}
		if s.State.final() {
			return nil // also for a request that ran out: only a form leads on from there
		}
		g.idle(r.Context(), &out, wake, a.end(now).Sub(now))
		if r.Context().Err() != nil || g.ctx.Err() != nil {
			return nil
		}
	}
	return nil
}

// idle waits for a wake-up or the end of the state, and keeps the line open meanwhile.
func (g *Guard) idle(ctx context.Context, out *stream, wake <-chan struct{}, end time.Duration) {
	beat := time.NewTicker(15 * time.Second)
	defer beat.Stop()
	over := time.NewTimer(max(end, time.Millisecond))
	defer over.Stop()
	for out.err == nil {
		select {
		case <-wake:
			return
		case <-over.C:
			return
		case <-ctx.Done():
			return
		case <-g.ctx.Done():
			return
		case <-beat.C:
			out.send(": still here\n\n")
		}
	}
}

// stream writes server-sent events, with a deadline on every write, so that a reader who vanished holds nothing up.
type stream struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (s *stream) send(text string) {
	if s.err != nil {
		return
	}
	// A test recorder has no deadlines; a real connection does.
	if err := s.control.SetWriteDeadline(time.Now().Add(10 * time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		s.err = err
		return
	}
	if _, s.err = fmt.Fprint(s.w, text); s.err == nil {
		s.err = s.control.Flush()
	}
}

func (s *stream) event(what status) {
	data, err := json.Marshal(what)
	if err != nil {
		s.err = err
		return
	}
	s.send("event: state\ndata: " + string(data) + "\n\n")
}

// called takes the provider's callback. It is a hint: what it says is asked again before it counts (T-15). Whatever is unknown, late
// or odd is no error, because errors make the provider give up on callbacks (D13).
func (g *Guard) called(ctx context.Context, event callback.Event) error {
	if event.Status != client.StatusApproved && event.Status != client.StatusDenied {
		g.config.Log.WarnContext(ctx, "callback ignored: unknown status", "request", event.UUID)
		return nil
	}
	a, err := g.config.Store.AttemptFor(ctx, event.UUID)
	if errors.Is(err, ErrNotFound) {
		g.config.Log.InfoContext(ctx, "callback ignored: unknown request", "request", event.UUID)
		return nil
	} else if err != nil {
		return err
	}
	return g.record(ctx, a.Browser, event.UUID, client.Approval{AuthyID: event.AuthyID, Status: event.Status, Reason: event.Reason})
}

// refresh asks the provider once how a request stands, for a page that is loaded after a pause. If it does not answer soon, the row
// as it is must do.
func (g *Guard) refresh(ctx context.Context, a Attempt) error {
	if !a.awaitsPush() {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, min(time.Second, g.config.Limits.Provider))
	defer cancel()
	approval, err := g.config.Provider.Approval(asking, a.Request)
	if err != nil {
		g.config.Log.WarnContext(ctx, "decision not known", "attempt", a.ID, reason(err))
		return nil
	}
	return g.record(ctx, a.Browser, a.Request, approval)
}
