// This file tests `countersign device` as people and scripts run it, against an authenticator in memory.

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/terminal/terminaltest"
)

// desk is a machine: a server and one state file.
type desk struct {
	*terminaltest.Server
	t testing.TB
}

func newDesk(t *testing.T) *desk {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("COUNTERSIGN_AUTHENTICATOR", "")
	return &desk{terminaltest.New(t), t}
}

// run runs the command, checks its exit code, and returns what it printed: results when it worked, the error otherwise.
func (d *desk) run(code int, args ...string) string {
	d.t.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(d.t.Context(), args, &stdout, &stderr); got != code {
		d.t.Fatalf("%q: exit code %d, want %d\n%s%s", args, got, code, &stdout, &stderr)
	}
	if code == 0 {
		if stderr.Len() > 0 {
			d.t.Errorf("%q: %s", args, &stderr)
		}
		return stdout.String()
	}
	if strings.Count(stderr.String(), "\n") != 1 || !strings.HasPrefix(stderr.String(), "countersign: ") {
		d.t.Errorf("%q: not one sentence: %q", args, &stderr)
	}
	return stderr.String()
}

func (d *desk) enrol() {
	d.t.Helper()
	d.run(0, "device", "enroll", "--ticket", d.URL+"/enroll#"+d.Ticket("ana@example.com"), "--name", "desk")
}

// has fails the test unless text has every part.
func has(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in:\n%s", part, text)
		}
	}
}

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if strings.Count(text, "\n") != 1 {
		t.Errorf("not one line: %q", text)
	}
	return v
}

func TestEnroll(t *testing.T) {
	d := newDesk(t)
	has(t, d.run(1, "device", "enroll", "--phone", "+12025550123"), "--authenticator URL")
	has(t, d.run(0, "device", "enroll", "--authenticator", d.URL, "--phone", "+12025550123"), "+12025550123", "10 min", "enroll --code CODE")
	has(t, d.run(1, "device", "enroll", "--code", "0"), "The code is wrong. Try again")
	has(t, d.run(0, "device", "enroll", "--code", terminaltest.Code, "--name", "desk"), `Enrolled as "desk"`, "Example Shop (ana@example.com)")
	if _, err := os.Stat(filepath.Join(os.Getenv("HOME"), ".config", "countersign", "device.json")); err != nil {
		t.Error(err)
	}
	view := parse[enrolmentView](t, d.run(0, "device", "enroll", "--json", "--ticket", d.Ticket("ben@example.com")))
	want := enrolmentView{Device: view.Device, Name: "desk", Grants: []grantView{{"Example Shop", "ben@example.com"}}}
	if diff := cmp.Diff(want, view); diff != "" || view.Device == "" {
		t.Error(diff)
	}

	elsewhere := filepath.Join(t.TempDir(), "other.json")
	t.Setenv("COUNTERSIGN_AUTHENTICATOR", d.Origin)
	pending := parse[map[string]any](t, d.run(0, "device", "--state", elsewhere, "--json", "enroll", "--phone", "+12025550123"))
	if pending["enrollment"] == "" || pending["phone"] != "+12025550123" || pending["expires_at"] == 0.0 {
		t.Error(pending)
	}
	hostname, _ := os.Hostname()
	has(t, d.run(0, "device", "enroll", "--state", elsewhere, "--code", terminaltest.Code), fmt.Sprintf("Enrolled as %q", hostname))
}

func TestListShowAnswer(t *testing.T) {
	d := newDesk(t)
	d.enrol()
	if got := d.run(0, "device", "list", "--json"); got != "[]\n" {
		t.Errorf("got %q", got)
	}
	has(t, d.run(0, "device", "list"), "Nothing waits")
	first := d.Ask("Log in?", "", func(a *terminaltest.Approval) { a.ExpiresAt = 0; a.Details = nil })
	second := d.Ask("Pay <1000>?", "123", func(a *terminaltest.Approval) { a.Logo = strings.Repeat("ab", 32) })

	views := parse[[]approvalView](t, d.run(0, "device", "list", "--json"))
	want := []approvalView{
		{
			UUID: second, Application: "Example Shop", Account: "ana@example.com", Message: "Pay <1000>?",
			Details: []receipt.Field{{Name: "Zone", Value: "a"}, {Name: "IP", Value: "192.0.2.7"}}, Status: "pending", MatchDigits: 3,
			CreatedAt: views[0].CreatedAt, ExpiresAt: views[0].CreatedAt + 120,
		},
		{
			UUID: first, Application: "Example Shop", Account: "ana@example.com", Message: "Log in?", Details: []receipt.Field{},
			Status: "pending", CreatedAt: views[1].CreatedAt,
		},
	}
	if diff := cmp.Diff(want, views); diff != "" {
		t.Error(diff)
	}
	table := strings.Split(d.run(0, "device", "list"), "\n")
	if len(table) != 4 {
		t.Fatalf("%q", table)
	}
	for _, column := range []string{"ACCOUNT", "REQUEST", "TIME LEFT", "UUID"} {
		at := strings.Index(table[0], column)
		for _, row := range table[1:3] {
			if row[at-1] != ' ' || row[at] == ' ' {
				t.Errorf("column %s is not aligned:\n%s", column, strings.Join(table, "\n"))
			}
		}
	}
	has(t, table[1], "Pay <1000>?", " s ", second)
	has(t, table[2], "no limit", first)

	shown := d.run(0, "device", "show", second)
	has(t, shown, "Example Shop asks ana@example.com", "Pay <1000>?", "Zone  a", "IP    192.0.2.7", strings.Repeat("ab", 32), "3 digits", "Time left:", second)
	if parse[approvalView](t, d.run(0, "device", "show", "--json", second)).UUID != second {
		t.Error("show --json shows another request")
	}
	has(t, d.run(1, "device", "show", "x"), "no approval x")

	has(t, d.run(1, "device", "approve", second), "3 digits that Example Shop shows", "--match NUMBER")
	for range 2 {
		has(t, d.run(0, "device", "approve", second, "--match", "123"), "Pay <1000>?", "192.0.2.7", "Decided: approved at ")
	}
	has(t, d.run(1, "device", "deny", second), "decided already")
	has(t, d.run(0, "device", "show", second), "Status:", "approved")
	decision := parse[decisionView](t, d.run(0, "device", "deny", first, "--json"))
	if decision.UUID != first || decision.Status != "denied" || decision.ProcessedAt == 0 || d.Status(first) != "denied" {
		t.Errorf("%+v", decision)
	}
	third := d.Ask("Log in?", "123", nil)
	has(t, d.run(1, "device", "approve", third, "--match", "321"), "does not match")
}

// RE5: a terminal, too, hears of a new start without it, and stops it.
func TestResets(t *testing.T) {
	d := newDesk(t)
	d.enrol()
	has(t, d.run(0, "device", "resets"), "Nobody asked")
	id := strconv.FormatInt(d.AskReset(0), 10)
	has(t, d.run(0, "device", "resets"), "Example Shop: somebody with the password of ana@example.com said", "device resets --stop "+id)
	if views := parse[[]resetView](t, d.run(0, "device", "resets", "--json")); len(views) != 1 || strconv.FormatInt(views[0].ID, 10) != id || views[0].DueAt != 0 {
		t.Errorf("got %+v", views)
	}
	has(t, d.run(0, "device", "resets", "--stop", id), "Stopped.")
	if got := d.run(0, "device", "resets", "--json"); got != "[]\n" {
		t.Errorf("got %q", got)
	}
	has(t, d.run(1, "device", "resets", "--stop", id), "No reset is under way")
	d.AskReset(time.Now().Add(time.Hour).Unix())
	has(t, d.run(0, "device", "resets"), "this device no longer answers for it")
}

func TestCodes(t *testing.T) {
	d := newDesk(t)
	has(t, d.run(1, "device", "codes"), "not enrolled yet")
	d.enrol()
	codes := parse[[]codeView](t, d.run(0, "device", "codes", "--json"))
	if len(codes) != 1 || len(codes[0].Code) != 8 || codes[0].SecondsLeft < 1 || codes[0].SecondsLeft > 30 ||
		codes[0].Application != "Example Shop" || codes[0].Account != "ana@example.com" {
		t.Errorf("%+v", codes)
	}
	if got := d.run(0, "device", "codes"); !regexp.MustCompile(`(?m)^Example Shop  ana@example\.com  \d{8}  \d+ s$`).MatchString(got) {
		t.Error(got)
	}
}

func TestWatch(t *testing.T) {
	d := newDesk(t)
	d.enrol()
	for _, format := range []string{"--json", "--json=false"} {
		ctx, interrupt := context.WithCancel(t.Context())
		reader, writer := io.Pipe()
		exit := make(chan int, 1)
		go func() {
			exit <- run(ctx, []string{"device", "watch", format}, writer, io.Discard)
			writer.Close()
		}()
		uuid := d.Ask("Log in?", "123", nil)
		lines := bufio.NewScanner(reader)
		for lines.Scan() && !strings.Contains(lines.Text(), uuid) {
		}
		if format == "--json" {
			if view := parse[approvalView](t, lines.Text()+"\n"); view.UUID != uuid {
				t.Error(view)
			}
		} else {
			has(t, lines.Text(), "Example Shop asks ana@example.com: Log in? (Zone: a, IP: 192.0.2.7)", "3 digits", " s  "+uuid)
		}
		interrupt()
		if code := <-exit; code != 0 {
			t.Errorf("exit code %d after an interrupt", code)
		}
	}
}

func TestUsage(t *testing.T) {
	d := newDesk(t)
	for _, args := range [][]string{
		{"device"},
		{"device", "lits"},
		{"device", "enroll"},
		{"device", "enroll", "--phone", "+1", "--code", "1"},
		{"device", "approve"},
		{"device", "approve", "x", "--match", "12a"},
		{"device", "list", "--nonsense"},
		{"nonsense"},
	} {
		has(t, d.run(2, args...), "see: countersign", "--help")
	}
	has(t, d.run(1, "device", "list", "--authenticator", "nonsense"), "https://auth.example.com")
	for _, args := range [][]string{nil, {"--help"}, {"device", "--help"}, {"device", "approve", "--help"}} {
		has(t, d.run(0, args...), "Usage: countersign")
	}
	has(t, d.run(0, "device", "--help"), "    countersign device enroll --ticket ", "list --json | jq", "Exit codes")
}

func TestInterrupted(t *testing.T) {
	d := newDesk(t)
	d.enrol()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stderr bytes.Buffer
	if code := run(ctx, []string{"device", "list"}, io.Discard, &stderr); code != 1 || stderr.String() != "countersign: interrupted\n" {
		t.Error(code, stderr.String())
	}
}

func TestVersion(t *testing.T) {
	d := newDesk(t)
	has(t, d.run(0, "version"), "countersign ", ", go1.")
	built := parse[map[string]any](t, d.run(0, "version", "--json"))
	if !strings.HasPrefix(built["go"].(string), "go1.") {
		t.Error(built)
	}
}

func TestTimeLeft(t *testing.T) {
	now := time.Unix(1700000000, 0)
	for end, want := range map[time.Time]string{
		{}:                         "no limit",
		now:                        "expired",
		now.Add(-time.Hour):        "expired",
		now.Add(119 * time.Second): "119 s",
		now.Add(10 * time.Minute):  "10 min",
		now.Add(23 * time.Hour):    "23 h",
	} {
		if got := timeLeft(end, now); got != want {
			t.Errorf("%v: got %s, want %s", end, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for in, want := range map[string]string{"": "", "abcde": "abcde", "abcdef": "abcd…", "äöüßéñ": "äöüß…"} {
		if got := cut(in, 5); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
