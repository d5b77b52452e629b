//go:build unix

package store_test

import (
	"context"
	"testing"

	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/store/storetest"
)

// TestPostgreSQL runs the suite on two nodes that share a database.
func TestPostgreSQL(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store {
		url := postgrestest.Database(t, store.Migrate)
		return store.TwoNodes(openStore(t, url), openStore(t, url))
	})
}

// TestPostgreSQLOneNode runs the races alone on one node, whose writes of one user wait for each other in a lane.
func TestPostgreSQLOneNode(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store {
		return openStore(t, postgrestest.Database(t, store.Migrate))
	}, "Invariants", "Jobs")
}

// openStore opens a database until the test ends.
func openStore(t testing.TB, url string) *store.Store {
	t.Helper()
	s := opened(t, url)
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func opened(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(context.WithoutCancel(t.Context()), store.Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
