package storetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/message"
)

var jobTests = []test{
	{"a leased job is claimed when its lease ends, not before", testLease},
	{"due jobs are claimed oldest first, up to a limit", testClaimOrder},
	{"each due job is claimed once", testClaimRace},
	{"an application's backlog delays nobody else", testClaimFair},
	{"a retried job is due at its time", testRetry},
	{"an ended job is gone", testEnd},
	{"a restart frees leases and leaves backoffs", testFreeLeases},
	{"the outbox", testOutbox},
	{"pictures", testLogos},
	{"what ended is forgotten a day later", testForget},
}

// insert puts a job into the table, leased as job.New makes it, by way of the outbox's own message job.
func (f *fixture) insert(t *testing.T, j job.Job) job.Job {
	t.Helper()
	err := f.Exec(t.Context(), `INSERT INTO jobs (id, kind, app_id, ref, payload, attempts, created_at, run_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		j.ID, string(j.Kind), j.AppID, j.Ref, j.Payload, j.Attempts, j.CreatedAt.UnixMilli(), j.RunAt.UnixMilli())
	must(t, err)
	return j
}

func (f *fixture) claim(t *testing.T, limit int) []job.Job {
	t.Helper()
	jobs, err := f.Store.ClaimJobs(t.Context(), f.now(), f.now().Add(job.Lease), limit)
	must(t, err)
	return jobs
}

func testLease(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	j := f.jobOf(app, job.Message, "")
	j.Payload = []byte{0, 1, 2, 255}
	f.insert(t, j)
	f.Clock.Advance(job.Lease - time.Millisecond)
	same(t, "jobs claimed before the lease ends", len(f.claim(t, 10)), 0)
	f.Clock.Advance(time.Millisecond)
	j.Attempts, j.RunAt = 2, f.now().Add(job.Lease)
	same(t, "jobs claimed when it ends", fmt.Sprint(f.claim(t, 10)), fmt.Sprint([]job.Job{j}))
	same(t, "jobs claimed twice", len(f.claim(t, 10)), 0)
}

func testClaimOrder(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	var want []string
	for i := range 20 {
		j := f.jobOf(app, job.Message, "")
		j.ID = fmt.Sprintf("%02d", (i*7)%20) // names in another order than ages
		j.CreatedAt = f.now().Add(time.Duration(i) * time.Second)
		j.RunAt = j.CreatedAt
		want = append(want, f.insert(t, j).ID)
	}
	f.Clock.Advance(time.Minute)
	var got []string
	for _, limit := range []int{8, 100} {
		for _, j := range f.claim(t, limit) {
			got = append(got, j.ID)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("claimed %v, want %v", got, want)
	}
}

// testClaimFair: 10,000 callbacks of one application were due before another's one; each poll takes of both, and leaves no room unused.
func testClaimFair(t *testing.T, f *fixture) {
	busy, other, third := f.App(t, "Busy"), f.App(t, "Other"), f.App(t, "Third")
	must(t, f.Exec(t.Context(), `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
		INSERT INTO jobs (id, kind, app_id, ref, attempts, created_at, run_at)
		SELECT 'busy' || i, 'callback', $1, '', 1, i, i FROM n`, busy.ID))
	late, later := f.jobOf(other, job.Callback, ""), f.jobOf(third, job.Message, "")
	late.RunAt, later.RunAt = f.now(), f.now()
	f.insert(t, late)
	f.insert(t, later)
	waiting := f.jobOf(f.App(t, "Nothing due"), job.Message, "")
	waiting.RunAt = f.now().Add(time.Hour)
	f.insert(t, waiting)
	for round := range 2 {
		tally := map[string]int{}
		for _, j := range f.claim(t, 200) {
			tally[j.AppID]++
		}
		want := map[string]int{busy.ID: 198, other.ID: 1, third.ID: 1}
		if round == 1 {
			want = map[string]int{busy.ID: 200}
		}
		if !maps.Equal(tally, want) {
			t.Errorf("round %d claimed %v, want %v", round, tally, want)
		}
	}
	must(t, f.Exec(t.Context(), `UPDATE jobs SET run_at = 1 WHERE id = $1`, late.ID))
	same(t, "claimed when there is room for one", len(f.claim(t, 1)), 1)
}

func testClaimRace(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	for range 50 {
		f.insert(t, f.jobOf(app, job.Message, ""))
	}
	f.Clock.Advance(job.Lease)
	var mu sync.Mutex
	claimed := map[string]int{}
	errs := together(16, func(int) error {
		jobs, err := f.Store.ClaimJobs(context.Background(), f.now(), f.now().Add(job.Lease), 7)
		mu.Lock()
		defer mu.Unlock()
		for _, j := range jobs {
			claimed[j.ID]++
		}
		return err
	})
	wantTally(t, errs, map[error]int{nil: 16})
	same(t, "jobs claimed", len(claimed), 50)
	for id, n := range claimed {
		same(t, "claims of "+id, n, 1)
	}
}

func testRetry(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	j := f.insert(t, f.jobOf(app, job.Message, ""))
	must(t, f.Store.RetryJob(t.Context(), j, f.now().Add(4*time.Second)))
	must(t, f.Store.RetryJob(t.Context(), j, time.Time{})) // gave its lease back already: what comes late changes nothing
	must(t, f.Store.RetryJob(t.Context(), j, f.now()))
	f.Clock.Advance(4*time.Second - time.Millisecond)
	same(t, "jobs before the retry", len(f.claim(t, 10)), 0)
	f.Clock.Advance(time.Millisecond)
	jobs := f.claim(t, 10)
	if len(jobs) != 1 || jobs[0].Attempts != 2 {
		t.Errorf("claimed %+v, want the second attempt", jobs)
	}
	must(t, f.Store.RetryJob(t.Context(), f.jobOf(app, job.Message, ""), f.now())) // one that is not there
	must(t, f.Store.RetryJob(t.Context(), jobs[0], time.Time{}))
	same(t, "jobs left when given up for good", len(must1(f.Rows(t.Context(), "jobs"))), 0)
}

func testEnd(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	j, other := f.insert(t, f.jobOf(app, job.Message, "")), f.insert(t, f.jobOf(app, job.Message, ""))
	must(t, f.Store.EndJob(t.Context(), j.ID))
	must(t, f.Store.EndJob(t.Context(), j.ID))
	f.Clock.Advance(job.Lease)
	jobs := f.claim(t, 10)
	if len(jobs) != 1 || jobs[0].ID != other.ID {
		t.Errorf("claimed %+v, want the other job alone", jobs)
	}
}

func testFreeLeases(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	leased := f.insert(t, f.jobOf(app, job.Message, ""))
	waiting := f.insert(t, f.jobOf(app, job.Message, ""))
	must(t, f.Store.RetryJob(t.Context(), waiting, f.now().Add(8*time.Hour)))
	must(t, f.Store.FreeLeases(t.Context(), f.now()))
	if !f.Store.OneProcess() {
		same(t, "jobs due when another node starts", len(f.claim(t, 10)), 0)
		return
	}
	jobs := f.claim(t, 10)
	if len(jobs) != 1 || jobs[0].ID != leased.ID {
		t.Errorf("due after a restart: %+v, want the leased job alone: restarts must not use a backoff's attempts up", jobs)
	}
	f.Clock.Advance(8 * time.Hour)
	same(t, "due eight hours later", len(f.claim(t, 10)), 2)
}

func testOutbox(t *testing.T, f *fixture) {
	var want []message.Stored
	for i := range 3 {
		m := message.Stored{ID: fmt.Sprint("m", i), At: f.now(), Sealed: []byte{byte(i)}}
		must(t, f.Store.KeepInOutbox(t.Context(), m))
		again := m
		again.Sealed = []byte("again")
		must(t, f.Store.KeepInOutbox(t.Context(), again)) // the job ran twice: one message
		want = append([]message.Stored{m}, want...)
		f.Clock.Advance(time.Second)
	}
	got, err := f.Store.InOutbox(t.Context(), 10)
	must(t, err)
	same(t, "messages, newest first", fmt.Sprint(got), fmt.Sprint(want))
	got, err = f.Store.InOutbox(t.Context(), 2)
	must(t, err)
	same(t, "messages up to a limit", fmt.Sprint(got), fmt.Sprint(want[:2]))
}

func testLogos(t *testing.T, f *fixture) {
	png, err := f.Store.Logo(t.Context(), "d1")
	if png != nil || err != nil {
		t.Errorf("no picture: %v, %v", png, err)
	}
	for range 2 {
		must(t, f.Store.KeepLogo(t.Context(), "d1", []byte("png"), f.now()))
	}
	png, err = f.Store.Logo(t.Context(), "d1")
	must(t, err)
	same(t, "picture", string(png), "png")
}
