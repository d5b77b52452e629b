package otp_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/trace"
)

func TestSend(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank", func(set *tenant.Settings) { set.SentDigits = 8 })
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	if sent, err := s.Codes.Send(t.Context(), app, ana, otp.Request{Channel: otp.SMS}); err != nil || sent.Ignored {
		t.Fatalf("without a device: %+v, %v", sent, err)
	}
	m := s.Delivered(t, ana.Phone)
	if len(m.Code) != 8 || !strings.Contains(m.Body, m.Code) || !strings.Contains(m.Body, "Bank") {
		t.Errorf("message %+v", m)
	}

	s.Phone(t, app, ana)
	sent, err := s.Codes.Send(t.Context(), app, ana, otp.Request{Channel: otp.SMS})
	if err != nil || sent != (otp.Sent{Ignored: true, Platform: "android"}) || len(s.Jobs.Offered(job.Message)) > 0 {
		t.Errorf("with a device: %+v, %v", sent, err)
	}
	if sent, err = s.Codes.Send(t.Context(), app, ana, otp.Request{Channel: otp.SMS, Force: true, ActionMessage: "Pay 5 € to Bob"}); err != nil || sent.Ignored {
		t.Errorf("forced: %+v, %v", sent, err)
	}
	found := false
	for _, m := range s.Outbox(t, ana.Phone) {
		found = found || strings.Contains(m.Body, "Pay 5 € to Bob")
	}
	if !found {
		t.Error("no message says what the code is for")
	}

	if _, err = s.Codes.Send(t.Context(), app, ana, otp.Request{Channel: otp.SMS, Force: true, Action: strings.Repeat("ж", 255), ActionMessage: strings.Repeat("ж", 255)}); err != nil {
		t.Errorf("an action of 255 characters: %v", err)
	}
	for what, row := range map[string]struct {
		sms  otp.Request
		app  tenant.Application
		want error
	}{
		"a long action":         {otp.Request{Channel: otp.SMS, Force: true, Action: strings.Repeat("a", 256)}, app, otp.ErrAction},
		"a long action message": {otp.Request{Channel: otp.SMS, Force: true, ActionMessage: strings.Repeat("a", 256)}, app, otp.ErrAction},
		"SMS switched off":      {otp.Request{Channel: otp.SMS, Force: true}, without(app), otp.ErrSMSOff},
		"calls switched off":    {otp.Request{Channel: otp.Voice, Force: true}, without(app), otp.ErrVoiceOff},
		"no channel":            {otp.Request{Force: true}, app, otp.ErrNoAddress},
	} {
		if _, err := s.Codes.Send(t.Context(), row.app, ana, row.sms); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
	}
	if _, err := s.Codes.Verify(t.Context(), app, ana, "1", strings.Repeat("a", 256)); !errors.Is(err, otp.ErrAction) {
		t.Errorf("verifying with a long action: %v", err)
	}
}

func without(app tenant.Application) tenant.Application {
	app.Settings.SMSEnabled, app.Settings.CallsOff = false, true
	return app
}

// A code reaches the person by each channel, and is verified whichever way it came; only the newest works.
func TestEveryChannel(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank", func(set *tenant.Settings) { set.OriginHost = "bank.example" })
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	for channel, to := range map[otp.Channel]string{otp.SMS: ana.Phone, otp.Voice: ana.Phone, otp.Email: ana.Email} {
		sent, err := s.Codes.Send(t.Context(), app, ana, otp.Request{Channel: channel, Locale: "de"})
		if err != nil || sent.ID == "" {
			t.Fatal(sent, err)
		}
		m := s.Delivered(t, to)
		if m.Channel != channel || !strings.Contains(m.Body, "Code") || !m.ExpiresAt.Equal(s.Clock.Now().Add(otp.SentLife)) {
			t.Errorf("by %s: %+v", channel, m)
		}
		if strings.Contains(m.Body, "@bank.example #"+m.Code) != (channel == otp.SMS) {
			t.Errorf("by %s: %s", channel, m.Body)
		}
		if _, err := s.Codes.Verify(t.Context(), app, ana, m.Code, ""); err != nil {
			t.Errorf("the code by %s: %v", channel, err)
		}
		s.Clock.Advance(time.Minute)
	}
	records, err := s.Store.Audit(t.Context(), app.ID, 10)
	if err != nil {
		t.Fatal(err)
	}
	notes := ""
	for _, rec := range records {
		notes += rec.Note + "\n"
	}
	for _, want := range []string{"sms to +1 …23", "call to +1 …23", "email to a…@example.com"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the audit has no %q: %s", want, notes)
		}
	}
	bare := ana
	bare.Phone = ""
	if _, err := s.Codes.Send(t.Context(), app, bare, otp.Request{Channel: otp.Voice}); !errors.Is(err, otp.ErrNoAddress) {
		t.Errorf("a call without a number: %v", err)
	}
}

// A message belongs to the trace of who asked for it, whichever way the code is asked for.
func TestMessagesAreTraced(t *testing.T) {
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	s := servertest.New(t)
	app := s.App(t, "Bank")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	ctx, span := trace.New(sdk.NewTracerProvider()).Request(t.Context(), parent)
	defer span.End(nil)
	for what, ask := range map[string]func() error{
		"a code of a user": func() error {
			_, err := s.Codes.Send(ctx, app, ana, otp.Request{Channel: otp.SMS})
			return err
		},
		"a code of a number": func() error {
			_, _, err := s.Codes.StartVerification(ctx, app, otp.VerificationRequest{Phone: "+12025550124", Channel: otp.SMS})
			return err
		},
		"a code of an enrolment": func() error {
			_, err := s.Devices.StartPhone(ctx, "+1 202-555-0123")
			for _, look := range s.Jobs.Offered(job.Enrollment) {
				err = errors.Join(err, s.Devices.SendCode(t.Context(), look)) // which is not in the trace
			}
			return err
		},
	} {
		before := len(s.Jobs.Offered(job.Message))
		if err := ask(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		jobs := s.Jobs.Offered(job.Message)
		if len(jobs) != before+1 || !strings.HasPrefix(jobs[before].Trace, "00-0af7651916cd43dd8448eb211c80319c-") {
			t.Errorf("%s: %+v", what, jobs)
		}
	}
}
