package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// This file owns group commit: one goroutine with one connection runs the closures that
// wait for it, up to groupMax in one transaction.

const (
	groupMax  = 128 // closures in one transaction
	queueSize = 1024
)

// errStopped is what writers get after Close.
var errStopped = errors.New("store: closed")

type write struct {
	ctx  context.Context
	fn   func(*tx) error
	done chan error // one slot
}

type group struct {
	conn    *sql.Conn
	tx      *tx
	queue   chan write
	mu      sync.RWMutex // held for reading while queueing, for writing to stop
	stopped bool
	ended   chan struct{}
}

func startGroup(conn *sql.Conn) *group {
	g := &group{conn: conn, tx: &tx{conn: conn, prepared: map[string]*sql.Stmt{}}, queue: make(chan write, queueSize), ended: make(chan struct{})}
	go g.run()
	return g
}

func (g *group) stop() {
	g.mu.Lock()
	if !g.stopped {
		g.stopped = true
		close(g.queue)
	}
	g.mu.Unlock()
	<-g.ended
	g.conn.Close()
}

// write runs fn in a transaction and returns when it is durable, or has left no trace. Fn may
// not keep tx, must not wait for anything else, and computes only: what must leave the process leaves after write returned.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	w := write{ctx: ctx, fn: fn, done: make(chan error, 1)}
	if err := s.group.enqueue(w); err != nil {
		return err
	}
	// Not ctx.Done: once begun the write goes through or not whoever listens, and the caller must learn which.
	return <-w.done
}

func (g *group) enqueue(w write) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.stopped {
		return errStopped
	}
	select {
	case g.queue <- w:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

func (g *group) run() {
	defer close(g.ended)
	batch := make([]write, 0, groupMax)
	for w := range g.queue {
		batch = append(batch[:0], w)
		for more := true; more && len(batch) < groupMax; {
			select {
			case w, ok := <-g.queue:
				if more = ok; ok {
					batch = append(batch, w)
				}
			default:
				more = false
			}
		}
		g.commit(batch)
	}
}

// commit runs one batch and tells each writer its outcome, after the flush.
func (g *group) commit(batch []write) {
	outcomes := make([]error, len(batch))
	err := g.tx.control("BEGIN IMMEDIATE")
	if err == nil {
		for i, w := range batch {
			if outcomes[i] = w.ctx.Err(); outcomes[i] == nil {
				outcomes[i] = g.tx.savepoint(func() error { return w.fn(g.tx) })
			}
		}
		if err = g.tx.control("COMMIT"); err != nil {
			err = fmt.Errorf("commit: %w", err)
		}
	}
	if err != nil {
		g.tx.abandon()
	}
	for i, w := range batch {
		if err != nil {
			outcomes[i] = err // nothing of this batch is in the database
		}
		w.done <- outcomes[i]
	}
}

// tx is the running transaction. Statements are prepared once on its connection and kept. They pay no heed to their
// context's end: the transaction is everybody's, and SQLite rolls the whole of it back when one write is interrupted.
type tx struct {
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
	lost     error // why the transaction is no longer there to be committed; nothing more runs in it
}

// savepoint runs fn so that what it wrote is undone when it fails.
func (t *tx) savepoint(fn func() error) error {
	if err := t.control("SAVEPOINT one"); err != nil {
		return err
	}
	err := guarded(fn)
	if err != nil {
		if undo := t.control("ROLLBACK TO one"); undo != nil {
			return errors.Join(err, undo)
		}
	}
	if release := t.control("RELEASE one"); release != nil {
		return errors.Join(err, release)
	}
	return err
}

// control runs a statement that begins, marks or ends a transaction. When it fails, the transaction is not where we
// think it is (SQLite rolls back by itself when the disk is full, for example). What ran next would be a transaction of
// its own, committed though its writer is told otherwise; so nothing does until abandon.
func (t *tx) control(q string) error {
	_, err := t.exec(context.Background(), q)
	if err != nil && t.lost == nil {
		t.lost = fmt.Errorf("transaction lost at %s: %w", q, err)
	}
	return err
}

// abandon undoes what is left of a lost transaction and makes room for the next.
func (t *tx) abandon() {
	t.lost = nil
	_ = t.control("ROLLBACK") // there may be nothing left to roll back; if there is, the next BEGIN fails and says so
	t.lost = nil
}

// guarded turns a panic into an error: one writer's defect must not take the others' writes along.
func guarded(fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in a write: %v\n%s", p, debug.Stack())
		}
	}()
	return fn()
}

func (t *tx) prepare(ctx context.Context, q string) (*sql.Stmt, error) {
	if t.lost != nil {
		return nil, t.lost
	}
	if stmt := t.prepared[q]; stmt != nil {
		return stmt, nil
	}
	stmt, err := t.conn.PrepareContext(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", q, err)
	}
	t.prepared[q] = stmt
	return stmt, nil
}

func (t *tx) query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	ctx = context.WithoutCancel(ctx)
	stmt, err := t.prepare(ctx, q)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (t *tx) queryRow(ctx context.Context, q string, args ...any) row {
	ctx = context.WithoutCancel(ctx)
	stmt, err := t.prepare(ctx, q)
	if err != nil {
		return row{err: err}
	}
	return row{row: stmt.QueryRowContext(ctx, args...)}
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(ctx context.Context, q string, args ...any) (int64, error) {
	ctx = context.WithoutCancel(ctx)
	stmt, err := t.prepare(ctx, q)
	if err != nil {
		return 0, err
	}
	res, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}
