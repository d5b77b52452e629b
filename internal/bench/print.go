package bench

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// This file owns the report as people read it: Markdown whose tables are aligned, so that it is as good on a terminal.

// Print writes the report.
func (r *Report) Print(w io.Writer) error {
	_, err := io.WriteString(w, r.Markdown())
	return err
}

// The marks in a document between which the report stands.
const (
	markBegin = "<!-- measured: begin -->\n"
	markEnd   = "<!-- measured: end -->\n"
)

// Into puts the report between the marks of a document.
func (r *Report) Into(path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(raw, []byte(markBegin))
	_, after, ends := bytes.Cut(rest, []byte(markEnd))
	if !begins || !ends {
		return fmt.Errorf("%s has no lines %q and %q, between which the report would stand", path, strings.TrimSpace(markBegin), strings.TrimSpace(markEnd))
	}
	results, err := r.raw()
	if err != nil {
		return err
	}
	return os.WriteFile(path, slices.Concat(before, []byte(markBegin), []byte(r.Markdown()), results, []byte(markEnd), after), 0o644)
}

// raw is everything that was measured, every step of every search, as JSON that a page folds away: a line for each scenario.
func (r *Report) raw() ([]byte, error) {
	b := []byte("\n### Raw results\n\n<details>\n<summary>Everything that was measured, as JSON</summary>\n\n```json\n")
	whole := *r
	whole.Runs = nil
	for _, v := range append([]any{whole}, each(r.Runs)...) {
		line, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		b = append(append(b, line...), '\n')
	}
	return append(b, "```\n\n</details>\n"...), nil
}

func each[T any](all []T) (out []any) {
	for _, v := range all {
		out = append(out, v)
	}
	return out
}

// Markdown is the whole report.
func (r *Report) Markdown() string {
	var b strings.Builder
	if r.Quick {
		b.WriteString("A quick run: good for ratios and for whether everything works, too short for figures to quote.\n\n")
	}
	r.Machine.print(&b, r)
	r.printGoals(&b)
	r.printRates(&b)
	r.printLatency(&b)
	r.printCost(&b)
	r.printRest(&b)
	r.printFailures(&b)
	return b.String()
}

func (m *Machine) print(b *strings.Builder, r *Report) {
	fmt.Fprintf(b, "Measured %s in %.0f s on %s, %d cores, %.1f GiB, %s, %s. A flush to the disk takes %.2f ms. Load average before %s, after %s: "+
		"what is above 1 before is somebody else's work.\n\n", r.Began.Format("2006-01-02 15:04 UTC"), r.Seconds, cmp.Or(m.CPU, "an unknown processor"), m.Cores, m.MemoryGiB,
		m.System, m.Go, m.FlushMS, m.LoadBefore, m.LoadAfter)
}

func (r *Report) printRates(b *strings.Builder) {
	if len(r.Runs) == 0 {
		return
	}
	b.WriteString("### Rates, a second\n\n")
	t := table{{"database", "scenario", "all it can do", "kept up", "", "without HTTP", "bare net/http", "of bare"}}
	most := 0.0
	for _, run := range r.Runs {
		most = max(most, run.Saturated.PerSecond)
	}
	for _, run := range r.Runs {
		t = append(t, []string{
			run.Store, run.Scenario, whole(run.Saturated.PerSecond), whole(run.Sustained), bar(run.Saturated.PerSecond / most), rate(run.Direct), rate(run.Bare), run.ofBare(),
		})
	}
	t.print(b)
}

// ofBare is the ratio to the bare handler.
func (r *Result) ofBare() string {
	if r.Bare == nil || r.Bare.PerSecond == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", 100*r.Saturated.PerSecond/r.Bare.PerSecond)
}

func (r *Report) printLatency(b *strings.Builder) {
	if len(r.Runs) == 0 {
		return
	}
	b.WriteString("### Latency at half the rate that is kept up, in milliseconds, from when each was due\n\n")
	t := table{{"database", "scenario", "offered", "p50", "p90", "p99", "p99.9", "most", "p99"}}
	longest := 0.0
	for _, run := range r.Runs {
		longest = max(longest, run.Half.Latency.P99)
	}
	add := func(store, what string, offered float64, l Latency) {
		t = append(t, []string{store, what, whole(offered), millis(l.P50), millis(l.P90), millis(l.P99), millis(l.P999), millis(l.Max), bar(l.P99 / longest)})
	}
	for _, run := range r.Runs {
		add(run.Store, run.Scenario, run.Half.Offered, run.Half.Latency)
		if run.BareHalf != nil {
			add(run.Store, "bare net/http at the rate of "+run.Scenario, run.BareHalf.Offered, run.BareHalf.Latency)
		}
		if run.Computing != nil {
			add(run.Store, "bare net/http that computes as long as "+run.Scenario, run.Computing.Offered, run.Computing.Latency)
		}
		if run.PartHalf != nil {
			add(run.Store, run.Part, run.Half.Offered, *run.PartHalf)
		}
		if run.PartIdle != nil {
			add(run.Store, run.Part+", idle server", run.IdleRate, *run.PartIdle)
		}
	}
	t.print(b)
}

func (r *Report) printCost(b *strings.Builder) {
	if len(r.Runs) == 0 {
		return
	}
	b.WriteString("### What one operation costs the server, while it does all it can\n\n")
	t := table{{"database", "scenario", "processor, µs", "load generator, µs", "bytes written", "bytes read"}}
	for _, run := range r.Runs {
		t = append(t, []string{run.Store, run.Scenario, whole(run.Usage.CPU), whole(run.Usage.Load), whole(run.Usage.Written), whole(run.Usage.Read)})
	}
	t.print(b)
	b.WriteString("Of the server's process alone, without PostgreSQL's own; bytes are those of files and sockets.\n\n")
}

func (r *Report) printRest(b *strings.Builder) {
	if len(r.Starts) > 0 {
		b.WriteString("### Starting on a database that is there\n\n")
		t := table{{"database", "ready after, ms", "resident when idle, MiB"}}
		for _, s := range r.Starts {
			t = append(t, []string{s.Store, whole(s.ReadyMS), fmt.Sprintf("%.1f", s.ResidentMiB)})
		}
		t.print(b)
	}
	if len(r.Streams) > 0 {
		b.WriteString("### Idle streams of devices\n\n")
		t := table{{"database", "open", "refused", "limited by", "resident with them, MiB", "bytes each", "in a GiB"}}
		for _, s := range r.Streams {
			t = append(t, []string{s.Store, whole(float64(s.Open)), whole(float64(s.Refused)), s.Limit, fmt.Sprintf("%.1f", s.ResidentMiB), whole(s.BytesEach), whole(s.PerGiB)})
		}
		t.print(b)
	}
	if len(r.Growth) > 0 {
		b.WriteString("### Growth: verifications a second with more and more users, SQLite, rounds in turn\n\n")
		t := table{{"users", "file, MiB", "median", "of the smallest", "rounds", "processor, µs", "bytes written", "bytes read", "failed", "pages a verification", "written", "pages an approval", "written"}}
		for _, g := range r.Growth {
			var rounds []string
			for _, n := range g.PerSecond {
				rounds = append(rounds, whole(n))
			}
			t = append(t, []string{
				whole(float64(g.Users)), whole(g.FileMiB), whole(g.Median), fmt.Sprintf("%.0f %%", 100*g.Median/r.Growth[0].Median), strings.Join(rounds, " "),
				whole(g.Usage.CPU), whole(g.Usage.Written), whole(g.Usage.Read), whole(float64(g.Failed)),
				fmt.Sprintf("%.1f", g.Verify.Looked), fmt.Sprintf("%.1f", g.Verify.Written), fmt.Sprintf("%.1f", g.Approval.Looked), fmt.Sprintf("%.1f", g.Approval.Written),
			})
		}
		t.print(b)
	}
	for _, k := range r.Retention {
		k.print(b)
	}
}

// print tells what it costs that old approvals leave.
func (k *Retention) print(b *strings.Builder) {
	fmt.Fprintf(b, "### Retention under load: %s verifications a second, %s, rounds in turn\n\n", whole(k.Rate), k.Store)
	t := table{{"old approvals", "removed", "p50, ms", "p99, ms, of each round", "p99, median", "of that without", "failed"}}
	add := func(what, removed string, loads []Load) {
		var p50, rounds []string
		var failed int64
		for _, l := range loads {
			p50, rounds = append(p50, fmt.Sprintf("%.1f", l.Latency.P50)), append(rounds, fmt.Sprintf("%.1f", l.Latency.P99))
			failed += l.Failed
		}
		t = append(t, []string{what, removed, strings.Join(p50, " "), strings.Join(rounds, " "), fmt.Sprintf("%.1f", p99(loads)), fmt.Sprintf("%.2f", p99(loads)/p99(k.Stay)), whole(float64(failed))})
	}
	add("stay", "0", k.Stay)
	add("leave", fmt.Sprintf("%s of %s", whole(float64(k.Left)), whole(float64(k.Old))), k.Leave)
	t.print(b)
}

// printFailures tells every failure, also those of steps that were too fast on purpose.
func (r *Report) printFailures(b *strings.Builder) {
	t := table{{"database", "scenario", "while", "failed", "of", "why"}}
	of := func(store, scenario string) func(while string, l Load) {
		return func(while string, l Load) {
			for why, n := range l.Failures {
				t = append(t, []string{store, scenario, while, whole(float64(n)), whole(float64(l.Done + l.Failed)), why})
			}
		}
	}
	for _, k := range r.Retention {
		add := of(k.Store, "retention")
		for i := range k.Leave {
			add("old approvals stay", k.Stay[i])
			add("they leave", k.Leave[i])
		}
	}
	for _, run := range r.Runs {
		add := of(run.Store, run.Scenario)
		add("all it can do", run.Saturated)
		for _, step := range run.Steps {
			add(whole(step.Offered)+" a second", step)
		}
		add("half the rate", run.Half)
		if run.Direct != nil {
			add("without HTTP", *run.Direct)
		}
		if run.Bare != nil {
			add("bare net/http", *run.Bare)
		}
		if run.BareHalf != nil {
			add("bare net/http at half the rate", *run.BareHalf)
		}
		if run.Computing != nil {
			add("bare net/http that computes as long", *run.Computing)
		}
	}
	b.WriteString("### Failures\n\n")
	if len(t) == 1 {
		b.WriteString("None.\n")
		return
	}
	slices.SortStableFunc(t[1:], func(a, b []string) int { return slices.Compare(a[:3], b[:3]) })
	t.print(b)
}

// table is rows of cells, the first of them the heading. Cells that are numbers stand at the right.
type table [][]string

func (t table) print(b *strings.Builder) {
	widths := make([]int, len(t[0]))
	right := make([]bool, len(t[0]))
	for column := range widths {
		right[column] = len(t) > 1
		for i, row := range t {
			widths[column] = max(widths[column], len([]rune(row[column])))
			if i > 0 && !isNumber(row[column]) {
				right[column] = false
			}
		}
	}
	for i, row := range t {
		for column, cell := range row {
			space := strings.Repeat(" ", widths[column]-len([]rune(cell)))
			if right[column] {
				cell = space + cell
			} else {
				cell += space
			}
			b.WriteString("| " + cell + " ")
		}
		b.WriteString("|\n")
		if i > 0 {
			continue
		}
		for column := range row {
			line := strings.Repeat("-", widths[column]+1)
			if right[column] {
				b.WriteString("|" + line + ":")
			} else {
				b.WriteString("|" + line + "-")
			}
		}
		b.WriteString("|\n")
	}
	b.WriteString("\n")
}

func isNumber(cell string) bool {
	return cell == "–" || strings.Trim(cell, "0123456789., %") == ""
}

// bar is a bar of a chart, for a share of the longest.
func bar(share float64) string {
	const eighths = " ▏▎▍▌▋▊▉"
	if !(share > 0) {
		return ""
	}
	n := int(min(share, 1)*20*8 + 0.5)
	s := strings.Repeat("█", n/8)
	if n%8 > 0 {
		s += string([]rune(eighths)[n%8])
	}
	return s
}

// whole writes a number with its thousands apart.
func whole(f float64) string {
	s := strconv.FormatFloat(f, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func millis(f float64) string { return fmt.Sprintf("%.1f", f) }

func rate(l *Load) string {
	if l == nil {
		return "–"
	}
	return whole(l.PerSecond)
}
