package console

import (
	"context"
	"net/http"
	"time"

	sign "countersign.dev/client/callback"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// This file owns what signs an application's callbacks by Standard Webhooks: showing and rotating it.

// signingKeys is a secret and a public key as they are shown.
type signingKeys struct {
	Secret, Public string
	EndsAt         time.Time // zero for the newest
}

// showSigningKeys answers with the page that has them on it, after a fresh proof of who asks.
func (c *console) showSigningKeys(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "password", "code")
	if err != nil {
		return err
	}
	if ok, err := c.proved(w, r, ses, form, ofApplication(app, "webhook-secret", "see the webhook secret")); !ok || err != nil {
		return err
	}
	keys, err := c.Tenants.RevealWebhookKeys(r.Context(), app, actor(ses))
	if err != nil {
		return err
	}
	p := application{SigningKeys: make([]signingKeys, len(keys))}
	for i, k := range keys {
		public, err := sign.WebhookPublicKey(k.Private)
		if err != nil {
			return err
		}
		p.SigningKeys[i] = signingKeys{k.Secret, public, k.EndsAt}
	}
	return c.renderApplication(w, r, http.StatusOK, ses, app, p)
}

// oldSecret returns when the old webhook secret ends; zero outside of a rotation.
func (c *console) oldSecret(ctx context.Context, app tenant.Application) (time.Time, error) {
	keys, err := c.Tenants.Store.SigningKeys(ctx, app.ID, c.Now())
	if err != nil || len(keys) < 2 {
		return time.Time{}, err
	}
	return keys[len(keys)-1].EndsAt, nil
}

// rotateSigningKeys makes a new secret, after a fresh proof of who asks: it will sign, and the old one ends in time.
func (c *console) rotateSigningKeys(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "password", "code")
	if err != nil {
		return err
	}
	if ok, err := c.proved(w, r, ses, form, ofApplication(app, "webhook-secret/rotate", "replace the webhook secret")); !ok || err != nil {
		return err
	}
	return c.saved(w, r, app, "secret-rotated", c.Tenants.RotateWebhookKeys(r.Context(), app, actor(ses)))
}

func (c *console) endOldSigningKeys(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "password", "code")
	if err != nil {
		return err
	}
	if ok, err := c.proved(w, r, ses, form, ofApplication(app, "webhook-secret/end", "end the old webhook secret")); !ok || err != nil {
		return err
	}
	return c.saved(w, r, app, "secret-ended", c.Tenants.EndOldWebhookKeys(r.Context(), app, actor(ses)))
}
