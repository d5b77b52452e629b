// This file proves, by a trace of PostgreSQL's system calls, that the disk has a commit before the server has its answer, and so before
// any caller has one.

package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign.dev/internal/postgrestest"
)

// TestServeFlushBeforeAnswer traces PostgreSQL while codes are verified, one after the other. Each commit is answered after the log was
// written and then flushed, also by a server that is set to answer sooner (INV-12). One that does not flush at all fails the check.
func TestServeFlushBeforeAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ setting, want string }{
		{"fsync=on", ""}, {"synchronous_commit=off", ""}, {"fsync=off", errNotFlushed.Error()},
	} {
		t.Run(c.setting, func(t *testing.T) {
			t.Parallel()
			db := postgrestest.Start(t, "fsync=on", c.setting)
			db.Kill(t)
			db.Trace("-s", "9000", "-e", "trace=read,recvfrom,write,sendto,pwrite64,pwritev,fsync,fdatasync")
			db.Restart(t)
			s := plainSiteOn(t, db)
			s.start(0)
			client := s.client(s.APIKey)
			for range verifications {
				u, p := s.addUser(client), s.newPhone()
				p.enrol(client, u)
				if got := s.mustCall(s.APIKey, "GET", fmt.Sprintf("/protected/json/verify/%s/%d", p.code(u.email), u.id), nil); got.status != 200 {
					t.Fatalf("verify: %d %s", got.status, got.body)
				}
			}
			s.nodes[0].stop()
			trace := filepath.Join(db.Dir(), "trace")
			text, err := os.ReadFile(trace)
			if err != nil {
				t.Fatal(err)
			}
			calls, err := readTrace(strings.NewReader(string(text)))
			if err != nil {
				t.Fatal(err)
			}
			said := ""
			if err := flushedBeforeCommit(calls, "code.verified", verifications); err != nil {
				said = err.Error()
			}
			if said != c.want {
				s.save("trace.txt", text)
				t.Errorf("the check says %q, want %q", said, c.want)
			}
		})
	}
}

var errNotFlushed = errors.New("a commit was answered before what was written to the log was flushed")

// flushedBeforeCommit finds the transactions in which mark came over a connection, at least n, and between the last that came of each and
// the answer to its COMMIT a write to the log and then a flush of it, by whichever process.
func flushedBeforeCommit(calls []systemCall, mark string, n int) error {
	type transaction struct {
		came             string
		written, flushed bool
	}
	open := map[string]*transaction{} // by process and connection
	found := 0
	for _, call := range calls {
		switch {
		case strings.Contains(call.file, "/pg_wal/"):
			for _, x := range open {
				switch call.name {
				case "fsync", "fdatasync":
					x.flushed = x.flushed || x.written
				default:
					x.written = true
				}
			}
		case !isSocket(call.file):
		case call.name == "recvfrom" || call.name == "read":
			x := open[call.file]
			if x == nil {
				x = &transaction{}
				open[call.file] = x
			}
			x.came += call.data
			x.written, x.flushed = false, false
		case strings.Contains(call.data, `COMMIT\0`) && open[call.file] != nil:
			x := open[call.file]
			delete(open, call.file)
			if !strings.Contains(x.came, mark) {
				continue // it may have written nothing
			}
			found++
			switch {
			case !x.written:
				return errors.New("a commit was answered without anything written to the log")
			case !x.flushed:
				return errNotFlushed
			}
		}
	}
	if found < n {
		return fmt.Errorf("the trace shows %d commits of %d", found, n)
	}
	return nil
}
