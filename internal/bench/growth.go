package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"countersign.dev/internal/store"
)

// This file owns the growth of cost: the same load on databases of different sizes, in turn, so that the machine's moods meet all of them.

// active is how many users of a size type codes; they are spread over all of the database.
const active = 5000

// grown is a filled database with its server.
type grown struct {
	*site
	server *process
	do     operation
	out    Growth
}

// measureGrowth fills one database for each number of users and measures verifications in rounds.
func (c *Config) measureGrowth(ctx context.Context, dir string, r *Report) (err error) {
	p := c.plan()
	outside, err := listen()
	if err != nil {
		return err
	}
	defer outside.close()
	var all []*grown
	defer func() {
		for _, g := range all {
			err = errors.Join(err, g.server.stop())
		}
	}()
	for _, users := range c.Growth {
		c.step("growth: %d users", users)
		g, err := c.grow(ctx, dir, outside, users)
		if err != nil {
			return err
		}
		all = append(all, g)
	}
	for range p.rounds {
		for _, g := range all {
			saturate(ctx, p.callers, p.step/5, g.do) // warm-up
			before := g.server.usage()
			l := saturate(ctx, p.callers, p.step, g.do)
			g.out.PerSecond = append(g.out.PerSecond, l.PerSecond)
			g.out.Usage = g.server.usage().since(before, l.Done)
			g.out.Failed += l.Failed
		}
	}
	for _, g := range all {
		g.out.Median = median(g.out.PerSecond)
		r.Growth = append(r.Growth, g.out)
	}
	return ctx.Err()
}

// grow fills a database and starts its server. Who is active comes in ten parts, among all the others.
func (c *Config) grow(ctx context.Context, dir string, outside *outside, users int) (*grown, error) {
	folder, err := os.MkdirTemp(dir, "growth-")
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, folder, SQLite, outside)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := s.populate(ctx, users); err != nil {
		return nil, errors.Join(fmt.Errorf("%d users: %w", users, err), s.close())
	}
	out := Growth{Users: users, FilledIn: round(time.Since(begun).Seconds())}
	if err := errors.Join(s.pages(ctx, &out), s.close()); err != nil {
		return nil, err
	}
	server, err := s.start(ctx, c.Program)
	if err != nil {
		return nil, err
	}
	out.FileMiB = s.size()
	return &grown{s, server, s.verify(&circle{people: s.people}), out}, nil
}

// pages counts what operations touch, one after the other and without HTTP: the same on every machine.
func (s *site) pages(ctx context.Context, out *Growth) error {
	s.quiet, s.quietKey = &circle{people: s.people}, s.key
	for _, of := range []struct {
		do  operation
		out *Pages
	}{{s.verifyDirect(&circle{people: s.people}), &out.Verify}, {s.cycleDirect, &out.Approval}} {
		const often = 200
		var before store.Touched
		for i := range 2 * often { // the first half fills caches and prepares statements
			if i == often {
				var err error
				if before, err = s.db.Touched(ctx); err != nil {
					return err
				}
			}
			if err := of.do(ctx, time.Now()); err != nil {
				return fmt.Errorf("count pages: %w", err)
			}
		}
		after, err := s.db.Touched(ctx)
		if err != nil {
			return err
		}
		t := after.Since(before)
		*of.out = Pages{Looked: round(float64(t.Looked) / often), Written: round(float64(t.Written) / often)}
	}
	return nil
}

func (s *site) populate(ctx context.Context, users int) (err error) {
	const parts = 10
	if s.app, err = s.tenants.CreateApplication(ctx, s.account.ID, "Bench", settings(), "operator:bench"); err != nil {
		return err
	}
	if s.key, err = s.tenants.APIKey(ctx, s.app.ID); err != nil {
		return err
	}
	busy := min(active, users)
	from := 0
	for range parts {
		people, err := s.enrolFrom(ctx, s.app, from, busy/parts)
		if err != nil {
			return err
		}
		// Each has two devices: one shows a code a second, and that would bound what a few thousand users can do.
		more, err := s.equip(ctx, s.app, from, busy/parts)
		if err != nil {
			return err
		}
		s.people = append(append(s.people, people...), more...)
		from += busy / parts
		if err := s.importUsers(ctx, s.app, from, (users-busy)/parts, true); err != nil {
			return err
		}
		from += (users - busy) / parts
	}
	return nil
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}
