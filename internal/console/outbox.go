package console

import (
	"context"
	"net"
	"net/http"
	"regexp"
	"strings"

	"countersign.dev/internal/egress"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/live"
	"countersign.dev/internal/message"
	"countersign.dev/internal/web"
)

// This file owns the outbox of `dev`: the messages that would have gone out, for people and for scripts. It asks for no
// sign-in, so it opens on the machine itself only.

var errLocal = fault.New(fault.Forbidden, "outbox-local", "The outbox shows codes, so it opens only in a browser on the machine that the server runs on.")

// onThisMachine is a page for who sits at the machine: the connection comes from it, by a name of it (web.Host has held
// the request's host to the public URL), and no proxy or tunnel passed it on.
func (c *console) onThisMachine(h web.Handler) http.Handler {
	return c.open(func(w http.ResponseWriter, r *http.Request) error {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if !c.local || !egress.IsLoopback(host) || r.Header.Get("X-Forwarded-For") != "" || r.Header.Get("Forwarded") != "" {
			return errLocal
		}
		return h(w, r)
	})
}

// outbox is the data of template "outbox".
type outbox struct {
	To   string
	Rows []message.Message
	Max  int
}

func (c *console) outboxPage(w http.ResponseWriter, r *http.Request) error {
	to := r.URL.Query().Get("to")
	if number, ok := strings.CutPrefix(to, " "); ok {
		to = "+" + number // who writes a phone number into an address seldom thinks of escaping the +
	}
	rows, err := c.Outbox.Outbox(r.Context(), to)
	if err != nil {
		return err
	}
	w.Header().Set("Vary", "Accept")
	if strings.Contains(r.Header.Get("Accept"), "application/json") {
		return web.JSON(w, http.StatusOK, rows)
	}
	ses, _ := c.session(r) // only for the navigation
	return c.render(w, http.StatusOK, "outbox", view{
		Title: "Outbox", Nav: "outbox", Operator: ses.Operator, Page: outbox{To: to, Rows: rows, Max: message.OutboxSize},
	})
}

// piece is a part of a message: words, or an address that people may follow.
type piece struct{ Text, Link string }

var addressInText = regexp.MustCompile(`https?://[^\s<>"]+`)

// pieces cuts a message at its addresses. Whoever tries a log-in out follows them here, as in their mail.
func pieces(body string) (all []piece) {
	for {
		at := addressInText.FindStringIndex(body)
		if at == nil {
			return append(all, piece{Text: body})
		}
		address := strings.TrimRight(body[at[0]:at[1]], ".,;:!?)") // which end the sentence
		all = append(all, piece{Text: body[:at[0]]}, piece{Text: address, Link: address})
		body = body[at[0]+len(address):]
	}
}

// outboxEvents tells the page that there is something new.
func (c *console) outboxEvents(w http.ResponseWriter, r *http.Request) error {
	return c.Streams.Serve(w, r, outboxFollower{c.Live.Subscribe(live.MessagesTopic)})
}

// outboxFollower is one open page.
type outboxFollower struct{ sub *live.Subscription }

func (f outboxFollower) Subscription() *live.Subscription { return f.sub }
func (f outboxFollower) End()                             { f.sub.Close() }

func (f outboxFollower) Step(woken []live.Topic, _ func(func(context.Context) error) error) ([]string, error) {
	if len(woken) == 0 {
		return nil, nil
	}
	return []string{"messages"}, nil
}
