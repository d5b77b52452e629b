// This file owns the errors that the server tells.

package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// What the server most often refuses, for errors.Is.
var (
	ErrUnauthorized = errors.New("countersign: wrong API key")
	ErrRateLimited  = errors.New("countersign: too many requests") // see [Error.RetryAfter]
	// ErrNotMe is an ErrRateLimited: the user said "not me" to a request, and is asked nothing until [Error.RetryAfter] has passed.
	ErrNotMe = fmt.Errorf("countersign: the user reported a request that was not theirs (%w)", ErrRateLimited)
	// ErrBudgetSpent is an ErrRateLimited that the user has no part in: the application may send no more in this hour, day or month.
	ErrBudgetSpent       = fmt.Errorf("countersign: the application's budget for sending is spent (%w)", ErrRateLimited)
	ErrApprovalsDisabled = errors.New("countersign: approvals are not enabled")
	ErrCallsDisabled     = errors.New("countersign: calls are not enabled")
	ErrSMSDisabled       = errors.New("countersign: SMS is not enabled")
	ErrCountryClosed     = errors.New("countersign: no codes are sent to this country") // see the application's page in the console
	ErrCallNotMade       = errors.New("countersign: call was not made")
	ErrSMSNotSent        = errors.New("countersign: SMS was not sent") // a mail neither
	ErrUserNotFound      = errors.New("countersign: user not found")
	ErrSuspended         = errors.New("countersign: user suspended after wrong codes") // a right code is refused too
	ErrCodeUsed          = errors.New("countersign: code was used before")
	ErrCodeWrong         = errors.New("countersign: code is wrong or expired")
	ErrNotAllowed        = errors.New("countersign: switched off for this application")
	ErrNoVerification    = errors.New("countersign: no phone verification is pending")
	ErrInvalidUser       = errors.New("countersign: user data are not valid") // see [Error.Fields]
	ErrInvalidPhone      = errors.New("countersign: not a phone number for this")
	ErrInvalidEmail      = errors.New("countersign: not an e-mail address")
	ErrApprovalNotFound  = errors.New("countersign: approval not found")
	ErrNoDevice          = errors.New("countersign: user has no device that could approve")
	ErrNotPending        = errors.New("countersign: approval is no longer pending")
	ErrDeviceNotFound    = errors.New("countersign: device not found")
	ErrNoSecret          = errors.New("countersign: user has no other authenticator app")
	ErrNoReset           = errors.New("countersign: no reset is under way")
	ErrResetNotDue       = errors.New("countersign: reset cannot be finished yet")
)

// sentinels are the codes of the Authy API, and ours of 60901 and above, that a caller decides by. [Error.Unwrap] knows more of 60003.
var sentinels = map[string]error{
	"60001": ErrUnauthorized,
	"60003": ErrRateLimited,
	"60006": ErrCallsDisabled,
	"60007": ErrSMSDisabled,
	"60009": ErrBudgetSpent, // texts of a month
	"60010": ErrBudgetSpent, // texts of a day
	"60011": ErrBudgetSpent, // calls of a month
	"60012": ErrBudgetSpent, // calls of a day
	"60013": ErrCountryClosed,
	"60014": ErrCallNotMade,
	"60015": ErrSMSNotSent,
	"60016": ErrUserNotFound, // while checking a code
	"60017": ErrSuspended,
	"60019": ErrCodeUsed,
	"60020": ErrCodeWrong,
	"60021": ErrNotAllowed, // a code of one's own
	"60022": ErrCodeWrong,  // of a phone verification
	"60023": ErrNoVerification,
	"60026": ErrUserNotFound,
	"60027": ErrInvalidUser,
	"60031": ErrNotAllowed, // export of secrets
	"60033": ErrInvalidPhone,
	"60038": ErrInvalidEmail,
	"60049": ErrApprovalNotFound,
	"60050": ErrNoDevice,
	"60065": ErrApprovalsDisabled,
	"60078": ErrInvalidPhone, // no such calling code
	"60079": ErrNotPending,
	"60082": ErrInvalidPhone, // a landline
	"60092": ErrDeviceNotFound,
	"60113": ErrNoSecret,
	"60120": ErrBudgetSpent, // texts of an hour
	"60123": ErrNotAllowed,  // other authenticator apps
	"60154": ErrNotAllowed,  // export of numbers
	"60901": ErrNoReset,
	"60902": ErrResetNotDue,
}

// Error is a refusal by the server, or by something in front of it.
type Error struct {
	Status     int               // of HTTP
	Code       string            // five digits, "" when the answer was not the server's own
	Message    string            // English, not made for the person who logs in
	Fields     map[string]string // what is wrong with which field of the request
	RetryAfter time.Duration     // how long to wait, 0 when not told
	Reason     string            // more about the code, "" when not told: "not-me"
}

// Error names status, code and message.
func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("status %d: %s", e.Status, e.Message)
	}
	return fmt.Sprintf("status %d, code %s: %s", e.Status, e.Code, e.Message)
}

// Unwrap returns the sentinel of the code, nil when it has none, so that errors.Is(err, ErrCodeWrong) and its like work.
func (e *Error) Unwrap() error {
	if e.Code == "60003" && e.Reason == "not-me" {
		return ErrNotMe
	}
	return sentinels[e.Code]
}

// readError reads an answer whose status is not 200. It reports whether the server told the error, rather than a proxy.
func readError(resp *http.Response, body []byte) (failure *Error, told bool) {
	failure = &Error{Status: resp.StatusCode, Message: http.StatusText(resp.StatusCode)}
	if seconds, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && 0 < seconds && seconds <= 1e6 {
		failure.RetryAfter = time.Duration(seconds) * time.Second
	}
	var message struct {
		Message string         `json:"message"`
		Code    string         `json:"error_code"`
		Reason  string         `json:"reason"`
		Errors  map[string]any `json:"errors"`
	}
	if json.Unmarshal(body, &message) != nil || message.Code == "" {
		return failure, false
	}
	failure.Code, failure.Message, failure.Reason = message.Code, message.Message, message.Reason
	for field, value := range message.Errors {
		text, isText := value.(string)
		if field == "message" || !isText {
			continue
		}
		if failure.Fields == nil {
			failure.Fields = map[string]string{}
		}
		failure.Fields[field] = text
	}
	return failure, true
}
