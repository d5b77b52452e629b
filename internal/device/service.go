package device

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/trace"
)

// This file owns what happens to a device: how it gets a grant by a ticket or by a proved phone number, its sessions, and how grants end.

// NewTicket makes a one-time right to enrol one device for the user. The application shows it inside a signed-in session.
func (s *Service) NewTicket(ctx context.Context, app tenant.Application, u tenant.User) (Ticket, error) {
	t, stored := s.DrawTicket(app, u)
	rec := audit.New(stored.CreatedAt, app.ID, "app:"+app.ID, "ticket.created", "user:"+u.ID)
	return t, s.Store.CreateTicket(ctx, stored, rec)
}

// DrawTicket returns a ticket that counts once it is kept.
func (s *Service) DrawTicket(app tenant.Application, u tenant.User) (Ticket, StoredTicket) {
	var b [ticketSize]byte
	rand.Read(b[:])
	now := s.Now()
	t := Ticket{Words: words(b[:]), ExpiresAt: now.Add(TicketLife)}
	t.Link = s.Origin + "/enroll#" + t.Words
	return t, StoredTicket{Hash: s.ticketHash(t.Words), AppID: app.ID, UserID: u.ID, CreatedAt: now, ExpiresAt: t.ExpiresAt}
}

// LookTicket tells whoever holds a ticket what it is for. Unknown, used and expired ones are ErrTicket alike.
func (s *Service) LookTicket(ctx context.Context, typed string) (TicketInfo, error) {
	ticket, ok := parseWords(typed)
	if !ok {
		return TicketInfo{}, ErrTicket
	}
	return s.Store.Ticket(ctx, s.ticketHash(ticket), s.Now())
}

// StartPhone begins the proof of a phone number. The answer is the same whether the number is known or not, and so is the work until then (INV-9):
// SendCode looks afterwards, and only a known one is sent a code.
func (s *Service) StartPhone(ctx context.Context, phone string) (Enrollment, error) {
	number, _, ok := tenant.ParseE164(phone)
	if !ok {
		return Enrollment{}, ErrPhone
	}
	if !s.CanSend(otp.SMS) {
		return Enrollment{}, ErrNoSMS
	}
	now := s.Now()
	code := otp.NewSentCode(codeDigits)
	e := StoredEnrollment{
		ID: rand.Text(), AccountID: s.AccountID, Phone: number, TriesLeft: codeTries, CreatedAt: now, ExpiresAt: now.Add(EnrollmentLife),
	}
	e.CodeHash = s.codeHash(e.ID, code)
	rec := audit.New(now, "", "person", "enrollment.started", "enrollment").Noting("…" + number[len(number)-2:])
	out := otp.Outgoing{Channel: otp.SMS, Address: number, Code: code, Host: s.host(), ExpiresAt: e.ExpiresAt}
	look := s.NewMessage(out, now)
	look.Kind, look.Ref, look.Trace = job.Enrollment, e.ID, trace.Parent(ctx)
	if err := s.Store.StartEnrollment(ctx, e, look, rec); err != nil {
		return Enrollment{}, err
	}
	s.Offer(look)
	return Enrollment{ID: e.ID, ExpiresAt: e.ExpiresAt}, nil
}

// SendCode is the handler of jobs of the kind job.Enrollment.
func (s *Service) SendCode(ctx context.Context, look job.Job) error {
	message, err := s.Store.SendEnrollment(ctx, look, sending.Send{
		ID: look.Ref, AccountID: s.AccountID, Channel: sending.SMS, At: s.Now(), Alert: s.Alert,
	})
	if err != nil {
		return err
	}
	s.Offer(message...)
	return nil
}

// host is the authenticator's host name as a text message can name it: browsers know no port there, and fill in nothing without https.
func (s *Service) host() string {
	u, err := url.Parse(s.Origin)
	if err != nil || u.Scheme != "https" || u.Port() != "" {
		return ""
	}
	return u.Host
}

// Challenge returns something fresh for a device to sign.
func (s *Service) Challenge() string { return newChallenge(s.challengeKey(), s.Now()) }

// Confirm makes the device and its grants once the ticket or the code is right and the key is proved.
func (s *Service) Confirm(ctx context.Context, c Confirmation) (Enrolled, error) {
	token, ticket := c.Enrollment, ""
	if c.Ticket != "" {
		var ok bool
		if ticket, ok = parseWords(c.Ticket); !ok {
			return Enrolled{}, ErrTicket
		}
		token = ticket
	}
	in, session, err := s.enrolling(c, token)
	if err != nil {
		return Enrolled{}, err
	}
	var dev Device
	var grants []Grant
	if ticket != "" {
		in.Method = MethodTicket
		dev, grants, err = s.Store.EnrollByTicket(ctx, s.ticketHash(ticket), in)
	} else {
		in.Method = MethodSMS
		code := strings.Map(dropSpace, c.Code)
		dev, grants, err = s.Store.EnrollByCode(ctx, c.Enrollment, func(hash string) bool {
			return subtle.ConstantTimeCompare([]byte(hash), []byte(s.codeHash(c.Enrollment, code))) == 1
		}, in)
	}
	if err != nil {
		return Enrolled{}, err
	}
	s.wake(ctx, dev, grants...)
	return Enrolled{Device: dev, Grants: grants, Session: session}, nil
}

// enrolling checks what the device tells about itself and its proof, before anything is looked up.
func (s *Service) enrolling(c Confirmation, token string) (Enrolling, string, error) {
	now := s.Now()
	d := c.Device
	d.Name = receipt.CleanText(d.Name)
	if d.Name == "" || utf8.RuneCountInString(d.Name) > 60 {
		return Enrolling{}, "", ErrInvalid.Saying("A device's name has 1 to 60 characters.")
	}
	if !slices.Contains(Platforms, d.Platform) {
		return Enrolling{}, "", ErrInvalid.Saying("The platform is one of " + strings.Join(Platforms, ", ") + ".")
	}
	pub, err := receipt.ParsePublicKey(d.PublicKey)
	if err != nil {
		return Enrolling{}, "", ErrInvalid.Saying("The public key is not a P-256 point.")
	}
	expires, ok := challengeExpiry(s.challengeKey(), c.Challenge, now)
	if !ok {
		return Enrolling{}, "", ErrNotSignedIn.Saying("The challenge has ended. Ask for a new one.")
	}
	proof := receipt.EnrollmentProof{Challenge: c.Challenge, Origin: s.Origin, PublicKey: d.PublicKey, Token: token}
	if receipt.VerifySignature(pub, proof.Canonical(), c.Proof) != nil {
		return Enrolling{}, "", ErrNotSignedIn.Saying("The device's signature is not right.")
	}
	session, stored := s.newSession(now)
	return Enrolling{
		Device: d, Now: now, Session: stored, Secret: s.newSecret, Actor: "person",
		Spent: Spent{PublicKey: d.PublicKey, Challenge: c.Challenge, ExpiresAt: expires},
	}, session, nil
}

// OpenSession signs a device in that proves its key. An unknown device and a wrong signature look the same.
func (s *Service) OpenSession(ctx context.Context, deviceID, challenge, proof string) (string, error) {
	now := s.Now()
	expires, ok := challengeExpiry(s.challengeKey(), challenge, now)
	if !ok {
		return "", ErrNotSignedIn
	}
	d, err := s.Store.DeviceByID(ctx, deviceID)
	if err != nil {
		return "", err
	}
	pub, err := receipt.ParsePublicKey(d.PublicKey)
	if err != nil {
		return "", fmt.Errorf("stored key of device %s: %w", d.ID, err)
	}
	signed := receipt.SessionProof{Challenge: challenge, Device: deviceID, Origin: s.Origin}
	if receipt.VerifySignature(pub, signed.Canonical(), proof) != nil {
		return "", ErrNotSignedIn
	}
	session, stored := s.newSession(now)
	return session, s.Store.OpenSession(ctx, d.ID, stored, Spent{PublicKey: d.PublicKey, Challenge: challenge, ExpiresAt: expires})
}

// Session returns the device that a session belongs to, or ErrNotSignedIn.
func (s *Service) Session(ctx context.Context, session string) (Device, error) {
	if session == "" || len(session) > 64 {
		return Device{}, ErrNotSignedIn
	}
	return s.Store.DeviceBySession(ctx, s.sessionHash(session), s.Now())
}

// CloseSession signs the device out here. Closing twice is fine.
func (s *Service) CloseSession(ctx context.Context, session string) error {
	return s.Store.CloseSession(ctx, s.sessionHash(session))
}

// Seen notes that the device was here, at most once in a while: a list of devices needs the day, not the second.
func (s *Service) Seen(ctx context.Context, d Device) error {
	now := s.Now()
	if now.Sub(d.SeenAt) < 10*time.Minute {
		return nil
	}
	return s.Store.TouchDevice(ctx, d.ID, now)
}

// RemoveGrant ends a grant of this device, or of another device of a user that this one acts for (PU18: at once).
func (s *Service) RemoveGrant(ctx context.Context, d Device, grantID int64) error {
	now := s.Now()
	rec := audit.New(now, "", "device:"+d.ID, "grant.removed", fmt.Sprint("grant:", grantID))
	g, err := s.Store.RemoveGrant(ctx, d.ID, grantID, now, rec)
	if err != nil {
		return err
	}
	s.wake(ctx, g.Device, g)
	return nil
}

// removedMax is how many removed grants of a user are told.
const removedMax = 20

// RemovedOfUser returns the grants that a user had, last removed first.
func (s *Service) RemovedOfUser(ctx context.Context, userID string) ([]Grant, error) {
	return s.Store.RemovedGrants(ctx, userID, removedMax)
}

// RemoveGrantOf ends a grant for a user of the application, at its request.
func (s *Service) RemoveGrantOf(ctx context.Context, app tenant.Application, grantID int64) error {
	now := s.Now()
	rec := audit.New(now, app.ID, "app:"+app.ID, "grant.removed", fmt.Sprint("grant:", grantID))
	g, err := s.Store.RemoveGrantOf(ctx, app.ID, grantID, now, rec)
	if err != nil {
		return err
	}
	s.wake(ctx, g.Device, g)
	return nil
}

// wake tells a device, and all devices of the users it has or had these grants for, that who may act for them has changed.
func (s *Service) wake(ctx context.Context, d Device, grants ...Grant) {
	topics := []live.Topic{live.DeviceTopic(d.ID)}
	for _, g := range grants {
		topics = append(topics, live.UserTopic(g.UserID))
		beside, err := s.Store.GrantsOfUser(ctx, g.UserID)
		if err != nil {
			continue // the change is kept; without the hint an open page shows it when it is next read
		}
		for _, other := range beside {
			topics = append(topics, live.DeviceTopic(other.Device.ID))
		}
	}
	s.Live.Wake(topics...)
}

func (s *Service) newSession(now time.Time) (string, Session) {
	session := rand.Text() + rand.Text()
	return session, Session{Hash: s.sessionHash(session), CreatedAt: now, ExpiresAt: now.Add(SessionLife)}
}

// newSecret makes a TOTP secret of 160 bits (RFC 4226 section 4, R6) and seals it for its grant.
func (s *Service) newSecret() StoredGrant {
	g := StoredGrant{ID: ident.Number(), Secret: make([]byte, 20)}
	rand.Read(g.Secret)
	g.Sealed = s.Ring.Seal(otp.AppSecretContext(g.ID), g.Secret)
	return g
}

func (s *Service) challengeKey() []byte              { return s.Ring.Derive("device challenges") }
func (s *Service) ticketHash(words string) string    { return s.Ring.Hash("ticket", words) }
func (s *Service) sessionHash(session string) string { return s.Ring.Hash("device session", session) }

func (s *Service) codeHash(id, code string) string {
	return s.Ring.Hash("enrollment code", id+":"+code)
}

func dropSpace(r rune) rune {
	if r == ' ' || r == '-' {
		return -1
	}
	return r
}

// OfUser returns the grants of all devices of a user, oldest first.
func (s *Service) OfUser(ctx context.Context, userID string) ([]Grant, error) {
	return s.Store.GrantsOfUser(ctx, userID)
}
