// This file owns recovery codes: how they are made, kept and spent. They are this package's own, so they work when the provider does not.

package secondfactor

import (
	"context"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	recoveryCount  = 10
	recoveryBytes  = 10     // 80 bits
	recoveryRounds = 20_000 // of PBKDF2: nobody guesses 80 random bits, and a stolen table should be worth even less
	recoveryWindow = time.Hour
)

// alphabet is Crockford's: no letter that is read as another or as a digit.
var alphabet = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// NewRecoveryCodes makes ten recovery codes for a person and voids all earlier ones. Show them once, in an answer that is not cached, and let the
// person say that they are saved; they cannot be read again. Put it behind [Guard.RequireConfirmed].
func (g *Guard) NewRecoveryCodes(ctx context.Context, user string) ([]string, error) {
	set := RecoveryCodes{User: user, Salt: rand.Text(), MadeAt: g.config.Now()}
	var codes []string
	for range recoveryCount {
		var random [recoveryBytes]byte
		rand.Read(random[:])
		text := alphabet.EncodeToString(random[:])
		hash, err := recoveryHash(text, set.Salt)
		if err != nil {
			return nil, err
		}
		codes, set.Hashes = append(codes, grouped(text)), append(set.Hashes, hash)
	}
	err := g.changeRecovery(ctx, user, func(c *RecoveryCodes) error {
		set.Version, set.Wrong, set.WrongAt = c.Version, c.Wrong, c.WrongAt // new codes give no new tries
		*c = set
		return nil
	})
	return codes, err
}

// RecoveryCodesLeft is how many codes a person has that were not used.
func (g *Guard) RecoveryCodesLeft(ctx context.Context, user string) (int, error) {
	c, err := g.config.Store.Recovery(ctx, user)
	return len(c.Hashes), err
}

// DropRecoveryCodes voids all codes of a person: the second factor was switched off.
func (g *Guard) DropRecoveryCodes(ctx context.Context, user string) error {
	return g.changeRecovery(ctx, user, func(c *RecoveryCodes) error {
		c.Hashes = nil
		return nil
	})
}

// grouped writes a code as people copy it: xxxx-xxxx-xxxx-xxxx.
func grouped(text string) string {
	var parts []string
	for part := range slices.Chunk([]byte(text), 4) {
		parts = append(parts, string(part))
	}
	return strings.Join(parts, "-")
}

// cleanRecovery reads a code as people type it, and reports whether it can be one.
func cleanRecovery(typed string) (code string, sound bool) {
	code = strings.NewReplacer(" ", "", "-", "", "\u00a0", "", "\t", "", "\r", "", "\n", "", "o", "0", "i", "1", "l", "1").Replace(strings.ToLower(typed))
	_, err := alphabet.DecodeString(code)
	return code, err == nil && len(code) == alphabet.EncodedLen(recoveryBytes)
}

// recoveryHash is how a code is kept.
func recoveryHash(code, salt string) (string, error) {
	key, err := pbkdf2.Key(sha256.New, code, []byte(salt), recoveryRounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("hash recovery code: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(key), nil
}

// changeRecovery applies a change to a person's codes as they stand, and tries again when somebody else was faster.
func (g *Guard) changeRecovery(ctx context.Context, user string, change func(*RecoveryCodes) error) error {
	for {
		c, err := g.config.Store.Recovery(ctx, user)
		if err != nil {
			return fmt.Errorf("read recovery codes: %w", err)
		}
		if err := change(&c); err != nil {
			return err
		}
		switch err := g.config.Store.PutRecovery(ctx, c); {
		case err == nil:
			return nil
		case !errors.Is(err, ErrConflict):
			return fmt.Errorf("write recovery codes: %w", err)
		}
	}
}

// errSpent and errNoSuchCode are what spending a code may end with.
var (
	errSpent      = errors.New("secondfactor: too many wrong recovery codes")
	errNoSuchCode = errors.New("secondfactor: no such recovery code")
)

// spendRecovery uses a code up. The try is counted before anything is compared (INV-2), for the person and not for the attempt, so that
// starting again gives no new tries; a right code gives it back.
func (g *Guard) spendRecovery(ctx context.Context, user, code string) (left int, err error) {
	var salt string
	err = g.changeRecovery(ctx, user, func(c *RecoveryCodes) error {
		now := g.config.Now()
		if !now.Before(c.WrongAt.Add(recoveryWindow)) {
			c.Wrong, c.WrongAt = 0, now
		}
		if c.Wrong >= g.config.Limits.WrongRecovery {
			return errSpent
		}
		c.Wrong++
		salt = c.Salt
		return nil
	})
	if err != nil {
		return 0, err
	}
	hash, err := recoveryHash(code, salt)
	if err != nil {
		return 0, err
	}
	err = g.changeRecovery(ctx, user, func(c *RecoveryCodes) error {
		// Both sides are hashes of 256 bits: how long a comparison takes tells nothing about a code.
		at := slices.Index(c.Hashes, hash)
		if at < 0 {
			return errNoSuchCode
		}
		c.Hashes = slices.Delete(c.Hashes, at, at+1)
		c.Wrong, left = max(c.Wrong-1, 0), len(c.Hashes)
		return nil
	})
	return left, err
}

// checkRecovery takes a recovery code. A right one approves the attempt, as a code does, and hands the browser on to complete.
func (g *Guard) checkRecovery(w http.ResponseWriter, r *http.Request) error {
	a, ok, err := g.form(w, r)
	if !ok {
		return err
	}
	code, sound := cleanRecovery(r.PostForm.Get("recovery"))
	if !sound {
		return g.note(w, r, a, func(a *Attempt, now time.Time) {
			if a.may(Recovery, now) {
				a.Notice = NoticeNoRecovery
			}
		})
	}
	ctx := context.WithoutCancel(r.Context())
	a, reserved, err := g.reserveTry(ctx, a, Recovery)
	if err != nil {
		return err
	}
	if !reserved {
		g.redirect(w, r, "/login/verify")
		return nil
	}
	left, cause := g.spendRecovery(ctx, a.User, code)
	if cause != nil && !errors.Is(cause, errSpent) && !errors.Is(cause, errNoSuchCode) {
		return cause
	}
	if cause == nil { // it is used up, whatever becomes of the attempt
		g.tell(ctx, a, Event{Kind: RecoveryUsed, Left: left})
	}
	if a, err = g.settle(ctx, a, Recovery, recoveryVerdict(cause)); err != nil {
		return err
	}
	if cause != nil || a.State != Approved {
		g.redirect(w, r, "/login/verify")
		return nil
	}
	g.onToComplete(w, r)
	return nil
}

// recoveryVerdict says what became of a recovery code.
func recoveryVerdict(cause error) verdict {
	switch {
	case cause == nil:
		return verdict{right: true}
	case errors.Is(cause, errSpent):
		return verdict{notice: NoticeNoMoreTries}
	}
	return verdict{wrong: true, notice: NoticeNoRecovery}
}
