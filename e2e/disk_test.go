// This file proves that a disk that is full or that fails to flush costs an error and nothing else: what was acknowledged is there, and
// nothing counts twice.

package e2e

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
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
			ctx, stop := context.WithCancel(t.Context())
			var workers sync.WaitGroup
			for range crashWorkers {
				p := d.newPhone()
				workers.Go(func() { l.work(ctx, p) })
			}
			l.waitFor(150)
			stop()
			workers.Wait()
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
