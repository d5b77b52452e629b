//go:build unix

package store_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// This file counts what operations touch among few and among many users: pages of SQLite, rows of PostgreSQL. A count is the same on every machine.

const fewUsers, manyUsers = 1_000, 10_000

// often is how often each operation is done for a count.
const often = 20

// crowd are one person's operations in a database full of others.
type crowd struct {
	*servertest.Server
	t     *testing.T
	app   tenant.Application
	user  tenant.User
	phone *servertest.Phone
}

// among puts a person among n others, each with a device, a grant, a budget, a sent code, two finished approvals and their tries.
func among(t *testing.T, db *store.Store, n int) *crowd {
	t.Helper()
	s := servertest.On(t, db)
	app := s.App(t, "Bank", func(set *tenant.Settings) { set.WaitingMax, set.UnapprovedHour, set.UnapprovedBurst = 1000, 0, 0 })
	c := &crowd{Server: s, t: t, app: app, user: s.User(t, app, "ana@example.com", "202-555-0123")}
	c.phone = s.Phone(t, app, c.user)
	c.approve()
	c.text()
	numbers := fmt.Sprintf(` WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT `, n)
	for _, q := range []string{
		`INSERT INTO users (id, app_id, authy_id, country_code, phone, email, created_at)` + numbers + `id || n.i, app_id, 3000000000 + n.i, 1, '+1404' || (2000000 + n.i), email, created_at FROM n, users WHERE phone = '+12025550123'`,
		`INSERT INTO devices (id, name, platform, public_key, created_at, seen_at)` + numbers + `id || n.i, name, platform, public_key || n.i, created_at, seen_at FROM n, devices`,
		`INSERT INTO grants (id, device_id, user_id, app_id, secret, digits, period, method, created_at)` + numbers + `n.i, device_id || n.i, user_id || n.i, app_id, secret, digits, period, method, created_at FROM n, grants`,
		`INSERT INTO budgets (subject, wrong, locked_until, level)` + numbers + `subject || n.i, wrong, locked_until, level FROM n, budgets WHERE subject LIKE 'user:%'`,
		`INSERT INTO sent_codes (id, app_id, user_id, address, channel, hash, action, tries_left, created_at, expires_at)` + numbers +
			`id || n.i, app_id, user_id || n.i, address || n.i, channel, hash, action, tries_left, created_at, expires_at FROM n, sent_codes`,
		// Within the hours that the operations take, to numbers like the person's, and typed.
		`INSERT INTO sends (id, account_id, app_id, number, channel, country, prefix, address, at, typed)` + numbers +
			`'send' || n.i, account_id, app_id, prefix || (1000 + n.i % 9000), channel, country, prefix, address, at + (n.i % 1440) * 60000, 1 FROM n, sends`,
		`INSERT INTO callback_tries (id, app_id, uuid, url, at, status, error, took)` + numbers + `'try' || n.i, app_id, uuid || n.i, '', created_at, 200, '', 1 FROM n, approvals`,
		`INSERT INTO approvals (uuid, id, app_id, user_id, status, app_name, message, details, hidden, logos, logo, match_mode, match_value, nonce, life, created_at, expires_at, updated_at, processed_at, grant_id)` + numbers +
			`uuid || n.i, id, app_id, user_id || (n.i / 2 + 1), status, app_name, message, details, hidden, logos, logo, match_mode, match_value, nonce, life, created_at, expires_at, updated_at, processed_at, grant_id FROM n, approvals`,
		`DELETE FROM jobs`,
	} {
		if err := db.Exec(t.Context(), q); err != nil {
			t.Fatalf("%.60s: %v", q, err)
		}
	}
	s.Clock.Advance(time.Hour)
	return c
}

func (c *crowd) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// operations are what is counted.
var operations = []struct {
	name string
	do   func(c *crowd)
}{
	{"an app code", (*crowd).verify},
	{"an approval, asked for, read, answered and read", (*crowd).approve},
	{"a text message and its code", (*crowd).text},
	{"a text message to somebody who never typed a code", (*crowd).textStranger},
	{"what acts beside a device", (*crowd).beside},
	{"an approval that ends", (*crowd).end},
	{"a job that is claimed and given up", (*crowd).claim},
	{"retention of an approval, with it", (*crowd).forget},
}

func (c *crowd) verify() {
	c.Clock.Advance(30 * time.Second)
	code := otp.HOTP(c.phone.Grants[0].Secret, uint64(otp.Step(c.Clock.Now(), 30*time.Second)), 6)
	_, err := c.Codes.Verify(c.t.Context(), c.app, c.user, code, "")
	c.must(err)
}

func (c *crowd) approve() {
	asked := c.Ask(c.t, c.app, c.user, "Log in?")
	in, err := c.Approvals.Inbox(c.t.Context(), c.phone.Device)
	c.must(err)
	if len(in.Waiting) != 1 {
		c.t.Fatalf("%d wait", len(in.Waiting))
	}
	signature := c.phone.Sign(c.t, c.Approvals.Signed(asked, c.phone.Device.ID, approval.Approve, ""))
	_, err = c.Approvals.Answer(c.t.Context(), c.phone.Device, asked.UUID, approval.Answer{Decision: approval.Approve, Signature: signature})
	c.must(err)
	_, err = c.Approvals.Get(c.t.Context(), c.app.ID, asked.UUID)
	c.must(err)
}

func (c *crowd) text() {
	c.Clock.Advance(20 * time.Minute)
	_, err := c.Codes.Send(c.t.Context(), c.app, c.user, otp.Request{Channel: otp.SMS, Force: true})
	c.must(err)
	_, err = c.Codes.Verify(c.t.Context(), c.app, c.user, c.Delivered(c.t, c.user.Phone).Code, "")
	c.must(err)
}

func (c *crowd) textStranger() {
	c.must(c.Store.Exec(c.t.Context(), `UPDATE users SET confirmed_at = 0 WHERE phone = '`+c.user.Phone+`'`))
	c.text()
}

func (c *crowd) beside() {
	grants, err := c.Store.GrantsBeside(c.t.Context(), c.phone.Device.ID)
	c.must(err)
	if len(grants) != 1 {
		c.t.Fatalf("%d grants", len(grants))
	}
}

func (c *crowd) end() {
	c.Ask(c.t, c.app, c.user, "Log in?")
	c.Clock.Advance(24 * time.Hour)
	if n, err := c.Store.Expire(c.t.Context(), c.Clock.Now(), 100); n != 1 || err != nil {
		c.t.Fatalf("%d ended, %v", n, err)
	}
}

func (c *crowd) claim() {
	now := c.Clock.Now()
	c.must(c.Store.Exec(c.t.Context(), fmt.Sprintf(`INSERT INTO jobs (id, kind, app_id, ref, attempts, created_at, run_at) VALUES ('%s', 'push', '%s', '', 0, %d, %[3]d)`,
		ident.New(now), c.app.ID, now.UnixMilli())))
	claimed, err := c.Store.ClaimJobs(c.t.Context(), now, now.Add(job.Lease), 100)
	c.must(err)
	if len(claimed) == 0 {
		c.t.Fatal("nothing was claimed")
	}
	for _, j := range claimed {
		c.must(c.Store.RetryJob(c.t.Context(), j, time.Time{}))
	}
}

func (c *crowd) forget() {
	n, err := c.Store.Forget(c.t.Context(), c.Clock.Now(), store.Retention{Approvals: time.Minute}, 1)
	c.must(err)
	if n == 0 {
		c.t.Fatal("nothing was forgotten")
	}
}

// TestPagesTouched: an operation touches no more pages of SQLite among many users than the greater height of the trees makes it.
func TestPagesTouched(t *testing.T) {
	var of [2]*crowd
	for i, n := range []int{fewUsers, manyUsers} {
		of[i] = among(t, opened(t, filepath.Join(t.TempDir(), "countersign.db")), n)
		defer closeStore(t, of[i].Store)
	}
	for _, op := range operations {
		var touched [2]store.Touched
		for i, c := range of {
			op.do(c) // statements are prepared
			before, err := c.Store.Touched(t.Context())
			c.must(err)
			for range often {
				op.do(c)
			}
			after, err := c.Store.Touched(t.Context())
			c.must(err)
			touched[i] = after.Since(before)
		}
		few, many := touched[0], touched[1]
		t.Logf("measured: %s looks at %d pages and writes %d among %d users, at %d and writes %d among %d", op.name,
			few.Looked/often, few.Written/often, fewUsers, many.Looked/often, many.Written/often, manyUsers)
		if many.Looked > 2*few.Looked || many.Written > 2*few.Written {
			t.Errorf("%s touches %+v pages among %d users, %+v among %d", op.name, many, manyUsers, few, fewUsers)
		}
	}
}

// onPostgres is what PostgreSQL counts: rows read and changed, and pages looked at, which tells also what is read in an index and not wanted.
type onPostgres struct{ rows, pages int64 }

// TestRowsTouched: an operation touches as many rows of PostgreSQL among many users as among few, and not many more pages.
func TestRowsTouched(t *testing.T) {
	var touched [2][]onPostgres
	for i, n := range []int{fewUsers, manyUsers} {
		url := postgrestest.Database(t, store.Migrate)
		db := opened(t, url)
		c := among(t, db, n)
		closeStore(t, db)
		rush(t, url, n)
		for _, op := range operations {
			before := countTouched(t, url)
			c.Server = c.Beside(t, opened(t, url))
			for range often {
				op.do(c)
			}
			closeStore(t, c.Store)
			after := countTouched(t, url)
			touched[i] = append(touched[i], onPostgres{after.rows - before.rows, after.pages - before.pages})
		}
	}
	for k, op := range operations {
		few, many := touched[0][k], touched[1][k]
		t.Logf("measured: %s touches %d rows and %d pages among %d users, %d and %d among %d", op.name,
			few.rows/often, few.pages/often, fewUsers, many.rows/often, many.pages/often, manyUsers)
		if few.rows == 0 || few.pages == 0 || many.rows > few.rows+few.rows/10 || many.pages > 2*few.pages {
			t.Errorf("%d times %s touched %+v among %d users, %+v among %d", often, op.name, many, manyUsers, few, fewUsers)
		}
	}
}

// rush has as many others wait for an answer, as many jobs, and as many approvals behind one person, of which PostgreSQL's statistics know nothing yet: they
// are from before.
func rush(t *testing.T, url string, n int) {
	t.Helper()
	db := connect(t, url)
	for _, q := range []string{
		`ANALYZE`,
		fmt.Sprintf(`INSERT INTO approvals (uuid, id, app_id, user_id, status, app_name, message, details, hidden, logos, logo, match_mode, match_value, nonce, life, created_at, expires_at, updated_at)
			SELECT 'rush' || n, 'rush' || n, app_id, user_id || n, 'pending', app_name, message, details, hidden, logos, logo, match_mode, match_value, nonce, life, created_at, 0, updated_at
			FROM GENERATE_SERIES(1, %d) n, (SELECT * FROM approvals LIMIT 1) one`, n),
		fmt.Sprintf(`INSERT INTO approvals (uuid, id, app_id, user_id, status, app_name, message, details, hidden, logos, logo, match_mode, match_value, nonce, life, created_at, expires_at, updated_at, processed_at)
			SELECT 'past' || n, 'past' || n, u.app_id, u.id, 'denied', app_name, message, details, hidden, logos, logo, match_mode, match_value, nonce, life, 1000 + n, 0, 1000 + n, one.processed_at
			FROM GENERATE_SERIES(1, %d) n, (SELECT * FROM approvals WHERE processed_at > 0 LIMIT 1) one, users u WHERE u.phone = '+12025550123'`, n),
		fmt.Sprintf(`INSERT INTO jobs (id, kind, app_id, ref, attempts, created_at, run_at)
			SELECT 'rush' || n, 'callback', app_id, 'rush' || n, 0, created_at, 9000000000000 FROM GENERATE_SERIES(1, %d) n, (SELECT * FROM approvals LIMIT 1) one`, n),
	} {
		if _, err := db.Exec(t.Context(), q); err != nil {
			t.Fatalf("%.60s: %v", q, err)
		}
	}
	if err := db.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// countTouched returns what was touched so far, once everybody else has left: a connection that ends has told all it did.
func countTouched(t *testing.T, url string) (n onPostgres) {
	t.Helper()
	db := connect(t, url)
	for others := 1; others > 0; {
		if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`).Scan(&others); err != nil {
			t.Fatal(err)
		}
	}
	err := db.QueryRow(t.Context(), `SELECT
		(SELECT CAST(SUM(seq_tup_read + COALESCE(idx_tup_fetch, 0) + n_tup_ins + n_tup_upd + n_tup_del) AS BIGINT) FROM pg_stat_user_tables),
		(SELECT CAST(SUM(heap_blks_read + heap_blks_hit + COALESCE(idx_blks_read + idx_blks_hit, 0)) AS BIGINT) FROM pg_statio_user_tables)`).Scan(&n.rows, &n.pages)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(t.Context()); err != nil {
		t.Error(err)
	}
	return n
}
