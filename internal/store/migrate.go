package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

// This file owns the schema's versions.

//go:embed migrations/*.sql
var migrations embed.FS

// ErrNewer says that the database was written by a newer version of the program.
var ErrNewer = errors.New("the database was written by a newer version of countersign: use that version, or restore a backup")

// ErrOlder says that the database waits for Migrate.
var ErrOlder = errors.New("the database has an older version's schema, or none: run countersign migrate up first")

// Migrate brings the database's schema up to date. Nodes may do so at once: one does, the others wait.
func Migrate(ctx context.Context, url string) error {
	postgres, err := isPostgres(url)
	if err != nil {
		return err
	}
	if !postgres {
		s, err := OpenSQLite(ctx, url)
		if err != nil {
			return err
		}
		return s.Close()
	}
	return besideService(ctx, url, func(db *sql.DB) error { return migratePostgres(ctx, db) })
}

func migratePostgres(ctx context.Context, db *sql.DB) error {
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // seconds between tries, and tries
	if err != nil {
		return err
	}
	if err := migrate(ctx, goose.DialectPostgres, db, goose.WithSessionLocker(locker)); err != nil {
		return err
	}
	err = patiently(ctx, func() error {
		_, err := db.ExecContext(ctx, roomy)
		return err
	})
	if err != nil {
		return fmt.Errorf("leave room in tables: %w", err)
	}
	if err := lighten(ctx, db); err != nil {
		return fmt.Errorf("drop constraints: %w", err)
	}
	return nil
}

// besideService calls do with connections to a PostgreSQL database that others work with. Everybody's statements wait behind what waits for a table of its
// own, and fail after five seconds (settings), so nothing waits for long: but longer than it takes until autovacuum gives way (deadlock_timeout, one second).
func besideService(ctx context.Context, url string, do func(db *sql.DB) error) error {
	cfg, err := postgresConfig(url)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*cfg.ConnConfig, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `SET lock_timeout = '1500ms'`)
		return err
	}))
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("reach PostgreSQL: %w", err)
	}
	return do(db)
}

// roomy leaves room on the pages of tables whose rows change with each code or approval, where nobody has said how much there is to be: a row that
// stays on its page needs nothing new in the table's indexes. It is no migration, because SQLite has no such setting.
const roomy = `DO $$
DECLARE
	name TEXT;
BEGIN
	FOR name IN SELECT relname FROM pg_class WHERE oid IN ('grants'::regclass, 'budgets'::regclass, 'users'::regclass)
		AND NOT COALESCE(reloptions::TEXT LIKE '%fillfactor=%', FALSE)
	LOOP
		EXECUTE format('ALTER TABLE %I SET (fillfactor = 70)', name);
	END LOOP;
END $$`

// burdens are constraints that cost each sign-in and can never act. PostgreSQL looks at every CHECK of a row whenever any column of it changes, 9 µs
// each, and for every reference it reads and locks the row that is named: one application's, for all that it writes at once. Users, applications and
// accounts are never deleted, and what writes these rows has read them. The columns that are checked get values that this program has checked, and SQLite keeps all of
// the constraints, under the same tests; it cannot drop one, so this is no migration.
const burdens = `SELECT CAST(CAST(conrelid AS regclass) AS TEXT), quote_ident(conname),
	-- in the order in which who writes takes them
	concat_ws(', ', CASE WHEN confrelid = 'users'::regclass THEN 'users' END, CAST(conrelid AS regclass), CASE WHEN confrelid NOT IN (0, 'users'::regclass) THEN CAST(confrelid AS regclass) END)
	FROM pg_constraint
	WHERE contype = 'f' AND conrelid IN ('approvals'::regclass, 'callback_tries'::regclass, 'sent_codes'::regclass, 'sends'::regclass)
		AND confrelid IN ('accounts'::regclass, 'applications'::regclass, 'users'::regclass)
	OR contype = 'c' AND conrelid IN ('approvals'::regclass, 'grants'::regclass)
		AND conname IN ('approvals_status_check', 'grants_digits_check', 'grants_period_check', 'grants_method_check')`

// lighten drops the burdens. What is in use for too long, or not ours to change, stays until the next Migrate: nothing but time depends on it.
func lighten(ctx context.Context, db *sql.DB) error {
	found, err := findBurdens(ctx, db)
	if err != nil {
		return err
	}
	for _, c := range found {
		for range tries {
			// Another node may have dropped it meanwhile.
			_, err = db.ExecContext(ctx, `SET LOCAL lock_timeout = '250ms'; LOCK TABLE `+c.locks+` IN ACCESS EXCLUSIVE MODE; ALTER TABLE `+c.table+` DROP CONSTRAINT IF EXISTS `+c.name)
			if err == nil || !isThrownBack(err) {
				break
			}
		}
		if err != nil && !isThrownBack(err) && !isForbidden(err) {
			return err
		}
	}
	return nil
}

// burden is a constraint, quoted, and the tables that its end takes.
type burden struct{ table, name, locks string }

func findBurdens(ctx context.Context, db *sql.DB) ([]burden, error) {
	rows, err := db.QueryContext(ctx, burdens)
	return collect(rows, err, func(r scanner) (c burden, err error) { return c, r.Scan(&c.table, &c.name, &c.locks) })
}

// Burdens returns what Migrate could not drop of PostgreSQL's constraints, because somebody used their tables or because they are another role's:
// each sign-in pays for them until it can.
func Burdens(ctx context.Context, url string) (names []string, err error) {
	postgres, err := isPostgres(url)
	if err != nil || !postgres {
		return nil, err
	}
	return names, besideService(ctx, url, func(db *sql.DB) error {
		found, err := findBurdens(ctx, db)
		for _, c := range found {
			names = append(names, c.name)
		}
		return err
	})
}

// Analyze brings PostgreSQL's statistics up to date, as autovacuum does within a minute. SQLite's plans look at none.
func Analyze(ctx context.Context, url string) error {
	postgres, err := isPostgres(url)
	if err != nil || !postgres {
		return err
	}
	return besideService(ctx, url, func(db *sql.DB) error {
		if _, err := db.ExecContext(ctx, `ANALYZE`); err != nil {
			return fmt.Errorf("bring the database's statistics up to date: %w", err)
		}
		return nil
	})
}

// SchemaVersion returns the version of the database's schema, 0 for none, and this program's. It changes nothing.
func SchemaVersion(ctx context.Context, url string) (current, newest int64, err error) {
	newest = newestVersion()
	s, err := openSide(url)
	if err != nil {
		return 0, newest, err
	}
	defer s.DB.Close()
	if _, err := os.Stat(url); !s.postgres && errors.Is(err, fs.ErrNotExist) {
		return 0, newest, nil // asking would make the file
	}
	current, err = s.version(ctx)
	return current, newest, err
}

func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB, options ...goose.ProviderOption) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db, files, options...)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	current, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the database's version: %w", err)
	}
	if current > newestVersion() {
		return ErrNewer
	}
	err = patiently(ctx, func() error {
		_, err := p.Up(ctx)
		return err
	})
	if err != nil {
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	return nil
}

// patience is how often a change of the schema tries to get a table that somebody uses, such as a backup; betweenTries lets everybody else to it.
const (
	patience     = 20
	betweenTries = 3 * time.Second
)

// patiently does what may wait too long for a table, until it gets it.
func patiently(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || !isTaken(err) {
			return err
		}
		if try == patience {
			return fmt.Errorf("%w: somebody uses the table, a backup perhaps: try again when that has ended; what is done already stays", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(betweenTries):
		}
	}
}

// newestVersion is that of this program's schema.
func newestVersion() (newest int64) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names {
		if version, err := goose.NumericComponent(name); err == nil {
			newest = max(newest, version)
		}
	}
	return newest
}

// version is that of a database's schema, 0 for none.
func (s *side) version(ctx context.Context) (version int64, err error) {
	made, err := s.has(ctx, "goose_db_version")
	if err == nil && made {
		err = s.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&version)
	}
	if err != nil {
		return 0, fmt.Errorf("read the database's version: %w", err)
	}
	return version, nil
}

// usable asks whether the schema is the one that this program's statements are written for, and the database whole.
func (s *side) usable(ctx context.Context) error {
	version, err := s.version(ctx)
	if err != nil {
		return err
	}
	switch newest := newestVersion(); {
	case version < newest:
		return ErrOlder
	case version > newest:
		return ErrNewer
	}
	half, err := s.has(ctx, copyState)
	if half {
		err = ErrHalfCopied
	}
	return err
}
