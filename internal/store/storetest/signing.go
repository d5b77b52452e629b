package storetest

import (
	"context"
	"testing"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

// This file tests what signs callbacks by Standard Webhooks, and sending one again.

var signingTests = []test{
	{"many nodes ask for the first webhook secret and get one", testFirstSecret},
	{"of rotations at once one is done", testRotationsAtOnce},
	{"what is sent again", testSendAgain},
}

func testFirstSecret(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	got := make([]string, 16)
	wantTally(t, together(len(got), func(i int) error {
		keys, err := f.Tenants.WebhookKeys(context.Background(), app.ID)
		if err == nil {
			got[i] = keys[0].Secret
		}
		return err
	}), map[error]int{nil: len(got)})
	for _, secret := range got {
		same(t, "the secret", secret, got[0])
	}
	rows, err := f.Rows(t.Context(), "signing_keys")
	must(t, err)
	same(t, "rows", len(rows), 1)
}

func testRotationsAtOnce(t *testing.T, f *fixture) {
	app, other := f.App(t, "Bank"), f.App(t, "Shop")
	before := must1(f.Tenants.WebhookKeys(t.Context(), other.ID))
	_, err := f.Tenants.WebhookKeys(t.Context(), app.ID)
	must(t, err)
	for round := range 2 {
		wantTally(t, together(16, func(int) error {
			return f.Tenants.RotateWebhookKeys(context.Background(), app, "operator:test")
		}), map[error]int{nil: 1, tenant.ErrSecretRotating: 15})
		same(t, "that sign", len(must1(f.Tenants.WebhookKeys(t.Context(), app.ID))), 2)
		f.Clock.Advance(tenant.KeepOldSecret)
		same(t, "that sign later", len(must1(f.Tenants.WebhookKeys(t.Context(), app.ID))), 1)
		rows := must1(f.Rows(t.Context(), "signing_keys WHERE app_id = '"+app.ID+"'"))
		if len(rows) != 2 {
			t.Errorf("round %d: %d rows; what ended goes with the next rotation", round, len(rows))
		}
	}
	after := must1(f.Tenants.WebhookKeys(t.Context(), other.ID))
	if len(after) != 1 || after[0] != before[0] {
		t.Error("another application's secret changed (INV-11)")
	}
}

func testSendAgain(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	must(t, f.Store.Delivered(t.Context(), d.job, d.try(d.job, 200), d.callback(t).Version))
	again := func(app tenant.Application, uuid string) error {
		j := job.New(job.Callback, app.ID, uuid, f.now())
		jobs, err := f.Store.SendAgain(t.Context(), j, f.rec(app))
		if err == nil {
			same(t, "the job", len(jobs), 1)
			same(t, "its id", jobs[0].ID, j.ID)
		}
		return err
	}
	must(t, again(d.app, d.job.Ref))
	claimed, err := f.Store.ClaimJobs(t.Context(), f.now().Add(job.Lease), f.now().Add(2*job.Lease), 10)
	must(t, err)
	n := 0
	for _, j := range claimed {
		if j.Kind == job.Callback && j.Ref == d.job.Ref && j.AppID == d.app.ID {
			n++
		}
	}
	same(t, "callback jobs", n, 1)
	pending := f.create(t, f.creation(d.person, 0))
	wantErr(t, "pending", again(d.app, pending.UUID), callback.ErrNotAnswered)
	wantErr(t, "unknown", again(d.app, "none"), approval.ErrUnknown)
	wantErr(t, "another application", again(f.App(t, "Shop"), d.job.Ref), approval.ErrUnknown)
	d.disable(t)
	wantErr(t, "disabled", again(d.app, d.job.Ref), callback.ErrNoAddress)
	records := must1(f.Store.Audit(t.Context(), d.app.ID, 100))
	done := 0
	for _, rec := range records {
		if rec.Action == "test.done" {
			done++
		}
	}
	same(t, "records of a callback sent again, and of its address", done, 2)
}
