package storetest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// This file tests INV-11: an application sees and changes only what is its own, and so does a device.

var isolationTests = []test{
	{"INV-11 every id of another application and account", testINV11},
	{"INV-11 the same person in two applications", testINV11SamePerson},
	{"INV-11 lists", testINV11Lists},
	{"INV-11 enrolment by number stays within the account", testINV11Enrolment},
	{"INV-11 callbacks", testINV11Callbacks},
	{"INV-11 Idempotency-Keys", testINV11Idempotency},
}

// testINV11 gives every method that takes an id the ids of others, of the same account and of another one. Each answers as
// for an id that does not exist, and nothing changes.
func testINV11(t *testing.T, f *fixture) {
	bg := context.Background()
	mine := f.person(t, "Mine", patient)
	f.Subscribed(t, mine.phone, "https://fcm.googleapis.com/mine")
	theirApp := f.App(t, "Theirs", patient)
	farApp := f.otherAccount(t, "Far")
	for what, app := range map[string]tenant.Application{"another application": theirApp, "another account": farApp} {
		user := f.User(t, app, "their@example.com", "202-555-0188")
		theirs := person{app, user, f.Phone(t, app, user)}
		asked := f.Ask(t, app, user, "Log in?")
		answered := f.Ask(t, app, user, "Log in?")
		_, err := theirs.phone.Answer(t, answered.UUID, approval.Approve, "")
		must(t, err)
		code := theirs.code(f.now())
		accountID := ident.New(f.now()) // an account that owns nothing
		if what == "another account" {
			accountID = f.Account.ID
		}
		rec := audit.New(f.now(), mine.app.ID, "x", "x", "x")

		for _, call := range []struct {
			method string
			want   error
			do     func() error
		}{
			{"Application", tenant.ErrApplication, func() error {
				_, err := f.Store.Application(bg, accountID, app.ID)
				return err
			}},
			{"ChangeSettings", tenant.ErrApplication, func() error { return f.Store.ChangeSettings(bg, accountID, app.ID, to(tenant.DropIn()), rec) }},
			{"ChangeCallback", tenant.ErrApplication, func() error {
				_, err := f.Store.ChangeCallback(bg, accountID, app.ID, "https://evil.example/", to(app.Settings), f.now(), rec)
				return err
			}},
			{"ChangeCallback to nothing", tenant.ErrApplication, func() error {
				_, err := f.Store.ChangeCallback(bg, accountID, app.ID, "", to(app.Settings), f.now(), rec)
				return err
			}},
			{"UserByAuthyID", tenant.ErrUser, func() error {
				_, err := f.Store.UserByAuthyID(bg, mine.app.ID, user.AuthyID)
				return err
			}},
			{"ApplicationAndUser", tenant.ErrUser, func() error {
				app, u, err := f.Store.ApplicationAndUser(bg, must1(f.Store.SigningKey(bg, mine.app.ID)).Hash, user.AuthyID, f.now())
				if err == nil && app.ID == mine.app.ID && u == (tenant.User{}) {
					err = tenant.ErrUser
				}
				return err
			}},
			{"RemoveUser", tenant.ErrUser, func() error {
				_, err := f.Store.RemoveUser(bg, mine.app.ID, user.AuthyID, f.now(), rec)
				return err
			}},
			{"Redeem", tenant.ErrUser, func() error {
				_, err := f.Codes.Verify(bg, mine.app, user, code, "")
				return err
			}},
			{"KeepSentCode", tenant.ErrUser, func() error {
				_, err := f.Codes.Send(bg, mine.app, user, otp.Request{Channel: otp.SMS, Force: true})
				return err
			}},
			{"CreateTicket", tenant.ErrUser, func() error {
				_, err := f.Devices.NewTicket(bg, mine.app, user)
				return err
			}},
			{"CreateApproval", tenant.ErrUser, func() error {
				_, err := f.Approvals.Create(bg, mine.app, user, approval.Request{Message: "Log in?"})
				return err
			}},
			{"Approval", approval.ErrUnknown, func() error {
				_, err := f.Store.Approval(bg, mine.app.ID, answered.UUID)
				return err
			}},
			{"Standing", approval.ErrUnknown, func() error {
				_, err := f.Store.Standing(bg, mine.app.ID, answered.UUID)
				return err
			}},
			{"Renotify", approval.ErrUnknown, func() error {
				_, _, err := f.Store.Renotify(bg, mine.app.ID, asked.UUID, f.now().Add(time.Minute), nil, rec)
				return err
			}},
			{"PushDelivery", notify.ErrNothing, func() error {
				_, err := f.Store.PushDelivery(bg, asked.UUID, mine.phone.Device.ID, f.now())
				return err
			}},
			{"Cancel", approval.ErrUnknown, func() error {
				_, err := f.Store.Cancel(bg, mine.app.ID, asked.UUID, f.now(), rec)
				return err
			}},
			{"ApprovalForDevice", approval.ErrUnknown, func() error {
				_, _, err := f.Store.ApprovalForDevice(bg, mine.phone.Device.ID, asked.UUID)
				return err
			}},
			{"Answer", approval.ErrUnknown, func() error {
				_, err := mine.phone.Answer(t, asked.UUID, approval.Approve, "")
				return err
			}},
			{"Decide by a foreign device", approval.ErrNotPending, func() error {
				_, _, err := f.decide(f.decision(mine, asked.UUID), app.ID)
				return err
			}},
			{"Decide by a foreign device with the user's grant", approval.ErrNotPending, func() error {
				d := f.decision(mine, asked.UUID)
				d.GrantID = theirs.grant().ID
				_, _, err := f.decide(d, app.ID)
				return err
			}},
			{"Decide by the user's device with a foreign grant", approval.ErrNotPending, func() error {
				d := f.decision(theirs, asked.UUID)
				d.GrantID = mine.grant().ID
				_, _, err := f.decide(d, app.ID)
				return err
			}},
			{"RemoveGrant", device.ErrGrant, func() error {
				_, err := f.Store.RemoveGrant(bg, mine.phone.Device.ID, theirs.grant().ID, f.now(), rec)
				return err
			}},
		} {
			before := f.state(t) + f.state(t, "audit")
			wantErr(t, call.method+" with an id of "+what, call.do(), call.want)
			sameState(t, "after "+call.method+" with an id of "+what, f.state(t)+f.state(t, "audit"), before)
		}
		wantErr(t, "their code in their application", f.verify(theirs, code), nil)
		_, err = theirs.phone.Answer(t, asked.UUID, approval.Approve, "")
		wantErr(t, "their answer", err, nil)
	}
	// A device's session, a ticket and an enrolment are secrets of one holder, found by their hash alone.
}

// testINV11SamePerson: one phone number, and even one device, in two applications: nothing of one counts in the other.
func testINV11SamePerson(t *testing.T, f *fixture) {
	bank := f.person(t, "Bank", patient)
	app := f.App(t, "Shop", patient)
	shop := person{app, f.User(t, app, "ana@shop.example", number[2:]), bank.phone}
	g := shop.phone.Enroll(t, shop.app, shop.user)
	if shop.user.ID == bank.user.ID {
		t.Fatal("one user in two applications")
	}
	inBank, inShop := bank.code(f.now()), appCode(g, f.now())
	if inBank != inShop {
		wantErr(t, "the shop's code at the bank", f.verify(bank, inShop), otp.ErrWrong)
		wantErr(t, "the bank's code at the shop", f.verify(shop, inBank), otp.ErrWrong)
	}
	sent := f.sms(t, bank, "")
	wantErr(t, "the bank's sent code at the shop", f.verify(shop, sent), otp.ErrWrong)
	f.spend2(t, bank)
	wantErr(t, "a code at the bank, whose budget is spent", f.verify(bank, inBank), otp.ErrBudget)
	wantErr(t, "a code at the shop", f.verify(shop, inShop), nil)

	f.Clock.Advance(otp.BudgetWait)
	sent, ticket := f.sms(t, bank, ""), f.ticket(t, bank.app, bank.user)
	atBank := f.Ask(t, bank.app, bank.user, "Bank?")
	must(t, f.Tenants.RemoveUser(t.Context(), shop.app, shop.user.AuthyID))
	_, err := bank.phone.Answer(t, atBank.UUID, approval.Approve, "")
	wantErr(t, "an answer at the bank after removal from the shop", err, nil)
	_, err = f.Store.UserByAuthyID(t.Context(), bank.app.ID, bank.user.AuthyID)
	wantErr(t, "the bank's user after removal from the shop", err, nil)
	wantErr(t, "the bank's sent code after removal from the shop", f.verify(bank, sent), nil)
	_, err = f.Devices.LookTicket(t.Context(), ticket.Words)
	wantErr(t, "the bank's ticket after removal from the shop", err, nil)
}

// spend2 gives wrong codes until the budget is spent.
func (f *fixture) spend2(t *testing.T, p person) {
	t.Helper()
	for range otp.BudgetTries {
		_ = f.verify(p, wrong)
	}
}

func testINV11Lists(t *testing.T, f *fixture) {
	mine := f.person(t, "Mine")
	for _, app := range []tenant.Application{f.App(t, "Theirs"), f.otherAccount(t, "Far")} {
		u := f.User(t, app, "their@example.com", "202-555-0188")
		p := person{app, u, f.Phone(t, app, u)}
		f.Ask(t, app, u, "Log in?")
		_, err := f.Store.ChangeCallback(t.Context(), app.AccountID, app.ID, address, to(app.Settings), f.now(), f.rec(app))
		must(t, err)
		d := &delivery{person: p, f: f}
		d.job = d.decide(t)[0]
		d.strike(t, 1)
	}
	bg := t.Context()
	for what, n := range map[string]int{
		"users":     len(must1(f.Store.ListedUsers(bg, mine.app.ID, 100))) - 1,
		"approvals": len(must1(f.Store.ListedApprovals(bg, mine.app.ID, 100))),
		"tries":     len(must1(f.Store.Tries(bg, mine.app.ID, 100))),
		"waiting":   len(must1(f.Store.Inbox(bg, mine.phone.Device.ID, f.now())).Waiting),
		"grants":    len(must1(f.Store.Grants(bg, mine.phone.Device.ID))) - 1,
		"beside":    len(must1(f.Store.GrantsBeside(bg, mine.phone.Device.ID))) - 1,
		"of user":   len(must1(f.Store.GrantsOfUser(bg, mine.user.ID))) - 1,
		"apps":      len(must1(f.Store.Applications(bg, f.Account.ID))) - 2,
	} {
		same(t, "others' "+what, n, 0)
	}
	for _, r := range must1(f.Store.Audit(bg, mine.app.ID, 100)) {
		same(t, "the application of an audit record", r.AppID, mine.app.ID)
	}
}

func testINV11Enrolment(t *testing.T, f *fixture) {
	app, far := f.App(t, "Bank"), f.otherAccount(t, "Far")
	onlyFar := "+12025550188"
	f.User(t, far, "ana@far.example", onlyFar[2:])
	f.User(t, far, "bob@far.example", number[2:])
	near := f.User(t, app, "bob@bank.example", number[2:])

	_, code := f.startPhone(t, onlyFar)
	same(t, "the code for a number of another account", code, "")
	e, code := f.startPhone(t, number)
	got, err := f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: e.ID, Code: code})
	must(t, err)
	if len(got.Grants) != 1 || got.Grants[0].UserID != near.ID {
		t.Errorf("grants %+v, want one, of this account", got.Grants)
	}
}

func testINV11Callbacks(t *testing.T, f *fixture) {
	mine, theirs := f.deliver(t, "Mine"), f.deliver(t, "Theirs")
	theirs.disable(t)
	same(t, "my callback after their strikes", mine.callback(t), tenant.Callback{URL: address, Version: 1})
	same(t, "my deliveries held", mine.held(t, f.now()), 0)
	mine.strike(t, 1)
	must(t, f.Store.Delivered(t.Context(), theirs.job, theirs.try(theirs.job, 200), 1))
	same(t, "my strikes after their success", mine.callback(t).Strikes, 1)
	must(t, f.Store.Delivered(t.Context(), mine.job, mine.try(mine.job, 200), 1))
	theirs.decide(t) // held, as their callback is disabled
	mine.job = mine.decide(t)[0]
	mine.disable(t)
	released := theirs.setURL(t, address)
	if len(released) != 1 || released[0].AppID != theirs.app.ID {
		t.Errorf("released %+v, want theirs alone", released)
	}
	same(t, "my deliveries held after their release", mine.held(t, f.now().Add(tenant.HoldFor)), 1)
	theirs.setURL(t, "")
	same(t, "my deliveries held after they turned theirs off", mine.held(t, f.now().Add(tenant.HoldFor)), 1)
	rows := f.state(t, "jobs WHERE kind = '"+string(job.Callback)+"'")
	if strings.Contains(rows, theirs.app.ID) || !strings.Contains(rows, mine.app.ID) {
		t.Errorf("jobs:\n%s", rows)
	}
}

func testINV11Idempotency(t *testing.T, f *fixture) {
	uuids := map[string]bool{}
	for i := range 2 {
		p := f.person(t, fmt.Sprint("Bank", i))
		for range 2 {
			a, err := f.Approvals.Create(t.Context(), p.app, p.user, approval.Request{Message: "Pay?", IdempotencyKey: "the same"})
			must(t, err)
			uuids[a.UUID] = true
		}
		f.Clock.Advance(time.Second)
	}
	same(t, "approvals of two applications with one key", len(uuids), 2)
}
