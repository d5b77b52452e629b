package device_test

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/device"
	"countersign.dev/internal/live"
	"countersign.dev/internal/servertest"
)

// enrolment is a sound confirmation by ticket that tests change before it is signed and sent.
type enrolment struct {
	confirmation device.Confirmation
	proof        receipt.EnrollmentProof
	key          *ecdsa.PrivateKey
}

func newEnrolment(t *testing.T, s *servertest.Server, words string) *enrolment {
	t.Helper()
	e := &enrolment{key: servertest.NewKey(t)}
	public := receipt.EncodePublicKey(&e.key.PublicKey)
	e.confirmation = device.Confirmation{Ticket: words, Challenge: s.Devices.Challenge(), Device: device.NewDevice{Name: "Phone", Platform: "android", PublicKey: public}}
	e.proof = receipt.EnrollmentProof{Challenge: e.confirmation.Challenge, Origin: servertest.Origin, PublicKey: public, Token: words}
	return e
}

func (e *enrolment) send(t *testing.T, s *servertest.Server) (device.Enrolled, error) {
	t.Helper()
	signature, err := receipt.Sign(e.key, e.proof.Canonical())
	if err != nil {
		t.Fatal(err)
	}
	if e.confirmation.Proof == "" {
		e.confirmation.Proof = signature
	}
	return s.Devices.Confirm(t.Context(), e.confirmation)
}

// Everything that a device tells about itself is checked before the ticket is spent: after every refusal it still works.
func TestConfirmRefuses(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	ticket, err := s.Devices.NewTicket(t.Context(), app, ana)
	if err != nil {
		t.Fatal(err)
	}
	other := receipt.EncodePublicKey(&servertest.NewKey(t).PublicKey)
	for what, row := range map[string]struct {
		change func(e *enrolment)
		want   error
	}{
		"no name":                  {func(e *enrolment) { e.confirmation.Device.Name = "" }, device.ErrInvalid},
		"an invisible name":        {func(e *enrolment) { e.confirmation.Device.Name = "\u200b\n" }, device.ErrInvalid},
		"a long name":              {func(e *enrolment) { e.confirmation.Device.Name = strings.Repeat("ж", 61) }, device.ErrInvalid},
		"no platform":              {func(e *enrolment) { e.confirmation.Device.Platform = "" }, device.ErrInvalid},
		"an unknown platform":      {func(e *enrolment) { e.confirmation.Device.Platform = "Android" }, device.ErrInvalid},
		"no key":                   {func(e *enrolment) { e.confirmation.Device.PublicKey = "" }, device.ErrInvalid},
		"a point off the curve":    {func(e *enrolment) { e.confirmation.Device.PublicKey = "B" + strings.Repeat("A", 86) }, device.ErrInvalid},
		"another key":              {func(e *enrolment) { e.confirmation.Device.PublicKey = other }, device.ErrNotSignedIn},
		"another key, signed for":  {func(e *enrolment) { e.confirmation.Device.PublicKey, e.proof.PublicKey = other, other }, device.ErrNotSignedIn},
		"another origin":           {func(e *enrolment) { e.proof.Origin = "https://evil.example" }, device.ErrNotSignedIn},
		"another challenge signed": {func(e *enrolment) { e.proof.Challenge = s.Devices.Challenge() }, device.ErrNotSignedIn},
		"another token signed":     {func(e *enrolment) { e.proof.Token = "lusab-babad-gutih-tugad-mudof-sakat-haguz-biram" }, device.ErrNotSignedIn},
		"a forged challenge": {func(e *enrolment) {
			e.confirmation.Challenge = strings.Repeat("A", 75)
			e.proof.Challenge = e.confirmation.Challenge
		}, device.ErrNotSignedIn},
		"no signature": {func(e *enrolment) { e.confirmation.Proof = "A" }, device.ErrNotSignedIn},
		"a session's signature": {func(e *enrolment) { // made for another purpose
			e.confirmation.Proof, _ = receipt.Sign(e.key, receipt.SessionProof{Challenge: e.proof.Challenge, Device: "d", Origin: servertest.Origin}.Canonical())
		}, device.ErrNotSignedIn},
		"another ticket": {func(e *enrolment) {
			e.confirmation.Ticket = "lusab-babad-gutih-tugad-mudof-sakat-haguz-biram"
			e.proof.Token = e.confirmation.Ticket
		}, device.ErrTicket},
		"a mistyped ticket":  {func(e *enrolment) { e.confirmation.Ticket = "lusab" }, device.ErrTicket},
		"neither of the two": {func(e *enrolment) { e.confirmation.Ticket, e.proof.Token = "", "" }, device.ErrCodeExpired},
	} {
		e := newEnrolment(t, s, ticket.Words)
		row.change(e)
		if got, err := e.send(t, s); !errors.Is(err, row.want) || got.Session != "" || len(got.Grants) > 0 {
			t.Errorf("%s: %+v, %v, want %v", what, got, err, row.want)
		}
	}
	s.Clock.Advance(device.ChallengeLife)
	e := newEnrolment(t, s, ticket.Words)
	s.Clock.Advance(device.ChallengeLife)
	if _, err := e.send(t, s); !errors.Is(err, device.ErrNotSignedIn) {
		t.Errorf("an ended challenge: %v", err)
	}
	e = newEnrolment(t, s, ticket.Words)
	e.confirmation.Ticket = strings.ToUpper(strings.ReplaceAll(ticket.Words, "-", " ")) // as a person types it
	e.confirmation.Device.Name = "  Ana's\tphone\u202e "
	got, err := e.send(t, s)
	if err != nil || got.Device.Name != "Ana's phone" {
		t.Errorf("after all refusals: %+v, %v", got, err)
	}
}

func TestTicketForm(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	seen := map[string]bool{}
	for range 20 {
		ticket, err := s.Devices.NewTicket(t.Context(), app, ana)
		if err != nil || len(ticket.Words) != 8*5+7 || seen[ticket.Words] || ticket.Link != servertest.Origin+"/enroll#"+ticket.Words || !ticket.ExpiresAt.Equal(s.Clock.Now().Add(device.TicketLife)) {
			t.Fatalf("ticket %+v, %v", ticket, err)
		}
		seen[ticket.Words] = true
	}
	for _, typed := range []string{"", "lusab", "lusab-babad-gutih-tugad-mudof-sakat-haguz-biram"} {
		if info, err := s.Devices.LookTicket(t.Context(), typed); !errors.Is(err, device.ErrTicket) || info != (device.TicketInfo{}) {
			t.Errorf("looking at %q: %+v, %v", typed, info, err)
		}
	}
}

// T-20: who waits for the device, or at another device of the user, is told of a new grant, and of its end.
func TestWakes(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	phone := s.Phone(t, app, ana)
	sub := s.Live.Subscribe(live.UserTopic(ana.ID), live.DeviceTopic(phone.Device.ID))
	defer sub.Close()
	tablet := s.Phone(t, app, ana)
	if got := sub.Take(); len(got) != 2 {
		t.Errorf("a new device wakes %v, want the user and the user's other device", got)
	}
	if err := s.Devices.RemoveGrant(t.Context(), tablet.Device, phone.Grants[0].ID); err != nil {
		t.Fatal(err)
	}
	if got := sub.Take(); len(got) != 2 {
		t.Errorf("a removed grant wakes %v, want the user and the device", got)
	}
}

func TestOpenSessionRefuses(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	phone := s.Phone(t, app, s.User(t, app, "ana@example.com", "202-555-0123"))
	other := s.Phone(t, app, s.User(t, app, "bob@example.com", "202-555-0199"))
	sign := func(by *servertest.Phone, p receipt.SessionProof) string { return by.Sign(t, p.Canonical()) }
	for what, row := range map[string]func(challenge string) (id, sent, proof string){
		"another device's signature": func(c string) (string, string, string) {
			return phone.Device.ID, c, sign(other, receipt.SessionProof{Challenge: c, Device: phone.Device.ID, Origin: servertest.Origin})
		},
		"a signature for another device": func(c string) (string, string, string) {
			return phone.Device.ID, c, sign(phone, receipt.SessionProof{Challenge: c, Device: other.Device.ID, Origin: servertest.Origin})
		},
		"a signature for another origin": func(c string) (string, string, string) {
			return phone.Device.ID, c, sign(phone, receipt.SessionProof{Challenge: c, Device: phone.Device.ID, Origin: "https://evil.example"})
		},
		"a signature of another challenge": func(c string) (string, string, string) {
			return phone.Device.ID, s.Devices.Challenge(), sign(phone, receipt.SessionProof{Challenge: c, Device: phone.Device.ID, Origin: servertest.Origin})
		},
		"an unknown device": func(c string) (string, string, string) {
			return "nothing", c, sign(phone, receipt.SessionProof{Challenge: c, Device: "nothing", Origin: servertest.Origin})
		},
		"a forged challenge": func(string) (string, string, string) {
			return phone.Device.ID, "x", sign(phone, receipt.SessionProof{Challenge: "x", Device: phone.Device.ID, Origin: servertest.Origin})
		},
	} {
		id, challenge, proof := row(s.Devices.Challenge())
		session, err := s.Devices.OpenSession(t.Context(), id, challenge, proof)
		if !errors.Is(err, device.ErrNotSignedIn) || session != "" || fmt.Sprint(err) != fmt.Sprint(device.ErrNotSignedIn) { // one answer for all (INV-9)
			t.Errorf("%s: %q, %v", what, session, err)
		}
	}
	for _, session := range []string{"", "x", strings.Repeat("x", 65), phone.Session + "x", strings.ToLower(phone.Session)} {
		if _, err := s.Devices.Session(t.Context(), session); !errors.Is(err, device.ErrNotSignedIn) {
			t.Errorf("session %q: %v", session, err)
		}
	}
}

func TestSeen(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	phone := s.Phone(t, app, s.User(t, app, "ana@example.com", "202-555-0123"))
	for _, row := range []struct{ after, want time.Duration }{{10*time.Minute - time.Millisecond, 0}, {time.Millisecond, 10 * time.Minute}} {
		s.Clock.Advance(row.after)
		if err := s.Devices.Seen(t.Context(), phone.Device); err != nil {
			t.Fatal(err)
		}
		got, err := s.Store.DeviceByID(t.Context(), phone.Device.ID)
		if err != nil || got.SeenAt.Sub(phone.Device.SeenAt) != row.want {
			t.Errorf("seen %v after the last time, %v, want %v", got.SeenAt.Sub(phone.Device.SeenAt), err, row.want)
		}
	}
}

// INV-9: a bad number is told before anything is looked up, a good one answers the same whoever has it.
func TestStartPhone(t *testing.T) {
	s := servertest.New(t)
	for _, number := range []string{"", "2025550123", "+1 555 0123", "+1202555012٣", "+1 202 555 0123 ext 4"} {
		if e, err := s.Devices.StartPhone(t.Context(), number); !errors.Is(err, device.ErrPhone) || e.ID != "" {
			t.Errorf("number %q: %+v, %v", number, e, err)
		}
	}
}
