// This file owns the commands `users import` and `users export`. What they do is in internal/transfer; here are the files, the
// report and the progress.

package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/mattn/go-isatty"

	"countersign.dev/internal/admin"
	"countersign.dev/internal/settings"
	"countersign.dev/internal/transfer"
)

// usersCmd is `countersign users`.
type usersCmd struct {
	settings.Storage
	JSON  bool `name:"json" help:"Print JSON, and progress as JSON lines on stderr."`
	Quiet bool `short:"q" help:"Show no progress."`

	Import usersImport `cmd:"" help:"Add users from CSV or JSON lines, each under the authy_id that it has."`
	Export usersExport `cmd:"" help:"Write users into a file that import reads."`
}

type usersImport struct {
	App    string   `arg:"" help:"The application: its id, number or name."`
	File   string   `arg:"" help:"CSV whose first line names the columns, or JSON lines; - reads standard input."`
	DryRun bool     `name:"dry-run" help:"Change nothing: say what would be added and refused."`
	Report string   `placeholder:"FILE" help:"Where to write each refused row's line and reason (default: FILE.refused.csv)."`
	Ignore []string `placeholder:"COLUMN" help:"A column of the file that is not needed. Others that are not known are an error."`
}

// Help is printed by users import --help.
func (*usersImport) Help() string {
	return `Columns, or members of each JSON object; the names that Authy's exports use are understood too:

    authy_id      kept as it is; required
    phone         national with a country_code, or with a plus and all in front; required
    country_code  the calling code, such as 1 or 351
    email
    secret        base32, of another authenticator app (Google Authenticator and the like); its codes go on being right
    digits        of its codes, 6 to 8 (default: 6)
    period        of its codes, in seconds (default: 30)
    algorithm     SHA1; others are refused

    countersign users import "Example Shop" users.csv --dry-run
    countersign users import "Example Shop" users.csv

10,000 users at a time are added, in one transaction and with one audit record. While serve runs on SQLite, it is sent 1000 at a time and adds
them between other work, so a long import needs no pause of the service; on PostgreSQL the command writes 1000 at a time to the database itself.

Nothing needs to be cleaned up after an interruption or kill -9: the same command goes on. A user who is there already and is the same is counted and
passed over; one who is there but differs is refused. Each refused row is in the report with its line and the reason, never with its secret.

Exit codes: 0 every row is in, 1 failed, or rows were refused, 2 wrong settings or usage.`
}

// Validate refuses standard input without a name for the report.
func (c *usersImport) Validate() error {
	if c.File == "-" && c.Report == "" {
		return errors.New("name the report's file with --report when the users come from standard input")
	}
	return nil
}

// Run imports.
func (c *usersImport) Run(ctx context.Context, out *output, users *usersCmd) (err error) {
	in, size, err := c.open()
	if err != nil {
		return err
	}
	defer in.Close()
	reader, err := transfer.NewReader(in, c.Ignore...)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	refused, err := newReport(cmp.Or(c.Report, c.File+".refused.csv"), in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, refused.close()) }()
	shown := newProgress(out, users, size)
	var total transfer.Progress
	err = administer(ctx, &users.Storage, "", out.Err, func(client *admin.Client) error {
		total, err = transfer.Import(ctx, reader, client.Batch, c.DryRun, func(rows []transfer.Row) (done transfer.Imported, err error) {
			err = client.Do(ctx, admin.Request{Act: "users.import", App: c.App, Rows: rows, DryRun: c.DryRun}, &done)
			return done, err
		}, refused.add, shown.tell)
		return err
	})
	shown.end()
	if errors.Is(err, context.Canceled) {
		return errors.New("interrupted: run the same command again, and it goes on where it stopped")
	}
	if err != nil {
		return err
	}
	return c.conclude(out, users.JSON, total, refused.path)
}

// open returns the file and its size, 0 for one that has none.
func (c *usersImport) open() (*os.File, int64, error) {
	if c.File == "-" {
		return os.Stdin, 0, nil
	}
	in, err := os.Open(c.File)
	if err != nil {
		return nil, 0, err
	}
	info, err := in.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, in.Close())
	}
	return in, info.Size(), nil
}

// conclude prints what was done. That rows were refused is an error.
func (c *usersImport) conclude(out *output, asJSON bool, total transfer.Progress, report string) error {
	words := "%d users added, %d were there already.\n"
	if c.DryRun {
		words = "%d users would be added, %d are there already. Nothing was changed.\n"
	}
	var err error
	if asJSON {
		err = out.json(struct {
			transfer.Progress
			DryRun bool   `json:"dry_run"`
			Report string `json:"report"`
		}{total, c.DryRun, report})
	} else {
		_, err = fmt.Fprintf(out.Out, words, total.Added, total.Same)
	}
	if err == nil && total.Refused > 0 {
		err = fmt.Errorf("%d of %d rows were refused: %s says which and why", total.Refused, total.Rows, report)
	}
	return err
}

// report is the file that tells of refused rows. It is its owner's alone, because it names users.
type report struct {
	path string
	file *os.File
	csv  *csv.Writer
}

// newReport makes the file, in the place of an earlier one.
func newReport(path string, in *os.File) (*report, error) {
	if there, err := os.Stat(path); err == nil {
		if users, err := in.Stat(); err == nil && os.SameFile(there, users) {
			return nil, fmt.Errorf("%s is the file with the users: name another one for the report", path)
		}
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the report: %w", err)
	}
	r := &report{path: path, file: file, csv: csv.NewWriter(file)}
	return r, r.csv.Write([]string{"line", "authy_id", "code", "reason"})
}

func (r *report) add(refused transfer.Refusal) error {
	id := ""
	if refused.AuthyID != 0 {
		id = strconv.FormatInt(refused.AuthyID, 10)
	}
	return r.csv.Write([]string{strconv.FormatInt(refused.Line, 10), id, refused.Code, refused.Reason})
}

func (r *report) close() error {
	r.csv.Flush()
	return errors.Join(r.csv.Error(), r.file.Close())
}

// progress shows how far the work is: a bar on a terminal, else a line each second.
type progress struct {
	out              *output
	quiet, json, bar bool
	of               int64 // bytes; 0: nobody knows
	began, told      time.Time
	drawn            bool
}

func newProgress(out *output, users *usersCmd, of int64) *progress {
	file, isFile := out.Err.(*os.File)
	now := time.Now()
	return &progress{
		out: out, quiet: users.Quiet, json: users.JSON, bar: !users.JSON && isFile && isatty.IsTerminal(file.Fd()),
		of: of, began: now, told: now,
	}
}

func (p *progress) tell(at transfer.Progress) {
	now, pause := time.Now(), time.Second
	if p.bar {
		pause = 100 * time.Millisecond
	}
	if p.quiet || now.Sub(p.told) < pause {
		return
	}
	p.told = now
	switch {
	case p.json:
		_ = (&output{Out: p.out.Err}).json(at)
	case p.bar:
		p.drawn = true
		fmt.Fprintf(p.out.Err, "\r%s\x1b[K", p.words(at, now)) // and clears what was longer before
	default:
		fmt.Fprintln(p.out.Err, p.words(at, now))
	}
}

// words says how far it is, with a bar on a terminal.
func (p *progress) words(at transfer.Progress, now time.Time) string {
	rate := float64(at.Rows) / max(now.Sub(p.began).Seconds(), 0.001)
	words := fmt.Sprintf("%d rows, %.0f a second", at.Rows, rate)
	if at.Refused > 0 {
		words += fmt.Sprintf(", %d refused", at.Refused)
	}
	if p.of == 0 {
		return words
	}
	part := float64(at.Bytes) / float64(p.of)
	left := time.Duration(float64(now.Sub(p.began)) * (1 - part) / max(part, 1e-6)).Round(time.Second)
	words = fmt.Sprintf("%.0f %%  %s, %s left", 100*part, words, left)
	if p.bar {
		const width = 30
		full := min(int(part*width), width)
		words = "[" + strings.Repeat("=", full) + strings.Repeat(" ", width-full) + "] " + words
	}
	return words
}

// end leaves the line of the bar.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.out.Err, "\r\x1b[K")
	}
}

type usersExport struct {
	App     string `arg:"" help:"The application: its id, number or name."`
	File    string `arg:"" help:"The file to make, which only its owner can read: JSON lines when it ends in .jsonl or .ndjson, else CSV; - prints CSV. One that is there is never touched."`
	Secrets bool   `help:"With the secrets of other authenticator apps, if the application's switch export_secrets is on."`
}

// Help is printed by users export --help.
func (*usersExport) Help() string {
	return `The file has phone numbers in full, and everybody's secrets with --secrets: keep it where nobody else reads, and no longer than needed. Each 1000
users that are read leave an audit record. Users who were removed are not in it. A user who is added meanwhile may be missing.

    countersign users export "Example Shop" users.csv

Exit codes: 0 done, 1 failed, 2 wrong settings or usage.`
}

// Run exports.
func (c *usersExport) Run(ctx context.Context, out *output, users *usersCmd) error {
	if c.File == "-" {
		_, err := c.write(ctx, out, users, out.Out)
		return err
	}
	file, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: choose another name", c.File)
	}
	if err != nil {
		return err
	}
	n, err := c.write(ctx, out, users, file)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return errors.Join(err, os.Remove(c.File)) // half of it looks like all of it
	}
	if users.JSON {
		return out.json(struct {
			Users int64  `json:"users"`
			File  string `json:"file"`
		}{n, c.File})
	}
	_, err = fmt.Fprintf(out.Out, "%d users written to %s.\n", n, c.File)
	return err
}

// write writes batch after batch, and returns how many users.
func (c *usersExport) write(ctx context.Context, out *output, users *usersCmd, to io.Writer) (n int64, err error) {
	extension := filepath.Ext(c.File)
	buffered := bufio.NewWriter(to)
	w, err := transfer.NewWriter(buffered, extension == ".jsonl" || extension == ".ndjson")
	if err != nil {
		return 0, err
	}
	shown := newProgress(out, users, 0)
	defer shown.end()
	err = administer(ctx, &users.Storage, "", out.Err, func(client *admin.Client) error {
		var after int64
		for {
			var rows []transfer.Row
			err := client.Do(ctx, admin.Request{Act: "users.export", App: c.App, After: after, Secrets: c.Secrets}, &rows)
			if err != nil || len(rows) == 0 {
				return err
			}
			after, n = rows[len(rows)-1].AuthyID, n+int64(len(rows))
			if err := w.Write(rows); err != nil {
				return err
			}
			shown.tell(transfer.Progress{Rows: n})
		}
	})
	return n, errors.Join(err, buffered.Flush())
}
