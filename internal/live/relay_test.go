package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// wire is a line between nodes of one process, with a database that has changes and can be asked for them.
type wire struct {
	mu      sync.Mutex // guards all below
	ends    map[int]func(string)
	next    int
	sent    []string
	lost    chan struct{} // closed: every conversation breaks off
	joins   int
	down    bool // nobody can join, and nothing is read
	changes []Change
	polls   int
}

func newWire() *wire { return &wire{ends: map[int]func(string){}, lost: make(chan struct{})} }

var errDown = errors.New("down")

func (w *wire) Converse(ctx context.Context, out <-chan string, joined func(), hear func(string)) error {
	w.mu.Lock()
	if w.down {
		w.mu.Unlock()
		return errDown
	}
	me, lost := w.next, w.lost
	w.next++
	w.joins++
	w.ends[me] = hear
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.ends, me)
		w.mu.Unlock()
	}()
	joined()
	for {
		select {
		case text := <-out:
			w.mu.Lock()
			w.sent = append(w.sent, text)
			for other, hear := range w.ends {
				if other != me {
					hear(text)
				}
			}
			w.mu.Unlock()
		case <-lost:
			return errDown
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (w *wire) Changed(_ context.Context, since time.Time, found func(Change)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.polls++
	if w.down {
		return errDown
	}
	for _, c := range w.changes {
		if c.At.After(since) {
			found(c)
		}
	}
	return nil
}

// set changes the wire.
func (w *wire) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// cut breaks every conversation off.
func (w *wire) cut() {
	w.set(func() {
		close(w.lost)
		w.lost = make(chan struct{})
	})
}

// commit puts a change into the database now.
func (w *wire) commit(topics ...Topic) {
	w.set(func() { w.changes = append(w.changes, Change{time.Now(), topics}) })
}

// join starts a node on the wire and returns its hub once it hears the others.
func join(t *testing.T, w *wire) *Hub {
	t.Helper()
	hub := NewHub()
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	relay := NewRelay(hub, w, time.Now, slog.New(slog.DiscardHandler))
	done.Go(func() { relay.Run(ctx) })
	t.Cleanup(func() { stop(); done.Wait() })
	synctest.Wait()
	return hub
}

// wantWoken fails the test unless exactly those topics are woken now.
func wantWoken(t *testing.T, s *Subscription, want ...Topic) {
	t.Helper()
	synctest.Wait()
	got := []Topic{}
	if ready(s) {
		got = sorted(s.Take())
	}
	if !slices.Equal(got, sorted(slices.Clone(want))) {
		t.Errorf("woken of %v, want %v", got, want)
	}
}

// What one node wakes is woken on the others, a few milliseconds later and once.
func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b, c := join(t, w), join(t, w), join(t, w)
		atA, atB, atC := a.Subscribe("x"), b.Subscribe("x", "y"), c.Subscribe("y")
		a.Wake("x")
		wantWoken(t, atA, "x")
		wantWoken(t, atB)
		time.Sleep(gather)
		wantWoken(t, atA)
		wantWoken(t, atB, "x")
		wantWoken(t, atC)
		b.Close() // about to stop: what it still answers others must hear of
		b.Wake("y")
		time.Sleep(gather)
		wantWoken(t, atC, "y")
	})
}

// A crowd of wake-ups leaves in few texts, each short enough for PostgreSQL, and all of it arrives.
func TestRelayGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := join(t, w), join(t, w)
		var topics []Topic
		for i := range 1000 {
			topics = append(topics, ApprovalTopic(fmt.Sprintf("%036d", i)))
		}
		s := b.Subscribe(topics...)
		for range 3 {
			for _, topic := range topics {
				a.Wake(topic)
			}
		}
		time.Sleep(gather)
		wantWoken(t, s, topics...)
		if len(w.sent) < 2 || len(w.sent) > 10 {
			t.Errorf("sent %d texts", len(w.sent))
		}
		for _, text := range w.sent {
			if len(text) >= 8000 {
				t.Errorf("a text of %d bytes", len(text))
			}
		}
	})
}

// Nobody knows what was said while the connection was away, so everybody looks once when it is back.
func TestRelayComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := join(t, w), join(t, w)
		s := b.Subscribe("x", "y")
		for range 3 {
			w.cut()
			time.Sleep(2 * rejoinFirst)
			wantWoken(t, s, "x", "y")
			wantWoken(t, s)
		}
		w.set(func() { w.down = true })
		w.cut()
		time.Sleep(time.Hour)
		wantWoken(t, s)
		a.Wake("x") // bounded, and not lost if the line comes back
		w.set(func() { w.down = false })
		time.Sleep(2 * rejoinMax)
		wantWoken(t, s, "x", "y")
		a.Wake("y")
		time.Sleep(gather)
		wantWoken(t, s, "y")
	})
}

// A lost wake-up costs a second: what no message told, the poll finds, and wakes once though it reads it again and again.
func TestPollFindsWhatWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		a, b := join(t, w), join(t, w)
		s := b.Subscribe("x", "y")
		w.commit("x")
		time.Sleep(pollEvery)
		wantWoken(t, s, "x")
		w.commit("x") // again, and again not told
		time.Sleep(pollEvery)
		wantWoken(t, s, "x")
		w.commit("y")
		a.Wake("y") // told
		time.Sleep(gather)
		wantWoken(t, s, "y")
		time.Sleep(2 * overlap)
		wantWoken(t, s)
	})
}

// A row of a slow transaction, or of a node whose clock is behind, becomes visible after its time has been read past.
func TestPollReadsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		hub := join(t, w)
		s := hub.Subscribe("x")
		time.Sleep(time.Minute)
		w.set(func() {
			w.changes = append(w.changes, Change{time.Now().Add(-overlap + 2*pollEvery), []Topic{"x"}})
		})
		time.Sleep(pollEvery)
		wantWoken(t, s, "x")
	})
}

// While the database is away polls fail; the first that does not reads all that was missed, or wakes everybody when that is long ago.
func TestPollCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		hub := join(t, w)
		s := hub.Subscribe("x", "y")
		w.set(func() { w.down = true })
		w.commit("x")
		time.Sleep(farBack - 2*overlap)
		w.set(func() { w.down = false })
		time.Sleep(pollEvery)
		wantWoken(t, s, "x")
		w.set(func() { w.down = true })
		time.Sleep(2 * farBack)
		w.set(func() { w.down = false })
		time.Sleep(pollEvery)
		wantWoken(t, s, "x", "y")
	})
}

// Who waits costs nothing: however many they are, a node asks once a second.
func TestWaitingAsksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		hub := join(t, w)
		for i := range 10_000 {
			hub.Subscribe(UserTopic(fmt.Sprint(i)))
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if w.polls != 600 || len(w.sent) != 0 || w.joins != 1 {
			t.Errorf("in ten minutes %d polls, %d messages, %d joins", w.polls, len(w.sent), w.joins)
		}
	})
}

// What the relay remembers is what it polls for; all else it forgets.
func TestRelayForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		hub := NewHub()
		relay := NewRelay(hub, w, time.Now, slog.New(slog.DiscardHandler))
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		w.set(func() { w.down = true })
		go relay.Run(ctx)
		for i := range 3 * unsaidMax {
			hub.Wake(UserTopic(fmt.Sprint(i)))
		}
		time.Sleep(2 * overlap)
		synctest.Wait()
		relay.mu.Lock()
		defer relay.mu.Unlock()
		if len(relay.unsaid) > unsaidMax || len(relay.heard) != 0 {
			t.Errorf("it keeps %d topics unsaid and %d heard", len(relay.unsaid), len(relay.heard))
		}
	})
}

// FuzzHear: whatever another node sends, exactly those are woken who wait for what it names; nobody, when it is longer than any node sends.
func FuzzHear(f *testing.F) {
	f.Add("user:x\napproval:y")
	f.Add("\n\n")
	f.Add("user:x\n" + strings.Repeat("y", textMax))
	f.Fuzz(func(t *testing.T, text string) {
		hub := NewHub()
		relay := NewRelay(hub, newWire(), time.Now, slog.New(slog.DiscardHandler))
		s := hub.Subscribe("user:x", "approval:y")
		relay.hear(text)
		names := strings.Split(text, "\n")
		for _, topic := range []Topic{"user:x", "approval:y"} {
			if named, woken := len(text) <= textMax && slices.Contains(names, string(topic)), slices.Contains(s.pending, topic); named != woken {
				t.Errorf("%q: named %v, woken %v", topic, named, woken)
			}
		}
		if len(relay.unsaid) > 0 {
			t.Error("what was heard is said again")
		}
	})
}
