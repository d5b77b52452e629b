// This file owns what a webhook's request says of an event.

package callback

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"countersign.dev/client/token"
)

// maxEvent bounds the body of a webhook's request, in bytes: a token with a little more of everything.
const maxEvent = 96 << 10

// EventJWT returns what a webhook's request says: the claims of the token in its one parameter, body, which stands in JSON or in a form. The key
// is the webhook's own (WSK_…). It returns [ErrTooLarge], [ErrMalformed] or [token.Err].
func EventJWT(key, contentType string, body []byte) (claims []byte, err error) {
	if len(body) > maxEvent {
		return nil, ErrTooLarge
	}
	text, err := tokenIn(contentType, body)
	if err != nil {
		return nil, err
	}
	return token.Verify(text, key)
}

func tokenIn(contentType string, body []byte) (string, error) {
	if kind, _, _ := strings.Cut(contentType, ";"); strings.TrimSpace(kind) == "application/x-www-form-urlencoded" {
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return "", fmt.Errorf("%w: not a form", ErrMalformed)
		}
		return form.Get("body"), nil
	}
	var said struct {
		Body string `json:"body"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return "", fmt.Errorf("%w: not JSON", ErrMalformed)
	}
	return said.Body, nil
}
