package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	sqlitedriver "modernc.org/sqlite"
)

// This file owns SQLite's writing connection. It uses the driver without database/sql before it: only one goroutine at a time does, and the
// locks, pools and reflection of database/sql take a quarter of the time of statements as short as ours.

// sqliteWriter is the writing connection. Statements are prepared once and kept. They pay no heed to their context's
// end: the transaction is everybody's, and SQLite rolls the whole of it back when one write is interrupted.
type sqliteWriter struct {
	conn     driver.Conn
	prepared map[string]statement

	hasty   bool  // the transaction runs without savepoints
	changed int   // grows with each statement that changed something
	regret  error // why a hasty transaction must run again: nothing more runs in it
}

// statement is a prepared one of the driver.
type statement interface {
	driver.Stmt
	driver.StmtQueryContext
	driver.StmtExecContext
}

func newSQLiteWriter(ctx context.Context, dsn string) (*sqliteWriter, error) {
	connector, err := sqlitedriver.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	conn, err := connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &sqliteWriter{conn: conn, prepared: map[string]statement{}}, nil
}

func (w *sqliteWriter) close() error {
	var errs []error
	for _, stmt := range w.prepared {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, w.conn.Close())...)
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

func (w *sqliteWriter) prepare(q string) (statement, error) {
	if stmt := w.prepared[q]; stmt != nil {
		return stmt, nil
	}
	stmt, err := w.conn.Prepare(withoutLocks(q))
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", q, err)
	}
	w.prepared[q] = stmt.(statement)
	return w.prepared[q], nil
}

func (w *sqliteWriter) query(q string, args []any) (rows, error) {
	if w.regret != nil {
		return nil, w.regret
	}
	stmt, err := w.prepare(q)
	if err != nil {
		return nil, w.failed(err)
	}
	values, err := named(args)
	if err != nil {
		return nil, w.failed(err)
	}
	r, err := stmt.QueryContext(context.Background(), values)
	if err != nil {
		return nil, w.failed(err)
	}
	return &sqliteRows{rows: r, on: w, changes: !isRead(q), values: make([]driver.Value, len(r.Columns()))}, nil
}

func isRead(q string) bool { return strings.HasPrefix(q, "SELECT") }

// sqliteRows are rows that the writing connection reads, or has changed.
type sqliteRows struct {
	rows    driver.Rows
	on      *sqliteWriter
	changes bool
	values  []driver.Value // the row that was read last
	err     error          // what ended the rows too early
}

func (r *sqliteRows) Next() bool {
	err := r.rows.Next(r.values)
	if err != nil && err != io.EOF {
		r.err = err
	}
	if err == nil && r.changes {
		r.on.changed++
	}
	return err == nil
}

func (r *sqliteRows) Scan(dest ...any) error {
	if len(dest) != len(r.values) {
		return fmt.Errorf("scan %d columns into %d variables", len(r.values), len(dest))
	}
	for i, value := range r.values {
		if err := assign(dest[i], value); err != nil {
			return fmt.Errorf("scan column %s: %w", r.rows.Columns()[i], err)
		}
	}
	return nil
}

func (r *sqliteRows) Err() error   { return r.on.failed(r.err) }
func (r *sqliteRows) Close() error { return r.on.failed(r.rows.Close()) }

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

// named makes of arguments what the driver takes.
func named(args []any) ([]driver.NamedValue, error) {
	values := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		v, err := driver.DefaultParameterConverter.ConvertValue(arg)
		if err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: v}
	}
	return values, nil
}

// assign puts a value into the variable that dest points at. Values of the driver are the caller's to keep.
func assign(dest any, value driver.Value) error {
	switch v := value.(type) {
	case int64:
		switch dest := dest.(type) {
		case *int64:
			*dest = v
			return nil
		case *int:
			*dest = int(v)
			return nil
		case *bool:
			*dest = v != 0
			return nil
		}
	case string:
		if dest, ok := dest.(*string); ok {
			*dest = v
			return nil
		}
	case []byte:
		if dest, ok := dest.(*[]byte); ok {
			*dest = v
			return nil
		}
	case nil:
		if dest, ok := dest.(*[]byte); ok {
			*dest = nil
			return nil
		}
	}
	if scanner, ok := dest.(sql.Scanner); ok {
		return scanner.Scan(value)
	}
	to := reflect.ValueOf(dest).Elem() // of what is left: other sizes, and types with a name of their own
	switch v := value.(type) {
	case int64:
		switch {
		case to.CanInt() && !to.OverflowInt(v):
			to.SetInt(v)
			return nil
		case to.CanUint() && v >= 0 && !to.OverflowUint(uint64(v)):
			to.SetUint(uint64(v))
			return nil
		}
	case string:
		if to.Kind() == reflect.String {
			to.SetString(v)
			return nil
		}
	}
	return fmt.Errorf("%T does not go into %T", value, dest)
}
