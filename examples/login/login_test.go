// This file owns the tests of the whole sample: its stories, and the rules that concern an application rather than the library.

package login_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/secondfactor/secondfactortest"
)

const (
	publicURL = "http://bank.test"
	password  = "correct horse battery"
)

// The tutorial's story, from sign-up to the transfer.
func TestStory(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.get("/").expect(t, 200, "", "/signup", "/login")
	b.get("/account").expect(t, 303, "/login?next=%2Faccount")
	b.signup("ana@example.com").expect(t, 303, "/enrol")
	enrol := b.get("/enrol").expect(t, 200, "", `data-testid="ticket-words"`, `class="qr"`, secondfactortest.Origin+"/enroll#lusab", "Send me a code")
	if b.signedIn() {
		t.Fatal("signed in before the factor is proved (D11)")
	}
	if got := b.get("/enrol/status").body; !strings.Contains(got, `"device":false`) {
		t.Errorf("status %s", got)
	}
	bank.provider.AddDevice(b.authyID())
	if got := b.get("/enrol/status").body; !strings.Contains(got, `"device":true`) {
		t.Errorf("status %s", got)
	}
	if !strings.Contains(enrol.body, `action="/login/verify/push" id="prove" data-auto`) {
		t.Error("the page has no form to ask the device with")
	}
	b.post("/login/verify/push").expect(t, 303, "/login/verify")
	if asked := bank.provider.Last(t); asked.Message != "Confirm that this device protects your account" {
		t.Errorf("asked %q", asked.Message)
	}
	b.approve().expect(t, 303, "/account")
	if codes := b.saveCodes(); len(codes) != 10 {
		t.Errorf("%d recovery codes", len(codes))
	}
	b.get("/account").expect(t, 200, "", "ana@example.com", "+1 ••••••••23", "switched on with an approval", "Android phone")

	b.post("/logout").expect(t, 303, "/?notice=logged-out")
	b.get("/?notice=logged-out").expect(t, 200, "", "You are logged out.")
	b.post("/login", "email", " ANA@Example.com ", "password", password, "next", "/account?x=1").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", `data-state="push_pending"`, "Owlgate", "/assets/style.css")
	asked := bank.provider.Last(t)
	if asked.Life != 2*time.Minute || asked.Logo != publicURL+"/assets/logo.png" || len(asked.Details) != 1 ||
		asked.Details[0].Value != "ana@example.com" || asked.Context != (receipt.Context{Address: "192.0.2.1", Browser: "Firefox on Linux", Origin: publicURL}) {
		t.Errorf("asked %+v", asked)
	}
	b.approve().expect(t, 303, "/account?x=1")

	b.post("/transfer", "payee", "Jarod's vault", "amount", "1,000,000", "currency", "Galleons").expect(t, 303, "/login/verify")
	asked = bank.provider.Last(t)
	want := "[{Request From Jarod} {To Jarod's vault} {Amount Request 1,000,000} {Currency Galleons}]"
	if fmt.Sprint(asked.Details) != want || asked.Message != "Request to send money to Jarod's vault" || asked.Logo == "" || asked.Hidden[0].Name != "transfer" {
		t.Errorf("asked %+v", asked)
	}
	b.get("/login/verify").expect(t, 200, "", "Request From", "1,000,000", "Galleons")
	sent := b.approve()
	b.get(sent.location).expect(t, 200, "", "The money is on its way", "1,000,000 Galleons", asked.Hidden[0].Value)
	b.get("/account").expect(t, 200, "", "Sent 1,000,000 Galleons to Jarod's vault")
	b.post("/login/verify/complete").expect(t, 409, "")
}

func TestEnrolByTextMessage(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.signup("ana@example.com").expect(t, 303, "/enrol")
	b.post("/authy/send_token", "force", "true").expect(t, 303, "/login/verify")
	code, n := bank.provider.Sent(b.authyID())
	if n != 1 {
		t.Fatalf("%d text messages", n)
	}
	b.get("/login/verify").expect(t, 200, "", "We sent a code to +1-XXX-XXX-XX23", "/enrol")
	b.post("/authy/verify", "token", "0000000").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", "not right")
	b.post("/authy/verify", "token", code).expect(t, 307, "/login/verify/complete")
	if b.signedIn() {
		t.Fatal("signed in by the check itself")
	}
	b.post("/login/verify/complete", "token", code).expect(t, 303, "/account")
	b.saveCodes()
	b.get("/account").expect(t, 200, "", "switched on with a text message", "None. You log in with text messages.")
	// The next log-in begins with what worked last, and sends nothing unasked.
	b.post("/logout")
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", `data-state="code_pending"`, "Send me a text message")
	if _, n := bank.provider.Sent(b.authyID()); n != 1 {
		t.Errorf("%d text messages", n)
	}
}

// SU8: leaving half-way is not the end, and the password alone opens nothing.
func TestD11_EnrolmentIsResumed(t *testing.T) {
	bank := newBank(t)
	bank.browser().signup("ana@example.com")
	b := bank.browser()
	b.login("ana@example.com").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "ticket-words")
	for _, path := range []string{"/account", "/transfers/x"} {
		if got := b.get(path); got.code != 303 {
			t.Errorf("%s answered %d before the factor is proved", path, got.code)
		}
	}
	bank.provider.AddDevice(b.authyID())
	b.post("/login/verify/push")
	b.approve().expect(t, 303, "/account")
	// An enrolment that was begun before and left open does not go on, and makes no ticket.
	other := bank.browser()
	other.cookies = map[string]string{}
	other.login("ana@example.com").expect(t, 303, "/login/verify")
	other.get("/enrol").expect(t, 303, "/login")
}

func TestD11_OpenEnrolmentEndsWhenTheAccountIsProtected(t *testing.T) {
	bank := newBank(t)
	thief := bank.browser() // knows the password
	b := bank.browser()
	b.signup("ana@example.com")
	thief.login("ana@example.com").expect(t, 303, "/enrol")
	bank.provider.AddDevice(b.authyID())
	b.post("/login/verify/push")
	b.approve()
	tickets := bank.provider.Calls("ticket")
	thief.get("/enrol").expect(t, 303, "/login")
	thief.post("/enrol").expect(t, 303, "/login")
	thief.post("/enrol", "country_code", "1", "phone", "2025550199").expect(t, 303, "/login")
	thief.get("/enrol/status").expect(t, 303, "/login")
	if bank.provider.Calls("ticket") != tickets || thief.signedIn() {
		t.Error("an old enrolment still makes tickets")
	}
}

// SU9: the provider is down during sign-up, at each of its steps.
func TestD11_RegistrationFailureIsShownAndRetried(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	bank.provider.Refuse("start", "60000")
	b.openAccount("ana@example.com").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "could not send a code to +1 2025550123", "Your account is kept", "try again")
	b.post("/enrol").expect(t, 422, "", "could not reach the approval service")
	bank.provider.Refuse("start", "60003")
	b.post("/enrol").expect(t, 422, "", "Wait a minute")
	for _, code := range []string{"60013", "60120", "60015"} {
		bank.provider.Refuse("start", code)
		b.post("/enrol").expect(t, 422, "", "No text message can be sent", "Your account is kept")
	}
	bank.provider.Refuse("start", "60033")
	b.post("/enrol").expect(t, 422, "", "cannot get text messages")
	bank.provider.Refuse("start", "")
	b.post("/enrol").expect(t, 303, "/enrol")
	bank.provider.Refuse("check", "60000")
	b.proveNumber("1", "2025550123").expect(t, 422, "", "did not answer")
	bank.provider.Refuse("check", "")
	bank.provider.Refuse("add", "60003")
	b.proveNumber("1", "2025550123").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "could not register", "Your account is kept", "Try again")
	if strings.Contains(b.get("/enrol").body, "/authy/send_token") {
		t.Error("a text message is offered without a registered number")
	}
	bank.provider.Refuse("add", "")
	bank.provider.Refuse("ticket", "60003")
	b.post("/enrol").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "Show a new one")
	bank.provider.Refuse("ticket", "")
	b.post("/enrol").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "ticket-words")
	b.post("/enrol", "country_code", "1", "phone", "12").expect(t, 422, "", "Enter a phone number")
	// Another number is to be proved again.
	b.post("/enrol", "country_code", "44", "phone", "07400 123456").expect(t, 303, "/enrol")
	if strings.Contains(b.get("/enrol").body, "ticket-words") {
		t.Error("a number that nobody proved gets a ticket")
	}
	b.proveNumber("44", "7400123456").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "+44 7400123456", "ticket-words")
}

// SU5: a wrong code, one that ran out, one asked for again; and log-in in between.
func TestSU5_NumberIsProvedFirst(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.openAccount("ana@example.com").expect(t, 303, "/enrol")
	page := b.get("/enrol").expect(t, 200, "", "We sent a code to +1 2025550123", "That is not my number", `autocomplete="one-time-code"`)
	for _, early := range []string{"ticket-words", "/login/verify/push", "/authy/send_token"} {
		if strings.Contains(page.body, early) {
			t.Errorf("the page offers %s before the number is proved", early)
		}
	}
	for _, wrong := range []string{"", "000000", "abc", strings.Repeat("1", 100)} {
		b.post("/enrol/number", "code", wrong).expect(t, 422, "", "The code is not right", `aria-describedby="code-error"`)
	}
	// Leaving and coming back sends no second text while the first is good.
	b = bank.browser()
	b.login("ana@example.com").expect(t, 303, "/enrol")
	if _, sent := bank.provider.Texted("1", "2025550123"); sent != 1 {
		t.Errorf("%d codes were sent", sent)
	}
	old, _ := bank.provider.Texted("1", "2025550123")
	b.post("/enrol").expect(t, 303, "/enrol") // "Send another code"
	b.post("/enrol/number", "code", old).expect(t, 422, "", "not right")
	bank.pass(11 * time.Minute)
	b.get("/enrol").expect(t, 200, "", "has run out")
	b.login("ana@example.com").expect(t, 303, "/enrol")
	code, sent := bank.provider.Texted("1", "2025550123")
	if sent != 3 {
		t.Errorf("%d codes were sent", sent)
	}
	b.post("/enrol/number", "code", code[:3]+" "+code[3:]).expect(t, 303, "/enrol")
	b.post("/enrol/number", "code", code).expect(t, 303, "/enrol") // done already
	b.get("/enrol").expect(t, 200, "", "With the authenticator")
	if b.signedIn() {
		t.Error("the number alone signs in")
	}
}

func TestTicketRunsOut(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.signup("ana@example.com")
	bank.pass(11 * time.Minute)
	b.get("/enrol").expect(t, 200, "", "has run out")
	b.get("/enrol/status").expect(t, 200, "", `"ticket":false`)
}

// SU3, SU10, D13, T-22: whoever signs up with somebody else's number learns nothing about it, adds no device and rings no phone. Whoever proves it has
// an account of the same standing: both work.
func TestD13_ForeignNumber(t *testing.T) {
	bank := newBank(t)
	ana, eve, nobody := bank.browser(), bank.browser(), bank.browser()
	ana.open("ana@example.com")
	tickets, added, asked := bank.provider.Calls("ticket"), bank.provider.Calls("add"), bank.provider.Count()
	pages := map[string]string{}
	for b, c := range map[*browser]struct{ email, phone string }{eve: {"eve@example.com", "2025550123"}, nobody: {"nob@example.com", "2025550188"}} {
		b.post("/signup", "email", c.email)
		_, token, _ := strings.Cut(link(bank.mailedTo(c.email)), "token=")
		b.post("/signup/details", "token", token, "name", "Eve", "country_code", "1", "phone", c.phone, "password", password).expect(t, 303, "/enrol")
		b.post("/login/verify/push")
		b.post("/authy/send_token", "force", "true")
		b.login(c.email)
		pages[c.email] = strings.NewReplacer(c.email, "", c.phone, "").Replace(b.get("/enrol").body + b.get("/enrol/status").body)
	}
	if pages["eve@example.com"] != pages["nob@example.com"] {
		t.Errorf("a known number looks like this:\n%s\nand an unknown one like this:\n%s", pages["eve@example.com"], pages["nob@example.com"])
	}
	if _, texts := bank.provider.Sent(ana.authyID()); bank.provider.Calls("ticket") != tickets || bank.provider.Calls("add") != added || bank.provider.Count() != asked || texts != 0 {
		t.Error("something was done for a number that nobody proved")
	}
	eve.proveNumber("1", "2025550123").expect(t, 303, "/enrol")
	eve.get("/enrol").expect(t, 200, "", "There is a device for", "Ask my device")
	eve.post("/login/verify/push")
	eve.approve().expect(t, 303, "/account")
	eve.saveCodes()
	if !ana.signedIn() || !eve.signedIn() {
		t.Error("two accounts with one number do not both work")
	}
}

// ST2 to ST4: a transfer moves once, with the values that were shown, and not at all when it was not approved.
func TestST_TransferNeedsItsApproval(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	for _, end := range []string{"deny", "expire", "cancel"} {
		b.post("/transfer", "payee", "Jarod's vault", "amount", "5", "currency", "Knuts").expect(t, 303, "/login/verify")
		asked := bank.provider.Last(t)
		id := asked.Hidden[0].Value
		says := map[string]string{"deny": "You said no", "expire": "has expired", "cancel": ""}[end]
		switch end {
		case "deny":
			bank.provider.Deny(asked.UUID)
		case "expire":
			bank.provider.Expire(asked.UUID)
		case "cancel":
			b.post("/login/verify/cancel").expect(t, 303, "/account?notice=cancelled&transfer="+id)
			b.get("/account?transfer="+id).expect(t, 200, "", `name="amount" inputmode="numeric" required value="5"`)
		}
		if says != "" {
			b.get("/login/verify").expect(t, 200, "", says, "Nothing was done.")
		}
		b.post("/login/verify/complete")
		b.get("/transfers/"+id).expect(t, 200, "", "Nothing was moved")
	}
	b.get("/account").expect(t, 200, "")
	if strings.Contains(b.get("/account").body, "Sent 5") {
		t.Error("something moved")
	}
	// Another person's transfer does not exist.
	id := bank.provider.Last(t).Hidden[0].Value
	eve := bank.browser()
	eve.signup("eve@example.com")
	eve.post("/login/verify/push")
	eve.approve()
	eve.saveCodes()
	eve.get("/transfers/"+id).expect(t, 404, "")
}

// D26: neither codes nor numbers nor passwords are logged.
func TestD26_NothingSecretIsLogged(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	bank.provider.Refuse("add", "60003")
	b.signup("ana@example.com")
	bank.provider.Refuse("add", "")
	b.post("/enrol")
	b.post("/authy/send_token", "force", "true")
	code, _ := bank.provider.Sent(b.authyID())
	b.post("/authy/verify", "token", code)
	b.post("/login/verify/complete")
	codes := b.saveCodes()
	if !b.signedIn() {
		t.Fatal("not signed in")
	}
	b.post("/forgot", "email", "ana@example.com")
	_, token, _ := strings.Cut(link(bank.mailed("A new password")), "token=")
	for _, secret := range []string{codes[0], token, code, "5550123", "555-0123", "202 555", password, "lusab-", "argon2id", secondfactortest.APIKey, b.cookies["countersign_login"]} {
		if strings.Contains(bank.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
	if !strings.Contains(bank.log.String(), "attempt completed") {
		t.Error("the log says nothing")
	}
}
