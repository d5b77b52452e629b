package deviceapi

import (
	"net/http"
	"slices"
	"strings"

	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/web"
)

// This file owns the route table: every address of the listener, and who may use it.

// Access says who may use a route. Every route states it; there is no default.
type Access string

const (
	Public   Access = "public"   // anybody; costs nothing and tells nothing
	Stranger Access = "stranger" // anybody, within the limit of a network address
	Session  Access = "session"  // a device that is signed in
)

// Route is one line of the route table.
type Route struct {
	Method, Path string
	Access       Access
	handler      http.Handler
}

// Routes returns the route table, for tests that walk it.
func Routes() []Route { return new(surface).routes() }

func (s *surface) routes() []Route {
	return []Route{
		s.public("GET", "/device/v1/challenge", s.challenge),
		s.toStranger("POST", "/device/v1/enrollments", s.startEnrollment),
		s.toStranger("POST", "/device/v1/enrollments/confirm", s.confirmEnrollment),
		s.toStranger("POST", "/device/v1/tickets/look", s.lookTicket),
		s.toStranger("POST", "/device/v1/sessions", s.signIn),
		s.public("DELETE", "/device/v1/sessions", s.signOut),
		s.toDevice("GET", "/device/v1/grants", s.listGrants),
		s.toDevice("DELETE", "/device/v1/grants/{id}", s.removeGrant),
		s.toDevice("DELETE", "/device/v1/grants/{id}/reset", s.stopReset),
		s.toDevice("GET", "/device/v1/devices", s.listDevices),
		s.toDevice("GET", "/device/v1/approvals", s.listApprovals),
		s.toDevice("GET", "/device/v1/approvals/{uuid}", s.showApproval),
		s.toDevice("POST", "/device/v1/approvals/{uuid}/answer", s.answer),
		s.toDevice("GET", "/device/v1/logos/{digest}", s.logo),
		s.toDevice("GET", "/device/v1/push", s.showPush),
		s.toDevice("PUT", "/device/v1/push", s.subscribePush),
		s.toDevice("DELETE", "/device/v1/push", s.unsubscribePush),
		s.toDevice("GET", "/device/v1/events", s.events),

		s.public("GET", "/{$}", s.page),
		s.public("GET", "/enroll", s.page),
		s.toStranger("GET", "/register", s.register),
		s.public("GET", "/approvals", s.page),
		s.public("GET", "/approvals/{uuid}", s.page),
		s.public("GET", "/codes", s.page),
		s.public("GET", "/devices", s.page),
		s.public("GET", "/assets/{file...}", s.asset),
		s.public("GET", "/shared/{file...}", s.shared),
	}
}

func (s *surface) public(method, path string, h web.Handler) Route {
	return Route{method, path, Public, h.Or(web.Problem)}
}

func (s *surface) toStranger(method, path string, h web.Handler) Route {
	return Route{method, path, Stranger, s.stranger(h).Or(web.Problem)}
}

func (s *surface) toDevice(method, path string, h func(http.ResponseWriter, *http.Request, device.Device) error) Route {
	return Route{method, path, Session, s.session(h).Or(web.Problem)}
}

// mux mounts the table. A path with another method is 405, any other path 404; under /device/ as problem documents.
func (s *surface) mux() *http.ServeMux {
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range s.routes() {
		mux.Handle(r.Method+" "+r.Path, r.handler)
		methods[r.Path] = append(methods[r.Path], r.Method)
	}
	for path, allowed := range methods {
		mux.Handle(path, notAllowed(allowed))
	}
	mux.Handle("/device/", web.Handler(notFound).Or(web.Problem))
	mux.Handle("/", web.Handler(s.rest).Or(web.Problem))
	return mux
}

var errNoRoute = fault.New(fault.NotFound, "unknown", "There is nothing at this address.")

func notFound(http.ResponseWriter, *http.Request) error { return errNoRoute }

// notAllowed answers 405 with the methods that there are (RFC 9110 section 15.5.6).
func notAllowed(allowed []string) http.Handler {
	if slices.Contains(allowed, "GET") {
		allowed = append(allowed, "HEAD")
	}
	slices.Sort(allowed)
	list := strings.Join(allowed, ", ")
	return web.Handler(func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", list)
		return web.Refuse(http.StatusMethodNotAllowed, fault.Invalid, "invalid", "This address takes "+list+" only.")
	}).Or(web.Problem)
}
