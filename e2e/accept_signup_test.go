// This file walks 3.3 and 3.4 of the acceptance list: an account is made and protected, and the password step.

package e2e

import (
	"strings"
	"testing"

	"countersign.dev/secondfactor"
)

// TestAcceptSignUp: everything that a form can be sent with, and enrolment that fails, is left, and is taken up again.
func TestAcceptSignUp(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	s := w.withSample(secondfactor.Limits{})
	ana := w.person("Ana")
	desk := ana.desk
	at := func(path string) string { return w.d.LoginURL + path }
	send := func(name, phone, password string) {
		desk.t.Helper()
		for field, text := range map[string]string{"name": name, "phone": phone, "password": password} {
			desk.fill(named(field), text)
		}
		desk.leave(func() { desk.click(submit("/signup/details")) })
	}
	tied := func(field string) {
		desk.t.Helper()
		is(desk, "message tied to "+field, `document.getElementById(document.getElementById("`+field+`").getAttribute("aria-describedby")).innerText.length > 5`, true)
		becomes(desk, "what has the focus", `document.activeElement.id`, "problems")
	}

	w.line("SU1", "sent empty", func(*testing.T) {
		desk.open(at("/signup"))
		desk.fill(named("email"), "not an address")
		desk.leave(func() { desk.click(submit("/signup")) })
		tied("email")
		is(desk, "the address that was typed", `document.getElementById("email").value`, "not an address")
		ana.askForAccount()
		desk.open(ana.mailedLink("Open your account"))
		is(desk, "the address that the link confirms", `document.getElementById("email").value`, ana.email)
		desk.fill(named("name"), "Ana")
		desk.fill(named("password"), "short")
		desk.leave(func() { desk.click(submit("/signup/details")) })
		tied("phone")
		is(desk, "the name that was typed", `document.getElementById("name").value`, "Ana")
		is(desk, "password given back", `document.getElementById("password").value`, "")
	})
	w.line("SU2", "malformed values", func(*testing.T) {
		send("", "12", "short")
		desk.see("#name-error", "your name")
		desk.see("#phone-error", "phone number")
		desk.see("#password-error", "8")
		send("Ana", "12", "password1")
		desk.see("#password-error", "easy to guess")
	})
	w.line("SU9", "approval service down", func(*testing.T) {
		s.down.Store(true)
		send(ana.name, "+1 (201) "+ana.number[3:6]+"-"+ana.number[6:], ana.password)
		desk.stand(at("/enrol"))
		desk.see("[role=alert]", "Your account is kept")
		s.down.Store(false)
		desk.leave(func() { desk.click(testid("text-again")) })
		ana.proveNumber()
		desk.see(testid("ticket-link"), "open the authenticator")
	})
	w.line("SU3", "an address in use", func(t *testing.T) {
		other := w.tab("Somebody else")
		pages := map[string]bool{}
		for _, email := range []string{strings.ToUpper(ana.email), "nobody" + ana.email} {
			other.open(at("/signup"))
			other.fill(named("email"), email)
			other.leave(func() { other.click(submit("/signup")) })
			pages[strings.ReplaceAll(other.see("main", "Look into your mail"), email, "")] = true
		}
		if len(pages) != 1 {
			t.Errorf("the pages differ: %v", pages)
		}
	})
	w.line("SU4", "not protected yet", func(t *testing.T) {
		desk.see("h1", "Protect your account")
		desk.see("main", "With the authenticator", "recommended", "With a text message", "Later")
		if got := visit(t, at("/account"), cookies(desk, w.d.LoginURL)); !strings.HasPrefix(got, "303 ") {
			t.Errorf("an account without second factor opens: %s", got)
		}
	})
	w.line("SU6", "QR code and words", func(*testing.T) {
		is(desk, "a picture to scan", `document.querySelector(".ticket svg, .ticket img").getBoundingClientRect().width > 100`, true)
		desk.click("details:not([open]) > summary")
		desk.see(testid("ticket-words"), "-")
		desk.see(`[data-copy="ticket-words"]`, "Copy the words")
	})
	w.line("SU5", "by text message", func(*testing.T) {
		desk.leave(func() { desk.click(testid("send-sms")) })
		desk.see(`[data-notice="sms_sent"]`, "We sent a code")
		desk.see(testid("send-sms")+":disabled", "Send another text message (")
		ana.enterCode("0000000")
		desk.see(`[data-notice="code_wrong"]`, "not right")
	})
	w.line("SU8", "left and taken up again", func(*testing.T) {
		desk.leave(func() { desk.click(testid("cancel")) })
		desk.open(at("/login"))
		desk.fill(named("email"), ana.email)
		desk.fill(named("password"), ana.password)
		desk.click(submit("/login"))
		desk.stand(at("/enrol"))
		desk.see(testid("ticket-link"), "open the authenticator")
	})
	w.line("PW4", "no second factor yet", func(*testing.T) {
		desk.see("h1", "Protect your account")
	})
	w.line("SU7", "recovery codes first", func(t *testing.T) {
		ana.enrolOnPhone()
		ana.decide("approve")
		desk.stand(at("/codes"))
		if got := visit(t, at("/account"), cookies(desk, w.d.LoginURL)); !strings.HasPrefix(got, "303 /codes") {
			t.Errorf("the account opens before the codes are saved: %s", got)
		}
		desk.leave(func() { desk.click(testid("codes-show")) })
		desk.see("main", "Copy", "Download", "Print", "I have saved them")
		desk.click(testid("codes-done")) // not ticked: the browser says so
		is(desk, "whether the box must be ticked", `document.querySelector("[name=saved]").validity.valueMissing`, true)
		ana.codes = strings.Fields(desk.see(testid("codes"), "-"))
		if len(ana.codes) != 10 {
			t.Errorf("%d codes", len(ana.codes))
		}
		desk.click(testid("codes-saved"))
		desk.click(testid("codes-done"))
		desk.stand(at("/account"))
		desk.see("main", "protected")
	})
	w.line("PW7", "signed in already", func(*testing.T) {
		desk.open(at("/login"))
		desk.stand(at("/account"))
	})
	w.line("PW1", "protected page first", func(*testing.T) {
		ana.logOut(desk)
		desk.open(at("/security"))
		desk.stand(at("/login?"))
		desk.see("[role=status]", "og in")
		desk.fill(named("email"), ana.email)
		desk.fill(named("password"), ana.password)
		desk.click(submit("/login"))
		ana.decide("approve")
		desk.stand(at("/security"))
		ana.logOut(desk)
	})
	w.line("PW8", "password managers", func(*testing.T) {
		is(desk, "what the fields are", `[...document.querySelectorAll("#email, #password")].map(e => e.autocomplete).join()`, "username,current-password")
	})
	w.line("PW2", "neutral refusal", func(t *testing.T) {
		texts := map[string]bool{}
		for _, try := range [][2]string{{ana.email, "wrong"}, {"nobody@example.com", "wrong"}} {
			desk.open(at("/login"))
			desk.fill(named("email"), try[0])
			desk.fill(named("password"), try[1])
			desk.leave(func() { desk.click(submit("/login")) })
			texts[desk.see("#problems", "")] = true
			is(desk, "the address is kept", `document.getElementById("email").value`, try[0])
			becomes(desk, "what has the focus", `document.activeElement.id`, "problems")
		}
		if len(texts) != 1 {
			t.Errorf("the texts differ: %v", texts)
		}
	})
	w.line("PW6", "letter case and spaces", func(*testing.T) {
		desk.open(at("/login"))
		desk.fill(named("email"), strings.ToUpper(ana.email))
		desk.fill(named("password"), ana.password)
		desk.click(submit("/login"))
		desk.stand(at("/login/verify"))
	})
	w.line("PW5", "the waiting page names nothing", func(*testing.T) {
		request := ana.request(desk)
		is(desk, "the address", `location.pathname + location.search`, "/login/verify")
		desk.open(at("/login/verify"))
		if again := ana.request(desk); again != request {
			desk.t.Errorf("loading the page again made %s of %s", again, request)
		}
	})
}
