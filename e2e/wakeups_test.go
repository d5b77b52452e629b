// This file proves that nodes tell each other over a NATS server when one is named, and what people notice when it is gone: nothing but that a
// decision is heard of within a second instead of at once.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
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

// bothJoined waits until both nodes of a site are at the NATS server.
func bothJoined(t *testing.T, n *natsserver.Server) {
	t.Helper()
	eventually(t, startWithin, "both nodes at the NATS server", func() error { return want("subscriptions", n.NumSubscriptions(), 2) })
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
	bothJoined(t, queue)
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
	bothJoined(t, again)
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

// lag is how long after a decision was sent the waiting application heard of it.
type lag struct {
	mu  sync.Mutex
	all []time.Duration
}

func (l *lag) add(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, d)
}

func (l *lag) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	slices.Sort(l.all)
	at := func(share float64) time.Duration {
		return l.all[int(share*float64(len(l.all)-1))].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("%d cycles, decision to waiting caller p50 %s, p99 %s, most %s", len(l.all), at(0.5), at(0.99), at(1))
}

// TestServeWakeUpsUnderLoad: eight devices listen on one node while the application asks and waits on the other, so that every wake-up travels. The NATS
// server dies under them and comes back; afterwards PostgreSQL carries the wake-ups of the same site. No log-in fails, and none waits for a long poll's end.
func TestServeWakeUpsUnderLoad(t *testing.T) {
	t.Parallel()
	const devices = 8
	queue, wire := startNATS(t), newWire(t)
	wire.lead(queue.Addr().String())
	setting := fmt.Sprintf("wake-ups = %q", "nats://nodes:wake-ups@"+wire.Addr().String())
	s := newSite(t, 2, setting)
	startNodes := func() {
		for i := range s.nodes {
			s.start(i)
		}
	}
	startNodes()
	bothJoined(t, queue)
	places := &placing{first: map[string]int{whoListens: 1, whoAnswers: 1}}
	s.serveFront("api", s.APIURL, places)
	s.serveFront("authenticator", s.AuthenticatorURL, places)
	application, err := client.New(client.Config{BaseURL: s.APIURL, APIKey: s.APIKey})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	users, hands, fresh := make([]user, devices), make([]*phone, devices), make([]chan terminal.Approval, devices)
	for i := range devices {
		users[i], hands[i], fresh[i] = s.addUser(application), s.newPhone(), make(chan terminal.Approval, 1)
		hands[i].enrol(application, users[i])
	}
	watch := func() (end func()) {
		ctx, stop := context.WithCancel(ctx)
		var watching sync.WaitGroup
		for i := range devices {
			watching.Go(func() { _ = hands[i].Watch(ctx, func(a terminal.Approval) { fresh[i] <- a }, func(error) {}) })
		}
		return func() { stop(); watching.Wait() }
	}
	unwatch := watch()

	logIn := func(i int, told *lag) error {
		asked, err := application.CreateApproval(ctx, users[i].id, client.ApprovalRequest{Message: "Log in?"})
		if err != nil {
			return err
		}
		var request terminal.Approval
		select {
		case request = <-fresh[i]:
		case <-time.After(waitWithin):
			return errors.New("the device heard nothing")
		}
		heard := make(chan error, 1)
		go func() { heard <- decided(ctx, application, asked.UUID, client.StatusApproved) }()
		sent := time.Now()
		if _, _, err := hands[i].Answer(ctx, request, "approve", ""); err != nil {
			return err
		}
		select {
		case err := <-heard:
			told.add(time.Since(sent))
			return errors.Join(want("request", request.UUID, asked.UUID), err)
		case <-time.After(waitWithin):
			return errors.New("the application heard nothing")
		}
	}
	// load has every device log in so often, and something happen when so many log-ins are done.
	load := func(each int, told *lag, happens map[int]func()) {
		t.Helper()
		var done atomic.Int64
		var all sync.WaitGroup
		for i := range devices {
			all.Go(func() {
				for range each {
					if err := logIn(i, told); err != nil {
						t.Errorf("device %d: %v", i, err)
						return
					}
					if happen := happens[int(done.Add(1))]; happen != nil {
						happen()
					}
				}
			})
		}
		all.Wait()
	}
	overNATS, without, overPostgres := &lag{}, &lag{}, &lag{}
	load(15, overNATS, nil)
	var again *natsserver.Server
	load(6, without, map[int]func(){
		devices:     func() { queue.Shutdown(); queue.WaitForShutdown() },
		4 * devices: func() { again = startNATS(t); wire.lead(again.Addr().String()) },
	})
	bothJoined(t, again)
	load(15, overNATS, nil)
	t.Logf("measured: over NATS: %s", overNATS)
	t.Logf("measured: while NATS dies and comes back: %s", without)

	settings, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.write(s.config, strings.Replace(string(settings), setting, "", 1))
	unwatch()
	for _, n := range s.nodes {
		n.stop()
	}
	startNodes()
	defer watch()()
	load(15, overPostgres, nil)
	t.Logf("measured: over PostgreSQL: %s", overPostgres)
}
