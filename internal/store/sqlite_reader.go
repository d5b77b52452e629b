package store

import (
	"context"
	"errors"
	"sync"
)

// This file owns SQLite's reading connections.

// sqliteReaders are some connections that read, each for one at a time. They are opened when they are needed first.
type sqliteReaders struct {
	dsn   string
	turns chan struct{} // a slot for each that is in use

	mu     sync.Mutex
	free   []*sqliteConn // the one used last is taken first; guarded by mu
	closed bool          // guarded by mu
}

func newSQLiteReaders(dsn string, most int) *sqliteReaders {
	return &sqliteReaders{dsn: dsn, turns: make(chan struct{}, most)}
}

// take waits for a connection. Who took it gives it back.
func (db *sqliteReaders) take(ctx context.Context) (*sqliteConn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case db.turns <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	r, err := db.unused()
	if err == nil && r == nil {
		r = &sqliteConn{}
		*r, err = openSQLiteConn(ctx, db.dsn)
	}
	if err != nil {
		<-db.turns
	}
	return r, err
}

// unused returns the connection that was given back last; nil: a new one is needed.
func (db *sqliteReaders) unused() (r *sqliteConn, err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, errStopped
	}
	if last := len(db.free) - 1; last >= 0 {
		r, db.free = db.free[last], db.free[:last]
	}
	return r, nil
}

func (db *sqliteReaders) give(r *sqliteConn) {
	db.mu.Lock()
	closed := db.closed
	if !closed {
		db.free = append(db.free, r)
	}
	db.mu.Unlock()
	<-db.turns
	if closed {
		_ = r.close()
	}
}

// close closes what is not in use; the others close when they are given back.
func (db *sqliteReaders) close() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.closed = true
	var errs []error
	for _, r := range db.free {
		errs = append(errs, r.close())
	}
	db.free = nil
	return errors.Join(errs...)
}

func (db *sqliteReaders) connections() Connections {
	db.mu.Lock()
	defer db.mu.Unlock()
	return Connections{Max: cap(db.turns), InUse: len(db.turns), Idle: len(db.free)}
}

// query runs a read. Once begun it does not end with its context: every row is found by an index (plan_test.go), and what lists them has a limit.
func (db *sqliteReaders) query(ctx context.Context, q string, args []any) (rows, error) {
	r, err := db.take(ctx)
	if err != nil {
		return nil, err
	}
	got, err := r.run(q, args)
	if err != nil {
		db.give(r)
		return nil, err
	}
	return &readerRows{sqliteRows: got, end: func() { db.give(r) }}, nil
}

// readerRows are rows of a reading connection, which is given back with them.
type readerRows struct {
	sqliteRows
	end func() // nil: it was
}

func (r *readerRows) Close() error {
	if r.end == nil {
		return nil
	}
	err := r.sqliteRows.Close()
	r.end()
	r.end = nil
	return err
}
