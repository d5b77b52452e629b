package console

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"countersign.dev/internal/tenant/operator"
)

// linkOn is the token of the link that a page shows.
func linkOn(t *testing.T, page answer) string {
	t.Helper()
	found := regexp.MustCompile(`id="setup-link">` + regexp.QuoteMeta(publicURL) + `/setup#([A-Za-z0-9_-]{43})<`).FindStringSubmatch(page.body)
	if found == nil {
		t.Fatal("no link on the page: ", page.text())
	}
	return found[1]
}

// One operator invites another, sets them up anew and removes them; each act takes a fresh proof, is done once it is there, and is on the record.
func TestOperators(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	mustSay(t, p.get(t, "/account", 200), "Operators", email, "You", "Invite an operator")
	for range 2 {
		f.Clock.Advance(operator.ProofLife / 2)
		p.get(t, "/", 200)
	}
	mail := []string{"email", "ben@example.com"}
	asked := p.post(t, "/operators/invite", http.StatusForbidden, mail...)
	mustSay(t, asked, "Confirm it is you", "invite an operator", "ben@example.com")
	if !strings.Contains(asked.body, `action="/operators/invite"`) || !strings.Contains(asked.body, `href="/account"`) {
		t.Error("the proof leads elsewhere")
	}
	made := p.post(t, "/operators/invite", 200, append(mail, "password", password, "code", p.code())...)
	mustSay(t, made, "An invitation for ben@example.com", "shown only now")
	if made.Header.Get("Cache-Control") != "no-store" {
		t.Error("the link may be stored")
	}
	token := linkOn(t, made)
	if strings.Contains(p.get(t, "/account", 200).body, token) {
		t.Error("the link is shown again")
	}

	ben := &person{browser: f.browser()}
	mustSay(t, ben.post(t, "/setup", 422, "link", token, "email", "eve@example.com", "password", password), "made for another e-mail address")
	page := ben.post(t, "/setup", 200, "link", token, "email", "ben@example.com", "password", password)
	ben.secret = secretOn(t, page)
	ben.post(t, "/setup/confirm", http.StatusSeeOther, "sealed", sealedOn(t, page), "code", ben.code())
	mustSay(t, ben.get(t, "/account", 200), email, "ben@example.com", "operator.invited")
	mustSay(t, p.post(t, "/operators/invite", 422, mail...), "has that e-mail address already")
	mustSay(t, p.post(t, "/operators/invite", 422, "email", "ben"), "not an e-mail address")
	mustSay(t, p.post(t, "/operators/reset", 422, "email", "eve@example.com"), "no operator with that e-mail address")

	made = p.post(t, "/operators/reset", 200, mail...)
	mustSay(t, made, "A link to set ben@example.com up anew", "the old password and app work")
	ben.get(t, "/account", 200)
	again := &person{browser: f.browser()}
	page = again.post(t, "/setup", 200, "link", linkOn(t, made), "email", "ben@example.com", "password", "another horse battery")
	again.secret = secretOn(t, page)
	again.post(t, "/setup/confirm", http.StatusSeeOther, "sealed", sealedOn(t, page), "code", again.code())
	ben.get(t, "/account", http.StatusSeeOther) // signed out
	again.get(t, "/account", 200)

	p.post(t, "/operators/remove", http.StatusSeeOther, mail...)
	again.get(t, "/account", http.StatusSeeOther)
	page = p.get(t, "/account?removed", 200)
	mustSay(t, page, "was removed", "operator.removed", "operator.reset")
	if strings.Contains(page.body, `value="ben@example.com"`) {
		t.Error("the removed operator is listed")
	}
	mustSay(t, p.post(t, "/operators/remove", 422, "email", email), "only operator")
	p.post(t, "/operators/remove", 400, "email", email, "id", "1")
}
