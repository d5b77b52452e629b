package web

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"countersign.dev/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// logged returns a handler with a log around it, and the log's records as JSON lines.
func logged(pattern string, h Handler) (http.Handler, *bytes.Buffer) {
	var out bytes.Buffer
	mux := http.NewServeMux()
	mux.Handle(pattern, h.Or(Problem))
	return Log(slog.New(slog.NewJSONHandler(&out, nil)), time.Now, Problem, mux), &out
}

func get(h http.Handler, target string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil))
	return w
}

// INV-8: what a caller sends is not in the log, but for the route's pattern and what a handler noted.
func TestLogHoldsNoSecrets(t *testing.T) {
	h, out := logged("POST /things/{id}", func(w http.ResponseWriter, r *http.Request) error {
		Note(r, slog.String("device", "d1"))
		return fault.New(fault.Conflict, "taken", "It is taken.")
	})
	r := httptest.NewRequest(http.MethodPost, "/things/canary1?q=canary2", strings.NewReader("canary3"))
	r.Header.Set("Cookie", "canary4")
	r.Header.Set("X-Request-Id", "canary5")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if strings.Contains(out.String(), "canary") {
		t.Errorf("the log holds what was sent: %s", out)
	}
	var rec map[string]any
	if err := json.Unmarshal(out.Bytes(), &rec); err != nil {
		t.Fatalf("not one record: %s", out)
	}
	for name, want := range map[string]any{
		"level": "INFO", "method": "POST", "route": "POST /things/{id}", "status": 409.0, "device": "d1", "problem": "taken", "id": w.Header().Get("X-Request-Id"),
	} {
		if rec[name] != want {
			t.Errorf("%s = %v, want %v", name, rec[name], want)
		}
	}
	r = httptest.NewRequest("CANARY", "/canary", nil)
	h.ServeHTTP(httptest.NewRecorder(), r)
	if strings.Contains(strings.ToLower(out.String()), "canary") {
		t.Errorf("the log holds an invented method or path: %s", out)
	}
}

// An internal error is whole in the log and says nothing outside but the id to find it by; a panic is one.
func TestInternalErrors(t *testing.T) {
	for name, h := range map[string]Handler{
		"error": func(http.ResponseWriter, *http.Request) error { return errors.New("disk /var/secret is full") },
		"fault": func(http.ResponseWriter, *http.Request) error {
			return fault.New(fault.Internal, "broken", "disk /var/secret is full")
		},
		"panic": func(http.ResponseWriter, *http.Request) error { panic("disk /var/secret is full") },
	} {
		t.Run(name, func(t *testing.T) {
			h, out := logged("GET /{$}", h)
			w := get(h, "/")
			var p problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != 500 || p.Status != 500 || p.Type != "/problems/internal" || p.Title != "Internal error" {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if id := w.Header().Get("X-Request-Id"); id == "" || !strings.Contains(p.Detail, id) || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("detail %q", p.Detail)
			}
			if !strings.Contains(out.String(), "/var/secret") || !strings.Contains(out.String(), `"level":"ERROR"`) {
				t.Errorf("log: %s", out)
			}
		})
	}
}

// Half an answer must not look like a whole one.
func TestPanicAfterWriting(t *testing.T) {
	h, out := logged("GET /{$}", func(w http.ResponseWriter, _ *http.Request) error {
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic("boom")
	})
	srv := httptest.NewServer(h)
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("the answer %q ended well", body)
	}
	srv.Close()
	if !strings.Contains(out.String(), "boom") {
		t.Errorf("log: %s", out)
	}
}

func TestProblem(t *testing.T) {
	limited := fault.New(fault.Limited, "limited", "Slow down.")
	for _, c := range []struct {
		err    error
		status int
		retry  string
		body   string
	}{
		{fault.New(fault.Invalid, "invalid", "No."), 400, "", `{"type":"/problems/invalid","title":"Invalid","status":400,"detail":"No."}`},
		{fault.New(fault.Unauthenticated, "not-signed-in", "Who?"), 401, "", `{"type":"/problems/not-signed-in","title":"Not signed in","status":401,"detail":"Who?"}`},
		{fault.New(fault.Forbidden, "no", "No."), 403, "", ""},
		{fault.New(fault.NotFound, "unknown", "No."), 404, "", ""},
		{fault.New(fault.Conflict, "taken", "No."), 409, "", ""},
		{fault.New(fault.Gone, "expired", "No."), 410, "", ""},
		{limited.After(1500 * time.Millisecond), 429, "2", `{"type":"/problems/limited","title":"Limited","status":429,"detail":"Slow down.","retry_after":2}`},
		{limited, 429, "1", ""},
		{fault.New(fault.Unavailable, "unavailable", "Later."), 503, "1", ""},
		{Refuse(413, fault.Invalid, "invalid", "Too much."), 413, "", ""},
	} {
		h, _ := logged("GET /{$}", func(http.ResponseWriter, *http.Request) error { return errors.Join(c.err) })
		w := get(h, "/")
		if w.Code != c.status || w.Header().Get("Retry-After") != c.retry || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%v: %d, Retry-After %q, %s", c.err, w.Code, w.Header().Get("Retry-After"), w.Header().Get("Content-Type"))
		}
		if c.body != "" && w.Body.String() != c.body {
			t.Errorf("%v: %s", c.err, w.Body)
		}
	}
}

func TestHeaders(t *testing.T) {
	w := get(Headers(http.NotFoundHandler()), "/")
	for name, want := range map[string]string{
		"Content-Security-Policy": Policy, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

// Who gave up, or a database that took too long, is no defect of ours to be woken for.
func TestGivenUp(t *testing.T) {
	for name, c := range map[string]struct {
		cancelled bool
		err       error
	}{
		"the caller left": {true, errors.New("interrupted")},
		"out of time":     {false, fmt.Errorf("read: %w", context.DeadlineExceeded)},
	} {
		t.Run(name, func(t *testing.T) {
			h, out := logged("GET /{$}", func(http.ResponseWriter, *http.Request) error { return c.err })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if c.cancelled {
				cancel()
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx))
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "1" || strings.Contains(out.String(), "ERROR") {
				t.Errorf("%d, log %s", w.Code, out)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	h, _ := logged("GET /{$}", func(w http.ResponseWriter, _ *http.Request) error {
		return JSON(w, http.StatusCreated, map[string]string{"text": "<é>"})
	})
	w := get(h, "/")
	if w.Code != 201 || w.Header().Get("Content-Type") != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
	var got map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got["text"] != "<é>" {
		t.Errorf("%s", w.Body)
	}
	h, _ = logged("GET /{$}", func(w http.ResponseWriter, _ *http.Request) error { return JSON(w, http.StatusOK, func() {}) })
	if w := get(h, "/"); w.Code != 500 {
		t.Errorf("what cannot be encoded: %d", w.Code)
	}
}
