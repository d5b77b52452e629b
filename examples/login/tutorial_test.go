// This file owns the tutorial's honesty: its code is the sample's, and what it says is on a page is on a page.

package login_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the code of the sample into the tutorial")

const (
	root     = "../.."
	tutorial = root + "/docs/tutorial.md"
)

// codeBlock is a block with the line that says where it comes from: the file, and the declarations in it.
var codeBlock = regexp.MustCompile("(?ms)^<!-- code: (\\S+) ([^\n]*) -->\n```go\n.*?^```$")

// TestTutorialShowsTheSample compares every block of Go code with the declarations it names, comments included. After a change of the
// sample `go test ./examples/login -run Tutorial -update` brings the tutorial up to date; read the text around the block then.
func TestTutorialShowsTheSample(t *testing.T) {
	page, err := os.ReadFile(tutorial)
	if err != nil {
		t.Fatal(err)
	}
	if all, marked := bytes.Count(page, []byte("\n```go\n")), len(codeBlock.FindAll(page, -1)); all == 0 || all != marked {
		t.Fatalf("%d blocks of Go code, of which %d say where they come from", all, marked)
	}
	shown := codeBlock.ReplaceAllFunc(page, func(block []byte) []byte {
		from := codeBlock.FindSubmatch(block)
		code, err := declarations(filepath.Join(root, string(from[1])), strings.Fields(string(from[2])))
		if err != nil {
			t.Error(err)
			return block
		}
		want := fmt.Appendf(nil, "<!-- code: %s %s -->\n```go\n%s\n```", from[1], from[2], code)
		if !*update && !bytes.Equal(block, want) {
			t.Errorf("the tutorial shows %s %s as it is not; run this test with -update", from[1], from[2])
		}
		return want
	})
	if *update && !t.Failed() {
		if err := os.WriteFile(tutorial, shown, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// declarations are the named functions, methods (as Type.name) and types of a file, in that order.
func declarations(file string, names []string) (string, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	files := token.NewFileSet()
	parsed, err := parser.ParseFile(files, file, source, parser.ParseComments)
	if err != nil {
		return "", err
	}
	found := map[string]string{}
	for _, d := range parsed.Decls {
		name, doc := nameOf(d)
		start := d.Pos()
		if doc != nil {
			start = doc.Pos()
		}
		found[name] = string(source[files.Position(start).Offset:files.Position(d.End()).Offset])
	}
	var code []string
	for _, name := range names {
		text, ok := found[name]
		if !ok {
			return "", fmt.Errorf("%s declares no %s", file, name)
		}
		code = append(code, text)
	}
	return strings.Join(code, "\n\n"), nil
}

func nameOf(d ast.Decl) (name string, doc *ast.CommentGroup) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return d.Name.Name, d.Doc
		}
		of := d.Recv.List[0].Type
		if pointer, ok := of.(*ast.StarExpr); ok {
			of = pointer.X
		}
		return of.(*ast.Ident).Name + "." + d.Name.Name, d.Doc
	case *ast.GenDecl:
		if s, ok := d.Specs[0].(*ast.TypeSpec); ok && len(d.Specs) == 1 {
			return s.Name.Name, d.Doc
		}
	}
	return "", nil
}

// TestTutorialNamesWhatIsOnThePages: what the tutorial prints bold is a text of a page, letter by letter.
func TestTutorialNamesWhatIsOnThePages(t *testing.T) {
	page, err := os.ReadFile(tutorial)
	if err != nil {
		t.Fatal(err)
	}
	var pages strings.Builder
	for _, pattern := range []string{"examples/login/page/*.html", "secondfactor/page/*.html", "ui/authenticator/texts.ts", "ui/console/*.html"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", pattern, files, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pages.Write(text)
		}
	}
	prose := codeBlock.ReplaceAll(page, nil)
	bold := regexp.MustCompile(`\*\*([^*]+)\*\*`).FindAllSubmatch(prose, -1)
	if len(bold) < 10 {
		t.Errorf("the tutorial names %d texts of pages", len(bold))
	}
	for _, text := range bold {
		if !strings.Contains(pages.String(), string(text[1])) {
			t.Errorf("no page says %q", text[1])
		}
	}
}
