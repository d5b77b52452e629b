// This file walks 3.5 of the acceptance list: the waiting page, and what the phone makes of it.

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"countersign.dev/secondfactor"
)

// TestAcceptWaiting: one person logs in again and again, and each time something else comes of it.
func TestAcceptWaiting(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.matchNumbers()
	ana := w.enrolledByNumber("Ana")
	desk, hand := ana.desk, ana.hand
	ana.logOut(desk)

	w.line("PU1", "the waiting page", func(t *testing.T) {
		ana.logIn(desk)
		desk.state("push_pending")
		desk.see("main", "Approve on Ana's phone", "Type this number on Ana's phone", "Owlgate", "Time left", "Other ways", "Cancel")
		if n := ana.shownNumber(); len(n) != 2 {
			t.Errorf("the number is %q", n)
		}
		desk.see(testid("push-again")+":disabled", "Ask Ana's phone again (")
		ana.showRequests()
		hand.see(testid("request-item"), "Owlgate")
		is(hand, "requests on the phone", `document.querySelectorAll('[data-testid="request-item"]').length`, 1)
	})
	w.line("PU13", "reload back and forward", func(*testing.T) {
		number, request := ana.shownNumber(), ana.request(desk)
		desk.do(chromedp.Reload())
		desk.open(w.d.LoginURL + "/")
		desk.do(chromedp.NavigateBack())
		desk.do(chromedp.NavigateForward())
		desk.do(chromedp.NavigateBack())
		if again := ana.request(desk); again != request || ana.shownNumber() != number {
			desk.t.Errorf("the request was %s with %s and is %s with %s", request, number, again, ana.shownNumber())
		}
		is(hand, "requests on the phone", `document.querySelectorAll('[data-testid="request-item"]').length`, 1)
	})
	w.line("PU2", "the phone", func(*testing.T) {
		ana.openRequest("")
		hand.see(testid("request-state"), "Owlgate", "Log in to Owlgate", ana.email)
		hand.see(testid("context"), "Chrome on Linux", "127.0.0.1", "not known")
		seesLogo(hand.t, hand)
		const may = `[...document.querySelectorAll('[data-testid="approve"], [data-testid="deny"]')].map(b => b.dataset.testid + ":" + !b.disabled).sort().join(" ")`
		is(hand, "what can be pressed without a number", may, "approve:false deny:true")
		hand.fill(testid("match"), ana.shownNumber()[:1])
		is(hand, "what can be pressed with one digit", may, "approve:false deny:true")
		hand.fill(testid("match"), ana.shownNumber())
		becomes(hand, "what can be pressed with two digits", may, "approve:true deny:true")
	})
	w.line("PU3", "right number", func(*testing.T) {
		ana.press("approve")
		desk.stand(w.d.LoginURL + "/account")
		ana.logOut(desk)
	})
	w.line("PU4", "wrong number", func(*testing.T) {
		ana.logIn(desk)
		ana.openRequest("")
		hand.fill(testid("match"), ana.otherNumber())
		hand.click(testid("approve"))
		hand.attribute(testid("request-state"), "data-state", "mismatch")
		is(hand, "a second guess", `document.querySelector('[data-testid="match"]') === null`, true)
		desk.state("denied")
		desk.see("main", "The numbers did not match", "Nobody was signed in", "Log in again")
	})
	w.line("PU5", "denied by mistake", func(*testing.T) {
		ana.logIn(desk)
		ana.decide("deny")
		desk.state("denied")
		desk.see("main", "You said no", "Log in again")
		is(desk, "a field for a code", `[...document.querySelectorAll("input:not([type=hidden])")].some(e => e.checkVisibility())`, false)
		desk.click(`[data-for="denied"] ` + testid("start-over"))
		desk.stand(w.d.LoginURL + "/login")
		desk.see(named("password"), "")
	})
	w.line("PU16", "cancel", func(*testing.T) {
		ana.logIn(desk)
		ana.openRequest("")
		desk.leave(func() { desk.click(testid("cancel")) })
		desk.see("main", "ancel")
		hand.attribute(testid("request-state"), "data-state", "cancelled")
	})
	w.line("PU11", "two tabs", func(*testing.T) {
		ana.logIn(desk)
		older := desk.another("Ana older tab")
		older.open(w.d.LoginURL + "/login/verify")
		older.state("push_pending")
		first := ana.request(older)
		ana.logIn(desk)
		older.state("cancelled")
		older.see("main", "It was replaced by a newer one")
		ana.showRequests()
		becomes(hand, "requests on the phone", `[...document.querySelectorAll('[data-testid="request-item"]')].filter(e => e.dataset.uuid !== `+quote(first)+`).length + "/" + document.querySelectorAll('[data-testid="request-item"]').length`, "1/1")
	})
	w.line("PU10", "two browsers", func(t *testing.T) {
		other := w.tab("Ana other desk")
		ana.logIn(other)
		theirs := ana.request(other)
		ana.openRequest(ana.request(desk))
		ana.typeNumber()
		ana.press("approve")
		desk.stand(w.d.LoginURL + "/account")
		other.state("push_pending")
		if got := visit(t, w.d.LoginURL+"/account", cookies(other, w.d.LoginURL)); !strings.HasPrefix(got, "303 /login") {
			t.Errorf("the other browser is in as well: %s", got)
		}
		ana.openRequest(theirs)
		ana.press("deny")
		other.state("denied")
		ana.logOut(desk)
	})
	w.line("PU17", "on the phone itself", func(*testing.T) {
		page := hand.another("Ana hand page")
		ana.logIn(page)
		request := ana.request(page)
		number := strings.TrimSpace(page.see(testid("match-number"), ""))
		is(page, "more in the link than the request", `(() => { const to = new URL(document.querySelector('[data-testid="open-authenticator"]').href); return to.search + to.hash; })()`, "")
		page.inFront()
		page.click(testid("open-authenticator"))
		page.see("[role=status]", "The number is copied")
		hand.open(w.d.AuthenticatorURL + "/approvals/" + request) // where the link of the page leads
		hand.attribute(testid("request-state"), "data-state", "pending")
		hand.fill(testid("match"), number)
		ana.press("approve")
		page.stand(w.d.LoginURL + "/account")
		ana.logOut(page)
		hand.click(testid("done"))
	})
	w.line("PU15", "the server restarts", func(*testing.T) {
		ana.logIn(desk)
		request := ana.request(desk)
		w.d.stop()
		desk.see("[role=status]", "Connection lost. Reconnecting")
		w.d.start()
		desk.see("[role=status]", "Sent to Ana's phone. Waiting for your approval")
		ana.openRequest(request)
		ana.typeNumber()
		ana.press("approve")
		desk.stand(w.d.LoginURL + "/account")
		ana.logOut(desk)
	})
}

// TestAcceptTime: what comes of a request that nobody answers in time. The sample is one with short lives and without a callback.
func TestAcceptTime(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.matchNumbers()
	s := w.withSample(secondfactor.Limits{Push: 10 * time.Second, PushAgain: time.Second})
	ana := w.enrolledByNumber("Ana")
	desk, hand := ana.desk, ana.hand
	ana.logOut(desk)

	w.line("PU12", "approved and the tab was closed", func(*testing.T) {
		for _, away := range []time.Duration{5 * time.Second, 70 * time.Second} {
			ana.logIn(desk)
			ana.openRequest("")
			ana.typeNumber()
			desk.open("about:blank")
			ana.press("approve")
			is(desk, "the other page", `location.href`, "about:blank")
			s.later(away)
			desk.open(w.d.LoginURL + "/login/verify")
			if away < time.Minute {
				desk.stand(w.d.LoginURL + "/account")
				ana.logOut(desk)
			}
		}
		desk.see("main", "expired", "Nobody was signed in")
	})
	w.line("PU9", "send again", func(*testing.T) {
		ana.logIn(desk)
		number, request := ana.shownNumber(), ana.request(desk)
		desk.leave(func() { desk.click(testid("push-again")) }) // when it can be clicked
		desk.see(`[data-notice^="push_"]`, "request")           // the provider may say that the device was told a moment ago
		if again := ana.request(desk); again != request || ana.shownNumber() != number {
			desk.t.Errorf("the request was %s with %s and is %s with %s", request, number, again, ana.shownNumber())
		}
		ana.showRequests()
		is(hand, "requests on the phone", `document.querySelectorAll('[data-testid="request-item"]').length`, 1)
		ana.decideNumber("approve")
		desk.stand(w.d.LoginURL + "/account")
		ana.logOut(desk)
	})
	w.line("PU7", "nothing is done", func(t *testing.T) {
		desk.hurry()
		ana.logIn(desk)
		ana.openRequest(ana.request(desk))
		desk.see("main", "Open the authenticator and check its connection", "Use one of the other ways below")
		desk.state("expired")
		desk.see("h1", "The request has expired")
		desk.see(testid("push"), "Send a new request")
		desk.see(testid("other-ways"), "Other ways")
		eventually(t, waitWithin, "the stream to end", func() error { return want("open streams", s.streams.Load(), 0) })
	})
	w.line("PU8", "approved after the end", func(*testing.T) {
		hand.attribute(testid("request-state"), "data-state", "expired")
		desk.state("expired")
		is(desk, "where the browser is", `location.pathname`, "/login/verify")
	})
	w.line("A6", "a new request without the password", func(*testing.T) {
		desk.leave(func() { desk.click(testid("push")) })
		desk.state("push_pending")
		ana.decideNumber("approve")
		desk.stand(w.d.LoginURL + "/account")
		ana.logOut(desk)
	})
	w.line("PU14", "the network is lost", func(*testing.T) {
		ana.logIn(desk)
		ana.openRequest(ana.request(desk))
		ana.typeNumber()
		s.cut(true)
		desk.see("[role=status]", "Connection lost. Reconnecting")
		ana.press("approve")
		s.cut(false)
		desk.stand(w.d.LoginURL + "/account")
		ana.logOut(desk)
	})
	w.line("CB8", "no callback at all", func(*testing.T) {
		ana.logIn(desk)
		ana.decideNumber("approve")
		desk.stand(w.d.LoginURL + "/account")
		ana.logOut(desk)
	})
	w.line("FA2", "down until the end", func(*testing.T) {
		ana.logIn(desk)
		desk.state("push_pending")
		s.down.Store(true)
		s.provider.CloseClientConnections()
		desk.state("expired")
		desk.see("main", "The request has expired", "Nobody was signed in", "Send a new request")
		s.down.Store(false)
		desk.leave(func() { desk.click(testid("push")) })
		desk.state("push_pending")
		ana.decideNumber("approve")
		desk.stand(w.d.LoginURL + "/account")
		ana.logOut(desk)
	})
	w.line("PU6", "it was not me", func(*testing.T) {
		ana.logIn(desk)
		ana.decide("not-me")
		desk.state("denied")
		desk.see("main", "You said that this was not you", "change it")
		ana.logIn(desk)
		desk.see(`[data-notice="push_stopped"]`, "Use a code instead")
		desk.click(testid("lost") + " summary")
		desk.fill(named("recovery"), ana.codes[0])
		desk.leave(func() { desk.click(submit("/login/verify/recovery")) })
		desk.see(testid("alarm"), "you said that it was not you", "Change the password")
		ana.mailed("You said that a request was not yours")
	})
}

// TestAcceptPaused: an application with the settings of today leaves people in peace who do not answer.
func TestAcceptPaused(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	w.d.APIKey = w.d.newStyleKey("Owlgate")
	w.withSample(secondfactor.Limits{})
	ben := w.enrolledByNumber("Ben")
	ben.logOut(ben.desk)
	w.line("PU19", "three ignored requests", func(*testing.T) {
		for range 3 {
			ben.logIn(ben.desk)
			ben.desk.state("push_pending")
		}
		ben.logIn(ben.desk)
		ben.desk.see(`[data-notice="push_paused"]`, "left in peace", "Use a code instead")
		is(ben.desk, "a field for a code", `document.querySelector("[name=token]") !== null`, true)
	})
}
