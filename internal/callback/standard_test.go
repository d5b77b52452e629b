package callback_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sign "countersign.dev/client/callback"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/tenant"
)

// This file tests what Standard Webhooks asks of the sender: one id for one event in all of its tries, and rotation without a lost event.

// webhookKeys is what signs the application's callbacks now, newest first.
func (r *rig) webhookKeys(t *testing.T) []tenant.WebhookKeys {
	t.Helper()
	keys, err := r.Tenants.WebhookKeys(t.Context(), r.app.ID)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// checked is the id of an event that each of the keys, alone, finds to be signed.
func checked(t *testing.T, got arrival, now time.Time, keys ...string) (id string) {
	t.Helper()
	for _, key := range keys {
		var err error
		if id, err = sign.VerifyWebhook([]string{key}, got.Header, []byte(got.body), now, sign.DefaultWindow); err != nil {
			t.Errorf("%.6s: %v, headers %v", key, err, got.Header)
		}
	}
	return id
}

func public(t *testing.T, k tenant.WebhookKeys) string {
	t.Helper()
	key, err := sign.WebhookPublicKey(k.Private)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Each try of one decision has the same id, the time of that try, and both kinds of signature over the body as sent (T-15).
func TestStandardHeaders(t *testing.T) {
	r := newRig(t)
	status := http.StatusBadGateway
	rc := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	r.setCallback(t, rc.URL)
	a, j := r.decide(t)
	r.deliver(t, j)
	first := <-rc.got
	keys := r.webhookKeys(t)
	if len(keys) != 1 || !strings.HasPrefix(keys[0].Secret, "whsec_") {
		t.Fatalf("%d keys", len(keys))
	}
	if id := checked(t, first, r.Clock.Now(), keys[0].Secret, public(t, keys[0])); id != "msg_"+a.UUID {
		t.Errorf("id %q", id)
	}
	status = http.StatusOK
	r.deliver(t, r.due(t, 2*time.Second))
	second := <-rc.got
	checked(t, second, r.Clock.Now(), keys[0].Secret, public(t, keys[0]))
	at := func(got arrival) string { return got.Header.Get(sign.HeaderWebhookTimestamp) }
	if first.Header.Get(sign.HeaderWebhookID) != second.Header.Get(sign.HeaderWebhookID) || at(first) == at(second) || at(second) != fmt.Sprint(r.Clock.Now().Unix()) {
		t.Errorf("ids %v, %v", first.Header, second.Header)
	}
	if other := r.App(t, "Shop"); r.signedBy(t, second, other) {
		t.Error("another application's secret fits (INV-11)")
	}
}

// signedBy reports whether an application's secret signed the event.
func (r *rig) signedBy(t *testing.T, got arrival, app tenant.Application) bool {
	t.Helper()
	keys, err := r.Tenants.WebhookKeys(t.Context(), app.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = sign.VerifyWebhook([]string{keys[0].Secret, public(t, keys[0])}, got.Header, []byte(got.body), r.Clock.Now(), sign.DefaultWindow)
	return err == nil
}

// A GET has no body to sign, so it has no such headers either.
func TestGetHasNoStandardHeaders(t *testing.T) {
	r := newRig(t)
	rc := newReceiver(t, always(http.StatusOK))
	r.setCallbackByGet(t, rc.URL)
	_, j := r.decide(t)
	r.deliver(t, j)
	if got := <-rc.got; got.Header.Get(sign.HeaderWebhookID)+got.Header.Get(sign.HeaderWebhookSignature) != "" {
		t.Errorf("headers %v", got.Header)
	}
}

// A receiver that changes over at any moment of a rotation loses nothing, and what ended signs no more.
func TestSecretRotation(t *testing.T) {
	r := newRig(t)
	rc := newReceiver(t, always(http.StatusOK))
	r.setCallback(t, rc.URL)
	arrived := func() arrival {
		t.Helper()
		_, j := r.decide(t)
		r.deliver(t, j)
		return <-rc.got
	}
	old := r.webhookKeys(t)[0]
	rotate := func() error { return r.Tenants.RotateWebhookKeys(t.Context(), r.app, "operator:test") }
	end := func() error { return r.Tenants.EndOldWebhookKeys(t.Context(), r.app, "operator:test") }
	if err := end(); !errors.Is(err, tenant.ErrSecretNotRotating) {
		t.Errorf("ending the only one: %v", err)
	}
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	keys := r.webhookKeys(t)
	if len(keys) != 2 || keys[0].Secret == old.Secret || keys[1].Secret != old.Secret || !keys[1].EndsAt.Equal(r.Clock.Now().Add(tenant.KeepOldSecret)) {
		t.Fatalf("%+v", keys)
	}
	got := arrived()
	checked(t, got, r.Clock.Now(), old.Secret, public(t, old), keys[0].Secret, public(t, keys[0]))
	if n := len(strings.Split(got.Header.Get(sign.HeaderWebhookSignature), " ")); n != 4 {
		t.Errorf("%d signatures", n)
	}
	if err := rotate(); !errors.Is(err, tenant.ErrSecretRotating) {
		t.Errorf("rotating twice: %v", err)
	}
	r.Clock.Advance(tenant.KeepOldSecret)
	if left := r.webhookKeys(t); len(left) != 1 || left[0].Secret != keys[0].Secret {
		t.Errorf("after its time: %+v", left)
	}
	if _, err := sign.VerifyWebhook([]string{old.Secret, public(t, old)}, arrived().Header, nil, r.Clock.Now(), time.Hour); !errors.Is(err, sign.ErrSignature) {
		t.Errorf("the old one still signs: %v", err)
	}
	if err := rotate(); err != nil {
		t.Fatal(err)
	}
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if left := r.webhookKeys(t); len(left) != 1 || left[0].Secret == keys[0].Secret {
		t.Errorf("after the end: %+v", left)
	}
	r.recorded(t, "webhook_secret.rotated", 2)
	r.recorded(t, "webhook_secret.ended", 1)
}

// recorded fails the test unless the application's audit record tells of an action that often (INV-10).
func (r *rig) recorded(t *testing.T, action string, n int) {
	t.Helper()
	records, err := r.Store.Audit(t.Context(), r.app.ID, 1000)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, rec := range records {
		if rec.Action == action && rec.Actor == "operator:test" {
			found++
		}
	}
	if found != n {
		t.Errorf("%s is recorded %d times, want %d", action, found, n)
	}
}

// What an operator sends again is a new try of the same event, to the address of now.
func TestSentAgain(t *testing.T) {
	r := newRig(t)
	first, second := newReceiver(t, always(http.StatusOK)), newReceiver(t, always(http.StatusOK))
	r.setCallback(t, first.URL)
	a, j := r.decide(t)
	r.deliver(t, j)
	before := <-first.got
	r.setCallback(t, second.URL)
	r.Clock.Advance(72 * time.Hour)
	again := func(app tenant.Application, uuid string) error {
		return r.worker.Again(t.Context(), app, uuid, "operator:test")
	}
	if err := again(r.app, a.UUID); err != nil {
		t.Fatal(err)
	}
	offered := r.Jobs.Offered("callback")
	r.deliver(t, offered[len(offered)-1])
	after := <-second.got
	id := checked(t, after, r.Clock.Now(), r.webhookKeys(t)[0].Secret)
	if id != before.Header.Get(sign.HeaderWebhookID) || after.body != before.body {
		t.Errorf("id %q and body\n%s\nbefore %q and\n%s", id, after.body, before.Header.Get(sign.HeaderWebhookID), before.body)
	}
	if event, err := r.verifier(t, second.URL).Verify(after.Request); err != nil || event.UUID != a.UUID {
		t.Errorf("by the old headers: %+v, %v", event, err)
	}
	urls := []string{}
	for _, try := range r.tries(t) {
		urls = append(urls, try.URL)
	}
	if !slices.Equal(urls, []string{second.URL, first.URL}) {
		t.Errorf("tries to %v", urls)
	}
	r.recorded(t, "callback.sent_again", 1)

	pending := r.Ask(t, r.app, r.ana, "Not yet")
	for what, err := range map[string][2]error{
		"pending":             {again(r.app, pending.UUID), callback.ErrNotAnswered},
		"unknown":             {again(r.app, "no-such"), approval.ErrUnknown},
		"another application": {again(r.App(t, "Shop"), a.UUID), approval.ErrUnknown},
	} {
		if !errors.Is(err[0], err[1]) {
			t.Errorf("%s: %v, want %v", what, err[0], err[1])
		}
	}
	r.setCallback(t, "")
	if err := again(r.app, a.UUID); !errors.Is(err, callback.ErrNoAddress) {
		t.Errorf("without an address: %v", err)
	}
	r.recorded(t, "callback.sent_again", 1)
}

// A receiver that asks for time gets it, up to an hour, and never less than the schedule has; what it asks is no other strike.
func TestRetryAfter(t *testing.T) {
	for asked, wait := range map[string][2]time.Duration{
		"120":                           {2*time.Minute - time.Second, 2*time.Minute + time.Second},
		"Mon, 04 May 2026 10:05:00 GMT": {5*time.Minute - time.Second, 5*time.Minute + time.Second},
		"999999":                        {time.Hour - time.Second, time.Hour + time.Second},
		"0":                             {time.Second / 2, 2 * time.Second},
		"soon":                          {time.Second / 2, 2 * time.Second},
	} {
		r := newRig(t)
		rc := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", asked)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		r.setCallback(t, rc.URL)
		_, j := r.decide(t)
		r.deliver(t, j)
		r.Clock.Advance(wait[0])
		if early := r.claim(t); len(early) != 0 {
			t.Errorf("%s: tried again before %v", asked, wait[0])
		}
		r.due(t, wait[1]-wait[0])
		if strikes := r.application(t).Callback.Strikes; strikes != 1 {
			t.Errorf("%s: %d strikes", asked, strikes)
		}
	}
}
