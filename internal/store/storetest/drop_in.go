package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// This file tests what the whole of the Authy API needs beside log-ins: phone verification, generic secrets, activities, figures.

var dropInTests = []test{
	{"INV-1 a phone verification", testINV1Verification},
	{"INV-2 wrong verification codes at once", testINV2Verification},
	{"INV-3 a verification's try stays counted", testINV3Verification},
	{"INV-4 a number's budget outlives its verifications", testINV4Verification},
	{"a verification started again is the same", testVerificationAgain},
	{"T-30 verifications are limited", testVerificationLimit},
	{"INV-11 verifications of two applications", testINV11Verification},
	{"INV-1 a generic code", testINV1Generic},
	{"a generic secret goes with its user", testGenericRemoved},
	{"the newest activities are kept", testActivities},
	{"figures add up", testUsage},
}

const verified = "+12025550177"

// verification starts one and returns its code.
func (f *fixture) verification(t *testing.T, app tenant.Application) (id, code string) {
	t.Helper()
	f.Clock.Advance(time.Millisecond) // so that the newest message can be told
	v, _, err := f.Codes.StartVerification(t.Context(), app, otp.VerificationRequest{Channel: otp.SMS, Phone: verified, Digits: 6})
	must(t, err)
	return v.ID, f.Delivered(t, verified).Code
}

func (f *fixture) check(app tenant.Application, code string) error {
	return f.Codes.CheckVerification(context.Background(), app, verified, code)
}

func testINV1Verification(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	_, code := f.verification(t, app)
	counts := tally(together(64, func(int) error { return f.check(app, code) }))
	same(t, "how often it was right", counts[""], 1)
	same(t, "other outcomes", counts[otp.ErrVerificationNone.Error()], 63)
}

func testINV2Verification(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	_, code := f.verification(t, app)
	n := f.counted()
	wantTally(t, together(more, func(int) error { return f.check(app, wrong) }), map[error]int{otp.ErrVerificationWrong: 5, otp.ErrVerificationNone: more - 5})
	same(t, "comparisons", n.Load(), 5)
	wantErr(t, "the right code", f.check(app, code), otp.ErrVerificationNone)
	same(t, "comparisons", n.Load(), 5)
}

func testINV3Verification(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	_, code := f.verification(t, app)
	for range otp.SentTries {
		f.without(t, "audit", func() {
			if err := f.check(app, code); err == nil {
				t.Error("a right code that cannot be recorded passes")
			}
		})
	}
	wantErr(t, "the right code, out of tries", f.check(app, code), otp.ErrVerificationNone)
}

func testINV4Verification(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	f.verification(t, app)
	for range 3 {
		wantErr(t, "a wrong code", f.check(app, wrong), otp.ErrVerificationWrong)
	}
	f.Clock.Advance(otp.SentLife)
	_, code := f.verification(t, app)
	for range 2 {
		wantErr(t, "a wrong code of the next verification", f.check(app, wrong), otp.ErrVerificationWrong)
	}
	wantErr(t, "the sixth", f.check(app, code), otp.ErrVerificationNone)
	f.Clock.Advance(otp.SentLife)
	_, _, err := f.Codes.StartVerification(t.Context(), app, otp.VerificationRequest{Channel: otp.SMS, Phone: verified})
	wantErr(t, "starting while the budget is spent", err, otp.ErrVerificationMany)
	same(t, "when to come back", retryAfter(err), otp.BudgetWait-otp.SentLife)
	f.Clock.Advance(otp.BudgetWait - otp.SentLife)
	_, code = f.verification(t, app)
	wantErr(t, "after the wait", f.check(app, code), nil)
	_, code = f.verification(t, app)
	for range 4 {
		wantErr(t, "a right code gave everything back", f.check(app, wrong), otp.ErrVerificationWrong)
	}
	wantErr(t, "as the fifth", f.check(app, code), nil)
}

func testVerificationAgain(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	first, code := f.verification(t, app)
	f.Clock.Advance(time.Minute)
	second, again := f.verification(t, app)
	same(t, "the id", second, first)
	same(t, "the code", again, code)
	v, err := f.Codes.VerificationByPhone(t.Context(), app, verified)
	must(t, err)
	same(t, "the end", v.ExpiresAt, f.now().Add(otp.SentLife-time.Minute-time.Millisecond))

	f.Clock.Advance(time.Millisecond)
	other, _, err := f.Codes.StartVerification(t.Context(), app, otp.VerificationRequest{Channel: otp.SMS, Phone: verified, Digits: 8})
	must(t, err)
	if other.ID == first {
		t.Error("another length is the same verification")
	}
	wantErr(t, "the code of before", f.check(app, code), otp.ErrVerificationWrong)
	old, err := f.Codes.VerificationByID(t.Context(), app, first)
	must(t, err)
	same(t, "the one of before is pending", old.Pending(f.now()), false)
	must(t, f.check(app, f.Delivered(t, verified).Code))
	fresh, _ := f.verification(t, app)
	if fresh == other.ID || fresh == first {
		t.Error("a verification that was done runs on")
	}
}

// testVerificationLimit: the rules before anything is sent hold for verifications, and a typed code is known to them (T-30).
func testVerificationLimit(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", func(set *tenant.Settings) { set.Sending = sending.Limits{Countries: "US"} })
	start := func(phone string) error {
		_, _, err := f.Codes.StartVerification(context.Background(), app, otp.VerificationRequest{Channel: otp.SMS, Phone: phone})
		return err
	}
	wantErr(t, "a country that nobody named", start("+351912345678"), sending.ErrCountry)
	wantTally(t, together(16, func(int) error { return start(verified) }), map[error]int{nil: 1, sending.ErrWait: 15})
	same(t, "messages", len(f.Outbox(t, "")), 1)
	must(t, f.check(app, f.Delivered(t, verified).Code))
	wantErr(t, "after a code was typed", start(verified), nil)
	rows := must1(f.Rows(t.Context(), "sends"))
	same(t, "what is counted", len(rows), 2)
}

func testINV11Verification(t *testing.T, f *fixture) {
	mine, theirs := f.App(t, "Bank"), f.App(t, "Shop")
	id, code := f.verification(t, theirs)
	wantErr(t, "another application's code", f.check(mine, code), otp.ErrVerificationNone)
	_, err := f.Codes.VerificationByID(t.Context(), mine, id)
	wantErr(t, "another application's id", err, otp.ErrVerificationNone)
	_, err = f.Codes.VerificationByPhone(t.Context(), mine, verified)
	wantErr(t, "another application's number", err, otp.ErrVerificationNone)
	f.verification(t, mine)
	for range otp.BudgetTries {
		wantErr(t, "a wrong code", f.check(mine, wrong), otp.ErrVerificationWrong)
	}
	wantErr(t, "the other application's budget is its own", f.check(theirs, code), nil)

	// A user's code is no verification's, nor the other way round.
	p := f.person(t, "Club")
	sent := f.sms(t, p, "")
	f.Clock.Advance(time.Millisecond)
	wantErr(t, "a user's code", f.Codes.CheckVerification(t.Context(), p.app, p.user.Phone, sent), otp.ErrVerificationNone)
	v, _, err := f.Codes.StartVerification(t.Context(), p.app, otp.VerificationRequest{Channel: otp.SMS, Phone: p.user.Phone, Digits: 10})
	must(t, err)
	wantErr(t, "a verification's code for the user "+v.ID, f.verify(p, f.Delivered(t, p.user.Phone).Code), otp.ErrWrong)
}

// generics lets an application's users have other authenticator apps, whose secrets it may read.
func generics(s *tenant.Settings) { s.GenericTokens, s.ExportSecrets = true, true }

// genericCode is what the user's other app shows.
func (f *fixture) genericCode(t *testing.T, p person) string {
	t.Helper()
	_, code, err := f.Codes.ExportGeneric(t.Context(), p.app, p.user)
	must(t, err)
	return code
}

// confirmGeneric gives the user a generic secret that has had its first right code.
func (f *fixture) confirmGeneric(t *testing.T, p person) {
	t.Helper()
	_, err := f.Codes.NewGeneric(t.Context(), p.app, p.user, "")
	must(t, err)
	_, _, err = f.Codes.ExportGeneric(t.Context(), p.app, p.user)
	wantErr(t, "an unconfirmed secret", err, otp.ErrNoGeneric)
	must(t, f.Exec(t.Context(), `UPDATE generic_secrets SET confirmed_at = 1 WHERE user_id = $1`, p.user.ID))
}

func testINV1Generic(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", generics)
	f.confirmGeneric(t, p)
	code := f.genericCode(t, p)
	wantTally(t, together(64, func(int) error { return f.verify(p, code) }), map[error]int{nil: 1, otp.ErrUsed: 63})
	f.Clock.Advance(time.Minute)
	wantErr(t, "a later code", f.verify(p, f.genericCode(t, p)), nil)
	f.Clock.Advance(-30 * time.Second)
	wantErr(t, "an older step (T-04)", f.verify(p, f.genericCode(t, p)), otp.ErrUsed)
	p.app.Settings.GenericTokens = false
	f.Clock.Advance(2 * time.Minute)
	wantErr(t, "switched off", f.verify(p, f.genericCode(t, p)), otp.ErrWrong)
}

func testGenericRemoved(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", generics)
	f.confirmGeneric(t, p)
	code := f.genericCode(t, p)
	must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID))
	_, err := f.Codes.NewGeneric(t.Context(), p.app, p.user, "")
	wantErr(t, "a secret for nobody", err, tenant.ErrUser)
	f.User(t, p.app, "ana@example.com", "202-555-0123")
	wantErr(t, "the code of before removal", f.verify(p, code), otp.ErrWrong)
	other := f.App(t, "Shop", generics)
	_, _, err = f.Codes.ExportGeneric(t.Context(), other, p.user)
	wantErr(t, "another application's export", err, otp.ErrNoGeneric)
}

func testActivities(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	add := func(i int) {
		f.Clock.Advance(time.Second)
		must(t, f.Tenants.RegisterActivity(t.Context(), p.app, p.user, tenant.Activity{Type: "banned", Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, i)), IP: "192.0.2.7"}))
	}
	for i := range tenant.ActivitiesMax + 5 {
		add(i)
	}
	rows := must1(f.Rows(t.Context(), "activities"))
	same(t, "activities kept", len(rows), tenant.ActivitiesMax)
	for _, row := range rows {
		if strings.Contains(row, `{"n":4}`) {
			t.Errorf("an old one was kept: %s", row)
		}
	}
	elsewhere := f.App(t, "Shop")
	wantErr(t, "another application's user", f.Tenants.RegisterActivity(t.Context(), elsewhere, p.user, tenant.Activity{Type: "banned"}), tenant.ErrUser)
	wantErr(t, "another application's user", f.Tenants.SetEmail(t.Context(), elsewhere, p.user, "x@example.com"), tenant.ErrUser)
	must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID))
	wantErr(t, "somebody who was removed", f.Tenants.RegisterActivity(t.Context(), p.app, p.user, tenant.Activity{Type: "banned"}), tenant.ErrUser)
	wantErr(t, "the address of somebody who was removed", f.Tenants.SetEmail(t.Context(), p.app, p.user, "x@example.com"), tenant.ErrUser)
	f.Clock.Advance(tenant.ActivityLife)
	for range 12 {
		_, err := f.Store.Forget(t.Context(), f.now(), store.DefaultRetention(), 10)
		must(t, err)
	}
	same(t, "activities after half a year", len(must1(f.Rows(t.Context(), "activities"))), 0)
}

func testUsage(t *testing.T, f *fixture) {
	bank, shop := f.App(t, "Bank"), f.App(t, "Shop")
	f.User(t, bank, "ana@example.com", "202-555-0123")
	meter := f.Tenants.Meter
	errs := together(32, func(i int) error {
		meter.Count(bank.ID, tenant.CountAPICall)
		if i%2 == 0 {
			meter.Count(shop.ID, tenant.CountAuths)
		}
		return meter.Sweep(context.Background())
	})
	wantTally(t, errs, map[error]int{nil: 32})
	st := must1(f.Tenants.Statistics(t.Context(), bank))
	same(t, "figures", fmt.Sprint(st), fmt.Sprint(tenant.Statistics{Users: 1, Months: []tenant.Usage{{AppID: bank.ID, Month: tenant.MonthOf(f.now()), Users: 1, APICalls: 32}}}))
	st = must1(f.Tenants.Statistics(t.Context(), shop))
	same(t, "next door", fmt.Sprint(st.Users, st.Months[0].Auths, len(st.Months)), "0 16 1")

	// What cannot be written is counted the next time.
	meter.Count(bank.ID, tenant.CountSMS)
	f.without(t, "usage_months", func() {
		if err := meter.Sweep(t.Context()); err == nil {
			t.Error("figures were kept nowhere")
		}
		meter.Count(bank.ID, tenant.CountSMS)
	})
	st = must1(f.Tenants.Statistics(t.Context(), bank))
	same(t, "texts counted", st.Months[0].SMS, 2)
}
