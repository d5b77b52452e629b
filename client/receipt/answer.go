// This file owns the three things that devices sign: answers, enrolment proofs and session proofs.

package receipt

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// The decisions. The words differ in the signed bytes, so a denial can never be turned into an approval, nor into a report.
const (
	Approve = "approve"
	Deny    = "deny"
	NotMe   = "not-me" // a denial by somebody who says that it was not they who started this
)

// ErrMalformed says that signed bytes, or a receipt around them, do not have the one form they must have.
var ErrMalformed = errors.New("receipt: malformed")

// maxInteger is the largest integer that JavaScript and Go read alike (RFC 8785 section 3.2.2.3).
const maxInteger = 1<<53 - 1

// Answer is what a device signs when its person decides. The members "format" and "version" are implied.
// Encode it with Canonical, never with encoding/json.
type Answer struct {
	Origin      string `json:"origin"`      // public origin of the authenticator, scheme://host[:port]
	Application string `json:"application"` // application id
	User        int64  `json:"user"`        // authy_id
	Device      string `json:"device"`      // device id
	Approval    string `json:"approval"`    // uuid of the approval
	Shown       string `json:"shown"`       // [Content.Digest]
	Hidden      string `json:"hidden"`      // [HiddenDigest]
	Match       string `json:"match"`       // digits the person typed, "" when none were asked
	Decision    string `json:"decision"`    // [Approve], [Deny] or [NotMe]
	Nonce       string `json:"nonce"`       // b64 of 16 random bytes from the server
	IssuedAt    int64  `json:"issued_at"`   // Unix seconds, when the approval was created
	ExpiresAt   int64  `json:"expires_at"`  // Unix seconds, 0 = never
}

// Canonical returns the bytes to sign. Texts must be UTF-8 and integers below 2^53 in size, or [ParseAnswer] refuses the result.
func (a Answer) Canonical() []byte {
	return canonical(nil, map[string]any{
		"application": a.Application,
		"approval":    a.Approval,
		"decision":    a.Decision,
		"device":      a.Device,
		"expires_at":  a.ExpiresAt,
		"format":      "countersign.answer",
		"hidden":      a.Hidden,
		"issued_at":   a.IssuedAt,
		"match":       a.Match,
		"nonce":       a.Nonce,
		"origin":      a.Origin,
		"shown":       a.Shown,
		"user":        a.User,
		"version":     int64(1),
	})
}

// ParseAnswer reads signed bytes. It accepts exactly what [Answer.Canonical] gives for a sound answer: a missing, unknown, repeated or
// reordered member, another escape, white space, or a value outside its form is [ErrMalformed].
func ParseAnswer(signed []byte) (Answer, error) {
	var a Answer
	if err := json.Unmarshal(signed, &a); err != nil {
		return Answer{}, fmt.Errorf("%w answer: %w", ErrMalformed, err)
	}
	if !bytes.Equal(a.Canonical(), signed) {
		return Answer{}, fmt.Errorf("%w answer: not in canonical form", ErrMalformed)
	}
	if member := a.unsound(); member != "" {
		return Answer{}, fmt.Errorf("%w answer: bad %s", ErrMalformed, member)
	}
	return a, nil
}

// unsound names the first member whose value no honest device signs, "" when there is none.
func (a Answer) unsound() string {
	switch {
	case a.Origin == "":
		return "origin"
	case a.Application == "":
		return "application"
	case a.User <= 0 || a.User > maxInteger:
		return "user"
	case a.Device == "":
		return "device"
	case a.Approval == "":
		return "approval"
	case !isB64(a.Shown, 32):
		return "shown"
	case !isB64(a.Hidden, 32):
		return "hidden"
	case strings.Trim(a.Match, "0123456789") != "":
		return "match"
	case a.Decision != Approve && a.Decision != Deny && a.Decision != NotMe:
		return "decision"
	case !isB64(a.Nonce, 16):
		return "nonce"
	case a.IssuedAt < 0 || a.IssuedAt > maxInteger:
		return "issued_at"
	case a.ExpiresAt < 0 || a.ExpiresAt > maxInteger:
		return "expires_at"
	}
	return ""
}

// isB64 reports whether s is b64 of size bytes.
func isB64(s string, size int) bool {
	raw, err := decode(s)
	return err == nil && len(raw) == size
}

// decode reads b64. The line feeds that encoding/base64 skips are refused: they would be a second spelling.
func decode(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("line break in base64url")
	}
	return b64.DecodeString(s)
}

// EnrollmentProof is signed by a new key, to show that whoever enrols it holds it.
type EnrollmentProof struct {
	Challenge string // from GET /device/v1/challenge
	Origin    string // public origin of the authenticator
	PublicKey string // the new key, as [EncodePublicKey] writes it
	Token     string // the enrolment's id, or the ticket's words joined by '-'
}

// Canonical returns the bytes to sign.
func (p EnrollmentProof) Canonical() []byte {
	return canonical(nil, map[string]any{
		"challenge":  p.Challenge,
		"format":     "countersign.enrolment",
		"origin":     p.Origin,
		"public_key": p.PublicKey,
		"token":      p.Token,
		"version":    int64(1),
	})
}

// SessionProof is signed by a device that signs in again.
type SessionProof struct {
	Challenge string // from GET /device/v1/challenge
	Device    string // device id
	Origin    string // public origin of the authenticator
}

// Canonical returns the bytes to sign.
func (p SessionProof) Canonical() []byte {
	return canonical(nil, map[string]any{
		"challenge": p.Challenge,
		"device":    p.Device,
		"format":    "countersign.session",
		"origin":    p.Origin,
		"version":   int64(1),
	})
}
