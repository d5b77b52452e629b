package storetest

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

var callbackTests = []test{
	{"what is to be delivered", testDelivery},
	{"what a callback is about", testAbout},
	{"a delivery ends its job and clears the strikes", testDelivered},
	{"an HTTP error is a strike, a broken connection is none", testStrikes},
	{"the third strike disables", testThirdStrike},
	{"strikes at once disable once", testStrikesAtOnce},
	{"a success between strikes", testSuccessAtOnce},
	{"a late answer to an old address", testLateAnswer},
	{"what is decided while disabled is held, and released by a new address", testHeldAndReleased},
	{"what is held is dropped after 24 hours", testDropHeld},
	{"turned off, nothing waits", testTurnedOff},
	{"a job without an address is parked", testHold},
	{"the tries", testTries},
}

// delivery is an application with a callback and one decision to deliver.
type delivery struct {
	person
	f   *fixture
	job job.Job
}

const address = "https://bank.example/callback"

func (f *fixture) deliver(t *testing.T, name string) *delivery {
	t.Helper()
	d := &delivery{person: f.person(t, name, patient), f: f}
	d.setURL(t, address)
	d.job = d.decide(t)[0]
	return d
}

// setURL gives the callback an address and returns what that released.
func (d *delivery) setURL(t *testing.T, url string) []job.Job {
	t.Helper()
	jobs, err := d.f.Store.ChangeCallback(t.Context(), d.f.Account.ID, d.app.ID, url, to(d.app.Settings), d.f.now(), d.f.rec(d.app))
	must(t, err)
	return jobs
}

// decide makes one more decision and returns its leased jobs.
func (d *delivery) decide(t *testing.T) []job.Job {
	t.Helper()
	_, jobs, err := d.f.decide(d.f.decision(d.person, d.f.create(t, d.f.creation(d.person, time.Hour)).UUID), d.app.ID)
	must(t, err)
	return jobs
}

func (d *delivery) callback(t *testing.T) tenant.Callback {
	t.Helper()
	app, err := d.f.Store.Application(t.Context(), d.f.Account.ID, d.app.ID)
	must(t, err)
	return app.Callback
}

func (d *delivery) try(j job.Job, status int) callback.Try {
	try := callback.Try{ID: ident.New(d.f.now()), AppID: d.app.ID, UUID: j.Ref, URL: address, At: d.f.now(), Status: status, Took: 5 * time.Millisecond}
	if !try.Delivered() {
		try.Error = "HTTP status"
	}
	return try
}

// fail reports a failed try; it is due again at next.
func (d *delivery) fail(j job.Job, status int, version int64, next time.Time) (callback.Struck, error) {
	mail := func(owner string) job.Job {
		m := job.New(job.Message, d.app.ID, owner, d.f.now())
		return m
	}
	rec := audit.New(d.f.now(), d.app.ID, "system", "callback.disabled", "application:"+d.app.ID)
	return d.f.Store.Failed(context.Background(), j, d.try(j, status), version, next, "HTTP status", mail, rec)
}

// strike reports an HTTP error that is tried again in a second.
func (d *delivery) strike(t *testing.T, version int64) callback.Struck {
	t.Helper()
	struck, err := d.fail(d.job, 500, version, d.f.now().Add(time.Second))
	must(t, err)
	return struck
}

// disable strikes three times.
func (d *delivery) disable(t *testing.T) {
	t.Helper()
	version := d.callback(t).Version
	for range tenant.StrikesToDisable {
		d.strike(t, version)
	}
	if d.callback(t).URL != "" {
		t.Fatal("three strikes did not disable the callback")
	}
}

// held counts the application's held callbacks.
func (d *delivery) held(t *testing.T, until time.Time) int {
	t.Helper()
	rows, err := d.f.Rows(t.Context(), "jobs WHERE held_until > 0 AND app_id = '"+d.app.ID+"'")
	must(t, err)
	at, err := d.f.Rows(t.Context(), fmt.Sprintf("jobs WHERE held_until = %d AND app_id = '%s'", until.UnixMilli(), d.app.ID))
	must(t, err)
	same(t, "jobs held until the right time", len(at), len(rows))
	return len(rows)
}

func testDelivery(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	told, err := f.Store.Delivery(t.Context(), d.app.ID, f.now())
	must(t, err)
	app, a := told.App, must1(f.Store.Approval(t.Context(), d.app.ID, d.job.Ref))
	if app.Callback.URL != address || app.Callback.Version != 1 || a.Status != approval.Approved || a.Answer == nil {
		t.Errorf("delivery: %+v, %+v", app, a)
	}
	same(t, "the API key", must1(f.Tenants.OpenKey(told.Key)), must1(f.Tenants.APIKey(t.Context(), d.app.ID)))
	same(t, "webhook secrets before they are needed", len(told.Signing), 0)

	// Secrets are given as WebhookKeys gives them: while two sign, the newest first.
	for range 2 {
		keys := must1(f.Tenants.WebhookKeys(t.Context(), d.app.ID))
		told = must1(f.Store.Delivery(t.Context(), d.app.ID, f.now()))
		opened := must1(f.Tenants.OpenWebhookKeys(t.Context(), d.app.ID, told.Signing))
		if !slices.Equal(opened, keys) {
			t.Errorf("signed by %+v, want %+v", opened, keys)
		}
		if len(keys) == 1 {
			must(t, f.Tenants.RotateWebhookKeys(t.Context(), d.app, "operator:test"))
		}
	}
	same(t, "secrets while two sign", len(told.Signing), 2)

	_, err = f.Store.Delivery(t.Context(), "nothing", f.now())
	wantErr(t, "no application", err, tenant.ErrApplication)
}

// Who decided offers the callback with what it is about. That is what the row says, so that a first try tells the same as a later one.
func testAbout(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	must(t, f.Tenants.SetCallback(t.Context(), f.Account.ID, p.app.ID, address, "operator:x"))
	for _, decision := range []string{approval.Approve, approval.Deny, approval.NotMe} {
		c := f.creation(p, time.Minute)
		c.Content.Details, c.Hidden = []receipt.Field{{Name: "To", Value: "Eva"}}, []receipt.Field{{Name: "case", Value: "7"}}
		uuid := f.create(t, c).UUID
		must1(p.phone.Answer(t, uuid, decision, ""))
		offered := f.Jobs.Offered(job.Callback)
		about := offered[len(offered)-1].About
		if row := must1(f.Store.Approval(t.Context(), p.app.ID, uuid)); !reflect.DeepEqual(about, row) {
			t.Errorf("%s: about %+v,\nthe row is %+v", decision, about, row)
		}
	}
}

func testDelivered(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	for range 2 {
		d.strike(t, 1)
	}
	same(t, "strikes", d.callback(t).Strikes, 2)
	must(t, f.Store.Delivered(t.Context(), d.job, d.try(d.job, 204), 1))
	same(t, "callback", d.callback(t), tenant.Callback{URL: address, Version: 1})
	same(t, "jobs", f.state(t, "jobs"), "")
}

func testStrikes(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	other := d.decide(t)[0] // leased in the same instant, and none of the first one's business
	next := f.now().Add(time.Minute)
	struck, err := d.fail(d.job, 0, 1, next)
	must(t, err)
	same(t, "struck by a broken connection", fmt.Sprint(struck), fmt.Sprint(callback.Struck{}))
	same(t, "strikes", d.callback(t).Strikes, 0)
	f.Clock.Advance(job.Lease)
	jobs := f.claim(t, 10)
	if len(jobs) != 1 || jobs[0].ID != other.ID {
		t.Fatalf("due when the lease ends: %+v, want the other job alone", jobs)
	}
	must(t, f.Store.Delivered(t.Context(), other, d.try(other, 200), 1))
	f.Clock.Advance(time.Minute - job.Lease - time.Millisecond)
	same(t, "due before its time", len(f.claim(t, 10)), 0)
	f.Clock.Advance(time.Millisecond)
	jobs = f.claim(t, 10)
	if len(jobs) != 1 || jobs[0].Attempts != 2 {
		t.Fatalf("due: %+v", jobs)
	}
	struck, err = d.fail(jobs[0], 301, 1, time.Time{})
	must(t, err)
	same(t, "struck by a redirect", fmt.Sprint(struck), fmt.Sprint(callback.Struck{Strikes: 1}))
	same(t, "callback", d.callback(t), tenant.Callback{URL: address, Version: 1, Strikes: 1})
	same(t, "jobs after giving up", f.state(t, "jobs"), "")
}

func testThirdStrike(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	waiting := d.decide(t)[0]
	code := f.insert(t, f.jobOf(d.app, job.Message, "")) // a message is not held up by its application's callback
	for i := range 2 {
		same(t, "struck", fmt.Sprint(d.strike(t, 1)), fmt.Sprint(callback.Struck{Strikes: i + 1}))
	}
	f.Clock.Advance(time.Second)
	struck := d.strike(t, 1)
	if struck.Strikes != 3 || !struck.Disabled || len(struck.Jobs) != 1 || struck.Jobs[0].Ref != "owner@example.com" {
		t.Errorf("struck %+v, want the mail to the owner", struck)
	}
	same(t, "callback", d.callback(t), tenant.Callback{Version: 2, Strikes: 3, DisabledAt: f.now(), DisabledReason: "HTTP status"})
	same(t, "deliveries held", d.held(t, f.now().Add(tenant.HoldFor)), 2)
	same(t, "struck by an answer that comes later", fmt.Sprint(d.strike(t, 1)), fmt.Sprint(callback.Struck{}))
	same(t, "deliveries still held", d.held(t, f.now().Add(tenant.HoldFor)), 2)
	list, err := f.Store.Audit(t.Context(), d.app.ID, 1)
	must(t, err)
	same(t, "the audit record's action", list[0].Action, "callback.disabled")

	f.Clock.Advance(job.Lease)
	jobs := f.claim(t, 10)
	if len(jobs) != 2 || jobs[0].ID != code.ID || jobs[1].ID != struck.Jobs[0].ID {
		t.Errorf("due: %+v, want the message and the mail alone", jobs)
	}
	// A delivery that was under way when the address went still counts as delivered.
	must(t, f.Store.Delivered(t.Context(), waiting, d.try(waiting, 200), 1))
	same(t, "deliveries held after it", d.held(t, f.now().Add(tenant.HoldFor-job.Lease)), 1)
	same(t, "callback after it", d.callback(t).URL, "")
}

func testStrikesAtOnce(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	struck := make([]callback.Struck, 32)
	errs := together(len(struck), func(i int) (err error) {
		struck[i], err = d.fail(d.job, 500, 1, f.now().Add(time.Second))
		return err
	})
	wantTally(t, errs, map[error]int{nil: len(struck)})
	disabled, counted := 0, 0
	for _, s := range struck {
		if s.Disabled {
			disabled++
		}
		if s.Strikes > 0 {
			counted++
		}
	}
	same(t, "strikes counted", counted, 3)
	same(t, "times disabled", disabled, 1)
	rows, err := f.Rows(t.Context(), "jobs WHERE kind = 'message'")
	must(t, err)
	same(t, "mails", len(rows), 1)
}

// testSuccessAtOnce: whatever the order of three strikes and a success, the callback is disabled exactly when three
// strikes were counted without a success between them.
func testSuccessAtOnce(t *testing.T, f *fixture) {
	for i := range 8 {
		d := f.deliver(t, fmt.Sprint("Bank", i))
		other := d.decide(t)[0]
		struck := make([]callback.Struck, 4)
		errs := together(4, func(i int) (err error) {
			if i == 3 {
				return f.Store.Delivered(context.Background(), other, d.try(other, 200), 1)
			}
			struck[i], err = d.fail(d.job, 500, 1, f.now().Add(time.Second))
			return err
		})
		wantTally(t, errs, map[error]int{nil: 4})
		top := max(struck[0].Strikes, struck[1].Strikes, struck[2].Strikes)
		disabled := struck[0].Disabled || struck[1].Disabled || struck[2].Disabled
		c := d.callback(t)
		if disabled != (top == 3) || disabled != (c.URL == "") || disabled != !c.DisabledAt.IsZero() || !disabled && c.Strikes > 2 {
			t.Errorf("struck %+v, callback %+v", struck, c)
		}
		rows, err := f.Rows(t.Context(), "jobs WHERE id = '"+other.ID+"'")
		must(t, err)
		same(t, "jobs left of the delivery", len(rows), 0)
	}
}

func testLateAnswer(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	last := d.decide(t)[0] // under way to the old address all the time, at its last attempt
	d.disable(t)
	f.Clock.Advance(time.Second)
	released := d.setURL(t, "https://new.example/")
	same(t, "deliveries released", len(released), 2)
	d.strike(t, 3)
	before := f.state(t, "applications", "jobs")

	struck, err := d.fail(last, 500, 1, time.Time{})
	must(t, err)
	same(t, "struck", fmt.Sprint(struck), fmt.Sprint(callback.Struck{}))
	sameState(t, "after a late last failure", f.state(t, "applications", "jobs"), before)
	_, err = d.fail(last, 0, 1, f.now().Add(time.Hour))
	must(t, err)
	sameState(t, "after a late broken connection", f.state(t, "applications", "jobs"), before)
	must(t, f.Store.Delivered(t.Context(), last, d.try(last, 200), 1))
	same(t, "strikes after a late success", d.callback(t).Strikes, 1)
	same(t, "callback and jobs after a strike without an application", fmt.Sprint(d.callback(t).Version), "3")
}

func testHeldAndReleased(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	d.disable(t)
	f.Clock.Advance(time.Hour)
	same(t, "jobs to run of a decision while disabled", len(d.decide(t)), 0)
	f.Clock.Advance(23*time.Hour - time.Millisecond)
	released := d.setURL(t, address)
	if len(released) != 2 {
		t.Fatalf("released %+v, want both", released)
	}
	for _, j := range released {
		if j.Attempts != 1 || !j.RunAt.Equal(f.now().Add(job.Lease)) || j.Kind != job.Callback || j.AppID != d.app.ID {
			t.Errorf("released %+v, want it leased to the caller, with all its attempts", j)
		}
	}
	same(t, "the first released", released[0].Ref, d.job.Ref)
	same(t, "callback", d.callback(t), tenant.Callback{URL: address, Version: 3})
	same(t, "released twice", len(d.setURL(t, address)), 0)
	f.Clock.Advance(job.Lease)
	same(t, "due when their lease ends", len(f.claim(t, 10)), 3) // and the mail
}

func testDropHeld(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	d.disable(t)
	f.Clock.Advance(time.Hour)
	d.decide(t)
	f.Clock.Advance(time.Hour)
	d.decide(t)
	f.Clock.Advance(22*time.Hour - time.Millisecond)
	same(t, "due besides the mail", len(f.claim(t, 10))-1, 0)
	same(t, "dropped a millisecond before", must1(f.Store.DropHeld(t.Context(), f.now())), 0)
	f.Clock.Advance(time.Millisecond)
	due := f.jobOf(d.app, job.Message, "")
	due.RunAt = f.now()
	f.insert(t, due)
	same(t, "due when its time is over, besides a message", len(f.claim(t, 10))-1, 0)
	same(t, "dropped after 24 hours", must1(f.Store.DropHeld(t.Context(), f.now())), 1)
	same(t, "dropped twice", must1(f.Store.DropHeld(t.Context(), f.now())), 0)
	same(t, "records of what was dropped", len(must1(f.Rows(t.Context(), "audit WHERE action = 'callback.dropped'"))), 1)
	f.Clock.Advance(time.Hour)
	released := d.setURL(t, address) // the address comes too late for the second, which nobody has dropped yet
	if len(released) != 1 || !released[0].CreatedAt.Equal(f.now().Add(-23*time.Hour)) {
		t.Errorf("released %+v, want the last one alone", released)
	}
	same(t, "dropped after the release", must1(f.Store.DropHeld(t.Context(), f.now())), 1)
}

func testTurnedOff(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	message := f.insert(t, f.jobOf(d.app, job.Message, ""))
	same(t, "released by turning it off", len(d.setURL(t, "")), 0)
	f.Clock.Advance(job.Lease)
	jobs := f.claim(t, 10)
	if len(jobs) != 1 || jobs[0].ID != message.ID {
		t.Errorf("due: %+v, want the message alone", jobs)
	}
	same(t, "jobs of a decision", len(d.decide(t)), 0)
	same(t, "deliveries held", d.held(t, f.now()), 0)
	same(t, "struck while turned off", fmt.Sprint(d.strike(t, 2)), fmt.Sprint(callback.Struck{}))
	same(t, "released by a new address", len(d.setURL(t, address)), 0)
}

func testHold(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	f.App(t, "Without a callback")
	until := f.now().Add(time.Hour)
	must(t, f.Store.Hold(t.Context(), d.job, until))
	same(t, "held though there is an address", d.held(t, until), 0)
	same(t, "due at once", len(f.claim(t, 10)), 1)
	must(t, f.Exec(t.Context(), `UPDATE applications SET callback_url = '' WHERE id = $1`, d.app.ID))
	must(t, f.Store.Hold(t.Context(), d.job, until))
	same(t, "held without an address", d.held(t, until), 1)
	f.Clock.Advance(time.Hour - time.Millisecond)
	same(t, "due while held", len(f.claim(t, 10)), 0)
	same(t, "released", len(d.setURL(t, address)), 1)
}

func testTries(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	first := d.try(d.job, 500)
	_, err := f.Store.Failed(t.Context(), d.job, first, 1, f.now().Add(time.Second), "x", nil, audit.Record{})
	must(t, err)
	f.Clock.Advance(time.Second)
	second := d.try(d.job, 200)
	must(t, f.Store.Delivered(t.Context(), d.job, second, 1))
	list, err := f.Store.Tries(t.Context(), d.app.ID, 10)
	must(t, err)
	same(t, "tries, newest first", fmt.Sprint(list), fmt.Sprint([]callback.Try{second, first}))
	same(t, "tries up to a limit", len(must1(f.Store.Tries(t.Context(), d.app.ID, 1))), 1)
}
