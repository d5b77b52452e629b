package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign.dev/internal/fault"
)

// This file owns how errors and values become answers.

// statusError is a refusal whose HTTP status says more than its kind.
type statusError struct {
	status int
	err    *fault.Error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

// Refuse returns an error that Problem tells with that status, where fault's kinds are too coarse, for example 413.
func Refuse(status int, kind fault.Kind, code, detail string) error {
	return &statusError{status, fault.New(kind, code, detail)}
}

var statuses = map[fault.Kind]int{
	fault.Internal: http.StatusInternalServerError, fault.Invalid: http.StatusBadRequest, fault.Unauthenticated: http.StatusUnauthorized,
	fault.Forbidden: http.StatusForbidden, fault.NotFound: http.StatusNotFound, fault.Conflict: http.StatusConflict, fault.Gone: http.StatusGone,
	fault.Limited: http.StatusTooManyRequests, fault.Unavailable: http.StatusServiceUnavailable,
}

// Failure is an error as a caller may see it.
type Failure struct {
	Status     int
	Code       string
	Detail     string
	Fields     map[string]string
	RetryAfter int // seconds, rounded up; 0 = not said
}

// FailureOf says what a caller may know of err. An internal error is kept for the log and told as that, with the request's id.
func FailureOf(r *http.Request, err error) Failure {
	e, ok := errors.AsType[*fault.Error](err)
	switch {
	case ok && e.Kind == fault.Unavailable:
		Note(r, slog.String("unavailable", err.Error())) // with what is behind it
	case ok && e.Kind != fault.Internal:
	case r.Context().Err() != nil: // the caller left, and whatever failed may have failed of that; nobody reads this
		Note(r, slog.String("given_up", err.Error()))
		e = fault.New(fault.Unavailable, "unavailable", "The request was given up.")
	case errors.Is(err, context.DeadlineExceeded):
		e = fault.New(fault.Unavailable, "unavailable", "The server is too busy. Try again in a moment.")
	default:
		rec := recordOf(r)
		rec.fail(err)
		e = fault.New(fault.Internal, "internal", "Something is wrong on our side. If it stays so, tell the operator this request id: "+rec.id)
	}
	refused(r, e)
	f := Failure{Status: statuses[e.Kind], Code: e.Code, Detail: e.Detail, Fields: e.Fields}
	if s, ok := errors.AsType[*statusError](err); ok {
		f.Status = s.status
	}
	if e.Kind == fault.Limited || e.Kind == fault.Unavailable {
		f.RetryAfter = max(1, int((e.RetryAfter+time.Second-1)/time.Second))
	}
	return f
}

// problem is a problem document (RFC 9457 section 3.1, contract section 2).
type problem struct {
	Type       string            `json:"type"`
	Title      string            `json:"title"`
	Status     int               `json:"status"`
	Detail     string            `json:"detail"`
	Fields     map[string]string `json:"fields,omitempty"`
	RetryAfter int               `json:"retry_after,omitempty"`
}

// Problem answers with err as application/problem+json.
func Problem(w http.ResponseWriter, r *http.Request, err error) {
	f := FailureOf(r, err)
	f.SetRetryAfter(w)
	writeJSON(w, f.Status, "application/problem+json", problem{
		Type: "/problems/" + f.Code, Title: title(f.Code), Status: f.Status, Detail: f.Detail, Fields: f.Fields, RetryAfter: f.RetryAfter,
	})
}

// SetRetryAfter sets the header of the same name (RFC 9110 section 10.2.3) when f says when to come back.
func (f Failure) SetRetryAfter(w http.ResponseWriter) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
}

// title is the code as words: RFC 9457 wants one short summary for each type.
func title(code string) string {
	if code == "internal" {
		return "Internal error"
	}
	words := strings.ReplaceAll(code, "-", " ")
	return strings.ToUpper(words[:1]) + words[1:]
}

// JSON answers with v.
func JSON(w http.ResponseWriter, status int, v any) error {
	return writeJSON(w, status, "application/json", v)
}

func writeJSON(w http.ResponseWriter, status int, mediaType string, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body) // fails only when the caller has left
	return nil
}
