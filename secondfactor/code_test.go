// This file owns the tests of codes: counting, locking, limits and what may be typed.

package secondfactor_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

func TestCO2_WhatMayBeTyped(t *testing.T) {
	for typed, want := range map[string]string{
		"123456": "123456", "12345678": "12345678", " 123 456 ": "123456", "1234-567": "1234567", "123\u00a0456": "123456",
		"": "", "12345": "", "123456789": "", "12345a": "", "１２３４５６": "", "123456\n": "", "+123456": "",
	} {
		code, sound := secondfactor.CleanCode(typed)
		if sound != (want != "") || sound && code != want {
			t.Errorf("%q: %q, %v", typed, code, sound)
		}
	}
}

func FuzzCleanCode(f *testing.F) {
	f.Add("123 456")
	f.Fuzz(func(t *testing.T, typed string) {
		code, sound := secondfactor.CleanCode(typed)
		if sound && (len(code) < 6 || len(code) > 8 || strings.Trim(code, "0123456789") != "") {
			t.Errorf("%q passes as %q", typed, code)
		}
	})
}

// Whatever a form brings, the page answers with a page, and nobody is signed in by it.
func FuzzForms(f *testing.F) {
	for _, seed := range []string{"token=7654322", "token=%zz", "attempt=x&token=1", "token=" + strings.Repeat("1", 20000), "&&&=", "force=\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a := newApp(t)
		b := a.browser()
		b.login("ana")
		for _, path := range []string{"/authy/verify", "/authy/send_token", "/login/verify/push"} {
			r := b.request("POST", path, values())
			r.Body = readCloser{strings.NewReader(body)}
			if got := b.send(r); got.code >= 500 {
				t.Errorf("%s answered %d to %q", path, got.code, body)
			}
		}
		if b.anybody() && !strings.Contains(body, secondfactortest.AppCode) {
			t.Errorf("%q signs in", body)
		}
	})
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func TestCO4_WrongCodeKeepsTheAttempt(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	for wrong := 1; wrong <= 4; wrong++ {
		if got := b.post("/authy/verify", "token", "000000"); got.location != "/login/verify" {
			t.Fatalf("answered %d %s", got.code, got.location)
		}
		page := b.get("/login/verify").body
		left := map[int]string{3: "2 tries left", 4: "1 try left"}[wrong]
		if !strings.Contains(page, "not right") || !strings.Contains(page, `aria-invalid="true"`) || (strings.Contains(page, "tries left") || strings.Contains(page, "try left")) != (left != "") || !strings.Contains(page, left) {
			t.Errorf("after %d wrong codes the page does not say %q", wrong, left)
		}
	}
	if got := b.post("/authy/verify", "token", secondfactortest.AppCode); got.code != 307 {
		t.Errorf("the right code after four wrong ones: %d", got.code)
	}
	if b.complete(); !b.signedIn("ana") {
		t.Error("not signed in")
	}
}

func TestCO5_UsedCodeLooksWrong(t *testing.T) {
	a := newApp(t)
	first, second := a.browser(), a.browser()
	first.login("ana")
	first.post("/authy/verify", "token", secondfactortest.AppCode)
	second.login("ana")
	if got := second.post("/authy/verify", "token", secondfactortest.AppCode); got.code != 303 {
		t.Fatalf("a used code: %d", got.code)
	}
	if page := second.get("/login/verify").body; !strings.Contains(page, "not right") {
		t.Error("a used code does not look wrong")
	}
}

func TestCO6_FiveWrongCodesLock(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	approval := b.login("ana")
	for range 5 {
		b.post("/authy/verify", "token", "000000")
	}
	if page := b.get("/login/verify").body; b.state() != "locked" || !strings.Contains(page, "Too many wrong codes") {
		t.Errorf("state %s", b.state())
	}
	b.post("/authy/verify", "token", secondfactortest.AppCode)
	a.provider.Approve(approval.UUID)
	b.get("/login/verify")
	if b.complete(); b.anybody() {
		t.Error("signed in after the lock")
	}
	if a.provider.Calls("verify") != 5 {
		t.Errorf("%d comparisons", a.provider.Calls("verify"))
	}
}

// INV-2: parallel guesses cannot exceed the limit.
func TestINV2_ParallelGuesses(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	var all sync.WaitGroup
	for range 50 {
		each := a.browser()
		each.cookies["countersign_login_pending"] = b.cookies["countersign_login_pending"]
		all.Go(func() { each.post("/authy/verify", "token", "000000") })
	}
	all.Wait()
	if n := a.provider.Calls("verify"); n != 5 || b.state() != "locked" {
		t.Errorf("%d comparisons, state %s", n, b.state())
	}
}

func TestCodesMalformedAndUnreachableAreNotCounted(t *testing.T) { bubble(t, codesNotCounted) }

func codesNotCounted(t *testing.T, a *app) {
	b := a.browser()
	b.login("ana")
	for range 10 {
		b.post("/authy/verify", "token", "12")
	}
	if a.provider.Calls("verify") != 0 || !strings.Contains(b.get("/login/verify").body, "6 to 8 digits") {
		t.Error("a malformed code was sent on, or not explained")
	}
	for code, says := range map[string]string{"60017": "not accepted for a while", "60003": "too often"} {
		a.provider.Refuse("verify", code)
		for range 6 {
			b.post("/authy/verify", "token", "000000")
		}
		if page := b.get("/login/verify").body; b.state() != "push_pending" || !strings.Contains(page, says) {
			t.Errorf("%s: state %s, or the page does not say %q", code, b.state(), says)
		}
	}
	a.provider.SetDown(true)
	b.post("/authy/verify", "token", "000000")
	if page := b.get("/login/verify").body; !strings.Contains(page, "could not reach") {
		t.Error("provider down is not said")
	}
	a.provider.SetDown(false)
	a.provider.Refuse("verify", "")
	if got := b.post("/authy/verify", "token", secondfactortest.AppCode); got.code != 307 {
		t.Errorf("the right code afterwards: %d", got.code)
	}
}

func TestCO7_TextMessages(t *testing.T) {
	a := newApp(t)
	a.addPerson("cid", "2025550177", false)
	id := a.people["cid"].AuthyID
	a.prefer = secondfactor.SMS
	b := a.browser()
	b.post("/login", "user", "cid")
	if _, n := a.provider.Sent(id); n != 0 {
		t.Error("a text message nobody asked for")
	}
	b.post("/authy/send_token")
	if page := b.get("/login/verify").body; !strings.Contains(page, "1-XXX-XXX-XX23") || !strings.Contains(page, `data-wait="30"`) {
		t.Error("the page does not say where the code went, or when another can be sent")
	}
	b.post("/authy/send_token")
	if _, n := a.provider.Sent(id); n != 1 || !strings.Contains(b.get("/login/verify").body, "a moment ago") {
		t.Errorf("%d text messages within 30 s", n)
	}
	for range 10 {
		a.pass(30 * time.Second)
		b.post("/authy/send_token")
	}
	if _, n := a.provider.Sent(id); n != 5 {
		t.Errorf("%d text messages in one attempt", n)
	}
	if !strings.Contains(b.get("/login/verify").body, "too often") {
		t.Error("the limit is not said")
	}
}

func TestCO9_TextMessageFails(t *testing.T) {
	for code, says := range map[string]string{
		"60015": "could not be sent", "60007": "could not be sent", "60003": "too often", "60017": "for a while",
		"60010": "could not be sent", "60120": "could not be sent", "60013": "could not be sent", "60082": "could not be sent", "60026": "could not be sent",
		"60000": "could not reach",
	} {
		a := newApp(t)
		b := a.browser()
		b.login("ana")
		a.provider.Refuse("sms", code)
		b.post("/authy/send_token")
		if page := b.get("/login/verify").body; !strings.Contains(page, says) {
			t.Errorf("%s: the page does not say %q", code, says)
		}
	}
	for _, code := range []string{"60006", "60012", "60014"} {
		a := newApp(t, func(c *secondfactor.Config) { c.Calls = true })
		b := a.browser()
		b.login("ana")
		a.provider.Refuse("call", code)
		b.post("/authy/send_token", "by", "call")
		if page := b.get("/login/verify").body; !strings.Contains(page, "call could not be made") {
			t.Errorf("%s: the page does not say that there was no call", code)
		}
	}
}

// A text that was asked for and never went out says nothing about the code that is typed then: it is the authenticator's (CO9, AC10).
func TestCO9_TheCodeTypedIsOfWhatWasSent(t *testing.T) {
	sent := func(b *browser) string {
		code, _ := b.app.provider.Sent(b.app.people["ana"].AuthyID)
		return code
	}
	own := func(*browser) string { return secondfactortest.AppCode }
	for name, c := range map[string]struct {
		ask  func(b *browser)
		code func(b *browser) string
		want secondfactor.Method
	}{
		"nothing asked for": {func(*browser) {}, own, secondfactor.Code},
		"ignored":           {func(b *browser) { b.post("/authy/send_token") }, own, secondfactor.Code},
		"call ignored":      {func(b *browser) { b.post("/authy/send_token", "by", "call") }, own, secondfactor.Code},
		"failed":            {func(b *browser) { b.app.provider.Refuse("sms", "60015"); b.post("/authy/send_token") }, own, secondfactor.Code},
		"sent":              {func(b *browser) { b.post("/authy/send_token", "force", "true") }, sent, secondfactor.SMS},
		"called":            {func(b *browser) { b.post("/authy/send_token", "by", "call", "force", "true") }, sent, secondfactor.Call},
		"sent, not typed":   {func(b *browser) { b.post("/authy/send_token", "force", "true") }, own, secondfactor.Code},
		"sent, then a call that failed": {func(b *browser) {
			b.post("/authy/send_token", "force", "true")
			b.app.pass(30 * time.Second)
			b.app.provider.Refuse("call", "60015")
			b.post("/authy/send_token", "by", "call", "force", "true")
		}, sent, secondfactor.SMS},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(c *secondfactor.Config) { c.Calls = true })
			b := a.browser()
			b.login("ana")
			c.ask(b)
			b.post("/authy/verify", "token", c.code(b))
			b.complete()
			if done := a.completions(); len(done) != 1 || done[0].Method != c.want || a.who(b).Method() != c.want {
				t.Errorf("completions %+v, want %s", done, c.want)
			}
		})
	}
}

// CO10: so does the hint at the phone's clock, which is for codes of an authenticator.
func TestCO10_ClockHintAfterATextThatWasNotSent(t *testing.T) {
	for force, want := range map[string]bool{"": true, "true": false} {
		a := newApp(t)
		b := a.browser()
		b.login("ana")
		b.post("/authy/send_token", "force", force)
		b.post("/authy/verify", "token", "0000000")
		b.post("/authy/verify", "token", "0000000")
		if hint := strings.Contains(b.get("/login/verify").body, "is its clock set to automatic"); hint != want {
			t.Errorf("force %q: hint %v", force, hint)
		}
	}
}

// A transfer is approved on a device; an app code cannot name it. Somebody without a device gets a text message that does, and
// its code is good for nothing else (D12).
func TestST6_CodesForAnAct(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	b.post("/transfer", "amount", "5")
	b.post("/authy/send_token", "force", "true")
	b.post("/authy/verify", "token", secondfactortest.AppCode)
	if page := b.get("/login/verify").body; b.state() != "push_pending" || strings.Contains(page, `name="token"`) || a.provider.Calls("verify") != 0 {
		t.Errorf("an app code is taken for an act; state %s", b.state())
	}

	a.addPerson("cid", "2025550177", false)
	id := a.people["cid"].AuthyID
	a.prefer = secondfactor.SMS
	c := a.browser()
	c.post("/login", "user", "cid", "next", "/account")
	c.post("/authy/send_token")
	login, _ := a.provider.Sent(id)
	c.post("/authy/verify", "token", login)
	c.complete()
	a.provider.AddGeneric(id)
	c.post("/transfer", "amount", "5")
	c.post("/authy/send_token")
	if got := c.post("/authy/verify", "token", secondfactortest.GenericCode); got.code == 307 || c.state() != "code_pending" {
		t.Error("a code of another authenticator app is taken for an act")
	}
	act, _ := a.provider.Sent(id)
	thief := a.browser()
	thief.post("/login", "user", "cid")
	if got := thief.post("/authy/verify", "token", act); got.code == 307 {
		t.Error("the code of a transfer logs in")
	}
	if got := c.post("/authy/verify", "token", act); got.code != 307 {
		t.Fatalf("the code of the transfer: %d", got.code)
	}
	c.complete()
	if done := a.completions(); len(done) != 3 || !done[2].Covers(transfer("5")) || done[2].Covers(transfer("6")) {
		t.Error("the transfer was not done")
	}
}

// ST6: an app code stands for an act only where the application said so, and where keys are pinned not even then.
func TestST6_AppCodesWhereAllowed(t *testing.T) {
	a := newApp(t, func(c *secondfactor.Config) { c.AppCodesForActs = true })
	b := a.browser()
	b.signIn("ana")
	b.post("/transfer", "amount", "5")
	if got := b.post("/authy/verify", "token", secondfactortest.AppCode); got.code != 307 {
		t.Fatalf("an app code that is allowed: %d", got.code)
	}
	b.complete()
	if done := a.completions(); len(done) != 2 || !done[1].Covers(transfer("5")) || done[1].Method != secondfactor.Code {
		t.Errorf("completions %+v", done)
	}
	a.setKeys("ana", a.provider.AddDevice(a.people["ana"].AuthyID).PublicKey)
	b.post("/transfer", "amount", "6")
	calls := a.provider.Calls("verify")
	if b.post("/authy/verify", "token", "1112223"); a.provider.Calls("verify") != calls {
		t.Error("a code was compared although keys are pinned")
	}
}
