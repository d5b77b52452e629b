//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

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
		rows, err := db.Query(t.Context(), `SELECT conname FROM pg_constraint WHERE conrelid IN ('approvals'::regclass, 'grants'::regclass) AND contype IN ('c', 'f') ORDER BY conname`)
		if err == nil {
			names, err = pgx.CollectRows(rows, pgx.RowTo[string])
		}
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	want := []string{"approvals_check", "grants_app_id_fkey", "grants_device_id_fkey", "grants_user_id_fkey"}
	if got := kept(); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	older := `ALTER TABLE approvals ADD FOREIGN KEY (user_id) REFERENCES users (id);
		ALTER TABLE grants ADD CONSTRAINT grants_digits_check CHECK (digits BETWEEN 6 AND 8)`
	if _, err := db.Exec(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	busy, err := connect(t, url).Begin(t.Context())
	if err == nil {
		_, err = busy.Exec(t.Context(), `LOCK TABLE approvals, grants IN ROW EXCLUSIVE MODE`)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Errorf("while the tables are in use: %v", err)
	}
	if got := kept(); len(got) != len(want)+2 {
		t.Errorf("while the tables are in use, kept %q", got)
	}
	if err := busy.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	if got := kept(); !slices.Equal(got, want) {
		t.Errorf("at the next upgrade, kept %q, want %q", got, want)
	}
}
