//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"countersign.dev/internal/postgrestest"
)

// This file proves that the store's one SQL text is also PostgreSQL's: a private server applies the migrations and
// prepares every statement of the package.

// TestPostgreSQLAcceptsEveryStatement also looks at the types that PostgreSQL finds for the parameters: an untyped
// place becomes an integer of 32 bits or a text without a word, and fails only when it runs.
func TestPostgreSQLAcceptsEveryStatement(t *testing.T) {
	db, err := pgx.Connect(t.Context(), postgrestest.Start(t).URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close(context.WithoutCancel(t.Context())) })
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

	runs := []string{"ask", "exec", "later", "lock", "query", "queryRow"}
	for _, f := range parsed {
		for _, decl := range f.Decls {
			function, ok := decl.(*ast.FuncDecl)
			if !ok || slices.Contains(runs, function.Name.Name) || function.Name.Name == "control" || function.Name.Name == "hold" {
				continue // the methods themselves pass on what they were given; control and hold are each engine's own
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
				text := call.Args[1]
				if call.Fun.(*ast.SelectorExpr).Sel.Name == "ask" {
					text = call.Args[2] // behind what reads the answer
				}
				value := info.Types[text].Value
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
