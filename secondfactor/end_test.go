// This file owns the tests of how attempts end, and of what browsers of other origins and old cookies can do.

package secondfactor_test

import (
	"html/template"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

func TestD14_EveryAttemptEnds(t *testing.T) {
	for _, c := range []struct {
		name  string
		after time.Duration
		state string
		body  string
	}{
		{"alive", 119 * time.Second, "push_pending", "Approve on your device"},
		{"request over", 120 * time.Second, "expired", "Send a new request"},
		{"attempt over", 10 * time.Minute, "expired", "Log in again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			b.login("ana")
			a.pass(c.after)
			if b.state() != c.state {
				t.Errorf("state %s, want %s", b.state(), c.state)
			}
			if page := b.get("/login/verify"); !strings.Contains(page.body, c.body) || !strings.Contains(page.body, `data-state="`+c.state+`"`) {
				t.Errorf("page does not say %q", c.body)
			}
		})
	}
	t.Run("nothing is left on the page", func(t *testing.T) {
		a := newApp(t, func(c *secondfactor.Config) {
			c.Templates = template.Must(secondfactor.Templates().Parse(`{{define "verify"}}[{{.Ask.Message}}{{.Phone}}{{.Match}}]{{end}}`))
		})
		b := a.browser()
		b.signIn("ana")
		b.post("/transfer", "amount", "5")
		if got := b.get("/login/verify").body; !strings.Contains(got, "Send money") {
			t.Errorf("while it waits the page has %q", got)
		}
		a.pass(10 * time.Minute)
		if got := b.get("/login/verify").body; got != "[]" {
			t.Errorf("afterwards the page has %q", got)
		}
	})
	t.Run("approved and unused", func(t *testing.T) {
		a := newApp(t)
		b := a.browser()
		a.provider.Approve(b.login("ana").UUID)
		b.get("/login/verify")
		a.pass(60 * time.Second)
		if b.complete(); b.anybody() || b.state() != "expired" {
			t.Errorf("state %s", b.state())
		}
	})
	t.Run("resend", func(t *testing.T) {
		a := newApp(t)
		b := a.browser()
		first := b.login("ana")
		if b.post("/login/verify/push"); a.provider.Count() != 1 {
			t.Error("a second request while the first is alive")
		}
		a.provider.Expire(first.UUID)
		b.post("/login/verify/push")
		second := a.provider.Last(t)
		if second.UUID == first.UUID || b.state() != "push_pending" {
			t.Errorf("no new request; state %s", b.state())
		}
		a.provider.Approve(second.UUID)
		b.get("/login/verify")
		if b.complete(); !b.signedIn("ana") {
			t.Error("the second request does not sign in")
		}
	})
}

func TestD16_EveryChangeIsAPostOfThisOrigin(t *testing.T) {
	posts := []string{"/login/verify/push", "/login/verify/cancel", "/login/verify/complete", "/authy/send_token", "/authy/verify", "/logout"}
	for _, path := range posts {
		t.Run(path, func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			a.provider.Approve(b.login("ana").UUID)
			b.get("/login/verify")
			if got := b.get(path); got.code != 405 {
				t.Errorf("GET answered %d", got.code)
			}
			for name, header := range map[string]http.Header{
				"cross-site": {"Sec-Fetch-Site": {"cross-site"}},
				"same-site":  {"Sec-Fetch-Site": {"same-site"}},
				"origin":     {"Origin": {"http://evil.test"}},
				"null":       {"Origin": {"null"}},
			} {
				b.header = header
				if got := b.post(path); got.code != 403 || got.header.Get("Access-Control-Allow-Origin") != "" || !strings.Contains(got.body, "sent from another site") {
					t.Errorf("%s: answered %d, %q", name, got.code, got.body)
				}
			}
			b.header = http.Header{"Sec-Fetch-Site": {"same-origin"}}
			if b.state() != "approved" {
				t.Errorf("state %s", b.state())
			}
		})
	}
}

// A proxy that passes another Host on does not lock people out.
func TestD16_OwnOriginBehindAProxy(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.header = http.Header{"Origin": {publicURL}} // an old browser, without Sec-Fetch-Site
	b.login("ana")
	r := b.request("POST", "/login/verify/cancel", values())
	r.Host = "10.0.0.7:8300"
	if got := b.send(r); got.code != 303 {
		t.Errorf("answered %d", got.code)
	}
}

// Reading is free of effects: loading every page again and again sends nothing and changes nothing.
func TestD16_GetsChangeNothing(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	before, _ := a.store.AttemptOf(t.Context(), secondfactor.HashOf(b.cookies["countersign_login_pending"]))
	for range 3 {
		b.get("/login/verify")
		b.get("/authy/status")
	}
	after, _ := a.store.AttemptOf(t.Context(), before.Browser)
	if before.Version != after.Version || a.provider.Count() != 1 || a.provider.Calls("sms") != 0 {
		t.Errorf("version %d became %d, %d requests", before.Version, after.Version, a.provider.Count())
	}
}

func TestD18_NewValueAtEveryStep(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.cookies["countersign_login"], b.cookies["countersign_login_pending"] = "planted", "planted"
	approval := b.login("ana")
	pending := b.cookies["countersign_login_pending"]
	a.provider.Approve(approval.UUID)
	b.get("/login/verify")
	b.complete()
	session := b.cookies["countersign_login"]
	if pending == "planted" || session == "planted" || session == pending || len(session) < 40 {
		t.Errorf("pending %q, session %q", pending, session)
	}
	b.post("/transfer", "amount", "1")
	a.provider.Approve(a.provider.Last(t).UUID)
	b.get("/login/verify")
	b.complete()
	renewed := b.cookies["countersign_login"]
	if renewed == session || !b.signedIn("ana") {
		t.Errorf("step-up: renewed %v, signed in %v", renewed != session, b.signedIn("ana"))
	}
	b.cookies["countersign_login"] = session
	if b.anybody() {
		t.Error("the value from before the step-up still works")
	}
	b.cookies["countersign_login"] = renewed
	b.signIn("bob")
	b.cookies["countersign_login"] = renewed
	if b.anybody() {
		t.Error("the value of ana's session still works after bob signed in")
	}
}

func TestD20_DenialOpensNoDoor(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	approval := b.login("ana")
	a.provider.Deny(approval.UUID)
	page := b.get("/login/verify")
	if b.state() != "denied" || strings.Contains(page.body, `name="token"`) || strings.Contains(page.body, "/authy/send_token") {
		t.Errorf("state %s, or a code is asked for", b.state())
	}
	b.post("/authy/send_token")
	b.post("/login/verify/push")
	b.post("/authy/verify", "token", secondfactortest.AppCode)
	b.complete()
	if b.anybody() || b.state() != "denied" || a.provider.Count() != 1 || a.provider.Calls("sms")+a.provider.Calls("verify") != 0 {
		t.Error("something works after a denial")
	}
	if status := b.get("/authy/status").body; !strings.Contains(status, `"methods":[]`) {
		t.Errorf("status %s", status)
	}
}
