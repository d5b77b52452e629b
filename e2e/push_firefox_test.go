// This file tests Web Push from end to end in Firefox: a real subscription, our sender, and a push service that holds it to the standards and
// misbehaves.

package e2e

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/internal/notify/pushtest"
)

// TestPush: a phone whose app is closed hears of a request, whatever the push service does first; a click opens it, and it is approved there.
func TestPush(t *testing.T) {
	t.Parallel()
	service := startPushService(t)
	d := newDev(t, raceBinary)
	d.args = append(d.args, "--push-loopback", "--log-level", "info")
	d.start()
	c := d.client(d.APIKey)
	u := d.addUser(c)
	hand := startFirefox(t, firefoxSettings(service.Socket))
	ticket, err := c.CreateEnrollmentTicket(t.Context(), u.id)
	if err != nil {
		t.Fatal(err)
	}
	app := hand.open(ticket.Link)
	app.click(testid("enrol-confirm"))
	app.click(testid("push-offer") + " " + testid("push-on"))
	app.click(testid("nav-devices"))
	app.see(testid("push-state"), "On.")
	app.close()

	// The push service is busy at first.
	service.Refuse(pushtest.Refusal{Status: 429, RetryAfter: "1"})
	first := ask(t, c, u)
	m := service.takes(t)
	if left := time.Duration(m.TTL) * time.Second; left < 23*time.Hour || left > 24*time.Hour || m.Urgency != "high" || m.Subject != "mailto:owner@example.com" {
		t.Errorf("%+v", m)
	}
	if err := service.Faults(); err != nil || service.Asked() != 2 {
		t.Errorf("%d requests, %v", service.Asked(), err)
	}
	hand.notified(d, "approval:"+first, "Owlgate asks for your approval")
	hand.clickNotification()
	request := hand.showing(d.AuthenticatorURL + "/approvals/" + first)
	request.see(testid("request-state"), "Request from", "Owlgate", "Log in from canary-place?")
	request.click(testid("approve"))
	request.see(testid("request-state"), "Approved")
	if a, err := c.WaitApproval(t.Context(), first, time.Minute); err != nil || a.Status != client.StatusApproved {
		t.Errorf("%+v, %v", a, err)
	}

	// While the app is on the screen it shows the next request by itself. When it did so in time, nothing is pushed.
	request.click(`a[href="/"]`)
	request.see("main", "Nothing to decide")
	began := time.Now()
	second := ask(t, c, u)
	request.see(testid("request-item"), "canary-place")
	inTime := time.Since(began) < 1500*time.Millisecond // of the two seconds that an open app has
	d.counts(0, "jobs WHERE kind = 'push'")
	request.close()
	if inTime {
		hand.unnotified(d, second)
	}
	if n := service.Asked(); inTime && n != 2 {
		t.Errorf("%d requests", n)
	}

	// A subscription that the push service has ended is forgotten, and made anew when the app is next opened.
	for _, id := range service.subscriptions() {
		service.Forget(id)
	}
	ask(t, c, u)
	d.counts(0, "push_subscriptions")
	app = hand.open(d.AuthenticatorURL + "/devices")
	app.see(testid("push-state"), "On.")
	app.close()
	fourth := ask(t, c, u)
	service.takes(t)
	hand.notified(d, "approval:"+fourth, "Owlgate asks for your approval")

	// One whose end the browser hears of is renewed by the worker, with the app closed.
	service.forgetBrowser()
	d.counts(3, "audit WHERE action = 'push.subscribed'")
	ask(t, c, u)
	service.takes(t)

	app = hand.open(d.AuthenticatorURL + "/devices")
	app.click(testid("push-off"))
	app.see(testid("push-state"), "Off.")
	d.counts(0, "push_subscriptions")
	if err := service.Faults(); err != nil {
		t.Error(err)
	}
}

// counts waits until a table has so many rows.
func (d *dev) counts(want int, from string) {
	d.t.Helper()
	eventually(d.t, waitWithin, fmt.Sprintf("%d rows in %s", want, from), func() error {
		db, err := sql.Open("sqlite", "file:"+filepath.Join(d.dir, "countersign.db")+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
		if err != nil {
			return err
		}
		defer db.Close()
		var got int
		err = db.QueryRow("SELECT COUNT(*) FROM " + from).Scan(&got)
		if err == nil && got != want {
			err = fmt.Errorf("there are %d", got)
		}
		return err
	})
}

// ask makes a request to somebody.
func ask(t *testing.T, c *client.Client, u user) string {
	t.Helper()
	a, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in from canary-place?"})
	if err != nil {
		t.Fatal(err)
	}
	return a.UUID
}

// takes waits for the next message that is taken, and for the browser to say that its worker was fine.
func (p *pushService) takes(t *testing.T) (m pushtest.Message) {
	t.Helper()
	limit := time.After(waitWithin)
	select {
	case m = <-p.taken:
	case <-limit:
		t.Fatal("nothing was pushed")
	}
	select {
	case code := <-p.acked:
		if code != 100 { // delivered
			t.Errorf("the browser answers %d", code)
		}
	case <-limit:
		t.Fatal("the browser does not answer")
	}
	return m
}

// notifications returns what the closed app has on the screen, by a page of its origin that is not the app.
func (f *firefox) notifications(d *dev) ([]shownNotification, error) {
	f.t.Helper()
	page := f.open(d.AuthenticatorURL + "/assets/licenses.txt")
	defer page.close()
	return eval[[]shownNotification](page, readNotifications)
}

// notified waits for the notification, which says only who asks (T-18).
func (f *firefox) notified(d *dev, tag, title string) {
	f.t.Helper()
	eventually(f.t, waitWithin, "the notification", func() error {
		shown, err := f.notifications(d)
		if err == nil && (len(shown) != 1 || shown[0].Tag != tag) {
			err = fmt.Errorf("shown are %+v", shown)
		}
		if err == nil {
			err = shown[0].fits(shownNotification{Title: title})
		}
		return err
	})
}

// unnotified fails the test when a request is on the screen.
func (f *firefox) unnotified(d *dev, uuid string) {
	f.t.Helper()
	shown, err := f.notifications(d)
	for _, n := range shown {
		if n.Tag == "approval:"+uuid {
			err = fmt.Errorf("shown are %+v", shown)
		}
	}
	if err != nil {
		f.t.Error(err)
	}
}

// clickNotification presses the notification that is on the screen.
func (f *firefox) clickNotification() {
	f.t.Helper()
	browser := f.chrome()
	eventually(f.t, waitWithin, "Firefox to click the notification", func() error {
		ok, err := eval[bool](browser, `(() => {
			for (const alert of Services.wm.getEnumerator("alert:alert")) {
				alert.document.getElementById("alertBox").click();
				return true;
			}
			return false;
		})()`)
		if err == nil && !ok {
			err = errors.New("there is none")
		}
		return err
	})
}

// showing waits for a tab with that address.
func (f *firefox) showing(address string) (found *window) {
	f.t.Helper()
	eventually(f.t, waitWithin, "Firefox to show "+address, func() error {
		var all []string
		for _, w := range f.tabs() {
			at, err := eval[string](w, `location.href`)
			if err != nil {
				return err
			}
			if all = append(all, at); at == address {
				found = w
				return nil
			}
		}
		return fmt.Errorf("it shows %q", all)
	})
	return found
}
