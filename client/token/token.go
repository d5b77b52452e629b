// Package token owns JSON Web Tokens (RFC 7519) as the Authy API used them: HMAC-SHA256 with a shared key, and nothing else. Webhooks tell of events in
// them, and registrations are asked for with them.
package token

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
)

// Err says that a text is no token that was signed with the key. It never holds the text.
var Err = errors.New("token: not a JWT signed with this key by HS256")

const header = `{"alg":"HS256","typ":"JWT"}`

// maxSize bounds a token, in bytes: a body with a little more of everything.
const maxSize = 96 << 10

// Sign returns claims, which are a JSON object, as a token that is signed with the key.
func Sign(key string, claims []byte) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	return signed + "." + base64.RawURLEncoding.EncodeToString(mac(key, signed))
}

// Verify returns the claims of a token that was signed with one of the keys, or [Err]. The algorithm is HS256, whatever the token says; one
// that says something else is refused. It does not look at exp.
func Verify(token string, keys ...string) (claims []byte, err error) {
	claims, err = Read(token)
	if err != nil {
		return nil, err
	}
	at := strings.LastIndexByte(token, '.')
	given, err := base64.RawURLEncoding.Strict().DecodeString(token[at+1:])
	if err != nil {
		return nil, Err
	}
	for _, key := range keys {
		if key != "" && hmac.Equal(given, mac(key, token[:at])) {
			return claims, nil
		}
	}
	return nil, Err
}

// Read returns what a token claims to anybody: who has to find the key by it. Believe nothing of it before [Verify].
func Read(token string) (claims []byte, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > maxSize {
		return nil, Err
	}
	head, err := base64.RawURLEncoding.Strict().DecodeString(parts[0])
	if err != nil {
		return nil, Err
	}
	var says struct {
		Algorithm string   `json:"alg"`
		Critical  []string `json:"crit"`
	}
	if err := json.Unmarshal(head, &says); err != nil || says.Algorithm != "HS256" || says.Critical != nil {
		return nil, Err
	}
	claims, err = base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil || !json.Valid(claims) || !bytes.HasPrefix(bytes.TrimSpace(claims), []byte("{")) {
		return nil, Err
	}
	return claims, nil
}

func mac(key, signed string) []byte {
	hash := hmac.New(sha256.New, []byte(key))
	hash.Write([]byte(signed))
	return hash.Sum(nil)
}
