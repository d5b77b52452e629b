package server

import (
	"context"
	"errors"
	"net/http"
	"time"

	"countersign.dev/internal/live"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/wakeup"
)

// This file owns starting and stopping.

// Nobody waits for sweeps: readers see expiry without, and what is forgotten counts no longer.
const (
	expireEvery     = 5 * time.Second // marking of expired approvals in their rows
	forgetEvery     = 10 * time.Minute
	forgetBatch     = 25               // rows of each kind in one write
	forgetRest      = 4                // times as long as a batch took is rested after it
	countEvery      = 10 * time.Second // adding of figures to their rows
	linkEvery       = time.Second      // of new audit records to the chain
	checkpointEvery = time.Minute
)

// Start frees what an earlier process had leased and begins to run jobs and sweeps.
func (s *Server) Start(ctx context.Context) error {
	if err := s.db.FreeLeases(ctx, s.cfg.Now()); err != nil {
		return err
	}
	s.Messages.Start()
	s.jobs.Start()
	sweeps, stop := context.WithCancel(context.Background())
	s.stopSweep = stop
	s.sweeping.Go(func() { s.every(sweeps, expireEvery, "mark expired approvals", s.approvals.Sweep) })
	s.sweeping.Go(func() { s.every(sweeps, forgetEvery, "forget ended rows", s.forget) })
	s.sweeping.Go(func() { s.every(sweeps, forgetEvery, "shorten the audit record", s.forgetAudit) })
	s.sweeping.Go(func() { s.every(sweeps, linkEvery, "link the audit record", s.chainer.Link) })
	s.sweeping.Go(func() { s.every(sweeps, checkpointEvery, "sign the audit record", s.chainer.Checkpoint) })
	s.sweeping.Go(func() { // a data key that was added is sealed under from now on
		s.every(sweeps, seal.RefreshEvery, "read the data keys again", func(context.Context) error { return s.ring.Refresh() })
	})
	s.sweeping.Go(func() { s.every(sweeps, countEvery, "add up figures", s.meter.Sweep) })
	if !s.db.OneProcess() {
		var line live.Line = s.db
		if s.cfg.WakeUps != "" {
			line = wakeup.NewLine(s.cfg.WakeUps, s.db)
		}
		relay := live.NewRelay(s.live, line, s.cfg.Now, s.cfg.Log)
		s.sweeping.Go(func() { relay.Run(sweeps) })
	}
	return nil
}

// every does the work again and again until ctx ends.
func (s *Server) every(ctx context.Context, pause time.Duration, what string, work func(context.Context) error) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if err := work(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("cannot "+what, "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// forget removes ended rows.
func (s *Server) forget(ctx context.Context) error {
	return inBatches(ctx, func() (int64, error) { return s.db.Forget(ctx, s.cfg.Now(), s.cfg.Retention, forgetBatch) })
}

// forgetAudit removes the oldest links of the audit record, if the settings say so.
func (s *Server) forgetAudit(ctx context.Context) error {
	keep := s.cfg.Retention.Audit
	if keep == 0 {
		return nil
	}
	return inBatches(ctx, func() (int64, error) { return s.chainer.Forget(ctx, s.cfg.Now().Add(-keep), forgetBatch) })
}

// inBatches removes small batches until there is nothing to remove. It rests after each for several times as long as that took: a backlog of
// years, after an upgrade or a change of the settings, takes a fifth of the database at most, and whoever waits for it, the length of one batch.
func inBatches(ctx context.Context, remove func() (int64, error)) error {
	for {
		began := time.Now()
		n, err := remove()
		if err != nil || n == 0 {
			return err
		}
		select {
		case <-time.After(forgetRest * time.Since(began)):
		case <-ctx.Done():
			return nil
		}
	}
}

// Drain makes /readyz say no, so that load balancers send new requests elsewhere, while everything is answered as before.
func (s *Server) Drain() { s.draining.Store(true) }

// Draining returns a handler that, once Drain was called, asks clients to open their next connection elsewhere.
func (s *Server) Draining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.draining.Load() && r.ProtoMajor == 1 { // HTTP/2 has a goodbye of its own
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// EndWaiting answers everyone who waits: long polls as things stand, streams with a goodbye. Call it before
// listeners stop, because those wait for open requests.
func (s *Server) EndWaiting() { s.live.Close() }

// Stop ends what runs and closes the database. Jobs get until ctx ends; those cut off run again after the next start.
func (s *Server) Stop(ctx context.Context) error {
	s.EndWaiting()
	s.streams.Close(ctx)
	if s.stopSweep != nil {
		s.stopSweep()
		s.sweeping.Wait()
	}
	if s.jobs != nil {
		s.jobs.Stop(ctx)
		s.Messages.Close()
	}
	var err error
	if s.stopSweep != nil {
		err = s.chainer.End(context.WithoutCancel(ctx), 3*time.Second)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second) // jobs may have taken all of ctx
	defer cancel()
	return errors.Join(err, s.meter.Sweep(last), s.db.Close())
}
