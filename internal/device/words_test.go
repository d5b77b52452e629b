package device

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// The published examples of proquints (arXiv:0901.4016).
func TestWords(t *testing.T) {
	for want, b := range map[string][]byte{
		"lusab-babad": {127, 0, 0, 1},
		"gutih-tugad": {63, 84, 220, 193},
		"gutuk-bisog": {63, 118, 7, 35},
		"mudof-sakat": {140, 98, 193, 141},
		"haguz-biram": {64, 255, 6, 200},
		"mabiv-gibot": {128, 30, 52, 45},
		"natag-lisaf": {147, 67, 119, 2},
		"tibup-zujah": {212, 58, 253, 68},
		"tobog-higil": {216, 35, 68, 215},
		"todah-vobij": {216, 68, 232, 21},
		"sinid-makam": {198, 81, 129, 136},
		"budov-kuras": {12, 110, 110, 204},
		"":            nil,
	} {
		if got := words(b); got != want {
			t.Errorf("words of %v: got %q, want %q", b, got, want)
		}
	}
}

// bytesOf is the inverse of words, written apart from it.
func bytesOf(t testing.TB, text string) []byte {
	t.Helper()
	var out []byte
	for word := range strings.SplitSeq(text, "-") {
		var v uint16
		for i, set := range []string{"bdfghjklmnprstvz", "aiou", "bdfghjklmnprstvz", "aiou", "bdfghjklmnprstvz"} {
			at := strings.IndexByte(set, word[i])
			if at < 0 {
				t.Fatalf("%q is no proquint", word)
			}
			v = v*uint16(len(set)) + uint16(at)
		}
		out = binary.BigEndian.AppendUint16(out, v)
	}
	return out
}

// Every 16 bits have one word, and every word is read.
func TestEveryWord(t *testing.T) {
	for v := range 1 << 16 {
		b := make([]byte, ticketSize)
		binary.BigEndian.PutUint16(b[v%8*2:], uint16(v))
		text := words(b)
		if got := bytesOf(t, text); !bytes.Equal(got, b) {
			t.Fatalf("words of %x are %q, which say %x", b, text, got)
		}
		if v%97 == 0 {
			if got, ok := parseWords(strings.ToUpper(text)); !ok || got != text {
				t.Fatalf("parseWords(%q) = %q, %t", text, got, ok)
			}
		}
	}
}

func TestParseWords(t *testing.T) {
	const want = "lusab-babad-gutih-tugad-mudof-sakat-haguz-biram"
	for _, typed := range []string{
		want, strings.ToUpper(want), " " + want + "\n", strings.ReplaceAll(want, "-", " "), strings.ReplaceAll(want, "-", "\t - "), "-" + want + "-",
		"Lusab Babad Gutih Tugad\r\nMudof Sakat Haguz Biram",
	} {
		if got, ok := parseWords(typed); !ok || got != want {
			t.Errorf("parseWords(%q) = %q, %t, want %q", typed, got, ok, want)
		}
	}
	for _, typed := range []string{
		"", "lusab", want[:len(want)-1], want + "k", want + "-babad", want[6:], strings.ReplaceAll(want, "-", ""), strings.ReplaceAll(want, "-", "_"),
		strings.Replace(want, "lusab", "lusac", 1), // no such consonant
		strings.Replace(want, "lusab", "lesab", 1), // no such vowel
		strings.Replace(want, "lusab", "ulsab", 1),
		strings.Replace(want, "lusab", "luſab", 1), // long s
		strings.Replace(want, "lusab", "lusаb", 1), // Cyrillic a
		strings.Replace(want, "-", "–", 1),         // dash
		strings.Replace(want, "-", "\u00a0", 1),
		"https://auth.example.com/enroll#" + want,
		strings.Repeat(want+" ", 10),
		want + strings.Repeat(" ", 300),
	} {
		if got, ok := parseWords(typed); ok || got != "" {
			t.Errorf("parseWords(%q) = %q, %t, want it refused", typed, got, ok)
		}
	}
}

func FuzzParseWords(f *testing.F) {
	for _, seed := range []string{"lusab-babad-gutih-tugad-mudof-sakat-haguz-biram", "LUSAB babad  gutih-tugad mudof sakat haguz biram", "", "\u212ausab", "luſab"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		got, ok := parseWords(typed)
		if !ok {
			if got != "" {
				t.Errorf("parseWords(%q) refuses and returns %q", typed, got)
			}
			return
		}
		b := bytesOf(t, got)
		if len(b) != ticketSize || words(b) != got {
			t.Errorf("parseWords(%q) = %q, which is not the form of %x", typed, got, b)
		}
		if again, ok := parseWords(got); !ok || again != got {
			t.Errorf("parseWords(%q) = %q, then %q", typed, got, again)
		}
	})
}
