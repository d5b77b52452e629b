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

// What the server most often refuses, for errors.Is. The codes are those of the Authy API.
var (
	ErrUnauthorized     = errors.New("countersign: wrong API key")                                   // 60001
	ErrRateLimited      = errors.New("countersign: too many requests")                               // 60003; see Error.RetryAfter
	ErrNotMe            = errors.New("countersign: the user reported a request that was not theirs") // 60003 with the reason not-me: asks nothing until Error.RetryAfter; is an ErrRateLimited too
	ErrCallsDisabled    = errors.New("countersign: calls are not enabled")                           // 60006
	ErrSMSDisabled      = errors.New("countersign: SMS is not enabled")                              // 60007
	ErrSMSNotSent       = errors.New("countersign: SMS was not sent")                                // 60015
	ErrUserNotFound     = errors.New("countersign: user not found")                                  // 60016, 60026
	ErrSuspended        = errors.New("countersign: user suspended after wrong codes")                // 60017; a right code is refused too
	ErrCodeUsed         = errors.New("countersign: code was used before")                            // 60019
	ErrCodeWrong        = errors.New("countersign: code is wrong or expired")                        // 60020, 60022
	ErrNotAllowed       = errors.New("countersign: switched off for this application")               // 60021, 60031, 60123, 60154
	ErrNoVerification   = errors.New("countersign: no phone verification is pending")                // 60023
	ErrInvalidUser      = errors.New("countersign: user data are not valid")                         // 60027; see Error.Fields
	ErrInvalidPhone     = errors.New("countersign: not a phone number for this")                     // 60033, 60078, 60082
	ErrInvalidEmail     = errors.New("countersign: not an e-mail address")                           // 60038
	ErrApprovalNotFound = errors.New("countersign: approval not found")                              // 60049
	ErrNoDevice         = errors.New("countersign: user has no device that could approve")           // 60050
	ErrNotPending       = errors.New("countersign: approval is no longer pending")                   // 60079
	ErrDeviceNotFound   = errors.New("countersign: device not found")                                // 60092
	ErrNoSecret         = errors.New("countersign: user has no other authenticator app")             // 60113
	ErrNoReset          = errors.New("countersign: no reset is under way")                           // 60901
	ErrResetNotDue      = errors.New("countersign: reset cannot be finished yet")                    // 60902
)

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

// Is makes errors.Is(err, ErrCodeWrong) and its like work.
func (e *Error) Is(target error) bool {
	switch e.Code {
	case "60001":
		return target == ErrUnauthorized
	case "60003":
		return target == ErrRateLimited || target == ErrNotMe && e.Reason == "not-me"
	case "60006":
		return target == ErrCallsDisabled
	case "60007":
		return target == ErrSMSDisabled
	case "60015":
		return target == ErrSMSNotSent
	case "60016", "60026":
		return target == ErrUserNotFound
	case "60017":
		return target == ErrSuspended
	case "60019":
		return target == ErrCodeUsed
	case "60020", "60022":
		return target == ErrCodeWrong
	case "60021", "60031", "60123", "60154":
		return target == ErrNotAllowed
	case "60023":
		return target == ErrNoVerification
	case "60027":
		return target == ErrInvalidUser
	case "60033", "60078", "60082":
		return target == ErrInvalidPhone
	case "60038":
		return target == ErrInvalidEmail
	case "60049":
		return target == ErrApprovalNotFound
	case "60050":
		return target == ErrNoDevice
	case "60079":
		return target == ErrNotPending
	case "60092":
		return target == ErrDeviceNotFound
	case "60113":
		return target == ErrNoSecret
	case "60901":
		return target == ErrNoReset
	case "60902":
		return target == ErrResetNotDue
	}
	return false
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
