// Package wakeup carries wake-ups between nodes over a NATS server, for installations that have outgrown PostgreSQL's own way (docs/scale.md).
//
// Only names travel: who can read them learns which user or approval something happened to, and who can send them has others look at the
// database once more, no more than that. Nothing is lost with a message: the poll of live.Relay finds what it told.
package wakeup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"countersign.dev/internal/live"
)

const (
	// Subject is where nodes send what they woke. Installations that share a NATS server have an account each.
	Subject = "countersign.wake-ups"

	answer = 5 * time.Second  // for the server to take a connection, and to answer
	quiet  = 20 * time.Second // without a word, before the server is asked whether it is still there
	unread = 1024             // messages that wait to be heard; what is more is dropped
)

// Servers checks the addresses of one NATS server, or of several of a cluster with commas between, and returns them.
func Servers(text string) ([]*url.URL, error) {
	var servers []*url.URL
	for one := range strings.SplitSeq(text, ",") {
		u, err := url.Parse(strings.TrimSpace(one))
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("the value is not the address of a NATS server: write it like tls://USER:PASSWORD@nats.example.com:4222, several with commas between")
		}
		servers = append(servers, u)
	}
	return servers, nil
}

// changes is what the database knows.
type changes interface {
	Changed(ctx context.Context, since time.Time, found func(live.Change)) error
}

// Line is a live.Line: what is said travels over NATS, what has changed the database knows.
type Line struct {
	changes
	servers string
}

// NewLine returns a line over servers that Servers has checked.
func NewLine(servers string, db changes) *Line { return &Line{db, servers} }

// Converse sends each text of out to all other nodes, and calls hear with what they send, until the connection breaks or ctx ends. Joined is
// called when nothing sent from now on will be missed.
func (l *Line) Converse(ctx context.Context, out <-chan string, joined func(), hear func(text string)) error {
	closed := make(chan struct{})
	conn, err := nats.Connect(l.servers,
		nats.Name("countersign wake-ups"), nats.NoEcho(), nats.NoReconnect(), // whoever calls connects again, and then looks once for everybody
		nats.SetCustomDialer(dialer{ctx}), nats.Timeout(answer), nats.PingInterval(quiet), nats.MaxPingsOutstanding(1),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}), // of what was dropped, the poll hears
	)
	if err != nil {
		return fmt.Errorf("reach NATS: %w", err)
	}
	defer conn.Close()
	heard := make(chan *nats.Msg, unread)
	if _, err := conn.ChanSubscribe(Subject, heard); err != nil {
		return fmt.Errorf("subscribe at NATS: %w", err)
	}
	if err := conn.FlushTimeout(answer); err != nil { // the server has the subscription
		return fmt.Errorf("subscribe at NATS: %w", err)
	}
	joined()
	for {
		select {
		case text := <-out:
			if err := conn.Publish(Subject, []byte(text)); err != nil {
				return fmt.Errorf("publish at NATS: %w", err)
			}
		case m := <-heard:
			hear(string(m.Data))
		case <-closed:
			return fmt.Errorf("connection to NATS: %w", errors.Join(errors.New("closed"), conn.LastError()))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// dialer connects unless ctx ends.
type dialer struct{ ctx context.Context }

func (d dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, answer)
	defer cancel()
	return (&net.Dialer{}).DialContext(ctx, network, address)
}
