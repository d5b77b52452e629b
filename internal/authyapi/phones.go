package authyapi

import (
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

// This file owns phone verification and information: contract section 8.

// Errors of this file's parameters.
var (
	errPhone       = fault.New(fault.Invalid, "phone-invalid", "Phone number is invalid")
	errCallingCode = fault.New(fault.Forbidden, "calling-code-unknown", "Invalid country code")
	errWhichPhone  = fault.New(fault.Invalid, "verification-unnamed", "Either uuid or country_code and phone number are required")
)

// phone returns the number that country_code and phone_number name, in E.164.
func (c call) phone() (string, error) {
	if _, err := c.required("country_code"); err != nil {
		return "", err
	}
	cc, err := c.integer("country_code", 0)
	if err != nil {
		return "", err
	}
	national, err := c.required("phone_number")
	if err != nil {
		return "", err
	}
	if cc < 1 || cc > 999 || !tenant.KnownCallingCode(int(cc)) {
		return "", errCallingCode
	}
	phone, ok := tenant.ParsePhone(int(cc), national)
	if !ok {
		return "", errPhone
	}
	return phone, nil
}

func (a *API) startVerification(c call) (any, error) {
	phone, err := c.phone()
	if err != nil {
		return nil, err
	}
	r := otp.VerificationRequest{Channel: otp.SMS, Phone: phone, Locale: c.params.String("locale"), Code: c.params.String("custom_code"), Message: c.params.String("custom_message"), IP: c.userIP()}
	switch via := c.params.String("via"); via {
	case "", "sms":
	case "call":
		r.Channel = otp.Voice
	default:
		return nil, errParameter.Saying("Invalid parameter: via - sms or call")
	}
	length, err := c.integer("code_length", otp.VerificationDigits)
	if err != nil {
		return nil, err
	}
	if length < 1 || length > 100 { // the domain says which of the rest will do
		return nil, otp.ErrCodeLength
	}
	r.Digits = int(length)
	v, message, err := a.Codes.StartVerification(c.ctx, c.app, r)
	if err != nil {
		return nil, err
	}
	said := "Text message sent to " + tenant.DisplayNumber(phone) + "."
	if r.Channel == otp.Voice {
		said = "Call to " + tenant.DisplayNumber(phone) + " initiated."
	}
	smsID := ""
	if r.Code != "" && r.Channel == otp.SMS {
		smsID = message
	}
	info := tenant.DescribeNumber(phone)
	return struct {
		Carrier         *string `json:"carrier"`
		IsCellphone     bool    `json:"is_cellphone"`
		IsPorted        bool    `json:"is_ported"`
		Message         string  `json:"message"`
		SecondsToExpire int64   `json:"seconds_to_expire"`
		UUID            string  `json:"uuid"`
		SMSID           string  `json:"sms_id,omitempty"`
		Success         bool    `json:"success"`
	}{orNull(info.Carrier), info.Cellphone, false, said, secondsLeft(v.ExpiresAt, a.Now()), v.ID, smsID, true}, nil
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func secondsLeft(end, now time.Time) int64 { return max(0, int64(end.Sub(now)/time.Second)) }

func (a *API) checkVerification(c call) (any, error) {
	phone, err := c.phone()
	if err != nil {
		return nil, err
	}
	code, err := c.required("verification_code")
	if err != nil {
		return nil, err
	}
	if err := a.Codes.CheckVerification(c.ctx, c.app, phone, code); err != nil {
		return nil, nonePending(phone, err)
	}
	return done{"Verification code is correct.", true}, nil
}

// nonePending names the number in the error, as the contract does.
func nonePending(phone string, err error) error {
	if errors.Is(err, otp.ErrVerificationNone) {
		return otp.ErrVerificationNone.Saying(fmt.Sprintf("No pending verifications for %s found.", tenant.DisplayNumber(phone)))
	}
	return err
}

func (a *API) verificationStatus(c call) (any, error) {
	var v otp.Verification
	uuid := c.params.String("uuid")
	switch {
	case uuid != "":
		var err error
		if v, err = a.Codes.VerificationByID(c.ctx, c.app, uuid); err != nil {
			return nil, err
		}
	case !c.params.Has("country_code") || !c.params.Has("phone_number"):
		return nil, errWhichPhone
	default:
		phone, err := c.phone()
		if err != nil {
			return nil, err
		}
		if v, err = a.Codes.VerificationByPhone(c.ctx, c.app, phone); err != nil {
			return nil, nonePending(phone, err)
		}
	}
	now := a.Now()
	status, left := "expired", int64(0)
	switch {
	case !v.UsedAt.IsZero():
		status = "verified"
	case v.Pending(now):
		status, left = "pending", secondsLeft(v.ExpiresAt, now)
	}
	return struct {
		Message         string `json:"message"`
		Status          string `json:"status"`
		SecondsToExpire int64  `json:"seconds_to_expire"`
		UUID            string `json:"uuid"`
		Success         bool   `json:"success"`
	}{"Phone Verification status.", status, left, v.ID, true}, nil
}

func (a *API) phoneInfo(c call) (any, error) {
	phone, err := c.phone()
	if err != nil {
		return nil, err
	}
	// Clients take neither null for the provider nor for ported (contract section 1.6).
	info := tenant.DescribeNumber(phone)
	if info.Carrier == "" {
		info.Carrier = "Unknown"
	}
	return struct {
		Message  string `json:"message"`
		Type     string `json:"type"`
		Provider string `json:"provider"`
		Ported   bool   `json:"ported"`
		Success  bool   `json:"success"`
	}{"Phone number information as of " + a.Now().UTC().Format(time.DateTime) + " UTC", info.Kind, info.Carrier, false, true}, nil
}
