// This file owns what the tests of the whole surface share: a site over the real store, and ways to ask it.

package authyapi

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sign "countersign.dev/client/callback"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

// site is the surface over real services, with one application and one user, Ana.
type site struct {
	*servertest.Server
	handler http.Handler
	log     *logged
	app     tenant.Application
	key     string
	ana     tenant.User
	access  webhook.Credentials // of the dashboard API; made when they are first needed
}

// publicURL is the surface's in tests.
const publicURL = "https://api.example.com"

func newSite(t testing.TB, change ...func(*tenant.Settings)) *site {
	t.Helper()
	s := &site{Server: servertest.New(t), log: &logged{}}
	s.handler = s.api().Handler()
	s.app = s.App(t, "Bank", change...)
	s.key = s.Key(t, s.app)
	s.ana = s.User(t, s.app, "ana@example.com", "202-555-0123")
	return s
}

func (s *site) api() *API {
	return &API{URL: publicURL, Webhooks: s.Webhooks, Tenants: s.Tenants, Devices: s.Devices, Resets: s.Resets, Codes: s.Codes, Approvals: s.Approvals, Reports: s.Reports, Now: s.Clock.Now, Log: slog.New(slog.NewTextHandler(s.log, nil))}
}

// roomy lets a test ask as often as it likes.
func roomy(set *tenant.Settings) {
	set.WaitingMax, set.UnapprovedHour, set.UnapprovedBurst = 1_000_000, 1_000_000, 0
}

// open switches on what an application may only do when its operator says so.
func open(set *tenant.Settings) {
	set.GenericTokens, set.ExportSecrets, set.ExportPhones, set.CustomCodes = true, true, true, true
}

// generic gives Ana a secret in another authenticator app, used once, and returns what that app shows.
func (s *site) generic(t *testing.T) (code func() string) {
	t.Helper()
	made, err := s.Codes.NewGeneric(t.Context(), s.app, s.ana, "")
	if err != nil {
		t.Fatal(err)
	}
	uri, err := url.Parse(made.URI)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(uri.Query().Get("secret"))
	if err != nil {
		t.Fatal(err)
	}
	code = func() string { return otp.HOTP(secret, uint64(otp.Step(s.Clock.Now(), 30*time.Second)), 6) }
	s.get(fmt.Sprintf("/protected/json/verify/%s/%d", code(), s.ana.AuthyID))
	return code
}

// verification starts one of +1 202-555-0178 with the code 4711.
func (s *site) verification(t *testing.T) {
	t.Helper()
	s.Clock.Advance(10 * time.Minute) // for the limit on sending
	a := s.post("/protected/json/phones/verification/start", "country_code=1&phone_number=2025550178&custom_code=4711")
	if a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
}

// lastRecord is the application's newest audit record.
func (s *site) lastRecord(t *testing.T) audit.Record {
	t.Helper()
	records, err := s.Store.Audit(t.Context(), s.app.ID, 1)
	if err != nil || len(records) == 0 {
		t.Fatalf("no record, %v", err)
	}
	return records[0]
}

// logged is what was logged, safe for concurrent use.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// answer is what a client got.
type answer struct {
	status int
	header http.Header
	body   string
}

// serve asks without adding anything.
func (s *site) serve(r *http.Request) answer {
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// ask sends a request with the application's key in the header, or signed where the route takes that.
func (s *site) ask(method, target, contentType, body string) answer {
	r := request(method, target, contentType, body)
	s.authorize(r, body)
	return s.serve(r)
}

// authorize gives a request what its route asks for.
func (s *site) authorize(r *http.Request, body string) {
	r.Header.Set("X-Authy-API-Key", s.key)
	if strings.Contains(r.URL.Path, "/dashboard/") {
		q := r.URL.Query()
		q.Set("app_api_key", s.key)
		q.Set("access_key", s.credentials().AccessKey)
		r.URL.RawQuery = q.Encode()
		s.sign(r, body)
	}
}

// credentials are the application's for the dashboard API.
func (s *site) credentials() webhook.Credentials {
	if s.access.AccessKey == "" {
		made, err := s.Webhooks.NewAccessKey(context.Background(), s.app, "operator:test")
		if err != nil {
			panic(err)
		}
		s.access = made
	}
	return s.access
}

// sign signs what a request carries. What cannot be read is not signed: it is refused before that.
func (s *site) sign(r *http.Request, body string) {
	copied := request(r.Method, "/", r.Header.Get("Content-Type"), body)
	copied.URL = r.URL
	params, err := decode(copied)
	if err != nil {
		return
	}
	canonical, err := sign.Canonical(params.JSON())
	if err != nil {
		return
	}
	r.RequestURI = r.URL.RequestURI()
	nonce := fmt.Sprint(s.Clock.Now().Unix())
	path, _, _ := strings.Cut(r.RequestURI, "?")
	r.Header.Set(sign.HeaderNonce, nonce)
	r.Header.Set(sign.HeaderSignature, sign.Sign(s.credentials().SigningKey, nonce, r.Method, publicURL+path, canonical))
}

func (s *site) get(target string) answer        { return s.ask("GET", target, "", "") }
func (s *site) post(target, form string) answer { return s.ask("POST", target, formType, form) }

// appCode is the code that a phone's grant shows now.
func (s *site) appCode(phone *servertest.Phone) string {
	g := phone.Grants[0]
	return otp.HOTP(g.Secret, uint64(otp.Step(s.Clock.Now(), g.Period.Duration())), g.Digits)
}

// is reports a difference from an answer that must be byte for byte as told.
func (a answer) is(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || a.body != body {
		t.Errorf("got  %d %s\nwant %d %s", a.status, a.body, status, body)
	}
	a.wellFormed(t)
}

// wellFormed holds every answer to contract sections 1.4 and 1.6: compact JSON without a vertical bar, and for a refusal what clients read of it.
func (a answer) wellFormed(t *testing.T) {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/json;charset=utf-8" {
		t.Errorf("content type %q", got)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, []byte(a.body)); err != nil || compact.String() != a.body {
		t.Errorf("not compact JSON (%v): %s", err, a.body)
	}
	if strings.Contains(a.body, "|") {
		t.Errorf("a vertical bar: %s", a.body)
	}
	if a.status == http.StatusOK {
		return
	}
	var refused struct {
		Message string            `json:"message"`
		Success *bool             `json:"success"`
		Errors  map[string]string `json:"errors"`
		Code    string            `json:"error_code"`
	}
	err := json.Unmarshal([]byte(a.body), &refused)
	if err != nil || refused.Message == "" || refused.Success == nil || *refused.Success || refused.Errors == nil || len(refused.Code) != 5 || strings.Trim(refused.Code, "0123456789") != "" {
		t.Errorf("not the shape of an error (%v): %d %s", err, a.status, a.body)
	}
	if after := a.header.Get("Retry-After"); (a.status == 429 || a.status == 503) == (after == "") {
		t.Errorf("status %d with Retry-After %q", a.status, after)
	}
}

// at returns the value at a path of member names in the answer's JSON; nil when there is none.
func (a answer) at(t *testing.T, path ...string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	for _, name := range path {
		members, _ := v.(map[string]any)
		v = members[name]
	}
	return v
}

// uuid returns the uuid of the approval that the answer tells of.
func (a answer) uuid(t *testing.T) string {
	t.Helper()
	uuid, _ := a.at(t, "approval_request", "uuid").(string)
	if a.status != http.StatusOK || uuid == "" {
		t.Fatalf("no approval: %d %s", a.status, a.body)
	}
	return uuid
}

// everyRoute is the whole surface.
var everyRoute = slices.Concat(routes, managed)

// start is when the clock of every site stands still.
var start = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)
