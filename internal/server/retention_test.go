package server_test

import (
	"errors"
	"log/slog"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/server"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// This file shows that a server removes what its settings say, and nothing else.

// TestServerForgets: what is older than it may stay leaves when a server runs, of each kind for which a setting says so.
func TestServerForgets(t *testing.T) {
	const day = 24 * time.Hour
	all := store.Retention{Approvals: 8 * day, Codes: 9 * day, Messages: 10 * day, Activities: 11 * day, Audit: 12 * day}
	for name, row := range map[string]struct {
		keep  store.Retention
		after time.Duration // everything happened
		left  store.Oldest  // of which the fields that are set have left
	}{
		"for ever":    {store.Retention{}, 300 * day, store.Oldest{}},
		"not yet":     {all, 7 * day, store.Oldest{}},
		"approvals":   {all, 8*day + time.Hour, store.Oldest{Approvals: time.Unix(1, 0)}},
		"and codes":   {all, 9*day + time.Hour, store.Oldest{Approvals: time.Unix(1, 0), Codes: time.Unix(1, 0)}},
		"all":         {all, 13 * day, store.Oldest{Approvals: time.Unix(1, 0), Codes: time.Unix(1, 0), Messages: time.Unix(1, 0), Activities: time.Unix(1, 0), Audit: time.Unix(1, 0)}},
		"audit alone": {store.Retention{Audit: 12 * day}, 13 * day, store.Oldest{Audit: time.Unix(1, 0)}},
	} {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "countersign.db")
			s := oneOfEach(t, path)
			before := oldest(t, path)
			s.Clock.Advance(row.after)
			run(t, path, s, row.keep)
			after := oldest(t, path)
			for kind, times := range map[string][3]time.Time{
				"approvals":  {row.left.Approvals, before.Approvals, after.Approvals},
				"codes":      {row.left.Codes, before.Codes, after.Codes},
				"messages":   {row.left.Messages, before.Messages, after.Messages},
				"activities": {row.left.Activities, before.Activities, after.Activities},
				"audit":      {row.left.Audit, before.Audit, after.Audit},
			} {
				if times[1].IsZero() || times[2].Equal(times[1]) == !times[0].IsZero() {
					t.Errorf("%s: of the %s the oldest was of %s, and is of %s", name, kind, times[1], times[2])
				}
			}
		})
	}
}

// oneOfEach makes a database with one of each that retention removes.
func oneOfEach(t *testing.T, path string) *servertest.Server {
	t.Helper()
	db, err := store.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.On(t, db)
	app := s.App(t, "Bank")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	phone := s.Phone(t, app, ana)
	_, denied := phone.Answer(t, s.Ask(t, app, ana, "Log in").UUID, approval.Deny, "")
	_, sent := s.Codes.Send(t.Context(), app, ana, otp.Request{Channel: otp.SMS, Force: true})
	s.Delivered(t, "+12025550123")
	seen := s.Tenants.RegisterActivity(t.Context(), app, ana, tenant.Activity{Type: "banned"})
	if err := errors.Join(denied, sent, seen, db.Close()); err != nil {
		t.Fatal(err)
	}
	run(t, path, s, store.Retention{}) // signs the audit record
	return s
}

func oldest(t *testing.T, path string) store.Oldest {
	t.Helper()
	db, err := store.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	found, err := db.Oldest(t.Context())
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return found
}

// run has a server run on the database until it has done what it does at first.
func run(t *testing.T, path string, s *servertest.Server, keep store.Retention) {
	t.Helper()
	started, err := server.New(t.Context(), server.Config{
		Database: path, Master: s.Master, APIURL: "http://localhost:1", AuthenticatorURL: "http://localhost:2", ConsoleURL: "http://localhost:3",
		OwnerEmail: "owner@example.com", Outbox: true, Retention: keep, Now: s.Clock.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = started.Start(t.Context())
	synctest.Wait()
	if err := errors.Join(err, started.Stop(t.Context())); err != nil {
		t.Fatal(err)
	}
}
