package device

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"
	"time"
)

func TestChallenge(t *testing.T) {
	key, now := []byte("key"), time.Unix(1_800_000_000, 999_999_999)
	c := newChallenge(key, now)
	end := time.Unix(1_800_000_000, 0).Add(ChallengeLife)
	for _, row := range []struct {
		at time.Time
		ok bool
	}{
		{now, true}, {end.Add(-time.Nanosecond), true}, {end, false}, {end.Add(time.Hour), false},
	} {
		expires, ok := challengeExpiry(key, c, row.at)
		if ok != row.ok || !expires.Equal(end) {
			t.Errorf("at %v: %v, %t, want %v, %t", row.at, expires, ok, end, row.ok)
		}
	}
	if c == newChallenge(key, now) {
		t.Error("two challenges are equal")
	}
}

// A challenge that the server did not make, or one whose end was moved, is none; and each has one spelling (INV-1).
func TestForgedChallenge(t *testing.T) {
	key, now := []byte("key"), time.Unix(1_800_000_000, 0)
	c := newChallenge(key, now)
	raw, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(raw) * 8 { // the time, the randomness and the MAC
		bad := append([]byte(nil), raw...)
		bad[i/8] ^= 1 << (i % 8)
		if _, ok := challengeExpiry(key, base64.RawURLEncoding.EncodeToString(bad), now); ok {
			t.Errorf("accepted with bit %d changed", i)
		}
	}
	for what, bad := range map[string]string{
		"empty": "", "cut": c[:len(c)-1], "longer": c + "A", "padded": c + "=", "line feed at the end": c + "\n", "line feed inside": c[:9] + "\r\n" + c[9:],
		"space": c + " ", "standard alphabet": strings.NewReplacer("-", "+", "_", "/").Replace(c) + "+", "another key's": newChallenge([]byte("other"), now),
		"without MAC": base64.RawURLEncoding.EncodeToString(raw[:24]), "long": strings.Repeat(c, 1000),
	} {
		if _, ok := challengeExpiry(key, bad, now); ok {
			t.Errorf("%s: accepted", what)
		}
	}
	// 56 bytes take 75 characters: two bits of the last are unused, and must not make another spelling.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", c[len(c)-1])
	for spare := 1; spare < 4; spare++ {
		respelt := c[:len(c)-1] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last^spare])
		if _, ok := challengeExpiry(key, respelt, now); ok {
			t.Errorf("respelt as %q: accepted", respelt)
		}
	}
}

// Whatever is accepted is the one spelling of what was made with the key.
func FuzzChallenge(f *testing.F) {
	key, now := []byte("key"), time.Unix(1_800_000_000, 0)
	c := newChallenge(key, now)
	f.Add(c)
	f.Add(c + "\n")
	f.Fuzz(func(t *testing.T, in string) {
		if _, ok := challengeExpiry(key, in, now); !ok {
			return
		}
		raw, err := base64.RawURLEncoding.DecodeString(in)
		if err != nil || base64.RawURLEncoding.EncodeToString(raw) != in || !bytes.Equal(raw[24:], challengeMAC(key, raw[:24])) {
			t.Errorf("accepted %q", in)
		}
	})
}
