package storetest

import (
	"fmt"
	"testing"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/store"
)

// This file tests what is kept of messages.

var messageTests = []test{
	{"a message is queued with its job and tells how each run ended", testOutcomes},
	{"a message that was given up has no job", testGivenUp},
	{"reports, in time and before their time", testReports},
	{"a gateway is asked about what it took", testAskedMessages},
	{"lists of one application, by channel and state", testMessageLists},
	{"messages are forgotten after a month, early reports after a day", testForgetMessages},
}

// send makes a real message job by asking for a code.
func (f *fixture) send(t *testing.T, p person, channel otp.Channel) job.Job {
	t.Helper()
	f.Clock.Advance(time.Millisecond)
	_, err := f.Codes.Send(t.Context(), p.app, p.user, otp.Request{Channel: channel, Force: true})
	must(t, err)
	all := f.Jobs.Offered(job.Message)
	return all[len(all)-1]
}

// told is the application's newest message in a line.
func (f *fixture) told(t *testing.T, p person) string {
	t.Helper()
	list, err := f.Store.SentMessages(t.Context(), p.app.ID, "", "", 10)
	must(t, err)
	if len(list) == 0 {
		return "nothing"
	}
	m := list[0]
	return fmt.Sprintf("%s to %s: %s, %q after %d by %q", m.Channel, m.Address, m.Status, m.Reason, m.Tries, m.Gateway)
}

func (f *fixture) outcome(t *testing.T, j job.Job, out message.Outcome, next time.Time) {
	t.Helper()
	out.At = f.now()
	must(t, f.Store.KeepOutcome(t.Context(), j, out, next))
}

func testOutcomes(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	j := f.send(t, p, otp.SMS)
	same(t, "as it is asked for", f.told(t, p), `sms to +1 …23: queued, "" after 0 by ""`)
	f.outcome(t, j, message.Outcome{Status: message.Queued, Gateway: "one", Reason: "away", Tries: 2}, f.now().Add(time.Minute))
	same(t, "after a run that failed", f.told(t, p), `sms to +1 …23: queued, "away" after 2 by "one"`)
	f.Clock.Advance(time.Minute)
	jobs := f.claim(t, 10)
	same(t, "jobs due", len(jobs), 1)
	f.outcome(t, jobs[0], message.Outcome{Status: message.Sent, Gateway: "two", Ref: "r1", Tries: 1}, time.Time{})
	same(t, "once it was sent", f.told(t, p), `sms to +1 …23: sent, "" after 3 by "two"`)
	same(t, "jobs left", f.state(t, "jobs"), "")
	f.outcome(t, j, message.Outcome{Status: message.Queued, Gateway: "one", Reason: "late", Tries: 1}, f.now().Add(time.Minute))
	same(t, "jobs after a late word of the first run", f.state(t, "jobs"), "")
}

func testGivenUp(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	j := f.send(t, p, otp.Email)
	f.outcome(t, j, message.Outcome{Status: message.Queued, Gateway: "one", Reason: "away", Tries: 1}, f.now().Add(time.Minute))
	f.Clock.Advance(time.Minute)
	j = f.claim(t, 10)[0]
	f.outcome(t, j, message.Outcome{Status: message.Expired}, time.Time{})
	same(t, "told", f.told(t, p), `email to b…@example.com: expired, "away" after 1 by "one"`)
	same(t, "jobs left", f.state(t, "jobs"), "")
	j = f.send(t, p, otp.Voice)
	f.outcome(t, j, message.Outcome{Status: message.Failed, Gateway: "one", Reason: "no such number", Tries: 1}, time.Time{})
	same(t, "told", f.told(t, p), `call to +1 …23: failed, "no such number" after 1 by "one"`)
}

func testReports(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	report := func(status message.Status, reason string, refs ...string) {
		t.Helper()
		must(t, f.Store.KeepReport(t.Context(), message.Report{Gateway: "one", Refs: refs, Status: status, Reason: reason}, f.now()))
	}
	sent := func(ref string) {
		t.Helper()
		f.outcome(t, f.send(t, p, otp.SMS), message.Outcome{Status: message.Sent, Gateway: "one", Ref: ref, Tries: 1}, time.Time{})
	}
	sent("1f")
	report(message.Delivered, "", "31", "1f")
	same(t, "reported by its second name", f.told(t, p), `sms to +1 …23: delivered, "" after 1 by "one"`)
	report(message.Failed, "late", "1f")
	same(t, "reported again", f.told(t, p), `sms to +1 …23: delivered, "" after 1 by "one"`)

	report(message.Failed, "UNDELIV", "32", "20")
	sent("20")
	same(t, "reported before it was known to be sent", f.told(t, p), `sms to +1 …23: failed, "UNDELIV" after 1 by "one"`)
	sent("33")
	must(t, f.Store.KeepReport(t.Context(), message.Report{Gateway: "two", Refs: []string{"33"}, Status: message.Delivered}, f.now()))
	same(t, "reported by another gateway", f.told(t, p), `sms to +1 …23: sent, "" after 1 by "one"`)
	sent("")
	report(message.Delivered, "", "")
	same(t, "sent without a name of its own", f.told(t, p), `sms to +1 …23: sent, "" after 1 by "one"`)
}

// What follows a message is kept with the outcome, once; and it is known how it was sent until a report says more.
func testAskedMessages(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	j := f.send(t, p, otp.SMS)
	sentBy := func() string {
		t.Helper()
		r, ref, err := f.Store.SentBy(t.Context(), j.ID)
		must(t, err)
		return fmt.Sprint(r.Channel, " ", r.Gateway, " ", ref)
	}
	same(t, "before it is sent", sentBy(), "  ")
	ask := job.New(job.Report, p.app.ID, j.ID, f.now())
	ask.RunAt = f.now().Add(5 * time.Second)
	must(t, f.Store.KeepOutcome(t.Context(), j, message.Outcome{Status: message.Sent, Gateway: "one", Ref: "r1", Tries: 1, At: f.now()}, time.Time{}, ask))
	same(t, "when it was sent", sentBy(), "sms one r1")
	same(t, "jobs due at once", len(f.claim(t, 10)), 0)
	f.Clock.Advance(5 * time.Second)
	jobs := f.claim(t, 10)
	same(t, "jobs due", len(jobs), 1)
	same(t, "it asks about", string(jobs[0].Kind)+" "+jobs[0].Ref, "report "+j.ID)
	must(t, f.Store.KeepReport(t.Context(), message.Report{Gateway: "one", Refs: []string{"r1"}, Status: message.Delivered}, f.now()))
	same(t, "when more is known", sentBy(), "  ")
}

func testMessageLists(t *testing.T, f *fixture) {
	p, other := f.person(t, "Bank"), f.App(t, "Shop")
	var jobs []job.Job
	for _, channel := range []otp.Channel{otp.SMS, otp.Voice, otp.Email, otp.SMS} {
		jobs = append(jobs, f.send(t, p, channel))
	}
	f.outcome(t, jobs[0], message.Outcome{Status: message.Failed, Gateway: "one", Tries: 1}, time.Time{})
	for _, row := range []struct {
		app, channel, status string
		limit, want          int
	}{
		{p.app.ID, "", "", 10, 4},
		{p.app.ID, "", "", 3, 3},
		{p.app.ID, "sms", "", 10, 2},
		{p.app.ID, "email", "", 10, 1},
		{p.app.ID, "", "queued", 10, 3},
		{p.app.ID, "", "failed", 10, 1},
		{p.app.ID, "sms", "queued", 10, 1},
		{p.app.ID, "call", "failed", 10, 0},
		{p.app.ID, "pigeon", "", 10, 0},
		{other.ID, "", "", 10, 0},
		{"", "", "", 10, 0},
	} {
		list, err := f.Store.SentMessages(t.Context(), row.app, row.channel, row.status, row.limit)
		must(t, err)
		same(t, fmt.Sprintf("%+v", row), len(list), row.want)
		for i := 1; i < len(list); i++ {
			if list[i].CreatedAt.After(list[i-1].CreatedAt) {
				t.Errorf("%+v: not newest first", row)
			}
		}
	}
}

func testForgetMessages(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	for i := range 3 {
		f.outcome(t, f.send(t, p, otp.SMS), message.Outcome{Status: message.Sent, Gateway: "one", Ref: fmt.Sprint(i), Tries: 1}, time.Time{})
	}
	must(t, f.Store.KeepReport(t.Context(), message.Report{Gateway: "one", Refs: []string{"of another system"}, Status: message.Delivered}, f.now()))
	count := func(what, table string, want int) {
		t.Helper()
		for range 20 { // in batches
			_, err := f.Store.Forget(t.Context(), f.now(), store.DefaultRetention(), 2)
			must(t, err)
		}
		rows, err := f.Rows(t.Context(), table)
		must(t, err)
		same(t, what, len(rows), want)
	}
	f.Clock.Advance(24 * time.Hour)
	count("early reports after a day", "message_reports", 1)
	f.Clock.Advance(2 * time.Hour)
	count("early reports after more than a day", "message_reports", 0)
	f.Clock.Advance(28 * 24 * time.Hour)
	count("messages after four weeks", "messages", 3)
	f.Clock.Advance(24 * time.Hour)
	count("messages after a month", "messages", 0)
}
