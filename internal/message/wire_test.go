// This file tests the gateways that speak HTTP, by the requests that arrive at a real listener.

package message_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
)

// arrived is one request as a receiver saw it.
type arrived struct {
	method, path string
	header       http.Header
	body         []byte
}

func (a arrived) form(t *testing.T) url.Values {
	t.Helper()
	form, err := url.ParseQuery(string(a.body))
	if err != nil {
		t.Error(err)
	}
	return form
}

// receiver answers everything alike and keeps what came.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	status int
	header http.Header
	body   string
	got    []arrived
}

func newReceiver(t testing.TB, secure bool) *receiver {
	r := &receiver{status: 201, header: http.Header{}, body: `{"sid":"SM1","status":"queued"}`}
	handler := http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Error(err)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, arrived{q.Method, q.URL.RequestURI(), q.Header, body})
		for name, values := range r.header {
			w.Header()[name] = values
		}
		w.WriteHeader(r.status)
		io.WriteString(w, r.body)
	})
	if r.Server = httptest.NewUnstartedServer(handler); secure {
		r.StartTLS()
	} else {
		r.Start()
	}
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) answer(status int, body string, header ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status, r.body, r.header = status, body, http.Header{}
	for i := 0; i < len(header); i += 2 {
		r.header.Set(header[i], header[i+1])
	}
}

func (r *receiver) last(t *testing.T) arrived {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		t.Fatal("nothing arrived")
	}
	return r.got[len(r.got)-1]
}

// host is the receiver's address without the scheme.
func (r *receiver) host() string {
	_, host, _ := strings.Cut(r.URL, "://")
	return host
}

// authority writes the receiver's certificate into a file.
func (r *receiver) authority(t testing.TB) string {
	t.Helper()
	return keep(t, "ca.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})))
}

func keep(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func gateway(t *testing.T, address string) message.Gateway {
	t.Helper()
	g, err := message.ParseGateway(address)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// failure sends m and returns how that failed.
func failure(t *testing.T, g message.Gateway, m message.Message) *message.Failure {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err := g.Send(ctx, m)
	f, ok := errors.AsType[*message.Failure](err)
	if !ok {
		t.Fatalf("sending ended with %v, want a Failure", err)
	}
	for _, secret := range []string{m.To, m.Code, m.Body, "t0ken"} {
		if secret != "" && strings.Contains(f.Reason, secret) {
			t.Errorf("the reason %q tells %q", f.Reason, secret)
		}
	}
	return f
}

var (
	textMessage = message.Message{
		ID: "m1", Time: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC), Channel: otp.SMS, To: "+12025550123", Code: "123456",
		Body: "123456 is your Bank & Söhne code.\n\n@bank.example #123456", Left: 9 * time.Minute, ExpiresAt: time.Date(2026, 5, 4, 10, 10, 0, 0, time.UTC),
	}
	callMessage = message.Message{
		ID: "m2", Channel: otp.Voice, To: "+12025550123", Code: "12", Language: "es-ES", Speech: []string{"Hola, <Bank> & \"Söhne\".", "1", "2"}, Body: "Hola 1 2",
	}
	mailMessage = message.Message{
		ID: "m3", Time: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC), Channel: otp.Email, To: "ana@example.com", Code: "123456",
		Subject: "123456 es tu clave de Söhne", Body: "123456\n\n.\nEsta clave vale 10 minutos. No la des a nadie: ¡nadie te la pedirá nunca!\n",
	}
)

func TestTwilioMessage(t *testing.T) {
	r := newReceiver(t, true)
	address := "twilio://AC1:t0ken@" + r.host() + "?from=+12025550100&ca-file=" + r.authority(t)
	id, err := gateway(t, address).Send(t.Context(), textMessage)
	if err != nil || id != "SM1" {
		t.Fatal(id, err)
	}
	got := r.last(t)
	if got.method != "POST" || got.path != "/2010-04-01/Accounts/AC1/Messages.json" || got.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("%+v", got)
	}
	if want := "Basic " + base64.StdEncoding.EncodeToString([]byte("AC1:t0ken")); got.header.Get("Authorization") != want {
		t.Errorf("authorization %s", got.header.Get("Authorization"))
	}
	form := got.form(t)
	want := url.Values{"To": {"+12025550123"}, "From": {"+12025550100"}, "Body": {textMessage.Body}, "ValidityPeriod": {"540"}}
	if form.Encode() != want.Encode() {
		t.Errorf("form %v", form)
	}

	service := gateway(t, "twilio://SK1:t0ken@"+r.host()+"/region?account=AC2&service=MG1&ca-file="+r.authority(t))
	if _, err := service.Send(t.Context(), textMessage); err != nil {
		t.Fatal(err)
	}
	got = r.last(t)
	if form := got.form(t); got.path != "/region/2010-04-01/Accounts/AC2/Messages.json" || form.Get("MessagingServiceSid") != "MG1" || form.Has("From") {
		t.Errorf("%s %v", got.path, form)
	}
}

// A call says each phrase in its language, with a pause after it, and nothing in a phrase becomes markup.
func TestTwilioCall(t *testing.T) {
	r := newReceiver(t, false)
	r.answer(201, `{"sid":"CA1","status":"queued"}`)
	id, err := gateway(t, "twilio+http://AC1:t0ken@"+r.host()+"?from=+12025550100").Send(t.Context(), callMessage)
	if err != nil || id != "CA1" {
		t.Fatal(id, err)
	}
	got := r.last(t)
	form := got.form(t)
	if got.path != "/2010-04-01/Accounts/AC1/Calls.json" || form.Get("To") != "+12025550123" || form.Get("From") != "+12025550100" || form.Get("TimeLimit") != "120" {
		t.Errorf("%s %v", got.path, form)
	}
	var heard []string
	for d := xml.NewDecoder(strings.NewReader(form.Get("Twiml"))); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err, form.Get("Twiml"))
		}
		switch token := token.(type) {
		case xml.StartElement:
			word := token.Name.Local
			for _, a := range token.Attr {
				word += " " + a.Name.Local + "=" + a.Value
			}
			heard = append(heard, word)
		case xml.CharData:
			heard = append(heard, strconv.Quote(string(token)))
		}
	}
	want := `Response|Say language=es-ES|"Hola, <Bank> & \"Söhne\"."|Pause length=1|Say language=es-ES|"1"|Pause length=1|Say language=es-ES|"2"|Pause length=1|Hangup`
	if strings.Join(heard, "|") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(heard, "|"), want)
	}
}

func TestTwilioFailures(t *testing.T) {
	r := newReceiver(t, false)
	g := gateway(t, "twilio+http://AC1:t0ken@"+r.host()+"?from=+12025550100")
	for _, row := range []struct {
		status int
		body   string
		header []string
		want   message.Failure
	}{
		{400, `{"code":21211,"message":"The 'To' number +12025550123 is not valid","status":400}`, nil, message.Failure{Reason: "HTTP status 400 Bad Request, error 21211", Refused: true}},
		{401, `{"code":20003,"message":"Authenticate","status":401}`, nil, message.Failure{Reason: "HTTP status 401 Unauthorized, error 20003: are the credentials right?"}},
		{429, `{"code":20429,"status":429}`, []string{"Retry-After", "7"}, message.Failure{Reason: "HTTP status 429 Too Many Requests, error 20429", After: 7 * time.Second}},
		{429, ``, nil, message.Failure{Reason: "HTTP status 429 Too Many Requests", After: time.Second}},
		{503, ``, []string{"Retry-After", "Mon, 04 May 2026 10:00:30 GMT", "Date", "Mon, 04 May 2026 10:00:00 GMT"}, message.Failure{Reason: "HTTP status 503 Service Unavailable", After: 30 * time.Second}},
		{503, ``, []string{"Retry-After", "99999999"}, message.Failure{Reason: "HTTP status 503 Service Unavailable", After: 10 * time.Minute}},
		{503, ``, []string{"Retry-After", "-5"}, message.Failure{Reason: "HTTP status 503 Service Unavailable", After: time.Second}},
		{500, `<html>`, nil, message.Failure{Reason: "HTTP status 500 Internal Server Error"}},
		{302, ``, []string{"Location", "/elsewhere"}, message.Failure{Reason: "HTTP status 302 Found"}},
		{200, `<html>a captive portal</html>`, nil, message.Failure{Reason: "HTTP status 200, but no answer of this API"}},
		{200, `{}`, nil, message.Failure{Reason: "HTTP status 200, but no answer of this API"}},
	} {
		r.answer(row.status, row.body, row.header...)
		if got := failure(t, g, textMessage); *got != row.want {
			t.Errorf("%d %s: %+v", row.status, row.body, got)
		}
	}
	if got := failure(t, gateway(t, "twilio+http://AC1:t0ken@"+r.host()+"?service=MG1"), callMessage); !strings.Contains(got.Reason, "calls need from") {
		t.Errorf("a call without a number: %+v", got)
	}
	r.Close()
	if got := failure(t, gateway(t, "twilio+http://AC1:t0ken@"+r.host()+"?from=+12025550100"), textMessage); !strings.Contains(got.Reason, "connection refused") || got.Hung || got.Refused {
		t.Errorf("nobody listens: %+v", got)
	}
}

// A certificate that nobody vouches for is not spoken to, nor one of another name.
func TestGatewayCertificates(t *testing.T) {
	r := newReceiver(t, true)
	for _, address := range []string{
		"twilio://AC1:t0ken@" + r.host() + "?from=+12025550100",
		"webhook+https://" + r.host() + "/x?secret=" + whsec,
	} {
		if got := failure(t, gateway(t, address), textMessage); !strings.Contains(got.Reason, "certificate is not valid") {
			t.Errorf("%+v", got)
		}
	}
	port := r.host()[strings.LastIndexByte(r.host(), ':'):]
	other := gateway(t, "webhook+https://localhost"+port+"/x?secret="+whsec+"&ca-file="+r.authority(t)) // it names example.com and 127.0.0.1
	if got := failure(t, other, textMessage); !strings.Contains(got.Reason, "certificate is not valid") {
		t.Errorf("%+v", got)
	}
	if len(r.got) != 0 {
		t.Errorf("%d requests arrived", len(r.got))
	}
}

func TestTwilioCheck(t *testing.T) {
	r := newReceiver(t, false)
	g := gateway(t, "twilio+http://AC1:t0ken@"+r.host()+"?from=+12025550100")
	r.answer(200, `{"sid":"AC1","status":"active"}`)
	if _, err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := r.last(t); got.method != "GET" || got.path != "/2010-04-01/Accounts/AC1.json" {
		t.Errorf("%+v", got)
	}
	r.answer(200, `{"sid":"AC1","status":"suspended"}`)
	if _, err := g.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "suspended") {
		t.Error(err)
	}
	r.answer(401, `{"code":20003}`)
	if _, err := g.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Error(err)
	}
}

const whsec = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// verifyWebhook is the check that a receiver makes, as docs/gateways.md tells it.
func verifyWebhook(t *testing.T, a arrived) {
	t.Helper()
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whsec, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, key)
	io.WriteString(mac, a.header.Get("webhook-id")+"."+a.header.Get("webhook-timestamp")+"."+string(a.body))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); a.header.Get("webhook-signature") != want {
		t.Errorf("signature %s, want %s", a.header.Get("webhook-signature"), want)
	}
	if sent, err := strconv.ParseInt(a.header.Get("webhook-timestamp"), 10, 64); err != nil || time.Since(time.Unix(sent, 0)).Abs() > time.Minute {
		t.Errorf("timestamp %s", a.header.Get("webhook-timestamp"))
	}
}

func TestWebhook(t *testing.T) {
	r := newReceiver(t, true)
	g := gateway(t, "webhook+https://"+r.host()+"/hooks/send?secret-file="+keep(t, "secret", whsec+"\n")+"&ca-file="+r.authority(t))
	r.answer(202, `{"id":"abc-1"}`)
	id, err := g.Send(t.Context(), textMessage)
	if err != nil || id != "abc-1" {
		t.Fatal(id, err)
	}
	got := r.last(t)
	verifyWebhook(t, got)
	if got.method != "POST" || got.path != "/hooks/send" || got.header.Get("Content-Type") != "application/json" || got.header.Get("webhook-id") != "m1" {
		t.Errorf("%+v", got)
	}
	var body struct {
		Type      string
		Timestamp time.Time
		Data      map[string]any
	}
	if err := json.Unmarshal(got.body, &body); err != nil {
		t.Fatal(err)
	}
	if body.Type != "message.send" || body.Timestamp.IsZero() || body.Data["to"] != "+12025550123" || body.Data["channel"] != "sms" ||
		body.Data["body"] != textMessage.Body || body.Data["code"] != "123456" || body.Data["expires_at"] != "2026-05-04T10:10:00Z" || body.Data["id"] != "m1" {
		t.Errorf("%s", got.body)
	}
	for _, m := range []message.Message{callMessage, mailMessage} {
		if _, err := g.Send(t.Context(), m); err != nil {
			t.Error(err)
		}
		verifyWebhook(t, r.last(t))
	}
	if _, err := g.Check(t.Context()); err != nil {
		t.Error(err)
	}
	if got := r.last(t); !strings.HasPrefix(string(got.body), `{"type":"ping"`) || got.header.Get("webhook-id") == "" {
		t.Errorf("%s", got.body)
	}
	for _, odd := range []string{``, `null`, `[]`, `{"id":7}`, `{"id":"a\nb"}`, `{"id":"` + strings.Repeat("x", 201) + `"}`, strings.Repeat("x", 100_000)} {
		r.answer(200, odd)
		if id, err := g.Send(t.Context(), textMessage); id != "" || err != nil {
			t.Errorf("answered %.40q: %q, %v", odd, id, err)
		}
	}
	r.answer(422, ``)
	if got := failure(t, g, textMessage); !got.Refused {
		t.Errorf("%+v", got)
	}
	r.answer(429, ``, "Retry-After", "3")
	if got := failure(t, g, textMessage); got.After != 3*time.Second || got.Refused {
		t.Errorf("%+v", got)
	}
}

// A receiver that hangs is given up with the context, and that is told.
func TestWebhookHangs(t *testing.T) {
	release := make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-release }))
	defer hung.Close()
	defer close(release)
	_, host, _ := strings.Cut(hung.URL, "://")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := gateway(t, "webhook+http://"+host+"/?secret="+whsec).Send(ctx, textMessage)
	if f, ok := errors.AsType[*message.Failure](err); !ok || !f.Hung {
		t.Errorf("%+v", err)
	}
}
