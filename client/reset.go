// This file owns calls for people in trouble: the reset of a factor that is lost, and notices.

package client

import (
	"context"
	"time"
)

// The values of [Reset.State].
const (
	ResetAsked   = "asked"   // an operator has to decide
	ResetAllowed = "allowed" // an operator did; it waits for [Reset.DueAt], so that it can be stopped
	ResetDue     = "due"     // [Client.FinishReset] works
)

// Reset is the new start of a user who has lost everything: phone, number, recovery codes.
type Reset struct {
	State   string
	AskedAt time.Time
	DueAt   time.Time // zero until an operator allowed it
}

// resetAnswer is a reset on the wire.
type resetAnswer struct {
	State   string     `json:"state"`
	AskedAt time.Time  `json:"asked_at"`
	DueAt   *time.Time `json:"due_at"`
}

func (a *resetAnswer) reset() *Reset {
	if a == nil {
		return nil
	}
	r := &Reset{State: a.State, AskedAt: a.AskedAt}
	if a.DueAt != nil {
		r.DueAt = *a.DueAt
	}
	return r
}

// AskReset asks the operators for a new start of a user. Call it only for somebody whose password was right just now: that is what the operator
// takes from it. It changes nothing by itself, and asking again returns the same reset.
func (c *Client) AskReset(ctx context.Context, authyID int64) (Reset, error) {
	var answer struct {
		Reset resetAnswer `json:"reset"`
	}
	if err := c.do(ctx, call{name: "ask for reset", method: "POST", path: ownPath(authyID) + "/reset", repeatable: true}, &answer); err != nil {
		return Reset{}, err
	}
	return *answer.Reset.reset(), nil
}

// StopReset ends a reset, because its user is signed in and did not ask for it. It returns [ErrNoReset] when none is under way.
func (c *Client) StopReset(ctx context.Context, authyID int64) error {
	return c.do(ctx, call{name: "stop reset", method: "POST", path: ownPath(authyID) + "/reset/stop"}, nil)
}

// FinishReset removes every device, secret and code of the user and returns a ticket for a first new device. It works once the reset is due.
// Call it for somebody whose password was right just now, and end their sessions, trusted browsers and recovery codes with it. It returns
// [ErrResetNotDue] or [ErrNoReset].
func (c *Client) FinishReset(ctx context.Context, authyID int64) (Ticket, error) {
	return c.ticket(ctx, call{name: "finish reset", method: "POST", path: ownPath(authyID) + "/reset/finish"})
}

// NoticeNumberChanged tells a phone number that it counts no more, for [Client.SendNotice].
const NoticeNumberChanged = "number-changed"

// SendNotice tells a user something about their account by text message, in the server's words. It returns [ErrUserNotFound], [ErrSMSDisabled],
// [ErrSMSNotSent], [ErrInvalidPhone], [ErrCountryClosed], or [ErrRateLimited].
func (c *Client) SendNotice(ctx context.Context, authyID int64, notice string) error {
	return c.do(ctx, call{
		name: "send notice", method: "POST", path: ownPath(authyID) + "/notices", body: map[string]string{"notice": notice},
	}, nil)
}
