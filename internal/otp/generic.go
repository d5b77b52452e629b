package otp

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/tenant"
)

// This file owns generic secrets: those that a user scans into another authenticator app (contract sections 3.6 and 3.7).

// Errors of generic secrets.
var (
	ErrGenericOff   = fault.New(fault.Forbidden, "generic-off", "Generic authenticator tokens are not enabled")
	ErrGenericLabel = fault.New(fault.Invalid, "generic-label-invalid", "Invalid parameter: label - At most 100 characters")
	ErrExportOff    = fault.New(fault.Forbidden, "secret-export-off", "Secret export is not enabled")
	ErrNoGeneric    = fault.New(fault.NotFound, "generic-unknown", "Authenticator not found")
)

// Other apps know no other codes than these.
const (
	genericDigits = 6
	genericPeriod = tenant.Seconds(30)
	genericSkew   = 1 // steps accepted either side of now
	genericBytes  = 20
	maxLabel      = 100
)

// Generic is a secret for another app to scan.
type Generic struct {
	Label, Issuer string
	URI           string // otpauth://…, what the QR code holds
}

// StoredGeneric is a generic secret on its way into its row.
type StoredGeneric struct {
	AppID, UserID string
	Draw          func() (id int64, sealed []byte) // a fresh number, and the secret bound to it
	Digits        int
	Period        tenant.Seconds
	CreatedAt     time.Time
}

// NewGeneric makes a secret for another authenticator app. It counts from its first right code on, and then takes the place of the one before.
func (s *Service) NewGeneric(ctx context.Context, app tenant.Application, u tenant.User, label string) (Generic, error) {
	if !app.Settings.GenericTokens {
		return Generic{}, ErrGenericOff
	}
	label = receipt.CleanText(label)
	if utf8.RuneCountInString(label) > maxLabel {
		return Generic{}, ErrGenericLabel
	}
	if label == "" {
		label = u.Email
	}
	secret := make([]byte, genericBytes)
	rand.Read(secret)
	now := s.Now()
	g := StoredGeneric{AppID: app.ID, UserID: u.ID, Digits: genericDigits, Period: genericPeriod, CreatedAt: now, Draw: func() (int64, []byte) {
		id := ident.Number()
		return id, s.Ring.Seal(GenericContext(id), secret)
	}}
	rec := audit.New(now, app.ID, "app:"+app.ID, "generic_secret.created", "user:"+u.ID)
	if err := s.Store.KeepGeneric(ctx, g, rec); err != nil {
		return Generic{}, err
	}
	issuer := receipt.CleanText(app.Name)
	return Generic{Label: label, Issuer: issuer, URI: keyURI(issuer, label, secret)}, nil
}

// keyURI writes a secret in the form that authenticator apps scan. A colon would end the issuer in the label, so there is no other.
func keyURI(issuer, label string, secret []byte) string {
	escape := func(s string) string {
		return strings.ReplaceAll(url.QueryEscape(strings.ReplaceAll(s, ":", " ")), "+", "%20") // some apps show a plus as one
	}
	return fmt.Sprintf("otpauth://totp/%s:%s?secret=%s&issuer=%[1]s&algorithm=SHA1&digits=%[4]d&period=%[5]d",
		escape(issuer), escape(label), encodeSecret(secret), genericDigits, genericPeriod)
}

func encodeSecret(secret []byte) string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(secret)
}

// ExportGeneric returns the user's generic secret in base32 and its code of now, if the application's operator allows it.
func (s *Service) ExportGeneric(ctx context.Context, app tenant.Application, u tenant.User) (secret, code string, err error) {
	if !app.Settings.ExportSecrets {
		return "", "", ErrExportOff
	}
	now := s.Now()
	rec := audit.New(now, app.ID, "app:"+app.ID, "generic_secret.exported", "user:"+u.ID)
	g, err := s.Store.Generic(ctx, app.ID, u.ID, rec)
	if err != nil {
		return "", "", err
	}
	plain, err := s.Ring.Open(GenericContext(g.GenericID), g.Sealed)
	if err != nil {
		return "", "", fmt.Errorf("generic secret %d: %w", g.GenericID, err)
	}
	return encodeSecret(plain), HOTP(plain, uint64(Step(now, g.Period.Duration())), g.Digits), nil
}

// GenericContext names the row that a sealed generic secret belongs to.
func GenericContext(id int64) string { return fmt.Sprint("generic_secrets.secret:", id) }
