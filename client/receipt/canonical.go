// This file owns canonical JSON: one value, one byte sequence.

package receipt

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// b64 is base64url without padding. Strict, because a text with loose trailing bits would be a
// second spelling of the same bytes.
var b64 = base64.RawURLEncoding.Strict()

// digest is the b64 SHA-256 of a value's canonical form.
func digest(value any) string {
	sum := sha256.Sum256(canonical(nil, value))
	return b64.EncodeToString(sum[:])
}

// canonical appends the RFC 8785 form of a value made of map[string]any, []any, string, bool and int64.
// Numbers other than integers are left out on purpose: their text is the hard part of the RFC and nothing here needs it.
// It panics for any other type, which only a mistake in this package can cause.
func canonical(dst []byte, value any) []byte {
	switch v := value.(type) {
	case map[string]any:
		dst = append(dst, '{')
		for i, key := range slices.SortedFunc(maps.Keys(v), compareUTF16) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(canonicalString(dst, key), ':')
			dst = canonical(dst, v[key])
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, element := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = canonical(dst, element)
		}
		return append(dst, ']')
	case string:
		return canonicalString(dst, v)
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	default:
		panic("receipt: value that has no canonical form")
	}
}

// compareUTF16 orders strings by UTF-16 code units (RFC 8785 section 3.2.3), as JavaScript compares strings. It
// differs from byte order for characters beyond U+FFFF, whose surrogates sort before U+E000.
func compareUTF16(a, b string) int {
	return slices.CompareFunc(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)), cmp.Compare[uint16])
}

// canonicalString appends a string with the escapes of RFC 8785 section 3.2.2.2 and no others. A byte that is not
// UTF-8 becomes U+FFFD, so that the output is always valid; callers refuse such text earlier.
func canonicalString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r == '\b':
			dst = append(dst, `\b`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\f':
			dst = append(dst, `\f`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hex[r>>4], hex[r&0xf])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
