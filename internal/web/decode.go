package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"
	"unicode/utf8"

	"countersign.dev/internal/fault"
)

// This file owns strict JSON: one way to write each request, checked once, at the edge.

// maxDepth bounds nesting; no request of ours comes near.
const maxDepth = 16

var errBody = fault.New(fault.Invalid, "invalid", "The body is not valid.")

// Decode reads the request's body, one JSON object of at most limit bytes, into a struct. Member names are lower case,
// as every tag of ours is, because encoding/json would take any case. Refused with a sentence: another
// content type (415), too many bytes (413), bytes that are not UTF-8, unknown and repeated members, wrong types,
// anything after the object (400).
func Decode(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	mediaType, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || mediaType != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return Refuse(http.StatusUnsupportedMediaType, fault.Invalid, errBody.Code, "Send the body as application/json.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return Refuse(http.StatusRequestEntityTooLarge, fault.Invalid, errBody.Code, fmt.Sprintf("The body has more than %d bytes.", limit))
	}
	if err != nil {
		return errBody.Saying("The body did not arrive whole.")
	}
	if !utf8.Valid(body) {
		return errBody.Saying("The body is not UTF-8 text.")
	}
	if err := checkMembers(body); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return explain(err)
	}
	return nil
}

// explain turns encoding/json's complaint into a sentence for who sent the body.
func explain(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return errBody.Saying(fmt.Sprintf("%s must be %s.", wrong.Field, kindName(wrong.Type)))
	}
	// encoding/json has no type for this one error.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return errBody.Saying("There is no member " + name + " in this request.")
	}
	return errBody.Saying("The body is not valid JSON.")
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Struct, reflect.Map:
		return "an object"
	case reflect.Slice, reflect.Array:
		return "a list"
	}
	return "a whole number in range"
}

// checkMembers holds the body to be one object, with each member named once and in lower case, at every level.
func checkMembers(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	first, err := dec.Token()
	if err != nil || first != json.Delim('{') {
		return errBody.Saying("The body must be one JSON object.")
	}
	if err := checkObject(dec, 1); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errBody.Saying("There is something after the JSON object.")
	}
	return nil
}

// checkObject reads the rest of an object whose brace was read.
func checkObject(dec *json.Decoder, depth int) error {
	seen := map[string]bool{}
	for dec.More() {
		token, err := dec.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return errBody.Saying("The body is not valid JSON.")
		}
		if strings.IndexFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_' }) >= 0 {
			return errBody.Saying(fmt.Sprintf("There is no member %.40q in this request.", name))
		}
		if seen[name] {
			return errBody.Saying(fmt.Sprintf("The member %.40q is there twice.", name))
		}
		seen[name] = true
		if err := checkValue(dec, depth); err != nil {
			return err
		}
	}
	return closeDelim(dec)
}

func checkValue(dec *json.Decoder, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return errBody.Saying("The body is not valid JSON.")
	}
	if depth == maxDepth {
		return errBody.Saying("The body is nested too deeply.")
	}
	switch token {
	case json.Delim('{'):
		return checkObject(dec, depth+1)
	case json.Delim('['):
		for dec.More() {
			if err := checkValue(dec, depth+1); err != nil {
				return err
			}
		}
		return closeDelim(dec)
	}
	return nil
}

// closeDelim reads the closing brace or bracket, which the decoder matches with the opening one.
func closeDelim(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil {
		return errBody.Saying("The body is not valid JSON.")
	}
	return nil
}
