// This file checks the documents for operators and the files of deploy as far as that goes without running them; e2e/operations_test.go runs the documents.

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"countersign.dev/internal/settings"
)

// Settings that the document and the files of deploy name are there, so that nobody copies what is refused.
func TestDeploymentNamesSettings(t *testing.T) {
	names := settings.Names()
	variables := make([]string, len(names))
	for i, name := range names {
		variables[i] = "COUNTERSIGN_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	}
	for _, file := range []string{"../../docs/operations.md", "../../docs/upkeep.md", "../../deploy/compose.yaml", "../../deploy/countersign.service", "../../deploy/Containerfile"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, variable := range regexp.MustCompile(`COUNTERSIGN_[A-Z_]+`).FindAllString(string(text), -1) {
			if !slices.Contains(variables, variable) {
				t.Errorf("%s names %s, which is no setting", file, variable)
			}
		}
		for _, toml := range regexp.MustCompile("(?ms)(?:^```toml\n|<<'END'\n)(.*?)(?:^```$|^END$)").FindAllStringSubmatch(string(text), -1) {
			for _, line := range regexp.MustCompile(`(?m)^([a-z-]+) = `).FindAllStringSubmatch(toml[1], -1) {
				if !slices.Contains(names, line[1]) {
					t.Errorf("%s names %s, which is no setting", file, line[1])
				}
			}
		}
	}
}

// The compose example's environment is accepted by serve --check, with files in the place of its secrets.
func TestComposeChecks(t *testing.T) {
	text, err := os.ReadFile("../../deploy/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	d, dir := &desk{t: t}, t.TempDir()
	d.run(0, "keys", "new", filepath.Join(dir, "master-key"))
	if err := os.WriteFile(filepath.Join(dir, "database-url"), []byte("postgres://countersign:secret1@database/countersign\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^      (COUNTERSIGN_[A-Z_]+): (.*)$`).FindAllStringSubmatch(string(text), -1)
	if len(found) < 10 {
		t.Fatalf("only %d variables were found", len(found))
	}
	for _, pair := range found {
		t.Setenv(pair[1], strings.Replace(strings.Trim(pair[2], `"`), "/run/secrets", dir, 1))
	}
	shown := d.run(0, "serve", "--check")
	has(t, shown, "postgres://countersign:xxxxx@database/countersign", "172.16.0.0/12", "https://auth.example.com")
	if strings.Contains(shown, "secret1") {
		t.Error("the database's password is shown")
	}
}

// systemd accepts the unit, and rates what the service may do as safe. Where there is no systemd, its keys are checked alone.
func TestUnit(t *testing.T) {
	text, err := os.ReadFile("../../deploy/countersign.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := string(text)
	for _, want := range []string{"Type=notify", "User=countersign", "NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=\n", "MemoryDenyWriteExecute=yes"} {
		if !strings.Contains(unit, want) {
			t.Errorf("the unit lacks %s", want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Log("there is no systemd-analyze here: the unit was read, not verified")
		return
	}
	path := filepath.Join(t.TempDir(), "countersign.service")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(unit, "/usr/local/bin/countersign", "/bin/true")), 0o600); err != nil { // it asks only whether the program is there
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", "--man=no", path}, {"security", "--offline=yes", "--threshold=20", "--no-pager", path}} {
		if out, err := exec.CommandContext(t.Context(), analyze, args...).CombinedOutput(); err != nil {
			t.Errorf("systemd-analyze %v: %v\n%s", args, err, out)
		}
	}
}
