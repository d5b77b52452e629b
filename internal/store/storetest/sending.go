package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
)

var sendingTests = []test{
	{"T-30 a number's limit holds for who asks at once, over all applications", testSendNumber},
	{"T-30 a budget holds for who asks at once", testSendBudget},
	{"T-30 numbers alike", testSendPrefix},
	{"T-30 one address", testSendAddress},
	{"T-30 a pause begins, is told, and ends", testSendPause},
	{"T-30 an operator ends a pause", testSendResume},
	{"T-30 known people are sent codes during a pause", testSendKnown},
	{"T-30 and INV-9 enrolment by number", testSendEnrolment},
	{"T-30 refusals are counted and change nothing else", testSendRefused},
	{"limits of one application touch no other's", testSendIsolation},
}

// limited gives an application the standard limits and two countries.
func limited(change ...func(*sending.Limits)) func(*tenant.Settings) {
	return func(s *tenant.Settings) {
		s.Sending = sending.Defaults()
		s.Sending.Countries, s.Sending.ResendWait = "PT US", -1
		for _, c := range change {
			c(&s.Sending)
		}
	}
}

// text asks for a code by text in a user's name.
func (f *fixture) text(t *testing.T, app tenant.Application, u tenant.User, ip string) error {
	t.Helper()
	_, err := f.Codes.Send(t.Context(), app, u, otp.Request{Channel: otp.SMS, Force: true, IP: ip})
	return err
}

// crowd registers n users whose numbers differ in their last four digits only.
func (f *fixture) crowd(t *testing.T, app tenant.Application, country, prefix string, n int) (list []tenant.User) {
	t.Helper()
	for i := range n {
		list = append(list, must1(f.Tenants.AddUser(t.Context(), app, tenant.NewUser{Email: "x@example.com", CountryCode: country, Phone: fmt.Sprintf("%s%04d", prefix, i)})))
	}
	return list
}

func testSendNumber(t *testing.T, f *fixture) {
	one, other := f.App(t, "Bank", limited()), f.App(t, "Shop", limited())
	users := []tenant.User{f.User(t, one, "ana@example.com", number[2:]), f.User(t, other, "ana@example.com", number[2:])}
	apps := []tenant.Application{one, other}
	wantTally(t, together(32, func(i int) error { return f.text(t, apps[i%2], users[i%2], "") }), map[error]int{nil: 3, sending.ErrNumMany: 29})
	same(t, "messages", len(f.Outbox(t, "")), 3)
	f.Clock.Advance(sending.Burst)
	wantErr(t, "ten minutes later", f.text(t, one, users[0], ""), nil)
	for range 4 {
		f.Clock.Advance(time.Hour)
		must(t, f.text(t, other, users[1], ""))
	}
	f.Clock.Advance(time.Hour)
	err := f.text(t, one, users[0], "")
	wantErr(t, "the ninth of a day", err, sending.ErrNumMany)
	f.Clock.Advance(retryAfter(err) - time.Millisecond)
	wantErr(t, "a millisecond before a day has passed", f.text(t, one, users[0], ""), sending.ErrNumMany)
	f.Clock.Advance(time.Millisecond)
	wantErr(t, "when a day has passed", f.text(t, one, users[0], ""), nil)
}

func testSendBudget(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", limited(func(l *sending.Limits) {
		l.PrefixHour, l.Day, l.Prices = 1000, sending.Budget{Messages: 100, Cost: 125 * sending.Unit}, "+1=10"
		l.Hour, l.CountryHour, l.CountryDay = l.Day, l.Day, l.Day
	}))
	users := f.crowd(t, app, "1", "202555", 40)
	wantTally(t, together(len(users), func(i int) error { return f.text(t, app, users[i], "") }), map[error]int{nil: 10, sending.ErrDay: 30}) // 80 % of 125, at 10 each
	st := must1(f.Store.SendingState(t.Context(), app.ID, f.now()))
	same(t, "spent", st.Day.Budget, sending.Budget{Messages: 10, Cost: 100 * sending.Unit})
	f.Clock.Advance(sending.Day)
	wantErr(t, "the next day", f.text(t, app, users[39], ""), nil)
}

func testSendPrefix(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", limited())
	users := f.crowd(t, app, "1", "202555", 8)
	wantTally(t, together(8, func(i int) error { return f.text(t, app, users[i], "") }), map[error]int{nil: 5, sending.ErrPrefix: 3})
	wantErr(t, "another prefix", f.text(t, app, f.User(t, app, "bob@example.com", "202-556-0123"), ""), nil)
	f.Clock.Advance(sending.Hour)
	wantErr(t, "an hour later", f.text(t, app, users[7], ""), nil)
}

func testSendAddress(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", limited(func(l *sending.Limits) { l.PrefixHour, l.AddressHour = 1000, 6 }))
	users := f.crowd(t, app, "1", "202555", 10)
	wantTally(t, together(10, func(i int) error { return f.text(t, app, users[i], fmt.Sprintf("2001:db8::%x", i)) }), map[error]int{nil: 6, sending.ErrAddress: 4})
	wantErr(t, "another address", f.text(t, app, users[9], "192.0.2.7"), nil)
	wantErr(t, "no address", f.text(t, app, users[8], ""), nil)
}

// unheard sends codes that nobody types until sending is paused, and returns how many left.
func (f *fixture) unheard(t *testing.T, app tenant.Application, users []tenant.User) (n int) {
	t.Helper()
	for _, u := range users {
		err := f.text(t, app, u, "")
		if errors.Is(err, sending.ErrPaused) {
			return n
		}
		must(t, err)
		n++
		f.Clock.Advance(time.Minute)
	}
	t.Fatal("sending was not paused")
	return 0
}

func testSendPause(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", limited(func(l *sending.Limits) { l.PrefixHour = 1000 }))
	portuguese := f.crowd(t, app, "351", "91234", 90)
	first := f.unheard(t, app, portuguese[:40])
	same(t, "codes until the pause", first, sending.BreakAt+int(sending.Mature/time.Minute)-1)
	wantErr(t, "another country", f.text(t, app, f.User(t, app, "bob@example.com", number[2:]), ""), nil)
	st := must1(f.Store.SendingState(t.Context(), app.ID, f.now()))
	same(t, "pauses", len(st.Pauses), 1)
	same(t, "the pause", st.Pauses[0].Scope+" "+st.Pauses[0].Place, "country PT")
	mails := 0
	for _, j := range must1(f.Store.ClaimJobs(t.Context(), f.now(), f.now().Add(job.Lease), 100)) {
		if j.Kind == job.Message {
			must(t, f.Messages.Deliver(t.Context(), j))
		}
	}
	for _, m := range must1(f.Messages.Outbox(t.Context(), f.Account.OwnerEmail)) {
		if strings.Contains(m.Subject, "PT") && strings.Contains(m.Body, "0 were typed") {
			mails++
		}
	}
	same(t, "mails to the owner", mails, 1)
	records := must1(f.Store.Audit(t.Context(), app.ID, 200))
	same(t, "audit records of the pause", len(slices.DeleteFunc(records, func(r audit.Record) bool { return r.Action != "sending.paused" })), 1)

	f.Clock.Advance(st.Pauses[0].Until.Sub(f.now()) - time.Millisecond)
	wantErr(t, "a millisecond before its end", f.text(t, app, portuguese[40], ""), sending.ErrPaused)
	f.Clock.Advance(time.Millisecond)
	same(t, "codes until the next pause", f.unheard(t, app, portuguese[40:]), first)
	st = must1(f.Store.SendingState(t.Context(), app.ID, f.now()))
	same(t, "the next pause", st.Pauses[0].Until.Sub(f.now()), 2*sending.PauseMin)
}

func testSendResume(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", limited(func(l *sending.Limits) { l.PrefixHour = 1000 }))
	users := f.crowd(t, app, "351", "91234", 60)
	f.unheard(t, app, users[:40])
	resume := func(place string) error {
		return f.Tenants.EndPause(t.Context(), app, sending.ByCountry, place, "operator:x")
	}
	wantErr(t, "a place that is not paused", resume("US"), sending.ErrNoPause)
	wantErr(t, "the paused one", resume("PT"), nil)
	wantErr(t, "once more", resume("PT"), sending.ErrNoPause)
	wantErr(t, "a code after that", f.text(t, app, users[40], ""), nil)
	f.Clock.Advance(sending.Mature)
	wantErr(t, "what came before opens nothing again", f.text(t, app, users[41], ""), nil)
}

func testSendKnown(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", limited(func(l *sending.Limits) { l.PrefixHour = 1000 }))
	users := f.crowd(t, app, "351", "91234", 42)
	known := users[41]
	must(t, f.text(t, app, known, ""))
	_, err := f.Codes.Verify(t.Context(), app, known, f.Delivered(t, known.Phone).Code, "")
	must(t, err)
	f.unheard(t, app, users[:41])
	wantErr(t, "who is known", f.text(t, app, known, ""), nil)
	wantErr(t, "who is not", f.text(t, app, users[40], ""), sending.ErrPaused)
}

func testSendEnrolment(t *testing.T, f *fixture) {
	abroad, app := f.App(t, "Abroad", limited(func(l *sending.Limits) { l.Countries = "PT" })), f.App(t, "Bank", limited())
	f.User(t, abroad, "ana@example.com", number[2:])
	start := func(phone string) error {
		_, err := f.Devices.StartPhone(t.Context(), phone)
		return err
	}
	wantErr(t, "a number to which its only application sends nothing", start(number), nil)
	wantErr(t, "a number that nobody has", start("+12025550177"), nil)
	same(t, "messages", len(f.Outbox(t, "")), 0)
	f.User(t, app, "ana@example.com", number[2:])
	wantErr(t, "when another application sends there", start(number), nil)
	same(t, "messages", len(f.Outbox(t, number)), 1)
	st := must1(f.Store.SendingState(t.Context(), app.ID, f.now()))
	same(t, "counted at the application that sends", st.Day.Messages, 1)
	st = must1(f.Store.SendingState(t.Context(), abroad.ID, f.now()))
	same(t, "refusals of the other", len(st.Refused), 1)
}

func testSendRefused(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", limited())
	u := must1(f.Tenants.AddUser(t.Context(), app, tenant.NewUser{Email: "x@example.com", CountryCode: "44", Phone: "7400123456"}))
	before := must1(f.Rows(t.Context(), "sent_codes"))
	for range 3 {
		wantErr(t, "a country that nobody named", f.text(t, app, u, ""), sending.ErrCountry)
	}
	same(t, "codes kept", len(must1(f.Rows(t.Context(), "sent_codes"))), len(before))
	same(t, "messages", len(f.Outbox(t, "")), 0)
	st := must1(f.Store.SendingState(t.Context(), app.ID, f.now()))
	same(t, "refusals", fmt.Sprint(st.Refused), fmt.Sprint([]sending.Refused{{Rule: sending.ErrCountry.Code, Country: "GB", N: 3, Last: f.now()}}))
	same(t, "spent", st.Day.Budget, sending.Budget{})
	f.without(t, "sends", func() { // INV-7: what cannot be asked is not sent
		if err := f.text(t, app, f.User(t, app, "ana@example.com", number[2:]), ""); err == nil {
			t.Error("a code was sent without its limits")
		}
	})
}

func testSendIsolation(t *testing.T, f *fixture) {
	app, foreign := f.App(t, "Bank", limited()), f.otherAccount(t, "Foreign")
	foreign.Settings.Sending = app.Settings.Sending
	ana, same := f.User(t, app, "ana@example.com", number[2:]), f.User(t, foreign, "ana@example.com", number[2:])
	for range 3 {
		must(t, f.text(t, app, ana, ""))
	}
	wantErr(t, "a fourth", f.text(t, app, ana, ""), sending.ErrNumMany)
	wantErr(t, "the same number at another account", f.text(t, foreign, same, ""), nil)
	must(t, f.Tenants.SetSending(t.Context(), app, sending.Limits{Countries: "PT"}, "operator:x"))
	if got := must1(f.Store.Application(t.Context(), foreign.AccountID, foreign.ID)); got.Settings.Sending.Countries == "PT" {
		t.Error("one application's limits became another's")
	}
}
