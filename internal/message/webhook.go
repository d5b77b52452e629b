package message

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/otp"
)

// This file owns the gateway for everything else: a signed request to a receiver of the operator's (docs/gateways.md).

// webhook posts each message with the signature of Standard Webhooks.
type webhook struct {
	name, url string
	secret    []byte
	client    *http.Client
	now       func() time.Time
}

func newWebhook(d *dsn) (Gateway, error) {
	if d.user != "" || d.password != "" {
		return nil, errors.New("it names a user; the signature is what authenticates")
	}
	cfg, err := d.tls()
	if err != nil {
		return nil, err
	}
	secret, file := d.option("secret"), d.option("secret-file")
	if file != "" {
		if secret != "" {
			return nil, errors.New("it has a secret and a secret-file: name one of them")
		}
		if secret, err = secretFile(file); err != nil {
			return nil, err
		}
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || !strings.HasPrefix(secret, "whsec_") || len(key) < 24 || len(key) > 64 {
		return nil, errors.New("the secret is whsec_ and 24 to 64 bytes in base64, for example from: echo whsec_$(openssl rand -base64 32)")
	}
	scheme := strings.TrimPrefix(d.scheme, "webhook+")
	g := &webhook{name: d.name(), url: scheme + "://" + d.hostPort() + d.path, secret: key, client: newHTTPClient(cfg), now: time.Now}
	switch d.option("reports") {
	case "":
		return g, nil
	case "asked":
		return tellingWebhook{g}, nil
	}
	return nil, errors.New("the option reports is asked, for a receiver that answers message.status, or absent")
}

func (g *webhook) Name() string { return g.name }

// event is the body of a request.
type event struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      any       `json:"data"`
}

// posted is a message as receivers get it.
type posted struct {
	ID        string      `json:"id"`
	Channel   otp.Channel `json:"channel"`
	To        string      `json:"to"`
	Subject   string      `json:"subject,omitempty"`
	Body      string      `json:"body"`
	Speech    []string    `json:"speech,omitempty"`
	Language  string      `json:"language,omitempty"`
	Code      string      `json:"code,omitempty"`
	ExpiresAt time.Time   `json:"expires_at,omitzero"`
}

func (g *webhook) Send(ctx context.Context, m Message) (string, error) {
	answer, _, err := g.post(ctx, m.ID, event{"message.send", g.now().UTC(), posted{
		m.ID, m.Channel, m.To, m.Subject, m.Body, m.Speech, m.Language, m.Code, m.ExpiresAt,
	}})
	if err != nil {
		return "", err
	}
	var named struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(answer, &named) != nil || len(named.ID) > maxRef || receipt.CleanText(named.ID) != named.ID {
		return "", nil // an id is welcome, and no more than that
	}
	return named.ID, nil
}

// tellingWebhook is one whose receiver is asked later.
type tellingWebhook struct{ *webhook }

// Send names a message by our own id when the receiver gives it none.
func (g tellingWebhook) Send(ctx context.Context, m Message) (ref string, err error) {
	if ref, err = g.webhook.Send(ctx, m); err == nil && ref == "" {
		ref = m.ID
	}
	return ref, err
}

// Ask sends an event whose answer says what became of a message.
func (g tellingWebhook) Ask(ctx context.Context, c otp.Channel, ref string) (became Status, reason string, err error) {
	now := g.now()
	body, _, err := g.post(ctx, "status-"+ident.New(now), event{"message.status", now.UTC(), struct {
		ID      string      `json:"id"`
		Channel otp.Channel `json:"channel"`
	}{ref, c}})
	if err != nil {
		return "", "", err
	}
	var told struct {
		Status Status `json:"status"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(body, &told) != nil || told.Status != Sent && told.Status != Delivered && told.Status != Failed {
		return "", "", &Failure{Reason: "the answer to message.status says neither sent, delivered nor failed"}
	}
	return told.Status, shortened(receipt.CleanText(told.Reason)), nil
}

// maxReason bounds what a receiver says for people, in letters.
const maxReason = 100

func shortened(s string) string {
	if letters := []rune(s); len(letters) > maxReason {
		return string(letters[:maxReason-1]) + "…"
	}
	return s
}

// Check sends an event that carries no message: the receiver checks the signature and answers 2xx.
func (g *webhook) Check(ctx context.Context) (clock time.Time, err error) {
	now := g.now()
	_, clock, err = g.post(ctx, "check-"+ident.New(now), event{"ping", now.UTC(), struct{}{}})
	return clock, err
}

func (g *webhook) post(ctx context.Context, id string, e event) (answer []byte, clock time.Time, err error) {
	body, err := json.Marshal(e)
	if err != nil {
		return nil, clock, fmt.Errorf("encode message: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url, bytes.NewReader(body))
	if err != nil {
		return nil, clock, err
	}
	stamp := strconv.FormatInt(e.Timestamp.Unix(), 10)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", "Countersign")
	r.Header.Set("webhook-id", id)
	r.Header.Set("webhook-timestamp", stamp)
	r.Header.Set("webhook-signature", "v1,"+g.sign(id, stamp, body))
	status, header, answer, err := exchange(g.client, r)
	if err != nil {
		return nil, clock, err
	}
	if status < 200 || status > 299 {
		failure := statusFailure(status, header, "")
		failure.Refused = failure.Refused || e.Type == "message.status" && neverTells(status)
		return nil, clock, failure
	}
	return answer, clockOf(header), nil
}

// sign is the symmetric signature of Standard Webhooks.
func (g *webhook) sign(id, stamp string, body []byte) string {
	mac := hmac.New(sha256.New, g.secret)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}
