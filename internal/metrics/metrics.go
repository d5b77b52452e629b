// Package metrics owns what is counted for Prometheus, each metric named once, in a registry of its own.
//
// Labels have few values and name nobody: no user, no application, no address (INV-8). docs/upkeep.md lists
// the metrics; a test compares the list with what is exported.
package metrics

import (
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts. Make it with New; one is enough for a process.
type Metrics struct {
	registry *prometheus.Registry

	requests         *prometheus.CounterVec
	requestSeconds   *prometheus.HistogramVec
	approvals        *prometheus.CounterVec
	decisionSeconds  prometheus.Histogram
	codesChecked     *prometheus.CounterVec
	messages         *prometheus.CounterVec
	callbacks        *prometheus.CounterVec
	callbackSeconds  prometheus.Histogram
	commitWrites     prometheus.Histogram
	commitSeconds    prometheus.Histogram
	answersToMetrics http.Handler
}

// State is what is looked at when somebody asks for the metrics.
type State struct {
	Waiting func() int // open streams and long polls
	// Jobs returns how many wait, how many are held for a callback address, and for how long the oldest due one is due.
	Jobs func() (waiting, held int64, oldest time.Duration)
	// Connections returns how those to the database are used.
	Connections func() (limit, inUse, idle int)
}

// Histograms are classic ones, which every Prometheus reads, and native ones for those that ask for them.
func seconds(name, help string, buckets ...float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets, NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100}
}

// quick fits what should take milliseconds.
var quick = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// New returns metrics that begin at 0.
func New(s State) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_http_requests_total", Help: "Requests that ended, by surface, route and status.",
		}, []string{"surface", "method", "route", "status"}),
		requestSeconds: prometheus.NewHistogramVec(seconds("countersign_http_request_duration_seconds",
			"How long requests took, by surface and route. Long polls take as long as somebody waits; a stream over plain HTTP/1.1 counts until it has begun.", quick...), []string{"surface", "route"}),
		approvals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_approvals_total", Help: "Approvals that became pending, approved, denied, expired or cancelled.",
		}, []string{"status"}),
		decisionSeconds: prometheus.NewHistogram(seconds("countersign_approval_decision_seconds",
			"From the request for an approval to the person's answer.", 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 3600, 86400)),
		codesChecked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_codes_checked_total", Help: "Verifications of codes, by outcome: ok, or why it was refused.",
		}, []string{"outcome"}),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_messages_total", Help: "Tries to send a message, by channel and what became of it: sent, failed, expired, or queued for another try.",
		}, []string{"channel", "status"}),
		callbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_callbacks_total", Help: "Tries to deliver a callback, by outcome: delivered, refused (a status outside 2xx), or unreachable.",
		}, []string{"outcome"}),
		callbackSeconds: prometheus.NewHistogram(seconds("countersign_callback_duration_seconds", "How long a callback's receiver took to answer.", quick...)),
		commitWrites: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "countersign_commit_writes", Help: "Writes that shared one commit.", Buckets: prometheus.ExponentialBuckets(1, 2, 8),
		}),
		commitSeconds: prometheus.NewHistogram(seconds("countersign_commit_duration_seconds", "How long a commit took, with the flush to disk.", quick...)),
	}
	m.registry.MustRegister(m.requests, m.requestSeconds, m.approvals, m.decisionSeconds, m.codesChecked, m.messages, m.callbacks, m.callbackSeconds,
		m.commitWrites, m.commitSeconds, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &state{s}, buildInfo())
	for _, status := range []string{"pending", "approved", "denied", "expired", "cancelled"} {
		m.approvals.WithLabelValues(status) // an alert on a rate needs the 0 before the first
	}
	for _, outcome := range []string{"delivered", "refused", "unreachable"} {
		m.callbacks.WithLabelValues(outcome)
	}
	m.answersToMetrics = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
	return m
}

// Handler answers GET /metrics.
func (m *Metrics) Handler() http.Handler { return m.answersToMetrics }

// Request counts one that ended. Route is the pattern, never the address.
func (m *Metrics) Request(surface, method, route string, status int, took time.Duration) {
	m.requests.WithLabelValues(surface, method, route, strconv.Itoa(status)).Inc()
	m.requestSeconds.WithLabelValues(surface, route).Observe(took.Seconds())
}

// Approval counts n approvals that came to a status; answered tells how long after it was asked for a person did.
func (m *Metrics) Approval(status string, answered time.Duration, n int) {
	m.approvals.WithLabelValues(status).Add(float64(n))
	if answered > 0 {
		m.decisionSeconds.Observe(answered.Seconds())
	}
}

// CodeChecked counts a verification.
func (m *Metrics) CodeChecked(outcome string) { m.codesChecked.WithLabelValues(outcome).Inc() }

// Message counts a try to send one.
func (m *Metrics) Message(channel, status string) { m.messages.WithLabelValues(channel, status).Inc() }

// Callback counts a try; status 0 is no answer.
func (m *Metrics) Callback(status int, took time.Duration) {
	outcome := "refused"
	switch {
	case status == 0:
		outcome = "unreachable"
	case status >= 200 && status < 300:
		outcome = "delivered"
	}
	m.callbacks.WithLabelValues(outcome).Inc()
	m.callbackSeconds.Observe(took.Seconds())
}

// Commit counts one and the writes that shared it.
func (m *Metrics) Commit(writes int, took time.Duration) {
	m.commitWrites.Observe(float64(writes))
	m.commitSeconds.Observe(took.Seconds())
}

// state looks when it is asked.
type state struct{ State }

var (
	waitersDesc     = prometheus.NewDesc("countersign_waiters", "Open streams and long polls.", nil, nil)
	jobsDesc        = prometheus.NewDesc("countersign_jobs", "Jobs that wait or run, and those held for a callback address; counted up to 10,000.", []string{"state"}, nil)
	oldestDesc      = prometheus.NewDesc("countersign_jobs_oldest_due_seconds", "For how long the oldest due job is due; 0 when none is.", nil, nil)
	connectionsDesc = prometheus.NewDesc("countersign_database_connections", "Connections to the database, by use: in_use, idle, or max that may be open.", []string{"state"}, nil)
)

func (s *state) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, out) }

func (s *state) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	gauge(waitersDesc, float64(s.Waiting()))
	waiting, held, oldest := s.Jobs()
	gauge(jobsDesc, float64(waiting), "waiting")
	gauge(jobsDesc, float64(held), "held")
	gauge(oldestDesc, oldest.Seconds())
	limit, inUse, idle := s.Connections()
	gauge(connectionsDesc, float64(inUse), "in_use")
	gauge(connectionsDesc, float64(idle), "idle")
	gauge(connectionsDesc, float64(limit), "max")
}

// buildInfo is 1, with what this program is.
func buildInfo() prometheus.Collector {
	version, revision, tool := "unknown", "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version, tool = info.Main.Version, info.GoVersion
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = s.Value
			}
		}
	}
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_build_info", Help: "1, with the version of the program.",
		ConstLabels: prometheus.Labels{"version": version, "revision": revision, "go_version": tool},
	}, func() float64 { return 1 })
}
