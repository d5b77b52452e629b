package web

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
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

// follower has an event sent for each wake-up.
type follower struct {
	sub   *live.Subscription
	step  func() error // nil: none
	ended chan struct{}
}

func follow(hub *live.Hub, topics ...live.Topic) *follower {
	return &follower{sub: hub.Subscribe(topics...), ended: make(chan struct{})}
}

func (f *follower) Subscription() *live.Subscription { return f.sub }

func (f *follower) Step(woken []live.Topic, turn func(func(context.Context) error) error) ([]string, error) {
	if len(woken) == 0 {
		return nil, nil
	}
	if f.step != nil {
		if err := turn(func(context.Context) error { return f.step() }); err != nil {
			return nil, err
		}
	}
	return []string{"approvals"}, nil
}

func (f *follower) End() {
	f.sub.Close()
	close(f.ended) // panics when it is called twice
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

const (
	approvals = "event: approvals\ndata: {}\n\n"
	silent    = ":\n\n"
)

var byes = regexp.MustCompile(`^retry: [0-9]{3,5}\nevent: bye\ndata: {"after":[0-9]{3,5}}\n\n$`)

// A stream gives each wake-up as it comes, whatever it goes over, and says bye when the hub closes.
func TestStream(t *testing.T) {
	for name, over := range map[string]struct {
		version  int
		tls, own bool // own: a handler without Streams
	}{
		"HTTP/1.1, taken": {version: 1}, "HTTP/1.1, in its handler": {version: 1, own: true}, "HTTP/1.1 over TLS": {version: 1, tls: true}, "HTTP/2": {version: 2, tls: true},
	} {
		t.Run(name, func(t *testing.T) {
			hub, streams := live.NewHub(), NewStreams(0, slog.New(slog.DiscardHandler))
			if over.own {
				streams = nil
			}
			f := follow(hub, "a")
			const limits = 20 * time.Millisecond // of a server with time-outs; they may not end a stream
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(w)
				if err := errors.Join(rc.SetReadDeadline(time.Now().Add(limits)), rc.SetWriteDeadline(time.Now().Add(limits))); err != nil {
					t.Error(err)
				}
				w.Header().Set("X-Request-Id", "kept")
				if err := streams.Serve(w, r, f); err != nil {
					t.Error(err)
				}
				if streams != nil && (len(streams.taken) == 1) != !over.tls {
					t.Errorf("%d connections were taken", len(streams.taken))
				}
			}))
			srv.EnableHTTP2 = over.version == 2
			if over.tls {
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			res, err := srv.Client().Get(srv.URL)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.ProtoMajor != over.version || res.Header.Get("Content-Type") != "text/event-stream" || res.Header.Get("Cache-Control") != "no-store" ||
				res.Header.Get("X-Request-Id") != "kept" || res.Header.Get("Date") == "" {
				t.Fatalf("%s %v", res.Proto, res.Header)
			}
			body := bufio.NewReader(res.Body)
			if got := blocks(t, body, 1); !regexp.MustCompile(`^retry: [0-9]{3,4}\n\n$`).MatchString(got) {
				t.Errorf("begins with %q", got)
			}
			for begun := time.Now(); time.Since(begun) < 2*limits; {
				hub.Wake("a", "b")
				if got := blocks(t, body, 1); got != approvals {
					t.Errorf("got %q", got)
				}
			}
			hub.Close()
			if got := blocks(t, body, 1); !byes.MatchString(got) {
				t.Errorf("ends with %q", got)
			}
			if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
				t.Errorf("after bye: %q, %v", rest, err)
			}
			<-f.ended
			if streams != nil {
				streams.Close(t.Context())
			}
		})
	}
}

// Streams that broke together come back one by one: within seconds, and very many within half a minute.
func TestStreamsComeBackSpread(t *testing.T) {
	for streams, latest := range map[int]time.Duration{0: 2500 * time.Millisecond, 20_000: 8500 * time.Millisecond, 10_000_000: 30500 * time.Millisecond} {
		seen := map[time.Duration]bool{}
		for range 1000 {
			pause := again(streams)
			if pause < 500*time.Millisecond || pause > latest {
				t.Fatalf("comes back after %v", pause)
			}
			seen[pause*20/latest] = true
		}
		if len(seen) < 15 {
			t.Errorf("a thousand of %d streams come back in %d twentieths of their time", streams, len(seen))
		}
	}
}

// A reader who leaves ends the stream at once, not at the next heartbeat.
func TestStreamReaderLeaves(t *testing.T) {
	hub := live.NewHub()
	for name, streams := range map[string]*Streams{"taken": NewStreams(0, slog.New(slog.DiscardHandler)), "in its handler": nil} {
		t.Run(name, func(t *testing.T) {
			f := follow(hub, "a")
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { streams.Serve(w, r, f) }))
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
			defer res.Body.Close()
			blocks(t, bufio.NewReader(res.Body), 1)
			leave()
			<-f.ended
		})
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

// In a handler silence is broken every twenty seconds, each write has ten, and between writes there is no deadline.
func TestStreamInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, p := live.NewHub(), &pipe{header: http.Header{}}
		f := follow(hub, "a")
		l := &handled{p, http.NewResponseController(p), t.Context()}
		begun := time.Now()
		for range 3 {
			told, err := l.wait(f.sub)
			if err := (*Streams)(nil).next(l, f, told, err); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != 3*heartbeat || p.String() != silent+silent+silent {
			t.Errorf("%q after %v", p.String(), took)
		}
		if !p.deadlines[len(p.deadlines)-1].IsZero() {
			t.Error("a deadline was left behind")
		}
		p.stuck, begun = true, time.Now()
		if err := l.write(approvals); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != patience {
			t.Errorf("a stuck reader: %v after %v", err, time.Since(begun))
		}
	})
}

// taken gives the streams a connection as if it had been taken from a server, and returns its other end. It is a pipe without any
// buffer: who does not read stops the writer at the first byte.
func taken(s *Streams, f Follower) net.Conn {
	here, there := net.Pipe()
	h := &hijacked{streams: s, follower: f, begun: time.Now()}
	s.enter()
	s.take(h)
	s.hold(h, here)
	go h.begin("")
	return there
}

// The same of a connection that was taken: heartbeats count from what was sent last, and a silent reader is gone after ten seconds,
// has collected nothing meanwhile however often it was woken, and has held up nobody.
func TestTakenStreamInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, streams := live.NewHub(), NewStreams(0, slog.New(slog.DiscardHandler))
		f, deaf := follow(hub, "a"), follow(hub, "a")
		conn, silentConn := taken(streams, f), taken(streams, deaf)
		defer silentConn.Close()
		r := bufio.NewReader(conn)
		blocks(t, r, 1)
		bufio.NewReader(silentConn).ReadString('\n') // the deaf one has taken its beginning, and takes no more
		begun := time.Now()
		if got := blocks(t, r, 2); got != silent+silent || time.Since(begun) != 2*heartbeat {
			t.Fatalf("%q after %v", got, time.Since(begun))
		}
		begun = time.Now()
		for range 1000 {
			hub.Wake("a")
			if got := blocks(t, r, 1); got != approvals {
				t.Fatalf("got %q", got)
			}
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("a deaf reader held others up for %v", took)
		}
		select {
		case <-deaf.ended: // at its first heartbeat, twenty seconds and patience after the beginning
		default:
			t.Error("a deaf reader is still there")
		}
		conn.Close()
		<-f.ended
		streams.Close(t.Context())
		if len(streams.taken) > 0 || streams.open != 0 || hub.Waiting() != 0 {
			t.Errorf("%d streams, %d counted and %d subscriptions are left", len(streams.taken), streams.open, hub.Waiting())
		}
	})
}

// Who sends more than its request is not waited for.
func TestTakenStreamTalks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, streams := follow(live.NewHub(), "a"), NewStreams(0, slog.New(slog.DiscardHandler))
		conn := taken(streams, f)
		blocks(t, bufio.NewReader(conn), 1)
		conn.Write([]byte("x"))
		<-f.ended
	})
}

// A wake-up is never missed, whenever it comes: between setting the deadline and reading too.
func TestTakenStreamMissesNothing(t *testing.T) {
	hub, streams := live.NewHub(), NewStreams(0, slog.New(slog.DiscardHandler))
	f := follow(hub, "a")
	conn := taken(streams, f)
	r := bufio.NewReader(conn)
	blocks(t, r, 1)
	for range 20_000 {
		go hub.Wake("a")
		if got := blocks(t, r, 1); got != approvals { // a missed one hangs here
			t.Fatalf("got %q", got)
		}
	}
	conn.Close()
	<-f.ended
}

// When the program stops, streams say bye; Close waits for them, and cuts off who takes nothing when its time is over.
func TestCloseStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, streams := live.NewHub(), NewStreams(0, slog.New(slog.DiscardHandler))
		polite, deaf, busy := follow(hub, "a"), follow(hub, "a"), follow(hub, "busy")
		busy.step = func() error { // until it is told to give up
			<-streams.ctx.Done()
			return streams.ctx.Err()
		}
		conn, other, third := taken(streams, polite), taken(streams, deaf), taken(streams, busy)
		r := bufio.NewReader(conn)
		blocks(t, r, 1)
		for _, c := range []net.Conn{other, third} {
			defer c.Close()
			blocks(t, bufio.NewReader(c), 1)
		}
		hub.Wake("busy")
		synctest.Wait()
		hub.Close()
		if got := blocks(t, r, 1); !byes.MatchString(got) {
			t.Errorf("got %q", got)
		}
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("after bye: %q, %v", rest, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience/2)
		defer cancel()
		begun := time.Now()
		streams.Close(ctx)
		if took := time.Since(begun); took != patience/2 {
			t.Errorf("closed after %v", took)
		}
		<-deaf.ended
		<-busy.ended
		late := follow(hub, "a")
		w := &pipe{header: http.Header{}}
		if err := streams.Serve(w, httptest.NewRequest(http.MethodGet, "/", nil), late); err != nil || !strings.Contains(w.String(), "event: bye") {
			t.Errorf("after the end: %q, %v", w.String(), err)
		}
		<-late.ended
	})
}

// More streams than the process has room for are refused with a time to come back; one that ends makes room. HEAD takes none.
func TestStreamsBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hub, streams := live.NewHub(), NewStreams(1, slog.New(slog.DiscardHandler))
		first := follow(hub, "a")
		conn := taken(streams, first)
		blocks(t, bufio.NewReader(conn), 1)
		serve := func(method string) error {
			f, w := follow(hub, "a"), &pipe{header: http.Header{}}
			ctx, leave := context.WithCancel(t.Context())
			leave()
			err := streams.Serve(w, httptest.NewRequestWithContext(ctx, method, "/", nil), f)
			<-f.ended
			return err
		}
		failure := FailureOf(httptest.NewRequest(http.MethodGet, "/", nil), serve(http.MethodGet))
		if failure.Status != http.StatusServiceUnavailable || failure.RetryAfter != 10 {
			t.Errorf("%+v", failure)
		}
		conn.Close()
		<-first.ended
		synctest.Wait()
		for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodGet} {
			if err := serve(method); err != nil {
				t.Errorf("%s: %v", method, err)
			}
		}
	})
}

// Only so many streams ask the database at once; who waits too long for a turn hears of it and can ask later.
func TestStreamTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		streams := NewStreams(0, slog.New(slog.DiscardHandler))
		over := make(chan struct{})
		for range turnsMost {
			go streams.turn(func(context.Context) error { <-over; return nil })
		}
		synctest.Wait()
		begun := time.Now()
		if err := streams.turn(func(context.Context) error { return nil }); !errors.Is(err, errNoTurn) || time.Since(begun) != turnWait {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
		close(over)
		synctest.Wait()
		if err := streams.turn(func(context.Context) error { return nil }); err != nil {
			t.Error(err)
		}
	})
}

// A defect in one stream ends that one, is logged as what it is, and ends nothing else.
func TestStreamDefect(t *testing.T) {
	var log bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		hub, streams := live.NewHub(), NewStreams(0, slog.New(slog.NewJSONHandler(&log, nil)))
		f := follow(hub, "a")
		f.step = func() error { panic("oh dear") }
		conn := taken(streams, f)
		r := bufio.NewReader(conn)
		blocks(t, r, 1)
		hub.Wake("a")
		if rest, err := io.ReadAll(r); err != nil || len(rest) > 0 {
			t.Errorf("%q, %v", rest, err)
		}
		<-f.ended
	})
	if !strings.Contains(log.String(), `"level":"ERROR"`) || !strings.Contains(log.String(), "oh dear") {
		t.Errorf("logged %s", &log)
	}
}
