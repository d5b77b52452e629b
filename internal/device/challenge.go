package device

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// This file owns challenges: what a device signs to prove its key now. They are stateless
// until used, so that asking for one costs nothing and tells nothing about anybody (INV-9);
// a used one is remembered for the rest of its life in the transaction that it opens (INV-1).

const challengeSize = 8 + 16 + sha256.Size

// newChallenge returns time, randomness and their MAC.
func newChallenge(key []byte, now time.Time) string {
	var b [challengeSize]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.Unix()))
	rand.Read(b[8:24])
	copy(b[24:], challengeMAC(key, b[:24]))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// challengeExpiry returns when the challenge ends; ok is false for one that is not ours or has ended.
func challengeExpiry(key []byte, challenge string, now time.Time) (expires time.Time, ok bool) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(challenge)
	// The length too: line feeds, which the decoder skips, would spell a used challenge anew.
	if err != nil || len(challenge) != base64.RawURLEncoding.EncodedLen(challengeSize) || len(b) != challengeSize || !hmac.Equal(b[24:], challengeMAC(key, b[:24])) {
		return time.Time{}, false
	}
	expires = time.Unix(int64(binary.BigEndian.Uint64(b[:8])), 0).Add(ChallengeLife)
	return expires, now.Before(expires)
}

func challengeMAC(key, b []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(b)
	return m.Sum(nil)
}
