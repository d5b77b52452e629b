package web

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"time"

	"countersign.dev/internal/live"
)

// This file owns event streams (WHATWG HTML section 9.2). They carry hints, not facts: whoever gets one reads again.

const (
	heartbeat = 20 * time.Second // proxies forget connections that are silent for a minute
	patience  = 10 * time.Second // for one write: a reader that is slower than this is gone
)

// Stream is an open answer of the type text/event-stream. One goroutine may use it.
type Stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// again is when a browser comes back whose stream broke: each at a moment of its own, so that a server that
// starts again is not met by everybody at once.
func again() time.Duration { return time.Duration(500+rand.IntN(2000)) * time.Millisecond }

// OpenStream begins the answer and tells the browser when to come back if it breaks. From here on the
// handler cannot answer anything else. The caller must Close the stream.
func OpenStream(w http.ResponseWriter, r *http.Request) (*Stream, error) {
	s := &Stream{w: w, rc: http.NewResponseController(w)}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // a proxy that collects the answer first would never deliver it
	if r.ProtoMajor == 1 {
		h.Set("Connection", "close") // its deadlines were ours; let nobody inherit them
	}
	s.rc.SetReadDeadline(time.Time{}) // the server's limit for reading a request is not one for listening
	w.WriteHeader(http.StatusOK)
	return s, s.write(fmt.Sprintf("retry: %d\n\n", again().Milliseconds()))
}

// Event sends an event without data of its own.
func (s *Stream) Event(name string) error { return s.write("event: " + name + "\ndata: {}\n\n") }

// Next waits until something is woken that sub waits for and returns what, or nothing after each heartbeat. When
// the hub closes it says bye and returns io.EOF; when the reader is gone it returns why.
func (s *Stream) Next(ctx context.Context, sub *live.Subscription) ([]live.Topic, error) {
	silence := time.NewTimer(heartbeat)
	defer silence.Stop()
	select {
	case _, open := <-sub.C():
		if !open {
			if err := s.Event("bye"); err != nil {
				return nil, err
			}
			return nil, io.EOF
		}
		return sub.Take(), nil
	case <-silence.C:
		return nil, s.write(":\n\n")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Close gives the end of the answer as long as any other write.
func (s *Stream) Close() { s.rc.SetWriteDeadline(time.Now().Add(patience)) }

// write sends text within patience. Between writes there is no deadline: HTTP/2 would end the stream at it.
func (s *Stream) write(text string) error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	if _, err := io.WriteString(s.w, text); err != nil {
		return err
	}
	if err := s.rc.Flush(); err != nil {
		return err
	}
	return s.rc.SetWriteDeadline(time.Time{})
}
