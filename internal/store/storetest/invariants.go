package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
)

// This file tests the invariants of security.md section 1 through the services: those about counting here, those about faults in
// invariants_faults.go, INV-5 in model.go, INV-11 in isolation.go.

var invariantTests = []test{
	{"INV-1 a sent code", testINV1SentCode},
	{"INV-1 an app code", testINV1AppCode},
	{"INV-1 a ticket", testINV1Ticket},
	{"INV-1 an enrolment code", testINV1EnrolmentCode},
	{"INV-1 a challenge", testINV1Challenge},
	{"INV-1 an answer", testINV1Answer},
	{"INV-2 wrong codes at once", testINV2Wrong},
	{"INV-2 a right code at once", testINV2Right},
	{"INV-2 wrong codes beside a right one", testINV2Mixed},
	{"INV-3 codes", testINV3Codes},
	{"INV-3 enrolment codes", testINV3Enrolment},
	{"INV-4 new codes give no new tries", testINV4Codes},
	{"INV-4 removal and return give no new tries", testINV4Removal},
	{"INV-6 between the steps", testINV6},
	{"INV-1, INV-4 and INV-5 a clock that jumps", testClockJumps},
	{"INV-7 a failure at any statement is no yes", testINV7},
	{"INV-7 and INV-10 no change without its record", testINV10},
	{"INV-8 no secret can be read in any row", testINV8},
	{"INV-9 a number that nobody has", testINV9},
	{"INV-12 what was answered is there", testINV12},
}

const many = 64 // goroutines that present the same secret

func testINV1SentCode(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := f.sms(t, p, "")
	wantTally(t, together(many, func(int) error { return f.verify(p, code) }), map[error]int{nil: 1, otp.ErrUsed: many - 1})
	wantErr(t, "a new code afterwards", f.verify(p, f.sms(t, p, "")), nil)
}

func testINV1AppCode(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := p.code(f.now())
	wantTally(t, together(many, func(int) error { return f.verify(p, code) }), map[error]int{nil: 1, otp.ErrUsed: many - 1})
	f.Clock.Advance(30 * time.Second)
	wantErr(t, "the next code afterwards", f.verify(p, p.code(f.now())), nil)
}

func testINV1Ticket(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	ana := f.User(t, app, "ana@example.com", number[2:])
	ticket := f.ticket(t, app, ana)
	key := servertest.NewKey(t)
	errs := together(many, func(i int) error {
		_, err := f.confirm(key, device.Confirmation{Ticket: ticket.Words})
		return err
	})
	wantTally(t, errs, map[error]int{nil: 1, device.ErrTicket: many - 1})
	same(t, "grants", len(must1(f.Store.GrantsOfUser(t.Context(), ana.ID))), 1)
	same(t, "sessions", len(must1(f.Rows(t.Context(), "device_sessions"))), 1)
}

func testINV1EnrolmentCode(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	ana := f.User(t, app, "ana@example.com", number[2:])
	e, code := f.startPhone(t, number)
	key := servertest.NewKey(t)
	errs := together(many, func(i int) error {
		_, err := f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code})
		return err
	})
	wantTally(t, errs, map[error]int{nil: 1, device.ErrCodeExpired: many - 1})
	same(t, "grants", len(must1(f.Store.GrantsOfUser(t.Context(), ana.ID))), 1)
}

// testINV1Challenge: a challenge opens one session or makes one enrolment, and what comes second changes nothing.
func testINV1Challenge(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	challenge := f.Devices.Challenge()
	signed := receipt.SessionProof{Challenge: challenge, Device: p.phone.Device.ID, Origin: servertest.Origin}
	proof := p.phone.Sign(t, signed.Canonical())
	errs := together(many, func(int) error {
		_, err := f.Devices.OpenSession(context.Background(), p.phone.Device.ID, challenge, proof)
		return err
	})
	wantTally(t, errs, map[error]int{nil: 1, device.ErrNotSignedIn: many - 1})

	ticket := f.ticket(t, p.app, p.user)
	before := f.state(t)
	_, err := f.confirm(p.phone.Key, device.Confirmation{Ticket: ticket.Words, Challenge: challenge})
	wantErr(t, "an enrolment with a used challenge", err, device.ErrNotSignedIn)
	sameState(t, "after it", f.state(t), before)
	_, err = f.confirm(p.phone.Key, device.Confirmation{Ticket: ticket.Words})
	wantErr(t, "the same ticket with a fresh one", err, nil)
}

func testINV1Answer(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	must(t, f.Tenants.SetCallback(t.Context(), f.Account.ID, p.app.ID, address, "operator:x"))
	tablet := f.Phone(t, p.app, p.user)
	asked := f.Ask(t, p.app, p.user, "Log in?")
	type voice struct {
		phone    *servertest.Phone
		decision string
	}
	voices := []voice{{p.phone, approval.Approve}, {p.phone, approval.Deny}, {tablet, approval.Approve}, {tablet, approval.Deny}}
	var answers []approval.Answer
	for _, v := range voices {
		signed := f.Approvals.Signed(asked, v.phone.Device.ID, v.decision, "")
		answers = append(answers, approval.Answer{Decision: v.decision, Signature: v.phone.Sign(t, signed)})
	}
	errs := together(many, func(i int) error {
		_, err := f.Approvals.Answer(context.Background(), voices[i%4].phone.Device, asked.UUID, answers[i%4])
		return err
	})
	final, err := f.Approvals.Get(t.Context(), p.app.ID, asked.UUID)
	must(t, err)
	for i, err := range errs { // the very answer that won may be repeated; every other one is refused
		v := voices[i%4]
		won := final.Answer.Grant.Device.ID == v.phone.Device.ID && (final.Status == approval.Approved) == (v.decision == approval.Approve)
		if won {
			wantErr(t, "the answer that won", err, nil)
		} else {
			wantErr(t, "another answer", err, approval.ErrNotPending)
		}
	}
	same(t, "callback jobs offered", len(f.Jobs.Offered(job.Callback)), 1)
	same(t, "callback jobs kept", len(must1(f.Rows(t.Context(), "jobs WHERE kind = 'callback'"))), 1)
	same(t, "records of the decision", len(must1(f.Rows(t.Context(), "audit WHERE action IN ('approval.approved', 'approval.denied')"))), 1)
}

// counted counts comparisons.
func (f *fixture) counted() *atomic.Int64 {
	var n atomic.Int64
	f.Codes.Compared = func() { n.Add(1) }
	return &n
}

const more = 200 // guesses at once

func testINV2Wrong(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := f.sms(t, p, "")
	n := f.counted()
	wantTally(t, together(more, func(int) error { return f.verify(p, wrong) }), map[error]int{otp.ErrWrong: 5, otp.ErrBudget: more - 5})
	same(t, "comparisons", n.Load(), 5)
	wantErr(t, "a right sent code", f.verify(p, code), otp.ErrBudget)
	wantErr(t, "a right app code", f.verify(p, p.code(f.now())), otp.ErrBudget)
	same(t, "comparisons", n.Load(), 5)
}

func testINV2Right(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := p.code(f.now())
	wantTally(t, together(more, func(int) error { return f.verify(p, code) }), map[error]int{nil: 1, otp.ErrUsed: more - 1})
	f.Clock.Advance(30 * time.Second)
	wantErr(t, "the next code: nobody is locked out", f.verify(p, p.code(f.now())), nil)
	for range otp.BudgetTries - 1 {
		wantErr(t, "a wrong code", f.verify(p, wrong), otp.ErrWrong)
	}
	f.Clock.Advance(30 * time.Second)
	wantErr(t, "a right code as the fifth: the budget was whole", f.verify(p, p.code(f.now())), nil)
}

// testINV2Mixed: a right code among wrong ones gives at most one more budget.
func testINV2Mixed(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	code := p.code(f.now())
	n := f.counted()
	errs := together(more, func(i int) error {
		if i%20 == 0 {
			return f.verify(p, code)
		}
		return f.verify(p, wrong)
	})
	counts := tally(errs)
	right, used, failed := counts[""], counts[otp.ErrUsed.Error()], counts[otp.ErrWrong.Error()]
	if right > 1 || failed > 5+4 || int(n.Load()) != right+used+failed || right+used+failed+counts[otp.ErrBudget.Error()] != more {
		t.Errorf("outcomes %v with %d comparisons", counts, n.Load())
	}
}

// testINV3Codes: whatever fails after the try was counted, the count stays, and nothing is told.
func testINV3Codes(t *testing.T, f *fixture) {
	var sent string
	for i, fail := range []func(p person) error{
		func(p person) error { // comparing breaks
			a := otp.Attempt{AppID: p.app.ID, UserID: p.user.ID, Now: f.now()}
			v, err := f.Store.Redeem(context.Background(), a, func(otp.Candidates) otp.Verdict { panic("a defect") })
			if v != (otp.Verdict{}) {
				t.Errorf("verdict %+v", v)
			}
			return err
		},
		func(p person) (err error) { // the refusal cannot be recorded
			f.without(t, "audit", func() { err = f.verify(p, wrong) })
			return err
		},
		func(p person) (err error) { // the success cannot be recorded
			f.without(t, "audit", func() { err = f.verify(p, p.code(f.now())) })
			return err
		},
		func(p person) (err error) { // the same of a sent code
			f.without(t, "audit", func() { err = f.verify(p, sent) })
			return err
		},
	} {
		p := f.person(t, fmt.Sprint("Bank", i))
		sent = f.sms(t, p, "")
		for range otp.BudgetTries {
			if err := fail(p); err == nil || fault.KindOf(err) != fault.Internal {
				t.Errorf("failure %d ended as %v", i, err)
			}
		}
		wantErr(t, fmt.Sprint("a right code after five failures of kind ", i), f.verify(p, p.code(f.now())), otp.ErrBudget)
		f.Clock.Advance(otp.BudgetWait)
		wantErr(t, "a right code after the wait", f.verify(p, p.code(f.now())), nil) // what failed was not spent
	}
}

func testINV3Enrolment(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	f.User(t, app, "ana@example.com", number[2:])
	key := servertest.NewKey(t)
	for i, fail := range []func(e device.Enrollment, code string) error{
		func(e device.Enrollment, _ string) error {
			_, _, err := f.Store.EnrollByCode(context.Background(), e.ID, func(string) bool { panic("a defect") }, f.enrolling("key"))
			return err
		},
		func(e device.Enrollment, _ string) (err error) {
			f.without(t, "audit", func() { _, err = f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: wrong}) })
			return err
		},
		func(e device.Enrollment, code string) (err error) {
			f.without(t, "audit", func() { _, err = f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code}) })
			return err
		},
		func(e device.Enrollment, code string) (err error) {
			f.without(t, "device_sessions", func() { _, err = f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code}) })
			return err
		},
	} {
		e, code := f.startPhone(t, number)
		for range 5 {
			if err := fail(e, code); err == nil || fault.KindOf(err) != fault.Internal {
				t.Errorf("failure %d ended as %v", i, err)
			}
		}
		_, err := f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code})
		wantErr(t, fmt.Sprint("the right code after five failures of kind ", i), err, device.ErrCodeExpired)
		f.Clock.Advance(otp.BudgetWaitMax) // the number's budget is spent too
	}
	same(t, "devices", f.state(t, "devices", "grants", "device_sessions", "spent_challenges"), "")
}

// testINV4Codes: 1,000 new codes, each with a guess, over 33 hours: the budget allows five guesses after each wait of 15
// minutes, 30 minutes, … 24 hours, whatever was sent meanwhile. On PostgreSQL, where each takes a dozen round trips, every fourth of them.
func testINV4Codes(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	n := f.counted()
	codes, pause := 1000, 2*time.Minute
	if !f.Store.OneProcess() {
		codes, pause = codes/4, pause*4
	}
	for range codes {
		if _, err := f.Codes.Send(t.Context(), p.app, p.user, otp.Request{Channel: otp.SMS, Force: true}); err != nil {
			t.Fatal(err)
		}
		if err := f.verify(p, wrong); !errors.Is(err, otp.ErrWrong) && !errors.Is(err, otp.ErrBudget) {
			t.Fatal(err)
		}
		f.Clock.Advance(pause)
	}
	if n.Load() < 35 || n.Load() > 40 {
		t.Errorf("%d comparisons, want 5 for each of the 8 budgets that 33 hours hold", n.Load())
	}
}

func testINV4Removal(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	n := f.counted()
	for range 100 {
		if err := f.verify(p, wrong); !errors.Is(err, otp.ErrWrong) && !errors.Is(err, otp.ErrBudget) {
			t.Fatal(err)
		}
		must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID))
		same(t, "the user who came back", f.User(t, p.app, "ana@example.com", number[2:]).ID, p.user.ID)
		p.phone.Enroll(t, p.app, p.user)
	}
	same(t, "comparisons", n.Load(), 5)
}
