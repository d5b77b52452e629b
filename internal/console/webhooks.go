package console

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/internal/webhook"
)

// This file owns the webhooks that are told of an application's events, and the access keys of the dashboard API that manage them from outside.

// webhooks is the data of template "webhooks".
type webhooks struct {
	App   tenant.Application
	Tab   string
	Saved string // what was just done
	Rows  []webhookRow
	Max   int

	Keys    []webhook.AccessKey
	MaxKeys int
	Made    *webhook.Credentials // just now; nil is masked
	APIURL  string

	Name, URL, Fail string // as typed, when it was refused
	Happen, Never   []eventChoice
}

// webhookRow is a webhook as it is shown. No Key is masked.
type webhookRow struct {
	webhook.Webhook
	Key   string
	Tries []webhook.Try // newest first
}

// eventChoice is an event that a webhook can be told of.
type eventChoice struct {
	Name string
	On   bool
}

func (c *console) webhooksPage(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	return c.renderWebhooks(w, r, http.StatusOK, ses, app, webhooks{Saved: r.URL.Query().Get("saved")}, nil)
}

// renderWebhooks shows the page. Shown are the signing keys to show, by webhook.
func (c *console) renderWebhooks(w http.ResponseWriter, r *http.Request, status int, ses operator.Session, app tenant.Application, p webhooks, shown map[string]string) error {
	p.App, p.Tab, p.Max, p.MaxKeys, p.APIURL = app, "webhooks", webhook.Max, webhook.MaxKeys, c.APIURL
	all, err := c.Webhooks.List(r.Context(), app)
	if err != nil {
		return err
	}
	tries, err := c.Webhooks.Tries(r.Context(), app)
	if err != nil {
		return err
	}
	for _, hook := range all {
		row := webhookRow{Webhook: hook, Key: shown[hook.ID]}
		for _, try := range tries {
			if try.WebhookID == hook.ID {
				row.Tries = append(row.Tries, try)
			}
		}
		p.Rows = append(p.Rows, row)
	}
	if p.Keys, err = c.Webhooks.AccessKeys(r.Context(), app); err != nil {
		return err
	}
	if p.Happen == nil {
		p.Happen, p.Never = eventChoices(nil)
	}
	return c.render(w, status, "webhooks", view{Title: "Webhooks · " + app.Name, Nav: "applications", Operator: ses.Operator, Page: p})
}

// eventChoices are all events, those that happen here and those that have no occasion.
func eventChoices(on []string) (happen, never []eventChoice) {
	for _, name := range webhook.Events() {
		choice := eventChoice{name, slices.Contains(on, name)}
		if slices.Contains(reporting.Events(), name) {
			happen = append(happen, choice)
		} else {
			never = append(never, choice)
		}
	}
	return happen, never
}

// createWebhook makes a webhook, after a fresh proof of who asks: what happens to users leaves by it.
func (c *console) createWebhook(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, append([]string{"name", "url", "password", "code"}, webhook.Events()...)...)
	if err != nil {
		return err
	}
	if ok, err := c.proved(w, r, ses, form, ofApplication(app, "webhooks", "tell another address of events")); !ok || err != nil {
		return err
	}
	var events []string
	for _, name := range webhook.Events() {
		if form[name] != "" {
			events = append(events, name)
		}
	}
	_, err = c.Webhooks.Create(r.Context(), app, form["name"], form["url"], events, actor(ses))
	if errors.Is(err, webhook.ErrInvalid) {
		p := webhooks{Name: form["name"], URL: form["url"], Fail: fault.DetailOf(err) + "."}
		p.Happen, p.Never = eventChoices(events)
		return c.renderWebhooks(w, r, http.StatusUnprocessableEntity, ses, app, p, nil)
	}
	return c.webhooksSaved(w, r, app, "made", err)
}

// showWebhookKey answers with the page that has a webhook's signing key on it, after a fresh proof of who asks.
func (c *console) showWebhookKey(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "password", "code")
	if err != nil {
		return err
	}
	id := r.PathValue("webhook")
	if ok, err := c.proved(w, r, ses, form, ofApplication(app, "webhooks/"+url.PathEscape(id)+"/key", "see the signing key of a webhook")); !ok || err != nil {
		return err
	}
	key, err := c.Webhooks.Reveal(r.Context(), app, id, actor(ses))
	if err != nil {
		return err
	}
	return c.renderWebhooks(w, r, http.StatusOK, ses, app, webhooks{}, map[string]string{id: key})
}

func (c *console) removeWebhook(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	if _, err := readForm(w, r); err != nil {
		return err
	}
	return c.webhooksSaved(w, r, app, "removed", c.Webhooks.Remove(r.Context(), app, r.PathValue("webhook"), actor(ses)))
}

func (c *console) resumeWebhook(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	if _, err := readForm(w, r); err != nil {
		return err
	}
	return c.webhooksSaved(w, r, app, "resumed", c.Webhooks.Resume(r.Context(), app, r.PathValue("webhook"), actor(ses)))
}

// tellAgain tells a webhook of an event once more.
func (c *console) tellAgain(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	if _, err := readForm(w, r); err != nil {
		return err
	}
	return c.webhooksSaved(w, r, app, "again", c.Webhooks.Again(r.Context(), app, r.PathValue("webhook"), r.PathValue("record"), actor(ses)))
}

// createAccessKey answers with the page that has a new key on it, after a fresh proof of who asks. It is not shown again.
func (c *console) createAccessKey(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	form, err := readForm(w, r, "password", "code")
	if err != nil {
		return err
	}
	if ok, err := c.proved(w, r, ses, form, ofApplication(app, "access-keys", "make an access key")); !ok || err != nil {
		return err
	}
	made, err := c.Webhooks.NewAccessKey(r.Context(), app, actor(ses))
	if err != nil {
		return err
	}
	return c.renderWebhooks(w, r, http.StatusOK, ses, app, webhooks{Made: &made}, nil)
}

func (c *console) endAccessKey(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	if _, err := readForm(w, r); err != nil {
		return err
	}
	return c.webhooksSaved(w, r, app, "key-ended", c.Webhooks.EndAccessKey(r.Context(), app, r.PathValue("key"), actor(ses)))
}

func (c *console) webhooksSaved(w http.ResponseWriter, r *http.Request, app tenant.Application, what string, err error) error {
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/applications/"+app.ID+"/webhooks?saved="+url.QueryEscape(what), http.StatusSeeOther)
	return nil
}

// telling is the state of a webhook.
func telling(w webhook.Webhook) pill {
	switch {
	case !w.PausedAt.IsZero():
		return pill{"bad", "Paused"}
	case !w.FailingSince.IsZero():
		return pill{"warn", "Failing"}
	case w.ToldAt.IsZero():
		return pill{"quiet", "Nothing yet"}
	}
	return pill{"good", "Active"}
}
