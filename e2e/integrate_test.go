// This file proves that docs/integrate works as it is written: its commands and programs are taken out of the pages and run.

package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// block is a fenced block of a page: its language, "" for none, and its text.
type block struct{ language, text string }

var fenced = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")

// blocks are those of a page of docs/integrate, with what `dev` prints by default replaced by where this one is.
func (d *dev) blocks(page string) (list []block) {
	d.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "integrate", page))
	if err != nil {
		d.t.Fatal(err)
	}
	here := strings.NewReplacer("http://localhost:8301", d.APIURL, "http://localhost:8303/outbox", d.OutboxURL).Replace(string(text))
	for _, b := range fenced.FindAllStringSubmatch(here, -1) {
		list = append(list, block{b[1], b[2]})
	}
	return list
}

// like reports whether an output is what a page shows; an ellipsis stands for anything.
func like(shown, output string) bool {
	parts := strings.Split(strings.TrimSpace(shown), "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile("(?s)^" + strings.Join(parts, ".*") + "$").MatchString(strings.TrimSpace(output))
}

// TestIntegrateWithCurl runs every command of curl.md in one shell, as a reader would, and compares what comes back.
func TestIntegrateWithCurl(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	home := t.TempDir()
	for name, target := range map[string]string{"countersign-data": d.dir, "countersign": raceBinary} {
		if target, err := filepath.Abs(target); err != nil {
			t.Fatal(err)
		} else if err := os.Symlink(target, filepath.Join(home, name)); err != nil {
			t.Fatal(err)
		}
	}
	const end = "=== end of a block ==="
	var script strings.Builder
	var commands, shown []string
	all := d.blocks("curl.md")
	for i, b := range all {
		if b.language != "sh" {
			continue
		}
		commands, shown = append(commands, b.text), append(shown, "")
		if i+1 < len(all) && all[i+1].language != "sh" {
			shown[len(shown)-1] = all[i+1].text
		}
		fmt.Fprintf(&script, "%s\necho '%s'\n", b.text, end)
	}
	shell := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script.String())
	shell.Dir = home
	shell.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+filepath.Join(home, ".config"), "PATH="+home+":"+os.Getenv("PATH"))
	var complaints bytes.Buffer
	shell.Stderr = &complaints
	output, err := shell.Output()
	outputs := strings.Split(string(output), end+"\n")
	if err != nil || len(outputs) != len(commands)+1 {
		t.Fatalf("%d of %d blocks ran: %v\n%s%s", len(outputs)-1, len(commands), err, output, &complaints)
	}
	compared := 0
	for i, command := range commands {
		if shown[i] == "" {
			continue
		}
		compared++
		if !like(shown[i], outputs[i]) {
			t.Errorf("the page shows for\n%s\n%s\nbut it prints\n%s", command, shown[i], outputs[i])
		}
	}
	if compared < 10 {
		t.Errorf("only %d answers were compared", compared)
	}
}

// nodeSite is the program of node.md, running, and the shell that its page talks to it with.
type nodeSite struct {
	t     *testing.T
	url   string
	dir   string // holds the cookies
	setup string // what the page defines for its commands
}

// startNode puts the program of node.md together and starts it, as an application with that key.
func startNode(t *testing.T, page []block, key string) *nodeSite {
	t.Helper()
	s := &nodeSite{t: t, dir: t.TempDir()}
	var program strings.Builder
	for _, b := range page {
		if b.language == "js" {
			program.WriteString(b.text + "\n")
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, "app.js"), []byte(program.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	modules, err := filepath.Abs("npm/node_modules")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "app.js")
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "AUTHY_API_KEY="+key, "PORT=0", "NODE_PATH="+modules, "NODE_OPTIONS=--no-deprecation")
	var complaints lockedBuffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it runs until it is ended
		_ = cmd.Wait()
		if text := complaints.String(); text != "" {
			t.Errorf("the program complained:\n%s", text)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	address, found := strings.CutPrefix(strings.TrimSpace(line), "Listening on ")
	if err != nil || !found {
		t.Fatalf("the program did not start (its library is installed by `npm ci` in e2e/npm): %v: %q\n%s", err, line, complaints.String())
	}
	s.url = address
	first := slices.IndexFunc(page, func(b block) bool { return b.language == "sh" })
	s.setup = strings.ReplaceAll(page[first].text, "http://localhost:3000", s.url)
	return s
}

// run runs commands of the page, or like them.
func (s *nodeSite) run(commands string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "bash", "-euo", "pipefail", "-c", s.setup+commands)
	cmd.Dir = s.dir
	output, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v\n%s\n%s", err, commands, output)
	}
	return string(output)
}

// says runs commands until they print what is expected; what a callback brings about comes a moment later.
func (s *nodeSite) says(commands, expected string) {
	s.t.Helper()
	eventually(s.t, waitWithin, commands, func() error {
		if output := s.run(commands); !like(expected, output) {
			return fmt.Errorf("it prints %s, want %s", output, expected)
		}
		return nil
	})
}

// TestIntegrateWithNode runs the program of node.md, with callbacks that are really delivered: the state it tells changes by nothing else.
func TestIntegrateWithNode(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	operator := d.console()
	shop := operator.newApplication("Shop")
	page := d.blocks("node.md")
	site := startNode(t, page, shop.key)
	operator.setCallback(shop, site.url+"/authy/callback")
	phone := filepath.Join(t.TempDir(), "device.json")
	decide := func(decision string) {
		t.Helper()
		waiting := parse[[]listed](t, d.device(phone, 0, "list", "--json"))
		if len(waiting) != 1 {
			t.Fatalf("%d requests wait", len(waiting))
		}
		d.device(phone, 0, decision, waiting[0].UUID)
	}

	// The page, from its first command to its last.
	var commands, shown []string
	for i, b := range page {
		if b.language == "sh" && page[i+1].language == "json" {
			commands, shown = append(commands, b.text), append(shown, page[i+1].text)
		}
	}
	if len(commands) != 5 {
		t.Fatalf("the page has %d commands, and this test knows of 5", len(commands))
	}
	if got := site.run(commands[0]); !like(shown[0], got) {
		t.Fatalf("sign-up prints %s", got)
	}
	if got := site.run("code=000000\n" + commands[1]); !strings.Contains(got, "not right") {
		t.Errorf("a wrong code at sign-up: %s", got)
	}
	signup := site.run("code=" + d.sentCode("2025550123", 1) + "\n" + commands[1])
	if !like(shown[1], signup) {
		t.Fatalf("the proved number prints %s", signup)
	}
	commands, shown = commands[1:], shown[1:]
	d.device(phone, 0, "enroll", "--ticket", strings.Split(signup, `"`)[3])
	if got := site.run(commands[1]); !like(shown[1], got) {
		t.Fatalf("the log-in prints %s", got)
	}
	if got := site.run("get /account"); !strings.Contains(got, "Log in first.") {
		t.Errorf("with the password alone: %s", got)
	}
	forged := `{"uuid":"x","status":"approved"}`
	for _, signature := range []string{"", "AAAA"} {
		r, err := http.NewRequestWithContext(t.Context(), "POST", site.url+"/authy/callback", strings.NewReader(forged))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-Authy-Signature", signature)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("a forged callback: %s", answer.Status)
		}
	}
	if got := site.run("post /login/complete '{}'"); !strings.Contains(got, "Not approved.") {
		t.Errorf("completed before anybody approved: %s", got)
	}
	decide("approve")
	site.says(commands[2], shown[2])
	if got := site.run(commands[3]); !like(shown[3], got) {
		t.Errorf("after the approval: %s", got)
	}

	// What the page says beside: a no closes the attempt, a code opens another.
	login := "rm cookies\n" + commands[1]
	site.run(login)
	decide("deny")
	site.says("get /login/status", `{"state":"denied"}`)
	code := parse[[]struct{ Code string }](t, d.device(phone, 0, "codes", "--json"))[0].Code
	for command, refusal := range map[string]string{"post /login/complete '{}'": "Not approved.", "post /login/code '{\"token\":\"" + code + "\"}'": "Denied."} {
		if got := site.run(command); !strings.Contains(got, refusal) {
			t.Errorf("%s after a no: %s", command, got)
		}
	}
	site.run(login)
	if got := site.run(`post /login/code '{"token":"0000000"}'`); !strings.Contains(got, "not right") {
		t.Errorf("a wrong code: %s", got)
	}
	if got := site.run("post /login/sms '{}'"); !like(`{"sent":true}`, got) {
		t.Errorf("a text message: %s", got)
	}
	code = d.sentCode("2025550123", 2)
	if got := site.run("post /login/code '{\"token\":\"" + code + "\"}'\nget /account"); !like(shown[3], got) {
		t.Errorf("a right code: %s", got)
	}
}
