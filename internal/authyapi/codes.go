package authyapi

import (
	"errors"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

// This file owns codes of users: contract section 4.

func (a *API) verify(c call) (any, error) {
	u, err := c.user()
	if errors.Is(err, tenant.ErrUser) {
		return nil, errNobody
	}
	if err != nil {
		return nil, err
	}
	if !c.params.Bool("force") {
		unchecked, err := a.Codes.Unchecked(c.ctx, c.app, u)
		if err != nil {
			return nil, err
		}
		if unchecked {
			return validToken(verifyDevice{OSType: "sms"}), nil
		}
	}
	verify := a.Codes.Verify
	if c.params.Bool("sent_only") {
		verify = a.Codes.VerifySent
	}
	verdict, err := verify(c.ctx, c.app, u, c.r.PathValue("token"), c.params.String("action"))
	if errors.Is(err, tenant.ErrUser) {
		return nil, errNobody
	}
	if err != nil {
		return nil, err
	}
	switch {
	case verdict.SentID != "":
		return validToken(verifyDevice{OSType: "sms"}), nil
	case verdict.GenericID != 0:
		return validToken(verifyDevice{ID: &verdict.GenericID, OSType: "unknown"}), nil
	}
	return validToken(verifyDeviceOf(verdict.GrantID, verdict.Device)), nil
}

// validToken says that a code was right. The order of the members and the string "true" are compared by clients (contract sections 1.4, 1.6).
func validToken(d verifyDevice) any {
	return struct {
		Message string       `json:"message"`
		Token   string       `json:"token"`
		Success string       `json:"success"`
		Device  verifyDevice `json:"device"`
	}{"Token is valid.", "is valid", "true", d}
}

// way is how one channel talks about a code that was asked for.
type way struct {
	channel       otp.Channel
	sent, ignored string
}

var (
	bySMS = way{otp.SMS, "SMS token was sent", "Ignored: SMS is not needed for smartphones. Pass force=true if you want to actually send it anyway."}
	// The double space is the original's.
	byCall  = way{otp.Voice, "Call started...", "Call ignored. User is using  App Tokens and this call is not necessary. Pass force=true if you still want to call users that are using the App."}
	byEmail = way{otp.Email, "Email token was sent", "Ignored: Email is not needed for smartphones. Pass force=true if you want to actually send it anyway."}
)

func (a *API) sendSMS(c call) (any, error)   { return a.send(c, bySMS) }
func (a *API) sendCall(c call) (any, error)  { return a.send(c, byCall) }
func (a *API) sendEmail(c call) (any, error) { return a.send(c, byEmail) }

func (a *API) send(c call, how way) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	sent, err := a.Codes.Send(c.ctx, c.app, u, otp.Request{
		Channel: how.channel, Force: c.params.Bool("force"), Action: c.params.String("action"), ActionMessage: c.params.String("action_message"),
		Locale: c.params.String("locale"), IP: c.userIP(),
	})
	if err != nil {
		return nil, err
	}
	var cellphone, email, emailID string
	if how.channel == otp.Email {
		email = u.Email
		if !sent.Ignored {
			emailID = "EM" + "00000000" + sent.ID // 32 hex digits in all
		}
	} else {
		cellphone = u.MaskedCell()
	}
	if sent.Ignored {
		return struct {
			Message   string `json:"message"`
			Cellphone string `json:"cellphone,omitempty"`
			Email     string `json:"email,omitempty"`
			Device    string `json:"device"`
			Ignored   bool   `json:"ignored"`
			Success   bool   `json:"success"`
		}{how.ignored, cellphone, email, deviceName(sent.Platform), true, true}, nil
	}
	return struct {
		Success   bool   `json:"success"`
		Message   string `json:"message"`
		Cellphone string `json:"cellphone,omitempty"`
		Email     string `json:"email,omitempty"`
		EmailID   string `json:"email_id,omitempty"`
	}{true, how.sent, cellphone, email, emailID}, nil
}
