package server_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestMetricsAreListed compares docs/upkeep.md with what is exported after everything has happened once.
func TestMetricsAreListed(t *testing.T) {
	h := newHouse(t)
	h.provoke(h.journey())
	h.waitFor(t, func() bool {
		return strings.Contains(h.metrics(), `countersign_messages_total{channel="sms",status="sent"} 1`)
	})
	page, err := os.ReadFile("../../docs/upkeep.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed, exported []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(countersign_[a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		listed = append(listed, m[1])
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (countersign_[a-z_]+) `).FindAllStringSubmatch(h.metrics(), -1) {
		exported = append(exported, m[1])
	}
	slices.Sort(listed)
	slices.Sort(exported)
	if !slices.Equal(listed, exported) {
		t.Errorf("listed   %q\nexported %q", listed, exported)
	}
	for _, m := range regexp.MustCompile(`countersign_[a-z_]+`).FindAllString(string(page), -1) {
		name := regexp.MustCompile(`_bucket$`).ReplaceAllString(m, "")
		if !slices.Contains(exported, name) {
			t.Errorf("the page speaks of %s, which is not exported", m)
		}
	}
}
