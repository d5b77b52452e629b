package console

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/job"
)

// A delivery is sent again from the list and from its approval; the new try shows up beside the old one.
func TestSendAgain(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	uuid := f.furnish(t, app)
	list, detail := "/applications/"+app.ID+"/callbacks", "/applications/"+app.ID+"/approvals/"+uuid
	for _, page := range []string{list, detail} {
		if !strings.Contains(b.get(t, page, 200).body, `action="`+detail+`/callback"`) {
			t.Errorf("%s has no way to send again", page)
		}
	}
	before := len(f.Jobs.Offered(job.Callback))
	mustSay(t, b.follow(t, detail+"/callback"), "on its way again")
	offered := f.Jobs.Offered(job.Callback)
	if len(offered) != before+1 || offered[before].Ref != uuid || offered[before].AppID != app.ID {
		t.Errorf("offered %+v", offered)
	}
	f.wantRecords(t, app, "callback.sent_again", 1)
	f.Clock.Advance(time.Second)
	f.try(t, app.ID, uuid, 200, "")
	mustSay(t, b.get(t, list, 200), "200 OK", "503 Service Unavailable")

	waiting := f.Ask(t, app, f.User(t, app, "eve@example.com", "202-555-0123"), "Pay?")
	mustSay(t, b.post(t, "/applications/"+app.ID+"/approvals/"+waiting.UUID+"/callback", http.StatusConflict), "Nobody has answered")
	b.post(t, "/applications/"+app.ID+"/approvals/none/callback", 404)
	f.setCallback(t, app, "")
	mustSay(t, b.post(t, detail+"/callback", http.StatusConflict), "no callback address")
	if strings.Contains(b.get(t, list, 200).body, "Send again") {
		t.Error("without an address it is offered to send again")
	}
	f.wantRecords(t, app, "callback.sent_again", 1)
}
