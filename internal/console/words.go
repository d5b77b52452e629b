package console

import (
	"fmt"
	"html/template"
	"net/http"
	"strings"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// This file owns the words for states, and what templates may call.

var words = template.FuncMap{
	"status": status, "reason": reason, "delivery": delivery, "telling": telling, "told": told, "tryOutcome": tryOutcome, "outcome": outcome, "channel": channel, "messageStatus": messageStatus,
	"life": life, "waiting": waiting, "resetState": resetState, "took": took, "target": target, "iso": iso, "plainTime": plainTime, "digitsUpTo": func() []int { return []int{2, 3, 4, 5, 6} },
	"switches": switches, "refusedWhy": refusedWhy, "pieces": pieces, "breakable": breakable, "grouped": grouped, "everywhere": func(countries string) bool { return countries == sending.Anywhere },
	"holdHours": func() int { return int(tenant.HoldFor.Hours()) }, "strikesMax": func() int { return tenant.StrikesToDisable },
}

// breakable lets a long name go on in the next line after its underscores, and nowhere else.
func breakable(name string) template.HTML {
	return template.HTML(strings.ReplaceAll(template.HTMLEscapeString(name), "_", "_<wbr>"))
}

// grouped writes a number with a comma after each three digits before its point.
func grouped(number any) string {
	whole, rest, fraction := strings.Cut(fmt.Sprint(number), ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction {
		whole += "." + rest
	}
	return whole
}

// pill is a state in a word and a colour.
type pill struct{ Tone, Text string }

func status(a approval.Approval) pill {
	switch a.Status {
	case approval.Approved:
		return pill{"good", "Approved"}
	case approval.Denied:
		return pill{"bad", "Denied"}
	case approval.Expired:
		return pill{"quiet", "Expired"}
	case approval.Cancelled:
		return pill{"quiet", "Cancelled"}
	}
	return pill{"accent", "Waiting"}
}

// reason says in words why an approval ended as it did, where the status alone does not.
func reason(a approval.Approval) string {
	switch {
	case a.Reason == approval.ErrMismatch.Code:
		return "The number typed on the device was wrong."
	case a.Reason == approval.NotMe && a.Status == approval.Denied:
		return "The person said that somebody else started it. Requests to them were stopped for 20 minutes."
	case a.Reason == approval.NotMe:
		return "Withdrawn when the person said of another request that somebody else started it."
	case a.Status == approval.Expired:
		return "Nobody answered in time."
	case a.Status == approval.Cancelled:
		return "The application withdrew it, or its user was removed."
	}
	return a.Reason
}

// delivery is the state of an application's callback.
func delivery(cb tenant.Callback) pill {
	switch {
	case !cb.DisabledAt.IsZero():
		return pill{"bad", "Disabled"}
	case cb.URL == "":
		return pill{"quiet", "Not set"}
	case cb.Strikes > 0:
		return pill{"warn", fmt.Sprintf("Failing %d/%d", cb.Strikes, tenant.StrikesToDisable)}
	}
	return pill{"good", "Active"}
}

// tryOutcome is how a try of a callback or webhook was answered: the status of HTTP, 0 for not at all.
func tryOutcome(status int) pill {
	words := strings.TrimSpace(fmt.Sprint(status, " ", http.StatusText(status)))
	switch {
	case status >= 200 && status <= 299:
		return pill{"good", words}
	case status != 0:
		return pill{"bad", words}
	}
	return pill{"warn", "No answer"}
}

func outcome(rec audit.Record) pill {
	if rec.Outcome == audit.OK {
		return pill{"good", "OK"}
	}
	return pill{"bad", rec.Outcome}
}

func messageStatus(s message.Status) pill {
	switch s {
	case message.Sent:
		return pill{"accent", "Sent"}
	case message.Delivered:
		return pill{"good", "Delivered"}
	case message.Failed:
		return pill{"bad", "Failed"}
	case message.Expired:
		return pill{"warn", "Expired"}
	}
	return pill{"quiet", "Queued"}
}

func channel(c otp.Channel) string {
	switch c {
	case otp.SMS:
		return "SMS"
	case otp.Voice:
		return "Call"
	case otp.Email:
		return "E-mail"
	}
	return string(c)
}

// named is something that an audit record names: what it is, and its id.
type named struct{ Kind, ID, Link string }

// Short is as much of the id as tells it apart: our own ids begin with the time (ident.New), UUIDs are random all through.
func (n named) Short() string {
	if len(n.ID) == 24 {
		return n.ID[16:]
	}
	return n.ID[:min(8, len(n.ID))]
}

// who says who an actor of the audit record is (audit.Record).
func who(actor string, ses operator.Session) named {
	kind, id, _ := strings.Cut(actor, ":")
	switch kind {
	case "app":
		return named{Kind: "Application"}
	case "device":
		return named{Kind: "Device", ID: id}
	case "operator":
		if id == ses.Operator.ID {
			return named{Kind: ses.Operator.Email}
		}
		return named{Kind: "Operator", ID: id}
	case "system":
		return named{Kind: "Countersign"}
	case "access_key":
		return named{Kind: "Access key", ID: id}
	case "command":
		return named{Kind: "The server's command line"}
	case "person":
		return named{Kind: "Somebody not yet known"}
	}
	return named{Kind: actor}
}

// target is what a record is about.
func target(rec audit.Record) named {
	kind, id, _ := strings.Cut(rec.Target, ":")
	n := named{Kind: kind, ID: id}
	if kind == "approval" {
		n.Link = "/applications/" + rec.AppID + "/approvals/" + id
	}
	return n
}

// told is what an application said of an activity, "" for nothing.
func told(a tenant.Activity) string {
	if text := string(a.Data); text != "null" && text != "{}" {
		return text
	}
	return ""
}

// life is a number of seconds in words.
func life(s tenant.Seconds) string {
	switch {
	case s == 0:
		return "never"
	case s%86400 == 0:
		return plural(int64(s)/86400, "day")
	case s%3600 == 0:
		return plural(int64(s)/3600, "hour")
	case s%60 == 0:
		return plural(int64(s)/60, "minute")
	}
	return plural(int64(s), "second")
}

// waiting is a time in words, as life is.
func waiting(d time.Duration) string { return life(tenant.Seconds(d / time.Second)) }

// resetState is where a reset stands.
func resetState(s reset.State) pill {
	switch s {
	case reset.Allowed:
		return pill{"warn", "Can be stopped"}
	case reset.Due:
		return pill{"accent", "Begins at the next log-in"}
	}
	return pill{"warn", "Asked for"}
}

func plural(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

func took(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// Times are written in UTC; the page's script says them in the reader's own zone.
func iso(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func plainTime(t time.Time) string { return t.UTC().Format("2 Jan 2006, 15:04:05 UTC") }

// shownSwitch is a switch of an application with its words.
type shownSwitch struct {
	Name, Title, About string
	On, Risky          bool
}

// switchWords are the words of each switch.
var switchWords = map[string]shownSwitch{
	"approvals":        {Title: "Approvals", About: "It may ask its users' devices for decisions."},
	"sms":              {Title: "Text messages", About: "Codes may go out by SMS."},
	"calls":            {Title: "Voice calls", About: "Codes may be read out by a call."},
	"generic_tokens":   {Title: "Other authenticator apps", About: "Users may scan a secret into any authenticator app, and its codes count."},
	"custom_codes":     {Title: "Own verification codes", About: "It may choose the code of a phone verification itself."},
	"export_phones":    {Title: "Phone number export", About: "It may read its users' phone numbers in full. Each time is recorded.", Risky: true},
	"export_secrets":   {Title: "Secret export", About: "It may read the secrets of its users' other authenticator apps. Each time is recorded.", Risky: true},
	"any_code_at_once": {Title: "Any code before registration", About: "As Authy did: without force=true, any code passes for a user who has never finished registration. Only for an old integration that breaks without it.", Risky: true},
}

func switches(set tenant.Settings) []shownSwitch {
	shown := make([]shownSwitch, len(tenant.Switches))
	for i, sw := range tenant.Switches {
		shown[i] = switchWords[sw.Name]
		shown[i].Name, shown[i].On = sw.Name, sw.On(set)
	}
	return shown
}
