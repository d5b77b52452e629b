//go:build unix

package store_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
)

// This file kills retention in the middle: kill -9 of the process on SQLite, of the database on PostgreSQL.

const (
	oldApprovals = 400
	forgetting   = "COUNTERSIGN_TEST_FORGETTING" // names the database to the process that is killed
	pauseAfter   = 12                            // batches, so that something is left however late the kill comes
)

// withOldApprovals fills a database with decided approvals of long ago, each with a try of its callback, and returns one that waits still.
func withOldApprovals(t *testing.T, db *store.Store) (s *servertest.Server, waiting approval.Approval) {
	t.Helper()
	s = servertest.On(t, db)
	app := s.App(t, "Bank")
	u := s.User(t, app, "ana@example.com", "202-555-0123")
	phone := s.Phone(t, app, u)
	one := s.Ask(t, app, u, "Log in?")
	if _, err := phone.Answer(t, one.UUID, approval.Approve, ""); err != nil {
		t.Fatal(err)
	}
	waiting = s.Ask(t, app, u, "And this?")
	for _, q := range []string{
		`DELETE FROM jobs`,
		`INSERT INTO callback_tries (id, app_id, uuid, url, at, status, error, took) SELECT 'try', app_id, uuid, '', created_at, 200, '', 1 FROM approvals WHERE processed_at > 0`,
		copies("approvals", `uuid || n.i, id, app_id, user_id, status, app_name, message, details, hidden, logos, logo, match_mode, match_value, nonce, life, created_at, expires_at, updated_at, processed_at, grant_id`,
			"processed_at > 0"),
		copies("callback_tries", `id || n.i, app_id, uuid || n.i, url, at, status, error, took`, "id = 'try'"),
	} {
		if err := db.Exec(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	return s, waiting
}

// copies is a statement that copies a row often.
func copies(table, columns, where string) string {
	names := strings.ReplaceAll(columns, " || n.i", "")
	return fmt.Sprintf(`INSERT INTO %s (%s) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT %s FROM n, %s WHERE %s`,
		table, names, oldApprovals, columns, table, where)
}

// checkForgotten: each approval has its try, each try its approval, what left is told of, and what waits is there.
func checkForgotten(t *testing.T, s *servertest.Server, db *store.Store, waiting approval.Approval) (left int) {
	t.Helper()
	rows := func(q string) []string {
		all, err := db.Rows(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	a, err := db.Approval(t.Context(), waiting.AppID, waiting.UUID)
	if err != nil || a.Status != approval.Pending {
		t.Errorf("what waits is %v, %v", a.Status, err)
	}
	if n := len(rows(`approvals WHERE processed_at > 0 AND uuid NOT IN (SELECT uuid FROM callback_tries)`)) + len(rows(`callback_tries WHERE uuid NOT IN (SELECT uuid FROM approvals)`)); n > 0 {
		t.Errorf("%d approvals and tries are without the other", n)
	}
	left = len(rows(`approvals WHERE processed_at > 0`))
	gone := 0
	notes, err := db.Texts(t.Context(), `SELECT note FROM audit WHERE action = 'approvals.forgotten'`)
	for _, note := range notes {
		var n int
		if _, err := fmt.Sscan(strings.ReplaceAll(note, ",", " "), &n); err != nil {
			t.Error(err)
		}
		gone += n
	}
	if err != nil || left+gone != oldApprovals+1 {
		t.Errorf("%d left and %d are told to be gone, of %d (%v)", left, gone, oldApprovals+1, err)
	}
	return left
}

// forgetAll forgets in batches of five until nothing is over, and tells of each.
func forgetAll(ctx context.Context, db *store.Store, told func()) error {
	for {
		n, err := db.Forget(ctx, time.Now().Add(365*24*time.Hour), store.Retention{Approvals: store.Least}, 5)
		if err != nil || n == 0 {
			return err
		}
		told()
	}
}

// TestForgettingProcessKilled is also the process that it kills.
func TestForgettingProcessKilled(t *testing.T) {
	if path := os.Getenv(forgetting); path != "" {
		batches := 0
		t.Fatal(forgetAll(t.Context(), opened(t, path), func() {
			fmt.Println("batch")
			if batches++; batches == pauseAfter {
				_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends, if it ever does before the kill
			}
		}))
	}
	path := filepath.Join(t.TempDir(), "countersign.db")
	db := opened(t, path)
	s, waiting := withOldApprovals(t, db)
	closeStore(t, db)
	for kill := range 3 {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestForgettingProcessKilled$")
		child.Env = append(os.Environ(), forgetting+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := child.StdinPipe(); err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		batches := bufio.NewScanner(out)
		for n := 0; n < 5+kill && batches.Scan(); n++ {
			continue
		}
		if err := child.Process.Kill(); err != nil {
			t.Error(err)
		}
		_ = child.Wait() // killed
		db := opened(t, path)
		if left := checkForgotten(t, s, db, waiting); left == 0 || left > oldApprovals {
			t.Errorf("%d left: it was not killed in the middle", left)
		}
		closeStore(t, db)
	}
	db = opened(t, path)
	defer closeStore(t, db)
	if err := forgetAll(t.Context(), db, func() {}); err != nil {
		t.Fatal(err)
	}
	if left := checkForgotten(t, s, db, waiting); left != 0 {
		t.Errorf("%d are left in the end", left)
	}
}

// TestForgettingPostgreSQLKilled: two nodes forget while the database is killed.
func TestForgettingPostgreSQLKilled(t *testing.T) {
	server := postgrestest.Start(t, "fsync=on")
	url := server.URL("postgres")
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	a, b := openStore(t, url), openStore(t, url)
	s, waiting := withOldApprovals(t, a)
	for range 2 {
		batches, killed := make(chan struct{}, 2*pauseAfter), make(chan struct{})
		ended := make(chan error, 2)
		for _, db := range []*store.Store{a, b} {
			n := 0
			go func() {
				ended <- forgetAll(context.Background(), db, func() {
					batches <- struct{}{}
					if n++; n == pauseAfter {
						<-killed
					}
				})
			}()
		}
		for range 5 {
			select {
			case <-batches:
			case err := <-ended:
				t.Fatalf("it ended before the database was killed: %v", err)
			}
		}
		server.Kill(t)
		close(killed)
		for range 2 {
			if err := <-ended; err == nil {
				t.Error("nothing was left to forget when the database was killed")
			}
		}
		server.Restart(t)
		checkForgotten(t, s, b, waiting)
	}
	for _, db := range []*store.Store{a, b} {
		if err := forgetAll(t.Context(), db, func() {}); err != nil {
			t.Fatal(err)
		}
	}
	if left := checkForgotten(t, s, a, waiting); left != 0 {
		t.Errorf("%d are left in the end", left)
	}
}
