//go:build unix

package store_test

import (
	"context"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/live"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// This file proves that a person who waits at one node hears of what happens through another one.

// pair is two nodes on one PostgreSQL, and a person with a phone. Whoever waits, waits at b; all else happens at a.
type pair struct {
	t     *testing.T
	url   string
	a, b  *servertest.Server
	db    *store.Store // b's
	app   tenant.Application
	user  tenant.User
	phone *servertest.Phone
}

func newPair(t *testing.T) *pair {
	t.Helper()
	url := postgrestest.Database(t, store.Migrate)
	p := &pair{t: t, url: url, db: openStore(t, url)}
	p.a = servertest.On(t, openStore(t, url))
	p.b = p.a.Beside(t, p.db)
	p.app = p.a.App(t, "Bank", func(s *tenant.Settings) { s.WaitingMax, s.UnapprovedHour, s.UnapprovedBurst = 1000, 0, 0 })
	p.user = p.a.User(t, p.app, "ana@example.com", "202-555-0123")
	p.phone = p.a.Phone(t, p.app, p.user)
	return p
}

// relay joins a node with the others by a line.
func (p *pair) relay(s *servertest.Server, line live.Line) {
	p.t.Helper()
	ctx, stop := context.WithCancel(context.WithoutCancel(p.t.Context()))
	var done sync.WaitGroup
	relay := live.NewRelay(s.Live, line, s.Clock.Now, slog.New(slog.DiscardHandler))
	done.Go(func() { relay.Run(ctx) })
	p.t.Cleanup(func() { stop(); done.Wait() })
}

// onlyTold is a line without the net beneath.
type onlyTold struct {
	*store.Store
	joined chan struct{}
}

func (o onlyTold) Converse(ctx context.Context, out <-chan string, joined func(), hear func(string)) error {
	return o.Store.Converse(ctx, out, func() { joined(); o.joined <- struct{}{} }, hear)
}

func (onlyTold) Changed(context.Context, time.Time, func(live.Change)) error { return nil }

// onlyPolled is a line of which every message is lost.
type onlyPolled struct{ *store.Store }

func (onlyPolled) Converse(ctx context.Context, _ <-chan string, _ func(), _ func(string)) error {
	<-ctx.Done()
	return ctx.Err()
}

// waiting is an application that waits for a decision.
type waiting struct {
	uuid string
	told chan approval.Approval
}

// wait asks the person and waits at b. It returns when that is waiting.
func (p *pair) wait() waiting {
	p.t.Helper()
	p.a.Clock.Advance(time.Second)
	w := waiting{p.a.Ask(p.t, p.app, p.user, "Log in?").UUID, make(chan approval.Approval, 1)}
	before := p.b.Live.Waiting()
	go func() {
		got, err := p.b.Approvals.Wait(context.WithoutCancel(p.t.Context()), p.app.ID, w.uuid, approval.WaitMax)
		if err != nil {
			p.t.Error(err)
		}
		w.told <- got
	}()
	for p.b.Live.Waiting() == before {
		runtime.Gosched()
	}
	return w
}

// approve answers at a and returns how long the one who waits at b took to hear of it.
func (p *pair) approve(w waiting) time.Duration {
	p.t.Helper()
	p.a.Clock.Advance(time.Second)
	if _, err := p.phone.Answer(p.t, w.uuid, approval.Approve, p.match(w.uuid)); err != nil {
		p.t.Fatal(err)
	}
	return p.hears(w, time.Now())
}

func (p *pair) match(uuid string) string {
	p.t.Helper()
	a, err := p.a.Approvals.Get(p.t.Context(), p.app.ID, uuid)
	if err != nil {
		p.t.Fatal(err)
	}
	return a.Match.Value
}

func (p *pair) hears(w waiting, since time.Time) time.Duration {
	p.t.Helper()
	select {
	case got := <-w.told:
		if got.Status != approval.Approved {
			p.t.Errorf("woken, and reads %s", got.Status)
		}
	case <-time.After(30 * time.Second): // well before the wait's own end
		p.t.Fatal("never heard of it")
	}
	return time.Since(since)
}

// TestNodesWakeEachOther: by messages alone, both ways, whatever a node wakes is woken on the other.
func TestNodesWakeEachOther(t *testing.T) {
	p := newPair(t)
	a, b := onlyTold{openStore(t, p.url), make(chan struct{}, 10)}, onlyTold{p.db, make(chan struct{}, 10)}
	p.relay(p.a, a)
	p.relay(p.b, b)
	<-a.joined
	<-b.joined
	device := p.b.Live.Subscribe(live.DeviceTopic(p.phone.Device.ID), live.UserTopic(p.user.ID))
	defer device.Close()
	quickest := time.Hour
	for range 10 {
		w := p.wait()
		<-device.C() // the request, made at a
		quickest = min(quickest, p.approve(w))
	}
	t.Logf("measured: the other node's waiter hears %v after the answer, the quickest of ten", quickest)
	if quickest > 100*time.Millisecond {
		t.Errorf("the quickest of ten took %v, want 100 ms", quickest)
	}
	device.Take()
	p.a.Clock.Advance(time.Second)
	if err := p.a.Devices.RemoveGrant(t.Context(), p.phone.Device, p.phone.Grants[0].ID); err != nil {
		t.Fatal(err)
	}
	for told := map[live.Topic]bool{}; !told[live.DeviceTopic(p.phone.Device.ID)] || !told[live.UserTopic(p.user.ID)]; {
		<-device.C()
		for _, topic := range device.Take() {
			told[topic] = true
		}
	}
}

// TestNodesComeBack: when the connection for wake-ups is lost, it is made anew, and whoever waited looks again, because
// what was said meanwhile is gone.
func TestNodesComeBack(t *testing.T) {
	p := newPair(t)
	line := onlyTold{p.db, make(chan struct{}, 10)}
	p.relay(p.b, line)
	<-line.joined
	db := connect(t, p.url)
	for range 3 {
		w := p.wait()
		if _, err := p.phone.Answer(t, w.uuid, approval.Approve, p.match(w.uuid)); err != nil { // a says nothing of it
			t.Fatal(err)
		}
		var killed int
		if err := db.QueryRow(t.Context(), `SELECT COUNT(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'countersign wake-ups'`).Scan(&killed); err != nil || killed != 1 {
			t.Fatalf("%d connections ended, %v", killed, err)
		}
		<-line.joined
		p.hears(w, time.Now())
	}
}

// TestNodesPoll: without any message, the net finds requests, decisions, and devices that come and go, each within about a second.
func TestNodesPoll(t *testing.T) {
	p := newPair(t)
	p.relay(p.b, onlyPolled{p.db})
	w := p.wait()
	took := p.approve(w)
	t.Logf("measured: the poll tells of a decision %v after the answer", took)
	if took > 5*time.Second {
		t.Errorf("the poll took %v", took)
	}
	p.a.Clock.Advance(time.Second)
	other := p.a.Phone(t, p.app, p.user)
	sub := p.b.Live.Subscribe(live.UserTopic(p.user.ID), live.DeviceTopic(p.phone.Device.ID), live.DeviceTopic(other.Device.ID))
	defer sub.Close()
	everybody := func(what string) {
		t.Helper()
		told := map[live.Topic]bool{}
		for len(told) < 3 {
			select {
			case <-sub.C():
			case <-time.After(30 * time.Second):
				t.Fatalf("%s: only %v heard of it", what, told)
			}
			for _, topic := range sub.Take() {
				told[topic] = true
			}
		}
	}
	everybody("a new device")
	p.a.Clock.Advance(time.Second)
	if err := p.a.Devices.RemoveGrant(t.Context(), p.phone.Device, other.Grants[0].ID); err != nil {
		t.Fatal(err)
	}
	everybody("a removed device")
}

// TestWaitingCostsNoReads: a hundred who wait cost what nobody costs, which is the poll of their node.
func TestWaitingCostsNoReads(t *testing.T) {
	p := newPair(t)
	reads := make(chan string, 10_000)
	p.db.Watch(func(q string) { reads <- q })
	var all []waiting
	for range 100 {
		all = append(all, p.wait())
	}
	p.relay(p.b, onlyPolled{p.db})
	polls, first := 0, 0
	for polls < 4 { // two statements each
		switch q := <-reads; {
		case strings.Contains(q, "updated_at > $1"), strings.Contains(q, "FROM grants WHERE created_at > $1"):
			polls++
		case polls > 0:
			t.Errorf("who waits reads: %s", q)
		default:
			first++
		}
	}
	if first != 100 {
		t.Errorf("%d reads before anybody waited, want one each", first)
	}
	p.b.Live.Close() // they read once more, and go
	for _, w := range all {
		<-w.told
	}
}
