// This file tests what an application does with approvals over time: waiting, repeating itself, cancelling, asking for a number.

package authyapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// waiting is a long poll that has begun. All of it lives in a synctest bubble: time passes only while everybody waits.
type waiting struct {
	begun time.Time
	took  time.Duration
	got   chan answer
}

// wait begins a long poll and returns once it waits.
func (s *site) wait(ctx context.Context, uuid string, seconds int) *waiting {
	w := &waiting{begun: time.Now(), got: make(chan answer, 1)}
	r := request("GET", fmt.Sprintf("/onetouch/json/approval_requests/%s?wait=%d", uuid, seconds), "", "").WithContext(ctx)
	r.Header.Set("X-Authy-API-Key", s.key)
	go func() {
		a := s.serve(r)
		w.took = time.Since(w.begun)
		w.got <- a
	}()
	synctest.Wait()
	return w
}

// answers checks the end of a long poll.
func (w *waiting) answers(t *testing.T, status string, after time.Duration) {
	t.Helper()
	a := <-w.got
	if a.wellFormed(t); a.at(t, "approval_request", "status") != status || w.took != after {
		t.Errorf("after %v: %s\nwant %s after %v", w.took, a.body, status, after)
	}
}

// inBubble runs a test with a site whose clock is the bubble's.
func inBubble(t *testing.T, test func(*testing.T, *site, *servertest.Phone)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, roomy)
		begun := time.Now()
		s.Approvals.Now = func() time.Time { return start.Add(time.Since(begun)) }
		test(t, s, s.Phone(t, s.app, s.ana))
	})
}

func TestWait(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site, phone *servertest.Phone) {
		ctx := t.Context()
		ask := func(life int64) string {
			return s.Ask(t, s.app, s.ana, "Log in?", func(r *approval.Request) { r.Life = &life }).UUID
		}
		// A decision wakes everybody who waits for it, at once.
		uuid := ask(600)
		one, two := s.wait(ctx, uuid, 60), s.wait(ctx, uuid, 60)
		<-time.After(7 * time.Second) // the bubble's
		if _, err := phone.Answer(t, uuid, approval.Approve, ""); err != nil {
			t.Fatal(err)
		}
		one.answers(t, "approved", 7*time.Second)
		two.answers(t, "approved", 7*time.Second)
		s.wait(ctx, uuid, 60).answers(t, "approved", 0)

		// The end of the wait, at most a minute, answers what is.
		uuid = ask(600)
		s.wait(ctx, uuid, 0).answers(t, "pending", 0)
		s.wait(ctx, uuid, 9).answers(t, "pending", 9*time.Second)
		s.wait(ctx, uuid, 86400).answers(t, "pending", time.Minute)

		// So do expiry and cancellation, in the words that old clients know.
		s.wait(ctx, ask(20), 60).answers(t, "expired", 20*time.Second)
		cancelled := s.wait(ctx, uuid, 60)
		s.post("/onetouch/json/approval_requests/"+uuid+"/cancel", "")
		cancelled.answers(t, "expired", 0)

		// Who has gone is told nothing, and is no error of ours.
		left, leave := context.WithCancel(ctx)
		gone := s.wait(left, ask(600), 60)
		leave()
		if a := <-gone.got; a.body != "" || gone.took != 0 {
			t.Errorf("after %v: %s", gone.took, a.body)
		}
		if text := s.log.String(); text != "" {
			t.Errorf("logged: %s", text)
		}

		// What is not there is not waited for.
		none := s.wait(ctx, "66666666-7777-4888-9999-000000000000", 60)
		(<-none.got).refused(t, 404, "60049", "Approval request not found: 66666666-7777-4888-9999-000000000000")
	})
}

func TestWaitEndsWithEverything(t *testing.T) {
	inBubble(t, func(t *testing.T, s *site, _ *servertest.Phone) {
		bob := s.User(t, s.app, "bob@example.com", "202-555-0188")
		s.Phone(t, s.app, bob)
		removed := s.wait(t.Context(), s.Ask(t, s.app, bob, "Log in?").UUID, 60)
		s.post(fmt.Sprintf("/protected/json/users/%d/remove", bob.AuthyID), "")
		removed.answers(t, "expired", 0)

		uuid := s.Ask(t, s.app, s.ana, "Log in?").UUID
		stopped := s.wait(t.Context(), uuid, 60)
		s.Live.Close() // the program stops
		stopped.answers(t, "pending", 0)
		s.wait(t.Context(), uuid, 60).answers(t, "pending", 0)
	})
}

// Expiry is seen by every reader at its moment, with no sweep.
func TestExpiryIsSeenOnRead(t *testing.T) {
	s := newSite(t, roomy)
	uuid := s.uuidOf(t, "message=m&seconds_to_expire=30")
	s.Clock.Advance(30*time.Second - time.Millisecond)
	if got := s.get("/onetouch/json/approval_requests/"+uuid).at(t, "approval_request", "status"); got != "pending" {
		t.Errorf("just before: %v", got)
	}
	s.Clock.Advance(time.Millisecond)
	a := s.get("/onetouch/json/approval_requests/" + uuid)
	if a.at(t, "approval_request", "status") != "expired" || a.at(t, "approval_request", "processed_at") != "2026-05-04T10:00:30Z" || a.at(t, "approval_request", "cancelled") != nil {
		t.Errorf("at its end: %s", a.body)
	}
}

// uuidOf asks Ana, who gets a phone for it, and returns the approval's uuid.
func (s *site) uuidOf(t *testing.T, form string) string {
	t.Helper()
	s.Phone(t, s.app, s.ana)
	return s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), form).uuid(t)
}

// create asks with an Idempotency-Key.
func (s *site) create(user tenant.User, key, form string) answer {
	r := request("POST", fmt.Sprintf("/onetouch/json/users/%d/approval_requests", user.AuthyID), formType, form)
	r.Header.Set("X-Authy-API-Key", s.key)
	r.Header.Set("Idempotency-Key", key)
	return s.serve(r)
}

func TestIdempotencyKey(t *testing.T) {
	s := newSite(t, roomy)
	phone := s.Phone(t, s.app, s.ana)
	bob := s.User(t, s.app, "bob@example.com", "202-555-0188")
	s.Phone(t, s.app, bob)
	const form = "message=Pay%3F&details[a]=1&hidden_details[b]=2&match=type"
	first := s.create(s.ana, "k1", form)
	uuid := first.uuid(t)
	s.Clock.Advance(time.Minute)
	s.create(s.ana, "k1", form).is(t, 200, first.body)
	asJSON := request("POST", fmt.Sprintf("/onetouch/json/users/%d/approval_requests?match=type", s.ana.AuthyID), jsonType, `{"message":"Pay?","details":{"a":1},"hidden_details":{"b":2}}`)
	asJSON.Header.Set("X-Authy-API-Key", s.key)
	asJSON.Header.Set("Idempotency-Key", "k1")
	s.serve(asJSON).is(t, 200, first.body)

	for name, other := range map[string]answer{
		"another message":        s.create(s.ana, "k1", strings.Replace(form, "Pay", "Lend", 1)),
		"another detail":         s.create(s.ana, "k1", strings.Replace(form, "[a]=1", "[a]=2", 1)),
		"another hidden detail":  s.create(s.ana, "k1", strings.Replace(form, "[b]=2", "[b]=3", 1)),
		"another life":           s.create(s.ana, "k1", form+"&seconds_to_expire=60"),
		"another match":          s.create(s.ana, "k1", strings.Replace(form, "&match=type", "", 1)),
		"a logo":                 s.create(s.ana, "k1", form+"&logos[][res]=default&logos[][url]=https://x.example"),
		"another user":           s.create(bob, "k1", form),
		"details in other order": s.create(s.ana, "k1", "message=Pay%3F&details[c]=0&details[a]=1&hidden_details[b]=2&match=type"),
	} {
		if other.refused(t, 400, "60002", approval.ErrReused.Detail); t.Failed() {
			t.Fatal(name)
		}
	}
	if other := s.create(s.ana, "k2", form).uuid(t); other == uuid {
		t.Error("another key gave the same approval")
	}
	value, _ := first.at(t, "approval_request", "match", "value").(string)
	if _, err := phone.Answer(t, uuid, approval.Approve, value); err != nil {
		t.Fatal(err)
	}
	s.create(s.ana, "k1", form).is(t, 200, first.body) // decided meanwhile: still the same, and no second one

	s.Clock.Advance(24*time.Hour - time.Minute - time.Millisecond)
	s.create(s.ana, "k1", form).is(t, 200, first.body)
	s.Clock.Advance(time.Millisecond)
	if again := s.create(s.ana, "k1", form).uuid(t); again == uuid {
		t.Error("a day later the key still gave the old approval")
	}
	s.create(s.ana, strings.Repeat("k", 255), form).uuid(t)
	s.create(s.ana, strings.Repeat("k", 256), form).refused(t, 400, "60004", "Idempotency-Key has at most 255 characters.")
}

// One key many times at once makes one approval (INV-1).
func TestIdempotencyKeyAtOnce(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	answers := make([]answer, 32)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i] = s.create(s.ana, "k", "message=m") })
	}
	all.Wait()
	for _, a := range answers {
		a.is(t, http.StatusOK, answers[0].body)
	}
	made, err := s.Store.ListedApprovals(t.Context(), s.app.ID, 100)
	if err != nil || len(made) != 1 {
		t.Errorf("%d approvals, %v", len(made), err)
	}
}

// A request may ask for more than the application's setting, never for less; the number goes to the application only (T-11).
func TestMatchParameter(t *testing.T) {
	s := newSite(t, roomy)
	phone := s.Phone(t, s.app, s.ana)
	for _, row := range []struct {
		setting tenant.MatchMode
		asked   string
		number  bool
	}{
		{tenant.MatchOff, "", false},
		{tenant.MatchOff, "&match=off", false},
		{tenant.MatchOff, "&match=type", true},
		{tenant.MatchType, "", true},
		{tenant.MatchType, "&match=off", true},
		{tenant.MatchType, "&match=type", true},
	} {
		if err := s.Tenants.SetMatch(t.Context(), s.app, row.setting, 4, "operator:test"); err != nil {
			t.Fatal(err)
		}
		a := s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), "message=m"+row.asked)
		value, _ := a.at(t, "approval_request", "match", "value").(string)
		if (len(value) == 4) != row.number || (value != "") != row.number {
			t.Errorf("%v: %s", row, a.body)
			continue
		}
		if answered, err := phone.Answer(t, a.uuid(t), approval.Approve, value); err != nil || answered.Status != approval.Approved {
			t.Errorf("%v: %s, %v", row, answered.Status, err)
		}
	}
}

// PU4: who waits learns that a wrong number denied it, so that the page can say so.
func TestWrongNumberIsTold(t *testing.T) {
	s := newSite(t, roomy)
	phone := s.Phone(t, s.app, s.ana)
	a := s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), "message=m&match=type")
	uuid := a.uuid(t)
	if read := s.get("/onetouch/json/approval_requests/" + uuid); read.at(t, "approval_request", "reason") != nil {
		t.Errorf("while pending: %s", read.body)
	}
	value, _ := a.at(t, "approval_request", "match", "value").(string)
	_, _ = phone.Answer(t, uuid, approval.Approve, value+"0")
	if read := s.get("/onetouch/json/approval_requests/" + uuid); read.at(t, "approval_request", "status") != "denied" || read.at(t, "approval_request", "reason") != "number-mismatch" {
		t.Errorf("after a wrong number: %s", read.body)
	}
}

// A message over 200 characters is cut, not refused (contract section 5.1): characters, not bytes.
func TestLongMessage(t *testing.T) {
	s := newSite(t)
	uuid := s.uuidOf(t, "message="+strings.Repeat("%c3%a9", 300))
	row, err := s.Approvals.Get(t.Context(), s.app.ID, uuid)
	if err != nil || row.Content.Message != strings.Repeat("é", 200) {
		t.Errorf("%q, %v", row.Content.Message, err)
	}
}

// A ticket is for one phone, once, for ten minutes, or until there is a newer one.
func TestTicketWorksOnce(t *testing.T) {
	s := newSite(t)
	target := fmt.Sprintf("/onetouch/json/users/%d/enrollment_tickets", s.ana.AuthyID)
	one, _ := s.post(target, "").at(t, "enrollment_ticket", "words").(string)
	two, _ := s.post(target, "").at(t, "enrollment_ticket", "words").(string)
	if one == two || len(strings.Split(one, "-")) != 8 {
		t.Errorf("%q and %q", one, two)
	}
	if _, err := s.Devices.LookTicket(t.Context(), one); err == nil {
		t.Error("good beside a newer one")
	}
	s.Clock.Advance(10*time.Minute - time.Millisecond)
	if _, err := s.Devices.LookTicket(t.Context(), two); err != nil {
		t.Error(err)
	}
	s.Clock.Advance(time.Millisecond)
	if _, err := s.Devices.LookTicket(t.Context(), two); err == nil {
		t.Error("good after ten minutes")
	}
}

// T-10: the same request is told of again, seldom, and stays the same in all else.
func TestRenotify(t *testing.T) {
	s := newSite(t, func(set *tenant.Settings) { set.Match, set.MatchDigits = tenant.MatchType, 3 })
	phone := s.Phone(t, s.app, s.ana)
	s.Subscribed(t, phone, "https://fcm.googleapis.com/fcm/send/1")
	uuid := s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), "message=m").uuid(t)
	first := s.get("/onetouch/json/approval_requests/" + uuid)
	again := func() answer { return s.post("/onetouch/json/approval_requests/"+uuid+"/renotify", "") }
	told := s.Live.Subscribe(live.UserTopic(s.ana.ID))
	defer told.Close()

	s.Clock.Advance(19 * time.Second)
	a := again()
	if a.refused(t, 429, "60003", "The user was told of this request often enough, or a moment ago."); a.header.Get("Retry-After") != "1" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	if len(told.Take()) > 0 || len(s.Jobs.Offered(job.Push)) != 1 {
		t.Error("a refused repetition told somebody")
	}
	for n := range approval.RenotifyMax {
		s.Clock.Advance(approval.RenotifyPause)
		again().is(t, 200, fmt.Sprintf(`{"approval_request":{"uuid":"%s","status":"pending"},"message":"The user's devices were told again.","success":true}`, uuid))
		if jobs := s.Jobs.Offered(job.Push); len(told.Take()) != 1 || len(jobs) != n+2 || jobs[n+1].Ref != uuid {
			t.Errorf("pushes after repetition %d: %+v", n+1, jobs)
		}
	}
	s.Clock.Advance(approval.RenotifyPause)
	a = again()
	if a.refused(t, 429, "60003", "The user was told of this request often enough, or a moment ago."); a.header.Get("Retry-After") != "21" { // its end
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	if now := s.get("/onetouch/json/approval_requests/" + uuid); now.body != first.body {
		t.Errorf("it was\n%s\nand is\n%s", first.body, now.body)
	}
	if in, err := s.Approvals.Inbox(t.Context(), phone.Device); err != nil || len(in.Waiting) != 1 {
		t.Errorf("the phone lists %d, %v", len(in.Waiting), err)
	}
	s.Clock.Advance(time.Minute)
	again().refused(t, 400, "60079", "The approval request is no longer pending.")
}

// Where a request was started (T-17), and "it was not me" (T-10), as the application meets them.
func TestContextAndNotMe(t *testing.T) {
	s := newSite(t, roomy)
	phone := s.Phone(t, s.app, s.ana)
	target := fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID)
	told := receipt.Context{Address: "192.0.2.7", Browser: "Firefox", Origin: "https://bank.example"}
	for form, want := range map[string]receipt.Context{
		"message=m&context[ip]=192.0.2.7&context[user_agent]=Firefox&context[origin]=https://bank.example":                   told,
		"message=m&context[ip]=192.0.2.7&context[user_agent]=Firefox&context[origin]=https://bank.example&user_ip=192.0.2.9": told,
		"message=m&user_ip=192.0.2.9":    {Address: "192.0.2.9"},
		"message=m&user_ip=somewhere":    {},
		"message=m":                      {},
		"message=m&context[ip]=":         {},
		"message=m&context[strange]=new": {},
	} {
		uuid := s.post(target, form).uuid(t)
		if a, err := s.Approvals.ForDevice(t.Context(), phone.Device, uuid); err != nil || a.Content.Context != want {
			t.Errorf("%s: %+v, %v", form, a.Content.Context, err)
		}
	}
	body := `{"message":"m","context":{"ip":"192.0.2.7","user_agent":"Firefox","origin":"https://bank.example"}}`
	uuid := s.ask("POST", target, jsonType, body).uuid(t)
	if a, err := s.Approvals.ForDevice(t.Context(), phone.Device, uuid); err != nil || a.Content.Context != told {
		t.Errorf("JSON: %+v, %v", a.Content.Context, err)
	}
	for _, bad := range []string{"context=x", "context[]=x", "context[ip]=x", "context[origin]=bank.example"} {
		if a := s.post(target, "message=m&"+bad); a.status != 400 || a.at(t, "error_code") != "60004" {
			t.Errorf("%s: %s", bad, a.body)
		}
	}

	if _, err := phone.Answer(t, uuid, approval.NotMe, ""); err != nil {
		t.Fatal(err)
	}
	a := s.post(target, "message=m")
	if a.refused(t, 429, "60003", approval.ErrReported.Detail); a.at(t, "reason") != approval.NotMe || a.header.Get("Retry-After") != "1200" {
		t.Errorf("after a report: %s", a.body)
	}
	a = s.get("/onetouch/json/approval_requests/" + uuid)
	if a.at(t, "approval_request", "status") != "denied" || a.at(t, "approval_request", "reason") != approval.NotMe {
		t.Errorf("status: %s", a.body)
	}
}
