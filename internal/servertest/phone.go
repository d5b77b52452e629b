package servertest

import (
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/tenant"
)

// This file owns the phone of tests: a real key, enrolled and answering through the services, for
// surfaces that need somebody to have a device. The device API has tests of its own over HTTP.

// Phone is an enrolled authenticator.
type Phone struct {
	Key     *ecdsa.PrivateKey
	Device  device.Device
	Grants  []device.Grant // in order of enrolment, with their TOTP secrets
	Session string         // the cookie's value of the last enrolment
	server  *Server
}

// NewKey returns a device's key.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// Phone returns a new phone with a grant for the user, enrolled by ticket.
func (s *Server) Phone(t testing.TB, app tenant.Application, u tenant.User) *Phone {
	t.Helper()
	p := s.NewPhone(t)
	p.Enroll(t, app, u)
	return p
}

// NewPhone returns a phone that nobody enrolled yet.
func (s *Server) NewPhone(t testing.TB) *Phone { return &Phone{Key: NewKey(t), server: s} }

// Enroll adds a grant for another user to the phone, by ticket.
func (p *Phone) Enroll(t testing.TB, app tenant.Application, u tenant.User) device.Grant {
	t.Helper()
	ticket, err := p.server.Devices.NewTicket(t.Context(), app, u)
	must(t, err)
	return p.EnrollBy(t, ticket.Words)
}

// EnrollBy adds the grant that a ticket gives to the phone.
func (p *Phone) EnrollBy(t testing.TB, ticket string) device.Grant {
	t.Helper()
	public := receipt.EncodePublicKey(&p.Key.PublicKey)
	challenge := p.server.Devices.Challenge()
	proof := receipt.EnrollmentProof{Challenge: challenge, Origin: Origin, PublicKey: public, Token: ticket}
	enrolled, err := p.server.Devices.Confirm(t.Context(), device.Confirmation{
		Ticket: ticket, Challenge: challenge, Proof: p.Sign(t, proof.Canonical()),
		Device: device.NewDevice{Name: "Test phone", Platform: "android", PublicKey: public},
	})
	must(t, err)
	p.Device, p.Session = enrolled.Device, enrolled.Session
	p.Grants = append(p.Grants, enrolled.Grants...)
	return enrolled.Grants[0]
}

// Sign signs with the phone's key.
func (p *Phone) Sign(t testing.TB, canonical []byte) string {
	t.Helper()
	signature, err := receipt.Sign(p.Key, canonical)
	must(t, err)
	return signature
}

// Answer signs and gives an answer, and returns the approval with who answered it. Decision is approval.Approve or approval.Deny; match is the number typed, or "".
func (p *Phone) Answer(t testing.TB, uuid, decision, match string) (approval.Approval, error) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	a, err := p.server.Approvals.ForDevice(ctx, p.Device, uuid)
	if err != nil {
		return approval.Approval{}, err
	}
	signed := p.server.Approvals.Signed(a, p.Device.ID, decision, match)
	decided, err := p.server.Approvals.Answer(ctx, p.Device, uuid, approval.Answer{Decision: decision, Match: match, Signature: p.Sign(t, signed)})
	if err != nil {
		return decided, err
	}
	kept, err := p.server.Approvals.Get(ctx, decided.AppID, uuid)
	kept.Ended = decided.Ended
	return kept, err
}

// Subscribed gives the phone a push subscription at endpoint whose messages nobody can read.
func (s *Server) Subscribed(t testing.TB, p *Phone, endpoint string) {
	t.Helper()
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	must(t, err)
	s.Subscribe(t, p, notify.Subscription{Endpoint: endpoint, P256dh: key.PublicKey().Bytes(), Auth: make([]byte, 16)})
}

// Subscribe gives the phone a push subscription.
func (s *Server) Subscribe(t testing.TB, p *Phone, sub notify.Subscription) {
	t.Helper()
	state, err := s.Push.State(t.Context(), p.Device)
	must(t, err)
	must(t, s.Push.Subscribe(t.Context(), p.Device, sub, state.Key))
}
