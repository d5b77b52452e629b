// This file owns the account page, which only signed-in people see.

package login

import (
	"context"
	"net/http"
	"strings"
	"time"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
)

// accountPage is what the page shows.
type accountPage struct {
	User          user
	Notice        string
	MayTrust      bool // ask whether to trust this browser
	Skipped       bool // the second factor was not asked for, because the browser is trusted
	Recovered     bool // a recovery code was used
	CodesLeft     int
	Alarm         time.Time // "that was not me", zero for never
	Devices       []device
	DevicesFailed bool
	Reset         *client.Reset // somebody said that everything is lost
	Events        []event
	Transfer      transferForm
}

// device is one authenticator.
type device struct {
	ID                int64
	Name, Since, Seen string
}

// member lets people through who are signed in and have saved their recovery codes. There is no way to call what is behind it without
// a [secondfactor.SignedIn], and only the guard makes one.
func (a *App) member(next func(http.ResponseWriter, *http.Request, secondfactor.SignedIn, user)) http.Handler {
	return a.guard.Require(func(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn) {
		u, err := a.users.byID(r.Context(), who.User())
		switch {
		case err != nil:
			a.fail(w, r, err)
		case !u.CodesSaved:
			http.Redirect(w, r, "/codes", http.StatusSeeOther)
		default:
			next(w, r, who, u)
		}
	})
}

// confirmed lets people through who have proved their factor within the last minutes: everything that changes what protects
// the account stands behind it.
func (a *App) confirmed(next func(http.ResponseWriter, *http.Request, secondfactor.Confirmed, user)) http.Handler {
	return a.guard.RequireConfirmed(func(w http.ResponseWriter, r *http.Request, who secondfactor.Confirmed) {
		u, err := a.users.byID(r.Context(), who.User())
		if err != nil {
			a.fail(w, r, err)
			return
		}
		next(w, r, who, u)
	})
}

func (a *App) showAccount(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn, u user) {
	form := defaultTransfer()
	// A transfer that was not approved can be tried again with its values.
	if t, err := a.users.transfer(r.Context(), u.ID, r.FormValue("transfer")); err == nil && !t.Done {
		form.Payee, form.Amount, form.Currency = t.Payee, t.AmountText(), t.Currency
	}
	a.renderAccount(w, r, who, u, http.StatusOK, form)
}

func (a *App) renderAccount(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn, u user, code int, form transferForm) {
	page := accountPage{
		User: u, Notice: notices[r.FormValue("notice")], MayTrust: who.MayTrust(), Transfer: form,
		Skipped: who.Method() == secondfactor.Trusted, Recovered: who.Method() == secondfactor.Recovery,
	}
	if u.AlarmAt != 0 {
		page.Alarm = time.Unix(u.AlarmAt, 0).UTC()
	}
	var err error
	if page.CodesLeft, err = a.guard.RecoveryCodesLeft(r.Context(), u.ID); err == nil {
		page.Events, err = a.users.events(r.Context(), u.ID, 5)
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	// The page is of use without the provider.
	page.Devices, page.Reset, err = a.factor(r.Context(), u)
	page.DevicesFailed = err != nil
	a.render(w, r, code, "account", page)
}

// factor asks the provider which devices act for a user, and whether a reset is under way.
func (a *App) factor(ctx context.Context, u user) (list []device, reset *client.Reset, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	status, err := a.config.Provider.User(ctx, u.AuthyID)
	if err != nil {
		return nil, nil, err
	}
	for _, d := range status.DetailedDevices {
		shown := device{ID: d.ID, Name: deviceName(d), Since: d.CreatedAt.Format("2 January 2006")}
		if !d.LastSeenAt.IsZero() {
			shown.Seen = d.LastSeenAt.Format("2 January 2006")
		}
		list = append(list, shown)
	}
	return list, status.Reset, nil
}

// deviceName is what its owner calls a device, or a word for its platform.
func deviceName(d client.Device) string {
	if d.Name != "" {
		return d.Name
	}
	name := map[string]string{
		"android": "Android phone", "iphone": "iPhone", "ios": "iPhone", "ipad": "iPad", "desktop": "Computer", "terminal": "Terminal",
	}[strings.ToLower(d.OSType)]
	if name == "" {
		return "Device"
	}
	return name
}
