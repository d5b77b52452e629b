// This file owns Params, the parameters of one request: an ordered tree and the accessors that read it by the rules
// of the Authy contract, sections 1.2 and 1.3, and what a call demands of one. How a request becomes a tree is in params_decode.go.

package authyapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Kind tells what a parameter holds.
type Kind uint8

// The kinds of a parameter. Numbers and booleans are strings holding their text as it was sent, because clients send
// the same value both ways and a shown detail must read as the application wrote it.
const (
	KindAbsent Kind = iota
	KindNull
	KindString
	KindObject
	KindArray
)

// Params is one node of a request's parameters. The root is always an object. A nil Params is absent, and every
// method may be called on it. Paths are member names from this node downward; no path means the node itself.
type Params struct {
	kind    Kind
	text    string    // KindString
	members []Member  // KindObject, in the order of first appearance
	items   []*Params // KindArray
	apiKey  string    // root only
}

// Member is a named parameter of an object.
type Member struct {
	Name  string
	Value *Params
}

// APIKey returns the API key the request carried, "" when it carried none. Asked of the root only: header, then
// query, then body, and the first non-empty value wins (contract 1.2).
func (p *Params) APIKey() string {
	if p == nil {
		return ""
	}
	return p.apiKey
}

// Kind tells what stands at path. `details`, for one, may be an object or a plain string.
func (p *Params) Kind(path ...string) Kind {
	if n := p.at(path); n != nil {
		return n.kind
	}
	return KindAbsent
}

// Has reports whether something other than null stands at path. An empty string counts as something.
func (p *Params) Has(path ...string) bool { return p.Kind(path...) > KindNull }

// String returns the text at path, and "" when nothing, null, an object or an array stands there.
func (p *Params) String(path ...string) string {
	if n := p.at(path); n != nil {
		return n.text
	}
	return ""
}

// Int returns the integer at path, sent as a number or as a string. ok is false when nothing stands there (see Has) or
// when it is not a decimal integer of 64 bits.
func (p *Params) Int(path ...string) (n int64, ok bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(p.String(path...)), 10, 64)
	if err != nil {
		return 0, false
	}
	return n, true
}

// Bool reports whether true, "true", "True" or "1" stands at path; anything else is false (contract 1.3). Where the
// default is true, ask Has first.
func (p *Params) Bool(path ...string) bool {
	switch p.String(path...) {
	case "true", "True", "1":
		return true
	}
	return false
}

// Object returns the members of the object at path in the order sent; ok is false when no object stands there.
func (p *Params) Object(path ...string) (members []Member, ok bool) {
	n := p.at(path)
	if n == nil || n.kind != KindObject {
		return nil, false
	}
	return n.members, true
}

// Array returns the elements of the array at path; ok is false when no array stands there. An object whose names are
// all indexes (`logos[0][res]`, `logos[1][res]`) is an array too, in the order of its indexes. It is the reader who
// decides, because `details[1]` is a hash with a digit for a name.
func (p *Params) Array(path ...string) (items []*Params, ok bool) {
	n := p.at(path)
	switch {
	case n == nil:
		return nil, false
	case n.kind == KindArray:
		return n.items, true
	case n.kind == KindObject && len(n.members) > 0:
		return n.indexed()
	}
	return nil, false
}

// JSON returns what stands at path as JSON, in the order sent, with numbers and booleans as texts; null when nothing stands there. It escapes
// only what it must: whoever reads it counts its bytes.
func (p *Params) JSON(path ...string) json.RawMessage {
	var b bytes.Buffer
	p.at(path).writeJSON(&b)
	return b.Bytes()
}

func (p *Params) writeJSON(b *bytes.Buffer) {
	switch p.Kind() {
	case KindObject:
		b.WriteByte('{')
		for i, m := range p.members {
			if i > 0 {
				b.WriteByte(',')
			}
			writeText(b, m.Name)
			b.WriteByte(':')
			m.Value.writeJSON(b)
		}
		b.WriteByte('}')
	case KindArray:
		b.WriteByte('[')
		for i, item := range p.items {
			if i > 0 {
				b.WriteByte(',')
			}
			item.writeJSON(b)
		}
		b.WriteByte(']')
	case KindString:
		writeText(b, p.text)
	default:
		b.WriteString("null")
	}
}

func writeText(b *bytes.Buffer, s string) {
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err) // a string always encodes
	}
	b.Truncate(b.Len() - 1) // the new line
}

// indexed reads an object with only indexes for names as an array.
func (p *Params) indexed() ([]*Params, bool) {
	type element struct {
		index uint64
		value *Params
	}
	elements := make([]element, 0, len(p.members))
	for _, m := range p.members {
		i, err := strconv.ParseUint(m.Name, 10, 32)
		if err != nil {
			return nil, false
		}
		elements = append(elements, element{i, m.Value})
	}
	slices.SortStableFunc(elements, func(a, b element) int { return cmp.Compare(a.index, b.index) })
	items := make([]*Params, len(elements))
	for i, e := range elements {
		items[i] = e.value
	}
	return items, true
}

// at returns the node at path, nil when there is none.
func (p *Params) at(path []string) *Params {
	for _, name := range path {
		p = p.child(name)
	}
	return p
}

// child returns the member called name, nil when p is not an object or has none. The scan is linear; maxValues keeps
// it short.
func (p *Params) child(name string) *Params {
	if p == nil {
		return nil
	}
	for _, m := range p.members {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// set gives the member called name a value. A second value takes the place of the first (contract: last wins).
func (p *Params) set(name string, value *Params) {
	for i := range p.members {
		if p.members[i].Name == name {
			p.members[i].Value = value
			return
		}
	}
	p.members = append(p.members, Member{name, value})
}

// merge lays over onto p: objects are merged member by member, everything else is replaced whole.
func (p *Params) merge(over *Params) {
	for _, m := range over.members {
		old := p.child(m.Name)
		if old != nil && old.kind == KindObject && m.Value.kind == KindObject {
			old.merge(m.Value)
			continue
		}
		p.set(m.Name, m.Value)
	}
}

func object() *Params            { return &Params{kind: KindObject} }
func array() *Params             { return &Params{kind: KindArray} }
func text(s string) *Params      { return &Params{kind: KindString, text: s} }
func (p *Params) add(v *Params)  { p.items = append(p.items, v) }
func (p *Params) is(k Kind) bool { return p != nil && p.kind == k }

// required returns a parameter that must be there.
func (c call) required(name string) (string, error) {
	if text := c.params.String(name); text != "" {
		return text, nil
	}
	return "", errParameter.Saying(fmt.Sprintf("Invalid parameter: %s - Parameter is required", name))
}

// integer returns a parameter that must be an integer, and absent when it is not there.
func (c call) integer(name string, absent int64) (int64, error) {
	if !c.params.Has(name) || c.params.Kind(name) == KindString && c.params.String(name) == "" {
		return absent, nil
	}
	n, ok := c.params.Int(name)
	if !ok {
		return 0, errParameter.Saying(fmt.Sprintf("Invalid parameter: %s - '%.40s' is not a valid Integer", name, c.params.String(name)))
	}
	return n, nil
}
