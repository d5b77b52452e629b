// This file tests the strict forms of keys and signatures.

package receipt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"strings"
	"testing"
)

func TestPublicKeyForms(t *testing.T) {
	key := newKey(t)
	text := EncodePublicKey(&key.PublicKey)
	back, err := ParsePublicKey(text)
	if err != nil || !back.Equal(&key.PublicKey) || len(text) != 87 {
		t.Fatalf("round trip: %v, %d characters", err, len(text))
	}
	raw, _ := decode(text)
	compressed := append([]byte{2 + raw[64]&1}, raw[1:33]...)
	off := append([]byte(nil), raw...)
	off[64] ^= 1
	for name, bad := range map[string]string{
		"empty":               "",
		"padded":              text + "=",
		"line feed":           text[:10] + "\n" + text[10:],
		"standard alphabet":   "+" + text[1:],
		"compressed point":    b64.EncodeToString(compressed),
		"point off the curve": b64.EncodeToString(off),
		"infinity":            "AA",
		"all zero":            b64.EncodeToString(append([]byte{4}, make([]byte, 64)...)),
		"too long":            b64.EncodeToString(append(raw, 0)),
	} {
		if _, err := ParsePublicKey(bad); !errors.Is(err, ErrKey) {
			t.Errorf("%s: got %v, want ErrKey", name, err)
		}
	}
}

func TestOtherCurves(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Sign(key, []byte("a")); !errors.Is(err, ErrKey) {
		t.Errorf("Sign: got %v, want ErrKey", err)
	}
	if got := EncodePublicKey(&key.PublicKey); got != "" {
		t.Errorf("EncodePublicKey: got %q", got)
	}
	if err := VerifySignature(&key.PublicKey, []byte("a"), strings.Repeat("A", 86)); !errors.Is(err, ErrSignature) {
		t.Errorf("VerifySignature: got %v, want ErrSignature", err)
	}
}

func TestSignatureForms(t *testing.T) {
	key := newKey(t)
	text, err := Sign(key, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := decode(text)
	der, err := ecdsa.SignASN1(rand.Reader, key, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty":          "",
		"padded":         text + "==",
		"line feed":      text[:10] + "\n" + text[10:],
		"zero":           b64.EncodeToString(make([]byte, 64)),
		"too short":      b64.EncodeToString(raw[:63]),
		"too long":       b64.EncodeToString(append([]byte{0}, raw...)),
		"halves swapped": b64.EncodeToString(append(append([]byte(nil), raw[32:]...), raw[:32]...)),
		"ASN.1":          b64.EncodeToString(der),
		"all ones":       b64.EncodeToString([]byte(strings.Repeat("\xff", 64))),
	} {
		if err := VerifySignature(&key.PublicKey, []byte("a"), bad); !errors.Is(err, ErrSignature) {
			t.Errorf("%s: got %v, want ErrSignature", name, err)
		}
	}
	if err := VerifySignature(nil, []byte("a"), text); !errors.Is(err, ErrSignature) {
		t.Errorf("no key: got %v", err)
	}
	if err := VerifySignature(&key.PublicKey, []byte("a"), text); err != nil {
		t.Error(err)
	}
}
