//go:build unix

package store

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"

	"countersign.dev/internal/postgrestest"
)

func scratchPostgres(t *testing.T) (*Store, *postgres) {
	t.Helper()
	s, err := Open(t.Context(), Config{URL: postgrestest.Database(t, Migrate)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Exec(t.Context(), `CREATE TABLE scratch (name TEXT PRIMARY KEY)`); err != nil {
		t.Fatal(err)
	}
	return s, s.engine.(*postgres)
}

// TestReadsTogether: each reader gets its own row, whatever its companions asked for.
func TestReadsTogether(t *testing.T) {
	s, db := scratchPostgres(t)
	for _, name := range []string{"a", "b"} {
		if err := s.write(t.Context(), insert(name)); err != nil {
			t.Fatal(err)
		}
	}
	const find = `SELECT name FROM scratch WHERE name = $1`
	var a, b, none, broken, number string
	var no int
	reads := []read{
		{find, []any{"a"}, []any{&a}, make(chan error, 1)},
		{find, []any{"nobody"}, []any{&none}, make(chan error, 1)},
		{find, []any{"b"}, []any{&b}, make(chan error, 1)},
		{find, []any{"a"}, []any{&no}, make(chan error, 1)},
		{`SELECT name FROM nowhere WHERE name = $1`, []any{"a"}, []any{&broken}, make(chan error, 1)},
		{find, []any{"b"}, []any{&number}, make(chan error, 1)},
	}
	db.readAll(reads[:3])
	if err := errors.Join(<-reads[0].done, <-reads[2].done); err != nil || a != "a" || b != "b" {
		t.Errorf("%q and %q, %v", a, b, err)
	}
	if err := <-reads[1].done; !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("nobody: %v", err)
	}
	db.readAll(reads[3:])
	for _, r := range reads[3:] {
		if err := <-r.done; !errors.Is(err, errApart) {
			t.Errorf("beside what fails: %v", err)
		}
	}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			switch name := []string{"a", "b", "nobody", "wrong"}[i%4]; name {
			case "wrong":
				if err := s.queryRow(context.Background(), find, "a").Scan(new(int)); err == nil {
					t.Error("a name is no number")
				}
			default:
				var got string
				err := s.queryRow(context.Background(), find, name).Scan(&got)
				if name == "nobody" && !errors.Is(err, sql.ErrNoRows) || name != "nobody" && (err != nil || got != name) {
					t.Errorf("%s: %q, %v", name, got, err)
				}
			}
		})
	}
	all.Wait()
	left, leave := context.WithCancel(t.Context())
	leave()
	_ = s.queryRow(left, find, "a").Scan(&a) // may have been taken before it was seen to have left
	s.Close()
	if err := s.queryRow(t.Context(), find, "a").Scan(&a); err == nil {
		t.Error("read after Close")
	}
}
