package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign.dev/internal/live"
)

// follow is a handler that sends an event for each wake-up of topic, and then why it ended.
func follow(hub *live.Hub, topic live.Topic, ended chan<- error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sub := hub.Subscribe(topic)
		defer sub.Close()
		s, err := OpenStream(w, r)
		for err == nil {
			var woken []live.Topic
			if woken, err = s.Next(r.Context(), sub); err == nil && len(woken) > 0 {
				err = s.Event("approvals")
			}
		}
		s.Close()
		ended <- err
	})
}

// blocks reads the stream's next n blocks, each ended by an empty line.
func blocks(t *testing.T, r *bufio.Reader, n int) string {
	t.Helper()
	var got strings.Builder
	for n > 0 {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %q: %v", got.String(), err)
		}
		got.WriteString(line)
		if line == "\n" {
			n--
		}
	}
	return got.String()
}

// A stream gives each wake-up as it comes, over both versions of HTTP, and says bye when the hub closes.
func TestStream(t *testing.T) {
	for _, version := range []int{1, 2} {
		t.Run([]string{1: "HTTP/1.1", 2: "HTTP/2"}[version], func(t *testing.T) {
			hub, ended := live.NewHub(), make(chan error, 1)
			const limits = 20 * time.Millisecond // of a server with time-outs; they may not end a stream
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(w)
				if err := errors.Join(rc.SetReadDeadline(time.Now().Add(limits)), rc.SetWriteDeadline(time.Now().Add(limits))); err != nil {
					t.Error(err)
				}
				follow(hub, "a", ended).ServeHTTP(w, r)
			}))
			srv.EnableHTTP2 = version == 2
			srv.StartTLS()
			defer srv.Close()
			res, err := srv.Client().Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.ProtoMajor != version || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Cache-Control") != "no-store" {
				t.Fatalf("%s %v", res.Proto, res.Header)
			}
			body := bufio.NewReader(res.Body)
			if got := blocks(t, body, 1); !regexp.MustCompile(`^retry: [0-9]{3,4}\n\n$`).MatchString(got) {
				t.Errorf("begins with %q", got)
			}
			for begun := time.Now(); time.Since(begun) < 2*limits; {
				hub.Wake("a", "b")
				if got := blocks(t, body, 1); got != "event: approvals\ndata: {}\n\n" {
					t.Errorf("got %q", got)
				}
			}
			hub.Close()
			if got := blocks(t, body, 1); got != "event: bye\ndata: {}\n\n" {
				t.Errorf("ends with %q", got)
			}
			if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
				t.Errorf("after bye: %q, %v", rest, err)
			}
			if err := <-ended; !errors.Is(err, io.EOF) {
				t.Errorf("ended by %v", err)
			}
		})
	}
}

// Streams that broke together come back one by one, within seconds.
func TestStreamsComeBackSpread(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 1000 {
		pause := again()
		if pause < 500*time.Millisecond || pause > 2500*time.Millisecond {
			t.Fatalf("comes back after %v", pause)
		}
		seen[pause/(100*time.Millisecond)] = true
	}
	if len(seen) < 15 {
		t.Errorf("a thousand streams come back in %d tenths of a second", len(seen))
	}
}

// A reader who leaves ends the stream at once, not at the next heartbeat.
func TestStreamReaderLeaves(t *testing.T) {
	hub, ended := live.NewHub(), make(chan error, 1)
	srv := httptest.NewServer(follow(hub, "a", ended))
	defer srv.Close()
	ctx, leave := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	blocks(t, bufio.NewReader(res.Body), 1)
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended by %v", err)
	}
}

// pipe is a ResponseWriter whose deadlines can be looked at, and that can be stuck.
type pipe struct {
	bytes.Buffer
	header    http.Header
	mu        sync.Mutex
	deadlines []time.Time
	stuck     bool
}

func (p *pipe) Header() http.Header { return p.header }
func (p *pipe) WriteHeader(int)     {}
func (p *pipe) FlushError() error {
	if p.stuck {
		p.mu.Lock()
		defer p.mu.Unlock()
		time.Sleep(time.Until(p.deadlines[len(p.deadlines)-1])) // virtual time
		return os.ErrDeadlineExceeded
	}
	return nil
}

func (p *pipe) SetWriteDeadline(at time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadlines = append(p.deadlines, at)
	return nil
}
func (p *pipe) SetReadDeadline(time.Time) error { return nil }

// Silence is broken every twenty seconds, each write has ten, and between writes there is no deadline.
func TestStreamInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, p := live.NewHub(), &pipe{header: http.Header{}}
		sub := hub.Subscribe("a")
		s, err := OpenStream(p, httptest.NewRequest(http.MethodGet, "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		p.Reset()
		begun := time.Now()
		for range 3 {
			if woken, err := s.Next(t.Context(), sub); err != nil || len(woken) > 0 {
				t.Fatalf("%v, %v", woken, err)
			}
		}
		if took := time.Since(begun); took != 3*heartbeat || p.String() != ":\n\n:\n\n:\n\n" {
			t.Errorf("%q after %v", p.String(), took)
		}
		if !p.deadlines[len(p.deadlines)-1].IsZero() {
			t.Error("a deadline was left behind")
		}
		p.stuck, begun = true, time.Now()
		if err := s.Event("approvals"); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != patience {
			t.Errorf("a stuck reader: %v after %v", err, time.Since(begun))
		}
	})
}
