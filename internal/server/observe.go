package server

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/message"
	"countersign.dev/internal/metrics"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/trace"
	"countersign.dev/internal/web"
)

// This file owns who is told what happens: metrics and traces.

// countIn is how long the database may take to tell of its jobs.
const countIn = 2 * time.Second

func (s *Server) newMetrics() *metrics.Metrics {
	return metrics.New(metrics.State{
		Waiting: s.live.Waiting,
		Jobs: func() (waiting, held int64, oldest time.Duration) {
			ctx, cancel := context.WithTimeout(context.Background(), countIn)
			defer cancel()
			now := s.cfg.Now()
			b, err := s.db.Backlog(ctx, now)
			if err != nil {
				s.cfg.Log.Error("cannot count jobs", "error", err)
			}
			if !b.Oldest.IsZero() {
				oldest = now.Sub(b.Oldest)
			}
			return b.Waiting, b.Held, oldest
		},
		Connections: func() (limit, inUse, idle int) {
			c := s.db.Connections()
			return c.Max, c.InUse, c.Idle
		},
	})
}

// observe has the parts tell the metrics.
func (s *Server) observe(worker *callback.Worker, codes *otp.Service, messages *message.Service) {
	m := s.metrics
	s.db.Observe(m.Commit)
	s.approvals.Changed = func(to approval.Status, took time.Duration, n int) { m.Approval(string(to), took, n) }
	codes.Checked = m.CodeChecked
	messages.Kept = func(c otp.Channel, became message.Status) { m.Message(string(c), string(became)) }
	worker.Tried = func(t callback.Try) { m.Callback(t.Status, t.Took) }
}

// observed returns a surface's handler with its requests counted and traced. An application's traceparent is continued; a stranger's
// would let anybody write into our traces.
func (s *Server) observed(surface string, believed bool, next http.Handler) http.Handler {
	return web.Observe(func(r *http.Request) (context.Context, func(web.Ended)) {
		parent := ""
		if believed {
			parent = r.Header.Get(trace.Header)
		}
		ctx, span := s.cfg.Tracer.Request(r.Context(), parent)
		return ctx, func(e web.Ended) {
			s.metrics.Request(surface, e.Method, e.Route, e.Status, e.Took)
			span.Name(surface + " " + e.Route)
			span.Note(attribute.String("surface", surface), attribute.String("http.request.method", e.Method), attribute.String("http.route", e.Route),
				attribute.Int("http.response.status_code", e.Status))
			span.End(nil)
		}
	}, next)
}
