package store

import (
	"context"
	"strconv"
	"time"
)

// This file owns what `countersign doctor` asks the database about itself.

// Facts are what a database says of itself.
type Facts struct {
	Engine  string
	Version string
	Bytes   int64
	// Unsafe are settings with which an acknowledged answer could be lost (INV-12), each with what to do.
	Unsafe []string
	// Clock is the database's time, as far as it has one of its own.
	Clock time.Time
}

// oldestPostgres is the first version that is supported, as PostgreSQL numbers them.
const oldestPostgres = 140000

// Diagnose asks the database about itself.
func (s *Store) Diagnose(ctx context.Context) (Facts, error) { return s.engine.diagnose(ctx) }

func (db *sqlite) diagnose(ctx context.Context) (f Facts, err error) {
	f.Engine = "SQLite"
	var journal string
	var synchronous, pages, size int64
	conn, err := db.take(ctx)
	if err != nil {
		return f, err
	}
	defer db.give(conn)
	for _, ask := range []struct {
		q    string
		into any
	}{
		{`SELECT sqlite_version()`, &f.Version},
		{`PRAGMA journal_mode`, &journal},
		{`PRAGMA synchronous`, &synchronous},
		{`PRAGMA page_count`, &pages},
		{`PRAGMA page_size`, &size},
	} {
		if err := conn.pragma(ask.q, ask.into); err != nil {
			return f, err
		}
	}
	f.Bytes = pages * size
	if journal != "wal" {
		f.Unsafe = append(f.Unsafe, "journal_mode is "+journal+": put the file on a local disk, where the write-ahead log works")
	}
	if synchronous < 2 {
		f.Unsafe = append(f.Unsafe, "synchronous is below FULL: use a build of countersign that was not changed")
	}
	return f, nil
}

func (db *postgres) diagnose(ctx context.Context) (f Facts, err error) {
	f.Engine = "PostgreSQL"
	var number, now int64
	var flush, commit, whole string
	err = db.reads.QueryRow(ctx, `SELECT current_setting('server_version'), CAST(current_setting('server_version_num') AS BIGINT), pg_database_size(current_database()),
		current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
		CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)`).Scan(&f.Version, &number, &f.Bytes, &flush, &commit, &whole, &now)
	if err != nil {
		return f, err
	}
	f.Clock = fromMS(now)
	if number < oldestPostgres {
		f.Unsafe = append(f.Unsafe, "version "+f.Version+" is older than "+strconv.Itoa(oldestPostgres/10000)+": upgrade PostgreSQL")
	}
	for name, value := range map[string]string{"fsync": flush, "synchronous_commit": commit, "full_page_writes": whole} {
		if value == "off" {
			f.Unsafe = append(f.Unsafe, name+" is off: set it to on in postgresql.conf, or answers that were acknowledged can be lost")
		}
	}
	return f, nil
}

// Struck is an application whose callback failed lately.
type Struck struct {
	Name       string
	Strikes    int
	DisabledAt time.Time // zero: it is not
}

// StruckCallbacks returns the applications whose callbacks were disabled or have strikes.
func (s *Store) StruckCallbacks(ctx context.Context) ([]Struck, error) {
	rows, err := s.query(ctx, `SELECT name, callback_strikes, disabled_at FROM applications WHERE callback_strikes > 0 OR disabled_at > 0 ORDER BY name`)
	return collect(rows, err, func(r scanner) (k Struck, err error) {
		var disabled int64
		err = r.Scan(&k.Name, &k.Strikes, &disabled)
		k.DisabledAt = fromMS(disabled)
		return k, err
	})
}
