//go:build linux

package store_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
)

// This file owns what a user, an approval and a code cost in PostgreSQL: bytes, log, commits and processor time. docs/scale.md
// is computed from what it prints.

// envScale is how many users to measure with.
const envScale = "COUNTERSIGN_SCALE"

// meterPoint is what was spent so far.
type meterPoint struct {
	log, commits, size int64
	ours, theirs       time.Duration // processor time of this process, and of the database
	at                 time.Time
}

// scale measures one database.
type scale struct {
	*testing.T
	db *pgx.Conn
	n  int
}

func (s *scale) number(query string) (n int64) {
	s.Helper()
	if err := s.db.QueryRow(s.Context(), query).Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *scale) point() meterPoint {
	s.Helper()
	if _, err := s.db.Exec(s.Context(), "SELECT pg_stat_clear_snapshot()"); err != nil {
		s.Fatal(err)
	}
	return meterPoint{
		log:     s.number("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"),
		commits: s.number("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"),
		size:    s.number("SELECT pg_database_size(current_database())"),
		ours:    ourTime(s), theirs: s.theirTime(), at: time.Now(),
	}
}

func ourTime(s *scale) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		s.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// theirTime adds up the database's processes. Connections stay open, so none ends meanwhile.
func (s *scale) theirTime() (total time.Duration) {
	s.Helper()
	rows, err := s.db.Query(s.Context(), "SELECT pid FROM pg_stat_activity")
	if err != nil {
		s.Fatal(err)
	}
	pids, err := pgx.CollectRows(rows, pgx.RowTo[int])
	if err != nil {
		s.Fatal(err)
	}
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // it ended just now
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, i := range []int{11, 12} { // utime and stime, in hundredths
			ticks, _ := strconv.ParseInt(fields[i], 10, 64)
			total += time.Duration(ticks) * 10 * time.Millisecond
		}
	}
	return total
}

// each does something n times, 64 at once, and prints what one cost.
func (s *scale) each(what string, do func(i int)) {
	s.Helper()
	before := s.point()
	var wg sync.WaitGroup
	const lanes = 64
	for lane := range lanes {
		wg.Go(func() {
			for i := lane; i < s.n; i += lanes {
				do(i)
			}
		})
	}
	wg.Wait()
	if s.Failed() {
		s.FailNow()
	}
	took := time.Since(before.at)
	after, n := s.point(), int64(s.n)
	s.Logf("measured: %s: %.2f ms of our processor time, %.2f ms of the database's, %d bytes of log, %d bytes on disk, %.2f transactions; %.0f a second here",
		what, ms(after.ours-before.ours)/float64(n), ms(after.theirs-before.theirs)/float64(n), (after.log-before.log)/n, (after.size-before.size)/n,
		float64(after.commits-before.commits)/float64(n), float64(n)/took.Seconds())
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// tables prints what rows take, with their indexes.
func (s *scale) tables() {
	if _, err := s.db.Exec(s.Context(), "VACUUM ANALYZE"); err != nil {
		s.Fatal(err)
	}
	rows, err := s.db.Query(s.Context(), `SELECT c.relname, c.reltuples::bigint, pg_table_size(c.oid), pg_indexes_size(c.oid) FROM pg_class c
		JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' AND n.nspname = 'public' AND c.reltuples >= $1 ORDER BY c.relname`, s.n/2)
	if err != nil {
		s.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var count, table, indexes int64
		if err := rows.Scan(&name, &count, &table, &indexes); err != nil {
			s.Fatal(err)
		}
		s.Logf("measured: %s: %d rows, %d bytes a row and %d in indexes", name, count, table/count, indexes/count)
	}
	if rows.Err() != nil {
		s.Fatal(rows.Err())
	}
}

// TestScale measures with a few users, so that it goes on working, or with as many as it is told.
func TestScale(t *testing.T) {
	s := &scale{T: t, n: 128}
	if told := os.Getenv(envScale); told != "" {
		var err error
		if s.n, err = strconv.Atoi(told); err != nil {
			t.Fatal(err)
		}
	}
	url := postgrestest.Database(t, store.Migrate)
	server := servertest.On(t, openStore(t, url))
	var err error
	if s.db, err = pgx.Connect(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	defer s.db.Close(context.WithoutCancel(t.Context()))
	shop := server.App(t, "Shop")
	phones, users := make([]*servertest.Phone, s.n), make([]int64, s.n)
	s.each("user with a phone (3 writes)", func(i int) {
		u := server.User(t, shop, fmt.Sprintf("person%d@example.com", i), fmt.Sprintf("202-%03d-%04d", 200+i/10_000, i%10_000))
		phones[i], users[i] = server.Phone(t, shop, u), u.AuthyID
	})
	uuids := make([]string, s.n)
	s.each("approval asked for", func(i int) {
		u, err := server.Tenants.User(t.Context(), shop, users[i])
		if err != nil {
			t.Error(err)
			return
		}
		uuids[i] = server.Ask(t, shop, u, "Log in to Example Shop?").UUID
	})
	s.each("approval read and approved by the phone", func(i int) {
		if _, err := phones[i].Answer(t, uuids[i], approval.Approve, ""); err != nil {
			t.Error(err)
		}
	})
	s.each("app code checked", func(i int) {
		u, err := server.Tenants.User(t.Context(), shop, users[i])
		if err == nil {
			g := phones[i].Grants[0]
			code := otp.HOTP(g.Secret, uint64(otp.Step(server.Clock.Now(), g.Period.Duration())), g.Digits)
			_, err = server.Codes.Verify(t.Context(), shop, u, code, "")
		}
		if err != nil {
			t.Error(err)
		}
	})
	s.tables()
}
