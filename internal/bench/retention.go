package bench

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/store"
)

// This file owns retention under load: the same verifications at the same rate, while old approvals stay and while they leave, in turn.

// measureRetention adds approvals that are over for longer than they stay, and measures with and without retention at work.
func (c *Config) measureRetention(ctx context.Context, s *site, r *Report) error {
	p := c.plan()
	c.step("%s: retention of %d old approvals", s.name, p.old)
	if err := s.reopen(ctx); err != nil {
		return err
	}
	if err := errors.Join(s.age(ctx, p.old), s.close()); err != nil {
		return fmt.Errorf("old approvals: %w", err)
	}
	out := Retention{Store: s.name, Old: p.old}
	do := s.verify(&circle{people: s.people})
	for range p.rounds {
		stay, err := c.beside(ctx, s, p, do, &out, "--retain-approvals", "forever")
		if err != nil {
			return err
		}
		leave, err := c.beside(ctx, s, p, do, &out)
		if err != nil {
			return err
		}
		out.Stay, out.Leave = append(out.Stay, stay), append(out.Leave, leave)
	}
	left, err := s.remaining(ctx)
	if err != nil {
		return err
	}
	out.Left = int64(p.old) - left
	r.Retention = append(r.Retention, out)
	return ctx.Err()
}

// beside measures at half of what the first server could do, so that both have the same rate.
func (c *Config) beside(ctx context.Context, s *site, p plan, do operation, out *Retention, args ...string) (Load, error) {
	server, err := s.start(ctx, c.Program, args...)
	if err != nil {
		return Load{}, err
	}
	all, err := s.warmUp(ctx, p.callers, p.estimate/2, do)
	if err != nil {
		return Load{}, errors.Join(err, server.stop())
	}
	if all.Done == 0 {
		return Load{}, errors.Join(fmt.Errorf("nothing succeeded: %v", all.Failures), server.stop())
	}
	if out.Rate == 0 {
		out.Rate = round(all.PerSecond / 2)
	}
	l := arrive(ctx, 4*p.callers, out.Rate, p.latency, do)
	return l, server.stop()
}

// age makes approvals that were withdrawn long ago.
func (s *site) age(ctx context.Context, n int) error {
	now := s.approvals.Now
	defer func() { s.approvals.Now = now }()
	long := time.Now().Add(-2 * store.DefaultRetention().Approvals)
	s.approvals.Now = func() time.Time { return long }
	people, errs := &circle{people: s.people}, make([]error, 64)
	var next atomic.Int64
	var all sync.WaitGroup
	for i := range errs { // who share flushes
		all.Go(func() {
			for next.Add(1) <= int64(n) && errs[i] == nil && ctx.Err() == nil {
				made, err := s.approvals.Create(ctx, s.app, people.next().user, approval.Request{Message: "Log in to Example"})
				if err == nil {
					_, err = s.approvals.Cancel(ctx, s.app, made.UUID)
				}
				errs[i] = err
			}
		})
	}
	all.Wait()
	return errors.Join(append(errs, ctx.Err())...)
}

// remaining removes the old approvals that are still there, and returns how many those were.
func (s *site) remaining(ctx context.Context) (total int64, err error) {
	if err := s.reopen(ctx); err != nil {
		return 0, err
	}
	for n := int64(1); n > 0 && err == nil; total += n {
		n, err = s.db.Forget(ctx, time.Now(), store.Retention{Approvals: store.DefaultRetention().Approvals}, 1000)
	}
	return total, errors.Join(err, s.close())
}

// p99 is the median of several loads, in milliseconds.
func p99(loads []Load) float64 {
	var all []float64
	for _, l := range loads {
		all = append(all, l.Latency.P99)
	}
	return median(all)
}
