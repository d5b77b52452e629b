// Package ident owns how rows are named.
package ident

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"
)

// New returns a 24-digit hex id that sorts by time: 48 bits of Unix milliseconds and 48 random bits.
// It is a name, not a secret. The length is that of the ids in the Authy API (contract section 5.2).
func New(now time.Time) string {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	var b [12]byte
	copy(b[:6], ms[2:])
	rand.Read(b[6:])
	return hex.EncodeToString(b[:])
}

// UUID returns a random UUID (RFC 9562 version 4).
func UUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Number returns a random integer in [1,000,000, 2^31): Java and Go clients of the Authy API
// hold ids in 32 bits (contract section 3), and seven digits or more keep them from looking like something else.
func Number() int64 {
	const low = 1_000_000
	n, err := rand.Int(rand.Reader, big.NewInt(1<<31-low))
	if err != nil {
		panic(err) // crypto/rand never fails since Go 1.24
	}
	return low + n.Int64()
}
