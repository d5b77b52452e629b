// Package seal owns encryption at rest and keyed hashes (T-50).
//
// A master key from outside the database wraps the data keys that live in it.
// What is sealed carries the id of its data key, and is bound to the row it
// belongs to: moved to another row, column or tenant it does not open.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
)

// KeySize is the length of a master or data key in bytes.
const KeySize = 32

// version is the first byte of everything sealed; another format gets another one.
const version = 1

// Purposes of a stored key.
const (
	PurposeSeal = "seal" // AES-256-GCM of columns
	PurposeHash = "hash" // HMAC-SHA256 of values that are looked up or compared
)

// StoredKey is a data key as the database keeps it: wrapped by the master key.
type StoredKey struct {
	ID      uint32
	Purpose string
	Wrapped []byte
}

// ErrWrongMaster says that the stored keys were wrapped by another master key.
var ErrWrongMaster = errors.New("the master key does not open this database's keys: use the key that the database was created with")

// Ring holds the opened data keys. It is safe for concurrent use: nothing in it changes.
type Ring struct {
	seals   map[uint32]cipher.AEAD
	current uint32
	hash    []byte
}

// NewMaster returns a fresh random master key.
func NewMaster() []byte { return random(KeySize) }

// NewKeys returns the first data keys of a new database, wrapped by master.
func NewKeys(master []byte) ([]StoredKey, error) {
	wrap, err := wrapper(master)
	if err != nil {
		return nil, err
	}
	keys := []StoredKey{{ID: 1, Purpose: PurposeSeal}, {ID: 2, Purpose: PurposeHash}}
	for i := range keys {
		keys[i].Wrapped = wrap.Seal(nil, nil, random(KeySize), keys[i].context())
	}
	return keys, nil
}

// Open unwraps the stored keys. It fails with ErrWrongMaster when master is not the one that wrapped them.
func Open(master []byte, stored []StoredKey) (*Ring, error) {
	wrap, err := wrapper(master)
	if err != nil {
		return nil, err
	}
	r := &Ring{seals: map[uint32]cipher.AEAD{}}
	for _, k := range stored {
		raw, err := wrap.Open(nil, nil, k.Wrapped, k.context())
		if err != nil {
			return nil, ErrWrongMaster
		}
		switch k.Purpose {
		case PurposeHash:
			r.hash = raw
		case PurposeSeal:
			if r.seals[k.ID], err = aead(raw); err != nil {
				return nil, err
			}
			r.current = max(r.current, k.ID)
		default:
			return nil, fmt.Errorf("seal: stored key %d has the unknown purpose %q", k.ID, k.Purpose)
		}
	}
	if r.hash == nil || len(r.seals) == 0 {
		return nil, errors.New("seal: the database has no data keys")
	}
	return r, nil
}

// Seal encrypts plain for the row that context names, for example "grants.secret:123".
func (r *Ring) Seal(context string, plain []byte) []byte {
	out := make([]byte, 5, 5+len(plain)+28)
	out[0] = version
	binary.BigEndian.PutUint32(out[1:], r.current)
	return r.seals[r.current].Seal(out, nil, plain, []byte(context))
}

// Open decrypts what Seal made for the same context.
func (r *Ring) Open(context string, sealed []byte) ([]byte, error) {
	if len(sealed) < 5 || sealed[0] != version {
		return nil, fmt.Errorf("open %s: not a sealed value", context)
	}
	key, ok := r.seals[binary.BigEndian.Uint32(sealed[1:5])]
	if !ok {
		return nil, fmt.Errorf("open %s: its data key is not in the database", context)
	}
	plain, err := key.Open(nil, nil, sealed[5:], []byte(context))
	if err != nil {
		return nil, fmt.Errorf("open %s: the value was changed or belongs to another row", context)
	}
	return plain, nil
}

// Hash returns the keyed hash of value in lower-case hex. The label names the
// purpose, so that a hash made for one never passes for another.
func (r *Ring) Hash(label, value string) string {
	m := hmac.New(sha256.New, r.hash)
	m.Write([]byte(label))
	m.Write([]byte{0})
	m.Write([]byte(value))
	return hex.EncodeToString(m.Sum(nil))
}

// Derive returns a 32-byte key for one purpose that outlives restarts, for example to authenticate stateless challenges.
func (r *Ring) Derive(label string) []byte {
	key, err := hkdf.Key(sha256.New, r.hash, nil, "countersign/"+label, KeySize)
	if err != nil {
		panic(err) // only for impossible lengths
	}
	return key
}

func (k StoredKey) context() []byte {
	return fmt.Appendf(nil, "countersign data key %d %s", k.ID, k.Purpose)
}

// wrapper derives the wrapping key, so that the master key itself encrypts nothing.
func wrapper(master []byte) (cipher.AEAD, error) {
	if len(master) != KeySize {
		return nil, fmt.Errorf("the master key has %d bytes, want %d", len(master), KeySize)
	}
	key, err := hkdf.Key(sha256.New, master, nil, "countersign/wrap data keys", KeySize)
	if err != nil {
		return nil, err
	}
	return aead(key)
}

func aead(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
