package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

// This file owns durable jobs.

const jobColumns = `id, kind, app_id, ref, payload, trace, attempts, created_at, run_at`

func scanJob(r scanner) (j job.Job, err error) {
	var created, run int64
	err = r.Scan(&j.ID, &j.Kind, &j.AppID, &j.Ref, &j.Payload, &j.Trace, &j.Attempts, &created, &run)
	j.CreatedAt, j.RunAt = fromMS(created), fromMS(run)
	return j, err
}

func (t *tx) insertJob(ctx context.Context, j job.Job) error {
	err := t.later(ctx, `INSERT INTO jobs (id, kind, app_id, ref, payload, trace, attempts, created_at, run_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		j.ID, string(j.Kind), j.AppID, j.Ref, j.Payload, j.Trace, j.Attempts, ms(j.CreatedAt), ms(j.RunAt))
	if err != nil {
		return fmt.Errorf("insert %s job: %w", j.Kind, err)
	}
	if j.Kind == job.Message {
		return t.insertMessage(ctx, j)
	}
	return nil
}

// ClaimJobs leases due jobs until lease and returns them, oldest first: of each application that has any, so that nobody's backlog
// delays another's.
func (s *Store) ClaimJobs(ctx context.Context, now, lease time.Time, limit int) (jobs []job.Job, err error) {
	var one int // most polls find nothing: ask without a write first
	err = s.queryRow(ctx, `SELECT 1 FROM jobs WHERE run_at > 0 AND run_at <= $1 AND held_until = 0 LIMIT 1`, ms(now)).Scan(&one)
	if err != nil {
		return nil, missing(err, nil)
	}
	apps, err := s.appsDue(ctx, now, limit)
	if err != nil || len(apps) == 0 {
		return nil, err
	}
	err = s.write(ctx, func(t *tx) error {
		jobs = nil
		for i, app := range apps {
			share := (limit - len(jobs)) / (len(apps) - i)
			rows, err := t.query(ctx, `SELECT `+jobColumns+` FROM jobs WHERE app_id = $2 AND run_at <= $1 AND held_until = 0
				ORDER BY run_at LIMIT $3 FOR UPDATE SKIP LOCKED`, ms(now), app, share)
			claimed, err := collect(rows, err, scanJob)
			if err != nil {
				return err
			}
			for k := range claimed { // each by its id: PostgreSQL, whose statistics say that nothing waits, would look for them among all jobs
				j := &claimed[k]
				j.RunAt, j.Attempts = fromMS(ms(lease)), j.Attempts+1
				if err := t.later(ctx, `UPDATE jobs SET run_at = $1, attempts = $2 WHERE id = $3`, ms(j.RunAt), j.Attempts, j.ID); err != nil {
					return err
				}
			}
			jobs = append(jobs, claimed...)
		}
		return nil
	})
	return oldestFirst(jobs), err
}

// appsDue returns the applications that have waited longest for a due job, the longest last: who has a backlog then gets what
// the others leave. It steps from one application to the next in the index, whatever each has waiting.
func (s *Store) appsDue(ctx context.Context, now time.Time, limit int) ([]string, error) {
	rows, err := s.query(ctx, `WITH RECURSIVE app (id) AS (
			SELECT (SELECT app_id FROM jobs WHERE held_until = 0 ORDER BY app_id LIMIT 1)
			UNION ALL
			SELECT (SELECT app_id FROM jobs WHERE held_until = 0 AND app_id > app.id ORDER BY app_id LIMIT 1) FROM app WHERE app.id IS NOT NULL)
		SELECT id FROM (SELECT id, (SELECT run_at FROM jobs WHERE app_id = app.id AND held_until = 0 ORDER BY run_at LIMIT 1) AS due FROM app) first
		WHERE due <= $1 ORDER BY due LIMIT $2`, ms(now), limit)
	apps, err := collect(rows, err, func(r scanner) (id string, err error) { return id, r.Scan(&id) })
	slices.Reverse(apps)
	return apps, err
}

// Backlog is what waits in the table of jobs.
type Backlog struct {
	Waiting int64     // not held, up to backlogMax
	Held    int64     // for a callback address, up to backlogMax
	Oldest  time.Time // since when the oldest due job is due; zero: none is
}

// backlogMax bounds what is counted, so that a backlog does not grow by being looked at.
const backlogMax = 10_000

// Backlog returns what waits.
func (s *Store) Backlog(ctx context.Context, now time.Time) (b Backlog, err error) {
	var oldest int64
	err = s.queryRow(ctx, `SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE run_at > 0 AND held_until = 0 LIMIT $1) w),
		(SELECT COUNT(*) FROM (SELECT 1 FROM jobs WHERE held_until > 0 LIMIT $1) h),
		COALESCE((SELECT run_at FROM jobs WHERE run_at > 0 AND run_at <= $2 AND held_until = 0 ORDER BY run_at LIMIT 1), 0)`, backlogMax, ms(now)).
		Scan(&b.Waiting, &b.Held, &oldest)
	b.Oldest = fromMS(oldest)
	return b, err
}

// oldestFirst sorts what was claimed application by application.
func oldestFirst(jobs []job.Job) []job.Job {
	slices.SortFunc(jobs, func(a, b job.Job) int { return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID)) })
	return jobs
}

// FreeLeases makes every leased job due where there is one process, so that at its start no lease has an owner. Elsewhere another
// node may be at work. What waits for a later attempt goes on waiting, unless that is as near as a lease's end.
func (s *Store) FreeLeases(ctx context.Context, now time.Time) error {
	if !s.OneProcess() {
		return nil
	}
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE jobs SET run_at = $1 WHERE run_at > 0 AND run_at > $1 AND run_at <= $2 AND held_until = 0`, ms(now), ms(now.Add(job.Lease)))
		return err
	})
}

// RetryJob gives a job up until at, or for good when at is zero, if it is still leased to who ran it.
func (s *Store) RetryJob(ctx context.Context, j job.Job, at time.Time) error {
	return s.write(ctx, func(t *tx) error { return t.giveUp(ctx, j, at) })
}

// EndJob removes a job that was done, whoever has it leased by now: it need not be done again.
func (s *Store) EndJob(ctx context.Context, id string) error {
	return s.write(ctx, func(t *tx) error { return t.endJob(ctx, id) })
}

// giveUp gives a job up until next, or for good when next is zero, if it is still leased to who ran it: a job that was held, released or
// claimed meanwhile is somebody else's, and what a late answer to an old address says about it changes nothing.
func (t *tx) giveUp(ctx context.Context, j job.Job, next time.Time) error {
	const mine = ` WHERE id = $1 AND run_at = $2` // what is held has the end of that there, which no lease comes near
	var err error
	if next.IsZero() {
		_, err = t.exec(ctx, `DELETE FROM jobs`+mine, j.ID, ms(j.RunAt))
	} else {
		_, err = t.exec(ctx, `UPDATE jobs SET run_at = $3`+mine, j.ID, ms(j.RunAt), ms(next))
	}
	return err
}

func (t *tx) endJob(ctx context.Context, id string) error {
	return t.later(ctx, `DELETE FROM jobs WHERE id = $1`, id)
}

// holdCallbacks parks an application's callbacks until an address is given, each at most tenant.HoldFor.
func (t *tx) holdCallbacks(ctx context.Context, appID string, now time.Time) error {
	_, err := t.exec(ctx, `UPDATE jobs SET held_until = $1, run_at = $1 WHERE app_id = $2 AND kind = $3 AND held_until = 0`,
		ms(now.Add(tenant.HoldFor)), appID, string(job.Callback))
	return err
}

// releaseCallbacks leases an application's held callbacks to the caller.
func (t *tx) releaseCallbacks(ctx context.Context, appID string, now time.Time) ([]job.Job, error) {
	rows, err := t.query(ctx, `UPDATE jobs SET held_until = 0, attempts = 1, run_at = $1 WHERE app_id = $2 AND kind = $3 AND held_until > 0 AND held_until > $4
		RETURNING `+jobColumns, ms(now.Add(job.Lease)), appID, string(job.Callback), ms(now))
	jobs, err := collect(rows, err, scanJob)
	return oldestFirst(jobs), err
}

// dropMax bounds one DropHeld: a deployment's whole day of callbacks may be over at once.
const dropMax = 500

// DropHeld removes held jobs whose time is over, callbacks each with its record, and returns how many. There may be more.
func (s *Store) DropHeld(ctx context.Context, now time.Time) (n int64, err error) {
	var one int // nearly always nothing: ask without a write first
	err = s.queryRow(ctx, `SELECT 1 FROM jobs WHERE held_until > 0 AND held_until <= $1 LIMIT 1`, ms(now)).Scan(&one)
	if err != nil {
		return 0, missing(err, nil)
	}
	err = s.write(ctx, func(t *tx) error {
		rows, err := t.query(ctx, `SELECT id, kind, app_id, ref FROM jobs WHERE held_until > 0 AND held_until <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED`, ms(now), dropMax)
		dropped, err := collect(rows, err, func(r scanner) (j job.Job, err error) { return j, r.Scan(&j.ID, &j.Kind, &j.AppID, &j.Ref) })
		if err != nil {
			return err
		}
		for _, d := range dropped {
			if err := t.endJob(ctx, d.ID); err != nil {
				return err
			}
			if d.Kind != job.Callback { // that a webhook was paused is recorded, once for all that was held
				continue
			}
			if err := t.record(ctx, audit.New(now, d.AppID, "system", "callback.dropped", "approval:"+d.Ref).Noting("held for 24 hours without an address")); err != nil {
				return err
			}
		}
		n = int64(len(dropped))
		return nil
	})
	return n, err
}
