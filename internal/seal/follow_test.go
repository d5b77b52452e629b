package seal

import (
	"errors"
	"sync"
	"testing"
)

// A ring reads the keys again for a value under a key that it does not know, tells an error of that reading, and goes on with
// what it has.
func TestFollow(t *testing.T) {
	r, master, keys := newRing(t)
	old := r.Seal("a:1", []byte("old"))
	next, err := newKey(master, 3, PurposeSeal)
	if err != nil {
		t.Fatal(err)
	}
	fresh := open(t, master, append([]StoredKey{next}, keys...)).Seal("a:1", []byte("fresh"))

	var mu sync.Mutex
	stored, failure := keys, error(nil)
	set := func(k []StoredKey, err error) {
		mu.Lock()
		defer mu.Unlock()
		stored, failure = k, err
	}
	r.Follow(func() ([]StoredKey, error) {
		mu.Lock()
		defer mu.Unlock()
		return stored, failure
	})
	if _, err := r.Open("a:1", fresh); err == nil {
		t.Error("opened under a key that is nowhere")
	}
	away := errors.New("the database is away")
	set(nil, away)
	if _, err := r.Open("a:1", fresh); !errors.Is(err, away) {
		t.Errorf("without the database: %v", err)
	}
	foreign, err := newKey(NewMaster(), 4, PurposeSeal)
	if err != nil {
		t.Fatal(err)
	}
	set(append([]StoredKey{next, foreign}, keys...), nil)
	if err := r.Refresh(); !errors.Is(err, ErrWrongMaster) {
		t.Errorf("a key under another master key: %v", err)
	}
	if got, err := r.Open("a:1", old); err != nil || string(got) != "old" {
		t.Errorf("what it had is gone: %q, %v", got, err)
	}
	set(append([]StoredKey{next}, keys...), nil)
	var readers sync.WaitGroup
	for range 16 {
		readers.Go(func() {
			if got, err := r.Open("a:1", fresh); err != nil || string(got) != "fresh" {
				t.Errorf("with the new key: %q, %v", got, err)
			}
		})
	}
	readers.Wait()
	if id, ok := KeyID(r.Seal("a:1", nil)); !ok || id != 3 {
		t.Errorf("seals under key %d", id)
	}
	set([]StoredKey{next, keys[1]}, nil) // the old one leaves
	if err := r.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Open("a:1", old); err == nil {
		t.Errorf("opened under a key that was removed: %q", got)
	}
}
