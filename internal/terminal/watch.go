// This file owns the stream of events: staying connected, and telling new approvals as they come.

package terminal

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The wait before a lost stream is opened again doubles from minDelay, or what the server asks for, up to maxDelay.
const (
	minDelay = time.Second
	maxDelay = 30 * time.Second
)

// Watch calls fresh for every pending approval, once each, as they come. It stays connected until ctx ends, and then
// returns nil; lost is told why a connection broke, before it is opened again. An error is one that waiting cannot mend.
func (t *Terminal) Watch(ctx context.Context, fresh func(Approval), lost func(error)) error {
	if err := t.open(); err != nil {
		return err
	}
	w := watcher{Terminal: t, fresh: fresh, delay: minDelay}
	for failures := 0; ; failures++ {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !temporary(err) {
			return err
		}
		if w.connected {
			failures = 0
		}
		pause := min(w.delay<<min(failures, 10), maxDelay)
		pause = pause/2 + rand.N(pause) // so that a restarted server is not met by everybody at once
		var told *Problem
		if errors.As(err, &told) {
			pause = max(pause, told.RetryAfter)
		}
		if !errors.Is(err, io.EOF) {
			lost(err)
		}
		if t.wait(ctx, pause) != nil {
			return nil
		}
	}
}

// temporary reports whether the same request may work later.
func temporary(err error) bool {
	var told *Problem
	if errors.As(err, &told) {
		return told.Status >= 500 || told.Status == http.StatusTooManyRequests
	}
	return errors.Is(err, io.EOF) || errors.As(err, new(*Unreachable))
}

// watcher is what one Watch remembers from connection to connection.
type watcher struct {
	*Terminal
	fresh     func(Approval)
	seen      map[string]bool // pending approvals that were told
	delay     time.Duration
	connected bool // the last connection got as far as a stream
}

// follow opens the stream and serves its events until it ends. It subscribes first and then reads, so that nothing falls
// between. io.EOF means that the server closed an intact stream, as it does when it stops.
func (w *watcher) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(w.idle, func() { cancel(&Unreachable{w.base, errors.New("the stream fell silent")}) })
	defer silence.Stop()

	w.connected = false
	var stream *http.Response
	err := w.renewing(ctx, func() (err error) {
		stream, err = w.send(ctx, http.MethodGet, "/events", nil)
		return err
	})
	if err != nil {
		return w.cause(ctx, err)
	}
	defer stream.Body.Close()
	w.connected = true
	if err := w.tell(ctx); err != nil {
		return w.cause(ctx, err)
	}
	lines := bufio.NewScanner(stream.Body)
	for event := ""; lines.Scan(); {
		silence.Reset(w.idle)
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case field == "event":
			event = value
		case field == "retry":
			if ms, err := strconv.Atoi(value); err == nil {
				w.delay = min(max(time.Duration(ms)*time.Millisecond, minDelay/10), maxDelay)
			}
		case lines.Text() == "":
			if err := w.serve(ctx, event); err != nil {
				return w.cause(ctx, err)
			}
			event = ""
		}
	}
	if err := lines.Err(); err != nil {
		return w.cause(ctx, &Unreachable{w.base, err})
	}
	return io.EOF
}

// cause prefers the reason why the context ended to the error that followed from it.
func (w *watcher) cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// serve acts on one event. Events are hints; what they mean is read anew.
func (w *watcher) serve(ctx context.Context, event string) error {
	switch event {
	case "approvals":
		return w.tell(ctx)
	case "grants":
		return w.refresh(ctx)
	case "bye":
		return io.EOF
	}
	return nil
}

// tell reads the pending approvals and hands out those that are new, oldest first.
func (w *watcher) tell(ctx context.Context) error {
	pending, err := w.approvals(ctx)
	if err != nil {
		return err
	}
	before := w.seen
	w.seen = make(map[string]bool, len(pending))
	for i := len(pending) - 1; i >= 0; i-- {
		a := pending[i]
		w.seen[a.UUID] = true
		if !before[a.UUID] {
			w.fresh(a)
		}
	}
	return nil
}
