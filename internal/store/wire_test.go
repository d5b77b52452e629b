//go:build unix

package store_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/postgrestest"
)

// This file owns the network between a node and PostgreSQL, with its faults.

// condition is what a wire does with what comes.
type condition int

const (
	passes   condition = iota
	swallows           // what was open ends, and what is opened hears nothing
	dawdles            // every packet takes a while
	breaks             // connections are reset in the middle of a packet
	silent             // nothing comes through, and nobody is told: the other side seems to be there. What was sent is lost
)

func (c condition) String() string {
	return [...]string{"passes", "swallows", "dawdles", "breaks", "silent"}[c]
}

// wire passes connections on to a server.
type wire struct {
	url    string // of the server's database, over the wire
	socket string

	mu      sync.Mutex
	is      condition
	changed chan struct{} // closed when the condition is another one
	open    []net.Conn
}

func newWire(t *testing.T, server *postgrestest.Server) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{
		url:    fmt.Sprintf("host=127.0.0.1 port=%d user=countersign dbname=postgres sslmode=disable", ln.Addr().(*net.TCPAddr).Port),
		socket: filepath.Join(server.Dir(), ".s.PGSQL.5432"), changed: make(chan struct{}),
	}
	t.Cleanup(func() { ln.Close(); w.set(swallows) })
	go func() {
		for {
			here, err := ln.Accept()
			if err != nil {
				return
			}
			w.connect(here)
		}
	}()
	return w
}

// set changes the wire's condition.
func (w *wire) set(to condition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if to == swallows {
		for _, c := range w.open {
			c.Close()
		}
		w.open = nil
	}
	w.is = to
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *wire) now() (condition, <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.is, w.changed
}

func (w *wire) connect(here net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.open = append(w.open, here)
	if w.is == swallows {
		return
	}
	there, err := net.Dial("unix", w.socket)
	if err != nil {
		here.Close()
		return
	}
	w.open = append(w.open, there)
	go w.copy(there, here)
	go w.copy(here, there)
}

func (w *wire) copy(to, from net.Conn) {
	defer to.Close()
	for packet := make([]byte, 8<<10); ; {
		n, err := from.Read(packet)
		if err != nil {
			return
		}
		switch is, changed := w.now(); is {
		case dawdles:
			time.Sleep(rand.N(20 * time.Millisecond)) // this is the fault
		case breaks:
			if rand.IntN(10) == 0 {
				_, _ = to.Write(packet[:rand.IntN(n)])
				from.Close()
				return
			}
		case silent:
			<-changed
			from.Close()
			return
		}
		if _, err := to.Write(packet[:n]); err != nil {
			from.Close()
			return
		}
	}
}
