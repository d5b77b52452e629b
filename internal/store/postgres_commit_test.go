//go:build unix

package store

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"countersign.dev/internal/postgrestest"
)

// TestSynchronousCommit: a server that is set to answer a commit before it is on the disk is told otherwise on our
// connections (INV-12).
func TestSynchronousCommit(t *testing.T) {
	url := postgrestest.Database(t, Migrate)
	const off = `DO $$ BEGIN EXECUTE 'ALTER DATABASE ' || current_database() || ' SET synchronous_commit = off'; END $$`
	plain, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close(t.Context())
	if _, err := plain.Exec(t.Context(), off); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const now, from = `SELECT current_setting('synchronous_commit')`, `SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'`
	err = s.write(t.Context(), func(x *tx) error {
		for q, want := range map[string]string{now: "on", from: "off"} {
			var got string
			if err := x.queryRow(t.Context(), q).Scan(&got); err != nil || got != want {
				t.Errorf("%s: %q, %v, want %q", q, got, err, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// hangUp ends the connection that it runs on.
const hangUp = `SELECT pg_terminate_backend(pg_backend_pid())`

// TestLostConnection: a closure whose connection is lost before COMMIT was sent runs again; one whose connection is lost after
// that may be in the database, so it does not, and its writer is told of an error.
func TestLostConnection(t *testing.T) {
	s, err := Open(t.Context(), Config{URL: postgrestest.Database(t, Migrate)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	runs := 0
	err = s.write(t.Context(), func(x *tx) error {
		if runs++; runs > 1 {
			return nil
		}
		_, err := x.exec(t.Context(), hangUp)
		return err
	})
	if err != nil || runs != 2 {
		t.Errorf("lost before COMMIT: %v after %d runs, want none after 2", err, runs)
	}
	runs = 0
	err = s.write(t.Context(), func(x *tx) error {
		runs++
		return x.later(t.Context(), hangUp) // travels with COMMIT
	})
	if err == nil || runs != 1 {
		t.Errorf("lost at COMMIT: %v after %d runs, want an error after 1", err, runs)
	}
	if err := s.write(t.Context(), func(x *tx) error { return x.later(t.Context(), `SELECT 1`) }); err != nil {
		t.Errorf("the next write: %v", err)
	}
}

// TestSilence: a transaction to which PostgreSQL says nothing for long is given up, and its writer told why and that it may try again.
func TestSilence(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{URL: postgrestest.Database(t, Migrate)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	began := time.Now()
	err = s.write(t.Context(), func(x *tx) error {
		_, err := x.exec(t.Context(), `SELECT pg_sleep(60)`)
		return err
	})
	if !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), "PostgreSQL fell silent") {
		t.Errorf("ended with %v", err)
	}
	t.Logf("measured: told after %v", time.Since(began))
	if err := s.write(t.Context(), func(x *tx) error { return x.later(t.Context(), `SELECT 1`) }); err != nil {
		t.Errorf("the next write: %v", err)
	}
}
