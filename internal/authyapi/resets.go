package authyapi

import (
	"errors"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/tenant"
)

// This file owns what is ours for people in trouble: the reset of a factor that is lost, and notices.

// resetAnswer is a reset that is under way.
type resetAnswer struct {
	State   string  `json:"state"` // asked, allowed, due
	AskedAt string  `json:"asked_at"`
	DueAt   *string `json:"due_at"` // null until an operator allowed it
}

func (a *API) resetAnswerOf(r reset.Reset) *resetAnswer {
	answer := &resetAnswer{State: string(r.At(a.Now())), AskedAt: isoTime(r.AskedAt)}
	if !r.AllowedAt.IsZero() {
		due := isoTime(r.DueAt)
		answer.DueAt = &due
	}
	return answer
}

// resetOf is the user's reset for the status, nil without one.
func (a *API) resetOf(c call, u tenant.User) (*resetAnswer, error) {
	r, err := a.Resets.Of(c.ctx, u)
	if errors.Is(err, reset.ErrNone) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return a.resetAnswerOf(r), nil
}

func (a *API) askReset(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	r, err := a.Resets.Ask(c.ctx, c.app, u)
	if err != nil {
		return nil, err
	}
	return struct {
		Reset   *resetAnswer `json:"reset"`
		Message string       `json:"message"`
		Success bool         `json:"success"`
	}{a.resetAnswerOf(r), "Reset was asked for.", true}, nil
}

func (a *API) stopReset(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	if err := a.Resets.Stop(c.ctx, c.app, u); err != nil {
		return nil, err
	}
	return done{"Reset was stopped.", true}, nil
}

func (a *API) finishReset(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	t, err := a.Resets.Finish(c.ctx, c.app, u)
	if err != nil {
		return nil, err
	}
	return ticketAnswer(t, "User starts anew. Enrollment ticket was created."), nil
}

func (a *API) sendNotice(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	if err := a.Codes.Notify(c.ctx, c.app, u, otp.Notice(c.params.String("notice"))); err != nil {
		return nil, err
	}
	return done{"Notice was sent.", true}, nil
}
