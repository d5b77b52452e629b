// This file owns the last way back, for somebody who has lost everything: phone, number and recovery codes. The bank asks the provider for a new
// start; an operator makes sure who it is and allows it; then it waits, every known address hears of it, and any device that is still there or
// browser that is signed in can stop it. After that the password sets up a new device (RE5).

package login

import (
	"context"
	"errors"
	"fmt"
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
	if restarting, err := a.users.restarting(ctx, u.ID); err != nil {
		a.fail(w, r, err)
		return
	} else if restarting && page.Reset == nil {
		page.Reset = &client.Reset{State: client.ResetDue} // it was begun, and cut off: it goes on where it was
	}
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

// errNotFinished is the provider's refusal, or its silence.
var errNotFinished = errors.New("the provider finished no reset")

// finishReset begins anew, and the enrolment page shows the ticket for a new device.
func (a *App) finishReset(w http.ResponseWriter, r *http.Request, u user) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	if !a.mayReset(ctx, w, r, u) || !a.mayFinish(ctx, w, r, u) {
		return
	}
	switch err := a.together(u, "restart", func() error { return a.restart(ctx, u, a.origin(r)) }); {
	case errors.Is(err, errNotFinished):
		a.warn(r, "reset not finished", u, err)
		http.Redirect(w, r, "/lost", http.StatusSeeOther) // which shows how things stand
	case err != nil:
		a.fail(w, r, err)
	default:
		a.guard.Enrol(w, r, person(u), "/account")
	}
}

// restart ends what was before, here as at the provider, and keeps the ticket for a new device. Or it reports errNotFinished.
func (a *App) restart(ctx context.Context, u user, from secondfactor.Origin) error {
	// Noted first. Who is killed below, or never hears the provider's answer, goes on with the same button: the provider gives another ticket.
	if err := a.users.noteRestart(ctx, u.ID); err != nil {
		return err
	}
	ticket, err := a.config.Provider.FinishReset(ctx, u.AuthyID)
	if errors.Is(err, client.ErrNoReset) || errors.Is(err, client.ErrResetNotDue) {
		err = errors.Join(err, a.users.forgetRestart(ctx, u.ID))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errNotFinished, err)
	}
	err = errors.Join(a.guard.DropRecoveryCodes(ctx, u.ID), a.guard.SignOutEverywhere(ctx, u.ID))
	if err == nil {
		err = a.users.resetFactor(ctx, u.ID)
	}
	if err != nil {
		return err
	}
	a.keepTicket(u.ID, ticket)
	return a.tell(ctx, u, from, "The second factor was reset", "Devices, recovery codes and trusted browsers are void, and all browsers were signed out.")
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

// mayFinish answers the request, and returns false, when no reset is due and none was cut off: one that is over here must not begin again, though the
// provider would give another ticket for it.
func (a *App) mayFinish(ctx context.Context, w http.ResponseWriter, r *http.Request, u user) bool {
	restarting, err := a.users.restarting(ctx, u.ID)
	if err != nil {
		a.fail(w, r, err)
		return false
	}
	if restarting {
		return true
	}
	status, err := a.config.Provider.User(ctx, u.AuthyID)
	if err != nil {
		a.warn(r, "reset not finished", u, err)
	}
	due := err == nil && status.Reset != nil && status.Reset.State == client.ResetDue
	if !due {
		http.Redirect(w, r, "/lost", http.StatusSeeOther) // which shows how things stand
	}
	return due
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

// noteRestart notes that a reset is being finished, forgetRestart that none is, and restarting reads the note. Where another request has finished it
// meanwhile nothing is noted: the note would outlive the new start.
func (s *users) noteRestart(ctx context.Context, id string) error {
	if _, err := s.db.ExecContext(ctx, `INSERT INTO restarts (user_id) SELECT id FROM users WHERE id = $1 AND protected = 1 ON CONFLICT DO NOTHING`, id); err != nil {
		return fmt.Errorf("note a restart: %w", err)
	}
	return nil
}

func (s *users) forgetRestart(ctx context.Context, id string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM restarts WHERE user_id = $1`, id); err != nil {
		return fmt.Errorf("forget a restart: %w", err)
	}
	return nil
}

func (s *users) restarting(ctx context.Context, id string) (noted bool, err error) {
	if err := s.db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM restarts WHERE user_id = $1)`, id).Scan(&noted); err != nil {
		return false, fmt.Errorf("read whether a restart is noted: %w", err)
	}
	return noted, nil
}

// resetFactor takes back what protect did, and forgets the note. The number stays until another is given. When another request was first, as with two
// clicks, there is nothing to take back.
func (s *users) resetFactor(ctx context.Context, id string) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("reset factor: %w", err)
	}
	defer tx.Rollback() // of no effect after the commit
	if _, err := tx.ExecContext(ctx, `UPDATE users SET protected = 0, codes_saved = 0, method = '', new_phone = '', new_authy_id = 0, stamp = stamp + 1
		WHERE id = $1 AND protected = 1`, id); err != nil {
		return fmt.Errorf("reset factor: %w", err)
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM restarts WHERE user_id = $1`, id); err != nil {
		return fmt.Errorf("reset factor: %w", err)
	}
	return tx.Commit()
}
