// This file owns the tests of what the page offers while the provider asks no device, and while no code was sent.

package secondfactor_test

import (
	"strings"
	"testing"
	"time"

	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

// shows fails where the waiting page lacks one of the texts, or has one of those that stand behind "not:".
func (b *browser) shows(t *testing.T, texts ...string) {
	t.Helper()
	page := b.get("/login/verify").body
	for _, text := range texts {
		unwanted, not := strings.CutPrefix(text, "not:")
		if strings.Contains(page, strings.TrimPrefix(text, "not:")) == not {
			t.Errorf("the page does not say %q, or says %q", text, unwanted)
		}
	}
}

const (
	field    = `name="token"`
	askPush  = `data-testid="push"`
	sendText = `data-testid="send-sms"`
)

// PU6, ST6: after "not me" an act can wait for its device only. The page promises no code and no request, and leads back.
func TestPU6_AnActWhileTheDeviceRests(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	a.provider.RefuseNotMe(20 * time.Minute)
	b.post("/transfer", "amount", "5")
	b.shows(t, "This needs your device", "Your device was not asked.", "gets none for 20 minutes. Change your password.", "Only an approval on your device counts for this. Nothing was done.",
		"not:"+field, "not:"+askPush, "not:"+sendText, "not:Use a code", "not:Waiting for your code", "not:Confirm with a code", `class="primary" data-testid="cancel">Back`)
	if b.state() != "choosing" {
		t.Errorf("state %s", b.state())
	}
	b.post("/authy/verify", "token", secondfactortest.AppCode)
	if got := b.post("/login/verify/push", "attempt", "of another tab"); got.code != 303 {
		t.Errorf("answered %d", got.code)
	}
	b.shows(t, "This needs your device", "out of date", "not:Log in again, with your password")
}

// PU6, PU19: a rest that ends before the attempt does is counted down, and then the device is asked.
func TestPU6_TheRestEnds(t *testing.T) {
	for _, act := range []bool{false, true} {
		a := newApp(t)
		b := a.browser()
		begin := func() { b.post("/login", "user", "ana", "next", "/account") }
		if act {
			b.signIn("ana")
			begin = func() { b.post("/transfer", "amount", "5") }
		}
		a.provider.RefuseNotMe(5 * time.Minute)
		begin()
		b.shows(t, askPush+` data-wait="300"`, "gets none for 5 minutes", "not:"+`class="primary" data-testid="cancel"`)
		a.pass(299 * time.Second)
		b.shows(t, askPush+` data-wait="1"`)
		a.pass(time.Second)
		b.shows(t, askPush+">", "not:gets none", "not:This needs your device")
		a.provider.RefuseNotMe(0)
		if b.post("/login/verify/push"); b.state() != "push_pending" {
			t.Errorf("act %v: state %s", act, b.state())
		}
	}
}

// PU6: what a person does meanwhile does not bring the button back.
func TestPU6_NotOfferedWhileTheDeviceRests(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	a.provider.RefuseNotMe(20 * time.Minute)
	b.post("/login", "user", "ana", "next", "/account")
	b.shows(t, field, "Use a code instead, and change your password", "not:"+askPush)
	for _, do := range []func(){
		func() { b.post("/authy/verify", "token", "0000000") },
		func() { b.post("/authy/send_token") },
		func() { b.post("/authy/send_token", "force", "true") },
		func() { b.post("/login/verify/push") },
	} {
		do()
		b.shows(t, field, "not:"+askPush)
	}
	b.post("/login", "user", "ana", "next", "/account")
	a.pass(10 * time.Minute)
	b.shows(t, "not:"+askPush, "Log in again")
}

// What else the page is for: settings take a code of an authenticator, pinned keys none, and an act where the application allows it.
func TestPU6_WhoElseWaitsForADevice(t *testing.T) {
	start := func(t *testing.T, settings ...func(*secondfactor.Config)) (*app, *browser) {
		a := newApp(t, settings...)
		b := a.browser()
		b.signIn("ana")
		a.provider.RefuseNotMe(20 * time.Minute)
		return a, b
	}
	t.Run("settings", func(t *testing.T) {
		_, b := start(t)
		b.post("/login/confirm", "next", "/settings")
		b.shows(t, field, "Confirm with a code", "Use a code instead", "not:"+askPush, "not:This needs your device")
	})
	t.Run("allowed", func(t *testing.T) {
		_, b := start(t, func(c *secondfactor.Config) { c.AppCodesForActs = true })
		b.post("/transfer", "amount", "5")
		b.shows(t, field, "Confirm with a code", "Use a code instead", "not:"+askPush)
	})
	t.Run("pinned", func(t *testing.T) {
		a, _ := start(t)
		a.setKeys("ana", "a key")
		b := a.browser()
		b.post("/login", "user", "ana", "next", "/account")
		b.shows(t, "This needs your device", "Nobody was signed in.", "Change your password", "not:"+field, "not:"+askPush, "not:Use a code", ">Back<")
	})
	t.Run("refused", func(t *testing.T) {
		a, b := start(t)
		a.provider.RefuseNotMe(0)
		a.provider.Refuse("create", "60065")
		b.post("/transfer", "amount", "5")
		b.shows(t, "This needs your device", "cannot be asked", "not:"+field, "not:"+askPush, ">Back<")
	})
}

// PU19: a number that did not match is a denial, not silence.
func TestPU19_SaysWhatHappened(t *testing.T) {
	for purpose, code := range map[secondfactor.Purpose]string{secondfactor.ForLogin: "Use a code instead.", secondfactor.ForStepUp: "not:Use a code"} {
		a := newApp(t)
		b := a.browser()
		b.cookies["countersign_login_pending"] = "value"
		putAttempt(t, a, "value", func(at *secondfactor.Attempt) {
			at.Purpose, at.State, at.Notice = purpose, secondfactor.Choosing, secondfactor.NoticePaused
			at.WaitUntil = a.clock().Add(8 * time.Second)
			at.RestsUntil = at.WaitUntil
		})
		b.shows(t, "were denied or not answered, so your device is left in peace for 8 seconds.", code, `data-wait="8"`)
	}
}

// ST6: without a device an act is confirmed by a text message. Its field is there once there is something to type.
func TestST6_TheTextMessageComesFirst(t *testing.T) {
	a := newApp(t)
	a.addPerson("cid", "2025550177", false)
	id := a.people["cid"].AuthyID
	b := a.browser()
	b.post("/login", "user", "cid", "next", "/account")
	b.post("/authy/send_token")
	code, _ := a.provider.Sent(id)
	b.post("/authy/verify", "token", code)
	b.complete()
	b.post("/transfer", "amount", "5")
	b.shows(t, "Confirm with a text message", "Use a text message instead", `class="primary" `+sendText, "not:"+field, "not:"+askPush, "not:Confirm with a code")
	a.provider.Refuse("sms", "60003")
	b.post("/authy/send_token")
	b.shows(t, "Confirm with a text message", "too often", sendText, "not:"+field)
	a.provider.Refuse("sms", "")
	b.post("/authy/send_token")
	b.shows(t, "Confirm with a code", "We sent a code", field, "not:"+`class="primary" `+sendText)
	code, _ = a.provider.Sent(id)
	if got := b.post("/authy/verify", "token", code); got.code != 307 {
		t.Errorf("the code of the transfer: %d", got.code)
	}
}

// CO1: the page says where a code comes from, unless one was sent.
func TestCO1_WhereTheCodeIs(t *testing.T) {
	const where = "Open the authenticator and type the code it shows for Owlgate, or ask for a text message."
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	b.shows(t, "Other ways", where, "Ask your device again", "not:Send again")
	a.prefer = secondfactor.Code
	b.post("/login", "user", "ana", "next", "/account")
	b.shows(t, "Enter your code", where, field)
	b.post("/authy/send_token", "force", "true")
	b.shows(t, "We sent a code", field, "not:"+where)
	a.prefer = ""
	b.signIn("bob")
	b.post("/login/confirm", "next", "/settings")
	b.shows(t, "type the code it shows for Owlgate.", "not:ask for a text message")
	a.addPerson("cid", "2025550177", false)
	b.post("/login", "user", "cid", "next", "/account")
	b.shows(t, "There is no authenticator for this account. Use a text message instead.", field, "not:Open the authenticator")
}

// AC8: who is signed out elsewhere while waiting is told so, and not that the page is old.
func TestAC8_TheWaitingBrowserIsTold(t *testing.T) {
	a := newApp(t)
	here, waiting, acting := a.browser(), a.browser(), a.browser()
	here.signIn("ana")
	acting.signIn("ana")
	acting.post("/transfer", "amount", "5")
	waiting.login("ana")
	waiting.shows(t, "not:was ended")
	l := waiting.listen(t)
	l.expect(t, `"state":"push_pending"`)
	if err := a.guard.SignOutOthers(t.Context(), a.who(here)); err != nil {
		t.Fatal(err)
	}
	l.expect(t, `"state":"cancelled","notice":"ended"`)
	waiting.shows(t, "This log-in was ended", "Nobody was signed in.", "Log in again", "not:out of date", "not:replaced by a newer")
	acting.shows(t, "This was ended", "Nothing was done.", "not:out of date")
}

// PU5: who changed their mind is not told that somebody knows the password; a denial of another kind leaves that open.
func TestPU5_ChangedMyMind(t *testing.T) {
	for reason, says := range map[string]string{
		"": "not:knows your password", "odd": "somebody knows your password", secondfactor.ReasonNotMe: "knows your password", secondfactor.ReasonWrongNumber: "not:knows your password",
	} {
		a := newApp(t)
		b := a.browser()
		a.provider.DenyBecause(b.login("ana").UUID, reason)
		b.shows(t, "Nobody was signed in.", says)
	}
}
