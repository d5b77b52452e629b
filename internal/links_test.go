// This file keeps the documents' links: to files that are there, and to headings that they have.

package internal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	documentLink = regexp.MustCompile(`\]\(([^)#:\s]*)(?:#([^)\s]+))?\)`) // without a scheme: within the repository
	fencedBlock  = regexp.MustCompile("(?ms)^```.*?^```$")
	heading      = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInAnchor  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	links := 0
	for _, pattern := range []string{"../*.md", "../docs/*.md", "../docs/*/*.md"} {
		pages, err := filepath.Glob(pattern)
		if err != nil || len(pages) == 0 {
			t.Fatalf("%s: %v, %v", pattern, pages, err)
		}
		for _, page := range pages {
			for _, link := range documentLink.FindAllStringSubmatch(readDocument(t, page), -1) {
				links++
				target := page
				if link[1] != "" {
					target = filepath.Join(filepath.Dir(page), link[1])
				}
				if _, err := os.Stat(target); err != nil {
					t.Errorf("%s: %v", page, err)
				} else if link[2] != "" && !hasHeading(readDocument(t, target), link[2]) {
					t.Errorf("%s links to #%s, and %s has no such heading", page, link[2], target)
				}
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links were found", links)
	}
}

// readDocument returns a page without its blocks of code.
func readDocument(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return fencedBlock.ReplaceAllString(string(text), "")
}

// hasHeading reports whether a page has a heading with that anchor, as sites that show Markdown make it.
func hasHeading(page, anchor string) bool {
	for _, h := range heading.FindAllStringSubmatch(page, -1) {
		if strings.ReplaceAll(notInAnchor.ReplaceAllString(strings.ToLower(h[1]), ""), " ", "-") == anchor {
			return true
		}
	}
	return false
}
