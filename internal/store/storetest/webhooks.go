package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

// This file tests who is told of events, and that nobody is told of what did not happen.

var webhookTests = []test{
	{"INV-10 an event is told with its record or not at all", testToldWithItsRecord},
	{"of webhooks and access keys made at once none is too many", testNoneTooMany},
	{"of failures at once one pauses", testOnePauses},
	{"the last tries, and one event once more", testWebhookTries},
}

func (f *fixture) hook(t *testing.T, p person, events ...string) webhook.Webhook {
	t.Helper()
	w, err := f.Webhooks.Create(t.Context(), p.app, "first", "https://bank.example/hook", events, "operator:test")
	must(t, err)
	return w
}

func testToldWithItsRecord(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	one, two := f.hook(t, p, "user_removed", "token_invalid"), f.hook(t, p, "user_removed")
	rows := func() int { return len(must1(f.Rows(t.Context(), "jobs WHERE kind = 'webhook'"))) }
	f.without(t, "audit", func() {
		if err := f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID); fault.KindOf(err) != fault.Internal {
			t.Errorf("removed without a record: %v", err)
		}
	})
	same(t, "jobs without a record", rows(), 0)
	f.without(t, "jobs", func() {
		if err := f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID); fault.KindOf(err) != fault.Internal {
			t.Errorf("removed without telling: %v", err)
		}
	})
	same(t, "offered", len(f.Jobs.Offered(job.Webhook)), 0)
	_ = f.verify(p, "0") // its record is written in a savepoint
	must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID))
	counts := map[string]int{}
	for _, j := range f.Jobs.Offered(job.Webhook) {
		counts[j.AppID]++
		w, app, rec, err := f.Store.Telling(t.Context(), j.AppID, j.Ref)
		must(t, err)
		if w.ID != j.AppID || app.ID != p.app.ID || rec.ID != j.Ref || rec.AppID != p.app.ID || j.Attempts != 1 || !j.RunAt.Equal(f.now().Add(job.Lease)) {
			t.Errorf("%+v is about %+v of %s by %+v", j, rec, app.ID, w)
		}
	}
	if counts[one.ID] != 2 || counts[two.ID] != 1 || len(counts) != 2 {
		t.Errorf("offered %v", counts)
	}
	same(t, "jobs", rows(), 3)
	if _, _, _, err := f.Store.Telling(t.Context(), "WH_none", "none"); err != webhook.ErrUnknown {
		t.Errorf("none: %v", err)
	}
}

func testNoneTooMany(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	wantTally(t, together(webhook.MaxKeys+3, func(int) error {
		_, err := f.Webhooks.NewAccessKey(context.Background(), p.app, "operator:test")
		return err
	}), map[error]int{nil: webhook.MaxKeys, webhook.ErrKeysMany: 3})
	made := 0
	for _, err := range together(webhook.Max+3, func(i int) error {
		_, err := f.Webhooks.Create(context.Background(), p.app, fmt.Sprint(i), "https://bank.example/hook", []string{"user_added", "user_removed"}, "operator:test")
		return err
	}) {
		if err == nil {
			made++
		} else if fault.KindOf(err) != fault.Invalid {
			t.Error(err)
		}
	}
	all := must1(f.Webhooks.List(t.Context(), p.app))
	if made != webhook.Max || len(all) != webhook.Max || len(all[0].Events) != 2 {
		t.Errorf("%d made, %d there: %+v", made, len(all), all)
	}
	for _, w := range all {
		must(t, f.Webhooks.Remove(t.Context(), p.app, w.ID, "operator:test"))
	}
	same(t, "events left", len(must1(f.Rows(t.Context(), "webhook_events"))), 0)
}

// testWebhookTries: of each webhook the last tries are kept, nobody else's are told, and they go with it.
func testWebhookTries(t *testing.T, f *fixture) {
	p, other := f.person(t, "Bank", patient), f.App(t, "Shop")
	w := f.hook(t, p, "token_invalid")
	_ = f.verify(p, "0")
	told := f.Jobs.Offered(job.Webhook)[0]
	for i := range webhook.MaxTries + 3 {
		f.Clock.Advance(time.Millisecond)
		try := webhook.Try{ID: ident.New(f.now()), WebhookID: w.ID, RecordID: told.Ref, Event: "token_invalid", At: f.now(), Status: 200, Took: time.Millisecond}
		if i%2 == 1 {
			try.Status, try.Error = 0, "no answer"
			_ = must1(f.Store.NotTold(t.Context(), told, webhook.Failure{Try: try, At: f.now(), Next: f.now(), Before: f.now().Add(-webhook.FailFor)}))
			continue
		}
		must(t, f.Store.Told(t.Context(), told, try))
	}
	tries := must1(f.Webhooks.Tries(t.Context(), p.app))
	if len(tries) != webhook.MaxTries || !tries[0].At.Equal(f.now()) || tries[0].Error != "" || tries[1].Error != "no answer" || tries[0].Took != time.Millisecond {
		t.Errorf("%d tries: %+v", len(tries), tries)
	}
	same(t, "tries of another application", len(must1(f.Webhooks.Tries(t.Context(), other))), 0)

	again := func(app tenant.Application, id, record string) error {
		return f.Webhooks.Again(t.Context(), app, id, record, "operator:test")
	}
	wantErr(t, "again, by another application", again(other, w.ID, told.Ref), webhook.ErrUnknown)
	wantErr(t, "an event that nobody knows", again(p.app, w.ID, "nothing"), webhook.ErrEvent)
	foreign := f.hook(t, person{app: other}, "user_added")
	wantErr(t, "another application's event", again(other, foreign.ID, told.Ref), webhook.ErrEvent)
	wantErr(t, "again", again(p.app, w.ID, told.Ref), nil)
	wantErr(t, "and again", again(p.app, w.ID, told.Ref), nil)
	same(t, "jobs", len(must1(f.Rows(t.Context(), "jobs WHERE kind = 'webhook'"))), 2)
	same(t, "records", len(must1(f.Rows(t.Context(), "audit WHERE action = 'webhook.sent_again'"))), 2)
	must(t, f.Exec(t.Context(), "UPDATE webhooks SET paused_at = 1 WHERE id = $1", w.ID))
	wantErr(t, "while it is paused", again(p.app, w.ID, told.Ref), webhook.ErrPaused)

	must(t, f.Webhooks.Remove(t.Context(), p.app, w.ID, "operator:test"))
	same(t, "tries left", len(must1(f.Rows(t.Context(), "webhook_tries"))), 0)
	must(t, f.Store.Told(t.Context(), told, webhook.Try{ID: "late", WebhookID: w.ID, At: f.now()})) // of a webhook that is gone
	same(t, "tries of nobody", len(must1(f.Rows(t.Context(), "webhook_tries"))), 0)
}

func testOnePauses(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	w := f.hook(t, p, "token_invalid")
	for range 3 {
		_ = f.verify(p, "0")
	}
	jobs := f.Jobs.Offered(job.Webhook)
	same(t, "jobs", len(jobs), 3)
	fail := func(j job.Job) ([]job.Job, error) {
		now := f.now()
		return f.Store.NotTold(context.Background(), j, webhook.Failure{
			Try: webhook.Try{ID: ident.New(now), WebhookID: w.ID, RecordID: j.Ref, Event: "token_invalid", At: now, Error: "no answer"},
			At:  now, Next: now.Add(time.Second), Before: now.Add(-webhook.FailFor),
			Mail: func(owner string) job.Job {
				return f.Messages.WebhookPausedJob(p.app, owner, w.Name, w.URL, "no answer", now)
			},
			Record: audit.New(now, p.app.ID, "system", "webhook.paused", "webhook:"+w.ID),
		})
	}
	_, err := fail(jobs[0])
	must(t, err)
	f.Clock.Advance(webhook.FailFor)
	mails := make([]int, len(jobs))
	wantTally(t, together(len(jobs), func(i int) error {
		sent, err := fail(jobs[i])
		mails[i] = len(sent)
		return err
	}), map[error]int{nil: len(jobs)})
	same(t, "mails", mails[0]+mails[1]+mails[2], 1)
	same(t, "held", len(must1(f.Rows(t.Context(), "jobs WHERE kind = 'webhook' AND held_until > 0"))) > 0, true)
	same(t, "records", len(must1(f.Rows(t.Context(), "audit WHERE action = 'webhook.paused'"))), 1)
}
