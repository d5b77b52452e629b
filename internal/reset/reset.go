// Package reset owns the way back for people who have lost everything: the phone, its number, the recovery codes.
//
// The application asks, because it knows that the password was right. An operator makes sure who it is, by means of their own, and allows it. Then
// everybody hears of it whom we can reach under an address of that user, and for two days whoever is still signed in can stop it, as can every device that
// acts for the user, from the moment it was asked for. Only after that the application may finish: devices, secrets and codes of the user end, and one ticket
// makes a new device, all in one transaction. An application that lost the answer finishes again, until something was proved.
//
//	asked ──▶ allowed ──(two days)──▶ due ──▶ finished
//	  └──────────┴─────────────────────┴────▶ stopped, refused, lapsed
package reset

import (
	"context"
	"fmt"
	"time"
	"unicode/utf8"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
)

// Errors that this package reports.
var (
	ErrNone    = fault.New(fault.NotFound, "reset-unknown", "No reset is under way for this user.")
	ErrNotDue  = fault.New(fault.Conflict, "reset-not-due", "This reset cannot be finished yet.")
	ErrAllowed = fault.New(fault.Conflict, "reset-allowed", "This reset is allowed already.")
	ErrNote    = fault.New(fault.Invalid, "reset-note", "Write down how you made sure who it is, in 1 to 200 characters.")
)

// How long things last.
const (
	Wait = 48 * time.Hour     // between the operator's yes and the new start, where the application has no other setting
	Open = 7 * 24 * time.Hour // before an operator decides, and again after it is due

	Again = 24 * time.Hour // after it was finished, while the answer may have been lost
)

// State is where a reset stands.
type State string

// The states of a reset that has not ended.
const (
	Asked   State = "asked"
	Allowed State = "allowed"
	Due     State = "due"
)

// Reset is one that has not ended.
type Reset struct {
	ID, AppID, UserID string
	AskedAt           time.Time
	AllowedAt         time.Time // zero while no operator decided
	DueAt             time.Time
	LapsesAt          time.Time
}

// At is where it stands at a time.
func (r Reset) At(now time.Time) State {
	switch {
	case r.AllowedAt.IsZero():
		return Asked
	case now.Before(r.DueAt):
		return Allowed
	}
	return Due
}

// Beside is a reset as a device sees it that acts for the user.
type Beside struct {
	Reset
	GrantID              int64
	Application, Account string
}

// Announcement is what tells people of a reset that was allowed.
type Announcement struct {
	Mails []job.Job
	Text  *Text // nil where no text can be sent
}

// Text is a text message within the limits of sending.
type Text struct {
	Send    sending.Send
	Message job.Job
}

// Store is what this package needs to keep. The conditions stand inside its statements: of two who decide at once, one does.
type Store interface {
	// AskReset keeps r, or returns the one that is under way.
	AskReset(ctx context.Context, r Reset, rec audit.Record) (Reset, error)   // tenant.ErrUser
	ResetOf(ctx context.Context, userID string, now time.Time) (Reset, error) // ErrNone
	Emails(ctx context.Context, userID string) ([]string, error)              // all addresses that were ever the user's
	// EndReset ends the reset of r's user. deviceID is who says so, "" for the application or an operator; it must act for the user.
	EndReset(ctx context.Context, r Reset, outcome, deviceID string, now time.Time, rec audit.Record) error // ErrNone
	// ResetsBeside returns the resets that are under way for the users that a device acts for.
	ResetsBeside(ctx context.Context, deviceID string, now time.Time) ([]Beside, error)
	// AllowReset allows r, which is new when nobody asked, and sends the announcement with it. A text that the limits of sending refuse is left out.
	AllowReset(ctx context.Context, r Reset, a Announcement, rec audit.Record) (sent []job.Job, err error) // ErrAllowed
	// FinishReset ends everything that could act for the user, and keeps the ticket. So it does for a reset that was finished within Again, while
	// nothing was proved since, by a device, a sent code or another authenticator app.
	FinishReset(ctx context.Context, ticket device.StoredTicket, now time.Time, rec audit.Record) (tenant.Removed, error) // ErrNotDue
}

// Service is the entrance to this package.
type Service struct {
	Store   Store
	Devices *device.Service
	Live    *live.Hub
	Now     func() time.Time
	// NewMessage makes the job that tells somebody.
	NewMessage func(out otp.Outgoing, now time.Time) job.Job
	// Alert makes the notice that sending was paused.
	Alert   func(s sending.Send, owner string, p sending.Pause) job.Job
	CanSend func(otp.Channel) bool // a gateway is set up
	Offer   func(...job.Job)
}

// Ask notes that the user has nothing left but the password. Asking again changes nothing.
func (s *Service) Ask(ctx context.Context, app tenant.Application, u tenant.User) (Reset, error) {
	rec := audit.New(s.Now(), app.ID, "app:"+app.ID, "reset.asked", "user:"+u.ID)
	r, err := s.Store.AskReset(ctx, s.newReset(app, u), rec)
	if err == nil {
		s.tellDevices(ctx, u.ID)
	}
	return r, err
}

// tellDevices makes the user's devices look at how things stand. It is a hint: one that misses it looks when it is opened.
func (s *Service) tellDevices(ctx context.Context, userID string) {
	grants, err := s.Devices.Store.GrantsOfUser(ctx, userID)
	if err != nil {
		return
	}
	var topics []live.Topic
	for _, g := range grants {
		topics = append(topics, live.DeviceTopic(g.Device.ID))
	}
	s.Live.Wake(topics...)
}

func (s *Service) newReset(app tenant.Application, u tenant.User) Reset {
	now := s.Now()
	return Reset{ID: ident.New(now), AppID: app.ID, UserID: u.ID, AskedAt: now, LapsesAt: now.Add(Open)}
}

// Of returns the reset that is under way for a user, or ErrNone.
func (s *Service) Of(ctx context.Context, u tenant.User) (Reset, error) {
	return s.Store.ResetOf(ctx, u.ID, s.Now())
}

// Allow is the operator's yes, also to somebody who asked them directly. The note says how they made sure who it is.
func (s *Service) Allow(ctx context.Context, app tenant.Application, u tenant.User, note, actor string) (Reset, error) {
	note = receipt.CleanText(note)
	if n := utf8.RuneCountInString(note); n < 1 || n > 200 {
		return Reset{}, ErrNote
	}
	emails, err := s.Store.Emails(ctx, u.ID)
	if err != nil {
		return Reset{}, err
	}
	r := s.newReset(app, u)
	r.AllowedAt, r.DueAt = r.AskedAt, r.AskedAt.Add(WaitOf(app.Settings))
	r.LapsesAt = r.DueAt.Add(Open)
	rec := audit.New(r.AllowedAt, app.ID, actor, "reset.allowed", "user:"+u.ID).Noting(note)
	sent, err := s.Store.AllowReset(ctx, r, s.announce(app, u, r, emails), rec)
	if err != nil {
		return Reset{}, err
	}
	s.Offer(sent...)
	s.tellDevices(ctx, u.ID)
	return r, nil
}

// WaitOf is how long an application's people have to stop a reset.
func WaitOf(set tenant.Settings) time.Duration {
	if set.ResetWait == 0 {
		return Wait
	}
	return set.ResetWait.Duration()
}

// announce writes to every address of the user.
func (s *Service) announce(app tenant.Application, u tenant.User, r Reset, emails []string) (a Announcement) {
	out := otp.Outgoing{App: app, Notice: otp.ResetAllowed, When: r.DueAt, ExpiresAt: r.DueAt}
	if s.CanSend(otp.Email) {
		for _, out.Address = range emails {
			out.Channel = otp.Email
			a.Mails = append(a.Mails, s.NewMessage(out, r.AllowedAt))
		}
	}
	if u.Phone != "" && app.Settings.SMSEnabled && s.CanSend(otp.SMS) {
		out.Channel, out.Address = otp.SMS, u.Phone
		a.Text = &Text{Message: s.NewMessage(out, r.AllowedAt), Send: sending.Send{
			ID: r.ID, AccountID: app.AccountID, AppID: app.ID, AppName: app.Name, To: u.Phone, Channel: sending.SMS, At: r.AllowedAt,
			Limits: app.Settings.Sending, Alert: s.Alert,
		}}
	}
	return a
}

// Stop ends a reset at the application's word: somebody who is signed in did not ask for it.
func (s *Service) Stop(ctx context.Context, app tenant.Application, u tenant.User) error {
	return s.end(ctx, app, u, "stopped", "app:"+app.ID)
}

// Beside returns the resets that are under way for the users that a device acts for.
func (s *Service) Beside(ctx context.Context, d device.Device) ([]Beside, error) {
	return s.Store.ResetsBeside(ctx, d.ID, s.Now())
}

// StopFrom ends the reset of the user of a grant, at the word of the device that has it: whoever holds it has not lost everything.
func (s *Service) StopFrom(ctx context.Context, d device.Device, grantID int64) error {
	resets, err := s.Beside(ctx, d)
	if err != nil {
		return err
	}
	for _, r := range resets {
		if r.GrantID != grantID {
			continue
		}
		now := s.Now()
		rec := audit.New(now, r.AppID, "device:"+d.ID, "reset.stopped", "user:"+r.UserID)
		if err := s.Store.EndReset(ctx, r.Reset, "stopped", d.ID, now, rec); err != nil {
			return err
		}
		s.tellDevices(ctx, r.UserID)
		return nil
	}
	return ErrNone
}

// Refuse ends a reset at an operator's word.
func (s *Service) Refuse(ctx context.Context, app tenant.Application, u tenant.User, actor string) error {
	return s.end(ctx, app, u, "refused", actor)
}

func (s *Service) end(ctx context.Context, app tenant.Application, u tenant.User, outcome, actor string) error {
	now := s.Now()
	rec := audit.New(now, app.ID, actor, "reset."+outcome, "user:"+u.ID)
	if err := s.Store.EndReset(ctx, Reset{AppID: app.ID, UserID: u.ID}, outcome, "", now, rec); err != nil {
		return err
	}
	s.tellDevices(ctx, u.ID)
	return nil
}

// Finish is the new start: nothing of before acts for the user any more, and the ticket makes the first new device.
func (s *Service) Finish(ctx context.Context, app tenant.Application, u tenant.User) (device.Ticket, error) {
	now := s.Now()
	ticket, stored := s.Devices.DrawTicket(app, u)
	rec := audit.New(now, app.ID, "app:"+app.ID, "reset.finished", "user:"+u.ID)
	gone, err := s.Store.FinishReset(ctx, stored, now, rec)
	if err != nil {
		return device.Ticket{}, fmt.Errorf("finish reset: %w", err)
	}
	gone.Wake(s.Live)
	return ticket, nil
}
