// This file owns the forgotten password: a link by mail, good for half an hour and once. It leads to the log-in, where the second factor is asked
// for as ever: who can read somebody's mail gets no further (D10).

package login

import (
	"context"
	"errors"
	"net/http"
	"strings"
)

// forgotPage is the form that asks for the address, and the answer to it.
type forgotPage struct {
	Email string
	Sent  bool
}

func (a *App) showForgot(w http.ResponseWriter, r *http.Request) {
	a.render(w, r, http.StatusOK, "forgot", forgotPage{})
}

// forgot mails a link, if there is an account. The answer is the same if there is none (D19). Production: send the mail after the answer, so
// that the time it takes says nothing either.
func (a *App) forgot(w http.ResponseWriter, r *http.Request) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	email := strings.TrimSpace(form.Get("email"))
	if soundEmail(email) {
		if err := a.mailReset(r.Context(), email); err != nil && !errors.Is(err, errNotFound) && !errors.Is(err, errMoved) {
			a.fail(w, r, err)
			return
		}
	}
	a.render(w, r, http.StatusOK, "forgot", forgotPage{Email: email, Sent: true})
}

func (a *App) mailReset(ctx context.Context, email string) error {
	token, err := a.users.newLink(ctx, forPassword, email, a.config.Clock())
	if err != nil {
		return err
	}
	u, err := a.users.byEmail(ctx, email)
	if err != nil {
		return err
	}
	a.send(ctx, u.Email, "A new password", "Choose a new password here, within half an hour:\n"+a.config.PublicURL+"/reset?token="+token+
		"\n\nAfterwards you log in with it, and with your second factor as ever. If you did not ask for this, do nothing.")
	return nil
}

// showReset shows the form. Whether the link is good is said when it is used.
func (a *App) showReset(w http.ResponseWriter, r *http.Request) {
	a.render(w, r, http.StatusOK, "password", passwordPage{Token: r.FormValue("token")})
}

// reset sets the new password, signs out everywhere, and trusts no browser any more. It signs nobody in.
func (a *App) reset(w http.ResponseWriter, r *http.Request) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	// The token is used up only with a password that will do.
	page := passwordPage{Token: form.Get("token"), Error: weakPassword(form.Get("password"), "")}
	if page.Error != "" {
		a.render(w, r, http.StatusUnprocessableEntity, "password", page)
		return
	}
	ctx := context.WithoutCancel(r.Context())
	email, err := useLink(ctx, a.users.db, forPassword, page.Token, a.config.Clock())
	var u user
	if err == nil {
		u, err = a.users.byEmail(ctx, email)
	}
	if err == nil {
		err = a.setPassword(ctx, u, form.Get("password"))
	}
	if err == nil {
		err = errors.Join(a.guard.SignOutEverywhere(ctx, u.ID), a.tell(ctx, u, a.origin(r), "The password was reset by mail", "All browsers were signed out, and none is trusted any more."))
	}
	if err != nil {
		a.failLink(w, r, err)
		return
	}
	a.waits.forget(u.Email)
	http.Redirect(w, r, "/login?notice=reset", http.StatusSeeOther)
}
