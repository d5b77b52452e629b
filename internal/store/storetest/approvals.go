package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

var approvalTests = []test{
	{"what is asked is kept whole", testApprovalKept},
	{"an answer is kept whole", testAnswerKept},
	{"nobody to ask", testNobodyToAsk},
	{"at most so many wait", testWaitingMax},
	{"at most so many wait, also at once", testWaitingMaxRace},
	{"at most so many in five minutes without an approval", testUnapprovedBurst},
	{"at most so many in an hour without an approval", testUnapprovedHour},
	{"limits count one user's requests", testLimitsAreTheUsers},
	{"an approval never makes an older one the last", testLastApproved},
	{"an Idempotency-Key returns the first approval", testIdempotency},
	{"an Idempotency-Key used at once makes one approval", testIdempotencyRace},
	{"the decision asks for everything again", testDecide},
	{"a decision has its callback job", testDecisionJobs},
	{"cancelling", testCancel},
	{"an approval ends at its time", testApprovalExpiry},
	{"an approval that never ends", testNeverExpires},
	{"the sweep", testExpire},
	{"what a device sees", testForDevice},
	{"the newest approvals", testApprovalList},
	{"times in other zones", testZones},
}

// creation is an approval on its way, past the service.
func (f *fixture) creation(p person, life time.Duration) approval.Creation {
	a := approval.Approval{
		UUID: ident.UUID(), ID: ident.New(f.now()), AppID: p.app.ID, AppSerial: p.app.Serial, UserID: p.user.ID, AuthyID: p.user.AuthyID,
		UserEmail: p.user.Email, Status: approval.Pending, Content: receipt.Content{Application: p.app.Name, Message: "Log in?", Details: []receipt.Field{}},
		Match: approval.Match{Mode: tenant.MatchOff}, Nonce: "AAECAwQFBgcICQoLDA0ODw", Life: int64(life / time.Second), CreatedAt: f.now(), UpdatedAt: f.now(),
	}
	if life > 0 {
		a.ExpiresAt = f.now().Add(life)
	}
	return approval.Creation{Approval: a, Settings: p.app.Settings, Now: f.now()}
}

func (f *fixture) create(t *testing.T, c approval.Creation) approval.Approval {
	t.Helper()
	a, _, err := f.Store.CreateApproval(t.Context(), c, audit.New(f.now(), c.AppID, "test", "approval.created", "approval:"+c.UUID))
	must(t, err)
	return a
}

// decision is an answer on its way, past the service.
func (f *fixture) decision(p person, uuid string) approval.Decision {
	return approval.Decision{
		UUID: uuid, UserID: p.user.ID, Status: approval.Approved, GrantID: p.grant().ID, DeviceID: p.phone.Device.ID, Signed: []byte("{}"), Signature: "s", Now: f.now(),
	}
}

func (f *fixture) decide(d approval.Decision, appID string) (approval.Approval, []job.Job, error) {
	ended, jobs, err := f.Store.Decide(context.Background(), d, job.New(job.Callback, appID, d.UUID, d.Now), audit.New(d.Now, appID, "test", "approval.decided", d.UUID))
	if err != nil {
		return approval.Approval{}, jobs, err
	}
	a, err := f.Store.Approval(context.Background(), appID, d.UUID)
	a.Ended = ended
	return a, jobs, err
}

func testApprovalKept(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	c := f.creation(p, 2*time.Minute)
	c.Content.Message, c.Content.Logo = "Überweisung 💶 \"50\"?", "d1"
	c.Content.Details = []receipt.Field{{Name: "z", Value: "1"}, {Name: "a", Value: "2"}, {Name: "z", Value: ""}} // order and repetition stay
	c.Hidden = []receipt.Field{{Name: "ip", Value: "192.0.2.7"}}
	c.Logos = []approval.Logo{{Res: "default", URL: "https://bank.example/logo.png"}}
	c.Match = approval.Match{Mode: tenant.MatchType, Value: "042"}
	same(t, "what create returns", fmt.Sprintf("%+v", f.create(t, c)), fmt.Sprintf("%+v", c.Approval))
	got, err := f.Store.Approval(t.Context(), p.app.ID, c.UUID)
	must(t, err)
	same(t, "what is read", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", c.Approval))

	bare := f.creation(p, 2*time.Minute) // nothing optional: nil stays nil
	f.create(t, bare)
	got, err = f.Store.Approval(t.Context(), p.app.ID, bare.UUID)
	must(t, err)
	if got.Hidden != nil || got.Logos != nil || len(got.Content.Details) != 0 || got.Answer != nil || !got.ProcessedAt.IsZero() {
		t.Errorf("read %+v", got)
	}
	_, err = f.Store.Approval(t.Context(), p.app.ID, "nothing")
	wantErr(t, "no approval", err, approval.ErrUnknown)
	_, _, err = f.Store.CreateApproval(t.Context(), c, f.rec(p.app))
	if err == nil {
		t.Error("a uuid can be used twice")
	}
}

func testAnswerKept(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	asked := f.Ask(t, p.app, p.user, "Log in?")
	f.Clock.Advance(time.Second)
	d := f.decision(p, asked.UUID)
	d.Status, d.Reason, d.Signed, d.Signature = approval.Denied, "number-mismatch", []byte(`{"a":1}`), "sig"
	decided, _, err := f.decide(d, p.app.ID)
	must(t, err)
	got, err := f.Store.Approval(t.Context(), p.app.ID, asked.UUID)
	must(t, err)
	for _, a := range []approval.Approval{decided, got} {
		if a.Status != approval.Denied || a.Reason != d.Reason || !a.ProcessedAt.Equal(f.now()) || !a.UpdatedAt.Equal(f.now()) || !a.CreatedAt.Equal(asked.CreatedAt) {
			t.Errorf("decided: %+v", a)
		}
		if a.Answer == nil || string(a.Answer.Signed) != `{"a":1}` || a.Answer.Signature != "sig" || a.Answer.Grant.ID != p.grant().ID || a.Answer.Grant.Device != p.phone.Device {
			t.Errorf("answered: %+v", a.Answer)
		}
	}
	// Who answered stays known when their grant is gone.
	must(t, f.Devices.RemoveGrant(t.Context(), p.phone.Device, p.grant().ID))
	got, err = f.Store.Approval(t.Context(), p.app.ID, asked.UUID)
	must(t, err)
	if got.Answer == nil || got.Receipt().Enrollment.PublicKey != p.phone.Device.PublicKey {
		t.Errorf("after the grant is gone: %+v", got.Answer)
	}
}

func testNobodyToAsk(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	bob := f.User(t, p.app, "bob@example.com", "202-555-0199")
	c := f.creation(p, time.Minute)
	c.UserID = bob.ID
	_, _, err := f.Store.CreateApproval(t.Context(), c, f.rec(p.app))
	wantErr(t, "a user without a device", err, approval.ErrNoDevice)
	c.UserID = "nobody"
	_, _, err = f.Store.CreateApproval(t.Context(), c, f.rec(p.app))
	wantErr(t, "nobody", err, tenant.ErrUser)
	must(t, f.Devices.RemoveGrant(t.Context(), p.phone.Device, p.grant().ID))
	_, _, err = f.Store.CreateApproval(t.Context(), f.creation(p, time.Minute), f.rec(p.app))
	wantErr(t, "a user whose device is gone", err, approval.ErrNoDevice)
	same(t, "approvals", f.state(t, "approvals"), "")
}

// ask creates an approval and returns the error alone.
func (f *fixture) ask(p person) error {
	_, err := f.Approvals.Create(context.Background(), p.app, p.user, approval.Request{Message: "Log in?"})
	return err
}

func waiting(n int) func(*tenant.Settings) {
	return func(s *tenant.Settings) { s.WaitingMax, s.UnapprovedHour, s.UnapprovedBurst = n, 0, 0 }
}

func testWaitingMax(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", waiting(3))
	first := f.Ask(t, p.app, p.user, "1")
	f.Clock.Advance(time.Second)
	second := f.Ask(t, p.app, p.user, "2")
	wantErr(t, "the third", f.ask(p), nil)
	err := f.ask(p)
	wantErr(t, "the fourth", err, approval.ErrWaiting)
	if retryAfter(err) <= 0 {
		t.Error("the refusal does not say when to come back")
	}
	_, err = f.Approvals.Cancel(t.Context(), p.app, second.UUID)
	must(t, err)
	wantErr(t, "one more after one was withdrawn", f.ask(p), nil)
	f.Clock.Advance(first.ExpiresAt.Sub(f.now()) - time.Millisecond)
	wantErr(t, "a millisecond before one expires", f.ask(p), approval.ErrWaiting)
	f.Clock.Advance(time.Millisecond)
	wantErr(t, "when one has expired, unswept", f.ask(p), nil)
	wantErr(t, "one more", f.ask(p), approval.ErrWaiting)
}

func testWaitingMaxRace(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", waiting(3))
	wantTally(t, together(64, func(int) error { return f.ask(p) }), map[error]int{nil: 3, approval.ErrWaiting: 61})
}

// denied asks and lets the person say no.
func (f *fixture) denied(t *testing.T, p person) {
	t.Helper()
	_, err := p.phone.Answer(t, f.Ask(t, p.app, p.user, "Log in?").UUID, approval.Deny, "")
	must(t, err)
}

func testUnapprovedBurst(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", func(s *tenant.Settings) { s.UnapprovedBurst, s.UnapprovedHour = 3, 0 })
	for range 3 {
		f.denied(t, p)
		f.Clock.Advance(time.Minute)
	}
	err := f.ask(p)
	wantErr(t, "the fourth", err, approval.ErrFlood)
	same(t, "when to come back", retryAfter(err), 2*time.Minute)
	f.Clock.Advance(2*time.Minute - time.Millisecond)
	wantErr(t, "a millisecond before the window moves on", f.ask(p), approval.ErrFlood)
	f.Clock.Advance(time.Millisecond)
	last := f.Ask(t, p.app, p.user, "Log in?")
	wantErr(t, "one more", f.ask(p), approval.ErrFlood)
	_, err = p.phone.Answer(t, last.UUID, approval.Approve, "")
	must(t, err)
	wantErr(t, "after an approval", f.ask(p), nil) // made in the same instant as it: nothing before counts
}

func testUnapprovedHour(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", func(s *tenant.Settings) { s.UnapprovedBurst, s.UnapprovedHour = 3, 10 })
	for range 10 {
		f.denied(t, p)
		f.Clock.Advance(2 * time.Minute)
	}
	err := f.ask(p)
	wantErr(t, "the eleventh", err, approval.ErrFlood)
	same(t, "when to come back", retryAfter(err), 40*time.Minute)
	f.Clock.Advance(40*time.Minute - time.Millisecond)
	wantErr(t, "a millisecond before the window moves on", f.ask(p), approval.ErrFlood)
	f.Clock.Advance(time.Millisecond)
	wantErr(t, "when the window has moved on", f.ask(p), nil)
}

// testLimitsAreTheUsers: what is asked of one user, and what one approves, changes nothing for another.
func testLimitsAreTheUsers(t *testing.T, f *fixture) {
	ana := f.person(t, "Bank", func(s *tenant.Settings) { s.WaitingMax, s.UnapprovedHour, s.UnapprovedBurst = 2, 0, 3 })
	bob := ana
	bob.user = f.User(t, ana.app, "bob@example.com", "202-555-0199")
	bob.phone = f.Phone(t, bob.app, bob.user)
	for range 2 {
		wantErr(t, "asking Ana", f.ask(ana), nil)
	}
	wantErr(t, "asking Ana once more", f.ask(ana), approval.ErrWaiting)
	f.denied(t, bob)
	f.denied(t, bob)
	f.Clock.Advance(2 * time.Minute) // Ana's have expired
	wantErr(t, "asking Ana a third time", f.ask(ana), nil)
	wantErr(t, "asking Ana a fourth time", f.ask(ana), approval.ErrFlood)
	_, err := bob.phone.Answer(t, f.Ask(t, bob.app, bob.user, "Log in?").UUID, approval.Approve, "")
	must(t, err)
	wantErr(t, "asking Bob after his approval", f.ask(bob), nil)
	wantErr(t, "asking Ana after Bob's approval", f.ask(ana), approval.ErrFlood)
}

// testLastApproved: the limits count from the last approval, also when a node whose clock is behind records one later.
func testLastApproved(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", func(s *tenant.Settings) { s.WaitingMax, s.UnapprovedHour, s.UnapprovedBurst = 100, 0, 3 })
	first, second := f.create(t, f.creation(p, time.Hour)), f.create(t, f.creation(p, time.Hour))
	f.Clock.Advance(time.Minute)
	f.denied(t, p)
	d := f.decision(p, first.UUID)
	d.Now = f.now().Add(time.Second)
	_, _, err := f.decide(d, p.app.ID)
	must(t, err)
	d = f.decision(p, second.UUID)
	d.Now = f.now().Add(-time.Second)
	_, _, err = f.decide(d, p.app.ID)
	must(t, err)
	f.Clock.Advance(2 * time.Second)
	for range 3 {
		wantErr(t, "asking after the approvals", f.ask(p), nil)
	}
	wantErr(t, "one too many", f.ask(p), approval.ErrFlood)
}

func testIdempotency(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	long := int64(3_000_000)
	ask := func(app tenant.Application, u tenant.User, change func(*approval.Request)) (approval.Approval, error) {
		req := approval.Request{Message: "Pay?", IdempotencyKey: "k1", Details: []receipt.Field{{Name: "To", Value: "Bob"}}}
		if change != nil {
			change(&req)
		}
		return f.Approvals.Create(t.Context(), app, u, req)
	}
	p.app.Settings.ApprovalLifeMax = 0
	first, err := ask(p.app, p.user, nil)
	must(t, err)
	again, err := ask(p.app, p.user, nil)
	must(t, err)
	same(t, "the approval of the same key", again.UUID, first.UUID)
	for what, change := range map[string]func(*approval.Request){
		"message": func(r *approval.Request) { r.Message = "Pay!" },
		"detail":  func(r *approval.Request) { r.Details[0].Value = "Eve" },
		"border":  func(r *approval.Request) { r.Details[0] = receipt.Field{Name: "To Bob", Value: ""} },
		"hidden":  func(r *approval.Request) { r.Hidden = []receipt.Field{{Name: "a", Value: "b"}} },
		"match":   func(r *approval.Request) { r.Match = tenant.MatchType },
		"life":    func(r *approval.Request) { r.Life = &long },
	} {
		_, err := ask(p.app, p.user, change)
		wantErr(t, "the same key for another "+what, err, approval.ErrReused)
	}
	bob := f.User(t, p.app, "bob@example.com", "202-555-0199")
	f.Phone(t, p.app, bob)
	_, err = ask(p.app, bob, nil)
	wantErr(t, "the same key for another user", err, approval.ErrReused)
	other, err := ask(p.app, p.user, func(r *approval.Request) { r.IdempotencyKey = "k2" })
	must(t, err)
	if other.UUID == first.UUID {
		t.Error("another key returned the same approval")
	}

	// Answered meanwhile: the same approval, as it is now and with who answered.
	_, err = p.phone.Answer(t, first.UUID, approval.Approve, "")
	must(t, err)
	f.Clock.Advance(approval.IdempotencyLife - time.Millisecond)
	again, err = ask(p.app, p.user, nil)
	must(t, err)
	if again.UUID != first.UUID || again.Status != approval.Approved || again.Answer == nil {
		t.Errorf("a millisecond before the key is forgotten: %+v", again)
	}
	f.Clock.Advance(time.Millisecond)
	again, err = ask(p.app, p.user, nil)
	must(t, err)
	if again.UUID == first.UUID {
		t.Error("the key is remembered longer than 24 hours")
	}

	// Two lives beyond a fortnight are not the same request.
	_, err = ask(p.app, p.user, func(r *approval.Request) { r.IdempotencyKey, r.Life = "k3", &long })
	must(t, err)
	longer := long + 1
	_, err = ask(p.app, p.user, func(r *approval.Request) { r.IdempotencyKey, r.Life = "k3", &longer })
	wantErr(t, "the same key for a second more", err, approval.ErrReused)
}

func testIdempotencyRace(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", waiting(1)) // the limit does not count repetitions
	uuids := make([]string, 64)
	errs := together(len(uuids), func(i int) error {
		a, err := f.Approvals.Create(context.Background(), p.app, p.user, approval.Request{Message: "Pay?", IdempotencyKey: "k"})
		uuids[i] = a.UUID
		return err
	})
	wantTally(t, errs, map[error]int{nil: len(uuids)})
	for _, uuid := range uuids {
		same(t, "approval", uuid, uuids[0])
	}
}

// testDecide: what could have changed since the service looked is asked inside the statement (INV-6).
func testDecide(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	tablet := f.Phone(t, p.app, p.user)
	ask := func() string { return f.create(t, f.creation(p, time.Minute)).UUID }
	refused := func(what string, d approval.Decision) {
		t.Helper()
		before := f.state(t)
		a, jobs, err := f.decide(d, p.app.ID)
		wantErr(t, what, err, approval.ErrNotPending)
		if len(jobs) > 0 || a.UUID != "" {
			t.Errorf("%s: returned %+v and %+v", what, a, jobs)
		}
		sameState(t, "after "+what, f.state(t), before)
	}
	refused("no approval", f.decision(p, "nothing"))
	uuid := ask()
	d := f.decision(p, uuid)
	d.Now = f.now().Add(time.Minute)
	refused("exactly at its end", d)
	d = f.decision(p, uuid)
	d.GrantID = 12
	refused("no grant", d)
	d = f.decision(p, uuid)
	d.GrantID = tablet.Grants[0].ID
	refused("another device's grant", d)
	d = f.decision(p, uuid)
	d.Now = f.now().Add(time.Minute - time.Millisecond)
	_, _, err := f.decide(d, p.app.ID)
	wantErr(t, "a millisecond before its end", err, nil)
	refused("decided already", f.decision(p, uuid))

	uuid = ask()
	_, err = f.Store.Cancel(t.Context(), p.app.ID, uuid, f.now(), f.rec(p.app))
	must(t, err)
	refused("cancelled", f.decision(p, uuid))

	uuid = ask()
	must(t, f.Devices.RemoveGrant(t.Context(), tablet.Device, p.grant().ID))
	refused("the grant is gone", f.decision(p, uuid))
	f.Clock.Advance(time.Second)
	p.phone.Enroll(t, p.app, p.user)
	refused("the grant is gone and the device has another", f.decision(p, uuid))
	must(t, f.Exec(t.Context(), `UPDATE users SET removed_at = 1 WHERE id = $1`, p.user.ID)) // and nothing else of a removal
	d = f.decision(p, uuid)
	d.GrantID = p.phone.Grants[1].ID
	refused("the user alone is gone", d)
	_, _, err = f.Store.ApprovalForDevice(t.Context(), p.phone.Device.ID, uuid)
	wantErr(t, "an approval of a user who is gone", err, approval.ErrUnknown)
	must(t, f.Exec(t.Context(), `UPDATE users SET removed_at = 0 WHERE id = $1`, p.user.ID))
	d = f.decision(p, uuid)
	d.GrantID = p.phone.Grants[1].ID
	_, _, err = f.decide(d, p.app.ID)
	wantErr(t, "the new grant", err, nil)

	uuid = ask()
	p.phone.Grants = p.phone.Grants[1:]
	must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID))
	refused("the user is gone", f.decision(p, uuid))
	f.User(t, p.app, "ana@example.com", "202-555-0123")
	refused("the user is back", f.decision(p, uuid))
}

func testDecisionJobs(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	_, jobs, err := f.decide(f.decision(p, f.create(t, f.creation(p, time.Minute)).UUID), p.app.ID)
	must(t, err)
	same(t, "jobs without a callback", len(jobs), 0)
	same(t, "rows without a callback", f.state(t, "jobs"), "")

	must(t, f.Tenants.SetCallback(t.Context(), f.Account.ID, p.app.ID, "https://bank.example/cb", "operator:x"))
	uuid := f.create(t, f.creation(p, time.Minute)).UUID
	_, jobs, err = f.decide(f.decision(p, uuid), p.app.ID)
	must(t, err)
	if len(jobs) != 1 || jobs[0].Ref != uuid || jobs[0].AppID != p.app.ID || jobs[0].Attempts != 1 || !jobs[0].RunAt.Equal(f.now().Add(job.Lease)) {
		t.Fatalf("jobs %+v, want one leased to the caller", jobs)
	}
	f.Clock.Advance(job.Lease)
	claimed := f.claim(t, 10)
	if len(claimed) != 1 || claimed[0].ID != jobs[0].ID || claimed[0].Ref != uuid {
		t.Errorf("claimed %+v", claimed)
	}
}

func testCancel(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	uuid := f.create(t, f.creation(p, time.Minute)).UUID
	cancel := func(uuid string, at time.Time) (approval.Approval, error) {
		return f.Store.Cancel(t.Context(), p.app.ID, uuid, at, f.rec(p.app))
	}
	a, err := cancel(uuid, f.now().Add(time.Second))
	must(t, err)
	if a.Status != approval.Cancelled || !a.ProcessedAt.Equal(f.now().Add(time.Second)) || a.UserID != p.user.ID {
		t.Errorf("cancelled: %+v", a)
	}
	_, err = cancel(uuid, f.now())
	wantErr(t, "cancelled twice", err, approval.ErrNotPending)
	_, err = cancel("nothing", f.now())
	wantErr(t, "nothing cancelled", err, approval.ErrUnknown)
	uuid = f.create(t, f.creation(p, time.Minute)).UUID
	_, err = cancel(uuid, f.now().Add(time.Minute))
	wantErr(t, "cancelled exactly at its end", err, approval.ErrNotPending)
	_, err = cancel(uuid, f.now().Add(time.Minute-time.Millisecond))
	wantErr(t, "cancelled a millisecond before", err, nil)
	same(t, "jobs", f.state(t, "jobs"), "")
}

func testApprovalExpiry(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	early, late := f.Ask(t, p.app, p.user, "early"), f.Ask(t, p.app, p.user, "late")
	f.Clock.Advance(2*time.Minute - time.Millisecond)
	same(t, "waiting a millisecond before the end", len(must1(f.Approvals.Inbox(t.Context(), p.phone.Device)).Waiting), 2)
	_, err := p.phone.Answer(t, early.UUID, approval.Approve, "")
	wantErr(t, "a millisecond before the end", err, nil)
	f.Clock.Advance(time.Millisecond)
	same(t, "waiting at the end", len(must1(f.Approvals.Inbox(t.Context(), p.phone.Device)).Waiting), 0)
	_, err = p.phone.Answer(t, late.UUID, approval.Approve, "")
	wantErr(t, "exactly at the end", err, approval.ErrExpired)
	_, err = f.Approvals.Cancel(t.Context(), p.app, late.UUID)
	wantErr(t, "cancelled at the end", err, approval.ErrNotPending)
	got, err := f.Approvals.Get(t.Context(), p.app.ID, late.UUID)
	must(t, err)
	if got.Status != approval.Expired || !got.ProcessedAt.Equal(late.ExpiresAt) {
		t.Errorf("read: %+v", got)
	}
}

func testNeverExpires(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	a := f.create(t, f.creation(p, 0))
	f.Clock.Advance(80 * 365 * 24 * time.Hour)
	must(t, f.Approvals.Sweep(t.Context()))
	waiting := must1(f.Approvals.Inbox(t.Context(), p.phone.Device)).Waiting
	if len(waiting) != 1 || !waiting[0].ExpiresAt.IsZero() {
		t.Fatalf("waiting after 80 years: %+v", waiting)
	}
	_, err := p.phone.Answer(t, a.UUID, approval.Approve, "")
	wantErr(t, "an answer after 80 years", err, nil)
}

func testExpire(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	answered := f.Ask(t, p.app, p.user, "answered")
	_, err := p.phone.Answer(t, answered.UUID, approval.Deny, "")
	must(t, err)
	var expiring []string
	for range 5 {
		expiring = append(expiring, f.Ask(t, p.app, p.user, "expiring").UUID)
	}
	f.Clock.Advance(time.Minute)
	later := f.Ask(t, p.app, p.user, "later")
	f.Clock.Advance(time.Minute - time.Millisecond)
	same(t, "found a millisecond before", must1(f.Store.Expire(t.Context(), f.now(), 3)), 0)
	f.Clock.Advance(time.Millisecond)
	same(t, "found at the end, up to a limit", must1(f.Store.Expire(t.Context(), f.now(), 3)), 3)
	same(t, "found then", must1(f.Store.Expire(t.Context(), f.now(), 3)), 2)
	same(t, "found at last", must1(f.Store.Expire(t.Context(), f.now(), 3)), 0)
	for _, uuid := range expiring {
		a, err := f.Store.Approval(t.Context(), p.app.ID, uuid)
		must(t, err)
		if a.Status != approval.Expired || !a.ProcessedAt.Equal(a.ExpiresAt) || !a.UpdatedAt.Equal(a.ExpiresAt) {
			t.Errorf("expired: %+v", a)
		}
	}
	a, err := f.Store.Approval(t.Context(), p.app.ID, later.UUID)
	must(t, err)
	same(t, "the later one", a.Status, approval.Pending)
	a, err = f.Store.Approval(t.Context(), p.app.ID, answered.UUID)
	must(t, err)
	same(t, "the answered one", a.Status, approval.Denied)
}

func testForDevice(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	f.Clock.Advance(time.Second)
	first := f.Ask(t, p.app, p.user, "first")
	f.Clock.Advance(time.Second)
	second := f.Ask(t, p.app, p.user, "second")
	list := must1(f.Store.Inbox(t.Context(), p.phone.Device.ID, f.now())).Waiting
	if len(list) != 2 || list[0].UUID != second.UUID || list[1].UUID != first.UUID {
		t.Errorf("waiting, newest first: %+v", list)
	}
	_, err := p.phone.Answer(t, first.UUID, approval.Approve, "")
	must(t, err)
	same(t, "waiting after an answer", len(must1(f.Store.Inbox(t.Context(), p.phone.Device.ID, f.now())).Waiting), 1)
	a, grant, err := f.Store.ApprovalForDevice(t.Context(), p.phone.Device.ID, first.UUID)
	must(t, err)
	if a.Status != approval.Approved || a.UserID != p.user.ID || grant.ID != p.grant().ID {
		t.Errorf("seen after the answer: %+v, grant %d", a, grant.ID)
	}
	standing, err := f.Store.Standing(t.Context(), p.app.ID, first.UUID)
	must(t, err)
	same(t, "how it stands", standing.Status, approval.Approved)
	same(t, "until when", standing.ExpiresAt, a.ExpiresAt)
	_, err = f.Store.Standing(t.Context(), "another", first.UUID)
	wantErr(t, "how it stands, for another application", err, approval.ErrUnknown)
	_, _, err = f.Store.ApprovalForDevice(t.Context(), p.phone.Device.ID, "nothing")
	wantErr(t, "no approval", err, approval.ErrUnknown)
	must(t, f.Devices.RemoveGrant(t.Context(), p.phone.Device, p.grant().ID))
	_, _, err = f.Store.ApprovalForDevice(t.Context(), p.phone.Device.ID, second.UUID)
	wantErr(t, "an approval after the grant is gone", err, approval.ErrUnknown)
	same(t, "waiting after the grant is gone", len(must1(f.Store.Inbox(t.Context(), p.phone.Device.ID, f.now())).Waiting), 0)

	f.Phone(t, p.app, p.user)
	for range 101 {
		f.create(t, f.creation(p, time.Minute))
	}
	p.phone.Enroll(t, p.app, p.user)
	same(t, "waiting at most", len(must1(f.Store.Inbox(t.Context(), p.phone.Device.ID, f.now())).Waiting), 100)
}

func testApprovalList(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	var want []string
	for i := range 3 {
		a := f.Ask(t, p.app, p.user, fmt.Sprint(i))
		want = append([]string{a.UUID}, want...)
		f.Clock.Advance(time.Second)
	}
	list, err := f.Store.ListedApprovals(t.Context(), p.app.ID, 2)
	must(t, err)
	var got []string
	for _, a := range list {
		got = append(got, a.UUID)
	}
	same(t, "newest first, up to a limit", fmt.Sprint(got), fmt.Sprint(want[:2]))
}

// testZones: a time is an instant, whatever zone the caller's clock has, kept to the millisecond and read as UTC.
func testZones(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	zone := time.FixedZone("east", 14*3600)
	c := f.creation(p, time.Minute)
	c.CreatedAt = time.Date(2027, 1, 1, 0, 0, 0, 123_999_999, zone)
	c.ExpiresAt = c.CreatedAt.Add(time.Minute)
	c.Now = c.CreatedAt
	f.create(t, c)
	got, err := f.Store.Approval(t.Context(), p.app.ID, c.UUID)
	must(t, err)
	same(t, "when it was made", got.CreatedAt, time.Date(2026, 12, 31, 10, 0, 0, 123_000_000, time.UTC))
	same(t, "when it ends", got.ExpiresAt, time.Date(2026, 12, 31, 10, 1, 0, 123_000_000, time.UTC))
	d := f.decision(p, c.UUID)
	d.Now = c.ExpiresAt.Add(-time.Millisecond)
	_, _, err = f.decide(d, p.app.ID)
	wantErr(t, "an answer a millisecond before the end", err, nil)
}
