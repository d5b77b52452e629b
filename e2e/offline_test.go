// This file owns the authenticator's pages without a connection.

package e2e

import "testing"

// The page of devices says once that there is no connection, and trying again brings back all that needs one.
func TestDevicesOffline(t *testing.T) {
	t.Parallel()
	d := startPlainDev(t)
	ana := enrolled(t, d, "Ana")
	if _, err := evaluate[bool](ana.hand, `navigator.serviceWorker.ready.then(() => true)`); err != nil { // which keeps the page
		t.Fatal(err)
	}
	d.stop()
	ana.hand.open(d.AuthenticatorURL + "/devices")
	ana.hand.see("main", "No connection to the server")
	becomes(ana.hand, "both questions to the server came to nothing", `["push", "devices"].every((asked) =>
		performance.getEntriesByType("resource").some(({ name }) => name.endsWith("/device/v1/" + asked)))`, true)
	is(ana.hand, "how often it says so", `document.body.innerText.split("No connection").length - 1`, 1)
	d.start()
	ana.hand.click(testid("retry"))
	ana.hand.see(testid("push-state"), "Off.")
	is(ana.hand, "how often it says so", `document.body.innerText.split("No connection").length - 1`, 0)
}
