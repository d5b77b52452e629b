package deviceapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// This file owns the tests of the event stream. Nothing here waits but by reading from the stream.

// stream is an open event stream.
type stream struct {
	t     testing.TB
	body  *bufio.Reader
	leave context.CancelFunc
}

// listen opens a stream. When it returns, the device is subscribed.
func (p *phone) listen(t testing.TB) *stream {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	t.Cleanup(leave)
	res, err := p.client.Do(p.request(t, "GET", "/device/v1/events", nil, p.cookie).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	s := &stream{t: t, body: bufio.NewReader(res.Body), leave: leave}
	if first := s.next(); !strings.HasPrefix(first, "retry: ") {
		t.Fatalf("begins with %q", first)
	}
	return s
}

// next returns the next block without its empty line, or "" when the stream has ended.
func (s *stream) next() string {
	var block strings.Builder
	for {
		line, err := s.body.ReadString('\n')
		if err == io.EOF && line == "" && block.Len() == 0 {
			return ""
		}
		if err != nil {
			s.t.Fatalf("after %q: %v", block.String()+line, err)
		}
		if line == "\n" {
			return block.String()
		}
		block.WriteString(line)
	}
}

// wants reads events of exactly these names.
func (s *stream) wants(names ...string) {
	s.t.Helper()
	for _, name := range names {
		got := s.next()
		if name == "bye" { // with when to come back, for browsers and for scripts
			var retry, after int
			if n, err := fmt.Sscanf(got, "retry: %d\nevent: bye\ndata: {\"after\":%d}\n", &retry, &after); n != 2 || retry != after || after < 500 {
				s.t.Fatalf("got %q, want a goodbye: %v", got, err)
			}
			continue
		}
		if got != "event: "+name+"\ndata: {}\n" {
			s.t.Fatalf("got %q, want %s", got, name)
		}
	}
}

func (s *stream) wantsEnd() {
	s.t.Helper()
	if got := s.next(); got != "" {
		s.t.Fatalf("got %q, want the end", got)
	}
}

// Every change that a device can see is hinted as soon as it is committed.
func TestHints(t *testing.T) {
	b := newBench(t)
	ben := b.User(t, b.shop, "ben@example.com", "202-555-0124")
	p, other := b.enrolled(t, b.shop, b.ana), b.enrolled(t, b.shop, ben)
	s, second := p.listen(t), p.listen(t)

	asked := b.Ask(t, b.shop, b.ana, "Log in?")
	s.wants("approvals")
	second.wants("approvals")
	b.Ask(t, b.shop, ben, "Log in?") // somebody else's: nothing
	p.answer(t, asked.UUID, "approve", "").want(t, 200, "")
	s.wants("approvals")
	asked = b.Ask(t, b.shop, b.ana, "Log in?")
	s.wants("approvals")
	if _, err := b.Approvals.Cancel(t.Context(), b.shop, asked.UUID); err != nil {
		t.Fatal(err)
	}
	s.wants("approvals")

	// A new grant, and then news of its user.
	p.confirm(t, map[string]any{"ticket": b.ticket(t, b.shop, ben)}).want(t, 201, "")
	s.wants("grants", "approvals")
	b.Ask(t, b.shop, ben, "Log in?")
	s.wants("approvals")

	// A grant removed by another device of the user: no more news of that user.
	other.do(t, "DELETE", "grants/"+id(p.grants[1]), nil).want(t, 204, "")
	s.wants("grants", "approvals")
	b.Clock.Advance(time.Hour)
	b.Ask(t, b.shop, ben, "Log in?")
	b.Live.Close()
	s.wants("bye")
	s.wantsEnd()
}

// A user who is removed by the application disappears at once.
func TestRemovedUserHint(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	b.Ask(t, b.shop, b.ana, "Log in?")
	s := p.listen(t)
	if err := b.Tenants.RemoveUser(t.Context(), b.shop, b.ana.AuthyID); err != nil {
		t.Fatal(err)
	}
	for got := ""; got != "event: grants\ndata: {}\n"; got = s.next() {
		if got != "" && got != "event: approvals\ndata: {}\n" {
			t.Fatalf("got %q", got)
		}
	}
	if len(p.approvals(t)) != 0 {
		t.Error("the approval is still there")
	}
}

// T-23: signing out ends the streams of that session at once, and no other's.
func TestSignOutEndsStreams(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	stays := p.listen(t)
	p.signIn(t).want(t, 204, "")
	ends := p.listen(t)
	p.do(t, "DELETE", "sessions", nil).want(t, 204, "")
	ends.wantsEnd()
	stays.wants("grants", "approvals")
	b.Ask(t, b.shop, b.ana, "Log in?")
	stays.wants("approvals")
}

// INV-6: a session that has grown too old ends its stream, at the latest when the stream looks again.
func TestOldSessionEndsStream(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	s := p.listen(t)
	b.Clock.Advance(4 * time.Minute)
	b.Ask(t, b.shop, b.ana, "Log in?")
	s.wants("approvals")
	b.Clock.Advance(90 * 24 * time.Hour)
	b.Ask(t, b.shop, b.ana, "Log in?")
	s.wantsEnd()
}

// T-32: eight streams of one device; a ninth is refused and told when to come back; one that closes makes room.
func TestStreamCap(t *testing.T) {
	b := newBench(t)
	p, other := b.enrolled(t, b.shop, b.ana), b.enrolled(t, b.shop, b.ana)
	var open []*stream
	for range 8 {
		open = append(open, p.listen(t))
	}
	r := p.do(t, "GET", "events", nil)
	r.want(t, 429, "limited")
	if r.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	other.listen(t) // another device is not concerned
	open[0].leave()
	for { // until the server has noticed
		ctx, leave := context.WithCancel(t.Context())
		res, err := p.client.Do(p.request(t, "GET", "/device/v1/events", nil, p.cookie).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		leave()
		if res.StatusCode == http.StatusOK {
			return
		}
	}
}

// A stream that is opened while the program stops says bye at once; without a session there is none.
func TestStreamAtTheEnd(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	b.send(t, "GET", "/device/v1/events", nil, "").want(t, 401, "not-signed-in")
	if r := b.send(t, "HEAD", "/device/v1/events", nil, p.cookie); r.StatusCode != 200 {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
	b.Live.Close()
	s := p.listen(t)
	s.wants("bye")
	s.wantsEnd()
}

// A device without grants may listen, because it may get some.
func TestStreamWithoutGrants(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	p.do(t, "DELETE", "grants/"+id(p.grants[0]), nil).want(t, 204, "")
	s := p.listen(t)
	b.enrolled(t, b.shop, b.ana)
	p.confirm(t, map[string]any{"ticket": b.ticket(t, b.shop, b.ana)}).want(t, 201, "")
	s.wants("grants", "approvals")
	b.Ask(t, b.shop, b.ana, "Log in?")
	s.wants("approvals")
}
