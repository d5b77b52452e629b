// This file owns `countersign serve`: flags, the printing of settings, and the log. What runs is in internal/serve.

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"text/tabwriter"
	"time"

	"countersign.dev/internal/serve"
	"countersign.dev/internal/settings"
)

// serveCmd is `countersign serve`: the provider for a company.
type serveCmd struct {
	settings.Serve
	Check bool `name:"check" help:"Check the settings, print those that count with where each comes from, secrets masked, and leave."`
	JSON  bool `name:"json" help:"Print JSON."`
}

// Help is printed by serve --help.
func (c *serveCmd) Help() string {
	return `Every setting may be given as a flag, as a variable (COUNTERSIGN_API_URL for --api-url; lists with commas) or in the TOML file
that --config names (api-url = "…"; lists as ["…", "…"]). A flag counts before a variable, a variable before the file, the
file before the default. Unknown names are refused.

Example: countersign serve --config /etc/countersign/countersign.toml --check

Exit codes: 0 stopped, 1 failed, 2 wrong settings.`
}

// Run serves until ctx ends.
func (c *serveCmd) Run(ctx context.Context, out *output) error {
	if err := c.Serve.Check(); err != nil {
		return err
	}
	if c.Check {
		return printSettings(out, c.Effective(), c.JSON)
	}
	log := newLog(out.Err, c.Running)
	return serve.Run(ctx, serve.Config{Settings: &c.Serve, Now: time.Now, Log: log}, func(r serve.Ready) error {
		if c.JSON {
			return out.json(r)
		}
		_, err := fmt.Fprintf(out.Out, "Countersign is running: API %s, authenticator %s, console %s.\n", r.APIURL, r.AuthenticatorURL, r.ConsoleURL)
		if err == nil && !r.Operator {
			_, err = fmt.Fprintln(out.Out, "Nobody can use the console yet. Make the one-time link for the first operator with: countersign operator invite")
		}
		return err
	})
}

func newLog(w io.Writer, s settings.Running) *slog.Logger {
	options := &slog.HandlerOptions{Level: slog.Level(s.LogLevel)}
	if s.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

func printSettings(out *output, effective []settings.Effective, asJSON bool) error {
	if asJSON {
		return out.json(effective)
	}
	table := tabwriter.NewWriter(out.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "SETTING\tVALUE\tFROM")
	for _, e := range effective {
		fmt.Fprintf(table, "%s\t%s\t%s\n", e.Name, e.Value, e.From)
	}
	return table.Flush()
}
