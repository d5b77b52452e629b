// This file tests the state file: permissions, corruption and processes that share it.

package terminal

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestStateFileOthersCanRead(t *testing.T) {
	b := newBench(t)
	b.enrolled(t)
	for _, mode := range []os.FileMode{0o644, 0o640, 0o602} {
		if err := os.Chmod(b.file, mode); err != nil {
			t.Fatal(err)
		}
		_, err := b.open(t, "").Codes()
		says(t, err, b.file, "others on this machine", "chmod 600")
		_, err = b.open(t, "").RedeemTicket(t.Context(), b.Ticket("a"), "desk")
		says(t, err, "chmod 600")
	}
}

func TestStateFileDamaged(t *testing.T) {
	b := newBench(t)
	b.enrolled(t)
	good, err := os.ReadFile(b.file)
	if err != nil {
		t.Fatal(err)
	}
	change := func(from, to string) string {
		if !strings.Contains(string(good), from) {
			t.Fatalf("%q is not in the state", from)
		}
		return strings.Replace(string(good), from, to, 1)
	}
	for name, content := range map[string]string{
		"empty":                "",
		"cut off":              string(good[:len(good)/2]),
		"two values":           string(good) + string(good),
		"newer":                change(`"version": 1`, `"version": 2`),
		"no version":           change(`"version": 1,`, ``),
		"no key":               change(`"private_key"`, `"x"`),
		"short key":            change(`"private_key": "`, `"private_key": "AAAA`),
		"grant without period": change(`"period": 30`, `"period": 0`),
		"code of 9 digits":     change(`"digits": 8`, `"digits": 9`),
		"secret not base32":    change(`"secret": "`, `"secret": "1`),
		"secret missing":       change(`"secret": "`, `"x": "`),
	} {
		if err := os.WriteFile(b.file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		device := b.open(t, b.URL)
		_, err := device.Codes()
		says(t, err, b.file+" cannot be used", "restore it from a copy")
		if _, err := device.RedeemTicket(t.Context(), b.Ticket("a"), "desk"); err == nil {
			t.Errorf("%s: enrolled over it", name)
		}
		if now, err := os.ReadFile(b.file); err != nil || string(now) != content {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

func TestStateFileErrors(t *testing.T) {
	dir := t.TempDir()
	if _, err := stateFile(dir).load(); err == nil {
		t.Error("a folder was read as a state")
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := stateFile(filepath.Join(file, "device.json")).update(func(*state) error { return nil }); err == nil {
		t.Error("a state below a file was written")
	}
	path := stateFile(filepath.Join(dir, "device.json"))
	refuse := errors.New("no")
	if _, err := path.update(func(*state) error { return refuse }); !errors.Is(err, refuse) {
		t.Error(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*device*"))
	if err != nil || len(left) != 1 || left[0] != string(path)+".lock" {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestDefaultStateFile(t *testing.T) {
	t.Setenv("HOME", "/home/ana")
	t.Setenv("XDG_CONFIG_HOME", "")
	if file, err := DefaultStateFile(); err != nil || !strings.HasPrefix(file, "/home/ana/") || !strings.HasSuffix(file, "/countersign/device.json") {
		t.Error(file, err)
	}
	t.Setenv("HOME", "")
	_, err := DefaultStateFile()
	says(t, err, "--state")
}

// TestProcessesShareTheState: no write of a process is lost to another's, and every reader sees a whole file.
func TestProcessesShareTheState(t *testing.T) {
	const processes, writes = 4, 25
	if first, err := strconv.Atoi(os.Getenv("TERMINAL_TEST_FIRST")); err == nil {
		addGrants(t, stateFile(os.Getenv("TERMINAL_TEST_STATE")), first, writes)
		return
	}
	file := stateFile(filepath.Join(t.TempDir(), "device.json"))
	children := make([]*exec.Cmd, processes)
	for i := range children {
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcessesShareTheState$")
		child.Env = append(os.Environ(), "TERMINAL_TEST_STATE="+string(file), "TERMINAL_TEST_FIRST="+strconv.Itoa(1+i*writes))
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		children[i] = child
	}
	for _, child := range children {
		if err := child.Wait(); err != nil {
			t.Error(err)
		}
	}
	s, err := file.load()
	if err != nil || len(s.Grants) != processes*writes {
		t.Errorf("%d grants, %v; want %d", len(s.Grants), err, processes*writes)
	}
}

func addGrants(t *testing.T, file stateFile, first, count int) {
	for id := first; id < first+count; id++ {
		_, err := file.update(func(s *state) error {
			s.Grants = append(s.Grants, Grant{ID: int64(id), Digits: 6, Period: 30, Secret: "MFRGG"})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := os.ReadFile(string(file)); err != nil || !json.Valid(raw) {
			t.Fatalf("half a file: %v", err)
		}
	}
}
