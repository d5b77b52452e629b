package store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/store/storetest"
)

func TestSQLite(t *testing.T) { storetest.Run(t, openSQLite) }

// openSQLite opens a copy of an empty database: migrating once for all tests saves most of their time.
func openSQLite(t *testing.T) *store.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "countersign.db")
	if err := os.WriteFile(path, emptySQLite(), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := store.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var emptySQLite = sync.OnceValue(func() []byte {
	dir, err := os.MkdirTemp("", "countersign-store-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "empty.db")
	s, err := store.OpenSQLite(context.Background(), path)
	if err == nil {
		err = s.Close() // closing moves the write-ahead log into the file
	}
	if err != nil {
		panic(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		panic(err)
	}
	return file
})

// What is opened beside the serving process changes nothing but rows: no file is made, no schema changed, no lease of the other's jobs freed.
func TestBeside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.db")
	beside := store.Config{URL: path, Beside: true}
	if _, err := store.Open(t.Context(), beside); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file was made")
	}
	serving := servertest.On(t, must(store.OpenSQLite(t.Context(), path)))
	app := serving.App(t, "Bank")
	other := must(store.Open(t.Context(), beside))
	if other.OneProcess() || !serving.Store.OneProcess() {
		t.Error("the one beside has the database for itself, or the serving one has not")
	}
	user := serving.User(t, app, "ana@example.com", "202-555-0123")
	serving.Subscribed(t, serving.Phone(t, app, user), "https://fcm.googleapis.com/1")
	serving.Ask(t, app, user, "Log in") // its push job is leased to the serving process
	now := serving.Clock.Now()
	if err := other.FreeLeases(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if jobs, err := other.ClaimJobs(t.Context(), now, now.Add(time.Minute), 10); err != nil || len(jobs) != 0 {
		t.Errorf("jobs of the serving process were freed: %v, %v", jobs, err)
	}
	if err := serving.Store.FreeLeases(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	if jobs, err := other.ClaimJobs(t.Context(), now, now.Add(time.Minute), 10); err != nil || len(jobs) != 1 {
		t.Errorf("there was nothing to free: %v, %v", jobs, err)
	}
	for i := range 20 { // they take turns
		for _, s := range []*store.Store{serving.Store, other} {
			if err := s.Exec(t.Context(), `UPDATE applications SET name = $1`, fmt.Sprint("Bank ", i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	serving.App(t, "Shop") // closing held nobody up

	if err := serving.Store.Exec(t.Context(), `DELETE FROM goose_db_version WHERE version_id = (SELECT MAX(version_id) FROM goose_db_version)`); err != nil {
		t.Fatal(err)
	}
	before := must(serving.Store.Rows(t.Context(), "goose_db_version"))
	if _, err := store.Open(t.Context(), beside); !errors.Is(err, store.ErrOlder) {
		t.Errorf("an older schema: %v", err)
	}
	if after := must(serving.Store.Rows(t.Context(), "goose_db_version")); !slices.Equal(before, after) {
		t.Errorf("the schema was changed: %v", after)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
