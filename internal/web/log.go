package web

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/trace"
)

// This file owns the log: one record for each request, to which handlers add facts. It carries the route's pattern
// and never the address, query, headers or body that came in, because those can hold secrets (INV-8).

// record collects what is logged when the request ends.
type record struct {
	id string

	mu    sync.Mutex // guards what follows: a handler may use several goroutines
	facts []slog.Attr
	err   error // internal; logged whole
}

type recordKey struct{}

func recordOf(r *http.Request) *record {
	rec, _ := r.Context().Value(recordKey{}).(*record)
	if rec == nil {
		return &record{} // without Log around it a handler still works, only silently
	}
	return rec
}

// Note adds facts to the request's log record. They must not be secret.
func Note(r *http.Request, facts ...slog.Attr) {
	rec := recordOf(r)
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.facts = append(rec.facts, facts...)
}

// fail keeps an internal error for the log.
func (rec *record) fail(err error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.err = err
}

// Log returns next with one log record for each request, an X-Request-Id on each answer, and panics turned into
// answers that fail tells. It goes around everything else, so that next's ServeMux leaves its pattern on this request.
func Log(log *slog.Logger, now func() time.Time, fail func(http.ResponseWriter, *http.Request, error), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := &record{id: rand.Text()[:16]}
		r = r.WithContext(context.WithValue(r.Context(), recordKey{}, rec))
		sw := &statusWriter{ResponseWriter: w}
		begun := now()
		sw.Header().Set("X-Request-Id", rec.id)
		defer func() {
			p := recover()
			cut := p != nil && (sw.status != 0 || p == http.ErrAbortHandler) // half an answer is out: it must not look whole
			if p != nil && p != http.ErrAbortHandler {
				err := fmt.Errorf("panic: %v\n%s", p, debug.Stack())
				if rec.fail(err); !cut {
					fail(sw, r, err)
				}
			}
			rec.write(log, r, sw.status, now().Sub(begun))
			if cut {
				panic(http.ErrAbortHandler)
			}
		}()
		next.ServeHTTP(sw, r)
	})
}

func (rec *record) write(log *slog.Logger, r *http.Request, status int, took time.Duration) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if status == 0 {
		status = http.StatusOK
	}
	route := r.Pattern
	if route == "" {
		route = "none"
	}
	level := slog.LevelInfo
	attrs := append([]slog.Attr{
		slog.String("id", rec.id), slog.String("method", method(r)), slog.String("route", route), slog.Int("status", status), slog.Duration("took", took),
	}, rec.facts...)
	if id := trace.ID(r.Context()); id != "" {
		attrs = append(attrs, slog.String("trace", id))
	}
	if rec.err != nil {
		level = slog.LevelError
		attrs = append(attrs, slog.String("error", rec.err.Error()))
	}
	ended(r.Context(), Ended{Method: method(r), Route: route, Status: status, Took: took})
	log.LogAttrs(context.WithoutCancel(r.Context()), level, "request", attrs...)
}

// method keeps the log to methods that exist: the word is the caller's to choose.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "other"
}

// statusWriter remembers the status. http.ResponseController reaches what it wraps by Unwrap.
type statusWriter struct {
	http.ResponseWriter
	status int // 0 until the header was written
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// refused notes why a request was refused.
func refused(r *http.Request, e *fault.Error) { Note(r, slog.String("problem", e.Code)) }
