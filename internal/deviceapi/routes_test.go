package deviceapi_test

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/deviceapi"
	"countersign.dev/internal/job"
	"countersign.dev/internal/servertest"
)

// T-31: a crawler without credentials gets nowhere but where this list says. A new route fails until it is classified here too.
func TestEveryRouteNeedsASession(t *testing.T) {
	public := map[string]int{ // what a stranger gets, without a body
		"GET /device/v1/challenge":            200,
		"POST /device/v1/enrollments":         415,
		"POST /device/v1/enrollments/confirm": 415,
		"POST /device/v1/tickets/look":        415,
		"POST /device/v1/sessions":            415,
		"DELETE /device/v1/sessions":          204,
		"GET /{$}":                            200,
		"GET /enroll":                         200,
		"GET /register":                       400,
		"GET /approvals":                      200,
		"GET /approvals/{uuid}":               200,
		"GET /codes":                          200,
		"GET /devices":                        200,
		"GET /assets/{file...}":               404,
		"GET /shared/{file...}":               404,
	}
	b := newBench(t)
	routes := deviceapi.Routes()
	for _, r := range routes {
		name := r.Method + " " + r.Path
		want, listed := public[name]
		delete(public, name)
		if listed != (r.Access != deviceapi.Session) {
			t.Errorf("%s says %q and is listed as public: %v", name, r.Access, listed)
		}
		if !listed {
			want = 401
		}
		path := strings.NewReplacer("{$}", "", "{", "", "}", "", "...", "").Replace(r.Path)
		for _, cookie := range []string{"", strings.Repeat("A", 52)} {
			if got := b.send(t, r.Method, path, nil, cookie); got.StatusCode != want || want == 401 && got.problem() != "not-signed-in" {
				t.Errorf("%s with the cookie %q: %d, want %d", name, cookie, got.StatusCode, want)
			}
		}
	}
	if len(public) > 0 || len(routes) < 20 {
		t.Errorf("%d routes; listed, but not there: %v", len(routes), public)
	}
}

// Each route answers its own methods only; nothing else under /device/ is there. Both are problem documents.
func TestOtherMethodsAndPaths(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	allowed := map[string][]string{}
	for _, r := range deviceapi.Routes() {
		if strings.HasPrefix(r.Path, "/device/") {
			allowed[r.Path] = append(allowed[r.Path], r.Method)
		}
	}
	for path, methods := range allowed {
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if slices.Contains(methods, method) {
				continue
			}
			r := b.send(t, method, strings.NewReplacer("{", "", "}", "").Replace(path), nil, p.cookie)
			if r.want(t, 405, "invalid"); !strings.Contains(r.Header.Get("Allow"), methods[0]) {
				t.Errorf("%s %s: Allow %q", method, path, r.Header.Get("Allow"))
			}
		}
	}
	for _, path := range []string{"/device/", "/device/v1", "/device/v1/", "/device/v2/grants", "/device/v1/grants/", "/device/v1/grants/1/2", "/device/v1/approvals/x/y"} {
		if r := b.send(t, "GET", path, nil, p.cookie); r.StatusCode != 404 || r.problem() != "unknown" {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
	}
}

// Whatever is posted, it is the caller's mistake and said in a sentence: never a 500, and never a success.
func TestMalformedBodies(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	asked := b.Ask(t, b.shop, b.ana, "Log in?")
	deep := strings.Repeat(`{"device":`, 5000) + "1" + strings.Repeat("}", 5000)
	bodies := map[string]int{
		"": 400, "null": 400, "[]": 400, "1": 400, `"x"`: 400, "{": 400, "{}{}": 400, "{} x": 400, `{"x":1}`: 400, `{"":1}`: 400, "\xff": 400, "{\"phone\":\"\xc3\x28\"}": 400,
		`{"phone":1}`: 400, `{"ticket":1}`: 400, `{"device":1}`: 400, `{"decision":true}`: 400, `{"proof":{}}`: 400, `{"challenge":[]}`: 400,
		`{"phone":"+12025550123","phone":"+12025550123"}`: 400, `{"Phone":"+12025550123"}`: 400, `{"decision":"approve","match":1}`: 400,
		`{"device":{"name":1}}`: 400, `{"decision":"maybe"}`: 400, deep: 413, strings.Repeat(`{"device":`, 1000): 400,
		`{"phone":"` + strings.Repeat("1", 16<<10) + `"}`: 413, strings.Repeat(" ", 16<<10) + "{}": 413,
	}
	for _, route := range deviceapi.Routes() {
		if route.Method != "POST" && route.Method != "PUT" {
			continue
		}
		path := strings.Replace(route.Path, "{uuid}", asked.UUID, 1)
		for body, want := range bodies {
			r := b.send(t, route.Method, path, body, p.cookie)
			if r.StatusCode != want || r.problem() != "invalid" || !bytes.HasSuffix(bytes.TrimSpace(r.body), []byte(`."}`)) {
				t.Errorf("%s %.60q: %d %s", path, body, r.StatusCode, r.body)
			}
		}
		for _, contentType := range []string{"", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/json-seq", "application/json; charset=latin1", "x y"} {
			request := b.request(t, route.Method, path, "{}", p.cookie)
			request.Header.Set("Content-Type", contentType)
			w := httptest.NewRecorder()
			b.handler.ServeHTTP(w, request)
			if w.Code != 415 {
				t.Errorf("%s %q: %d", path, contentType, w.Code)
			}
		}
	}
	if a := p.approval(t, asked.UUID); a.Status != "pending" {
		t.Errorf("the approval is %s", a.Status)
	}
}

// T-60: another origin's page can neither change nor read anything, also not from another port of the same machine.
func TestCrossOrigin(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	for _, c := range []struct {
		method, path, site, origin string
		status                     int
	}{
		{"DELETE", "/device/v1/grants/1", "cross-site", "https://evil.example", 403},
		{"DELETE", "/device/v1/grants/1", "same-site", "http://localhost:8300", 403},
		{"DELETE", "/device/v1/grants/1", "", "https://evil.example", 403}, // an older browser
		{"DELETE", "/device/v1/grants/1", "", "null", 403},
		{"DELETE", "/device/v1/grants/1", "same-origin", servertest.Origin, 404},
		{"DELETE", "/device/v1/grants/1", "", servertest.Origin, 404},
		{"DELETE", "/device/v1/grants/1", "", "", 404}, // no browser
		{"GET", "/device/v1/grants", "same-site", "", 403},
		{"GET", "/device/v1/grants", "cross-site", "", 403},
		{"GET", "/device/v1/events", "same-site", "", 403},
		{"GET", "/device/v1/grants", "same-origin", "", 200},
		{"GET", "/device/v1/grants", "none", "", 200},
		{"GET", "/enroll", "cross-site", "", 200}, // a link from the application
	} {
		r := b.request(t, c.method, c.path, nil, p.cookie)
		for name, value := range map[string]string{"Sec-Fetch-Site": c.site, "Origin": c.origin} {
			if value != "" {
				r.Header.Set(name, value)
			}
		}
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s %s from %q %q: %d, want %d", c.method, c.path, c.site, c.origin, w.Code, c.status)
		}
		if w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Error("there is CORS")
		}
	}
}

// T-60: every answer carries the security headers, and none under /device/ but a logo is stored.
func TestHeadersEverywhere(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	check := func(r reply) {
		t.Helper()
		for _, name := range []string{
			"Content-Security-Policy", "X-Content-Type-Options", "Referrer-Policy", "Cross-Origin-Opener-Policy",
			"Cross-Origin-Resource-Policy", "Permissions-Policy", "X-Request-Id",
		} {
			if r.Header.Get(name) == "" {
				t.Errorf("%s %s has no %s", r.Request.Method, r.Request.URL.Path, name)
			}
		}
		if strings.HasPrefix(r.Request.URL.Path, "/device/") && r.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %s: Cache-Control %q", r.Request.Method, r.Request.URL.Path, r.Header.Get("Cache-Control"))
		}
	}
	for _, route := range deviceapi.Routes() {
		if route.Path == "/device/v1/events" {
			continue // has a test of its own
		}
		path := strings.NewReplacer("{$}", "", "{", "", "}", "", "...", "").Replace(route.Path)
		check(b.send(t, route.Method, path, nil, ""))
		if route.Path != "/device/v1/sessions" {
			check(b.send(t, route.Method, path, nil, p.cookie))
		}
		check(b.send(t, "PUT", path, nil, p.cookie))
	}
}

func TestPages(t *testing.T) {
	b := newBench(t)
	page := func(method, path, accept string) reply {
		t.Helper()
		r := b.request(t, method, path, nil, "")
		r.Header.Set("Accept", accept)
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		res := w.Result()
		res.Request = r
		return reply{res, w.Body.Bytes()}
	}
	index := string(app["index.html"].Data)
	for _, path := range []string{"/", "/enroll", "/approvals/3b9e7e0e-7f0b-4d0e-9a55-1f7bd7b3a2b1", "/codes", "/devices"} {
		if r := page("GET", path, "text/html"); r.StatusCode != 200 || string(r.body) != index || r.Header.Get("Cache-Control") != "no-cache" || r.Header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %d %s %v", path, r.StatusCode, r.body, r.Header)
		}
		if r := page("POST", path, "text/html"); r.StatusCode != 405 {
			t.Errorf("POST %s: %d", path, r.StatusCode)
		}
	}
	for path, caching := range map[string]string{"/sw.js": "no-cache", "/manifest.json": "no-cache", "/assets/app-1a2b3c.js": "immutable", "/shared/tokens.css": "no-cache"} {
		if r := page("GET", path, "*/*"); r.StatusCode != 200 || !strings.Contains(r.Header.Get("Cache-Control"), caching) {
			t.Errorf("%s: %d %v", path, r.StatusCode, r.Header)
		}
	}
	if r := page("GET", "/sw.js", "*/*"); !strings.Contains(r.Header.Get("Content-Type"), "javascript") {
		t.Errorf("sw.js is %s", r.Header.Get("Content-Type"))
	}
	for _, path := range []string{"/nowhere", "/enroll/x", "/assets/", "/assets", "/assets/nowhere.js", "/shared/", "/shared/../index.html", "/assets/..%2findex.html", "/%2e%2e/index.html", "/assets/%00", "/wp-login.php"} {
		if r := page("GET", path, "text/html"); r.StatusCode != 404 && r.StatusCode != 307 || strings.Contains(string(r.body), "<pre>") {
			t.Errorf("%s: %d %s", path, r.StatusCode, r.body)
		}
		if r := page("GET", path, "*/*"); r.StatusCode == 200 || strings.Contains(string(r.body), "doctype") {
			t.Errorf("%s for a program: %d %s", path, r.StatusCode, r.body)
		}
	}
	if r := page("GET", "/nowhere", "text/html"); r.StatusCode != 404 || string(r.body) != index {
		t.Errorf("a person who is lost gets %d %s", r.StatusCode, r.body)
	}
}

// A page opened by another name of this machine goes to the one origin that keys are bound to; everything else is refused.
func TestOneOrigin(t *testing.T) {
	b := newBench(t)
	for _, c := range []struct {
		host, path, accept string
		status             int
		location           string
	}{
		{"127.0.0.1:8302", "/enroll", "text/html", 307, "http://localhost:8302/enroll"},
		{"[::1]:8302", "/", "text/html", 307, "http://localhost:8302/"},
		{"127.0.0.1:8302", "/device/v1/challenge", "*/*", 421, ""},
		{"evil.example:8302", "/", "text/html", 421, ""},
		{"evil.example", "/device/v1/challenge", "*/*", 421, ""},
	} {
		r := b.request(t, "GET", c.path, nil, "")
		r.Host = c.host
		r.Header.Set("Accept", c.accept)
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("Location") != c.location {
			t.Errorf("%s%s: %d to %q", c.host, c.path, w.Code, w.Header().Get("Location"))
		}
	}
	for _, public := range []string{"", "localhost:8302", "http://localhost:8302/", "http://localhost:8302/app", "ftp://localhost", "http://u@localhost"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q passes for an origin", public)
				}
			}()
			(&deviceapi.API{PublicURL: public}).Handler()
		}()
	}
}

// T-32: strangers share one allowance for each network address; who is signed in has none.
func TestStrangersAreLimited(t *testing.T) {
	b := newBench(t, func(a *deviceapi.API) { a.StrangerRate, a.StrangerBurst = 1, 5 })
	p := b.newPhone(t)
	words := b.ticket(t, b.shop, b.ana)
	p.confirm(t, map[string]any{"ticket": words}).want(t, 201, "")
	for _, path := range []string{"enrollments", "tickets/look", "sessions", "enrollments/confirm"} {
		b.send(t, "POST", "/device/v1/"+path, "{}", "")
	}
	for _, path := range []string{"enrollments", "tickets/look", "sessions", "enrollments/confirm"} {
		r := b.send(t, "POST", "/device/v1/"+path, "{}", "")
		if r.want(t, 429, "limited"); r.Header.Get("Retry-After") != "1" || !strings.Contains(string(r.body), `"retry_after":1`) {
			t.Errorf("%s: %v %s", path, r.Header, r.body)
		}
	}
	for range 20 {
		p.do(t, "GET", "approvals", nil).want(t, 200, "")
		b.challenge(t)
	}
	b.Clock.Advance(time.Second)
	b.send(t, "POST", "/device/v1/tickets/look", map[string]string{"ticket": "x"}, "").want(t, 410, "ticket-invalid")
}

// INV-7, INV-8: when the database fails nobody is let in or told why, and the log holds no secret.
func TestBrokenDatabase(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	asked := b.Ask(t, b.shop, b.ana, "Log in?")
	signed := p.approval(t, asked.UUID).signed("approve", "")
	confirmation := b.newPhone(t).confirmation(t, map[string]any{"ticket": b.ticket(t, b.shop, b.ana)})
	broken := errors.New("canary-in-error")
	b.Approvals.Store = brokenDecide{b.Approvals.Store, broken}
	r := p.post(t, asked.UUID, "approve", "", signed)
	r.want(t, 500, "internal")
	if strings.Contains(string(r.body), "canary") || !strings.Contains(b.log.String(), "canary-in-error") {
		t.Errorf("%s\n%s", r.body, b.log)
	}
	b.Devices.Store = brokenDevices{b.Devices.Store, broken}
	p.do(t, "GET", "approvals", nil).want(t, 500, "internal")
	b.send(t, "POST", "/device/v1/enrollments/confirm", confirmation, "").want(t, 500, "internal")
	b.send(t, "POST", "/device/v1/enrollments", map[string]string{"phone": anaPhone}, "").want(t, 500, "internal")
	for _, secret := range []string{p.cookie, anaPhone, confirmation["ticket"].(string), "ana@example.com"} {
		if strings.Contains(b.log.String(), secret) {
			t.Errorf("the log holds %s", secret)
		}
	}
}

// brokenDecide is a store that can read and not decide.
type brokenDecide struct {
	approval.Store
	err error
}

func (b brokenDecide) Decide(context.Context, approval.Decision, job.Job, audit.Record) ([]string, []job.Job, error) {
	return nil, nil, b.err
}

// brokenDevices is a store that fails where a device would be let in.
type brokenDevices struct {
	device.Store
	err error
}

func (b brokenDevices) DeviceBySession(context.Context, string, time.Time) (device.Device, error) {
	return device.Device{}, b.err
}

func (b brokenDevices) EnrollByTicket(context.Context, string, device.Enrolling) (device.Device, []device.Grant, error) {
	return device.Device{}, nil, b.err
}

func (b brokenDevices) StartEnrollment(context.Context, device.StoredEnrollment, job.Job, audit.Record) error {
	return b.err
}
