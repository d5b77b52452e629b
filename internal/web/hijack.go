package web

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"countersign.dev/internal/live"
)

// This file owns streams whose connection was taken from the server (hijacked). What is left of each is the connection, what it follows,
// and one goroutine that waits in a read: for the reader to leave, or for its deadline, which is the next heartbeat. A wake-up moves that
// deadline to now. So there are no buffers and no timers, and a reader who takes nothing holds up only itself.
//
// A stack that once grew never shrinks to the least again. So the goroutine that waits does nothing else: it hands over to one that acts,
// which hands over to a new one that waits.

// sendBuffer bounds what the kernel keeps for a reader who takes nothing, in bytes; by itself it lets that grow to megabytes.
const sendBuffer = 8 << 10

var (
	errLeft  = errors.New("the reader left")
	errTalks = errors.New("the reader sent more than its request")
)

// hijacked is such a stream.
type hijacked struct {
	streams  *Streams
	conn     net.Conn // set and closed under the lock of streams; nil until it was taken
	follower Follower
	request  string // its id in the log
	begun    time.Time
	read     [1]byte
}

// hijack takes the connection and begins the answer, or reports false where that cannot be done. The server knows nothing of the
// connection any more; Close ends it.
func (s *Streams) hijack(w http.ResponseWriter, r *http.Request, f Follower) bool {
	if s == nil || r.ProtoMajor != 1 || r.TLS != nil {
		return false
	}
	h := &hijacked{streams: s, follower: f, request: recordOf(r).id, begun: time.Now()}
	if !s.take(h) {
		return false
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		s.drop(h)
		return false
	}
	s.hold(h, conn)
	if c, ok := conn.(*net.TCPConn); ok {
		c.SetWriteBuffer(sendBuffer)
		giveUp(c)
	}
	Note(r, slog.Bool("stream", true))
	go h.begin(answerHead(w.Header(), h.begun))
	return true
}

// begin sends the beginning of the answer.
func (h *hijacked) begin(head string) {
	h.follower.Subscription().Notify(h.wake)
	h.act(func() error { return h.write(head + retry() + "\n") })
}

// answerHead is the answer up to its body, which ends where the connection does (RFC 9112 section 6.3).
func answerHead(header http.Header, now time.Time) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 200 OK\r\nDate: %s\r\n", now.UTC().Format(http.TimeFormat))
	header.Write(&b)
	return b.String() + "\r\n"
}

// act does what there is to do, and then the stream waits again, or ends. Its request was logged when it began.
func (h *hijacked) act(what func() error) {
	err := whole(what)
	if err == nil {
		go h.await()
		return
	}
	h.streams.drop(h)
	h.streams.leave(h.follower)
	level := slog.LevelInfo
	if _, defect := errors.AsType[panicked](err); defect {
		level = slog.LevelError
	}
	h.streams.log.LogAttrs(context.Background(), level, "stream",
		slog.String("id", h.request), slog.Duration("took", time.Since(h.begun)), slog.String("ended", err.Error()))
}

// await is where streams spend their lives.
func (h *hijacked) await() {
	told, err := h.wait()
	go h.act(func() error { return h.streams.next(h, h.follower, told, err) })
}

// wait waits in a read until the next heartbeat. The order matters: a wake-up before the deadline is set is seen in the subscription, and one
// after that ends the read.
func (h *hijacked) wait() (told bool, err error) {
	sub := h.follower.Subscription()
	if err := h.conn.SetReadDeadline(time.Now().Add(heartbeat)); err != nil {
		return false, err
	}
	if told, err := look(sub); told || err != nil {
		return told, err
	}
	n, err := h.conn.Read(h.read[:])
	switch {
	case n > 0:
		return false, errTalks
	case errors.Is(err, os.ErrDeadlineExceeded):
		return look(sub)
	case err == io.EOF:
		return false, errLeft
	}
	return false, err
}

// look is wait without waiting.
func look(sub *live.Subscription) (told bool, err error) {
	told, open := sub.Woken()
	return told && open, heard(open)
}

// wake ends the read that wait is in. It is called under the hub's lock and only moves a deadline.
func (h *hijacked) wake() { h.conn.SetReadDeadline(time.Unix(1, 0)) }

func (h *hijacked) write(text string) error {
	if err := h.conn.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(h.conn, text)
	return err
}

// take makes the stream one of those that Close ends, unless it was called.
func (s *Streams) take(h *hijacked) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.taken[h] = struct{}{}
	s.ended.Add(1)
	return true
}

// hold gives the stream its connection, which is cut at once when it is too late.
func (s *Streams) hold(h *hijacked, conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.conn = conn
	if s.ctx.Err() != nil {
		conn.Close()
	}
}

// drop closes the stream's connection, when there is one, and forgets it.
func (s *Streams) drop(h *hijacked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.conn != nil {
		h.conn.Close()
	}
	delete(s.taken, h)
	s.ended.Done()
}

// Close waits until every stream whose connection was taken has ended, as they do when their hub closes, and cuts off what is left
// when ctx ends.
func (s *Streams) Close(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		s.ended.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		s.cutOff()
		<-ended
	}
	s.cut()
}

func (s *Streams) cutOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut()
	for h := range s.taken {
		if h.conn != nil {
			h.conn.Close()
		}
	}
}
