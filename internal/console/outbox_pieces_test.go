package console

import (
	"fmt"
	"testing"
)

// Addresses in a message are links, without the sentence that they end; nothing else is, and nothing is lost.
func TestPieces(t *testing.T) {
	for body, want := range map[string]string{
		"":                                 "[]",
		"Your code is 123456.":             "[]",
		"Open http://localhost:8300/x?y=z": "[http://localhost:8300/x?y=z]",
		"See https://a.example/b. Or (http://c.example/d)!": "[https://a.example/b http://c.example/d]",
		`<a href="https://a.example/b">`:                    "[https://a.example/b]",
		"javascript:alert(1)":                               "[]",
	} {
		links, all := []string{}, ""
		for _, p := range pieces(body) {
			all += p.Text
			if p.Link != "" {
				links = append(links, p.Link)
			}
		}
		if got := fmt.Sprint(links); got != want || all != body {
			t.Errorf("%q: links %s, together %q", body, got, all)
		}
	}
}
