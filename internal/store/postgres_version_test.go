//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/store/storetest"
)

// TestMigrateAtOnce: three nodes that start at once apply each migration once.
func TestMigrateAtOnce(t *testing.T) {
	server := postgrestest.Start(t)
	url := server.URL("postgres")
	if _, err := store.Open(t.Context(), store.Config{URL: url}); !errors.Is(err, store.ErrOlder) || !strings.Contains(err.Error(), "countersign migrate") {
		t.Errorf("an empty database: %v", err)
	}
	if err := together(3, func() error { return store.Migrate(t.Context(), url) }); err != nil {
		t.Fatal(err)
	}
	db := connect(t, url)
	var applied, different int
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*), COUNT(DISTINCT version_id) FROM goose_db_version`).Scan(&applied, &different); err != nil || applied != different || applied < 2 {
		t.Errorf("%d versions applied, %d different: %v", applied, different, err)
	}
	openStore(t, url)
	if _, err := db.Exec(t.Context(), `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"migrate": store.Migrate(t.Context(), url), "open": second(store.Open(t.Context(), store.Config{URL: url}))} {
		if !errors.Is(err, store.ErrNewer) {
			t.Errorf("%s a newer database: %v", what, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestTwoVersions runs this version's code while the schema becomes a newer one's: each table has two more columns, and
// there is a table more. Statements list their columns, so nothing notices (CONTRIBUTING, Schema).
func TestTwoVersions(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store {
		url := postgrestest.Database(t, store.Migrate)
		s := openStore(t, url)
		db := connect(t, url)
		rows, _ := db.Query(t.Context(), `SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'goose_db_version'`)
		tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil || len(tables) < 20 {
			t.Fatal(tables, err)
		}
		newer := `CREATE TABLE added (id TEXT PRIMARY KEY);`
		for _, table := range tables {
			newer += fmt.Sprintf(`ALTER TABLE %s ADD COLUMN added_text TEXT, ADD COLUMN added_number BIGINT NOT NULL DEFAULT 7;`, table)
		}
		if _, err := db.Exec(t.Context(), newer); err != nil {
			t.Fatal(err)
		}
		return s
	}, "Codes", "Approvals")
}

// connect opens a connection beside the store's until the test ends.
func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	db, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(context.WithoutCancel(t.Context())) })
	return db
}

// TestRoomOnPages: tables whose rows change with each code keep room for that, unless an operator has said how much.
func TestRoomOnPages(t *testing.T) {
	url := postgrestest.Database(t, store.Migrate)
	db := connect(t, url)
	if _, err := db.Exec(t.Context(), `ALTER TABLE grants SET (fillfactor = 55); ALTER TABLE budgets RESET (fillfactor); ALTER TABLE budgets SET (autovacuum_enabled = true)`); err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	for table, want := range map[string]string{"grants": "{fillfactor=55}", "budgets": "{autovacuum_enabled=true,fillfactor=70}", "users": "{fillfactor=70}"} {
		var options string
		if err := db.QueryRow(t.Context(), `SELECT reloptions::TEXT FROM pg_class WHERE oid = CAST($1 AS REGCLASS)`, table).Scan(&options); err != nil || options != want {
			t.Errorf("%s has %s, %v; want %s", table, options, err, want)
		}
	}
}

// TestConstraintsThatOnlyCost: what each sign-in would pay for is dropped, of an older version's database too; not while somebody uses the tables,
// which is no reason to fail.
func TestConstraintsThatOnlyCost(t *testing.T) {
	url := postgrestest.Database(t, store.Migrate)
	db := connect(t, url)
	kept := func() (names []string) {
		t.Helper()
		rows, err := db.Query(t.Context(), `SELECT conname FROM pg_constraint WHERE contype IN ('c', 'f') AND conrelid IN
			('approvals'::regclass, 'grants'::regclass, 'callback_tries'::regclass, 'sent_codes'::regclass, 'sends'::regclass) ORDER BY conname`)
		if err == nil {
			names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	want := []string{"approvals_check", "grants_app_id_fkey", "grants_device_id_fkey", "grants_user_id_fkey", "sent_codes_tries_left_check"}
	if got := kept(); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	older := `ALTER TABLE approvals ADD FOREIGN KEY (user_id) REFERENCES users (id);
		ALTER TABLE grants ADD CONSTRAINT grants_digits_check CHECK (digits BETWEEN 6 AND 8)`
	if _, err := db.Exec(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	leave := busy(t, url, `LOCK TABLE approvals, grants IN ROW EXCLUSIVE MODE`)
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Errorf("while the tables are in use: %v", err)
	}
	left, err := store.Burdens(t.Context(), url)
	if got := kept(); len(got) != len(want)+2 || !slices.Equal(left, []string{"approvals_user_id_fkey", "grants_digits_check"}) {
		t.Errorf("while the tables are in use, kept %q, told of %q, %v", got, left, err)
	}
	// Two nodes that found the same ones drop them in turn.
	both := make(chan struct{})
	go func() {
		defer close(both)
		if err := together(2, func() error { return store.Migrate(t.Context(), url) }); err != nil {
			t.Error(err)
		}
	}()
	waits(t, db, 2, both)
	leave()
	<-both
	left, err = store.Burdens(t.Context(), url)
	if got := kept(); !slices.Equal(got, want) || left != nil {
		t.Errorf("at the next upgrade, kept %q, want %q; told of %q, %v", got, want, left, err)
	}
}

// busy begins a transaction of somebody else's and returns how it ends.
func busy(t *testing.T, url, statement string) (leave func()) {
	t.Helper()
	tx, err := connect(t, url).Begin(t.Context())
	if err == nil {
		_, err = tx.Exec(t.Context(), statement)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if err := tx.Rollback(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// waits returns when n connections wait to have a table for themselves, or when what would wait has ended.
func waits(t *testing.T, db *pgx.Conn, n int, ended <-chan struct{}) {
	t.Helper()
	for waiting := 0; waiting < n; {
		select {
		case <-ended:
			t.Error("nothing waited for a table")
			return
		default:
		}
		if err := db.QueryRow(t.Context(), `SELECT COUNT(DISTINCT pid) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUpgradeBesideService: an upgrade from a version of before, while its nodes write and a backup reads, makes nobody fail and nobody wait
// for the backup's end.
func TestUpgradeBesideService(t *testing.T) {
	url := postgrestest.Empty(t)
	upTo(t, url, 24)
	db := connect(t, url)
	const asked = `INSERT INTO approvals (uuid, id, app_id, user_id, status, app_name, message, details, hidden, logos, logo, match_mode, match_value, nonce, life, created_at, expires_at, updated_at)
		VALUES ($1, $1, 'app', 'user', 'pending', '', '', '[]', 'null', 'null', '', '', '', '', 0, 1, 0, 1)`
	const waiting = `INSERT INTO jobs (id, kind, app_id, ref, attempts, created_at, run_at) VALUES ($1, 'push', 'app', $1, 0, 1, 1)`
	for _, q := range []string{
		`INSERT INTO accounts (id, name, owner_email, created_at) VALUES ('account', '', '', 1)`,
		`INSERT INTO applications (id, serial, account_id, name, settings, created_at) VALUES ('app', 1, 'account', '', '{}', 1)`,
		`INSERT INTO users (id, app_id, authy_id, country_code, phone, email, created_at) VALUES ('user', 'app', 1, 1, '+12025550123', '', 1)`,
	} {
		if _, err := db.Exec(t.Context(), q); err != nil {
			t.Fatalf("%.40s: %v", q, err)
		}
	}
	endBackup := busy(t, url, `LOCK TABLE approvals, jobs IN ACCESS SHARE MODE`)

	done := make(chan struct{})
	var nodes sync.WaitGroup
	var written atomic.Int64
	for i, order := range [][]string{{asked, waiting}, {waiting, asked}} {
		conn := connect(t, url)
		nodes.Go(func() {
			_, err := conn.Exec(t.Context(), store.Settings)
			for k := 0; err == nil; k++ {
				select {
				case <-done:
					return
				default:
				}
				err = pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
					for _, q := range order {
						if _, err := tx.Exec(t.Context(), q, fmt.Sprint(i, "-", k)); err != nil {
							return err
						}
					}
					return nil
				})
				written.Add(1)
			}
			t.Errorf("a node of the version before: %v", err)
		})
	}

	upgraded := make(chan struct{})
	go func() {
		defer close(upgraded)
		if err := store.Migrate(t.Context(), url); err != nil {
			t.Errorf("the upgrade: %v", err)
		}
	}()
	waits(t, db, 1, upgraded)
	for n := written.Load(); written.Load() < n+100 && !t.Failed(); { // while the backup goes on
		runtime.Gosched()
	}
	endBackup()
	<-upgraded
	close(done)
	nodes.Wait()
	if current, newest, err := store.SchemaVersion(t.Context(), url); current != newest || err != nil {
		t.Errorf("version %d of %d, %v", current, newest, err)
	}
	var rows int64
	if err := db.QueryRow(t.Context(), `SELECT (SELECT COUNT(*) FROM approvals) + (SELECT COUNT(*) FROM jobs)`).Scan(&rows); rows != 2*written.Load() || err != nil {
		t.Errorf("%d rows of %d transactions, %v", rows, written.Load(), err)
	}
}

// upTo brings an empty database to an older version.
func upTo(t *testing.T, url string, version int64) {
	t.Helper()
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	p, err := goose.NewProvider(goose.DialectPostgres, db, os.DirFS("migrations"))
	if err == nil {
		_, err = p.UpTo(t.Context(), version)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestUpgradeFromDraft: databases that had migrations 25 to 27 as they were for a day, when 25 made an index that 27 makes now, and 27 dropped what 28 drops,
// are brought up to date from wherever they were.
func TestUpgradeFromDraft(t *testing.T) {
	const made, dropped = `CREATE INDEX jobs_next ON jobs (run_at) WHERE run_at > 0`, `DROP INDEX jobs_due`
	for version, as := range map[int64][]string{25: {made}, 26: {made}, 27: {dropped}} {
		url := postgrestest.Empty(t)
		upTo(t, url, version)
		db := connect(t, url)
		for _, q := range as {
			if _, err := db.Exec(t.Context(), q); err != nil {
				t.Fatal(err)
			}
		}
		if err := store.Migrate(t.Context(), url); err != nil {
			t.Errorf("from version %d: %v", version, err)
		}
		rows, _ := db.Query(t.Context(), `SELECT indexname FROM pg_indexes WHERE tablename = 'jobs' ORDER BY indexname`)
		indexes, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if want := []string{"jobs_app", "jobs_callback", "jobs_held", "jobs_next", "jobs_pkey"}; err != nil || !slices.Equal(indexes, want) {
			t.Errorf("from version %d: %q, %v; want %q", version, indexes, err, want)
		}
	}
}
