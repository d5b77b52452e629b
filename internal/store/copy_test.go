//go:build unix

package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// TestCopy copies there and back again, killed after nearly every batch, and a server on the copy answers the same.
func TestCopy(t *testing.T) {
	first := filepath.Join(t.TempDir(), "first.db")
	second := postgrestest.Database(t, store.Migrate)
	third := filepath.Join(t.TempDir(), "third.db")
	db := opened(t, first)
	s := servertest.On(t, db)
	app := s.App(t, "Bank", func(set *tenant.Settings) { set.UnapprovedHour, set.UnapprovedBurst, set.WaitingMax = 0, 0, 10_000 })
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	phone := s.Phone(t, app, ana)
	for range 1200 { // more than two batches, and text that is sorted differently elsewhere
		s.Ask(t, app, ana, "Log in? ÄÖ\u2028 ñ", func(r *approval.Request) { r.Details = nil })
	}
	if err := db.Exec(t.Context(), `INSERT INTO operators (id, account_id, email, email_folded, password_hash, totp, created_at) VALUES ('o', $1, 'Z', 'z', '', $2, 1)`,
		s.Account.ID, []byte{}); err != nil {
		t.Fatal(err)
	}
	asked := s.Ask(t, app, ana, "Pay?")
	closeStore(t, db)
	there := copyKilled(t, first, second)
	back := copyKilled(t, second, third)
	if !slices.Equal(there, back) {
		t.Errorf("there: %v\nback: %v", there, back)
	}
	for _, url := range []string{second, third} {
		db := opened(t, url)
		s := s.Beside(t, db)
		code := otp.HOTP(phone.Grants[0].Secret, uint64(otp.Step(s.Clock.Now(), 30*time.Second)), 6)
		if _, err := s.Codes.Verify(t.Context(), app, ana, code, ""); err != nil {
			t.Errorf("an app code on %s: %v", url, err)
		}
		if _, err := s.Codes.Verify(t.Context(), app, ana, code, ""); !errors.Is(err, otp.ErrUsed) {
			t.Errorf("the same again on %s: %v", url, err)
		}
		got, err := s.Approvals.Get(t.Context(), app.ID, asked.UUID)
		if err != nil || got.Status != approval.Pending || got.Content.Message != "Pay?" {
			t.Errorf("an approval on %s: %+v, %v", url, got, err)
		}
		if key := s.Key(t, app); len(key) != 32 {
			t.Errorf("the API key on %s: %q", url, key)
		}
		closeStore(t, db)
	}
}

// copyKilled ends the copy after each number of batches, as kill -9 would: the batch after that is not there.
func copyKilled(t *testing.T, from, to string) []store.Copied {
	t.Helper()
	for batches := 1; ; batches++ {
		ctx, kill := context.WithCancel(t.Context())
		left := batches
		copied, err := store.Copy(ctx, from, to, func(p store.Progress) {
			if left--; left == 0 && !p.Check {
				kill()
			}
			if p.Rows > p.Of {
				t.Errorf("progress %+v", p)
			}
		})
		kill()
		if err == nil {
			if batches < 3 {
				t.Errorf("the copy ended after %d kills", batches)
			}
			return copied
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if _, err := store.Open(t.Context(), store.Config{URL: to}); !errors.Is(err, store.ErrHalfCopied) {
			t.Fatalf("half a copy is opened: %v", err)
		}
	}
}

func TestCopyRefuses(t *testing.T) {
	dir := t.TempDir()
	make := func(name string) string {
		path := filepath.Join(dir, name)
		db := opened(t, path)
		servertest.On(t, db)
		closeStore(t, db)
		return path
	}
	one, other := make("one.db"), make("other.db")
	half := filepath.Join(dir, "half.db")
	ctx, kill := context.WithCancel(t.Context())
	_, err := store.Copy(ctx, one, half, func(store.Progress) { kill() })
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	changed := filepath.Join(dir, "changed.db")
	_, err = store.Copy(t.Context(), one, changed, func(p store.Progress) {
		if p.Table == "accounts" && !p.Check { // somebody goes on using the source
			recordIn(t, one)
		}
	})
	if err != nil { // audit is copied after accounts, so it came along
		t.Fatal(err)
	}
	busy := filepath.Join(dir, "busy.db")
	_, err = store.Copy(t.Context(), one, busy, func(p store.Progress) {
		if p.Table == "seal_keys" && !p.Check {
			recordIn(t, one)
		}
	})
	if err == nil || !strings.Contains(err.Error(), "Stop every server") {
		t.Errorf("a source that changes meanwhile: %v", err)
	}
	for _, row := range []struct{ what, from, to, says string }{
		{"a target in use", one, other, "holds data already"},
		{"half a copy of another", other, half, "unfinished copy of another"},
		{"half a copy as the source", half, filepath.Join(dir, "new.db"), "unfinished copy"},
		{"no source", filepath.Join(dir, "nothing.db"), filepath.Join(dir, "new.db"), "no such file"},
		{"an unknown kind", one, "mysql://localhost/x", "no database that countersign knows"},
		{"an address that is none", "postgres://localhost:none/x", half, "copy from"},
	} {
		if _, err := store.Copy(t.Context(), row.from, row.to, func(store.Progress) {}); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %q", row.what, err, row.says)
		}
	}
}

// recordIn writes an audit record into a database that is not open.
func recordIn(t *testing.T, path string) {
	t.Helper()
	db := opened(t, path)
	if err := db.Record(t.Context(), audit.New(time.Now(), "", "x", "y", "z")); err != nil {
		t.Error(err)
	}
	closeStore(t, db)
}
