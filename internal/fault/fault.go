// Package fault owns the kinds of failure that the domain can report.
//
// An Error carries a stable code for programs and a sentence that is safe to
// show to whoever asked. Everything that is not an *Error is an internal
// error: surfaces log it whole and tell the caller nothing about it.
package fault

import (
	"errors"
	"time"
)

// Kind says what class of failure an error is; each surface maps kinds to its own statuses.
type Kind uint8

const (
	Internal        Kind = iota // our fault; the zero value, so that a forgotten kind fails closed
	Invalid                     // the input can never work as it is
	Unauthenticated             // who asks is not known, or a secret was wrong
	Forbidden                   // known, but not allowed
	NotFound                    // not there, or not visible to who asks
	Conflict                    // the state does not allow it
	Gone                        // it was there and its time is over
	Limited                     // too much; RetryAfter says when to come back
	Unavailable                 // cannot be done now; RetryAfter says when to come back
)

// Error is a failure that the domain means to report.
type Error struct {
	Kind       Kind
	Code       string            // stable, lower-case, dashes: what programs of others see. Several errors may share one
	Detail     string            // one sentence, safe to show to who asked
	Fields     map[string]string // for Invalid: what is wrong with which field
	RetryAfter time.Duration     // for Limited and Unavailable; 0 = not said

	of *Error // what New returned, in every copy of it; nil in one that came from another process
}

// New returns an error of that kind. Package-level errors are made with it and compared with errors.Is.
func New(kind Kind, code, detail string) *Error {
	e := &Error{Kind: kind, Code: code, Detail: detail}
	e.of = e
	return e
}

func (e *Error) Error() string { return e.Code + ": " + e.Detail }

// Is reports whether target is e or a copy of it, such as one with a RetryAfter or a more precise Detail. Where one of them came
// from another process, the same code is enough.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	switch {
	case !ok:
		return false
	case e.of == nil || t.of == nil:
		return e.Code == t.Code
	}
	return e.of == t.of
}

// After returns a copy of e that says when to come back.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = max(d, 0)
	return &c
}

// Saying returns a copy of e with another sentence.
func (e *Error) Saying(detail string) *Error {
	c := *e
	c.Detail = detail
	return &c
}

// KindOf returns the kind of err: Internal for everything that is not an *Error.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// DetailOf returns the sentence that may be shown of err: none for everything that is not an *Error.
func DetailOf(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Detail
	}
	return ""
}
