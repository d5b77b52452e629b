package otp_test

import (
	"errors"
	"strings"
	"testing"

	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

func TestSendSMS(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank", func(set *tenant.Settings) { set.SentDigits = 8 })
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	if sent, err := s.Codes.SendSMS(t.Context(), app, ana, otp.SMS{}); err != nil || sent != (otp.Sent{}) {
		t.Fatalf("without a device: %+v, %v", sent, err)
	}
	m := s.Delivered(t, ana.Phone)
	if len(m.Code) != 8 || !strings.Contains(m.Body, m.Code) || !strings.Contains(m.Body, "Bank") {
		t.Errorf("message %+v", m)
	}

	s.Phone(t, app, ana)
	sent, err := s.Codes.SendSMS(t.Context(), app, ana, otp.SMS{})
	if err != nil || sent != (otp.Sent{Ignored: true, Platform: "android"}) || len(s.Jobs.Offered(job.Message)) > 0 {
		t.Errorf("with a device: %+v, %v", sent, err)
	}
	if sent, err = s.Codes.SendSMS(t.Context(), app, ana, otp.SMS{Force: true, ActionMessage: "Pay 5 € to Bob"}); err != nil || sent != (otp.Sent{}) {
		t.Errorf("forced: %+v, %v", sent, err)
	}
	found := false
	for _, m := range s.Outbox(t, ana.Phone) {
		found = found || strings.Contains(m.Body, "Pay 5 € to Bob")
	}
	if !found {
		t.Error("no message says what the code is for")
	}

	if _, err = s.Codes.SendSMS(t.Context(), app, ana, otp.SMS{Force: true, Action: strings.Repeat("ж", 255), ActionMessage: strings.Repeat("ж", 255)}); err != nil {
		t.Errorf("an action of 255 characters: %v", err)
	}
	for what, row := range map[string]struct {
		sms  otp.SMS
		app  tenant.Application
		want error
	}{
		"a long action":         {otp.SMS{Force: true, Action: strings.Repeat("a", 256)}, app, otp.ErrAction},
		"a long action message": {otp.SMS{Force: true, ActionMessage: strings.Repeat("a", 256)}, app, otp.ErrAction},
		"SMS switched off":      {otp.SMS{Force: true}, without(app), otp.ErrSMSOff},
	} {
		if _, err := s.Codes.SendSMS(t.Context(), row.app, ana, row.sms); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", what, err, row.want)
		}
	}
	if _, err := s.Codes.Verify(t.Context(), app, ana, "1", strings.Repeat("a", 256)); !errors.Is(err, otp.ErrAction) {
		t.Errorf("verifying with a long action: %v", err)
	}
}

func without(app tenant.Application) tenant.Application {
	app.Settings.SMSEnabled = false
	return app
}
