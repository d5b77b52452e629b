// This file owns what a person is shown, and what an application keeps hidden: cleaning and digests.

package receipt

import (
	"net/netip"
	"strings"
	"unicode"
)

// Field is one line of details. Details are lists, not maps, because people read them in order.
type Field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Content is everything a person is shown about an approval. Nothing is shown that is not in its digest.
type Content struct {
	Application string  // the application's name as shown
	Message     string  // what is asked
	Details     []Field // in the order shown
	Logo        string  // hex SHA-256 of the picture served, "" without one
	Context     Context // where it was started
}

// Context says where the request was started: the browser and network address of whoever started it, as told by the application and shown to
// the person as such. An empty Context is left out of the digest.
type Context struct {
	Address string `json:"address"` // network address
	Browser string `json:"browser"` // what the browser calls itself
	Origin  string `json:"origin"`  // of the page, scheme://host[:port]
}

// Digest is the b64 SHA-256 of the content's canonical form, an answer's "shown". The text goes in as it is: see [Content.Clean].
func (c Content) Digest() string {
	shown := map[string]any{
		"application": c.Application,
		"details":     pairs(c.Details),
		"format":      "countersign.shown",
		"logo":        c.Logo,
		"message":     c.Message,
	}
	if c.Context != (Context{}) {
		shown["context"] = map[string]any{"address": c.Context.Address, "browser": c.Context.Browser, "origin": c.Context.Origin}
	}
	return digest(shown)
}

// Clean returns the content with every text passed through [CleanText] and the context through [Context.Clean], as the server stores and shows it.
func (c Content) Clean() Content {
	c.Application = CleanText(c.Application)
	c.Message = CleanText(c.Message)
	details := make([]Field, len(c.Details))
	for i, field := range c.Details {
		details[i] = Field{Name: CleanText(field.Name), Value: CleanText(field.Value)}
	}
	c.Details = details
	c.Context = c.Context.Clean()
	return c
}

// maxBrowser is as many characters of what a browser calls itself as are kept and shown.
const maxBrowser = 200

// Clean returns the context as the server stores and shows it, so that an application may expect what it sent: texts passed through
// [CleanText], a network address in its usual form (that of "::ffff:192.0.2.1" is "192.0.2.1"), Browser cut at 200 characters.
func (c Context) Clean() Context {
	c = Context{Address: CleanText(c.Address), Browser: CleanText(c.Browser), Origin: CleanText(c.Origin)}
	if address, err := netip.ParseAddr(c.Address); err == nil {
		c.Address = address.Unmap().WithZone("").String()
	}
	n := 0
	for i := range c.Browser {
		if n++; n > maxBrowser {
			c.Browser = strings.TrimSpace(c.Browser[:i])
			break
		}
	}
	return c
}

// HiddenDigest is the b64 SHA-256 of the canonical form of hidden details, an answer's "hidden". An approval without
// hidden details has the digest of the empty list.
func HiddenDigest(details []Field) string {
	return digest(map[string]any{
		"details": pairs(details),
		"format":  "countersign.hidden",
	})
}

func pairs(fields []Field) []any {
	list := make([]any, len(fields))
	for i, field := range fields {
		list[i] = []any{field.Name, field.Value}
	}
	return list
}

// CleanText makes a text safe to show in one line and impossible to reorder: line breaks and tabs become spaces; other control characters,
// bidirectional controls and invisible separators go away; white space at both ends is cut; bytes that are not UTF-8 become U+FFFD.
// U+200C and U+200D stay, because scripts and emoji need them. Cleaning twice changes nothing more.
func CleanText(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t', r == 0x2028, r == 0x2029:
			return ' '
		case unicode.IsControl(r):
			return -1
		case r == 0x061C, r == 0x200E, r == 0x200F, 0x202A <= r && r <= 0x202E, 0x2066 <= r && r <= 0x2069:
			return -1 // could show "deny" as "approve" read backwards
		case r == 0x200B, r == 0x2060, r == 0xFEFF:
			return -1 // could make two different names look the same
		}
		return r
	}, s))
}
