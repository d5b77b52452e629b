package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

var codeTests = []test{
	{"an app code, then the same again", testAppCode},
	{"T-04 an older step after a newer one", testOlderStep},
	{"every device of the user has codes of its own", testCodesOfDevices},
	{"a sent code, then the same again", testSentCode},
	{"a sent code ends at its time", testSentExpiry},
	{"a sent code serves its action only", testSentAction},
	{"only the newest sent code works", testNewestSent},
	{"five wrong tries end a sent code, over all budgets", testSentTries},
	{"a right app code leaves the tries of a sent code alone", testSentTriesStay},
	{"sent codes are limited", testSendLimit},
	{"a code confirms the user", testConfirms},
	{"the budget doubles from 15 minutes to 24 hours", testBudgetDoubles},
	{"a right code resets the budget", testBudgetReset},
	{"a spent budget ends exactly at its time", testBudgetBoundary},
	{"a used code costs no try", testUsedCostsNothing},
	{"a used code never lowers the next wait", testUsedLowersNothing},
	{"budgets and tries are each user's own", testBudgetsAreTheUsers},
	{"a spent budget never stops an approval", testBudgetAndApprovals},
	{"what is compared, and what a verdict may claim", testRedeem},
}

func testAppCode(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := p.code(f.now())
	f.Clock.Advance(time.Millisecond)
	v, err := f.Codes.Verify(t.Context(), p.app, p.user, code, "")
	must(t, err)
	told := otp.Device{Platform: p.phone.Device.Platform, Method: device.MethodTicket, CreatedAt: p.grant().CreatedAt, LastSeenAt: p.phone.Device.SeenAt}
	same(t, "verdict", v, otp.Verdict{Matched: true, GrantID: p.grant().ID, Device: told, Step: otp.Step(f.now(), 30*time.Second)})
	v, err = f.Codes.Verify(t.Context(), p.app, p.user, code, "another purpose")
	wantErr(t, "the same code again", err, otp.ErrUsed)
	same(t, "the verdict beside an error", v, otp.Verdict{})
	wantErr(t, "a wrong code", f.verify(p, wrong), otp.ErrWrong)
	f.Clock.Advance(30 * time.Second)
	wantErr(t, "the next code", f.verify(p, p.code(f.now())), nil)

	list, err := f.Store.Audit(t.Context(), p.app.ID, 4)
	must(t, err)
	var outcomes []string
	for _, r := range list {
		outcomes = append(outcomes, r.Action+" "+r.Outcome)
	}
	same(t, "the audit record's latest", outcomes[0], "code.verified "+audit.OK)
	want := map[string]int{"code.verified ok": 2, "code.verified code-used": 1, "code.verified code-wrong": 1}
	for _, o := range outcomes {
		want[o]--
	}
	for what, left := range want {
		same(t, "audit records missing of "+what, left, 0)
	}
}

func testOlderStep(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	for _, s := range []struct {
		at   time.Duration
		want error
	}{{0, nil}, {-30 * time.Second, otp.ErrUsed}, {30 * time.Second, nil}, {0, otp.ErrUsed}} {
		wantErr(t, fmt.Sprint("the code of now and ", s.at), f.verify(p, p.code(f.now().Add(s.at))), s.want)
	}
}

func testCodesOfDevices(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	tablet := f.Phone(t, p.app, p.user)
	phone, other := p.code(f.now()), appCode(tablet.Grants[0], f.now())
	if phone == other {
		return // once in a million
	}
	v, err := f.Codes.Verify(t.Context(), p.app, p.user, other, "")
	must(t, err)
	same(t, "the grant that matched", v.GrantID, tablet.Grants[0].ID)
	v, err = f.Codes.Verify(t.Context(), p.app, p.user, phone, "")
	must(t, err)
	same(t, "the grant that matched", v.GrantID, p.grant().ID)
}

func testSentCode(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := f.sms(t, p, "")
	v, err := f.Codes.Verify(t.Context(), p.app, p.user, code, "")
	must(t, err)
	if !v.Matched || v.SentID == "" || v.GrantID != 0 {
		t.Errorf("verdict %+v", v)
	}
	wantErr(t, "the same code again", f.verify(p, code), otp.ErrUsed)
	f.Clock.Advance(otp.SentLife)
	wantErr(t, "the same code when it is forgotten", f.verify(p, code), otp.ErrWrong)

	rows, err := f.Rows(t.Context(), "sent_codes")
	must(t, err)
	same(t, "sent codes kept", len(rows), 1)
	jobs := f.Jobs.Offered(job.Message)
	same(t, "messages left to send", len(jobs), 0)
}

func testSentExpiry(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := f.sms(t, p, "")
	f.Clock.Advance(otp.SentLife - time.Millisecond)
	wantErr(t, "a wrong code", f.verify(p, wrong), otp.ErrWrong)
	f.Clock.Advance(time.Millisecond)
	wantErr(t, "exactly at its end", f.verify(p, code), otp.ErrWrong)
	code = f.sms(t, p, "")
	f.Clock.Advance(otp.SentLife - time.Millisecond)
	wantErr(t, "a millisecond before its end", f.verify(p, code), nil)
}

func testSentAction(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	pay, plain := f.sms(t, p, "pay"), f.sms(t, p, "")
	verify := func(code, action string) error {
		_, err := f.Codes.Verify(t.Context(), p.app, p.user, code, action)
		return err
	}
	wantErr(t, "a code for an action without it", verify(pay, ""), wrongUnless(pay == plain))
	wantErr(t, "a code without an action for one", verify(plain, "pay"), wrongUnless(pay == plain))
	wantErr(t, "a code for another action", verify(pay, "Pay"), otp.ErrWrong)
	wantErr(t, "a code for its action", verify(pay, "pay"), nil) // sending the plain one did not end it
	wantErr(t, "a code without an action", verify(plain, ""), nil)
	pay = f.sms(t, p, "pay")
	wantErr(t, "an app code whatever the action", verify(p.code(f.now()), "pay"), nil)
	wantErr(t, "the sent one after it", verify(pay, "pay"), nil)
}

func testNewestSent(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	older, newer := f.sms(t, p, ""), f.sms(t, p, "")
	wantErr(t, "the older code", f.verify(p, older), wrongUnless(older == newer))
	wantErr(t, "the newer code", f.verify(p, newer), nil)
}

// testSentTries: the tries of one code are counted beside the budget, so that a right app code does not renew them.
func testSentTries(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := f.sms(t, p, "")
	for i := range otp.SentTries {
		wantErr(t, "a wrong code", f.verify(p, wrong), otp.ErrWrong)
		if i%2 == 1 { // a right code gives the budget back
			f.Clock.Advance(30 * time.Second)
			wantErr(t, "an app code", f.verify(p, p.code(f.now())), nil)
		}
	}
	wantErr(t, "the sent code after five wrong tries", f.verify(p, code), otp.ErrWrong)
}

// testSentTriesStay: a person who uses the app while a message is on its way has guessed at nothing.
func testSentTriesStay(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := f.sms(t, p, "")
	for range otp.SentTries + 1 {
		f.Clock.Advance(30 * time.Second)
		wantErr(t, "an app code", f.verify(p, p.code(f.now())), nil)
		wantErr(t, "the app code again", f.verify(p, p.code(f.now())), otp.ErrUsed)
	}
	wantErr(t, "the sent code", f.verify(p, code), nil)
}

func testSendLimit(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	send := func() error {
		_, err := f.Codes.Send(context.Background(), p.app, p.user, otp.Request{Channel: otp.SMS, Force: true})
		return err
	}
	wantTally(t, together(32, func(int) error { return send() }), map[error]int{nil: otp.SentMax, otp.ErrSendMany: 32 - otp.SentMax})
	same(t, "messages", len(f.Outbox(t, "")), otp.SentMax)
	err := send()
	wantErr(t, "a code too many", err, otp.ErrSendMany)
	same(t, "when to come back", retryAfter(err), otp.SentWindow)
	f.Clock.Advance(otp.SentWindow - time.Millisecond)
	wantErr(t, "a millisecond before the window moves on", send(), otp.ErrSendMany)
	f.Clock.Advance(time.Millisecond)
	wantErr(t, "when the window has moved on", send(), nil)
}

func testConfirms(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	confirmed := func() bool { return must1(f.Store.UserByAuthyID(t.Context(), p.app.ID, p.user.AuthyID)).Confirmed }
	wantErr(t, "a wrong code", f.verify(p, wrong), otp.ErrWrong)
	same(t, "confirmed by a wrong code", confirmed(), false)
	wantErr(t, "a right code", f.verify(p, p.code(f.now())), nil)
	same(t, "confirmed by a right code", confirmed(), true)
	must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID))
	f.User(t, p.app, "ana@example.com", "202-555-0123")
	same(t, "confirmed after removal and return", confirmed(), false)
}

// spend gives wrong codes until the budget is spent, and returns for how long.
func (f *fixture) spend(t *testing.T, p person) time.Duration {
	t.Helper()
	for range otp.BudgetTries {
		wantErr(t, "a wrong code within the budget", f.verify(p, wrong), otp.ErrWrong)
	}
	err := f.verify(p, p.code(f.now()))
	wantErr(t, "a right code beyond the budget", err, otp.ErrBudget)
	return retryAfter(err)
}

func testBudgetDoubles(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	for i, hours := range []float64{0.25, 0.5, 1, 2, 4, 8, 16, 24, 24, 24, 24, 24} {
		want := time.Duration(hours * float64(time.Hour))
		same(t, fmt.Sprint("wait number ", i+1), f.spend(t, p), want)
		f.Clock.Advance(want)
	}
}

func testBudgetReset(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	for range 3 {
		f.Clock.Advance(f.spend(t, p))
	}
	wantErr(t, "a right code after the wait", f.verify(p, p.code(f.now())), nil)
	same(t, "the wait after a right code", f.spend(t, p), otp.BudgetWait)
	f.Clock.Advance(otp.BudgetWait)
	for range otp.BudgetTries - 1 {
		wantErr(t, "a wrong code", f.verify(p, wrong), otp.ErrWrong)
	}
	wantErr(t, "a right code as the last try", f.verify(p, p.code(f.now())), nil)
	same(t, "the wait after that", f.spend(t, p), otp.BudgetWait)
}

func testBudgetBoundary(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	f.Clock.Advance(f.spend(t, p) - time.Millisecond)
	err := f.verify(p, p.code(f.now()))
	wantErr(t, "a millisecond before the end", err, otp.ErrBudget)
	same(t, "when to come back", retryAfter(err), time.Millisecond)
	f.Clock.Advance(time.Millisecond)
	wantErr(t, "exactly at the end", f.verify(p, p.code(f.now())), nil)
}

func testUsedCostsNothing(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := p.code(f.now())
	wantErr(t, "a right code", f.verify(p, code), nil)
	for range otp.BudgetTries - 1 {
		wantErr(t, "a wrong code", f.verify(p, wrong), otp.ErrWrong)
	}
	for range 3 * otp.BudgetTries {
		wantErr(t, "the used code", f.verify(p, code), otp.ErrUsed)
	}
	wantErr(t, "the fifth wrong code", f.verify(p, wrong), otp.ErrWrong)
	err := f.verify(p, code)
	wantErr(t, "the used code beyond the budget", err, otp.ErrBudget)
	same(t, "the wait", retryAfter(err), otp.BudgetWait) // used codes did not raise it
}

// testBudgetsAreTheUsers: right, used and wrong codes of one user change nothing for another of the same application.
func testBudgetsAreTheUsers(t *testing.T, f *fixture) {
	ana := f.person(t, "Bank")
	bob := ana
	bob.user = f.User(t, ana.app, "bob@example.com", "202-555-0199")
	bob.phone = f.Phone(t, bob.app, bob.user)
	toBob := f.sms(t, bob, "")
	for range otp.BudgetTries - 1 {
		wantErr(t, "a wrong code of Bob's", f.verify(bob, wrong), otp.ErrWrong)
	}
	toAna, shown := f.sms(t, ana, ""), ana.code(f.now())
	wantErr(t, "Bob's code for Ana", f.verify(ana, toBob), wrongUnless(toBob == toAna))
	wantErr(t, "Ana's app code", f.verify(ana, shown), nil)
	wantErr(t, "Ana's app code again", f.verify(ana, shown), otp.ErrUsed)
	wantErr(t, "Ana's sent code", f.verify(ana, toAna), nil)
	wantErr(t, "Ana's sent code again", f.verify(ana, toAna), otp.ErrUsed)
	for range otp.BudgetTries {
		wantErr(t, "a wrong code of Ana's", f.verify(ana, wrong), otp.ErrWrong)
	}
	wantErr(t, "one too many of Ana's", f.verify(ana, wrong), otp.ErrBudget)
	wantErr(t, "Bob's fifth", f.verify(bob, wrong), otp.ErrWrong)
	err := f.verify(bob, toBob)
	wantErr(t, "one too many of Bob's", err, otp.ErrBudget)
	same(t, "Bob's wait", retryAfter(err), otp.BudgetWait)
}

// testUsedLowersNothing: a try that is taken back takes back the lock that it caused, and none of before.
func testUsedLowersNothing(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	f.Clock.Advance(f.spend(t, p))
	a := otp.Attempt{AppID: p.app.ID, UserID: p.user.ID, Now: f.now()}
	for range 3 {
		_, err := f.Store.Redeem(t.Context(), a, func(otp.Candidates) otp.Verdict { return otp.Verdict{Matched: true, Used: true, SentID: "x"} })
		wantErr(t, "a used code after the wait", err, otp.ErrUsed)
	}
	same(t, "the next wait", f.spend(t, p), 2*otp.BudgetWait)
}

func testBudgetAndApprovals(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	f.spend(t, p)
	asked := f.Ask(t, p.app, p.user, "Log in?")
	_, err := p.phone.Answer(t, asked.UUID, "approve", "")
	wantErr(t, "an answer while the budget is spent", err, nil)
	wantErr(t, "a code after the approval", f.verify(p, p.code(f.now())), otp.ErrBudget)
}

// testRedeem asks the store directly.
func testRedeem(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := f.sms(t, p, "pay")
	f.sms(t, p, "")
	a := otp.Attempt{AppID: p.app.ID, UserID: p.user.ID, Action: "pay", Now: f.now()}
	var seen otp.Candidates
	no := func(c otp.Candidates) otp.Verdict {
		seen = c
		return otp.Verdict{}
	}
	_, err := f.Store.Redeem(t.Context(), a, no)
	wantErr(t, "nothing matched", err, otp.ErrWrong)
	if len(seen.Apps) != 1 || len(seen.Sent) != 1 {
		t.Fatalf("candidates %+v, want one app secret and the sent code of the action", seen)
	}
	app := seen.Apps[0]
	if app.GrantID != p.grant().ID || app.Digits != 6 || app.Period != 30 || app.LastStep != 0 || len(app.Sealed) == 0 || seen.Sent[0].Used {
		t.Errorf("candidates %+v", seen)
	}

	claim := func(v otp.Verdict) error {
		_, err := f.Store.Redeem(t.Context(), a, func(otp.Candidates) otp.Verdict { return v })
		return err
	}
	wantErr(t, "a step", claim(otp.Verdict{Matched: true, GrantID: app.GrantID, Step: 7}), nil)
	wantErr(t, "the same step", claim(otp.Verdict{Matched: true, GrantID: app.GrantID, Step: 7}), otp.ErrUsed)
	wantErr(t, "an older step", claim(otp.Verdict{Matched: true, GrantID: app.GrantID, Step: 6}), otp.ErrUsed)
	wantErr(t, "a step far beyond 32 bits", claim(otp.Verdict{Matched: true, GrantID: app.GrantID, Step: 1 << 40}), nil)
	wantErr(t, "no such grant", claim(otp.Verdict{Matched: true, GrantID: 12, Step: 1 << 41}), otp.ErrUsed)
	wantErr(t, "no such sent code", claim(otp.Verdict{Matched: true, SentID: "nothing"}), otp.ErrUsed)
	wantErr(t, "one that is said to be used", claim(otp.Verdict{Matched: true, Used: true, SentID: seen.Sent[0].ID}), otp.ErrUsed)
	_, err = f.Codes.Verify(t.Context(), p.app, p.user, code, "pay")
	wantErr(t, "the sent code after all that", err, nil)

	a.UserID = "nobody"
	_, err = f.Store.Redeem(t.Context(), a, no)
	wantErr(t, "nobody's code", err, tenant.ErrUser)
	k := otp.Sending{ID: ident.New(f.now()), AppID: p.app.ID, UserID: "nobody", CreatedAt: f.now(), ExpiresAt: f.now(), Message: f.jobOf(p.app, job.Message, "")}
	wantErr(t, "a code for nobody", f.Store.KeepSentCode(t.Context(), k, f.rec(p.app)), tenant.ErrUser)
}
