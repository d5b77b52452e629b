package console

import (
	"net/http"
	"slices"

	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// This file owns the messages of an application: what was sent, how, and what became of it. Texts are not kept, so none is shown.

// messages is the data of template "messages".
type messages struct {
	list[message.Record]
	Channel  otp.Channel // only of this one; "" is any
	Status   message.Status
	Channels []otp.Channel
	Statuses []message.Status
	Troubled []message.Condition // gateways that are left alone for a while
}

// Filtered reports whether the list shows only some.
func (m messages) Filtered() bool { return m.Channel != "" || m.Status != "" }

func (c *console) messagesPage(w http.ResponseWriter, r *http.Request, ses operator.Session, app tenant.Application) error {
	page := messages{
		list: list[message.Record]{App: app, Tab: "messages", Max: listMax}, Channels: []otp.Channel{otp.SMS, otp.Voice, otp.Email}, Statuses: message.Statuses,
	}
	// An unknown word in the address is none: the list then shows more, never something else.
	if channel := otp.Channel(r.URL.Query().Get("channel")); slices.Contains(page.Channels, channel) {
		page.Channel = channel
	}
	if status := message.Status(r.URL.Query().Get("status")); slices.Contains(page.Statuses, status) {
		page.Status = status
	}
	for _, condition := range c.Gateways() {
		if !condition.Well() {
			page.Troubled = append(page.Troubled, condition)
		}
	}
	var err error
	if page.Rows, err = c.Lists.SentMessages(r.Context(), app.ID, string(page.Channel), string(page.Status), listMax); err != nil {
		return err
	}
	return c.render(w, http.StatusOK, "messages", view{Title: "Messages · " + app.Name, Nav: "applications", Operator: ses.Operator, Page: page})
}
