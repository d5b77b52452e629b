package tenant

import (
	"strings"
	"testing"
	"unicode"
)

func TestParseEmail(t *testing.T) {
	long := strings.Repeat("a", 64) + "@" + strings.Repeat("b", 185) + ".com" // 254 bytes
	for in, want := range map[string]string{
		"ana@example.com":          "ana@example.com",
		"  ana@example.com\n":      "ana@example.com",
		"Ana.B+tag@Example.COM":    "Ana.B+tag@Example.COM",
		"o'neill@example.com":      "o'neill@example.com",
		"ana@sub.example.co.uk":    "ana@sub.example.co.uk",
		"用户@example.com":           "用户@example.com",
		long:                       long,
		"":                         "",
		"ana":                      "",
		"ana@":                     "",
		"@example.com":             "",
		"ana@@example.com":         "",
		"ana@example.com, b@c.de":  "",
		"Ana <ana@example.com>":    "",
		"<ana@example.com>":        "",
		"ana@example.com (Ana)":    "",
		"ana @example.com":         "",
		`"ana b"@example.com`:      "",
		"ana@exam\r\nple.com":      "",
		"ana@example.com\r\nBcc:x": "",
		"ana\x00@example.com":      "",
		"ana@example.com\x7f":      "",
		"ana@.com":                 "",
		"ana.@example.com":         "",
		"a" + long:                 "",
	} {
		got, ok := ParseEmail(in)
		if got != want || ok != (want != "") {
			t.Errorf("ParseEmail(%q) = %q, %t, want %q", in, got, ok, want)
		}
	}
}

// T-41: no accepted address carries what could end a header or hide part of it.
func FuzzParseEmail(f *testing.F) {
	for _, seed := range []string{"ana@example.com", "Ana <ana@example.com>", "a@b\r\nBcc: c@d", `"a b"@c`, "a@[192.0.2.1]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := ParseEmail(in)
		if !ok {
			return
		}
		if again, ok := ParseEmail(got); !ok || again != got || len(got) > 254 || strings.Count(got, "@") < 1 {
			t.Errorf("ParseEmail(%q) = %q, then %q", in, got, again)
		}
		if i := strings.IndexFunc(got, func(r rune) bool {
			return unicode.IsControl(r) || unicode.IsSpace(r) || strings.ContainsRune("<>,;\"", r)
		}); i >= 0 {
			t.Errorf("ParseEmail(%q) = %q, with %q in it", in, got, got[i:])
		}
	})
}
