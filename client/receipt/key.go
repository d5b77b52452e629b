// This file owns device keys and signatures: ECDSA over P-256 with SHA-256, in the raw forms of WebCrypto.

package receipt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
)

// ErrSignature says that a signature is not by this key over these bytes. It is the same for every reason.
var ErrSignature = errors.New("receipt: signature does not verify")

// ErrKey says that a text is not a P-256 public key.
var ErrKey = errors.New("receipt: not a P-256 public key")

// half is the size in bytes of one coordinate, and of r and of s.
const half = 32

// ParsePublicKey reads b64 of the 65-byte uncompressed point (SEC 1 section 2.3.3). Other encodings, other curves
// and points off the curve are [ErrKey].
func ParsePublicKey(text string) (*ecdsa.PublicKey, error) {
	raw, err := decode(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return key, nil
}

// EncodePublicKey writes a P-256 public key in the one form that [ParsePublicKey] reads, and "" for any other key.
func EncodePublicKey(key *ecdsa.PublicKey) string {
	if key == nil || key.Curve != elliptic.P256() {
		return ""
	}
	raw, err := key.Bytes()
	if err != nil {
		return ""
	}
	return b64.EncodeToString(raw)
}

// Sign returns b64 of r||s (IEEE P1363) over the SHA-256 of the bytes. The key must be on P-256.
func Sign(key *ecdsa.PrivateKey, signed []byte) (string, error) {
	if key == nil || key.Curve != elliptic.P256() {
		return "", ErrKey
	}
	sum := sha256.Sum256(signed)
	r, s, err := ecdsa.Sign(rand.Reader, key, sum[:])
	if err != nil {
		return "", fmt.Errorf("receipt: sign: %w", err)
	}
	var raw [2 * half]byte
	r.FillBytes(raw[:half])
	s.FillBytes(raw[half:])
	return b64.EncodeToString(raw[:]), nil
}

// VerifySignature checks a signature in the form of [Sign]; it returns nil or [ErrSignature]. Both values of s that ECDSA
// allows are accepted, as WebCrypto makes both: never use a signature's text as the identity of an answer.
func VerifySignature(key *ecdsa.PublicKey, signed []byte, signature string) error {
	raw, err := decode(signature)
	if err != nil || len(raw) != 2*half || key == nil || key.Curve != elliptic.P256() {
		return ErrSignature
	}
	sum := sha256.Sum256(signed)
	r, s := new(big.Int).SetBytes(raw[:half]), new(big.Int).SetBytes(raw[half:])
	if !ecdsa.Verify(key, sum[:], r, s) {
		return ErrSignature
	}
	return nil
}
