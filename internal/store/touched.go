package store

import (
	"context"
	"database/sql"
	"errors"

	sqlitedriver "modernc.org/sqlite"
)

// This file owns counting the pages that SQLite touches: what an operation costs whatever machine it runs on.

// Touched is how many pages an open database has touched so far.
type Touched struct {
	Looked  int64 // at, in memory or in the file
	Written int64
}

// Less returns what was touched since before.
func (t Touched) Less(before Touched) Touched {
	return Touched{t.Looked - before.Looked, t.Written - before.Written}
}

// Touched waits until nothing runs and counts. Only SQLite tells that of its connections; PostgreSQL has its own statistics.
func (s *Store) Touched(ctx context.Context) (total Touched, err error) {
	db, ok := s.engine.(*sqlite)
	if !ok {
		return total, errors.New("only SQLite counts pages by connection")
	}
	count := func(conn any) error {
		t, err := touched(conn)
		total.Looked, total.Written = total.Looked+t.Looked, total.Written+t.Written
		return err
	}
	var held []*sql.Conn
	defer func() {
		for _, conn := range held {
			err = errors.Join(err, conn.Close())
		}
	}()
	for range db.reads.Stats().MaxOpenConnections { // all of them, because one that is given back would be counted twice
		conn, err := db.reads.Conn(ctx)
		if err != nil {
			return total, err
		}
		held = append(held, conn)
		if err := conn.Raw(count); err != nil {
			return total, err
		}
	}
	return total, s.write(ctx, func(*tx) error { return count(db.writer.conn) })
}

func touched(conn any) (t Touched, err error) {
	status, ok := conn.(sqlitedriver.DBStatus)
	if !ok {
		return t, errors.New("this SQLite driver does not tell its counters")
	}
	for _, c := range []struct {
		op  sqlitedriver.DBStatusOp
		sum *int64
	}{{sqlitedriver.DBStatusCacheHit, &t.Looked}, {sqlitedriver.DBStatusCacheMiss, &t.Looked}, {sqlitedriver.DBStatusCacheWrite, &t.Written}} {
		n, _, err := status.Status(c.op, false)
		if err != nil {
			return t, err
		}
		*c.sum += int64(n)
	}
	return t, nil
}
