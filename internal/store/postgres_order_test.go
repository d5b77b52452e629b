//go:build unix

package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
)

// TestStrikesTakeTheApplicationFirst: a failed callback that counts waits for the application's row before it has the row of its job.
// The other way around two failures of one application, on two nodes, would wait for each other as soon as one of them disables the
// address and holds all jobs: PostgreSQL then ends one of them after a second, and lanes stand still.
func TestStrikesTakeTheApplicationFirst(t *testing.T) {
	url := postgrestest.Database(t, store.Migrate)
	s := openStore(t, url)
	app := servertest.On(t, s).App(t, "Bank")
	now := time.Now().Truncate(time.Millisecond)
	j := job.New(job.Callback, app.ID, "an approval", now)

	other, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close(context.WithoutCancel(t.Context()))
	exec := func(q string, args ...any) {
		t.Helper()
		if _, err := other.Exec(t.Context(), q, args...); err != nil {
			t.Fatalf("%s: %v", q, err)
		}
	}
	exec(`UPDATE applications SET callback_url = 'https://bank.example' WHERE id = $1`, app.ID)
	exec(`INSERT INTO jobs (id, kind, app_id, ref, attempts, created_at, run_at) VALUES ($1, $2, $3, $4, 1, $5, $6)`,
		j.ID, string(j.Kind), j.AppID, j.Ref, now.UnixMilli(), j.RunAt.UnixMilli())
	var version int64
	if err := other.QueryRow(t.Context(), `SELECT callback_version FROM applications WHERE id = $1`, app.ID).Scan(&version); err != nil {
		t.Fatal(err)
	}

	exec(`BEGIN`)
	exec(`SELECT 1 FROM applications WHERE id = $1 FOR NO KEY UPDATE`, app.ID)
	failed := make(chan error, 1)
	go func() {
		try := callback.Try{ID: ident.New(now), AppID: app.ID, UUID: j.Ref, At: now, Status: 500, Error: "HTTP status"}
		_, err := s.Failed(context.WithoutCancel(t.Context()), j, try, version, now.Add(time.Minute), "HTTP status", nil, audit.Record{})
		failed <- err
	}()
	for waits := false; !waits; {
		q := `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`
		if err := other.QueryRow(t.Context(), q).Scan(&waits); err != nil {
			t.Fatal(err)
		}
		exec(`SELECT pg_stat_clear_snapshot()`)
	}
	exec(`SELECT 1 FROM jobs WHERE id = $1 FOR UPDATE NOWAIT`, j.ID)
	exec(`ROLLBACK`)
	if err := <-failed; err != nil {
		t.Errorf("when the row is free again: %v", err)
	}
}
