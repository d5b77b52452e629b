//go:build unix

// Package postgrestest starts a private PostgreSQL server for tests.
package postgrestest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Server is a private server: its own data folder, a Unix socket only.
type Server struct {
	dir     string
	options []string
	under   []string  // what runs the server, and becomes it
	stdin   io.Closer // the keeper ends the server and removes the folder when this closes, and so when the test binary dies
	keeper  *exec.Cmd
	pid     int

	mu        sync.Mutex
	deadlocks []string // what the server said of them
}

// Start starts a server that ends with the test. Each option is one of the server's settings, such as "fsync=on"; without,
// it does not flush. PostgreSQL refuses to run as root, so then it runs as the user postgres. A test in which transactions waited
// for each other fails: what is written has an order of rows.
func Start(t testing.TB, options ...string) *Server {
	t.Helper()
	s, err := start(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	return s
}

// Trace has the server run under strace from the next Restart on; args say what it traces, or injects. What it saw is in the file trace of
// the server's folder. Without args there is no tracer any more.
func (s *Server) Trace(args ...string) {
	s.under = nil
	if len(args) > 0 {
		// The tracer is the server's grandchild, so that signals and the server's end are as without it.
		s.under = append([]string{"strace", "-D", "-f", "-y", "-qq", "-o", "trace"}, args...)
	}
}

// shared is the server of all tests of a binary that need no server of their own.
var shared = sync.OnceValues(func() (*Server, error) { return start(nil) })

// Kill ends the server as a power cut would, but for what the system had not yet written: kill -9, nothing is shut down.
func (s *Server) Kill(t testing.TB) {
	t.Helper()
	// Its processes too, as a power cut does: one that waits for what a broken one held would wait for ever without its server.
	_ = syscall.Kill(s.pid, syscall.SIGSTOP) // so that no more of them begin
	processes := children(s.pid)
	if err := syscall.Kill(s.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, pid := range processes {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	_ = s.keeper.Wait()
	s.stdin.Close()
}

// children returns the processes that a process began, where the system tells in /proc.
func children(of int) (pids []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat") // the pattern is well formed
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var pid, parent int
		var state string
		_, rest, _ := strings.Cut(string(stat), ") ") // behind its name
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent != of {
			continue
		}
		if _, err := fmt.Sscan(string(stat), &pid); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Restart starts the server again after Kill.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	for {
		err := s.run()
		if err == nil {
			return
		}
		if !strings.Contains(err.Error(), "still in use") { // by processes that have not yet seen that their server is gone
			t.Fatal(err)
		}
	}
}

// Database returns the connection string of a new database of the binary's shared server; it ends with the test. Fill
// fills the model that all databases of the binary are copied from; it is called once, so it must be the same in all tests.
func Database(t testing.TB, fill func(ctx context.Context, url string) error) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	model.Do(func() {
		if err = s.sql(`CREATE DATABASE model_of_all`); err == nil {
			err = fill(context.Background(), s.URL("model_of_all"))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return s.copyOf(t, "model_of_all")
}

// Empty returns the connection string of a new database of the shared server with nothing in it; it ends with the test.
func Empty(t testing.TB) string {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	return s.copyOf(t, "template0")
}

func (s *Server) copyOf(t testing.TB, database string) string {
	t.Helper()
	name := fmt.Sprint("test", number.Add(1))
	if err := s.sql(`CREATE DATABASE ` + name + ` TEMPLATE ` + database); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.sql(`DROP DATABASE ` + name + ` WITH (FORCE)`); err != nil {
			t.Error(err)
		}
	})
	return s.URL(name)
}

var (
	model  sync.Once
	number atomic.Int64
)

// sql runs a statement beside all databases.
func (s *Server) sql(statement string) error {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, statement)
	return err
}

// Dir is the folder that everything of the server is in.
func (s *Server) Dir() string { return s.dir }

// URL is the connection string of one of the server's databases.
func (s *Server) URL(database string) string {
	return "host=" + s.dir + " user=countersign dbname=" + database
}

func start(options []string) (*Server, error) {
	dir, err := os.MkdirTemp("", "countersign-pg-") // not t.TempDir: its path is too long for a socket, and closed to others
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, options: options}
	if err = s.initdb(); err == nil {
		err = s.run()
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

func (s *Server) initdb() error {
	program, err := serverProgram("initdb")
	if err != nil {
		return err
	}
	as, err := serverUser(s.dir)
	if err != nil {
		return err
	}
	initdb := exec.Command(program, "-D", filepath.Join(s.dir, "data"), "-U", "countersign", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = s.dir, as
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

// keep runs the server beside a shell that waits for the end of our input, and ends when the server does.
const keep = `exec 3<&0; dir=$1; shift; "$@" 3<&- & pid=$!; echo "pid $pid" >&2
(cat <&3 >/dev/null; kill -INT $pid && { while kill -0 $pid; do sleep 0.05; done; rm -rf "$dir"; }) 2>/dev/null &
wait $pid`

// run starts the server and waits until it takes connections.
func (s *Server) run() error {
	program, err := serverProgram("postgres")
	if err != nil {
		return err
	}
	as, err := serverUser(s.dir)
	if err != nil {
		return err
	}
	args := append([]string{"-c", keep, "keep", s.dir}, s.under...)
	args = append(args, program, "-D", filepath.Join(s.dir, "data"), "-k", s.dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
	for _, o := range s.options {
		args = append(args, "-c", o)
	}
	s.keeper = exec.Command("/bin/sh", args...)
	s.keeper.Dir, s.keeper.SysProcAttr = s.dir, as
	if s.stdin, err = s.keeper.StdinPipe(); err != nil {
		return err
	}
	messages, err := s.keeper.StderrPipe()
	if err != nil {
		return err
	}
	if err := s.keeper.Start(); err != nil {
		return err
	}
	err = s.ready(bufio.NewScanner(messages))
	if err != nil {
		s.stdin.Close()
		_ = s.keeper.Wait()
	}
	return err
}

// ready reads what the server says until it takes connections, and the rest in the background.
func (s *Server) ready(messages *bufio.Scanner) error {
	var said []string
	for messages.Scan() {
		said = append(said, messages.Text())
		if pid, found := strings.CutPrefix(messages.Text(), "pid "); found {
			s.pid, _ = strconv.Atoi(pid)
		}
		if strings.Contains(messages.Text(), "database system is ready to accept connections") {
			go s.listen(messages) // a full pipe would stop the server
			return nil
		}
	}
	return fmt.Errorf("PostgreSQL did not start:\n%s", strings.Join(said, "\n"))
}

// listen reads what the server says, and keeps what it says of deadlocks: the message, and the lines up to the statement.
func (s *Server) listen(messages *bufio.Scanner) {
	about := false
	for messages.Scan() {
		if about = about || strings.Contains(messages.Text(), "deadlock detected"); about {
			s.mu.Lock()
			s.deadlocks = append(s.deadlocks, messages.Text())
			s.mu.Unlock()
			about = !strings.Contains(messages.Text(), "STATEMENT:")
		}
	}
}

func (s *Server) stop() {
	s.stdin.Close() // the keeper takes the server down the fast way: open transactions end
	_ = s.keeper.Wait()
	os.RemoveAll(s.dir)
}

// serverUser returns how to start the server as somebody who is not root, and gives dir to that user.
func serverUser(dir string) (*syscall.SysProcAttr, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres to run it as: run the tests as somebody else, or install the package postgresql")
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// serverProgram finds a program of the PostgreSQL server, which Debian keeps out of PATH. The newest version wins.
func serverProgram(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	found, err := fs.Glob(os.DirFS("/"), "usr/lib/postgresql/*/bin/"+name)
	if err != nil || len(found) == 0 {
		return "", fmt.Errorf("PostgreSQL's %s is neither in PATH nor in /usr/lib/postgresql: install the PostgreSQL server (Debian: apt-get install postgresql), or run script/test, which does", name)
	}
	slices.SortFunc(found, func(a, b string) int { return versionOf(a) - versionOf(b) })
	return "/" + found[len(found)-1], nil
}

func versionOf(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[3])
	return n
}
