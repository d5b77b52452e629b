// This file owns the tests of receipts, of acts, and of what completes them.

package secondfactor_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

// T-13, T-14: what was signed is what was asked, by whom it was asked.
func TestT14_ReceiptsAreChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*receipt.Answer)
		pin    string // "own", "other" or ""
		device string // "own", "other" or "none"
		ok     bool
	}{
		"sound":                        {device: "own", ok: true},
		"sound and pinned":             {device: "own", pin: "own", ok: true},
		"other device, nothing pinned": {device: "other", ok: true},
		"other device, pinned":         {device: "other", pin: "own"},
		"no receipt, pinned":           {device: "none", pin: "own"},
		"no receipt, nothing pinned":   {device: "none", ok: true},
		"shown something else":         {device: "own", change: func(a *receipt.Answer) { a.Shown = a.Hidden }},
		"hidden something else":        {device: "own", change: func(a *receipt.Answer) { a.Hidden = a.Shown }},
		"another approval":             {device: "own", change: func(a *receipt.Answer) { a.Approval = "00000000-0000-4000-8000-000000000000" }},
		"another user":                 {device: "own", change: func(a *receipt.Answer) { a.User++ }},
		"another application":          {device: "own", change: func(a *receipt.Answer) { a.Application = strings.Repeat("0", 24) }},
		"begun somewhere else":         {device: "own", change: func(a *receipt.Answer) { a.Shown = contentElsewhere().Digest() }},
		"denied":                       {device: "own", change: func(a *receipt.Answer) { a.Decision = receipt.Deny }},
		"another number":               {device: "own", change: func(a *receipt.Answer) { a.Match = "99" }},
		"another origin, trust given":  {device: "own", change: func(a *receipt.Answer) { a.Origin = "http://other.test" }, pin: "trust"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(config *secondfactor.Config) {
				if c.pin == "trust" {
					config.Trust = secondfactor.Trust{Origin: secondfactortest.Origin, Application: secondfactortest.ApplicationID, Name: secondfactortest.Application}
				}
			})
			a.provider.SetMatch("42")
			a.addPerson("cid", "2025550177", false)
			own := a.provider.AddDevice(a.people["cid"].AuthyID)
			other := a.provider.AddDevice(a.people["cid"].AuthyID)
			if c.pin == "own" {
				a.setKeys("cid", own.PublicKey)
			}
			b := a.browser()
			approval := b.login("cid")
			switch c.device {
			case "own":
				a.provider.ApproveAs(approval.UUID, own, c.change)
			case "other":
				a.provider.ApproveAs(approval.UUID, other, c.change)
			case "none":
				a.provider.ApproveWithoutReceipt(approval.UUID)
			}
			b.get("/login/verify")
			b.complete()
			if b.anybody() != c.ok {
				t.Errorf("signed in: %v, state %s", b.anybody(), b.state())
			}
		})
	}
}

// contentElsewhere is what another browser's log-in would show.
func contentElsewhere() receipt.Content {
	return receipt.Content{
		Application: secondfactortest.Application, Message: "Log in to Owlgate", Details: []receipt.Field{{Name: "Account", Value: "cid@example.com"}},
		Context: receipt.Context{Address: "203.0.113.9", Origin: publicURL},
	}
}

// PU2, T-17: the device shows where it was begun, and only what is known.
func TestPU2_ContextIsTold(t *testing.T) {
	a := newApp(t, func(c *secondfactor.Config) {
		c.PublicURL = "http://App.test"
		c.Address = func(*http.Request) string { return "::ffff:203.0.113.7" }
	})
	b := a.browser()
	b.header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	if got, want := b.login("ana").Context, (receipt.Context{Address: "203.0.113.7", Browser: "Firefox on Linux", Origin: "http://app.test"}); got != want {
		t.Errorf("told %+v", got)
	}
	plain := newApp(t, func(c *secondfactor.Config) {
		c.PublicURL = "http://my_app.test"
		c.Address = func(*http.Request) string { return "nonsense" }
	})
	if got := plain.browser().login("ana").Context; got != (receipt.Context{}) {
		t.Errorf("told %+v", got)
	}
}

// PU6: after "not me" nothing is asked for a while, and codes go on.
func TestPU6_NoRequestsForAWhile(t *testing.T) {
	a := newApp(t)
	a.provider.RefuseNotMe(20 * time.Minute)
	b := a.browser()
	b.post("/login", "user", "ana", "next", "/account")
	if page := b.get("/login/verify").body; !strings.Contains(page, "gets none for 20 minutes") || !strings.Contains(page, `name="token"`) || b.state() != "code_pending" {
		t.Error("the stop is not said, or no code is accepted")
	}
}

func TestStepUpDoesExactlyWhatWasShown(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	b.post("/transfer", "amount", "1,000,000")
	approval := a.provider.Last(t)
	if approval.Message != "Send money to Jarod's vault" || len(approval.Details) != 3 || approval.Details[1].Value != "1,000,000" || approval.Hidden[0].Value != "t1" {
		t.Errorf("asked %+v", approval)
	}
	page := b.get("/login/verify").body
	for _, text := range []string{"Send money to Jarod&#39;s vault", "1,000,000", "Galleons", "Confirm on your device"} {
		if !strings.Contains(page, text) {
			t.Errorf("the page does not show %q", text)
		}
	}
	a.provider.Approve(approval.UUID)
	b.get("/login/verify")
	if got := b.complete(); got.location != "/account?sent=" && got.location != "/account?sent" {
		t.Errorf("complete leads to %s", got.location)
	}
	done := a.completions()[1]
	if !done.Covers(transfer("1,000,000")) || done.Covers(transfer("1,000,001")) || done.Ref != "t1" || done.Approval != approval.UUID || done.DeviceKey == "" {
		t.Errorf("completion %+v", done)
	}
	if b.complete(); len(a.completions()) != 2 {
		t.Error("a second submit did it again")
	}
}

// A step-up is bound to the session that asked.
func TestStepUpNeedsItsSession(t *testing.T) {
	start := func(t *testing.T) (*app, *browser) {
		a := newApp(t)
		b := a.browser()
		b.signIn("ana")
		b.post("/transfer", "amount", "5")
		a.provider.Approve(a.provider.Last(t).UUID)
		b.get("/login/verify")
		return a, b
	}
	t.Run("no session", func(t *testing.T) {
		a, b := start(t)
		delete(b.cookies, "countersign_login")
		if got := b.complete(); got.code != 403 || len(a.completions()) != 1 || b.anybody() {
			t.Errorf("answered %d", got.code)
		}
	})
	t.Run("other session of the same user", func(t *testing.T) {
		a, b := start(t)
		other := a.browser()
		other.signIn("ana")
		b.cookies["countersign_login"] = other.cookies["countersign_login"]
		if got := b.complete(); got.code != 403 || len(a.completions()) != 2 {
			t.Errorf("answered %d", got.code)
		}
	})
	t.Run("logged out meanwhile", func(t *testing.T) {
		a, b := start(t)
		if err := a.store.EndSession(t.Context(), secondfactor.HashOf(b.cookies["countersign_login"])); err != nil {
			t.Fatal(err)
		}
		if got := b.complete(); got.code != 409 || len(a.completions()) != 1 || b.anybody() {
			t.Errorf("answered %d", got.code)
		}
	})
}

func TestCompletedFails(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	a.provider.Approve(b.login("ana").UUID)
	b.get("/login/verify")
	a.failing = errHook
	if got := b.complete(); got.code != 500 || b.anybody() || b.cookies["countersign_login"] != "" || !strings.Contains(got.body, "Reference") {
		t.Errorf("answered %d", got.code)
	}
}

// An act that fails signs nobody out: its session says yes to that act and is otherwise the one before, with a new value (D18).
func TestCompletedFailsAfterAnAct(t *testing.T) {
	for name, fail := range map[string]func(a *app, own *error){
		"Completed": func(a *app, _ *error) { a.failing = errHook },
		"SignedIn":  func(_ *app, own *error) { *own = errHook },
	} {
		t.Run(name, func(t *testing.T) {
			var own error
			a := newApp(t, func(c *secondfactor.Config) {
				c.SignedIn = func(http.ResponseWriter, *http.Request, secondfactor.Completion) error { return own }
			})
			b := a.browser()
			b.signIn("ana")
			a.pass(16 * time.Minute)
			old := b.cookies["countersign_login"]
			b.post("/transfer", "amount", "5")
			a.provider.Approve(a.provider.Last(t).UUID)
			b.get("/login/verify")
			fail(a, &own)
			got := b.complete()
			switch done := len(a.completions()); {
			case name == "Completed" && (got.code != 500 || !strings.Contains(got.body, "Reference")):
				t.Errorf("an act that was refused: answered %d", got.code)
			case name == "SignedIn" && (got.code != 303 || done != 2): // the log-in and the act; who is told that it failed does it again (ST2)
				t.Errorf("an act that is done: answered %d, %d completed", got.code, done)
			}
			if !b.signedIn("ana") || b.cookies["countersign_login"] == old || b.state() != "401" {
				t.Errorf("signed in %v, or by the old value; the attempt is %s", b.signedIn("ana"), b.state())
			}
			if got := b.get("/settings"); got.code == 200 {
				t.Error("settings are open")
			}
			if got := b.complete(); got.code != 409 {
				t.Errorf("the approval is good for a second try: %d", got.code)
			}
			b.cookies["countersign_login"] = old
			if b.anybody() {
				t.Error("the old value still works")
			}
		})
	}
}

// What raises a session ends with it when the application refuses: a fresh proof, a new factor.
func TestCompletedFailsAfterAProof(t *testing.T) {
	for name, begin := range map[string]func(b *browser){
		"settings": func(b *browser) { b.post("/login/confirm", "next", "/settings") },
		"change": func(b *browser) {
			b.post("/settings/phone", "phone", "2025550155")
			b.app.provider.AddDevice(b.app.provider.AddUser("any", "1", "2025550155"))
			b.post("/login/verify/push")
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			b.signIn("ana")
			begin(b)
			a.provider.Approve(a.provider.Last(t).UUID)
			b.get("/login/verify")
			a.failing = errHook
			if got := b.complete(); got.code != 500 || b.anybody() {
				t.Errorf("answered %d, signed in %v", got.code, b.anybody())
			}
		})
	}
}
