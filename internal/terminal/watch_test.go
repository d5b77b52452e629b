// This file tests the stream: what is told once, what is mended by connecting again, and what is not.

package terminal

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"countersign.dev/internal/terminal/terminaltest"
)

// watching is a Watch that runs beside the test. Nothing waits: pauses are only recorded.
type watching struct {
	fresh  chan string // messages
	lost   chan error
	pauses chan time.Duration
	ended  chan error
	stop   context.CancelFunc
}

func watch(t *testing.T, device *Terminal) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{make(chan string, 100), make(chan error, 100), make(chan time.Duration, 1000), make(chan error, 1), cancel}
	device.wait = func(ctx context.Context, d time.Duration) error {
		select {
		case w.pauses <- d:
		default:
		}
		return ctx.Err()
	}
	go func() {
		w.ended <- device.Watch(ctx, func(a Approval) { w.fresh <- a.Content.Message }, func(err error) { w.lost <- err })
	}()
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			return
		}
		if err := <-w.ended; err != nil {
			t.Errorf("interrupted: %v", err)
		}
	})
	return w
}

func (w *watching) expect(t *testing.T, messages ...string) {
	t.Helper()
	for _, want := range messages {
		select {
		case got := <-w.fresh:
			if got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		case err := <-w.ended:
			t.Fatalf("ended: %v", err)
		case <-time.After(10 * time.Second):
			t.Fatalf("no %q", want)
		}
	}
}

func TestWatch(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	b.Ask("one", "", nil)
	b.Ask("two", "", nil)
	w := watch(t, device)
	w.expect(t, "one", "two")
	b.Ask("three", "", nil)
	w.expect(t, "three")

	b.EndStreams("bye") // as a server that stops
	b.Ask("four", "", nil)
	w.expect(t, "four")
	if pause := <-w.pauses; pause < minDelay/2 || pause > 2*minDelay {
		t.Errorf("pause %v", pause)
	}
	select {
	case err := <-w.lost:
		t.Errorf("a clean end was reported: %v", err)
	default:
	}

	b.SignOut() // as a server that starts again
	b.EndStreams("")
	b.Ask("five", "", nil)
	w.expect(t, "five")
	says(t, <-w.lost, b.Origin)
	if b.Requests("POST /sessions") != 1 {
		t.Error("the session was not renewed once")
	}
}

func TestWatchForgetsRemovedGrants(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	if _, err := device.RedeemTicket(t.Context(), b.Ticket("ben@example.com"), "desk"); err != nil {
		t.Fatal(err)
	}
	w := watch(t, device)
	b.Ask("one", "", nil)
	w.expect(t, "one")
	b.RemoveGrant("ana@example.com")
	b.Ask("two", "", nil)
	w.expect(t, "two") // events are served in order, so the grants were read before
	codes, err := b.open(t, "").Codes()
	if err != nil || len(codes) != 1 || codes[0].Account != "ben@example.com" {
		t.Errorf("%+v, %v", codes, err)
	}
}

func TestWatchBacksOff(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	b.SetRefuse(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", "45")
		terminaltest.Problem(w, http.StatusServiceUnavailable, "unavailable", "Full")
		return true
	})
	w := watch(t, device)
	says(t, <-w.lost, "Full.", "45 s")
	if pause := <-w.pauses; pause < 45*time.Second {
		t.Errorf("pause %v although 45 s were asked for", pause)
	}
	b.SetRefuse(func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) })
	for pause := range w.pauses {
		if pause > 3*maxDelay/2 {
			continue // still what was asked for
		}
		if pause >= maxDelay/2 {
			break // it has grown to the most
		}
	}
	b.SetRefuse(nil)
	b.Ask("one", "", nil)
	w.expect(t, "one")
}

func TestWatchSilence(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	device.idle = 50 * time.Millisecond
	w := watch(t, device)
	says(t, <-w.lost, "fell silent", b.Origin)
	b.Ask("one", "", nil)
	w.expect(t, "one")
}

func TestWatchEnds(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	b.RemoveDevices()
	never := func(context.Context, time.Duration) error { return errors.New("waited") }
	device.wait = never
	err := device.Watch(t.Context(), func(Approval) {}, func(error) {})
	says(t, err, "Enrol again")

	other := newBench(t)
	err = other.open(t, "").Watch(t.Context(), func(Approval) {}, func(error) {})
	says(t, err, "not enrolled yet")
}
