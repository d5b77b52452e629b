// This file owns enrolment: by a code sent to a phone number, in two steps, and by an application's ticket, in one.

package terminal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"countersign.dev/client/receipt"
)

// Enrolment is what an enrolment gave.
type Enrolment struct {
	Device string  // device id
	Name   string  // the device's name
	Grants []Grant // those added now
}

// RequestCode has a code sent to a phone number (E.164) and keeps the pending enrolment. The answer is the same for
// every number, so that nobody learns which numbers have users.
func (t *Terminal) RequestCode(ctx context.Context, phone string) (Pending, error) {
	if _, err := t.prepare(ctx, t.asked); err != nil {
		return Pending{}, err
	}
	pending := Pending{Phone: phone}
	var out struct {
		Enrollment string
		ExpiresAt  int64 `json:"expires_at"`
	}
	if err := t.call(ctx, http.MethodPost, "/enrollments", map[string]string{"phone": phone}, &out); err != nil {
		return Pending{}, err
	}
	pending.Enrollment, pending.ExpiresAt = out.Enrollment, out.ExpiresAt
	return pending, t.update(func(s *state) error {
		s.Pending = &pending
		return nil
	})
}

// ConfirmCode completes the pending enrolment with the code that was sent. A wrong code leaves it pending.
func (t *Terminal) ConfirmCode(ctx context.Context, code, name string) (Enrolment, error) {
	if err := t.read(); err != nil {
		return Enrolment{}, err
	}
	pending := t.state.Pending
	if pending == nil {
		return Enrolment{}, errors.New("no code is awaited; have one sent first: countersign device enroll --phone NUMBER")
	}
	challenge, err := t.prepare(ctx, t.asked)
	if err != nil {
		return Enrolment{}, err
	}
	return t.confirm(ctx, confirmation{Enrollment: pending.Enrollment, Code: code, Challenge: challenge}, name)
}

// RedeemTicket enrols with an application's ticket: its link, or its words. A link names the authenticator too, for when
// none was asked for.
func (t *Terminal) RedeemTicket(ctx context.Context, ticket, name string) (Enrolment, error) {
	words, linked, err := parseTicket(ticket)
	if err != nil {
		return Enrolment{}, err
	}
	if t.asked != "" {
		linked = t.asked
	}
	challenge, err := t.prepare(ctx, linked)
	if err != nil {
		return Enrolment{}, err
	}
	return t.confirm(ctx, confirmation{Ticket: words, Challenge: challenge}, name)
}

// prepare settles the authenticator, fetches a challenge from it, and sees to it that the state has a key. A key that is
// there is kept: an enrolled device gains grants with it, and an enrolment whose answer got lost can be repeated.
func (t *Terminal) prepare(ctx context.Context, authenticator string) (challenge string, err error) {
	if err := t.read(); err != nil {
		return "", err
	}
	if err := t.choose(authenticator); err != nil {
		return "", err
	}
	if challenge, err = t.challenge(ctx); err != nil {
		return "", err
	}
	return challenge, t.update(func(s *state) error {
		switch {
		case s.Authenticator == "" || sameServer(s.Authenticator, t.base):
		case s.Device == "":
			*s = state{Version: stateVersion} // nothing of the other authenticator is of use here
		default:
			return fmt.Errorf("%s was enrolled with %s by another process; name another file with --state", t.file, s.Authenticator)
		}
		s.Authenticator = t.base
		if len(s.PrivateKey) > 0 {
			return nil
		}
		return s.newKey()
	})
}

// confirmation is the body of a confirmed enrolment: Enrollment and Code, or Ticket.
type confirmation struct {
	Enrollment string         `json:"enrollment,omitempty"`
	Code       string         `json:"code,omitempty"`
	Ticket     string         `json:"ticket,omitempty"`
	Challenge  string         `json:"challenge"`
	Device     map[string]any `json:"device"`
	Proof      string         `json:"proof"`
}

// confirm proves the key and keeps the grants it got.
func (t *Terminal) confirm(ctx context.Context, in confirmation, name string) (Enrolment, error) {
	key, err := t.state.key()
	if err != nil {
		return Enrolment{}, err
	}
	public := receipt.EncodePublicKey(&key.PublicKey)
	proof := receipt.EnrollmentProof{Challenge: in.Challenge, Origin: t.base, PublicKey: public, Token: in.Enrollment + in.Ticket}
	if in.Proof, err = t.state.sign(proof.Canonical()); err != nil {
		return Enrolment{}, err
	}
	in.Device = map[string]any{"name": name, "platform": "terminal", "public_key": public}
	var out struct {
		Device string
		Grants []Grant
	}
	if err := t.call(ctx, http.MethodPost, "/enrollments/confirm", in, &out); err != nil {
		return Enrolment{}, err
	}
	if out.Device == "" {
		return Enrolment{}, fmt.Errorf("the authenticator at %s enrolled no device; try again", t.base)
	}
	for _, g := range out.Grants {
		if err := g.check(); err != nil {
			return Enrolment{}, err
		}
	}
	if out.Device == t.state.Device {
		name = t.state.Name // a device that is there keeps it
	}
	enrolledKey := t.state.PrivateKey
	err = t.update(func(s *state) error {
		s.Authenticator, s.PrivateKey = t.base, enrolledKey // whatever another process did since
		s.enrolled(out.Device, name, t.session, out.Grants)
		return nil
	})
	if err != nil {
		return Enrolment{}, err
	}
	// Enrolled is enrolled. Without this look the codes follow this machine's clock until the next one.
	_ = t.refresh(ctx)
	return Enrolment{Device: out.Device, Name: name, Grants: out.Grants}, nil
}

// enrolled keeps the outcome of an enrolment. Grants of an earlier device died with it.
func (s *state) enrolled(device, name, session string, grants []Grant) {
	if s.Device != device {
		s.Grants = nil
	}
	for _, g := range grants {
		s.Grants = slices.DeleteFunc(s.Grants, func(old Grant) bool { return old.ID == g.ID })
		s.Grants = append(s.Grants, g)
	}
	s.Device, s.Name, s.Session, s.Pending = device, name, session, nil
}

// refresh forgets grants that were removed elsewhere, and learns the server's clock.
func (t *Terminal) refresh(ctx context.Context) error {
	var out struct {
		Grants     []Grant
		ServerTime int64 `json:"server_time"`
	}
	known := t.state.Grants // a grant that another process adds meanwhile is not in the answer, and stays
	start := t.now()
	if err := t.callSignedIn(ctx, http.MethodGet, "/grants", nil, &out); err != nil {
		return err
	}
	if err := t.observe(out.ServerTime, start, t.now()); err != nil {
		return err
	}
	gone := make(map[int64]bool, len(known))
	for _, g := range known {
		gone[g.ID] = true
	}
	for _, g := range out.Grants {
		delete(gone, g.ID)
	}
	if len(gone) == 0 {
		return nil
	}
	return t.update(func(s *state) error {
		s.Grants = slices.DeleteFunc(s.Grants, func(g Grant) bool { return gone[g.ID] })
		return nil
	})
}
