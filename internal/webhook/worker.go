package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"countersign.dev/client/token"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/trace"
)

// This file owns telling: the handler of webhooks' jobs.

// Patience is how long a receiver may take to answer.
const Patience = 10 * time.Second

const (
	maxAnswer = 64 << 10  // of a receiver's answer is read, so that its connection can be used again
	maxAfter  = time.Hour // a receiver may ask to be left alone
)

// Worker tells webhooks of events.
type Worker struct {
	*Service
	Reports *reporting.Service
	// Client must be guarded against private addresses and follow no redirects.
	Client *http.Client
	// Claims builds the JSON that tells of an event at a time.
	Claims func(app tenant.Application, e reporting.Event, at time.Time) ([]byte, error)
	// Mail makes the job that tells the owner of a paused webhook.
	Mail func(app tenant.Application, owner, name, address, reason string, now time.Time) job.Job
	Log  *slog.Logger
}

// Deliver is the job handler: one try.
func (w *Worker) Deliver(ctx context.Context, j job.Job) error {
	hook, app, rec, err := w.Store.Telling(ctx, j.AppID, j.Ref)
	if errors.Is(err, ErrUnknown) {
		return w.Store.EndJob(ctx, j.ID)
	}
	if err != nil {
		return fmt.Errorf("read what to tell: %w", err)
	}
	if !hook.PausedAt.IsZero() {
		return w.Store.HoldTelling(ctx, j, hook.PausedAt.Add(HoldFor))
	}
	start := w.Now()
	try, after, err := w.try(ctx, hook, app, rec, start)
	if err != nil {
		return err
	}
	try.Took = w.Now().Sub(start)
	if try.Status == 0 && ctx.Err() != nil {
		return nil // interrupted by shutdown: the lease ends by itself, and nothing was learned about the receiver
	}
	keep := context.WithoutCancel(ctx) // what was learned is kept even when the job's time ends just now
	if try.Error == "" {
		return w.Store.Told(keep, j, try)
	}
	return w.failed(keep, j, hook, app, try, after)
}

// try posts once and says how that went, and how long the receiver asks to be left alone. An error means that nothing could be sent.
func (w *Worker) try(ctx context.Context, hook Webhook, app tenant.Application, rec audit.Record, at time.Time) (try Try, after time.Duration, err error) {
	event, err := w.Reports.Event(ctx, rec)
	if err != nil {
		return try, 0, fmt.Errorf("read the event: %w", err)
	}
	claims, err := w.Claims(app, event, at)
	if err != nil {
		return try, 0, fmt.Errorf("build the event: %w", err)
	}
	key, err := w.SigningKey(hook)
	if err != nil {
		return try, 0, err
	}
	try = Try{ID: ident.New(at), WebhookID: hook.ID, RecordID: rec.ID, Event: event.Name, At: at}
	body, err := json.Marshal(map[string]string{"body": token.Sign(key, claims)})
	if err != nil {
		return try, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, hook.URL, bytes.NewReader(body))
	if err != nil {
		try.Error = "the address is not a URL"
		return try, 0, nil
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Countersign")
	res, err := w.Client.Do(req)
	if err != nil {
		try.Error = egress.Reason(err, Patience)
		return try, 0, nil
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // only its end matters
	trace.Note(ctx, attribute.Int("http.response.status_code", res.StatusCode))
	if try.Status = res.StatusCode; try.Status >= 200 && try.Status <= 299 {
		return try, 0, nil
	}
	try.Error = "HTTP status " + strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", http.StatusText(res.StatusCode)))
	return try, egress.RetryAfter(res.Header, at, maxAfter), nil
}

func (w *Worker) failed(ctx context.Context, j job.Job, hook Webhook, app tenant.Application, try Try, after time.Duration) error {
	now, reason := w.Now(), try.Error
	f := Failure{
		Try: try, At: now, Before: now.Add(-FailFor),
		Mail:   func(owner string) job.Job { return w.Mail(app, owner, hook.Name, hook.URL, reason, now) },
		Record: audit.New(now, app.ID, "system", "webhook.paused", "webhook:"+hook.ID).Noting(reason),
	}
	if wait, again := j.Backoff(now); again {
		f.Next = now.Add(max(wait, after))
	}
	mails, err := w.Store.NotTold(ctx, j, f)
	if err != nil {
		return err
	}
	w.Log.Info("webhook failed", "application", app.ID, "webhook", hook.ID, "record", j.Ref, "reason", reason, "paused", len(mails) > 0)
	w.Offer(mails...)
	return nil
}
