package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// This file owns the client that puts load on the server: HTTP/1.1 on connections that are kept, read and written by who asks. The client of
// net/http has two more goroutines for each connection, which cost more than all else that an operation's caller does, beside the server on the
// same machine.

// client makes requests. It is safe for concurrent use.
type client struct {
	doors map[string]string // addresses by the first part of a host's name; of other hosts the name is the address

	mu   sync.Mutex
	idle map[string][]*line // by address; guarded by mu
}

// line is a connection on which nobody asks.
type line struct {
	net.Conn
	in   *bufio.Reader
	used time.Time
}

// idleMax is how long a connection is kept that nobody uses: less than any server keeps it.
const idleMax = 20 * time.Second

func newClient(doors map[string]string) *client {
	return &client{doors: doors, idle: map[string][]*line{}}
}

// door is where a host listens.
func (c *client) door(host string) string {
	name, _, _ := strings.Cut(host, ".")
	if door := c.doors[name]; door != "" {
		return door
	}
	return host
}

// take returns a connection to the address, the one that was used last if there is any.
func (c *client) take(ctx context.Context, door string) (*line, error) {
	c.mu.Lock()
	kept := c.idle[door]
	if last := len(kept) - 1; last >= 0 && time.Since(kept[last].used) < idleMax {
		l := kept[last] // whoever gives one back writes here
		c.idle[door] = kept[:last]
		c.mu.Unlock()
		return l, nil
	}
	delete(c.idle, door) // those that were used earlier are too old as well
	c.mu.Unlock()
	for _, l := range kept {
		l.Close()
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", door)
	if err != nil {
		return nil, err
	}
	return &line{Conn: conn, in: bufio.NewReader(conn)}, nil
}

func (c *client) give(door string, l *line) {
	l.used = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.idle[door] = append(c.idle[door], l)
}

// close closes what nobody uses.
func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, kept := range c.idle {
		for _, l := range kept {
			l.Close()
		}
	}
	clear(c.idle)
}

// ask makes one request and reads the answer.
func (c *client) ask(ctx context.Context, method, address string, header http.Header, body string) ([]byte, error) {
	host, path, _ := strings.Cut(strings.TrimPrefix(address, "http://"), "/")
	door := c.door(host)
	l, err := c.take(ctx, door)
	if err != nil {
		return nil, broken(err, "no connection")
	}
	until, _ := ctx.Deadline()
	_ = l.SetDeadline(until)
	status, raw, keep, err := l.ask(method, host, path, header, body)
	if keep {
		c.give(door, l)
	} else {
		l.Close()
	}
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("answered %d%s", status, told(raw))
	}
	return raw, err
}

// ask writes a request and reads the answer, and reports whether the connection can be used again.
func (l *line) ask(method, host, path string, header http.Header, body string) (status int, raw []byte, keep bool, err error) {
	r := make([]byte, 0, 1024)
	r = append(r, method+" /"+path+" HTTP/1.1\r\nHost: "+host+"\r\n"...)
	for name, values := range header {
		r = append(r, name+": "+values[0]+"\r\n"...)
	}
	if body != "" {
		r = append(r, "Content-Length: "...)
		r = strconv.AppendInt(r, int64(len(body)), 10)
		r = append(r, "\r\n"...)
	}
	r = append(r, "\r\n"+body...)
	if _, err := l.Write(r); err != nil {
		return 0, nil, false, broken(err, "the connection broke")
	}
	answer, err := http.ReadResponse(l.in, nil)
	if err != nil {
		return 0, nil, false, broken(err, "the connection broke")
	}
	defer answer.Body.Close()
	if raw, err = io.ReadAll(answer.Body); err != nil {
		return 0, nil, false, broken(err, "the answer broke off")
	}
	return answer.StatusCode, raw, !answer.Close, nil
}

// broken tells what ended a request in one of a few ways.
func broken(err error, what string) error {
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return errors.New(what)
}

// told is the code of an error as the service tells it, of which there are few.
func told(raw []byte) string {
	var e struct {
		Code string `json:"error_code"`
		Type string `json:"type"`
	}
	if json.Unmarshal(raw, &e) != nil || e.Code+e.Type == "" {
		return ""
	}
	return " " + e.Code + e.Type
}
