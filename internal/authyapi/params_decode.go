// This file owns the reading of a request's parameters in every encoding that clients use (Authy contract 1.1 to 1.3):
// query, form, JSON and multipart, on any method, within fixed bounds.

package authyapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"path"
	"strings"
	"unicode/utf8"
)

// Bounds of what a request may hold. The largest honest request, an approval with long details and four logos, uses
// a small part of each.
const (
	maxBody   = 64 << 10 // bytes of the body, and of the query
	maxValues = 1000     // values in the query, and in the body
	maxDepth  = 8        // objects and arrays inside each other
)

// decodeError says why a request's parameters cannot be read. It is always HTTP 400.
type decodeError struct {
	code    string // five digits, contract section 2
	message string // safe to show
}

func (e *decodeError) Error() string { return e.message }

var (
	errNotUTF8  = &decodeError{"60005", "Input is not valid UTF-8"}
	errTooLarge = &decodeError{"60002", "Invalid request: larger than 64 KiB"}
	errTooMany  = &decodeError{"60002", fmt.Sprintf("Invalid request: more than %d parameters", maxValues)}
	errTooDeep  = &decodeError{"60002", fmt.Sprintf("Invalid request: parameters nested deeper than %d", maxDepth)}
)

// malformed is the error for input that breaks the grammar of its encoding.
func malformed(encoding string) error {
	return &decodeError{"60002", "Invalid request: malformed " + encoding}
}

// isText reports whether s is UTF-8 that a database can keep: PostgreSQL's text holds no NUL.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// decode reads the parameters of r: the query, with the body laid over it. It consumes the body. A path that is not text
// is refused here too. Every error is a *decodeError.
func decode(r *http.Request) (*Params, error) {
	if !isText(r.URL.Path) {
		return nil, errNotUTF8
	}
	query, err := decodeForm(r.URL.RawQuery, "query string")
	if err != nil {
		return nil, err
	}
	raw, err := readBody(r)
	if err != nil {
		return nil, err
	}
	body, err := decodeBody(r.Header.Get("Content-Type"), raw)
	if err != nil {
		return nil, err
	}
	query.apiKey = cmp.Or(r.Header.Get("X-Authy-API-Key"), query.String("api_key"), body.String("api_key"))
	query.merge(body)
	return query, nil
}

// readBody reads the body whatever the method is: node-authy and authy-client send one with GET.
func readBody(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	var limit *http.MaxBytesError
	switch {
	case len(raw) > maxBody || errors.As(err, &limit):
		return nil, errTooLarge
	case err != nil:
		return nil, malformed("body")
	}
	return raw, nil
}

// decodeBody reads a body by its content type. An empty body is no parameters under every type, and a missing or
// foreign type is guessed from the first byte.
func decodeBody(contentType string, raw []byte) (*Params, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	trimmed := bytes.TrimSpace(raw)
	if len(trimmed) == 0 {
		return object(), nil
	}
	mediaType, options, _ := mime.ParseMediaType(contentType)
	switch {
	case mediaType == "multipart/form-data":
		return decodeMultipart(options["boundary"], raw)
	case mediaType == "application/x-www-form-urlencoded":
		return decodeForm(string(raw), "form")
	case mediaType == "application/json", strings.HasSuffix(mediaType, "+json"), trimmed[0] == '{':
		return decodeJSON(raw)
	}
	return decodeForm(string(trimmed), "form")
}

// decodeForm reads `a=1&b[c]=2`, as a query or as a body. `&` alone separates: a `;` is data, whatever HTML 4 said.
func decodeForm(s, name string) (*Params, error) {
	if len(s) > maxBody {
		return nil, errTooLarge
	}
	f := form{root: object()}
	for pair := range strings.SplitSeq(s, "&") {
		if pair == "" {
			continue
		}
		rawKey, rawValue, _ := strings.Cut(pair, "=")
		key, errKey := url.QueryUnescape(rawKey)
		value, errValue := url.QueryUnescape(rawValue)
		if errKey != nil || errValue != nil {
			return nil, malformed(name)
		}
		if err := f.add(key, value); err != nil {
			return nil, err
		}
	}
	return f.root, nil
}

// decodeMultipart reads the parts as if they were fields of a form.
func decodeMultipart(boundary string, raw []byte) (*Params, error) {
	if boundary == "" {
		return nil, malformed("multipart body")
	}
	f := form{root: object()}
	for parts := multipart.NewReader(bytes.NewReader(raw), boundary); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			return f.root, nil
		}
		if err != nil {
			return nil, malformed("multipart body")
		}
		value, err := io.ReadAll(part)
		if err != nil {
			return nil, malformed("multipart body")
		}
		if err := f.add(part.FormName(), string(value)); err != nil {
			return nil, err
		}
	}
}

// decodeJSON reads one JSON object. The token decoder keeps the order of members and the text of numbers, which
// unmarshalling into a map would lose.
func decodeJSON(raw []byte) (*Params, error) {
	if !utf8.Valid(raw) {
		return nil, errNotUTF8
	}
	if !json.Valid(raw) {
		return nil, malformed("JSON")
	}
	d := jsonDecoder{tokens: json.NewDecoder(bytes.NewReader(raw))}
	d.tokens.UseNumber()
	root, err := d.value(0)
	switch {
	case err != nil:
		return nil, err
	case root.kind != KindObject:
		return nil, &decodeError{"60002", "Invalid request: the JSON body must be an object"}
	}
	return root, nil
}

// jsonDecoder builds a tree from input known to be valid JSON.
type jsonDecoder struct {
	tokens *json.Decoder
	values int
}

// value reads the next value, which stands inside depth objects and arrays.
func (d *jsonDecoder) value(depth int) (*Params, error) {
	if d.values++; d.values > maxValues+1 { // the root is not a parameter
		return nil, errTooMany
	}
	token, err := d.tokens.Token()
	if err != nil {
		return nil, malformed("JSON")
	}
	switch t := token.(type) {
	case json.Delim:
		return d.container(t, depth+1)
	case string:
		if !isText(t) {
			return nil, errNotUTF8
		}
		return text(t), nil
	case json.Number:
		return text(t.String()), nil
	case bool:
		return text(fmt.Sprint(t)), nil
	}
	return &Params{kind: KindNull}, nil
}

// container reads the members or elements that follow an opening delimiter, and the closing one.
func (d *jsonDecoder) container(open json.Delim, depth int) (*Params, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	node := array()
	if open == '{' {
		node = object()
	}
	for d.tokens.More() {
		var name json.Token
		if open == '{' {
			var err error
			if name, err = d.tokens.Token(); err != nil {
				return nil, malformed("JSON")
			}
		}
		value, err := d.value(depth)
		if err != nil {
			return nil, err
		}
		switch key, isMember := name.(string); {
		case !isMember:
			node.add(value)
		case !isText(key):
			return nil, errNotUTF8
		default:
			node.set(key, value)
		}
	}
	if _, err := d.tokens.Token(); err != nil {
		return nil, malformed("JSON")
	}
	return node, nil
}

// form builds a tree from fields with bracketed names.
type form struct {
	root   *Params
	fields int
}

// add puts one field into the tree.
func (f *form) add(key, value string) error {
	if !isText(key) || !isText(value) {
		return errNotUTF8
	}
	if f.fields++; f.fields > maxValues {
		return errTooMany
	}
	segments := splitKey(key)
	if len(segments) > maxDepth {
		return errTooDeep
	}
	put(f.root, segments[0], segments[1:], text(value))
	return nil
}

// splitKey takes `a[b][]` apart into a, b and "". A name whose brackets do not match is one plain name, which no
// endpoint knows and so everyone ignores.
func splitKey(key string) []string {
	open := strings.IndexByte(key, '[')
	if open <= 0 || !strings.HasSuffix(key, "]") {
		return []string{key}
	}
	segments := append([]string{key[:open]}, strings.Split(key[open+1:len(key)-1], "][")...)
	for _, s := range segments {
		if strings.ContainsAny(s, "[]") {
			return []string{key}
		}
	}
	return segments
}

// put stores value in object parent under name and the rest of its path. Where a field disagrees with an earlier one
// about what a name holds, the later one wins.
func put(parent *Params, name string, rest []string, value *Params) {
	switch {
	case len(rest) == 0:
		parent.set(name, value)
	case rest[0] == "":
		list := parent.child(name)
		if !list.is(KindArray) {
			list = array()
			parent.set(name, list)
		}
		appendTo(list, rest[1:], value)
	default:
		node := parent.child(name)
		if !node.is(KindObject) {
			node = object()
			parent.set(name, node)
		}
		put(node, rest[0], rest[1:], value)
	}
}

// appendTo adds a value under `[]`. For an array of hashes it follows Rack: a field belongs to the last element until
// that element has it already, which starts the next one.
func appendTo(list *Params, rest []string, value *Params) {
	switch {
	case len(rest) == 0:
		list.add(value)
	case rest[0] == "": // `a[][]`: each field is an array of its own, as nothing tells where one ends
		inner := array()
		list.add(inner)
		appendTo(inner, rest[1:], value)
	default:
		var last *Params
		if n := len(list.items); n > 0 {
			last = list.items[n-1]
		}
		if !last.is(KindObject) || taken(last, rest) {
			last = object()
			list.add(last)
		}
		put(last, rest[0], rest[1:], value)
	}
}

// taken reports whether node already has what path names. A list at the end of a path is never full.
func taken(node *Params, path []string) bool {
	for _, name := range path {
		if name == "" {
			return false
		}
		if node = node.child(name); node == nil {
			return false
		}
	}
	return true
}

// cleanPaths serves paths with repeated slashes, a slash at the end or dot segments as if they were written plainly.
// Libraries whose base URL ends in a slash send `//protected/json/…`, and the mux would answer them with a redirect,
// on which a POST loses its body. It works on the escaped path, so an encoded slash stays part of its segment.
func cleanPaths(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		escaped := r.URL.EscapedPath()
		clean := path.Clean("/" + escaped)
		if clean == escaped {
			next.ServeHTTP(w, r)
			return
		}
		decoded, err := url.PathUnescape(clean)
		if err != nil { // EscapedPath promises a valid encoding
			decoded, clean = clean, ""
		}
		u := *r.URL
		u.Path, u.RawPath = decoded, clean
		cleaned := *r
		cleaned.URL = &u
		next.ServeHTTP(w, &cleaned)
		r.Pattern = cleaned.Pattern // for the log
	})
}
