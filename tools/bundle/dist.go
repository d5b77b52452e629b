// This file owns the folder of committed output: writing it, and comparing it with a rebuild.

package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func sortedNames(t tree) []string { return slices.Sorted(maps.Keys(t)) }

// write makes dir hold exactly the files of t.
func write(dir string, t tree) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	for _, name := range sortedNames(t) {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(file, t[name], 0o644); err != nil {
			return err
		}
		fmt.Printf("%8d  %s\n", len(t[name]), name)
	}
	return nil
}

// compare reports every difference between dir and t, and errStale when there is one.
func compare(dir string, t tree) error {
	there := tree{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		there[name], err = os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		return err
	})
	if err != nil {
		return err
	}
	same := true
	for _, name := range sortedNames(t) {
		if committed, ok := there[name]; !ok || !bytes.Equal(committed, t[name]) {
			fmt.Printf("differs or is missing: %s\n", name)
			same = false
		}
		delete(there, name)
	}
	for _, name := range sortedNames(there) {
		fmt.Printf("not built any more: %s\n", name)
		same = false
	}
	if !same {
		return errStale
	}
	return nil
}
