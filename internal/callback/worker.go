package callback

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	sign "countersign.dev/client/callback"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/trace"
)

// This file owns the worker: the handler of callback jobs.

// Patience is how long a receiver may take to answer (contract section 6.1).
const Patience = 10 * time.Second

// maxAnswer is how much of a receiver's answer is read, so that its connection can be used again.
const maxAnswer = 64 << 10

// maxAfter is how long a receiver may ask to be left alone.
const maxAfter = time.Hour

// Worker delivers callbacks.
type Worker struct {
	Store Store
	// Client must be guarded against private addresses and follow no redirects.
	Client *http.Client
	// Body builds the JSON that tells of a decision.
	Body func(app tenant.Application, a approval.Approval) ([]byte, error)
	// Key opens the application's signing key.
	Key func(tenant.Key) (string, error)
	// Secrets opens what signs the application's callbacks by Standard Webhooks; where nothing did yet it makes the first.
	Secrets func(ctx context.Context, appID string, kept []tenant.Signing) ([]tenant.WebhookKeys, error)
	// Mail makes the job that tells the owner of a disabled callback.
	Mail  func(app tenant.Application, owner, address, reason string, now time.Time) job.Job
	Offer func(...job.Job)
	// Changed is a signal for tests to wait on: a try of that application was kept. nil is fine.
	Changed func(appID string)
	// Tried is told of each try. nil is fine.
	Tried func(Try)
	Now   func() time.Time
	Log   *slog.Logger
}

// Deliver is the job handler: one try, kept with its outcome.
func (w *Worker) Deliver(ctx context.Context, j job.Job) error {
	d, err := w.Store.Delivery(ctx, j.AppID, w.Now())
	about, known := j.About.(approval.Approval)
	if err == nil && !known {
		about, err = w.Store.Approval(ctx, j.AppID, j.Ref)
	}
	if err != nil {
		return fmt.Errorf("read what to deliver: %w", err)
	}
	d.Approval = about
	app := d.App
	if app.Callback.URL == "" {
		since := j.CreatedAt
		if app.Callback.DisabledAt.After(since) {
			since = app.Callback.DisabledAt
		}
		return w.Store.Hold(ctx, j, since.Add(tenant.HoldFor))
	}
	try, err := w.try(ctx, d)
	if err != nil {
		return err
	}
	if try.Status == 0 && ctx.Err() != nil {
		return nil // interrupted by shutdown: the lease ends by itself, and nothing was learned about the receiver
	}
	// What was learned is kept even when the job's time ends just now.
	keep := context.WithoutCancel(ctx)
	if w.Changed != nil {
		defer w.Changed(app.ID)
	}
	trace.Note(ctx, attribute.Int("http.response.status_code", try.Status))
	if w.Tried != nil {
		w.Tried(try)
	}
	if try.Delivered() {
		return w.Store.Delivered(keep, j, try, app.Callback.Version)
	}
	return w.failed(keep, j, try, app)
}

// Again sends the callback of a decided approval once more: to the address of now, signed anew, with the retries of any other. ErrNotAnswered, ErrNoAddress.
func (w *Worker) Again(ctx context.Context, app tenant.Application, uuid, actor string) error {
	now := w.Now()
	again := job.New(job.Callback, app.ID, uuid, now)
	again.Trace = trace.Parent(ctx)
	jobs, err := w.Store.SendAgain(ctx, again, audit.New(now, app.ID, actor, "callback.sent_again", "approval:"+uuid))
	if err != nil {
		return err
	}
	w.Offer(jobs...)
	return nil
}

func (w *Worker) failed(ctx context.Context, j job.Job, try Try, app tenant.Application) error {
	now := w.Now()
	var next time.Time // zero: given up
	if wait, again := j.Backoff(now); again {
		next = now.Add(max(wait, try.After))
	}
	rec := audit.New(now, app.ID, "system", "callback.disabled", "application:"+app.ID).Noting(try.Error)
	struck, err := w.Store.Failed(ctx, j, try, app.Callback.Version, next, try.Error, func(owner string) job.Job {
		mail := w.Mail(app, owner, app.Callback.URL, try.Error, now)
		mail.Trace = j.Trace
		return mail
	}, rec)
	if err != nil {
		return err
	}
	w.Log.Info("callback failed", "application", app.ID, "approval", j.Ref, "status", try.Status, "reason", try.Error, "strikes", struck.Strikes, "disabled", struck.Disabled)
	w.Offer(struck.Jobs...)
	return nil
}

// try posts once. An error means that nothing could be sent and nothing was learned; what the receiver did is in the Try.
func (w *Worker) try(ctx context.Context, d Delivery) (Try, error) {
	app, a := d.App, d.Approval
	body, err := w.Body(app, a)
	if err != nil {
		return Try{}, fmt.Errorf("build callback: %w", err)
	}
	params, err := sign.Canonical(body)
	if err != nil {
		return Try{}, fmt.Errorf("sign callback: %w", err)
	}
	key, err := w.Key(d.Key)
	if err != nil {
		return Try{}, fmt.Errorf("open signing key: %w", err)
	}
	start := w.Now()
	try := Try{ID: ident.New(start), AppID: app.ID, UUID: a.UUID, URL: app.Callback.URL, At: start}
	req, err := request(ctx, app, body, params)
	if err != nil {
		try.Error = "the address is not a URL"
		return try, nil
	}
	nonce := nonce(start)
	req.Header.Set("User-Agent", "Countersign")
	req.Header.Set(sign.HeaderNonce, nonce)
	if parent := trace.Parent(ctx); parent != "" {
		req.Header.Set(trace.Header, parent)
	}
	req.Header.Set(sign.HeaderSignature, sign.Sign(key, nonce, req.Method, app.Callback.URL, params))
	if req.Method == http.MethodPost {
		if err := w.signStandard(ctx, req.Header, d, start, body); err != nil {
			return Try{}, err
		}
	}
	res, err := w.Client.Do(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)) // only its end matters
		res.Body.Close()
		try.Status, try.After = res.StatusCode, egress.RetryAfter(res.Header, start, maxAfter)
	}
	try.Took = w.Now().Sub(start)
	if !try.Delivered() {
		try.Error = reason(res, err)
	}
	return try, nil
}

// request is a POST of the body, or, where the application's settings say so, a GET with what is signed as its query (contract section 6.3).
func request(ctx context.Context, app tenant.Application, body []byte, params string) (*http.Request, error) {
	if app.Settings.CallbackGet {
		return http.NewRequestWithContext(ctx, http.MethodGet, app.Callback.URL+"?"+params, http.NoBody)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, app.Callback.URL, bytes.NewReader(body))
	if err == nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return req, err
}

// signStandard adds the headers of Standard Webhooks, which a GET has not: it signs bodies. An approval is decided once, so its
// uuid names the event in every try, replays by an operator included.
func (w *Worker) signStandard(ctx context.Context, h http.Header, d Delivery, at time.Time, body []byte) error {
	keys, err := w.Secrets(ctx, d.App.ID, d.Signing)
	if err != nil {
		return fmt.Errorf("open webhook secrets: %w", err)
	}
	id := "msg_" + d.Approval.UUID
	var signatures []string
	for _, k := range keys {
		for _, key := range []string{k.Secret, k.Private} {
			signature, err := sign.SignWebhook(key, id, at, body)
			if err != nil {
				return fmt.Errorf("sign callback: %w", err)
			}
			signatures = append(signatures, signature)
		}
	}
	h.Set(sign.HeaderWebhookID, id)
	h.Set(sign.HeaderWebhookTimestamp, strconv.FormatInt(at.Unix(), 10))
	h.Set(sign.HeaderWebhookSignature, strings.Join(signatures, " "))
	return nil
}

// nonce is the time in Unix seconds, as it always was (contract section 7.1), with random digits behind a point, so
// that a receiver which remembers nonces never takes one delivery for another.
func nonce(now time.Time) string {
	n, err := rand.Int(rand.Reader, big.NewInt(1_000_000_000))
	if err != nil {
		panic(err) // crypto/rand never fails since Go 1.24
	}
	return fmt.Sprintf("%d.%09d", now.Unix(), n)
}

// reason says in a few words why a try failed. The receiver's answer is never shown (T-40).
func reason(res *http.Response, err error) string {
	if err == nil {
		return "HTTP status " + strings.TrimSpace(fmt.Sprint(res.StatusCode, " ", http.StatusText(res.StatusCode)))
	}
	return egress.Reason(err, Patience)
}
