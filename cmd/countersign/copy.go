package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"countersign.dev/internal/claim"
	"countersign.dev/internal/settings"
	"countersign.dev/internal/store"
)

// This file owns the command `copy`. What it does is in internal/store.

// copyCmd is `countersign copy`.
type copyCmd struct {
	From settings.Database `name:"from" required:"" help:"The database to read: postgres://USER@HOST/NAME, or the path of an SQLite file." env:"COUNTERSIGN_COPY_FROM"`
	To   settings.Database `name:"to" required:"" help:"The empty database to fill, or a new file." env:"COUNTERSIGN_COPY_TO"`
	JSON bool              `name:"json" help:"Print the tables as JSON, and progress as JSON lines on stderr."`
}

// Help is printed by copy --help.
func (*copyCmd) Help() string {
	return `Stop every server first: nobody may use either database meanwhile. When the copy ends, every row was read again from both and
compared. A copy that was interrupted goes on where it stopped when the same command runs again; until it has ended, no
server starts on it. The master key stays the same.

    countersign copy --from /var/lib/countersign/countersign.db --to postgres://countersign@db.internal/countersign
    countersign copy --from postgres://countersign@db.internal/countersign --to /var/lib/countersign/countersign.db

A password is better given in PGPASSWORD or in COUNTERSIGN_COPY_FROM and COUNTERSIGN_COPY_TO than in an argument, which others on the machine see.

Exit codes: 0 copied and the same, 1 failed, 2 wrong usage.`
}

// Run copies.
func (c *copyCmd) Run(ctx context.Context, out *output) (err error) {
	claimed, err := c.claim()
	defer func() {
		for _, own := range claimed {
			err = errors.Join(err, own.Close())
		}
	}()
	if err != nil {
		return err
	}
	copied, err := store.Copy(ctx, string(c.From), string(c.To), c.progress(out))
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted: run the same command again, and it goes on where it stopped")
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return out.json(struct {
			Tables []store.Copied `json:"tables"`
		}{copied})
	}
	table := tabwriter.NewWriter(out.Out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(table, "TABLE\tROWS\tDIGEST")
	for _, t := range copied {
		fmt.Fprintf(table, "%s\t%d\t%.16s\n", t.Table, t.Rows, t.Digest)
	}
	fmt.Fprintf(table, "Every table is the same in %s.\n", c.To)
	return table.Flush()
}

// claim keeps servers away from SQLite files. PostgreSQL's nobody can claim; the comparison at the end finds out.
func (c *copyCmd) claim() (map[string]*claim.Claim, error) {
	claimed := map[string]*claim.Claim{}
	if _, err := os.Stat(string(c.From)); err != nil && !c.From.Postgres() {
		return nil, fmt.Errorf("cannot read the source: %w", err)
	}
	for _, d := range []settings.Database{c.From, c.To} {
		folder := filepath.Dir(string(d))
		if d.Postgres() || claimed[folder] != nil {
			continue
		}
		own, err := claim.Folder(folder)
		if err != nil {
			return claimed, fmt.Errorf("the folder of %s: %w", d, err)
		}
		claimed[folder] = own
	}
	return claimed, nil
}

// progress tells of a table when it begins to, once a second, and when it is done.
func (c *copyCmd) progress(out *output) func(store.Progress) {
	var told time.Time
	return func(p store.Progress) {
		if now := time.Now(); p.Rows == p.Of || now.Sub(told) >= time.Second {
			told = now
		} else {
			return
		}
		if c.JSON {
			_ = (&output{Out: out.Err}).json(p)
			return
		}
		words := "copied"
		if p.Check {
			words = "compared"
		}
		fmt.Fprintf(out.Err, "%s: %d of %d rows %s\n", p.Table, p.Rows, p.Of, words)
	}
}
