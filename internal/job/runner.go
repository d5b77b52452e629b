package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"countersign.dev/internal/trace"
)

// This file owns the runner: it starts offered and due jobs and bounds how many run at once.

// Store is what the runner needs to keep.
type Store interface {
	ClaimJobs(ctx context.Context, now, lease time.Time, limit int) ([]Job, error)
	RetryJob(ctx context.Context, j Job, at time.Time) error // for good when at is zero; a job whose lease is over is left alone
	DropHeld(ctx context.Context, now time.Time) (int64, error)
}

// Handler does one kind of job. It ends or reschedules the job itself, in the transaction of what it has to
// remember; an error means that it could not, and the runner tries again later.
type Handler func(ctx context.Context, j Job) error

// Bounds of the runner.
const (
	perApp    = 64               // jobs of one kind and application at once: a slow receiver holds up its own. Most of a job's time is its turn to write what came of it
	perAppMax = 2000             // jobs of one application waiting in memory; more stay in the table until their lease ends
	pollEvery = time.Second      // for jobs whose time has come, and for those of a process that died
	claimMax  = 200              // jobs taken in one poll
	leaseMin  = 20 * time.Second // of a lease must be left when a job begins, enough for any try; or it waits for its next claim
	leaseRest = 5 * time.Second  // before its lease ends a job is interrupted, so that nobody else begins it meanwhile
)

// Runner runs jobs. Make it with NewRunner, Start it, Stop it.
type Runner struct {
	store    Store
	handlers map[Kind]Handler
	now      func() time.Time
	log      *slog.Logger
	tracer   *trace.Tracer

	mu      sync.Mutex
	lanes   map[string]*lane // by kind and application
	stopped bool

	polls       context.Context // ends when Stop begins
	stopPolling context.CancelFunc
	jobs        context.Context // ends when Stop's patience does
	interrupt   context.CancelFunc
	work        sync.WaitGroup
}

func (j Job) lane() string { return string(j.Kind) + " " + j.AppID }

// lane is what one application has running and waiting of one kind.
type lane struct {
	running int
	waiting []Job
}

// NewRunner returns a runner for those kinds of jobs.
func NewRunner(store Store, handlers map[Kind]Handler, now func() time.Time, log *slog.Logger) *Runner {
	r := &Runner{store: store, handlers: handlers, now: now, log: log, lanes: map[string]*lane{}}
	r.polls, r.stopPolling = context.WithCancel(context.Background())
	r.jobs, r.interrupt = context.WithCancel(context.Background())
	return r
}

// Trace makes the spans of jobs whose cause was traced. Call it before Start.
func (r *Runner) Trace(t *trace.Tracer) { r.tracer = t }

// Start begins to look for due jobs.
func (r *Runner) Start() {
	r.work.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		for {
			r.poll()
			select {
			case <-tick.C:
			case <-r.polls.Done():
				return
			}
		}
	})
}

// Stop starts nothing new, waits for what runs until ctx ends, then interrupts it. What was interrupted runs again after the next start.
func (r *Runner) Stop(ctx context.Context) {
	r.mu.Lock()
	r.stopped = true
	r.mu.Unlock()
	r.stopPolling()
	idle := make(chan struct{})
	go func() {
		r.work.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
		r.interrupt()
		<-idle
	}
	r.interrupt()
}

// Offer hands over jobs that are leased to this process and were committed. It never blocks and never fails: what
// does not fit stays in the table and is found when its lease ends.
func (r *Runner) Offer(jobs ...Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	for _, j := range jobs {
		l := r.lanes[j.lane()]
		if l == nil {
			l = &lane{}
			r.lanes[j.lane()] = l
		}
		switch {
		case l.running < perApp:
			l.running++
			r.work.Go(func() { r.runLane(l, j) })
		case len(l.waiting) < perAppMax:
			j.About = nil // as many may wait as fill the memory
			l.waiting = append(l.waiting, j)
		}
	}
}

// runLane runs j and then what waits behind it.
func (r *Runner) runLane(l *lane, j Job) {
	for ok := true; ok; j, ok = r.next(l, j.lane()) {
		r.run(j)
	}
}

func (r *Runner) next(l *lane, name string) (Job, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(l.waiting) > 0 && !r.stopped {
		j := l.waiting[0]
		l.waiting = l.waiting[1:]
		return j, true
	}
	if l.running--; l.running == 0 && r.lanes[name] == l {
		delete(r.lanes, name)
	}
	return Job{}, false
}

func (r *Runner) run(j Job) {
	left := j.RunAt.Sub(r.now())
	if left < leaseMin {
		return // it waited here for long; who claims it next begins it
	}
	ctx, cancel := context.WithTimeout(r.jobs, left-leaseRest)
	defer cancel()
	ctx, span := r.tracer.Job(ctx, j.Trace, "job "+string(j.Kind), attribute.String("job", j.ID), attribute.Int("attempt", j.Attempts))
	err := r.handle(ctx, j)
	span.End(err)
	if err == nil {
		return
	}
	r.log.Error("job failed", "kind", string(j.Kind), "job", j.ID, "attempts", j.Attempts, "error", err)
	var next time.Time
	now := r.now()
	if wait, again := j.Backoff(now); again {
		next = now.Add(wait)
	}
	if err := r.store.RetryJob(context.WithoutCancel(ctx), j, next); err != nil {
		r.log.Error("job stays leased", "job", j.ID, "error", err)
	}
}

// handle turns a panic into an error: one job's defect must not end the program, at every start anew.
func (r *Runner) handle(ctx context.Context, j Job) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	h := r.handlers[j.Kind]
	if h == nil {
		return errors.New("no handler for this kind: was the job made by a newer version?")
	}
	return h(ctx, j)
}

func (r *Runner) poll() {
	now := r.now()
	jobs, err := r.store.ClaimJobs(r.polls, now, now.Add(Lease), claimMax)
	if err == nil {
		r.Offer(jobs...)
		_, err = r.store.DropHeld(r.polls, now)
	}
	if err != nil && r.polls.Err() == nil {
		r.log.Error("cannot look for jobs", "error", err)
	}
}
