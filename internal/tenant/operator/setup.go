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

// This file owns the way to an operator: the first, those who are invited, and those who are set up anew. Between its two pages nothing is kept: what was entered travels
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

// Invite makes a link with which a new operator with that address can be set up, once, within SetupLife. Errors: ErrEmail, ErrExists.
func (s *Service) Invite(ctx context.Context, accountID, email, actor string) (url string, err error) {
	email, ok := tenant.ParseEmail(email)
	if !ok {
		return "", ErrEmail
	}
	rec := audit.New(s.Now(), "", actor, "operator.invited", "account:"+accountID).Noting(email)
	return s.linkFor(ctx, Link{AccountID: accountID, Email: fold(email)}, rec)
}

// Reset makes a link with which an operator chooses a new password and app. The old ones work until it is used, so that nobody is
// locked out by a link that never arrives. ErrOperator.
func (s *Service) Reset(ctx context.Context, accountID, email, actor string) (url string, err error) {
	op, err := s.find(ctx, accountID, email)
	if err != nil {
		return "", err
	}
	rec := audit.New(s.Now(), "", actor, "operator.reset_link_made", "operator:"+op.ID).Noting(op.Email)
	return s.linkFor(ctx, Link{AccountID: accountID, Email: fold(op.Email), OperatorID: op.ID}, rec)
}

// Remove ends an operator and every session of theirs. Errors: ErrOperator, ErrLast.
func (s *Service) Remove(ctx context.Context, accountID, email, actor string) error {
	op, err := s.find(ctx, accountID, email)
	if err != nil {
		return err
	}
	rec := audit.New(s.Now(), "", actor, "operator.removed", "operator:"+op.ID).Noting(op.Email)
	rec.AccountID = accountID
	return s.Store.RemoveOperator(ctx, accountID, op.ID, rec)
}

// find returns the account's operator with that address.
func (s *Service) find(ctx context.Context, accountID, email string) (Stored, error) {
	op, err := s.Store.OperatorByEmail(ctx, fold(email))
	if err == nil && (op.ID == "" || op.AccountID != accountID || op.PasswordHash == "") {
		err = ErrOperator
	}
	return op, err
}

func (s *Service) linkFor(ctx context.Context, link Link, rec audit.Record) (url string, err error) {
	token, now := newToken(), s.Now()
	link.Hash, link.ExpiresAt = s.linkHash(token), now.Add(SetupLife)
	rec.AccountID = link.AccountID
	if err := s.Store.KeepInvitation(ctx, link, now, rec); err != nil {
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
	Reset        bool // the operator is there already
}

const draftContext = "operator set-up draft"

// Begin checks a live link's token, the address and the new password, and makes the app's secret.
func (s *Service) Begin(ctx context.Context, linkToken, email, password string) (Draft, error) {
	now, hash := s.Now(), s.linkHash(strings.TrimSpace(linkToken))
	link, err := s.Store.SetupLink(ctx, hash, now)
	if err != nil {
		return Draft{}, err
	}
	email, ok := tenant.ParseEmail(email)
	if !ok {
		return Draft{}, ErrEmail
	}
	if link.Email != "" && link.Email != fold(email) {
		return Draft{}, ErrInvited
	}
	if err := checkNewPassword(password, email); err != nil {
		return Draft{}, err
	}
	d := draft{LinkHash: hash, AccountID: link.AccountID, ID: ident.New(now), Email: email, Secret: make([]byte, secretSize)}
	if d.Reset = link.OperatorID != ""; d.Reset {
		d.ID = link.OperatorID
	}
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

// Finish makes the operator, or sets them up anew, when the code is right, and signs them in. Errors: ErrSetupCode, ErrSetup.
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
	keep, act := s.Store.CreateOperator, "operator.created"
	if d.Reset {
		keep, act = s.Store.ResetOperator, "operator.reset"
	}
	rec := audit.New(now, "", "operator:"+op.ID, act, "operator:"+op.ID).Noting(op.Email)
	rec.AccountID = op.AccountID
	if err := keep(ctx, d.LinkHash, op, ses, rec); err != nil {
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
