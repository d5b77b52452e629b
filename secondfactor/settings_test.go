// This file owns the tests of what is around a session: settings behind a fresh proof, lists, signing out elsewhere, hooks,
// and applications behind proxies and prefixes (ST9, AC, LO, LB in login-flow.md).

package secondfactor_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

func TestST9_SettingsNeedAFreshProof(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	if got := b.get("/settings"); got.body != "settings of ana" {
		t.Fatalf("right after the log-in: %d", got.code)
	}
	a.pass(16 * time.Minute)
	if got := b.get("/settings?x=1"); got.location != "/login/confirm?next=%2Fsettings%3Fx%3D1" {
		t.Fatalf("after 16 minutes: %d to %s", got.code, got.location)
	}
	sent := a.provider.Count()
	if page := b.get("/login/confirm?next=%2Fsettings").body; !strings.Contains(page, `name="next" value="/settings"`) || a.provider.Count() != sent {
		t.Error("the page asks nothing, or loading it sent a request")
	}
	old := b.cookies["countersign_login"]
	b.post("/login/confirm", "next", "/settings")
	approval := a.provider.Last(t)
	if approval.Message != "Change the settings of your account at Owlgate" || b.get("/settings").code == 200 {
		t.Errorf("asked %q, or open before the answer", approval.Message)
	}
	a.provider.Approve(approval.UUID)
	if page := b.get("/login/verify").body; !strings.Contains(page, "Settings are being opened") {
		t.Error("the page does not say what comes")
	}
	if got := b.complete(); got.location != "/settings" || b.get("/settings").code != 200 || b.cookies["countersign_login"] == old {
		t.Errorf("complete leads to %s, or the session value is the old one (D18)", got.location)
	}
}

// A mistake in the settings shows at the start, not when somebody needs the page.
func TestRequireConfirmedNeedsPerson(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	guard, err := secondfactor.New(secondfactor.Config{PublicURL: publicURL, Name: "x", Provider: secondfactortest.New().Client(t), Store: secondfactor.NewMemoryStore()})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close()
	guard.RequireConfirmed(nil)
}

func TestST9_TheWindowSlidesButEnds(t *testing.T) {
	a := newApp(t, func(c *secondfactor.Config) { c.Limits.SessionIdle = 24 * time.Hour })
	b := a.browser()
	b.signIn("ana")
	for at := 10 * time.Minute; at < 2*time.Hour; at += 10 * time.Minute {
		a.pass(10 * time.Minute)
		if b.get("/settings").code != 200 {
			t.Fatalf("closed after %s of use", at)
		}
	}
	a.pass(10 * time.Minute)
	if b.get("/settings").code == 200 {
		t.Error("open after two hours")
	}
}

// A text message alone changes no settings: who has no device logs in again, with the password.
func TestST9_TextAloneIsNotEnough(t *testing.T) {
	a := newApp(t)
	a.addPerson("cid", "2025550177", false)
	a.prefer = secondfactor.SMS
	b := a.browser()
	text := func() {
		b.post("/authy/send_token")
		code, _ := a.provider.Sent(a.people["cid"].AuthyID)
		b.post("/authy/verify", "token", code)
		b.complete()
	}
	b.post("/login", "user", "cid", "next", "/account")
	text()
	a.pass(16 * time.Minute)
	b.post("/login/confirm", "next", "/settings")
	page := b.get("/login/verify").body
	if strings.Contains(page, "/authy/send_token") || !strings.Contains(page, "log-in-again") {
		t.Error("a text message is offered, or no way on")
	}
	text()
	if b.get("/settings").code == 200 {
		t.Error("a text message opened settings")
	}
	if got := b.post("/login/confirm", "again", "yes", "next", "/settings"); got.location != "/login?next=%2Fsettings" || b.anybody() {
		t.Errorf("log in again: to %s, still signed in: %v", got.location, b.anybody())
	}
	b.post("/login", "user", "cid", "next", "/settings")
	text()
	if b.get("/settings").code != 200 {
		t.Error("password and text do not open settings")
	}
}

// D12, T-21: nor does one that was sent for a log-in elsewhere, typed into the form for the app's code.
func TestST9_TextForALoginOpensNoSettings(t *testing.T) {
	a := newApp(t)
	b, elsewhere := a.browser(), a.browser()
	b.signIn("ana")
	a.pass(16 * time.Minute)
	elsewhere.login("ana")
	elsewhere.post("/authy/send_token", "force", "true")
	code, _ := a.provider.Sent(a.people["ana"].AuthyID)
	b.post("/login/confirm", "next", "/settings")
	b.post("/authy/verify", "token", code)
	if b.complete(); b.get("/settings").code == 200 {
		t.Error("a text message opened settings")
	}
	elsewhere.post("/authy/verify", "token", code)
	if elsewhere.complete(); !elsewhere.anybody() {
		t.Error("the code is not good for its own log-in")
	}
}

func TestST9_AppCodeOpensSettings(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	a.pass(16 * time.Minute)
	b.post("/login/confirm", "next", "/settings")
	b.post("/authy/verify", "token", secondfactortest.AppCode)
	if b.complete(); b.get("/settings").code != 200 {
		t.Error("closed")
	}
}

// An approval for settings is none for a transfer, and the other way round (D12, ST5).
func TestST5_SettingsAndActsAreApart(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	a.pass(16 * time.Minute)
	b.post("/transfer", "amount", "5")
	a.provider.Approve(a.provider.Last(t).UUID)
	b.get("/login/verify")
	if b.complete(); b.get("/settings").code == 200 {
		t.Error("a transfer opened settings")
	}
	b.post("/login/confirm")
	a.provider.Approve(a.provider.Last(t).UUID)
	b.get("/login/verify")
	b.complete()
	if done := a.completions(); done[len(done)-1].Covers(transfer("5")) || done[len(done)-1].Purpose != secondfactor.ForConfirm {
		t.Error("settings covered a transfer")
	}
}

// AC2, AC3: a new number counts when it is proved, in the session that asked.
func TestAC2_ChangeIsProvedFirst(t *testing.T) {
	a := newApp(t)
	trusted, waiting := a.trusted(), a.browser()
	waiting.login("ana")
	b := a.browser()
	b.signIn("ana")
	if got := b.post("/settings/phone", "phone", "2025550155"); got.location != "/login/verify" {
		t.Fatalf("to %s", got.location)
	}
	if page := b.get("/login/verify").body; !strings.Contains(page, "Confirm your new number") {
		t.Error("the page does not say what for")
	}
	b.post("/authy/send_token")
	fresh := a.provider.AddUser("any", "1", "2025550155")
	code, n := a.provider.Sent(fresh)
	if n != 1 {
		t.Fatalf("%d texts to the new number", n)
	}
	if got := b.post("/authy/verify", "token", "0000000"); got.code == 307 || a.who(b).AuthyID() == fresh {
		t.Error("changed before the proof")
	}
	b.post("/authy/verify", "token", code)
	b.complete()
	done := a.completions()[len(a.completions())-1]
	if done.Purpose != secondfactor.ForChange || done.AuthyID != fresh || done.Ref != "2025550155" || a.who(b).AuthyID() != fresh {
		t.Errorf("completion %+v", done)
	}
	if waiting.state() != "cancelled" || trusted.passwordOnly("ana") {
		t.Errorf("a log-in that waits for the old factor is %s, or a browser is still trusted", waiting.state())
	}
	w := httptest.NewRecorder()
	a.guard.Change(w, b.request("POST", "/x", nil), secondfactor.Confirmed{}, a.people["ana"], "", "/")
	if w.Code != 500 {
		t.Errorf("a change without anybody confirmed: %d (LB2)", w.Code)
	}
}

// A confirmation that comes after the session's end brings it back for nobody.
func TestChangeNeedsALivingSession(t *testing.T) {
	a := newApp(t, func(c *secondfactor.Config) { c.Limits.SessionIdle = 10 * time.Minute })
	b := a.browser()
	b.signIn("ana")
	b.post("/settings/phone", "phone", "2025550155")
	b.post("/authy/send_token")
	code, _ := a.provider.Sent(a.provider.AddUser("any", "1", "2025550155"))
	a.pass(11 * time.Minute)
	b.post("/authy/verify", "token", code)
	if got := b.complete(); got.code != 409 || b.anybody() || len(a.completions()) != 1 {
		t.Errorf("answered %d, signed in %v", got.code, b.anybody())
	}
}

func TestAC8_SignOutOthers(t *testing.T) {
	a := newApp(t)
	here, there, third, bob, waiting := a.browser(), a.browser(), a.browser(), a.browser(), a.browser()
	there.header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	for _, b := range []*browser{here, there, third} {
		b.signIn("ana")
		a.pass(time.Second)
	}
	bob.signIn("bob")
	request := waiting.login("ana")
	list, err := a.guard.Sessions(t.Context(), a.who(here))
	if err != nil || len(list) != 3 || !list[2].Current || list[0].Current || list[1].Origin.Browser != "Firefox on Linux" || list[1].Origin.Address != "192.0.2.1" {
		t.Fatalf("%+v, %v", list, err)
	}
	if err := errors.Join(
		a.guard.SignOut(t.Context(), a.who(here), list[1].ID), // one
		a.guard.SignOut(t.Context(), a.who(here), list[2].ID), // not oneself
		a.guard.SignOut(t.Context(), a.who(bob), list[0].ID),  // not somebody else
		a.guard.SignOut(t.Context(), a.who(here), ""),         // not all, where a form forgot to say which
	); err != nil {
		t.Fatal(err)
	}
	if there.anybody() || !here.signedIn("ana") || !third.signedIn("ana") || waiting.state() != "push_pending" {
		t.Error("one other: the wrong ones are signed out")
	}
	if err := a.guard.SignOutOthers(t.Context(), a.who(here)); err != nil {
		t.Fatal(err)
	}
	if third.anybody() || !here.signedIn("ana") || !bob.signedIn("bob") || waiting.state() != "cancelled" {
		t.Errorf("all others: the wrong ones are signed out; a waiting attempt is %s", waiting.state())
	}
	a.guard.Close()
	if status := a.provider.Approval(request.UUID).Status; status != "cancelled" {
		t.Errorf("its request is %s", status)
	}
}

// AC8: a list that cannot be read takes nothing from the browser that asks.
func TestAC8_OwnAttemptStaysWhenTheStoreFails(t *testing.T) {
	store := &brokenStore{Store: secondfactor.NewMemoryStore()}
	a := newApp(t, func(c *secondfactor.Config) { c.Store = store })
	here, waiting := a.browser(), a.browser()
	here.signIn("ana")
	here.post("/transfer", "amount", "5")
	waiting.login("ana")
	store.broken = "sessions"
	if err := a.guard.SignOutOthers(t.Context(), a.who(here)); !errors.Is(err, errStore) {
		t.Errorf("error %v", err)
	}
	if here.state() != "push_pending" || waiting.state() != "cancelled" {
		t.Errorf("the own transfer is %s, a log-in elsewhere %s", here.state(), waiting.state())
	}
}

// AC8, D10: a log-in that was approved elsewhere and is completed at the very moment at which its owner signs out everywhere signs nobody in.
func TestAC8_CompletedMeanwhile(t *testing.T) {
	for name, end := range map[string]func(a *app, here *browser) error{
		"others":     func(a *app, here *browser) error { return a.guard.SignOutOthers(t.Context(), a.who(here)) },
		"everywhere": func(a *app, _ *browser) error { return a.guard.SignOutEverywhere(t.Context(), "ana") },
	} {
		store := &brokenStore{Store: secondfactor.NewMemoryStore()}
		a := newApp(t, func(c *secondfactor.Config) { c.Store = store })
		here, thief := a.browser(), a.browser()
		here.signIn("ana")
		a.provider.Approve(thief.login("ana").UUID)
		thief.get("/login/verify")
		store.listed = func() { thief.complete() }
		if err := end(a, here); err != nil {
			t.Fatal(err)
		}
		if thief.complete(); thief.anybody() {
			t.Errorf("%s: who completed meanwhile is signed in", name)
		}
	}
}

// AC9, D10: after a reset nobody is signed in, and what waited is over.
func TestD10_ResetEndsEverything(t *testing.T) {
	a := newApp(t)
	b, approved := a.browser(), a.browser()
	b.signIn("ana")
	a.provider.Approve(approved.login("ana").UUID)
	approved.get("/login/verify")
	if err := a.guard.SignOutEverywhere(t.Context(), "ana"); err != nil {
		t.Fatal(err)
	}
	if approved.complete(); b.anybody() || approved.anybody() {
		t.Error("somebody is signed in after a reset")
	}
}

func TestPU9_SendAgain(t *testing.T) {
	a := newApp(t)
	a.provider.SetMatch("42")
	b := a.browser()
	first := b.login("ana")
	if page := b.get("/login/verify").body; !strings.Contains(page, `data-testid="push-again" data-wait="30"`) {
		t.Error("no button to send again, or no countdown")
	}
	b.post("/login/verify/push")
	if page := b.get("/login/verify").body; a.provider.Calls("renotify") != 0 || !strings.Contains(page, "a moment ago") {
		t.Error("told again at once, or the wait is not said")
	}
	a.pass(30 * time.Second)
	b.post("/login/verify/push")
	page := b.get("/login/verify").body
	if a.provider.Calls("renotify") != 1 || a.provider.Count() != 1 || !strings.Contains(page, "It is the same request") || !strings.Contains(page, ">42<") {
		t.Errorf("told %d times, %d requests", a.provider.Calls("renotify"), a.provider.Count())
	}
	a.pass(30 * time.Second)
	a.provider.Refuse("renotify", "60003")
	b.post("/login/verify/push")
	if page := b.get("/login/verify").body; !strings.Contains(page, "often enough") || b.state() != "push_pending" {
		t.Error("a refusal is not said")
	}
	a.provider.Approve(first.UUID)
	b.get("/login/verify")
	if b.complete(); !b.signedIn("ana") {
		t.Error("not signed in")
	}
}

func TestPU4_WrongNumber(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	a.provider.DenyBecause(b.login("ana").UUID, secondfactor.ReasonWrongNumber)
	if page := b.get("/login/verify").body; !strings.Contains(page, "The numbers did not match") || !strings.Contains(page, "Log in again") || strings.Contains(page, `name="token"`) {
		t.Error("the page does not say so, or offers another way in")
	}
	if !strings.Contains(b.get("/authy/status").body, `"reason":"number-mismatch"`) || a.heard() != "wrong_number" {
		t.Errorf("heard %q", a.heard())
	}
}

func TestPU6_NotMe(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	approval := b.login("ana")
	a.callback(approval.UUID, "denied", approval.AuthyID, "", nil) // by callback the same
	plain := a.browser()
	a.provider.DenyBecause(plain.login("ana").UUID, secondfactor.ReasonNotMe)
	if page := plain.get("/login/verify").body; !strings.Contains(page, "this was not you") || !strings.Contains(page, "change it") {
		t.Error("the page does not say so")
	}
	if a.heard() != "denied not_me" || a.events[0].Origin != (secondfactor.Origin{Browser: "Firefox on Linux", Address: "192.0.2.1"}) || a.events[0].User != "ana" {
		t.Errorf("heard %q from %+v", a.heard(), a.events[0])
	}
	plain.get("/login/verify")
	if a.heard() != "denied not_me" {
		t.Error("told twice")
	}
}

func TestCO6_LockIsTold(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	for range 5 {
		b.post("/authy/verify", "token", "0000000")
	}
	if a.heard() != "locked" || b.state() != "locked" {
		t.Errorf("heard %q, state %s", a.heard(), b.state())
	}
}

func TestCO1_CallsWhereConfigured(t *testing.T) {
	plain := newApp(t)
	b := plain.browser()
	b.login("ana")
	b.post("/authy/send_token", "by", "call", "force", "true")
	if page := b.get("/login/verify").body; strings.Contains(page, "send-call") || plain.provider.Calls("call")+plain.provider.Calls("sms") != 0 {
		t.Error("a call is offered or made without the setting")
	}
	a := newApp(t, func(c *secondfactor.Config) { c.Calls = true })
	b = a.browser()
	b.login("ana")
	b.post("/authy/send_token", "by", "call")
	if page := b.get("/login/verify").body; !strings.Contains(page, "Nobody was called") || !strings.Contains(page, "Call me anyway") {
		t.Error("ignored is not said")
	}
	b.post("/authy/send_token", "by", "call", "force", "true")
	if page := b.get("/login/verify").body; !strings.Contains(page, "1-XXX-XXX-XX23 and read you a code") || a.provider.Calls("sms") != 0 {
		t.Error("the call is not said, or a text was sent")
	}
	code, _ := a.provider.Sent(a.people["ana"].AuthyID)
	b.post("/authy/verify", "token", code)
	if b.complete(); a.completions()[0].Method != secondfactor.Call || a.who(b).MayTrust() != true {
		t.Errorf("completed by %s", a.completions()[0].Method)
	}
	b.post("/transfer", "amount", "5")
	if strings.Contains(b.get("/authy/status").body, `"call"`) {
		t.Error("an act by a call (ST6)")
	}
}

func TestCO10_ClockHint(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	for try := 1; try <= 2; try++ {
		b.post("/authy/verify", "token", "0000000")
		if hint := strings.Contains(b.get("/login/verify").body, "is its clock set to automatic"); hint != (try == 2) {
			t.Errorf("after %d wrong codes: hint %v", try, hint)
		}
	}
}

// LB: an application keeps its own session beside the guard's.
func TestOwnSessionHooks(t *testing.T) {
	var fail error
	a := newApp(t, func(c *secondfactor.Config) {
		c.SignedIn = func(w http.ResponseWriter, _ *http.Request, done secondfactor.Completion) error {
			http.SetCookie(w, &http.Cookie{Name: "own", Value: done.User, Path: "/"})
			return fail
		}
		c.SignedOut = func(w http.ResponseWriter, _ *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "own", Path: "/", MaxAge: -1})
		}
	})
	b := a.browser()
	b.signIn("ana")
	if b.cookies["own"] != "ana" {
		t.Error("the application's session did not begin")
	}
	if b.post("/logout"); b.cookies["own"] != "" {
		t.Error("the application's session did not end")
	}
	fail = errHook
	a.provider.Approve(b.login("ana").UUID)
	b.get("/login/verify")
	if got := b.complete(); got.code != 500 || b.anybody() {
		t.Errorf("the hook failed: %d, signed in %v", got.code, b.anybody())
	}
}

// The whole way under a path prefix: every address and redirect carries it, and the callback's too.
func TestUnderAPathPrefix(t *testing.T) {
	a := newApp(t, func(c *secondfactor.Config) { c.PublicURL += "/shop/" })
	a.prefix = "/shop"
	if a.guard.CallbackURL() != publicURL+"/shop/authy/callback" {
		t.Errorf("callback at %s", a.guard.CallbackURL())
	}
	b := a.browser()
	if got := b.get("/shop/account?x=1"); got.location != "/shop/login?next=%2Faccount%3Fx%3D1" {
		t.Fatalf("guard leads to %s", got.location)
	}
	if got := b.post("/shop/login", "user", "ana", "next", "/account"); got.location != "/shop/login/verify" {
		t.Fatalf("log-in leads to %s", got.location)
	}
	page := b.get("/shop/login/verify").body
	for _, address := range []string{`data-base="/shop"`, `href="/shop/login/verify/assets/verify.css"`, `src="/shop/login/verify/assets/verify.js"`, `action="/shop/authy/verify"`, `action="/shop/login/verify/cancel"`} {
		if !strings.Contains(page, address) {
			t.Errorf("no %s", address)
		}
	}
	if strings.Contains(page, `="/login`) || strings.Contains(page, `="/authy`) {
		t.Error("an address without the prefix")
	}
	a.provider.Approve(a.provider.Last(t).UUID)
	b.get("/shop/login/verify")
	if got := b.post("/shop/login/verify/complete"); got.location != "/shop/account" || !strings.Contains(b.get("/shop/account").body, "ana") {
		t.Errorf("complete leads to %s", got.location)
	}
	if name := "countersign_login"; b.cookies[name] != "" {
		t.Error("the cookie could be another application's of this host")
	}
	a.pass(16 * time.Minute)
	r := b.request("POST", "/shop/settings/phone", values("phone", "2025550155"))
	r.Header.Set("Referer", publicURL+"/shop/settings?tab=2")
	if got := b.send(r); got.location != "/shop/login/confirm?next=%2Fsettings%3Ftab%3D2" {
		t.Errorf("a form that comes too late leads to %s", got.location)
	}
	if got := b.post("/shop/logout"); got.location != "/shop/" {
		t.Errorf("log-out leads to %s", got.location)
	}
}

func TestForwardedBy(t *testing.T) {
	address := secondfactor.ForwardedBy(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"))
	for _, c := range []struct{ connection, header, want string }{
		{"203.0.113.9:1", "", "203.0.113.9"},
		{"203.0.113.9:1", "1.2.3.4", "203.0.113.9"},
		{"192.0.2.1:1", "203.0.113.9", "203.0.113.9"},
		{"192.0.2.1:1", "1.2.3.4, 203.0.113.9, 10.1.2.3", "203.0.113.9"},
		{"[::ffff:192.0.2.1]:1", "2001:db8::1", "2001:db8::1"},
		{"192.0.2.1:1", "", "192.0.2.1"},
		{"192.0.2.1:1", "nonsense", "192.0.2.1"},
		{"192.0.2.1:1", "203.0.113.9, nonsense", "192.0.2.1"},
		{"192.0.2.1:1", "10.1.2.3", "10.1.2.3"},
	} {
		r := &http.Request{RemoteAddr: c.connection, Header: http.Header{}}
		if c.header != "" {
			r.Header.Set("X-Forwarded-For", c.header)
		}
		if got := address(r); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.connection, c.header, got, c.want)
		}
	}
}

// T-21: every route is known, and says what it takes. A new one fails here until somebody has thought about it.
func TestT21_RoutesAreClassified(t *testing.T) {
	const (
		public   = "public"           // shows nothing of anybody
		pending  = "pending attempt"  // needs the attempt's cookie; signs nobody in
		signsIn  = "signs in"         // needs an approved attempt of this browser
		signedIn = "signed in"        // needs a session; removes no factor
		ends     = "ends the session" // gives nothing
	)
	classes := map[string]string{
		"GET /login/verify":               pending,
		"GET /login/verify/events":        pending,
		"GET /login/verify/assets/{name}": public,
		"GET /authy/status":               pending,
		"POST /login/verify/push":         pending,
		"POST /authy/send_token":          pending,
		"POST /authy/verify":              pending,
		"POST /login/verify/recovery":     pending,
		"POST /login/verify/cancel":       pending,
		"POST /login/verify/complete":     signsIn,
		"POST /login/trust":               signedIn,
		"GET /login/confirm":              signedIn,
		"POST /login/confirm":             signedIn,
		"POST /logout":                    ends,
	}
	a := newApp(t)
	a.recoveryCodes("ana")
	for _, pattern := range a.guard.RouteTable() {
		class, known := classes[pattern]
		if !known {
			t.Errorf("%s is not classified", pattern)
			continue
		}
		delete(classes, pattern)
		method, path, _ := strings.Cut(strings.ReplaceAll(pattern, "{name}", "verify.css"), " ")
		// A stranger, and somebody who knows the password only.
		stranger, half := a.browser(), a.browser()
		half.login("ana")
		for who, b := range map[string]*browser{"a stranger": stranger, "half a session": half} {
			if path == "/login/verify/events" {
				continue // a stream has no end; the status is the same
			}
			form := values("trust", "yes", "token", "0000000", "recovery", strings.Repeat("0", 16), "next", "/account")
			if method == "GET" {
				form = nil
			}
			got := b.send(b.request(method, path, form))
			if b.anybody() || b.cookies["countersign_login"] != "" {
				t.Errorf("%s (%s) signs %s in", pattern, class, who)
			}
			if class == signedIn && got.location != "/login" {
				t.Errorf("%s answers %s: %d to %s", pattern, who, got.code, got.location)
			}
			if name, _ := b.trustCookie(); name != "" {
				t.Errorf("%s makes the browser of %s trusted", pattern, who)
			}
		}
	}
	for pattern := range classes {
		t.Errorf("%s is classified and not served", pattern)
	}
}
