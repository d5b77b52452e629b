//go:build unix

package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
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

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// This file proves that the store's one SQL text is also PostgreSQL's: a private server applies the migrations and
// prepares every statement of the package.

// TestPostgreSQLAcceptsEveryStatement also looks at the types that PostgreSQL finds for the parameters: an untyped
// place becomes an integer of 32 bits or a text without a word, and fails only when it runs.
func TestPostgreSQLAcceptsEveryStatement(t *testing.T) {
	db := startPostgreSQL(t)
	files, err := filepath.Glob("migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("no migrations found: ", err)
	}
	for _, file := range files {
		if _, err := db.Exec(t.Context(), upPart(t, file)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	fits := map[uint32]bool{pgtype.Int8OID: true, pgtype.TextOID: true, pgtype.ByteaOID: true, pgtype.BoolOID: true}
	for i, s := range statements(t) {
		description, err := db.Prepare(t.Context(), "s"+strconv.Itoa(i), s.sql)
		if err != nil {
			t.Errorf("%s: %v\n%s", s.position, err, s.sql)
			continue
		}
		for n, oid := range description.ParamOIDs {
			if !fits[oid] {
				t.Errorf("%s: PostgreSQL takes $%d for a %s, want BIGINT, TEXT, BYTEA or BOOL: say CAST($%d AS …)\n%s", s.position, n+1, typeName(oid), n+1, s.sql)
			}
		}
	}
}

func typeName(oid uint32) string {
	if t, ok := pgtype.NewMap().TypeForOID(oid); ok {
		return t.Name
	}
	return fmt.Sprint("type ", oid)
}

// upPart returns what goose would run to go up.
func upPart(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, up, found := strings.Cut(string(text), "-- +goose Up")
	if !found {
		t.Fatalf("%s has no Up part", file)
	}
	up, _, _ = strings.Cut(up, "-- +goose Down")
	return up
}

// statement is one SQL text and where it stands.
type statement struct{ sql, position string }

// statements returns every SQL text that the package hands to the database, found in its source: each is a constant,
// so that no input can ever become part of one.
func statements(t *testing.T) (found []statement) {
	t.Helper()
	files := token.NewFileSet()
	var parsed []*ast.File
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, f)
	}
	// Only the package's own constants matter: imports stay unresolved, and what follows from that is no error here.
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Importer: noImports{}, Error: func(error) {}}
	_, _ = config.Check("store", files, parsed, info)

	runs := []string{"exec", "query", "queryRow"}
	for _, f := range parsed {
		for _, decl := range f.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || slices.Contains(runs, function.Name.Name) || function.Name.Name == "control" {
				continue // the methods themselves pass on what they were given, and control is SQLite's alone
			}
			ast.Inspect(function, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) < 2 {
					return true
				}
				if method, ok := call.Fun.(*ast.SelectorExpr); !ok || !slices.Contains(runs, method.Sel.Name) {
					return true
				}
				at := files.Position(call.Pos()).String()
				value := info.Types[call.Args[1]].Value
				if value == nil || value.Kind() != constant.String {
					t.Errorf("%s: the SQL is not a constant", at)
					return true
				}
				found = append(found, statement{constant.StringVal(value), at})
				return true
			})
		}
	}
	if len(found) < 80 {
		t.Fatalf("only %d statements found: does the test still know how the package runs SQL?", len(found))
	}
	return found
}

type noImports struct{}

func (noImports) Import(string) (*types.Package, error) { return nil, errors.New("not needed") }

// startPostgreSQL starts a private server with its own data folder and a Unix socket only, stops it when the test
// ends, and returns a connection to it. PostgreSQL refuses to run as root, so then it runs as the user postgres.
func startPostgreSQL(t *testing.T) *pgx.Conn {
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
	conn, err := pgx.Connect(t.Context(), "host="+dir+" user=countersign database=postgres")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// waitUntilReady reads what the server says until it takes connections, and the rest in the background.
func waitUntilReady(t *testing.T, messages *bufio.Scanner) {
	t.Helper()
	var said []string
	for messages.Scan() {
		said = append(said, messages.Text())
		if strings.Contains(messages.Text(), "database system is ready to accept connections") {
			go func() {
				for messages.Scan() { //nolint:revive // a full pipe would stop the server
				}
			}()
			return
		}
	}
	t.Fatalf("PostgreSQL did not start:\n%s", strings.Join(said, "\n"))
}

// serverUser returns how to start the server as somebody who is not root, and gives dir to that user.
func serverUser(t *testing.T, dir string) *syscall.SysProcAttr {
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
func serverProgram(t *testing.T, name string) string {
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
