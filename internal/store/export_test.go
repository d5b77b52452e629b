package store

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
)

// This file is what the conformance suite needs beyond the store's methods: a second account, which nothing makes
// yet, a table that is gone, and a look at all rows.

// Exec runs one statement as a write.
func (s *Store) Exec(ctx context.Context, q string, args ...any) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, q, args...)
		return err
	})
}

// Rows returns all rows of a table as text, sorted.
func (s *Store) Rows(ctx context.Context, table string) ([]string, error) {
	rows, err := s.query(ctx, "SELECT * FROM "+table)
	if err != nil {
		return nil, err
	}
	var columns []string
	switch r := rows.(type) {
	case *readerRows:
		columns = r.rows.Columns()
	case *pgRows:
		for _, f := range r.FieldDescriptions() {
			columns = append(columns, f.Name)
		}
	}
	all, err := collect(rows, nil, func(r scanner) (string, error) {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		err := r.Scan(into...)
		return fmt.Sprintf("%s %v=%v", table, columns, values), err
	})
	slices.Sort(all)
	return all, err
}

// TwoNodes is a store whose calls go to two in turn, as a load balancer's do, and to all lanes whatever their key.
func TwoNodes(a, b *Store) *Store {
	g := &group{queues: slices.Concat(a.group.queues, b.group.queues)}
	g.lane = g.turn
	return &Store{engine: &inTurn{nodes: [2]engine{a.engine, b.engine}}, group: g}
}

type inTurn struct {
	nodes [2]engine
	turn  atomic.Int64
}

func (e *inTurn) next() engine { return e.nodes[e.turn.Add(1)%2] }

func (e *inTurn) query(ctx context.Context, q string, args []any) (rows, error) {
	return e.next().query(ctx, q, args)
}

func (e *inTurn) ping(ctx context.Context) error { return e.next().ping(ctx) }

func (e *inTurn) oneProcess() bool { return false }

func (e *inTurn) connections() Connections { return e.next().connections() }

func (e *inTurn) diagnose(ctx context.Context) (Facts, error) { return e.next().diagnose(ctx) }

func (e *inTurn) close() error { return nil }

// WithoutLocks is what SQLite is given of a statement.
func WithoutLocks(q string) string { return withoutLocks(q) }

// Texts returns the one column of a query's rows.
func (s *Store) Texts(ctx context.Context, q string) ([]string, error) {
	rows, err := s.query(ctx, q)
	return collect(rows, err, func(r scanner) (text string, err error) { return text, r.Scan(&text) })
}

// Watch has every read told from now on.
func (s *Store) Watch(read func(sql string)) { s.engine = watched{s.engine, read} }

type watched struct {
	engine
	read func(sql string)
}

func (w watched) query(ctx context.Context, q string, args []any) (rows, error) {
	w.read(q)
	return w.engine.query(ctx, q, args)
}

// Settings are those of each connection to PostgreSQL.
const Settings = settings

// Failing is the same store on a database that fails: fail is asked before every statement, also those that mark and end what is within a
// transaction. Closing it leaves the store open.
func (s *Store) Failing(fail func(sql string) error) *Store {
	pass := func(batch []write) {
		w, fn := batch[0], batch[0].fn
		w.fn = func(t *tx) error {
			inner := &tx{on: failing{t.on, fail}, chain: t.chain}
			err := fn(inner)
			t.lost, t.chain = inner.lost, inner.chain
			return err
		}
		if err := s.group.enqueue(w); err != nil {
			w.done <- err
		}
	}
	return &Store{engine: failingReads{s.engine, fail}, group: startGroup(1, 1, pass)}
}

// failing is a transaction's connection.
type failing struct {
	session
	fail func(sql string) error
}

func (f failing) query(q string, args []any) (rows, error) {
	if err := f.fail(q); err != nil {
		return nil, err
	}
	return f.session.query(q, args)
}

func (f failing) exec(q string, args []any) (int64, error) {
	if err := f.fail(q); err != nil {
		return 0, err
	}
	return f.session.exec(q, args)
}

func (f failing) later(q string, args []any, read func(rows) error) error {
	if err := f.fail(q); err != nil {
		return err
	}
	return f.session.later(q, args, read)
}

func (f failing) control(q string) error {
	if err := f.fail(q); err != nil {
		return err
	}
	return f.session.control(q)
}

type failingReads struct {
	engine
	fail func(sql string) error
}

func (f failingReads) query(ctx context.Context, q string, args []any) (rows, error) {
	if err := f.fail(q); err != nil {
		return nil, err
	}
	return f.engine.query(ctx, q, args)
}

func (f failingReads) close() error { return nil }
