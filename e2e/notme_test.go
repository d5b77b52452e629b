// This file tests "it was not me" and where a request was started, in real browsers.

package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"

	"countersign.dev/client"
)

// TestPU6_NotMe: a request of a stranger is shown with where it was started, whatever text that is (T-17); "it was not me" ends it, stops
// others, and every device of the person tells.
func TestPU6_NotMe(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	c := d.client(d.APIKey)
	u := d.addUser(c)
	hand, tablet := newHand(t, "hand"), newHand(t, "tablet")
	for _, device := range []*tab{hand, tablet} {
		ticket, err := c.CreateEnrollmentTicket(t.Context(), u.id)
		if err != nil {
			t.Fatal(err)
		}
		device.open(ticket.Link)
		device.fill(testid("device-name"), device.name)
		device.click(testid("enrol-confirm"))
		device.see("main", "is set up on this device")
	}
	for _, odd := range []struct{ browser, shown string }{
		{"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"},
		{`<img src=x onerror="document.title='pwned'"><b>bold</b>`, `<img src=x onerror="document.title='pwned'"><b>bold</b>`},
		{"curl\u202e8.5\u2066\u200b evil", "curl8.5 evil"},
		{"متصفح 🦊 " + strings.Repeat("w", 300), "متصفح 🦊 www"},
	} {
		asked, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{
			Message: "Log in?", Context: client.Context{IP: "2001:db8::7", UserAgent: odd.browser, Origin: "https://xn--bnk-8cd.example"},
		})
		if err != nil {
			t.Fatal(err)
		}
		hand.click(testid("request-item"))
		text := hand.see(testid("context"), "as told by Owlgate", "2001:db8::7", "not known", odd.shown, "https://xn--bnk-8cd.example", "other alphabets")
		if strings.ContainsAny(text, "\u202e\u2066\u200b") {
			t.Errorf("the page shows controls: %q", text)
		}
		if wide, err := evaluate[bool](hand, `document.documentElement.scrollWidth > innerWidth || document.querySelector('[data-testid="context"] img, [data-testid="context"] b') !== null`); err != nil || wide {
			t.Errorf("%q is too wide for the phone, or is markup: %v", odd.browser, err)
		}
		if _, err := c.CancelApproval(t.Context(), asked.UUID); err != nil {
			t.Fatal(err)
		}
		hand.attribute(testid("request-state"), "data-state", "cancelled")
		hand.click(testid("done"))
	}

	asked, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in?", Context: client.Context{IP: "192.0.2.7"}})
	if err != nil {
		t.Fatal(err)
	}
	hand.click(testid("request-item"))
	hand.click(testid("deny"))
	hand.see(".why", "Did you start this yourself?", "20 minutes")
	hand.click(testid("deny-back"))
	hand.attribute(testid("request-state"), "data-state", "pending")
	hand.click(testid("deny"))
	hand.click(testid("deny-not-me"))
	hand.attribute(testid("request-state"), "data-state", "not-me")
	hand.see("main", "Denied and reported", "change it")
	tablet.see("main", "Owlgate asks you nothing until", "on hand")
	if a, err := c.Approval(t.Context(), asked.UUID); err != nil || a.Status != client.StatusDenied || a.Reason != "not-me" {
		t.Errorf("the application reads %+v, %v", a, err)
	}
	_, err = c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in?"})
	if e, ok := errors.AsType[*client.Error](err); !ok || !errors.Is(err, client.ErrNotMe) || !errors.Is(err, client.ErrRateLimited) || e.RetryAfter < 19*time.Minute {
		t.Errorf("asking again: %v", err)
	}
}
