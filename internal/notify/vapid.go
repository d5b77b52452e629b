package notify

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/big"
	"time"

	"countersign.dev/internal/audit"
)

// This file owns the key that says who sends (RFC 8292, VAPID). An installation has one, made at its first start.
// Rotation adds a newer one: devices subscribe with it when they next open the app, and what was subscribed with an
// older key is signed with that one until then.

// tokenLife is how long a token is good for; RFC 8292 allows a day.
const tokenLife = 12 * time.Hour

// newestKey returns the key to subscribe with, made when there is none yet.
func (s *Service) newestKey(ctx context.Context) (StoredKey, error) {
	return s.Store.PushKey(ctx, s.Now(), s.newKey)
}

// Prepare makes the installation's key when it has none.
func (s *Service) Prepare(ctx context.Context) error {
	_, err := s.newestKey(ctx)
	return err
}

// RotateKey makes a new key, which devices use from their next start on, and returns its public half.
func (s *Service) RotateKey(ctx context.Context, actor string) (string, error) {
	now := s.Now()
	if err := s.Store.AddPushKey(ctx, now, s.newKey, audit.New(now, "", actor, "push.key_rotated", "push_key")); err != nil {
		return "", err
	}
	newest, err := s.newestKey(ctx)
	if err != nil {
		return "", err
	}
	key, err := s.openKey(newest)
	if err != nil {
		return "", err
	}
	return publicKey(key), nil
}

func (s *Service) newKey(id int64) StoredKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // crypto/rand never fails since Go 1.24
	}
	raw, err := key.Bytes()
	if err != nil {
		panic(err) // only for other curves
	}
	return StoredKey{ID: id, Sealed: s.Ring.Seal(keyContext(id), raw)}
}

func (s *Service) openKey(k StoredKey) (*ecdsa.PrivateKey, error) {
	raw, err := s.Ring.Open(keyContext(k.ID), k.Sealed)
	if err != nil {
		return nil, err
	}
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), raw)
}

func keyContext(id int64) string { return fmt.Sprint("push_keys.sealed:", id) }

// publicKey is what browsers call the applicationServerKey.
func publicKey(key *ecdsa.PrivateKey) string {
	raw, err := key.PublicKey.Bytes()
	if err != nil {
		panic(err) // only for other curves
	}
	return base64url.EncodeToString(raw)
}

// authorization returns the header that proves to the push service at origin who sends.
func authorization(key *ecdsa.PrivateKey, origin, contact string, now time.Time) (string, error) {
	claims, err := json.Marshal(struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
		Subject  string `json:"sub"`
	}{origin, now.Add(tokenLife).Unix(), contact})
	if err != nil {
		return "", err
	}
	const header = `{"typ":"JWT","alg":"ES256"}`
	signed := base64url.EncodeToString([]byte(header)) + "." + base64url.EncodeToString(claims)
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", err
	}
	return "vapid t=" + signed + "." + base64url.EncodeToString(rs(r, s)) + ", k=" + publicKey(key), nil
}

// rs is a signature as JWTs carry it: two numbers of 32 bytes (RFC 7518 section 3.4).
func rs(r, s *big.Int) []byte {
	out := make([]byte, 64)
	r.FillBytes(out[:32])
	s.FillBytes(out[32:])
	return out
}
