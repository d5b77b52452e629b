// Package bench owns the load generator: what `countersign bench` measures, how, and how it is told.
//
// Each scenario (scenarios.go) runs against the real program in a process of its own, on loopback, over a database that the bench
// filled (seed.go) with people whose devices have real keys. Load is open-loop (load.go): requests begin when they are due, whether or
// not earlier ones were answered, and what an answer took is counted from when its request was due. The highest rate that is
// kept up is searched for (search.go), then latency is measured at half of it.
//
// Beside it, in the same run, stand a bare net/http handler (bare.go) and the same steps without HTTP (seed.go), so that results
// are ratios, which a faster machine does not change.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Scenarios are the names of what can be measured, in their order.
var Scenarios = []string{"verify", "approval", "sms", "mixed", "streams", "growth"}

// SQLite is the store that needs no address: a file in a folder that is removed afterwards.
const SQLite = "sqlite"

// Config says what is measured.
type Config struct {
	Program   string   // the countersign binary that is started
	Stores    []string // SQLite, or addresses of empty PostgreSQL databases
	Scenarios []string
	Quick     bool   // a tenth of the time, for CI: ratios, no figures to quote
	Growth    []int  // numbers of users
	Profiles  string // folder for processor profiles of the server; "": none
	Progress  io.Writer
}

// plan is how long things take.
type plan struct {
	people         int           // with a device each
	crowd          int           // of them, those who have a stream open and are asked for approvals
	texted         int           // people who are sent codes
	estimate, step time.Duration // of the search
	latency        time.Duration // of the run at half the rate
	steps          int
	streams        int // at most
	rounds         int // of growth and retention, interleaved
	old            int // approvals that leave by retention
	callers        int
}

var (
	wholePlan = plan{people: 10_000, crowd: 400, texted: 20_000, estimate: 4 * time.Second, step: 5 * time.Second, latency: 8 * time.Second, steps: 4, streams: 50_000, rounds: 5, old: 40_000, callers: 64}
	quickPlan = plan{people: 3_000, crowd: 100, texted: 1_500, estimate: 800 * time.Millisecond, step: 800 * time.Millisecond, latency: 800 * time.Millisecond, steps: 1, streams: 400, rounds: 1, old: 3_000, callers: 32}
)

func (c *Config) plan() plan {
	if c.Quick {
		return quickPlan
	}
	return wholePlan
}

// step tells whoever watches what comes now.
func (c *Config) step(format string, args ...any) {
	fmt.Fprintf(c.Progress, format+"\n", args...)
}

// check refuses what cannot be measured.
func (c *Config) check() error {
	for _, name := range c.Scenarios {
		if !slices.Contains(Scenarios, name) {
			return fmt.Errorf("there is no scenario %q: choose of %s", name, strings.Join(Scenarios, ", "))
		}
	}
	for _, size := range c.Growth {
		if size < 1000 || size > 20_000_000 {
			return errors.New("growth is measured with 1000 to 20000000 users")
		}
	}
	return nil
}

// Run measures everything. A report is returned with the error, when there is something to tell.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // the processors are the server's: 8 % of the load generator was collecting its garbage
	if err := cfg.check(); err != nil {
		return nil, err
	}
	if cfg.Profiles != "" {
		if err := os.MkdirAll(cfg.Profiles, 0o755); err != nil {
			return nil, fmt.Errorf("keep profiles: %w", err)
		}
	}
	dir, err := os.MkdirTemp("", "countersign-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	r := &Report{Began: time.Now().UTC(), Quick: cfg.Quick, Machine: machine(dir)}
	begun := time.Now()
	for _, store := range cfg.Stores {
		if err = cfg.measure(ctx, dir, store, r); err != nil {
			break
		}
	}
	r.Seconds = round(time.Since(begun).Seconds())
	r.Machine.LoadAfter = loadAverage()
	return r, err
}

// measure runs the scenarios on one database.
func (c *Config) measure(ctx context.Context, dir, address string, r *Report) error {
	if err := c.measureSite(ctx, dir, address, r); err != nil {
		return err
	}
	if c.wants("growth") && address == SQLite {
		return c.measureGrowth(ctx, dir, r)
	}
	return nil
}

func (c *Config) wants(name string) bool { return slices.Contains(c.Scenarios, name) }

// measureSite fills a database, runs what needs no server, then the rest.
func (c *Config) measureSite(ctx context.Context, dir, address string, r *Report) error {
	p := c.plan()
	outside, err := listen()
	if err != nil {
		return err
	}
	defer outside.close()
	s, err := c.seed(ctx, dir, address, outside, p)
	if err != nil {
		return err
	}
	runs, err := c.runs(s, p)
	if err == nil {
		err = c.direct(ctx, s, p, runs)
	}
	if closed := s.close(); err != nil || closed != nil {
		return errors.Join(err, closed)
	}
	if err := c.measureServer(ctx, s, p, runs, r); err != nil || !c.wants("growth") {
		return err
	}
	return c.measureRetention(ctx, s, r)
}

// measureServer starts the server on a filled database and runs what needs it.
func (c *Config) measureServer(ctx context.Context, s *site, p plan, runs []*run, r *Report) (err error) {
	server, err := s.start(ctx, c.Program)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	server.collect(ctx, p)
	r.Starts = append(r.Starts, Start{Store: s.name, ReadyMS: round(float64(server.took.Microseconds()) / 1000), ResidentMiB: round(server.resident() / (1 << 20))})
	for _, run := range runs {
		c.step("%s: %s", s.name, run.scenario.name)
		result, err := c.search(ctx, s, server, p, run)
		r.Runs = append(r.Runs, result)
		if err != nil {
			return fmt.Errorf("%s on %s: %w", run.scenario.name, s.name, err)
		}
	}
	if c.wants("streams") {
		c.step("%s: streams", s.name)
		streams, err := c.measureStreams(ctx, s, server, p)
		if err != nil {
			return fmt.Errorf("streams on %s: %w", s.name, err)
		}
		r.Streams = append(r.Streams, streams)
	}
	return nil
}
