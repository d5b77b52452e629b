// This file walks 3.12 of the acceptance list: every page and state for everybody, by an automatic checker, on a narrow screen, and by keyboard.

package e2e

import (
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"countersign.dev/client"
)

// discardLog is for servers of tests whose peers break connections on purpose.
var discardLog = log.New(io.Discard, "", 0)

// axe is the accessibility checker, as it stands in npm.
var axe = sync.OnceValues(func() (string, error) {
	text, err := os.ReadFile("npm/node_modules/axe-core/axe.min.js")
	return string(text), err
})

// findings runs the checker and returns what it found, and how wide the page is for the window.
const findings = `(async (only) => {
	document.getAnimations().forEach((a) => a.effect.getComputedTiming().endTime === Infinity || a.finish()); // a colour half-way to another is none
	const options = {resultTypes: ["violations"], preload: false};
	if (only) options.runOnly = {type: "rule", values: [only]};
	else options.runOnly = {type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]};
	const found = (await axe.run(document, options)).violations.map((v) => v.id + " (" + v.help + "): " + v.nodes.map((n) => n.target + " " + n.html.slice(0, 160)).join(" | "));
	const narrow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
	if (narrow > 0) found.push("it is " + narrow + " px too wide");
	return found.join("\n");
})`

// clean checks the page that a tab shows: by the checker in light and dark, and that it fits 320 px, as at 400 % of zoom.
func (b *tab) clean(name string) {
	b.t.Helper()
	script, err := axe()
	if err != nil {
		b.t.Fatalf("the accessibility checker is not installed, run npm ci in e2e/npm: %v", err)
	}
	if _, err := evaluate[bool](b, `typeof axe === "object" || (() => {`+script+`; window.axe = axe || window.axe; return true; })()`); err != nil {
		b.t.Fatal(err)
	}
	look := func(how, only string) {
		found, err := evaluate[string](b, findings+"("+only+")")
		if err != nil || found != "" {
			b.t.Errorf("%s, %s: %s %v", name, how, found, err)
		}
	}
	phone := strings.Contains(b.name, "hand")
	look("light", "")
	if !phone {
		b.shoot(name + " 1280 light")
	}
	b.size(320, 640)
	b.scheme("dark")
	look("320 px, dark", `"color-contrast"`)
	if screenshots != "" {
		b.size(360, 780)
		b.shoot(name + " 360 dark")
		b.scheme("light")
		b.shoot(name + " 360 light")
	}
	if phone {
		b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulateMobile))
	} else {
		b.scheme("dark")
		b.size(1280, 900)
		b.shoot(name + " 1280 dark")
	}
	b.scheme("light")
}

// TestAcceptChecker: an automatic checker finds nothing on any page, in any state, of the sample, the authenticator and the console.
func TestAcceptChecker(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.matchNumbers()
	ana := w.person("Ana")
	at := func(path string) string { return w.d.LoginURL + path }

	w.line("A7", "sign-up and enrolment", func(t *testing.T) {
		for path, name := range map[string]string{"/": "home", "/login": "login", "/forgot": "forgot", "/nothing": "not found"} {
			ana.desk.open(at(path))
			ana.desk.clean(name)
		}
		ana.desk.open(at("/signup"))
		ana.desk.clean("signup")
		ana.desk.leave(func() { ana.desk.click(submit("/signup")) })
		ana.desk.clean("signup errors")
		ana.askForAccount()
		ana.desk.clean("signup mailed")
		ana.desk.open(at("/signup/details?token=wrong"))
		ana.desk.clean("signup void")
		ana.desk.open(ana.mailedLink("Open your account"))
		ana.desk.clean("signup details")
		ana.desk.leave(func() { ana.desk.click(submit("/signup/details")) })
		ana.desk.clean("signup details errors")
		ana.fillIn()
		ana.desk.leave(func() { ana.desk.click(submit("/signup/details")) })
		ana.desk.clean("enrol number")
		ana.desk.fill(named("code"), "000000")
		ana.desk.leave(func() { ana.desk.click(submit("/enrol/number")) })
		ana.desk.clean("enrol number wrong")
		ana.proveNumber()
		ana.desk.clean("enrol")
		for range 2 {
			ana.desk.click("details:not([open]) > summary")
		}
		ana.desk.clean("enrol open")
		ana.hand.open(w.d.AuthenticatorURL)
		ana.hand.see("main", "Set up this device")
		ana.hand.clean("phone start")
		ana.hand.open(w.d.AuthenticatorURL + "/enroll#wrong-words")
		ana.hand.see("main", "")
		ana.hand.clean("phone wrong ticket")
		link, err := evaluate[string](ana.desk, `document.querySelector('[data-testid="ticket-link"]').href`)
		if err != nil {
			t.Fatal(err)
		}
		ana.hand.open(link)
		ana.hand.see("main", "Owlgate", ana.maskedEmail())
		ana.hand.clean("phone ticket")
		ana.hand.fill(testid("device-name"), "Ana's phone")
		ana.hand.click(testid("enrol-confirm"))
		ana.desk.state("push_pending")
		ana.desk.clean("enrol waiting")
		ana.openRequest("")
		ana.hand.clean("phone enrol request")
		ana.typeNumber()
		ana.press("approve")
		ana.desk.stand(at("/codes"))
		ana.desk.clean("codes")
		ana.desk.leave(func() { ana.desk.click(testid("codes-show")) })
		ana.desk.clean("codes shown")
		ana.codes = strings.Fields(ana.desk.see(testid("codes"), "-"))
		ana.desk.click(testid("codes-saved"))
		ana.desk.click(testid("codes-done"))
		ana.desk.stand(at("/account"))
		ana.desk.clean("account trust")
		ana.desk.leave(func() { ana.desk.click(testid("trust") + ` button[value="no"]`) })
		ana.desk.clean("account")
	})

	w.line("A7", "account and settings", func(*testing.T) {
		for _, path := range []string{"/security", "/security/password", "/security/phone", "/security/device", "/security/device/remove?all=yes", "/security/off", "/codes"} {
			ana.desk.open(at(path))
			ana.desk.stand(at(path)) // the proof of the sign-up is fresh
			ana.desk.clean(strings.TrimPrefix(strings.ReplaceAll(path, "/", " "), " "))
		}
		ana.desk.open(at("/security/device"))
		ana.desk.leave(func() { ana.desk.click(testid("show-ticket")) })
		ana.desk.clean("security device ticket")
		ana.desk.open(at("/security/password"))
		ana.desk.fill(named("old"), "wrong")
		ana.desk.fill(named("password"), "12345678")
		ana.desk.leave(func() { ana.desk.click(submit("/security/password")) })
		ana.desk.clean("security password errors")
		ana.desk.open(at("/account"))
		ana.desk.fill(named("amount"), "nothing")
		ana.desk.leave(func() { ana.desk.click(submit("/transfer")) })
		ana.desk.clean("transfer errors")
		ana.desk.open(at("/account"))
		ana.desk.leave(func() { ana.desk.click(submit("/transfer")) })
		ana.desk.state("push_pending")
		ana.desk.clean("transfer waiting")
		ana.openRequest("")
		ana.hand.clean("phone transfer")
		ana.typeNumber()
		ana.press("approve")
		ana.hand.clean("phone approved")
		ana.desk.stand(at("/transfers/"))
		ana.desk.clean("transfer done")
		ana.logOut(ana.desk)
		ana.desk.clean("login reason")
	})

	w.line("A7", "waiting and its ends", func(*testing.T) {
		ana.typePassword(ana.desk)
		ana.desk.state("push_pending")
		ana.desk.clean("waiting")
		for range 2 {
			ana.desk.click("details:not([open]) > summary")
		}
		ana.desk.clean("waiting open")
		ana.showRequests()
		ana.hand.see("main", "Owlgate")
		ana.hand.clean("phone list")
		ana.openRequest("")
		ana.hand.clean("phone request")
		ana.hand.fill(testid("match"), ana.otherNumber())
		ana.hand.click(testid("approve"))
		ana.hand.attribute(testid("request-state"), "data-state", "mismatch")
		ana.hand.clean("phone mismatch")
		ana.desk.state("denied")
		ana.desk.see("main", "The numbers did not match")
		ana.desk.clean("wrong number")

		ana.logIn(ana.desk)
		ana.openRequest("")
		ana.hand.click(testid("deny"))
		ana.hand.see(".why", "Did you start this yourself?")
		ana.hand.clean("phone why")
		ana.hand.click(testid("deny-mistake"))
		ana.hand.attribute(testid("request-state"), "data-state", "denied")
		ana.hand.clean("phone denied")
		ana.desk.see("main", "You said no")
		ana.desk.clean("denied")

		ana.logIn(ana.desk)
		ana.openRequest("")
		ana.desk.leave(func() { ana.desk.click(testid("cancel")) })
		ana.desk.clean("cancelled")
		ana.hand.attribute(testid("request-state"), "data-state", "cancelled")
		ana.hand.clean("phone cancelled")

		ana.logIn(ana.desk)
		ana.openRequest("")
		ana.press("not-me")
		ana.hand.clean("phone not me")
		ana.desk.see("main", "You said that this was not you")
		ana.desk.clean("not me")
		ana.hand.open(w.d.AuthenticatorURL)
		ana.hand.see("main", "asks you nothing until")
		ana.hand.clean("phone stopped")
	})

	w.line("A7", "codes and lost phone", func(*testing.T) {
		ana.typePassword(ana.desk)
		ana.desk.see(`[data-notice="push_stopped"]`, "Use a code instead")
		ana.desk.clean("push stopped")
		ana.enterCode("12")
		ana.desk.see(`[data-notice="code_malformed"]`, "6 to 8 digits")
		ana.desk.clean("code malformed")
		for try := range 3 {
			ana.enterCode(fmt.Sprintf("%07d", try))
		}
		ana.desk.see(`[data-notice="code_wrong"]`, "2 tries left")
		ana.desk.clean("code wrong")
		ana.desk.leave(func() { ana.desk.click(testid("send-sms")) })
		ana.desk.clean("text message")
		ana.desk.click(testid("lost") + " summary")
		ana.desk.fill(named("recovery"), "wrong-wrong-wrong-wron")
		ana.desk.leave(func() { ana.desk.click(submit("/login/verify/recovery")) })
		ana.desk.clean("recovery wrong")
		ana.desk.fill(named("recovery"), ana.codes[0])
		ana.desk.leave(func() { ana.desk.click(submit("/login/verify/recovery")) })
		ana.desk.stand(at("/account"))
		ana.desk.see(testid("alarm"), "you said that it was not you")
		ana.desk.see(testid("recovered"), "9 are left")
		ana.desk.clean("alarm")
		ana.desk.open(at("/security"))
		ana.desk.clean("security after")
		ana.logOut(ana.desk)

		ana.typePassword(ana.desk)
		ana.desk.state("code_pending")
		for try := range 5 {
			ana.enterCode(fmt.Sprintf("%07d", try))
		}
		ana.desk.see("main", "Too many wrong codes")
		ana.desk.clean("locked")

		ana.desk.open(at("/login"))
		ana.desk.fill(named("email"), ana.email)
		ana.desk.fill(named("password"), "wrong")
		ana.desk.leave(func() { ana.desk.click(submit("/login")) })
		ana.desk.clean("login wrong")
		ana.desk.open(at("/forgot"))
		ana.desk.fill(named("email"), ana.email)
		ana.desk.leave(func() { ana.desk.click(submit("/forgot")) })
		ana.desk.clean("forgot sent")
		ana.desk.open(ana.mailedLink("A new password"))
		ana.desk.clean("reset")
		ana.desk.fill(named("password"), "password")
		ana.desk.leave(func() { ana.desk.click(submit("/reset")) })
		ana.desk.clean("reset errors")
		ana.desk.open(at("/reset?token=used"))
		ana.desk.clean("reset void")
	})

	w.line("A7", "confirming", func(*testing.T) {
		ben := w.enrolledByNumber("Ben")
		ben.desk.leave(func() { ben.desk.click(testid("trust") + ` button[value="yes"]`) })
		ben.logOut(ben.desk)
		ben.typePassword(ben.desk)
		ben.desk.stand(at("/account")) // without the second factor, so that settings ask
		ben.desk.clean("account trusted")
		ben.desk.open(at("/security/off"))
		ben.desk.stand(at("/login/confirm"))
		ben.desk.clean("confirm")
		ben.desk.leave(func() { ben.desk.click(testid("confirm")) })
		ben.desk.state("push_pending")
		ben.desk.clean("confirm waiting")
	})

	w.line("A7", "the authenticator", func(*testing.T) {
		ana.hand.click(testid("nav-codes"))
		ana.hand.see("main", "Owlgate")
		ana.hand.clean("phone codes")
		ana.hand.click(testid("nav-devices"))
		ana.hand.see("main", "This device")
		ana.hand.clean("phone devices")
		ana.hand.click(testid("device-remove"))
		ana.hand.see(testid("device-remove-confirm"), "")
		ana.hand.clean("phone remove")
		ana.hand.click(testid("device-remove-confirm"))
		ana.hand.see("main", "Set up this device")
		ana.hand.fill(testid("enrol-phone"), "12")
		ana.hand.click(testid("enrol-phone-submit"))
		ana.hand.clean("phone start error")
		ana.hand.fill(testid("enrol-phone"), "+1 "+ana.number)
		ana.hand.click(testid("enrol-phone-submit"))
		ana.hand.see("main", "Type the code")
		ana.hand.clean("phone code")
	})

	w.line("A7", "the console", func(t *testing.T) {
		operator := w.tab("operator")
		operator.open(w.d.ConsoleURL + "/")
		operator.clean("console sign in")
		operator.open(w.d.ConsoleLoginURL)
		operator.see("main", "Owlgate")
		operator.clean("console applications")
		app, err := evaluate[string](operator, `document.querySelector('a[href^="/applications/"]:not([href$="/new"])').pathname`)
		if err != nil {
			t.Fatal(err)
		}
		c := w.d.client(w.d.APIKey)
		u := w.d.addUser(c)
		w.d.newPhone().enrol(c, u)
		asked, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in?"})
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/applications/new", app, app + "/users", app + "/approvals", app + "/approvals/" + asked.UUID, app + "/messages", app + "/callbacks", app + "/audit", "/account", "/outbox", "/nothing"} {
			operator.open(w.d.ConsoleURL + path)
			operator.clean("console " + strings.ReplaceAll(strings.TrimPrefix(strings.TrimPrefix(path, app), "/"), "/", " "))
		}
		operator.open(w.d.ConsoleURL + app + "/users")
		operator.leave(func() { operator.click(`main a[href^="` + app + `/users/"]`) })
		operator.clean("console user")
		operator.open(w.d.ConsoleURL + app + "/webhooks")
		operator.see("main", "No webhooks yet")
		operator.clean("console webhooks empty")
		operator.fill(named("name"), "Ledger")
		operator.fill(named("url"), "http://127.0.0.1:1/events") // where nobody listens
		operator.leave(func() { operator.click(submit(app + "/webhooks")) })
		operator.see("[role=alert]", "")
		operator.clean("console webhooks error")
		operator.click(named("one_touch_request_sent"))
		operator.leave(func() { operator.click(submit(app + "/webhooks")) })
		operator.see("main", "The webhook is told of its events from now on")
		if _, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in again?"}); err != nil {
			t.Fatal(err)
		}
		operator.see("main", "Failing since")
		operator.clean("console webhooks failing")
	})
}

// TestAcceptKeyboard: the whole flow without a mouse, and what somebody hears who does not look.
func TestAcceptKeyboard(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.matchNumbers()
	ana := w.person("Ana")
	at := func(path string) string { return w.d.LoginURL + path }

	w.line("A1", "the whole flow by keyboard", func(t *testing.T) {
		desk := ana.desk
		desk.open(at("/"))
		desk.tabTo(`a[href="/signup"].button`)
		desk.leave(func() { desk.write(kb.Enter) })
		desk.stand(at("/signup"))
		desk.tabTo(named("email"))
		desk.write(ana.email)
		desk.leave(func() { desk.write(kb.Enter) })
		desk.open(ana.mailedLink("Open your account"))
		desk.tabTo(named("country_code"))
		desk.write("Portugal") // as a list is searched; a number with its + corrects it
		for name, text := range map[string]string{"name": ana.name, "phone": "+1" + ana.number, "password": ana.password} {
			desk.tabTo(named(name))
			desk.write(text)
		}
		desk.tabTo(submit("/signup/details"))
		desk.leave(func() { desk.write(kb.Enter) })
		desk.stand(at("/enrol"))
		becomes(desk, "what has the focus", `document.activeElement.name`, "code")
		desk.write(ana.firstText())
		desk.leave(func() { desk.write(kb.Enter) })
		ana.enrolOnPhone()
		desk.state("push_pending")
		ana.openRequest("")
		ana.typeNumber()
		ana.press("approve")
		desk.stand(at("/codes"))
		desk.tabTo(testid("codes-show"))
		desk.leave(func() { desk.write(kb.Enter) })
		desk.tabTo(testid("codes-saved"))
		desk.write(" ")
		desk.tabTo(testid("codes-done"))
		desk.leave(func() { desk.write(kb.Enter) })
		desk.stand(at("/account"))
		desk.tabTo(submit("/transfer"))
		desk.leave(func() { desk.write(kb.Enter) })
		desk.stand(at("/login/verify"))
		is(desk, "a modal on the page", `document.querySelector("dialog, [aria-modal]") !== null`, false)

		// The phone by keyboard too, as with a switch or a keyboard that is paired.
		hand := ana.hand
		ana.showRequests()
		hand.see(testid("request-item"), "Owlgate")
		hand.tabTo(testid("request-item"))
		hand.write(kb.Enter)
		hand.attribute(testid("request-state"), "data-state", "pending")
		number := ana.shownNumber()
		hand.tabTo(testid("match"))
		hand.write(number)
		hand.tabTo(testid("approve"))
		hand.write(kb.Enter)
		hand.attribute(testid("request-state"), "data-state", "approved")
		desk.stand(at("/transfers/"))
		desk.tabTo(testid("logout"))
		desk.leave(func() { desk.write(kb.Enter) })
		desk.stand(at("/?"))

		desk.open(at("/login"))
		becomes(desk, "the first field has the focus", `document.activeElement.name ?? ""`, "email")
		desk.write(ana.email)
		desk.tabTo(named("password"))
		desk.write(ana.password)
		desk.leave(func() { desk.write(kb.Enter) })
		desk.stand(at("/login/verify"))
		desk.state("push_pending")
		desk.tabTo(testid("other-ways") + " > summary")
		desk.write(kb.Enter)
		desk.tabTo(named("token"))
		desk.write("0000000")
		desk.leave(func() { desk.write(kb.Enter) })
		desk.see(`[data-notice="code_wrong"]`, "not right")
		is(desk, "what has the focus", `document.activeElement.name`, "token")
	})

	w.line("A2", "the waiting page as it is heard", func(t *testing.T) {
		ana.desk.leave(func() { ana.desk.click(testid("cancel")) })
		ana.logIn(ana.desk)
		number := strings.Join(strings.Split(ana.shownNumber(), ""), " ")
		ana.desk.see("[role=status]", "Sent to Ana's phone. Waiting for your approval. The number is "+number)
		is(ana.desk, "status region in the page as it was sent", `fetch("/login/verify").then(a => a.text()).then(t => /<p class="status" role="status"[^>]*>Sent to Ana&#39;s phone. Waiting for your approval/.test(t))`, true)
		is(ana.desk, "the countdown hidden from screen readers", `document.querySelector("[data-countdown]").closest("[aria-hidden=true]") !== null`, true)
		is(ana.desk, "what will be said 30 seconds before the end", `document.querySelector("[role=status]").dataset.saySoon`, "30 seconds left.")
		is(ana.desk, "an error of the log-in page is an alert", `fetch("/login", {method: "POST", body: new URLSearchParams({email: "x@example.com", password: "x"})}).then(a => a.text()).then(t => /role="alert"[^>]*>E-mail or password/.test(t))`, true)
	})

	w.line("A4", "the number is text", func(*testing.T) {
		is(ana.desk, "digits shown", `/^\d\d$/.test(document.querySelector('[data-testid="match-number"]').innerText)`, true)
		is(ana.desk, "large", `parseFloat(getComputedStyle(document.querySelector('[data-testid="match-number"]')).fontSize) >= 40`, true)
		is(ana.desk, "selectable", `getComputedStyle(document.querySelector('[data-testid="match-number"]').parentElement).userSelect !== "none"`, true)
	})

	w.line("A5", "code entry", func(*testing.T) {
		is(ana.desk, "one labelled field", `(() => { const f = document.querySelectorAll('[data-testid="code-form"] input:not([type=hidden])'); return f.length === 1 && f[0].labels.length === 1; })()`, true)
		ana.enterCode("12")
		is(ana.desk, "the error is tied to the field", `document.getElementById(document.querySelector("[name=token]").getAttribute("aria-describedby")).innerText`, "A code has 6 to 8 digits.")
		is(ana.desk, "the way without copying", `document.querySelector('[data-testid="open-authenticator"]') !== null`, true)
	})

	w.line("A3", "focus and title after the end", func(*testing.T) {
		ana.decideNumber("deny")
		ana.desk.state("denied")
		becomes(ana.desk, "what has the focus", `document.activeElement.tagName + ": " + document.activeElement.innerText`, "H1: You said no")
		is(ana.desk, "the title", `document.title`, "You said no · Owlgate")
	})

	w.line("A8", "language", func(*testing.T) {
		for _, page := range []struct {
			tab *tab
			url string
		}{{ana.desk, at("/")}, {ana.desk, at("/login")}, {ana.desk, w.d.ConsoleURL + "/signin"}, {ana.hand, w.d.AuthenticatorURL + "/"}} {
			page.tab.open(page.url)
			is(page.tab, "language of "+page.url, `document.documentElement.lang`, "en")
		}
	})

	w.line("A7", "high contrast and motion", func(*testing.T) {
		ana.logIn(ana.desk)
		_, err := chromedp.Call(ana.desk.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
			{Name: "forced-colors", Value: "active"}, {Name: "prefers-reduced-motion", Value: "reduce"},
		}})
		if err != nil {
			ana.desk.t.Fatal(err)
		}
		is(ana.desk, "animation of the waiting mark", `getComputedStyle(document.querySelector(".status"), "::before").animationName`, "none")
		is(ana.desk, "border of a button", `getComputedStyle(document.querySelector('[data-testid="push-again"]')).borderStyle`, "solid")
		ana.desk.shoot("waiting forced colors")
	})
}

// write types into what has the focus.
func (b *tab) write(text string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(text))
}

// tabTo presses the Tab key until an element has the focus, which must be seen there.
func (b *tab) tabTo(selector string) {
	b.t.Helper()
	var by []string
	for range 80 {
		on, err := evaluate[bool](b, `document.activeElement !== document.body && document.activeElement === [...document.querySelectorAll(`+quote(selector)+`)].find((e) => e.checkVisibility())`)
		if err != nil {
			b.t.Fatal(err)
		}
		if on {
			becomes(b, "visible focus of "+selector, `(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== "none" && s.outlineWidth !== "0px" || s.boxShadow !== "none"; })()`, true)
			return
		}
		at, _ := evaluate[string](b, `(({tagName, id, dataset}) => tagName + "#" + id + " " + (dataset.testid ?? ""))(document.activeElement) + " " + document.hasFocus()`)
		by = append(by, at)
		b.write(kb.Tab)
	}
	b.t.Fatalf("%s: the Tab key never comes to %s, but by %q", b.name, selector, slices.Compact(by))
}

// shownNumber is the number on the page at the desk.
func (p *person) shownNumber() string {
	p.desk.t.Helper()
	return strings.TrimSpace(p.desk.see(testid("match-number"), ""))
}

// otherNumber is one that the page does not show.
func (p *person) otherNumber() string {
	p.desk.t.Helper()
	if p.shownNumber() == "10" {
		return "11"
	}
	return "10"
}

// typeNumber types on the phone the number that the desk shows.
func (p *person) typeNumber() {
	p.desk.t.Helper()
	p.hand.fill(testid("match"), p.shownNumber())
}

// decideNumber is decide where a number is to be typed.
func (p *person) decideNumber(decision string) {
	p.desk.t.Helper()
	p.openRequest("")
	if decision == "approve" {
		p.typeNumber()
	}
	p.press(decision)
}

// enrolOnPhone follows the link of the enrolment page on the phone.
func (p *person) enrolOnPhone() {
	p.desk.t.Helper()
	link, err := evaluate[string](p.desk, `document.querySelector('[data-testid="ticket-link"]').href`)
	if err != nil {
		p.desk.t.Fatal(err)
	}
	p.hand.open(link)
	p.hand.fill(testid("device-name"), p.name+"'s phone")
	p.hand.click(testid("enrol-confirm"))
}

// enrolledByNumber is enrolled where a number is to be typed.
func (w *walk) enrolledByNumber(name string) *person {
	w.t.Helper()
	p := w.person(name)
	p.signUp()
	p.enrolOnPhone()
	p.desk.state("push_pending")
	p.decideNumber("approve")
	p.saveCodes()
	return p
}
