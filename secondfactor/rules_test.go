// This file owns the tests of the rules that the defects of older samples gave (login-flow.md, part 2), one test a rule.

package secondfactor_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

func TestD1_ApprovalCountsForItsBrowserOnly(t *testing.T) {
	a := newApp(t)
	first, second := a.browser(), a.browser()
	one := first.login("ana")
	two := second.login("ana")
	if one.UUID == two.UUID {
		t.Fatal("two browsers share an approval")
	}
	a.provider.Approve(two.UUID)
	first.get("/login/verify")
	second.get("/login/verify")
	if got := first.complete(); got.location != "/login/verify" || first.anybody() {
		t.Errorf("the other browser's approval completed this one: %d %s", got.code, got.location)
	}
	if first.state() != "push_pending" {
		t.Errorf("the other still waits: %s", first.state())
	}
	if second.complete(); !second.signedIn("ana") {
		t.Error("the right browser is not signed in")
	}
}

func TestD2_LogoutDestroysTheRecord(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	kept := b.cookies["countersign_login"]
	if got := b.post("/logout"); got.code != 303 || got.location != "/" {
		t.Fatalf("log-out: %d %s", got.code, got.location)
	}
	b.cookies["countersign_login"] = kept
	if b.anybody() {
		t.Error("the old cookie still signs in")
	}
	if b.state() != "401" {
		t.Errorf("status after log-out: %s", b.state())
	}
	if got := b.complete(); got.code != 409 || b.anybody() {
		t.Errorf("complete after log-out: %d", got.code)
	}
}

func TestD3_GuardReadsTheBrowsersOwnRecord(t *testing.T) {
	a := newApp(t)
	a.browser().signIn("ana")
	other := a.browser()
	if other.anybody() {
		t.Error("a browser without a record is let in because the user is signed in elsewhere")
	}
	other.login("ana")
	if other.anybody() {
		t.Error("the password alone is enough while the user is signed in elsewhere")
	}
}

func TestD4_PendingIsNobody(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	approval := b.login("bob")
	if !b.signedIn("ana") {
		t.Error("bob's password changed who is signed in")
	}
	if got := b.get("/enrol"); got.location != "/login" {
		t.Errorf("a log-in passes for an enrolment: %d %s", got.code, got.location)
	}
	a.provider.Approve(approval.UUID)
	b.get("/login/verify")
	b.complete()
	if !b.signedIn("bob") {
		t.Error("bob is not signed in")
	}
}

func TestD5_BrowserCannotNameTheRequest(t *testing.T) {
	a := newApp(t)
	victim := a.browser()
	approved := victim.login("bob").UUID
	a.provider.Approve(approved)
	victim.get("/login/verify")
	thief := a.browser()
	thief.login("ana")
	names := []string{"uuid", approved, "request", approved, "onetouch_uuid", approved, "user", "bob", "state", "approved", "status", "approved", "authy_id", fmt.Sprint(a.people["bob"].AuthyID)}
	query := "?" + values(names...).Encode()
	for _, path := range []string{"/login/verify/complete", "/authy/verify", "/login/verify/push", "/login/verify/complete" + query} {
		thief.post(path, names...)
		if thief.anybody() {
			t.Fatalf("%s with a foreign request signs in", path)
		}
	}
	thief.get("/login/verify" + query)
	thief.get("/authy/status" + query)
	if thief.state() != "push_pending" || thief.anybody() {
		t.Errorf("state %s", thief.state())
	}
}

func TestD6_OnlyExactlyApproved(t *testing.T) {
	for _, state := range []secondfactor.State{
		"choosing", "push_pending", "code_pending", "denied", "expired", "cancelled", "locked", "consumed",
	} {
		t.Run("row "+string(state), func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			b.cookies["countersign_login_pending"] = "value"
			putAttempt(t, a, "value", func(at *secondfactor.Attempt) { at.State = state })
			if b.complete(); b.anybody() {
				t.Errorf("%s signs in", state)
			}
		})
	}
	for _, status := range []string{"", "pending", "APPROVED", "Approved", "approved ", "expired", "denied", "unknown", "true"} {
		t.Run("callback "+status, func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			approval := b.login("ana")
			if code := a.callback(approval.UUID, status, approval.AuthyID, "", nil); code != 200 {
				t.Errorf("answered %d; three errors switch callbacks off", code)
			}
			if b.complete(); b.anybody() || b.state() == "approved" {
				t.Errorf("callback status %q signs in", status)
			}
		})
	}
}

// putAttempt stores an attempt for a browser with this pending cookie.
func putAttempt(t *testing.T, a *app, cookie string, change func(*secondfactor.Attempt)) {
	t.Helper()
	at := newAttempt(secondfactor.HashOf(cookie))
	at.CreatedAt, at.ExpiresAt = a.clock(), a.clock().Add(time.Minute)
	change(&at)
	if err := a.store.CreateAttempt(t.Context(), at); err != nil {
		t.Fatal(err)
	}
}

func TestD8_FactorCountsForItsAccountOnly(t *testing.T) {
	a := newApp(t)
	a.addPerson("cid", "2025550177", false)
	b, other := a.browser(), a.browser()
	a.prefer = secondfactor.SMS
	b.post("/login", "user", "cid")
	b.post("/authy/send_token")
	code, _ := a.provider.Sent(a.people["cid"].AuthyID)
	other.post("/login", "user", "bob")
	if got := other.post("/authy/verify", "token", code); got.code == 307 || other.anybody() {
		t.Error("a code of another account was taken")
	}
	if got := b.post("/authy/verify", "token", code); got.code != 307 {
		t.Errorf("the right account's code: %d", got.code)
	}
}

func TestD12_OneApprovalOnePurpose(t *testing.T) {
	a := newApp(t)
	b, login := a.browser(), a.browser()
	b.signIn("ana")
	waiting := login.login("ana")
	b.post("/transfer", "amount", "1,000,000")
	act := a.provider.Last(t)
	if act.UUID == waiting.UUID {
		t.Fatal("the transfer shares the log-in's approval")
	}
	a.provider.Approve(act.UUID)
	a.callback(act.UUID, "approved", act.AuthyID, "", nil)
	login.get("/login/verify")
	if login.complete(); login.anybody() {
		t.Error("the approved transfer signed a browser in")
	}
	if b.complete(); len(a.completions()) != 2 || !a.completions()[1].Covers(transfer("1,000,000")) {
		t.Error("the transfer was not done")
	}
	if a.completions()[0].Covers(transfer("1,000,000")) {
		t.Error("a log-in covers a transfer")
	}
}

func TestD13_TwoAccountsOnePhone(t *testing.T) {
	a := newApp(t)
	a.addPerson("eve", "2025550123", false) // ana's number
	if a.people["eve"].AuthyID != a.people["ana"].AuthyID {
		t.Fatal("the provider gave two ids for one number")
	}
	ana, eve := a.browser(), a.browser()
	ana.login("ana")
	approval := eve.login("eve")
	a.provider.Approve(approval.UUID)
	if code := a.callback(approval.UUID, "approved", approval.AuthyID, "", nil); code != 200 {
		t.Errorf("callback: %d", code)
	}
	ana.complete()
	eve.complete()
	if ana.anybody() || !eve.signedIn("eve") {
		t.Errorf("ana signed in: %v, eve: %v", ana.anybody(), eve.signedIn("eve"))
	}
}

func TestD21_EveryFallbackWorks(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(*app, *browser) (token string)
	}{
		{"app code", func(*app, *browser) string { return secondfactortest.AppCode }},
		{"text message by force", func(a *app, b *browser) string {
			b.post("/authy/send_token")
			if page := b.get("/login/verify"); !strings.Contains(page.body, `name="force" value="true"`) || !strings.Contains(page.body, "has an authenticator") {
				a.t.Error("ignored is not said, or no force button")
			}
			b.post("/authy/send_token", "force", "true")
			code, n := a.provider.Sent(a.people["ana"].AuthyID)
			if n != 1 {
				a.t.Errorf("%d text messages", n)
			}
			return code
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			approval := b.login("ana")
			token := c.do(a, b)
			got := b.post("/authy/verify", "token", token[:3]+" - "+token[3:])
			if got.code != 307 || got.location != "/login/verify/complete" {
				t.Fatalf("verify: %d %s", got.code, got.location)
			}
			if b.anybody() {
				t.Error("verify itself signs in")
			}
			if b.complete(); !b.signedIn("ana") {
				t.Error("not signed in")
			}
			a.guard.Close()
			if status := a.provider.Approval(approval.UUID).Status; status != "cancelled" {
				t.Errorf("the live request is %s", status)
			}
		})
	}
	t.Run("no device", func(t *testing.T) {
		a := newApp(t)
		a.addPerson("cid", "2025550177", false)
		b := a.browser()
		b.post("/login", "user", "cid")
		page := b.get("/login/verify")
		if b.state() != "code_pending" || !strings.Contains(page.body, "There is no authenticator") || strings.Contains(page.body, `data-testid="push"`) {
			t.Errorf("state %s", b.state())
		}
		b.post("/authy/send_token")
		code, _ := a.provider.Sent(a.people["cid"].AuthyID)
		if b.post("/authy/verify", "token", code); b.complete().location != "/" || !b.signedIn("cid") {
			t.Error("not signed in by text message")
		}
	})
}

func TestD22_EveryOutcomeHasAMessage(t *testing.T) {
	for _, notice := range []secondfactor.Notice{
		secondfactor.NoticeNoDevice, secondfactor.NoticePaused, secondfactor.NoticeUnreachable, secondfactor.NoticeWrong,
		secondfactor.NoticeMalformed, secondfactor.NoticeSuspended, secondfactor.NoticeLimited, secondfactor.NoticeSent, secondfactor.NoticeIgnored,
		secondfactor.NoticeWait, secondfactor.NoticeNotSent, secondfactor.NoticeStale, secondfactor.NoticeAskedAgain, secondfactor.NoticeAskedEnough, secondfactor.NoticeStopped, secondfactor.NoticeNotAsked,
		secondfactor.NoticeNoRecovery, secondfactor.NoticeNoMoreTries,
	} {
		a := newApp(t)
		b := a.browser()
		b.cookies["countersign_login_pending"] = "value"
		putAttempt(t, a, "value", func(at *secondfactor.Attempt) { at.State, at.Notice = secondfactor.CodePending, notice })
		page := b.get("/login/verify").body
		_, rest, found := strings.Cut(page, `data-notice="`+string(notice)+`">`)
		text, _, _ := strings.Cut(rest, "</p>")
		if !found || len(strings.TrimSpace(text)) < 20 {
			t.Errorf("%s says %q", notice, text)
		}
		if serious := notice != secondfactor.NoticeSent && notice != secondfactor.NoticeAskedAgain; strings.Contains(page, `role="alert"`) != serious {
			t.Errorf("%s: alert is not %v", notice, serious)
		}
	}
}

func TestD26_NothingSecretIsLogged(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	for _, code := range []string{"60003", "60017", "60020", ""} {
		a.provider.Refuse("verify", code)
		a.provider.Refuse("sms", code)
		b.post("/authy/send_token", "force", "true")
		b.post("/authy/verify", "token", "8675309")
		b.post("/authy/verify", "token", "my password")
	}
	code, _ := a.provider.Sent(a.people["ana"].AuthyID)
	b.post("/authy/verify", "token", code)
	b.complete()
	a.browser().post("/login", "user", "nobody")
	logged := a.log.String()
	for _, secret := range []string{
		"8675309", "my password", code, "2025550123", "202 555", "555-0123", secondfactortest.APIKey,
		b.cookies["countersign_login"], "ana@example.com",
	} {
		if secret == "" || strings.Contains(logged, secret) {
			t.Errorf("%q is in the log, or empty", secret)
		}
	}
	if !strings.Contains(logged, "attempt completed") {
		t.Error("the log says nothing")
	}
}

func TestLB2_ZeroValuesNameNobody(t *testing.T) {
	a := newApp(t)
	w := &failing{header: http.Header{}}
	a.guard.StepUp(w, a.browser().request("POST", "/transfer", url.Values{}), secondfactor.SignedIn{}, secondfactor.Person{}, transfer("1"))
	if w.code != 500 || a.provider.Count() != 0 {
		t.Errorf("a step-up without anybody signed in: %d", w.code)
	}
}

// failing is a ResponseWriter that only remembers the status.
type failing struct {
	header http.Header
	code   int
}

func (f *failing) Header() http.Header         { return f.header }
func (f *failing) WriteHeader(code int)        { f.code = code }
func (f *failing) Write(p []byte) (int, error) { return len(p), nil }

func TestLB3_FiftyCompletesOneWins(t *testing.T) {
	stores := map[string]secondfactor.Store{"memory": secondfactor.NewMemoryStore(), "sqlite": openSQLite(t)}
	for name, store := range stores {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(c *secondfactor.Config) { c.Store = store })
			b := a.browser()
			a.provider.Approve(b.login("ana").UUID)
			b.get("/login/verify")
			var won, sessions atomic.Int64
			var all sync.WaitGroup
			for range 50 {
				each := a.browser()
				each.cookies["countersign_login_pending"] = b.cookies["countersign_login_pending"]
				all.Go(func() {
					if got := each.complete(); got.code == 303 && got.location == "/account" {
						won.Add(1)
					}
					if each.cookies["countersign_login"] != "" {
						sessions.Add(1)
					}
				})
			}
			all.Wait()
			if won.Load() != 1 || sessions.Load() != 1 || len(a.completions()) != 1 {
				t.Errorf("%d won, %d sessions, %d completions", won.Load(), sessions.Load(), len(a.completions()))
			}
		})
	}
}
