package console

import (
	"net/http"
	"strings"
	"testing"

	sign "countersign.dev/client/callback"
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
