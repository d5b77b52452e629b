package server_test

import (
	"bytes"
	"context"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
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
	"countersign.dev/internal/notify/pushtest"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/server"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/terminal"
	"countersign.dev/internal/trace/export"
)

// This file runs a whole server, lets one person use all of it, and looks at everything that leaves it beside the answers: traces, metrics, log.

// news is told of everything that is observed, so that who waits for something looks again.
type news chan struct{}

func (n news) tell() {
	select {
	case n <- struct{}{}:
	default: // somebody is about to look
	}
}

// waitFor waits until the condition holds. What ends in the server is told as a span or in the log when it has ended.
func (n news) waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !holds() {
		select {
		case <-n:
		case <-ctx.Done():
			t.Fatal("waited for too long")
		}
	}
}

// collected is an OTLP receiver on loopback.
type collected struct {
	news  news
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
	c.news.tell()
}

// lines is a log that can be read while it is written.
type lines struct {
	news news
	mu   sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.news.tell()
	return l.Buffer.Write(b)
}

func (l *lines) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}

// keep writes down where a request went, and with what.
func (l *lines) keep(r *http.Request, body []byte) {
	fmt.Fprintln(l, r.Method, r.Host, r.RequestURI, r.Header, string(body))
}

// house is a running server, everything on loopback that it sends to, and what was seen of them.
type house struct {
	news
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
	called    lines            // callbacks, whole
	asked     lines            // addresses and headers of requests to gateways, logos and push services
	push      pushtest.Service
	browser   *pushtest.Browser
	pushed    chan string // messages that the browser decrypted
}

const (
	gatewaySecret   = "whsec_Y2FuYXJ5LWdhdGV3YXktc2VjcmV0LW9mLTMyLWJ5dGVz"
	gatewayPassword = "c4n4rypw" // 8 characters: SMPP takes no more
	phoneNumber     = "2025550123"
	password        = "canary-password-that-is-right"
	logoToken       = "canary-token-of-a-logo"
	callbackToken   = "canary-token-of-a-callback"
)

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, news: make(news, 1), callbacks: make(chan http.Header, 10), browser: pushtest.NewBrowser(), pushed: make(chan string, 10)}
	h.log.news, h.otlp.news, h.called.news, h.asked.news = h.news, h.news, h.news, h.news
	receiver := httptest.NewServer(&h.otlp)
	t.Cleanup(receiver.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20") // milliseconds
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
		h.asked.keep(r, nil) // what it carries is for the person
		h.codes <- findString(in, "code")
	}))
	t.Cleanup(sms.Close)
	pushes := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.asked.keep(r, nil)
		h.push.ServeHTTP(w, r)
	}))
	t.Cleanup(pushes.Close)
	h.push.URL, h.push.Now = pushes.URL, time.Now
	h.push.Deliver = func(m pushtest.Message) {
		text, err := h.browser.Decrypt(m.Body)
		if err != nil {
			t.Error(err)
		}
		h.pushed <- string(text)
	}
	dead := "webhook+http://127.0.0.1:9/send?secret=" + gatewaySecret // takes nothing
	deaf := "smpp://bank:" + gatewayPassword + "@127.0.0.1:9?from=Bank"
	texts, err1 := message.ParseGateways(otp.SMS, []string{deaf, dead, "webhook+" + sms.URL + "/sms?secret=" + gatewaySecret})
	calls, err2 := message.ParseGateways(otp.Voice, []string{dead})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	h.server, err = server.New(t.Context(), server.Config{
		Database: filepath.Join(t.TempDir(), "countersign.db"), Master: master, APIURL: h.api, AuthenticatorURL: h.device, ConsoleURL: h.console,
		OwnerEmail: "owner@example.com", Egress: egress.Policy{Loopback: true},
		Gateways: map[otp.Channel][]message.Gateway{otp.SMS: texts, otp.Voice: calls}, Push: notify.Settings{Loopback: true}, Tracer: tracer, Now: time.Now, Log: log,
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
	session          string // of the device
	endpoint         string // of its push subscription
	early            string // everything that was told before the person answered
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
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/logo.png" {
			h.asked.keep(r, body)
			http.NotFound(w, r)
			return
		}
		h.called.keep(r, body)
		if tries++; tries == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		h.callbacks <- r.Header.Clone()
	}))
	t.Cleanup(receiver.Close)
	if err := h.server.Tenants.SetCallback(ctx, h.server.Account.ID, j.app.ID, receiver.URL+"/callback?token="+callbackToken, "operator:test"); err != nil {
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
	j.subscribe(h)
	status, created := h.ask("POST", h.api+"/onetouch/json/users/"+j.userID+"/approval_requests", url.Values{
		"message": {"Log in"}, "logos[0][res]": {"default"}, "logos[0][url]": {receiver.URL + "/logo.png?token=" + logoToken},
	},
		append(auth, "traceparent", "00-"+traceID+"-00f067aa0ba902b7-01")...)
	j.uuid, j.match = findString(created, "uuid"), findString(created, "value")
	if status != http.StatusOK || j.uuid == "" || len(j.match) != 6 {
		t.Fatal(status, created)
	}
	push := <-h.pushed
	_, list := h.ask("GET", h.device+"/device/v1/approvals", nil, "Cookie", "countersign_device="+j.session)
	if !strings.Contains(fmt.Sprint(list), j.uuid) || !strings.Contains(push, j.uuid) {
		t.Errorf("the device was told of another request: %s, %v", push, list)
	}
	j.early = fmt.Sprint(push, list, h.log.text(), h.asked.text())
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

// subscribe has the device subscribe to push messages, as its browser does.
func (j *journey) subscribe(h *house) {
	t := h.t
	state, err := os.ReadFile(j.state)
	var device struct{ Session string }
	if err := errors.Join(err, json.Unmarshal(state, &device)); err != nil || device.Session == "" {
		t.Fatal("no session", err)
	}
	j.session = device.Session
	_, offered := h.ask("GET", h.device+"/device/v1/push", nil, "Cookie", "countersign_device="+j.session)
	key := findString(offered, "key")
	_, j.endpoint = h.push.Register(key)
	text, err := json.Marshal(map[string]string{
		"endpoint": j.endpoint, "p256dh": base64.RawURLEncoding.EncodeToString(h.browser.P256dh()), "auth": base64.RawURLEncoding.EncodeToString(h.browser.Auth), "key": key,
	})
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "PUT", h.device+"/device/v1/push", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cookie", "countersign_device="+j.session)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Fatal("the subscription was answered with", res.Status)
	}
}

// operate sets an operator up, who then signs in with what is right, and returns the secret of his app codes.
func (h *house) operate() string {
	t := h.t
	link, err := h.server.Operators.SetupLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(link, "#")
	draft, err := h.server.Operators.Begin(t.Context(), token, "olga@example.com", password)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(draft.Secret)
	if err != nil {
		t.Fatal(err)
	}
	step := uint64(otp.Step(time.Now(), 30*time.Second))
	if _, err := h.server.Operators.Finish(t.Context(), draft.Sealed, otp.HOTP(secret, step, 6)); err != nil {
		t.Fatal(err)
	}
	status, _ := h.ask("POST", h.console+"/signin", url.Values{"email": {"olga@example.com"}, "password": {password}, "code": {otp.HOTP(secret, step+1, 6)}}, "Origin", h.console)
	if status != http.StatusOK {
		t.Errorf("the operator was answered with status %d", status)
	}
	return draft.Secret
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
	h.waitFor(t, func() bool {
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
	h.search("the log", h.log.text(), canaries)
	if log := h.log.text(); !strings.Contains(log, `"trace":"`+traceID+`"`) || !strings.Contains(log, `"level":"INFO"`) {
		t.Error("the log does not name the trace")
	}
	h.search("what was told before the answer", j.early, map[string]string{"number to match": j.match})
	// Outgoing requests. Their own tokens are in them, because that is where they go; the logo is in a callback as the application gave it.
	for where, out := range map[string]struct {
		text string
		own  []string
	}{
		"callbacks":                       {h.called.text(), []string{"callback's token", "logo's token"}},
		"addresses that are sent to":      {h.asked.text(), []string{"logo's token", "push subscription"}},
		"what the push service passed on": {j.early[:strings.Index(j.early, "map[")], nil},
	} {
		others := maps.Clone(canaries)
		for _, own := range out.own {
			delete(others, own)
		}
		h.search(where, out.text, others)
	}
	if text := h.asked.text(); !strings.Contains(text, "/push/") || !strings.Contains(text, "/logo.png") || !strings.Contains(text, "/sms") || !strings.Contains(h.called.text(), j.uuid) {
		t.Errorf("not everything was sent that is to be looked at: %s", text)
	}
	if err := h.push.Faults(); err != nil {
		t.Error(err)
	}
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
	var device struct{ Grants []struct{ Secret string } }
	if err := json.Unmarshal(state, &device); err != nil || len(device.Grants) != 1 {
		t.Fatal(err, len(device.Grants))
	}
	session, secret := j.session, device.Grants[0].Secret
	operators := h.operate()
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
		"ticket": words, "wrong ticket": wrongTicket, "device's session": session, "wrong password": wrongPassword, "operator's password": password,
		"secret of the operator's codes": operators, "phone number": phoneNumber, "push subscription": j.endpoint[strings.LastIndex(j.endpoint, "/")+1:],
		"logo's token": logoToken, "callback's token": callbackToken, "gateway's password": gatewayPassword,
		"number to match": j.match, "gateway's secret": gatewaySecret[6:], "gateway's secret, decoded": "canary-gateway-secret", "master key": hex.EncodeToString(master),
		"master key in base64": base64.StdEncoding.EncodeToString(master),
	}
}

// search fails the test for each secret that text holds. A number of few digits within a longer one, such as a time, is another one.
func (h *house) search(where, text string, canaries map[string]string) {
	h.t.Helper()
	for what, secret := range canaries {
		if len(secret) < 6 {
			h.t.Fatalf("the %s %q is no canary: it may stand anywhere", what, secret)
		}
		pattern := regexp.QuoteMeta(secret)
		if len(secret) < 10 {
			pattern = `\b` + pattern + `\b`
		}
		if at := regexp.MustCompile(pattern).FindStringIndex(text); at != nil {
			h.t.Errorf("INV-8: the %s stands in %s: …%s…", what, where, text[max(0, at[0]-200):min(len(text), at[1]+100)])
		}
	}
}
