package web

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"countersign.dev/internal/egress"
	"countersign.dev/internal/fault"
)

// This file owns which names a listener answers to. A page of a stranger's that points its own name at our address (DNS
// rebinding) arrives with that name; and one app at two addresses would be two origins, with two keys and two cookies.

// Host returns a middleware that answers 421 (RFC 9110 section 15.5.20) to requests for any other host than those
// allowed, each written as in a URL: name and port, without the port when it is the scheme's own.
func Host(allowed ...string) func(http.Handler) http.Handler {
	detail := "This server does not answer to that name. Its address is " + strings.Join(allowed, " or ") + "."
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !slices.ContainsFunc(allowed, func(name string) bool { return strings.EqualFold(name, r.Host) }) {
				Problem(w, r, Refuse(http.StatusMisdirectedRequest, fault.Invalid, "wrong-host", detail))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// ToPublic returns a middleware that sends page loads which came by another name of this machine (localhost, 127.0.0.1,
// [::1]) to the public URL. It goes around Host.
func ToPublic(public *url.URL) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !isPageLoad(r) || strings.EqualFold(r.Host, public.Host) || !isLoopback(r.Host) {
				next.ServeHTTP(w, r)
				return
			}
			to := *r.URL
			to.Scheme, to.Host, to.User = public.Scheme, public.Host, nil
			w.Header().Set("Cache-Control", "no-store")
			http.Redirect(w, r, to.String(), http.StatusTemporaryRedirect)
		})
	}
}

func isPageLoad(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

func isLoopback(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = strings.Trim(host, "[]")
	}
	return egress.IsLoopback(strings.ToLower(name))
}
