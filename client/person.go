// This file owns calls about a user's data: the mail address, activities, other authenticator apps, and exports.

package client

import (
	"context"
	"errors"
	"strconv"
	"time"
)

// SetEmail makes an address the user's first: the one that is shown, and that mails go to. It returns [ErrInvalidEmail] or [ErrUserNotFound].
func (c *Client) SetEmail(ctx context.Context, authyID int64, email string) error {
	return c.do(ctx, call{
		name: "change e-mail", method: "POST", path: userPath(authyID) + "/update", body: map[string]string{"email": email}, repeatable: true,
	}, nil)
}

// The values of [Activity.Type].
const (
	ActivityPasswordReset = "password_reset"
	ActivityBanned        = "banned"
	ActivityUnbanned      = "unbanned"
	ActivityCookieLogin   = "cookie_login"
)

// Activity is something that happened to a user in the application.
type Activity struct {
	Type   string
	Data   map[string]any // more about it, at most 4 KiB; nil for nothing
	UserIP string         // address of the person's browser
}

// RegisterActivity puts an activity into the server's record. It changes nothing there: who was banned can still approve.
func (c *Client) RegisterActivity(ctx context.Context, authyID int64, activity Activity) error {
	body := map[string]any{"type": activity.Type}
	if activity.Data != nil {
		body["data"] = activity.Data
	}
	if activity.UserIP != "" {
		body["user_ip"] = activity.UserIP
	}
	return c.do(ctx, call{name: "register activity", method: "POST", path: userPath(authyID) + "/register_activity", body: body}, nil)
}

// SecretOptions say how a secret is shown.
type SecretOptions struct {
	Label string // beside the code in the app; "" means the user's mail address
	Size  int    // of the picture, in pixels a side, 100 to 1000; 0 means 300
}

// Secret is one for another authenticator app to scan.
type Secret struct {
	Label, Issuer string
	QRCode        string // a data: address of a PNG, for an img element. Show it only to the person who is signed in, and store it nowhere
}

// CreateSecret makes a secret for any authenticator app that knows TOTP. The new secret takes effect with the first right code from it; until
// then the previous secret stays valid. So create one, then check a code with [Client.VerifyCode]. It returns [ErrNotAllowed] where the operator
// has not switched this on.
func (c *Client) CreateSecret(ctx context.Context, authyID int64, options SecretOptions) (Secret, error) {
	body := map[string]any{}
	if options.Label != "" {
		body["label"] = options.Label
	}
	if options.Size != 0 {
		body["qr_size"] = options.Size
	}
	var answer struct {
		Label  string `json:"label"`
		Issuer string `json:"issuer"`
		QRCode string `json:"qr_code"`
	}
	const name = "create secret"
	if err := c.do(ctx, call{name: name, method: "POST", path: userPath(authyID) + "/secret", body: body}, &answer); err != nil {
		return Secret{}, err
	}
	if answer.QRCode == "" {
		return Secret{}, errors.New("countersign: " + name + ": answer has no QR code")
	}
	return Secret(answer), nil
}

// ExportedSecret is what another authenticator app knows.
type ExportedSecret struct {
	Secret string // base32, for SHA-1, six digits, 30 seconds
	Code   string // of now
}

// ExportSecret reads the secret of the user's other authenticator app. It returns [ErrNotAllowed] where the operator has not switched this
// on, and [ErrNoSecret] when there is none. Each export is recorded.
func (c *Client) ExportSecret(ctx context.Context, authyID int64) (ExportedSecret, error) {
	var answer struct {
		Secret string `json:"secret"`
		Code   string `json:"otp"`
	}
	if err := c.do(ctx, call{name: "export secret", method: "GET", path: userPath(authyID) + "/secret/export", repeatable: true}, &answer); err != nil {
		return ExportedSecret{}, err
	}
	return ExportedSecret(answer), nil
}

// ExportedPhone is a user's number in full.
type ExportedPhone struct {
	E164        string
	CountryCode string
	National    string // in groups
	UpdatedAt   time.Time
}

// ExportPhone reads the user's phone number. It returns [ErrNotAllowed] where the operator has not switched this on. Each export is recorded.
func (c *Client) ExportPhone(ctx context.Context, authyID int64) (ExportedPhone, error) {
	var answer struct {
		E164        string    `json:"e164"`
		CountryCode string    `json:"country_code"`
		National    string    `json:"phone_number"`
		UpdatedAt   time.Time `json:"updated_at"`
	}
	const name = "export phone number"
	if err := c.do(ctx, call{name: name, method: "GET", path: userPath(authyID) + "/phone_number", repeatable: true, bare: true}, &answer); err != nil {
		return ExportedPhone{}, err
	}
	if answer.E164 == "" {
		return ExportedPhone{}, errors.New("countersign: " + name + ": answer has no number")
	}
	return ExportedPhone(answer), nil
}

// RemoveDevice ends what a device may do for its user, by [Device.ID], at once. It returns [ErrDeviceNotFound] when no user of the application
// has such a device (any more).
func (c *Client) RemoveDevice(ctx context.Context, deviceID int64) error {
	return c.do(ctx, call{name: "remove device", method: "DELETE", path: "/protected/json/sdk/devices/" + strconv.FormatInt(deviceID, 10)}, nil)
}
