// This file walks 3.13 of the acceptance list: pages without scripts, what pages may load, and streams that never come through.

package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign.dev/secondfactor"
)

// TestAcceptWithoutScripts: everything is possible with plain forms.
func TestAcceptWithoutScripts(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	ana := w.person("Ana")
	desk := ana.desk
	desk.scripts(false)
	at := func(path string) string { return w.d.LoginURL + path }

	w.line("NJ1", "sign up and in and change settings", func(*testing.T) {
		ana.signUp()
		desk.leave(func() { desk.click(testid("send-sms")) })
		ana.enterCode(w.d.sentCode(ana.number, 2))
		ana.saveCodes()
		desk.open(at("/security/device"))
		desk.leave(func() { desk.click(testid("show-ticket")) })
		ana.enrolOnPhone()
		ana.hand.see("main", "Owlgate")
		desk.open(at("/security/password"))
		desk.fill(named("old"), ana.password)
		ana.password += " and more"
		desk.fill(named("password"), ana.password)
		desk.leave(func() { desk.click(submit("/security/password")) })
		ana.logOut(desk)
		ana.logIn(desk)
		desk.leave(func() { desk.click(testid("send-sms")) })
		desk.leave(func() { desk.click(testid("send-sms")) }) // there is an app, so a text is sent only when it is wanted all the same
		ana.enterCode(w.d.sentCode(ana.number, 3))
		desk.stand(at("/account"))
		ana.logOut(desk)
	})
	w.line("NJ2", "log in by push", func(*testing.T) {
		ana.logIn(desk)
		desk.leave(func() { desk.click(testid("push")) })
		is(desk, "how often the page loads itself", `document.querySelector('noscript meta[http-equiv="refresh"]')?.content ?? document.querySelector('meta[http-equiv="refresh"]')?.content ?? ""`, "5")
		desk.see(`a.button[href$="/login/verify"]`, "Check now")
		ana.decide("approve")
		desk.see(testid("continue"), "Continue") // by itself, or by "check now"
		is(desk, "reloading at the end", `document.querySelector('meta[http-equiv="refresh"]') === null`, true)
		desk.leave(func() { desk.click(testid("continue")) })
		desk.stand(at("/account"))
	})
	w.line("NJ3", "content policy", func(t *testing.T) {
		for _, address := range []string{at("/"), at("/login"), at("/login/verify"), at("/account"), w.d.AuthenticatorURL + "/", w.d.ConsoleURL + "/signin"} {
			answer, err := http.Get(address)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			policy := answer.Header.Get("Content-Security-Policy")
			if !strings.Contains(policy, "default-src 'self'") && !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
				t.Errorf("%s: %q", address, policy)
			}
		}
	}) // that no page of any walk leaves its origin is watched in all of them, see tab.watch
}

// TestAcceptStreamHeldBack: something between browser and server lets no stream through.
func TestAcceptStreamHeldBack(t *testing.T) {
	t.Parallel()
	w := newWalk(t)
	s := w.withSample(secondfactor.Limits{PushAgain: time.Second})
	ana := w.enrolled("Ana")
	ana.logOut(ana.desk)
	w.line("PU9", "the device is told once more", func(t *testing.T) {
		ana.logIn(ana.desk)
		request := ana.request(ana.desk)
		eventually(t, 6*waitWithin, "the provider to tell the device again", func() error { // which it does 20 seconds after the first time
			ana.desk.leave(func() { ana.desk.click(testid("push-again")) })
			_, err := ana.desk.text(`[data-notice="push_again"]`)
			return err
		})
		ana.desk.see(`[data-notice="push_again"]`, "It is the same request")
		if again := ana.request(ana.desk); again != request {
			t.Errorf("the request was %s and is %s", request, again)
		}
		ana.showRequests()
		is(ana.hand, "requests on the phone", `document.querySelectorAll('[data-testid="request-item"]').length`, 1)
		ana.decide("approve")
		ana.desk.stand(w.d.LoginURL + "/account")
		ana.logOut(ana.desk)
	})
	w.line("NJ4", "polling by itself", func(*testing.T) {
		s.noStreams.Store(true)
		ana.logIn(ana.desk)
		ana.decide("approve")
		ana.desk.stand(w.d.LoginURL + "/account")
	})
}
