package bench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func sample() *Report {
	l := Load{Seconds: 4, Done: 24_000, PerSecond: 6000, Latency: Latency{P50: 1, P90: 2, P99: 3, P999: 4, Max: 5}}
	bad := Load{Offered: 6000, Seconds: 5, Done: 29_990, PerSecond: 5998, Failed: 10, Failures: map[string]int64{"answered 503": 10}, Latency: l.Latency}
	cycle := Result{Store: "SQLite", Scenario: "approval", Half: Load{Offered: 300, Latency: Latency{P99: 60}}, Computing: &Load{Latency: Latency{P99: 55}}}
	return &Report{Runs: []Result{cycle, {Store: "SQLite", Scenario: "verify", Saturated: l, Steps: []Load{bad}, Half: l, Bare: &Load{PerSecond: 20_000}}}}
}

// TestGoalsAreJudged: a goal that was missed is told as missed, and one that was not measured as that.
func TestGoalsAreJudged(t *testing.T) {
	told := sample().Markdown()
	for _, line := range []string{
		"| app-code verifications a second over HTTP, SQLite ", "| 6,000 ", "| reached ",
		"| 30 % ", "| **not reached** |", "| not measured here ",
		"| 60.0 ms at 300 a second (computing alone: 55.0 ms) | **not reached** |",
		"| SQLite   | verify   | 6,000 a second |     10 | 30,000 | answered 503 |",
	} {
		if !strings.Contains(told, line) {
			t.Errorf("%q is missing in\n%s", line, told)
		}
	}
}

// TestInto: the report takes the place of what stands between the marks, and nothing else changes.
func TestInto(t *testing.T) {
	path := filepath.Join(t.TempDir(), "performance.md")
	if err := os.WriteFile(path, []byte("before\n"+markBegin+"old\n"+markEnd+"after\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := sample()
	if err := r.Into(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	raw, bad := r.raw()
	if want := "before\n" + markBegin + r.Markdown() + string(raw) + markEnd + "after\n"; err != nil || bad != nil || string(got) != want {
		t.Errorf("%v, %v\n%s", err, bad, got)
	}
	var told Result // each scenario is a line, from its first step to its last failure
	lines := strings.Split(string(raw), "\n")
	if i := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, `"scenario":"verify"`) }); i < 0 || json.Unmarshal([]byte(lines[i]), &told) != nil || told.Steps[0].Failed != 10 {
		t.Errorf("raw results\n%s", raw)
	}
	if err := os.WriteFile(path, []byte("no marks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Into(path); err == nil {
		t.Error("a document without marks was taken")
	}
}
