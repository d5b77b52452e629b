// This file owns `countersign device`: flags, and what is printed. What a terminal authenticator does is in
// internal/terminal.

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/terminal"
)

type deviceCmd struct {
	Authenticator string `help:"Address of the authenticator. Needed once, then kept in the state file." placeholder:"URL" env:"COUNTERSIGN_AUTHENTICATOR"`
	State         string `help:"State file: the device's key and secrets. Default: countersign/device.json in the folder for settings." placeholder:"FILE" type:"path"`
	JSON          bool   `name:"json" help:"Print JSON."`

	Enroll  deviceEnroll  `cmd:"" help:"Make this terminal a device of yours, or add an application to it."`
	List    deviceList    `cmd:"" help:"List the requests that wait for an answer."`
	Show    deviceShow    `cmd:"" help:"Show one request whole."`
	Approve deviceApprove `cmd:"" help:"Show a request and approve it."`
	Deny    deviceDeny    `cmd:"" help:"Show a request and deny it."`
	Watch   deviceWatch   `cmd:"" help:"Print requests as they come, until interrupted."`
	Codes   deviceCodes   `cmd:"" help:"Show one-time codes. Works without a network."`
	Resets  deviceResets  `cmd:"" help:"Show who wants a new start without this device, and stop it."`
}

// Help returns the examples of `device --help`. The indented lines stay as they are.
func (deviceCmd) Help() string {
	return `Enrol with a code sent to your phone number:

    countersign device enroll --authenticator http://localhost:8302 --phone +12025550123
    countersign device enroll --code 1234567

or with the enrolment link that an application shows you:

    countersign device enroll --ticket http://localhost:8302/enroll#lusab-babad-...

Then answer what is asked, and read codes:

    countersign device watch
    countersign device list
    countersign device approve 66666666-7777-4888-9999-000000000000 --match 123
    countersign device deny 66666666-7777-4888-9999-000000000000
    countersign device codes

In scripts:

    countersign device list --json | jq -r '.[0].uuid'

Exit codes: 0 done, 1 failed, 2 wrong usage.`
}

// terminal opens the authenticator that the flags name.
func (c *deviceCmd) terminal() (*terminal.Terminal, error) {
	file := c.State
	if file == "" {
		var err error
		if file, err = terminal.DefaultStateFile(); err != nil {
			return nil, err
		}
	}
	return terminal.New(terminal.Config{StateFile: file, Authenticator: c.Authenticator})
}

type deviceEnroll struct {
	Phone  string `help:"Have a code sent to this number." placeholder:"+12025550123" xor:"how"`
	Code   string `help:"Complete the enrolment with the code that was sent." placeholder:"CODE" xor:"how"`
	Ticket string `help:"Enrol with an application's enrolment link, or the words of it." placeholder:"LINK" xor:"how"`
	Name   string `help:"Name of this device, as you and applications will see it. Default: this machine's name." placeholder:"NAME"`
}

// Help adds what the list of flags cannot say.
func (deviceEnroll) Help() string { return "Use one of --phone, --code and --ticket." }

// Validate finds that none of the three ways was named; kong finds two of them.
func (c *deviceEnroll) Validate() error {
	if c.Phone+c.Code+c.Ticket == "" {
		return errors.New("one of --phone, --code and --ticket is needed")
	}
	return nil
}

// Run enrols, or has the code sent.
func (c *deviceEnroll) Run(ctx context.Context, device *deviceCmd, out *output) error {
	t, err := device.terminal()
	if err != nil {
		return err
	}
	if c.Phone != "" {
		return c.requestCode(ctx, t, device, out)
	}
	hostname, _ := os.Hostname()
	name := cmp.Or(c.Name, hostname, "terminal")
	var enrolment terminal.Enrolment
	if c.Code != "" {
		enrolment, err = t.ConfirmCode(ctx, c.Code, name)
	} else {
		enrolment, err = t.RedeemTicket(ctx, c.Ticket, name)
	}
	if err != nil {
		return err
	}
	view := enrolmentView{Device: enrolment.Device, Name: enrolment.Name, Grants: []grantView{}}
	for _, g := range enrolment.Grants {
		view.Grants = append(view.Grants, grantView{receipt.CleanText(g.Application.Name), receipt.CleanText(g.Account)})
	}
	if device.JSON {
		return out.json(view)
	}
	fmt.Fprintf(out.Out, "Enrolled as %q.\n", view.Name)
	for _, g := range view.Grants {
		fmt.Fprintf(out.Out, "  %s (%s)\n", g.Application, g.Account)
	}
	fmt.Fprintf(out.Out, "Requests: %[1]s device watch    Codes: %[1]s device codes\n", called())
	return nil
}

func (c *deviceEnroll) requestCode(ctx context.Context, t *terminal.Terminal, device *deviceCmd, out *output) error {
	pending, err := t.RequestCode(ctx, c.Phone)
	if err != nil {
		return err
	}
	if device.JSON {
		return out.json(pending)
	}
	fmt.Fprintf(out.Out, "If %s belongs to a user, a code is on its way to it. Within %s, run:\n\n    %s device enroll --code CODE\n",
		pending.Phone, timeLeft(time.Unix(pending.ExpiresAt, 0), t.ServerTime()), called())
	return nil
}

type deviceList struct{}

// Run prints the pending requests, newest first.
func (c *deviceList) Run(ctx context.Context, device *deviceCmd, out *output) error {
	t, err := device.terminal()
	if err != nil {
		return err
	}
	approvals, err := t.Approvals(ctx)
	if err != nil {
		return err
	}
	if device.JSON {
		views := make([]approvalView, len(approvals))
		for i, a := range approvals {
			views[i] = viewApproval(a)
		}
		return out.json(views)
	}
	if len(approvals) == 0 {
		fmt.Fprintln(out.Out, "Nothing waits for an answer.")
		return nil
	}
	table := tabwriter.NewWriter(out.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "APPLICATION\tACCOUNT\tREQUEST\tTIME LEFT\tUUID")
	for _, a := range approvals {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", cut(a.Content.Application, 30), cut(a.Account, 30), cut(a.Content.Message, 50),
			timeLeft(a.ExpiresAt, t.ServerTime()), a.UUID)
	}
	return table.Flush()
}

type deviceResets struct {
	Stop int64 `help:"Stop the one of this account." placeholder:"ACCOUNT-ID"`
}

// resetView is a reset as JSON has it.
type resetView struct {
	ID          int64  `json:"id"` // of the grant
	Application string `json:"application"`
	Account     string `json:"account"`
	AskedAt     int64  `json:"asked_at"`
	DueAt       int64  `json:"due_at"` // 0 before an operator allowed it
}

// Run prints the resets that are under way, or stops one.
func (c *deviceResets) Run(ctx context.Context, device *deviceCmd, out *output) error {
	t, err := device.terminal()
	if err != nil {
		return err
	}
	if c.Stop != 0 {
		if err := t.StopReset(ctx, c.Stop); err != nil {
			return err
		}
		if !device.JSON {
			fmt.Fprintln(out.Out, "Stopped. If you did not ask for it, somebody knows your password there: change it.")
			return nil
		}
	}
	resets, err := t.Resets(ctx)
	if err != nil {
		return err
	}
	views := make([]resetView, len(resets))
	for i, r := range resets {
		views[i] = resetView{r.GrantID, r.Application, r.Account, r.AskedAt.Unix(), 0}
		if !r.DueAt.IsZero() {
			views[i].DueAt = r.DueAt.Unix()
		}
	}
	if device.JSON {
		return out.json(views)
	}
	if len(resets) == 0 {
		fmt.Fprintln(out.Out, "Nobody asked for a new start without this device.")
	}
	for _, r := range resets {
		fmt.Fprintf(out.Out, "%s: somebody with the password of %s said that everything is lost, at %s.\n", r.Application, r.Account, r.AskedAt.Format(time.DateTime))
		if !r.DueAt.IsZero() {
			fmt.Fprintf(out.Out, "After %s this device no longer answers for it.\n", r.DueAt.Format(time.DateTime))
		}
		fmt.Fprintf(out.Out, "If it was not you: countersign device resets --stop %d\n", r.GrantID)
	}
	return nil
}

type deviceShow struct {
	UUID string `arg:"" help:"The request, as list names it."`
}

// Run prints one request.
func (c *deviceShow) Run(ctx context.Context, device *deviceCmd, out *output) error {
	t, err := device.terminal()
	if err != nil {
		return err
	}
	a, err := t.Approval(ctx, c.UUID)
	if err != nil {
		return err
	}
	if device.JSON {
		return out.json(viewApproval(a))
	}
	return show(out, a, t.ServerTime())
}

type deviceApprove struct {
	UUID  string `arg:"" help:"The request, as list names it."`
	Match string `help:"The number that the application shows, when the request asks for it." placeholder:"N"`
}

// Validate finds a number that is none before anything is asked of the server.
func (c *deviceApprove) Validate() error {
	if strings.Trim(c.Match, "0123456789") != "" {
		return errors.New("--match takes digits only")
	}
	return nil
}

// Run approves.
func (c *deviceApprove) Run(ctx context.Context, device *deviceCmd, out *output) error {
	return device.answer(ctx, out, c.UUID, receipt.Approve, c.Match)
}

type deviceDeny struct {
	UUID  string `arg:"" help:"The request, as list names it."`
	NotMe bool   `help:"Say that somebody else started this: the application is told so, and asks nothing for 20 minutes."`
}

// Run denies.
func (c *deviceDeny) Run(ctx context.Context, device *deviceCmd, out *output) error {
	if c.NotMe {
		return device.answer(ctx, out, c.UUID, receipt.NotMe, "")
	}
	return device.answer(ctx, out, c.UUID, receipt.Deny, "")
}

// answer shows a request, signs what was shown, and prints what was decided.
func (c *deviceCmd) answer(ctx context.Context, out *output, uuid, decision, match string) error {
	t, err := c.terminal()
	if err != nil {
		return err
	}
	a, err := t.Approval(ctx, uuid)
	if err != nil {
		return err
	}
	if !c.JSON {
		if err := show(out, a, t.ServerTime()); err != nil {
			return err
		}
	}
	status, processedAt, err := t.Answer(ctx, a, decision, match)
	if err != nil {
		return err
	}
	if c.JSON {
		view := decisionView{viewApproval(a), processedAt.Unix()}
		view.Status = status
		return out.json(view)
	}
	fmt.Fprintf(out.Out, "\nDecided: %s at %s.\n", status, processedAt.Format(time.TimeOnly))
	if decision == receipt.NotMe && status == "denied" {
		fmt.Fprintf(out.Out, "%s was told that this was not you, and asks nothing for 20 minutes. Change your password there.\n", a.Content.Application)
	}
	return nil
}

type deviceWatch struct{}

// Run prints requests until ctx ends.
func (c *deviceWatch) Run(ctx context.Context, device *deviceCmd, out *output) error {
	t, err := device.terminal()
	if err != nil {
		return err
	}
	fresh := func(a terminal.Approval) {
		if device.JSON {
			// A reader that went away ends the program by its signal, not by this error.
			_ = out.json(viewApproval(a))
			return
		}
		fmt.Fprintln(out.Out, line(a, t.ServerTime()))
	}
	lost := func(err error) { fmt.Fprintf(out.Err, "countersign: %v Trying again.\n", err) }
	return t.Watch(ctx, fresh, lost)
}

type deviceCodes struct{}

// Run prints the codes of now.
func (c *deviceCodes) Run(device *deviceCmd, out *output) error {
	t, err := device.terminal()
	if err != nil {
		return err
	}
	codes, err := t.Codes()
	if err != nil {
		return err
	}
	if device.JSON {
		views := make([]codeView, len(codes))
		for i, code := range codes {
			views[i] = codeView(code)
		}
		return out.json(views)
	}
	if len(codes) == 0 {
		fmt.Fprintln(out.Out, "This device acts for no user any more. Enrol again: countersign device enroll --help")
		return nil
	}
	table := tabwriter.NewWriter(out.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "APPLICATION\tACCOUNT\tCODE\tTIME LEFT")
	for _, code := range codes {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d s\n", cut(code.Application, 30), cut(code.Account, 30), code.Code, code.SecondsLeft)
	}
	return table.Flush()
}
