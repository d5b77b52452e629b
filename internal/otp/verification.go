package otp

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/trace"
)

// This file owns phone verification: a code that proves a number, without a user (contract sections 8.1 to 8.3).
//
// A running verification belongs to (application, number). Starting again while it runs sends the same code again, which is derived
// from its id under a key, because no row holds a code. Tries and budget are counted as for users' codes, for the number.

// Errors of phone verification.
var (
	ErrVerificationNone  = fault.New(fault.NotFound, "verification-unknown", "Phone verification not found")
	ErrVerificationWrong = fault.New(fault.Unauthenticated, "verification-wrong", "Verification code is incorrect")
	ErrVerificationMany  = fault.New(fault.Limited, "verifications-limited", "Too many wrong codes were given for this number. Slow down and try again later.")
	ErrCustomCodeOff     = fault.New(fault.Forbidden, "custom-code-off", "Phone verification couldn't be created: custom codes are not allowed")
	ErrCustomCode        = fault.New(fault.Invalid, "custom-code-invalid", "Invalid parameter: custom_code - 4 to 10 digits are expected")
	ErrCustomMessage     = fault.New(fault.Forbidden, "custom-message-off", "Custom messages are not allowed")
	ErrCodeLength        = fault.New(fault.Invalid, "code-length-invalid", "Invalid parameter: code_length - 4 to 10 are expected")
)

// Codes of phone verifications have so many digits.
const (
	VerificationDigits                           = 4 // when the request names none
	verificationDigitsMin, verificationDigitsMax = 4, 10
)

// VerificationRequest asks for a verification of a phone number.
type VerificationRequest struct {
	Channel Channel // SMS or Voice
	Phone   string  // E.164
	Digits  int     // 0: VerificationDigits
	Locale  string
	Code    string // the application's own; "" makes one
	Message string // the application's own words, which are never allowed; "" is ours
	IP      string // the end user's address, as the application tells it; "" when it does not
}

// Verification is a phone verification as it stands.
type Verification struct {
	ID        string // a UUID
	ExpiresAt time.Time
	UsedAt    time.Time // when the right code was given; zero before
	Ended     bool      // a newer one took its place, or it has no tries left
}

// Pending reports whether the verification can still succeed.
func (v Verification) Pending(now time.Time) bool {
	return v.UsedAt.IsZero() && !v.Ended && now.Before(v.ExpiresAt)
}

// VerificationSending is a code of a verification on its way.
type VerificationSending struct {
	Sending // of a verification that begins now; its Hash and Message are not set
	// Compose returns the hash and the message for the verification with that id, whose code ends then.
	Compose func(id string, ends time.Time) (hash string, message job.Job)
}

// verificationStore is what phone verification needs to keep.
type verificationStore interface {
	// KeepVerification sends the code of the number's running verification again when it is the one that Compose makes; else it ends
	// that and keeps the new one. It reports ErrVerificationMany while the number's budget is spent, or the rule of package sending that the message breaks.
	KeepVerification(ctx context.Context, k VerificationSending, rec audit.Record) (Verification, job.Job, error)
	// RedeemVerification reserves a try of the running verification and of the number's budget, calls right with its id and hash, and
	// marks it used, in this order and in one transaction. It reports ErrVerificationNone, ErrVerificationWrong.
	RedeemVerification(ctx context.Context, appID, phone string, now time.Time, right func(id, hash string) bool) error
	// VerificationByID and VerificationByPhone report ErrVerificationNone; of a number's the newest is meant.
	VerificationByID(ctx context.Context, appID, id string) (Verification, error)
	VerificationByPhone(ctx context.Context, appID, phone string) (Verification, error)
}

// StartVerification sends a code to a phone number, by way of a durable job. It returns the job's id too, by which gateways know the message.
func (s *Service) StartVerification(ctx context.Context, app tenant.Application, r VerificationRequest) (v Verification, messageID string, err error) {
	now := s.Now()
	rec := audit.New(now, app.ID, "app:"+app.ID, "verification.started", "").Noting(string(r.Channel) + " to " + tenant.MaskAddress(r.Phone))
	if r.Message != "" {
		return Verification{}, "", cmp.Or(s.Store.Record(ctx, rec.Refused(ErrCustomMessage.Code)), error(ErrCustomMessage))
	}
	if err := r.check(app.Settings); err != nil {
		return Verification{}, "", err
	}
	if !s.CanSend(r.Channel) {
		return Verification{}, "", impossible[r.Channel]
	}
	k := VerificationSending{Sending: Sending{
		ID: ident.UUID(), AppID: app.ID, Address: r.Phone, Channel: r.Channel, CreatedAt: now, ExpiresAt: now.Add(SentLife),
	}}
	k.Compose = func(id string, ends time.Time) (string, job.Job) {
		code := r.Code
		if code == "" {
			code = s.derivedCode(id, r.Digits)
		}
		out := Outgoing{App: app, Channel: r.Channel, Address: r.Phone, Code: code, Locale: r.Locale, Host: app.Settings.OriginHost, ExpiresAt: ends}
		message := s.NewMessage(out, now)
		message.Trace = trace.Parent(ctx)
		return s.sentHash(id, code), message
	}
	k.Send = s.limited(app, k.Sending, r.IP)
	v, message, err := s.Store.KeepVerification(ctx, k, rec)
	if err != nil {
		return Verification{}, "", err
	}
	s.Offer(message)
	s.countSent(app.ID, r.Channel)
	return v, message.ID, nil
}

func (r *VerificationRequest) check(set tenant.Settings) error {
	switch {
	case r.Channel == Voice && set.CallsOff:
		return ErrVoiceOff
	case r.Channel == SMS && !set.SMSEnabled:
		return ErrSMSOff
	case r.Code != "" && !set.CustomCodes:
		return ErrCustomCodeOff
	case r.Code != "" && (len(r.Code) < verificationDigitsMin || len(r.Code) > verificationDigitsMax || strings.Trim(r.Code, "0123456789") != ""):
		return ErrCustomCode
	case r.Digits == 0:
		r.Digits = VerificationDigits
	case r.Digits < verificationDigitsMin || r.Digits > verificationDigitsMax:
		return ErrCodeLength
	}
	return nil
}

// derivedCode is the code of a verification. The first 60 bits of the keyed hash are so many more than ten digits need that none is likelier.
func (s *Service) derivedCode(id string, digits int) string {
	n, err := strconv.ParseUint(s.Ring.Hash("verification code", id)[:15], 16, 64)
	if err != nil {
		panic(err) // keyed hashes are hex
	}
	mod := uint64(1)
	for range digits {
		mod *= 10
	}
	return fmt.Sprintf("%0*d", digits, n%mod)
}

// CheckVerification checks a code and spends it. A nil error is the only "yes".
func (s *Service) CheckVerification(ctx context.Context, app tenant.Application, phone, code string) error {
	err := s.Store.RedeemVerification(ctx, app.ID, phone, s.Now(), func(id, hash string) bool {
		if s.Compared != nil {
			s.Compared()
		}
		return equal(hash, s.sentHash(id, code))
	})
	if err == nil {
		s.Meter.Count(app.ID, tenant.CountAuths)
	}
	return err
}

// VerificationByID returns one of the application's verifications.
func (s *Service) VerificationByID(ctx context.Context, app tenant.Application, id string) (Verification, error) {
	return s.Store.VerificationByID(ctx, app.ID, id)
}

// VerificationByPhone returns the number's newest verification.
func (s *Service) VerificationByPhone(ctx context.Context, app tenant.Application, phone string) (Verification, error) {
	return s.Store.VerificationByPhone(ctx, app.ID, phone)
}

func (s *Service) countSent(appID string, c Channel) {
	switch c {
	case SMS:
		s.Meter.Count(appID, tenant.CountSMS)
	case Voice:
		s.Meter.Count(appID, tenant.CountCalls)
	}
}
