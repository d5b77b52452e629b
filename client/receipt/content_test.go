// This file tests text cleaning and the digests of content.

package receipt

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestCleanText(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{"plain", "plain"},
		{"  cut \u00a0", "cut"},
		{"line\nbreak\ttab", "line break tab"},
		{"line\r\nbreak", "line break"},
		{"one\u2028two\u2029three", "one two three"},
		{"bell\x07 escape\x1b[31m del\x7f next\u0085", "bell escape[31m del next"},
		{"\u202eyned\u202c \u2066a\u2069 \u061c\u200e\u200f", "yned a"},
		{"zero\u200bwidth\u2060join\ufeff", "zerowidthjoin"},
		{"👩\u200d👧 می\u200cخواهم", "👩\u200d👧 می\u200cخواهم"},
		{"bad \xff utf-8", "bad \ufffd utf-8"},
		{"\u200b \n\u202e", ""},
		{"e\u0301", "e\u0301"},
	} {
		if got := CleanText(test.in); got != test.want {
			t.Errorf("CleanText(%q): got %q, want %q", test.in, got, test.want)
		}
	}
}

func TestCleanTextTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes")) + rapid.StringOf(rapid.RuneFrom([]rune("a \n\t\u200b\u202e\u2028\ufeff\x00"))).Draw(t, "runes")
		once := CleanText(s)
		if !utf8.ValidString(once) {
			t.Fatalf("%q is not UTF-8", once)
		}
		if twice := CleanText(once); twice != once {
			t.Fatalf("%q becomes %q", once, twice)
		}
	})
}

// What no server accepts stays what it is: [Context.Clean] refuses nothing.
func TestContextClean(t *testing.T) {
	for _, test := range []struct{ in, want Context }{
		{Context{}, Context{}},
		{Context{Address: "::FFFF:192.0.2.1\n"}, Context{Address: "192.0.2.1"}},
		{Context{Address: "2001:db8:0:0:0:0:0:7%eth0"}, Context{Address: "2001:db8::7"}},
		{Context{Address: "192.0.2.1:443"}, Context{Address: "192.0.2.1:443"}},
		{Context{Browser: strings.Repeat("a", 199) + " b"}, Context{Browser: strings.Repeat("a", 199)}},
		{Context{Browser: strings.Repeat("日", 201)}, Context{Browser: strings.Repeat("日", 200)}},
		{Context{Browser: "\u202e" + strings.Repeat("a", 200)}, Context{Browser: strings.Repeat("a", 200)}},
		{Context{Origin: "https://login.\u200bbank.example "}, Context{Origin: "https://login.bank.example"}},
	} {
		if got := test.in.Clean(); got != test.want || got.Clean() != got {
			t.Errorf("%+v becomes %+v and %+v, want %+v", test.in, got, got.Clean(), test.want)
		}
	}
}

// TestDigestsDiffer guards against content that could be moved between fields without a change of the digest.
func TestDigestsDiffer(t *testing.T) {
	a := Field{Name: "a", Value: "b"}
	seen := map[string]int{}
	for i, digest := range []string{
		Content{}.Digest(),
		Content{Application: "a"}.Digest(),
		Content{Message: "a"}.Digest(),
		Content{Logo: "a"}.Digest(),
		Content{Details: []Field{a}}.Digest(),
		Content{Details: []Field{a, a}}.Digest(),
		Content{Details: []Field{{Name: "b", Value: "a"}}}.Digest(),
		Content{Details: []Field{{Name: "a"}, {Value: "b"}}}.Digest(),
		Content{Details: []Field{{Name: `a","b`}}}.Digest(),
		HiddenDigest(nil),
		HiddenDigest([]Field{a}),
	} {
		if first, ok := seen[digest]; ok {
			t.Errorf("contents %d and %d have the same digest", first, i)
		}
		seen[digest] = i
	}
	if HiddenDigest(nil) != HiddenDigest([]Field{}) {
		t.Error("no list and an empty list differ")
	}
}
