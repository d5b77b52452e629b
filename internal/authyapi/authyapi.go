// Package authyapi is the surface that Authy's client libraries speak to: the
// wire contract of the Authy API, and our additions to it.
//
// A handler decodes, calls one domain method, and encodes. The routes are in
// Routes below, errors in errors.go, answers in answers.go, and what callbacks
// carry in callback.go. docs/api.md describes what is served; "contract" in
// comments means the Authy API that clients were written against.
package authyapi

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

// API is the surface. All fields must be set.
type API struct {
	Tenants   *tenant.Service
	Devices   *device.Service
	Resets    *reset.Service
	Codes     *otp.Service
	Approvals *approval.Service
	Reports   *reporting.Service
	Webhooks  *webhook.Service
	URL       string // the surface's public URL, without trailing slash: part of what the dashboard API's requests sign
	Now       func() time.Time
	Log       *slog.Logger
}

// call is one authenticated request.
type call struct {
	ctx    context.Context
	r      *http.Request
	app    tenant.Application
	about  tenant.User // whom the path names; the zero value: the application has no such user
	actor  string      // for the audit record, of what is signed by an access key
	params *Params
}

// handler answers a call with a value to encode, or an error.
type handler func(*API, call) (any, error)

// route is one line of the map of this surface.
type route struct {
	method, path string
	handle       handler
}

// Routes are authenticated by the application's API key. {format} is json; xml is not served (contract section 1.1).
var routes = []route{
	{"POST", "/protected/{format}/users/new", (*API).addUser},
	{"GET", "/protected/{format}/users/{id}/status", (*API).userStatus},
	{"POST", "/protected/{format}/users/{id}/remove", (*API).removeUser},
	{"POST", "/protected/{format}/users/{id}/delete", (*API).removeUser}, // and users/delete/{id}, see respell
	{"POST", "/protected/{format}/users/{id}/update", (*API).updateUser},
	{"POST", "/protected/{format}/users/{id}/register_activity", (*API).registerActivity},
	{"POST", "/protected/{format}/users/{id}/secret", (*API).createSecret},
	{"GET", "/protected/{format}/users/{id}/secret/export", (*API).exportSecret},
	{"GET", "/protected/{format}/users/{id}/phone_number", (*API).exportPhone},

	{"GET", "/protected/{format}/registrations/status", (*API).registrationStatus},
	{"DELETE", "/protected/{format}/sdk/devices/{device}", (*API).removeDevice},

	{"GET", "/protected/{format}/verify/{token}/{id}", (*API).verify},
	{"GET", "/protected/{format}/sms/{id}", (*API).sendSMS},
	{"GET", "/protected/{format}/call/{id}", (*API).sendCall},
	{"POST", "/protected/{format}/email/{id}", (*API).sendEmail},

	{"POST", "/protected/{format}/phones/verification/start", (*API).startVerification},
	{"GET", "/protected/{format}/phones/verification/check", (*API).checkVerification},
	{"GET", "/protected/{format}/phones/verification/status", (*API).verificationStatus},
	{"GET", "/protected/{format}/phones/info", (*API).phoneInfo},

	{"GET", "/protected/{format}/app/details", (*API).appDetails},
	{"GET", "/protected/{format}/app/stats", (*API).appStats},

	{"GET", "/protected/{format}/reporting/events", (*API).reportEvents},
	{"GET", "/protected/{format}/reporting/date_histogram", (*API).reportHistogram},
	{"GET", "/protected/{format}/reporting/terms", (*API).reportTerms},

	{"POST", "/onetouch/{format}/users/{id}/approval_requests", (*API).createApproval},
	{"GET", "/onetouch/{format}/approval_requests/{uuid}", (*API).readApproval},
	{"POST", "/onetouch/{format}/approval_requests/{uuid}/cancel", (*API).cancelApproval},
	{"POST", "/onetouch/{format}/approval_requests/{uuid}/renotify", (*API).renotifyApproval},
	{"POST", "/onetouch/{format}/users/{id}/enrollment_tickets", (*API).createTicket},
	{"POST", "/onetouch/{format}/users/{id}/notices", (*API).sendNotice},
	{"POST", "/onetouch/{format}/users/{id}/reset", (*API).askReset},
	{"POST", "/onetouch/{format}/users/{id}/reset/stop", (*API).stopReset},
	{"POST", "/onetouch/{format}/users/{id}/reset/finish", (*API).finishReset},
}

// managed are authenticated by an access key and a signature: the dashboard API (contract section 10).
var managed = []route{
	{"POST", "/dashboard/{format}/application/webhooks", (*API).createWebhook},
	{"GET", "/dashboard/{format}/application/webhooks", (*API).listWebhooks},
	{"DELETE", "/dashboard/{format}/application/webhooks", (*API).removeWebhook}, // older clients: the id is a parameter
	{"DELETE", "/dashboard/{format}/application/webhooks/{webhook}", (*API).removeWebhook},
}

// Handler returns the surface.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, rt := range routes {
		mux.Handle(rt.method+" "+rt.path, a.serve((*API).byKey, rt.handle))
	}
	for _, rt := range managed {
		mux.Handle(rt.method+" "+rt.path, a.serve((*API).bySignature, rt.handle))
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		// One client probes here before its first call (contract section 1.1).
		writeJSON(w, http.StatusOK, map[string]any{"message": "Countersign", "success": true})
	})
	mux.HandleFunc(anywhere, func(w http.ResponseWriter, r *http.Request) { refuseUnknown(mux, w, r) })
	return cleanPaths(respell(mux))
}

// respell turns users/delete/{id} into users/{id}/delete: the mux cannot tell users/{id}/delete and users/delete/{id} apart.
func respell(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s := strings.Split(r.URL.Path, "/"); len(s) == 6 && s[1] == "protected" && s[3] == "users" && s[4] == "delete" {
			u := *r.URL
			u.Path, u.RawPath = "/protected/"+s[2]+"/users/"+s[5]+"/delete", ""
			again := *r
			again.URL = &u
			next.ServeHTTP(w, &again)
			r.Pattern = again.Pattern // for the log
			return
		}
		next.ServeHTTP(w, r)
	})
}

// anywhere is the pattern of what no route matches.
const anywhere = "/"

// refuseUnknown answers what no route matches in the contract's error shape.
func refuseUnknown(mux *http.ServeMux, w http.ResponseWriter, r *http.Request) {
	r.Pattern = "" // for the log: no route
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		other := *r
		other.Method = method
		if _, pattern := mux.Handler(&other); pattern != anywhere {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		writeRefusal(w, notFound)
		return
	}
	list := strings.Join(allowed, ", ")
	w.Header().Set("Allow", list)
	writeRefusal(w, refusal{status: http.StatusMethodNotAllowed, code: "60000", message: "This address takes " + list + " requests only."})
}

// serve decodes and authenticates, in this order because the key may be in the body, and encodes the outcome.
func (a *API) serve(authenticate func(*API, *call) error, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("format") != "json" {
			writeRefusal(w, notFound)
			return
		}
		params, err := decode(r)
		if err != nil {
			a.Refuse(w, r, err)
			return
		}
		c := call{ctx: r.Context(), r: r, params: params}
		if err := authenticate(a, &c); err != nil {
			a.Refuse(w, r, err)
			return
		}
		a.Tenants.Meter.Count(c.app.ID, tenant.CountAPICall)
		answer, err := h(a, c)
		if err != nil {
			a.Refuse(w, r, err)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// byKey authenticates by the application's API key, and looks for the user whom the path names. What is no number is nobody's id.
func (a *API) byKey(c *call) (err error) {
	id, err := strconv.ParseInt(c.r.PathValue("id"), 10, 64)
	if err != nil {
		c.app, err = a.Tenants.Authenticate(c.ctx, c.params.APIKey())
		return err
	}
	c.app, c.about, err = a.Tenants.AuthenticateFor(c.ctx, c.params.APIKey(), id)
	return err
}

// user returns the application's user whom the path names, or tenant.ErrUser.
func (c call) user() (tenant.User, error) {
	if c.about.ID == "" {
		return tenant.User{}, tenant.ErrUser
	}
	return c.about, nil
}
