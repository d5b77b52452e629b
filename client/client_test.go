// This file tests configuration, repetition, bounds and what leaks, with transports and servers that fail in many ways.

package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestNew(t *testing.T) {
	for _, base := range []string{"http://localhost:8301", "https://2fa.example.com/", "https://example.com/2fa//"} {
		if _, err := New(Config{BaseURL: base, APIKey: "k"}); err != nil {
			t.Errorf("%s: %v", base, err)
		}
	}
	for _, config := range []Config{
		{},
		{BaseURL: "https://2fa.example.com"},
		{APIKey: "k"},
		{BaseURL: "2fa.example.com", APIKey: "k"},
		{BaseURL: "ftp://2fa.example.com", APIKey: "k"},
		{BaseURL: "https://", APIKey: "k"},
		{BaseURL: "https://user:pass@2fa.example.com", APIKey: "k"},
		{BaseURL: "https://2fa.example.com?x=1", APIKey: "k"},
		{BaseURL: "https://2fa.example.com#x", APIKey: "k"},
		{BaseURL: "https://2fa example.com", APIKey: "k"},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%+v is accepted", config)
		}
	}
}

// scripted is a transport that fails or answers as told, one step a request.
type scripted struct {
	steps []step
	seen  []*http.Request
	gaps  []time.Duration // before each request
	last  time.Time
}

type step struct {
	fail   error // before or after connecting
	unsent bool  // no connection was made
	status int
	body   string
	broken bool   // the body ends in an error
	later  string // Retry-After
}

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	now := time.Now()
	s.gaps, s.last = append(s.gaps, now.Sub(s.last)), now
	n := min(len(s.seen), len(s.steps)-1)
	s.seen = append(s.seen, r)
	if n < 0 { // hangs until the time-out
		httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if !s.steps[n].unsent {
		httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
	}
	if s.steps[n].fail != nil {
		return nil, s.steps[n].fail
	}
	body := io.Reader(strings.NewReader(s.steps[n].body))
	if s.steps[n].broken {
		body = io.MultiReader(body, errReader{})
	}
	return &http.Response{StatusCode: s.steps[n].status, Body: io.NopCloser(body), Header: http.Header{"Retry-After": {s.steps[n].later}}}, nil
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func scriptedClient(t *testing.T, retries int, steps ...step) (*Client, *scripted) {
	t.Helper()
	script := &scripted{steps: steps, last: time.Now()}
	c, err := New(Config{BaseURL: "https://2fa.example.com", APIKey: testKey, Retries: retries, HTTPClient: &http.Client{Transport: script}})
	if err != nil {
		t.Fatal(err)
	}
	return c, script
}

// TestRepetition is the rule of the package comment: which call is sent how often after which failure.
func TestRepetition(t *testing.T) {
	const told = `{"message":"User has been suspended.","success":false,"errors":{},"error_code":"60017"}`
	calls := map[string]func(context.Context, *Client) error{
		"read":   func(ctx context.Context, c *Client) error { _, err := c.Approval(ctx, testUUID); return err },
		"status": func(ctx context.Context, c *Client) error { _, err := c.User(ctx, 1635); return err },
		"create": func(ctx context.Context, c *Client) error {
			_, err := c.CreateApproval(ctx, 1635, ApprovalRequest{Message: "a"})
			return err
		},
		"verify": func(ctx context.Context, c *Client) error {
			_, err := c.VerifyCode(ctx, 1635, "1234567", CodeOptions{})
			return err
		},
		"sms":  func(ctx context.Context, c *Client) error { _, err := c.SendSMS(ctx, 1635, CodeMessage{}); return err },
		"call": func(ctx context.Context, c *Client) error { _, err := c.SendCall(ctx, 1635, CodeMessage{}); return err },
		"mail": func(ctx context.Context, c *Client) error {
			_, err := c.SendEmail(ctx, 1635, CodeMessage{})
			return err
		},
		"start": func(ctx context.Context, c *Client) error {
			_, err := c.StartPhoneVerification(ctx, PhoneVerification{Phone: Phone{"1", "2025550123"}})
			return err
		},
		"check": func(ctx context.Context, c *Client) error {
			return c.CheckPhoneVerification(ctx, Phone{"1", "2025550123"}, "1234")
		},
		"phone": func(ctx context.Context, c *Client) error {
			_, err := c.PhoneInfo(ctx, Phone{"1", "2025550123"})
			return err
		},
		"figures": func(ctx context.Context, c *Client) error { _, err := c.Statistics(ctx); return err },
		"activity": func(ctx context.Context, c *Client) error {
			return c.RegisterActivity(ctx, 1635, Activity{Type: ActivityBanned})
		},
		"secret": func(ctx context.Context, c *Client) error {
			_, err := c.CreateSecret(ctx, 1635, SecretOptions{})
			return err
		},
		"email":    func(ctx context.Context, c *Client) error { return c.SetEmail(ctx, 1635, "ana@example.com") },
		"add":      func(ctx context.Context, c *Client) error { _, err := c.AddUser(ctx, NewUser{}); return err },
		"remove":   func(ctx context.Context, c *Client) error { return c.RemoveUser(ctx, 1635) },
		"renotify": func(ctx context.Context, c *Client) error { _, err := c.RenotifyApproval(ctx, testUUID); return err },
		"cancel":   func(ctx context.Context, c *Client) error { _, err := c.CancelApproval(ctx, testUUID); return err },
		"ticket":   func(ctx context.Context, c *Client) error { _, err := c.CreateEnrollmentTicket(ctx, 1635); return err },
	}
	repeatable := map[string]bool{"read": true, "status": true, "create": true, "phone": true, "figures": true, "email": true}
	for _, test := range []struct {
		name         string
		step         step
		retries      int
		repeatable   int // requests of calls that may be repeated
		unrepeatable int // requests of the others
	}{
		{"no connection", step{fail: errors.New("refused"), unsent: true}, 0, 3, 3},
		{"connection lost", step{fail: io.ErrUnexpectedEOF}, 0, 3, 1},
		{"answer lost", step{status: 200, body: `{`, broken: true}, 0, 3, 1},
		{"502 of a proxy", step{status: 502, body: "<html>"}, 0, 3, 1},
		{"503 of a proxy", step{status: 503}, 0, 3, 1},
		{"503 of the server", step{status: 503, body: told}, 0, 1, 1},
		{"429 of the server", step{status: 429, body: told}, 0, 1, 1},
		{"500", step{status: 500, body: "<html>"}, 0, 1, 1},
		{"200 that is not JSON", step{status: 200, body: "<html>"}, 0, 1, 1},
		{"no retries wanted", step{fail: errors.New("refused"), unsent: true}, -1, 1, 1},
		{"five retries wanted", step{status: 502}, 5, 6, 1},
	} {
		for name, send := range calls {
			synctest.Test(t, func(t *testing.T) {
				c, script := scriptedClient(t, test.retries, test.step)
				err := send(t.Context(), c)
				want := test.unrepeatable
				if repeatable[name] {
					want = test.repeatable
				}
				if err == nil || len(script.seen) != want {
					t.Errorf("%s, %s: %d requests, want %d (%v)", test.name, name, len(script.seen), want, err)
				}
				checkGaps(t, script)
			})
		}
	}
}

// checkGaps checks that tries come after a growing, jittered time.
func checkGaps(t *testing.T, script *scripted) {
	t.Helper()
	for i, gap := range script.gaps {
		if i == 0 {
			continue
		}
		longest := backOff << min(i-1, 6)
		if gap < longest/2 || gap > longest {
			t.Errorf("try %d came after %v, want %v to %v", i, gap, longest/2, longest)
		}
	}
}

func TestRepetitionSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, script := scriptedClient(t, 0, step{fail: io.EOF}, step{status: 503}, step{status: 200, body: created})
		got, err := c.CreateApproval(t.Context(), 1635, ApprovalRequest{Message: "a"})
		if err != nil || got.UUID != testUUID {
			t.Fatalf("got %+v, %v", got, err)
		}
		for _, r := range script.seen {
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != `{"message":"a"}` {
				t.Errorf("body %q, %v", body, err)
			}
			if key := r.Header.Get("Idempotency-Key"); key == "" || key != script.seen[0].Header.Get("Idempotency-Key") {
				t.Errorf("key %q: the approval could be created twice", key)
			}
		}
	})
}

// TestContext checks that a context ends a call at once, wherever it is.
func TestContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// while waiting for the next try
		c, script := scriptedClient(t, 50, step{status: 503})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		start := time.Now()
		_, err := c.Approval(ctx, testUUID)
		if err == nil || len(script.seen) != 1 || time.Since(start) != 20*time.Millisecond {
			t.Errorf("got %v after %v, %d requests", err, time.Since(start), len(script.seen))
		}
		// while a server hangs
		c, script = scriptedClient(t, 50)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := c.Approval(ctx, testUUID); !errors.Is(err, context.DeadlineExceeded) || len(script.seen) != 1 || time.Since(start) != time.Second {
			t.Errorf("got %v after %v, %d requests", err, time.Since(start), len(script.seen))
		}
		// without a deadline of the caller, a try has one
		c, script = scriptedClient(t, 1)
		start = time.Now()
		if _, err := c.VerifyCode(context.Background(), 1635, "1234567", CodeOptions{}); !errors.Is(err, context.DeadlineExceeded) || len(script.seen) != 1 || time.Since(start) != tryTimeout {
			t.Errorf("got %v after %v, %d requests", err, time.Since(start), len(script.seen))
		}
	})
}

// TestWaitShrinks checks that repeating a long poll does not wait longer than asked.
func TestWaitShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, script := scriptedClient(t, 2)
		if _, err := c.WaitApproval(t.Context(), testUUID, 15*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		var got []string
		for _, r := range script.seen {
			got = append(got, r.URL.RawQuery)
		}
		if fmt.Sprint(got) != "[wait=15  ]" {
			t.Errorf("queries %q", got)
		}
	})
}

// TestBrokenConnection uses a real transport, which repeats a GET by itself when a kept connection breaks. A code must not be
// sent twice: the second answer would be "used before".
func TestBrokenConnection(t *testing.T) {
	var verifies, reads atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counter, body := &reads, pending
		if strings.Contains(r.URL.Path, "/verify/") {
			counter, body = &verifies, rightCode
		}
		if r.ContentLength != 0 || len(r.TransferEncoding) != 0 {
			t.Errorf("a GET with a body: %d, %v", r.ContentLength, r.TransferEncoding)
		}
		if counter.Add(1) == 2 {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		_, _ = io.WriteString(w, body)
	}))
	defer server.Close()
	c, err := New(Config{BaseURL: server.URL, APIKey: testKey, HTTPClient: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.VerifyCode(t.Context(), 1635, "1234567", CodeOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.VerifyCode(t.Context(), 1635, "1234567", CodeOptions{}); err == nil || verifies.Load() != 2 {
		t.Errorf("verify: got %v, sent %d times", err, verifies.Load())
	}
	for range 2 {
		if _, err := c.Approval(t.Context(), testUUID); err != nil {
			t.Error(err)
		}
	}
	if reads.Load() != 3 {
		t.Errorf("read: sent %d times", reads.Load())
	}
}

// TestNothingLeaks is INV-8: addresses carry codes, headers carry the key; errors carry neither.
func TestNothingLeaks(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	_ = listener.Close()
	c, err := New(Config{BaseURL: "http://" + closed, APIKey: testKey, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	_, failure := c.VerifyCode(t.Context(), 1635, "7654321", CodeOptions{})
	refusing, _ := answering(t, 500, "no JSON 7654321 "+testKey)
	_, refusal := refusing.VerifyCode(t.Context(), 1635, "7654321", CodeOptions{})
	for _, err := range []error{failure, refusal} {
		if err == nil || strings.Contains(err.Error(), "7654321") || strings.Contains(err.Error(), testKey) {
			t.Errorf("got %v", err)
		}
	}
	var refused *net.OpError
	if !errors.As(failure, &refused) {
		t.Errorf("%v does not unwrap to its cause", failure)
	}
}

// TestRedirect checks that the key does not travel on.
func TestRedirect(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	own := &http.Client{}
	c, err := New(Config{BaseURL: server.URL, APIKey: testKey, HTTPClient: own})
	if err != nil {
		t.Fatal(err)
	}
	_, read := c.User(t.Context(), 1635)
	_, added := c.AddUser(t.Context(), NewUser{})
	for _, err := range []error{read, added} {
		var failure *Error
		if !errors.As(err, &failure) || failure.Status != 307 || failure.Code != "" {
			t.Errorf("got %v", err)
		}
	}
	if own.CheckRedirect != nil {
		t.Error("the caller's HTTP client was changed")
	}
}

func TestAnswerIsBounded(t *testing.T) {
	c, _ := answering(t, 200, rightCode+strings.Repeat(" ", maxAnswer))
	if _, err := c.VerifyCode(t.Context(), 1635, "1234567", CodeOptions{}); err == nil {
		t.Error("an endless answer is read")
	}
}

func TestError(t *testing.T) {
	for _, test := range []struct {
		retryAfter, body string
		want             Error
		text             string
	}{
		{"", "", Error{Status: 429, Message: "Too Many Requests"}, "status 429: Too Many Requests"},
		{"7", `{"message":"slow","error_code":"60003","errors":{}}`, Error{Status: 429, Code: "60003", Message: "slow", RetryAfter: 7 * time.Second}, "status 429, code 60003: slow"},
		{"-1", `{"message":"slow","error_code":"60003","errors":null}`, Error{Status: 429, Code: "60003", Message: "slow"}, "status 429, code 60003: slow"},
		{"99999999999999999999", `{"message":"slow","error_code":60003}`, Error{Status: 429, Message: "Too Many Requests"}, "status 429: Too Many Requests"},
		{"Wed, 21 Oct 2015 07:28:00 GMT", `{"message":"new","error_code":"69999","errors":{"a":1,"message":"x"}}`, Error{Status: 429, Code: "69999", Message: "new"}, "status 429, code 69999: new"},
	} {
		resp := &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {test.retryAfter}}}
		got, _ := readError(resp, []byte(test.body))
		if fmt.Sprintf("%#v", *got) != fmt.Sprintf("%#v", test.want) || got.Error() != test.text {
			t.Errorf("%s: got %#v, %q", test.body, *got, got)
		}
		if errors.Is(got, ErrRateLimited) != (got.Code == "60003") {
			t.Errorf("%s: ErrRateLimited", test.body)
		}
	}
}
