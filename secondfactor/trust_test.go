// This file owns the tests of trusted browsers (RB in login-flow.md, T-24).

package secondfactor_test

import (
	"maps"
	"strings"
	"testing"
	"time"

	"countersign.dev/secondfactor"
)

// trusted is a browser that ana trusts, signed out.
func (a *app) trusted() *browser {
	a.t.Helper()
	b := a.browser()
	b.signIn("ana")
	if got := b.post("/login/trust", "trust", "yes", "next", "/account"); got.code != 303 || got.location != "/account" {
		a.t.Fatalf("trust answered %d to %s", got.code, got.location)
	}
	b.post("/logout")
	return b
}

// passwordOnly logs in and reports whether nothing was asked.
func (b *browser) passwordOnly(user string) bool {
	b.app.t.Helper()
	before := b.app.provider.Count()
	b.post("/login", "user", user, "next", "/account")
	b.complete()
	return b.signedIn(user) && b.app.provider.Count() == before
}

// trustCookie is the browser's cookie of trust, "" without.
func (b *browser) trustCookie() (name, value string) {
	for name, value := range b.cookies {
		if strings.Contains(name, "trust") {
			return name, value
		}
	}
	return "", ""
}

func TestRB1_TrustIsAskedAfterSuccess(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	if got := b.post("/login/trust", "trust", "yes"); got.location != "/login" {
		t.Errorf("before the success: %d to %s", got.code, got.location)
	}
	b.signIn("ana")
	if b.passwordOnly("ana") {
		t.Error("trusted without having been asked")
	}
	b.signIn("ana")
	b.post("/login/trust", "trust", "no")
	if got := b.post("/login/trust", "trust", "yes"); got.code != 409 {
		t.Errorf("asked a second time: %d", got.code)
	}
	late := a.browser()
	late.signIn("ana")
	a.pass(10 * time.Minute)
	if got := late.post("/login/trust", "trust", "yes"); got.code != 409 {
		t.Errorf("ten minutes later: %d", got.code)
	}
	if _, value := late.trustCookie(); value != "" {
		t.Error("a cookie was set")
	}
}

func TestRB2_PasswordOnlyInATrustedBrowser(t *testing.T) {
	a := newApp(t)
	b := a.trusted()
	if !b.passwordOnly("ana") {
		t.Fatal("the factor was asked for")
	}
	if done := a.completions(); done[len(done)-1].Method != secondfactor.Trusted {
		t.Errorf("method %s", done[len(done)-1].Method)
	}
	if got := b.post("/login/trust", "trust", "yes"); got.code != 409 {
		t.Errorf("trust renews itself: %d", got.code)
	}
	a.pass(29 * 24 * time.Hour)
	if !b.passwordOnly("ana") {
		t.Error("forgotten before 30 days")
	}
	a.pass(24 * time.Hour)
	if b.passwordOnly("ana") {
		t.Error("trusted after 30 days")
	}
}

func TestRB3_TrustIsForOneAccount(t *testing.T) {
	a := newApp(t)
	b := a.trusted()
	if b.passwordOnly("bob") {
		t.Fatal("bob is let in by ana's trust")
	}
	b.signIn("bob")
	b.post("/login/trust", "trust", "yes")
	if !b.passwordOnly("ana") || !b.passwordOnly("bob") {
		t.Error("two accounts cannot both trust one browser")
	}
	// Ana's cookie under the name of bob's.
	thief := a.browser()
	_, value := a.trusted().trustCookie()
	for name := range b.cookies {
		if strings.Contains(name, "trust") {
			thief.cookies[name] = value
		}
	}
	if thief.passwordOnly("bob") {
		t.Error("ana's trust under bob's name")
	}
}

func TestRB4_TrustEnds(t *testing.T) {
	for name, end := range map[string]func(*app, *browser){
		"forget all": func(a *app, b *browser) {
			if err := a.guard.ForgetAllBrowsers(t.Context(), a.who(b)); err != nil {
				t.Fatal(err)
			}
		},
		"password or factor changed": func(a *app, _ *browser) { a.setStamp("ana", "2") },
		"reset": func(a *app, _ *browser) {
			if err := a.guard.SignOutEverywhere(t.Context(), "ana"); err != nil {
				t.Fatal(err)
			}
		},
		"not me": func(a *app, _ *browser) {
			other := a.browser()
			a.provider.DenyBecause(other.login("ana").UUID, secondfactor.ReasonNotMe)
			other.get("/login/verify")
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			b := a.trusted()
			signedIn := a.browser()
			signedIn.signIn("ana")
			end(a, signedIn)
			if b.passwordOnly("ana") {
				t.Error("still trusted")
			}
		})
	}
}

// who is who is signed in in a browser.
func (a *app) who(b *browser) secondfactor.SignedIn {
	a.t.Helper()
	who, err := a.guard.Who(b.request("GET", "/account", nil))
	if err != nil {
		a.t.Fatal(err)
	}
	return who
}

func TestRB5_TrustedBrowsersAreListed(t *testing.T) {
	a := newApp(t)
	first, second := a.trusted(), a.trusted()
	if !first.passwordOnly("ana") {
		t.Fatal("not trusted")
	}
	list, err := a.guard.TrustedBrowsers(t.Context(), a.who(first))
	if err != nil || len(list) != 2 || list[0].Current == list[1].Current || list[0].Origin.Address != "192.0.2.1" || list[0].Until.Sub(list[0].Since) != 30*24*time.Hour {
		t.Fatalf("%+v, %v", list, err)
	}
	// A form that forgot to say which ends none.
	if err := a.guard.ForgetBrowser(t.Context(), a.who(first), ""); err != nil {
		t.Fatal(err)
	}
	for _, place := range list {
		if !place.Current {
			// Somebody else cannot remove it.
			eve := a.browser()
			eve.signIn("bob")
			if err := a.guard.ForgetBrowser(t.Context(), a.who(eve), place.ID); err != nil {
				t.Fatal(err)
			}
			if !second.passwordOnly("ana") {
				t.Error("removed by somebody else")
			}
			if err := a.guard.ForgetBrowser(t.Context(), a.who(first), place.ID); err != nil {
				t.Fatal(err)
			}
		}
	}
	if second.passwordOnly("ana") || !first.passwordOnly("ana") {
		t.Error("the wrong one was removed, or none")
	}
}

func TestRB6_TrustIsNeverEnough(t *testing.T) {
	a := newApp(t)
	b := a.trusted()
	if !b.passwordOnly("ana") {
		t.Fatal("not trusted")
	}
	if got := b.get("/settings"); got.location != "/login/confirm?next=%2Fsettings" {
		t.Errorf("settings are open: %d", got.code)
	}
	b.post("/transfer", "amount", "5")
	if b.state() != "push_pending" {
		t.Errorf("a transfer is %s", b.state())
	}
	before := len(a.completions())
	if b.complete(); len(a.completions()) != before {
		t.Error("a transfer went through without an approval")
	}
}

// T-24: the value changes at each use, and an old one that comes back ends the trust and is told.
func TestT24_StolenTrust(t *testing.T) {
	a := newApp(t)
	owner := a.trusted()
	thief := a.browser()
	thief.cookies = maps.Clone(owner.cookies)
	name, old := owner.trustCookie()
	if !owner.passwordOnly("ana") || owner.cookies[name] == old {
		t.Fatal("not trusted, or the value did not change")
	}
	a.pass(31 * time.Second)
	if thief.passwordOnly("ana") {
		t.Error("an old value is trusted")
	}
	if a.heard() != "browser_trusted trust_stolen" {
		t.Errorf("heard %q", a.heard())
	}
	if owner.passwordOnly("ana") {
		t.Error("the other copy is still trusted: nobody can tell which is the thief's")
	}
	t.Run("the thief first", func(t *testing.T) {
		a := newApp(t)
		owner := a.trusted()
		thief := a.browser()
		thief.cookies = maps.Clone(owner.cookies)
		if !thief.passwordOnly("ana") {
			t.Fatal("a copy does not work at all")
		}
		a.pass(time.Hour)
		in := a.browser()
		in.cookies = maps.Clone(thief.cookies)
		if owner.passwordOnly("ana") || in.anybody() || thief.passwordOnly("ana") || !strings.Contains(a.heard(), "trust_stolen") {
			t.Error("the theft goes unnoticed when the owner comes back")
		}
	})
	t.Run("much older", func(t *testing.T) {
		a := newApp(t)
		owner := a.trusted()
		_, old := owner.trustCookie()
		for range 3 {
			owner.passwordOnly("ana")
		}
		thief := a.browser()
		thief.cookies[name] = old
		if thief.passwordOnly("ana") || owner.passwordOnly("ana") {
			t.Error("a value from long ago is not noticed")
		}
	})
}

// RB4: trust that ends between the password and the completion signs nobody in.
func TestRB4_ForgottenMeanwhile(t *testing.T) {
	a := newApp(t)
	b, owner := a.trusted(), a.browser()
	owner.signIn("ana")
	b.post("/login", "user", "ana", "next", "/account")
	if err := a.guard.ForgetAllBrowsers(t.Context(), a.who(owner)); err != nil {
		t.Fatal(err)
	}
	if got := b.complete(); got.code != 409 || b.anybody() {
		t.Errorf("answered %d, signed in %v", got.code, b.anybody())
	}
}

// T-24: two log-ins under way at once in one browser are no theft.
func TestT24_ParallelUse(t *testing.T) {
	a := newApp(t)
	owner := a.trusted()
	tab := a.browser()
	tab.cookies = maps.Clone(owner.cookies)
	if !owner.passwordOnly("ana") || !tab.passwordOnly("ana") || !owner.passwordOnly("ana") {
		t.Error("the second tab is taken for a thief")
	}
	if a.heard() != "browser_trusted" {
		t.Errorf("heard %q", a.heard())
	}
}

func TestT24_ForeignValues(t *testing.T) {
	a := newApp(t)
	name, value := a.trusted().trustCookie()
	id, _, _ := strings.Cut(value, ".")
	for _, forged := range []string{"", ".", id, id + ".", "." + id, "x.y", value + "x", strings.Repeat("a", 5000)} {
		b := a.browser()
		b.cookies[name] = forged
		if b.passwordOnly("ana") {
			t.Errorf("%.60q is trusted", forged)
		}
	}
}
