// This file owns the security page: what protects an account, seen and changed. Every change of a factor or the password stands behind a
// fresh proof (App.confirmed), is written into the history and mailed to the owner.

package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"countersign.dev/client"
	"countersign.dev/secondfactor"
)

// securityPage is what the page shows.
type securityPage struct {
	User          user
	Notice        string
	Devices       []device
	DevicesFailed bool
	Reset         *client.Reset
	CodesLeft     int
	Trusted       []secondfactor.Place
	Sessions      []secondfactor.Place
	Events        []event
}

func (a *App) showSecurity(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn, u user) {
	ctx := r.Context()
	page := securityPage{User: u, Notice: notices[r.FormValue("notice")]}
	var err1, err2, err3, err4 error
	page.CodesLeft, err1 = a.guard.RecoveryCodesLeft(ctx, u.ID)
	page.Trusted, err2 = a.guard.TrustedBrowsers(ctx, who)
	page.Sessions, err3 = a.guard.Sessions(ctx, who)
	page.Events, err4 = a.users.events(ctx, u.ID, 20)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		a.fail(w, r, err)
		return
	}
	var err error
	page.Devices, page.Reset, err = a.factor(ctx, u)
	page.DevicesFailed = err != nil
	a.render(w, r, http.StatusOK, "security", page)
}

// forgetBrowser ends the trust in one browser, or in all. signOut does the same to sessions. Giving something up needs no proof.
func (a *App) forgetBrowser(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn, _ user) {
	a.giveUp(w, r, "forgotten",
		func(id string) error { return a.guard.ForgetBrowser(r.Context(), who, id) },
		func() error { return a.guard.ForgetAllBrowsers(r.Context(), who) })
}

func (a *App) signOut(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn, _ user) {
	a.giveUp(w, r, "signed-out",
		func(id string) error { return a.guard.SignOut(r.Context(), who, id) },
		func() error { return a.guard.SignOutOthers(r.Context(), who) })
}

// giveUp ends the one that a form names, or all of them where it says so: a field that is missing must not mean all.
func (a *App) giveUp(w http.ResponseWriter, r *http.Request, notice string, one func(id string) error, all func() error) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	var err error
	switch id := form.Get("id"); {
	case form.Get("all") == "yes":
		err = all()
	case id != "":
		err = one(id)
	default:
		a.problem(w, r, http.StatusBadRequest, "The form did not say which browser. Go back to the security page and press the button there.", "")
		return
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/security?notice="+notice, http.StatusSeeOther)
}

// notMeStops is for how long the provider refuses requests to a user who said "not me" to one.
const notMeStops = 20 * time.Minute

// dismissAlarm takes the word that all is well. The provider goes by what was signed, so it asks the devices nothing for a while all the same.
func (a *App) dismissAlarm(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, u user) {
	if err := a.users.setAlarm(r.Context(), u.ID, 0); err != nil {
		a.fail(w, r, err)
		return
	}
	notice := "alarm"
	if a.config.Clock().Before(time.Unix(u.AlarmAt, 0).Add(notMeStops)) {
		notice = "alarm-early"
	}
	http.Redirect(w, r, "/account?notice="+notice, http.StatusSeeOther)
}

// passwordPage is the form to change or reset a password.
type passwordPage struct {
	Error string // about the new password
	Wrong bool   // the old one is not right
	Token string // of a reset
}

func (a *App) showPassword(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, _ user) {
	a.render(w, r, http.StatusOK, "password", passwordPage{})
}

// changePassword sets a new password, signs all other browsers out and trusts none any more (AC9).
func (a *App) changePassword(w http.ResponseWriter, r *http.Request, who secondfactor.Confirmed, u user) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	right, err := a.hashing.check(r.Context(), u.Password, form.Get("old"))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	page := passwordPage{Wrong: !right, Error: weakPassword(form.Get("password"), u.Email)}
	if page.Wrong || page.Error != "" {
		a.render(w, r, http.StatusUnprocessableEntity, "password", page)
		return
	}
	err = a.setPassword(r.Context(), u, form.Get("password"))
	if err == nil {
		err = errors.Join(a.guard.SignOutOthers(r.Context(), who.SignedIn), a.guard.ForgetAllBrowsers(r.Context(), who.SignedIn))
	}
	if err == nil {
		err = a.tell(r.Context(), u, a.origin(r), "The password was changed", "Other browsers were signed out, and none is trusted any more.")
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/security?notice=password", http.StatusSeeOther)
}

func (a *App) setPassword(ctx context.Context, u user, password string) error {
	hash, err := a.hashing.hash(ctx, password)
	if err != nil {
		return err
	}
	return a.users.setPassword(ctx, u.ID, hash)
}

// phonePage is the form for a new number.
type phonePage struct {
	Old         string
	CountryCode string
	Countries   []country
	BadPhone    string
}

func (a *App) showPhone(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, u user) {
	a.renderPhone(w, r, u, u.CountryCode, "")
}

func (a *App) renderPhone(w http.ResponseWriter, r *http.Request, u user, code, problem string) {
	status := http.StatusOK
	if problem != "" {
		status = http.StatusUnprocessableEntity
	}
	a.render(w, r, status, "phone", phonePage{Old: u.MaskedPhone(), CountryCode: code, Countries: countries(), BadPhone: problem})
}

// changePhone registers the new number and has it proved by a text message. Until that is done the old one counts (AC2, AC3).
func (a *App) changePhone(w http.ResponseWriter, r *http.Request, who secondfactor.Confirmed, u user) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	code, phone, sound := readPhone(form.Get("country_code"), form.Get("phone"))
	switch {
	case !sound:
		a.renderPhone(w, r, u, form.Get("country_code"), "Enter a phone number with its country.")
		return
	case code == u.CountryCode && phone == u.Phone:
		a.renderPhone(w, r, u, code, "That is the number you have.")
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	authyID, err := a.config.Provider.AddUser(ctx, client.NewUser{Email: u.Email, CountryCode: code, Phone: phone})
	if err != nil {
		a.warn(r, "new number not registered", u, err)
		a.renderPhone(w, r, u, code, "The approval service did not take this number. Check it, or try again later.")
		return
	}
	if err := a.users.wantPhone(r.Context(), u.ID, code, phone, authyID); err != nil {
		a.fail(w, r, err)
		return
	}
	p := person(u)
	p.AuthyID = authyID
	a.guard.Change(w, r, who, p, "phone", "/security?notice=phone")
}

// phoneChanged takes the new number once it is proved: the old one and its devices are void, and it is told, as the mail address is.
func (a *App) phoneChanged(ctx context.Context, u user, done secondfactor.Completion) error {
	if err := a.users.changePhone(ctx, u.ID, done.AuthyID, done.Method); err != nil {
		return err
	}
	now, err := a.users.byID(ctx, u.ID)
	if err == nil {
		err = a.users.proveNumber(ctx, now, a.config.Clock()) // by the text that was just typed
	}
	if err != nil {
		return err
	}
	a.tellNumber(ctx, u)
	a.leaveProvider(ctx, u)
	return a.tell(ctx, u, done.Origin, "The phone number was changed", "Devices of the old number are void, and no browser is trusted any more.")
}

// tellNumber tells a number by text message that it counts no more. That it cannot be told stops nothing.
func (a *App) tellNumber(ctx context.Context, u user) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := a.config.Provider.SendNotice(ctx, u.AuthyID, client.NoticeNumberChanged); err != nil {
		a.config.Logger.WarnContext(ctx, "old number not told", "user", u.ID)
	}
}

// leaveProvider removes a factor at the provider, unless another account has the same (AC6). That it fails leaves a factor there that
// opens nothing here.
func (a *App) leaveProvider(ctx context.Context, u user) {
	shared, err := a.users.shared(ctx, u)
	if err != nil || shared {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := a.config.Provider.RemoveUser(ctx, u.AuthyID); err != nil {
		a.config.Logger.WarnContext(ctx, "old factor not removed at the provider", "user", u.ID)
	}
}

// devicePage shows a ticket for one more device.
type devicePage struct {
	Link    string
	Words   []string
	QR      template.HTML
	Minutes int
	Known   string // ids of the devices that are there already, between commas
	Notice  string
	Failed  bool
}

func (a *App) showDevice(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, _ user) {
	a.render(w, r, http.StatusOK, "device", devicePage{Notice: notices[r.FormValue("notice")]})
}

// listDevices tells the page with the ticket which devices there are, so that it notices a new one.
func (a *App) listDevices(w http.ResponseWriter, r *http.Request, _ secondfactor.SignedIn, u user) {
	own, _, err := a.factor(r.Context(), u)
	if err != nil {
		http.Error(w, "The provider did not answer.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string][]int64{"devices": ids(own)})
}

func ids(list []device) []int64 {
	all := make([]int64, 0, len(list))
	for _, d := range list {
		all = append(all, d.ID)
	}
	return all
}

// addDevice makes a ticket. Whoever has it adds a device, so it is shown in this answer only. A number that two accounts share gets
// none: the device would act for both.
func (a *App) addDevice(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, u user) {
	shared, err := a.users.shared(r.Context(), u)
	if err != nil {
		a.fail(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	var own []device
	var ticket client.Ticket
	if !shared {
		own, _, err = a.factor(ctx, u)
	}
	if err == nil && !shared {
		ticket, err = a.config.Provider.CreateEnrollmentTicket(ctx, u.AuthyID)
	}
	if err != nil || shared {
		a.render(w, r, http.StatusOK, "device", devicePage{Failed: true})
		return
	}
	page := devicePage{
		Link: ticket.Link, Words: strings.Split(ticket.Words, "-"),
		Minutes: int((ticket.ExpiresAt.Sub(a.config.Clock()) + time.Minute - 1) / time.Minute),
		Known:   strings.Trim(strings.ReplaceAll(fmt.Sprint(ids(own)), " ", ","), "[]"),
	}
	if page.QR, err = drawQR(ticket.Link); err == nil {
		err = a.tell(r.Context(), u, a.origin(r), "A ticket for one more device was made", "Whoever has it can add a device within ten minutes.")
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.render(w, r, http.StatusOK, "device", page)
}

// removalPage asks once more before devices are removed.
type removalPage struct {
	Devices []device // what would be removed
	All     bool     // the form says all, instead of one id
	Left    int      // how many devices remain
}

// askRemoval says what follows, and asks. It changes nothing.
func (a *App) askRemoval(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, u user) {
	asked := r.URL.Query()
	own, meant, ok := a.meantDevices(w, r, u, asked)
	if ok {
		a.render(w, r, http.StatusOK, "removal", removalPage{Devices: meant, All: asked.Get("all") == "yes", Left: len(own) - len(meant)})
	}
}

// removeDevice takes a device off the account, or all of them where the form says so (RE2). A text message is the way in that remains.
func (a *App) removeDevice(w http.ResponseWriter, r *http.Request, who secondfactor.Confirmed, u user) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	_, meant, ok := a.meantDevices(w, r, u, form)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), patience)
	defer cancel()
	var err error
	for _, d := range meant {
		err = errors.Join(err, a.config.Provider.RemoveDevice(ctx, d.ID))
	}
	if err != nil {
		a.devicesUnknown(w, r, u, err)
		return
	}
	err = errors.Join(a.users.factorChanged(ctx, u.ID), a.guard.ForgetAllBrowsers(ctx, who.SignedIn),
		a.tell(ctx, u, a.origin(r), "A device was removed", "It answers and shows codes for you no more. No browser is trusted any more."))
	if err != nil {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/security?notice=device", http.StatusSeeOther)
}

// meantDevices finds the account's own devices, and which of them a form or an address means. Which are the account's own is asked of the provider: an id in
// a form proves nothing. Devices of a number that two accounts share are the business of both. Where there is none it answers the request and returns false.
func (a *App) meantDevices(w http.ResponseWriter, r *http.Request, u user, form url.Values) (own, meant []device, ok bool) {
	shared, err := a.users.shared(r.Context(), u)
	if err != nil {
		a.fail(w, r, err)
		return nil, nil, false
	}
	if shared {
		a.problem(w, r, http.StatusConflict, "Another account has the same number, so its devices act for both. Remove the device in its authenticator.", "")
		return nil, nil, false
	}
	if own, _, err = a.factor(r.Context(), u); err != nil {
		a.devicesUnknown(w, r, u, err)
		return nil, nil, false
	}
	for _, d := range own {
		if form.Get("all") == "yes" || form.Get("id") == strconv.FormatInt(d.ID, 10) {
			meant = append(meant, d)
		}
	}
	if len(meant) == 0 {
		a.problem(w, r, http.StatusNotFound, "You have no such device any more.", "")
		return nil, nil, false
	}
	return own, meant, true
}

func (a *App) devicesUnknown(w http.ResponseWriter, r *http.Request, u user, err error) {
	a.warn(r, "device not removed", u, err)
	a.problem(w, r, http.StatusBadGateway, "The approval service did not answer. Look at the list of your devices, and try again.", "")
}

func (a *App) showOff(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, _ user) {
	a.render(w, r, http.StatusOK, "off", nil)
}

// turnOff makes devices, codes and trusted browsers void and signs out everywhere. This bank wants a second factor of everybody, so the next
// log-in sets up another; a bank that does not would open a session without one here.
func (a *App) turnOff(w http.ResponseWriter, r *http.Request, _ secondfactor.Confirmed, u user) {
	ctx := context.WithoutCancel(r.Context())
	err := a.users.unprotect(ctx, u.ID)
	if err == nil {
		a.leaveProvider(ctx, u)
		err = errors.Join(a.guard.DropRecoveryCodes(ctx, u.ID), a.guard.SignOutEverywhere(ctx, u.ID),
			a.tell(ctx, u, a.origin(r), "Two-factor authentication was switched off", "Devices, recovery codes and trusted browsers are void. Your next log-in sets it up again."))
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	http.Redirect(w, r, "/login?notice=off", http.StatusSeeOther)
}
