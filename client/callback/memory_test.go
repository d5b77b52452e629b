// This file tests that a callback is handled once (CB4, T-15), and what that costs.

package callback

import (
	"context"
	"errors"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestReplay is CB4 and T-15: handled once, and forgotten only when handling failed or its time is over.
func TestReplay(t *testing.T) {
	v := newVerifier()
	first, err := v.Verify(signed(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(signed(t)); !errors.Is(err, ErrBusy) {
		t.Errorf("copy while the first is being handled: got %v", err)
	}
	first.Done(errors.New("database is away"))
	second, err := v.Verify(signed(t))
	if err != nil {
		t.Fatalf("after a failure: %v", err)
	}
	second.Done(nil)
	if _, err := v.Verify(signed(t)); !errors.Is(err, ErrReplayed) {
		t.Errorf("copy of a handled one: got %v", err)
	}
	if _, err := v.Verify(request(t, vectorKey, vectorNonce+".1", vectorURL, testBody)); err != nil {
		t.Errorf("the sender's own retry, with a fresh nonce: %v", err)
	}
	// At no moment may a copy be both fresh and forgotten, wherever in the window the first arrived.
	for _, early := range []time.Duration{-DefaultWindow, 0, DefaultWindow} {
		v := newVerifier()
		now := testTime.Add(early)
		v.Now = func() time.Time { return now }
		event, err := v.Verify(signed(t))
		if err != nil {
			t.Fatal(err)
		}
		event.Done(nil)
		for range 25 {
			if _, err := v.Verify(signed(t)); !errors.Is(err, ErrReplayed) && !errors.Is(err, ErrStale) {
				t.Errorf("first at %v, copy at %v: got %v", early, now.Sub(testTime), err)
			}
			now = now.Add(30 * time.Second)
		}
	}
	Event{}.Done(nil) // an event that no verifier made
}

func TestMemoryIsBounded(t *testing.T) {
	var m memory
	id := func(i int) callbackID { return callbackID{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)} }
	for i := range maxRemembered + 10 {
		if err := m.reserve(id(i), testTime, time.Minute); err != nil {
			t.Fatal(err)
		}
		m.settle(id(i), i%2 == 0)
	}
	if len(m.handled) > maxRemembered || len(m.queue) > maxRemembered {
		t.Errorf("%d entries, queue of %d", len(m.handled), len(m.queue))
	}
	if err := m.reserve(id(maxRemembered+8), testTime, time.Minute); !errors.Is(err, ErrReplayed) {
		t.Errorf("a recent one: got %v", err)
	}
	if err := m.reserve(id(1), testTime.Add(2*time.Minute), time.Minute); err != nil || len(m.handled) != 1 || len(m.queue) != 1 {
		t.Errorf("after all expired: %v, %d entries, queue of %d", err, len(m.handled), len(m.queue))
	}
	m.settle(id(5), true)
	if len(m.handled) != 1 {
		t.Error("settling an expired entry brought it back")
	}
}

// TestConcurrentCopies is INV-1 at the receiver: of many copies at once, one is handled.
func TestConcurrentCopies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var handled atomic.Int32
		handler := newVerifier().Handler(func(context.Context, Event) error {
			handled.Add(1)
			time.Sleep(time.Second) // synthetic: nothing waits for real
			return nil
		})
		statuses := make([]int, 64)
		var wg sync.WaitGroup
		for i := range statuses {
			r := signed(t)
			wg.Go(func() {
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				statuses[i] = w.Code
				if w.Code == 503 && w.Header().Get("Retry-After") != "1" {
					t.Error("503 without Retry-After")
				}
			})
		}
		wg.Wait()
		count := map[int]int{}
		for _, status := range statuses {
			count[status]++
		}
		if handled.Load() != 1 || count[200] != 1 || count[503] != 63 {
			t.Errorf("handled %d times, statuses %v", handled.Load(), count)
		}
	})
}
