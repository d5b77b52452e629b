// This file owns one-time codes, computed here from the secrets of the grants (RFC 6238, RFC 4226).

package terminal

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"countersign.dev/client/receipt"
)

// Code is the one-time code of one grant.
type Code struct {
	Application string
	Account     string
	Code        string
	SecondsLeft int // until the next one
}

// Codes returns the code of every grant for now, by the server's clock as far as it is known. It needs no network.
func (t *Terminal) Codes() ([]Code, error) {
	if err := t.open(); err != nil {
		return nil, err
	}
	now := t.ServerTime()
	codes := make([]Code, len(t.state.Grants))
	for i, g := range t.state.Grants {
		secret, err := g.secret()
		if err != nil {
			return nil, err
		}
		codes[i] = Code{
			Application: receipt.CleanText(g.Application.Name),
			Account:     receipt.CleanText(g.Account),
			Code:        totp(secret, now, g.Period, g.Digits),
			SecondsLeft: g.Period - int(now.Unix()%int64(g.Period)),
		}
	}
	return codes, nil
}

// check refuses a grant for which no code can be computed.
func (g Grant) check() error {
	if _, err := g.secret(); err != nil {
		return err
	}
	if g.Digits < 6 || g.Digits > 8 || g.Period < 1 {
		return fmt.Errorf("codes of %d digits every %d s are not known to this version of countersign", g.Digits, g.Period)
	}
	return nil
}

// secret decodes the shared secret. The text is not in the error.
func (g Grant) secret() ([]byte, error) {
	text := strings.TrimRight(strings.ToUpper(g.Secret), "=")
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(text)
	if err != nil || len(secret) == 0 {
		return nil, errors.New("the secret of a grant is not base32")
	}
	return secret, nil
}

// totp is the code for a time (RFC 6238 section 4 with SHA-1, truncated by RFC 4226 section 5.3).
func totp(secret []byte, now time.Time, period, digits int) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(now.Unix()/int64(period))))
	sum := mac.Sum(nil)
	number := binary.BigEndian.Uint32(sum[sum[len(sum)-1]&0xf:]) & 0x7fffffff
	modulus := uint32(1)
	for range digits {
		modulus *= 10
	}
	return fmt.Sprintf("%0*d", digits, number%modulus)
}
