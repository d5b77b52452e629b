package job

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

// This file tests the runner in synthetic time, over a table that keeps the contract of the store's.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func runner(store Store, handlers map[Kind]Handler) (*Runner, *bytes.Buffer) {
	log := &bytes.Buffer{}
	return NewRunner(store, handlers, time.Now, slog.New(slog.NewTextHandler(log, nil))), log
}

func stop(t *testing.T, r *Runner) {
	t.Helper()
	r.Stop(t.Context())
}

func some(n int, kind Kind, app string) []Job {
	jobs := make([]Job, n)
	for i := range jobs {
		jobs[i] = New(kind, app, fmt.Sprint(i), time.Now())
	}
	return jobs
}

func TestOfferedJobStartsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := some(1, Callback, "a")
		store, begun := newTable(jobs...), time.Now()
		ran := make(chan Job)
		r, _ := runner(store, map[Kind]Handler{Callback: func(ctx context.Context, j Job) error {
			ran <- j
			return store.EndJob(ctx, j.ID)
		}})
		r.Offer(jobs...) // not even started: nothing has polled
		if j := <-ran; j.ID != jobs[0].ID || j.Attempts != 1 || time.Since(begun) != 0 {
			t.Errorf("%+v after %v", j, time.Since(begun))
		}
		stop(t, r)
	})
}

// A slow receiver holds up its own application's jobs of that kind, and nobody else's.
func TestLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, saw := make(chan struct{}), newRuns()
		var others sync.WaitGroup
		r, _ := runner(newTable(), map[Kind]Handler{
			Callback: func(_ context.Context, j Job) error {
				if j.AppID != "slow" {
					others.Done()
					return nil
				}
				saw.begin(j)
				<-release
				saw.end(j)
				return nil
			},
			Message: func(context.Context, Job) error { others.Done(); return nil },
		})
		r.Offer(some(100, Callback, "slow")...)
		synctest.Wait()
		others.Add(2)
		r.Offer(append(some(1, Callback, "quick"), some(1, Message, "slow")...)...)
		others.Wait()
		if jobs, _ := saw.count(); jobs != perApp || saw.most != perApp {
			t.Errorf("%d of the slow application run at once, want %d", saw.most, perApp)
		}
		close(release)
		synctest.Wait()
		if jobs, begun := saw.count(); jobs != 100 || begun != 100 || saw.most != perApp {
			t.Errorf("%d of 100 jobs ran, %d times, %d at once", jobs, begun, saw.most)
		}
		if len(r.lanes) != 0 {
			t.Errorf("%d lanes are kept", len(r.lanes))
		}
		stop(t, r)
	})
}

// What does not fit into memory stays in the table and is found when its lease ends.
func TestFullQueueLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := some(perApp+perAppMax+500, Callback, "a")
		store, saw, release := newTable(jobs...), newRuns(), make(chan struct{})
		r, _ := runner(store, map[Kind]Handler{Callback: func(ctx context.Context, j Job) error {
			saw.begin(j)
			<-release
			saw.end(j)
			return store.EndJob(ctx, j.ID)
		}})
		r.Start()
		r.Offer(jobs...)
		synctest.Wait()
		close(release)
		synctest.Wait()
		if n := store.left(); n != 500 {
			t.Errorf("%d jobs wait for their lease to end, want 500", n)
		}
		<-time.After(Lease + 5*time.Second)
		stop(t, r)
		if jobs, begun := saw.count(); store.left() != 0 || jobs != begun {
			t.Errorf("%d jobs left, %d ran %d times", store.left(), jobs, begun)
		}
	})
}

// A job that waited is not begun so late that its lease ends while it runs: somebody else would begin it again.
func TestNoJobRunsTwiceAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := some(300, Callback, "a")
		store, saw := newTable(jobs...), newRuns()
		r, _ := runner(store, map[Kind]Handler{Callback: func(ctx context.Context, j Job) error {
			saw.begin(j)
			defer saw.end(j)
			select {
			case <-time.After(10 * time.Second):
				return store.EndJob(ctx, j.ID)
			case <-ctx.Done():
				t.Error("a job was interrupted")
				return nil
			}
		}})
		r.Start()
		r.Offer(jobs...)
		<-time.After(10 * time.Minute)
		stop(t, r)
		if jobs, begun := saw.count(); store.left() != 0 || jobs != 300 || begun != 300 || saw.twice {
			t.Errorf("%d jobs left; %d ran, %d times; some twice at once: %v", store.left(), jobs, begun, saw.twice)
		}
	})
}

// A job that never ends is interrupted before its lease does.
func TestEndlessJobIsInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := some(1, Callback, "a")
		store, saw := newTable(jobs...), newRuns()
		r, _ := runner(store, map[Kind]Handler{Callback: func(ctx context.Context, j Job) error {
			saw.begin(j)
			defer saw.end(j)
			<-ctx.Done()
			<-time.After(time.Second) // what it has to write still
			return nil
		}})
		r.Start()
		r.Offer(jobs...)
		<-time.After(170 * time.Second)
		stop(t, r)
		if jobs, begun := saw.count(); jobs != 1 || begun != 4 || saw.twice {
			t.Errorf("begun %d times, at %v; twice at once: %v", begun, saw.at, saw.twice)
		}
	})
}

// A receiver that hangs for an hour while decisions go on loses none of them, and hears of all soon after.
func TestHangingReceiverLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := some(400, Callback, "a")
		store, saw, begun := newTable(jobs...), newRuns(), time.Now()
		r, _ := runner(store, map[Kind]Handler{Callback: func(ctx context.Context, j Job) error {
			saw.begin(j)
			defer saw.end(j)
			if time.Since(begun) > time.Hour {
				return store.EndJob(ctx, j.ID)
			}
			<-time.After(10 * time.Second)
			return errors.New("no answer")
		}})
		r.Start()
		r.Offer(jobs...)
		<-time.After(3 * time.Hour)
		stop(t, r)
		if n := store.left(); n != 0 || saw.twice {
			t.Errorf("%d jobs left two hours after it is back; some ran twice at once: %v", n, saw.twice)
		}
		if jobs, _ := saw.count(); jobs != 400 {
			t.Errorf("%d of 400 ran", jobs)
		}
	})
}

func TestFailedJobIsRetriedForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := some(1, Message, "")
		store, saw := newTable(jobs...), newRuns()
		r, log := runner(store, map[Kind]Handler{Message: func(_ context.Context, j Job) error {
			saw.begin(j)
			return errors.New("gateway is away")
		}})
		r.Start()
		r.Offer(jobs...)
		<-time.After(30 * time.Hour)
		stop(t, r)
		if store.left() != 0 {
			t.Error("it was never given up")
		}
		if len(saw.at) != len(schedule)+1 {
			t.Fatalf("tried at %v", saw.at)
		}
		for i, wait := range schedule {
			if took := saw.at[i+1] - saw.at[i]; took < wait || took > wait+wait/5+2*pollEvery {
				t.Errorf("attempt %d came %v after the one before, want %v and a bit", i+2, took, wait)
			}
		}
		if n := strings.Count(log.String(), "gateway is away"); n != len(saw.at) {
			t.Errorf("logged %d times", n)
		}
	})
}

// One job's defect takes nobody along, whether its handler panics or there is none.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := append(some(1, Callback, "a"), some(1, "newer", "a")...)
		store, tries := newTable(jobs...), 0
		r, log := runner(store, map[Kind]Handler{Callback: func(ctx context.Context, j Job) error {
			if tries++; tries == 1 {
				panic("a nil map")
			}
			return store.EndJob(ctx, j.ID)
		}})
		r.Start()
		r.Offer(jobs...)
		<-time.After(5 * time.Second)
		stop(t, r)
		if tries != 2 || store.left() != 1 {
			t.Errorf("%d tries, %d left", tries, store.left())
		}
		if text := log.String(); !strings.Contains(text, "a nil map") || !strings.Contains(text, "runner_test.go") || !strings.Contains(text, "newer") {
			t.Errorf("logged: %s", text)
		}
	})
}

func TestPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		later := New(Callback, "a", "1", time.Now())
		later.RunAt = time.Now().Add(90 * time.Second)
		store, saw := newTable(later), newRuns()
		r, log := runner(store, map[Kind]Handler{Callback: func(ctx context.Context, j Job) error {
			saw.begin(j)
			return store.EndJob(ctx, j.ID)
		}})
		store.fail(errors.New("database is away"))
		r.Start()
		<-time.After(30 * time.Second)
		store.fail(nil)
		<-time.After(time.Minute + 2*time.Second)
		stop(t, r)
		if len(saw.at) != 1 || saw.at[0] < 90*time.Second || saw.at[0] > 91*time.Second {
			t.Errorf("ran at %v, want once when due", saw.at)
		}
		if n := strings.Count(log.String(), "database is away"); n < 29 || n > 31 {
			t.Errorf("the failing polls were logged %d times", n)
		}
		if store.drops < 60 {
			t.Errorf("held jobs were looked at %d times", store.drops)
		}
	})
}

// Stop begins nothing new and waits; what it interrupts when its patience ends stays in the table.
func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		jobs := some(perApp+10, Callback, "a")
		store, saw, begun := newTable(jobs...), newRuns(), time.Now()
		r, _ := runner(store, map[Kind]Handler{Callback: func(ctx context.Context, j Job) error {
			saw.begin(j)
			takes := 3 * time.Second
			if n, _ := strconv.Atoi(j.Ref); n%2 == 0 {
				takes = 10 * time.Second
			}
			select {
			case <-time.After(takes):
				return store.EndJob(context.WithoutCancel(ctx), j.ID)
			case <-ctx.Done():
				return nil
			}
		}})
		r.Start()
		r.Offer(jobs...)
		synctest.Wait()
		patience, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		r.Stop(patience)
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("stopping took %v", took)
		}
		if n, _ := saw.count(); n != perApp {
			t.Errorf("%d jobs began, want the %d that ran", n, perApp)
		}
		if n := store.left(); n != perApp/2+10 {
			t.Errorf("%d jobs are left, want %d", n, perApp/2+10)
		}
		r.Offer(some(1, Callback, "b")...)
		synctest.Wait()
		if n, _ := saw.count(); n != perApp {
			t.Error("a job began after Stop")
		}
	})
}

func TestStopWithNothingToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		r, _ := runner(newTable(), nil)
		r.Start()
		<-time.After(300 * time.Millisecond)
		stop(t, r)
		if took := time.Since(begun); took != 300*time.Millisecond {
			t.Errorf("took %v", took)
		}
	})
}

func TestBackoff(t *testing.T) {
	now := time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name     string
		attempts int
		age      time.Duration
		want     time.Duration // 0: given up
	}{
		{"first failure", 1, 0, time.Second},
		{"first failure, after a time-out", 1, 10 * time.Second, time.Second},
		{"second", 2, time.Second, 4 * time.Second},
		{"fifth", 5, 155 * time.Second, 10 * time.Minute},
		{"last", 11, 16 * time.Hour, 8 * time.Hour},
		{"given up", 12, 24 * time.Hour, 0},
		{"claimed often while its lane was full", 40, 9 * time.Minute, 10 * time.Minute},
		{"claimed often, half a day", 900, 12 * time.Hour, 8 * time.Hour},
		{"held for a day and released", 1, 24 * time.Hour, time.Second},
		{"held for a day, released, tried a while", 11, 30 * time.Hour, 8 * time.Hour},
		{"a clock that went back", 3, -time.Hour, time.Second},
		{"never begun", 0, 0, time.Second},
	} {
		j := Job{Attempts: row.attempts, CreatedAt: now.Add(-row.age)}
		for range 100 {
			wait, again := j.Backoff(now)
			if again != (row.want > 0) || wait < row.want || wait > row.want+row.want/5 {
				t.Fatalf("%s: %v, %v; want %v", row.name, wait, again, row.want)
			}
		}
	}
}

func TestNew(t *testing.T) {
	now := time.Now()
	j := New(Callback, "a", "u", now)
	if j.Attempts != 1 || !j.RunAt.Equal(now.Add(Lease)) || !j.CreatedAt.Equal(now) || len(j.ID) != 24 {
		t.Errorf("%+v", j)
	}
}
