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
	"sync"
	"sync/atomic"
	"time"
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
	ID        uint32
	Purpose   string
	Wrapped   []byte
	CreatedAt time.Time
	RetiredAt time.Time // since when nothing is sealed under it; zero: it is in use
}

// ErrWrongMaster says that the stored keys were wrapped by another master key.
var ErrWrongMaster = errors.New("the master key does not open this database's keys: use the key that the database was created with")

// Ring holds the opened data keys. It is safe for concurrent use.
type Ring struct {
	masters [][]byte
	read    func() ([]StoredKey, error) // nil: what was opened is all there is
	reading sync.Mutex                  // one reading at a time
	keys    atomic.Pointer[keys]
}

// keys are opened data keys. Nothing in them changes.
type keys struct {
	seals   map[uint32]cipher.AEAD
	current uint32 // the newest, under which is sealed
	hash    []byte
}

// NewMaster returns a fresh random master key.
func NewMaster() []byte { return random(KeySize) }

// NewKeys returns the first data keys of a new database, wrapped by master.
func NewKeys(master []byte) ([]StoredKey, error) {
	first, err := newKey(master, 1, PurposeSeal)
	if err != nil {
		return nil, err
	}
	second, err := newKey(master, 2, PurposeHash)
	return []StoredKey{first, second}, err
}

func newKey(master []byte, id uint32, purpose string) (StoredKey, error) {
	k := StoredKey{ID: id, Purpose: purpose}
	return k, k.wrap(master, random(KeySize))
}

// Open unwraps the stored keys. It fails with ErrWrongMaster when neither master nor one of the former ones, which
// may be given while the master key is exchanged, has wrapped them.
func Open(master []byte, stored []StoredKey, former ...[]byte) (*Ring, error) {
	r := &Ring{masters: append([][]byte{master}, former...)}
	r.keys.Store(&keys{})
	if err := r.take(stored); err != nil {
		return nil, err
	}
	return r, nil
}

// Follow lets the ring learn of keys that were added while the program runs: it reads again at Refresh, and when it meets
// a key that it does not know. Call it before the ring is used. A key that read returns must be one that every
// other process can read as well: the ring seals under it from then on.
func (r *Ring) Follow(read func() ([]StoredKey, error)) { r.read = read }

// Refresh reads the stored keys again.
func (r *Ring) Refresh() error {
	r.reading.Lock()
	defer r.reading.Unlock()
	if r.read == nil {
		return nil
	}
	stored, err := r.read()
	if err != nil {
		return fmt.Errorf("read the data keys: %w", err)
	}
	return r.take(stored)
}

// take replaces the keys by what is stored. One that is open already stays open, whoever wraps it by now: a program that was
// started with the former master key goes on until its next start. After an error the keys are as they were.
func (r *Ring) take(stored []StoredKey) error {
	old, fresh := r.keys.Load(), &keys{seals: map[uint32]cipher.AEAD{}}
	for _, k := range stored {
		switch k.Purpose {
		case PurposeHash:
			if fresh.hash = old.hash; fresh.hash != nil {
				continue
			}
		case PurposeSeal:
			fresh.current = max(fresh.current, k.ID)
			if fresh.seals[k.ID] = old.seals[k.ID]; fresh.seals[k.ID] != nil {
				continue
			}
		default:
			return fmt.Errorf("seal: stored key %d has the unknown purpose %q", k.ID, k.Purpose)
		}
		raw, err := k.unwrap(r.masters)
		if err != nil {
			return err
		}
		if k.Purpose == PurposeHash {
			fresh.hash = raw
		} else if fresh.seals[k.ID], err = aead(raw); err != nil {
			return err
		}
	}
	if fresh.hash == nil || len(fresh.seals) == 0 {
		return errors.New("seal: the database has no data keys")
	}
	r.keys.Store(fresh)
	return nil
}

// key returns the key with that id, and reads the keys again for one that it does not know. An error of that reading is told: the
// database may only be away for a moment.
func (r *Ring) key(id uint32) (cipher.AEAD, error) {
	if key := r.keys.Load().seals[id]; key != nil {
		return key, nil
	}
	if err := r.Refresh(); err != nil {
		return nil, err
	}
	if key := r.keys.Load().seals[id]; key != nil {
		return key, nil
	}
	return nil, errors.New("its data key is not in the database")
}

// Seal encrypts plain for the row that context names, for example "grants.secret:123".
func (r *Ring) Seal(context string, plain []byte) []byte {
	out := make([]byte, 5, 5+len(plain)+28)
	out[0] = version
	k := r.keys.Load()
	binary.BigEndian.PutUint32(out[1:], k.current)
	return k.seals[k.current].Seal(out, nil, plain, []byte(context))
}

// KeyID returns the id of the data key that sealed was sealed under; false when it is no sealed value.
func KeyID(sealed []byte) (uint32, bool) {
	if len(sealed) < 5 || sealed[0] != version {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:5]), true
}

// Open decrypts what Seal made for the same context.
func (r *Ring) Open(context string, sealed []byte) ([]byte, error) {
	id, ok := KeyID(sealed)
	if !ok {
		return nil, fmt.Errorf("open %s: not a sealed value", context)
	}
	key, err := r.key(id)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", context, err)
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
	m := hmac.New(sha256.New, r.keys.Load().hash)
	m.Write([]byte(label))
	m.Write([]byte{0})
	m.Write([]byte(value))
	return hex.EncodeToString(m.Sum(nil))
}

// Derive returns a 32-byte key for one purpose that outlives restarts, for example to authenticate stateless challenges.
func (r *Ring) Derive(label string) []byte {
	key, err := hkdf.Key(sha256.New, r.keys.Load().hash, nil, "countersign/"+label, KeySize)
	if err != nil {
		panic(err) // only for impossible lengths
	}
	return key
}

func (k StoredKey) context() []byte {
	return fmt.Appendf(nil, "countersign data key %d %s", k.ID, k.Purpose)
}

func (k *StoredKey) wrap(master, raw []byte) error {
	wrap, err := wrapper(master)
	if err == nil {
		k.Wrapped = wrap.Seal(nil, nil, raw, k.context())
	}
	return err
}

// unwrap returns the key itself, opened by the first of masters that can.
func (k StoredKey) unwrap(masters [][]byte) ([]byte, error) {
	for _, master := range masters {
		wrap, err := wrapper(master)
		if err != nil {
			return nil, err
		}
		if raw, err := wrap.Open(nil, nil, k.Wrapped, k.context()); err == nil {
			return raw, nil
		}
	}
	return nil, ErrWrongMaster
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
