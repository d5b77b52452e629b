//go:build unix

// This file owns a private PostgreSQL server for the conformance suite.

package secondfactor_test

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// pgConnector lets database/sql use pgx connections, as far as the store needs it. (Applications use pgx/v5/stdlib, which brings a
// pool that this module has no other use for.)
type pgConnector struct{ source string }

func (c pgConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := pgx.Connect(ctx, c.source)
	return pgConn{conn}, err
}

func (c pgConnector) Driver() driver.Driver { return nil }

type pgConn struct{ *pgx.Conn }

func (c pgConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (c pgConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (c pgConn) Close() error                        { return c.Conn.Close(context.Background()) }

func (c pgConn) BeginTx(ctx context.Context, _ driver.TxOptions) (driver.Tx, error) {
	tx, err := c.Conn.Begin(ctx)
	return pgTx{tx}, err
}

type pgTx struct{ tx pgx.Tx }

func (t pgTx) Commit() error   { return t.tx.Commit(context.Background()) }
func (t pgTx) Rollback() error { return t.tx.Rollback(context.Background()) }

func (c pgConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	tag, err := c.Conn.Exec(ctx, query, plain(args)...)
	return driver.RowsAffected(tag.RowsAffected()), err
}

func (c pgConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	rows, err := c.Conn.Query(ctx, query, plain(args)...)
	return pgRows{rows}, err
}

func plain(args []driver.NamedValue) (list []any) {
	for _, arg := range args {
		list = append(list, arg.Value)
	}
	return list
}

type pgRows struct{ rows pgx.Rows }

func (r pgRows) Columns() (names []string) {
	for _, field := range r.rows.FieldDescriptions() {
		names = append(names, field.Name)
	}
	return names
}

func (r pgRows) Close() error {
	r.rows.Close()
	return r.rows.Err()
}

func (r pgRows) Next(row []driver.Value) error {
	if !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	read, err := r.rows.Values()
	for i := range read {
		row[i] = read[i]
	}
	return err
}

// startPostgreSQL starts a server on a socket of its own and returns a way to it.
func startPostgreSQL(t *testing.T) *sql.DB {
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
	scanner := bufio.NewScanner(messages)
	for scanner.Scan() {
		if strings.Contains(scanner.Text(), "database system is ready to accept connections") {
			go func() {
				for scanner.Scan() { // a full pipe would stop the server
				}
			}()
			db := sql.OpenDB(pgConnector{"host=" + dir + " user=countersign database=postgres"})
			t.Cleanup(func() { db.Close() })
			return db
		}
	}
	t.Fatal("PostgreSQL did not start")
	return nil
}

// serverUser returns how to start the server as somebody who is not root, and gives dir to that user.
func serverUser(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatal("PostgreSQL does not run as root, and there is no user postgres: install the package postgresql")
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2, os.Chown(dir, uid, gid)); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// serverProgram finds a program of the PostgreSQL server, which Debian keeps out of PATH.
func serverProgram(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if err != nil || len(found) == 0 {
		t.Fatalf("PostgreSQL's %s is neither in PATH nor in /usr/lib/postgresql: install the PostgreSQL server (Debian: apt-get install postgresql)", name)
	}
	return found[len(found)-1]
}
