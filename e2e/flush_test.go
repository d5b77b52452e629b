// This file proves, by a trace of the server's system calls, that the disk has a commit before the caller has the answer.

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// verifications is how many answers are looked at.
const verifications = 5

// TestFlushBeforeAnswer traces the server while codes are verified, one after the other: between the request and its answer
// the database's log is written and then flushed.
func TestFlushBeforeAnswer(t *testing.T) {
	trace := filepath.Join(t.TempDir(), "trace")
	d := startPlainDev(t, "strace", "-f", "-y", "-qq", "-s", "120", "-o", trace,
		"-e", "trace=read,recvfrom,write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync,msync,sync_file_range")
	c := d.client(d.APIKey)
	var paths []string
	for range verifications {
		u, p := d.addUser(c), d.newPhone()
		p.enrol(c, u)
		path := fmt.Sprintf("/protected/json/verify/%s/%d", p.code(u.email), u.id)
		if got := d.mustCall(d.APIKey, "GET", path, nil); got.status != 200 {
			t.Fatalf("verify: %d %s", got.status, got.body)
		}
		paths = append(paths, path)
	}
	d.stop()
	file, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	calls, err := readTrace(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if err := flushedBeforeAnswer(calls, path); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if t.Failed() {
		text, _ := os.ReadFile(trace)
		d.save("trace.txt", text)
	}
}

// TestFlushCheckNotices: the check itself sees a flush that is missing, comes too late, or is of another file.
func TestFlushCheckNotices(t *testing.T) {
	const (
		request = "7 read(5<socket:[1]>, \"GET /verify/1 HTTP/1.1\\r\\nHost\"..., 4096) = 99\n"
		write   = "7 pwrite64(9</data/countersign.db-wal>, \"x\"..., 4120, 32) = 4120\n"
		flush   = "7 fdatasync(9</data/countersign.db-wal>) = 0\n"
		begun   = "7 fsync(9</data/countersign.db-wal> <unfinished ...>\n"
		other   = "8 fsync(4</data/login.db-wal>) = 0\n"
		resumed = "7 <... fsync resumed>) = 0\n"
		failed  = "7 fsync(9</data/countersign.db-wal>) = -1 EIO (Input/output error)\n"
		answer  = "8 write(5<socket:[1]>, \"HTTP/1.1 200 OK\\r\\nContent\"..., 300) = 300\n"
	)
	for name, trace := range map[string]struct {
		text string
		good bool
	}{
		"flushed":               {request + write + flush + answer, true},
		"flush that took long":  {request + write + begun + resumed + answer, true},
		"no flush":              {request + write + answer, false},
		"flush after":           {request + write + answer + flush, false},
		"flush before":          {request + flush + write + answer, false},
		"flush still under way": {request + write + begun + answer + resumed, false},
		"flush of another file": {request + write + other + answer, false},
		"flush that failed":     {request + write + failed + answer, false},
		"written again after":   {request + write + flush + write + answer, true}, // another commit's
		"nothing written":       {request + flush + answer, false},
		"no answer":             {request + write + flush, false},
		"no request":            {write + flush + answer, false},
	} {
		calls, err := readTrace(strings.NewReader(trace.text))
		if err != nil {
			t.Fatal(err)
		}
		if err := flushedBeforeAnswer(calls, "/verify/1"); (err == nil) != trace.good {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// systemCall is one that ended well, in the order in which calls ended. Writes to sockets count from where they began,
// because the other side may read before the call returns.
type systemCall struct{ name, file, data string }

var (
	wholeCall = regexp.MustCompile(`^(\d+) +(\w+)\(\d+<([^>]*(?:->[^>]*)?)>(.*?)(?:\) += (-?\d+).*| <unfinished \.\.\.>)$`)
	restCall  = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)`)
)

func isSocket(file string) bool {
	return strings.HasPrefix(file, "socket:") || strings.HasPrefix(file, "TCP")
}

// readTrace reads what strace -f -y wrote.
func readTrace(r io.Reader) ([]systemCall, error) {
	var calls []systemCall
	begun := map[string]systemCall{} // by thread
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m := wholeCall.FindStringSubmatch(lines.Text()); m != nil {
			call := systemCall{name: m[2], file: m[3], data: m[4]}
			unfinished, answer := m[5] == "", isSocket(call.file) && (call.name == "write" || call.name == "writev" || call.name == "sendto" || call.name == "sendmsg")
			switch {
			case answer:
				calls = append(calls, call)
			case unfinished:
				begun[m[1]] = call
			case !strings.HasPrefix(m[5], "-"):
				calls = append(calls, call)
			}
		} else if m := restCall.FindStringSubmatch(lines.Text()); m != nil {
			if call, ok := begun[m[1]]; ok && call.name == m[2] && !strings.HasPrefix(m[4], "-") {
				call.data += m[3]
				calls = append(calls, call)
			}
			delete(begun, m[1])
		}
	}
	return calls, lines.Err()
}

// flushedBeforeAnswer finds the request for path and its answer on the same connection, and between them a write to the
// database's log and then a flush of it.
func flushedBeforeAnswer(calls []systemCall, path string) error {
	connection, written, flushed := "", false, false
	for _, call := range calls {
		log := strings.HasSuffix(call.file, "/countersign.db-wal")
		switch {
		case connection == "":
			if isSocket(call.file) && strings.Contains(call.data, "GET "+path+" ") {
				connection = call.file
			}
		case log && (call.name == "pwrite64" || call.name == "pwritev" || call.name == "write"):
			written = true
		case log && (call.name == "fsync" || call.name == "fdatasync"):
			flushed = flushed || written
		case call.file == connection && strings.Contains(call.data, `"HTTP/1.1 `):
			switch {
			case !written:
				return errors.New("answered without anything written to the log")
			case !flushed:
				return errors.New("answered before what was written to the log was flushed")
			}
			return nil
		}
	}
	if connection == "" {
		return errors.New("the trace does not show the request")
	}
	return errors.New("the trace does not show the answer")
}
