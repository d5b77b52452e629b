package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// This file owns SQLite: a file, one writing connection, and a few that read. Closures that wait for the writer share a
// transaction, a savepoint each, so that one disk flush acknowledges many answers.

const groupMax = 128 // closures in one transaction

type sqlite struct {
	*sqliteReaders
	writer *sqliteWriter
	tx     *tx
	beside bool // another process may be serving it
}

// sqliteAddress is how the driver is told of the file and of the settings of every connection.
func sqliteAddress(path string) (string, error) {
	abs, err := filepath.Abs(path)
	// A log of 16 MiB is folded in by the writer. That holds it up for less than its waits for a processor: see docs/performance.md, what was suspected.
	// The string must begin with file:, or SQLite's own options are cut off unseen. Settings go here, because a
	// PRAGMA given later would stay with one pooled connection only.
	return "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(abs) +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_pragma=temp_store(MEMORY)&_pragma=wal_autocheckpoint(4000)", err
}

// OpenSQLite opens or creates the database file and brings its schema up to date.
// Only one process may serve it; the caller sees to that (package claim).
func OpenSQLite(ctx context.Context, path string) (*Store, error) {
	return openSQLite(ctx, Config{URL: path})
}

// bulk are the settings of Config.Bulk: room for all pages of the indexes of a million users, which an import touches at random, and a log that is
// folded into the file when each of them was written several times. They are not part of the address, because the driver sorts what stands there:
// of two values the one with the higher first digit would count.
var bulk = []string{`PRAGMA cache_size = -96000`, `PRAGMA wal_autocheckpoint = 64000`}

// writing are the settings of the connection that writes.
const writing = "&_pragma=cache_size(-16000)"

// reading are the settings of connections that only read: what they remember of the file is worthless after the next commit, so it is little.
const reading = "&_pragma=query_only(1)&_pragma=cache_size(-4000)"

func openSQLite(ctx context.Context, cfg Config) (*Store, error) {
	path, beside := cfg.URL, cfg.Beside
	dsn, err := sqliteAddress(path)
	if err != nil {
		return nil, err
	}
	mode := os.O_RDWR
	if !beside {
		mode |= os.O_CREATE // here, because SQLite would let everybody on the machine read it; its log gets the same mode
	}
	file, err := os.OpenFile(path, mode, 0o600)
	if err != nil {
		return nil, err
	}
	file.Close()
	setUp, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	setUp.SetMaxOpenConns(1)
	if !beside {
		err = migrate(ctx, goose.DialectSQLite3, setUp)
	}
	if err == nil {
		err = (&side{DB: setUp}).usable(ctx)
	}
	if err := errors.Join(err, setUp.Close()); err != nil {
		return nil, err
	}
	conn, err := openSQLiteConn(ctx, dsn+writing)
	if err != nil {
		return nil, err
	}
	writer := &sqliteWriter{sqliteConn: conn}
	if cfg.Bulk {
		for _, pragma := range bulk {
			err = errors.Join(err, writer.control(pragma))
		}
		if err != nil {
			return nil, errors.Join(err, writer.close())
		}
	}
	// Enough that a request seldom waits for a reader, few enough that readers which never pause do not starve the writer of processor time.
	readers := newSQLiteReaders(dsn+reading, max(4, 2*runtime.NumCPU()))
	db := &sqlite{sqliteReaders: readers, beside: beside, writer: writer, tx: &tx{on: writer, alone: true, asked: map[string][]string{}}}
	return &Store{engine: db, group: startGroup(1, groupMax, db.commit)}, nil
}

func (db *sqlite) oneProcess() bool { return !db.beside }

func (db *sqlite) ping(ctx context.Context) error {
	rows, err := db.query(ctx, `SELECT 1`, nil)
	if err != nil {
		return err
	}
	return rows.Close()
}

func (db *sqlite) close() error {
	err := db.sqliteReaders.close()
	// The driver leaves the log beside the file. Folded in, the file alone is the database, for whoever copies the folder.
	how := "PRAGMA wal_checkpoint(TRUNCATE)"
	if db.beside {
		how = "PRAGMA wal_checkpoint(PASSIVE)" // holds nobody up
	}
	var busy, pages, folded int
	return errors.Join(err, db.writer.pragma(how, &busy, &pages, &folded), db.writer.close())
}

// commit runs one batch and tells each writer its outcome, after the flush.
//
// Hardly a closure fails after it wrote something, and savepoints cost a third of the writer's time: SQLite copies every page that is changed
// inside of one. So a batch runs without any at first. When it turns out that one was needed, nothing is committed and it runs again with them.
func (db *sqlite) commit(batch []write) {
	if len(batch) == 1 {
		batch[0].done <- db.commitOne(batch[0])
		return
	}
	outcomes, err := db.together(batch, true)
	for i, w := range batch {
		if err != nil {
			outcomes[i] = err // nothing of this batch is in the database
		}
		w.done <- outcomes[i]
	}
}

// together runs a batch in one transaction, and again with savepoints when it was regretted.
func (db *sqlite) together(batch []write, hasty bool) (outcomes []error, err error) {
	outcomes = make([]error, len(batch))
	err = db.begin()
	if err == nil {
		db.writer.begin(hasty)
		for i := 0; i < len(batch) && db.writer.regret == nil; i++ {
			if outcomes[i] = batch[i].ctx.Err(); outcomes[i] == nil {
				outcomes[i] = db.tx.savepoint(func() error { return batch[i].fn(db.tx) })
			}
		}
		regretted := db.writer.regret != nil
		db.writer.begin(false)
		if regretted {
			db.tx.abandon()
			return db.together(batch, false)
		}
		err = db.end()
	}
	if err != nil {
		db.tx.abandon()
	}
	return outcomes, err
}

func (db *sqlite) begin() error {
	db.tx.chain = chain{}
	clear(db.tx.asked)
	return db.tx.control("BEGIN IMMEDIATE")
}

func (db *sqlite) end() error {
	if err := db.tx.keepHead(context.Background()); err != nil {
		return err
	}
	if err := db.tx.control("COMMIT"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return nil
}

// commitOne runs a write that has its transaction to itself. If it fails the transaction is undone: there is no savepoint, for which
// SQLite would keep a copy of every page that is changed.
func (db *sqlite) commitOne(w write) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	err := db.begin()
	if err == nil {
		err = guarded(func() error { return w.fn(db.tx) })
	}
	if err == nil {
		err = db.end()
	}
	if err != nil {
		db.tx.abandon()
	}
	return err
}

var locks = regexp.MustCompile(` FOR (NO KEY |KEY )?(UPDATE|SHARE)( OF \w+)?( SKIP LOCKED)?`)

// withoutLocks takes PostgreSQL's row locks out of a statement. SQLite knows none and needs none: it has one writer.
func withoutLocks(q string) string { return locks.ReplaceAllString(q, "") }
