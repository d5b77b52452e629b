// Command countersign is the whole product in one binary: the service, on a laptop and for a company, its administration, and the
// terminal authenticator.
//
// This file owns the command line itself: one field of cli for each command, each in a file of its own, and the exit
// code: 0 done, 1 failed, 2 wrong usage.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/settings"
)

// cli is the command line.
type cli struct {
	Dev      devCmd         `cmd:"" help:"Run everything on this machine, with nothing to configure: provider, authenticator, console and a sample log-in."`
	Serve    serveCmd       `cmd:"" help:"Run the provider for a company: own database, certificates or proxy. Refuses unsafe settings and says why."`
	Copy     copyCmd        `cmd:"" help:"Copy a database into an empty one, of either kind: from SQLite to PostgreSQL, or back."`
	Migrate  migrateCmd     `cmd:"" help:"Show the version of the database's schema, or bring it up to date."`
	App      applicationCmd `cmd:"" help:"Create, list and show applications, rotate their keys, set their callbacks."`
	Users    usersCmd       `cmd:"" help:"Import an application's users from a file, as when leaving Authy, and export them."`
	Operator operatorCmd    `cmd:"" help:"Invite operators, set one up anew, list and remove them."`
	Keys     keysCmd        `cmd:"" help:"Make and exchange the keys that everything secret is sealed under."`
	Backup   backupCmd      `cmd:"" help:"Copy an SQLite database while serve goes on."`
	Restore  restoreCmd     `cmd:"" help:"Make the database from a backup."`
	Audit    auditCmd       `cmd:"" help:"Verify or export the audit record."`
	Doctor   doctorCmd      `cmd:"" help:"Look at the whole installation and say what to do."`
	Device   deviceCmd      `cmd:"" help:"Approve requests and show codes in this terminal: the authenticator as a command."`
	Bench    benchCmd       `cmd:"" help:"Measure what this machine can do, with the real program under load."`
	Bare     bareCmd        `cmd:"" name:"bench-bare" hidden:"" help:"The yardstick that bench starts."`
	Version  versionCmd     `cmd:"" help:"Print the version."`
}

// output is where a command prints: results to Out, everything else to Err.
type output struct {
	Out, Err io.Writer
}

// json prints a value for programs.
func (o *output) json(v any) error {
	encoder := json.NewEncoder(o.Out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program: it parses args, runs one command until it ends or ctx does, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	helped := false
	parser, err := kong.New(&cli{},
		kong.Name("countersign"),
		kong.Description("Two-factor authentication that a team runs itself."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { helped = true }), // kong leaves after printing help; we return instead
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true}),
		kong.Bind(&output{Out: stdout, Err: stderr}),
		kong.BindTo(ctx, (*context.Context)(nil)),
	)
	if err != nil {
		fmt.Fprintln(stderr, "countersign:", err)
		return 1
	}
	command, err := parser.Parse(args)
	if helped {
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "countersign: %v; see: %s --help\n", err, helpFor(err))
		return 2
	}
	return failed(command.Run(), stderr)
}

// failed prints why a command failed, and returns the exit code.
func failed(err error, stderr io.Writer) int {
	if problems, wrong := errors.AsType[settings.Problems](err); wrong {
		for _, p := range problems {
			fmt.Fprintln(stderr, "countersign:", p)
		}
		return 2
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted")
	}
	if refused, meant := errors.AsType[*fault.Error](err); meant {
		err = errors.New(refused.Detail)
	}
	fmt.Fprintln(stderr, "countersign:", strings.Join(strings.FieldsFunc(err.Error(), isControl), " ")) // drivers write paragraphs
	return 1
}

func isControl(r rune) bool { return r < ' ' }

// helpFor returns the command whose help explains a usage error.
func helpFor(err error) string {
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context.Selected() != nil {
		return parse.Context.Selected().FullPath()
	}
	return "countersign"
}
