// This file owns calls about phone numbers without a user: proving one, and what is known of it.

package client

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// Phone is a phone number.
type Phone struct {
	CountryCode string // calling code, such as "1" or "351"
	Number      string // national; spaces, dashes, dots and parentheses may stay
}

func (p Phone) query() url.Values {
	return url.Values{"country_code": {p.CountryCode}, "phone_number": {p.Number}}
}

// PhoneVerification asks for the proof of a number.
type PhoneVerification struct {
	Phone      Phone
	Call       bool   // by a voice call instead of a text message
	Digits     int    // of the code, 4 to 10; 0 means 6, because four digits are quickly guessed
	Locale     string // language of the message, such as "pt-BR"; "" follows the number
	CustomCode string // a code of your own, where the operator allows it
	UserIP     string // address of the person's browser, for the limits of sending
}

// StartedVerification is a verification that is under way.
type StartedVerification struct {
	UUID      string
	ExpiresIn time.Duration
	Cellphone bool   // is one, or may be
	Carrier   string // "" when unknown
	Message   string // English, from the server
}

// StartPhoneVerification sends a code to a number. Starting again within its time sends the same code again. It returns [ErrInvalidPhone],
// [ErrSMSDisabled], [ErrCallsDisabled], [ErrSMSNotSent], [ErrCallNotMade], [ErrCountryClosed], [ErrNotAllowed] for a code of your own, or
// [ErrRateLimited], which is an [ErrBudgetSpent] when the application's budget of texts or calls is spent.
func (c *Client) StartPhoneVerification(ctx context.Context, v PhoneVerification) (StartedVerification, error) {
	body := map[string]any{"country_code": v.Phone.CountryCode, "phone_number": v.Phone.Number, "via": "sms", "code_length": 6}
	if v.Call {
		body["via"] = "call"
	}
	if v.Digits != 0 {
		body["code_length"] = v.Digits
	}
	for name, value := range map[string]string{"locale": v.Locale, "custom_code": v.CustomCode, "user_ip": v.UserIP} {
		if value != "" {
			body[name] = value
		}
	}
	var answer struct {
		UUID      string `json:"uuid"`
		ExpiresIn int64  `json:"seconds_to_expire"`
		Cellphone bool   `json:"is_cellphone"`
		Carrier   string `json:"carrier"`
		Message   string `json:"message"`
	}
	if err := c.do(ctx, call{name: "start phone verification", method: "POST", path: "/protected/json/phones/verification/start", body: body}, &answer); err != nil {
		return StartedVerification{}, err
	}
	return StartedVerification{answer.UUID, time.Duration(answer.ExpiresIn) * time.Second, answer.Cellphone, answer.Carrier, answer.Message}, nil
}

// CheckPhoneVerification checks the code that a person typed. Spaces and dashes in it are dropped. Nil means right, and only nil. It returns
// [ErrCodeWrong], or [ErrNoVerification] when nothing is pending (any more). It is sent at most once.
func (c *Client) CheckPhoneVerification(ctx context.Context, phone Phone, code string) error {
	code, ok := digits(code)
	if !ok {
		return &Error{Status: http.StatusUnauthorized, Code: "60022", Message: "Verification code is incorrect"}
	}
	query := phone.query()
	query.Set("verification_code", code)
	return c.do(ctx, call{name: "check phone verification", method: "GET", path: "/protected/json/phones/verification/check", query: query}, nil)
}

// The states of a phone verification.
const (
	VerificationPending  = "pending"
	VerificationVerified = "verified"
	VerificationExpired  = "expired"
)

// VerificationStatus is how a phone verification stands.
type VerificationStatus struct {
	UUID      string
	Status    string
	ExpiresIn time.Duration // 0 unless pending
}

// PhoneVerificationStatus reads a number's newest verification. It returns [ErrNoVerification] when there never was one.
func (c *Client) PhoneVerificationStatus(ctx context.Context, phone Phone) (VerificationStatus, error) {
	var answer struct {
		UUID      string `json:"uuid"`
		Status    string `json:"status"`
		ExpiresIn int64  `json:"seconds_to_expire"`
	}
	asking := call{name: "phone verification status", method: "GET", path: "/protected/json/phones/verification/status", query: phone.query(), repeatable: true}
	if err := c.do(ctx, asking, &answer); err != nil {
		return VerificationStatus{}, err
	}
	return VerificationStatus{answer.UUID, answer.Status, time.Duration(answer.ExpiresIn) * time.Second}, nil
}

// PhoneInfo is what the numbering plans tell of a number.
type PhoneInfo struct {
	Type    string // "cellphone", "landline", "voip", or "unknown"
	Carrier string // "Unknown" where a number can be taken to another carrier
}

// PhoneInfo looks a number up. It returns [ErrInvalidPhone] for what is none.
func (c *Client) PhoneInfo(ctx context.Context, phone Phone) (PhoneInfo, error) {
	var answer struct {
		Type    string `json:"type"`
		Carrier string `json:"provider"`
	}
	if err := c.do(ctx, call{name: "phone info", method: "GET", path: "/protected/json/phones/info", query: phone.query(), repeatable: true}, &answer); err != nil {
		return PhoneInfo{}, err
	}
	return PhoneInfo(answer), nil
}
