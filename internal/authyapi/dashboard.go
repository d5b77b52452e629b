package authyapi

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	sign "countersign.dev/client/callback"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

// This file owns the dashboard API: contract section 10.

var errDeleteWebhook = fault.New(fault.Invalid, "webhook-not-deleted", "Webhook could not be deleted: there is none with this id")

// bySignature authenticates by an access key and the signature that its secret half makes (contract section 10.1). What is signed is the
// address that the client called: ours is taken from the settings, the path as it was sent.
func (a *API) bySignature(c *call) error {
	params, err := sign.Canonical(c.params.JSON())
	if err != nil {
		return webhook.ErrSignature
	}
	path, _, _ := strings.Cut(c.r.RequestURI, "?")
	c.app, c.actor, err = a.Webhooks.Authenticate(c.ctx, webhook.Request{
		AppKey: c.params.String("app_api_key"), AccessKey: c.params.String("access_key"),
		Nonce: c.r.Header.Get(sign.HeaderNonce), Signature: c.r.Header.Get(sign.HeaderSignature),
		Method: c.r.Method, URL: a.URL + path, Params: params,
	})
	return err
}

type webhookAnswer struct {
	ID           string   `json:"id"`
	Name         string   `json:"name"`
	AccountSID   string   `json:"account_sid"`
	ServiceID    string   `json:"service_id"`
	URL          string   `json:"url"`
	SigningKey   string   `json:"signing_key"`
	Events       []string `json:"events"`
	CreationDate string   `json:"creation_date"`
}

func (a *API) webhookAnswer(app tenant.Application, w webhook.Webhook) (webhookAnswer, error) {
	key, err := a.Webhooks.SigningKey(w)
	return webhookAnswer{
		ID: w.ID, Name: w.Name, AccountSID: "AC" + app.AccountID, ServiceID: strconv.FormatInt(app.Serial, 10), URL: w.URL, SigningKey: key,
		Events: w.Events, CreationDate: isoTime(w.CreatedAt),
	}, err
}

func (a *API) createWebhook(c call) (any, error) {
	given, ok := c.params.Array("events")
	if one := c.params.String("events"); one != "" {
		given, ok = []*Params{text(one)}, true
	}
	if !ok {
		given = nil // the domain says what is missing
	}
	events := make([]string, len(given))
	for i, e := range given {
		events[i] = e.String()
	}
	w, err := a.Webhooks.Create(c.ctx, c.app, c.params.String("name"), c.params.String("url"), events, c.actor)
	if err != nil {
		return nil, err
	}
	made, err := a.webhookAnswer(c.app, w)
	return struct {
		Webhook webhookAnswer `json:"webhook"`
		Message string        `json:"message"`
		Success bool          `json:"success"`
	}{made, "Webhook created", true}, err
}

func (a *API) listWebhooks(c call) (any, error) {
	all, err := a.Webhooks.List(c.ctx, c.app)
	if err != nil {
		return nil, err
	}
	told := make([]webhookAnswer, len(all))
	for i, w := range all {
		if told[i], err = a.webhookAnswer(c.app, w); err != nil {
			return nil, err
		}
	}
	return struct {
		Webhooks []webhookAnswer `json:"webhooks"`
		Message  string          `json:"message"`
		Success  bool            `json:"success"`
	}{told, "Webhooks.", true}, nil
}

func (a *API) removeWebhook(c call) (any, error) {
	id := c.r.PathValue("webhook")
	if id == "" {
		id = c.params.String("webhook_id")
	}
	err := a.Webhooks.Remove(c.ctx, c.app, id, c.actor)
	if errors.Is(err, webhook.ErrUnknown) {
		err = errDeleteWebhook
	}
	return done{"Webhook deleted", true}, err
}

// EventClaims is what a webhook is told of an event: what the reports say of it, and when this was signed.
func EventClaims(app tenant.Application, e reporting.Event, at time.Time) ([]byte, error) {
	claims, err := encodeJSON(struct {
		IssuedAt int64 `json:"iat"`
		reportedEvent
	}{at.Unix(), reportedEventOf(app, e)})
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.Name, err)
	}
	return claims, nil
}
