// This file runs docs/operations.md and docs/upkeep.md: every block of shell commands in them, in order, in one shell, against the real
// binary. A block that is added to a document is run without a change here.

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"countersign.dev/internal/postgrestest"
)

// shellBlocks returns the blocks of a document that are fenced as sh, up to the given heading, each after a line that names it when it runs.
func shellBlocks(t *testing.T, path, until string) string {
	t.Helper()
	read, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(read)
	if until != "" {
		var found bool
		if text, _, found = strings.Cut(text, "\n"+until+"\n"); !found {
			t.Fatalf("%s has no heading %q", path, until)
		}
	}
	var script strings.Builder
	for i, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		fmt.Fprintf(&script, "echo '--- %s, block %d' >&2\n%s", filepath.Base(path), i+1, block[1])
	}
	return script.String()
}

// follow runs a script as a document's reader would, and returns what it printed. The document's folders become temporary ones, its ports free
// ones, and what stands in moves something else, in the script and in the environment; nothing else is changed.
func follow(t *testing.T, script string, moves, env []string) string {
	t.Helper()
	dir := t.TempDir()
	moves = append(moves, "/etc/countersign", dir+"/etc", "/var/lib/countersign", dir+"/var", "/var/backups", dir+"/backups")
	if err := os.Symlink(binary, filepath.Join(dir, "countersign")); err != nil {
		t.Fatal(err)
	}
	env = append(env, "PATH="+dir+":"+os.Getenv("PATH"), "HOME="+dir)
	for port, name := range map[string]string{"8301": "API", "8302": "AUTHENTICATOR", "8303": "CONSOLE", "8304": "OPS"} {
		free := freePort(t)
		moves = append(moves, ":"+port, ":"+free)
		env = append(env, "COUNTERSIGN_"+name+"_ADDR=127.0.0.1:"+free)
	}
	change := strings.NewReplacer(moves...)
	for i := range env {
		env[i] = change.Replace(env[i])
	}
	// A job of its own group is %1; what still runs at the end, or after a failure, is stopped.
	cmd := exec.CommandContext(t.Context(), "bash", "-c", "set -euo pipefail; set -m; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"+change.Replace(script))
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func mentions(t *testing.T, out string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(out, want) {
			t.Errorf("nothing printed %q:\n%s", want, out)
		}
	}
}

func TestOperationsDocument(t *testing.T) {
	t.Parallel()
	out := follow(t, shellBlocks(t, "../docs/operations.md", ""), nil, nil)
	mentions(t, out, "operations.md, block 9", "https://console.example.com/setup#", `"ready":true`, "Example Shop", "up to date", "Restored ", "API key:")
}

// The document begins with a running service, and the public addresses are this machine's, because the doctor asks at them.
func TestUpkeepDocument(t *testing.T) {
	t.Parallel()
	server := dsnURL(postgrestest.Start(t).URL("postgres"))
	moves := []string{
		"postgres://countersign@db.example.com/countersign", server,
		"postgres://countersign@db.example.com/restored", strings.Replace(server, "postgres:///postgres", "postgres:///restored", 1),
	}
	out := follow(t, shellBlocks(t, "../docs/operations.md", "## Watch")+shellBlocks(t, "../docs/upkeep.md", ""), moves, []string{
		"COUNTERSIGN_API_URL=http://localhost:8301", "COUNTERSIGN_AUTHENTICATOR_URL=http://localhost:8302", "COUNTERSIGN_CONSOLE_URL=http://localhost:8303",
		"COUNTERSIGN_SHUTDOWN_GRACE=1ms",
	})
	mentions(t, out, "upkeep.md, block 9", "api-url            http://localhost:", "sealed under data key", "are wrapped by the key in", "The master key is not in it", "Restored ",
		"up to date", "API key:", `"public_key":"`, "countersign_build_info{")
	if strings.Contains(out, "fail  ") {
		t.Errorf("the doctor found something:\n%s", out)
	}
}
