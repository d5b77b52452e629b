// This file owns the proof of a phone number: a code by text message, before anything is set up for the number. Somebody who signs up with another
// person's number gets no further than this page, and it looks the same whether the number is known here or not.

package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
)

// codeLife is how long the provider takes the code of a text message.
const codeLife = 10 * time.Minute

// texted reports whether a code for this number is on its way or there.
func (a *App) texted(u user) bool {
	return !u.TextedAt.IsZero() && a.config.Clock().Before(u.TextedAt.Add(codeLife))
}

// textCode asks the provider to text a code.
func (a *App) textCode(ctx context.Context, r *http.Request, u user) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	_, err := a.config.Provider.StartPhoneVerification(ctx, client.PhoneVerification{Phone: u.number(), UserIP: a.origin(r).Address})
	if err != nil {
		a.warn(r, "no code texted", u, err)
		return err
	}
	return a.users.noteText(ctx, u, a.config.Clock())
}

func (u user) number() client.Phone { return client.Phone{CountryCode: u.CountryCode, Number: u.Phone} }

// whyNotTexted says what to do. It says nothing about whose number it is.
func whyNotTexted(err error) string {
	switch {
	case errors.Is(err, client.ErrBudgetSpent), errors.Is(err, client.ErrCountryClosed), errors.Is(err, client.ErrSMSDisabled), errors.Is(err, client.ErrSMSNotSent):
		return "No text message can be sent to this number at the moment. Your account is kept. Check the number, or try again later."
	case errors.Is(err, client.ErrRateLimited):
		return "A code was sent a moment ago, or too many were. Wait a minute, then try again."
	case errors.Is(err, client.ErrInvalidPhone):
		return "This number cannot get text messages. Check it."
	}
	return "We could not reach the approval service. Your account is kept. Please try again."
}

// proveNumber looks at the code that was typed. The provider counts the tries.
func (a *App) proveNumber(w http.ResponseWriter, r *http.Request, who secondfactor.Enrolling) {
	u, ok := a.enrolling(w, r, who)
	if !ok {
		return
	}
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	if u.Proved {
		http.Redirect(w, r, "/enrol", http.StatusSeeOther)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	switch err := a.config.Provider.CheckPhoneVerification(ctx, u.number(), form.Get("code")); {
	case errors.Is(err, client.ErrCodeWrong):
		a.renderEnrol(w, r, u, enrolPage{BadCode: "The code is not right. Look at the newest message."})
	case errors.Is(err, client.ErrNoVerification):
		a.renderEnrol(w, r, u, enrolPage{BadCode: "This code has run out, or was tried too often. Ask for another."})
	case err != nil:
		a.warn(r, "code not checked", u, err)
		a.renderEnrol(w, r, u, enrolPage{BadCode: "The approval service did not answer. Please try again."})
	default:
		if err := a.users.proveNumber(ctx, u, a.config.Clock()); err != nil {
			a.fail(w, r, err)
			return
		}
		u.Proved = true
		a.startEnrolment(w, r, u, "/account")
	}
}

// noteText notes that a code is on its way to the account's number. Nothing that was proved before counts.
func (s *users) noteText(ctx context.Context, u user, now time.Time) error {
	_, err := s.db.ExecContext(ctx, `
		INSERT INTO numbers (user_id, country_code, phone, texted_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (user_id) DO UPDATE SET country_code = excluded.country_code, phone = excluded.phone, texted_at = excluded.texted_at, proved = 0`,
		u.ID, u.CountryCode, u.Phone, now.Unix())
	if err != nil {
		return fmt.Errorf("note text message: %w", err)
	}
	return nil
}

// proveNumber notes that the code came back, if this is still the account's number.
func (s *users) proveNumber(ctx context.Context, u user, now time.Time) error {
	result, err := s.db.ExecContext(ctx, `
		INSERT INTO numbers (user_id, country_code, phone, texted_at, proved)
		SELECT id, country_code, phone, $4, 1 FROM users WHERE id = $1 AND country_code = $2 AND phone = $3
		ON CONFLICT (user_id) DO UPDATE SET country_code = excluded.country_code, phone = excluded.phone, proved = 1`, u.ID, u.CountryCode, u.Phone, now.Unix())
	return oneRow(result, err, errMoved, "prove number")
}
