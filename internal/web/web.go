// Package web owns what the surfaces share: handlers that return errors, one
// log record for each request, errors as problem documents (RFC 9457), strict
// JSON, security headers, event streams, the check of the Host header, and
// limits for strangers.
//
// It knows no routes and no domain but the kinds of failure and the wake-ups.
package web

import "net/http"

// Handler answers a request, or returns why it cannot. It must not have written anything when it returns an error.
type Handler func(w http.ResponseWriter, r *http.Request) error

// Or returns h as an http.Handler whose errors are told by tell, for example Problem.
func (h Handler) Or(tell func(w http.ResponseWriter, r *http.Request, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			tell(w, r, err)
		}
	})
}
