// This file owns passwords: argon2id, with the memory it takes bounded.

package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// Cost of one hash: 19 MiB and two passes (OWASP password storage cheat sheet), about 40 ms. It is written into each hash, so that raising it
// here does not lock anybody out.
const (
	memory  = 19 * 1024 // KiB
	passes  = 2
	saltLen = 16
	keyLen  = 32
)

// hashing makes and checks hashes, a few at a time: without the gate a hundred log-ins at once would take two gigabytes.
type hashing struct{ gate chan struct{} }

func newHashing(atOnce int) *hashing { return &hashing{gate: make(chan struct{}, atOnce)} }

// decoy is checked when there is no account, so that this takes as long (D19). It is nobody's hash.
func decoy() string { return written(make([]byte, saltLen), make([]byte, keyLen)) }

// written is a hash in the usual text form.
func written(salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, memory, passes, b64(salt), b64(key))
}

// hash makes a hash with a new salt.
func (h *hashing) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltLen)
	rand.Read(salt)
	key, err := h.key(ctx, password, salt, passes, memory, keyLen)
	if err != nil {
		return "", err
	}
	return written(salt, key), nil
}

// key derives the key once the gate lets it.
func (h *hashing) key(ctx context.Context, password string, salt []byte, t, m uint32, length int) ([]byte, error) {
	select {
	case h.gate <- struct{}{}:
		defer func() { <-h.gate }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, t, m, 1, uint32(length)), nil
}

// check reports whether a password is that of a hash. An empty hash stands for an account that does not exist: the same work, and never right.
// An error means that nobody knows.
func (h *hashing) check(ctx context.Context, hash, password string) (bool, error) {
	exists := hash != ""
	if !exists {
		hash = decoy()
	}
	var version int
	var m, t uint32
	parts := strings.Split(hash, "$")
	if len(parts) != 6 || parts[1] != "argon2id" {
		return false, errors.New("malformed password hash")
	}
	_, err1 := fmt.Sscanf(parts[2], "v=%d", &version)
	_, err2 := fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &m, &t)
	salt, err3 := base64.RawStdEncoding.DecodeString(parts[4])
	want, err4 := base64.RawStdEncoding.DecodeString(parts[5])
	if err := errors.Join(err1, err2, err3, err4); err != nil || version != argon2.Version || t == 0 || m == 0 || len(want) == 0 {
		return false, errors.New("malformed password hash")
	}
	got, err := h.key(ctx, password, salt, t, m, len(want))
	if err != nil {
		return false, err
	}
	// An empty password is never right, whatever was stored (D7).
	return subtle.ConstantTimeCompare(got, want) == 1 && exists && password != "", nil
}

// weakPassword says what is wrong with a new password, "" when nothing is.
func weakPassword(password, email string) string {
	switch {
	case password == "":
		return "Choose a password."
	case utf8.RuneCountInString(password) < 8:
		return "Use at least 8 characters."
	case len(password) > 1000:
		return "Use at most 1,000 characters."
	case strings.EqualFold(password, email), common[strings.ToLower(password)]:
		return "This password is easy to guess. Choose another."
	}
	return ""
}

// common are passwords of eight characters and more that are tried first. Production: ask a list of breached passwords.
var common = map[string]bool{
	"12345678": true, "123456789": true, "1234567890": true, "password": true, "password1": true, "password123": true, "qwertyuiop": true,
	"qwerty123": true, "1q2w3e4r": true, "1q2w3e4r5t": true, "iloveyou": true, "sunshine": true, "princess": true, "football": true,
	"baseball": true, "superman": true, "starwars": true, "whatever": true, "trustno1": true, "letmein1": true, "welcome1": true,
	"abcd1234": true, "11111111": true, "00000000": true, "88888888": true, "87654321": true, "asdfghjk": true, "zxcvbnm1": true,
	"passw0rd": true, "p@ssw0rd": true, "changeme": true, "computer": true, "michelle": true, "jennifer": true, "internet": true,
}
