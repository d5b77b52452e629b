package operator

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"countersign.dev/internal/otp"
)

// This file owns the two proofs: the password and the code of the app.

// Argon2id with 19 MiB, two passes, one lane (OWASP password storage cheat sheet).
const (
	argonMemory = 19 * 1024 // KiB
	argonTime   = 2
	argonLanes  = 1
	argonKey    = 32
	saltSize    = 16
)

// phcStart opens every stored hash. A hash with other parameters does not parse: the parameters are ours, never the row's.
var phcStart = fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$", argon2.Version, argonMemory, argonTime, argonLanes)

// The app's codes are what every authenticator app does by default (RFC 6238: SHA-1, 30 s; one step either side).
const (
	codeDigits = 6
	codePeriod = 30 * time.Second
	codeSkew   = 1
	secretSize = 20
)

// derive runs the slow hash when there is a free slot. It reports ErrBusy when too many wait for one.
func (s *Service) derive(ctx context.Context, password string, salt []byte) ([]byte, error) {
	select {
	case s.waiting <- struct{}{}:
		defer func() { <-s.waiting }()
	default:
		return nil, ErrBusy.After(2 * time.Second)
	}
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonLanes, argonKey), nil
}

func (s *Service) hashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	key, err := s.derive(ctx, password, salt)
	if err != nil {
		return "", err
	}
	enc := base64.RawStdEncoding
	return phcStart + enc.EncodeToString(salt) + "$" + enc.EncodeToString(key), nil
}

// checkPassword does the same work whether or not there is a hash to compare with.
func (s *Service) checkPassword(ctx context.Context, phc, password string) (bool, error) {
	salt, want, ok := parsePHC(phc)
	if !ok {
		salt, want = make([]byte, saltSize), make([]byte, argonKey)
	}
	got, err := s.derive(ctx, password, salt)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1 && ok, nil
}

func parsePHC(phc string) (salt, key []byte, ok bool) {
	rest, ours := strings.CutPrefix(phc, phcStart)
	a, b, two := strings.Cut(rest, "$")
	salt, err1 := base64.RawStdEncoding.DecodeString(a)
	key, err2 := base64.RawStdEncoding.DecodeString(b)
	return salt, key, ours && two && err1 == nil && err2 == nil && len(salt) == saltSize && len(key) == argonKey
}

func checkNewPassword(password, email string) error {
	n := utf8.RuneCountInString(password)
	if n < 12 || n > 256 || !utf8.ValidString(password) || strings.EqualFold(password, email) {
		return ErrPassword
	}
	return nil
}

// checkCode returns the step whose code was given. A secret that does not open matches nothing (INV-7).
func (s *Service) checkCode(op Stored, code string, now time.Time) (step int64, found bool) {
	secret, err := s.Ring.Open(totpContext(op.ID), op.TOTP)
	if err != nil || len(secret) != secretSize {
		return 0, false
	}
	return findStep(secret, code, now)
}

// findStep looks at every step in full, whichever matches (T-06).
func findStep(secret []byte, code string, now time.Time) (step int64, found bool) {
	code = strings.ReplaceAll(strings.TrimSpace(code), " ", "") // apps show it in two groups
	at := otp.Step(now, codePeriod)
	for n := at - codeSkew; n <= at+codeSkew; n++ {
		if subtle.ConstantTimeCompare([]byte(otp.HOTP(secret, uint64(n), codeDigits)), []byte(code)) == 1 {
			step, found = n, true
		}
	}
	return step, found
}

func totpContext(operatorID string) string { return "operators.totp:" + operatorID }
