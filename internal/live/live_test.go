package live

import (
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// ready reports whether a subscription has something to give, without waiting.
func ready(s *Subscription) bool {
	select {
	case <-s.C():
		return true
	default:
		return false
	}
}

func sorted(topics []Topic) []Topic {
	slices.Sort(topics)
	return topics
}

func TestWake(t *testing.T) {
	h := NewHub()
	one, both := h.Subscribe("a"), h.Subscribe("a", "b")
	defer one.Close()
	defer both.Close()
	h.Wake("b", "c")
	if ready(one) || len(one.Take()) > 0 {
		t.Error("woken by a topic of others")
	}
	if !ready(both) || !slices.Equal(both.Take(), []Topic{"b"}) {
		t.Error("not woken")
	}
	if ready(both) || len(both.Take()) > 0 {
		t.Error("woken twice by one wake-up")
	}
}

// However often it is woken, a waiter that does not look is told once, of every topic.
func TestCoalescing(t *testing.T) {
	h := NewHub()
	s := h.Subscribe("a", "b", "c")
	defer s.Close()
	for range 1000 {
		h.Wake("a")
		h.Wake("c", "a")
	}
	if !ready(s) || ready(s) {
		t.Error("not told exactly once")
	}
	if got := sorted(s.Take()); !slices.Equal(got, []Topic{"a", "c"}) {
		t.Errorf("woken of %v", got)
	}
	h.Wake("b") // after Take everything is news again
	if !ready(s) || !slices.Equal(s.Take(), []Topic{"b"}) {
		t.Error("not told again")
	}
}

// What comes between being told and taking is not lost: either this Take has it, or C is readable again.
func TestWakeBetweenReadyAndTake(t *testing.T) {
	h := NewHub()
	s := h.Subscribe("a", "b")
	defer s.Close()
	h.Wake("a")
	if !ready(s) {
		t.Fatal("not told")
	}
	h.Wake("b")
	if got := sorted(s.Take()); !slices.Equal(got, []Topic{"a", "b"}) {
		t.Errorf("took %v", got)
	}
}

// TestSubscribeThenRead is the promise to waiters: who subscribes first and then reads sees every change, because a change
// that the read missed wakes.
func TestSubscribeThenRead(t *testing.T) {
	for range 200 {
		h := NewHub()
		var row atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				s := h.Subscribe("row")
				defer s.Close()
				for row.Load() != 3 {
					<-s.C()
					s.Take()
				}
			})
		}
		all.Go(func() {
			for n := range int64(3) {
				row.Store(n + 1) // the commit
				h.Wake("row")
			}
		})
		all.Wait() // a lost wake-up hangs here
	}
}

func TestSet(t *testing.T) {
	h := NewHub()
	s := h.Subscribe("old", "kept")
	h.Wake("a", "old")
	s.Set("kept", "a", "a")
	if !ready(s) || !slices.Equal(s.Take(), []Topic{"old"}) {
		t.Error("what was woken before is lost, or more was woken")
	}
	h.Wake("a", "old", "kept")
	if !ready(s) || !slices.Equal(s.Take(), []Topic{"a", "kept"}) {
		t.Error("not woken of the topics that are set, or of others")
	}
	if len(h.subs) != 2 || len(h.subs["a"]) != 1 || len(h.subs["kept"]) != 1 {
		t.Errorf("%v", h.subs)
	}
	s.Close()
	s.Set("b")
	if len(h.subs) != 0 {
		t.Error("set on a closed subscription")
	}
}

// Who cannot wait for the channel is called once for what the channel would tell once, also of what came before.
func TestNotify(t *testing.T) {
	h := NewHub()
	s, calls := h.Subscribe("a", "b"), 0
	h.Wake("a")
	s.Notify(func() { calls++ })
	h.Wake("a", "b")
	if calls != 1 {
		t.Errorf("called %d times before it was looked at", calls)
	}
	if woken, open := s.Woken(); !woken || !open || len(s.Take()) != 2 {
		t.Error("not what was woken")
	}
	if woken, _ := s.Woken(); woken {
		t.Error("woken of what was taken")
	}
	h.Wake("b")
	h.Close()
	if _, open := s.Woken(); open || calls != 3 {
		t.Errorf("called %d times, want 3: told, told again, closed", calls)
	}
	h.Subscribe("a").Notify(func() { calls++ })
	if calls != 4 {
		t.Error("a closed hub does not call")
	}
}

func TestCloseSubscription(t *testing.T) {
	h := NewHub()
	s, other := h.Subscribe("a", "b"), h.Subscribe("a")
	s.Close()
	s.Close()
	h.Wake("a", "b")
	if ready(s) || len(s.Take()) > 0 {
		t.Error("woken after it was closed")
	}
	if !ready(other) {
		t.Error("another subscription of the topic ended too")
	}
	other.Close()
	if len(h.subs) != 0 {
		t.Errorf("%d topics are kept for nobody", len(h.subs))
	}
	h.Close() // must not close what is closed
}

func TestCloseHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHub()
		var all sync.WaitGroup
		for i := range 10 {
			s := h.Subscribe("a", Topic("b"+strconv.Itoa(i)))
			all.Go(func() {
				defer s.Close()
				if _, open := <-s.C(); open {
					t.Error("woken, want closed")
				}
			})
		}
		synctest.Wait()
		h.Close()
		h.Close()
		all.Wait()
		late := h.Subscribe("a")
		if _, open := <-late.C(); open {
			t.Error("a later subscription is not closed")
		}
		h.Wake("a") // must not write to what is closed
		late.Set("c")
		late.Close()
		if len(h.subs) != 0 {
			t.Errorf("%d topics are kept after everyone left", len(h.subs))
		}
	})
}

// A wake-up that was not taken when the hub closes can still be taken.
func TestTakeAfterClose(t *testing.T) {
	h := NewHub()
	s := h.Subscribe("a")
	defer s.Close()
	h.Wake("a")
	h.Close()
	if _, open := <-s.C(); !open {
		t.Error("the wake-up before the end was lost")
	}
	if !slices.Equal(s.Take(), []Topic{"a"}) {
		t.Error("its topic was lost")
	}
	if _, open := <-s.C(); open {
		t.Error("not closed")
	}
}

// One waiter that never looks holds up nobody.
func TestSlowWaiter(t *testing.T) {
	h := NewHub()
	slow, quick := h.Subscribe("a"), h.Subscribe("a")
	defer slow.Close()
	defer quick.Close()
	for range 1000 {
		h.Wake("a")
		if !ready(quick) {
			t.Fatal("held up")
		}
		quick.Take()
	}
}

// Everything at once, for the race detector.
func TestEverythingAtOnce(t *testing.T) {
	h := NewHub()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 300 {
				topic := Topic(strconv.Itoa((i + n) % 5))
				s := h.Subscribe(topic)
				s.Set(topic, "all")
				h.Wake(topic, "all", ApprovalTopic("x"), UserTopic("x"), DeviceTopic("x"), MessagesTopic)
				<-s.C()
				s.Take()
				s.Close()
				runtime.Gosched()
			}
		})
	}
	all.Wait()
	h.Close()
	if len(h.subs) != 0 {
		t.Errorf("%d topics are kept for nobody", len(h.subs))
	}
}

func TestTopicsDiffer(t *testing.T) {
	topics := []Topic{ApprovalTopic("x"), UserTopic("x"), DeviceTopic("x"), MessagesTopic}
	if len(slices.Compact(sorted(slices.Clone(topics)))) != len(topics) {
		t.Errorf("two kinds of things share a topic: %v", topics)
	}
}
