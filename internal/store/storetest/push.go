package storetest

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/job"
	"countersign.dev/internal/notify"
)

// This file tests Web Push: its keys, subscriptions and jobs.

var pushTests = []test{
	{"one first key for all nodes", testFirstPushKey},
	{"keys rotated at once", testPushKeysAtOnce},
	{"a job for each subscribed device, with the approval", testPushJobs},
	{"late news of an older subscription", testPushNews},
	{"T-10 repeated notifications", testRenotify},
}

// testFirstPushKey: however many nodes start at once, devices subscribe with one key.
func testFirstPushKey(t *testing.T, f *fixture) {
	var started sync.WaitGroup
	keys := make([]notify.StoredKey, 8)
	for i := range keys {
		started.Go(func() {
			k, err := f.Store.PushKey(t.Context(), f.now(), func(id int64) notify.StoredKey { return notify.StoredKey{ID: id, Sealed: []byte{byte(i)}} })
			if err != nil {
				t.Error(err)
			}
			keys[i] = k
		})
	}
	started.Wait()
	for _, k := range keys {
		if k.ID != 1 || string(k.Sealed) != string(keys[0].Sealed) {
			t.Errorf("key %+v beside %+v", k, keys[0])
		}
	}
	rows, err := f.Rows(t.Context(), "push_keys")
	must(t, err)
	if len(rows) != 1 {
		t.Errorf("%d keys", len(rows))
	}
}

// testPushKeysAtOnce: whoever rotates the key while another process does waits, and adds one more.
func testPushKeysAtOnce(t *testing.T, f *fixture) {
	const n = 8
	errs := together(n, func(int) error {
		return f.Store.AddPushKey(context.Background(), f.now(), func(id int64) notify.StoredKey { return notify.StoredKey{ID: id, Sealed: []byte{byte(id)}} },
			audit.New(f.now(), "", "operator", "push.key_rotated", "push_key"))
	})
	wantTally(t, errs, map[error]int{nil: n})
	newest, err := f.Store.PushKey(t.Context(), f.now(), nil)
	must(t, err)
	same(t, "newest key", newest.ID, n)
}

// testPushJobs: jobs commit with the approval, none with one that is refused or was made before.
func testPushJobs(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	second := f.Phone(t, p.app, p.user)
	f.Phone(t, p.app, p.user) // not subscribed
	f.Subscribed(t, p.phone, "https://fcm.googleapis.com/1")
	f.Subscribed(t, second, "https://fcm.googleapis.com/2")
	c := f.creation(p, time.Minute)
	c.Push = func(deviceID string) job.Job { return notify.JobFor(c.AppID, c.UUID, deviceID, f.now()) }
	_, jobs, err := f.Store.CreateApproval(t.Context(), c, f.rec(p.app))
	must(t, err)
	told := map[string]bool{}
	for _, j := range jobs {
		told[string(j.Payload)] = true
	}
	if len(jobs) != 2 || !told[p.phone.Device.ID] || !told[second.Device.ID] {
		t.Errorf("jobs %+v", jobs)
	}
	f.Clock.Advance(job.Lease)
	kept, err := f.Store.ClaimJobs(t.Context(), f.now(), f.now().Add(job.Lease), 10)
	must(t, err)
	if len(kept) != 2 || kept[0].Kind != job.Push || kept[0].Ref != c.UUID {
		t.Errorf("kept %+v", kept)
	}
	refused := f.creation(p, time.Minute)
	refused.Push, refused.Settings.WaitingMax = c.Push, 0
	if _, jobs, err := f.Store.CreateApproval(t.Context(), refused, f.rec(p.app)); err == nil || len(jobs) > 0 {
		t.Errorf("refused, but %+v, %v", jobs, err)
	}
	off := f.creation(p, time.Minute)
	_, jobs, err = f.Store.CreateApproval(t.Context(), off, f.rec(p.app))
	must(t, err)
	if len(jobs) > 0 {
		t.Errorf("switched off, but %+v", jobs)
	}
}

func testPushNews(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	f.Subscribed(t, p.phone, "https://fcm.googleapis.com/1")
	asked := f.Ask(t, p.app, p.user, "Log in?")
	older, ok, err := f.Store.Subscription(t.Context(), p.phone.Device.ID)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	f.Clock.Advance(time.Second)
	f.Subscribed(t, p.phone, "https://fcm.googleapis.com/2")
	j := f.Jobs.Offered(job.Push)[0]
	must(t, f.Store.PushDelayed(t.Context(), j, older.ID, f.now().Add(time.Minute), f.now().Add(time.Second)))
	d, err := f.Store.PushDelivery(t.Context(), asked.UUID, p.phone.Device.ID, f.now())
	must(t, err)
	if !d.QuietUntil.IsZero() || d.Subscription.ID == older.ID {
		t.Errorf("what the older subscription's service asked for holds for the newer one: %+v", d)
	}
	must(t, f.Store.PushDelayed(t.Context(), j, d.Subscription.ID, f.now().Add(time.Minute), f.now().Add(time.Second)))
	must(t, f.Store.PushDelayed(t.Context(), j, d.Subscription.ID, f.now().Add(time.Second), f.now().Add(time.Second)))
	if d, err = f.Store.PushDelivery(t.Context(), asked.UUID, p.phone.Device.ID, f.now()); err != nil || !d.QuietUntil.Equal(f.now().Add(time.Minute)) {
		t.Errorf("quiet until %v, %v", d.QuietUntil, err)
	}
	for _, sub := range []notify.StoredSubscription{older, d.Subscription} {
		must(t, f.Store.PushGone(t.Context(), j, sub, f.rec(p.app)))
		if _, ok, err := f.Store.Subscription(t.Context(), p.phone.Device.ID); err != nil || ok != (sub.ID == older.ID) {
			t.Errorf("subscribed %v, %v", ok, err)
		}
	}
}

// testRenotify: of many who ask at once one is heard, and in the end none.
func testRenotify(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	asked := f.Ask(t, p.app, p.user, "Log in?")
	for round := range approval.RenotifyMax + 1 {
		f.Clock.Advance(approval.RenotifyPause)
		var heard atomic.Int64
		var asking sync.WaitGroup
		for range 16 {
			asking.Go(func() {
				_, err := f.Approvals.Renotify(t.Context(), p.app, asked.UUID)
				if err == nil {
					heard.Add(1)
				} else {
					wantErr(t, "one of many", err, approval.ErrRenotified)
				}
			})
		}
		asking.Wait()
		want := int64(1)
		if round == approval.RenotifyMax {
			want = 0
		}
		if heard.Load() != want {
			t.Errorf("round %d: %d were heard", round, heard.Load())
		}
	}
	f.Clock.Advance(time.Hour)
	_, err := f.Approvals.Renotify(t.Context(), p.app, asked.UUID)
	wantErr(t, "after its end", err, approval.ErrNotPending)
	_, err = f.Approvals.Renotify(t.Context(), p.app, "nothing")
	wantErr(t, "nothing", err, approval.ErrUnknown)
}
