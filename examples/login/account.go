// This file owns the account page, which only signed-in people see.

package login

import (
	"context"
	"net/http"
	"strings"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
)

// accountPage is what the page shows.
type accountPage struct {
	User          user
	Devices       []device
	DevicesFailed bool
	Events        []event
	Transfer      transferForm
}

// device is one authenticator.
type device struct{ Name, Since, Seen string }

// showAccount shows the page. There is no way to call it without a [secondfactor.SignedIn], and only the guard makes one.
func (a *App) showAccount(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn) {
	a.renderAccount(w, r, who, http.StatusOK, defaultTransfer())
}

func (a *App) renderAccount(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn, code int, form transferForm) {
	u, err := a.users.byID(r.Context(), who.User())
	if err != nil {
		a.fail(w, r, err)
		return
	}
	page := accountPage{User: u, Transfer: form}
	if page.Events, err = a.users.events(r.Context(), u.ID); err != nil {
		a.fail(w, r, err)
		return
	}
	// The page is of use without the provider.
	page.Devices, err = a.devices(r.Context(), u)
	page.DevicesFailed = err != nil
	a.render(w, r, code, "account", page)
}

// devices asks the provider which devices act for a user.
func (a *App) devices(ctx context.Context, u user) (list []device, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience/2)
	defer cancel()
	status, err := a.config.Provider.User(ctx, u.AuthyID)
	if err != nil {
		return nil, err
	}
	for _, d := range status.DetailedDevices {
		shown := device{Name: deviceName(d), Since: d.CreatedAt.Format("2 January 2006")}
		if !d.LastSeenAt.IsZero() {
			shown.Seen = d.LastSeenAt.Format("2 January 2006")
		}
		list = append(list, shown)
	}
	return list, nil
}

// deviceName is a word for a platform.
func deviceName(d client.Device) string {
	name := map[string]string{
		"android": "Android phone", "iphone": "iPhone", "ios": "iPhone", "ipad": "iPad", "desktop": "Computer", "terminal": "Terminal",
	}[strings.ToLower(d.OSType)]
	if name == "" {
		return "Device"
	}
	return name
}

// origin says where a request came from, in words for its owner. Only what is known is said.
func origin(r *http.Request) string {
	return secondfactor.Browser(r)
}
