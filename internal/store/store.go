// Package store owns all SQL.
//
// Writes go through Store.write: many waiting closures share one transaction, a
// savepoint each, so that one disk flush acknowledges many answers; nothing is
// acknowledged before its flush (INV-12). Reads use other connections.
//
// The rules about "once", "still pending" and "tries left" stand inside the
// statements. Methods satisfy the small Store interfaces of the domain
// packages, whose comments name the errors. SQL is one text for SQLite and
// PostgreSQL; see migrations/ for the conventions.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNewer says that the database was written by a newer version of the program.
var ErrNewer = errors.New("the database was written by a newer version of countersign: use that version, or restore a backup")

// Store is an open database. It is safe for concurrent use.
type Store struct {
	reads *sql.DB
	group *group

	mu       sync.Mutex
	prepared map[string]*sql.Stmt // of reads; guarded by mu
	writes   *sql.DB
}

// OpenSQLite opens or creates the database file and brings its schema up to date.
// Only one process may have it open; the caller sees to that.
func OpenSQLite(ctx context.Context, path string) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// Made here, because SQLite would let everybody on the machine read it; its log gets the same mode.
	file, err := os.OpenFile(abs, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	file.Close()
	// The string must begin with file:, or SQLite's own options are cut off unseen. Settings go here, because a
	// PRAGMA given later would stay with one pooled connection only.
	dsn := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(abs) +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=cache_size(-16000)"
	writes, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	writes.SetMaxOpenConns(1)
	if err := migrate(ctx, writes); err != nil {
		writes.Close()
		return nil, err
	}
	conn, err := writes.Conn(ctx)
	if err != nil {
		writes.Close()
		return nil, err
	}
	reads, err := sql.Open("sqlite", dsn+"&_pragma=query_only(1)")
	if err != nil {
		writes.Close()
		return nil, err
	}
	// Readers that never pause starve the writer of processor time, so there are few of them.
	n := max(2, runtime.NumCPU())
	reads.SetMaxOpenConns(n)
	reads.SetMaxIdleConns(n)
	return &Store{reads: reads, writes: writes, prepared: map[string]*sql.Stmt{}, group: startGroup(conn)}, nil
}

// Close waits for the writes that were begun and closes the database.
func (s *Store) Close() error {
	s.group.stop()
	err := s.reads.Close()
	// The driver leaves the log beside the file. Folded in, the file alone is the database, for whoever copies the folder.
	var busy, pages, folded int // the pragma is a query: executed without reading its row it does nothing
	fold := s.writes.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &folded)
	return errors.Join(err, fold, s.writes.Close())
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.reads.PingContext(ctx) }

func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	current, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the database's version: %w", err)
	}
	sources := p.ListSources()
	if current > sources[len(sources)-1].Version {
		return ErrNewer
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	return nil
}

// query runs a read. Statements are prepared once and kept.
func (s *Store) query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	stmt, err := s.prepare(ctx, q)
	if err != nil {
		return nil, err
	}
	return stmt.QueryContext(ctx, args...)
}

func (s *Store) queryRow(ctx context.Context, q string, args ...any) row {
	stmt, err := s.prepare(ctx, q)
	if err != nil {
		return row{err: err}
	}
	return row{row: stmt.QueryRowContext(ctx, args...)}
}

func (s *Store) prepare(ctx context.Context, q string) (*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt := s.prepared[q]; stmt != nil {
		return stmt, nil
	}
	stmt, err := s.reads.PrepareContext(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("prepare %.60q: %w", q, err)
	}
	s.prepared[q] = stmt
	return stmt, nil
}

// row is a *sql.Row that may have failed before it ran.
type row struct {
	row *sql.Row
	err error
}

func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.row.Scan(dest...)
}

// scanner is a row of either kind.
type scanner interface{ Scan(dest ...any) error }

// querier is what reads can run on: the store, or a transaction that must see its own writes.
type querier interface {
	query(ctx context.Context, q string, args ...any) (*sql.Rows, error)
	queryRow(ctx context.Context, q string, args ...any) row
}

// collect reads all rows with scan.
func collect[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

// missing turns "no rows" into the domain's error.
func missing(err, as error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return as
	}
	return err
}

// ms is how a time is kept: Unix milliseconds, 0 for the zero time.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMS(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}
