package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"countersign.dev/internal/store"
)

// This file owns the search for the highest rate that is kept up, and the run at half of it.

// scenario is something people do with the service.
type scenario struct {
	name, unit string
	do         operation // over HTTP
	direct     operation // the same steps through the domain and the store, without HTTP; nil: none
	bare       bool      // is compared with a bare handler of the same request
	callers    int       // most at once; 0: the plan's
	parts      *tally    // a part of each operation that counts by itself, or nil
	partName   string
	idle       float64 // operations a second for the part's figure on a server that has nothing else to do; 0: none
}

// run is a scenario on its way to a result.
type run struct {
	scenario scenario
	result   Result
}

// kept says whether the load was kept up: all that was due was answered, rightly, and soon.
func (l Load) kept() bool {
	return l.Failed == 0 && l.Latency.P99 <= keptP99 && l.PerSecond >= 0.97*l.Offered
}

// keptP99 is the most that one of a hundred may wait, in milliseconds, at a rate that counts as kept up.
const keptP99 = 500

// direct measures the scenarios without HTTP, in this process.
func (c *Config) direct(ctx context.Context, s *site, p plan, runs []*run) error {
	for _, r := range runs {
		if r.scenario.direct == nil {
			continue
		}
		c.step("%s: %s without HTTP", s.name, r.scenario.name)
		if _, err := s.warmUp(ctx, p.callers, p.estimate/4, r.scenario.direct); err != nil {
			return err
		}
		l := saturate(ctx, p.callers, p.estimate, r.scenario.direct)
		r.result.Direct = &l
		if l.Done == 0 {
			return fmt.Errorf("%s without HTTP: nothing succeeded: %v", r.scenario.name, l.Failures)
		}
	}
	return ctx.Err()
}

// warmUp makes what the first calls make: connections, caches and, once PostgreSQL's statistics are up to date, plans. Those of a database that was empty
// a second ago are nobody's.
func (s *site) warmUp(ctx context.Context, callers int, length time.Duration, do operation) (Load, error) {
	saturate(ctx, callers, length/4, do)
	if err := store.Analyze(ctx, s.database); err != nil {
		return Load{}, err
	}
	return saturate(ctx, callers, length, do), nil
}

// search measures one scenario over HTTP.
func (c *Config) search(ctx context.Context, s *site, server *process, p plan, r *run) (Result, error) {
	sc, out := r.scenario, &r.result
	callers := p.callers
	if sc.callers > 0 {
		callers = min(callers, sc.callers)
	}
	open := 4 * callers
	if sc.callers > 0 {
		open = min(open, sc.callers)
	}
	if sc.idle > 0 {
		sc.part() // forget
		arrive(ctx, open, sc.idle, p.latency/2, sc.do)
		idle := sc.part()
		out.PartIdle, out.IdleRate = &idle, sc.idle
	}
	if _, err := s.warmUp(ctx, callers, p.estimate/2, sc.do); err != nil {
		return *out, err
	}
	if c.Profiles != "" {
		defer c.profile(ctx, server, sc.name)()
	}
	before := server.usage()
	full := saturate(ctx, callers, p.estimate, sc.do)
	out.Saturated, out.Usage = full, server.usage().since(before, full.Done)
	if full.Done == 0 {
		return *out, fmt.Errorf("nothing succeeded: %v", full.Failures)
	}
	rate := full.PerSecond
	for i := range p.steps {
		rate = full.PerSecond * (1 - 0.12*float64(i))
		l := arrive(ctx, open, rate, p.step, sc.do)
		out.Steps = append(out.Steps, l)
		if l.kept() {
			out.Sustained = l.PerSecond
			break
		}
		time.Sleep(p.step / 10) // what was late ends
	}
	sc.part()
	half := arrive(ctx, open, rate/2, p.latency, sc.do)
	out.Half = half
	if sc.parts != nil {
		part := sc.part()
		out.PartHalf = &part
	}
	if half.Done == 0 {
		return *out, fmt.Errorf("nothing succeeded at half the rate: %v", half.Failures)
	}
	if err := c.yardsticks(ctx, s, p, sc, open, out); err != nil {
		return *out, err
	}
	return *out, ctx.Err()
}

// part returns what was counted of the part since it was last asked for, and begins anew.
func (sc *scenario) part() Latency {
	if sc.parts == nil {
		return Latency{}
	}
	sc.parts.mu.Lock()
	defer sc.parts.mu.Unlock()
	l := percentiles(sc.parts.took)
	sc.parts.took.Reset()
	return l
}

// yardsticks measures a bare handler that computes for as long as the server's processors took, and waits for nothing, at half the rate that is kept up: what that
// takes is the machine's and the load generator's share. Where the request is the same it measures the bare handler as it is, too.
func (c *Config) yardsticks(ctx context.Context, s *site, p plan, sc scenario, open int, out *Result) error {
	took := 0.0
	if sc.bare {
		err := c.withBare(ctx, s, 0, func(b *process, do operation) {
			saturate(ctx, p.callers, p.estimate/4, do)
			before := b.usage()
			l := saturate(ctx, p.callers, p.estimate, do)
			took = b.usage().since(before, l.Done).CPU
			half := arrive(ctx, open, out.Half.Offered, p.latency, do)
			out.Bare, out.BareHalf = &l, &half
		})
		if err != nil {
			return err
		}
	}
	if out.Usage.CPU == 0 { // this system does not tell
		return nil
	}
	return c.withBare(ctx, s, time.Duration(max(0, out.Usage.CPU-took)*float64(time.Microsecond)), func(_ *process, do operation) {
		saturate(ctx, p.callers, p.estimate/4, do)
		l := arrive(ctx, open, out.Half.Offered, p.latency, do)
		out.Computing = &l
	})
}

// withBare runs measure while a bare handler is there, which computes for as long as work.
func (c *Config) withBare(ctx context.Context, s *site, work time.Duration, measure func(*process, operation)) error {
	b, err := s.startBare(ctx, c.Program, work)
	if err != nil {
		return err
	}
	defer b.client.close()
	measure(b, s.verifyBare(&circle{people: s.people}, b))
	return b.stop()
}

// profile begins a processor profile of the server, and returns what waits for its end.
func (c *Config) profile(ctx context.Context, server *process, name string) func() {
	file := filepath.Join(c.Profiles, strings.ReplaceAll(server.site.name, " ", "-")+"-"+name+".pprof")
	done := make(chan error, 1)
	go func() { done <- server.profile(ctx, file, c.plan().estimate) }()
	return func() {
		if err := <-done; err != nil {
			c.step("no profile: %v", err)
		}
	}
}
