// Command acceptance writes docs/acceptance.md, the table of the acceptance list: each line of it, the tests that show it, and how they ended.
//
//	go -C e2e run ./acceptance ../.cache/test/*.full > docs/acceptance.md
//
// Tests are found by their names, which carry the ids of the lines that they show. Results are read from what `go test -v` printed into the files
// that are named; script/test does that after its end-to-end tests. The test beside this file fails when the committed table names other lines or
// tests than there are.
package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// list is the acceptance list: "# group", or id, what is done, tests whose names do not carry the id, and what is missing, with tabs between.
//
//go:embed list.txt
var list string

// packages are where tests of the list are, by folder and as Go names them.
var packages = []struct{ dir, name string }{
	{".", "countersign.dev/e2e"},
	{"../secondfactor", "countersign.dev/secondfactor"},
	{"../examples/login", "countersign.dev/examples/login"},
	{"../client/callback", "countersign.dev/client/callback"},
	{"../internal/logo", "countersign.dev/internal/logo"},
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		os.Exit(1)
	}
}

func run(logs []string) error {
	found, err := tests(".")
	if err != nil {
		return err
	}
	results := map[string]string{}
	for _, log := range logs {
		text, err := os.ReadFile(log)
		if err != nil {
			return err
		}
		maps.Copy(results, read(text))
	}
	table, err := write(found, results)
	if err != nil {
		return err
	}
	_, err = os.Stdout.WriteString(table)
	return err
}

// test is one test or subtest.
type test struct {
	pkg, name string
	ids       []string
}

// full is how results name it.
func (t test) full() string { return t.pkg + "." + t.name }

// short is how the table names it.
func (t test) short() string { return strings.TrimPrefix(t.pkg, "countersign.dev/") + ": " + t.name }

var (
	function = regexp.MustCompile(`^func (Test\w+)\(`)
	subtest  = regexp.MustCompile(`\bw\.line\("(\w+)", "([^"]+)"`)
	idOf     = regexp.MustCompile(`^(?:SU|PW|PU|CO|RE|RB|ST|AC|LO|A|NJ|CB|FA|LB)\d+$`)
	outcome  = regexp.MustCompile(`^ *--- (PASS|FAIL|SKIP): (\S+) \(`)
	ended    = regexp.MustCompile(`^(?:ok  |FAIL)\t(\S+)\t`)
)

// tests reads the names of all tests, and the ids in them, from the sources. e2e is the folder of that module.
func tests(e2e string) ([]test, error) {
	var all []test
	for _, p := range packages {
		files, err := filepath.Glob(filepath.Join(e2e, p.dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			return nil, fmt.Errorf("no tests in %s: run it as go -C e2e run ./acceptance", p.dir)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			in := ""
			for line := range strings.Lines(string(text)) {
				if m := function.FindStringSubmatch(line); m != nil {
					in = m[1]
					t := test{pkg: p.name, name: in}
					for part := range strings.SplitSeq(strings.TrimPrefix(in, "Test"), "_") {
						if idOf.MatchString(part) {
							t.ids = append(t.ids, part)
						}
					}
					all = append(all, t)
				} else if m := subtest.FindStringSubmatch(line); m != nil {
					all = append(all, test{p.name, in + "/" + m[1] + "_" + strings.ReplaceAll(m[2], " ", "_"), m[1:2]})
				}
			}
		}
	}
	return all, nil
}

// read returns the outcome of each test that is in what go test -v printed.
func read(log []byte) map[string]string {
	results, pending := map[string]string{}, map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		if m := outcome.FindStringSubmatch(lines.Text()); m != nil {
			pending[m[2]] = m[1]
		} else if m := ended.FindStringSubmatch(lines.Text()); m != nil {
			for name, result := range pending {
				results[m[1]+"."+name] = result
			}
			clear(pending)
		}
	}
	return results
}

// write makes the table.
func write(found []test, results map[string]string) (string, error) {
	byID, byName := map[string][]test{}, map[string]test{}
	for _, t := range found {
		byName[t.short()] = t
		for _, id := range t.ids {
			byID[id] = append(byID[id], t)
		}
	}
	var out, body strings.Builder
	count := map[string]int{}
	for line := range strings.Lines(strings.TrimSpace(list)) {
		line = strings.TrimSuffix(line, "\n")
		if group, is := strings.CutPrefix(line, "# "); is {
			fmt.Fprintf(&body, "\n## %s\n\n| id | what is done | shown by | result |\n|---|---|---|---|\n", group)
			continue
		}
		columns := append(strings.Split(line, "\t"), "", "")
		id, what, others, missing := columns[0], columns[1], columns[2], columns[3]
		shown := byID[id]
		delete(byID, id)
		for name := range strings.SplitSeq(others, "; ") {
			t, is := byName[name]
			if !is && name != "" {
				return "", fmt.Errorf("list.txt: %s: there is no test %q", id, name)
			}
			if is {
				shown = append(shown, t)
			}
		}
		result := resultOf(shown, results)
		count[result]++
		if missing != "" {
			result += ". " + missing
		}
		var names []string
		for _, t := range shown {
			names = append(names, "`"+t.short()+"`")
		}
		fmt.Fprintf(&body, "| %s | %s | %s | %s |\n", id, what, strings.Join(names, "<br>"), result)
	}
	if len(byID) > 0 {
		return "", fmt.Errorf("tests name lines that list.txt does not have: %q", slices.Sorted(maps.Keys(byID)))
	}
	out.WriteString("# The acceptance list\n\nMade by `script/test` from the names and results of the tests; do not edit it. Tests of `e2e` drive real browsers against the real program; the others call the handlers.\n")
	total := 0
	for _, n := range count {
		total += n
	}
	fmt.Fprintf(&out, "Of %d lines", total)
	for _, result := range slices.Sorted(maps.Keys(count)) {
		fmt.Fprintf(&out, ", %d %s", count[result], result)
	}
	out.WriteString(".\n")
	return out.String() + body.String(), nil
}

// resultOf says how the tests of a line ended.
func resultOf(shown []test, results map[string]string) string {
	if len(shown) == 0 {
		return "not tested"
	}
	result := "passed"
	for _, t := range shown {
		switch results[t.full()] {
		case "PASS":
		case "FAIL":
			return "FAILED"
		default:
			result = "not run"
		}
	}
	return result
}
