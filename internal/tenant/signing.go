package tenant

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
)

// This file owns what signs an application's callbacks by Standard Webhooks, beside its API key: a secret that both know, and a key
// pair. An application gets them when they are first needed. During a rotation both the old and the new ones sign, so that the
// receiver may change over at any moment.

// Errors of a rotation of webhook secrets.
var (
	ErrSecretRotating    = fault.New(fault.Conflict, "webhook-secret-rotating", "A rotation of this application's webhook secret is under way: end the old one first, when no receiver uses it.")
	ErrSecretNotRotating = fault.New(fault.Conflict, "webhook-secret-not-rotating", "There is no old webhook secret to end.")
)

// KeepOldSecret is how long the old webhook secret goes on signing beside the new one.
const KeepOldSecret = 7 * 24 * time.Hour

// Signing is what signs, as it is kept: sealed.
type Signing struct {
	ID, AppID string
	Sealed    []byte
	CreatedAt time.Time
	EndsAt    time.Time // zero: it does not end by itself
}

// WebhookKeys is what signs, in the clear.
type WebhookKeys struct {
	Secret  string // whsec_…
	Private string // whsk_…
	EndsAt  time.Time
}

func signingContext(id string) string { return "signing_keys.sealed:" + id }

func (s *Service) newSigning(appID string) Signing {
	now := s.Now()
	raw := make([]byte, 32+ed25519.SeedSize)
	rand.Read(raw)
	secret := "whsec_" + base64.StdEncoding.EncodeToString(raw[:32])
	private := "whsk_" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(raw[32:]))
	k := Signing{ID: ident.New(now), AppID: appID, CreatedAt: now}
	k.Sealed = s.Ring.Seal(signingContext(k.ID), []byte(secret+" "+private))
	return k
}

// WebhookKeys returns what signs the application's callbacks now, the newest first.
func (s *Service) WebhookKeys(ctx context.Context, appID string) ([]WebhookKeys, error) {
	kept, err := s.Store.SigningKeys(ctx, appID, s.Now())
	if err != nil {
		return nil, err
	}
	return s.OpenWebhookKeys(ctx, appID, kept)
}

// OpenWebhookKeys returns in the clear what is kept of the application; where nothing is yet, it makes the first.
func (s *Service) OpenWebhookKeys(ctx context.Context, appID string, kept []Signing) (_ []WebhookKeys, err error) {
	if len(kept) == 0 {
		if kept, err = s.Store.FirstSigningKey(ctx, s.newSigning(appID)); err != nil {
			return nil, err
		}
	}
	keys := make([]WebhookKeys, len(kept))
	for i, k := range kept {
		plain, err := s.Ring.Open(signingContext(k.ID), k.Sealed)
		if err != nil {
			return nil, fmt.Errorf("webhook secret %s: %w", k.ID, err)
		}
		keys[i].EndsAt = k.EndsAt
		keys[i].Secret, keys[i].Private, _ = strings.Cut(string(plain), " ")
	}
	return keys, nil
}

// RevealWebhookKeys returns the same to an operator, and records that it was shown.
func (s *Service) RevealWebhookKeys(ctx context.Context, app Application, actor string) ([]WebhookKeys, error) {
	keys, err := s.WebhookKeys(ctx, app.ID)
	if err != nil {
		return nil, err
	}
	return keys, s.Store.Record(ctx, s.secretRecord(app, actor, "webhook_secret.shown"))
}

// RotateWebhookKeys makes a new secret and key pair, which sign at once; the old ones sign too for KeepOldSecret. ErrSecretRotating
// while two sign already.
func (s *Service) RotateWebhookKeys(ctx context.Context, app Application, actor string) error {
	if _, err := s.WebhookKeys(ctx, app.ID); err != nil { // there is an old one
		return err
	}
	return s.Store.RotateSigningKey(ctx, s.newSigning(app.ID), s.Now().Add(KeepOldSecret), s.secretRecord(app, actor, "webhook_secret.rotated"))
}

// EndOldWebhookKeys ends the old secret and key pair at once. ErrSecretNotRotating.
func (s *Service) EndOldWebhookKeys(ctx context.Context, app Application, actor string) error {
	return s.Store.EndSigningKey(ctx, app.ID, s.Now(), s.secretRecord(app, actor, "webhook_secret.ended"))
}

func (s *Service) secretRecord(app Application, actor, action string) audit.Record {
	return audit.New(s.Now(), app.ID, actor, action, "application:"+app.ID)
}
