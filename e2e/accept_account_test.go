// This file walks 3.6 to 3.11 and 3.14 of the acceptance list: codes, the lost phone, trusted browsers, the transfer, the security page, log-out, and an
// approval service that is down.

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"countersign.dev/secondfactor"
)

// TestAcceptCodes: one person whose phone is at hand, then is not.
func TestAcceptCodes(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	s := w.withSample(secondfactor.Limits{SMSAgain: time.Second})
	ana := w.enrolled("Ana")
	desk := ana.desk
	at := func(path string) string { return w.d.LoginURL + path }
	ana.logOut(desk)

	var used string
	w.line("CO1", "other ways", func(*testing.T) {
		ana.logIn(desk)
		request := ana.request(desk)
		ana.otherWays()
		desk.see(testid("other-ways"), "Code", "Send me a text message")
		desk.see(testid("lost"), "I have lost my phone")
		if again := ana.request(desk); again != request {
			desk.t.Errorf("the request %s became %s", request, again)
		}
	})
	w.line("CO2", "the field", func(*testing.T) {
		is(desk, "the field", `(() => { const e = document.querySelector("[name=token]"); return [e.inputMode, e.autocomplete, e.type].join(); })()`, "numeric,one-time-code,text")
	})
	w.line("CO3", "right code", func(*testing.T) {
		used = ana.appCode()
		desk.fill(named("token"), used[:3]+" "+used[3:])
		desk.write("\r")
		desk.stand(at("/account"))
		ana.showRequests()
		ana.hand.see("main", "Nothing to decide")
		ana.logOut(desk)
	})
	w.line("CO5", "the same code again", func(*testing.T) {
		ana.logIn(desk)
		desk.state("code_pending") // what worked last comes first
		ana.enterCode(used)
		desk.see(`[data-notice="code_wrong"]`, "not right, or it is too old")
	})
	w.line("CO10", "a hint about the clock", func(*testing.T) {
		ana.enterCode("0000001")
		desk.see(`[data-notice="code_wrong"]`, "is its clock set to automatic?")
	})
	w.line("CO4", "wrong code", func(*testing.T) {
		ana.enterCode("0000002")
		desk.see(`[data-notice="code_wrong"]`, "2 tries left")
		becomes(desk, "what has the focus", `document.activeElement.name ?? ""`, "token")
		is(desk, "a field for the password", `document.querySelector("[type=password]") === null`, true)
	})
	w.line("CO6", "five wrong codes", func(*testing.T) {
		ana.enterCode("0000003")
		ana.enterCode("0000004")
		desk.state("locked")
		desk.see("main", "Too many wrong codes", "Nobody was signed in")
		ana.mailed("Too many wrong codes")
	})
	w.line("CO9", "codes are not accepted for a while", func(*testing.T) {
		ana.logIn(desk)
		ana.enterCode("0000005") // the fifth: the one that was used costs nothing
		ana.enterCode(ana.appCode())
		desk.see(`[data-notice="suspended"]`, "codes are not accepted for", "You can still approve on your device")
	})
	w.line("CO8", "not sent because the app is there", func(*testing.T) {
		ben := w.enrolled("Ben")
		ben.logOut(ben.desk)
		ben.logIn(ben.desk)
		ben.otherWays()
		ben.desk.leave(func() { ben.desk.click(testid("send-sms")) })
		ben.desk.see(`[data-notice="sms_ignored"]`, "No text message was sent")
		ben.desk.leave(func() { ben.desk.click(testid("send-sms")) })
		ben.desk.see(`[data-notice="sms_sent"]`, "We sent a code")
	})
	w.line("CO7", "a text message", func(t *testing.T) {
		ben := w.people[1]
		w.setSite("login.example.com")
		first := w.d.sentCode(ben.number, 2) // the one that was asked for, and no other
		ben.desk.see(testid("send-sms"), "Send another text message")
		ben.desk.leave(func() { ben.desk.click(testid("send-sms")) }) // when the countdown is over
		second := w.d.sentCode(ben.number, 3)
		messages, err := w.d.outbox("+1" + ben.number)
		if err != nil || !strings.HasPrefix(messages[0].Body, second+" is your Owlgate code") || !strings.Contains(messages[0].Body, "Give it to nobody") ||
			!strings.HasSuffix(messages[0].Body, "\n\n@login.example.com #"+second) {
			t.Errorf("the message is %+v, %v", messages, err)
		}
		if first != second {
			ben.enterCode(first)
			ben.desk.see(`[data-notice="code_wrong"]`, "not right")
		}
		ben.enterCode(second)
		ben.desk.stand(at("/account"))
	})
	w.line("CO9", "too many texts", func(t *testing.T) {
		ben := w.people[1]
		ben.logOut(ben.desk)
		ben.logIn(ben.desk)
		for range 8 { // the first is not sent, because there is a device; and five in ten minutes are all that leave
			ben.otherWays()
			ben.desk.leave(func() { ben.desk.click(testid("send-sms")) })
			if _, err := ben.desk.text(`[data-notice="limited"]`); err == nil {
				break
			}
		}
		ben.desk.see(`[data-notice="limited"]`, "That was too often", "use another way")
		messages, err := w.d.outbox("+1" + ben.number)
		if err != nil || len(messages) != 6 {
			t.Errorf("%d messages left, want 5 beside the one of the sign-up: %v", len(messages), err)
		}
		is(ben.desk, "another way", `document.querySelector("[name=token]") !== null && document.querySelector('[data-testid="lost"]') !== null`, true)
		ben.enterCode(ben.appCode())
		ben.desk.stand(at("/account"))
	})
	w.line("RE1", "the phone is lost", func(*testing.T) {
		ana.logIn(desk)
		desk.click(testid("lost") + " summary")
		desk.see(testid("lost"), "Recovery code", "Come to the counter", "Nobody will ask you security questions")
	})
	recover := func(code string) {
		desk.t.Helper()
		if _, err := desk.text(named("recovery")); err != nil {
			desk.click(testid("lost") + " summary")
		}
		desk.fill(named("recovery"), code)
		desk.leave(func() { desk.click(submit("/login/verify/recovery")) })
	}
	w.line("RE2", "a recovery code", func(*testing.T) {
		recover(ana.codes[0])
		desk.see(testid("recovered"), "9 are left", "Set up your new device")
		is(desk, "the question about trust", `document.querySelector('[data-testid="trust"]') === null`, true)
		ana.mailed("A recovery code was used")
		desk.open(at("/account"))
		ana.logOut(desk)
	})
	w.line("RE3", "the same one again", func(*testing.T) {
		ana.logIn(desk)
		recover(ana.codes[0])
		desk.see(`[data-notice="recovery_wrong"]`, "used before")
	})
	w.line("RE4", "few are left", func(*testing.T) {
		for _, code := range ana.codes[1:8] {
			recover(code)
			desk.stand(at("/account"))
			ana.logOut(desk)
			ana.logIn(desk)
		}
		recover(ana.codes[8])
		desk.see(testid("recovered"), "1 is left")
		ana.logOut(desk)
		byPush := func() {
			ana.logIn(desk)
			desk.leave(func() { desk.click(testid("push")) }) // a code was the last way that worked
			ana.decide("approve")
			desk.stand(at("/account"))
		}
		byPush()
		desk.see(testid("few-codes"), "Only 1 recovery code left", "Make new ones")
		old := ana.codes[9]
		desk.open(at("/codes"))
		desk.leave(func() { desk.click(testid("codes-show")) })
		ana.codes = strings.Fields(desk.see(testid("codes"), "-"))
		desk.click(testid("codes-saved"))
		desk.leave(func() { desk.click(testid("codes-done")) })
		desk.open(at("/account"))
		is(desk, "the notice after new ones were made", `document.querySelector('[data-testid="few-codes"]') === null`, true)
		ana.logOut(desk)
		ana.logIn(desk)
		recover(old)
		desk.see(`[data-notice="recovery_wrong"]`, "not right")
	})
	w.line("RE6", "the password is forgotten", func(*testing.T) {
		desk.open(at("/forgot"))
		desk.fill(named("email"), ana.email)
		desk.leave(func() { desk.click(submit("/forgot")) })
		desk.open(ana.mailedLink("A new password"))
		ana.password = "another horse " + ana.number
		desk.fill(named("password"), ana.password)
		desk.leave(func() { desk.click(submit("/reset")) })
		desk.stand(at("/login"))
		ana.logIn(desk) // which comes to the second factor
		desk.leave(func() { desk.click(testid("cancel")) })
	})
	w.line("FA1", "the approval service is down", func(*testing.T) {
		s.down.Store(true)
		ana.logIn(desk)
		desk.see("[role=alert]", "could not reach the approval service")
		desk.leave(func() { desk.click(testid("push")) })
		desk.see("[role=alert]", "could not reach the approval service")
		desk.see(testid("push"), "Try again")
		desk.see(testid("lost"), "I have lost my phone")
		s.down.Store(false)
		desk.leave(func() { desk.click(testid("push")) })
		ana.decide("approve")
		desk.stand(at("/account"))
		ana.logOut(desk)
	})
	w.line("FA2", "it goes down while waiting", func(*testing.T) {
		ben := w.people[1]
		ben.logOut(ben.desk)
		ben.logIn(ben.desk)
		if _, err := ben.desk.text(testid("push")); err == nil {
			ben.desk.leave(func() { ben.desk.click(testid("push")) })
		}
		ben.openRequest("")
		s.down.Store(true)
		s.provider.CloseClientConnections()
		ben.press("approve")
		s.down.Store(false)
		ben.desk.stand(at("/account"))
	})
	w.line("RE5", "nothing is left", func(t *testing.T) {
		ben, other := w.people[1], w.tab("Ben other desk") // where he knows his password, and has nothing else
		ben.logIn(other)
		other.click(testid("lost") + " summary")
		other.leave(func() { other.click(testid("lost-everything")) })
		justAsk := func() {
			t.Helper()
			other.open(at("/lost"))
			other.see(testid("lost-page"), "Nobody will ask you security questions")
			other.leave(func() { other.click(testid("reset-ask")) })
			other.attribute(testid("reset-state"), "data-state", "asked")
		}
		ask := func() {
			t.Helper()
			justAsk()
			w.allowReset(ben.email)
		}
		justAsk() // and the phone, which is not lost at all, hears of it and stops it
		ben.showRequests()
		ben.hand.see(testid("reset-notice"), "A new start at Owlgate was asked for", ben.email)
		ben.hand.clean("phone reset asked")
		ben.hand.click(testid("reset-stop"))
		becomes(ben.hand, "the notice", `document.querySelector('[data-testid="reset-notice"]') === null`, true)
		ask()
		for _, to := range []string{"+1" + ben.number, ben.email} {
			eventually(t, waitWithin, to+" to be told", func() error {
				messages, err := w.d.outbox(to)
				if err == nil && !slices.ContainsFunc(messages, func(m message) bool { return strings.Contains(m.Body, "stop it") }) {
					err = fmt.Errorf("there is %+v", messages)
				}
				return err
			})
		}
		other.open(at("/lost"))
		other.see(testid("lost-page"), "Back")
		ben.desk.open(at("/account"))
		ben.desk.see(testid("reset"), "If it was not you, stop it")
		ben.desk.leave(func() { ben.desk.click(testid("reset-stop")) })
		ben.desk.see("[role=status]", "Stopped")
		ask() // and nobody stops it
		eventually(t, 6*waitWithin, "the reset to be due", func() error {
			other.open(at("/lost"))
			_, err := other.text(testid("reset-finish"))
			return err
		})
		other.leave(func() { other.click(testid("reset-finish")) })
		other.stand(at("/enrol"))
		other.see("#enrol", "Good for", "for one device")
		other.leave(func() { other.do(chromedp.NavigateBack()) }) // to click once more
		other.stand(at("/enrol"))
		other.see("#enrol", "Good for", "for one device")
		ben.desk.open(at("/account"))
		ben.desk.stand(at("/login"))
		ben.hand.open(w.d.AuthenticatorURL)
		ben.hand.see("main", "This device was removed")
	})
}

// TestAcceptAccount: one person with a trusted browser, transfers and settings.
func TestAcceptAccount(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	ana := w.enrolled("Ana")
	desk := ana.desk
	at := func(path string) string { return w.d.LoginURL + path }

	w.line("RB1", "asked after success", func(*testing.T) {
		desk.see(testid("trust"), "Trust this browser for 30 days?")
		desk.leave(func() { desk.click(testid("trust") + ` button[value="yes"]`) })
	})
	w.line("LO1", "log out", func(t *testing.T) {
		desk.click(testid("logout"))
		desk.stand(at("/?"))
		desk.see("[role=status]", "logged out")
		desk.do(chromedp.NavigateBack())
		desk.stand(at("/login"))
		is(desk, "status without an attempt", `fetch("/authy/status").then(a => a.status)`, 401)
	})
	w.line("RB2", "the password only", func(*testing.T) {
		ana.typePassword(desk)
		desk.stand(at("/account"))
		desk.see(testid("skipped"), "you trust this browser")
	})
	w.line("RB6", "trust is not enough", func(*testing.T) {
		desk.click(submit("/transfer"))
		desk.state("push_pending")
		desk.leave(func() { desk.click(testid("cancel")) })
		desk.open(at("/security/phone"))
		desk.stand(at("/login/confirm"))
	})
	w.line("ST9", "settings ask again", func(*testing.T) {
		desk.leave(func() { desk.click(testid("confirm")) })
		ana.decide("approve")
		desk.stand(at("/security/phone"))
	})
	w.line("AC1", "security page", func(*testing.T) {
		desk.open(at("/security"))
		desk.see("main", "Two-factor authentication", "••", "Recovery codes left", "last seen", "Trusted browsers", "Signed in", "this one", "Lately")
	})
	w.line("RB5", "trusted browsers", func(*testing.T) {
		desk.see(testid("trusted"), "Chrome on Linux", "first", "last used", "this one")
	})
	old := cookies(desk, w.d.LoginURL)
	w.line("RB4", "the cookie after it is forgotten", func(*testing.T) {
		desk.leave(func() { desk.click(testid("forget-all")) })
		desk.see("main", "Every log-in asks for your second factor")
		ana.logOut(desk)
		ana.typePassword(desk)
		desk.state("push_pending")
		ana.decide("approve")
		desk.stand(at("/account"))
	})
	w.line("LO2", "the old cookie", func(t *testing.T) {
		if got := visit(t, at("/account"), old); !strings.HasPrefix(got, "303 /login") {
			t.Errorf("the cookies of before the log-out open the account: %s", got)
		}
	})
	w.line("ST1", "the transfer is shown", func(*testing.T) {
		desk.click(submit("/transfer"))
		desk.stand(at("/login/verify"))
		desk.see(testid("asked"), "send money to Jarod's vault", "1,000,000", "Galleons")
		ana.openRequest("")
		ana.hand.see(testid("request-state"), "Request From", "Jarod", "Amount Request", "1,000,000", "Currency", "Galleons")
		seesLogo(ana.hand.t, ana.hand)
	})
	w.line("ST4", "changed in another tab", func(*testing.T) {
		other := desk.another("Ana other tab")
		other.open(at("/account"))
		other.fill(named("amount"), "5")
		other.leave(func() { other.click(submit("/transfer")) })
		other.see(testid("asked"), "5")
		desk.state("cancelled")
		ana.hand.attribute(testid("request-state"), "data-state", "cancelled")
		ana.showRequests()
		ana.decide("approve")
		other.stand(at("/transfers/"))
		other.see(testid("transfer-receipt"), "5 Galleons")
		desk.open(at("/account"))
	})
	w.line("ST2", "approved once", func(*testing.T) {
		desk.open(at("/account"))
		desk.click(submit("/transfer"))
		desk.state("push_pending")
		ana.decide("approve")
		desk.stand(at("/transfers/"))
		desk.see(testid("transfer-receipt"), "1,000,000 Galleons")
		desk.do(chromedp.Reload())
		desk.open(at("/account"))
		is(desk, "transfers of a million", `[...document.querySelectorAll('[data-testid="events"] li')].filter(e => /1,000,000/.test(e.innerText) && /sent/i.test(e.innerText)).length`, 1)
	})
	w.line("ST3", "denied and cancelled", func(*testing.T) {
		desk.click(submit("/transfer"))
		ana.decide("deny")
		desk.state("denied")
		desk.see("main", "Nothing was done")
		desk.click(`[data-for="denied"] ` + testid("start-over"))
		desk.stand(at("/account"))
		desk.click(submit("/transfer"))
		desk.state("push_pending")
		desk.leave(func() { desk.click(testid("cancel")) })
		desk.see("main", "")
		desk.open(at("/account"))
	})
	w.line("ST5", "a log-in and a transfer at once", func(*testing.T) {
		other := w.tab("Ana other desk")
		ana.logIn(other)
		login := ana.request(other)
		desk.click(submit("/transfer"))
		ana.openRequest(ana.request(desk))
		ana.press("approve")
		desk.stand(at("/transfers/"))
		other.state("push_pending")
		ana.openRequest(login)
		ana.press("approve")
		other.stand(at("/account"))
	})
	w.line("AC8", "sign out other browsers", func(*testing.T) {
		other, waiting := w.tabs[len(w.tabs)-1], w.tab("Ana waiting desk")
		ana.logIn(waiting)
		waiting.state("push_pending")
		desk.open(at("/security"))
		desk.see(testid("sessions"), "this one", "Sign out")
		desk.leave(func() { desk.click(testid("sign-out-others")) })
		other.open(at("/account"))
		other.stand(at("/login"))
		waiting.state("cancelled")
		waiting.see("main", "This log-in was ended", "Log in again")
	})
	w.line("LO5", "other browsers are not logged out", func(*testing.T) {
		other := w.tabs[len(w.tabs)-1]
		ana.logIn(other)
		ana.decide("approve")
		other.stand(at("/account"))
		ana.logOut(other)
		desk.open(at("/account"))
		desk.see(testid("account-name"), "Ana")
	})
	w.line("LO3", "a link to log out", func(*testing.T) {
		desk.open(at("/logout"))
		desk.open(at("/account"))
		desk.see(testid("account-name"), "Ana")
	})
	w.line("ST7", "odd values", func(*testing.T) {
		const odd = `<b>ירושלים</b> & "Jarod" 🦉`
		desk.fill(named("payee"), odd)
		desk.click(submit("/transfer"))
		desk.state("push_pending")
		desk.see(testid("asked"), odd)
		ana.openRequest("")
		ana.hand.see(testid("request-state"), odd)
		ana.press("deny")
		desk.open(at("/account"))
		desk.fill(named("payee"), strings.Repeat("w", 300))
		desk.leave(func() { desk.click(submit("/transfer")) })
		desk.see("[role=alert]", "")
	})
	w.line("AC3", "a number that is not proved", func(*testing.T) {
		desk.open(at("/security/phone"))
		desk.fill(named("phone"), newNumber())
		desk.leave(func() { desk.click(submit("/security/phone")) })
		desk.see("main", "Until then the old number counts")
		desk.leave(func() { desk.click(testid("cancel")) })
		desk.open(at("/account"))
		desk.see(testid("account-phone"), ana.number[len(ana.number)-2:])
	})
	w.line("AC10", "events", func(*testing.T) {
		desk.see(testid("events"), "UTC", "Chrome on Linux")
		is(desk, "numbers or codes told in full", fmt.Sprintf(`document.querySelector('[data-testid="events"]').innerText.includes(%q)`, ana.number), false)
	})
	w.line("AC9", "a new password", func(*testing.T) {
		desk.open(at("/security/password"))
		desk.fill(named("old"), ana.password)
		ana.password = "a new horse " + ana.number
		desk.fill(named("password"), ana.password)
		desk.leave(func() { desk.click(submit("/security/password")) })
		desk.see("[role=status]", "")
		ana.logOut(desk)
		ana.logIn(desk)
		ana.decide("approve")
		desk.stand(at("/account"))
	})
	w.line("AC6", "turn it off", func(*testing.T) {
		desk.open(at("/security/off"))
		desk.see("main", "void at once", "password alone protects")
		desk.leave(func() { desk.click(testid("off")) })
		desk.open(at("/account"))
		desk.stand(at("/login"))
	})
	w.line("AC7", "turn it on again", func(t *testing.T) {
		before := ana.codes
		ana.typePassword(desk)
		desk.stand(at("/enrol"))
		ana.hand.open(w.d.AuthenticatorURL)
		ana.hand.see("main", "This device was removed")
		ana.hand.click(testid("start-afresh"))
		ana.hand.see("main", "Set up this device")
		ana.enrolOnPhone()
		ana.decide("approve")
		ana.saveCodes()
		if before[0] == ana.codes[0] {
			t.Error("the recovery codes are the old ones")
		}
	})
	w.line("LO4", "log out while a request waits", func(*testing.T) {
		desk.click(submit("/transfer"))
		ana.openRequest("")
		other := desk.another("Ana other tab")
		other.open(at("/account"))
		other.click(testid("logout"))
		other.stand(at("/?"))
		ana.hand.attribute(testid("request-state"), "data-state", "cancelled")
	})
}
