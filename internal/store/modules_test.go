package store_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// TestLibcIsTheDriversOwn: modernc.org/sqlite is C translated together with one version of modernc.org/libc, the one its
// own go.mod names. Any other corrupts or crashes; an upgrade of libc alone must not pass.
func TestLibcIsTheDriversOwn(t *testing.T) {
	driver, libc := module(t, "modernc.org/sqlite"), module(t, "modernc.org/libc")
	text, err := os.ReadFile(driver.GoMod)
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)^\s*(?:require )?modernc\.org/libc (v\S+)`).FindSubmatch(text)
	if named == nil {
		t.Fatalf("%s names no version of modernc.org/libc", driver.GoMod)
	}
	if want := string(named[1]); libc.Version != want {
		t.Errorf("go.mod has modernc.org/libc %s, and modernc.org/sqlite %s wants %s: go get modernc.org/libc@%s", libc.Version, driver.Version, want, want)
	}
	if driver.Version == "v1.61.0" {
		t.Error("modernc.org/sqlite v1.61.0 is slow with prepared statements: take v1.61.1 or later")
	}
}

type goModule struct{ Version, GoMod string }

// module returns what the build takes for a module, a replacement included.
func module(t *testing.T, path string) goModule {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-json", path).Output()
	if err != nil {
		t.Fatalf("go list -m %s: %v", path, err)
	}
	var m struct {
		goModule
		Replace *goModule
	}
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	if m.Replace != nil {
		return *m.Replace
	}
	return m.goModule
}
