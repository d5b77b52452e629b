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

var ana = tenant.User{Phone: "+12025550123", CountryCode: 1}

func TestTexts(t *testing.T) {
	s := servertest.New(t)
	app := tenant.Application{ID: "a", Name: "Bank"}
	now := s.Clock.Now()
	for _, row := range []struct {
		job  job.Job
		want message.Message
	}{
		{s.Messages.CodeJob(app, ana, "123456", "", now), message.Message{
			Channel: message.SMS, To: ana.Phone, Code: "123456", Body: "123456 is your Bank code. It is good for ten minutes. Nobody from Bank will ever ask you for it.",
		}},
		{s.Messages.CodeJob(app, ana, "123456", "a transfer of 5 €", now), message.Message{
			Channel: message.SMS, To: ana.Phone, Code: "123456", Body: "123456 is your Bank code for: a transfer of 5 €. It is good for ten minutes. Nobody will ever ask you for it.",
		}},
		{s.Messages.EnrollmentJob(ana.Phone, "7654321", now), message.Message{
			Channel: message.SMS, To: ana.Phone, Code: "7654321",
			Body: "7654321 is your code to set up this phone as your authenticator. If you did not ask for it, do nothing, and tell it to nobody.",
		}},
		{s.Messages.CallbackDisabledJob(app, "owner@example.com", "https://bank.example/cb", "HTTP status 500", now), message.Message{
			Channel: message.Email, To: "owner@example.com", Subject: "Callback of Bank was disabled",
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
			s.Messages.CodeJob(app, ana, "123456", bad, s.Clock.Now()), s.Messages.CallbackDisabledJob(app, ana.Phone, "https://x.example", "reason", s.Clock.Now()),
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
		if m.Channel == message.SMS {
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
	one := s.Messages.CodeJob(tenant.Application{ID: "a", Name: "Bank"}, ana, "18273645", "", s.Clock.Now())
	two := s.Messages.EnrollmentJob("+12025550188", "99999999", s.Clock.Now())
	for _, secret := range []string{"18273645", ana.Phone, "Bank"} {
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
	if _, err := s.Codes.SendSMS(t.Context(), app, u, otp.SMS{Force: true}); err != nil {
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
		j := s.Messages.EnrollmentJob(fmt.Sprintf("+1202555010%d", i%2), fmt.Sprint(i), s.Clock.Now())
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
