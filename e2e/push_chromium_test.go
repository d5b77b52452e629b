// This file tests the service worker's push handler in Chromium, which can hand it a message without a push service: what
// is shown for every message there is, and what the app says where no push service can be reached.

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/backgroundservice"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/chromedp"

	"countersign.dev/client"
)

// shownNotification is what a browser has on the screen.
type shownNotification struct {
	Title, Body, Tag string
	Silent           bool
	Actions          []any
}

// readNotifications is JavaScript for what the app has on the screen now.
const readNotifications = `(async () => {
	const registration = await navigator.serviceWorker.ready;
	return (await registration.getNotifications()).map(({title, body, tag, silent, actions}) => ({title, body, tag, silent: !!silent, actions: [...(actions ?? [])]}));
})()`

// TestPushHandler: something is shown for every message, only who asks is told, and what is over is taken away.
func TestPushHandler(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	c := d.client(d.APIKey)
	u := d.addUser(c)
	hand := newHand(t, "push hand")
	hand.allowNotifications(d.AuthenticatorURL)
	deliver := hand.pushes(d.AuthenticatorURL)
	ticket, err := c.CreateEnrollmentTicket(t.Context(), u.id)
	if err != nil {
		t.Fatal(err)
	}
	hand.open(ticket.Link)
	hand.click(testid("enrol-confirm"))

	// Asked for with a reason and on a press; this browser has no push service, and the app says so and goes on.
	hand.see(testid("push-offer"), "Hear of requests at once?", "nothing can be approved from it")
	hand.click(testid("push-offer") + " " + testid("push-on"))
	hand.see(testid("push-offer"), "could not reach its push service", "open the app to see what waits")

	ask := func() string {
		a, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in from canary-place?"})
		if err != nil {
			t.Fatal(err)
		}
		return a.UUID
	}
	first := ask()
	hand.see(testid("request-item"), "canary-place")
	deliver(fmt.Sprintf(`{"id":%q,"application":"Owlgate"}`, first))
	hand.shows("approval:"+first, shownNotification{Title: "Owlgate asks for your approval", Silent: true})
	for _, odd := range []string{"", "{", `{"id":"../../evil","application":"A"}`, "\x00\x01"} {
		hand.closeNotifications()
		deliver(odd)
		hand.shows("call", shownNotification{Title: "Something waits for you", Silent: true})
	}
	hand.click(testid("request-item"))
	hand.click(testid("deny"))
	hand.click(testid("deny-mistake"))
	hand.attribute(testid("request-state"), "data-state", "denied")
	// Decided, unknown, never there: shown all the same, and the next message takes it away. The app's page does so too, as soon as
	// it hears of it, so here only the worker is left.
	hand.open(d.AuthenticatorURL + "/manifest.json")
	for _, id := range []string{first, "dda2c400-bc43-4135-97be-1285ca17e122"} {
		deliver(fmt.Sprintf(`{"id":%q,"application":"Owlgate"}`, id))
		hand.shows("approval:"+id, shownNotification{Title: "Owlgate asks for your approval", Silent: true})
	}
	second := ask()
	deliver(fmt.Sprintf(`{"id":%q,"application":"Owlgate"}`, second))
	onlyWaits := func() {
		t.Helper()
		eventually(t, waitWithin, "only what waits to be shown", func() error {
			shown, err := evaluate[[]shownNotification](hand, readNotifications)
			for _, n := range shown {
				if n.Tag != "call" && n.Tag != "approval:"+second { // the decided one, and the one that never was
					err = fmt.Errorf("%+v", shown)
				}
			}
			return err
		})
	}
	onlyWaits()
	// What waits stays, when others are looked after.
	deliver(fmt.Sprintf(`{"id":%q,"application":"Owlgate"}`, first))
	deliver("")
	onlyWaits()
	hand.shows("approval:"+second, shownNotification{Title: "Owlgate asks for your approval", Silent: true})
	hand.keepsNothingOf("/device/")
}

// allowNotifications answers the browser's question before it is asked.
func (b *tab) allowNotifications(origin string) {
	b.t.Helper()
	_, err := chromedp.CallBrowser(b.ctx, browser.SetPermission, browser.SetPermissionParams{
		Permission: &browser.PermissionDescriptor{Name: "notifications"}, Setting: browser.PermissionSettingGranted,
		Origin: origin, BrowserContextID: chromedp.FromContext(b.ctx).BrowserContextID,
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// pushes returns what hands a message to the worker of the app that the tab has open.
func (b *tab) pushes(origin string) func(data string) {
	b.t.Helper()
	registrations := make(chan serviceworker.RegistrationID, 100)
	err := chromedp.Listen(b.ctx, func(event any) {
		if e, ok := event.(*serviceworker.EventWorkerRegistrationUpdated); ok {
			for _, r := range e.Registrations {
				if r.ScopeURL == origin+"/" && !r.IsDeleted {
					select {
					case registrations <- r.RegistrationID:
					default: // it was told before
					}
				}
			}
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, serviceworker.Enable, struct{}{}); err != nil {
		b.t.Fatal(err)
	}
	displayed := b.displayedNotifications()
	var id serviceworker.RegistrationID
	return func(data string) {
		b.t.Helper()
		if _, err := evaluate[bool](b, `navigator.serviceWorker.ready.then(() => true)`); err != nil { // one that is being installed loses messages
			b.t.Fatal(err)
		}
		for id == "" {
			select {
			case id = <-registrations:
			case <-time.After(waitWithin):
				b.t.Fatal("the app registers no worker")
			}
		}
		for len(displayed) > 0 { // of something else
			<-displayed
		}
		ctx, cancel := context.WithTimeout(b.ctx, waitWithin)
		defer cancel()
		_, err := chromedp.Call(ctx, serviceworker.DeliverPushMessage, serviceworker.DeliverPushMessageParams{Origin: origin, RegistrationID: id, Data: data})
		if err != nil {
			b.t.Fatalf("deliver %q: %v", data, err)
		}
		select {
		case <-displayed:
		case <-time.After(waitWithin):
			b.t.Fatalf("nothing was shown for %q", data)
		}
	}
}

// displayedNotifications tells of each notification once it is on the screen. Nothing else may be asked meanwhile: Chromium forgets one that is looked
// for while it is being shown.
func (b *tab) displayedNotifications() <-chan struct{} {
	b.t.Helper()
	displayed := make(chan struct{}, 100)
	err := chromedp.Listen(b.ctx, func(event any) {
		if e, ok := event.(*backgroundservice.EventBackgroundServiceEventReceived); ok && e.BackgroundServiceEvent.EventName == "Notification displayed" {
			displayed <- struct{}{}
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	service := backgroundservice.ServiceNameNotifications
	if _, err := chromedp.Call(b.ctx, backgroundservice.StartObserving, backgroundservice.StartObservingParams{Service: service}); err != nil {
		b.t.Fatal(err)
	}
	if _, err := chromedp.Call(b.ctx, backgroundservice.SetRecording, backgroundservice.SetRecordingParams{ShouldRecord: true, Service: service}); err != nil {
		b.t.Fatal(err)
	}
	return displayed
}

// shows waits for a notification of that name and holds it to what it may say (T-18).
func (b *tab) shows(tag string, want shownNotification) {
	b.t.Helper()
	eventually(b.t, waitWithin, "the notification "+tag, func() error {
		shown, err := evaluate[[]shownNotification](b, readNotifications)
		if err != nil {
			return err
		}
		for _, n := range shown {
			if n.Tag == tag {
				return n.fits(want)
			}
		}
		text, _ := json.Marshal(shown) // for the message
		return fmt.Errorf("shown are %s", text)
	})
}

// fits compares what is said, and refuses anything to press: nothing is decided from a notification.
func (n shownNotification) fits(want shownNotification) error {
	if n.Title != want.Title || n.Silent != want.Silent || n.Body == "" || len(n.Actions) > 0 {
		return fmt.Errorf("it is %+v", n)
	}
	return nil
}

func (b *tab) closeNotifications() {
	b.t.Helper()
	_, err := evaluate[bool](b, `(async () => {
		const registration = await navigator.serviceWorker.ready;
		for (const n of await registration.getNotifications()) n.close();
		return true;
	})()`)
	if err != nil {
		b.t.Fatal(err)
	}
}

// keepsNothingOf looks through everything that the worker has kept.
func (b *tab) keepsNothingOf(path string) {
	b.t.Helper()
	kept, err := evaluate[[]string](b, `(async () => {
		const all = [];
		for (const name of await caches.keys()) for (const {url} of await (await caches.open(name)).keys()) all.push(new URL(url).pathname);
		return all;
	})()`)
	if err == nil && len(kept) == 0 {
		err = errors.New("it keeps nothing at all")
	}
	for _, at := range kept {
		if len(at) >= len(path) && at[:len(path)] == path {
			err = fmt.Errorf("it keeps %s", at)
		}
	}
	if err != nil {
		b.t.Errorf("the worker: %v", err)
	}
}
