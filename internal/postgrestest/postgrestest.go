//go:build unix

// Package postgrestest starts a private PostgreSQL server for tests.
package postgrestest

import (
	"bufio"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Start starts a server with its own data folder and a Unix socket only, stops it when the test ends, and returns its
// connection string. PostgreSQL refuses to run as root, so then it runs as the user postgres.
func Start(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "countersign-pg-") // not t.TempDir: its path is too long for a socket, and closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	as := serverUser(t, dir)
	data := filepath.Join(dir, "data")

	initdb := exec.Command(serverProgram(t, "initdb"), "-D", data, "-U", "countersign", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	initdb.Dir, initdb.SysProcAttr = dir, as
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	server := exec.Command(serverProgram(t, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off")
	server.Dir, server.SysProcAttr = dir, as
	messages, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGINT) // the fast way down: open transactions end
		_ = server.Wait()
	})
	waitUntilReady(t, bufio.NewScanner(messages))
	return "host=" + dir + " user=countersign database=postgres"
}

// waitUntilReady reads what the server says until it takes connections, and the rest in the background.
func waitUntilReady(t testing.TB, messages *bufio.Scanner) {
	t.Helper()
	var said []string
	for messages.Scan() {
		said = append(said, messages.Text())
		if strings.Contains(messages.Text(), "database system is ready to accept connections") {
			go func() {
				for messages.Scan() { // a full pipe would stop the server
				}
			}()
			return
		}
	}
	t.Fatalf("PostgreSQL did not start:\n%s", strings.Join(said, "\n"))
}

// serverUser returns how to start the server as somebody who is not root, and gives dir to that user.
func serverUser(t testing.TB, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal("PostgreSQL does not run as root, and there is no user postgres to run it as: run the tests as somebody else, or install the package postgresql")
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// serverProgram finds a program of the PostgreSQL server, which Debian keeps out of PATH. The newest version wins.
func serverProgram(t testing.TB, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, err := fs.Glob(os.DirFS("/"), "usr/lib/postgresql/*/bin/"+name)
	if err != nil || len(found) == 0 {
		t.Fatalf("PostgreSQL's %s is neither in PATH nor in /usr/lib/postgresql: install the PostgreSQL server (Debian: apt-get install postgresql), or run script/test, which does", name)
	}
	slices.SortFunc(found, func(a, b string) int { return versionOf(a) - versionOf(b) })
	return "/" + found[len(found)-1]
}

func versionOf(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[3])
	return n
}
