package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	sign "countersign.dev/client/callback"
	"countersign.dev/client/receipt"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/tenant"
)

// This file owns managing: access keys, signed requests, and webhooks.

// Service is the entrance to this package.
type Service struct {
	Store   Store
	Tenants *tenant.Service
	Ring    *seal.Ring
	Now     func() time.Time
	Offer   func(...job.Job)
}

// Request is a signed request of the dashboard API (contract section 10.1).
type Request struct {
	AppKey, AccessKey string // parameters app_api_key and access_key
	Nonce, Signature  string // headers
	Method, URL       string // as they are signed
	Params            string // all parameters, in the form that is signed
}

// Authenticate returns the application that a request manages, and who asks for the audit record.
// It reports ErrAppKey, ErrAccessKey, ErrPermission and ErrSignature.
func (s *Service) Authenticate(ctx context.Context, r Request) (app tenant.Application, actor string, err error) {
	app, err = s.Tenants.Authenticate(ctx, r.AppKey)
	if errors.Is(err, tenant.ErrKey) {
		err = ErrAppKey
	}
	if err != nil {
		return app, "", err
	}
	if len(r.AccessKey) == 0 || len(r.AccessKey) > 64 {
		return app, "", ErrAccessKey
	}
	k, err := s.Store.AccessKeyByHash(ctx, s.accessHash(r.AccessKey))
	if err != nil {
		return app, "", err
	}
	if k.AppID != app.ID {
		return app, "", ErrPermission
	}
	c, err := s.open(k)
	if err != nil {
		return app, "", err
	}
	if !r.signed(c.SigningKey) || !fresh(r.Nonce, s.Now()) {
		return app, "", ErrSignature
	}
	return app, "access_key:" + k.ID, nil
}

// signed checks the signature. Arrays are signed in their order; one published client sorts their elements too, so either will do.
func (r Request) signed(key string) bool {
	if strings.Contains(r.Nonce, "|") {
		return false
	}
	pairs := strings.Split(r.Params, "&")
	slices.Sort(pairs)
	for _, params := range []string{r.Params, strings.Join(pairs, "&")} {
		if hmac.Equal([]byte(r.Signature), []byte(sign.Sign(key, r.Nonce, r.Method, r.URL, params))) {
			return true
		}
	}
	return false
}

// fresh reports whether a nonce that is a time in Unix seconds is one of now. Clients may sign with any other text, which cannot tell its age.
func fresh(nonce string, now time.Time) bool {
	whole, _, _ := strings.Cut(nonce, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || len(whole) != 10 {
		return true
	}
	return now.Sub(time.Unix(seconds, 0)).Abs() <= Freshness
}

func (s *Service) accessHash(key string) string { return s.Ring.Hash("access key", key) }

func accessContext(id string) string { return "access_keys.sealed:" + id }

func (s *Service) open(k AccessKey) (Credentials, error) {
	plain, err := s.Ring.Open(accessContext(k.ID), k.Sealed)
	if err != nil {
		return Credentials{}, fmt.Errorf("access key %s: %w", k.ID, err)
	}
	access, signing, _ := strings.Cut(string(plain), " ")
	return Credentials{access, signing}, nil
}

// NewAccessKey makes a key pair that manages the application's webhooks. ErrKeysMany.
func (s *Service) NewAccessKey(ctx context.Context, app tenant.Application, actor string) (Credentials, error) {
	now, c := s.Now(), Credentials{rand.Text(), rand.Text() + rand.Text()}
	k := AccessKey{ID: ident.New(now), AppID: app.ID, Hash: s.accessHash(c.AccessKey), CreatedAt: now}
	k.Sealed = s.Ring.Seal(accessContext(k.ID), []byte(c.AccessKey+" "+c.SigningKey))
	return c, s.Store.AddAccessKey(ctx, k, audit.New(now, app.ID, actor, "access_key.added", "access_key:"+k.ID))
}

// AccessKeys returns the application's keys without what is secret in them, oldest first.
func (s *Service) AccessKeys(ctx context.Context, app tenant.Application) ([]AccessKey, error) {
	return s.Store.AccessKeys(ctx, app.ID)
}

// EndAccessKey ends a key at once. ErrAccessKey.
func (s *Service) EndAccessKey(ctx context.Context, app tenant.Application, id, actor string) error {
	return s.Store.EndAccessKey(ctx, app.ID, id, audit.New(s.Now(), app.ID, actor, "access_key.ended", "access_key:"+id))
}

// Create makes a webhook. What is wrong with it is ErrInvalid, which says so.
func (s *Service) Create(ctx context.Context, app tenant.Application, name, address string, events []string, actor string) (Webhook, error) {
	now := s.Now()
	w := Webhook{ID: "WH_" + ident.UUID(), AppID: app.ID, Name: receipt.CleanText(name), URL: strings.TrimSpace(address), Events: slices.Compact(slices.Sorted(slices.Values(events))), CreatedAt: now}
	if err := w.check(); err != nil {
		return Webhook{}, err
	}
	w.Sealed = s.Ring.Seal(sealContext(w.ID), []byte("WSK_"+rand.Text()+rand.Text()))
	return w, s.Store.AddWebhook(ctx, w, audit.New(now, app.ID, actor, "webhook.created", "webhook:"+w.ID).Noting(w.URL))
}

func (w Webhook) check() error {
	invalid := func(what string) error { return ErrInvalid.Saying(ErrInvalid.Detail + ": " + what) }
	if n := utf8.RuneCountInString(w.Name); n < 1 || n > MaxName {
		return invalid(fmt.Sprintf("name - 1 to %d characters are expected", MaxName))
	}
	if _, ok := tenant.ParseReceiver(w.URL); !ok {
		return invalid("url - an absolute http or https address without user name and fragment is expected")
	}
	if len(w.Events) == 0 {
		return invalid("events - at least one is expected")
	}
	for _, e := range w.Events {
		if !slices.Contains(Events(), e) {
			return invalid(fmt.Sprintf("events - '%.40s' is none of %s", e, strings.Join(Events(), ", ")))
		}
	}
	return nil
}

// List returns the application's webhooks, oldest first.
func (s *Service) List(ctx context.Context, app tenant.Application) ([]Webhook, error) {
	return s.Store.Webhooks(ctx, app.ID)
}

// Remove ends a webhook, and what waits to be told to it. ErrUnknown.
func (s *Service) Remove(ctx context.Context, app tenant.Application, id, actor string) error {
	return s.Store.RemoveWebhook(ctx, app.ID, id, audit.New(s.Now(), app.ID, actor, "webhook.removed", "webhook:"+id))
}

// Resume has a paused webhook told of events again, those first that were held for it. ErrUnknown, ErrRunning.
func (s *Service) Resume(ctx context.Context, app tenant.Application, id, actor string) error {
	now := s.Now()
	held, err := s.Store.ResumeWebhook(ctx, app.ID, id, now, audit.New(now, app.ID, actor, "webhook.resumed", "webhook:"+id))
	if err != nil {
		return err
	}
	s.Offer(held...)
	return nil
}

// Tries returns the last tries of the application's webhooks, newest first.
func (s *Service) Tries(ctx context.Context, app tenant.Application) ([]Try, error) {
	return s.Store.WebhookTries(ctx, app.ID)
}

// Again tells a webhook of an event once more, as the event is now, with the retries of any other.
func (s *Service) Again(ctx context.Context, app tenant.Application, id, recordID, actor string) error {
	now := s.Now()
	j := job.New(job.Webhook, id, recordID, now)
	if err := s.Store.TellAgain(ctx, j, app.ID, audit.New(now, app.ID, actor, "webhook.sent_again", "webhook:"+id)); err != nil {
		return err
	}
	s.Offer(j)
	return nil
}

func sealContext(id string) string { return "webhooks.sealed:" + id }

// SigningKey returns what signs the webhook's events.
func (s *Service) SigningKey(w Webhook) (string, error) {
	plain, err := s.Ring.Open(sealContext(w.ID), w.Sealed)
	if err != nil {
		return "", fmt.Errorf("signing key of webhook %s: %w", w.ID, err)
	}
	return string(plain), nil
}

// Reveal returns the signing key to an operator, and records that it was shown. ErrUnknown.
func (s *Service) Reveal(ctx context.Context, app tenant.Application, id, actor string) (string, error) {
	all, err := s.List(ctx, app)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(all, func(w Webhook) bool { return w.ID == id })
	if i < 0 {
		return "", ErrUnknown
	}
	key, err := s.SigningKey(all[i])
	if err != nil {
		return "", err
	}
	return key, s.Store.Record(ctx, audit.New(s.Now(), app.ID, actor, "webhook_key.shown", "webhook:"+id))
}
