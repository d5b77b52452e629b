package server

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/pprof"
	"time"
)

// This file owns the ops listener: what whoever runs the program asks it. It wants no credentials, so the network must keep others away.

// pingWithin is how long the database may take to answer /readyz.
const pingWithin = 2 * time.Second

// Ops returns the handler of the ops listener. Everything for it is mounted here.
func (s *Server) Ops() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", s.metrics.Handler())
	// Not /debug/pprof/cmdline: a secret may have been given as a flag (INV-8).
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", http.NotFound)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready bool              `json:"ready"`
	Parts map[string]string `json:"parts"` // "ok", or what is wrong
}

// ready says whether new requests should come here: the database answers, and the program is not about to stop.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pingWithin)
	defer cancel()
	answer := readiness{Ready: true, Parts: map[string]string{"database": "ok", "process": "ok"}}
	if err := s.db.Ping(ctx); err != nil {
		s.cfg.Log.Error("not ready: the database does not answer", "error", err)
		answer.Ready, answer.Parts["database"] = false, "does not answer"
	}
	if s.draining.Load() {
		answer.Ready, answer.Parts["process"] = false, "stopping"
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if !answer.Ready {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	json.NewEncoder(w).Encode(answer)
}
