package job

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// This file owns what the tests of the runner share: a table that keeps the contract of the store's, and a record of what ran.

// table is a store in memory.
type table struct {
	mu     sync.Mutex
	jobs   map[string]Job
	broken error
	drops  int
}

func newTable(jobs ...Job) *table {
	t := &table{jobs: map[string]Job{}}
	for _, j := range jobs {
		t.jobs[j.ID] = j
	}
	return t
}

func (t *table) ClaimJobs(_ context.Context, now, lease time.Time, limit int) (claimed []Job, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.broken != nil {
		return nil, t.broken
	}
	for _, j := range t.jobs {
		if !j.RunAt.After(now) {
			claimed = append(claimed, j)
		}
	}
	slices.SortFunc(claimed, func(a, b Job) int { return cmp.Or(a.RunAt.Compare(b.RunAt), cmp.Compare(a.ID, b.ID)) })
	claimed = claimed[:min(limit, len(claimed))]
	for i := range claimed {
		claimed[i].Attempts, claimed[i].RunAt = claimed[i].Attempts+1, lease
		t.jobs[claimed[i].ID] = claimed[i]
	}
	return claimed, nil
}

func (t *table) RetryJob(_ context.Context, j Job, at time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine, ok := t.jobs[j.ID]
	switch {
	case !ok || !mine.RunAt.Equal(j.RunAt):
	case at.IsZero():
		delete(t.jobs, j.ID)
	default:
		mine.RunAt = at
		t.jobs[j.ID] = mine
	}
	return t.broken
}

func (t *table) EndJob(_ context.Context, id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.jobs, id)
	return t.broken
}

func (t *table) DropHeld(context.Context, time.Time) (int64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.drops++
	return 0, t.broken
}

func (t *table) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.broken = err
}

func (t *table) left() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.jobs)
}

// runs is what handlers did.
type runs struct {
	mu      sync.Mutex
	begun   map[string]int // by job
	at      []time.Duration
	running map[string]int
	most    int // at once
	twice   bool
	since   time.Time
}

func newRuns() *runs {
	return &runs{begun: map[string]int{}, running: map[string]int{}, since: time.Now()}
}

func (r *runs) begin(j Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begun[j.ID]++
	r.at = append(r.at, time.Since(r.since).Round(time.Second/10))
	r.running[j.ID]++
	r.twice = r.twice || r.running[j.ID] > 1
	all := 0
	for _, n := range r.running {
		all += n
	}
	r.most = max(r.most, all)
}

func (r *runs) end(j Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.running[j.ID]--
}

func (r *runs) count() (jobs, begun int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.begun {
		begun += n
	}
	return len(r.begun), begun
}
