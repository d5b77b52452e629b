// This file owns the recovery codes page. The codes are the guard's; here they are shown, once, and have to be saved before the account opens.

package login

import (
	"net/http"

	"countersign.dev/secondfactor"
)

// codesPage is what the page shows.
type codesPage struct {
	Codes   []string // nil until they were asked for
	Left    int
	First   bool // the set-up is not complete without them
	Unsaved bool // the box was not ticked
}

// showCodes offers new codes. Loading a page makes none.
func (a *App) showCodes(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, u user) {
	left, err := a.guard.RecoveryCodesLeft(r.Context(), u.ID)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.render(w, r, http.StatusOK, "codes", codesPage{Left: left, First: !u.CodesSaved, Unsaved: r.FormValue("notice") == "unsaved"})
}

// makeCodes makes new codes and shows them: in this one answer, and never again. The old ones are void from here on.
func (a *App) makeCodes(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, u user) {
	codes, err := a.guard.NewRecoveryCodes(r.Context(), u.ID)
	if err == nil {
		err = a.tell(r.Context(), u, a.origin(r), "New recovery codes were made", "The old ones are void.")
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.render(w, r, http.StatusOK, "codes", codesPage{Codes: codes, First: !u.CodesSaved})
}

// savedCodes takes the word that the codes are saved, and with the first ones opens the account.
func (a *App) savedCodes(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, u user) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	left, err := a.guard.RecoveryCodesLeft(r.Context(), u.ID)
	switch {
	case err != nil:
		a.fail(w, r, err)
	case form.Get("saved") == "" || left == 0:
		http.Redirect(w, r, "/codes?notice=unsaved", http.StatusSeeOther)
	case u.CodesSaved:
		http.Redirect(w, r, "/security?notice=codes", http.StatusSeeOther)
	default:
		if err := a.users.saveCodes(r.Context(), u.ID); err != nil {
			a.fail(w, r, err)
			return
		}
		http.Redirect(w, r, "/account?notice=protected", http.StatusSeeOther)
	}
}
