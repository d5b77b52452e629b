// This file proves that a disk that is full or that fails to flush costs an error and nothing else: what was acknowledged is there, and
// nothing counts twice.

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"countersign.dev/internal/postgrestest"
)

// TestSickDisk has the kernel answer the server's writes to its database's log now and then as a full disk does, and its flushes as one
// that breaks, while people work; and then kills it. The faults come from the tracer that shows the flushes elsewhere.
func TestSickDisk(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]string{
		"full":           "pwrite64:error=ENOSPC:when=20+203",
		"fails to flush": "fsync,fdatasync:error=EIO:when=10+7",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startPlainDev(t)
			operator := d.console()
			app := operator.newApplication("Crash")
			r := newReceiver(t)
			r.keys = []string{app.key}
			operator.setCallback(app, r.URL)
			l := newLedger(t, d, app.key)
			d.stop()
			sound := d.program
			d.program = append([]string{
				"strace", "-f", "-qq", "-o", "/dev/null", "-P", filepath.Join(d.dir, "countersign.db-wal"),
				"-e", "trace=pwrite64,fdatasync,fsync", "-e", "inject=" + fault,
			}, sound...)
			d.start()
			l.sick = true
			l.workFor(100)
			d.kill()
			d.program, l.sick = sound, false
			d.start()
			l.check(l.all())
			l.check(l.fresh())
			l.checkCallbacks(r)
			if l.sorry == 0 {
				t.Error("nobody met a fault")
			}
			t.Logf("measured: %s, %d calls ended in an error, %d callbacks for %d decisions", l, l.sorry, r.calls(), len(r.all()))
		})
	}
}

// TestServeSickDisk is TestSickDisk on PostgreSQL, which ends all its processes when a flush of its log fails, and recovers. Until then it is away.
func TestServeSickDisk(t *testing.T) {
	t.Parallel()
	db := postgrestest.Start(t, "fsync=on")
	s := plainSiteOn(t, db)
	r := newReceiver(t)
	r.keys = []string{s.APIKey}
	s.command("app", "callback", s.appID, r.URL, "--config", s.config)
	db.Kill(t)
	db.Trace("-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=25") // the 25th flush of each process
	db.Restart(t)
	s.start(0)
	l := newLedger(t, s.dev, s.APIKey)
	l.workFor(100)
	db.Kill(t)
	db.Trace()
	db.Restart(t)
	s.awaitReady(0)
	l.check(l.all())
	l.check(l.fresh())
	s.sql(`UPDATE jobs SET run_at = run_at - 60000`) // what was under way belongs to the server until its lease ends; that time passes now
	l.checkCallbacks(r)
	trace, err := os.ReadFile(filepath.Join(db.Dir(), "trace"))
	if err != nil {
		t.Fatal(err)
	}
	failed := strings.Count(string(trace), "EIO")
	if failed == 0 {
		t.Error("no flush failed")
	}
	t.Logf("measured: %s over %d failed flushes, %d callbacks for %d decisions", l, failed, r.calls(), len(r.all()))
}

// workFor has people work until so many acts were acknowledged.
func (l *ledger) workFor(n int) {
	l.t.Helper()
	ctx, stop := context.WithCancel(l.t.Context())
	var workers sync.WaitGroup
	defer workers.Wait()
	defer stop()
	for range crashWorkers {
		p := l.d.newPhone()
		workers.Go(func() { l.work(ctx, p) })
	}
	l.waitFor(n)
}
