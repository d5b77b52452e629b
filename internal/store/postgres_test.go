//go:build unix

package store_test

import (
	"testing"

	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/store/storetest"
)

func TestPostgreSQL(t *testing.T) { storetest.Run(t, openPostgres) }

// openPostgres opens a database of its own.
func openPostgres(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), store.Config{URL: postgrestest.Database(t, store.Migrate)})
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
