// This file owns the tests of the security page, of what changes a factor or a password, and of every path that could lead to a session (T-21).

package login_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

// confirm proves the factor once more for a page that wants it.
func (b *browser) confirm(path string) page {
	b.bank.t.Helper()
	b.get(path).expect(b.bank.t, 303, "/login/confirm?next="+strings.ReplaceAll(path, "/", "%2F"))
	b.post("/login/confirm", "next", path).expect(b.bank.t, 303, "/login/verify")
	b.approve().expect(b.bank.t, 303, path)
	return b.get(path).expect(b.bank.t, 200, "")
}

func TestSU7_CodesAreSavedFirst(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.signup("ana@example.com")
	bank.provider.AddDevice(b.authyID())
	b.post("/login/verify/push")
	b.approve().expect(t, 303, "/account")
	for _, path := range []string{"/account", "/security", "/transfers/x"} {
		b.get(path).expect(t, 303, "/codes")
	}
	b.post("/transfer", "payee", "x", "amount", "1", "currency", "Knuts").expect(t, 303, "/codes")
	b.post("/codes/saved", "saved", "yes").expect(t, 303, "/codes?notice=unsaved") // none were made
	b.get("/codes").expect(t, 200, "", "One step left", "Show my recovery codes")
	first := b.post("/codes").expect(t, 200, "", "I have saved them", "Download", "Print", "Copy")
	if cache := first.header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("the page with the codes may be cached: %q", cache)
	}
	if strings.Contains(b.get("/codes").body, `data-testid="codes">`) {
		t.Error("the codes can be seen again")
	}
	b.post("/codes/saved").expect(t, 303, "/codes?notice=unsaved")
	b.get("/codes?notice=unsaved").expect(t, 200, "", "tick the box")
	// SU8: left here, the next log-in asks for the factor, and then goes on here.
	again := bank.browser()
	again.login("ana@example.com").expect(t, 303, "/login/verify")
	again.approve().expect(t, 303, "/account")
	again.saveCodes()
	again.get("/account?notice=protected").expect(t, 200, "", "Your account is protected")
}

func TestRE2_RecoveryLeadsToANewDevice(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	b.post("/codes")
	_, rest, _ := strings.Cut(b.post("/codes").body, `data-testid="codes">`)
	text, _, _ := strings.Cut(rest, "</pre>")
	codes := strings.Fields(text)
	lost := bank.browser()
	for i, code := range codes[:8] {
		lost = bank.browser()
		lost.login("ana@example.com").expect(t, 303, "/login/verify")
		lost.get("/login/verify").expect(t, 200, "", "I have lost my phone", "counter beneath the hill")
		lost.post("/login/verify/recovery", "recovery", code).expect(t, 307, "/login/verify/complete")
		lost.post("/login/verify/complete").expect(t, 303, "/account")
		lost.get("/account").expect(t, 200, "", fmt.Sprintf("You used a recovery code; %d are left", 9-i), "/security/device", "/security/off", "Signed in with a recovery code")
	}
	bank.mailed("A recovery code was used")
	lost.get("/security/device").expect(t, 200, "", "Show the code")
	lost.post("/security/device").expect(t, 200, "", secondfactortest.Origin+"/enroll#lusab", `class="qr"`)
	// RE4: few are left, and that is said at each log-in.
	b.post("/logout")
	b.login("ana@example.com")
	b.approve()
	b.get("/account").expect(t, 200, "", "Only 2 recovery codes left")
}

func TestRB_TrustIsAskedAndShown(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	b.get("/account").expect(t, 200, "", "Trust this browser for 30 days?", `value="no"`)
	b.post("/login/trust", "trust", "yes", "next", "/account").expect(t, 303, "/account")
	if strings.Contains(b.get("/account").body, "Trust this browser for 30 days?") {
		t.Error("asked again")
	}
	b.post("/logout")
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", `data-state="approved"`)
	b.post("/login/verify/complete").expect(t, 303, "/account")
	b.get("/account").expect(t, 200, "", "not asked for, because you trust this browser")
	b.get("/security").expect(t, 200, "", `data-testid="trusted"`, "Firefox on Linux, 192.0.2.1", "this one", "Forget all")
	b.post("/security/trusted").expect(t, 400, "", "did not say which")
	b.get("/security").expect(t, 200, "", "Forget all")
	b.post("/security/trusted", "all", "yes").expect(t, 303, "/security?notice=forgotten")
	b.get("/security?notice=forgotten").expect(t, 200, "", "Every log-in asks for your second factor")
	b.post("/logout")
	b.login("ana@example.com")
	b.get("/login/verify").expect(t, 200, "", `data-state="push_pending"`)
	bank.mailed("A browser is trusted")
}

func TestAC1_SecurityPage(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	got := b.get("/security").expect(t, 200, "", "+1 ••••••••23", "Android phone", `data-testid="codes-left">10<`, "this one", "None. Every log-in asks", "Two-factor authentication switched on", "Firefox on Linux, 192.0.2.1")
	if strings.Contains(got.body, "5550123") {
		t.Error("the number is not masked")
	}
	bank.browser().get("/security").expect(t, 303, "/login?next=%2Fsecurity")
}

func TestAC2_ChangePhone(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	old := b.authyID()
	b.post("/security/phone", "country_code", "1", "phone", "12").expect(t, 422, "", "Enter a phone number")
	b.post("/security/phone", "country_code", "1", "phone", "2025550123").expect(t, 422, "", "the number you have")
	// AC3: begun and left: the old one still counts.
	b.post("/security/phone", "country_code", "1", "phone", "2025550155").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", "Confirm your new number")
	fresh := bank.provider.AddUser("any", "1", "2025550155")
	b.post("/authy/verify", "token", "0000000")
	b.get("/security").expect(t, 200, "", "••23")
	b.post("/authy/send_token")
	code, _ := bank.provider.Sent(fresh)
	b.post("/authy/verify", "token", code).expect(t, 307, "/login/verify/complete")
	b.post("/login/verify/complete").expect(t, 303, "/security?notice=phone")
	b.get("/security?notice=phone").expect(t, 200, "", "Your new number is in force", "••55", "The phone number was changed")
	bank.mailed("The phone number was changed")
	if bank.provider.Exists(old) || bank.provider.Calls("notice") != 1 || strings.Contains(bank.log.String(), "old number not told") {
		t.Error("the old factor is still at the provider, or its number was not told")
	}
	b.post("/logout")
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	b.post("/authy/send_token")
	code, _ = bank.provider.Sent(fresh)
	b.post("/authy/verify", "token", code).expect(t, 307, "/login/verify/complete")
	// The new number is as proved as the first was: after a reset it is masked as well.
	if err := bank.app.Exec(`UPDATE users SET protected = 0`); err != nil {
		t.Fatal(err)
	}
	b.login("ana@example.com").expect(t, 303, "/enrol")
	if page := b.get("/enrol").expect(t, 200, ""); strings.Contains(page.body, "2025550155") {
		t.Error("the page shows the whole number")
	}
}

func TestAC5_RemoveDevice(t *testing.T) {
	bank := newBank(t)
	b, eve := bank.browser(), bank.browser()
	b.open("ana@example.com")
	foreign := bank.provider.AddDevice(bank.provider.AddUser("eve@example.com", "1", "2025550177"))
	second := bank.provider.AddDevice(b.authyID())
	b.post("/login/trust", "trust", "yes")
	b.post("/security/device/remove", "id", fmt.Sprint(foreign.Grant)).expect(t, 404, "")
	if bank.provider.Calls("remove device") != 0 {
		t.Error("a form removed somebody else's device")
	}
	b.get("/security").expect(t, 200, "", `remove?id=`+fmt.Sprint(second.Grant)+`"`, "Remove all")
	b.post("/security/device/remove", "id", fmt.Sprint(second.Grant)).expect(t, 303, "/security?notice=device")
	got := b.get("/security?notice=device").expect(t, 200, "", "Android phone", "A device was removed", "Every log-in asks for your second factor")
	if strings.Contains(got.body, fmt.Sprint(second.Grant)) {
		t.Error("the device is still there")
	}
	b.post("/security/device/remove").expect(t, 404, "")
	b.post("/security/device/remove", "all", "yes").expect(t, 303, "/security?notice=device")
	b.get("/security").expect(t, 200, "", "None. You log in with text messages.")
	bank.mailed("A device was removed")
	// Whoever only signs up with the number keeps its owner from nothing (T-22). Shared by two accounts that proved it, neither takes it from the other.
	stolen := bank.provider.AddDevice(b.authyID())
	eve.signup("eve@example.com")
	b.post("/security/device/remove", "id", fmt.Sprint(stolen.Grant)).expect(t, 303, "/security?notice=device")
	b.post("/security/device").expect(t, 200, "", "ticket-words")
	bank.provider.AddDevice(b.authyID())
	eve.post("/login/verify/push")
	eve.approve()
	b.post("/security/device/remove", "all", "yes").expect(t, 409, "", "Another account has the same number")
}

// A device is gone only after its owner was told what follows, in words, and said so once more.
func TestAC5_RemovalIsAskedFirst(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	const path = "/security/device/remove"
	only := fmt.Sprint(b.devices()[0])
	got := b.get("/security").expect(t, 200, "", `href="`+path+`?id=`+only+`"`)
	if strings.Contains(got.body, `action="`+path) || strings.Contains(got.body, "Rename") {
		t.Error("the page removes at once, or promises to rename")
	}
	b.get(path+"?id="+only).expect(t, 200, "", "Remove Android phone?", "text messages until you add another", "No browser is trusted", `value="`+only+`"`, `href="/security"`)
	second := bank.provider.AddDevice(b.authyID())
	got = b.get(path+"?id="+fmt.Sprint(second.Grant)).expect(t, 200, "", "Remove Android phone?", "Your other device still")
	if strings.Contains(got.body, "text messages") {
		t.Error("it says that no device is left, and one is")
	}
	b.get("/security").expect(t, 200, "", `href="`+path+`?all=yes"`)
	b.get(path+"?all=yes").expect(t, 200, "", "Remove all 2 devices?", "text messages until you add another", `name="all" value="yes"`)
	foreign := bank.provider.AddDevice(bank.provider.AddUser("eve@example.com", "1", "2025550177"))
	for _, query := range []string{"", "?id=" + fmt.Sprint(foreign.Grant), "?id=x", "?all=no"} {
		b.get(path+query).expect(t, 404, "", "no such device")
	}
	if bank.provider.Calls("remove device") != 0 {
		t.Error("asking removed a device")
	}
	// A proof that is asked for in between leads back to the question.
	bank.pass(16 * time.Minute)
	question := path + "?id=" + only
	b.get(question).expect(t, 303, "/login/confirm?next="+url.QueryEscape(question))
	b.post("/login/confirm", "next", question).expect(t, 303, "/login/verify")
	b.approve().expect(t, 303, question)
	b.get(question).expect(t, 200, "", "Remove Android phone?")

	b.post(path, "all", "yes").expect(t, 303, "/security?notice=device")
	b.get(path+"?all=yes").expect(t, 404, "", "no such device")
}

// The page with the ticket notices the device, as the first enrolment does. Devices that were there before are not it.
func TestAC5_AddedDeviceIsNoticed(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	b.post("/security/device").expect(t, 200, "", `class="qr"`, "/assets/add.js", fmt.Sprintf(`data-known="%d"`, b.devices()[0]))
	before := b.devices()
	added := bank.provider.AddDevice(b.authyID())
	if after := b.devices(); len(before) != 1 || len(after) != 2 || after[1] != added.Grant {
		t.Errorf("devices %v, and after one was added %v", before, after)
	}
	b.get("/security?notice=added").expect(t, 200, "", "Your new device is added")
	b.get("/security/device?notice=late").expect(t, 200, "", "has run out", "Show the code")
}

// devices asks as the page with a ticket does.
func (b *browser) devices() (ids []int64) {
	b.bank.t.Helper()
	got := b.get("/account/devices").expect(b.bank.t, 200, "")
	var status struct{ Devices []int64 }
	if err := json.Unmarshal([]byte(got.body), &status); err != nil {
		b.bank.t.Fatal(err)
	}
	return status.Devices
}

// AC6, D13: the other account with the same number keeps its factor.
func TestAC6_TurnOff(t *testing.T) {
	bank := newBank(t)
	ana, other, eve := bank.browser(), bank.browser(), bank.browser()
	ana.open("ana@example.com")
	other.login("ana@example.com")
	other.approve()
	other.post("/login/trust", "trust", "yes")
	eve.signup("eve@example.com")
	eve.post("/login/verify/push")
	eve.approve()
	eve.saveCodes()
	id := ana.authyID()
	ana.get("/security/off").expect(t, 200, "", "signed out everywhere", "void at once")
	ana.post("/security/off").expect(t, 303, "/login?notice=off")
	ana.get("/login?notice=off").expect(t, 200, "", "is off")
	bank.mailed("switched off")
	if ana.signedIn() || other.signedIn() || !eve.signedIn() || !bank.provider.Exists(id) {
		t.Error("the wrong sessions ended, or the other account lost its factor")
	}
	eve.post("/security/off").expect(t, 303, "/login?notice=off")
	if bank.provider.Exists(id) {
		t.Error("nobody has the factor any more, and the provider still does")
	}
	// AC7: on again, with a new proof and new codes; trust is gone.
	other.login("ana@example.com").expect(t, 303, "/enrol")
	other.get("/enrol").expect(t, 200, "", "ticket-words")
	bank.provider.AddDevice(ana.authyID())
	other.post("/login/verify/push")
	other.approve().expect(t, 303, "/account")
	other.saveCodes()
	other.get("/security").expect(t, 200, "", `data-testid="codes-left">10<`, "None. Every log-in asks")
}

func TestAC8_SignOutOthers(t *testing.T) {
	bank := newBank(t)
	here, there := bank.browser(), bank.browser()
	here.open("ana@example.com")
	there.login("ana@example.com")
	there.approve()
	here.get("/security").expect(t, 200, "", "Sign out all other browsers")
	here.post("/security/sessions").expect(t, 400, "", "did not say which")
	if !there.signedIn() {
		t.Error("a form that says nothing signs out")
	}
	here.post("/security/sessions", "all", "yes").expect(t, 303, "/security?notice=signed-out")
	if there.signedIn() || !here.signedIn() {
		t.Error("the wrong one is signed out")
	}
}

func TestAC9_PasswordChange(t *testing.T) {
	bank := newBank(t)
	here, there := bank.browser(), bank.browser()
	here.open("ana@example.com")
	there.login("ana@example.com")
	there.approve()
	there.post("/login/trust", "trust", "yes")
	here.post("/security/password", "old", "wrong", "password", "new horse battery").expect(t, 422, "", "current password is not right")
	here.post("/security/password", "old", password, "password", "short").expect(t, 422, "", "at least 8")
	here.post("/security/password", "old", password, "password", "new horse battery").expect(t, 303, "/security?notice=password")
	if there.signedIn() || !here.signedIn() {
		t.Error("the wrong one is signed out")
	}
	there.login("ana@example.com").expect(t, 401, "")
	there.post("/login", "email", "ana@example.com", "password", "new horse battery").expect(t, 303, "/login/verify")
	there.get("/login/verify").expect(t, 200, "", `data-state="push_pending"`)
	bank.mailed("The password was changed")
}

// ST9: after a quarter of an hour every change asks for the factor again, but for what takes something away from a thief.
func TestST9_SettingsAskAgain(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	bank.pass(16 * time.Minute)
	for _, pattern := range bank.app.Patterns() {
		method, path, _ := strings.Cut(pattern, " ")
		if path == "/security/trusted" || path == "/security/sessions" || path == "/security/reset/stop" || !strings.HasPrefix(path, "/security/") && !strings.HasPrefix(path, "/codes") {
			continue
		}
		if got := b.send(method, path, "password=new+horse+battery&old="+strings.ReplaceAll(password, " ", "+")); !strings.HasPrefix(got.location, "/login/confirm") {
			t.Errorf("%s is open: %d to %s", pattern, got.code, got.location)
		}
	}
	b.confirm("/security/password")
}

func TestPU6_AlarmUntilThePasswordIsChanged(t *testing.T) {
	bank := newBank(t)
	b, thief := bank.browser(), bank.browser()
	b.open("ana@example.com")
	thief.login("ana@example.com")
	bank.provider.DenyBecause(bank.provider.Last(t).UUID, secondfactor.ReasonNotMe)
	thief.get("/login/verify").expect(t, 200, "", "this was not you")
	b.post("/logout")
	b.login("ana@example.com")
	b.approve()
	b.get("/account").expect(t, 200, "", `data-testid="alarm"`, "Change your password now", "You said that a request was not yours")
	bank.mailed("not yours")
	if strings.Contains(b.get("/account").body, `data-testid="trust"`) {
		t.Error("trust is offered below an alarm")
	}
	b.post("/security/password", "old", password, "password", "new horse battery").expect(t, 303, "/security?notice=password")
	if strings.Contains(b.get("/account").body, `data-testid="alarm"`) {
		t.Error("the alarm goes on after the password was changed")
	}
}

// Whoever takes the alarm back is told that it was heard, and that the devices are left in peace for a while all the same.
func TestPU6_AlarmIsTakenBack(t *testing.T) {
	for after, says := range map[time.Duration]string{time.Minute: "asked nothing until 20 minutes after", 21 * time.Minute: "Noted: it was you.</p>"} {
		bank := newBank(t)
		b, other := bank.browser(), bank.browser()
		b.open("ana@example.com")
		other.login("ana@example.com")
		bank.provider.DenyBecause(bank.provider.Last(t).UUID, secondfactor.ReasonNotMe)
		other.get("/login/verify")
		bank.pass(after)
		b.get("/account").expect(t, 200, "", "It was me after all")
		if after > 15*time.Minute {
			b.confirm("/security/password")
		}
		to := b.post("/security/alarm").location
		got := b.get(to).expect(t, 200, "", `role="status">Noted`, says)
		if after < 15*time.Minute && !strings.Contains(got.body, `data-testid="trust"`) {
			t.Error("trust is not offered again")
		}
		if strings.Contains(got.body, `data-testid="alarm"`) || after > 20*time.Minute && strings.Contains(got.body, "20 minutes") {
			t.Errorf("%v after the report: the alarm goes on, or devices are said to be asked nothing", after)
		}
	}
}

// D10, RE6, T-21: a reset by mail leads to the log-in, where the second factor is asked for.
func TestD10_ResetSignsNobodyIn(t *testing.T) {
	bank := newBank(t)
	b, mailThief := bank.browser(), bank.browser()
	b.open("ana@example.com")
	b.post("/login/trust", "trust", "yes")
	known := mailThief.post("/forgot", "email", "ANA@example.com").expect(t, 200, "", "link is on its way")
	unknown := mailThief.post("/forgot", "email", "nobody@example.com").expect(t, 200, "")
	if strings.ReplaceAll(known.body, "ANA@example.com", "") != strings.ReplaceAll(unknown.body, "nobody@example.com", "") {
		t.Error("the answer tells whether there is an account")
	}
	mailThief.post("/forgot", "email", "ana@example.com") // within a minute: no second mail
	if n := len(bank.mailsAbout("A new password")); n != 1 {
		t.Errorf("%d links within a minute", n)
	}
	_, token, _ := strings.Cut(link(bank.mailed("A new password")), "token=")
	mailThief.get("/reset?token="+token).expect(t, 200, "", token)
	mailThief.post("/reset", "token", token, "password", "short").expect(t, 422, "", "at least 8")
	mailThief.post("/reset", "token", token, "password", "new horse battery").expect(t, 303, "/login?notice=reset")
	if mailThief.signedIn() || b.signedIn() {
		t.Error("somebody is signed in after a reset")
	}
	mailThief.post("/reset", "token", token, "password", "third horse battery").expect(t, 410, "", "used before")
	mailThief.post("/login", "email", "ana@example.com", "password", "new horse battery").expect(t, 303, "/login/verify")
	mailThief.get("/login/verify").expect(t, 200, "", `data-state="push_pending"`)
	if mailThief.post("/login/verify/complete"); mailThief.signedIn() {
		t.Error("the second factor was not asked for")
	}
	// The trusted browser is not trusted any more.
	b.post("/login", "email", "ana@example.com", "password", "new horse battery")
	b.get("/login/verify").expect(t, 200, "", `data-state="push_pending"`)
}

func TestResetLinkRunsOut(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	b.post("/forgot", "email", "ana@example.com")
	_, token, _ := strings.Cut(link(bank.mailed("A new password")), "token=")
	bank.pass(31 * time.Minute)
	b.post("/reset", "token", token, "password", "new horse battery").expect(t, 410, "")
	b.post("/reset", "password", "new horse battery").expect(t, 410, "")
	b.post("/logout")
	b.login("ana@example.com").expect(t, 303, "/login/verify") // the old password still works
}

// D10: who read the owner's mail yesterday is out once the owner has changed the password.
// Links that nobody can use any more do not pile up.
func TestOldLinksAreForgotten(t *testing.T) {
	bank := newBank(t)
	bank.browser().open("ana@example.com")
	for range 5 {
		bank.browser().post("/forgot", "email", "ana@example.com")
		bank.pass(10 * time.Minute)
	}
	if n, err := bank.app.PasswordLinks(); err != nil || n != 3 {
		t.Errorf("%d links are kept of 5 in 50 minutes, want 3: %v", n, err)
	}
}

func TestD10_ChangedPasswordVoidsLinks(t *testing.T) {
	bank := newBank(t)
	b, mailThief := bank.browser(), bank.browser()
	b.open("ana@example.com")
	mailThief.post("/forgot", "email", "ana@example.com")
	_, token, _ := strings.Cut(link(bank.mailed("A new password")), "token=")
	b.post("/security/password", "old", password, "password", "new horse battery").expect(t, 303, "/security?notice=password")
	mailThief.post("/reset", "token", token, "password", "third horse battery").expect(t, 410, "", "used before")
}

func TestPW3_WrongPasswordsWait(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	b.post("/logout")
	for _, email := range []string{"ana@example.com", "nobody@example.com"} { // waiting tells nothing about accounts
		for try := range 5 {
			if got := b.post("/login", "email", email, "password", "wrong"); got.code != 401 {
				t.Fatalf("%s, try %d: %d", email, try, got.code)
			}
		}
		got := b.post("/login", "email", " "+strings.ToUpper(email), "password", password).expect(t, 429, "", "Try again in 1 minute")
		if got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	bank.pass(time.Minute + time.Second)
	b.post("/login", "email", "ana@example.com", "password", "wrong").expect(t, 401, "")
	b.login("ana@example.com").expect(t, 429, "", "Try again in 2 minutes")
	bank.pass(2*time.Minute + time.Second)
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	b.post("/login", "email", "ana@example.com", "password", "wrong").expect(t, 401, "") // counted from the start again
	b.signup("bob@example.com").expect(t, 303, "/enrol")                                 // another person at the same address
}

// T-21, T-23: every page is in one class, and every way to a session or away from a factor passes its gate. A new page fails here until
// somebody has thought about it.
func TestT21_EveryPageHasItsGate(t *testing.T) {
	const (
		anybody   = "anybody"
		enrolling = "password given, no factor yet"
		waiting   = "password given, factor awaited"
		member    = "signed in"
		confirmed = "factor proved a moment ago"
	)
	classes := map[string]string{
		"GET /{$}": anybody, "GET /signup": anybody, "POST /signup": anybody, "GET /signup/details": anybody, "POST /signup/details": anybody, "GET /login": anybody, "POST /login": anybody,
		"GET /forgot": anybody, "POST /forgot": anybody, "GET /reset": anybody, "POST /reset": anybody,
		"GET /assets/{name}": anybody, "GET /": anybody,
		"GET /enrol": enrolling, "POST /enrol": enrolling, "POST /enrol/number": enrolling, "GET /enrol/status": enrolling,
		"GET /lost": waiting, "POST /lost": waiting, "POST /lost/finish": waiting,
		"GET /account": member, "POST /transfer": member, "GET /transfers/{id}": member, "GET /security": member,
		"GET /account/devices": member, "POST /security/trusted": member, "POST /security/sessions": member, "POST /security/reset/stop": member,
		"GET /codes": confirmed, "POST /codes": confirmed, "POST /codes/saved": confirmed,
		"GET /security/password": confirmed, "POST /security/password": confirmed, "GET /security/phone": confirmed, "POST /security/phone": confirmed,
		"GET /security/device": confirmed, "POST /security/device": confirmed, "GET /security/device/remove": confirmed, "POST /security/device/remove": confirmed, "GET /security/off": confirmed, "POST /security/off": confirmed,
		"POST /security/alarm": confirmed,
	}
	bank := newBank(t)
	owner := bank.browser()
	owner.open("ana@example.com")
	// Everything that half a session can be: nothing, the password only, an enrolment, an ended session, and cookies in each other's place.
	stranger, half, ended, swapped := bank.browser(), bank.browser(), bank.browser(), bank.browser()
	half.login("ana@example.com").expect(t, 303, "/login/verify")
	maps.Copy(ended.cookies, owner.cookies)
	owner.post("/logout")
	swapped.cookies["countersign_login"] = half.cookies["countersign_login_pending"]
	enrolled := bank.browser()
	for _, pattern := range bank.app.Patterns() {
		class, known := classes[pattern]
		if !known {
			t.Errorf("%s is not classified", pattern)
			continue
		}
		delete(classes, pattern)
		method, path, _ := strings.Cut(strings.NewReplacer("{$}", "", "{id}", "x", "{name}", "style.css").Replace(pattern), " ")
		if class == enrolling {
			bank.pass(time.Minute)
			enrolled = bank.browser()
			enrolled.signup(fmt.Sprintf("eve%d@example.com", len(classes))).expect(t, 303, "/enrol")
		}
		for who, b := range map[string]*browser{"a stranger": stranger, "half a session": half, "an ended session": ended, "a pending cookie as session": swapped, "an enrolment": enrolled} {
			got := b.send(method, path, "email=ana%40example.com&password=wrong&token=x&saved=yes")
			if b.cookies["countersign_login"] != "" && b != swapped && b != ended {
				t.Errorf("%s gives %s a session", pattern, who)
			}
			closed := got.code == 303 && strings.HasPrefix(got.location, "/login")
			own := class == enrolling && who == "an enrolment" || class == waiting && who == "half a session"
			if class != anybody && !own && !closed {
				t.Errorf("%s is open to %s: %d to %q", pattern, who, got.code, got.location)
			}
		}
	}
	for pattern := range classes {
		t.Errorf("%s is classified and not served", pattern)
	}
	if got := bank.browser(); got.login("ana@example.com").code != 303 {
		bank.pass(20 * time.Minute)
		got.login("ana@example.com").expect(t, 303, "/login/verify")
	}
}
