package ui

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, files fs.FS, name string) string {
	t.Helper()
	data, err := fs.ReadFile(files, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// served returns every path that the pages around the app name, as a browser would ask for it.
func served(t *testing.T, files fs.FS) []string {
	t.Helper()
	pattern := regexp.MustCompile(`"(/[A-Za-z0-9._/-]+\.[a-z0-9]+)"`)
	var paths []string
	for _, name := range []string{"index.html", "manifest.json", "sw.js"} {
		for _, match := range pattern.FindAllStringSubmatch(read(t, files, name), -1) {
			paths = append(paths, match[1])
		}
	}
	return paths
}

func TestEveryFileThatIsNamedIsThere(t *testing.T) {
	files := Authenticator()
	paths := served(t, files)
	if len(paths) < 10 {
		t.Fatalf("only %d paths found in the pages: %q", len(paths), paths)
	}
	for _, path := range paths {
		if path == "/sw.js" {
			continue
		}
		if _, err := fs.Stat(files, strings.TrimPrefix(path, "/")); err != nil {
			t.Errorf("%s is named but not built: %v", path, err)
		}
	}
}

// The worker keeps all of the app and nothing of the server's answers.
func TestWorkerKeepsEveryAsset(t *testing.T) {
	files := Authenticator()
	worker := read(t, files, "sw.js")
	err := fs.WalkDir(files, "assets", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && name != "assets/licenses.txt" && !strings.Contains(worker, `"/`+name+`"`) {
			t.Errorf("%s is not kept for the time without a network", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(worker, `"/device/v1`) {
		t.Error("the worker names a path of the device API")
	}
}

// T-60: the content policy allows no inline script or style and no other host.
func TestPageFitsTheContentPolicy(t *testing.T) {
	page := read(t, Authenticator(), "index.html")
	for name, pattern := range map[string]string{
		"inline script":    `<script(?:\s+(?:type|async)="?[^"]*"?)*\s*>`,
		"inline style":     `<style|\sstyle=`,
		"inline handler":   `\son[a-z]+=`,
		"other host":       `(?i)(?:href|src)="(?:https?:)?//`,
		"data address":     `(?i)"data:`,
		"unfilled pattern": `\{\{`,
	} {
		if found := regexp.MustCompile(pattern).FindString(page); found != "" {
			t.Errorf("%s in index.html: %q", name, found)
		}
	}
	if !strings.Contains(page, `<html lang="`) || !strings.Contains(page, `role="status"`) {
		t.Error("index.html names no language or has no status region")
	}
}

func TestSharedStyleNamesFontsThatAreThere(t *testing.T) {
	files := Shared()
	fonts := regexp.MustCompile(`url\("([^"]+)"\)`).FindAllStringSubmatch(read(t, files, "tokens.css"), -1)
	if len(fonts) == 0 {
		t.Fatal("tokens.css names no font")
	}
	for _, font := range fonts {
		if _, err := fs.Stat(files, font[1]); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"base.css", "mark.svg", "wordmark.svg", "favicon.svg", "icons/icon-192.png"} {
		if _, err := fs.Stat(files, name); err != nil {
			t.Error(err)
		}
	}
}
