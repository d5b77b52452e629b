package console

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// This file owns users: their list, the page of one, and the new start of who lost everything.

// users is the data of template "users".
type users struct {
	list[operator.ListedUser]
	Resets  []openReset // under way
	Unknown string      // the id that was looked for
}

// openReset is a reset with where it stands now.
type openReset struct {
	operator.ListedReset
	State reset.State
}

// usersPage lists the newest users, or leads to the one whose id was typed.
func (c *console) usersPage(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	typed := strings.TrimSpace(r.URL.Query().Get("id"))
	if typed != "" {
		u, err := c.user(r, app, typed)
		if err == nil {
			http.Redirect(w, r, userPath(app, u), http.StatusSeeOther)
			return nil
		}
		if !errors.Is(err, tenant.ErrUser) {
			return err
		}
	}
	p := users{list[operator.ListedUser]{App: app, Tab: "users", Max: listMax}, nil, typed}
	var err error
	if p.Rows, err = c.Lists.ListedUsers(r.Context(), app.ID, listMax); err != nil {
		return err
	}
	resets, err := c.Lists.OpenResets(r.Context(), app.ID, c.Now(), listMax)
	if err != nil {
		return err
	}
	for _, l := range resets {
		p.Resets = append(p.Resets, openReset{l, l.Reset.At(c.Now())})
	}
	return c.render(w, http.StatusOK, "users", view{Title: "Users · " + app.Name, Nav: "applications", Operator: ses.Operator, Page: p})
}

// user is the application's user with this authy_id.
func (c *console) user(r *http.Request, app tenant.Application, id string) (tenant.User, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil {
		return tenant.User{}, tenant.ErrUser
	}
	return c.Tenants.User(r.Context(), app, n)
}

func userPath(app tenant.Application, u tenant.User) string {
	return "/applications/" + app.ID + "/users/" + strconv.FormatInt(u.AuthyID, 10)
}

// userDetail is the data of template "user".
type userDetail struct {
	App     tenant.Application
	Tab     string
	User    tenant.User
	Devices []device.Grant
	Told    []tenant.Activity // by the application, newest first
	Reset   *reset.Reset      // nil when none is under way
	State   reset.State
	Wait    time.Duration
	Saved   string // what just happened: "allowed", "refused"
	Note    string // as typed, when it was refused
	Fail    string
}

func (c *console) userPage(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	return c.renderUser(w, r, http.StatusOK, ses, app, userDetail{Saved: r.URL.Query().Get("saved")})
}

func (c *console) renderUser(w http.ResponseWriter, r *http.Request, status int, ses operator.Session, app tenant.Application, p userDetail) error {
	var err error
	if p.User, err = c.user(r, app, r.PathValue("authy_id")); err != nil {
		return err
	}
	if p.Devices, err = c.Devices.OfUser(r.Context(), p.User.ID); err != nil {
		return err
	}
	if p.Told, err = c.Lists.Activities(r.Context(), app.ID, p.User.ID, listMax); err != nil {
		return err
	}
	switch under, err := c.Resets.Of(r.Context(), p.User); {
	case err == nil:
		p.Reset, p.State = &under, under.At(c.Now())
	case !errors.Is(err, reset.ErrNone):
		return err
	}
	p.App, p.Tab, p.Wait = app, "users", reset.WaitOf(app.Settings)
	return c.render(w, status, "user", view{Title: "User · " + app.Name, Nav: "applications", Operator: ses.Operator, Page: p})
}

// allowReset begins a new start for a user, after a fresh proof of who allows it.
func (c *console) allowReset(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "note", "password", "code")
	if err != nil {
		return err
	}
	u, err := c.user(r, app, r.PathValue("authy_id"))
	if err != nil {
		return err
	}
	what := purpose{Act: "reset a second factor", For: app.Name, Path: userPath(app, u) + "/reset", Back: userPath(app, u)}
	if ok, err := c.proved(w, r, ses, form, what); !ok || err != nil {
		return err
	}
	_, err = c.Resets.Allow(r.Context(), app, u, form["note"], actor(ses))
	if errors.Is(err, reset.ErrNote) || errors.Is(err, reset.ErrAllowed) {
		return c.renderUser(w, r, http.StatusUnprocessableEntity, ses, app, userDetail{Note: form["note"], Fail: fault.DetailOf(err)})
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, userPath(app, u)+"?saved=allowed", http.StatusSeeOther)
	return nil
}

// refuseReset ends a reset. It makes nothing weaker, so it asks for nothing.
func (c *console) refuseReset(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	if _, err := readForm(w, r); err != nil {
		return err
	}
	u, err := c.user(r, app, r.PathValue("authy_id"))
	if err != nil {
		return err
	}
	if err := c.Resets.Refuse(r.Context(), app, u, actor(ses)); err != nil {
		return err
	}
	http.Redirect(w, r, userPath(app, u)+"?saved=refused", http.StatusSeeOther)
	return nil
}

// setResetWait saves how long a reset can be stopped, after a fresh proof of who asks when that becomes shorter.
func (c *console) setResetWait(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "hours", "password", "code")
	if err != nil {
		return err
	}
	hours, err := strconv.Atoi(strings.TrimSpace(form["hours"]))
	if err != nil {
		hours = 0
	}
	if hours > 0 && time.Duration(hours)*time.Hour < reset.WaitOf(app.Settings) {
		if ok, err := c.proved(w, r, ses, form, ofApplication(app, "reset-wait", "shorten the time to stop a reset")); !ok || err != nil {
			return err
		}
	}
	err = c.Tenants.SetResetWait(r.Context(), app, hours, actor(ses))
	if fault.KindOf(err) == fault.Invalid {
		return c.renderApplication(w, r, http.StatusUnprocessableEntity, ses, app, application{ResetWait: form["hours"], ResetWaitFail: fault.DetailOf(err)})
	}
	return c.saved(w, r, app, "reset-wait", err)
}
