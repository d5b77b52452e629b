package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/tenant"
)

// This file tests the exchange of keys (T-50).

var keyTests = []test{
	{"T-50 rotation under load, killed at random points", testRotation},
	{"T-50 another master key", testMasterKey},
	{"T-50 a node that does not know the new key reads it", testUnknownKey},
	{"T-50 swapped values are refused", testSwappedValues},
	{"a retired key leaves a day later", testRetiredKey},
}

var errKilled = errors.New("killed")

// killable is a store whose user dies at its n-th change: before it, or after it and before he hears of it.
type killable struct {
	seal.KeyStore
	left  int
	after bool
}

func (k *killable) change(do func() error) error {
	if k.left--; k.left > 0 {
		return do()
	}
	if k.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errKilled
}

func (k *killable) AddKey(ctx context.Context, key seal.StoredKey, now time.Time) error {
	return k.change(func() error { return k.KeyStore.AddKey(ctx, key, now) })
}

func (k *killable) RetireKeys(ctx context.Context, before uint32, now time.Time) error {
	return k.change(func() error { return k.KeyStore.RetireKeys(ctx, before, now) })
}

func (k *killable) Reseal(ctx context.Context, column string, old, fresh []seal.Value) (n int, err error) {
	err = k.change(func() error { n, err = k.KeyStore.Reseal(ctx, column, old, fresh); return err })
	return n, err
}

// follow makes the fixture's services learn of new keys as a server does.
func (f *fixture) follow(t *testing.T) {
	t.Helper()
	f.Ring.Follow(func() ([]seal.StoredKey, error) { return f.Store.StoredKeys(context.Background()) })
}

// rotation is one that waits in virtual time; running servers refresh meanwhile.
func (f *fixture) rotation(store seal.KeyStore, refresh func() error) *seal.Rotation {
	return &seal.Rotation{Store: store, Master: f.Master, Now: f.Clock.Now, Wait: func(_ context.Context, d time.Duration) error {
		f.Clock.Advance(d)
		return refresh()
	}}
}

// sealedOperator inserts an operator, as setting up does; the sealed secret is all that matters here.
func (f *fixture) sealedOperator(t *testing.T, id string) {
	t.Helper()
	must(t, f.Exec(t.Context(), `INSERT INTO operators (id, account_id, email, email_folded, password_hash, totp, created_at) VALUES ($1, $2, $1, $1, 'x', $3, 1)`,
		id, f.Account.ID, f.Ring.Seal("operators.totp:"+id, []byte("secret of "+id))))
}

func testRotation(t *testing.T, f *fixture) {
	f.follow(t)
	p := f.person(t, "Bank", patient, generics)
	f.confirmGeneric(t, p)
	f.sealedOperator(t, "olga")
	f.sms(t, p, "before") // one in the outbox
	_, err := f.Codes.Send(t.Context(), p.app, p.user, otp.Request{Channel: otp.SMS, Force: true})
	must(t, err) // and one that waits
	f.Subscribed(t, p.phone, "https://fcm.googleapis.com/1")
	_, err = f.Tenants.WebhookKeys(t.Context(), p.app.ID)
	must(t, err)
	_, err = f.Webhooks.Create(t.Context(), p.app, "first", "https://bank.example/hook", []string{"user_removed"}, "operator:test")
	must(t, err)
	_, err = f.Webhooks.NewAccessKey(t.Context(), p.app, "operator:test")
	must(t, err)
	must(t, f.Exec(t.Context(), `INSERT INTO jobs (id, kind, app_id, ref, payload, attempts, created_at, run_at) VALUES ('push', 'push', $1, '', $2, 1, 1, 1)`,
		p.app.ID, []byte("the id of a device, not sealed")))
	key := f.Key(t, p.app)

	var load sync.WaitGroup
	stop := make(chan struct{})
	seen := make(chan struct{}, 1)
	load.Go(func() {
		defer close(seen)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := f.Tenants.CreateApplication(context.Background(), f.Account.ID, fmt.Sprint("App", i), tenant.NewIntegration(), "operator:test"); err != nil {
				t.Error(err) // its sealed key is what counts
				return
			}
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	})
	rng := rand.New(rand.NewPCG(1, 2))
	deaths := 0
	for {
		<-seen // some load between two tries
		store := &killable{f.Store, 1 + rng.IntN(8), rng.IntN(2) == 0}
		if deaths >= 12 {
			store.left = 1 << 30
		}
		_, err := f.rotation(store, func() error {
			err := f.Ring.Refresh()
			<-seen // what waits for an hour sees everything end that was begun with the older key
			<-seen
			return err
		}).DataKey(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) {
			t.Error(err)
			break
		}
		deaths++
	}
	close(stop)
	load.Wait()

	keys, err := f.Store.StoredKeys(t.Context())
	must(t, err)
	current := keys[len(keys)-1].ID
	for _, k := range keys {
		if k.Purpose == seal.PurposeSeal && k.RetiredAt.IsZero() != (k.ID == current) {
			t.Errorf("key %d retired: %v, the newest is %d", k.ID, k.RetiredAt, current)
		}
	}
	ring, err := seal.Open(f.Master, slices.DeleteFunc(keys, func(k seal.StoredKey) bool { return !k.RetiredAt.IsZero() }))
	must(t, err)
	for _, column := range f.Store.SealedColumns() {
		n := 0
		for v := range f.sealed(t, column) {
			n++
			if id, _ := seal.KeyID(v.Sealed); id != current {
				t.Errorf("%s is under key %d, want %d", v.Context, id, current)
			}
			if _, err := ring.Open(v.Context, v.Sealed); err != nil {
				t.Errorf("with the new key alone: %v", err)
			}
		}
		if n == 0 {
			t.Errorf("nothing sealed in %s: make this test fill the column, so that its context is tested too", column)
		}
	}
	same(t, "the API key", f.Key(t, p.app), key)
	must(t, f.verify(p, p.code(f.now())))
}

// sealed returns every sealed value of a column.
func (f *fixture) sealed(t *testing.T, column string) func(yield func(seal.Value) bool) {
	return func(yield func(seal.Value) bool) {
		var after any
		for {
			values, err := f.Store.SealedValues(t.Context(), column, after, 100)
			must(t, err)
			if len(values) == 0 {
				return
			}
			for _, v := range values {
				after = v.Row
				if len(v.Sealed) > 0 && !yield(v) {
					return
				}
			}
		}
	}
}

func testMasterKey(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	key := f.Key(t, p.app)
	r := f.rotation(f.Store, f.Ring.Refresh)
	fresh := seal.NewMaster()
	if _, err := r.MasterKey(t.Context(), f.Master); err == nil {
		t.Error("the present master key was taken for a new one")
	}
	n, err := r.MasterKey(t.Context(), fresh)
	must(t, err)
	same(t, "keys wrapped", n, 2)
	same(t, "the API key on a server that still has the former master key", f.Key(t, p.app), key)
	must(t, f.Ring.Refresh())

	keys, err := f.Store.StoredKeys(t.Context())
	must(t, err)
	if _, err := seal.Open(f.Master, keys); !errors.Is(err, seal.ErrWrongMaster) {
		t.Errorf("the former master key alone: %v", err)
	}
	for name, open := range map[string]func() (*seal.Ring, error){
		"the new one":                 func() (*seal.Ring, error) { return seal.Open(fresh, keys) },
		"both, during the change":     func() (*seal.Ring, error) { return seal.Open(f.Master, keys, fresh) },
		"both, the other way around":  func() (*seal.Ring, error) { return seal.Open(fresh, keys, f.Master) },
		"the new one and a wrong one": func() (*seal.Ring, error) { return seal.Open(fresh, keys, seal.NewMaster()) },
	} {
		ring, err := open()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for v := range f.sealed(t, "api_keys.sealed") {
			if plain, err := ring.Open(v.Context, v.Sealed); err != nil || string(plain) != key {
				t.Errorf("%s: opened %q, %v", name, plain, err)
			}
		}
	}
	r.Master = fresh
	_, err = r.DataKey(t.Context()) // and a data key under the new one
	must(t, err)
	wantErr(t, "keys that changed meanwhile", f.Store.RewrapKeys(t.Context(), keys, keys), seal.ErrKeysChanged)
}

func testUnknownKey(t *testing.T, f *fixture) {
	f.follow(t)
	p := f.person(t, "Bank")
	keys, err := f.Store.StoredKeys(t.Context())
	must(t, err)
	other, err := seal.Open(f.Master, keys) // another node, which has the new key already and seals under it
	must(t, err)
	other.Follow(func() ([]seal.StoredKey, error) { return f.Store.StoredKeys(context.Background()) })
	r := f.rotation(&killable{f.Store, 2, true}, f.Ring.Refresh)
	_, err = r.DataKey(t.Context())
	wantErr(t, "killed after its first rows", err, errKilled)
	must(t, other.Refresh())
	sealed := other.Seal("grants.secret:1", []byte("fresh"))
	if id, _ := seal.KeyID(sealed); id != 3 {
		t.Fatalf("sealed under key %d, want the new one", id)
	}
	plain, err := f.Ring.Open("grants.secret:1", sealed)
	if err != nil || string(plain) != "fresh" {
		t.Errorf("the node without the new key opened %q, %v", plain, err)
	}
	if id, _ := seal.KeyID(f.Ring.Seal("a:1", nil)); id != 3 {
		t.Errorf("it seals under key %d after it met the new one", id)
	}
	must(t, f.verify(p, p.code(f.now())))
}

func testSwappedValues(t *testing.T, f *fixture) {
	a, b := f.person(t, "Bank"), f.person(t, "Shop")
	must(t, f.Exec(t.Context(), `UPDATE api_keys SET sealed = (SELECT k.sealed FROM api_keys k WHERE k.app_id = $1) WHERE app_id = $2`, a.app.ID, b.app.ID))
	if key, err := f.Tenants.APIKey(t.Context(), b.app.ID); err == nil {
		t.Errorf("another application's key %q opened", key)
	}
	p, err := f.rotation(f.Store, f.Ring.Refresh).DataKey(t.Context())
	if err == nil {
		t.Errorf("a rotation took the swapped value along: %+v", p)
	}
	keys, err := f.Store.StoredKeys(t.Context())
	must(t, err)
	if i := slices.IndexFunc(keys, func(k seal.StoredKey) bool { return !k.RetiredAt.IsZero() }); i >= 0 {
		t.Errorf("key %d was retired though a value under it was not sealed again", keys[i].ID)
	}
}

func testRetiredKey(t *testing.T, f *fixture) {
	f.follow(t)
	f.person(t, "Bank")
	rotate := func() {
		t.Helper()
		_, err := f.rotation(f.Store, f.Ring.Refresh).DataKey(t.Context())
		must(t, err)
	}
	ids := func() (ids []uint32) {
		keys, err := f.Store.StoredKeys(t.Context())
		must(t, err)
		for _, k := range keys {
			ids = append(ids, k.ID)
		}
		return ids
	}
	rotate()
	same(t, "keys", fmt.Sprint(ids()), "[1 2 3]")
	f.Clock.Advance(23 * time.Hour)
	rotate()
	same(t, "keys within a day", fmt.Sprint(ids()), "[1 2 3 4]")
	f.Clock.Advance(2 * time.Hour)
	rotate()
	same(t, "keys a day later", fmt.Sprint(ids()), "[2 3 4 5]")
}
