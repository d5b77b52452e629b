// This file runs docs/operations.md: every block of shell commands in it, in order, in one shell, against the real binary. A block that is
// added to the document is run without a change here.

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// shellBlocks returns the blocks of a document that are fenced as sh, each after a line that names it when it runs.
func shellBlocks(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	for i, block := range regexp.MustCompile("(?ms)^```sh\n(.*?)^```$").FindAllStringSubmatch(string(text), -1) {
		fmt.Fprintf(&script, "echo '--- block %d' >&2\n%s", i+1, block[1])
	}
	return script.String()
}

// The folders of the document become temporary ones, its ports free ones; nothing else is changed.
func TestOperationsDocument(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	script := shellBlocks(t, "../docs/operations.md")
	moves := []string{"/etc/countersign", dir + "/etc", "/var/lib/countersign", dir + "/var"}
	if err := os.Symlink(binary, filepath.Join(dir, "countersign")); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "HOME=" + dir}
	for port, name := range map[string]string{"8301": "API", "8302": "AUTHENTICATOR", "8303": "CONSOLE", "8304": "OPS"} {
		free := freePort(t)
		moves = append(moves, ":"+port, ":"+free)
		env = append(env, "COUNTERSIGN_"+name+"_ADDR=127.0.0.1:"+free)
	}
	script = strings.NewReplacer(moves...).Replace(script)
	// A job of its own group is %1; what still runs at the end, or after a failure, is stopped.
	cmd := exec.CommandContext(t.Context(), "bash", "-c", "set -euo pipefail; set -m; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"+script)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"--- block 9", "https://console.example.com/setup#", `"ready":true`, "Example Shop", "up to date"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("nothing printed %q:\n%s", want, out)
		}
	}
}
