package store

import (
	"context"
	"database/sql/driver"
	"errors"

	sqlitedriver "modernc.org/sqlite"
)

// This file owns counting the pages that SQLite touches: what an operation costs whatever machine it runs on.

// Touched is how many pages an open database has touched so far.
type Touched struct {
	Looked  int64 // at, in memory or in the file
	Written int64
}

// Since returns what was touched since before.
func (t Touched) Since(before Touched) Touched {
	return Touched{t.Looked - before.Looked, t.Written - before.Written}
}

// Touched counts what was touched, when nothing runs: what is in use is left out. Only SQLite tells that of its connections; PostgreSQL has
// statistics of its own.
func (s *Store) Touched(ctx context.Context) (total Touched, err error) {
	db, ok := s.engine.(*sqlite)
	if !ok {
		return total, errors.New("only SQLite counts pages by connection")
	}
	db.mu.Lock()
	for _, r := range db.free {
		err = errors.Join(err, total.add(r.conn))
	}
	db.mu.Unlock()
	return total, errors.Join(err, s.write(ctx, func(*tx) error { return total.add(db.writer.conn) }))
}

// add adds what a connection touched.
func (t *Touched) add(conn driver.Conn) error {
	status, ok := conn.(sqlitedriver.DBStatus)
	if !ok {
		return errors.New("this SQLite driver does not tell its counters")
	}
	for _, c := range []struct {
		op  sqlitedriver.DBStatusOp
		sum *int64
	}{{sqlitedriver.DBStatusCacheHit, &t.Looked}, {sqlitedriver.DBStatusCacheMiss, &t.Looked}, {sqlitedriver.DBStatusCacheWrite, &t.Written}} {
		n, _, err := status.Status(c.op, false)
		if err != nil {
			return err
		}
		*c.sum += int64(n)
	}
	return nil
}
