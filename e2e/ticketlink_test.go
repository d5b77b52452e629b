// This file owns ticket links that a phone opens at a bad moment.

package e2e

import (
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// A ticket's link that is opened without a connection can be tried again, and then adds the device that the page at the desk waits for.
func TestTicketLinkOffline(t *testing.T) {
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

// A link that is opened in a page that has just appeared, before it listens for one, is read as well. Its words do not stay in the address.
func TestTicketLinkAtOnce(t *testing.T) {
	t.Parallel()
	hand := newHand(t, "hand")
	_, err := chromedp.Call(hand.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `document.addEventListener("DOMContentLoaded", () => { location.hash = "lusab-babad"; })`,
	})
	if err != nil {
		t.Fatal(err)
	}
	hand.open(startPlainDev(t).AuthenticatorURL + "/enroll")
	hand.see("main", "This link is not complete")
	is(hand, "what is left in the address", `location.hash`, "")
}
