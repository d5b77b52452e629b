// This file owns how `countersign device` prints requests: for people, and as JSON for programs.

package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/terminal"
)

// approvalView is a request in JSON. Times are Unix seconds; expires_at is 0 for a request that never expires.
type approvalView struct {
	UUID        string           `json:"uuid"`
	Application string           `json:"application"`
	Account     string           `json:"account"`
	Message     string           `json:"message"`
	Details     []receipt.Field  `json:"details"`
	Context     *receipt.Context `json:"context,omitempty"` // as told by the application
	Status      string           `json:"status"`
	MatchDigits int              `json:"match_digits"` // length of the number to type, 0 = none
	CreatedAt   int64            `json:"created_at"`
	ExpiresAt   int64            `json:"expires_at"`
}

// decisionView is what approve and deny print in JSON.
type decisionView struct {
	approvalView
	ProcessedAt int64 `json:"processed_at"`
}

// codeView is a code in JSON.
type codeView struct {
	Application string `json:"application"`
	Account     string `json:"account"`
	Code        string `json:"code"`
	SecondsLeft int    `json:"seconds_left"`
}

// enrolmentView is a completed enrolment in JSON.
type enrolmentView struct {
	Device string      `json:"device"`
	Name   string      `json:"name"`
	Grants []grantView `json:"grants"`
}

type grantView struct {
	Application string `json:"application"`
	Account     string `json:"account"`
}

func viewApproval(a terminal.Approval) approvalView {
	view := approvalView{
		UUID: a.UUID, Application: a.Content.Application, Account: a.Account, Message: a.Content.Message, Details: a.Content.Details,
		Status: a.Status, MatchDigits: a.MatchDigits, CreatedAt: a.CreatedAt.Unix(),
	}
	if a.Content.Context != (receipt.Context{}) {
		view.Context = &a.Content.Context
	}
	if !a.ExpiresAt.IsZero() {
		view.ExpiresAt = a.ExpiresAt.Unix()
	}
	return view
}

// show prints a request whole: everything that an answer signs as shown.
func show(out *output, a terminal.Approval, now time.Time) error {
	table := tabwriter.NewWriter(out.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "%s asks %s:\n\n    %s\n\n", a.Content.Application, a.Account, a.Content.Message)
	for _, d := range a.Content.Details {
		fmt.Fprintf(table, "    %s\t%s\n", d.Name, d.Value)
	}
	if len(a.Content.Details) > 0 {
		fmt.Fprintln(table)
	}
	if c := a.Content.Context; c != (receipt.Context{}) {
		fmt.Fprintf(table, "Where it was started, as told by %s:\n", a.Content.Application)
		for _, told := range [][2]string{{"Address", c.Address}, {"Browser", c.Browser}, {"Page", c.Origin}} {
			if told[1] != "" {
				fmt.Fprintf(table, "    %s\t%s\n", told[0], told[1])
			}
		}
		fmt.Fprintln(table)
	}
	if a.Content.Logo != "" {
		fmt.Fprintf(table, "Logo:\t%s (SHA-256; a terminal cannot show it)\n", a.Content.Logo)
	}
	fmt.Fprintf(table, "Asked:\t%s\n", a.CreatedAt.Format(time.DateTime))
	if a.Status == "pending" {
		fmt.Fprintf(table, "Time left:\t%s\n", timeLeft(a.ExpiresAt, now))
	} else {
		fmt.Fprintf(table, "Status:\t%s\n", a.Status)
	}
	if a.MatchDigits > 0 {
		fmt.Fprintf(table, "To approve:\ttype the %d digits that %s shows: --match N\n", a.MatchDigits, a.Content.Application)
	}
	fmt.Fprintf(table, "UUID:\t%s\n", a.UUID)
	return table.Flush()
}

// line prints a request in one line.
func line(a terminal.Approval, now time.Time) string {
	details := make([]string, len(a.Content.Details))
	for i, d := range a.Content.Details {
		details[i] = strings.TrimPrefix(d.Name+": "+d.Value, ": ")
	}
	text := fmt.Sprintf("%s  %s asks %s: %s", a.CreatedAt.Format(time.TimeOnly), a.Content.Application, a.Account, a.Content.Message)
	if len(details) > 0 {
		text += " (" + strings.Join(details, ", ") + ")"
	}
	if a.MatchDigits > 0 {
		text += fmt.Sprintf("  [--match, %d digits]", a.MatchDigits)
	}
	return fmt.Sprintf("%s  %s  %s", text, timeLeft(a.ExpiresAt, now), a.UUID)
}

// timeLeft says how long something still lives.
func timeLeft(end, now time.Time) string {
	left := end.Sub(now)
	switch {
	case end.IsZero():
		return "no limit"
	case left <= 0:
		return "expired"
	case left < 2*time.Minute:
		return fmt.Sprintf("%d s", int(left.Round(time.Second).Seconds()))
	case left < 2*time.Hour:
		return fmt.Sprintf("%d min", int(left.Round(time.Minute).Minutes()))
	}
	return fmt.Sprintf("%d h", int(left.Round(time.Hour).Hours()))
}

// cut shortens a text for a column of a table. show prints it whole.
func cut(s string, columns int) string {
	runes := []rune(s)
	if len(runes) <= columns {
		return s
	}
	return string(runes[:columns-1]) + "…"
}
