package console

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/internal/webhook"
)

// hooks are the application's webhooks.
func (f *fixture) hooks(t *testing.T, app string) []webhook.Webhook {
	t.Helper()
	all, err := f.Store.Webhooks(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// From the first webhook to none: made, shown, paused, resumed, removed.
func TestWebhooks(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	to := "/applications/" + app.ID + "/webhooks"
	mustSay(t, b.get(t, to, 200), "No webhooks yet", "token_verified", "phone_change_requested", "Make an access key")
	refused := b.post(t, to, http.StatusUnprocessableEntity, "name", "first", "url", "ftp://x", "user_added", "on")
	mustSay(t, refused, "an absolute http or https address")
	if !strings.Contains(refused.body, `value="first"`) || !strings.Contains(refused.body, `name="user_added" value="on" checked`) {
		t.Error("what was filled in is lost")
	}
	b.post(t, to, 400, "name", "first", "url", "https://shop.example/hook", "lunch", "on")
	mustSay(t, b.follow(t, to, "name", "first", "url", "https://shop.example/hook", "user_added", "on", "user_phone_changed", "on"),
		"is told of its events from now on", "https://shop.example/hook", "user_added , user_phone_changed", "Nothing yet")
	hook := f.hooks(t, app.ID)[0]
	key, err := f.Webhooks.SigningKey(hook)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.get(t, to, 200).body, key) {
		t.Error("the signing key is shown unasked")
	}
	shown := b.post(t, to+"/"+hook.ID+"/key", 200)
	mustSay(t, shown, key)
	if shown.Header.Get("Cache-Control") != "no-store" {
		t.Error("the signing key may be stored")
	}
	f.wantRecords(t, app, "webhook_key.shown", 1)

	f.User(t, app, "ana@example.com", "202-555-0123")
	j := f.Jobs.Offered(job.Webhook)[0]
	fail := func(after time.Duration) {
		now := f.Clock.Now().Add(after)
		_, err := f.Store.NotTold(t.Context(), j, webhook.Failure{
			Try: webhook.Try{ID: ident.New(now), WebhookID: hook.ID, RecordID: j.Ref, Event: "user_added", At: now, Error: "no answer <within> 10 seconds"},
			At:  now, Before: now.Add(-webhook.FailFor),
			Mail: func(owner string) job.Job {
				return f.Messages.WebhookPausedJob(app, owner, hook.Name, hook.URL, "no answer", now)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	fail(0)
	mustSay(t, b.get(t, to, 200), "Failing", "no answer <within> 10 seconds")
	b.post(t, to+"/"+hook.ID+"/resume", http.StatusConflict)
	mustSay(t, b.get(t, to, 200), "Last tries", "No answer", "user_added", "Send again")
	before := len(f.Jobs.Offered(job.Webhook))
	mustSay(t, b.follow(t, to+"/"+hook.ID+"/events/"+j.Ref), "The event is on its way again")
	if jobs := f.Jobs.Offered(job.Webhook)[before:]; len(jobs) != 1 || jobs[0].Ref != j.Ref || jobs[0].AppID != hook.ID {
		t.Errorf("sent again: %+v", jobs)
	}
	b.post(t, to+"/"+hook.ID+"/events/nothing", 404)
	fail(webhook.FailFor)
	mustSay(t, b.get(t, to, 200), "Paused", "nothing was taken for an hour", "held for 24 hours")
	mustSay(t, b.follow(t, to+"/"+hook.ID+"/resume"), "told of events again", "Nothing yet")
	mustSay(t, b.follow(t, to+"/"+hook.ID+"/remove"), "The webhook is gone", "No webhooks yet")
	b.post(t, to+"/"+hook.ID+"/remove", 404)
	b.post(t, to+"/"+hook.ID+"/key", 404)
}

// An access key is on the page that answers its making, and on no other.
func TestAccessKeys(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	in := "/applications/" + app.ID
	made := b.post(t, in+"/access-keys", 200)
	mustSay(t, made, "It is not shown again", "access_key", "api_signing_key")
	keys, err := f.Webhooks.AccessKeys(t.Context(), app)
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	again := b.get(t, in+"/webhooks", 200)
	mustSay(t, again, keys[0].ID)
	if strings.Contains(again.body, `id="access-key"`) {
		t.Error("it is shown again")
	}
	for range webhook.MaxKeys - 1 {
		b.post(t, in+"/access-keys", 200)
	}
	b.post(t, in+"/access-keys", http.StatusConflict)
	if strings.Contains(b.get(t, in+"/webhooks", 200).body, "Make an access key") {
		t.Error("a sixth is offered")
	}
	mustSay(t, b.follow(t, in+"/access-keys/"+keys[0].ID+"/end"), "The access key has ended.", "Make an access key")
	b.post(t, in+"/access-keys/"+keys[0].ID+"/end", 404)
	f.wantRecords(t, app, "access_key.added", webhook.MaxKeys)
}

// T-53: making a webhook or an access key, and seeing a signing key, asks for a fresh proof, and keeps what was filled in.
func TestT53WebhooksAskForAProof(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	app := f.App(t, "Shop")
	in := "/applications/" + app.ID
	hook, err := f.Webhooks.Create(t.Context(), app, "first", "https://shop.example/hook", []string{"user_added"}, "operator:test")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		f.Clock.Advance(operator.ProofLife / 2)
		p.get(t, "/", 200)
	}
	form := url.Values{"name": {"second"}, "url": {"https://shop.example/2"}, "user_removed": {"on"}}
	asked := p.send(t, "POST", in+"/webhooks", form)
	if asked.StatusCode != http.StatusForbidden || !strings.Contains(asked.body, `name="user_removed" value="on"`) || len(f.hooks(t, app.ID)) != 1 {
		t.Errorf("%d %s", asked.StatusCode, asked.text())
	}
	mustSay(t, p.post(t, in+"/webhooks/"+hook.ID+"/key", http.StatusForbidden), "see the signing key")
	mustSay(t, p.post(t, in+"/access-keys", http.StatusForbidden), "make an access key")
	f.Clock.Advance(time.Minute)
	form.Set("password", password)
	form.Set("code", p.code())
	if a := p.send(t, "POST", in+"/webhooks", form); a.StatusCode != http.StatusSeeOther || len(f.hooks(t, app.ID)) != 2 {
		t.Errorf("%d %s", a.StatusCode, a.text())
	}
}
