//go:build unix

package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/store"
)

// TestAway: while PostgreSQL cannot be reached, reads and writes, however many, fail within seconds with ErrAway, and go through as soon
// as it is back: when it is gone and connections are refused, and when the network swallows them.
func TestAway(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	if err := store.Migrate(t.Context(), server.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	wire := newWire(t, server)
	for _, c := range []struct {
		name, url  string
		away, back func()
	}{
		{"gone", server.URL("postgres"), func() { server.Kill(t) }, func() { server.Restart(t) }},
		{"cut off", wire.url, func() { wire.set(swallows) }, func() { wire.set(passes) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openStore(t, c.url)
			write := func() error { return s.Record(context.Background(), audit.New(time.Now(), "", "away", "test", "test")) }
			read := func() error { _, err := s.Audit(context.Background(), "", 1); return err }
			if err := errors.Join(read(), write()); err != nil {
				t.Fatal(err)
			}
			c.away()
			for !errors.Is(write(), store.ErrAway) || !errors.Is(read(), store.ErrAway) {
				// processes of the server live on for a moment
			}
			var all sync.WaitGroup
			var longest atomic.Int64
			for range 150 { // several groups for each lane
				for _, f := range []func() error{read, write, write} {
					all.Go(func() {
						began := time.Now()
						if err := f(); !errors.Is(err, store.ErrAway) {
							t.Errorf("while it is away: %v", err)
						}
						for took := int64(time.Since(began)); ; {
							if seen := longest.Load(); seen >= took || longest.CompareAndSwap(seen, took) {
								return
							}
						}
					})
				}
			}
			all.Wait()
			if took := time.Duration(longest.Load()); took > 20*time.Second {
				t.Errorf("somebody was told after %v", took)
			}
			t.Logf("measured: 450 callers were told within %v", time.Duration(longest.Load()))
			c.back()
			var err error
			for range 10 { // a busy machine may need longer than a call waits
				if err = errors.Join(read(), write()); !errors.Is(err, store.ErrAway) {
					break
				}
			}
			if err != nil {
				t.Errorf("when it is back: %v", err)
			}
		})
	}
}
