package store

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"countersign.dev/internal/job"
)

// This file owns the queue of writes, the lanes that take closures from it, and the transaction that a closure sees.

const queueSize = 1024

// errStopped is what writers get after Close.
var errStopped = errors.New("store: closed")

type write struct {
	ctx   context.Context
	key   string // writes with the same key run one after another
	among bool   // its closure may run among others, of other keys
	fn    func(*tx) error
	done  chan error // one slot

	since time.Time // when it began to wait
}

type group struct {
	queues  []chan write // a lane each
	inTurn  atomic.Uint64
	lane    func(key string) uint64 // modulo the lanes
	mu      sync.RWMutex            // held for reading while queueing, for writing to stop
	stopped bool
	lanes   sync.WaitGroup
	seen    atomic.Pointer[func(writes int, took time.Duration)] // nil: nobody counts
}

// startGroup starts lanes, each of which hands commit up to most of the writes that wait.
func startGroup(lanes, most int, commit func([]write)) *group {
	g := &group{}
	g.lane = g.byKey
	for range lanes {
		queue := make(chan write, queueSize/lanes)
		g.queues = append(g.queues, queue)
		g.lanes.Go(func() { g.run(queue, most, commit) })
	}
	return g
}

func (g *group) stop() {
	g.mu.Lock()
	if !g.stopped {
		g.stopped = true
		for _, queue := range g.queues {
			close(queue)
		}
	}
	g.mu.Unlock()
	g.lanes.Wait()
}

// write runs fn in a transaction and returns when it is durable, or has left no trace. Fn may run more than once, so that
// it sets what it returns anew each time; it may not keep tx, must not wait for anything else, and computes only: what must
// leave the process leaves after write returned.
func (s *Store) write(ctx context.Context, fn func(*tx) error) error {
	return s.writeFor(ctx, "", fn)
}

// writeFor is write for closures that take the row that key names before all others: they queue up behind each other
// instead of waiting for the row, each with a connection.
func (s *Store) writeFor(ctx context.Context, key string, fn func(*tx) error) error {
	return s.enqueue(write{ctx: ctx, key: key, fn: fn})
}

// writeAmong is writeFor for closures that decide by nothing but what belongs to key. On PostgreSQL they may run among each other in one transaction,
// statement by statement: a lock that one of them takes keeps no other one out.
func (s *Store) writeAmong(ctx context.Context, key string, fn func(*tx) error) error {
	return s.enqueue(write{ctx: ctx, key: key, fn: fn, among: true})
}

// enqueue queues a write and waits for its end.
func (s *Store) enqueue(w write) error {
	fn := w.fn
	var told []job.Job // for webhooks, inserted beside what fn does
	w.fn = func(t *tx) error {
		told = nil
		t.told = &told
		return fn(t)
	}
	w.done, w.since = make(chan error, 1), time.Now()
	if err := s.group.enqueue(w); err != nil {
		return err
	}
	// Not ctx.Done: once begun the write goes through or not whoever listens, and the caller must learn which.
	err := <-w.done
	if offer := s.offer.Load(); err == nil && len(told) > 0 && offer != nil {
		(*offer)(told...)
	}
	return err
}

func (g *group) enqueue(w write) error {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if g.stopped {
		return errStopped
	}
	select {
	case g.queues[g.lane(w.key)%uint64(len(g.queues))] <- w:
		return nil
	case <-w.ctx.Done():
		return w.ctx.Err()
	}
}

// byKey gives a key always the same lane; writes without one take turns.
func (g *group) byKey(key string) uint64 {
	if key == "" {
		return g.turn(key)
	}
	h := fnv.New64a()
	io.WriteString(h, key)
	return h.Sum64()
}

func (g *group) turn(string) uint64 { return g.inTurn.Add(1) }

func (g *group) run(queue chan write, most int, commit func([]write)) {
	batch := make([]write, 0, most)
	for w := range queue {
		batch = append(batch[:0], w)
		runtime.Gosched() // who is about to write comes along; where the processors are idle, nobody is
		for more := true; more && len(batch) < most; {
			select {
			case w, ok := <-queue:
				if more = ok; ok {
					batch = append(batch, w)
				}
			default:
				more = false
			}
		}
		n, begun := len(batch), time.Now()
		commit(batch)
		if seen := g.seen.Load(); seen != nil {
			(*seen)(n, time.Since(begun))
		}
	}
}

// Observe has seen called after each commit, with how many writes shared it and how long it took with its flush.
func (s *Store) Observe(seen func(writes int, took time.Duration)) { s.group.seen.Store(&seen) }

// session is the connection that a transaction runs on.
type session interface {
	query(q string, args []any) (rows, error)
	exec(q string, args []any) (int64, error) // returns how many rows it changed
	// later runs a statement whose answer is not needed at once: read gets it, if not nil, before a later statement
	// returns. Its error may come from there.
	later(q string, args []any, read func(rows) error) error
	arrive() error          // waits for all that is on its way
	control(q string) error // begins, marks or ends a transaction
	// hastily runs fn without a savepoint in a transaction that has none, and reports false in one that has. If fn fails after it changed
	// something, the whole transaction is regretted: nothing more runs in it, and it begins again with savepoints.
	hastily(fn func() error) (done bool, err error)
	hold(name string) error          // waits for others who hold the same name, until the transaction ends
	lock(q string, args []any) error // takes rows until the transaction ends
}

// tx is the running transaction.
type tx struct {
	on   session
	lost error      // why the transaction is no longer there to be committed; nothing more runs in it
	told *[]job.Job // of the running closure: what to offer after the commit

	alone bool // one transaction runs at a time: nobody else changes what this one has looked up
	chain chain
	asked map[string][]string // where alone: the events that webhooks asked for, by application
}

// savepoint runs fn so that what it wrote is undone when it fails.
func (t *tx) savepoint(fn func() error) error {
	if t.lost == nil {
		if done, err := t.on.hastily(fn); done {
			return err
		}
	}
	if err := t.control("SAVEPOINT one"); err != nil {
		return err
	}
	before := t.chain
	err := guarded(fn)
	if err != nil {
		if undo := t.control("ROLLBACK TO one"); undo != nil {
			return errors.Join(err, undo)
		}
		t.chain = before
		clear(t.asked) // perhaps of what is undone
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
	if t.lost != nil {
		return t.lost
	}
	err := t.on.control(q)
	if err != nil {
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

func (t *tx) query(_ context.Context, q string, args ...any) (rows, error) {
	if t.lost != nil {
		return nil, t.lost
	}
	return t.on.query(q, args)
}

func (t *tx) queryRow(ctx context.Context, q string, args ...any) row {
	rows, err := t.query(ctx, q, args...)
	return row{rows, err}
}

// exec runs a statement and returns how many rows it changed.
func (t *tx) exec(_ context.Context, q string, args ...any) (int64, error) {
	if t.lost != nil {
		return 0, t.lost
	}
	return t.on.exec(q, args)
}

// later runs a statement whose answer nobody needs, or not at once: on PostgreSQL it travels with the next one, so that it
// costs no round trip of its own. Its error may come from there.
func (t *tx) later(_ context.Context, q string, args ...any) error {
	if t.lost != nil {
		return t.lost
	}
	return t.on.later(q, args, nil)
}

// ask is later for a query. Read gets the rows before the next statement that is not later or ask returns.
func (t *tx) ask(_ context.Context, read func(rows) error, q string, args ...any) error {
	if t.lost != nil {
		return t.lost
	}
	return t.on.later(q, args, read)
}

// hold keeps others who hold the same name waiting until the transaction ends: for a rule about rows that are not there yet,
// and so cannot be locked. It must come before the rows are looked for.
func (t *tx) hold(name string) error {
	if t.lost != nil {
		return t.lost
	}
	return t.on.hold(name)
}

// lock takes the rows that q selects until the transaction ends, and says nothing about them.
func (t *tx) lock(_ context.Context, q string, args ...any) error {
	if t.lost != nil {
		return t.lost
	}
	return t.on.lock(q, args)
}

// lockUser takes the user's row until the transaction ends, and returns false when the user is not there. Everything about
// one user's grants, approvals and codes that looks before it writes takes it first, so that no two nodes can look at once.
func (t *tx) lockUser(ctx context.Context, userID string) (bool, error) {
	var one int
	err := t.queryRow(ctx, `SELECT 1 FROM users WHERE id = $1 AND removed_at = 0 FOR NO KEY UPDATE`, userID).Scan(&one)
	if err = missing(err, errNone); errors.Is(err, errNone) {
		return false, nil
	}
	return err == nil, err
}

// arrive returns when everything asked before has been answered.
func (t *tx) arrive() error {
	if t.lost != nil {
		return t.lost
	}
	return t.on.arrive()
}
