package operator

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/tenant"
)

// This file owns the way to the first operator. Between its two pages nothing is kept: what was entered travels
// sealed through the browser, and the link is spent when the operator is made.

// Exists reports whether the account has an operator, so that somebody can use the console.
func (s *Service) Exists(ctx context.Context) (bool, error) {
	return s.Store.OperatorExists(ctx, s.AccountID)
}

// SetupLink makes a link with which the account's first operator can be set up, once, within SetupLife. The secret is in the
// fragment, which browsers keep from servers, logs and referrers. ErrSetUp when the account has an operator.
func (s *Service) SetupLink(ctx context.Context) (string, error) {
	token, now := newToken(), s.Now()
	rec := audit.New(now, "", "system", "operator.setup_link_made", "account:"+s.AccountID)
	rec.AccountID = s.AccountID
	if err := s.Store.KeepSetupLink(ctx, s.linkHash(token), s.AccountID, now.Add(SetupLife), rec); err != nil {
		return "", err
	}
	return s.URL + "/setup#" + token, nil
}

func (s *Service) linkHash(token string) string { return s.Ring.Hash("operator set-up link", token) }

// Draft is an operator who still has to show that the app works.
type Draft struct {
	Email  string
	Secret string // Base32, for people who type it
	URI    string // otpauth, for the QR code
	Sealed string // what Finish wants back
}

// draft is what is inside Draft.Sealed.
type draft struct {
	LinkHash     string
	AccountID    string
	ID           string
	Email        string
	PasswordHash string
	Secret       []byte
}

const draftContext = "operator set-up draft"

// Begin checks a live link's token, the address and the new password, and makes the app's secret.
func (s *Service) Begin(ctx context.Context, linkToken, email, password string) (Draft, error) {
	now, hash := s.Now(), s.linkHash(strings.TrimSpace(linkToken))
	accountID, err := s.Store.SetupLink(ctx, hash, now)
	if err != nil {
		return Draft{}, err
	}
	email, ok := tenant.ParseEmail(email)
	if !ok {
		return Draft{}, ErrEmail
	}
	if err := checkNewPassword(password, email); err != nil {
		return Draft{}, err
	}
	d := draft{LinkHash: hash, AccountID: accountID, ID: ident.New(now), Email: email, Secret: make([]byte, secretSize)}
	rand.Read(d.Secret)
	if d.PasswordHash, err = s.hashPassword(ctx, password); err != nil {
		return Draft{}, err
	}
	plain, err := json.Marshal(d)
	if err != nil {
		return Draft{}, err
	}
	return d.shown(base64.RawURLEncoding.EncodeToString(s.Ring.Seal(draftContext, plain))), nil
}

// Resume returns the draft again, to ask for the code once more. ErrSetup for what this server did not seal.
func (s *Service) Resume(sealed string) (Draft, error) {
	d, err := s.open(sealed)
	if err != nil {
		return Draft{}, err
	}
	return d.shown(sealed), nil
}

// Finish makes the operator when the code is right, and signs them in. Errors: ErrSetupCode, ErrSetup.
func (s *Service) Finish(ctx context.Context, sealed, code string) (token string, err error) {
	d, err := s.open(sealed)
	if err != nil {
		return "", err
	}
	now := s.Now()
	step, found := findStep(d.Secret, code, now)
	if !found {
		return "", ErrSetupCode
	}
	op := Stored{
		Operator:    Operator{ID: d.ID, AccountID: d.AccountID, Email: d.Email, CreatedAt: now},
		EmailFolded: fold(d.Email), PasswordHash: d.PasswordHash, TOTP: s.Ring.Seal(totpContext(d.ID), d.Secret), TOTPStep: step,
	}
	token, ses := s.newSession(op.Operator, now)
	rec := audit.New(now, "", "operator:"+op.ID, "operator.created", "operator:"+op.ID).Noting(op.Email)
	rec.AccountID = op.AccountID
	if err := s.Store.CreateOperator(ctx, d.LinkHash, op, ses, rec); err != nil {
		return "", err
	}
	return token, nil
}

func (s *Service) open(sealed string) (d draft, err error) {
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return d, ErrSetup
	}
	plain, err := s.Ring.Open(draftContext, b)
	if err != nil {
		return d, ErrSetup
	}
	return d, json.Unmarshal(plain, &d)
}

func (d draft) shown(sealed string) Draft {
	secret := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(d.Secret)
	q := url.Values{"secret": {secret}, "issuer": {issuer}} // the rest is what apps take for granted, and would only make the QR code finer
	return Draft{Email: d.Email, Secret: secret, Sealed: sealed, URI: "otpauth://totp/" + url.PathEscape(issuer+":"+d.Email) + "?" + q.Encode()}
}

// issuer is how the app names the account (Key URI Format).
const issuer = "Countersign"
