// Package store owns all SQL.
//
// Writes go through Store.write: closures that wait for the database share a
// disk flush, and nothing is acknowledged before its flush (INV-12). Reads use
// other connections. sqlite.go and postgres.go are the two engines.
//
// The rules about "once", "still pending" and "tries left" stand inside the
// statements. Methods satisfy the small Store interfaces of the domain
// packages, whose comments name the errors. SQL is one text for SQLite and
// PostgreSQL; see migrations/ for the conventions.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"countersign.dev/internal/job"
)

// Store is an open database. It is safe for concurrent use.
type Store struct {
	engine engine
	group  *group
	line   *pgx.ConnConfig // how other nodes are reached; nil: there are none
	offer  atomic.Pointer[func(...job.Job)]
	parsed parsed

	closing sync.Once
	closed  error // what came of closing
}

// engine is a kind of database.
type engine interface {
	query(ctx context.Context, q string, args []any) (rows, error) // a read
	ping(ctx context.Context) error
	oneProcess() bool

	connections() Connections
	diagnose(ctx context.Context) (Facts, error)
	close() error
}

// Config says which database, and how it is opened.
type Config struct {
	// URL is a postgres:// address, a PostgreSQL key=value string, or the path of a SQLite file.
	URL string
	// Migrate brings a PostgreSQL schema up to date first, as Migrate does. A SQLite file always is, unless Beside.
	Migrate bool
	// Beside opens a SQLite file as it is, beside the process that may be serving it: package claim says who may do that.
	Beside bool
	// Bulk gives a SQLite file's writer more memory and longer pauses between its check points: for a command that serves nobody and may write much.
	Bulk bool
}

// Open opens the database, and creates the SQLite file when there is none, unless Beside. The error is ErrOlder or ErrNewer when the
// schema is not this program's.
func Open(ctx context.Context, cfg Config) (*Store, error) {
	postgres, err := isPostgres(cfg.URL)
	switch {
	case err != nil:
		return nil, err
	case !postgres:
		return openSQLite(ctx, cfg)
	case cfg.Migrate:
		if err := Migrate(ctx, cfg.URL); err != nil {
			return nil, err
		}
	}
	return openPostgres(ctx, cfg.URL)
}

// keyValue begins PostgreSQL's other form of an address, host=db user=ana.
var keyValue = regexp.MustCompile(`^\s*(host|hostaddr|port|user|password|dbname|database|service|servicefile|passfile|sslmode|application_name)\s*=`)

// KeyValue reports whether an address is written in PostgreSQL's form of key=value pairs.
func KeyValue(address string) bool { return keyValue.MatchString(address) }

// isPostgres tells PostgreSQL's addresses from paths.
func isPostgres(url string) (bool, error) {
	scheme, _, found := strings.Cut(url, "://")
	switch {
	case url == "":
		return false, errors.New("no database is named: give a postgres:// address or the path of a SQLite file")
	case found && (scheme == "postgres" || scheme == "postgresql"), KeyValue(url):
		return true, nil
	case found:
		return false, fmt.Errorf("%s:// is no database that countersign knows: give a postgres:// address or the path of a SQLite file", scheme)
	}
	return false, nil
}

// Close waits for the writes that were begun and closes the database, the first time.
func (s *Store) Close() error {
	s.group.stop()
	s.closing.Do(func() { s.closed = s.engine.close() })
	return s.closed
}

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error { return s.engine.ping(ctx) }

// OneProcess reports whether this process alone serves the database: SQLite's, unless it was opened beside another.
func (s *Store) OneProcess() bool { return s.engine.oneProcess() }

// Connections is how the connections to the database are used.
type Connections struct{ Max, InUse, Idle int }

// Connections returns how those that read are used, and for PostgreSQL also those that write.
func (s *Store) Connections() Connections { return s.engine.connections() }

// query runs a read. Statements are prepared once and kept.
func (s *Store) query(ctx context.Context, q string, args ...any) (rows, error) {
	return s.engine.query(ctx, q, args)
}

func (s *Store) queryRow(ctx context.Context, q string, args ...any) row {
	rows, err := s.engine.query(ctx, q, args)
	return row{rows, err}
}

// rows is a result of either engine.
type rows interface {
	scanner
	Next() bool
	Err() error
	Close() error
}

// row is a result of which only the first row counts, or what kept it from coming.
type row struct {
	rows rows
	err  error
}

// Scan fails with sql.ErrNoRows when there is none.
func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.Close()
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return sql.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	return r.rows.Close() // some errors come after the row, such as a broken rule at the end of an UPDATE … RETURNING
}

// scanner is a row, or what reads one.
type scanner interface{ Scan(dest ...any) error }

// collect reads all rows with scan.
func collect[T any](rows rows, err error, scan func(scanner) (T, error)) ([]T, error) {
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
