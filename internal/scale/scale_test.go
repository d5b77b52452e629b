//go:build !race

package scale_test

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

// This file owns that docs/scale.md quotes what is simulated.

const document = "../../docs/scale.md"

var update = flag.Bool("update", false, "write the simulations' tables into "+document)

// TestRush simulates the morning rush of fifteen thousand people within three minutes, three quarters of one, and ten seconds.
func TestRush(t *testing.T) {
	quoted(t, "rush", heading("nodes", "database", "log-ins", "a second at the peak", "under way at once", "busiest node", "database busy", "servers' part of a log-in, median", "99 of 100", "given up")+
		rush(2, 4, 15_000, 3*time.Minute)+
		rush(2, 4, 15_000, 45*time.Second)+
		rush(2, 4, 15_000, 10*time.Second)+
		rush(4, 8, 15_000, 10*time.Second))
}

// TestOutage simulates that half of the nodes go away.
func TestOutage(t *testing.T) {
	const soon, short, long = 500 * time.Millisecond, 2500 * time.Millisecond, 30 * time.Second
	table := heading("streams lost", "come back after", "read meanwhile", "database away", "99 of 100 are back after", "tries each", "reads each", "log-ins given up", "a log-in before, 99 of 100", "from then on")
	for _, l := range []loss{
		{streams: 2_500, from: soon, to: short, polls: true},
		{streams: 25_000},
		{streams: 25_000, from: soon, to: short},
		{streams: 25_000, from: soon, to: short, polls: true},
		{streams: 25_000, from: soon, to: short, polls: true, careful: true},
		{streams: 25_000, from: soon, to: long},
		{streams: 25_000, from: soon, to: long, polls: true},
		{streams: 25_000, from: soon, to: long, polls: true, careful: true},
		{streams: 2_500, from: soon, to: short, polls: true, away: long},
		{streams: 25_000, from: soon, to: long, polls: true, careful: true, away: long},
	} {
		table += outage(l)
	}
	quoted(t, "outage", table)
}

func heading(names ...string) string {
	return "| " + strings.Join(names, " | ") + " |\n" + strings.Repeat("|---", len(names)) + "|\n"
}

// quoted compares a table with the document's, or writes it there.
func quoted(t *testing.T, name, table string) {
	t.Helper()
	t.Log("measured:\n" + table)
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- "+name+": begin -->\n", "<!-- "+name+": end -->"
	before, rest, ok1 := strings.Cut(string(text), begin)
	now, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no place for the table %q", document, name)
	}
	if now == table {
		return
	}
	if !*update {
		t.Fatalf("%s quotes another table: run `go test ./internal/scale -update` and read what is written around it again\n%s", document, now)
	}
	if err := os.WriteFile(document, []byte(before+begin+table+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
