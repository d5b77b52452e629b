package server_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"countersign.dev/internal/egress"
	"countersign.dev/internal/message"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/server"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/terminal"
	"countersign.dev/internal/trace/export"
)

// This file runs a whole server, lets one person use all of it, and looks at everything that leaves it beside the answers: traces, metrics, log.

// collected is an OTLP receiver on loopback.
type collected struct {
	mu    sync.Mutex
	spans []*spans.Span
	raw   []byte
}

func (c *collected) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &in) != nil {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, body...)
	for _, resource := range in.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

// house is a running server, an application's callback receiver, and what was seen of them.
type house struct {
	t         *testing.T
	server    *server.Server
	log       lines
	otlp      collected
	flush     func()
	api       string
	device    string
	console   string
	callbacks chan http.Header // of each try
	codes     chan string      // that the gateway for texts took
	refused   bytes.Buffer     // every answer that was an error
}

const (
	gatewaySecret = "whsec_Y2FuYXJ5LWdhdGV3YXktc2VjcmV0LW9mLTMyLWJ5dGVz"
	phoneNumber   = "2025550123"
)

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, callbacks: make(chan http.Header, 10)}
	receiver := httptest.NewServer(&h.otlp)
	t.Cleanup(receiver.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	tracer, flush, err := export.FromEnvironment(t.Context(), "test")
	if err != nil || tracer == nil {
		t.Fatal(tracer, err)
	}
	h.flush = func() {
		if err := flush(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	}
	doors := map[string]net.Listener{}
	address := map[string]string{}
	for _, name := range []string{"api", "authenticator", "console", "ops"} {
		if doors[name], err = server.Listen(name, "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		address[name] = fmt.Sprint("http://localhost:", doors[name].Addr().(*net.TCPAddr).Port)
	}
	h.api, h.device, h.console = address["api"], address["authenticator"], address["console"]
	log := slog.New(slog.NewJSONHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h.codes = make(chan string, 10)
	sms := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var in map[string]any
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
			t.Error(err)
		}
		h.codes <- findString(in, "code")
	}))
	t.Cleanup(sms.Close)
	dead := "webhook+http://127.0.0.1:9/send?secret=" + gatewaySecret // takes nothing
	texts, err1 := message.ParseGateways(otp.SMS, []string{dead, "webhook+" + sms.URL + "/sms?secret=" + gatewaySecret})
	calls, err2 := message.ParseGateways(otp.Voice, []string{dead})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	h.server, err = server.New(t.Context(), server.Config{
		Database: filepath.Join(t.TempDir(), "countersign.db"), Master: master, APIURL: h.api, AuthenticatorURL: h.device, ConsoleURL: h.console,
		OwnerEmail: "owner@example.com", Egress: egress.Policy{Loopback: true},
		Gateways: map[otp.Channel][]message.Gateway{otp.SMS: texts, otp.Voice: calls}, Push: notify.Settings{Off: true}, Tracer: tracer, Now: time.Now, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	listeners := []*server.Listener{
		server.Serve("api", doors["api"], h.server.API, nil, log), server.Serve("authenticator", doors["authenticator"], h.server.Authenticator, nil, log),
		server.Serve("console", doors["console"], h.server.Console, nil, log),
	}
	doors["ops"].Close() // its handler is asked directly
	t.Cleanup(func() {
		now, cancel := context.WithCancel(context.Background())
		cancel()
		h.server.EndWaiting()
		server.StopListening(now, listeners...)
		if err := h.server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return h
}

var master = seal.NewMaster()

// ask sends a request and returns the status and the answer. Errors are kept for the search.
func (h *house) ask(method, address string, form url.Values, headers ...string) (int, map[string]any) {
	h.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(h.t.Context(), method, address, body)
	if err != nil {
		h.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	if res.StatusCode >= 400 {
		fmt.Fprintln(&h.refused, res.Header, string(text))
	}
	var answer map[string]any
	_ = json.Unmarshal(text, &answer)
	return res.StatusCode, answer
}

func (h *house) metrics() string {
	rec := httptest.NewRecorder()
	h.server.Ops().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
	return rec.Body.String()
}

// journey is one approval from the request to the callback, whose first try is refused.
type journey struct {
	key, uuid, match string
	ticket           string
	state            string // the terminal's file
	userID           string
	app              tenant.Application
}

const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

func (h *house) journey() journey {
	t := h.t
	ctx := t.Context()
	var j journey
	var err error
	set := tenant.NewIntegration()
	set.Match, set.MatchDigits, set.Sending.Countries = tenant.MatchType, 6, "US"
	if j.app, err = h.server.Tenants.CreateApplication(ctx, h.server.Account.ID, "Bank", set, "operator:test"); err != nil {
		t.Fatal(err)
	}
	if j.key, err = h.server.Tenants.APIKey(ctx, j.app.ID); err != nil {
		t.Fatal(err)
	}
	tries := 0
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		h.callbacks <- r.Header.Clone()
	}))
	t.Cleanup(receiver.Close)
	if err := h.server.Tenants.SetCallback(ctx, h.server.Account.ID, j.app.ID, receiver.URL+"/callback", "operator:test"); err != nil {
		t.Fatal(err)
	}
	auth := []string{"X-Authy-API-Key", j.key}
	_, user := h.ask("POST", h.api+"/protected/json/users/new", url.Values{"user[email]": {"ana@example.com"}, "user[country_code]": {"1"}, "user[cellphone]": {phoneNumber}}, auth...)
	j.userID = fmt.Sprint(int64(user["user"].(map[string]any)["id"].(float64)))
	_, ticket := h.ask("POST", h.api+"/onetouch/json/users/"+j.userID+"/enrollment_tickets", url.Values{}, auth...)
	j.ticket = findString(ticket, "words")
	j.state = filepath.Join(t.TempDir(), "device.json")
	phone, err := terminal.New(terminal.Config{StateFile: j.state, Authenticator: h.device})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := phone.RedeemTicket(ctx, j.ticket, "Ana's phone"); err != nil {
		t.Fatal(err)
	}
	status, created := h.ask("POST", h.api+"/onetouch/json/users/"+j.userID+"/approval_requests", url.Values{"message": {"Log in"}},
		append(auth, "traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")...)
	j.uuid, j.match = findString(created, "uuid"), findString(created, "value")
	if status != http.StatusOK || j.uuid == "" || len(j.match) != 6 {
		t.Fatal(status, created)
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		h.ask("GET", h.api+"/onetouch/json/approval_requests/"+j.uuid+"?wait=30", nil, auth...)
	}()
	a, err := phone.Approval(ctx, j.uuid)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := phone.Answer(ctx, a, "approve", j.match); err != nil {
		t.Fatal(err)
	}
	<-told
	for range 2 {
		header := <-h.callbacks
		if !strings.Contains(header.Get("traceparent"), traceID) {
			t.Errorf("the callback carries traceparent %q", header.Get("traceparent"))
		}
	}
	return j
}

// findString returns the string that stands under a name, however deep.
func findString(v any, name string) string {
	m, ok := v.(map[string]any)
	if !ok {
		return ""
	}
	if s, ok := m[name].(string); ok {
		return s
	}
	for _, inner := range m {
		if s := findString(inner, name); s != "" {
			return s
		}
	}
	return ""
}

// TestOneApprovalIsOneTrace: the steps are separate requests and jobs, and all of them are in the trace of who asked. INV-8: nothing secret is in
// what leaves the program beside its answers.
func TestOneApprovalIsOneTrace(t *testing.T) {
	h := newHouse(t)
	j := h.journey()
	canaries := h.provoke(j)
	h.server.EndWaiting()
	waitFor(t, func() bool {
		return strings.Contains(h.metrics(), `countersign_callbacks_total{outcome="delivered"} 1`)
	})
	h.flush()

	parents := map[string]string{} // name of a span in the trace, and of the one it is below
	names := map[string]string{}
	h.otlp.mu.Lock()
	defer h.otlp.mu.Unlock()
	count := map[string]int{}
	for _, s := range h.otlp.spans {
		names[hex.EncodeToString(s.SpanId)] = s.Name
	}
	for _, s := range h.otlp.spans {
		if hex.EncodeToString(s.TraceId) == traceID {
			parents[s.Name] = names[hex.EncodeToString(s.ParentSpanId)]
			count[s.Name]++
		}
	}
	root := "api POST /onetouch/{format}/users/{id}/approval_requests"
	for name, parent := range map[string]string{
		root: "", "approval.rules": root, "approval.transaction": root, "approval.wake": root,
		"approval.fetch": root, "approval.answer": root, "approval.verify": "approval.answer", "approval.decide": "approval.answer",
		"approval.tell": "approval.answer", "job callback": "approval.decide", "approval.told": root,
	} {
		if got, ok := parents[name]; !ok || got != parent {
			t.Errorf("%q is below %q (in the trace: %v), want %q", name, got, ok, parent)
		}
	}
	if count["job callback"] != 2 {
		t.Errorf("%d tries of the callback in the trace, want 2", count["job callback"])
	}
	h.search("the traces", string(h.otlp.raw), canaries)
	h.search("the metrics", h.metrics(), canaries)
	h.log.mu.Lock()
	h.search("the log", h.log.String(), canaries)
	if !strings.Contains(h.log.String(), `"trace":"`+traceID+`"`) || !strings.Contains(h.log.String(), `"level":"INFO"`) {
		t.Error("the log does not name the trace")
	}
	h.log.mu.Unlock()
	h.search("answers that refuse", h.refused.String(), canaries)
	if h.refused.Len() == 0 {
		t.Error("nothing was refused: the search proves nothing")
	}
}

// provoke uses secrets rightly and wrongly wherever they can stand, and returns all of them.
func (h *house) provoke(j journey) map[string]string {
	t := h.t
	auth := []string{"X-Authy-API-Key", j.key}
	if status, answer := h.ask("GET", h.api+"/protected/json/sms/"+j.userID+"?force=true", nil, auth...); status != http.StatusOK {
		t.Fatal(status, answer)
	}
	h.ask("GET", h.api+"/protected/json/call/"+j.userID+"?force=true", nil, auth...)
	code := <-h.codes
	state, err := os.ReadFile(j.state)
	if err != nil {
		t.Fatal(err)
	}
	var device struct {
		Session string
		Grants  []struct{ Secret string }
	}
	if err := json.Unmarshal(state, &device); err != nil || len(device.Grants) != 1 {
		t.Fatal(err, len(device.Grants))
	}
	session, secret := device.Session, device.Grants[0].Secret
	const wrongKey, wrongCode, wrongPassword, wrongTicket = "Canary0KeyThatIsNobodys0Canary00", "9753186420", "canary-password-97531", "canar-ytick-et000-00000"
	for _, where := range []string{h.api + "/protected/json/verify/" + wrongCode + "/" + j.userID, h.api + "/protected/json/verify/" + wrongCode + "/1"} {
		h.ask("GET", where, nil, auth...)
		h.ask("GET", where+"?api_key="+wrongKey, nil)
		h.ask("GET", where+"?api_key="+j.key, nil)
		h.ask("POST", where, nil, "X-Authy-API-Key", wrongKey)
	}
	h.ask("GET", h.api+"/protected/json/verify/"+code+"/"+j.userID, nil, auth...)
	h.ask("GET", h.api+"/no/such/"+wrongCode+"?api_key="+j.key, nil)
	h.ask("POST", h.console+"/signin", url.Values{"email": {"olga@example.com"}, "password": {wrongPassword}, "code": {wrongCode}}, "Origin", h.console)
	h.ask("GET", h.device+"/device/v1/approvals?session="+session, nil, "Cookie", "countersign_device="+session+"x")
	h.ask("POST", h.device+"/device/v1/enrollments/"+wrongTicket, nil, "Content-Type", "application/json")
	words := j.ticket
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.TrimRight(secret, "="))
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"API key": j.key, "wrong API key": wrongKey, "sent code": code, "wrong code": wrongCode, "TOTP secret": secret, "TOTP secret in hex": hex.EncodeToString(raw),
		"ticket": words, "wrong ticket": wrongTicket, "device's session": session, "operator's password": wrongPassword, "phone number": phoneNumber,
		"number to match": j.match, "gateway's secret": gatewaySecret[6:], "gateway's secret, decoded": "canary-gateway-secret", "master key": hex.EncodeToString(master),
		"master key in base64": base64.StdEncoding.EncodeToString(master),
	}
}

// search fails the test for each secret that text holds.
func (h *house) search(where, text string, canaries map[string]string) {
	h.t.Helper()
	for what, secret := range canaries {
		if len(secret) < 6 {
			h.t.Fatalf("the %s %q is no canary: it may stand anywhere", what, secret)
		}
		if at := strings.Index(text, secret); at >= 0 {
			h.t.Errorf("INV-8: the %s stands in %s: …%s…", what, where, text[max(0, at-200):min(len(text), at+100)])
		}
	}
}

// waitFor waits until the condition holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatal("waited for too long")
		}
		time.Sleep(5 * time.Millisecond)
	}
}
