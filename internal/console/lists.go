package console

import (
	"net/http"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// This file owns the lists: what happened to each user, approval and callback, newest first.

// listMax is how many rows a list shows. Its page says so.
const listMax = 100

// list is the data of the templates "approvals" and "audit", and part of that of other lists.
type list[T any] struct {
	App  tenant.Application
	Tab  string
	Rows []T
	Max  int
}

// Full reports whether there may be more than is shown.
func (l list[T]) Full() bool { return len(l.Rows) >= l.Max }

func renderList[T any](c *console, w http.ResponseWriter, ses operator.Session, app tenant.Application, tab, title string, rows []T, err error) error {
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, tab, view{
		Title: title + " · " + app.Name, Nav: "applications", Operator: ses.Operator, Page: list[T]{App: app, Tab: tab, Rows: rows, Max: listMax},
	})
}

func (c *console) approvalsPage(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	rows, err := c.Lists.ListedApprovals(r.Context(), app.ID, listMax)
	for i := range rows {
		rows[i].Approval = rows[i].At(c.Now())
	}
	return renderList(c, w, ses, app, "approvals", "Approvals", rows, err)
}

func (c *console) callbacksPage(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	rows, err := c.Lists.Tries(r.Context(), app.ID, listMax)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "callbacks", view{
		Title: "Callbacks · " + app.Name, Nav: "applications", Operator: ses.Operator,
		Page: callbacks{list[callback.Try]{App: app, Tab: "callbacks", Rows: rows, Max: listMax}, r.URL.Query().Has("again")},
	})
}

// callbacks is the data of template "callbacks".
type callbacks struct {
	list[callback.Try]
	Again bool // one was just sent again
}

// sendAgain sends the callback of an approval once more, and shows the tries.
func (c *console) sendAgain(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	if _, err := readForm(w, r); err != nil {
		return err
	}
	if err := c.Again(r.Context(), app, r.PathValue("uuid"), actor(ses)); err != nil {
		return err
	}
	http.Redirect(w, r, "/applications/"+app.ID+"/callbacks?again", http.StatusSeeOther)
	return nil
}

func (c *console) auditPage(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	records, err := c.Lists.Audit(r.Context(), app.ID, listMax)
	return renderList(c, w, ses, app, "audit", "Record", entries(records, ses), err)
}

// entry is an audit record with the words of who did it.
type entry struct {
	audit.Record
	Who named
}

func entries(records []audit.Record, ses operator.Session) []entry {
	rows := make([]entry, len(records))
	for i, rec := range records {
		rows[i] = entry{rec, who(rec.Actor, ses)}
	}
	return rows
}

// approvalDetail is the data of template "approval".
type approvalDetail struct {
	App      tenant.Application
	Tab      string
	Approval approval.Approval
	Tries    []callback.Try
	Max      int
}

func (c *console) approvalPage(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	a, err := c.Approvals.Get(r.Context(), app.ID, r.PathValue("uuid"))
	if err != nil {
		return err
	}
	tries, err := c.Lists.TriesOf(r.Context(), app.ID, a.UUID, listMax)
	if err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "approval", view{
		Title: "Approval · " + app.Name, Nav: "applications", Operator: ses.Operator,
		Page: approvalDetail{App: app, Tab: "approvals", Approval: a, Tries: tries, Max: listMax},
	})
}
