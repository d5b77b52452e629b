// This file owns JSON Web Tokens (RFC 7519) as the Authy API used them: HMAC-SHA256 with a shared key, and nothing else. Webhooks tell of events in
// them, and registrations are asked for with them.

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
	"strings"
)

// ErrToken says that a text is no token that was signed with the key. It never holds the text.
var ErrToken = errors.New("callback: not a JWT signed with this key by HS256")

const tokenHeader = `{"alg":"HS256","typ":"JWT"}`

// maxToken bounds a token, in bytes: a body with a little more of everything.
const maxToken = 96 << 10

// SignJWT returns claims, which are a JSON object, as a token that is signed with the key.
func SignJWT(key string, claims []byte) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(tokenHeader)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(tokenMAC(key, signed))
}

// VerifyJWT returns the claims of a token that was signed with one of the keys, or [ErrToken]. The algorithm is HS256, whatever the token says; one
// that says something else is refused. It does not look at exp.
func VerifyJWT(token string, keys ...string) (claims []byte, err error) {
	claims, err = ReadJWT(token)
	if err != nil {
		return nil, err
	}
	at := strings.LastIndexByte(token, '.')
	given, err := base64.RawURLEncoding.Strict().DecodeString(token[at+1:])
	if err != nil {
		return nil, ErrToken
	}
	for _, key := range keys {
		if key != "" && hmac.Equal(given, tokenMAC(key, token[:at])) {
			return claims, nil
		}
	}
	return nil, ErrToken
}

// ReadJWT returns what a token claims to anybody: who has to find the key by it. Believe nothing of it before [VerifyJWT].
func ReadJWT(token string) (claims []byte, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxToken {
		return nil, ErrToken
	}
	header, err := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	if err != nil {
		return nil, ErrToken
	}
	var says struct {
		Algorithm string   `json:"alg"`
		Critical  []string `json:"crit"`
	}
	if err := json.Unmarshal(header, &says); err != nil || says.Algorithm != "HS256" || says.Critical != nil {
		return nil, ErrToken
	}
	claims, err = base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil || !json.Valid(claims) || !bytes.HasPrefix(bytes.TrimSpace(claims), []byte("{")) {
		return nil, ErrToken
	}
	return claims, nil
}

func tokenMAC(key, signed string) []byte {
	hash := hmac.New(sha256.New, []byte(key))
	hash.Write([]byte(signed))
	return hash.Sum(nil)
}

// EventJWT returns what a webhook's request says: the claims of the token in its one parameter, body, which stands in JSON or in a form. The key
// is the webhook's own (WSK_…). It returns [ErrTooLarge], [ErrMalformed] or [ErrToken].
func EventJWT(key, contentType string, body []byte) (claims []byte, err error) {
	if len(body) > maxToken {
		return nil, ErrTooLarge
	}
	token, err := tokenIn(contentType, body)
	if err != nil {
		return nil, err
	}
	return VerifyJWT(token, key)
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
