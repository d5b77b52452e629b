package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/live"
)

// This file owns event streams (WHATWG HTML section 9.2). They carry hints, not facts: whoever gets one reads again.
//
// Waiting is what most connections do most of the time, so what it costs decides how many people a machine can serve. A handler that waits
// keeps its request, its context, two buffers and a deep stack: 46 kB. So on plain HTTP/1.1, which is what a proxy speaks with us, the
// connection is taken out of the server's hands (hijack.go); over TLS and HTTP/2 the handler waits.

const (
	heartbeat = 20 * time.Second // proxies forget connections that are silent for a minute
	patience  = 10 * time.Second // for one write: a reader that is slower than this is gone
	turnWait  = 5 * time.Second  // for a turn to ask the database something
	turnsMost = 32               // streams that ask the database something at once
)

var (
	errStreamsFull = fault.New(fault.Unavailable, "unavailable", "This server has too many open streams.").After(10 * time.Second)
	errNoTurn      = fault.New(fault.Unavailable, "unavailable", "Too many streams ask the database at once.")
)

// Follower is what one stream is about.
type Follower interface {
	// Subscription is what wakes the stream; always the same one.
	Subscription() *live.Subscription
	// Step names the events to send after these topics were woken; at a heartbeat none were. An error ends the stream. What asks the
	// database runs in a turn, which bounds how many streams do so at once; fault.Unavailable when there was none for it.
	Step(woken []live.Topic, turn func(func(context.Context) error) error) (events []string, err error)
	// End is called once, when nothing follows any more.
	End()
}

// Streams are the open event streams of a process. A nil one opens streams without a bound, each waiting in its handler.
type Streams struct {
	most  int
	log   *slog.Logger
	turns chan struct{} // one in it for each that has its turn
	ctx   context.Context
	cut   context.CancelFunc // ends ctx, for who has a turn

	mu      sync.Mutex // guards what follows
	open    int
	taken   map[*hijacked]struct{}
	closing bool
	ended   sync.WaitGroup // those in taken
}

// NewStreams allows so many streams at once; 0 is no bound.
func NewStreams(most int, log *slog.Logger) *Streams {
	s := &Streams{most: most, log: log, turns: make(chan struct{}, turnsMost), taken: map[*hijacked]struct{}{}}
	s.ctx, s.cut = context.WithCancel(context.Background())
	return s
}

// Serve answers with a stream of f's events, which begins after f has subscribed: who has seen it begin and then reads has missed nothing.
// It returns an error when nothing was answered, and in any case f is ended, now or when the stream is over.
func (s *Streams) Serve(w http.ResponseWriter, r *http.Request, f Follower) error {
	if !s.enter() {
		f.End()
		return errStreamsFull
	}
	if r.Method == http.MethodHead {
		s.leave(f)
		return nil
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that collects the answer first would never deliver it
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close") // its deadlines were ours; let nobody inherit them
	}
	if s.hijack(w, r, f) {
		return nil
	}
	defer s.leave(f)
	l := &handled{w, http.NewResponseController(w), r.Context()}
	l.rc.SetReadDeadline(time.Time{}) // the server's limit for reading a request is not one for listening
	w.WriteHeader(http.StatusOK)
	err := l.write(retry() + "\n")
	for err == nil {
		told, ended := l.wait(f.Subscription())
		err = s.next(l, f, told, ended)
	}
	l.rc.SetWriteDeadline(time.Now().Add(patience)) // the end of the answer is a write like any other
	Note(r, slog.String("ended", err.Error()))
	return nil
}

// enter counts one more stream, and reports false when there are too many.
func (s *Streams) enter() bool {
	if s == nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.most > 0 && s.open >= s.most {
		return false
	}
	s.open++
	return true
}

func (s *Streams) leave(f Follower) {
	f.End()
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}

// writer sends text to the reader within patience.
type writer interface{ write(text string) error }

// errBye ends streams when the program stops.
var errBye = errors.New("the program stops")

// heard returns errBye unless the hub is open.
func heard(open bool) error {
	if !open {
		return errBye
	}
	return nil
}

// next sends what follows from waiting: told that something was woken, not told because it is time for a heartbeat, or ended by an error.
// An error ends the stream, errBye after the goodbye.
func (s *Streams) next(to writer, f Follower, told bool, ended error) error {
	switch {
	case ended == errBye:
		return errors.Join(s.goodbye(to), errBye)
	case ended != nil:
		return ended
	}
	var woken []live.Topic
	if told {
		woken = f.Subscription().Take()
	} else if err := to.write(":\n\n"); err != nil {
		return err
	}
	events, err := f.Step(woken, s.turn)
	if err != nil || len(events) == 0 {
		return err
	}
	return to.write(eventText(events))
}

// goodbye tells the reader to come back, the later the more there are: whoever takes them has to look each of them up.
func (s *Streams) goodbye(to writer) error {
	open := 0
	if s != nil {
		s.mu.Lock()
		open = s.open
		s.mu.Unlock()
	}
	after := again(open).Milliseconds()
	return to.write(fmt.Sprintf("retry: %d\nevent: bye\ndata: {\"after\":%d}\n\n", after, after)) // scripts in a page see the data alone
}

// turn runs f when there is a turn for it.
func (s *Streams) turn(f func(context.Context) error) error {
	if s == nil {
		return f(context.Background())
	}
	late := time.NewTimer(turnWait)
	defer late.Stop()
	select {
	case s.turns <- struct{}{}:
	case <-late.C:
		return errNoTurn
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
	defer func() { <-s.turns }()
	return f(s.ctx)
}

// panicked is a defect that ended a stream, and must end nothing else.
type panicked struct{ what string }

func (p panicked) Error() string { return p.what }

// whole runs f and returns its panic as an error: no server stands around these goroutines.
func whole(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = panicked{fmt.Sprintf("panic: %v\n%s", p, debug.Stack())}
		}
	}()
	return f()
}

func eventText(names []string) string {
	var b strings.Builder
	for _, name := range names {
		b.WriteString("event: " + name + "\ndata: {}\n\n")
	}
	return b.String()
}

// How those come back whose stream broke.
const (
	againFirst     = 500 * time.Millisecond
	againWithin    = 2 * time.Second
	againPerSecond = 2500 // of many; docs/scale.md has the simulation
	againMost      = 30 * time.Second
)

// again is when a reader comes back: each at a moment of its own, so that whoever takes them is not met by all at once.
func again(streams int) time.Duration {
	within := min(max(againWithin, time.Duration(streams)*time.Second/againPerSecond), againMost)
	return againFirst + rand.N(within)
}

// retry tells a reader when to come back if the stream breaks: most do alone, and how many will with it nobody knows now.
func retry() string { return fmt.Sprintf("retry: %d\n", again(0).Milliseconds()) }

// handled is a stream whose handler waits.
type handled struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	ctx context.Context // the request's: over when the reader is gone
}

func (l *handled) wait(sub *live.Subscription) (told bool, err error) {
	silence := time.NewTimer(heartbeat)
	defer silence.Stop()
	select {
	case _, open := <-sub.C():
		return true, heard(open)
	case <-silence.C:
		return false, nil
	case <-l.ctx.Done():
		return false, context.Cause(l.ctx)
	}
}

// write leaves no deadline behind: HTTP/2 would end the stream at it.
func (l *handled) write(text string) error {
	if err := l.rc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if _, err := io.WriteString(l.w, text); err != nil {
		return err
	}
	if err := l.rc.Flush(); err != nil {
		return err
	}
	return l.rc.SetWriteDeadline(time.Time{})
}
