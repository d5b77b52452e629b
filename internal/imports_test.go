// Package internal_test keeps the rules of who imports whom, so that each part can be read and changed by itself:
// surfaces import the domain, never each other and never the store; the domain knows neither HTTP nor SQL; what
// applications import brings nothing internal along; nothing but the commands imports the server.
package internal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "countersign.dev"

// listed is what `go list` says of one package. Imports are those of its own files, Deps all that they lead to;
// neither looks at tests, which may import what they like.
type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
	Deps       []string
}

// rule says what some packages must not import.
type rule struct {
	name   string
	who    func(path string) bool
	direct bool // look only at the package's own imports, not at what they lead to
	never  func(path string) bool
}

var (
	surfaces = under("internal/authyapi", "internal/deviceapi", "internal/console")
	domain   = under("internal/tenant", "internal/approval", "internal/device", "internal/otp", "internal/sending", "internal/transfer", "internal/reset", "internal/audit", "internal/reporting")
	public   = under("client", "secondfactor", "examples")
	internal = under("internal")
	store    = under("internal/store")
)

func TestImports(t *testing.T) {
	all := list(t)
	standard := func(path string) bool { return all[path].Standard }
	rules := []rule{
		{name: "a surface does not know the store", who: surfaces, never: or(store, exactly("database/sql"))},
		{name: "the domain knows no HTTP", who: domain, never: exactly("net/http")},
		{name: "the domain knows no SQL", who: domain, never: or(store, exactly("database/sql"))},
		{name: "only surfaces and the server know surfaces", who: and(internal, not(surfaces), not(under("internal/server", "internal/dev", "internal/serve"))), never: surfaces},
		{name: "all SQL of the service is in the store", who: and(internal, not(store)), direct: true, never: exactly("database/sql")},
		{name: "nothing imports the server but the commands", who: not(under("cmd", "internal/dev", "internal/serve")), direct: true, never: under("internal/server", "internal/dev", "internal/serve")},
		{name: "leaves import nothing of ours", who: under("internal/fault", "internal/seal", "internal/ident"), never: under("")},
		{name: "what applications import brings nothing internal", who: public, never: internal},
		{name: "the client needs only the standard library", who: under("client"), never: not(or(standard, under("client")))},
		{name: "the login library needs only the standard library and the client", who: under("secondfactor"), never: not(or(standard, under("client", "secondfactor")))},
		{name: "what pages are made of imports no code of ours", who: under("ui"), never: and(under(""), not(under("ui")))},
		{name: "test helpers stay out of the product", who: under("cmd", "internal/server", "internal/dev", "internal/serve"), never: and(under(""), func(path string) bool { return strings.HasSuffix(path, "test") })},
	}
	for path := range all {
		// Two surfaces are one rule for each pair: a surface may import its own parts.
		if surfaces(path) {
			own := strings.Join(strings.Split(path, "/")[:3], "/")
			rules = append(rules, rule{name: "surfaces do not know each other", who: exactly(path), never: and(surfaces, not(under(strings.TrimPrefix(own, module+"/"))))})
		}
	}
	for _, r := range rules {
		met := false
		for path, p := range all {
			if p.Standard || !under("")(path) || !r.who(path) {
				continue
			}
			met = true
			imports := p.Deps
			if r.direct {
				imports = p.Imports
			}
			for _, imported := range imports {
				if r.never(imported) {
					t.Errorf("%s: %s imports %s", r.name, path, imported)
				}
			}
		}
		if !met {
			t.Errorf("%s: no package is meant by this rule any more", r.name)
		}
	}
}

// list returns every package of the module and all that they import, by path.
func list(t *testing.T) map[string]listed {
	t.Helper()
	var complaints bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports,Deps", module+"/...")
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &complaints)
	}
	all := map[string]listed{}
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

// under matches our packages at and below some folders; "" is all of them.
func under(folders ...string) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(folders, func(folder string) bool {
			root := strings.TrimSuffix(module+"/"+folder, "/")
			return path == root || strings.HasPrefix(path, root+"/")
		})
	}
}

func exactly(want string) func(string) bool { return func(path string) bool { return path == want } }

func not(f func(string) bool) func(string) bool { return func(path string) bool { return !f(path) } }

func or(fs ...func(string) bool) func(string) bool {
	return func(path string) bool {
		return slices.ContainsFunc(fs, func(f func(string) bool) bool { return f(path) })
	}
}

func and(fs ...func(string) bool) func(string) bool {
	return func(path string) bool {
		return !slices.ContainsFunc(fs, func(f func(string) bool) bool { return !f(path) })
	}
}
