package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// This file tests the way back for people who lost everything.

var resetTests = []test{
	{"RE5 asked, allowed, due, finished", testReset},
	{"RE5 nothing before its time", testResetTimes},
	{"RE5 everybody hears of it", testResetAnnounced},
	{"RE5 a lost answer is had again", testResetAgain},
	{"T-21 nothing is finished again once something was proved", testResetNotAgain},
	{"RE5 a device stops it", testResetFromDevice},
	{"INV-1 a reset is stopped or finished, and makes one device", testINV1Reset},
	{"INV-4 a reset buys no new tries", testINV4Reset},
	{"INV-11 resets of another application", testINV11Reset},
	{"a reset goes with its user", testResetOfRemoved},
	{"a notice is limited like any text", testNotice},
}

const sure = "came to the counter with a passport"

// allowed is a person for whom an operator allowed a reset.
func (f *fixture) allowed(t *testing.T, name string, change ...func(*tenant.Settings)) person {
	t.Helper()
	p := f.person(t, name, change...)
	_, err := f.Resets.Allow(t.Context(), p.app, p.user, sure, "operator:o1")
	must(t, err)
	return p
}

func (f *fixture) resetState(t *testing.T, u tenant.User) reset.State {
	t.Helper()
	r, err := f.Resets.Of(t.Context(), u)
	must(t, err)
	return r.At(f.now())
}

func testReset(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", takesCodes)
	first, err := f.Resets.Ask(t.Context(), p.app, p.user)
	must(t, err)
	f.Clock.Advance(time.Hour)
	again, err := f.Resets.Ask(t.Context(), p.app, p.user)
	must(t, err)
	same(t, "asked again", again, first)
	same(t, "state", f.resetState(t, p.user), reset.Asked)

	allowed, err := f.Resets.Allow(t.Context(), p.app, p.user, sure, "operator:o1")
	must(t, err)
	same(t, "due", allowed.DueAt, f.now().Add(reset.Wait))
	_, err = f.Resets.Allow(t.Context(), p.app, p.user, sure, "operator:o2")
	wantErr(t, "outcome", err, reset.ErrAllowed)
	f.Clock.Advance(reset.Wait)
	waiting := f.Ask(t, p.app, p.user, "Log in")
	same(t, "state", f.resetState(t, p.user), reset.Due)
	ticket, err := f.Resets.Finish(t.Context(), p.app, p.user)
	must(t, err)
	_, err = f.Resets.Of(t.Context(), p.user)
	wantErr(t, "outcome", err, reset.ErrNone)
	grants, err := f.Devices.OfUser(t.Context(), p.user.ID)
	must(t, err)
	same(t, "devices of before", len(grants), 0)
	_, err = f.Codes.Verify(t.Context(), p.app, p.user, p.code(f.now()), "")
	wantErr(t, "outcome", err, otp.ErrWrong)
	got, err := f.Approvals.Get(t.Context(), p.app.ID, waiting.UUID)
	must(t, err)
	same(t, "what waited", got.Status, approval.Cancelled)
	info, err := f.Devices.LookTicket(t.Context(), ticket.Words)
	must(t, err)
	same(t, "the ticket is for", info.Application, "Bank")

	records, err := f.Store.Audit(t.Context(), p.app.ID, 100)
	must(t, err)
	var told []string
	for _, rec := range records {
		if strings.HasPrefix(rec.Action, "reset.") {
			told = append(told, rec.Action+" by "+rec.Actor+": "+rec.Note)
		}
	}
	same(t, "the record", strings.Join(told, "; "), fmt.Sprintf("reset.finished by app:%s: ; reset.allowed by operator:o1: %s; reset.asked by app:%[1]s: ", p.app.ID, sure))
}

func testResetTimes(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	finish := func() error { _, err := f.Resets.Finish(t.Context(), p.app, p.user); return err }
	wantErr(t, "outcome", finish(), reset.ErrNone)
	_, err := f.Resets.Ask(t.Context(), p.app, p.user)
	must(t, err)
	wantErr(t, "outcome", finish(), reset.ErrNotDue) // nobody allowed it
	f.Clock.Advance(reset.Open)
	_, err = f.Resets.Of(t.Context(), p.user)
	wantErr(t, "outcome", err, reset.ErrNone)
	wantErr(t, "outcome", finish(), reset.ErrNone)

	for _, note := range []string{"", " \t ", strings.Repeat("x", 201)} {
		_, err = f.Resets.Allow(t.Context(), p.app, p.user, note, "operator:o1")
		wantErr(t, "outcome", err, reset.ErrNote)
	}
	r, err := f.Resets.Allow(t.Context(), p.app, p.user, sure, "operator:o1") // after one that lapsed
	must(t, err)
	same(t, "asked", r.AskedAt, f.now())
	f.Clock.Advance(reset.Wait - time.Millisecond)
	wantErr(t, "outcome", finish(), reset.ErrNotDue)
	must(t, f.Resets.Stop(t.Context(), p.app, p.user))
	wantErr(t, "outcome", f.Resets.Stop(t.Context(), p.app, p.user), reset.ErrNone)
	f.Clock.Advance(time.Millisecond)
	wantErr(t, "outcome", finish(), reset.ErrNone)

	short := p.app
	short.Settings.ResetWait = 3600
	_, err = f.Resets.Allow(t.Context(), short, p.user, sure, "operator:o1")
	must(t, err)
	f.Clock.Advance(time.Hour + reset.Open)
	wantErr(t, "outcome", finish(), reset.ErrNone) // nobody came
	must(t, err)
	_, err = f.Resets.Ask(t.Context(), p.app, p.user)
	must(t, err)
	must(t, f.Resets.Refuse(t.Context(), p.app, p.user, "operator:o1"))
	grants, err := f.Devices.OfUser(t.Context(), p.user.ID)
	must(t, err)
	same(t, "devices", len(grants), 1)
}

func testResetAnnounced(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	must(t, f.Tenants.SetEmail(t.Context(), p.app, p.user, "new@example.com"))
	_, err := f.Resets.Allow(t.Context(), p.app, p.user, sure, "operator:o1")
	must(t, err)
	when := f.now().Add(reset.Wait).Format("2006-01-02 15:04 UTC")
	for _, to := range []string{p.user.Phone, "bank@example.com", "new@example.com"} {
		if m := f.Delivered(t, to); !strings.Contains(m.Body, "Bank") || !strings.Contains(m.Body, when) || m.Code != "" {
			t.Errorf("%s is told %q", to, m.Body)
		}
	}
	// Where no text may be sent the mails leave, and the reset goes on.
	q := f.allowed(t, "Far", func(s *tenant.Settings) { s.Sending = sending.Limits{Countries: "PT"} })
	same(t, "texts", len(f.Outbox(t, q.user.Phone)), 1) // the one above
	same(t, "mails", len(f.Outbox(t, "far@example.com")), 1)
	same(t, "state", f.resetState(t, q.user), reset.Allowed)
}

func testINV1Reset(t *testing.T, f *fixture) {
	p := f.allowed(t, "Bank")
	f.Clock.Advance(reset.Wait)
	var mu sync.Mutex
	var stopped int
	var tickets []string
	for _, err := range together(32, func(i int) error {
		if i%8 == 0 {
			err := f.Resets.Stop(context.Background(), p.app, p.user)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				stopped++
			}
			return nil
		}
		ticket, err := f.Resets.Finish(context.Background(), p.app, p.user)
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			tickets = append(tickets, ticket.Words)
		}
		return nil
	}) {
		must(t, err)
	}
	usable := 0
	for _, words := range tickets {
		if _, err := f.Devices.LookTicket(t.Context(), words); err == nil {
			usable++
		}
	}
	same(t, "stopped, or a ticket that is good", stopped+usable, 1)
}

// Whoever finished and never heard of it finishes again; the first ticket is void then. Not once there is a device, or a newer reset, or much later.
func testResetAgain(t *testing.T, f *fixture) {
	p := f.allowed(t, "Bank")
	f.Clock.Advance(reset.Wait)
	finish := func() (words string, err error) {
		ticket, err := f.Resets.Finish(t.Context(), p.app, p.user)
		return ticket.Words, err
	}
	lost, err := finish()
	must(t, err)
	f.Clock.Advance(reset.Again - time.Second)
	again, err := finish()
	must(t, err)
	_, err = f.Devices.LookTicket(t.Context(), lost)
	wantErr(t, "the first ticket", err, device.ErrTicket)
	_, err = f.Resets.Ask(t.Context(), p.app, p.user)
	must(t, err)
	_, err = finish()
	wantErr(t, "while a newer one is under way", err, reset.ErrNotDue)
	must(t, f.Resets.Stop(t.Context(), p.app, p.user))
	_, err = f.Devices.LookTicket(t.Context(), again)
	must(t, err)
	p.phone.Enroll(t, p.app, p.user)
	_, err = finish()
	wantErr(t, "with a device", err, reset.ErrNone)

	q := f.allowed(t, "Other")
	f.Clock.Advance(reset.Wait)
	_, err = f.Resets.Finish(t.Context(), q.app, q.user)
	must(t, err)
	f.Clock.Advance(reset.Again)
	_, err = f.Resets.Finish(t.Context(), q.app, q.user)
	wantErr(t, "much later", err, reset.ErrNone)
}

// Whoever came back without a device that is still there came back all the same: the password alone must not end what they have now.
func testResetNotAgain(t *testing.T, f *fixture) {
	for name, proof := range map[string]func(person){
		"Sent":    func(p person) { must(t, f.verify(p, f.sms(t, p, ""))) },
		"Removed": func(p person) { must(t, f.Devices.RemoveGrant(t.Context(), p.phone.Device, f.enrolled(t, p))) },
		"Generic": func(p person) {
			f.confirmGeneric(t, p)
			must(t, f.Exec(t.Context(), `UPDATE generic_secrets SET confirmed_at = $1 WHERE user_id = $2`, f.now().UnixMilli(), p.user.ID))
		},
	} {
		p := f.allowed(t, name, generics)
		must(t, f.verify(p, f.sms(t, p, ""))) // before it is no proof of what came after
		f.Clock.Advance(reset.Wait)
		_, err := f.Resets.Finish(t.Context(), p.app, p.user)
		must(t, err)
		f.Clock.Advance(time.Minute)
		_, err = f.Resets.Finish(t.Context(), p.app, p.user)
		must(t, err)
		f.Clock.Advance(time.Minute)
		proof(p)
		f.Clock.Advance(time.Minute)
		_, err = f.Resets.Finish(t.Context(), p.app, p.user)
		wantErr(t, name, err, reset.ErrNone)
	}
}

// enrolled adds a person's phone anew, and returns its grant.
func (f *fixture) enrolled(t *testing.T, p person) int64 {
	t.Helper()
	p.phone.Enroll(t, p.app, p.user)
	grants, err := f.Devices.Store.GrantsOfUser(t.Context(), p.user.ID)
	must(t, err)
	return grants[len(grants)-1].ID
}

// A device that is still there is told, and stops it, whether it is allowed already or not; a device of somebody else, or one that was removed, does not.
func testResetFromDevice(t *testing.T, f *fixture) {
	p, q := f.person(t, "Bank"), f.person(t, "Other")
	beside := func(p person) []reset.Beside {
		t.Helper()
		list, err := f.Resets.Beside(t.Context(), p.phone.Device)
		must(t, err)
		return list
	}
	same(t, "before anything is asked", len(beside(p)), 0)
	_, err := f.Resets.Ask(t.Context(), p.app, p.user)
	must(t, err)
	same(t, "told to somebody else", len(beside(q)), 0)
	told := beside(p)
	same(t, "told", len(told), 1)
	same(t, "of", told[0].Application+" "+told[0].Account, "Bank bank@example.com")
	wantErr(t, "by somebody else", f.Resets.StopFrom(t.Context(), q.phone.Device, told[0].GrantID), reset.ErrNone)
	wantErr(t, "by a foreign device in the statement", f.Store.EndReset(t.Context(), told[0].Reset, "stopped", q.phone.Device.ID, f.now(), audit.Record{}), reset.ErrNone)
	must(t, f.Resets.StopFrom(t.Context(), p.phone.Device, told[0].GrantID))
	wantErr(t, "twice", f.Resets.StopFrom(t.Context(), p.phone.Device, told[0].GrantID), reset.ErrNone)
	_, err = f.Resets.Of(t.Context(), p.user)
	wantErr(t, "outcome", err, reset.ErrNone)

	_, err = f.Resets.Allow(t.Context(), p.app, p.user, sure, "operator:o1")
	must(t, err)
	f.Clock.Advance(reset.Wait)
	same(t, "when it is due", beside(p)[0].At(f.now()), reset.Due)
	must(t, f.Devices.RemoveGrant(t.Context(), p.phone.Device, told[0].GrantID))
	wantErr(t, "by a device that was removed", f.Resets.StopFrom(t.Context(), p.phone.Device, told[0].GrantID), reset.ErrNone)
	same(t, "state", f.resetState(t, p.user), reset.Due)
}

func testINV4Reset(t *testing.T, f *fixture) {
	p := f.allowed(t, "Bank")
	f.Clock.Advance(reset.Wait)
	for range otp.BudgetTries {
		_, err := f.Codes.Verify(t.Context(), p.app, p.user, wrong, "")
		wantErr(t, "outcome", err, otp.ErrWrong)
	}
	_, err := f.Resets.Finish(t.Context(), p.app, p.user)
	must(t, err)
	_, err = f.Codes.Verify(t.Context(), p.app, p.user, wrong, "")
	wantErr(t, "outcome", err, otp.ErrBudget)
}

func testINV11Reset(t *testing.T, f *fixture) {
	mine, theirs := f.allowed(t, "Mine"), f.App(t, "Theirs")
	f.Clock.Advance(reset.Wait)
	_, err := f.Resets.Ask(t.Context(), theirs, mine.user)
	wantErr(t, "outcome", err, tenant.ErrUser)
	_, err = f.Resets.Allow(t.Context(), theirs, mine.user, sure, "operator:o2")
	wantErr(t, "outcome", err, tenant.ErrUser)
	wantErr(t, "outcome", f.Resets.Stop(t.Context(), theirs, mine.user), reset.ErrNone)
	_, err = f.Resets.Finish(t.Context(), theirs, mine.user)
	if err == nil {
		t.Error("another application finished it")
	}
	same(t, "state", f.resetState(t, mine.user), reset.Due)
	listed, err := f.Store.OpenResets(t.Context(), theirs.ID, f.now(), 10)
	must(t, err)
	same(t, "theirs", len(listed), 0)
	listed, err = f.Store.OpenResets(t.Context(), mine.app.ID, f.now(), 10)
	must(t, err)
	same(t, "mine", len(listed), 1)
	same(t, "whose", listed[0].User.ID, mine.user.ID)
}

func testResetOfRemoved(t *testing.T, f *fixture) {
	p := f.allowed(t, "Bank")
	must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID))
	_, err := f.Resets.Ask(t.Context(), p.app, p.user)
	wantErr(t, "outcome", err, tenant.ErrUser)
	back := f.User(t, p.app, "bank@example.com", "202-555-0123")
	same(t, "the same user", back.ID, p.user.ID)
	_, err = f.Resets.Of(t.Context(), back)
	wantErr(t, "outcome", err, reset.ErrNone)
	f.Clock.Advance(reset.Wait)
	_, err = f.Resets.Finish(t.Context(), p.app, back)
	wantErr(t, "outcome", err, reset.ErrNone)

	f.allowed(t, "Other")
	f.Clock.Advance(reset.Open + tenant.ActivityLife + reset.Wait)
	_, err = f.Store.Forget(t.Context(), f.now(), store.DefaultRetention(), 1000)
	must(t, err)
	rows, err := f.Rows(t.Context(), "resets")
	must(t, err)
	same(t, "resets kept", len(rows), 0)
}

func testNotice(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", func(s *tenant.Settings) { s.Sending = sending.Limits{Countries: "US", NumberBurst: 2, ResendWait: 1} })
	wantErr(t, "outcome", f.Codes.Notify(t.Context(), p.app, p.user, otp.ResetAllowed), otp.ErrNotice) // operators' business
	wantErr(t, "outcome", f.Codes.Notify(t.Context(), p.app, p.user, "anything"), otp.ErrNotice)
	for range 2 {
		f.Clock.Advance(time.Second)
		must(t, f.Codes.Notify(t.Context(), p.app, p.user, otp.NumberChanged))
	}
	if m := f.Delivered(t, p.user.Phone); !strings.Contains(m.Body, "phone number of your Bank account was changed") {
		t.Errorf("told %q", m.Body)
	}
	wantErr(t, "outcome", f.Codes.Notify(t.Context(), p.app, p.user, otp.NumberChanged), sending.ErrNumMany)
	state, err := f.Store.SendingState(t.Context(), p.app.ID, f.now())
	must(t, err)
	same(t, "counted", state.Hour.Messages, 2)
	_, err = f.Devices.NewTicket(t.Context(), p.app, p.user)
	must(t, err)
}
