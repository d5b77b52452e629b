package store

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"sync"

	"github.com/jackc/pgx/v5"
)

// This file owns reads of one row on PostgreSQL. Those that are asked for at the same time travel together: on a busy node a
// round trip, with the two processes that it wakes, costs more than what PostgreSQL does to find a row.

const (
	readLanes = 2  // so that one is answered while the next is gathered
	readMost  = 64 // reads that travel together
)

// errApart is what became of a read whose companions failed, perhaps because of it: it is to be asked for alone.
var errApart = errors.New("store: not read with others")

type read struct {
	q    string
	args []any
	dest []any
	done chan error // one slot
}

// oneRowReads are the lanes that reads of one row take.
type oneRowReads struct {
	asked   chan read // without room: what no lane has taken is still its asker's
	stopped chan struct{}
	lanes   *sync.WaitGroup
}

// startReads starts lanes, each of which hands all the reads that wait.
func startReads(all func([]read)) oneRowReads {
	r := oneRowReads{make(chan read), make(chan struct{}), &sync.WaitGroup{}}
	for range readLanes {
		r.lanes.Go(func() { r.run(all) })
	}
	return r
}

func (r oneRowReads) stop() {
	close(r.stopped)
	r.lanes.Wait()
}

func (r oneRowReads) run(all func([]read)) {
	reads := make([]read, 0, readMost)
	for {
		select {
		case one := <-r.asked:
			reads = append(reads[:0], one)
		case <-r.stopped:
			return
		}
		runtime.Gosched() // who is about to ask comes along; where the processors are idle, nobody is
		for more := true; more && len(reads) < readMost; {
			select {
			case one := <-r.asked:
				reads = append(reads, one)
			default:
				more = false
			}
		}
		all(reads)
	}
}

// queryRow reads one row. Once begun it does not end with its context.
func (db *postgres) queryRow(ctx context.Context, q string, args, dest []any) error {
	r := read{q, args, dest, make(chan error, 1)}
	select {
	case db.rows.asked <- r:
		if err := <-r.done; !errors.Is(err, errApart) {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	case <-db.rows.stopped: // the lanes go first, and the connections when nobody uses them
	}
	rows, err := db.query(ctx, q, args)
	return row{rows, err}.Scan(dest...)
}

// readAll asks for all rows in one round trip.
func (db *postgres) readAll(reads []read) {
	conn, release, err := acquire(context.Background(), db.reads, longestRead)
	if err != nil {
		for _, r := range reads {
			r.done <- err
		}
		return
	}
	defer release()
	batch := &pgx.Batch{QueuedQueries: make([]*pgx.QueuedQuery, 0, len(reads))}
	for _, r := range reads {
		batch.Queue(r.q, r.args...)
	}
	results := conn.SendBatch(context.Background(), batch)
	defer results.Close()
	for i, r := range reads {
		err := scanNext(results, r.dest)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			for _, r := range reads[i:] {
				r.done <- errApart
			}
			return
		}
		r.done <- err
	}
}

// scanNext scans the next answer. After an error other than sql.ErrNoRows there are no more.
func scanNext(results pgx.BatchResults, dest []any) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	found := rows.Next()
	if found {
		_ = rows.Scan(dest...) // rows.Err has its error
	}
	rows.Close()
	if err = rows.Err(); err == nil && !found {
		err = sql.ErrNoRows
	}
	return err
}
