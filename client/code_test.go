// This file tests the calls about codes: above all that nothing but a clear yes is taken for one.

package client

import (
	"errors"
	"testing"
)

const rightCode = `{"message":"Token is valid.","token":"is valid","success":"true","device":{
  "city":null,"country":"Colombia","id":2102943,"ip":"192.0.2.7","last_account_recovery_at":null,
  "last_sync_date":1507566371,"os_type":"android","region":null,"registration_city":null,
  "registration_country":"Colombia","registration_date":1490996931,"registration_device_id":null,
  "registration_ip":"192.0.2.7","registration_method":"sms","registration_region":null}}`

func TestVerifyCode(t *testing.T) {
	for body, want := range map[string]VerifiedCode{
		rightCode:                             {DeviceID: 2102943},
		`{"token":"is valid","success":true}`: {},
		`{"token":"is valid","success":"true","device":{"id":null,"os_type":"sms"}}`: {Sent: true},
	} {
		c, requests := answering(t, 200, body)
		if got, err := c.VerifyCode(t.Context(), 1635, " 123-45 67", CodeOptions{}); got != want || err != nil {
			t.Errorf("%s: %+v, %v, want %+v", body, got, err, want)
		}
		wantAsked(t, *requests, asked{Method: "GET", URI: "/protected/json/verify/1234567/1635?force=true"})
	}
	c, requests := answering(t, 200, rightCode)
	if _, err := c.VerifyCode(t.Context(), 1635, "1234567", CodeOptions{Action: "pay 10 €", UserIP: "2001:db8::1"}); err != nil {
		t.Error(err)
	}
	wantAsked(t, *requests, asked{Method: "GET", URI: "/protected/json/verify/1234567/1635?action=pay+10+%E2%82%AC&force=true&user_ip=2001%3Adb8%3A%3A1"})
}

func TestVerifyCodeRefused(t *testing.T) {
	for _, test := range []struct {
		status int
		body   string
		want   error
	}{
		{401, `{"message":"Token is invalid","token":"is invalid","success":false,"errors":{"message":"Token is invalid"},"error_code":"60020"}`, ErrCodeWrong},
		{401, `{"message":"Token is invalid. Token was used recently.","success":false,"errors":{"message":"Token is invalid. Token was used recently."},"error_code":"60019"}`, ErrCodeUsed},
		{401, `{"message":"User doesn't exist","success":false,"errors":{"message":"User doesn't exist"},"error_code":"60016"}`, ErrUserNotFound},
		{401, `{"message":"Invalid API key","success":false,"errors":{"message":"Invalid API key"},"error_code":"60001"}`, ErrUnauthorized},
		{429, `{"message":"Slow down","success":false,"errors":{},"error_code":"60003"}`, ErrRateLimited},
		{503, `{"message":"User has been suspended.","success":false,"errors":{"message":"User has been suspended."},"error_code":"60017"}`, ErrSuspended},
	} {
		c, _ := answering(t, test.status, test.body)
		if _, err := c.VerifyCode(t.Context(), 1635, "1234567", CodeOptions{}); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.body, err, test.want)
		}
	}
}

// TestVerifyCodeFailsClosed is INV-7 and T-14: status 200 alone proves nothing.
func TestVerifyCodeFailsClosed(t *testing.T) {
	for _, body := range []string{
		``, `{}`, `null`, `true`, `[]`, `<html>`, `{"success":true}`, `{"success":"true"}`, `{"token":"is valid"}`, `{"token":"is valid","success":false}`,
		`{"token":"is valid","success":"false"}`, `{"token":"is valid","success":"True"}`, `{"token":"is valid","success":1}`,
		`{"token":"is invalid","success":true}`, `{"token":true,"success":true}`, `{"token":"is valid","success":true`, rightCode + rightCode,
	} {
		c, _ := answering(t, 200, body)
		if _, err := c.VerifyCode(t.Context(), 1635, "1234567", CodeOptions{}); err == nil {
			t.Errorf("%s is taken for a right code", body)
		}
	}
	for _, status := range []int{201, 204, 302, 500} {
		c, _ := answering(t, status, rightCode)
		if _, err := c.VerifyCode(t.Context(), 1635, "1234567", CodeOptions{}); err == nil {
			t.Errorf("status %d is taken for a right code", status)
		}
	}
}

// TestNoCode guards paths: what a person typed must not lead to another address.
func TestNoCode(t *testing.T) {
	c, requests := answering(t, 200, rightCode)
	for _, code := range []string{"", " ", "-", "..", "../users", "12345a", "١٢٣٤٥٦", "123456/1635?x=", "12345678901234567", "123\n456"} {
		if _, err := c.VerifyCode(t.Context(), 1635, code, CodeOptions{}); !errors.Is(err, ErrCodeWrong) {
			t.Errorf("%q: got %v, want ErrCodeWrong", code, err)
		}
	}
	if len(*requests) != 0 {
		t.Errorf("sent %v", *requests)
	}
}

func TestSendSMS(t *testing.T) {
	c, requests := answering(t, 200, `{"success":true,"message":"SMS token was sent","cellphone":"+1-XXX-XXX-XX02"}`)
	got, err := c.SendSMS(t.Context(), 1635, CodeMessage{Force: true, Action: "pay", ActionMessage: "Pay 10", Locale: "pt-BR", UserIP: "192.0.2.7"})
	if want := (SentCode{Sent: true, Phone: "+1-XXX-XXX-XX02", Message: "SMS token was sent"}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	wantAsked(t, *requests, asked{Method: "GET", URI: "/protected/json/sms/1635?action=pay&action_message=Pay+10&force=true&locale=pt-BR&user_ip=192.0.2.7"})

	const ignored = "Ignored: SMS is not needed for smartphones. Pass force=true if you want to actually send it anyway."
	c, requests = answering(t, 200, `{"message":"`+ignored+`","cellphone":"+57-XXX-XXX-XX12","device":"android","ignored":true,"success":true}`)
	got, err = c.SendSMS(t.Context(), 1635, CodeMessage{})
	if want := (SentCode{Ignored: true, Phone: "+57-XXX-XXX-XX12", Message: ignored}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	wantAsked(t, *requests, asked{Method: "GET", URI: "/protected/json/sms/1635"})

	for code, want := range map[string]error{"60007": ErrSMSDisabled, "60015": ErrSMSNotSent, "60026": ErrUserNotFound} {
		c, _ := answering(t, 503, `{"message":"no","success":false,"errors":{"message":"no"},"error_code":"`+code+`"}`)
		if got, err := c.SendSMS(t.Context(), 1635, CodeMessage{}); !errors.Is(err, want) || got != (SentCode{}) {
			t.Errorf("%s: got %+v, %v", code, got, err)
		}
	}
}

func TestSendCall(t *testing.T) {
	c, requests := answering(t, 200, `{"success":true,"message":"Call started...","cellphone":"+1-XXX-XXX-XX02"}`)
	got, err := c.SendCall(t.Context(), 1635, CodeMessage{Force: true, Locale: "de"})
	if want := (SentCode{Sent: true, Phone: "+1-XXX-XXX-XX02", Message: "Call started..."}); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	wantAsked(t, *requests, asked{Method: "GET", URI: "/protected/json/call/1635?force=true&locale=de"})
}
