package console

import (
	"context"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
)

// away is a gateway that takes nothing.
type away struct{}

func (away) Name() string                             { return "smpp://shop@smsc.example.com" }
func (away) Check(context.Context) (time.Time, error) { return time.Time{}, nil }
func (away) Send(context.Context, message.Message) (string, error) {
	return "", &message.Failure{Reason: "connection refused", Hung: true}
}

func TestMessages(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app, other := f.App(t, "Shop"), f.App(t, "Other")
	u := f.User(t, app, "bob@example.com", "202-555-0123")
	list := "/applications/" + app.ID + "/messages"
	mustSay(t, b.get(t, list, 200), "No message was sent yet")

	send := func(channel otp.Channel) {
		f.Clock.Advance(3 * time.Minute)
		if _, err := f.Codes.Send(t.Context(), app, u, otp.Request{Channel: channel}); err != nil {
			t.Fatal(err)
		}
	}
	send(otp.SMS)
	code := f.Delivered(t, u.Phone).Code
	send(otp.Email)
	f.Outbox(t, "")
	page := b.get(t, list, 200)
	mustSay(t, page, "+1 …23", "b…@example.com", "Sent", "SMS", "E-mail", "outbox", "These are all")
	if strings.Contains(page.body, code) || strings.Contains(page.body, u.Phone) || strings.Contains(page.body, "fails:") {
		t.Error("the page tells a code, a whole number, or of trouble that there is not")
	}

	f.Messages.Gateways[otp.SMS] = []message.Gateway{away{}}
	send(otp.SMS)
	jobs := f.Jobs.Offered(job.Message)
	if err := f.Messages.Deliver(t.Context(), jobs[len(jobs)-1]); err != nil {
		t.Fatal(err)
	}
	mustSay(t, b.get(t, list, 200), "The gateway smpp://shop@smsc.example.com fails: connection refused", "Queued")
	for query, rows := range map[string]int{"": 3, "?channel=sms": 2, "?channel=email": 1, "?status=sent": 2, "?status=queued&channel=sms": 1, "?status=failed": 0, "?channel=pigeon&status=lost": 3} {
		page := b.get(t, list+query, 200)
		if n := strings.Count(page.body, "<tr id="); n != rows {
			t.Errorf("%s: %d rows, want %d", query, n, rows)
		}
	}
	mustSay(t, b.get(t, list+"?status=failed", 200), "No message is like that", "Show all")
	mustSay(t, b.get(t, "/applications/"+other.ID+"/messages", 200), "No message was sent yet")
}

func TestSiteOfSentCodes(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	page := "/applications/" + app.ID
	mustSay(t, b.follow(t, page+"/site", "host", "https://Login.Example.com/"), "The site of sent codes is saved.", "@login.example.com #123456")
	if set := onlyApp(t, f).Settings; set.OriginHost != "login.example.com" {
		t.Errorf("settings %+v", set)
	}
	mustSay(t, b.follow(t, page+"/site", "host", ""), "The site of sent codes is saved.")
	if set := onlyApp(t, f).Settings; set.OriginHost != "" {
		t.Errorf("settings %+v", set)
	}
	for _, bad := range []string{"example.com:8080", "example.com/login", "localhost", "-a.example.com", "a..example.com", "exa mple.com", "@example.com", "example.com #1", strings.Repeat("a", 64) + ".com"} {
		mustSay(t, b.post(t, page+"/site", 422, "host", bad), "A site is a host name")
	}
}
