package server

import (
	"context"
	"time"
)

// This file owns starting and stopping.

// sweepEvery is how often expired approvals are marked in their rows. Nobody waits for it: readers see expiry without.
const sweepEvery = 5 * time.Second

// Start frees what an earlier process had leased and begins to run jobs and sweeps.
func (s *Server) Start(ctx context.Context) error {
	if err := s.db.FreeLeases(ctx, s.cfg.Now()); err != nil {
		return err
	}
	s.jobs.Start()
	sweeps, stop := context.WithCancel(context.Background())
	s.stopSweep, s.swept = stop, make(chan struct{})
	go func() {
		defer close(s.swept)
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			if err := s.approvals.Sweep(sweeps); err != nil && sweeps.Err() == nil {
				s.cfg.Log.Error("cannot mark expired approvals", "error", err)
			}
			select {
			case <-tick.C:
			case <-sweeps.Done():
				return
			}
		}
	}()
	return nil
}

// EndWaiting answers everyone who waits: long polls as things stand, streams with a goodbye. Call it before
// listeners stop, because those wait for open requests.
func (s *Server) EndWaiting() { s.live.Close() }

// Stop ends what runs and closes the database. Jobs get until ctx ends; those cut off run again after the next start.
func (s *Server) Stop(ctx context.Context) error {
	s.EndWaiting()
	if s.stopSweep != nil {
		s.stopSweep()
		<-s.swept
	}
	s.jobs.Stop(ctx)
	return s.db.Close()
}
