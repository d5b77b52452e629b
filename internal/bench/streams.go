package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// This file owns idle streams: devices that wait for news, as many as the limit on open files lets be there.

// perDevice is how many streams of one device are opened; the server takes eight.
const perDevice = 6

// measureStreams opens them, and looks at what memory the server holds before and with them.
func (c *Config) measureStreams(ctx context.Context, s *site, server *process, p plan) (Streams, error) {
	out := Streams{Store: s.name, Limit: "as many as the bench opens"}
	n := min(p.streams, perDevice*len(s.people))
	// The server gives four fifths of its descriptors to streams, and refuses more.
	if files := fileLimit(); files > 0 && files/5*4 < n {
		n, out.Limit = files/5*4, fmt.Sprintf("%d open files a process", files)
	}
	s.client.close()
	server.collect(ctx, p)
	before := server.resident()
	conns := make([]net.Conn, n)
	var refused, next atomic.Int64
	var all sync.WaitGroup
	for range p.callers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				conn, err := openStream(server.doors["authenticator"], s.people[i%len(s.people)])
				if err != nil {
					refused.Add(1)
					continue
				}
				conns[i] = conn
			}
		})
	}
	all.Wait()
	out.Refused = int(refused.Load())
	out.Open = n - out.Refused
	server.collect(ctx, p)
	with := server.resident()
	for _, conn := range conns {
		if conn != nil {
			conn.Close()
		}
	}
	if out.Open == 0 {
		return out, errors.New("no stream could be opened")
	}
	out.ResidentMiB = round(with / (1 << 20))
	out.BytesEach = round((with - before) / float64(out.Open))
	if out.BytesEach > 0 {
		out.PerGiB = float64(int(float64(1<<30) / out.BytesEach))
	}
	return out, ctx.Err()
}

// openStream asks for a device's events, and returns when the answer has begun.
func openStream(door string, p *person) (net.Conn, error) {
	conn, err := net.DialTimeout("tcp", door, patience)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	_, err = fmt.Fprintf(conn, "GET /device/v1/events HTTP/1.1\r\nHost: %s\r\nCookie: %s\r\nAccept: text/event-stream\r\n\r\n", authenticatorHost, p.cookie())
	var got []byte
	for part := make([]byte, 1024); err == nil && !bytes.Contains(got, []byte("retry: ")); {
		var n int
		n, err = conn.Read(part)
		got = append(got, part[:n]...)
		if err == nil && !bytes.HasPrefix(got, []byte("HTTP/1.1 200")) && len(got) > 12 {
			err = errors.New("refused")
		}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, conn.SetDeadline(time.Time{})
}

// collect has the server give up what it no longer uses, and waits until its memory stays the same.
func (p *process) collect(ctx context.Context, plan plan) {
	for last := -1.0; ; {
		if r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.doors["ops"]+"/debug/pprof/heap?gc=1", nil); err == nil {
			if answer, err := http.DefaultClient.Do(r); err == nil {
				io.Copy(io.Discard, answer.Body)
				answer.Body.Close()
			}
		}
		select {
		case <-time.After(plan.latency / 4):
		case <-ctx.Done():
			return
		}
		now := p.resident()
		if last >= 0 && now > last*0.99 {
			return
		}
		last = now
	}
}
