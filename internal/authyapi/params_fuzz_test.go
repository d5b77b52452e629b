// This file holds the fuzz targets of the parameter decoder and its round-trip property.

package authyapi

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// FuzzDecode: any input gives a tree within the bounds or a decodeError, never a panic.
func FuzzDecode(f *testing.F) {
	f.Add("a=1&b[c]=2", jsonType, `{"a":{"b":[1,null,true]}}`)
	f.Add("logos[][res]=a&logos[][url]=b&logos[][res]=c", formType, "a[][][b]=1&a[][][b]=2&a[b]=3")
	f.Add("a;b=c+d", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"a[b]\"\r\n\r\nc\r\n--x--\r\n")
	f.Add("%ff", "", "\xef\xbb\xbf{}")
	f.Fuzz(func(t *testing.T, query, contentType, body string) {
		r := request("POST", "/", contentType, body)
		r.URL.RawQuery = query
		p, err := decode(r)
		if err != nil {
			if refused := new(decodeError); !errors.As(err, &refused) || len(refused.code) != 5 || refused.message == "" {
				t.Fatalf("not a decodeError: %v", err)
			}
			return
		}
		if n := nodes(t, p, 0); n > 2*maxValues*maxDepth+1 {
			t.Fatalf("%d nodes", n)
		}
		p.APIKey()
		for _, m := range p.members {
			p.Array(m.Name)
			p.Int(m.Name)
		}
	})
}

// nodes counts the nodes of a tree and checks what holds for each.
func nodes(t *testing.T, p *Params, depth int) int {
	if depth > maxDepth {
		t.Fatal("too deep")
	}
	if !isText(p.text) {
		t.Fatalf("not text: %q", p.text)
	}
	n := 1
	seen := map[string]bool{}
	for _, m := range p.members {
		if seen[m.Name] {
			t.Fatalf("%q stands twice", m.Name)
		}
		seen[m.Name] = true
		n += nodes(t, m.Value, depth+1)
	}
	for _, item := range p.items {
		n += nodes(t, item, depth+1)
	}
	return n
}

// FuzzForm: a form of plain names and values comes back as it went in.
func FuzzForm(f *testing.F) {
	f.Add("details", "k", "v;&=+%")
	f.Fuzz(func(t *testing.T, outer, inner, value string) {
		if strings.ContainsAny(outer+inner, "[]") || outer == "" || inner == "" ||
			!isText(outer) || !isText(inner) || !isText(value) {
			return
		}
		body := url.QueryEscape(outer) + "[" + url.QueryEscape(inner) + "]=" + url.QueryEscape(value)
		if len(body) > maxBody {
			return
		}
		p, err := decode(request("POST", "/", formType, body))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.String(outer, inner); got != value {
			t.Errorf("got %q, want %q", got, value)
		}
	})
}

// TestRoundTrip: what a client can write in either encoding is read back the same, with its order.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawObject(t, 3)
		viaJSON, err := decode(request("POST", "/", jsonType, string(want.JSON())))
		if err != nil {
			t.Fatal(err)
		}
		if show(viaJSON) != show(want) {
			t.Fatalf("JSON %s: got %s, want %s", want.JSON(), show(viaJSON), show(want))
		}
		form := strings.Join(toForm(want, ""), "&")
		for name, r := range map[string]*Params{
			"body":  mustDecode(t, "/", form),
			"query": mustDecode(t, "/?"+form, ""),
		} {
			if show(r) != show(want) {
				t.Fatalf("%s %s: got %s, want %s", name, form, show(r), show(want))
			}
		}
	})
}

func mustDecode(t *rapid.T, target, body string) *Params {
	p, err := decode(request("POST", target, formType, body))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// drawObject draws a tree that forms can carry too: nothing empty, no brackets in names, and arrays whose elements are
// strings, or hashes that all have the same members.
func drawObject(t *rapid.T, depth int) *Params {
	name := rapid.StringMatching(`[^\[\]\x00]{1,6}`)
	node := object()
	for range rapid.IntRange(1, 4).Draw(t, "members") {
		node.set(name.Draw(t, "name"), drawValue(t, depth-1))
	}
	return node
}

// anyText draws what isText.
var anyText = rapid.String().Filter(isText)

func drawValue(t *rapid.T, depth int) *Params {
	kind := rapid.IntRange(0, 3).Draw(t, "kind")
	switch {
	case depth == 0 || kind == 0:
		return text(anyText.Draw(t, "text"))
	case kind == 1:
		return drawObject(t, depth)
	}
	list := array()
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,3}`), 1, 3, rapid.ID).Draw(t, "names")
	for range rapid.IntRange(1, 3).Draw(t, "elements") {
		if kind == 2 {
			list.add(text(anyText.Draw(t, "element")))
			continue
		}
		element := object()
		for _, n := range names {
			element.set(n, text(anyText.Draw(t, "field")))
		}
		list.add(element)
	}
	return list
}

// toForm writes the fields below prefix; escaped brackets and plain ones take turns.
func toForm(p *Params, prefix string) (fields []string) {
	switch p.kind {
	case KindObject:
		for i, m := range p.members {
			name := url.QueryEscape(m.Name)
			switch {
			case prefix != "" && i%2 == 0:
				name = prefix + "[" + name + "]"
			case prefix != "":
				name = prefix + "%5B" + name + "%5D"
			}
			fields = append(fields, toForm(m.Value, name)...)
		}
	case KindArray:
		for _, item := range p.items {
			fields = append(fields, toForm(item, prefix+"[]")...)
		}
	default:
		return []string{fmt.Sprintf("%s=%s", prefix, url.QueryEscape(p.text))}
	}
	return fields
}
