package store

import (
	"context"
	"errors"
	"strings"
)

// This file owns SQLite's writing connection.

// sqliteWriter is the writing connection. Statements are prepared once and kept. They pay no heed to their context's
// end: the transaction is everybody's, and SQLite rolls the whole of it back when one write is interrupted.
type sqliteWriter struct {
	sqliteConn
	hasty   bool  // the transaction runs without savepoints
	changed int   // grows with each statement that changed something
	regret  error // why a hasty transaction must run again: nothing more runs in it
}

// begin is called when a transaction has begun, and with false before it ends.
func (w *sqliteWriter) begin(hasty bool) { w.hasty, w.regret = hasty, nil }

func (w *sqliteWriter) hastily(fn func() error) (bool, error) {
	if !w.hasty {
		return false, nil
	}
	before := w.changed
	err := guarded(fn)
	if err != nil && w.changed != before {
		w.failed(err)
	}
	return true, err
}

// failed is told of what went wrong. After some errors SQLite has rolled back by itself, and what ran next would be a transaction of its own.
func (w *sqliteWriter) failed(err error) error {
	if err != nil && w.hasty && w.regret == nil {
		w.regret = err
	}
	return err
}

func (w *sqliteWriter) query(q string, args []any) (rows, error) {
	if w.regret != nil {
		return nil, w.regret
	}
	r, err := w.run(q, args)
	if err != nil {
		return nil, w.failed(err)
	}
	return &writerRows{sqliteRows: r, on: w, changes: !isRead(q)}, nil
}

func isRead(q string) bool { return strings.HasPrefix(q, "SELECT") }

// writerRows are rows that the writing connection reads, or has changed.
type writerRows struct {
	sqliteRows
	on      *sqliteWriter
	changes bool
}

func (r *writerRows) Next() bool {
	more := r.sqliteRows.Next()
	if more && r.changes {
		r.on.changed++
	}
	return more
}

func (r *writerRows) Err() error   { return r.on.failed(r.sqliteRows.Err()) }
func (r *writerRows) Close() error { return r.on.failed(r.sqliteRows.Close()) }

func (w *sqliteWriter) exec(q string, args []any) (int64, error) {
	if w.regret != nil {
		return 0, w.regret
	}
	stmt, err := w.prepare(q)
	if err != nil {
		return 0, w.failed(err)
	}
	values, err := named(args)
	if err != nil {
		return 0, w.failed(err)
	}
	res, err := stmt.ExecContext(context.Background(), values)
	if err != nil {
		return 0, w.failed(err)
	}
	n, err := res.RowsAffected()
	if !isRead(q) { // of which SQLite tells what the statement before it changed
		w.changed += int(n)
	}
	return n, err
}

func (w *sqliteWriter) later(q string, args []any, read func(rows) error) error {
	if read == nil {
		_, err := w.exec(q, args)
		return err
	}
	r, err := w.query(q, args)
	if err != nil {
		return err
	}
	return errors.Join(read(r), r.Close())
}

func (w *sqliteWriter) arrive() error { return nil }

// hold and lock need nothing: there is one writer.
func (w *sqliteWriter) hold(string) error        { return nil }
func (w *sqliteWriter) lock(string, []any) error { return nil }

func (w *sqliteWriter) control(q string) error { return w.later(q, nil, nil) }
