package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// This file owns applications: their list, making one, its key, callback and number match.

func (c *console) applicationsPage(w http.ResponseWriter, r *http.Request, ses operator.Session) error {
	apps, err := c.Tenants.Store.Applications(r.Context(), ses.Operator.AccountID)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "applications", view{Title: "Applications", Nav: "applications", Operator: ses.Operator, Page: apps})
}

// defaults are the two sets of settings that an application can begin with.
var defaults = map[string]func() tenant.Settings{"new": tenant.NewIntegration, "drop-in": tenant.DropIn}

// newApplication is the data of template "new_application".
type newApplication struct {
	Name, Defaults, Error     string
	Countries, CountriesError string
	New, DropIn               tenant.Settings
}

func (c *console) newApplicationPage(w http.ResponseWriter, r *http.Request, ses operator.Session) error {
	return c.renderNew(w, http.StatusOK, ses, newApplication{Defaults: "new", Countries: guessCountry(r)})
}

func (c *console) renderNew(w http.ResponseWriter, status int, ses operator.Session, p newApplication) error {
	p.New, p.DropIn = tenant.NewIntegration(), tenant.DropIn()
	return c.render(w, status, "new_application", view{Title: "New application", Nav: "applications", Operator: ses.Operator, Page: p})
}

func (c *console) createApplication(w http.ResponseWriter, r *http.Request, ses operator.Session) error {
	form, err := readForm(w, r, "name", "defaults", "countries")
	if err != nil {
		return err
	}
	begin := defaults[form["defaults"]]
	if begin == nil {
		return errForm
	}
	settings, p := begin(), newApplication{Name: form["name"], Defaults: form["defaults"], Countries: form["countries"]}
	if settings.Sending.Countries, err = sending.ParseCountries(form["countries"]); err != nil {
		p.CountriesError = fault.DetailOf(err)
		return c.renderNew(w, http.StatusUnprocessableEntity, ses, p)
	}
	// People read this name on their devices before they approve, so it is what it looks like.
	app, err := c.Tenants.CreateApplication(r.Context(), ses.Operator.AccountID, receipt.CleanText(form["name"]), settings, actor(ses))
	if errors.Is(err, tenant.ErrName) {
		p.Error = tenant.ErrName.Detail
		return c.renderNew(w, http.StatusUnprocessableEntity, ses, p)
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/applications/"+app.ID+"?created", http.StatusSeeOther)
	return nil
}

func actor(ses operator.Session) string { return "operator:" + ses.Operator.ID }

// newFor is how long an application's page shows its key unasked right after it was made: nothing depends on it yet.
const newFor = 10 * time.Minute

// application is the data of template "application".
type application struct {
	App           tenant.Application
	Tab           string
	APIURL        string
	Key           string        // "" is masked
	Created       bool          // right now, by this operator
	Saved         string        // what was just saved: "callback", "callback-off", "match", "switches"
	SigningKeys   []signingKeys // none is masked
	OldSecret     time.Time     // when the old webhook secret ends; zero outside of a rotation
	CallbackURL   string        // as typed, when it was refused
	CallbackGet   bool          // as chosen
	CallbackFail  string
	MatchFail     string
	SiteFail      string
	LogoFail      string
	ResetWait     string        // hours, or as typed, when it was refused
	ResetNow      time.Duration // in its place, where it is no number of hours, as in dev
	ResetWaitFail string
	Sending       sendingCard
	Figures       tenant.Statistics
}

func (c *console) applicationPage(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	q := r.URL.Query()
	p := application{Saved: q.Get("saved"), Created: q.Has("created") && c.Now().Sub(app.CreatedAt) < newFor}
	if p.Created && r.Header.Get(refreshHeader) == "" {
		var err error
		if p.Key, err = c.Tenants.RevealKey(r.Context(), app, actor(ses)); err != nil {
			return err
		}
	}
	return c.renderApplication(w, r, http.StatusOK, ses, app, p)
}

func (c *console) renderApplication(w http.ResponseWriter, r *http.Request, status int, ses operator.Session, app tenant.Application, p application) error {
	p.App, p.Tab, p.APIURL = app, "overview", c.APIURL
	if err := c.fillSending(r.Context(), app, &p.Sending); err != nil {
		return err
	}
	if p.CallbackFail == "" {
		p.CallbackURL, p.CallbackGet = app.Callback.URL, app.Settings.CallbackGet
	}
	if p.ResetWaitFail == "" {
		if wait := reset.WaitOf(app.Settings); wait%time.Hour == 0 {
			p.ResetWait = strconv.Itoa(int(wait.Hours()))
		} else {
			p.ResetNow = wait
		}
	}
	var err error
	if p.Figures, err = c.Tenants.Statistics(r.Context(), app); err != nil {
		return err
	}
	if p.OldSecret, err = c.oldSecret(r.Context(), app); err != nil {
		return err
	}
	slices.Reverse(p.Figures.Months) // newest first, like everything in the console
	return c.render(w, status, "application", view{Title: app.Name, Nav: "applications", Operator: ses.Operator, Page: p})
}

// showKey answers with the page that has the API key on it, after a fresh proof of who asks.
func (c *console) showKey(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "password", "code")
	if err != nil {
		return err
	}
	if ok, err := c.proved(w, r, ses, form, ofApplication(app, "key", "see the API key")); !ok || err != nil {
		return err
	}
	key, err := c.Tenants.RevealKey(r.Context(), app, actor(ses))
	if err != nil {
		return err
	}
	return c.renderApplication(w, r, http.StatusOK, ses, app, application{Key: key})
}

// setCallback changes where decisions are told, after a fresh proof of who asks: whoever is told instead can hold up log-ins and read who logs in.
func (c *console) setCallback(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "url", "method", "off", "password", "code")
	if err != nil {
		return err
	}
	if ok, err := c.proved(w, r, ses, form, ofApplication(app, "callback", "change the callback")); !ok || err != nil {
		return err
	}
	if form["off"] != "" {
		return c.saved(w, r, app, "callback-off", c.Tenants.SetCallback(r.Context(), app.AccountID, app.ID, "", actor(ses)))
	}
	get := form["method"] == http.MethodGet
	err = c.Tenants.SetCallbackAndMethod(r.Context(), app.AccountID, app.ID, form["url"], get, actor(ses))
	if errors.Is(err, tenant.ErrCallbackURL) || errors.Is(err, tenant.ErrCallbackQuery) {
		return c.renderApplication(w, r, http.StatusUnprocessableEntity, ses, app, application{
			CallbackURL: form["url"], CallbackGet: get, CallbackFail: fault.DetailOf(err),
		})
	}
	return c.saved(w, r, app, "callback", err)
}

// setSwitches saves what the application may do, after a fresh proof of who asks when that reveals or weakens something.
func (c *console) setSwitches(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	names := []string{"password", "code"}
	for _, sw := range tenant.Switches {
		names = append(names, sw.Name)
	}
	form, err := readForm(w, r, names...)
	if err != nil {
		return err
	}
	turned, weakens := map[string]bool{}, false // without what stands already: somebody may be turning that now
	for _, sw := range tenant.Switches {
		if on := form[sw.Name] != ""; on != sw.On(app.Settings) {
			turned[sw.Name] = on
			weakens = weakens || sw.Weakens && on
		}
	}
	if weakens {
		if ok, err := c.proved(w, r, ses, form, ofApplication(app, "switches", "allow this")); !ok || err != nil {
			return err
		}
	}
	return c.saved(w, r, app, "switches", c.Tenants.SetSwitches(r.Context(), app, turned, actor(ses)))
}

func (c *console) setMatch(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "mode", "digits")
	if err != nil {
		return err
	}
	digits, err := strconv.Atoi(form["digits"])
	if err != nil {
		digits = 0
	}
	err = c.Tenants.SetMatch(r.Context(), app, tenant.MatchMode(form["mode"]), digits, actor(ses))
	if fault.KindOf(err) == fault.Invalid {
		return c.renderApplication(w, r, http.StatusUnprocessableEntity, ses, app, application{MatchFail: fault.DetailOf(err)})
	}
	return c.saved(w, r, app, "match", err)
}

func (c *console) setSite(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "host")
	if err != nil {
		return err
	}
	err = c.Tenants.SetSite(r.Context(), app, form["host"], actor(ses))
	if errors.Is(err, tenant.ErrOriginHost) {
		app.Settings.OriginHost = form["host"] // as typed
		return c.renderApplication(w, r, http.StatusUnprocessableEntity, ses, app, application{SiteFail: tenant.ErrOriginHost.Detail})
	}
	return c.saved(w, r, app, "site", err)
}

func (c *console) setLogo(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "logo")
	if err != nil {
		return err
	}
	err = c.Tenants.SetLogo(r.Context(), app, form["logo"], actor(ses))
	if errors.Is(err, tenant.ErrLogo) {
		app.Settings.Logo = form["logo"] // as typed
		return c.renderApplication(w, r, http.StatusUnprocessableEntity, ses, app, application{LogoFail: tenant.ErrLogo.Detail})
	}
	return c.saved(w, r, app, "logo", err)
}

func (c *console) saved(w http.ResponseWriter, r *http.Request, app tenant.Application, what string, err error) error {
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/applications/"+app.ID+"?saved="+url.QueryEscape(what), http.StatusSeeOther)
	return nil
}
