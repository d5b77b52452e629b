package store

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// This file owns PostgreSQL: one pool of connections that write, a lane each, and one of those that read. A closure has a
// transaction to itself, so that it holds no row longer than it must and locks rows in its own order alone; PostgreSQL
// groups the flushes of transactions that commit together. What costs is round trips: BEGIN, savepoints, statements whose
// count nobody asks for, and COMMIT travel with their neighbours.

const (
	lanes     = 8                // closures that run at once
	tries     = 5                // how often a closure begins, when others or a restart throw it back
	longest   = 15 * time.Second // a transaction or a read; then its connection is cut off
	reachable = 5 * time.Second  // to get a connection
)

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
	if err := db.checkVersion(ctx); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return &Store{engine: db, group: startGroup(lanes, 1, db.commit)}, nil
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
// a table was small must not be a scan of it when it has grown. A commit that was answered must be on the disk (INV-12).
const settings = `SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off;
	SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '30s';
	SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'`

// checkVersion asks whether the schema is the one that this program's statements are written for.
func (db *postgres) checkVersion(ctx context.Context) error {
	var there bool
	var version int64
	err := db.reads.QueryRow(ctx, `SELECT to_regclass('goose_db_version') IS NOT NULL`).Scan(&there)
	if err == nil && there {
		err = db.reads.QueryRow(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	}
	switch newest := newestVersion(); {
	case err != nil:
		return fmt.Errorf("read the database's version: %w", err)
	case version < newest:
		return ErrOlder
	case version > newest:
		return ErrNewer
	}
	return nil
}

func (db *postgres) ping(ctx context.Context) error { return db.reads.Ping(ctx) }

func (db *postgres) close() error {
	db.reads.Close()
	db.writes.Close()
	return nil
}

// acquire takes a connection from the pool, and gives back with it what ends its use.
func acquire(ctx context.Context, pool *pgxpool.Pool) (*pgxpool.Conn, func(), error) {
	ctx, cancel := context.WithTimeout(ctx, reachable)
	defer cancel()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("reach PostgreSQL: %w", err)
	}
	// What runs pays no heed to its context's end, which would cost the connection; but nothing runs for ever.
	limit := time.AfterFunc(longest, func() { _ = conn.Conn().PgConn().Conn().SetDeadline(time.Unix(1, 0)) })
	return conn, func() { limit.Stop(); conn.Release() }, nil
}

func (db *postgres) query(ctx context.Context, q string, args []any) (rows, error) {
	for try := 1; ; try++ {
		r, again, err := db.read(ctx, q, args)
		if err == nil || try == tries || !again {
			return r, err
		}
		db.reads.Reset() // what one connection met, all that were open then will
	}
}

func (db *postgres) read(ctx context.Context, q string, args []any) (_ rows, again bool, err error) {
	conn, release, err := acquire(ctx, db.reads)
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
	again = isLost(conn, err)
	release()
	return nil, again, err
}

// pgRows is a result whose first row was looked at ahead, because a lost connection shows itself only there.
type pgRows struct {
	pgx.Rows
	ahead, looked bool
	ended         func()
}

func (r *pgRows) Next() bool {
	if r.looked {
		r.looked = false
		return r.ahead
	}
	return r.Rows.Next()
}

func (r *pgRows) Close() error {
	r.Rows.Close()
	if r.ended != nil {
		r.ended()
		r.ended = nil
	}
	return r.Err()
}

// commit runs each closure in a transaction of its own.
func (db *postgres) commit(batch []write) {
	for _, w := range batch {
		w.done <- db.transact(w)
	}
}

// transact begins again when that is known to be safe: the database undid the transaction for the sake of others, or
// the connection was lost before COMMIT was sent. A connection lost after that leaves open whether it came through, and
// the writer is told of an error.
func (db *postgres) transact(w write) error {
	for try := 1; ; try++ {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		again, err := db.once(w.fn)
		if err == nil || try == tries || !again {
			return err
		}
	}
}

func (db *postgres) once(fn func(*tx) error) (again bool, err error) {
	conn, release, err := acquire(context.Background(), db.writes)
	if err != nil {
		return false, err
	}
	defer release() // a connection that is still in a transaction is not used again
	on := onConnection(conn.Conn())
	t := &tx{on: on}
	_ = t.control("BEGIN ISOLATION LEVEL READ COMMITTED")
	if err := guarded(func() error { return fn(t) }); err != nil {
		again := isThrownBack(err)
		if isLost(conn, err) {
			again = true
			db.writes.Reset() // what one connection met, all that were open then will
		}
		if on.begun {
			_ = t.control("ROLLBACK")
		}
		return again, err
	}
	if err := on.commit(); err != nil {
		return isThrownBack(err), fmt.Errorf("commit: %w", err)
	}
	return false, nil
}

// pgTransaction is a connection in a transaction, and the statements that wait to travel with the next.
type pgTransaction struct {
	conn     *pgx.Conn
	prepared map[string]bool // on conn
	waiting  *pgx.Batch
	begun    bool // something was sent
}

func onConnection(conn *pgx.Conn) *pgTransaction {
	const key = "prepared"
	kept := conn.PgConn().CustomData()
	prepared, ok := kept[key].(map[string]bool)
	if !ok {
		prepared = map[string]bool{}
		kept[key] = prepared
	}
	return &pgTransaction{conn: conn, prepared: prepared, waiting: &pgx.Batch{}}
}

// prepare sees to it that only statements that are prepared travel together. PostgreSQL would fail to prepare another one
// before the SAVEPOINT in front of it is there, and the whole transaction would fail with it.
func (t *pgTransaction) prepare(q string) error {
	if t.prepared[q] {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	if _, err := t.conn.Prepare(context.Background(), q, q); err != nil {
		return fmt.Errorf("prepare %.60q: %w", q, err)
	}
	t.prepared[q] = true
	return nil
}

// flush sends what waits.
func (t *pgTransaction) flush() error {
	if t.waiting.Len() == 0 {
		return nil
	}
	return t.send().Close()
}

// send sends what waits and returns its results.
func (t *pgTransaction) send() pgx.BatchResults {
	batch := t.waiting
	t.waiting, t.begun = &pgx.Batch{}, true
	return t.conn.SendBatch(context.Background(), batch)
}

// sendLast sends what waits and q, and returns the results with q's to be read next.
func (t *pgTransaction) sendLast(q string, args []any) (pgx.BatchResults, error) {
	if err := t.prepare(q); err != nil {
		return nil, err
	}
	before := t.waiting.Len()
	t.waiting.Queue(q, args...)
	results := t.send()
	for range before {
		if _, err := results.Exec(); err != nil {
			results.Close()
			return nil, err
		}
	}
	return results, nil
}

func (t *pgTransaction) later(q string, args []any) error {
	if err := t.prepare(q); err != nil {
		return err
	}
	t.waiting.Queue(q, args...)
	return nil
}

// control sends BEGIN and SAVEPOINT with what follows them.
func (t *pgTransaction) control(q string) error {
	if strings.HasPrefix(q, "BEGIN") || strings.HasPrefix(q, "SAVEPOINT") {
		t.waiting.Queue(q)
		return nil
	}
	_, err := t.exec(q, nil)
	return err
}

func (t *pgTransaction) query(q string, args []any) (rows, error) {
	results, err := t.sendLast(q, args)
	if err != nil {
		return nil, err
	}
	r, err := results.Query()
	if err != nil {
		results.Close()
		return nil, err
	}
	return &pgRows{Rows: r, ended: func() { results.Close() }}, nil
}

func (t *pgTransaction) exec(q string, args []any) (int64, error) {
	tag, err := t.run(q, args)
	return tag.RowsAffected(), err
}

func (t *pgTransaction) run(q string, args []any) (pgconn.CommandTag, error) {
	results, err := t.sendLast(q, args)
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := results.Exec()
	return tag, errors.Join(err, results.Close())
}

func (t *pgTransaction) commit() error {
	if !t.begun && t.waiting.Len() == 1 { // BEGIN alone: the closure did nothing
		return nil
	}
	tag, err := t.run("COMMIT", nil)
	if err == nil && tag.String() != "COMMIT" {
		err = fmt.Errorf("PostgreSQL answered %s: a statement had failed before", tag)
	}
	return err
}

// isThrownBack reports whether the database undid the transaction because of another one.
func isThrownBack(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Severity == "ERROR" && (e.Code == "40001" || e.Code == "40P01")
}

// isLost reports whether the connection is gone, or was refused by a server that stops or starts.
func isLost(conn *pgxpool.Conn, err error) bool {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && (e.Severity == "FATAL" || e.Severity == "PANIC") {
		return true
	}
	return conn.Conn().IsClosed()
}
