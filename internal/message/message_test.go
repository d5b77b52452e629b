// This file tests messages from their job to the outbox, over the real store.

package message_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

const ana = "+12025550123"

var bank = tenant.Application{ID: "a", Name: "Bank"}

// code is one for ana, by SMS in the bank's name.
func code(digits string, change ...func(*otp.Outgoing)) otp.Outgoing {
	out := otp.Outgoing{App: bank, Channel: otp.SMS, Address: ana, Code: digits, ExpiresAt: time.Date(2026, 5, 4, 10, 10, 0, 0, time.UTC)}
	for _, c := range change {
		c(&out)
	}
	return out
}

func TestTexts(t *testing.T) {
	s := servertest.New(t)
	now := s.Clock.Now()
	expires := now.Add(otp.SentLife)
	for _, row := range []struct {
		job  job.Job
		want message.Message
	}{
		{s.Messages.CodeJob(code("123456"), now), message.Message{
			Channel: otp.SMS, To: ana, Code: "123456", ExpiresAt: expires,
			Body: "123456 is your Bank code. It is good for 10 min. Give it to nobody, not even to us.",
		}},
		{s.Messages.CodeJob(code("123456", func(o *otp.Outgoing) { o.About, o.Host = "a transfer of 5 €", "bank.example" }), now), message.Message{
			Channel: otp.SMS, To: ana, Code: "123456", ExpiresAt: expires,
			Body: "123456 is your Bank code for: a transfer of 5 €. It is good for 10 min. Give it to nobody.\n\n@bank.example #123456",
		}},
		{s.Messages.CodeJob(code("7654321", func(o *otp.Outgoing) { o.App = tenant.Application{} }), now), message.Message{
			Channel: otp.SMS, To: ana, Code: "7654321", ExpiresAt: expires,
			Body: "7654321 sets up this phone as your authenticator. If you did not ask for it, do nothing, and give it to nobody.",
		}},
		{s.Messages.CodeJob(code("12", func(o *otp.Outgoing) { o.Channel, o.Locale = otp.Voice, "es" }), now), message.Message{
			Channel: otp.Voice, To: ana, Code: "12", ExpiresAt: expires, Language: "es-ES",
			Speech: []string{"Hola. Esta es tu clave de Bank.", "1", "2", "Otra vez:", "1", "2", "No des esta clave a nadie. Adiós."},
			Body:   "Hola. Esta es tu clave de Bank. 1 2 Otra vez: 1 2 No des esta clave a nadie. Adiós.",
		}},
		{s.Messages.CodeJob(code("123456", func(o *otp.Outgoing) { o.Channel, o.Address = otp.Email, "ana@example.com" }), now), message.Message{
			Channel: otp.Email, To: "ana@example.com", Code: "123456", ExpiresAt: expires, Subject: "123456 is your Bank code",
			Body: "123456\n\nThis code is good for 10 minutes. Give it to nobody: nobody will ever ask you for it. If you did not try to sign in, somebody may know your password; change it.\n",
		}},
		{s.Messages.CallbackDisabledJob(bank, "owner@example.com", "https://bank.example/cb", "HTTP status 500", now), message.Message{
			Channel: otp.Email, To: "owner@example.com", Subject: "Callback of Bank was disabled",
			Body: "The callback of Bank at https://bank.example/cb answered with an error three times in a row (HTTP status 500). It was disabled and its address removed.\n\n" +
				"To enable it again, enter the address in the console, on the page of Bank. Decisions of the next 24 hours are held and will be delivered then.\n",
		}},
	} {
		if row.job.Kind != job.Message || row.job.Attempts != 1 || !row.job.RunAt.Equal(now.Add(job.Lease)) {
			t.Errorf("job %+v", row.job)
		}
		if err := s.Messages.Deliver(t.Context(), row.job); err != nil {
			t.Fatal(err)
		}
		row.want.ID, row.want.Time = row.job.ID, now
		list, err := s.Messages.Outbox(t.Context(), row.want.To)
		if err != nil || len(list) == 0 {
			t.Fatal(list, err)
		}
		got := list[0]
		for _, m := range list {
			if m.ID == row.job.ID {
				got = m
			}
		}
		if diff := cmp.Diff(row.want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// What an application or an operator chose cannot break the line of a text message, or a mail's header (T-41), or turn its reading order.
func TestTextsStayOneLine(t *testing.T) {
	s := servertest.New(t)
	for _, bad := range []string{"a\r\nBcc: x@example.com", "a\nb", "a\tb", "a\u202eb", "a\x00b", "a\u2028b", "\u200b", "a\x1b[31m"} {
		app := tenant.Application{ID: "a", Name: "B" + bad}
		for _, j := range []job.Job{
			s.Messages.CodeJob(code("123456", func(o *otp.Outgoing) { o.App, o.About = app, bad }), s.Clock.Now()), s.Messages.CallbackDisabledJob(app, ana, "https://x.example", "reason", s.Clock.Now()),
		} {
			if err := s.Messages.Deliver(t.Context(), j); err != nil {
				t.Fatal(err)
			}
		}
	}
	list, err := s.Messages.Outbox(t.Context(), "")
	if err != nil || len(list) != 16 {
		t.Fatal(len(list), err)
	}
	for _, m := range list {
		text := m.Subject
		if m.Channel == otp.SMS {
			text += m.Body
		}
		if strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune("\u202e\u2028\u200b", r) }) {
			t.Errorf("%q", text)
		}
	}
}

// A job's content is sealed, and bound to its row: nothing of it can be read or moved in the database (INV-8, T-50).
func TestContentIsSealed(t *testing.T) {
	s := servertest.New(t)
	one := s.Messages.CodeJob(code("18273645"), s.Clock.Now())
	two := s.Messages.CodeJob(code("99999999"), s.Clock.Now())
	for _, secret := range []string{"18273645", ana, "Bank"} {
		if bytes.Contains(one.Payload, []byte(secret)) {
			t.Errorf("%q is in the payload", secret)
		}
	}
	one.Payload, two.Payload = two.Payload, one.Payload
	for _, j := range []job.Job{one, two} {
		if err := s.Messages.Deliver(t.Context(), j); err == nil {
			t.Error("a payload of another job was delivered")
		}
	}
	if list, err := s.Messages.Outbox(t.Context(), ""); len(list) != 0 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
}

// A job that runs again after its message was kept keeps it once, and is over.
func TestDeliveredOnce(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	u := s.User(t, app, "ana@example.com", "202-555-0123")
	if _, err := s.Codes.Send(t.Context(), app, u, otp.Request{Channel: otp.SMS, Force: true}); err != nil {
		t.Fatal(err)
	}
	sub := s.Live.Subscribe(live.MessagesTopic)
	defer sub.Close()
	jobs := s.Jobs.Offered(job.Message)
	if len(jobs) != 1 {
		t.Fatalf("%d jobs", len(jobs))
	}
	for range 3 {
		if err := s.Messages.Deliver(t.Context(), jobs[0]); err != nil {
			t.Fatal(err)
		}
	}
	<-sub.C()
	if list, err := s.Messages.Outbox(t.Context(), u.Phone); len(list) != 1 || err != nil {
		t.Errorf("%v, %v", list, err)
	}
	s.Clock.Advance(time.Hour)
	if left, err := s.Store.ClaimJobs(t.Context(), s.Clock.Now(), s.Clock.Now().Add(job.Lease), 10); len(left) != 0 || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}

func TestOutbox(t *testing.T) {
	s := servertest.New(t)
	for i := range 6 {
		s.Clock.Advance(time.Second)
		j := s.Messages.CodeJob(code(fmt.Sprint(i), func(o *otp.Outgoing) { o.Address = fmt.Sprintf("+1202555010%d", i%2) }), s.Clock.Now())
		if err := s.Messages.Deliver(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	codes := func(to string) (codes string) {
		list, err := s.Messages.Outbox(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			codes += m.Code
		}
		return codes
	}
	for to, want := range map[string]string{"": "543210", "+12025550100": "420", "+12025550101": "531", "+12025550102": ""} {
		if got := codes(to); got != want {
			t.Errorf("to %q: %s, want %s", to, got, want)
		}
	}
	if list, err := s.Messages.Outbox(t.Context(), "nobody"); list == nil || err != nil {
		t.Errorf("%v, %v: a page shows an empty list, not null", list, err)
	}
}
