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
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return "", fmt.Errorf("%w: not a JSON object", ErrMalformed)
	}
	return flattenObject(decoder, "", 1)
}

// flattenValue flattens the value that starts at a token under its encoded key.
func flattenValue(decoder *json.Decoder, token json.Token, key string, depth int) (string, error) {
	if _, nested := token.(json.Delim); nested && depth >= maxDepth {
		return "", fmt.Errorf("%w: more than %d levels", ErrMalformed, maxDepth)
	}
	switch v := token.(type) {
	case nil:
		return key + "=", nil
	case bool:
		if v {
			return key + "=true", nil
		}
		return key + "=false", nil
	case json.Number:
		if strings.ContainsAny(v.String(), "eE") {
			return "", fmt.Errorf("%w: number with an exponent", ErrMalformed)
		}
		return key + "=" + url.QueryEscape(v.String()), nil
	case string:
		return key + "=" + url.QueryEscape(v), nil
	case json.Delim:
		if v == '{' {
			return flattenObject(decoder, key, depth+1)
		}
		return flattenArray(decoder, key, depth+1)
	}
	return "", fmt.Errorf("%w: unknown token", ErrMalformed)
}

// flattenObject flattens the rest of an object whose opening brace has been read.
func flattenObject(decoder *json.Decoder, key string, depth int) (string, error) {
	var parts []string
	names := map[string]bool{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return "", fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		name, _ := token.(string)
		if names[name] {
			return "", fmt.Errorf("%w: key twice in one object", ErrMalformed)
		}
		names[name] = true
		child := url.QueryEscape(name)
		if depth > 1 {
			child = key + "%5B" + child + "%5D"
		}
		if parts, err = appendNext(parts, decoder, child, depth); err != nil {
			return "", err
		}
	}
	slices.Sort(parts)
	return closeNested(decoder, parts)
}

// flattenArray flattens the rest of an array whose opening bracket has been read.
func flattenArray(decoder *json.Decoder, key string, depth int) (string, error) {
	var parts []string
	var err error
	for decoder.More() {
		if parts, err = appendNext(parts, decoder, key+"%5B%5D", depth); err != nil {
			return "", err
		}
	}
	return closeNested(decoder, parts)
}

// appendNext flattens the next value and appends it unless it contributes nothing.
func appendNext(parts []string, decoder *json.Decoder, key string, depth int) ([]string, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	part, err := flattenValue(decoder, token, key, depth)
	if err != nil || part == "" {
		return parts, err
	}
	return append(parts, part), nil
}

// closeNested reads the closing brace or bracket and joins the parts.
func closeNested(decoder *json.Decoder, parts []string) (string, error) {
	if _, err := decoder.Token(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return strings.Join(parts, "&"), nil
}
