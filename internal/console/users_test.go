package console

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/reset"
	"countersign.dev/internal/tenant"
)

// RE5: an operator sees who lost everything, allows a new start after a fresh proof and with a note, and can end it.
func TestRE5_OperatorAllowsAReset(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	app := f.App(t, "Bank")
	u := f.User(t, app, "bob@example.com", "202-555-0123")
	f.Phone(t, app, u)
	list, page := "/applications/"+app.ID+"/users", fmt.Sprintf("/applications/%s/users/%d", app.ID, u.AuthyID)

	if got := p.send(t, "GET", fmt.Sprintf("%s?id=%d", list, u.AuthyID), nil); got.StatusCode != 303 || got.Header.Get("Location") != page {
		t.Errorf("a typed id leads to %d %s", got.StatusCode, got.Header.Get("Location"))
	}
	for _, id := range []string{"12", "no number"} {
		mustSay(t, p.get(t, list+"?id="+strings.ReplaceAll(id, " ", "+"), 200), "No user of Bank has the authy_id "+id)
	}
	mustSay(t, p.get(t, page, 200), "bob@example.com", "XXX-XXX-0123", "Test phone", "No reset", "For 2 days anybody who is signed in as them or holds one of their devices can stop it")
	p.get(t, "/applications/"+app.ID+"/users/12", 404)

	if _, err := f.Resets.Ask(t.Context(), app, u); err != nil {
		t.Fatal(err)
	}
	mustSay(t, p.get(t, list, 200), "Resets under way", "Asked for")
	mustSay(t, p.get(t, page, 200), "gave the right password to Bank", "Refuse it")

	f.Clock.Advance(10 * time.Minute)
	p.get(t, page, 200)
	f.Clock.Advance(6 * time.Minute) // the proof of the sign-in is old
	asked := p.post(t, page+"/reset", 403, "note", "came by")
	mustSay(t, asked, "Confirm it is you", "reset a second factor")
	if !strings.Contains(asked.body, fmt.Sprintf(`action="%s/reset"`, page)) || !strings.Contains(asked.body, `name="note" value="came by"`) {
		t.Error("what was filled in is lost: ", asked.body)
	}
	mustSay(t, p.post(t, page+"/reset", 403, "note", "came by", "password", "wrong", "code", p.code()), "Confirm it is you")
	if r, err := f.Resets.Of(t.Context(), u); err != nil || r.At(f.Clock.Now()) != reset.Asked {
		t.Fatalf("allowed without a proof: %+v, %v", r, err)
	}
	f.Clock.Advance(time.Minute)
	p.post(t, page+"/reset", 303, "note", "came by", "password", password, "code", p.code())
	mustSay(t, p.get(t, page+"?saved=allowed", 200), "The user was told", "Can be stopped", "Stop it")
	if text := p.get(t, page, 200).text(); strings.Contains(text, "How you made sure") {
		t.Error("it can be allowed twice")
	}
	mustSay(t, p.post(t, page+"/reset", 422, "note", "once more"), "allowed already")
	mustSay(t, p.get(t, "/applications/"+app.ID+"/audit", 200), "reset.allowed", "came by", "reset.asked", email)

	mustSay(t, p.follow(t, page+"/reset/refuse"), "The reset has ended")
	p.post(t, page+"/reset/refuse", 404)
	mustSay(t, p.post(t, page+"/reset", 422, "note", " "), "how you made sure")
	p.post(t, page+"/reset", 303, "note", "came by again")
	f.Clock.Advance(reset.Wait)
	if r, err := f.Resets.Of(t.Context(), u); err != nil || r.At(f.Clock.Now()) != reset.Due {
		t.Fatalf("%+v, %v", r, err)
	}
}

// RE5: how long a reset can be stopped is the operators' choice; to shorten it they prove who they are.
func TestRE5_ResetWait(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	app := f.App(t, "Bank")
	page := "/applications/" + app.ID
	f.Clock.Advance(10 * time.Minute)
	p.get(t, page, 200)
	f.Clock.Advance(6 * time.Minute)
	mustSay(t, p.follow(t, page+"/reset-wait", "hours", "72"), "The hours are saved")
	for _, bad := range []string{"0", "337", "-1", "two", ""} {
		mustSay(t, p.post(t, page+"/reset-wait", 422, "hours", bad), "a whole number of hours")
	}
	mustSay(t, p.post(t, page+"/reset-wait", 403, "hours", "24"), "Confirm it is you", "shorten the time")
	p.post(t, page+"/reset-wait", 303, "hours", "24", "password", password, "code", p.code())
	if set := onlyApp(t, f).Settings; reset.WaitOf(set) != 24*time.Hour || reset.WaitOf(tenant.NewIntegration()) != 48*time.Hour {
		t.Errorf("the wait is %v", reset.WaitOf(set))
	}
	mustSay(t, p.get(t, page, 200), "Hours to stop a reset")
	quick := f.App(t, "Quick", func(set *tenant.Settings) { set.ResetWait = 30 })
	mustSay(t, p.get(t, "/applications/"+quick.ID, 200), "has this long to stop it: 30 seconds now")
}
