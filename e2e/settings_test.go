// This file walks through what is around a log-in of the sample application: trusted browsers, recovery codes, and the security page.

package e2e

import "testing"

// TestTrustedBrowser: after a log-in the browser is trusted, and the password is enough there; until the owner forgets it.
func TestTrustedBrowser(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	ida := enrolled(t, d, "Ida")
	ida.desk.see(testid("trust"), "Trust this browser for 30 days?")
	ida.desk.leave(func() { ida.desk.click(testid("trust") + ` button[value="yes"]`) })
	ida.desk.see(testid("events"), "A browser is trusted")
	ida.logOut(ida.desk)

	ida.typePassword(ida.desk)
	ida.desk.stand(d.LoginURL + "/account") // through the waiting page, by itself
	ida.desk.see(testid("skipped"), "you trust this browser")
	ida.showRequests()
	ida.hand.see("main", "Nothing to decide")

	// Settings ask all the same.
	ida.desk.open(d.LoginURL + "/security/password")
	ida.desk.stand(d.LoginURL + "/login/confirm?next=%2Fsecurity%2Fpassword")
	ida.desk.click(testid("confirm"))
	ida.decide("approve")
	ida.desk.stand(d.LoginURL + "/security/password")

	ida.desk.open(d.LoginURL + "/security")
	ida.desk.see(testid("trusted"), "Chrome on Linux", "this one")
	ida.desk.leave(func() { ida.desk.click(testid("forget-all")) })
	ida.desk.see("main", "Every log-in asks for your second factor")
	ida.logOut(ida.desk)
	ida.typePassword(ida.desk)
	ida.desk.state("push_pending")
}

// TestRecoveryCode: the phone is lost. A recovery code signs in, once, and a new phone is added.
func TestRecoveryCode(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	joy := enrolled(t, d, "Joy")
	code := joy.codes[0]
	for try, want := range []string{"/account", "/login/verify"} {
		joy.logOut(joy.desk)
		joy.logIn(joy.desk)
		joy.desk.click(testid("lost") + " summary")
		joy.desk.fill(named("recovery"), code)
		joy.desk.leave(func() { joy.desk.click(submit("/login/verify/recovery")) })
		joy.desk.stand(d.LoginURL + want)
		if try == 1 {
			joy.desk.see(`[data-notice="recovery_wrong"]`, "used before")
			break
		}
		joy.desk.see(testid("recovered"), "9 are left")
		joy.desk.open(d.LoginURL + "/security/device")
		joy.desk.leave(func() { joy.desk.click(testid("show-ticket")) })
		link, err := evaluate[string](joy.desk, `document.querySelector('[data-testid="ticket-link"]').href`)
		if err != nil {
			t.Fatal(err)
		}
		joy.hand = newHand(t, "Joy new hand")
		joy.hand.open(link)
		joy.hand.fill(testid("device-name"), "Joy's new phone")
		joy.hand.click(testid("enrol-confirm"))
		joy.hand.see("main", "Owlgate")
		joy.desk.open(d.LoginURL + "/account")
	}
	joy.desk.see(testid("push-again")+":disabled", " again (") // it counts down
	joy.decide("approve")
	joy.desk.stand(d.LoginURL + "/account")
}

// TestDeviceAddedAndRemoved: the page with the ticket notices the new device by itself, and a device is removed only after a question.
func TestDeviceAddedAndRemoved(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	una := enrolled(t, d, "Una")
	una.desk.open(d.LoginURL + "/security/device")
	una.desk.leave(func() { una.desk.click(testid("show-ticket")) })
	link, err := evaluate[string](una.desk, `document.querySelector('[data-testid="ticket-link"]').href`)
	if err != nil {
		t.Fatal(err)
	}
	tablet := newHand(t, "Una new hand")
	tablet.open(link)
	tablet.fill(testid("device-name"), "Una's tablet")
	tablet.click(testid("enrol-confirm"))
	una.desk.stand(d.LoginURL + "/security?notice=added")
	una.desk.see(testid("devices"), "Una's phone", "Una's tablet")

	una.desk.leave(func() { una.desk.click(testid("remove-all")) })
	una.desk.see(testid("removal"), "Remove all 2 devices?", "text messages until you add another")
	una.desk.leave(func() { una.desk.click(testid("keep")) })
	una.desk.leave(func() { una.desk.click(`[aria-label^="Remove Una's tablet"]`) })
	una.desk.see(testid("removal"), "Remove Una's tablet?", "Your other device still approves")
	una.desk.leave(func() { una.desk.click(testid("remove")) })
	una.desk.stand(d.LoginURL + "/security?notice=device")
	una.desk.see(testid("devices"), "Una's phone")
	tablet.see("main", "This device was removed")
}
