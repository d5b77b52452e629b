// This file owns a phone that does not reach the server.

package e2e

import "testing"

// A ticket's link that is opened without a connection can be tried again, and then adds the device that the page at the desk waits for.
func TestOffline_Ticket(t *testing.T) {
	t.Parallel()
	d := startPlainDev(t)
	ana := newPerson(t, d, "Ana")
	ana.signUp()
	link, err := evaluate[string](ana.desk, `document.querySelector('[data-testid="ticket-link"]').href`)
	if err != nil {
		t.Fatal(err)
	}
	ana.hand.open(d.AuthenticatorURL)
	if _, err := evaluate[bool](ana.hand, `navigator.serviceWorker.ready.then(() => true)`); err != nil { // which keeps the page
		t.Fatal(err)
	}
	d.stop()
	ana.hand.open("about:blank")
	ana.hand.open(link)
	ana.hand.see("main", "Could not look up the words", "No connection to the server")
	d.start()
	ana.hand.click(testid("retry"))
	ana.hand.see("main", "Owlgate", ana.maskedEmail())
	ana.hand.click(testid("enrol-confirm"))
	ana.decide("approve")
}
