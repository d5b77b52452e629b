// Package webhook owns the dashboard API's part of an application (contract section 10): the keys that manage it, and the webhooks that
// are told of its events.
//
// An event is an audit record that the catalogue of package reporting knows. The store inserts a job for each webhook that asked for the event
// in the transaction of the record, so none is lost and none is told that did not happen. A worker sends it as a signed JWT and tries again like a
// callback. A webhook that took nothing for an hour is paused and its owner told by mail; what waits then is held for a day.
package webhook

import (
	"context"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/tenant"
)

// Bounds.
const (
	Max       = 10               // webhooks of one application
	MaxKeys   = 5                // access keys of one application
	MaxName   = 100              // characters
	MaxTries  = 10               // kept of one webhook
	FailFor   = time.Hour        // without a delivery, and it is paused
	HoldFor   = tenant.HoldFor   // what waits for a paused one
	Freshness = 15 * time.Minute // of a signed request whose nonce is a time
)

// Errors that this package reports.
var (
	ErrAppKey     = fault.New(fault.Invalid, "dashboard-app-key", "Invalid application API key")
	ErrAccessKey  = fault.New(fault.NotFound, "access-key-unknown", "Invalid access key")
	ErrPermission = fault.New(fault.Invalid, "access-key-foreign", "Access key doesn't have enough permissions")
	ErrSignature  = fault.New(fault.Unauthenticated, "signature-invalid", "Invalid signature")
	ErrKeysMany   = fault.New(fault.Conflict, "access-keys-many", "An application has at most five access keys. End one that nobody uses first.")

	ErrInvalid = fault.New(fault.Invalid, "webhook-invalid", "Webhook could not be created")
	ErrUnknown = fault.New(fault.NotFound, "webhook-unknown", "There is no such webhook.")
	ErrRunning = fault.New(fault.Conflict, "webhook-not-paused", "This webhook is not paused.")
	ErrPaused  = fault.New(fault.Conflict, "webhook-paused", "This webhook is paused. Resume it first.")
	ErrEvent   = fault.New(fault.NotFound, "webhook-event-unknown", "That event is kept no longer.")
)

// Webhook is an address that is told of events.
type Webhook struct {
	ID, AppID, Name, URL string
	Events               []string // sorted
	Sealed               []byte   // what signs, sealed
	CreatedAt            time.Time

	ToldAt       time.Time // last delivery, to the minute
	FailingSince time.Time // zero: the last try was delivered
	PausedAt     time.Time // zero: it is told of events
	Reason       string    // of the last failure
}

// Try is one request to a webhook.
type Try struct {
	ID, WebhookID, RecordID string
	Event                   string
	At                      time.Time
	Status                  int    // of HTTP; 0 = no answer
	Error                   string // why it was not taken; "" for a delivery
	Took                    time.Duration
}

// AccessKey is what manages an application from outside the console, as it is kept.
type AccessKey struct {
	ID, AppID, Hash string
	Sealed          []byte
	CreatedAt       time.Time
}

// Credentials are an access key in the clear.
type Credentials struct{ AccessKey, SigningKey string }

// Store is what this package needs to keep. Methods that take an audit record write it in the transaction of the change (INV-10).
type Store interface {
	AddAccessKey(ctx context.Context, k AccessKey, rec audit.Record) error       // ErrKeysMany
	AccessKeys(ctx context.Context, appID string) ([]AccessKey, error)           // oldest first
	AccessKeyByHash(ctx context.Context, hash string) (AccessKey, error)         // ErrAccessKey
	EndAccessKey(ctx context.Context, appID, id string, rec audit.Record) error  // ErrAccessKey
	AddWebhook(ctx context.Context, w Webhook, rec audit.Record) error           // ErrInvalid: there are Max already
	Webhooks(ctx context.Context, appID string) ([]Webhook, error)               // oldest first
	RemoveWebhook(ctx context.Context, appID, id string, rec audit.Record) error // ErrUnknown; what waits for it goes too
	// ResumeWebhook has a paused one told again and returns what was held, leased to the caller. ErrUnknown, ErrRunning.
	ResumeWebhook(ctx context.Context, appID, id string, now time.Time, rec audit.Record) ([]job.Job, error)
	Record(ctx context.Context, rec audit.Record) error
	Told(ctx context.Context, j job.Job, t Try) error                               // notes the delivery and ends the job
	WebhookTries(ctx context.Context, appID string) ([]Try, error)                  // of all webhooks of the application, MaxTries of each, newest first
	TellAgain(ctx context.Context, j job.Job, appID string, rec audit.Record) error // ErrUnknown, ErrPaused, ErrEvent

	// Telling returns what a webhook's job is about: ErrUnknown when the webhook or the record is gone.
	Telling(ctx context.Context, webhookID, recordID string) (Webhook, tenant.Application, audit.Record, error)
	// NotTold notes the failure and gives the job up until next (zero: for good). When nothing was delivered since before, it pauses the webhook, holds what
	// waits for it, writes the record, and inserts and returns the mail that mail makes of the owner's address.
	NotTold(ctx context.Context, j job.Job, f Failure) ([]job.Job, error)
	// HoldTelling parks a job whose webhook is paused, until at most until.
	HoldTelling(ctx context.Context, j job.Job, until time.Time) error
	EndJob(ctx context.Context, id string) error
}

// Failure is a try that was not taken.
type Failure struct {
	Try              Try
	At, Next, Before time.Time
	Mail             func(ownerEmail string) job.Job
	Record           audit.Record // of the pause
}

// Events returns the names that a webhook may ask for, sorted.
func Events() []string { return reporting.Catalogue() }
