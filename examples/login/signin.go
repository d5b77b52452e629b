// This file owns the password step and the home page.

package login

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"countersign.dev/secondfactor"
)

// loginForm is what was typed, without the password.
type loginForm struct {
	Email, Next string
	Wrong       bool
	Wait        int // minutes until another password is looked at, 0 for none
	Notice      string
}

// notices are the words that a redirect may bring along. Nothing else from the address is shown.
var notices = map[string]string{
	"cancelled":     "You cancelled. Nothing was done.",
	"logged-out":    "You are logged out.",
	"protected":     "Your account is protected. From now on every log-in asks for both keys.",
	"codes":         "Your new recovery codes are in force. The old ones are void.",
	"forgotten":     "Forgotten. The next log-in there asks for your second factor.",
	"signed-out":    "Signed out there.",
	"password":      "Your password is changed. Other browsers were signed out, and none is trusted any more.",
	"phone":         "Your new number is in force. Devices of the old one are void: add your authenticator again.",
	"device":        "Removed. It answers for you no more, and no browser is trusted any more.",
	"added":         "Your new device is added. It approves like your others.",
	"late":          "The code to scan has run out. No device was added by it.",
	"alarm":         "Noted: it was you.",
	"alarm-early":   "Noted: it was you. Your devices are asked nothing until 20 minutes after you said otherwise, so log in with a code until then.",
	"off":           "Two-factor authentication is off, and you are signed out everywhere. Log in to set it up again.",
	"reset-stopped": "Stopped. If you did not ask for it, somebody knows your password: change it.",
	"reset":         "Your password is changed. Log in with it, and with your second factor.",
}

func (a *App) home(w http.ResponseWriter, r *http.Request) {
	a.render(w, r, http.StatusOK, "home", notices[r.FormValue("notice")])
}

func (a *App) showLogin(w http.ResponseWriter, r *http.Request) {
	if a.signedIn(r) {
		http.Redirect(w, r, "/account", http.StatusSeeOther)
		return
	}
	form := loginForm{Next: secondfactor.LocalPath(r.FormValue("next"), ""), Notice: notices[r.FormValue("notice")]}
	if form.Next != "" && form.Notice == "" {
		form.Notice = "Log in to see this page."
	}
	a.render(w, r, http.StatusOK, "login", form)
}

// login checks the password. Wrong, unknown, empty and missing all give the same answer after the same work (D7, D19). A right one
// leads to the second factor, or to setting it up when that was left half-way.
func (a *App) login(w http.ResponseWriter, r *http.Request) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	answer := loginForm{Email: form.Get("email"), Next: secondfactor.LocalPath(form.Get("next"), "")}
	if wait := a.waits.left(answer.Email); wait > 0 {
		answer.Wait = int((wait + time.Minute - 1) / time.Minute)
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		a.render(w, r, http.StatusTooManyRequests, "login", answer)
		return
	}
	u, err := a.users.byEmail(r.Context(), answer.Email)
	if err != nil && !errors.Is(err, errNotFound) {
		a.fail(w, r, err)
		return
	}
	right, err := a.hashing.check(r.Context(), u.Password, form.Get("password"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	if !right {
		answer.Wrong = true
		a.render(w, r, http.StatusUnauthorized, "login", answer)
		return
	}
	a.waits.forget(answer.Email)
	next := answer.Next
	if next == "" {
		next = "/account"
	}
	if !u.Protected {
		a.startEnrolment(w, r, u, next)
		return
	}
	if err := a.users.record(r.Context(), u.ID, "Password entered", a.origin(r), a.config.Clock()); err != nil {
		a.fail(w, r, err)
		return
	}
	a.guard.Login(w, r, person(u), next)
}

// signedIn reports whether somebody is signed in here, for pages that look different then. Pages that need it use guard.Require.
func (a *App) signedIn(r *http.Request) bool {
	_, err := a.guard.Who(r)
	return err == nil
}
