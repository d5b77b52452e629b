// This file walks every way through the sample application, with a browser at the desk and one on the phone.

package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// TestLogIn: sign-up with a ticket, log-in approved, log-out, log-in denied.
func TestLogIn(t *testing.T) {
	t.Parallel()
	walkLogIn(t, startDev(t))
}

func walkLogIn(t *testing.T, d *dev) {
	t.Helper()
	ana := enrolled(t, d, "Ana")
	session := cookies(ana.desk, d.LoginURL)
	ana.logOut(ana.desk)
	if got := visit(t, d.LoginURL+"/account", session); !strings.HasPrefix(got, "303 /login") {
		t.Errorf("the cookies of before the log-out open the account: %s", got)
	}

	ana.logIn(ana.desk)
	ana.desk.state("push_pending")
	if got := visit(t, d.LoginURL+"/account", cookies(ana.desk, d.LoginURL)); !strings.HasPrefix(got, "303 /login") {
		t.Errorf("the password alone opens the account: %s", got)
	}
	ana.openRequest("")
	ana.hand.see(testid("request-state"), "Owlgate", "Log in to Owlgate", ana.email)
	ana.hand.see(testid("context"), "Chrome on Linux", "127.0.0.1", d.LoginURL)
	seesLogo(t, ana.hand)
	pending := cookies(ana.desk, d.LoginURL)
	ana.press("approve")
	ana.desk.stand(d.LoginURL + "/account")
	ana.desk.see(testid("account-name"), "Ana")
	for name, value := range cookies(ana.desk, d.LoginURL) {
		if pending[name] == value {
			t.Errorf("the cookie %s is the same before and after the log-in", name)
		}
	}
	ana.logOut(ana.desk)

	ana.logIn(ana.desk)
	ana.decide("deny")
	ana.desk.state("denied")
	ana.desk.see("main", "You said no", "Nobody was signed in")
	if text, err := ana.desk.text(testid("code-form")); err == nil {
		t.Errorf("after the denial the page offers a code: %s", text)
	}
	ana.desk.open(d.LoginURL + "/account")
	ana.desk.stand(d.LoginURL + "/login")

	ana.logIn(ana.desk) // somebody else, who knows the password
	ana.decide("not-me")
	ana.desk.state("denied")
}

// TestLogInByAppCode: the phone's code instead of its yes; then wrong codes until the budget ends, which stops codes and
// not approvals.
func TestLogInByAppCode(t *testing.T) {
	t.Parallel()
	walkAppCode(t, startDev(t))
}

func walkAppCode(t *testing.T, d *dev) {
	t.Helper()
	ben := enrolled(t, d, "Ben")
	ben.logOut(ben.desk)
	ben.logIn(ben.desk)
	ben.desk.state("push_pending")
	ben.enterCode(ben.appCode())
	ben.desk.stand(d.LoginURL + "/account")
	ben.showRequests()
	ben.hand.see("main", "Nothing to decide") // the request was withdrawn
	ben.logOut(ben.desk)

	ben.logIn(ben.desk)
	ben.desk.state("code_pending") // what worked last comes first
	for try := 1; try <= 5; try++ {
		ben.enterCode(fmt.Sprintf("%07d", try))
		switch {
		case try == 5:
			ben.desk.state("locked")
		case try >= 3:
			ben.desk.see(`[data-notice="code_wrong"]`, "not right", fmt.Sprintf("%d tr", 5-try))
		default:
			ben.desk.see(`[data-notice="code_wrong"]`, "not right")
		}
	}
	ben.desk.see("main", "Too many wrong codes", "Nobody was signed in")

	// The provider counted them too: even a right code is refused now, and says so.
	ben.logIn(ben.desk)
	ben.enterCode(ben.appCode())
	ben.desk.see(`[data-notice="suspended"]`, "Too many wrong codes")
	ben.desk.click(testid("push"))
	ben.openRequest(ben.request(ben.desk))
	ben.press("approve")
	ben.desk.stand(d.LoginURL + "/account")
}

// TestLogInWithoutDevice: by SMS from the sign-up on.
func TestLogInWithoutDevice(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	cleo := newPerson(t, d, "Cleo")
	cleo.signUp()
	cleo.desk.click(testid("send-sms"))
	cleo.enterCode(d.sentCode(cleo.number, 2))
	cleo.saveCodes()
	cleo.logOut(cleo.desk)

	cleo.logIn(cleo.desk)
	cleo.desk.state("code_pending")
	cleo.desk.click(testid("send-sms"))
	cleo.desk.see(`[data-notice="sms_sent"]`, "We sent a code")
	code := d.sentCode(cleo.number, 3)
	cleo.enterCode("0000000")
	cleo.desk.see(`[data-notice="code_wrong"]`, "not right")
	cleo.enterCode(code[:3] + " " + code[3:]) // as people copy it
	cleo.desk.stand(d.LoginURL + "/account")
	cleo.desk.see(testid("account-name"), "Cleo")
}

// TestLostDevice: somebody's only device is removed; SMS helps out, and the phone number enrols the next device.
func TestLostDevice(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	gil := enrolled(t, d, "Gil")
	gil.logOut(gil.desk)
	gil.showRequests()
	gil.hand.click(testid("nav-devices"))
	gil.hand.see("main", "Gil's phone", "This device")
	gil.hand.click(testid("device-remove"))
	gil.hand.click(testid("device-remove-confirm"))
	gil.hand.see("main", "Set up this device")

	gil.logIn(gil.desk)
	gil.desk.see(`[data-notice="no_device"]`, "no authenticator")
	gil.otherWays()
	gil.desk.click(testid("send-sms"))
	gil.enterCode(d.sentCode(gil.number, 2))
	gil.desk.stand(d.LoginURL + "/account")
	gil.logOut(gil.desk)

	gil.hand.fill(testid("enrol-phone"), "+1 (201) "+gil.number[3:6]+"-"+gil.number[6:])
	gil.hand.click(testid("enrol-phone-submit"))
	gil.hand.see("main", "Type the code")
	gil.hand.fill(testid("enrol-code"), d.sentCode(gil.number, 3))
	gil.hand.fill(testid("device-name"), "Gil's new phone")
	gil.hand.click(testid("enrol-code-submit"))
	gil.hand.see("main", "Nothing to decide")
	gil.logIn(gil.desk)
	gil.desk.click(testid("push")) // what worked last, the code, comes first
	gil.decide("approve")
	gil.desk.stand(d.LoginURL + "/account")
	gil.desk.see(testid("devices"), "since")
}

// TestTransfer: the tutorial's example, approved and denied.
func TestTransfer(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	dora := enrolled(t, d, "Dora")
	for _, decision := range []string{"approve", "deny"} {
		dora.desk.open(d.LoginURL + "/account")
		dora.desk.click(submit("/transfer"))
		dora.desk.stand(d.LoginURL + "/login/verify")
		dora.desk.see(testid("asked"), "send money to Jarod's vault", "1,000,000", "Galleons")
		dora.openRequest("")
		dora.hand.see(testid("request-state"), "Owlgate", "Request to send money to Jarod's vault", "Request From", "Jarod", "Amount Request", "1,000,000", "Currency", "Galleons")
		order(t, dora.hand, "Request From", "Amount Request", "Currency")
		seesLogo(t, dora.hand)
		dora.press(decision)
		if decision == "approve" {
			dora.desk.stand(d.LoginURL + "/transfers/")
			dora.desk.attribute(testid("transfer-receipt"), "data-done", "true")
			dora.desk.see(testid("transfer-receipt"), "1,000,000 Galleons", "Jarod's vault")
			continue
		}
		dora.desk.state("denied")
		dora.desk.see("main", "Nothing was done")
		dora.desk.click(`[data-for="denied"] ` + testid("start-over"))
		dora.desk.stand(d.LoginURL + "/account")
	}
	sent, err := evaluate[int](dora.desk, `[...document.querySelectorAll('[data-testid="events"] li')].filter(e => /1,000,000/.test(e.innerText) && /[Ss]ent|[Tt]ransfer/.test(e.innerText)).length`)
	if err != nil || sent != 1 {
		text, _ := dora.desk.text(testid("events"))
		t.Errorf("%d transfers are told of, %v; want the one that was approved: %s", sent, err, text)
	}
}

// TestTwoBrowsers: one person, two browsers at once; what is approved for one is nothing to the other.
func TestTwoBrowsers(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	eve := enrolled(t, d, "Eve")
	eve.logOut(eve.desk)
	other := newDesk(t, "Eve other desk")
	eve.logIn(eve.desk)
	eve.logIn(other)
	mine, theirs := eve.request(eve.desk), eve.request(other)
	if mine == theirs {
		t.Fatal("two browsers wait for one request")
	}
	eve.openRequest(mine)
	eve.press("approve")
	eve.desk.stand(d.LoginURL + "/account")
	other.state("push_pending")
	if got := visit(t, d.LoginURL+"/account", cookies(other, d.LoginURL)); !strings.HasPrefix(got, "303 /login") {
		t.Errorf("the other browser is in as well: %s", got)
	}
	eve.openRequest(theirs)
	eve.press("deny")
	other.state("denied")
	eve.desk.open(d.LoginURL + "/account")
	eve.desk.see(testid("account-name"), "Eve")
}

// TestOneBrowserForAll: cookies ignore ports, so one browser is signed in to console, sample and authenticator at once.
func TestOneBrowserForAll(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	operator := newDesk(t, "operator")
	operator.open(d.ConsoleLoginURL)
	operator.see("main", "Applications", "Owlgate")
	finn := newPerson(t, d, "Finn")
	finn.desk, finn.hand = operator.another("Finn desk"), operator.another("Finn hand")
	finn.signUp()
	finn.enrolByTicket()
	finn.logOut(finn.desk)
	finn.logIn(finn.desk)
	finn.decide("approve")
	finn.desk.stand(d.LoginURL + "/account")

	for _, page := range []struct {
		tab           *tab
		address, sees string
	}{
		{operator, d.ConsoleURL + "/", "Owlgate"}, {finn.desk, d.LoginURL + "/account", "Finn"}, {finn.hand, d.AuthenticatorURL + "/", "Nothing to decide"},
	} {
		page.tab.open(page.address)
		page.tab.stand(page.address)
		page.tab.see("main", page.sees)
	}
	// What happened is in the console.
	operator.click(`a[href^="/applications/"]:not([href$="/new"])`)
	operator.see("main", "Callback", "Active")
	operator.click(`a[href$="/users"]`)
	operator.see("main", finn.email)
	operator.click(`a[href$="/approvals"]`)
	operator.see("main", "Approved")
	operator.click(`a[href$="/callbacks"]`)
	operator.see("main", "200 OK")
}

// order checks that a phone shows the names of details in this order.
func order(t *testing.T, hand *tab, names ...string) {
	t.Helper()
	text := hand.see(testid("request-state"), names...)
	at := -1
	for _, name := range names {
		next := strings.Index(text, name)
		if next < at {
			t.Errorf("the details are not in the order %q: %s", names, text)
		}
		at = next
	}
}

// seesLogo checks that the phone shows the application's picture, which the app draws only from the bytes that are signed for.
func seesLogo(t *testing.T, hand *tab) {
	t.Helper()
	eventually(t, waitWithin, "the logo", func() error {
		drawn, err := evaluate[bool](hand, `document.querySelector('[data-testid="request-state"] canvas[data-testid="logo"]')?.checkVisibility() ?? false`)
		if err == nil && !drawn {
			err = fmt.Errorf("there is no picture")
		}
		return err
	})
}

// cookies are those that a browser would send to an address, also the ones that scripts cannot see.
func cookies(b *tab, address string) map[string]string {
	b.t.Helper()
	got, err := chromedp.Call(b.ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{address}})
	if err != nil {
		b.t.Fatal(err)
	}
	all := map[string]string{}
	for _, c := range got.Cookies {
		if !c.HTTPOnly {
			b.t.Errorf("scripts can read the cookie %s", c.Name)
		}
		all[c.Name] = c.Value
	}
	return all
}

// visit gets an address with these cookies and returns status and Location.
func visit(t *testing.T, address string, cookies map[string]string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	return fmt.Sprint(answer.StatusCode, " ", answer.Header.Get("Location"))
}
