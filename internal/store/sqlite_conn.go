package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"

	sqlitedriver "modernc.org/sqlite"
)

// This file owns a connection to SQLite. It uses the driver without database/sql before it: only one goroutine at a time does, and the
// locks, pools and reflection of database/sql, and the goroutines that it has wait for a context to end, take as long as statements as short as ours.

// sqliteConn is a connection. Statements are prepared once and kept.
type sqliteConn struct {
	conn     driver.Conn
	prepared map[string]statement
}

// statement is a prepared one of the driver.
type statement interface {
	driver.Stmt
	driver.StmtQueryContext
	driver.StmtExecContext
}

func openSQLiteConn(ctx context.Context, dsn string) (c sqliteConn, err error) {
	connector, err := sqlitedriver.NewConnector(dsn)
	if err != nil {
		return c, err
	}
	conn, err := connector.Connect(ctx)
	return sqliteConn{conn: conn, prepared: map[string]statement{}}, err
}

func (c *sqliteConn) close() error {
	var errs []error
	for _, stmt := range c.prepared {
		errs = append(errs, stmt.Close())
	}
	return errors.Join(append(errs, c.conn.Close())...)
}

func (c *sqliteConn) prepare(q string) (statement, error) {
	if stmt := c.prepared[q]; stmt != nil {
		return stmt, nil
	}
	stmt, err := c.conn.Prepare(withoutLocks(q))
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", q, err)
	}
	c.prepared[q] = stmt.(statement)
	return c.prepared[q], nil
}

// run runs a query.
func (c *sqliteConn) run(q string, args []any) (sqliteRows, error) {
	stmt, err := c.prepare(q)
	if err != nil {
		return sqliteRows{}, err
	}
	values, err := named(args)
	if err != nil {
		return sqliteRows{}, err
	}
	r, err := stmt.QueryContext(context.Background(), values)
	if err != nil {
		return sqliteRows{}, err
	}
	return sqliteRows{rows: r, values: make([]driver.Value, len(r.Columns()))}, nil
}

// pragma reads the one row that SQLite answers to a question about itself. Executed without reading its row a pragma may do nothing.
func (c *sqliteConn) pragma(q string, into ...any) error {
	found, err := c.run(q, nil)
	if err := (row{&found, err}).Scan(into...); err != nil {
		return fmt.Errorf("%s: %w", q, err)
	}
	return nil
}

// sqliteRows are what a query found.
type sqliteRows struct {
	rows   driver.Rows
	values []driver.Value // the row that was read last
	err    error          // what ended the rows too early
}

func (r *sqliteRows) Next() bool {
	err := r.rows.Next(r.values)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return err == nil
}

func (r *sqliteRows) Err() error   { return r.err }
func (r *sqliteRows) Close() error { return r.rows.Close() }

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
	switch dest := dest.(type) {
	case sql.Scanner:
		return dest.Scan(value)
	case *any:
		*dest = value
		return nil
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
