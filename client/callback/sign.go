// This file owns the signature: flattening a body, and the HMAC over it.

package callback

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// The headers of a callback, spelled as the Authy API spelled them: some receivers compare the spelling.
const (
	HeaderSignature = "X-Authy-Signature"
	HeaderNonce     = "X-Authy-Signature-Nonce"
)

const (
	maxBody  = 64 << 10 // bytes, of a body or of a query
	maxDepth = 32       // objects and arrays inside one another
)

// ErrMalformed says that a body or query is not what a callback may carry. A handler answers 400.
var ErrMalformed = errors.New("callback: malformed")

// ErrTooLarge says that a body or query is over 64 KiB. A handler answers 413.
var ErrTooLarge = errors.New("callback: over 64 KiB")

// Sign returns the signature over a callback: base64, with padding, of the HMAC-SHA256 of nonce|METHOD|url|params. The nonce must not
// hold a vertical bar. The URL is the configured one, absolute; its query and fragment take no part, nor does the default port of its scheme.
// Params come from [Canonical].
func Sign(key, nonce, method, url, params string) string {
	return base64.StdEncoding.EncodeToString(mac(key, nonce, method, signedURL(url), params))
}

func mac(key, nonce, method, url, params string) []byte {
	hash := hmac.New(sha256.New, []byte(key))
	hash.Write([]byte(nonce + "|" + strings.ToUpper(method) + "|" + url + "|" + params))
	return hash.Sum(nil)
}

// signedURL writes a URL as it is signed. It works on the text, because parsing and writing a URL may spell its path anew.
func signedURL(configured string) string {
	if i := strings.IndexAny(configured, "?#"); i >= 0 {
		configured = configured[:i]
	}
	scheme, rest, _ := strings.Cut(configured, "://")
	host, path, _ := strings.Cut(rest, "/")
	switch scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return scheme + "://" + host + "/" + path
}

// Canonical flattens a JSON object into the parameters that are signed, and that are the query of a GET callback:
// parent[child]=text, parent[]=element, sorted by their encoded text at every level of objects, while arrays keep their order; null is
// empty, and empty objects and arrays are left out.
//
// It returns [ErrTooLarge] over 64 KiB, and [ErrMalformed] for anything but one UTF-8 JSON object without repeated keys, without
// exponents in numbers (their text would be a matter of taste) and at most 32 levels deep.
func Canonical(body []byte) (params string, err error) {
	if len(body) > maxBody {
		return "", ErrTooLarge
	}
	if !utf8.Valid(body) || !json.Valid(body) {
		return "", fmt.Errorf("%w: not JSON", ErrMalformed)
	}
	f := &flattener{body}
	if f.next() != '{' {
		return "", fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	return f.object("", 1)
}

// flattener reads JSON that is known to be valid, from its front.
type flattener struct{ rest []byte }

// next returns the first byte of what comes, behind white space.
func (f *flattener) next() byte {
	for c := f.rest[0]; c == ' ' || c == '\t' || c == '\r' || c == '\n'; c = f.rest[0] {
		f.rest = f.rest[1:]
	}
	return f.rest[0]
}

// value flattens the next value under its encoded key.
func (f *flattener) value(key string, depth int) (string, error) {
	switch c := f.next(); c {
	case '{', '[':
		if depth >= maxDepth {
			return "", fmt.Errorf("%w: more than %d levels", ErrMalformed, maxDepth)
		}
		if c == '{' {
			return f.object(key, depth+1)
		}
		return f.array(key, depth+1)
	case '"':
		return key + "=" + url.QueryEscape(f.text()), nil
	}
	end := bytes.IndexAny(f.rest, ",]} \t\r\n")
	word := string(f.rest[:end])
	f.rest = f.rest[end:]
	switch {
	case word == "null":
		word = ""
	case word != "true" && word != "false" && strings.ContainsAny(word, "eE"):
		return "", fmt.Errorf("%w: number with an exponent", ErrMalformed)
	}
	return key + "=" + word, nil
}

// text reads a string.
func (f *flattener) text() (text string) {
	end, escaped := 1, false
	for ; f.rest[end] != '"'; end++ {
		if f.rest[end] == '\\' {
			escaped = true
			end++
		}
	}
	quoted := f.rest[:end+1]
	f.rest = f.rest[end+1:]
	if !escaped {
		return string(quoted[1:end])
	}
	_ = json.Unmarshal(quoted, &text) // cannot fail: the body is valid
	return text
}

// object flattens an object.
func (f *flattener) object(key string, depth int) (string, error) {
	var parts []string
	names := map[string]bool{}
	for f.rest = f.rest[1:]; f.next() != '}'; f.comma() {
		name := f.text()
		if names[name] {
			return "", fmt.Errorf("%w: key twice in one object", ErrMalformed)
		}
		names[name] = true
		child := url.QueryEscape(name)
		if depth > 1 {
			child = key + "%5B" + child + "%5D"
		}
		f.next()
		f.rest = f.rest[1:] // the colon
		part, err := f.value(child, depth)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	slices.Sort(parts)
	return f.end(parts), nil
}

// array flattens an array.
func (f *flattener) array(key string, depth int) (string, error) {
	var parts []string
	for f.rest = f.rest[1:]; f.next() != ']'; f.comma() {
		part, err := f.value(key+"%5B%5D", depth)
		if err != nil {
			return "", err
		}
		parts = append(parts, part)
	}
	return f.end(parts), nil
}

// comma reads the comma behind a member, if there is one.
func (f *flattener) comma() {
	if f.next() == ',' {
		f.rest = f.rest[1:]
	}
}

// end reads the closing brace or bracket and joins the parts, but those that contribute nothing.
func (f *flattener) end(parts []string) string {
	f.rest = f.rest[1:]
	return strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "&")
}
