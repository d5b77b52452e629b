package store_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"

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
