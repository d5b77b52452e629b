// Package smpp speaks SMPP 3.4 as a client: it submits short messages to a
// message centre over one connection, and hears what became of them.
package smpp

import (
	"encoding/binary"
	"unicode/utf16"
)

// This file owns the alphabets of short messages (3GPP TS 23.038), and how a text is cut into segments (3GPP TS 23.040).

// Coding is how a text is written, as data_coding says it.
type Coding byte

// The two codings that every telephone reads.
const (
	GSM7 Coding = 0x00 // the message centre's default alphabet, one character an octet
	UCS2 Coding = 0x08
)

// What fits into one message, and into each part of a longer one, whose header takes six octets: in characters of the alphabet.
const (
	gsmAlone, gsmPart   = 160, 153
	ucs2Alone, ucs2Part = 70, 67
	maxParts            = 255
)

// basic is the default alphabet, each character at the place of its code; escape stands for the character after it in extension.
const (
	basic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"

	escape = 0x1b
)

var gsmCodes = func() map[rune][]byte {
	codes, n := map[rune][]byte{}, byte(0)
	for _, r := range basic {
		codes[r], n = []byte{n}, n+1
	}
	delete(codes, escape)
	for r, c := range map[rune]byte{'\f': 0x0a, '^': 0x14, '{': 0x28, '}': 0x29, '\\': 0x2f, '[': 0x3c, '~': 0x3d, ']': 0x3e, '|': 0x40, '€': 0x65} {
		codes[r] = []byte{escape, c}
	}
	return codes
}()

// Split encodes a text and cuts it into the parts that are sent: one, or as many as it takes. No character is cut in two.
func Split(text string) (Coding, [][]byte) {
	if units, ok := gsmUnits(text); ok {
		return GSM7, pack(units, gsmAlone, gsmPart)
	}
	return UCS2, splitUCS2(text)
}

func splitUCS2(text string) [][]byte {
	var units [][]byte
	for _, r := range text {
		var unit []byte
		for _, u := range utf16.AppendRune(nil, r) {
			unit = binary.BigEndian.AppendUint16(unit, u)
		}
		units = append(units, unit)
	}
	return pack(units, 2*ucs2Alone, 2*ucs2Part)
}

func gsmUnits(text string) (units [][]byte, ok bool) {
	for _, r := range text {
		unit, ok := gsmCodes[r]
		if !ok {
			return nil, false
		}
		units = append(units, unit)
	}
	return units, true
}

// pack puts units into one part of at most alone octets, or into several of at most part.
func pack(units [][]byte, alone, part int) [][]byte {
	total := 0
	for _, u := range units {
		total += len(u)
	}
	limit := alone
	if total > alone {
		limit = part
	}
	parts := [][]byte{nil}
	for _, u := range units {
		last := len(parts) - 1
		if len(parts[last])+len(u) > limit {
			parts, last = append(parts, nil), last+1
		}
		parts[last] = append(parts[last], u...)
	}
	return parts
}
