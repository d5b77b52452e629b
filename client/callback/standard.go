// This file owns the second signature of a callback, by Standard Webhooks 1.0, for both ends: three headers over the body as it was sent,
// with a secret that both sides know (v1) or with a key pair (v1a).

package callback

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of Standard Webhooks. The id names the event and stays the same whenever it is sent again; the time is that of the try.
const (
	HeaderWebhookID        = "Webhook-Id"
	HeaderWebhookTimestamp = "Webhook-Timestamp"
	HeaderWebhookSignature = "Webhook-Signature"
)

// What keys look like: a prefix that says their kind, and base64.
const (
	prefixSecret  = "whsec_" // 24 to 64 bytes that both sides know
	prefixPrivate = "whsk_"  // Ed25519, the sender's
	prefixPublic  = "whpk_"  // Ed25519, the receiver's
)

// Bounds of what a receiver looks at.
const (
	maxWebhookID         = 256 // bytes
	maxWebhookSignatures = 16  // of one request: keys in rotation, by the kinds of signature
)

// ErrSigningKey says that a text is no key of Standard Webhooks. It never holds the text.
var ErrSigningKey = errors.New("callback: not a key of Standard Webhooks: whsec_ with 24 to 64 bytes, whsk_ with 64 or whpk_ with 32, in base64")

// WebhookPublicKey returns the public half (whpk_) of a private key (whsk_).
func WebhookPublicKey(private string) (string, error) {
	pair, err := webhookKey(private, prefixPrivate)
	if err != nil {
		return "", err
	}
	return prefixPublic + base64.StdEncoding.EncodeToString(ed25519.PrivateKey(pair).Public().(ed25519.PublicKey)), nil
}

// SignWebhook returns the signature of one key over an event: "v1,…" for a whsec_, "v1a,…" for a whsk_. Several, one for
// each key that is in use, stand in the header with spaces between. The id must not hold a point.
func SignWebhook(key, id string, at time.Time, body []byte) (string, error) {
	signed := webhookText(id, strconv.FormatInt(at.Unix(), 10), body)
	if strings.HasPrefix(key, prefixPrivate) {
		pair, err := webhookKey(key, prefixPrivate)
		if err != nil {
			return "", err
		}
		return "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(pair, signed)), nil
	}
	secret, err := webhookKey(key, prefixSecret)
	if err != nil {
		return "", err
	}
	return "v1," + base64.StdEncoding.EncodeToString(webhookMAC(secret, signed)), nil
}

func webhookText(id, timestamp string, body []byte) []byte {
	return append([]byte(id+"."+timestamp+"."), body...)
}

func webhookMAC(secret, signed []byte) []byte {
	hash := hmac.New(sha256.New, secret)
	hash.Write(signed)
	return hash.Sum(nil)
}

// webhookKey returns the bytes of a key of that kind.
func webhookKey(key, prefix string) ([]byte, error) {
	text, ok := strings.CutPrefix(key, prefix)
	raw, err := base64.StdEncoding.DecodeString(text)
	switch {
	case !ok || err != nil:
		return nil, ErrSigningKey
	case prefix == prefixSecret && (len(raw) < 24 || len(raw) > 64),
		prefix == prefixPrivate && len(raw) != ed25519.PrivateKeySize,
		prefix == prefixPublic && len(raw) != ed25519.PublicKeySize:
		return nil, ErrSigningKey
	}
	return raw, nil
}

// VerifyWebhook returns the id of an event that one of the keys signed, not more than tolerance away from now. Keys are secrets (whsec_) or
// public keys (whpk_); all are tried, and secrets are compared in constant time. Body is what came, byte for byte. Remember the id, and handle an event
// once. Errors are [ErrSignature], [ErrStale], and [ErrSigningKey] for a key that is none.
//
// [Verifier] does all of this for callbacks; this is for receivers of another kind.
func VerifyWebhook(keys []string, header http.Header, body []byte, now time.Time, tolerance time.Duration) (id string, err error) {
	ids, times, lists := header.Values(HeaderWebhookID), header.Values(HeaderWebhookTimestamp), header.Values(HeaderWebhookSignature)
	if len(ids) != 1 || len(times) != 1 || len(lists) != 1 || ids[0] == "" || len(ids[0]) > maxWebhookID || strings.Contains(ids[0], ".") {
		return "", ErrSignature
	}
	signatures := strings.SplitN(lists[0], " ", maxWebhookSignatures+1)
	if len(signatures) > maxWebhookSignatures {
		return "", ErrSignature
	}
	signed, matches := webhookText(ids[0], times[0], body), false
	for _, key := range keys {
		ok, err := webhookMatches(key, signed, signatures)
		if err != nil {
			return "", err
		}
		matches = matches || ok
	}
	if !matches {
		return "", ErrSignature
	}
	seconds, err := strconv.ParseInt(times[0], 10, 64)
	if err != nil || len(times[0]) > 12 || times[0] != strconv.FormatInt(seconds, 10) || now.Sub(time.Unix(seconds, 0)).Abs() > tolerance {
		return "", ErrStale
	}
	return ids[0], nil
}

// webhookMatches reports whether one of the signatures is the key's.
func webhookMatches(key string, signed []byte, signatures []string) (matches bool, err error) {
	version, check, err := webhookCheck(key, signed)
	if err != nil {
		return false, err
	}
	for _, text := range signatures {
		name, encoded, _ := strings.Cut(text, ",")
		signature, err := base64.StdEncoding.Strict().DecodeString(encoded)
		if name == version && err == nil && check(signature) {
			matches = true
		}
	}
	return matches, nil
}

// webhookCheck returns what a key checks: signatures of which version, and how.
func webhookCheck(key string, signed []byte) (version string, check func(signature []byte) bool, err error) {
	if strings.HasPrefix(key, prefixPublic) {
		public, err := webhookKey(key, prefixPublic)
		return "v1a", func(signature []byte) bool { return ed25519.Verify(public, signed, signature) }, err
	}
	secret, err := webhookKey(key, prefixSecret)
	sum := webhookMAC(secret, signed)
	return "v1", func(signature []byte) bool { return hmac.Equal(sum, signature) }, err
}
