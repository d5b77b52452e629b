package approval

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/trace"
)

// This file owns steps 5 and 6 of the journey: the answer of a device, and the decision.

// Answer is what a device posts.
type Answer struct {
	Decision  string // Approve, Deny or NotMe
	Match     string // the number typed, "" when none was asked for
	Signature string // over the canonical bytes, by the device's key
}

// Decision is an answer that was found good, on its way into the row.
type Decision struct {
	UUID      string
	UserID    string
	Status    Status
	Reason    string
	GrantID   int64
	DeviceID  string
	Signed    []byte
	Signature string
	Now       time.Time
}

// Answer decides an approval in the name of a device. The same answer given again is fine, and changes nothing.
func (s *Service) Answer(ctx context.Context, d device.Device, uuid string, ans Answer) (decided Approval, err error) {
	now := s.Now()
	a, grant, err := s.Store.ApprovalForDevice(ctx, d.ID, uuid)
	if err != nil {
		return Approval{}, err
	}
	a = a.At(now)
	ctx, span := trace.Continue(ctx, a.Trace, "approval.answer")
	defer func() { span.End(err) }()
	_, step := trace.Start(ctx, "approval.verify")
	signed, err := s.checkSignature(a, d, ans)
	step.End(err)
	if err != nil {
		return Approval{}, err
	}
	if a.Status != Pending {
		return s.refused(ctx, d, a, signed)
	}
	status, reason := decide(a, ans)
	dec := Decision{
		UUID: uuid, UserID: a.UserID, Status: status, Reason: reason, GrantID: grant.ID, DeviceID: d.ID, Signed: signed, Signature: ans.Signature, Now: now,
	}
	rec := audit.New(now, a.AppID, "device:"+d.ID, "approval."+string(status), "approval:"+uuid).Noting(reason)
	deciding, step := trace.Start(ctx, "approval.decide", attribute.String("status", string(status)))
	callback := job.New(job.Callback, a.AppID, uuid, now)
	callback.Trace = trace.Parent(deciding)
	ended, jobs, err := s.Store.Decide(deciding, dec, callback, rec)
	step.End(err)
	if errors.Is(err, ErrNotPending) { // somebody was faster; what the row says now is the truth
		if a, _, err = s.Store.ApprovalForDevice(ctx, d.ID, uuid); err != nil {
			return Approval{}, err
		}
		return s.refused(ctx, d, a, signed)
	}
	if err != nil {
		return Approval{}, err
	}
	decided = a
	decided.Status, decided.Reason, decided.ProcessedAt, decided.UpdatedAt, decided.Ended = status, reason, now, now, ended
	grant.Device = d
	decided.Answer = &Answered{Grant: grant, Signed: signed, Signature: ans.Signature}
	s.tell(ctx, decided, jobs)
	if reason == ErrMismatch.Code {
		return decided, ErrMismatch
	}
	return decided, nil
}

// tell counts a decision that is kept, offers its jobs, and wakes who waits for it or for what ended with it.
func (s *Service) tell(ctx context.Context, decided Approval, jobs []job.Job) {
	s.changed(decided.Status, decided.ProcessedAt.Sub(decided.CreatedAt), 1)
	for i := range jobs {
		jobs[i].About = decided // it is final (INV-5)
	}
	s.Offer(jobs...)
	if decided.Status == Approved {
		s.Meter.Count(decided.AppID, tenant.CountAuths)
	}
	_, step := trace.Start(ctx, "approval.tell")
	topics := []live.Topic{live.ApprovalTopic(decided.UUID), live.UserTopic(decided.UserID)}
	for _, other := range decided.Ended {
		topics = append(topics, live.ApprovalTopic(other))
	}
	s.Live.Wake(topics...)
	step.End(nil)
}

// checkSignature rebuilds the canonical bytes from the row (T-12) and returns them when the device's key signed them.
func (s *Service) checkSignature(a Approval, d device.Device, ans Answer) ([]byte, error) {
	if ans.Decision != Approve && ans.Decision != Deny && ans.Decision != NotMe || len(ans.Match) > 6 {
		return nil, ErrInvalid.Saying("The decision is approve, deny or not-me, and a number has at most 6 digits.")
	}
	pub, err := receipt.ParsePublicKey(d.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("stored key of device %s: %w", d.ID, err)
	}
	signed := s.Signed(a, d.ID, ans.Decision, ans.Match)
	if receipt.VerifySignature(pub, signed, ans.Signature) != nil {
		return nil, ErrSignature
	}
	return signed, nil
}

// Signed returns the canonical bytes of an answer to a by that device.
func (s *Service) Signed(a Approval, deviceID, decision, match string) []byte {
	ans := receipt.Answer{
		Origin: s.Origin, Application: a.AppID, User: a.AuthyID, Device: deviceID, Approval: a.UUID,
		Shown: a.Content.Digest(), Hidden: receipt.HiddenDigest(a.Hidden), Match: match, Decision: decision,
		Nonce: a.Nonce, IssuedAt: a.CreatedAt.Unix(),
	}
	if !a.ExpiresAt.IsZero() {
		ans.ExpiresAt = a.ExpiresAt.Unix()
	}
	return ans.Canonical()
}

// decide says what a good answer to a pending approval makes of it. A wrong number ends the request: there is no second guess (T-11).
func decide(a Approval, ans Answer) (Status, string) {
	switch {
	case ans.Decision == NotMe:
		return Denied, NotMe
	case ans.Decision != Approve:
		return Denied, ""
	case a.Match.Mode == tenant.MatchType && subtle.ConstantTimeCompare([]byte(ans.Match), []byte(a.Match.Value)) != 1:
		return Denied, ErrMismatch.Code
	default:
		return Approved, ""
	}
}

// refused returns a final approval as it is now, with who answered it, and why it takes no other answer.
func (s *Service) refused(ctx context.Context, d device.Device, a Approval, signed []byte) (Approval, error) {
	a, err := s.Get(ctx, a.AppID, a.UUID)
	if err != nil {
		return Approval{}, err
	}
	return a, refusal(a, d, signed)
}

// refusal says why a final approval takes no answer; nil for the very answer that made it final.
func refusal(a Approval, d device.Device, signed []byte) error {
	switch {
	case a.Status == Expired:
		return ErrExpired
	case a.Status == Cancelled:
		return ErrCancelled
	case a.Answer != nil && a.Answer.Grant.Device.ID == d.ID && string(a.Answer.Signed) == string(signed):
		if a.Reason == ErrMismatch.Code {
			return ErrMismatch
		}
		return nil
	default:
		return ErrNotPending
	}
}
