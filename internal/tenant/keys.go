package tenant

import (
	"context"
	"crypto/rand"
	"strconv"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
)

// This file owns API keys: what they are, who is known by them, and their rotation (design section 4). A second key is added, both are
// accepted and the old one goes on signing; the new one is promoted and signs, the old one is accepted for a while; then it ends.

// Errors of a rotation.
var (
	ErrRotating    = fault.New(fault.Conflict, "key-rotating", "A rotation of this application's key is under way: promote the new key or cancel it, and finish it when no client uses the old one.")
	ErrNotRotating = fault.New(fault.Conflict, "key-not-rotating", "There is no key for that: begin a rotation first.")
)

// KeepOldKey is how long the old key is accepted after the new one was promoted, unless the rotation is finished before.
const KeepOldKey = 7 * 24 * time.Hour

// Key is an API key as it is kept: found by keyed hash, and sealed because callbacks are signed with it.
type Key struct {
	ID, AppID, Hash string
	Sealed          []byte
}

const keyAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// newAPIKey returns 32 random alphanumeric characters (contract section 1.2), about 190 bits.
func newAPIKey() string {
	key := make([]byte, 0, 32)
	var b [64]byte
	for len(key) < 32 {
		rand.Read(b[:])
		for _, v := range b {
			if v < 248 && len(key) < 32 { // 248 = 4·62: every character equally likely
				key = append(key, keyAlphabet[v%62])
			}
		}
	}
	return string(key)
}

func (s *Service) keyHash(key string) string { return s.Ring.Hash("api key", key) }

func keyContext(id string) string { return "api_keys.sealed:" + id }

// Authenticate returns the application that the API key belongs to, or ErrKey.
func (s *Service) Authenticate(ctx context.Context, key string) (Application, error) {
	if !maybeKey(key) {
		return Application{}, ErrKey
	}
	return s.Store.ApplicationByKeyHash(ctx, s.keyHash(key), s.Now())
}

// AuthenticateFor is Authenticate for a request about a user; the user is the zero value when the application has none with that authy_id.
func (s *Service) AuthenticateFor(ctx context.Context, key string, authyID int64) (Application, User, error) {
	if !maybeKey(key) {
		return Application{}, User{}, ErrKey
	}
	return s.Store.ApplicationAndUser(ctx, s.keyHash(key), authyID, s.Now())
}

func maybeKey(key string) bool { return len(key) > 0 && len(key) <= 64 }

// RevealKey returns the application's API key to an operator, and records that it was shown.
func (s *Service) RevealKey(ctx context.Context, app Application, actor string) (string, error) {
	key, err := s.APIKey(ctx, app.ID)
	if err != nil {
		return "", err
	}
	rec := audit.New(s.Now(), app.ID, actor, "api_key.shown", "application:"+app.ID)
	return key, s.Store.Record(ctx, rec)
}

// APIKey returns the key that signs the application's callbacks.
func (s *Service) APIKey(ctx context.Context, appID string) (string, error) {
	key, err := s.Store.SigningKey(ctx, appID)
	if err != nil {
		return "", err
	}
	return s.OpenKey(key)
}

// OpenKey returns a kept API key in the clear.
func (s *Service) OpenKey(k Key) (string, error) {
	plain, err := s.Ring.Open(keyContext(k.ID), k.Sealed)
	return string(plain), err
}

// AcceptedKeys returns an application by its number or id, with the keys that are accepted from it. ErrApplication.
func (s *Service) AcceptedKeys(ctx context.Context, name string) (Application, []string, error) {
	serial, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		serial = 0 // nobody's
	}
	app, kept, err := s.Store.AcceptedKeys(ctx, serial, name, s.Now())
	if err != nil {
		return app, nil, err
	}
	keys := make([]string, len(kept))
	for i, k := range kept {
		if keys[i], err = s.OpenKey(k); err != nil {
			return app, nil, err
		}
	}
	return app, keys, nil
}

// KeyInfo is what may be told of an API key.
type KeyInfo struct {
	ID        string
	CreatedAt time.Time
	EndsAt    time.Time // zero: it does not end by itself
	Signs     bool      // callbacks are signed with it
}

// Keys returns the application's keys that are accepted, oldest first.
func (s *Service) Keys(ctx context.Context, app Application) ([]KeyInfo, error) {
	keys, err := s.Store.LiveAPIKeys(ctx, app.ID, s.Now())
	for i := range keys {
		if keys[i].EndsAt.IsZero() {
			keys[i].Signs = true
			break
		}
	}
	return keys, err
}

// AddKey begins a rotation and returns the new key, which is accepted beside the old one. ErrRotating when there are two already.
func (s *Service) AddKey(ctx context.Context, app Application, actor string) (string, error) {
	now, secret := s.Now(), newAPIKey()
	key := Key{ID: ident.New(now), AppID: app.ID, Hash: s.keyHash(secret)}
	key.Sealed = s.Ring.Seal(keyContext(key.ID), []byte(secret))
	return secret, s.Store.AddAPIKey(ctx, key, now, s.keyRecord(app, actor, "api_key.added"))
}

// PromoteKey makes the newer of two keys the one that signs; the old one is accepted for KeepOldKey. ErrNotRotating.
func (s *Service) PromoteKey(ctx context.Context, app Application, actor string) error {
	return s.Store.PromoteAPIKey(ctx, app.ID, s.Now().Add(KeepOldKey), s.keyRecord(app, actor, "api_key.promoted"))
}

// FinishKey ends the old key of a promoted one at once. ErrNotRotating.
func (s *Service) FinishKey(ctx context.Context, app Application, actor string) error {
	return s.Store.FinishAPIKey(ctx, app.ID, s.Now(), s.keyRecord(app, actor, "api_key.ended"))
}

// CancelKey ends the newer of two keys, before it was promoted. ErrNotRotating.
func (s *Service) CancelKey(ctx context.Context, app Application, actor string) error {
	return s.Store.CancelAPIKey(ctx, app.ID, s.Now(), s.keyRecord(app, actor, "api_key.cancelled"))
}

func (s *Service) keyRecord(app Application, actor, action string) audit.Record {
	return audit.New(s.Now(), app.ID, actor, action, "application:"+app.ID)
}
