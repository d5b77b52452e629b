package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"countersign.dev/internal/bench"
)

// This file owns `countersign bench`: the load generator that people size their machines with.

type benchCmd struct {
	Scenario []string `arg:"" optional:"" help:"What is measured: verify (app codes), approval (whole cycles), sms (codes sent and typed), mixed, streams (idle), growth (few and many users, and old approvals that leave meanwhile). Default: all."`
	Store    []string `name:"store" placeholder:"sqlite|URL" default:"sqlite" help:"On which database: sqlite, or the address of an empty PostgreSQL database. May be repeated."`
	Quick    bool     `name:"quick" help:"Measure for seconds instead of minutes."`
	Growth   []int    `name:"growth" placeholder:"USERS" help:"Numbers of users for growth (default: 5000,500000; with --quick: 2000,20000)."`
	Profiles string   `name:"profiles" placeholder:"DIR" help:"Keep a processor profile of the server for each scenario in this folder."`
	Report   string   `name:"report" placeholder:"FILE" help:"Put the report into this document too, between its two marks."`
	Keep     string   `name:"keep" placeholder:"FILE" help:"Keep the report as JSON in this file too."`
	JSON     bool     `name:"json" help:"Print JSON."`
}

// Help is printed by bench --help.
func (c *benchCmd) Help() string {
	return `Starts the real program over a database that it fills, on loopback, puts load on it, and stops it again. Without a scenario it measures all
of them, in about seven minutes a store: leave the machine alone meanwhile. docs/performance.md says what is measured, and how.

Example: countersign bench verify approval --store "postgres://countersign@db/empty"`
}

// Run measures and prints.
func (c *benchCmd) Run(ctx context.Context, out *output) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	if len(c.Scenario) == 0 {
		c.Scenario = bench.Scenarios
	}
	if len(c.Growth) == 0 {
		c.Growth = []int{5_000, 500_000}
		if c.Quick {
			c.Growth = []int{2_000, 20_000}
		}
	}
	report, err := bench.Run(ctx, bench.Config{
		Program: program, Stores: c.Store, Scenarios: c.Scenario, Quick: c.Quick, Growth: c.Growth, Profiles: c.Profiles, Progress: out.Err,
	})
	if err != nil {
		return err
	}
	if c.Report != "" {
		if err := report.Into(c.Report); err != nil {
			return err
		}
	}
	if c.Keep != "" {
		raw, err := json.MarshalIndent(report, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.Keep, raw, 0o644); err != nil {
			return err
		}
	}
	if c.JSON {
		return out.json(report)
	}
	return report.Print(out.Out)
}

// bareCmd is `countersign bench-bare`, which bench starts.
type bareCmd struct {
	Work time.Duration `help:"How long each request computes besides."`
}

// Run serves until ctx ends.
func (c *bareCmd) Run(ctx context.Context, out *output) error {
	return bench.ServeBare(ctx, c.Work, out.Out)
}
