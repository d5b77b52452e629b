package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/store"
)

// This file runs what docs/upkeep.md says, on a real installation.

// TestMain lets the tests start this program as a process of its own, to kill it.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_AS_PROGRAM") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// house is an installation in a folder.
type house struct {
	t    *testing.T
	dir  string
	url  string // of the database
	key  string // file of the master key
	args []string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	dir := t.TempDir()
	return houseOn(t, dir, filepath.Join(dir, "countersign.db"), "--data="+dir)
}

// houseOnPostgres is newHouse with a PostgreSQL.
func houseOnPostgres(t *testing.T) *house {
	t.Helper()
	url := postgrestest.Database(t, store.Migrate)
	return houseOn(t, t.TempDir(), url, "--database="+url)
}

func houseOn(t *testing.T, dir, url, where string) *house {
	t.Helper()
	h := &house{t: t, dir: dir, url: url, key: filepath.Join(dir, "master.key")}
	h.must("keys", "new", h.key)
	h.args = []string{where, "--master-key-file=" + h.key}
	h.must(h.with("app", "create", "Bank")...)
	return h
}

// with returns a command with the settings of the installation.
func (h *house) with(args ...string) []string { return append(args, h.args...) }

// run runs a command and returns its exit code and what it printed.
func (h *house) run(args ...string) (int, string, string) {
	var stdout, stderr bytes.Buffer
	code := run(h.t.Context(), args, &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// must runs a command that works.
func (h *house) must(args ...string) string {
	h.t.Helper()
	code, stdout, stderr := h.run(args...)
	if code != 0 {
		h.t.Fatalf("countersign %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// serve runs until the returned function is called, which waits for its end.
func (h *house) serve(args ...string) (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := &announced{told: make(chan struct{})}
	var stderr bytes.Buffer
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append(h.with("serve", "--owner-email=owner@example.com", "--api-url=http://localhost:8301", "--authenticator-url=http://localhost:8302",
			"--console-url=http://localhost:8303", "--api-addr=127.0.0.1:0", "--authenticator-addr=127.0.0.1:0", "--console-addr=127.0.0.1:0", "--ops-addr=127.0.0.1:0",
			"--shutdown-grace=1ms"), args...), ready, &stderr)
	}()
	select {
	case <-ready.told:
	case code := <-ended:
		h.t.Fatalf("serve: exit code %d\n%s", code, stderr.String())
	}
	return func() {
		h.t.Helper()
		cancel()
		if code := <-ended; code != 0 {
			h.t.Errorf("serve: exit code %d\n%s", code, stderr.String())
		}
	}
}

// announced is closed with the first line that is printed.
type announced struct {
	told chan struct{}
	done bool
}

func (a *announced) Write(b []byte) (int, error) {
	if !a.done {
		a.done = true
		close(a.told)
	}
	return len(b), nil
}

// TestT50RotateWhileServing: data keys are exchanged beside a running serve, by a process that is killed at random points, and then the master key.
func TestT50RotateWhileServing(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) { t.Parallel(); rotateWhileServing(t, newHouse(t)) })
	t.Run("PostgreSQL", func(t *testing.T) { t.Parallel(); rotateWhileServing(t, houseOnPostgres(t)) })
}

func rotateWhileServing(t *testing.T, h *house) {
	for i := range 60 {
		h.must(h.with("app", "create", fmt.Sprint("Shop ", i))...)
	}
	stop := h.serve()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 8 {
		ctx, kill := context.WithTimeout(t.Context(), time.Duration(rand.IntN(400))*time.Millisecond)
		cmd := exec.CommandContext(ctx, self, h.with("keys", "rotate")...) // killed as kill -9 does
		cmd.Env = append(os.Environ(), "RUN_AS_PROGRAM=1")
		_ = cmd.Run()
		kill()
		h.must(h.with("app", "create", fmt.Sprint("Made meanwhile ", i))...) // by serve, over its socket
	}
	var p seal.Progress
	if err := json.Unmarshal([]byte(h.must(h.with("keys", "rotate", "--json")...)), &p); err != nil || p.Key < 3 {
		t.Fatal(p, err)
	}
	h.must(h.with("app", "create", "Made afterwards")...)

	fresh := filepath.Join(h.dir, "fresh.key")
	h.must("keys", "new", fresh)
	stop()
	if code, _, stderr := h.run(h.with("keys", "rotate-master", h.key)...); code != 1 || !strings.Contains(stderr, "present one") {
		t.Errorf("the key that there is: %d %s", code, stderr)
	}
	former := h.args
	where := h.args[0]
	h.args = []string{where, "--master-key-file=" + fresh, "--former-master-key-file=" + h.key}
	stop = h.serve()
	h.must(h.with("keys", "rotate-master", fresh)...)
	h.must(h.with("app", "show", "Bank", "--key")...)
	stop()
	h.args = former
	if code, _, stderr := h.run(h.with("keys", "list")...); code != 0 {
		t.Errorf("keys list needs no particular key: %d %s", code, stderr)
	}
	if code, _, stderr := h.run(h.with("app", "list")...); code == 0 || !strings.Contains(stderr, "does not open") {
		t.Errorf("with the former master key alone: %d %s", code, stderr)
	}
	h.args = []string{where, "--master-key-file=" + fresh}
	stop = h.serve()
	h.must(h.with("app", "show", "Made afterwards", "--key")...)
	stop()

	db, err := store.Open(t.Context(), store.Config{URL: h.url})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	values, err := db.SealedValues(t.Context(), "api_keys.sealed", nil, 1000)
	if err != nil || len(values) != 70 {
		t.Fatalf("%d values, %v", len(values), err)
	}
	for _, v := range values {
		if id, _ := seal.KeyID(v.Sealed); id != p.Key {
			t.Errorf("%s is under key %d, want %d", v.Context, id, p.Key)
		}
	}
}

// TestUpkeep: backup and restore, the audit record, and the doctor.
func TestUpkeep(t *testing.T) {
	h := newHouse(t)
	stop := h.serve()
	backup := filepath.Join(t.TempDir(), "backup.db")
	if said := h.must(h.with("backup", backup)...); !strings.Contains(said, "The master key is not in it") {
		t.Errorf("backup said %q", said)
	}
	if code, _, stderr := h.run(h.with("restore", backup)...); code != 1 || !strings.Contains(stderr, "stop serve") {
		t.Errorf("restore beside a running serve: %d %s", code, stderr)
	}
	stop()

	// What serve did is chained and signed when it has stopped.
	export := filepath.Join(t.TempDir(), "audit.jsonl")
	var made struct {
		Links     int64
		PublicKey string `json:"public_key"`
	}
	if err := json.Unmarshal([]byte(h.must(h.with("audit", "export", export, "--json")...)), &made); err != nil || made.Links == 0 {
		t.Fatal(made, err)
	}
	h.must(h.with("audit", "verify")...)
	h.must("audit", "verify", export, "--public-key", made.PublicKey)
	text, err := os.ReadFile(export)
	if err != nil {
		t.Fatal(err)
	}
	changed := filepath.Join(t.TempDir(), "changed.jsonl")
	if err := os.WriteFile(changed, bytes.Replace(text, []byte("application.created"), []byte("application.renamed"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := h.run("audit", "verify", changed, "--public-key", made.PublicKey); code != 1 || !strings.Contains(stdout, "link 1:") {
		t.Errorf("a changed export: %d %s", code, stdout)
	}
	if code, _, stderr := h.run("audit", "verify", export, "--checkpoint", "1:2"); code != 1 || !strings.Contains(stderr, "LINK:HASH:AT:SIGNATURE") {
		t.Errorf("half a checkpoint: %d %s", code, stderr)
	}

	// The doctor finds that nobody serves, and nothing else.
	code, stdout, _ := h.run(h.with("doctor", "--json", "--owner-email=owner@example.com", "--api-url=http://localhost:1", "--authenticator-url=http://localhost:2", "--console-url=http://localhost:3")...)
	var found []struct{ Check, Level, Says string }
	if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != 1 {
		t.Fatal(code, err, stdout)
	}
	for _, f := range found {
		if (f.Level != "ok") != strings.HasSuffix(f.Check, "-url") {
			t.Errorf("%+v", f)
		}
	}

	// The machine is lost: a new folder, the backup and the key.
	h.args = []string{"--data=" + filepath.Join(t.TempDir(), "new"), "--master-key-file=" + h.key}
	h.must(h.with("restore", backup)...)
	if code, _, stderr := h.run(h.with("restore", backup)...); code != 1 || !strings.Contains(stderr, "there already") {
		t.Errorf("restored over a database: %d %s", code, stderr)
	}
	if said := h.must(h.with("app", "show", "Bank")...); !strings.Contains(said, "Bank") {
		t.Errorf("the restored application: %s", said)
	}
}

// TestDoctor: exit code 0 when all is well or works with a warning, 1 when something does not work, 2 for wrong usage; the same findings in
// lines and in JSON.
func TestDoctor(t *testing.T) {
	h := newHouse(t)
	site := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(site.Close)
	_, port, _ := net.SplitHostPort(site.Listener.Addr().String())
	right := []string{"--owner-email=o@example.com", "--api-url=" + site.URL, "--authenticator-url=http://localhost:" + port, "--console-url=http://[::ffff:127.0.0.1]:" + port, "--egress-allow=10.1.2.0/24"}
	strike := func() {
		db, err := sql.Open("sqlite", filepath.Join(h.dir, "countersign.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec("UPDATE applications SET callback_strikes = 2"); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct {
		name   string
		before func()
		args   []string
		code   int
		level  string // of the finding
		check  string
		says   string
	}{
		{"all is well", nil, h.with(right...), 0, "ok", "egress", "may go to the public internet, 10.1.2.0/24."},
		{"a warning", strike, h.with(right...), 0, "warn", "callbacks", `"Bank" has 2 of 3 strikes`},
		{"a setting that is missing", nil, h.with(right[1:]...), 1, "fail", "settings", "owner-email: is missing"},
		{"a key that is another", nil, append(right, "--data="+h.dir, "--master-key="+strings.Repeat("0123456789abcdeffedcba9876543210", 2)), 1, "fail", "keys", "master key"},
		{"a folder that is not there", nil, append(right, "--data="+filepath.Join(h.dir, "lost"), "--master-key-file="+h.key), 1, "fail", "database", "lost"},
	} {
		if row.before != nil {
			row.before()
		}
		code, stdout, _ := h.run(append([]string{"doctor", "--json"}, row.args...)...)
		var found []struct{ Check, Level, Says string }
		if err := json.Unmarshal([]byte(stdout), &found); err != nil || code != row.code {
			t.Errorf("%s: exit code %d, %v: %s", row.name, code, err, stdout)
		}
		ok := false
		for _, f := range found {
			ok = ok || f.Level == row.level && f.Check == row.check && strings.Contains(f.Says, row.says)
		}
		if !ok {
			t.Errorf("%s: %+v", row.name, found)
		}
		code, stdout, stderr := h.run(append([]string{"doctor"}, row.args...)...)
		lines := strings.Split(strings.TrimSpace(stdout), "\n")
		if code != row.code || len(lines) != len(found) || !strings.Contains(stdout, row.says) || (code == 1) != strings.Contains(stderr, "begin with fail") {
			t.Errorf("%s: exit code %d: %s%s", row.name, code, stdout, stderr)
		}
		for i, line := range lines {
			if i < len(found) && !strings.HasPrefix(line, found[i].Level) {
				t.Errorf("%s: the line %q is not %+v", row.name, line, found[i])
			}
		}
	}
	if code, _, _ := h.run(h.with("doctor", "--jsno")...); code != 2 {
		t.Errorf("wrong usage: exit code %d", code)
	}
}

// TestBesideServe runs every command that may touch the database beside a running serve on SQLite: as package claim says, each works on the file
// beside it, asks it, or is refused. A new command fails here until it has its class.
func TestBesideServe(t *testing.T) {
	h := newHouse(t)
	stop := h.serve()
	defer stop()
	urls := []string{"--owner-email=owner@example.com", "--api-url=http://localhost:1", "--authenticator-url=http://localhost:2", "--console-url=http://localhost:3"}
	file := filepath.Join(t.TempDir(), "file")
	users := filepath.Join(t.TempDir(), "users.csv")
	if err := os.WriteFile(users, []byte("authy_id,phone\n1635,+12025550123\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const refused = "in use by another countersign"
	type row struct {
		args []string // after the command's name
		says string   // when it ends with an error; "": it works
	}
	commands := map[string]row{
		"backup": {args: []string{file}}, "audit verify": {}, "audit export": {args: []string{"-"}}, "keys list": {}, "migrate status": {},
		"doctor": {urls, "something does not work"}, // the addresses do not answer

		"app create": {args: []string{"Shop"}}, "app list": {}, "app show": {args: []string{"Bank"}}, "app rotate-key": {args: []string{"Bank"}},
		"app callback": {args: []string{"Bank", "--off"}}, "keys rotate-push": {}, "operator invite": {args: urls[3:]},
		"operator reset": {append(urls[3:4:4], "ben@example.com"), "no operator with that"}, "operator remove": {[]string{"ben@example.com"}, "no operator with that"}, "operator list": {},
		"app switch": {args: []string{"Bank", "calls", "off"}}, "users import": {args: []string{"Bank", users}}, "users export": {args: []string{"Bank", "-"}},

		"restore": {[]string{file}, refused}, "migrate up": {nil, refused}, "serve": {urls, refused},

		"keys rotate": {args: []string{"--help"}}, "keys rotate-master": {args: []string{"--help"}}, // TestT50RotateWhileServing runs them
	}
	for command, want := range commands {
		code, stdout, stderr := h.run(h.with(append(strings.Fields(command), want.args...)...)...)
		if (code == 0) != (want.says == "") || !strings.Contains(stderr, want.says) {
			t.Errorf("%s: exit code %d, want %q\n%s%s", command, code, want.says, stdout, stderr)
		}
	}
	// copy names its databases by itself.
	if code, _, stderr := h.run("copy", "--from="+filepath.Join(h.dir, "countersign.db"), "--to="+file+"x"); code != 1 || !strings.Contains(stderr, refused) {
		t.Errorf("copy: exit code %d\n%s", code, stderr)
	}
	parser, err := kong.New(&cli{}, kong.Name("countersign"))
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(false) {
		name := strings.TrimPrefix(leaf.FullPath(), "countersign ")
		_, tested := commands[name]
		for _, group := range leaf.AllFlags(false) {
			for _, flag := range group {
				if flag.Name == "database" && !tested {
					t.Errorf("%s may use the database, and nothing says what it does beside a running serve", name)
				}
			}
		}
	}
}
