// This file owns the tests of waiting: the stream, the long poll, wake-ups, and the passing of time.

package secondfactor_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"countersign.dev/secondfactor"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listener reads a stream.
type listener struct {
	events chan string // data of each event; closed at the end of the stream
}

// listen opens the stream of a browser over a real connection.
func (b *browser) listen(t *testing.T) listener {
	t.Helper()
	server := httptest.NewServer(b.app.mux)
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(func() { cancel(); server.Close() })
	r, err := http.NewRequestWithContext(ctx, "GET", server.URL+"/login/verify/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("stream answered %d", resp.StatusCode)
	}
	l := listener{make(chan string, 16)}
	go func() {
		defer close(l.events)
		defer resp.Body.Close()
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if data, found := strings.CutPrefix(lines.Text(), "data: "); found {
				l.events <- data
			}
		}
	}()
	return l
}

// expect waits for an event that contains a text.
func (l listener) expect(t *testing.T, text string) {
	t.Helper()
	select {
	case event, open := <-l.events:
		if !open || !strings.Contains(event, text) {
			t.Fatalf("event %q (open: %v), want %q", event, open, text)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("no event with %q", text)
	}
}

// ended waits for the end of the stream.
func (l listener) ended(t *testing.T) {
	t.Helper()
	select {
	case event, open := <-l.events:
		if open {
			t.Fatalf("event %q, want the end", event)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the stream does not end")
	}
}

// CB8: without any callback a waiting browser hears of the decision, by the long poll at the provider.
func TestCB8_NoCallbackAtAll(t *testing.T) {
	for status, decide := range map[string]func(*app, string){
		"approved": func(a *app, uuid string) { a.provider.Approve(uuid) },
		"denied":   func(a *app, uuid string) { a.provider.Deny(uuid) },
		"expired":  func(a *app, uuid string) { a.provider.Expire(uuid) },
	} {
		t.Run(status, func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			approval := b.login("ana")
			l := b.listen(t)
			l.expect(t, `"state":"push_pending"`)
			decide(a, approval.UUID)
			l.expect(t, `"state":"`+status+`"`)
			if status != "approved" {
				l.ended(t)
				return
			}
			if b.complete(); !b.signedIn("ana") {
				t.Error("not signed in")
			}
			l.ended(t)
		})
	}
}

// A callback wakes the stream as well, and both together decide once.
func TestCallbackWakesTheStream(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	approval := b.login("ana")
	l := b.listen(t)
	l.expect(t, `"state":"push_pending"`)
	a.provider.Refuse("read", "60003") // the long poll is of no use
	a.callback(approval.UUID, "denied", approval.AuthyID, "", nil)
	l.expect(t, `"state":"denied"`)
	l.ended(t)
}

// A resend in another tab goes on in the stream of the first.
func TestStreamFollowsOtherTabs(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	l := b.listen(t)
	l.expect(t, `"state":"push_pending"`)
	b.post("/authy/send_token", "force", "1")
	l.expect(t, `"notice":"sms_sent"`)
	b.post("/login/verify/cancel")
	l.expect(t, `"state":"cancelled"`)
	l.ended(t)
}

func TestCloseEndsStreams(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	l := b.listen(t)
	l.expect(t, `"state":"push_pending"`)
	a.guard.Close()
	l.ended(t)
}

// Ten streams of one attempt are one long poll at the provider.
func TestOneLongPollPerAttempt(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	approval := b.login("ana")
	var all []listener
	for range 10 {
		l := b.listen(t)
		l.expect(t, `"state":"push_pending"`)
		all = append(all, l)
	}
	a.provider.Approve(approval.UUID)
	for _, l := range all {
		l.expect(t, `"state":"approved"`)
	}
	if n := a.provider.Calls("read"); n != 1 {
		t.Errorf("%d reads at the provider", n)
	}
}

// bubble runs a test in fake time, with an application whose clock is that time.
func bubble(t *testing.T, test func(*testing.T, *app)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a := newApp(t, func(c *secondfactor.Config) { c.Now = time.Now })
		test(t, a)
		a.guard.Close()
	})
}

// stream follows the status in a bubble, where no sockets are, and returns what was sent when the stream ends.
func (b *browser) stream(done chan<- string) {
	w := httptest.NewRecorder()
	b.app.mux.ServeHTTP(w, b.request("GET", "/login/verify/events", nil))
	done <- w.Body.String()
}

func TestD14_StreamEndsWithTheRequest(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login("ana")
		done, start := make(chan string), time.Now()
		go b.stream(done)
		sent := <-done
		if took := time.Since(start); took < 2*time.Minute || took > 2*time.Minute+time.Second {
			t.Errorf("ended after %s", took)
		}
		if strings.Count(sent, "event: state") != 2 || !strings.Contains(sent, `"state":"expired"`) || !strings.Contains(sent, `"methods":["push","code","sms"]`) {
			t.Errorf("sent %s", sent)
		}
		if beats := strings.Count(sent, ": still here"); beats < 6 {
			t.Errorf("%d heartbeats in two minutes", beats)
		}
	})
}

func TestD14_StreamEndsWithTheAttempt(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login("ana")
		b.post("/authy/send_token", "force", "1") // code_pending: nothing but the attempt itself runs out
		done, start := make(chan string), time.Now()
		go b.stream(done)
		sent := <-done
		if took := time.Since(start); took != 10*time.Minute || !strings.Contains(sent, `"state":"expired"`) || !strings.Contains(sent, `"methods":[]`) {
			t.Errorf("ended after %s: %s", took, sent)
		}
	})
}

// An approval that nobody completes ends a minute later, and the stream says so.
func TestD14_UnusedApprovalEnds(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		approval := b.login("ana")
		done := make(chan string)
		go b.stream(done)
		time.Sleep(30 * time.Second)
		a.provider.Approve(approval.UUID)
		start := time.Now()
		if sent := <-done; time.Since(start) != time.Minute || strings.Count(sent, "event: state") != 3 {
			t.Errorf("ended after %s: %s", time.Since(start), sent)
		}
	})
}

// A poll keeps the long poll going, and the next poll knows the decision; without polls it ends.
func TestPollKeepsTheLongPollGoing(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		approval := b.login("ana")
		for range 10 {
			if state := b.state(); state != "push_pending" {
				t.Fatalf("state %s", state)
			}
			time.Sleep(5 * time.Second)
		}
		a.provider.Approve(approval.UUID)
		synctest.Wait()
		if state := b.state(); state != "approved" {
			t.Errorf("state %s", state)
		}
		if n := a.provider.Calls("read"); n > 2 {
			t.Errorf("%d reads at the provider in 50 s", n)
		}
	})
}

func TestLongPollEndsWhenNobodyWaits(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		b.login("ana")
		b.state()
		time.Sleep(50 * time.Second)
		if n := a.provider.Calls("read"); n != 1 {
			t.Errorf("%d reads at the provider", n)
		}
	})
}

// The provider fails for a while: asking goes on, ever slower, and the decision is found.
func TestFA2_ProviderFailsWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T, a *app) {
		b := a.browser()
		approval := b.login("ana")
		a.provider.Refuse("read", "60003")
		done := make(chan string)
		go b.stream(done)
		time.Sleep(45 * time.Second)
		if n := a.provider.Calls("read"); n < 5 || n > 12 {
			t.Errorf("%d tries in 45 s", n)
		}
		a.provider.Refuse("read", "")
		a.provider.Deny(approval.UUID)
		start := time.Now()
		if sent := <-done; !strings.Contains(sent, `"state":"denied"`) || time.Since(start) > 11*time.Second {
			t.Errorf("after %s: %s", time.Since(start), sent)
		}
	})
}
