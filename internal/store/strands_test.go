//go:build unix

package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/postgrestest"
)

// This file tests closures that run among each other in one transaction on PostgreSQL.

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

// amongEachOther makes a batch of closures that may run among each other.
func amongEachOther(ctx context.Context, fns ...func(*tx) error) (batch []write) {
	for i, fn := range fns {
		batch = append(batch, write{ctx: ctx, key: fmt.Sprintf("key %02d", i), fn: fn, among: true, done: make(chan error, 1), since: time.Now()})
	}
	return batch
}

// outcomes runs a batch and returns what became of each.
func (db *postgres) outcomes(batch []write) (all []error) {
	db.commit(batch)
	for _, w := range batch {
		all = append(all, <-w.done)
	}
	return all
}

// TestAmongTakesTurns: each runs until it needs an answer, and gets its own.
func TestAmongTakesTurns(t *testing.T) {
	s, db := scratchPostgres(t)
	var order []string
	closure := func(name string) func(*tx) error {
		return func(x *tx) error {
			var asked, got string
			err := x.ask(t.Context(), func(rows rows) error { rows.Next(); return rows.Scan(&asked) }, `SELECT CAST($1 AS TEXT)`, "asked "+name)
			if err == nil {
				err = x.later(t.Context(), `INSERT INTO scratch (name) VALUES ($1)`, "later "+name)
			}
			order = append(order, name+" begins")
			if err == nil {
				err = x.queryRow(t.Context(), `SELECT name FROM scratch WHERE name = $1`, "later "+name).Scan(&got)
			}
			if err == nil && (got != "later "+name || asked != "asked "+name) {
				err = fmt.Errorf("%s got %q and %q", name, got, asked)
			}
			order = append(order, name+" goes on")
			if n, e := x.exec(t.Context(), `INSERT INTO scratch (name) VALUES ($1)`, name); e != nil || n != 1 {
				err = errors.Join(err, e, fmt.Errorf("%d rows", n))
			}
			order = append(order, name+" ends")
			return errors.Join(err, x.arrive(), x.later(t.Context(), `INSERT INTO scratch (name) VALUES ($1)`, "last "+name))
		}
	}
	if err := errors.Join(db.outcomes(amongEachOther(t.Context(), closure("a"), closure("b")))...); err != nil {
		t.Fatal(err)
	}
	if want := []string{"a begins", "b begins", "a goes on", "b goes on", "a ends", "b ends"}; !slices.Equal(order, want) {
		t.Errorf("%q, want %q", order, want)
	}
	if got, want := committed(t, s), []string{"a", "b", "last a", "last b", "later a", "later b"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

// TestAmongUndoesOnlyWhatFailed: whatever one of them does, the others' writes are there, once.
func TestAmongUndoesOnlyWhatFailed(t *testing.T) {
	refused := fault.New(fault.Invalid, "refused", "Refused.")
	left, leave := context.WithCancel(context.Background())
	leave()
	for name, odd := range map[string]func(*tx) error{
		"refuses before it changes something": func(*tx) error { return refused },
		"refuses after it asked": func(x *tx) error {
			var one int
			return errors.Join(x.queryRow(left, `SELECT 1`).Scan(&one), refused)
		},
		"refuses after it changed something": func(x *tx) error { return errors.Join(insert("odd")(x), refused) },
		"refuses what travels still": func(x *tx) error {
			return errors.Join(x.later(left, `INSERT INTO scratch (name) VALUES ($1)`, "odd"), refused)
		},
		"fails in the database":          func(x *tx) error { return errors.Join(insert("odd")(x), insert("odd")(x)) },
		"hides an error of the database": func(x *tx) error { _ = insert("odd")(x); _ = insert("odd")(x); return refused },
		"fails later": func(x *tx) error {
			return errors.Join(x.later(left, `INSERT INTO scratch (name) VALUES ($1)`, "odd"), x.later(left, `INSERT INTO scratch (name) VALUES ($1)`, "odd"))
		},
		"panics":                       func(x *tx) error { _ = insert("odd")(x); panic("a defect") },
		"asks what cannot be prepared": func(x *tx) error { _, err := x.exec(left, `INSERT INTO nowhere VALUES ($1)`, "odd"); return err },
		"reads what it cannot": func(x *tx) error {
			var n int
			return x.queryRow(left, `SELECT CAST($1 AS TEXT)`, "no number").Scan(&n)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, db := scratchPostgres(t)
			batch := amongEachOther(t.Context(), insert("first"), odd, insert("last"), insert("gone"))
			batch[3].ctx = left
			all := db.outcomes(batch)
			if all[0] != nil || all[1] == nil || all[2] != nil || !errors.Is(all[3], context.Canceled) {
				t.Errorf("ended with %v", all)
			}
			if got, want := committed(t, s), []string{"first", "last"}; !slices.Equal(got, want) {
				t.Errorf("rows %q, want %q", got, want)
			}
		})
	}
}

// TestAmongOneOfAKey: of two with the same key the second one sees what the first one did.
func TestAmongOneOfAKey(t *testing.T) {
	_, db := scratchPostgres(t)
	once := func(x *tx) error {
		var n int
		if err := x.queryRow(t.Context(), `SELECT COUNT(*) FROM scratch WHERE name = 'once'`).Scan(&n); err != nil || n > 0 {
			return errors.Join(err, errors.New("there already"))
		}
		return insert("once")(x)
	}
	batch := amongEachOther(t.Context(), insert("before"), once, once, insert("behind"))
	batch[2].key = batch[1].key
	all := db.outcomes(batch)
	if all[0] != nil || all[1] != nil || all[3] != nil || all[2] == nil || !strings.Contains(all[2].Error(), "there already") {
		t.Errorf("ended with %v", all)
	}
}
