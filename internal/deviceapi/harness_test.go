package deviceapi_test

import (
	"context"
	"crypto/ecdsa"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/deviceapi"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/web"
)

// This file owns the bench of the tests: a listener over real services, and phones that speak HTTP to it.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var app = fstest.MapFS{
	"index.html":           {Data: []byte("<!doctype html><title>Countersign</title>")},
	"sw.js":                {Data: []byte("export {};")},
	"manifest.json":        {Data: []byte("{}")},
	"assets/app-1a2b3c.js": {Data: []byte("export {};")},
}

// bench is a listener and everything behind it.
type bench struct {
	*servertest.Server
	handler http.Handler
	client  *http.Client // reaches the listener by its public name
	log     *logBuffer
	shop    tenant.Application
	ana     tenant.User
}

// newBench starts a listener, with an application and a user; change is called before it starts.
func newBench(t testing.TB, change ...func(*deviceapi.API)) *bench {
	b := &bench{Server: servertest.New(t), log: &logBuffer{}}
	streams := web.NewStreams(0, slog.New(slog.DiscardHandler))
	api := deviceapi.API{
		Streams: streams,
		Devices: b.Devices, Approvals: b.Approvals, Resets: b.Resets, Push: b.Push, Live: b.Live, Logos: b.Store.Logo, App: app,
		Shared:    fstest.MapFS{"tokens.css": {Data: []byte(":root{}")}},
		PublicURL: servertest.Origin, Now: b.Clock.Now, Logger: slog.New(slog.NewJSONHandler(b.log, nil)),
	}
	for _, c := range change {
		c(&api)
	}
	b.handler = api.Handler()
	srv := httptest.NewServer(b.handler)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
	}}
	b.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		b.Live.Close()
		streams.Close(context.Background())
		transport.CloseIdleConnections()
		srv.Close()
	})
	b.shop = b.App(t, "Shop")
	b.ana = b.User(t, b.shop, "ana@example.com", "202-555-0123")
	return b
}

// logBuffer keeps what is logged, by handlers that may still run while a test reads it.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// reply is an answer that was read whole.
type reply struct {
	*http.Response
	body []byte
}

// problem returns the code of a problem document, or "" for any other answer.
func (r reply) problem() string {
	var p struct{ Type string }
	if r.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(r.body, &p) != nil {
		return ""
	}
	return strings.TrimPrefix(p.Type, "/problems/")
}

// into decodes the answer, which must have that status.
func (r reply) into(t testing.TB, status int, v any) {
	t.Helper()
	r.want(t, status, "")
	if err := json.Unmarshal(r.body, v); err != nil {
		t.Fatalf("%s: %v", r.body, err)
	}
}

// want fails the test unless the answer has that status and that problem code ("" for none).
func (r reply) want(t testing.TB, status int, problem string) {
	t.Helper()
	if r.StatusCode != status || r.problem() != problem {
		t.Fatalf("%s %s: %d %s, want %d %s\n%s", r.Request.Method, r.Request.URL.Path, r.StatusCode, r.problem(), status, problem, r.body)
	}
}

// send makes a request. Body is JSON text, a value to encode, or nil; cookie is the session, or "".
func (b *bench) send(t testing.TB, method, path string, body any, cookie string) reply {
	t.Helper()
	r := b.request(t, method, path, body, cookie)
	res, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	read, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res, read}
}

func (b *bench) request(t testing.TB, method, path string, body any, cookie string) *http.Request {
	t.Helper()
	text, ok := body.(string)
	if !ok && body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		text = string(raw)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, servertest.Origin+path, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if cookie != "" {
		r.AddCookie(&http.Cookie{Name: "countersign_device", Value: cookie})
	}
	return r
}

// phone is an authenticator that knows the bench only by HTTP.
type phone struct {
	*bench
	key    *ecdsa.PrivateKey
	cookie string
	device string
	grants []grant
}

type grant struct {
	ID          int64
	Application struct{ ID, Name string }
	Account     string
	Digits      int
	Period      int64
	EnrolledAt  int64 `json:"enrolled_at"`
	Secret      string
}

// id is the grant's id as text.
func id(g grant) string { return strconv.FormatInt(g.ID, 10) }

// shown is an approval as the device gets it.
type shown struct {
	UUID        string
	Application struct{ ID, Name string }
	Account     string
	Logo        string
	Message     string
	Details     []receipt.Field
	Context     receipt.Context
	CreatedAt   int64 `json:"created_at"`
	ExpiresAt   int64 `json:"expires_at"`
	Status      string
	Match       struct {
		Mode   string
		Digits int
	}
	Sign struct {
		Origin, Device, Hidden, Nonce string
		User                          int64
		IssuedAt                      int64 `json:"issued_at"`
	}
}

func (b *bench) newPhone(t testing.TB) *phone { return &phone{bench: b, key: servertest.NewKey(t)} }

// enrolled returns a phone with a grant for the user, enrolled by ticket.
func (b *bench) enrolled(t testing.TB, app tenant.Application, u tenant.User) *phone {
	t.Helper()
	p := b.newPhone(t)
	p.confirm(t, map[string]any{"ticket": b.ticket(t, app, u)}).want(t, 201, "")
	return p
}

func (b *bench) ticket(t testing.TB, app tenant.Application, u tenant.User) string {
	t.Helper()
	ticket, err := b.Devices.NewTicket(t.Context(), app, u)
	if err != nil {
		t.Fatal(err)
	}
	return ticket.Words
}

// do makes a request in the phone's session.
func (p *phone) do(t testing.TB, method, path string, body any) reply {
	t.Helper()
	return p.send(t, method, "/device/v1/"+path, body, p.cookie)
}

func (b *bench) challenge(t testing.TB) string {
	t.Helper()
	var c struct{ Challenge, Origin string }
	b.send(t, "GET", "/device/v1/challenge", nil, "").into(t, 200, &c)
	if c.Origin != servertest.Origin {
		t.Fatalf("origin %q", c.Origin)
	}
	return c.Challenge
}

// confirmation returns the body of a confirmation of claim (ticket, or enrollment and code), well signed.
func (p *phone) confirmation(t testing.TB, claim map[string]any) map[string]any {
	t.Helper()
	token, ok := claim["ticket"].(string)
	if !ok {
		token, _ = claim["enrollment"].(string)
	}
	public := receipt.EncodePublicKey(&p.key.PublicKey)
	proof := receipt.EnrollmentProof{Challenge: p.challenge(t), Origin: servertest.Origin, PublicKey: public, Token: token}
	body := map[string]any{
		"challenge": proof.Challenge, "device": map[string]any{"name": "Ana's phone", "platform": "android", "public_key": public},
		"proof": p.sign(t, proof.Canonical()),
	}
	for name, value := range claim {
		body[name] = value
	}
	return body
}

// confirm ends an enrolment and keeps the session and grants when it worked.
func (p *phone) confirm(t testing.TB, claim map[string]any) reply {
	t.Helper()
	return p.keep(t, p.send(t, "POST", "/device/v1/enrollments/confirm", p.confirmation(t, claim), ""))
}

func (p *phone) keep(t testing.TB, r reply) reply {
	t.Helper()
	if r.StatusCode/100 != 2 {
		return r
	}
	for _, c := range r.Cookies() {
		p.cookie = c.Value
	}
	if len(r.body) > 0 {
		var in struct {
			Device string
			Grants []grant
		}
		r.into(t, r.StatusCode, &in)
		p.device, p.grants = in.Device, append(p.grants, in.Grants...)
	}
	return r
}

// signIn opens a session by proving the key.
func (p *phone) signIn(t testing.TB) reply {
	t.Helper()
	proof := receipt.SessionProof{Challenge: p.challenge(t), Device: p.device, Origin: servertest.Origin}
	body := map[string]string{"device": p.device, "challenge": proof.Challenge, "proof": p.sign(t, proof.Canonical())}
	return p.keep(t, p.send(t, "POST", "/device/v1/sessions", body, ""))
}

func (p *phone) sign(t testing.TB, canonical []byte) string {
	t.Helper()
	signature, err := receipt.Sign(p.key, canonical)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func (p *phone) approvals(t testing.TB) []shown {
	t.Helper()
	var in struct{ Approvals []shown }
	p.do(t, "GET", "approvals", nil).into(t, 200, &in)
	return in.Approvals
}

func (p *phone) approval(t testing.TB, uuid string) shown {
	t.Helper()
	var a shown
	p.do(t, "GET", "approvals/"+uuid, nil).into(t, 200, &a)
	return a
}

// signed builds what the phone signs out of nothing but what it was sent.
func (a shown) signed(decision, match string) receipt.Answer {
	shown := receipt.Content{Application: a.Application.Name, Message: a.Message, Details: a.Details, Logo: a.Logo, Context: a.Context}
	return receipt.Answer{
		Origin: a.Sign.Origin, Application: a.Application.ID, User: a.Sign.User, Device: a.Sign.Device, Approval: a.UUID, Shown: shown.Digest(),
		Hidden: a.Sign.Hidden, Match: match, Decision: decision, Nonce: a.Sign.Nonce, IssuedAt: a.Sign.IssuedAt, ExpiresAt: a.ExpiresAt,
	}
}

// answer reads the approval, signs and posts an answer.
func (p *phone) answer(t testing.TB, uuid, decision, match string) reply {
	t.Helper()
	return p.post(t, uuid, decision, match, p.approval(t, uuid).signed(decision, match))
}

// post posts an answer with a signature over whatever was signed.
func (p *phone) post(t testing.TB, uuid, decision, match string, signed receipt.Answer) reply {
	t.Helper()
	return p.do(t, "POST", "approvals/"+uuid+"/answer", map[string]string{"decision": decision, "match": match, "signature": p.sign(t, signed.Canonical())})
}
