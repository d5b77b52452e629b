package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// ui lies outside this module, so `go test` does not notice when it changes: that the committed bundle is
// current is checked by `go run ./bundle -check`, not by a test.
const ui = "../../ui"

func TestSameSourcesSameBytes(t *testing.T) {
	root, err := filepath.Abs(ui)
	if err != nil {
		t.Fatal(err)
	}
	first, err := build(root)
	if err != nil {
		t.Fatal(err)
	}
	second, err := build(root)
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != len(second) {
		t.Fatalf("%d files, then %d", len(first), len(second))
	}
	for name, data := range first {
		if !bytes.Equal(data, second[name]) {
			t.Errorf("%s differs between two builds", name)
		}
	}
}

func TestCheckFindsEveryDifference(t *testing.T) {
	built := tree{"index.html": []byte("page"), "assets/app-1.js": []byte("script")}
	for name, damage := range map[string]func(dir string) error{
		"changed": func(dir string) error { return os.WriteFile(filepath.Join(dir, "index.html"), []byte("other"), 0o644) },
		"missing": func(dir string) error { return os.Remove(filepath.Join(dir, "assets/app-1.js")) },
		"left":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "assets/app-0.js"), nil, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := write(dir, built); err != nil {
				t.Fatal(err)
			}
			if err := compare(dir, built); err != nil {
				t.Fatalf("right after writing: %v", err)
			}
			if err := damage(dir); err != nil {
				t.Fatal(err)
			}
			if err := compare(dir, built); !errors.Is(err, errStale) {
				t.Errorf("got %v, want errStale", err)
			}
		})
	}
}
