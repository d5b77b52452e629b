package tenant

import (
	"context"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
)

// This file owns the rotation of API keys (design section 4): a second key is added, both are accepted and the old one goes on
// signing; the new one is promoted and signs, the old one is accepted for a while; then it ends.

// Errors of a rotation.
var (
	ErrRotating    = fault.New(fault.Conflict, "key-rotating", "A rotation of this application's key is under way: promote the new key or cancel it, and finish it when no client uses the old one.")
	ErrNotRotating = fault.New(fault.Conflict, "key-not-rotating", "There is no key for that: begin a rotation first.")
)

// KeepOldKey is how long the old key is accepted after the new one was promoted, unless the rotation is finished before.
const KeepOldKey = 7 * 24 * time.Hour

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
