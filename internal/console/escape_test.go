package console

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

// hostile is text that would do something if a page took it for markup, script, style or an address.
var hostile = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`'><svg/onload=alert(1)>`,
	`</title><script>alert(1)</script>`,
	`</textarea><b onclick=alert(1)>`,
	`javascript:alert(1)`,
	`" onfocus=alert(1) x="`,
	`{{printf "%s" "injected"}}`,
	`--><script>alert(1)</script>`,
	`<a href="javascript:alert(1)">x`,
}

// T-60: nothing that was stored becomes markup, wherever it is shown.
func TestStoredTextIsNeverMarkup(t *testing.T) {
	for _, text := range hostile {
		f := newFixture(t)
		b := f.dev(t)
		name := string([]rune(text)[:min(30, len([]rune(text)))])
		app := f.App(t, name, func(s *tenant.Settings) { *s = tenant.DropIn() })
		u := f.User(t, app, "bob@example.com", "202-555-0123")
		phone := f.Phone(t, app, u)
		asked := f.Ask(t, app, u, text, func(r *approval.Request) {
			r.Details = []receipt.Field{{Name: text, Value: text}}
			r.Hidden = []receipt.Field{{Name: text, Value: text}}
		})
		if _, err := phone.Answer(t, asked.UUID, "deny", ""); err != nil {
			t.Fatal(err)
		}
		f.setCallback(t, app, "https://shop.example.com/?q="+text)
		f.try(t, app.ID, asked.UUID, 0, text)
		f.Jobs.Offer(f.Messages.NewJob(app.ID, message.Message{Channel: otp.Channel(text), To: text, Subject: text, Body: text, Code: text}, f.Clock.Now()))
		f.Outbox(t, "")

		for _, r := range f.console.routes() {
			if r.method == "GET" && r.path != "/outbox/events" && r.path != "/signin/dev" && r.path != "/assets/" && !strings.Contains(r.path, "{authy_id}") {
				page := b.get(t, at(r.path, app.ID, asked.UUID), 200)
				harmless(t, r.path, text, page.body)
			}
		}
		user := fmt.Sprintf("/applications/%s/users/%d", app.ID, u.AuthyID)
		told, err := json.Marshal(map[string]string{text: text})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Tenants.RegisterActivity(t.Context(), app, u, tenant.Activity{Type: "banned", Data: told}); err != nil {
			t.Fatal(err)
		}
		page := b.get(t, user, 200)
		mustSay(t, page, string(told))
		harmless(t, "the page of a user", text, page.body)
		harmless(t, "a refused note", text, b.post(t, user+"/reset", 422, "note", strings.Repeat(text+" ", 20)).body)
		harmless(t, "an id that is none", text, b.get(t, "/applications/"+app.ID+"/users?id="+url.QueryEscape(text), 200).body)
		q := url.QueryEscape(text)
		for _, path := range []string{"/outbox?to=" + q, "/signin?next=" + q, "/applications/" + app.ID + "?saved=" + q, "/" + url.PathEscape(text)} {
			harmless(t, path, text, b.send(t, "GET", path, nil).body)
		}
		harmless(t, "a refused address", text, b.post(t, "/applications/"+app.ID+"/callback", 422, "url", text).body)
		harmless(t, "a refused name", text, b.post(t, "/applications", 422, "name", strings.Repeat(text, 3), "defaults", "new").body)
		harmless(t, "a refused sign-in", text, b.post(t, "/signin", 401, "email", text, "password", text, "code", text, "next", text).body)
		harmless(t, "a refused set-up", text, b.post(t, "/setup", 410, "link", text, "email", text, "password", text).body)
	}
}

// harmless fails the test when something of the text stands in the page so that a browser would act on it. No page has any of
// these of its own.
func harmless(t *testing.T, where, text, page string) {
	t.Helper()
	for _, sign := range []string{"<script>", "<img src=x", "<svg/", "<b onclick", `href="javascript:`, `" onfocus=`, `<!--`, "ZgotmplZ", "<no value>"} {
		if at := strings.Index(page, sign); at >= 0 {
			t.Errorf("%s: %q became %s", where, text, page[max(0, at-60):min(len(page), at+80)])
		}
	}
}
