package web

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"countersign.dev/internal/live"
)

// What the kernel keeps for a reader who takes nothing, and how long it waits for one whose network is gone, is bounded.
func TestTakenStreamBounds(t *testing.T) {
	streams, f := NewStreams(0, slog.New(slog.DiscardHandler)), follow(live.NewHub(), "a")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { streams.Serve(w, r, f) }))
	defer srv.Close()
	res, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	blocks(t, bufio.NewReader(res.Body), 1)
	streams.mu.Lock()
	defer streams.mu.Unlock()
	if len(streams.taken) != 1 {
		t.Fatalf("%d connections were taken", len(streams.taken))
	}
	for h := range streams.taken {
		raw, err := h.conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			buffer, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
			if err != nil || buffer > 4*sendBuffer { // the kernel doubles what it is told
				t.Errorf("sends from %d bytes, %v", buffer, err)
			}
			silence, err := syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
			if err != nil || silence != int(unacknowledged.Milliseconds()) {
				t.Errorf("gives up after %d ms, %v", silence, err)
			}
		})
	}
}
