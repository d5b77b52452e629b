//go:build unix

package store_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/store"
)

// scansAllowed are the statements that may read a whole table or index, by what SQLite says of them, and why they may.
var scansAllowed = map[string]string{
	"SCAN accounts": "one row, at the start",
	"SCAN seal_keys USING INDEX sqlite_autoindex_seal_keys_1": "a handful of rows, at the start",
	"SCAN push_keys USING INDEX sqlite_autoindex_push_keys_1": "a handful of rows, the newest first",
	"SCAN operator_sessions":                                  "the operators' sessions, when one signs in",
	"SCAN setup_links":                                        "one row for each account",
	"SCAN o":                                                  "the operators, when an account is set up",
	"SCAN outbox USING INDEX outbox_newest":                   "in the index's order, up to a limit",
	"SCAN ended":                                              "the rows that were just found to be over, up to a limit",
	"SCAN jobs USING INDEX jobs_held":                         "only what is held, which is nearly always nothing",
	"SCAN newest":                                             "the rows of a subquery with a limit, each found by an index",
	"SCAN jobs USING COVERING INDEX jobs_app":                 "the first row in the index's order, or counted up to a limit",
	"SCAN jobs":                                               "when a callback is turned off, which ends what is held too; an index for that would cost every decision",
	"SCAN old":                                                "the tries of one webhook that were just found to be too many, up to a limit",
	"SCAN app":                                                "the applications that have jobs, a step in the index for each",

	"SCAN operators": "a handful of rows, when an operator looks at them",
	"SCAN seal_keys": "a handful of rows, when one of them leaves",
	"SCAN seal_keys USING COVERING INDEX sqlite_autoindex_seal_keys_1": "a handful of rows, when they are wrapped anew",
	"SCAN applications USING INDEX applications_struck":                "of those, few are struck; when somebody asks",
	"SCAN w":            "counted up to a limit",
	"SCAN h":            "counted up to a limit",
	"SCAN CONSTANT ROW": "a row of such counts",
}

// TestNoStatementScans: the cost of an operation must not grow with the number of users (design section 5), so SQLite finds every
// row by an index.
func TestNoStatementScans(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.db")
	s, err := store.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, st := range statements(t) {
		for _, step := range plan(t, db, st) {
			if strings.HasPrefix(step, "SCAN") && scansAllowed[step] == "" {
				t.Errorf("%s: %s\n%s", st.position, step, st.sql)
			}
		}
	}
}

// plan returns the steps of SQLite's plan for a statement.
func plan(t *testing.T, db *sql.DB, st statement) (steps []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+store.WithoutLocks(st.sql), slices.Repeat([]any{nil}, strings.Count(st.sql, "$"))...)
	if err != nil {
		t.Fatalf("%s: %v", st.position, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	return steps
}

// seqScansAllowed are the tables that PostgreSQL may read whole, by the statements that scansAllowed names.
var seqScansAllowed = []string{"accounts", "seal_keys", "operator_sessions", "setup_links", "operators", "outbox", "jobs"}

// wholeIndexes are the indexes that PostgreSQL may read from their beginning.
var wholeIndexes = []string{
	"audit_unlinked", "approvals_finished", "outbox_newest", "push_keys_pkey", // in the index's order, up to a limit
	"jobs_app", "jobs_held", // the same
	"seal_keys_pkey", "applications_struck", // a handful
	"grants_device", // by the poll of changed grants (nodes.go), for the first minute of a database, when there are no statistics
}

// firstMinute are indexes that PostgreSQL may read whole for a column that does not lead them, because in a table without statistics
// the index that is led by it costs as much: grants_device, jobs_next, sends_at, sends_number.
var firstMinute = []string{"grants_live device_id ", "jobs_app run_at ", "sends_untyped at ", "sends_untyped number "}

// TestNoStatementScansPostgreSQL asks PostgreSQL for the plan that it keeps for a prepared statement. With the settings of
// our connections it reads a whole table only where no index helps.
func TestNoStatementScansPostgreSQL(t *testing.T) {
	db := connect(t, postgrestest.Database(t, store.Migrate))
	if _, err := db.Exec(t.Context(), store.Settings); err != nil {
		t.Fatal(err)
	}
	leads := leadingColumns(t, db)
	for i, st := range statements(t) {
		name := fmt.Sprint("s", i)
		d, err := db.Prepare(t.Context(), name, st.sql)
		if err != nil {
			t.Errorf("%s: %v", st.position, err)
			continue
		}
		call := "EXPLAIN EXECUTE " + name
		if n := len(d.ParamOIDs); n > 0 {
			call += "(" + strings.Join(slices.Repeat([]string{"NULL"}, n), ", ") + ")"
		}
		rows, _ := db.Query(t.Context(), call)
		steps, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Errorf("%s: %v", st.position, err)
		}
		for k, step := range steps {
			_, index, scans := strings.Cut(step, "Scan using ")
			for _, kind := range []string{"Scan Backward using ", "Bitmap Index Scan on "} {
				if _, other, ok := strings.Cut(step, kind); ok {
					index, scans = other, true
				}
			}
			if scans {
				index = strings.Fields(index)[0]
				var condition string
				if k+1 < len(steps) {
					_, condition, _ = strings.Cut(steps[k+1], "Index Cond: ")
				}
				led := regexp.MustCompile(`\(` + regexp.QuoteMeta(leads[index]) + ` (=|<|>|IS )`).MatchString(condition)
				if leads[index] == "" {
					t.Fatalf("no index %s", index)
				}
				first := func(f string) bool { return strings.HasPrefix(index+" "+strings.TrimLeft(condition, "("), f) }
				if !led && !slices.ContainsFunc(firstMinute, first) && !slices.Contains(wholeIndexes, index) {
					t.Errorf("%s reads %s whole:\n%s\n%s", st.position, index, strings.Join(steps, "\n"), st.sql)
				}
			}
			if _, of, scans := strings.Cut(step, "Seq Scan on "); scans && !slices.Contains(seqScansAllowed, strings.Fields(of)[0]) {
				t.Errorf("%s:\n%s\n%s", st.position, strings.Join(steps, "\n"), st.sql)
			}
		}
	}
}

// leadingColumns returns the first column, or what stands in its place, of each index.
func leadingColumns(t *testing.T, db *pgx.Conn) map[string]string {
	t.Helper()
	rows, _ := db.Query(t.Context(), `SELECT CAST(CAST(indexrelid AS regclass) AS TEXT) AS index, pg_get_indexdef(indexrelid, 1, TRUE) AS leads FROM pg_index`)
	leads := map[string]string{}
	var index, column string
	if _, err := pgx.ForEachRow(rows, []any{&index, &column}, func() error { leads[index] = column; return nil }); err != nil {
		t.Fatal(err)
	}
	return leads
}
