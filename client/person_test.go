// This file tests the calls about a user's data, phones and the application against the bodies that the contract prints.

package client

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const jsonType = "application/json"

// TestRequests: what each call sends, and what it makes of the answer.
func TestRequests(t *testing.T) {
	lisbon := Phone{"351", "912 345 678"}
	for name, test := range map[string]struct {
		answer string
		do     func(ctx context.Context, c *Client) (any, error)
		asked  asked
		want   any
	}{
		"change of address": {
			`{"message":"User was updated successfully","success":true}`,
			func(ctx context.Context, c *Client) (any, error) {
				return nil, c.SetEmail(ctx, 1635, "ana@example.org")
			},
			asked{Method: "POST", URI: "/protected/json/users/1635/update", ContentType: jsonType, Body: `{"email":"ana@example.org"}`},
			nil,
		},
		"activity": {
			`{"message":"Activity was created.","success":true}`,
			func(ctx context.Context, c *Client) (any, error) {
				return nil, c.RegisterActivity(ctx, 1635, Activity{ActivityPasswordReset, map[string]any{"by": "mail"}, "192.0.2.7"})
			},
			asked{
				Method: "POST", URI: "/protected/json/users/1635/register_activity", ContentType: jsonType,
				Body: `{"data":{"by":"mail"},"type":"password_reset","user_ip":"192.0.2.7"}`,
			},
			nil,
		},
		"secret": {
			`{"label":"ana@example.com","issuer":"Example","qr_code":"data:image/png;base64,AAAA","success":true}`,
			func(ctx context.Context, c *Client) (any, error) {
				return c.CreateSecret(ctx, 1635, SecretOptions{Label: "Ana", Size: 200})
			},
			asked{Method: "POST", URI: "/protected/json/users/1635/secret", ContentType: jsonType, Body: `{"label":"Ana","qr_size":200}`},
			Secret{"ana@example.com", "Example", "data:image/png;base64,AAAA"},
		},
		"export of a secret": {
			`{"secret":"JBSWY3DPEHPK3PXP","otp":"123456","success":true}`,
			func(ctx context.Context, c *Client) (any, error) { return c.ExportSecret(ctx, 1635) },
			asked{Method: "GET", URI: "/protected/json/users/1635/secret/export"},
			ExportedSecret{"JBSWY3DPEHPK3PXP", "123456"},
		},
		"removal of a device": {
			`{"message":"Device was deleted","success":true}`,
			func(ctx context.Context, c *Client) (any, error) { return nil, c.RemoveDevice(ctx, 290908) },
			asked{Method: "DELETE", URI: "/protected/json/sdk/devices/290908"},
			nil,
		},
		"export of a number": {
			`{"phone_number":"444-555-6666","country_code":"1","e164":"+14445556666","updated_at":"2021-12-09T15:41:20Z"}`,
			func(ctx context.Context, c *Client) (any, error) { return c.ExportPhone(ctx, 1635) },
			asked{Method: "GET", URI: "/protected/json/users/1635/phone_number"},
			ExportedPhone{"+14445556666", "1", "444-555-6666", time.Date(2021, 12, 9, 15, 41, 20, 0, time.UTC)},
		},
		"call": {
			`{"success":true,"message":"Call started...","cellphone":"+1-XXX-XXX-XX02"}`,
			func(ctx context.Context, c *Client) (any, error) {
				return c.SendCall(ctx, 1635, CodeMessage{Force: true})
			},
			asked{Method: "GET", URI: "/protected/json/call/1635?force=true"},
			SentCode{Sent: true, Phone: "+1-XXX-XXX-XX02", Message: "Call started..."},
		},
		"mail": {
			`{"success":true,"message":"Email token was sent","email":"ana@example.com","email_id":"EM0"}`,
			func(ctx context.Context, c *Client) (any, error) {
				return c.SendEmail(ctx, 1635, CodeMessage{Action: "pay", Locale: "de"})
			},
			asked{Method: "POST", URI: "/protected/json/email/1635?action=pay&locale=de"},
			SentCode{Sent: true, Email: "ana@example.com", Message: "Email token was sent"},
		},
		"start of a verification": {
			`{"carrier":"AT&T Wireless","is_cellphone":true,"message":"Text message sent to +1 987-654-3210.","seconds_to_expire":599,"uuid":"b8ebcd40","success":true}`,
			func(ctx context.Context, c *Client) (any, error) {
				return c.StartPhoneVerification(ctx, PhoneVerification{Phone: lisbon, Locale: "pt", UserIP: "192.0.2.7"})
			},
			asked{
				Method: "POST", URI: "/protected/json/phones/verification/start", ContentType: jsonType,
				Body: `{"code_length":6,"country_code":"351","locale":"pt","phone_number":"912 345 678","user_ip":"192.0.2.7","via":"sms"}`,
			},
			StartedVerification{"b8ebcd40", 599 * time.Second, true, "AT&T Wireless", "Text message sent to +1 987-654-3210."},
		},
		"start by call with a code of one's own": {
			`{"carrier":null,"is_cellphone":false,"message":"Call to +1 775-461-5609 initiated.","seconds_to_expire":600,"uuid":"b8ebcd40","success":true}`,
			func(ctx context.Context, c *Client) (any, error) {
				return c.StartPhoneVerification(ctx, PhoneVerification{Phone: lisbon, Call: true, Digits: 4, CustomCode: "4711"})
			},
			asked{
				Method: "POST", URI: "/protected/json/phones/verification/start", ContentType: jsonType,
				Body: `{"code_length":4,"country_code":"351","custom_code":"4711","phone_number":"912 345 678","via":"call"}`,
			},
			StartedVerification{"b8ebcd40", 600 * time.Second, false, "", "Call to +1 775-461-5609 initiated."},
		},
		"check": {
			`{"message":"Verification code is correct.","success":true}`,
			func(ctx context.Context, c *Client) (any, error) {
				return nil, c.CheckPhoneVerification(ctx, lisbon, "12-34 56")
			},
			asked{Method: "GET", URI: "/protected/json/phones/verification/check?country_code=351&phone_number=912+345+678&verification_code=123456"},
			nil,
		},
		"status of a verification": {
			`{"message":"Phone Verification status.","status":"pending","seconds_to_expire":474,"success":true}`,
			func(ctx context.Context, c *Client) (any, error) { return c.PhoneVerificationStatus(ctx, lisbon) },
			asked{Method: "GET", URI: "/protected/json/phones/verification/status?country_code=351&phone_number=912+345+678"},
			VerificationStatus{"", VerificationPending, 474 * time.Second},
		},
		"phone info": {
			`{"message":"Phone number information as of 2017-11-25 23:21:39 UTC","type":"voip","provider":"Pinger","ported":false,"success":true}`,
			func(ctx context.Context, c *Client) (any, error) { return c.PhoneInfo(ctx, lisbon) },
			asked{Method: "GET", URI: "/protected/json/phones/info?country_code=351&phone_number=912+345+678"},
			PhoneInfo{"voip", "Pinger"},
		},
		"application": {
			`{"app":{"name":"Example","plan":"pay_as_you_go","sms_enabled":true,"phone_calls_enabled":false,"app_id":46113,"onetouch_enabled":true},"message":"Application information.","success":true}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Application(ctx) },
			asked{Method: "GET", URI: "/protected/json/app/details"},
			Application{46113, "Example", true, false, true},
		},
		"figures": {
			`{"message":"Monthly statistics.","count":1,"total_users":115,"app_id":46113,"success":true,"stats":[{"sms_count":4,"calls_count":0,"users_count":3,"auths_count":41,"month":"August","api_calls_count":97,"year":2014}]}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Statistics(ctx) },
			asked{Method: "GET", URI: "/protected/json/app/stats"},
			Statistics{115, []Month{{2014, time.August, 4, 0, 3, 41, 97}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, requests := answering(t, 200, test.answer)
			got, err := test.do(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			wantAsked(t, *requests, test.asked)
		})
	}
}

// TestRefusalsOfPhonesAndData: each code is the sentinel of its kind, and an answer that says too little is no success.
func TestRefusalsOfPhonesAndData(t *testing.T) {
	for code, want := range map[string]error{
		"60006": ErrCallsDisabled, "60021": ErrNotAllowed, "60022": ErrCodeWrong, "60023": ErrNoVerification, "60031": ErrNotAllowed, "60033": ErrInvalidPhone,
		"60038": ErrInvalidEmail, "60078": ErrInvalidPhone, "60082": ErrInvalidPhone, "60092": ErrDeviceNotFound, "60113": ErrNoSecret, "60123": ErrNotAllowed, "60154": ErrNotAllowed,
	} {
		c, _ := answering(t, 403, `{"message":"no","success":false,"errors":{"message":"no"},"error_code":"`+code+`"}`)
		for name, do := range map[string]func() error{
			"start": func() error {
				_, err := c.StartPhoneVerification(t.Context(), PhoneVerification{})
				return err
			},
			"export": func() error {
				_, err := c.ExportPhone(t.Context(), 1635)
				return err
			},
		} {
			if err := do(); !errors.Is(err, want) {
				t.Errorf("%s refused with %s: %v, want %v", name, code, err, want)
			}
		}
	}
	c, requests := answering(t, 200, `{"success":true}`)
	for _, code := range []string{"", "12a4", "../1", "12345678901234567"} {
		if err := c.CheckPhoneVerification(t.Context(), Phone{"1", "2025550123"}, code); !errors.Is(err, ErrCodeWrong) {
			t.Errorf("code %q: %v", code, err)
		}
	}
	if len(*requests) != 0 {
		t.Errorf("sent %v", *requests)
	}
	if _, err := c.CreateSecret(t.Context(), 1635, SecretOptions{}); err == nil {
		t.Error("a secret without a picture")
	}
	if _, err := c.ExportPhone(t.Context(), 1635); err == nil {
		t.Error("an export without a number")
	}
	c, _ = answering(t, 200, `{"success":true,"stats":[{"month":"Brumaire","year":2026}]}`)
	if _, err := c.Statistics(t.Context()); err == nil {
		t.Error("a month that is none")
	}
}

// Whoever overlooks an error has nothing to take for an answer: not even the half of it that could be read.
func TestNothingBesideAnError(t *testing.T) {
	for name, test := range map[string]struct {
		answer string
		do     func(context.Context, *Client) (any, error)
		want   any
	}{
		"reset": {
			`{"success":true,"reset":{"state":"due","asked_at":7}}`,
			func(ctx context.Context, c *Client) (any, error) { return c.AskReset(ctx, 1635) },
			Reset{},
		},
		"export of a secret": {
			`{"success":true,"secret":"GEZDGNBV","otp":7}`,
			func(ctx context.Context, c *Client) (any, error) { return c.ExportSecret(ctx, 1635) },
			ExportedSecret{},
		},
		"status of a verification": {
			`{"success":true,"status":"verified","seconds_to_expire":"soon"}`,
			func(ctx context.Context, c *Client) (any, error) { return c.PhoneVerificationStatus(ctx, Phone{}) },
			VerificationStatus{},
		},
		"phone info": {
			`{"success":true,"type":"cellphone","provider":7}`,
			func(ctx context.Context, c *Client) (any, error) { return c.PhoneInfo(ctx, Phone{}) },
			PhoneInfo{},
		},
		"application": {
			`{"success":true,"app":{"name":"Example","app_id":"46113"}}`,
			func(ctx context.Context, c *Client) (any, error) { return c.Application(ctx) },
			Application{},
		},
	} {
		c, _ := answering(t, 200, test.answer)
		got, err := test.do(t.Context(), c)
		if err == nil {
			t.Errorf("%s: %s is taken for an answer", name, test.answer)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s, beside an error: %s", name, diff)
		}
	}
}
