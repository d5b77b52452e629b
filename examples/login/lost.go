// This file owns the last way back, for somebody who has lost everything: phone, number and recovery codes. The bank asks the provider for a new
// start; an operator makes sure who it is and allows it; then it waits, every known address hears of it, and any browser that is signed in can
// stop it. After that the password sets up a new device (RE5).

package login

import (
	"context"
	"errors"
	"net/http"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
)

// lostPage is what the page shows.
type lostPage struct {
	Email, Phone string
	Reset        *client.Reset // nil before it was asked for
	Unreachable  bool          // the provider did not answer
	Shared       bool          // another account has the same number
}

// waiting lets people through who gave the password and wait for the second factor, with their account.
func (a *App) waiting(next func(http.ResponseWriter, *http.Request, user)) http.Handler {
	return a.guard.RequireWaiting(func(w http.ResponseWriter, r *http.Request, who secondfactor.Waiting) {
		u, err := a.users.byID(r.Context(), who.User())
		if err != nil {
			a.fail(w, r, err)
			return
		}
		next(w, r, u)
	})
}

func (a *App) showLost(w http.ResponseWriter, r *http.Request, u user) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	page := lostPage{Email: u.Email, Phone: u.MaskedPhone()}
	shared, err := a.users.shared(ctx, u)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	status, err := a.config.Provider.User(ctx, u.AuthyID)
	page.Shared, page.Reset, page.Unreachable = shared, status.Reset, err != nil
	a.render(w, r, http.StatusOK, "nothing-left", page)
}

// askReset asks the provider's operators.
func (a *App) askReset(w http.ResponseWriter, r *http.Request, u user) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	if a.mayReset(ctx, w, r, u) {
		_, err := a.config.Provider.AskReset(ctx, u.AuthyID)
		if err == nil {
			err = a.tell(ctx, u, a.origin(r), "A new second factor was asked for", "Somebody gave your password and said that phone and recovery codes are lost. We make sure who it is before anything happens.")
		}
		if err != nil {
			a.warn(r, "reset not asked for", u, err)
		}
		http.Redirect(w, r, "/lost", http.StatusSeeOther)
	}
}

// finishReset begins anew: what was before is void here as it is at the provider, and the enrolment page shows the ticket for a new device.
func (a *App) finishReset(w http.ResponseWriter, r *http.Request, u user) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	if !a.mayReset(ctx, w, r, u) {
		return
	}
	ticket, err := a.config.Provider.FinishReset(ctx, u.AuthyID)
	if err != nil {
		a.warn(r, "reset not finished", u, err)
		http.Redirect(w, r, "/lost", http.StatusSeeOther) // which shows how things stand
		return
	}
	err = errors.Join(a.users.startAnew(ctx, u.ID), a.guard.DropRecoveryCodes(ctx, u.ID), a.guard.Reset(ctx, u.ID),
		a.tell(ctx, u, a.origin(r), "The second factor was reset", "Devices, recovery codes and trusted browsers are void, and all browsers were signed out."))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.keepTicket(u.ID, ticket)
	a.guard.Enrol(w, r, person(u), "/account")
}

// mayReset answers the request, and returns false, when the number's devices are those of another account too: then only people can help.
func (a *App) mayReset(ctx context.Context, w http.ResponseWriter, r *http.Request, u user) bool {
	shared, err := a.users.shared(ctx, u)
	if err != nil {
		a.fail(w, r, err)
	} else if shared {
		http.Redirect(w, r, "/lost", http.StatusSeeOther)
	}
	return err == nil && !shared
}

// stopReset ends a reset, from any browser that is signed in: whoever is in has not lost everything.
func (a *App) stopReset(w http.ResponseWriter, r *http.Request, _ secondfactor.SignedIn, u user) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	err := a.config.Provider.StopReset(ctx, u.AuthyID)
	if err != nil && !errors.Is(err, client.ErrNoReset) {
		a.warn(r, "reset not stopped", u, err)
		a.problem(w, r, http.StatusBadGateway, "The approval service did not answer, so nothing was stopped. Try again.", "")
		return
	}
	if err == nil {
		err = a.tell(ctx, u, a.origin(r), "The new second factor was stopped", "If you did not ask for it, somebody knows your password. Change it.")
		if err != nil {
			a.fail(w, r, err)
			return
		}
	}
	http.Redirect(w, r, "/security?notice=reset-stopped", http.StatusSeeOther)
}

// startAnew forgets what was proved. The number stays until another is given.
func (s *users) startAnew(ctx context.Context, id string) error {
	result, err := s.db.ExecContext(ctx, `UPDATE users SET protected = 0, codes_saved = 0, method = '', new_phone = '', new_authy_id = 0, stamp = stamp + 1
		WHERE id = $1 AND protected = 1`, id)
	return oneRow(result, err, errMoved, "start anew")
}
