package console

import (
	"net/http"
	"strings"
	"testing"
	"time"

	sign "countersign.dev/client/callback"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// The webhook secret is on no page but the answer to showing it, which asks for a fresh proof and is recorded.
func TestWebhookSecretIsShownOnlyWhenAsked(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	app := f.App(t, "Shop")
	uuid := f.furnish(t, app)
	keys, err := f.Tenants.WebhookKeys(t.Context(), app.ID)
	if err != nil {
		t.Fatal(err)
	}
	public, err := sign.WebhookPublicKey(keys[0].Private)
	if err != nil {
		t.Fatal(err)
	}
	secret := keys[0].Secret
	show := "/applications/" + app.ID + "/webhook-secret"
	shown := p.post(t, show, 200)
	mustSay(t, shown, secret, public)
	if shown.Header.Get("Cache-Control") != "no-store" || strings.Contains(shown.body, "whsk_") {
		t.Error("it may be stored, or the private key is on it")
	}
	for _, r := range f.console.routes() {
		if r.method == "GET" && r.path != "/outbox/events" && r.path != "/signin/dev" {
			if page := p.send(t, "GET", at(r.path, app.ID, uuid), nil); strings.Contains(page.body, secret) {
				t.Errorf("the secret is on %s", r.path)
			}
		}
	}
	for range 2 {
		f.Clock.Advance(operator.ProofLife / 2)
		p.get(t, "/", 200)
	}
	asked := p.post(t, show, http.StatusForbidden)
	mustSay(t, asked, "Confirm it is you", "see the webhook secret")
	if strings.Contains(asked.body, secret) || !strings.Contains(asked.body, `action="`+show+`"`) {
		t.Error("the page that asks for a proof has it, or leads elsewhere")
	}
	mustSay(t, p.post(t, show, http.StatusForbidden, "password", password, "code", "000000"), "That did not work")
	mustSay(t, p.post(t, show, 200, "password", password, "code", p.code()), secret)
	f.wantRecords(t, app, "webhook_secret.shown", 2)
}

// wantRecords fails the test unless an operator did that, as often, by the application's record.
func (f *fixture) wantRecords(t *testing.T, app tenant.Application, action string, n int) {
	t.Helper()
	records, err := f.Store.Audit(t.Context(), app.ID, 100)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, rec := range records {
		if rec.Action == action && strings.HasPrefix(rec.Actor, "operator:") {
			found++
		}
	}
	if found != n {
		t.Errorf("%s is recorded %d times, want %d", action, found, n)
	}
}

func TestWebhookSecretRotation(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	to := "/applications/" + app.ID
	mustSay(t, b.get(t, to, 200), "Replace the secret")
	mustSay(t, b.follow(t, to+"/webhook-secret/rotate"), "A new webhook secret signs from now on", "Two sign", "11 May 2026, 10:00:00 UTC", "End the old one now")
	mustSay(t, b.post(t, to+"/webhook-secret", 200), "New", "Old, until 11 May 2026")
	mustSay(t, b.post(t, to+"/webhook-secret/rotate", http.StatusConflict), "end the old one first")
	mustSay(t, b.follow(t, to+"/webhook-secret/end"), "The old webhook secret signs no more.", "Replace the secret")
	mustSay(t, b.post(t, to+"/webhook-secret/end", http.StatusConflict), "no old webhook secret")
	b.post(t, to+"/webhook-secret/rotate", 400, "app", "other")
}

// A delivery is sent again from the list and from its approval; the new try shows up beside the old one.
func TestSendAgain(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	uuid := f.furnish(t, app)
	list, detail := "/applications/"+app.ID+"/callbacks", "/applications/"+app.ID+"/approvals/"+uuid
	for _, page := range []string{list, detail} {
		if !strings.Contains(b.get(t, page, 200).body, `action="`+detail+`/callback"`) {
			t.Errorf("%s has no way to send again", page)
		}
	}
	before := len(f.Jobs.Offered(job.Callback))
	mustSay(t, b.follow(t, detail+"/callback"), "on its way again")
	offered := f.Jobs.Offered(job.Callback)
	if len(offered) != before+1 || offered[before].Ref != uuid || offered[before].AppID != app.ID {
		t.Errorf("offered %+v", offered)
	}
	f.wantRecords(t, app, "callback.sent_again", 1)
	f.Clock.Advance(time.Second)
	f.try(t, app.ID, uuid, 200, "")
	mustSay(t, b.get(t, list, 200), "200 OK", "503 Service Unavailable")

	waiting := f.Ask(t, app, f.User(t, app, "eve@example.com", "202-555-0123"), "Pay?")
	mustSay(t, b.post(t, "/applications/"+app.ID+"/approvals/"+waiting.UUID+"/callback", http.StatusConflict), "Nobody has answered")
	b.post(t, "/applications/"+app.ID+"/approvals/none/callback", 404)
	f.setCallback(t, app, "")
	mustSay(t, b.post(t, detail+"/callback", http.StatusConflict), "no callback address")
	if strings.Contains(b.get(t, list, 200).body, "Send again") {
		t.Error("without an address it is offered to send again")
	}
	f.wantRecords(t, app, "callback.sent_again", 1)
}
