package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"

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
var ErrOlder = errors.New("the database has an older version's schema, or none: run countersign migrate first")

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
	cfg, err := postgresConfig(url)
	if err != nil {
		return err
	}
	db := stdlib.OpenDB(*cfg.ConnConfig)
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return fmt.Errorf("reach PostgreSQL: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // seconds between tries, and tries
	if err != nil {
		return err
	}
	return migrate(ctx, goose.DialectPostgres, db, goose.WithSessionLocker(locker))
}

// SchemaVersion returns the version of the database's schema, 0 for none, and this program's. It changes nothing.
func SchemaVersion(ctx context.Context, url string) (current, newest int64, err error) {
	newest = newestVersion()
	postgres, err := isPostgres(url)
	if err != nil {
		return 0, newest, err
	}
	hasSchema, dsn := `SELECT COUNT(*) FROM sqlite_master WHERE name = 'goose_db_version'`, ""
	var db *sql.DB
	if postgres {
		cfg, err := postgresConfig(url)
		if err != nil {
			return 0, newest, err
		}
		hasSchema = `SELECT COUNT(to_regclass('goose_db_version'))`
		db = stdlib.OpenDB(*cfg.ConnConfig)
	} else {
		if _, err := os.Stat(url); errors.Is(err, fs.ErrNotExist) {
			return 0, newest, nil
		}
		if dsn, err = sqliteAddress(url); err == nil {
			db, err = sql.Open("sqlite", dsn+"&_pragma=query_only(1)")
		}
		if err != nil {
			return 0, newest, err
		}
	}
	defer db.Close()
	var tables int
	if err = db.QueryRowContext(ctx, hasSchema).Scan(&tables); err == nil && tables > 0 {
		err = db.QueryRowContext(ctx, `SELECT COALESCE(MAX(version_id), 0) FROM goose_db_version WHERE is_applied`).Scan(&current)
	}
	if err != nil {
		err = fmt.Errorf("read the database's version: %w", err)
	}
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
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	return nil
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
