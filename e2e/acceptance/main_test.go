// This file checks that the committed table is of the tests that there are.

package main

import (
	"os"
	"strings"
	"testing"
)

// TestCommittedTable: docs/acceptance.md names the lines and tests that there are. Results are left out: they are of a run.
func TestCommittedTable(t *testing.T) {
	found, err := tests("..")
	if err != nil {
		t.Fatal(err)
	}
	table, err := write(found, nil)
	if err != nil {
		t.Fatal(err)
	}
	committed, err := os.ReadFile("../../docs/acceptance.md")
	if err != nil {
		t.Fatal(err)
	}
	got, want := lines(string(committed)), lines(table)
	for i := range max(len(got), len(want)) {
		have, need := "nothing", "nothing"
		if i < len(got) {
			have = got[i]
		}
		if i < len(want) {
			need = want[i]
		}
		if have != need {
			t.Fatalf("docs/acceptance.md is not of these tests; script/test e2e makes it anew in .cache/test/acceptance.md.\nit has   %s\nit needs %s", have, need)
		}
	}
}

// lines are the rows of a table, without results.
func lines(table string) (rows []string) {
	for line := range strings.Lines(table) {
		if columns := strings.Split(line, " | "); len(columns) == 4 {
			rows = append(rows, strings.Join(columns[:3], " | "))
		}
	}
	return rows
}

// TestRead: outcomes belong to the package whose end follows them, subtests included.
func TestRead(t *testing.T) {
	got := read([]byte("=== RUN   TestA\n--- PASS: TestA (0.00s)\n    --- FAIL: TestA/PU1_x (1.00s)\nok  \tone\t0.1s\n--- FAIL: TestA (0.00s)\nFAIL\ttwo\t0.2s\n"))
	if len(got) != 3 || got["one.TestA"] != "PASS" || got["one.TestA/PU1_x"] != "FAIL" || got["two.TestA"] != "FAIL" {
		t.Errorf("read %v", got)
	}
}

// TestResults: a line passed when all of its tests did, and is never said to have passed when one was not run.
func TestResults(t *testing.T) {
	two := []test{{pkg: "p", name: "A"}, {pkg: "p", name: "B"}}
	for _, c := range []struct {
		shown   []test
		results map[string]string
		want    string
	}{
		{nil, nil, "not tested"},
		{two, nil, "not run"},
		{two, map[string]string{"p.A": "PASS"}, "not run"},
		{two, map[string]string{"p.A": "PASS", "p.B": "PASS"}, "passed"},
		{two, map[string]string{"p.A": "PASS", "p.B": "FAIL"}, "FAILED"},
		{two, map[string]string{"p.A": "PASS", "p.B": "SKIP"}, "not run"},
	} {
		if got := resultOf(c.shown, c.results); got != c.want {
			t.Errorf("%v: %s, want %s", c.results, got, c.want)
		}
	}
}
