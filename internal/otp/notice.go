package otp

import (
	"context"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/tenant"
)

// This file owns notices: what somebody is told about their account without being asked for anything.

// Notice is what is told. Its words are ours, so that nobody can have us send theirs.
type Notice string

// The notices.
const (
	NumberChanged Notice = "number-changed" // to the number that counts no more
	ResetAllowed  Notice = "reset-allowed"  // the second factor starts anew at Outgoing.When
)

// noticeLife is how late a notice is still worth sending.
const noticeLife = 24 * time.Hour

// ErrNotice is a notice that applications do not send.
var ErrNotice = fault.New(fault.Invalid, "notice-unknown", "Invalid parameter: notice - number-changed is expected")

// Notify tells a user something at their phone number, at the word of the application. The limits of sending count it.
func (s *Service) Notify(ctx context.Context, app tenant.Application, u tenant.User, n Notice) error {
	if n != NumberChanged {
		return ErrNotice
	}
	address, err := addressFor(SMS, app.Settings, u)
	if err != nil {
		return err
	}
	if !s.CanSend(SMS) {
		return ErrNoSMS
	}
	now := s.Now()
	message := s.NewMessage(Outgoing{App: app, Channel: SMS, Address: address, Notice: n, ExpiresAt: now.Add(noticeLife)}, now)
	send := s.limited(app, Sending{ID: ident.New(now), Address: address, Channel: SMS, CreatedAt: now}, "")
	rec := audit.New(now, app.ID, "app:"+app.ID, "notice.sent", "user:"+u.ID).Noting(string(n) + " to " + tenant.MaskAddress(address))
	if err := s.Store.KeepNotice(ctx, send, message, rec); err != nil {
		return err
	}
	s.Offer(message)
	s.countSent(app.ID, SMS)
	return nil
}
