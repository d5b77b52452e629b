package bench

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// This file owns load: operations begun at their times, and what became of them.

// operation is one thing that is measured. Due is when it should begin, from which its latency counts.
type operation func(ctx context.Context, due time.Time) error

// patience is how long one operation may take; later it has failed.
const patience = 20 * time.Second

// lag is how long after the end of a run what was due may still begin; what is left then was never begun.
const lag = 2 * time.Second

// tally counts what became of operations. It is safe for concurrent use.
type tally struct {
	mu       sync.Mutex
	took     *hdrhistogram.Histogram // microseconds
	failures map[string]int64
}

func newTally() *tally {
	return &tally{took: newHistogram(), failures: map[string]int64{}}
}

// newHistogram holds a microsecond to a minute with three digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, 60_000_000, 3) }

func (t *tally) add(took time.Duration, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failures[reason(err)]++
		return
	}
	_ = t.took.RecordValue(min(max(took.Microseconds(), 1), 60_000_000))
}

// reason is the failure as it is counted. There are few texts: an operation names no ids in its errors.
func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// saturate has callers repeat the operation without a pause: each begins when its last one has ended. It finds what can be done in all, and says
// nothing about latency.
func saturate(ctx context.Context, callers int, length time.Duration, do operation) Load {
	t := newTally()
	begun := time.Now()
	until := begun.Add(length)
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for now := time.Now(); now.Before(until) && ctx.Err() == nil; now = time.Now() {
				t.attempt(ctx, now, do)
			}
		})
	}
	all.Wait()
	return t.load(0, time.Since(begun))
}

// attempt runs one operation.
func (t *tally) attempt(ctx context.Context, due time.Time, do operation) {
	within, cancel := context.WithTimeout(ctx, patience)
	err := do(within, due)
	cancel()
	t.add(time.Since(due), err)
}

// arrive has operations begin at an even rate, whatever became of earlier ones (no coordinated omission). As many callers take
// them as needed, up to callers; what waits for one is late, and that counts.
func arrive(ctx context.Context, callers int, rate float64, length time.Duration, do operation) Load {
	t := newTally()
	n := int64(rate * length.Seconds())
	pause := time.Duration(float64(time.Second) / rate)
	begun := time.Now()
	giveUp := begun.Add(length + lag)
	var next atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for i := next.Add(1) - 1; i < n; i = next.Add(1) - 1 {
				due := begun.Add(time.Duration(i) * pause)
				if wait := time.Until(due); wait > 0 {
					time.Sleep(wait)
				}
				if ctx.Err() != nil || time.Now().After(giveUp) {
					t.add(0, errLate)
					continue
				}
				t.attempt(ctx, due, do)
			}
		})
	}
	all.Wait()
	return t.load(rate, max(time.Since(begun), length))
}

var errLate = errors.New("never begun: too many waited in front")

// load is the tally as it is told.
func (t *tally) load(offered float64, took time.Duration) Load {
	l := Load{Offered: round(offered), Seconds: round(took.Seconds()), Done: t.took.TotalCount(), Latency: percentiles(t.took)}
	l.PerSecond = round(float64(l.Done) / took.Seconds())
	for why, n := range t.failures {
		if l.Failures == nil {
			l.Failures = map[string]int64{}
		}
		l.Failures[why] = n
		l.Failed += n
	}
	return l
}

func percentiles(h *hdrhistogram.Histogram) Latency {
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Latency{P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), Max: float64(h.Max()) / 1000}
}
