//go:build unix

package store_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
)

// BenchmarkRedeem verifies app codes of many users with many callers, flushes included.
//
//	go test -run xxx -bench Redeem ./internal/store
func BenchmarkRedeem(b *testing.B) {
	for _, engine := range []struct {
		name string
		url  func(b *testing.B) string
	}{
		{"SQLite", func(b *testing.B) string { return filepath.Join(b.TempDir(), "countersign.db") }},
		{"PostgreSQL", func(b *testing.B) string { return postgrestest.Start(b, "fsync=on").URL("postgres") }},
	} {
		b.Run(engine.name, func(b *testing.B) {
			db, err := store.Open(b.Context(), store.Config{URL: engine.url(b), Migrate: true})
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { db.Close() })
			s := servertest.On(b, db)
			for _, callers := range []int{1, 16, 64} {
				b.Run(fmt.Sprintf("%d-callers", callers), func(b *testing.B) { redeem(b, s, callers) })
			}
		})
	}
}

// redeem spends a code a call. Comparing costs nothing here: the time is the database's.
func redeem(b *testing.B, s *servertest.Server, callers int) {
	app := s.App(b, fmt.Sprint("Bank ", callers, b.N))
	type holder struct {
		user  string
		grant int64
	}
	holders := make([]holder, 100)
	for i := range holders {
		u := s.User(b, app, "ana@example.com", fmt.Sprintf("202-555-%04d", i))
		holders[i] = holder{u.ID, s.Phone(b, app, u).Grants[0].ID}
	}
	var next atomic.Int64
	b.ResetTimer()
	err := together(callers, func() error {
		for {
			n := next.Add(1)
			if n > int64(b.N) {
				return nil
			}
			h := holders[n%int64(len(holders))]
			_, err := s.Store.Redeem(context.Background(), otp.Attempt{AppID: app.ID, UserID: h.user, Now: s.Clock.Now()},
				func(otp.Candidates) otp.Verdict { return otp.Verdict{Matched: true, GrantID: h.grant, Step: 1e9 + n} })
			if err != nil {
				return err
			}
		}
	})
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}
