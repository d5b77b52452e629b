// This file owns calls about users: adding, looking up, removing, and inviting a device.

package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// NewUser is a person to register.
type NewUser struct {
	Email       string
	CountryCode string // calling code, such as "1" or "351"
	Phone       string // national number; spaces, dashes, dots and parentheses may stay
}

// UserStatus is what the server knows about a user.
type UserStatus struct {
	AuthyID         int64
	Confirmed       bool // has given a right code at least once
	Registered      bool // has a device
	AccountDisabled bool
	CountryCode     int
	Phone           string // masked: all but the last four digits are X
	Email           string
	Devices         []string // platforms, such as "iphone"
	DetailedDevices []Device
	Reset           *Reset // nil when none is under way
}

// Device is one device that may act for a user.
type Device struct {
	ID                 int64
	Type               string // "authy"
	OSType             string // platform, such as "iphone"
	RegistrationMethod string // such as "sms"
	Name               string // what its owner calls it; "" from servers other than Countersign
	// PublicKey is what to pin, so that receipts can be checked without trusting the server: read it when the device is
	// enrolled and keep it with the user. "" from servers other than Countersign.
	PublicKey  string
	CreatedAt  time.Time
	LastSeenAt time.Time // zero when unknown
}

// Ticket invites one device to act for a user.
type Ticket struct {
	Link      string // to show as a QR code or to follow, only inside a session of that very user
	Words     string // the same to be typed, words joined by '-'
	ExpiresAt time.Time
}

// AddUser registers a person and returns the authy_id, the number to keep with the account. The same phone number gets the same id. It
// returns [ErrInvalidUser] for a bad address or number; [Error.Fields] says which.
func (c *Client) AddUser(ctx context.Context, user NewUser) (authyID int64, err error) {
	body := map[string]any{"user": map[string]string{
		"email": user.Email, "cellphone": user.Phone, "country_code": user.CountryCode,
	}}
	var answer struct {
		User struct {
			ID int64 `json:"id"`
		} `json:"user"`
	}
	const name = "add user"
	if err := c.do(ctx, call{name: name, method: "POST", path: "/protected/json/users/new", body: body}, &answer); err != nil {
		return 0, err
	}
	if answer.User.ID <= 0 {
		return 0, fmt.Errorf("countersign: %s: answer names no user", name)
	}
	return answer.User.ID, nil
}

// User reads a user's status. It returns [ErrUserNotFound] for an id that the application does not have.
func (c *Client) User(ctx context.Context, authyID int64) (UserStatus, error) {
	var answer struct {
		Status struct {
			AuthyID         int64    `json:"authy_id"`
			Confirmed       bool     `json:"confirmed"`
			Registered      bool     `json:"registered"`
			AccountDisabled bool     `json:"account_disabled"`
			CountryCode     int      `json:"country_code"`
			Phone           string   `json:"phone_number"`
			Email           string   `json:"email"`
			Devices         []string `json:"devices"`
			DetailedDevices []struct {
				ID        int64  `json:"device_id"`
				Type      string `json:"device_type"`
				OSType    string `json:"os_type"`
				Method    string `json:"registration_method"`
				PublicKey string `json:"public_key"`
				Name      string `json:"name"`
				Created   int64  `json:"creation_date"`
				LastSync  int64  `json:"last_sync_date"`
			} `json:"detailed_devices"`
			Reset *resetAnswer `json:"reset"`
		} `json:"status"`
	}
	err := c.do(ctx, call{name: "user status", method: "GET", path: userPath(authyID) + "/status", repeatable: true}, &answer)
	if err != nil {
		return UserStatus{}, err
	}
	status := answer.Status
	if status.AuthyID != authyID {
		return UserStatus{}, errors.New("countersign: user status: answer is about another user")
	}
	user := UserStatus{
		AuthyID: status.AuthyID, Confirmed: status.Confirmed, Registered: status.Registered, AccountDisabled: status.AccountDisabled,
		CountryCode: status.CountryCode, Phone: status.Phone, Email: status.Email, Devices: status.Devices,
		Reset: status.Reset.reset(),
	}
	for _, d := range status.DetailedDevices {
		user.DetailedDevices = append(user.DetailedDevices, Device{
			ID: d.ID, Type: d.Type, OSType: d.OSType, RegistrationMethod: d.Method, Name: d.Name, PublicKey: d.PublicKey,
			CreatedAt: unixTime(d.Created), LastSeenAt: unixTime(d.LastSync),
		})
	}
	return user, nil
}

// RemoveUser ends a user's second factor in this application at once. It returns [ErrUserNotFound] when there is no such user (any more).
func (c *Client) RemoveUser(ctx context.Context, authyID int64) error {
	return c.do(ctx, call{name: "remove user", method: "POST", path: userPath(authyID) + "/remove"}, nil)
}

// CreateEnrollmentTicket makes a ticket with which one device can be enrolled for a user, once, within a few minutes. Whoever has it becomes
// the second factor: show it only to a person who is signed in, and store it nowhere.
func (c *Client) CreateEnrollmentTicket(ctx context.Context, authyID int64) (Ticket, error) {
	return c.ticket(ctx, call{name: "create enrollment ticket", method: "POST", path: ownPath(authyID) + "/enrollment_tickets"})
}

func (c *Client) ticket(ctx context.Context, call call) (Ticket, error) {
	var answer struct {
		Ticket struct {
			Link      string    `json:"link"`
			Words     string    `json:"words"`
			ExpiresAt time.Time `json:"expires_at"`
		} `json:"enrollment_ticket"`
	}
	if err := c.do(ctx, call, &answer); err != nil {
		return Ticket{}, err
	}
	return Ticket(answer.Ticket), nil
}

// ownPath is where calls about a user are that Authy did not have.
func ownPath(authyID int64) string {
	return "/onetouch/json/users/" + strconv.FormatInt(authyID, 10)
}

func userPath(authyID int64) string {
	return "/protected/json/users/" + strconv.FormatInt(authyID, 10)
}

// unixTime turns Unix seconds into a time, and 0 or null into the zero time.
func unixTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}
