// This file proves what `countersign dev` promises to scripts and people: one clear sentence when it cannot start, a
// clean stop, everything kept from one start to the next.

package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"countersign.dev/client"

	_ "modernc.org/sqlite"
)

// refused runs `countersign dev`, which must not start, and returns the one sentence it says.
func refused(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, raceBinary, args...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("it started, or hung: %s", &stderr)
	}
	if code := cmd.ProcessState.ExitCode(); code <= 0 || stdout.Len() > 0 {
		t.Errorf("exit code %d (%v), printed %q", code, err, &stdout)
	}
	said := stderr.String()
	if strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "countersign: ") || strings.Contains(said, "level=") {
		t.Errorf("not one clear sentence: %q", said)
	}
	return said
}

func TestDevRefusesToStart(t *testing.T) {
	t.Parallel()
	ports := func(dir string) []string { return newDev(t, raceBinary).inFolder(dir).args }

	t.Run("port in use", func(t *testing.T) {
		taken, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer taken.Close()
		dir := t.TempDir()
		said := refused(t, "dev", "--data", dir, "--api-addr", taken.Addr().String(), "--authenticator-addr", "127.0.0.1:0", "--console-addr", "127.0.0.1:0", "--login-addr", "127.0.0.1:0")
		if !strings.Contains(said, taken.Addr().String()) || !strings.Contains(said, "--api-addr") {
			t.Errorf("it does not say which address and what to do: %s", said)
		}
		if _, err := os.Stat(filepath.Join(dir, "dev.json")); err == nil {
			t.Error("it wrote dev.json")
		}
	})
	t.Run("folder that cannot be written", func(t *testing.T) {
		// A file where a folder would have to be stops root too, whom permissions do not.
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{file, filepath.Join(file, "data"), "/proc/countersign"} {
			if said := refused(t, ports(dir)...); !strings.Contains(said, dir) || !strings.Contains(said, "--data") {
				t.Errorf("it does not say which folder and what to do: %s", said)
			}
		}
		if os.Geteuid() != 0 {
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o500); err != nil {
				t.Fatal(err)
			}
			if said := refused(t, ports(dir)...); !strings.Contains(said, dir) {
				t.Errorf("it does not say which folder: %s", said)
			}
		}
	})
	t.Run("database of a newer version", func(t *testing.T) {
		d := startDev(t)
		d.stop()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(d.dir, "countersign.db"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`)
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		if said := refused(t, d.args...); !strings.Contains(said, "newer") || !strings.Contains(said, d.dir) {
			t.Errorf("it does not say that the database is newer: %s", said)
		}
	})
	t.Run("second one in the same folder", func(t *testing.T) {
		d := startDev(t)
		if said := refused(t, newDev(t, raceBinary).inFolder(d.dir).args...); !strings.Contains(said, d.dir) || !strings.Contains(said, "in use") {
			t.Errorf("it does not say that the folder is in use: %s", said)
		}
		if got := d.mustCall(d.APIKey, "GET", "/protected/json/users/1/status", nil); got.code() != "60026" {
			t.Errorf("the first one does not answer as before: %d %s", got.status, got.body)
		}
		if _, err := os.Stat(filepath.Join(d.dir, "dev.json")); err != nil {
			t.Errorf("the second one took dev.json away: %v", err)
		}
	})
	t.Run("wrong usage", func(t *testing.T) {
		refused(t, "dev", "--nonsense")
		refused(t, "dev", "--data", t.TempDir(), "--api-addr", "nonsense")
	})
}

// inFolder uses another folder than its own.
func (d *dev) inFolder(dir string) *dev {
	for i, arg := range d.args {
		if arg == d.dir {
			d.args[i] = dir
		}
	}
	d.dir = dir
	return d
}

// TestDevResumes: after a stop and after a crash, everything is where it was, on the same ports.
func TestDevResumes(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	c, p := d.client(d.APIKey), d.newPhone()
	u := d.addUser(c)
	p.enrol(c, u)
	decided, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in"})
	if err != nil {
		t.Fatal(err)
	}
	p.answer(decided.UUID, "approve")
	open, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in again"})
	if err != nil {
		t.Fatal(err)
	}
	sent := d.in(t)
	if got := d.mustCall(d.APIKey, "GET", "/protected/json/sms/"+id(u.id), map[string][]string{"force": {"true"}}); got.status != 200 {
		t.Fatal(got.body)
	}
	code := sent.sentCode(u.number, 1)
	spent := p.code(u.email)
	if _, err := c.VerifyCode(t.Context(), u.id, spent, client.CodeOptions{}); err != nil {
		t.Fatal(err)
	}

	before := d.ready
	for _, end := range []func(){d.stop, d.kill} {
		end()
		d.start()
		after := d.ready
		after.PID, after.ConsoleLoginURL = before.PID, before.ConsoleLoginURL // these are new each time
		if after != before {
			t.Fatalf("restarted as %+v, was %+v", after, before)
		}
		for uuid, want := range map[string]string{decided.UUID: client.StatusApproved, open.UUID: client.StatusPending} {
			if got, err := c.Approval(t.Context(), uuid); err != nil || got.Status != want {
				t.Errorf("after the restart: %s, %v; want %s", got.Status, err, want)
			}
		}
		if got := d.mustCall(d.APIKey, "GET", "/protected/json/verify/"+spent+"/"+id(u.id), nil); got.code() != "60019" && got.code() != "60020" {
			t.Errorf("a spent code after the restart: %d %s", got.status, got.body)
		}
		if messages, err := d.outbox("+1" + u.number); err != nil || len(messages) != 1 {
			t.Errorf("the outbox after the restart: %v, %v", messages, err)
		}
	}
	p.answer(open.UUID, "approve")
	if _, err := c.VerifyCode(t.Context(), u.id, code, client.CodeOptions{}); err != nil {
		t.Errorf("a code sent before the restarts: %v", err)
	}
}

// TestDevJSON: what a script reads, in both places.
func TestDevJSON(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	file := filepath.Join(d.dir, "dev.json")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var told ready
	if err := json.Unmarshal(text, &told); err != nil {
		t.Fatal(err)
	}
	if told != d.ready {
		t.Errorf("dev.json says %+v, --json says %+v", told, d.ready)
	}
	if told.PID != d.cmd.Process.Pid {
		t.Errorf("pid is %d, want %d", told.PID, d.cmd.Process.Pid)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("dev.json: %v, %v; want mode 0600", info.Mode(), err)
	}
	for name, base := range map[string]string{"api": d.APIURL, "authenticator": d.AuthenticatorURL, "console": d.ConsoleURL, "login": d.LoginURL} {
		if !strings.HasPrefix(base, "http://localhost:") || strings.HasSuffix(base, "/") {
			t.Errorf("%s_url is %q; want a base without trailing slash, by the name localhost", name, base)
		}
		answer, err := http.Get(base + "/")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if answer.StatusCode >= 500 {
			t.Errorf("GET / of %s: %s", name, answer.Status)
		}
	}
	if _, err := d.outbox(""); err != nil {
		t.Errorf("outbox_url: %v", err)
	}
	if page := d.console().get("/"); !strings.Contains(page, "/signout") {
		t.Errorf("console_login_url does not sign in:\n%s", plain(page))
	}
}

// TestOutbox: loopback only, the host checked, filtered by address with + or a space.
func TestOutbox(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	c := d.client(d.APIKey)
	ana, bob := d.addUser(c), d.addUser(c)
	for _, u := range []user{ana, bob} {
		if got := d.mustCall(d.APIKey, "GET", "/protected/json/sms/"+id(u.id), nil); got.status != 200 {
			t.Fatal(got.body)
		}
		d.sentCode(u.number, 1)
	}
	for _, to := range []string{"+1" + ana.number, " 1" + ana.number} {
		messages, err := d.outbox(to)
		if err != nil || len(messages) != 1 || messages[0].To != "+1"+ana.number || messages[0].Channel != "sms" || !strings.Contains(messages[0].Body, messages[0].Code) {
			t.Errorf("outbox to %q: %+v, %v", to, messages, err)
		}
	}
	if all, err := d.outbox(""); err != nil || len(all) != 2 || all[0].To != "+1"+bob.number {
		t.Errorf("the whole outbox: %+v, %v; want two, newest first", all, err)
	}
	r, err := http.NewRequestWithContext(t.Context(), "GET", d.OutboxURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host, r.Header = "evil.example", http.Header{"Accept": {"application/json"}}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, _ := io.ReadAll(answer.Body); answer.StatusCode < 300 || strings.Contains(string(text), ana.number) {
		t.Errorf("under another host name the outbox answers %s:\n%s", answer.Status, text)
	}
}
