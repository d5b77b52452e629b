package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestLatencyCountsFromWhenItWasDue: a server that stands still for a second makes everybody late who was due meanwhile, though
// each of them is answered within a millisecond when it gets through (no coordinated omission).
func TestLatencyCountsFromWhenItWasDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one := make(chan struct{}, 1) // the server takes one at a time
		begun, stood := time.Now(), false
		l := arrive(t.Context(), 200, 100, 4*time.Second, func(context.Context, time.Time) error {
			one <- struct{}{}
			if !stood && time.Since(begun) >= time.Second {
				stood = true
				time.Sleep(time.Second)
			}
			time.Sleep(time.Millisecond)
			<-one
			return nil
		})
		if l.Done != 400 || l.Failed != 0 {
			t.Fatalf("%d done, %d failed", l.Done, l.Failed)
		}
		// A quarter of the requests was due in that second, and waited for half of it on average.
		if l.Latency.P50 > 2 || l.Latency.P90 < 400 || l.Latency.Max < 1000 {
			t.Errorf("latencies %+v", l.Latency)
		}
	})
}

// TestLateIsAFailure: what is due while nobody can take it is not left out.
func TestLateIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := arrive(t.Context(), 1, 10, 4*time.Second, func(context.Context, time.Time) error {
			time.Sleep(time.Second)
			return nil
		})
		if l.Done+l.Failed != 40 || l.Failures[errLate.Error()] != l.Failed || l.Failed < 30 || l.kept() {
			t.Errorf("%d done, failures %v", l.Done, l.Failures)
		}
	})
}

// TestFailuresAreCounted: by reason, and never among the latencies.
func TestFailuresAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		l := saturate(t.Context(), 1, time.Second, func(context.Context, time.Time) error {
			time.Sleep(10 * time.Millisecond)
			if n++; n%4 == 0 {
				return errors.New("answered 503 60017")
			}
			return nil
		})
		if l.Done != 75 || l.Failed != 25 || l.Failures["answered 503 60017"] != 25 {
			t.Errorf("%+v", l)
		}
	})
}

// TestCodesAreNotRepeated: whoever types a code types one that nobody typed, or says that there is none.
func TestCodesAreNotRepeated(t *testing.T) {
	p := &person{secret: []byte("01234567890123456789")}
	now := time.Unix(1_700_000_000, 0)
	seen := map[string]bool{}
	for range 3 { // of the steps in the window, those ahead
		code, err := p.code(now, 7, 3)
		if err != nil || seen[code] {
			t.Fatalf("%s %v", code, err)
		}
		seen[code] = true
	}
	if _, err := p.code(now, 7, 3); !errors.Is(err, errNoCode) {
		t.Errorf("one more: %v", err)
	}
	if _, err := p.code(now.Add(time.Second), 7, 3); err != nil {
		t.Errorf("a second later: %v", err)
	}
}

// TestPhonesDiffer: everybody has a number of their own.
func TestPhonesDiffer(t *testing.T) {
	seen := map[string]bool{}
	for i := range 400_000 {
		n := phone(i)
		if seen[n] || len(n) != 12 {
			t.Fatalf("%d: %s", i, n)
		}
		seen[n] = true
	}
	if n := phone(5_000_000); len(n) != 12 {
		t.Error(n)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	table{{"a", "number"}, {"one", "1,000"}, {"é", "2"}}.print(&b)
	want := "| a   | number |\n|-----|-------:|\n| one |  1,000 |\n| é   |      2 |\n\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

func TestBar(t *testing.T) {
	for _, c := range []struct {
		share float64
		want  string
	}{{0, ""}, {1, strings.Repeat("█", 20)}, {0.5, strings.Repeat("█", 10)}, {0.025, "▌"}, {7, strings.Repeat("█", 20)}} {
		if got := bar(c.share); got != c.want {
			t.Errorf("bar(%v) = %q", c.share, got)
		}
	}
}
