package seal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"
)

// This file owns the exchange of keys while the service runs (T-50).
//
// A new data key is committed before anybody seals under it. Running processes learn of it within RefreshEvery, and at once
// when they meet a value that was sealed under it. The rotation seals every row again, in small batches that each change only
// what still is as it was read; after a pass that began when all had learned of the key, and found nothing
// under another one, the former keys are retired. They stay in the database for keepRetired, wrapped and
// unused, for what was read before and is written late. A rotation that was killed goes on when it is called again.

const (
	// RefreshEvery is how often a running process reads the keys again.
	RefreshEvery = 5 * time.Second
	// learned is when every process that runs has done so.
	learned = 3 * RefreshEvery
	// keepRetired is how long a retired key stays.
	keepRetired = 24 * time.Hour
	// resealBatch is how many rows are looked at in one go.
	resealBatch = 200
)

// Value is a sealed value in its row.
type Value struct {
	Context string // as it was sealed
	Sealed  []byte // empty: the row has none
	Row     any    // its key, for the store
}

// KeyStore is what the exchange of keys needs to keep.
type KeyStore interface {
	StoredKeys(ctx context.Context) ([]StoredKey, error)
	AddKey(ctx context.Context, k StoredKey, now time.Time) error
	// RewrapKeys replaces what wraps each key, if all of them still are as in old; ErrKeysChanged otherwise.
	RewrapKeys(ctx context.Context, old, fresh []StoredKey) error
	RetireKeys(ctx context.Context, before uint32, now time.Time) error
	// DropKeys removes keys that were retired before t.
	DropKeys(ctx context.Context, t time.Time) error
	// SealedColumns names every column of the database that holds sealed values.
	SealedColumns() []string
	// SealedValues returns values of one column in the order of their rows, from behind the row after; nil: from the first.
	SealedValues(ctx context.Context, column string, after any, limit int) ([]Value, error)
	// Reseal replaces values that still are as in old, and returns how many.
	Reseal(ctx context.Context, column string, old, fresh []Value) (int, error)
}

// ErrKeysChanged says that somebody else changed the keys meanwhile.
var ErrKeysChanged = errors.New("the keys were changed by somebody else meanwhile: run the command again")

// Rotation exchanges keys.
type Rotation struct {
	Store  KeyStore
	Master []byte
	Former [][]byte // former master keys that may still wrap some data keys
	Now    func() time.Time
	// Wait returns after d, or with an error when ctx ends.
	Wait func(ctx context.Context, d time.Duration) error
	// Progress is told what was done so far; nil is fine.
	Progress func(Progress)
}

// Progress is how far a rotation has come.
type Progress struct {
	Key      uint32 `json:"key"`      // the new data key
	Pass     int    `json:"pass"`     // over the whole database
	Column   string `json:"column"`   // where it is
	Looked   int    `json:"looked"`   // values looked at, over all passes
	Resealed int    `json:"resealed"` // values sealed again, over all passes
	Waiting  bool   `json:"waiting"`  // for running servers to learn of the new key
}

// DataKey makes a new data key, seals every row under it, and retires the former ones. A rotation that was begun and not ended is
// ended, with no other new key.
func (r *Rotation) DataKey(ctx context.Context) (Progress, error) {
	current, since, err := r.begin(ctx)
	if err != nil {
		return Progress{}, err
	}
	stored, err := r.Store.StoredKeys(ctx)
	if err != nil {
		return Progress{}, err
	}
	ring, err := Open(r.Master, stored, r.Former...)
	if err != nil {
		return Progress{}, err
	}
	p := Progress{Key: current}
	for {
		p.Pass++
		known := !r.Now().Before(since.Add(learned)) // asked before the pass: who writes during it seals under the new key
		found, err := r.pass(ctx, ring, &p)
		if err != nil {
			return p, err
		}
		if known && found == 0 {
			break
		}
		if wait := since.Add(learned).Sub(r.Now()); wait > 0 {
			p.Waiting = true
			r.tell(p)
			if err := r.Wait(ctx, wait); err != nil {
				return p, err
			}
			p.Waiting = false
		}
	}
	if err := r.Store.DropKeys(ctx, r.Now().Add(-keepRetired)); err != nil { // before new ones are retired: those stay
		return p, fmt.Errorf("remove retired keys: %w", err)
	}
	if err := r.Store.RetireKeys(ctx, current, r.Now()); err != nil {
		return p, fmt.Errorf("retire former keys: %w", err)
	}
	return p, nil
}

// begin adds a key, unless an earlier rotation did and has not ended. It returns the newest key and when it was made.
func (r *Rotation) begin(ctx context.Context) (uint32, time.Time, error) {
	stored, err := r.Store.StoredKeys(ctx)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("read the data keys: %w", err)
	}
	var newest StoredKey
	var last uint32
	inUse := 0
	for _, k := range stored {
		last = max(last, k.ID)
		if k.Purpose == PurposeSeal && k.RetiredAt.IsZero() {
			inUse++
			if k.ID > newest.ID {
				newest = k
			}
		}
	}
	if _, err := Open(r.Master, stored, r.Former...); err != nil {
		return 0, time.Time{}, err
	}
	if inUse > 1 {
		return newest.ID, newest.CreatedAt, nil
	}
	k, err := newKey(r.Master, last+1, PurposeSeal)
	if err != nil {
		return 0, time.Time{}, err
	}
	now := r.Now()
	if err := r.Store.AddKey(ctx, k, now); err != nil {
		return 0, time.Time{}, fmt.Errorf("add a data key: %w", err)
	}
	return k.ID, now, nil
}

// pass looks at every sealed value once and returns how many were under another key than the current one.
func (r *Rotation) pass(ctx context.Context, ring *Ring, p *Progress) (found int, err error) {
	for _, column := range r.Store.SealedColumns() {
		p.Column = column
		var after any
		for {
			if err := ctx.Err(); err != nil {
				return found, err
			}
			values, err := r.Store.SealedValues(ctx, column, after, resealBatch)
			if err != nil {
				return found, fmt.Errorf("read %s: %w", column, err)
			}
			if len(values) == 0 {
				break
			}
			after = values[len(values)-1].Row
			old, fresh, err := again(ring, p.Key, values)
			if err != nil {
				return found, err
			}
			p.Looked += len(values)
			if len(old) > 0 {
				n, err := r.Store.Reseal(ctx, column, old, fresh)
				if err != nil {
					return found, fmt.Errorf("seal %s again: %w", column, err)
				}
				p.Resealed += n
				found += len(old)
			}
			r.tell(*p)
		}
	}
	return found, nil
}

// again seals what is under another key than the current one.
func again(ring *Ring, current uint32, values []Value) (old, fresh []Value, err error) {
	for _, v := range values {
		if id, ok := KeyID(v.Sealed); len(v.Sealed) == 0 || ok && id == current {
			continue
		}
		plain, err := ring.Open(v.Context, v.Sealed)
		if err != nil {
			return nil, nil, fmt.Errorf("the rotation stopped and can be run again: %w; restore this row from a backup, or remove it", err)
		}
		old = append(old, v)
		v.Sealed = ring.Seal(v.Context, plain)
		fresh = append(fresh, v)
	}
	return old, fresh, nil
}

func (r *Rotation) tell(p Progress) {
	if r.Progress != nil {
		r.Progress(p)
	}
}

// MasterKey wraps every data key under fresh, in one transaction, and returns how many. Running servers keep the keys that they have
// open; those that start must be given fresh.
func (r *Rotation) MasterKey(ctx context.Context, fresh []byte) (int, error) {
	if bytes.Equal(fresh, r.Master) && len(r.Former) == 0 {
		return 0, errors.New("the new master key is the present one: make another with `countersign keys new`")
	}
	old, err := r.Store.StoredKeys(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the data keys: %w", err)
	}
	masters := append([][]byte{r.Master, fresh}, r.Former...) // fresh too: the rotation may have been done already
	wrapped := make([]StoredKey, len(old))
	for i, k := range old {
		raw, err := k.unwrap(masters)
		if err != nil {
			return 0, err
		}
		if err := k.wrap(fresh, raw); err != nil {
			return 0, err
		}
		wrapped[i] = k
	}
	return len(wrapped), r.Store.RewrapKeys(ctx, old, wrapped)
}
