package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	"countersign.dev/internal/fault"
)

// This file owns PostgreSQL: one pool of connections that write, a lane each, and one of those that read. Closures that wait
// for a lane share a transaction, as on SQLite; those that contend for the same row wait for the same lane. How statements
// travel is in pipeline.go.
//
// Two closures must not wait for each other's rows: PostgreSQL notices only after a second, and a lane stands still meanwhile.
// So whoever takes several rows takes them in one order: a name that is held, a user, what is the user's, an application, jobs.

const (
	lanes            = 4                // groups that are written at once: more of them would be smaller ones
	groupMaxPostgres = 32               // closures in one transaction: PostgreSQL is quick with up to 64 savepoints
	tries            = 5                // how often a closure begins, when others or a restart throw it back
	longest          = 15 * time.Second // a transaction; then its connection is cut off
	silence          = 7 * time.Second  // until an answer within one, likewise: longer than PostgreSQL waits for a lock (settings)
	longestRead      = 5 * time.Second  // a read, likewise
	reachable        = 3 * time.Second  // to get a connection, and to wait for a lane
)

// ErrAway is what callers get while PostgreSQL cannot be reached. What lost its connection after COMMIT was sent gets it too.
var ErrAway = fault.New(fault.Unavailable, "database-away", "The service cannot reach its database right now. Try again in a moment.").After(time.Second)

// away makes of an error that says why the database could not be used one that says so to who asked.
func away(err error) error {
	if pgconn.Timeout(err) {
		err = fmt.Errorf("PostgreSQL fell silent: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrAway, err)
}

type postgres struct{ reads, writes *pgxpool.Pool }

func openPostgres(ctx context.Context, url string) (*Store, error) {
	cfg, err := postgresConfig(url)
	if err != nil {
		return nil, err
	}
	db := &postgres{}
	reads := cfg.Copy()
	reads.MaxConns = int32(max(4, 2*runtime.NumCPU()))
	if db.reads, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), reads); err != nil {
		return nil, err
	}
	cfg.MaxConns = int32(lanes)
	if db.writes, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), cfg); err != nil {
		db.reads.Close()
		return nil, err
	}
	plain := &side{stdlib.OpenDBFromPool(db.reads), true}
	defer plain.DB.Close()
	if err := plain.usable(ctx); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return &Store{engine: db, group: startGroup(lanes, groupMaxPostgres, db.commit), line: lineConfig(cfg)}, nil
}

// postgresConfig reads an address and sets what every connection of ours needs.
func postgresConfig(url string) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("read the database's address: %w", err)
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = reachable
	}
	cfg.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, settings)
		return err
	}
	return cfg, nil
}

// settings are those of a connection. Every statement of ours finds its rows by an index (plan_test.go), so a plan made while
// a table was small must not be one that reads it whole when it has grown: no scan, no hash or merge of all rows, and joins nested
// as they are written. Statistics say that nearly nothing waits for an answer, so plans would begin there, whatever the morning brings.
// For the first minute of a database, until autovacuum has looked, a few plans still read an index whole (firstMinute in plan_test.go).
// A commit that was answered must be on the disk (INV-12).
const settings = `SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET join_collapse_limit = 1;
	SET plan_cache_mode = force_generic_plan; SET max_parallel_workers_per_gather = 0; SET jit = off;
	SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '30s';
	SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`

func (db *postgres) oneProcess() bool { return false }

func (db *postgres) connections() Connections {
	reads, writes := db.reads.Stat(), db.writes.Stat()
	return Connections{
		Max: int(reads.MaxConns() + writes.MaxConns()), InUse: int(reads.AcquiredConns() + writes.AcquiredConns()), Idle: int(reads.IdleConns() + writes.IdleConns()),
	}
}

func (db *postgres) ping(ctx context.Context) error { return db.reads.Ping(ctx) }

func (db *postgres) close() error {
	db.reads.Close()
	db.writes.Close()
	return nil
}

// acquire takes a connection from the pool, and gives back with it what ends its use.
func acquire(ctx context.Context, pool *pgxpool.Pool, longest time.Duration) (*pgxpool.Conn, func(), error) {
	within, cancel := context.WithTimeout(ctx, reachable)
	defer cancel()
	conn, err := pool.Acquire(within)
	if err != nil {
		err = fmt.Errorf("reach PostgreSQL: %w", err)
		if ctx.Err() == nil { // else who asked has left
			err = away(err)
		}
		return nil, nil, err
	}
	// What runs pays no heed to its context's end, which would cost the connection; but nothing runs for ever.
	cutOff(conn.Conn(), time.Now().Add(longest))
	return conn, func() { cutOff(conn.Conn(), time.Time{}); conn.Release() }, nil
}

// cutOff has a connection fail at a moment, whatever waits for it; the zero time means never.
func cutOff(conn *pgx.Conn, at time.Time) { _ = conn.PgConn().Conn().SetDeadline(at) }

func (db *postgres) query(ctx context.Context, q string, args []any) (rows, error) {
	for begun, try := time.Now(), 1; ; try++ {
		r, again, err := db.read(ctx, q, args)
		if err == nil || try == tries || !again || isLong(begun, err) {
			return r, err
		}
		db.reads.Reset() // what one connection met, all that were open then will
	}
}

func (db *postgres) read(ctx context.Context, q string, args []any) (_ rows, again bool, err error) {
	conn, release, err := acquire(ctx, db.reads, longestRead)
	if err != nil {
		return nil, false, err
	}
	r, err := conn.Query(context.Background(), q, args...)
	if err == nil {
		got := &pgRows{Rows: r, ended: release}
		got.ahead, got.looked = r.Next(), true
		if err = r.Err(); err == nil {
			return got, false, nil
		}
		r.Close()
	}
	if again = isLost(conn, err); again {
		err = away(err)
	}
	release()
	return nil, again, err
}

// pgRows is a result whose first row was looked at ahead, because a lost connection shows itself only there.
type pgRows struct {
	pgx.Rows
	ahead, looked bool
	changed       *int // counts the rows, which the transaction has changed; or nil
	ended         func()
	failed        error // when it was closed: from then on the connection is somebody else's
}

func (r *pgRows) Err() error {
	if r.failed != nil {
		return r.failed
	}
	err := r.Rows.Err()
	if conn := r.Conn(); err != nil && conn != nil && isGone(conn, err) {
		return away(err) // in the middle
	}
	return err
}

func (r *pgRows) Next() bool {
	if r.looked {
		r.looked = false
		return r.ahead
	}
	more := r.Rows.Next()
	if more && r.changed != nil {
		*r.changed++
	}
	return more
}

func (r *pgRows) Close() error {
	r.Rows.Close()
	r.failed = r.Err()
	if r.ended != nil {
		r.ended()
		r.ended = nil
	}
	return r.failed
}

// commit runs a batch in one transaction and tells the writers their outcomes after its flush. As on SQLite there are no savepoints until one is
// needed. What others threw back, and all of a batch that could not be committed for one closure's sake, runs again alone.
func (db *postgres) commit(batch []write) {
	batch = inTime(batch)
	if len(batch) == 1 {
		batch[0].done <- busy(db.alone(batch[0], false))
	}
	if len(batch) < 2 {
		return
	}
	// Every node takes rows in the same order, as far as keys tell, so that two batches do not wait for each other.
	slices.SortStableFunc(batch, func(a, b write) int { return strings.Compare(a.key, b.key) })
	outcomes, again, err := db.together(batch, true)
	var gone error // nobody else need find out, each after seconds
	for i, w := range batch {
		switch {
		case err == nil && !isThrownBack(outcomes[i]):
			w.done <- outcomes[i]
		case err != nil && !again:
			w.done <- err
		case gone != nil:
			w.done <- gone
		default:
			err := db.alone(w, true)
			if errors.Is(err, ErrAway) {
				gone = err
			}
			w.done <- busy(err)
		}
	}
}

// busy makes of a row that another node did not let go in time, perhaps because it fell silent, a database that cannot be used now.
func busy(err error) error {
	if isLockTimeout(err) {
		return away(err)
	}
	return err
}

// inTime refuses what has waited for its lane too long, because the database was away: who asked is not kept waiting by those
// in front of him. It returns the others.
func inTime(batch []write) []write {
	return slices.DeleteFunc(batch, func(w write) bool {
		late := time.Since(w.since) > reachable
		if late {
			w.done <- away(errors.New("the lane was not free in time"))
		}
		return late
	})
}

// together reports whether all may run again when it fails: nothing is in the database.
func (db *postgres) together(batch []write, hasty bool) (outcomes []error, again bool, err error) {
	outcomes = make([]error, len(batch))
	regretted := false
	again, err = db.transaction(false, func(t *tx) error {
		// Two groups on two nodes may want each other's rows after all: better to run a closure alone soon than to wait for
		// PostgreSQL to notice.
		_ = t.control("SET LOCAL lock_timeout = '250ms'")
		on := t.on.(*pgTransaction)
		on.hasty = hasty
		for i := 0; i < len(batch); {
			n := 1
			if hasty {
				n = alongside(batch[i:])
			}
			if n > 1 {
				on.among(batch[i:i+n], outcomes[i:])
			} else if outcomes[i] = batch[i].ctx.Err(); outcomes[i] == nil {
				outcomes[i] = t.savepoint(func() error { return batch[i].fn(t) })
			}
			i += n
			if regretted = on.regret != nil; regretted {
				return on.regret
			}
			if t.lost != nil {
				return t.lost
			}
		}
		return nil
	})
	if regretted {
		return db.together(batch, false)
	}
	return outcomes, again, err
}

// alongside returns how many of a batch's first writes run among each other, at least one.
func alongside(batch []write) int {
	n := 1
	for batch[0].among && n < len(batch) && batch[n].among && batch[n].key != batch[n-1].key {
		n++
	}
	return n
}

// alone runs one closure in a transaction of its own. It begins again when that is known to be safe: the database undid
// the transaction for the sake of others, or the connection was lost before COMMIT was sent. A connection lost after that
// leaves open whether it came through, and the writer is told of an error.
func (db *postgres) alone(w write, careful bool) error {
	for begun, try := time.Now(), 1; ; try++ {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		again, err := db.transaction(careful, w.fn)
		if err == nil || try == tries || !again || isLong(begun, err) || isLockTimeout(err) { // alone it has waited for long enough
			return err
		}
		careful = true
	}
}

// transaction runs fn, and reports whether that may be repeated when it failed.
func (db *postgres) transaction(careful bool, fn func(*tx) error) (again bool, err error) {
	conn, release, err := acquire(context.Background(), db.writes, longest)
	if err != nil {
		return false, err
	}
	defer release() // a connection that is still in a transaction is not used again
	on := onConnection(conn.Conn(), careful)
	t := &tx{on: on}
	_ = t.control("BEGIN ISOLATION LEVEL READ COMMITTED")
	if err := guarded(func() error {
		err := fn(t)
		return errors.Join(err, t.lost)
	}); err != nil {
		again := on.mixedUp || isThrownBack(err)
		if isLost(conn, err) {
			again, err = true, away(err)
			db.writes.Reset() // what one connection met, all that were open then will
		}
		_ = on.rollback()
		return again, err
	}
	if err := on.commit(); err != nil {
		// Only when PostgreSQL itself says so is nothing in the database: what waited travelled together with COMMIT.
		again, err = isRefused(err) && (on.mixedUp || isThrownBack(err)), fmt.Errorf("commit: %w", err)
		if isLost(conn, err) {
			err = away(err)
		}
		return again, err
	}
	return false, nil
}

// isRefused reports whether a statement failed and the connection lives.
func isRefused(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.SeverityUnlocalized == "ERROR"
}

// isLong reports whether the database has been away since begun for longer than anybody should wait.
func isLong(begun time.Time, err error) bool {
	return errors.Is(err, ErrAway) && time.Since(begun) > reachable
}

func isLockTimeout(err error) bool { return sqlState(err) == "55P03" }

// isForbidden reports whether the role may not do it.
func isForbidden(err error) bool { return sqlState(err) == "42501" }

// isTaken reports whether a statement waited for a lock for too long, or another one for it too.
func isTaken(err error) bool { return isLockTimeout(err) || sqlState(err) == "40P01" }

// isThrownBack reports whether the database undid the transaction because of another one: they could not be put in an order,
// waited for each other or for long, or the other one inserted first what this one had not found.
func isThrownBack(err error) bool {
	return isRefused(err) && (isTaken(err) || sqlState(err) == "40001" || sqlState(err) == "23505")
}

// sqlState is PostgreSQL's code for an error, "" for one that is not its own (Appendix A of its manual).
func sqlState(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// isLost reports whether the connection is gone, or was refused by a server that stops or starts.
func isLost(conn *pgxpool.Conn, err error) bool { return isGone(conn.Conn(), err) }

func isGone(conn *pgx.Conn, err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.SeverityUnlocalized == "FATAL" || e.SeverityUnlocalized == "PANIC") {
		return true
	}
	return conn.IsClosed()
}
