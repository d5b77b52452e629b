package device

import (
	"encoding/binary"
	"strings"
)

// This file owns how a ticket is written: as proquints (arXiv:0901.4016), pronounceable
// five-letter words of 16 bits each, so that one form serves the link and the keyboard.

const (
	consonants = "bdfghjklmnprstvz"
	vowels     = "aiou"
	ticketSize = 16 // bytes: 128 bits, eight words
)

// words writes b, an even number of bytes, as words joined by dashes.
func words(b []byte) string {
	var out strings.Builder
	for i := 0; i < len(b); i += 2 {
		if i > 0 {
			out.WriteByte('-')
		}
		v := binary.BigEndian.Uint16(b[i:])
		out.WriteByte(consonants[v>>12])
		out.WriteByte(vowels[v>>10&3])
		out.WriteByte(consonants[v>>6&15])
		out.WriteByte(vowels[v>>4&3])
		out.WriteByte(consonants[v&15])
	}
	return out.String()
}

// parseWords returns the one canonical form of typed words: lower case, dashes. It accepts
// spaces for dashes and capitals, and nothing that is not a ticket's eight words.
func parseWords(typed string) (string, bool) {
	if len(typed) > 200 {
		return "", false
	}
	list := strings.FieldsFunc(strings.ToLower(typed), func(r rune) bool { return r == '-' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
	if len(list) != ticketSize/2 {
		return "", false
	}
	for _, w := range list {
		if len(w) != 5 {
			return "", false
		}
		for i, set := range []string{consonants, vowels, consonants, vowels, consonants} {
			if strings.IndexByte(set, w[i]) < 0 {
				return "", false
			}
		}
	}
	return strings.Join(list, "-"), true
}
