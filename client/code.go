// This file owns calls about one-time codes.

package client

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// CodeOptions narrow what a code is good for.
type CodeOptions struct {
	Action   string // must be the action for which the code was sent
	SentOnly bool   // accept only codes that were sent for Action; codes from an authenticator app are refused, because they are not bound to an action
	UserIP   string // address of the person's browser, for the record
}

// VerifiedCode is where a right code came from.
type VerifiedCode struct {
	Sent     bool  // it was sent, by text message, call or mail; else an authenticator showed it
	DeviceID int64 // the authenticator, among those of [Client.User]; 0 for a sent code
}

// VerifyCode checks a code that a person typed: from the app, or sent. Spaces and dashes in it are dropped. A nil error means right, and only that.
// It returns [ErrCodeWrong], [ErrCodeUsed], [ErrUserNotFound], [ErrSuspended] after too many wrong codes, or [ErrRateLimited].
//
// The code is sent at most once, because the server counts every try and takes every code once: after a lost
// connection the result is unknown, and the person must type a fresh code.
func (c *Client) VerifyCode(ctx context.Context, authyID int64, code string, options CodeOptions) (VerifiedCode, error) {
	code, ok := digits(code)
	if !ok {
		return VerifiedCode{}, &Error{Status: http.StatusUnauthorized, Code: "60020", Message: "Token is invalid"}
	}
	// Without force, the original service took any code from a user who had never finished registration.
	query := url.Values{"force": {"true"}}
	set(query, "action", options.Action)
	if options.SentOnly {
		query.Set("sent_only", "true")
	}
	set(query, "user_ip", options.UserIP)
	var answer struct {
		Token  string `json:"token"`
		Device struct {
			ID     int64  `json:"id"` // null for a sent code
			OSType string `json:"os_type"`
		} `json:"device"`
	}
	path := "/protected/json/verify/" + code + "/" + strconv.FormatInt(authyID, 10)
	if err := c.do(ctx, call{name: "verify code", method: "GET", path: path, query: query}, &answer); err != nil {
		return VerifiedCode{}, err
	}
	if answer.Token != "is valid" {
		return VerifiedCode{}, errors.New("countersign: verify code: answer of status 200 does not say that the code is valid")
	}
	return VerifiedCode{Sent: answer.Device.OSType == "sms", DeviceID: answer.Device.ID}, nil
}

// digits returns a code without the spaces and dashes it was typed with. It returns false for what is no code, which must not become part of a path.
func digits(typed string) (code string, ok bool) {
	code = strings.NewReplacer(" ", "", "-", "").Replace(typed)
	return code, code != "" && len(code) <= 16 && strings.Trim(code, "0123456789") == ""
}

// CodeMessage says how to send a code, by text message, call or mail.
type CodeMessage struct {
	Force         bool   // send although the user has the app
	Action        string // what the code is good for; the same must be given to VerifyCode
	ActionMessage string // shown with the code
	Locale        string // language of the text, such as "pt-BR"; "" follows the number
	UserIP        string // address of the person's browser, for the record
}

// SentCode is what became of a request to send a code.
type SentCode struct {
	Sent    bool
	Ignored bool   // not sent, because the user has the app and Force was not set
	Phone   string // masked; "" for a mail
	Email   string // for a mail
	Message string // English, from the server
}

// SendSMS sends a code to the user's phone. It returns [ErrUserNotFound], [ErrSMSDisabled], [ErrSMSNotSent] when the gateway failed,
// [ErrInvalidPhone] for a landline, [ErrCountryClosed], or [ErrRateLimited], which is an [ErrBudgetSpent] when the application's budget of texts or calls is spent.
func (c *Client) SendSMS(ctx context.Context, authyID int64, message CodeMessage) (SentCode, error) {
	return c.sendCode(ctx, call{name: "send SMS", method: "GET", path: sendPath("sms", authyID)}, message)
}

// SendCall is SendSMS by a voice call, which reads the code aloud. It returns [ErrCallsDisabled] where calls are switched off,
// and [ErrCallNotMade] when the gateway failed.
func (c *Client) SendCall(ctx context.Context, authyID int64, message CodeMessage) (SentCode, error) {
	return c.sendCode(ctx, call{name: "send call", method: "GET", path: sendPath("call", authyID)}, message)
}

// SendEmail is SendSMS by mail, to the user's first address. Where too many mails were sent it returns a plain [ErrRateLimited].
func (c *Client) SendEmail(ctx context.Context, authyID int64, message CodeMessage) (SentCode, error) {
	return c.sendCode(ctx, call{name: "send e-mail", method: "POST", path: sendPath("email", authyID)}, message)
}

func sendPath(way string, authyID int64) string {
	return "/protected/json/" + way + "/" + strconv.FormatInt(authyID, 10)
}

func (c *Client) sendCode(ctx context.Context, call call, message CodeMessage) (SentCode, error) {
	query := url.Values{}
	if message.Force {
		query.Set("force", "true")
	}
	set(query, "action", message.Action)
	set(query, "action_message", message.ActionMessage)
	set(query, "locale", message.Locale)
	set(query, "user_ip", message.UserIP)
	var answer struct {
		Message string `json:"message"`
		Phone   string `json:"cellphone"`
		Email   string `json:"email"`
		Ignored bool   `json:"ignored"`
	}
	call.query = query
	if err := c.do(ctx, call, &answer); err != nil {
		return SentCode{}, err
	}
	return SentCode{Sent: !answer.Ignored, Ignored: answer.Ignored, Phone: answer.Phone, Email: answer.Email, Message: answer.Message}, nil
}

// set adds a parameter unless it is empty.
func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}
