// This file proves that nodes tell each other over a NATS server when one is named, and what people notice when it is gone: nothing but that a
// decision is heard of within a second instead of at once.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"countersign.dev/client"
	"countersign.dev/internal/terminal"
	"countersign.dev/internal/wakeup"
)

// startNATS starts a NATS server that asks for a password.
func startNATS(t *testing.T) *natsserver.Server {
	t.Helper()
	n, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, Username: "nodes", Password: "wake-ups", NoLog: true, NoSigs: true, NoSystemAccount: true})
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	t.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
	if !n.ReadyForConnections(startWithin) {
		t.Fatal("the NATS server does not answer")
	}
	return n
}

// wire is an address that leads to another one, or for a while to one where nobody listens. It keeps its port meanwhile.
type wire struct {
	net.Listener
	to atomic.Value // string
}

func newWire(t *testing.T) *wire {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	w := &wire{Listener: ln}
	w.lead("")
	go func() {
		for {
			here, err := ln.Accept()
			if err != nil {
				return
			}
			go w.join(here)
		}
	}()
	return w
}

func (w *wire) lead(to string) { w.to.Store(to) }

// join passes on what comes from either side until one ends.
func (w *wire) join(here net.Conn) {
	defer here.Close()
	there, err := net.Dial("tcp", w.to.Load().(string))
	if err != nil {
		return
	}
	defer there.Close()
	go func() {
		_, _ = io.Copy(there, here)
		there.Close()
	}()
	_, _ = io.Copy(here, there)
}

// TestServeWakeUpsOverNATS: the device's stream is on one node, the application asks and waits on the other.
func TestServeWakeUpsOverNATS(t *testing.T) {
	t.Parallel()
	queue, wire := startNATS(t), newWire(t)
	wire.lead(queue.Addr().String())
	address := "nats://nodes:wake-ups@" + wire.Addr().String()
	s := newSite(t, 2, fmt.Sprintf("wake-ups = %q", address))
	for i := range s.nodes {
		s.start(i)
	}
	joined := func(n *natsserver.Server) {
		t.Helper()
		eventually(t, startWithin, "both nodes at the NATS server", func() error { return want("subscriptions", n.NumSubscriptions(), 2) })
	}
	joined(queue)
	places := &placing{first: map[string]int{whoListens: 1, whoAnswers: 1}}
	s.serveFront("api", s.APIURL, places)
	s.serveFront("authenticator", s.AuthenticatorURL, places)
	application, err := client.New(client.Config{BaseURL: s.APIURL, APIKey: s.APIKey})
	if err != nil {
		t.Fatal(err)
	}
	ana, hand := s.addUser(application), s.newPhone()
	hand.enrol(application, ana)
	fresh := make(chan terminal.Approval, 1)
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() { watched <- hand.Watch(ctx, func(a terminal.Approval) { fresh <- a }, func(error) {}) }()

	logIn := func() error {
		asked, err := application.CreateApproval(ctx, ana.id, client.ApprovalRequest{Message: "Log in?"})
		if err != nil {
			return err
		}
		uuid := asked.UUID
		waited := make(chan error, 1)
		go func() { waited <- decided(ctx, application, uuid, client.StatusApproved) }()
		select {
		case request := <-fresh:
			err = errors.Join(want("request", request.UUID, uuid), hand.tryAnswer(ctx, uuid, "approve"))
		case <-time.After(3 * waitWithin):
			err = errors.New("the device heard nothing")
		}
		if err != nil {
			return err
		}
		return <-waited
	}

	// What the nodes say to each other names the request's user and the decision's approval, and PostgreSQL carries none of it.
	conn, err := nats.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	said, err := conn.SubscribeSync(wakeup.Subject)
	if err == nil {
		err = conn.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := logIn(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for !strings.Contains(all.String(), "approval:") || !strings.Contains(all.String(), "user:") {
		m, err := said.NextMsg(startWithin)
		if err != nil {
			t.Fatalf("nodes said %q: %v", all.String(), err)
		}
		all.Write(append(m.Data, '\n'))
	}
	s.sql(`DO $$ BEGIN IF EXISTS (SELECT 1 FROM pg_stat_activity WHERE application_name = 'countersign wake-ups') THEN RAISE 'PostgreSQL carries wake-ups too'; END IF; END $$`)

	// Without it the database tells, and when it is back it is used again.
	conn.Close()
	queue.Shutdown()
	queue.WaitForShutdown()
	if err := logIn(); err != nil {
		t.Errorf("without the NATS server: %v", err)
	}
	again := startNATS(t)
	wire.lead(again.Addr().String())
	joined(again)
	if err := logIn(); err != nil {
		t.Errorf("with the NATS server again: %v", err)
	}
	for i, n := range s.nodes {
		if out := n.output.String(); strings.Contains(out, "wake-ups@") { // INV-8
			t.Errorf("node %d logged the password: %s", i, out)
		}
	}
	stop()
	if err := <-watched; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
