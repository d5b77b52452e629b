package seal

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func open(t testing.TB, master []byte, keys []StoredKey) *Ring {
	t.Helper()
	r, err := Open(master, keys)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newRing(t testing.TB) (*Ring, []byte, []StoredKey) {
	t.Helper()
	master := NewMaster()
	keys, err := NewKeys(master)
	if err != nil {
		t.Fatal(err)
	}
	return open(t, master, keys), master, keys
}

func TestSealAndOpen(t *testing.T) {
	r, master, keys := newRing(t)
	again := open(t, master, keys) // after a restart
	for _, plain := range []string{"", "s", strings.Repeat("secret ", 1000)} {
		sealed := r.Seal("grants.secret:1", []byte(plain))
		if plain != "" && bytes.Contains(sealed, []byte(plain)) && len(plain) > 1 {
			t.Error("the plain text stands in the sealed one")
		}
		if got, err := again.Open("grants.secret:1", sealed); err != nil || string(got) != plain {
			t.Errorf("opened %q, %v, want %q", got, err, plain)
		}
		if bytes.Equal(sealed, r.Seal("grants.secret:1", []byte(plain))) {
			t.Error("sealing twice gave the same bytes")
		}
	}
}

// T-50: what is sealed opens in its own row and column alone.
func TestT50Swapped(t *testing.T) {
	r, _, _ := newRing(t)
	sealed := r.Seal("grants.secret:1", []byte("secret"))
	for _, context := range []string{"", "grants.secret:2", "grants.secret:11", "grants.secret:", "api_keys.sealed:1", "grants.secret:1 ", "GRANTS.SECRET:1"} {
		if plain, err := r.Open(context, sealed); err == nil {
			t.Errorf("opened as %q: %q", context, plain)
		}
	}
	other, _, _ := newRing(t) // another deployment
	if plain, err := other.Open("grants.secret:1", sealed); err == nil {
		t.Errorf("opened by another ring: %q", plain)
	}
}

// T-50: no bit can change.
func TestT50Tampered(t *testing.T) {
	r, _, _ := newRing(t)
	sealed := r.Seal("a:1", []byte("secret"))
	for i := range len(sealed) * 8 {
		bad := bytes.Clone(sealed)
		bad[i/8] ^= 1 << (i % 8)
		if plain, err := r.Open("a:1", bad); err == nil {
			t.Errorf("opened with bit %d changed: %q", i, plain)
		}
	}
	for n := range len(sealed) {
		if _, err := r.Open("a:1", sealed[:n]); err == nil {
			t.Errorf("opened when cut to %d bytes", n)
		}
	}
	if _, err := r.Open("a:1", append(bytes.Clone(sealed), 0)); err == nil {
		t.Error("opened with a byte more")
	}
	for _, bad := range [][]byte{nil, []byte("secret"), make([]byte, 100)} {
		if _, err := r.Open("a:1", bad); err == nil {
			t.Errorf("opened %q", bad)
		}
	}
}

func TestErrorsAreSilent(t *testing.T) {
	r, _, _ := newRing(t)
	sealed := r.Seal("a:1", []byte("canary-7f3a"))
	_, err := r.Open("a:2", sealed)
	if err == nil || strings.Contains(err.Error(), "canary") || !strings.Contains(err.Error(), "a:2") {
		t.Errorf("error %v, want one that names the row and nothing else", err)
	}
}

func TestWrongMaster(t *testing.T) {
	_, master, keys := newRing(t)
	changed := bytes.Clone(master)
	changed[31] ^= 1
	for _, bad := range [][]byte{NewMaster(), changed, make([]byte, KeySize)} {
		if _, err := Open(bad, keys); !errors.Is(err, ErrWrongMaster) {
			t.Errorf("another master key: %v", err)
		}
	}
	for _, bad := range [][]byte{nil, master[:31], append(bytes.Clone(master), 0)} {
		if _, err := Open(bad, keys); err == nil || errors.Is(err, ErrWrongMaster) {
			t.Errorf("a master key of %d bytes: %v", len(bad), err)
		}
		if _, err := NewKeys(bad); err == nil {
			t.Errorf("keys wrapped by a master key of %d bytes", len(bad))
		}
	}
	if bytes.Equal(NewMaster(), NewMaster()) {
		t.Error("two master keys are equal")
	}
}

// T-50: a stored key cannot take another one's place, or another purpose.
func TestT50StoredKeys(t *testing.T) {
	_, master, keys := newRing(t)
	for what, change := range map[string]func([]StoredKey) []StoredKey{
		"another id":      func(k []StoredKey) []StoredKey { k[0].ID = 3; return k },
		"another purpose": func(k []StoredKey) []StoredKey { k[0].Purpose = PurposeHash; return k },
		"swapped":         func(k []StoredKey) []StoredKey { k[0].Wrapped, k[1].Wrapped = k[1].Wrapped, k[0].Wrapped; return k },
		"changed":         func(k []StoredKey) []StoredKey { k[1].Wrapped = append(bytes.Clone(k[1].Wrapped), 0); return k },
		"empty":           func(k []StoredKey) []StoredKey { k[1].Wrapped = nil; return k },
		"no key":          func([]StoredKey) []StoredKey { return nil },
		"no sealing key":  func(k []StoredKey) []StoredKey { return k[1:] },
		"no hashing key":  func(k []StoredKey) []StoredKey { return k[:1] },
	} {
		copied := []StoredKey{keys[0], keys[1]}
		if _, err := Open(master, change(copied)); err == nil {
			t.Errorf("%s: opened", what)
		}
	}
	wrap, err := wrapper(master)
	if err != nil {
		t.Fatal(err)
	}
	odd := StoredKey{ID: 9, Purpose: "sign"}
	odd.Wrapped = wrap.Seal(nil, nil, random(KeySize), odd.context())
	if _, err := Open(master, append([]StoredKey{odd}, keys...)); err == nil || !strings.Contains(err.Error(), "sign") {
		t.Errorf("an unknown purpose: %v", err)
	}
}

// Rotation: the newest key seals, every one opens, and one that is gone opens nothing.
func TestRotation(t *testing.T) {
	before, master, keys := newRing(t)
	old := before.Seal("a:1", []byte("old"))
	wrap, err := wrapper(master)
	if err != nil {
		t.Fatal(err)
	}
	next := StoredKey{ID: 3, Purpose: PurposeSeal}
	next.Wrapped = wrap.Seal(nil, nil, random(KeySize), next.context())
	during := open(t, master, append([]StoredKey{next}, keys...)) // whatever the order of the rows
	fresh := during.Seal("a:1", []byte("new"))
	for plain, sealed := range map[string][]byte{"old": old, "new": fresh} {
		if got, err := during.Open("a:1", sealed); err != nil || string(got) != plain {
			t.Errorf("during rotation: %q, %v", got, err)
		}
	}
	if _, err := before.Open("a:1", fresh); err == nil {
		t.Error("the old ring opens what the new key sealed")
	}
	after := open(t, master, []StoredKey{next, keys[1]})
	if _, err := after.Open("a:1", old); err == nil {
		t.Error("opened after its key was removed")
	}
	if got, err := after.Open("a:1", fresh); err != nil || string(got) != "new" {
		t.Errorf("after rotation: %q, %v", got, err)
	}
	if before.Hash("l", "v") != after.Hash("l", "v") {
		t.Error("hashes changed with the sealing key")
	}
}

func TestHash(t *testing.T) {
	r, master, keys := newRing(t)
	other, _, _ := newRing(t)
	got := r.Hash("api key", "value")
	if len(got) != 64 || got != open(t, master, keys).Hash("api key", "value") {
		t.Errorf("hash %q changes with a restart", got)
	}
	for what, hash := range map[string]string{
		"another label":           r.Hash("ticket", "value"),
		"another value":           r.Hash("api key", "Value"),
		"another border":          r.Hash("api keyv", "alue"),
		"another deployment":      other.Hash("api key", "value"),
		"a border in the value":   r.Hash("api", " key\x00value"),
		"the key that it derives": fmt.Sprintf("%x", r.Derive("api key")),
	} {
		if hash == got {
			t.Errorf("%s: the same hash", what)
		}
	}
}

func TestDerive(t *testing.T) {
	r, master, keys := newRing(t)
	a := r.Derive("a")
	if len(a) != KeySize || !bytes.Equal(a, open(t, master, keys).Derive("a")) {
		t.Error("a derived key changes with a restart")
	}
	if bytes.Equal(a, r.Derive("b")) {
		t.Error("two purposes with one key")
	}
}

func FuzzOpen(f *testing.F) {
	r, _, _ := newRing(f)
	good := r.Seal("a:1", []byte("secret"))
	f.Add(good)
	f.Add([]byte{1, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, sealed []byte) {
		if plain, err := r.Open("a:1", sealed); err == nil && !bytes.Equal(sealed, good) {
			t.Errorf("opened %x: %q", sealed, plain)
		}
	})
}

func BenchmarkSealAndOpen(b *testing.B) {
	r, _, _ := newRing(b)
	secret := make([]byte, 20)
	for b.Loop() {
		if _, err := r.Open("a:1", r.Seal("a:1", secret)); err != nil {
			b.Fatal(err)
		}
	}
}
