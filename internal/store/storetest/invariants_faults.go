package storetest

import (
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// This file tests the invariants that are about what comes between and what goes wrong (INV-6 to INV-10, INV-12), through the services; invariants.go has the list.

// testINV6: each row lets something begin, then time, lock, revocation or another act comes between, and the next step must be refused.
func testINV6(t *testing.T, f *fixture) {
	answer := func(p person, uuid string) func() error {
		return func() error {
			_, err := p.phone.Answer(t, uuid, approval.Approve, "")
			return err
		}
	}
	remove := func(p person) { must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID)) }
	back := func(p person) { f.User(t, p.app, "ana@example.com", number[2:]) }
	revoke := func(p person) { must(t, f.Devices.RemoveGrant(t.Context(), p.phone.Device, p.grant().ID)) }
	ask := func(p person) func() error { return answer(p, f.Ask(t, p.app, p.user, "Log in?").UUID) }
	enrol := func(p person) func() error {
		ticket := f.ticket(t, p.app, p.user)
		return func() error {
			_, err := f.confirm(servertest.NewKey(t), device.Confirmation{Ticket: ticket.Words})
			return err
		}
	}
	app := func(p person) func() error {
		code := p.code(f.now())
		return func() error { return f.verify(p, code) }
	}
	sent := func(p person) func() error {
		code := f.sms(t, p, "")
		return func() error { return f.verify(p, code) }
	}
	session := func(p person) func() error {
		challenge := f.Devices.Challenge()
		signed := receipt.SessionProof{Challenge: challenge, Device: p.phone.Device.ID, Origin: servertest.Origin}
		return func() error {
			_, err := f.Devices.OpenSession(t.Context(), p.phone.Device.ID, challenge, p.phone.Sign(t, signed.Canonical()))
			return err
		}
	}
	use := func(p person) func() error {
		return func() error {
			_, err := f.Devices.Session(t.Context(), p.phone.Session)
			return err
		}
	}
	create := func(p person) func() error { return func() error { return f.ask(p) } }
	send := func(p person) func() error {
		return func() error {
			_, err := f.Codes.Send(t.Context(), p.app, p.user, otp.Request{Channel: otp.SMS, Force: true})
			return err
		}
	}
	wait := func(d time.Duration) func(person) { return func(person) { f.Clock.Advance(d) } }
	lock := func(p person) { f.spend(t, p) }

	for i, row := range []struct {
		what    string
		begin   func(person) func() error
		between func(person)
		want    error
	}{
		{"answer, expired", ask, wait(2 * time.Minute), approval.ErrExpired},
		{"answer, user removed", ask, remove, approval.ErrUnknown},
		{"answer, user removed and back", ask, func(p person) { remove(p); back(p) }, approval.ErrUnknown},
		{"answer, grant removed", ask, revoke, approval.ErrUnknown},
		{"ticket, expired", enrol, wait(device.TicketLife), device.ErrTicket},
		{"ticket, user removed", enrol, remove, device.ErrTicket},
		{"ticket, user removed and back", enrol, func(p person) { remove(p); back(p) }, device.ErrTicket},
		{"app code, outside the window", app, wait(time.Minute), otp.ErrWrong},
		{"app code, grant removed", app, revoke, otp.ErrWrong},
		{"app code, locked", app, lock, otp.ErrBudget},
		{"app code, user removed", app, remove, tenant.ErrUser},
		{"app code, user removed and back", app, func(p person) { remove(p); back(p) }, otp.ErrWrong},
		{"sent code, expired", sent, wait(otp.SentLife), otp.ErrWrong},
		{"sent code, locked", sent, lock, otp.ErrBudget},
		{"sent code, user removed", sent, remove, tenant.ErrUser},
		{"sent code, user removed and back", sent, func(p person) { remove(p); back(p) }, otp.ErrWrong},
		{"sent code, a newer one sent", sent, func(p person) { f.sms(t, p, "") }, otp.ErrWrong},
		{"challenge, expired", session, wait(device.ChallengeLife), device.ErrNotSignedIn},
		{"session, expired", use, wait(device.SessionLife), device.ErrNotSignedIn},
		{"session, closed", use, func(p person) { must(t, f.Devices.CloseSession(t.Context(), p.phone.Session)) }, device.ErrNotSignedIn},
		{"create, user removed", create, remove, tenant.ErrUser},
		{"create, grant removed", create, revoke, approval.ErrNoDevice},
		{"send, user removed", send, remove, tenant.ErrUser},
	} {
		for _, between := range []func(person){nil, row.between} {
			f.Clock.Advance(time.Hour) // away from other rows' windows
			p := f.person(t, fmt.Sprintf("App%d%v", i, between != nil))
			step := row.begin(p)
			if between == nil {
				wantErr(t, row.what+" not", step(), nil)
				continue
			}
			between(p)
			wantErr(t, row.what, step(), row.want)
		}
	}
}

// testINV10: every change writes its record in its own transaction. Without the table of records nothing changes and
// nothing is said to have worked (INV-7); with it, the change and a record are both there.
func testINV10(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient, generics)
	bg := context.Background()
	must(t, f.Tenants.SetCallback(t.Context(), f.Account.ID, p.app.ID, address, "operator:x"))
	tablet := f.Phone(t, p.app, p.user)
	asked, second := f.Ask(t, p.app, p.user, "1"), f.Ask(t, p.app, p.user, "2")
	ticket := f.ticket(t, p.app, p.user)
	shop := f.App(t, "Shop")
	f.User(t, shop, "ana@shop.example", number[2:])
	e, code := f.startPhone(t, number)
	key := servertest.NewKey(t)
	sent := f.sms(t, p, "")
	_, jobs, err := f.decide(f.decision(p, f.Ask(t, p.app, p.user, "3").UUID), p.app.ID)
	must(t, err)
	d := &delivery{person: p, f: f, job: jobs[0]}
	d.strike(t, 1)
	d.strike(t, 1)

	for _, change := range []struct {
		what string
		do   func() error
	}{
		{"create an application", func() error {
			_, err := f.Tenants.CreateApplication(bg, f.Account.ID, "New", tenant.DropIn(), "x")
			return err
		}},
		{"set settings", func() error { return f.Tenants.SetMatch(bg, p.app, tenant.MatchType, 4, "x") }},
		{"add a user", func() error {
			_, err := f.Tenants.AddUser(bg, p.app, tenant.NewUser{Email: "new@example.com", Phone: "2025550144"})
			return err
		}},
		{"send a code", func() error {
			_, err := f.Codes.Send(bg, p.app, p.user, otp.Request{Channel: otp.SMS, Force: true, Action: "pay"})
			return err
		}},
		{"start a phone verification", func() error {
			_, _, err := f.Codes.StartVerification(bg, p.app, otp.VerificationRequest{Channel: otp.SMS, Phone: number})
			return err
		}},
		{"make a generic secret", func() error {
			_, err := f.Codes.NewGeneric(bg, p.app, p.user, "")
			return err
		}},
		{"register an activity", func() error {
			return f.Tenants.RegisterActivity(bg, p.app, p.user, tenant.Activity{Type: "banned", Data: []byte("null")})
		}},
		{"change the address", func() error { return f.Tenants.SetEmail(bg, p.app, p.user, "changed@example.com") }},
		{"redeem a sent code", func() error { return f.verify(p, sent) }},
		{"redeem an app code", func() error { return f.verify(p, p.code(f.now())) }},
		{"enrol by ticket", func() error {
			_, err := f.confirm(key, device.Confirmation{Ticket: ticket.Words})
			return err
		}},
		{"make a ticket", func() error {
			_, err := f.Devices.NewTicket(bg, p.app, p.user)
			return err
		}},
		{"enrol by code", func() error {
			_, err := f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code})
			return err
		}},
		{"start an enrolment", func() error {
			_, err := f.Devices.StartPhone(bg, number)
			return err
		}},
		{"ask", func() error { return f.ask(p) }},
		{"answer", func() error {
			_, err := p.phone.Answer(t, asked.UUID, approval.Approve, "")
			return err
		}},
		{"cancel", func() error {
			_, err := f.Approvals.Cancel(bg, p.app, second.UUID)
			return err
		}},
		{"remove a grant", func() error { return f.Devices.RemoveGrant(bg, p.phone.Device, tablet.Grants[0].ID) }},
		{"the third strike", func() error {
			struck, err := d.fail(d.job, 500, 1, time.Time{})
			if err == nil && !struck.Disabled {
				err = fmt.Errorf("struck %+v", struck)
			}
			return err
		}},
		{"set the callback", func() error { return f.Tenants.SetCallback(bg, f.Account.ID, p.app.ID, address, "x") }},
		{"expire", func() error {
			_, err := f.Store.Expire(bg, f.now().Add(time.Hour), 100)
			return err
		}},
		{"remove a user", func() error { return f.Tenants.RemoveUser(bg, p.app, p.user.AuthyID) }},
	} {
		// Tries are counted whatever fails (INV-3), and are no state that anything was told about.
		state := func() string {
			return f.state(t, "applications", "api_keys", "users", "user_emails", "devices", "device_sessions", "spent_challenges", "grants", "tickets", "approvals", "jobs",
				"callback_tries", "activities", "generic_secrets", "sent_codes WHERE used_at > 0", "enrollments WHERE used_at > 0")
		}
		rows := func() int { return len(must1(f.Rows(t.Context(), "audit"))) }
		before, records := state(), rows()
		offered := len(f.Jobs.Offered(job.Callback)) + len(f.Jobs.Offered(job.Message))
		f.without(t, "audit", func() {
			if err := change.do(); err == nil || fault.KindOf(err) != fault.Internal {
				t.Errorf("%s without a record ended as %v", change.what, err)
			}
		})
		sameState(t, "after "+change.what+" without a record", state(), before)
		same(t, change.what+" without a record offered jobs", len(f.Jobs.Offered(job.Callback))+len(f.Jobs.Offered(job.Message)), offered)
		must(t, change.do())
		if state() == before || rows() <= records {
			t.Errorf("%s: nothing changed, or no record was written", change.what)
		}
	}
}

// testClockJumps: what is used, locked or decided stays so when the clock goes back, and each code is good once wherever it goes.
func testClockJumps(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", patient)
	tablet := f.Phone(t, p.app, p.user)
	const back = -26 * time.Hour
	jump := func(d time.Duration) { f.Clock.Advance(d) }
	answer := func(uuid, decision string) error { return second(p.phone.Answer(t, uuid, decision, "")) }

	code, sent, ticket := p.code(f.now()), f.sms(t, p, ""), f.ticket(t, p.app, p.user)
	must(t, f.verify(p, code))
	must(t, f.verify(p, sent))
	_, err := f.confirm(tablet.Key, device.Confirmation{Ticket: ticket.Words})
	must(t, err)
	decided, lapsed, gone := f.Ask(t, p.app, p.user, "1"), f.Ask(t, p.app, p.user, "2"), f.Ask(t, p.app, p.user, "3")
	must(t, answer(decided.UUID, approval.Deny))
	must(t, second(f.Approvals.Cancel(t.Context(), p.app, gone.UUID)))
	jump(time.Hour)
	must(t, f.Approvals.Sweep(t.Context()))
	locked := f.person(t, "Shop")
	f.spend(t, locked)
	for _, d := range []time.Duration{back, -time.Hour, 25 * time.Hour, time.Hour} { // in the end it is right again
		jump(d)
		if err := f.verify(p, code); !errors.Is(err, otp.ErrUsed) && !errors.Is(err, otp.ErrWrong) && !errors.Is(err, otp.ErrBudget) {
			t.Errorf("a code that was used: %v", err)
		}
		wantErr(t, "a ticket that was used", second(f.confirm(servertest.NewKey(t), device.Confirmation{Ticket: ticket.Words})), device.ErrTicket)
		wantErr(t, "another answer to what is decided", answer(decided.UUID, approval.Approve), approval.ErrNotPending)
		wantErr(t, "an answer to what ran out", answer(lapsed.UUID, approval.Approve), approval.ErrExpired)
		wantErr(t, "an answer to what was withdrawn", answer(gone.UUID, approval.Approve), approval.ErrCancelled)
		wantErr(t, "a right code while there is no try left", f.verify(locked, locked.code(f.now())), otp.ErrBudget)
	}

	accepted := map[string]int{}
	other := f.person(t, "Mall")
	for range 60 {
		jump([]time.Duration{-time.Hour, -30 * time.Second, -time.Second, 0, time.Second, 30 * time.Second, 2 * time.Hour}[rand.IntN(7)])
		code := other.code(f.now())
		if f.verify(other, code) == nil {
			accepted[fmt.Sprint(otp.Step(f.now(), other.grant().Period.Duration()))]++
		}
	}
	for step, n := range accepted {
		if n != 1 {
			t.Errorf("the code of step %s was accepted %d times", step, n)
		}
	}
	jump(1000 * time.Hour) // beyond all of that
	wantErr(t, "a code when the clock is beyond the last that was used", f.verify(other, other.code(f.now())), nil)
}

var errFault = errors.New("the disk has a fault")

// testINV7: the database fails at the first statement of an act, at the second, and so on until the act gets by. Each time the act is
// refused, nothing says that it worked, and nothing is half done: on a sound database the same act goes through afterwards.
func testINV7(t *testing.T, f *fixture) {
	var left int // statements until the fault
	sick := f.Failing(func(string) error {
		left--
		if left == 0 {
			return errFault
		}
		return nil
	})
	t.Cleanup(func() { must(t, sick.Close()) })
	bg, beside := context.Background(), f.Beside(t, sick)
	for _, act := range []struct {
		what  string
		ready func(p person) func(s *servertest.Server) error
	}{
		{"an app code", func(p person) func(*servertest.Server) error {
			code := p.code(f.now())
			return func(s *servertest.Server) error { return second(s.Codes.Verify(bg, p.app, p.user, code, "")) }
		}},
		{"a sent code", func(p person) func(*servertest.Server) error {
			code := f.sms(t, p, "")
			return func(s *servertest.Server) error { return second(s.Codes.Verify(bg, p.app, p.user, code, "")) }
		}},
		{"an answer", func(p person) func(*servertest.Server) error {
			asked := f.Ask(t, p.app, p.user, "Log in?")
			signature := p.phone.Sign(t, f.Approvals.Signed(asked, p.phone.Device.ID, approval.Approve, ""))
			return func(s *servertest.Server) error {
				return second(s.Approvals.Answer(bg, p.phone.Device, asked.UUID, approval.Answer{Decision: approval.Approve, Signature: signature}))
			}
		}},
		{"a session", func(p person) func(*servertest.Server) error {
			challenge := f.Devices.Challenge()
			proof := p.phone.Sign(t, receipt.SessionProof{Challenge: challenge, Device: p.phone.Device.ID, Origin: servertest.Origin}.Canonical())
			return func(s *servertest.Server) error {
				return second(s.Devices.OpenSession(bg, p.phone.Device.ID, challenge, proof))
			}
		}},
		{"a session that is used", func(p person) func(*servertest.Server) error {
			return func(s *servertest.Server) error { return second(s.Devices.Session(bg, p.phone.Session)) }
		}},
	} {
		for fault := 1; ; fault++ {
			f.Clock.Advance(time.Hour)
			p := f.person(t, "Bank")
			do := act.ready(p)
			yes := func() string {
				return f.state(t, "audit WHERE action IN ('code.verified', 'approval.approved') AND outcome = 'ok'", "jobs WHERE kind = 'callback'", "device_sessions")
			}
			before := yes()
			left = fault
			err := do(beside)
			if left > 0 { // it got by
				wantErr(t, act.what+" with all its statements", err, nil)
				break
			}
			if err == nil {
				t.Errorf("%s is a yes though its statement %d failed", act.what, fault)
			}
			sameState(t, fmt.Sprintf("after the fault at statement %d of %s", fault, act.what), yes(), before)
			wantErr(t, fmt.Sprintf("%s after the fault at statement %d", act.what, fault), do(f.Server), nil)
		}
	}
}

// second is the error of a call that also returns something.
func second[T any](_ T, err error) error { return err }

// testINV8: whoever reads every row of every table reads no secret.
func testINV8(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", func(s *tenant.Settings) { s.SentDigits = 18 }) // long, so that it stands nowhere by chance
	ticket := f.ticket(t, p.app, p.user)
	used, waiting := f.sms(t, p, ""), f.sms(t, p, "pay")
	must(t, f.verify(p, used))
	rows := f.state(t, append([]string{"audit", "seal_keys", "sends", "signing_keys"}, tables...)...)
	if !strings.Contains(rows, "ana") && !strings.Contains(rows, "bank@example.com") {
		t.Fatal("the test does not see what is in the rows")
	}
	for what, secret := range map[string]string{
		"API key": f.Key(t, p.app), "ticket": ticket.Words, "session": p.phone.Session, "TOTP secret": string(p.grant().Secret),
		"code that was used": used, "code that waits": waiting, "master key": string(f.Master),
	} {
		for _, form := range []string{
			secret, hex.EncodeToString([]byte(secret)), base64.RawStdEncoding.EncodeToString([]byte(secret)), base32.StdEncoding.EncodeToString([]byte(secret)),
			strings.Trim(fmt.Sprint([]byte(secret)), "[]"), // as Rows shows bytes
		} {
			if strings.Contains(rows, form) {
				t.Errorf("the %s can be read in a row as %q", what, form)
			}
		}
	}
}

// testINV9: to whoever sets up a phone by a number, one that somebody has, one that nobody has, and one that nobody can have answer alike, step by step,
// after the same statements, which is what time could tell.
func testINV9(t *testing.T, f *fixture) {
	f.User(t, f.App(t, "Bank"), "ana@example.com", number[2:])
	f.User(t, f.App(t, "Shop"), "ana@example.com", number[2:])
	key := servertest.NewKey(t)
	var steps []string
	f.Devices.Store = f.Failing(func(statement string) error {
		steps = append(steps, statement)
		return nil
	})
	journey := func(number string) []string {
		steps = nil
		note := func(e device.Enrollment, err error) {
			steps = append(steps, fmt.Sprintf("%d letters until %v, %v", len(e.ID), e.ExpiresAt, err))
		}
		var e device.Enrollment
		for range 2 {
			started, err := f.Devices.StartPhone(t.Context(), number)
			e = started
			note(e, err)
		}
		for range 7 { // beyond the code's tries
			_, err := f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: wrong})
			note(device.Enrollment{}, err)
		}
		for range 3 { // beyond what is sent to one number
			note(f.Devices.StartPhone(t.Context(), number))
		}
		return steps
	}
	known := journey(number)
	for _, other := range []string{"+12025550177", "+10005550123"} {
		if diff := cmp.Diff(known, journey(other)); diff != "" {
			t.Errorf("a known number and %s differ (-known +other):\n%s", other, diff)
		}
	}
	same(t, "texts", len(f.Outbox(t, "")), 1) // the newest code of the one number that somebody has
}

// testINV12: whoever was answered sees what was written, over another connection, whatever else is under way; what was refused is not there.
func testINV12(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	bg := context.Background()
	errs := together(many, func(i int) error {
		u, err := f.Tenants.AddUser(bg, app, tenant.NewUser{Email: fmt.Sprintf("user%d@example.com", i), CountryCode: "1", Phone: fmt.Sprintf("202555%04d", i)})
		if err != nil {
			return err
		}
		_, err = f.Tenants.User(bg, app, u.AuthyID)
		return err
	})
	wantTally(t, errs, map[error]int{nil: many})
	sick := f.Failing(func(q string) error {
		if strings.Contains(q, "INTO audit") {
			return errFault
		}
		return nil
	})
	t.Cleanup(func() { must(t, sick.Close()) })
	before := f.state(t)
	beside := f.Beside(t, sick)
	for _, err := range together(many, func(i int) error {
		return second(beside.Tenants.AddUser(bg, app, tenant.NewUser{Email: fmt.Sprintf("more%d@example.com", i), CountryCode: "1", Phone: fmt.Sprintf("202666%04d", i)}))
	}) {
		if err == nil {
			t.Error("a user was added without a record")
		}
	}
	sameState(t, "after writes that were refused", f.state(t), before)
}
