// Package message owns what is sent to people: codes by SMS, call and mail, and notices by mail.
//
// A message leaves as a durable job, inserted in the transaction of what causes
// it, its content sealed until it is sent. The job hands it to the first of its
// channel's gateways that takes it (delivery.go); `dev` has one gateway, the
// outbox, which keeps what would have gone out. Texts are in catalogue.go.
package message

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
)

// Message is one message to one person.
type Message struct {
	ID        string      `json:"id"`
	Time      time.Time   `json:"time"`
	Channel   otp.Channel `json:"channel"`
	To        string      `json:"to"` // E.164 or mail address
	Subject   string      `json:"subject"`
	Body      string      `json:"body"`               // of a call: what is said
	Speech    []string    `json:"speech,omitempty"`   // of a call: the same phrase by phrase, with a pause after each
	Language  string      `json:"language,omitempty"` // of a call: such as pt-BR
	Code      string      `json:"code"`               // the code in Body, for scripts; "" for a notice
	ExpiresAt time.Time   `json:"expires_at,omitzero"`

	Left time.Duration `json:"-"` // how long it is still good when it is handed to a gateway; 0 is without end
}

// Store is what this package needs to keep.
type Store interface {
	// KeepOutcome notes how a run of the message's job ended. The job runs again at next, or is over when next is zero, and then
	// follows, if any. A report that came before counts then.
	KeepOutcome(ctx context.Context, j job.Job, out Outcome, next time.Time, then ...job.Job) error
	// KeepReport notes what became of a message that was sent, also when it is not yet known that it was. A message that was delivered stays so.
	KeepReport(ctx context.Context, r Report, now time.Time) error
	// SentBy returns how a message was sent of which no more is known than that; a zero Record when there is none.
	SentBy(ctx context.Context, id string) (r Record, ref string, err error)
	EndJob(ctx context.Context, id string) error
	RetryJob(ctx context.Context, j job.Job, at time.Time) error

	KeepInOutbox(ctx context.Context, m Stored) error          // once however often it is called
	InOutbox(ctx context.Context, limit int) ([]Stored, error) // newest first
}

// Service is the entrance to this package.
type Service struct {
	Store Store
	Ring  *seal.Ring
	Live  *live.Hub
	// Gateways are tried in their order. A channel without any goes nowhere.
	Gateways map[otp.Channel][]Gateway
	Now      func() time.Time
	Log      *slog.Logger
	// Kept is told how each run of a message's job ended. nil is fine.
	Kept func(c otp.Channel, became Status)

	health health
}

// NewJob returns the leased job that sends m.
func (s *Service) NewJob(appID string, m Message, now time.Time) job.Job {
	j := job.New(job.Message, appID, string(m.Channel)+" "+tenant.MaskAddress(m.To), now)
	m.ID, m.Time = j.ID, now.UTC()
	m.Subject = receipt.CleanText(m.Subject) // a header is one line (T-41)
	plain, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings and times always encode
	}
	j.Payload = s.Ring.Seal(jobContext(j.ID), plain)
	return j
}

// open returns the message of a job.
func (s *Service) open(j job.Job) (m Message, err error) {
	plain, err := s.Ring.Open(jobContext(j.ID), j.Payload)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(plain, &m); err != nil {
		return m, fmt.Errorf("message %s: %w", j.ID, err)
	}
	return m, nil
}

// CodeJob returns the job that sends a code.
func (s *Service) CodeJob(out otp.Outgoing, now time.Time) job.Job {
	return s.NewJob(out.App.ID, compose(out, now), now)
}

// CallbackDisabledJob returns the job that tells an account's owner that an application's callback was disabled.
func (s *Service) CallbackDisabledJob(app tenant.Application, owner, address, reason string, now time.Time) job.Job {
	return s.NewJob(app.ID, Message{
		Channel: otp.Email, To: owner, Subject: "Callback of " + app.Name + " was disabled",
		Body: fmt.Sprintf("The callback of %s at %s answered with an error three times in a row (%s). It was disabled and its address removed.\n\n"+
			"To enable it again, enter the address in the console, on the page of %s. Decisions of the next 24 hours are held and will be delivered then.\n",
			app.Name, address, reason, app.Name),
	}, now)
}

// WebhookPausedJob returns the job that tells an account's owner that a webhook is told of no more events.
func (s *Service) WebhookPausedJob(app tenant.Application, owner, name, address, reason string, now time.Time) job.Job {
	return s.NewJob(app.ID, Message{
		Channel: otp.Email, To: owner, Subject: "Webhook of " + app.Name + " was paused",
		Body: fmt.Sprintf("The webhook %s of %s at %s has taken nothing for an hour (%s). It is told of no more events.\n\n"+
			"When its receiver is well again, resume it in the console, on the page Webhooks of %s. What waits for it now is held for 24 hours and will be delivered then; "+
			"what happens meanwhile is not told, and can be read by the API's reports.\n", name, app.Name, address, reason, app.Name),
	}, now)
}

// SendingPausedJob returns the job that tells an account's owner that codes are no longer sent somewhere.
func (s *Service) SendingPausedJob(of sending.Send, owner string, p sending.Pause) job.Job {
	return s.NewJob(of.AppID, Message{
		Channel: otp.Email, To: owner, Subject: "Codes of " + of.AppName + " to " + p.Place + " are paused",
		Body: fmt.Sprintf("Of the last %d codes that %s sent to %s, %d were typed. That is how fraud looks: somebody makes your application send messages "+
			"to numbers that earn them money. No more codes are sent there until %s; other places go on.\n\n"+
			"If these are your own people, close the pause in the console, on the page of %s. If they are not, look at who may ask for a code, "+
			"and name only the countries where your people are.\n",
			p.Sent, of.AppName, p.Place, p.Typed, p.Until.UTC().Format("15:04 on 2 January (UTC)"), of.AppName),
	}, of.At)
}

func jobContext(id string) string { return "jobs.payload:" + id }
