package message

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"countersign.dev/internal/otp"
)

// This file owns the gateway to Twilio and to all who speak its API: text messages and calls.

// twilio posts to {base}/2010-04-01/Accounts/{account}/Messages.json and Calls.json.
type twilio struct {
	name          string
	base          string // up to the account's id
	user, token   string
	from, service string // a number, a messaging service, or both: the service then sends and the number calls
	client        *http.Client
}

func newTwilio(d *dsn) (Gateway, error) {
	if err := d.credentials(); err != nil {
		return nil, err
	}
	cfg, err := d.tls()
	if err != nil {
		return nil, err
	}
	scheme := "https"
	if d.scheme == "twilio+http" {
		scheme = "http"
	}
	g := &twilio{
		name: d.name(), user: d.user, token: d.password, from: d.option("from"), service: d.option("service"), client: newHTTPClient(cfg),
	}
	account := d.option("account")
	if account == "" {
		account = d.user // an API key is no account, and needs the option
	}
	if g.from == "" && g.service == "" {
		return nil, errors.New("it has neither from, the number that sends, nor service, a messaging service")
	}
	g.base = scheme + "://" + d.hostPort() + strings.TrimSuffix(d.path, "/") + "/2010-04-01/Accounts/" + url.PathEscape(account)
	return g, nil
}

func (g *twilio) Name() string { return g.name }

// maxCall is how long a call may take: to a number that keeps the line open, it is money (T-30).
const maxCall = 2 * time.Minute

func (g *twilio) Send(ctx context.Context, m Message) (string, error) {
	form := url.Values{"To": {m.To}}
	path := "/Messages.json"
	switch {
	case m.Channel == otp.Voice:
		if g.from == "" {
			return "", &Failure{Reason: "calls need from, the number that calls"}
		}
		path = "/Calls.json"
		form.Set("From", g.from)
		form.Set("Twiml", twiML(m))
		form.Set("TimeLimit", strconv.Itoa(int(maxCall/time.Second)))
	case g.service != "":
		form.Set("MessagingServiceSid", g.service)
		form.Set("Body", m.Body)
	default:
		form.Set("From", g.from)
		form.Set("Body", m.Body)
	}
	if m.Channel == otp.SMS && m.Left > 0 {
		form.Set("ValidityPeriod", strconv.Itoa(max(1, int(m.Left/time.Second)))) // it is not delivered later either
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	made, _, err := g.do(r)
	if len(made.SID) > maxRef {
		made.SID = "" // it was taken all the same
	}
	return made.SID, err
}

// resource is what of an answer counts: of an account, a message or a call, or an error.
type resource struct {
	SID       string `json:"sid"`
	Status    any    `json:"status"`     // a word of a resource, a number of an error
	Code      int    `json:"code"`       // of an error
	ErrorCode int    `json:"error_code"` // of a message that did not arrive
}

// do sends a request and reads the resource in the answer, or the error.
func (g *twilio) do(r *http.Request) (answer resource, clock time.Time, err error) {
	r.SetBasicAuth(g.user, g.token)
	r.Header.Set("User-Agent", "Countersign")
	status, header, body, err := exchange(g.client, r)
	if err != nil {
		return answer, clock, err
	}
	decodeErr := json.Unmarshal(body, &answer)
	if status < 200 || status > 299 {
		more := ""
		if decodeErr == nil && answer.Code != 0 {
			more = fmt.Sprint(", error ", answer.Code) // its text names the person's number
		}
		failure := statusFailure(status, header, more)
		if r.Method == http.MethodGet {
			failure.Refused = failure.Refused || neverTells(status)
		}
		return answer, clock, failure
	}
	if decodeErr != nil || answer.SID == "" {
		return answer, clock, &Failure{Reason: fmt.Sprintf("HTTP status %d, but no answer of this API", status)}
	}
	switch answer.Status {
	case "suspended", "closed":
		return answer, clock, &Failure{Reason: fmt.Sprint("the account is ", answer.Status)}
	}
	return answer, clockOf(header), nil
}

func (g *twilio) Check(ctx context.Context) (clock time.Time, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+".json", nil)
	if err != nil {
		return clock, err
	}
	_, clock, err = g.do(r)
	return clock, err
}

// Ask reads the message, or the call, as the API keeps it.
func (g *twilio) Ask(ctx context.Context, c otp.Channel, ref string) (became Status, reason string, err error) {
	kind := "/Messages/"
	if c == otp.Voice {
		kind = "/Calls/"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, g.base+kind+url.PathEscape(ref)+".json", nil)
	if err != nil {
		return "", "", err
	}
	got, _, err := g.do(r)
	if err != nil {
		return "", "", err
	}
	switch word := fmt.Sprint(got.Status); word {
	case "delivered", "read", "completed":
		return Delivered, "", nil
	case "undelivered", "failed", "canceled", "busy", "no-answer":
		if got.ErrorCode != 0 {
			word += fmt.Sprint(", error ", got.ErrorCode) // its text may name the person's number
		}
		return Failed, word, nil
	}
	return Sent, "", nil // on its way
}

// twiML is what a call says, phrase by phrase with a second's pause after each.
func twiML(m Message) string {
	var doc strings.Builder
	doc.WriteString(`<?xml version="1.0" encoding="UTF-8"?><Response>`)
	for _, phrase := range m.Speech {
		fmt.Fprintf(&doc, `<Say language="%s">%s</Say><Pause length="1"/>`, escaped(m.Language), escaped(phrase))
	}
	doc.WriteString(`<Hangup/></Response>`)
	return doc.String()
}

func escaped(s string) string {
	var b strings.Builder
	xml.EscapeText(&b, []byte(s)) // a Builder never fails
	return b.String()
}
