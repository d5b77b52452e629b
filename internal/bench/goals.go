package bench

import (
	"fmt"
	"strings"
)

// This file owns the goals: what this service should reach on a machine with two cores that also runs the load, and whether it did.

// goal is one line of the goals, and where its figure is found; nil when it was not measured.
type goal struct {
	what, want string
	measured   func(*Report) *outcome
}

type outcome struct {
	figure  string
	reached bool
}

var goals = []goal{
	{"app-code verifications a second over HTTP, SQLite", "at least 5,000", atLeast("verify", "SQLite", 5000)},
	{"the same as a share of a bare net/http handler", "at least 50 %", func(r *Report) *outcome {
		run := r.run("verify", "SQLite")
		if run == nil || run.Bare == nil {
			return nil
		}
		return &outcome{run.ofBare(), run.Saturated.PerSecond >= run.Bare.PerSecond/2}
	}},
	{"app-code verifications a second over HTTP, PostgreSQL on the same machine", "at least 3,000", atLeast("verify", "PostgreSQL", 3000)},
	{"whole approval cycles a second, SQLite", "at least 1,500", atLeast("approval", "SQLite", 1500)},
	{"whole approval cycles a second, PostgreSQL", "at least 600", atLeast("approval", "PostgreSQL", 600)},
	{"whole approval cycle at half the rate kept up, SQLite", "p99 under 50 ms", halfUnder("SQLite", 50)},
	{"whole approval cycle at half the rate kept up, PostgreSQL", "p99 under 50 ms", halfUnder("PostgreSQL", 50)},
	{"from the device's answer to the waiting browser, idle server", "p99 under 20 ms", func(r *Report) *outcome {
		var o *outcome
		for _, run := range r.Runs {
			if run.PartIdle != nil {
				if o == nil {
					o = &outcome{reached: true}
				}
				o.figure += fmt.Sprintf("%s %.1f ms ", run.Store, run.PartIdle.P99)
				o.reached = o.reached && run.PartIdle.P99 < 20
			}
		}
		return o
	}},
	{"idle streams in a GiB of resident memory", "at least 150,000", func(r *Report) *outcome {
		if len(r.Streams) == 0 {
			return nil
		}
		return &outcome{whole(r.Streams[0].PerGiB), r.Streams[0].PerGiB >= 150_000}
	}},
	{"throughput with the most users as a share of that with the fewest", "at least 70 %", func(r *Report) *outcome {
		if len(r.Growth) < 2 {
			return nil
		}
		first, last := r.Growth[0], r.Growth[len(r.Growth)-1]
		share := last.Median / first.Median
		return &outcome{fmt.Sprintf("%.0f %% (%s to %s users)", 100*share, whole(float64(first.Users)), whole(float64(last.Users))), share >= 0.7}
	}},
	{"ready on an existing database", "within 200 ms", func(r *Report) *outcome {
		if len(r.Starts) == 0 {
			return nil
		}
		return &outcome{whole(r.Starts[0].ReadyMS) + " ms", r.Starts[0].ReadyMS <= 200}
	}},
	{"resident memory when idle", "under 60 MiB", func(r *Report) *outcome {
		if len(r.Starts) == 0 {
			return nil
		}
		return &outcome{fmt.Sprintf("%.1f MiB", r.Starts[0].ResidentMiB), r.Starts[0].ResidentMiB < 60}
	}},
}

func (r *Report) run(scenario, store string) *Result {
	for i := range r.Runs {
		if r.Runs[i].Scenario == scenario && r.Runs[i].Store == store {
			return &r.Runs[i]
		}
	}
	return nil
}

func atLeast(scenario, store string, want float64) func(*Report) *outcome {
	return func(r *Report) *outcome {
		run := r.run(scenario, store)
		if run == nil {
			return nil
		}
		got := run.Saturated.PerSecond
		return &outcome{whole(got), got >= want}
	}
}

func halfUnder(store string, want float64) func(*Report) *outcome {
	return func(r *Report) *outcome {
		run := r.run("approval", store)
		if run == nil {
			return nil
		}
		l := run.Half
		figure := fmt.Sprintf("%.1f ms at %s a second", l.Latency.P99, whole(l.Offered))
		if run.Computing != nil {
			figure += fmt.Sprintf(" (computing alone: %.1f ms)", run.Computing.Latency.P99)
		}
		return &outcome{figure, l.Latency.P99 < want && l.Failed == 0}
	}
}

// printGoals tells each goal with its figure, reached or not.
func (r *Report) printGoals(b *strings.Builder) {
	t := table{{"goal", "wanted", "measured", ""}}
	for _, g := range goals {
		o := g.measured(r)
		switch {
		case o == nil:
			t = append(t, []string{g.what, g.want, "not measured here", ""})
		case o.reached:
			t = append(t, []string{g.what, g.want, strings.TrimSpace(o.figure), "reached"})
		default:
			t = append(t, []string{g.what, g.want, strings.TrimSpace(o.figure), "**not reached**"})
		}
	}
	b.WriteString("### Goals\n\n")
	t.print(b)
}
