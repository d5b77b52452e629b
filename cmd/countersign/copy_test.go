package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign.dev/internal/claim"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
)

// TestCopy runs the command from one file to another; the engines and interruptions are tested in internal/store.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from.db"), filepath.Join(dir, "to.db")
	db, err := store.OpenSQLite(t.Context(), from)
	if err != nil {
		t.Fatal(err)
	}
	servertest.On(t, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	var out, errs bytes.Buffer
	copyTo := func(args ...string) int {
		out.Reset()
		errs.Reset()
		return run(t.Context(), append([]string{"copy"}, args...), &out, &errs)
	}
	if code := copyTo("--from", from, "--to", to, "--json"); code != 0 {
		t.Fatal(code, errs.String())
	}
	var result struct{ Tables []store.Copied }
	if err := json.Unmarshal(out.Bytes(), &result); err != nil || len(result.Tables) < 20 {
		t.Errorf("%v in %s", err, &out)
	}
	for line := range strings.Lines(errs.String()) {
		var p store.Progress
		if err := json.Unmarshal([]byte(line), &p); err != nil || p.Table == "" {
			t.Errorf("progress %q: %v", line, err)
		}
	}
	if code := copyTo("--from", to, "--to", filepath.Join(dir, "words.db")); code != 0 || !strings.Contains(out.String(), "Every table is the same") ||
		!strings.Contains(errs.String(), "accounts: 1 of 1 rows copied") || !strings.Contains(errs.String(), "accounts: 1 of 1 rows compared") {
		t.Error(code, out.String(), errs.String())
	}
	if code := copyTo("--from", from, "--to", to); code != 1 || !strings.Contains(errs.String(), "holds data already") {
		t.Error(code, errs.String())
	}
	if code := copyTo("--from", from); code != 2 {
		t.Error(code, errs.String())
	}
	nowhere := filepath.Join(dir, "nowhere")
	if code := copyTo("--from", filepath.Join(nowhere, "x.db"), "--to", to); code != 1 || !strings.Contains(errs.String(), "no such file") {
		t.Error(code, errs.String())
	}
	if _, err := os.Stat(nowhere); err == nil {
		t.Error("the missing source's folder was made")
	}
	own, err := claim.Folder(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if code := copyTo("--from", from, "--to", filepath.Join(dir, "new.db")); code != 1 || !strings.Contains(errs.String(), "in use by another countersign") {
		t.Error(code, errs.String())
	}
}
