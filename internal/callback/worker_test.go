package callback_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	sign "countersign.dev/client/callback"
	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/authyapi"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/job"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// This file tests one attempt: what is sent, and what is learned from it.

// A callback is what the contract says, signed so that the application's own library takes it, with a receipt that needs no server.
func TestDelivery(t *testing.T) {
	r := newRig(t)
	rc := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		r.Clock.Advance(30 * time.Millisecond)
		w.WriteHeader(http.StatusNoContent)
	})
	r.setCallback(t, rc.URL+"/authy?tenant=1") // the query is called, and takes no part in the signature
	a, j := r.decide(t)
	r.deliver(t, j)

	got := <-rc.got
	want, err := authyapi.CallbackBody(r.app, a)
	if err != nil {
		t.Fatal(err)
	}
	if got.Method != "POST" || got.URL.String() != "/authy?tenant=1" || got.body != string(want) || got.Header.Get("Content-Type") != "application/json" ||
		got.Header.Get("User-Agent") != "Countersign" || got.ContentLength != int64(len(want)) {
		t.Errorf("%s %s %v\n%s", got.Method, got.URL, got.Header, got.body)
	}
	if nonce := got.Header.Get(sign.HeaderNonce); !regexp.MustCompile(`^1777888800\.\d{9}$`).MatchString(nonce) {
		t.Errorf("nonce %q", nonce)
	}
	event, err := r.verifier(t, rc.URL+"/authy").Verify(got.Request)
	if err != nil {
		t.Fatal(err)
	}
	if event.UUID != a.UUID || event.Status != sign.Approved || event.AuthyID != r.ana.AuthyID || event.DeviceID != fmt.Sprint(r.phone.Grants[0].ID) || event.Message != "Log in?" {
		t.Errorf("%+v", event)
	}
	if err := event.Receipt.Verify(receipt.Expected{
		Origin: servertest.Origin, Application: r.app.ID, User: r.ana.AuthyID, Approval: a.UUID, Decision: approval.Approve,
		Content: receipt.Content{Application: "Bank", Message: "Log in?"}, Keys: []string{r.phone.Device.PublicKey},
	}); err != nil {
		t.Errorf("receipt: %v", err)
	}

	try := callback.Try{AppID: r.app.ID, UUID: a.UUID, URL: rc.URL + "/authy?tenant=1", At: j.CreatedAt, Status: 204, Took: 30 * time.Millisecond}
	tries := r.tries(t)
	if len(tries) != 1 {
		t.Fatalf("%d tries are kept", len(tries))
	}
	if try.ID = tries[0].ID; tries[0] != try {
		t.Errorf("kept %+v, want %+v", tries[0], try)
	}
	r.Clock.Advance(48 * time.Hour)
	if left := r.claim(t); len(left) != 0 {
		t.Errorf("jobs are left: %v", left)
	}
	if r.told[r.app.ID] != 1 {
		t.Errorf("told %v", r.told)
	}
}

// A callback by GET has the canonical text for a query, signed as such, and no body (contract section 6.3).
func TestDeliveryByGet(t *testing.T) {
	r := newRig(t)
	rc := newReceiver(t, always(http.StatusOK))
	r.setCallbackByGet(t, rc.URL+"/authy")
	if err := r.Tenants.SetCallback(t.Context(), r.Account.ID, r.app.ID, rc.URL+"/authy?tenant=1", "operator:test"); !errors.Is(err, tenant.ErrCallbackQuery) {
		t.Errorf("an address with a query of its own: %v", err)
	}
	a, j := r.decide(t)
	r.deliver(t, j)
	got := <-rc.got
	body, err := authyapi.CallbackBody(r.app, a)
	if err != nil {
		t.Fatal(err)
	}
	params, err := sign.Canonical(body)
	if err != nil {
		t.Fatal(err)
	}
	if got.Method != "GET" || got.URL.Path != "/authy" || got.URL.RawQuery != params || got.body != "" || got.Header.Get("Content-Type") != "" {
		t.Errorf("%s %s %v\n%s", got.Method, got.URL, got.Header, got.body)
	}
	event, err := r.verifier(t, rc.URL+"/authy").Verify(got.Request)
	if err != nil || event.UUID != a.UUID || event.Status != sign.Approved || event.AuthyID != r.ana.AuthyID {
		t.Errorf("%+v, %v", event, err)
	}
	if tries := r.tries(t); len(tries) != 1 || tries[0].URL != rc.URL+"/authy" || !tries[0].Delivered() {
		t.Errorf("kept %+v", tries) // the address without what was told
	}
}

// One published verifier compares the spelling of the headers (contract section 6.1), which frameworks hide: here are the bytes.
func TestSpellingOfHeaders(t *testing.T) {
	r := newRig(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan []string, 1)
	go func() {
		defer ln.Close()
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var head []string
		for in := bufio.NewScanner(conn); in.Scan() && in.Text() != ""; {
			head = append(head, in.Text())
		}
		lines <- head
		fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	}()
	r.setCallback(t, "http://"+ln.Addr().String())
	_, j := r.decide(t)
	r.deliver(t, j)
	head := <-lines
	for _, want := range []string{"X-Authy-Signature: ", "X-Authy-Signature-Nonce: ", "Content-Type: application/json"} {
		if !slices.ContainsFunc(head, func(line string) bool { return strings.HasPrefix(line, want) }) {
			t.Errorf("no %q in %q", want, head)
		}
	}
	if head[0] != "POST / HTTP/1.1" {
		t.Errorf("request line %q", head[0])
	}
}

// No answer is no strike, however often; the callback comes again later.
func TestNoAnswerIsNoStrike(t *testing.T) {
	released := make(chan struct{})
	hang := newReceiver(t, func(http.ResponseWriter, *http.Request) { <-released })
	defer close(released)
	cut := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	gone := newReceiver(t, always(200))
	gone.Close()
	for _, row := range []struct{ name, url, reason string }{
		{"connection refused", gone.URL, "connection refused"},
		{"time-out", hang.URL, "no answer within 10 seconds"},
		{"cut off", cut.URL, "no connection, or it broke"},
		{"private address", "http://10.0.0.1/", "the address is private, local or reserved, and not allowed"},
		{"TLS to a port without", strings.Replace(cut.URL, "http:", "https:", 1), "no connection, or it broke"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t)
			r.worker.Client.Timeout = 10 * time.Second
			if row.url == hang.URL {
				r.worker.Client.Timeout = 50 * time.Millisecond
			}
			r.setCallback(t, row.url)
			_, j := r.decide(t)
			for range 5 {
				r.deliver(t, j)
				if try := r.tries(t)[0]; try.Status != 0 || try.Error != row.reason {
					t.Fatalf("kept %+v", try)
				}
				if got := r.application(t).Callback; got.Strikes != 0 || got.URL != row.url {
					t.Fatalf("%+v", got)
				}
				j = r.due(t, 15*time.Minute)
			}
		})
	}
}

// What the console says of failures that a test must not depend on a network for.
func TestReasons(t *testing.T) {
	r := newRig(t)
	r.setCallback(t, "https://bank.example/authy")
	_, j := r.decide(t)
	for _, row := range []struct {
		err  error
		want string
	}{
		{&net.DNSError{Err: "no such host", Name: "bank.example", IsNotFound: true}, "the host name could not be resolved"},
		{&net.OpError{Op: "dial", Addr: &net.TCPAddr{IP: net.IPv4(10, 1, 2, 3)}, Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, "no route to host"},
		{&net.OpError{Op: "dial", Err: &net.AddrError{Err: "mismatched local address type", Addr: "10.1.2.3"}}, "no connection, or it broke"},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, "no connection: tls: certificate required"},
		{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "the receiver's certificate is not valid: it is signed by an authority that this machine does not know"},
		{context.DeadlineExceeded, "no answer within 10 seconds"},
		{errors.New("EOF at 10.1.2.3"), "no connection, or it broke"},
	} {
		r.worker.Client = &http.Client{Transport: failing{row.err}}
		r.deliver(t, j)
		if try := r.tries(t)[0]; try.Error != row.want || try.Status != 0 {
			t.Errorf("%v: kept %+v", row.err, try)
		}
		r.Clock.Advance(time.Millisecond)
	}
}

// failing is a transport that does not get through.
type failing struct{ err error }

func (f failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// A retry says the same under a fresh nonce.
func TestRetry(t *testing.T) {
	r := newRig(t)
	rc := newReceiver(t, always(502))
	r.setCallback(t, rc.URL)
	_, j := r.decide(t)
	r.deliver(t, j)
	if jobs := r.claim(t); len(jobs) != 0 {
		t.Error("due again at once")
	}
	j = r.due(t, 2*time.Second)
	if j.Attempts != 2 {
		t.Errorf("attempt %d", j.Attempts)
	}
	r.deliver(t, j)
	one, two := <-rc.got, <-rc.got
	if one.body != two.body || one.Header.Get(sign.HeaderNonce) == two.Header.Get(sign.HeaderNonce) {
		t.Errorf("nonces %q and %q, bodies\n%s\n%s", one.Header.Get(sign.HeaderNonce), two.Header.Get(sign.HeaderNonce), one.body, two.body)
	}
	v := r.verifier(t, rc.URL)
	for _, got := range []arrival{one, two} {
		if _, err := v.Verify(got.Request); err != nil {
			t.Error(err)
		}
	}
}

// A day of failures is enough.
func TestGivenUpAfterADay(t *testing.T) {
	r := newRig(t)
	gone := newReceiver(t, always(200))
	gone.Close()
	r.setCallback(t, gone.URL)
	_, j := r.decide(t)
	r.Clock.Advance(24 * time.Hour)
	j.Attempts = 12
	r.deliver(t, j)
	r.Clock.Advance(48 * time.Hour)
	if jobs := r.claim(t); len(jobs) != 0 {
		t.Errorf("%v", jobs)
	}
}

// An application without a callback is told nothing, and one whose callback was turned off holds nothing.
func TestNoCallback(t *testing.T) {
	r := newRig(t)
	if _, j := r.decide(t); j.ID != "" {
		t.Error("a job without a callback")
	}
	rc := newReceiver(t, always(200))
	r.setCallback(t, rc.URL)
	_, j := r.decide(t)
	r.setCallback(t, "")
	r.deliver(t, j)
	r.setCallback(t, rc.URL)
	r.Clock.Advance(time.Hour)
	if jobs := r.claim(t); len(jobs) != 0 || len(rc.got) != 0 {
		t.Errorf("%v, %d requests", jobs, len(rc.got))
	}
}

// When nothing can be sent, nothing is learned: the job fails and its row stays.
func TestNothingCouldBeSent(t *testing.T) {
	r := newRig(t)
	rc := newReceiver(t, always(200))
	r.setCallback(t, rc.URL)
	_, j := r.decide(t)
	broken := errors.New("broken")
	for name, change := range map[string]func(*callback.Worker){
		"key": func(w *callback.Worker) { w.Key = func(tenant.Key) (string, error) { return "", broken } },
		"body": func(w *callback.Worker) {
			w.Body = func(tenant.Application, approval.Approval) ([]byte, error) { return nil, broken }
		},
		"body that cannot be signed": func(w *callback.Worker) {
			w.Body = func(tenant.Application, approval.Approval) ([]byte, error) { return []byte(`{"a":1,"a":2}`), nil }
		},
	} {
		w := *r.worker
		change(&w)
		if err := w.Deliver(t.Context(), j); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	unknown := j
	unknown.Ref, unknown.About = "66666666-7777-4888-9999-000000000000", nil
	if err := r.worker.Deliver(t.Context(), unknown); !errors.Is(err, approval.ErrUnknown) {
		t.Errorf("an approval that is not there: %v", err)
	}
	if len(r.tries(t)) != 0 || len(rc.got) != 0 {
		t.Error("something was sent or kept")
	}
	r.deliver(t, r.due(t, job.Lease))
	<-rc.got
}

// An answer as long as it likes is read up to a bound, and its status counts.
func TestLongAnswer(t *testing.T) {
	r := newRig(t)
	written := make(chan int, 1)
	rc := newReceiver(t, func(w http.ResponseWriter, r *http.Request) {
		page, n := make([]byte, 1<<20), 0
		for r.Context().Err() == nil {
			if _, err := w.Write(page); err != nil {
				break
			}
			n += len(page)
		}
		written <- n
	})
	r.setCallback(t, rc.URL)
	_, j := r.decide(t)
	r.deliver(t, j)
	if try := r.tries(t)[0]; !try.Delivered() {
		t.Errorf("%+v", try)
	}
	if n := <-written; n > 64<<20 {
		t.Errorf("%d MiB were taken", n>>20)
	}
}

// Without the permission of `dev`, a receiver on this machine is not called, by whatever name.
func TestLoopbackOnlyInDev(t *testing.T) {
	r := newRig(t)
	rc := newReceiver(t, always(200))
	r.worker.Client = egress.Policy{}.Client(callback.Patience)
	for _, url := range []string{rc.URL, strings.Replace(rc.URL, "127.0.0.1", "localhost", 1), strings.Replace(rc.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		r.setCallback(t, url)
		_, j := r.decide(t)
		r.deliver(t, j)
		if try := r.tries(t)[0]; try.Error != "the address is private, local or reserved, and not allowed" {
			t.Errorf("%s: %+v", url, try)
		}
		r.Clock.Advance(time.Second / 2)
	}
	if len(rc.got) != 0 {
		t.Error("it was called")
	}
}
