// This file owns the tests of the last way back.

package login_test

import (
	"errors"
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign.dev/client"
	"countersign.dev/examples/login"
	"countersign.dev/secondfactor/secondfactortest"
)

// RE5, AC4: with nothing but the password somebody asks, an operator allows it, it waits, and then everything of before is void.
func TestRE5_EverythingLost(t *testing.T) {
	bank := newBank(t)
	old := bank.browser()
	old.open("ana@example.com")
	old.post("/login/trust", "trust", "yes")
	codes := recoveryCodes(t, old)
	id := old.authyID()

	b := bank.browser()
	b.get("/lost").expect(t, 303, "/login")
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", `href="/lost"`, "Nobody will ask you security questions")
	b.get("/lost").expect(t, 200, "", "Ask for a new second factor", "••23")
	b.post("/lost/finish").expect(t, 303, "/lost") // nobody asked, nobody allowed it
	b.post("/lost").expect(t, 303, "/lost")
	b.get("/lost").expect(t, 200, "", `data-state="asked"`)
	bank.mailed("A new second factor was asked for")
	old.get("/account").expect(t, 200, "", "asked for a new second factor", "/security/reset/stop")

	bank.provider.AllowReset(id, time.Now().Add(48*time.Hour))
	b.get("/lost").expect(t, 200, "", `data-state="allowed"`, "Log in again with your password after")
	old.get("/security").expect(t, 200, "", "Your second factor will be replaced after")
	b.post("/lost/finish").expect(t, 303, "/lost")
	if !old.signedIn() || b.signedIn() {
		t.Fatal("it began before its time")
	}

	bank.provider.AllowReset(id, time.Now().Add(-time.Second))
	b.get("/lost").expect(t, 200, "", `data-state="due"`)
	stranger := bank.browser() // who knows no password
	stranger.post("/lost/finish").expect(t, 303, "/login")
	b.post("/lost/finish").expect(t, 303, "/enrol")
	bank.mailed("The second factor was reset")
	b.get("/enrol").expect(t, 200, "", "/enroll#", "Good for 10 minutes")
	if b.signedIn() || old.signedIn() {
		t.Error("somebody is signed in after the reset")
	}
	// No trusted browser, no recovery code, no device of before.
	old.login("ana@example.com").expect(t, 303, "/enrol")
	old.post("/login/verify/recovery", "recovery", codes[0])
	if old.post("/login/verify/complete"); old.signedIn() {
		t.Error("a recovery code of before signs in")
	}
	// AC4: the number may be lost as well.
	b.login("ana@example.com").expect(t, 303, "/enrol")
	b.post("/enrol", "country_code", "1", "phone", "202-555-0144").expect(t, 303, "/enrol")
	b.proveNumber("1", "2025550144").expect(t, 303, "/enrol")
	fresh := bank.provider.AddUser("any", "1", "2025550144")
	bank.provider.AddDevice(fresh)
	b.post("/login/verify/push").expect(t, 303, "/login/verify")
	b.approve().expect(t, 303, "/account")
	b.saveCodes()
	b.get("/account").expect(t, 200, "", "Good day", "••44", "The second factor was reset")
}

// D14, RE5: who thinks for longer than the log-in lives is told that it is over, and logs in again; so is who sets up a device.
func TestRE5_TheLogInRunsOut(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.open("ana@example.com")
	b.post("/logout")
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	b.get("/lost").expect(t, 200, "", "Ask for a new second factor")
	bank.pass(11 * time.Minute)
	b.post("/lost").expect(t, 303, "/login/verify")
	b.get("/lost").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 200, "", `data-state="expired"`, "This has expired", `href="/login" data-testid="start-over">Log in again`)
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	b.get("/lost").expect(t, 200, "", "Ask for a new second factor")

	late := bank.browser()
	late.signup("bob@example.com")
	late.get("/enrol").expect(t, 200, "")
	bank.pass(31 * time.Minute)
	late.get("/enrol").expect(t, 303, "/login/verify")
	late.get("/login/verify").expect(t, 200, "", `data-state="expired"`, `href="/login" data-testid="start-over">Log in again`)
}

// losing is a network that takes a request to the provider and loses the first answer to it.
type losing struct {
	http.RoundTripper
	path string
	lost atomic.Bool
}

func (l *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.RoundTripper.RoundTrip(r)
	if err == nil && strings.HasSuffix(r.URL.Path, l.path) && l.lost.CompareAndSwap(false, true) {
		answer.Body.Close()
		return nil, errors.New("the answer was lost")
	}
	return answer, err
}

// RE5: between the provider's new start and ours the application was killed, which looks like a lost answer. The person comes back, and goes on.
func TestRE5_GoesOnWhereItWasCutOff(t *testing.T) {
	provider := secondfactortest.New()
	network := &losing{RoundTripper: provider, path: "/reset/finish"}
	bank := newBankOver(t, provider, network)
	old, b := bank.browser(), bank.browser()
	old.open("ana@example.com")
	b.login("ana@example.com")
	b.post("/lost").expect(t, 303, "/lost")
	b.post("/lost/finish").expect(t, 303, "/lost") // too early: nothing is begun by that
	b.get("/lost").expect(t, 200, "", `data-state="asked"`)
	provider.AllowReset(old.authyID(), time.Now().Add(-time.Second))
	network.lost.Store(false)
	b.post("/lost/finish").expect(t, 303, "/lost")
	if !old.signedIn() {
		t.Error("something was done without an answer")
	}
	b = bank.browser() // the next day
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	b.get("/lost").expect(t, 200, "", `data-state="due"`)
	b.post("/lost/finish").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "/enroll#")
	if old.signedIn() || b.signedIn() {
		t.Error("somebody is signed in after the reset")
	}
	provider.AddDevice(old.authyID())
	b.post("/login/verify/push").expect(t, 303, "/login/verify")
	b.approve().expect(t, 303, "/account")
	b.saveCodes()
}

// recoveryCodes makes new codes for somebody who is signed in.
func recoveryCodes(t *testing.T, b *browser) []string {
	t.Helper()
	_, rest, _ := strings.Cut(b.post("/codes").expect(t, 200, "").body, `data-testid="codes">`)
	text, _, _ := strings.Cut(rest, "</pre>")
	return strings.Fields(text)
}

// RE5: whoever is signed in can stop it, also when it is due, and hears that somebody knows the password.
func TestRE5_StoppedByWhoIsSignedIn(t *testing.T) {
	bank := newBank(t)
	owner, thief := bank.browser(), bank.browser()
	owner.open("ana@example.com")
	thief.login("ana@example.com")
	thief.post("/lost")
	bank.provider.AllowReset(owner.authyID(), time.Now().Add(-time.Second))
	owner.post("/security/reset/stop").expect(t, 303, "/security?notice=reset-stopped")
	owner.get("/security?notice=reset-stopped").expect(t, 200, "", "Stopped.", "change it")
	bank.mailed("The new second factor was stopped")
	thief.post("/lost/finish").expect(t, 303, "/lost")
	thief.get("/lost").expect(t, 200, "", "Ask for a new second factor")
	if !owner.signedIn() || len(owner.cookies) == 0 {
		t.Error("the owner was signed out")
	}
	owner.post("/security/reset/stop").expect(t, 303, "/security?notice=reset-stopped") // nothing is there to stop
	bank.provider.Refuse("stop", "60000")
	owner.post("/security/reset/stop").expect(t, 502, "", "nothing was stopped")
	// Without the provider the page says so, and nothing happens.
	for _, operation := range []string{"user", "reset", "finish"} {
		bank.provider.Refuse(operation, "60000")
	}
	thief.get("/lost").expect(t, 200, "", "did not answer")
	thief.post("/lost").expect(t, 303, "/lost")
	thief.post("/lost/finish").expect(t, 303, "/lost")
	if thief.signedIn() {
		t.Error("the thief is in")
	}
}

// Two accounts with one number share its devices: a reset of one would end those of the other.
func TestRE5_SharedNumber(t *testing.T) {
	bank := newBank(t)
	ana, bob := bank.browser(), bank.browser()
	ana.open("ana@example.com")
	bob.signup("bob@example.com").expect(t, 303, "/enrol")
	bob.post("/authy/send_token", "force", "true")
	code, _ := bank.provider.Sent(bob.authyID())
	bob.post("/authy/verify", "token", code)
	bob.post("/login/verify/complete")
	ana.post("/logout")
	ana.login("ana@example.com").expect(t, 303, "/login/verify")
	ana.get("/lost").expect(t, 200, "", "Another account has the number")
	ana.post("/lost").expect(t, 303, "/lost")
	bank.provider.AllowReset(ana.authyID(), time.Now().Add(-time.Second))
	ana.post("/lost/finish").expect(t, 303, "/lost")
	if bank.provider.Calls("reset")+bank.provider.Calls("finish") != 0 {
		t.Error("the devices of both were reset")
	}
}

// backByText lets somebody finish a reset that is due and come back by text message, with no device. It returns a browser that gave the password before.
func backByText(t *testing.T, bank *bank) (thief *browser) {
	t.Helper()
	b := bank.browser()
	b.open("ana@example.com")
	b.post("/logout")
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	bank.provider.AllowReset(b.authyID(), time.Now().Add(-time.Second))
	b.post("/lost/finish").expect(t, 303, "/enrol")
	b.post("/authy/send_token", "force", "true")
	code, _ := bank.provider.Sent(b.authyID())
	b.post("/authy/verify", "token", code)
	b.post("/login/verify/complete").expect(t, 303, "/account")
	b.saveCodes()
	thief = bank.browser()
	thief.login("ana@example.com").expect(t, 303, "/login/verify")
	return thief
}

// T-21: a reset that is over does not begin again for who has the password, though the provider would give another ticket.
func TestT21_FinishedIsOver(t *testing.T) {
	bank := newBank(t)
	thief := backByText(t, bank)
	finished := bank.provider.Calls("finish")
	thief.post("/lost/finish").expect(t, 303, "/lost")
	if bank.provider.Calls("finish") != finished {
		t.Error("it was finished again")
	}
	thief.get("/lost").expect(t, 200, "", "Ask for a new second factor")
	thief.login("ana@example.com").expect(t, 303, "/login/verify")
}

// T-21: a note that a click left behind counts no more once the factor was proved.
func TestT21_ProofForgetsTheNote(t *testing.T) {
	bank := newBank(t)
	b := bank.browser()
	b.signup("ana@example.com").expect(t, 303, "/enrol")
	if err := bank.app.Exec(`INSERT INTO restarts SELECT id FROM users`); err != nil {
		t.Fatal(err)
	}
	bank.provider.AddDevice(b.authyID())
	b.post("/login/verify/push")
	b.approve().expect(t, 303, "/account")
	bank.nothingCutOff(t)
}

// between is a network on which something happens once, when the provider has answered at a path.
type between struct {
	http.RoundTripper
	after string
	do    atomic.Pointer[func()]
}

func (n *between) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := n.RoundTripper.RoundTrip(r)
	if strings.HasSuffix(r.URL.Path, n.after) {
		if do := n.do.Swap(nil); do != nil {
			(*do)()
		}
	}
	return answer, err
}

// newBankOver makes a bank that reaches the provider over the network.
func newBankOver(t *testing.T, provider *secondfactortest.Provider, network http.RoundTripper) *bank {
	t.Helper()
	bank := newBankWith(t, func(c *login.Config) {
		var err error
		c.Provider, err = client.New(client.Config{BaseURL: "http://provider.test", APIKey: secondfactortest.APIKey, HTTPClient: &http.Client{Transport: network}, Retries: -1})
		if err != nil {
			t.Fatal(err)
		}
	})
	bank.provider = provider
	return bank
}

// clicks gives two browsers that have given the password, and a reset that is due.
func clicks(t *testing.T, network *between) (bank *bank, first, second *browser) {
	t.Helper()
	provider := secondfactortest.New()
	network.RoundTripper = provider
	bank = newBankOver(t, provider, network)
	old, first, second := bank.browser(), bank.browser(), bank.browser()
	old.open("ana@example.com")
	first.login("ana@example.com").expect(t, 303, "/login/verify")
	second.login("ana@example.com").expect(t, 303, "/login/verify")
	bank.provider.AllowReset(old.authyID(), time.Now().Add(-time.Second))
	return bank, first, second
}

// RE5: two clicks at once show the ticket that is good, whichever of the provider's answers comes first, and nothing says that a reset is still being
// finished.
func TestRE5_TwoClicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := &between{after: "/reset/finish"}
		bank, first, second := clicks(t, network)
		network.clickedTwice(t, first, second, "/lost/finish")
		first.get("/enrol").expect(t, 200, "", "/enroll#"+bank.provider.Ticket(first.authyID()))
		if told := len(bank.mailsAbout("The second factor was reset")); told != 1 {
			t.Errorf("told %d times", told)
		}
		bank.nothingCutOff(t)
	})
}

// RE5: a second click after the first, or the way back, leads to where the first led. A browser that the answer never reached learns that it was
// ended, and what to do; with the password it is there too.
func TestRE5_LateClick(t *testing.T) {
	bank := newBank(t)
	b, hasty := bank.browser(), bank.browser()
	b.open("ana@example.com")
	b.post("/logout")
	b.login("ana@example.com").expect(t, 303, "/login/verify")
	hasty.cookies = maps.Clone(b.cookies)
	bank.provider.AllowReset(b.authyID(), time.Now().Add(-time.Second))
	b.post("/lost/finish").expect(t, 303, "/enrol")
	ticket := bank.provider.Ticket(b.authyID())
	b.post("/lost/finish").expect(t, 303, "/login/verify")
	b.get("/lost").expect(t, 303, "/login/verify")
	b.get("/login/verify").expect(t, 303, "/enrol")
	b.get("/enrol").expect(t, 200, "", "/enroll#"+ticket)

	hasty.post("/lost/finish").expect(t, 303, "/login/verify")
	hasty.get("/login/verify").expect(t, 200, "", "This log-in was ended", "Nobody was signed in", "Log in again")
	hasty.get("/enrol").expect(t, 303, "/login") // the old cookie opens nothing
	hasty.login("ana@example.com").expect(t, 303, "/enrol")
	hasty.get("/enrol").expect(t, 200, "", "/enroll#")
}

// SU4: and so do two clicks on "try again".
func TestSU4_TwoClicks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		provider := secondfactortest.New()
		network := &between{RoundTripper: provider, after: "/enrollment_tickets"}
		bank := newBankOver(t, provider, network)
		first, second := bank.browser(), bank.browser()
		first.signup("ana@example.com").expect(t, 303, "/enrol")
		second.login("ana@example.com").expect(t, 303, "/enrol")
		before := bank.provider.Ticket(first.authyID())
		network.clickedTwice(t, first, second, "/enrol")
		if bank.provider.Ticket(first.authyID()) == before {
			t.Error("no ticket was made")
		}
		first.get("/enrol").expect(t, 200, "", "/enroll#"+bank.provider.Ticket(first.authyID()))
	})
}

// clickedTwice clicks in one browser, and in another while the provider's answer to the first is on its way: until that one got as far as it can.
func (n *between) clickedTwice(t *testing.T, first, second *browser, path string) {
	t.Helper()
	done := make(chan page)
	click := func() {
		go func() { done <- second.post(path) }()
		synctest.Wait()
	}
	n.do.Store(&click)
	first.post(path).expect(t, 303, "/enrol")
	(<-done).expect(t, 303, "/enrol")
}

// T-21: the second click notes nothing when the first was carried out after the check, also when it goes no further.
func TestT21_LateClickNotesNothing(t *testing.T) {
	network := &between{after: "/status"}
	bank, first, second := clicks(t, network)
	click := func() {
		first.post("/lost/finish").expect(t, 303, "/enrol")
		bank.provider.Refuse("finish", "60000")
	}
	network.do.Store(&click)
	second.post("/lost/finish").expect(t, 303, "/lost")
	if network.do.Load() != nil {
		t.Fatal("the provider was not asked how things stand")
	}
	bank.nothingCutOff(t)
}

func (b *bank) nothingCutOff(t *testing.T) {
	t.Helper()
	if n, err := b.app.CutOff(); err != nil || n != 0 {
		t.Errorf("%d notes are left, %v", n, err)
	}
}

// SU3: the number of an account of before numbers were proved, and one that was changed, is masked after a reset.
func TestSU3_OldNumberStaysMasked(t *testing.T) {
	db := filepath.Join(t.TempDir(), "bank.db")
	at := func(c *login.Config) { c.DB = db }
	bank := newBankWith(t, at)
	b := bank.browser()
	b.open("ana@example.com")
	b.post("/logout")
	for name, before := range map[string]string{
		"none":       `DELETE FROM numbers`,
		"of another": `UPDATE numbers SET phone = '2025550199'`,
	} {
		if err := bank.app.Exec(before); err != nil {
			t.Fatal(err)
		}
		again := newBankWith(t, at) // the upgrade
		if err := again.app.Exec(`UPDATE users SET protected = 0, stamp = 2`); err != nil {
			t.Fatal(err)
		}
		c := again.browser()
		c.login("ana@example.com").expect(t, 303, "/enrol")
		if page := c.get("/enrol").expect(t, 200, ""); strings.Contains(page.body, "2025550123") {
			t.Errorf("%s: the page shows the whole number", name)
		}
		if err := again.app.Exec(`UPDATE users SET protected = 1, authy_id = max(authy_id, 1)`); err != nil {
			t.Fatal(err)
		}
	}
}
