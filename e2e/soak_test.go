// This file proves that hours of work leave nothing behind: memory, descriptors and goroutines of a server stay where they were.

package e2e

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/terminal"
)

const (
	soakWorkers = 3
	soakRounds  = 3                // without COUNTERSIGN_SOAK
	soakActs    = 40               // acknowledgements of a round
	slackOpen   = 24               // descriptors or goroutines beyond those after the first round: messages that hang, connections to the database
	slackMemory = 1.2              // of the last third of a long run beyond the first
	pageCaches  = 3 * 16_000 << 10 // bytes that SQLite's connections fill as the database grows, and no more
)

// TestSoak works a server round after round, with neighbours that are no help: a gateway that hangs, a callback receiver that dawdles, and people who
// go away while they wait. After each round, when all is quiet, it counts. COUNTERSIGN_SOAK is for how many minutes (script/soak).
func TestSoak(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"SQLite", "PostgreSQL"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			var db *postgrestest.Server
			caches := int64(pageCaches)
			if engine == "PostgreSQL" {
				db, caches = postgrestest.Start(t), 0
			}
			soak(t, plainSiteOn(t, db, fmt.Sprintf("sms-gateway = [%q]", "smpp://bank:secret@"+deafListener(t)+"?from=Bank")), caches)
		})
	}
}

// soak works a site, whose server may come to hold so many bytes more.
func soak(t *testing.T, s *site, caches int64) {
	s.program = binary
	r := newReceiver(t)
	r.keys, r.dawdles = []string{s.APIKey}, true
	s.command("app", "callback", s.appID, r.URL, "--config", s.config)
	s.start(0)
	l := newLedger(t, s.dev, s.APIKey)
	until := time.Now().Add(time.Duration(number("COUNTERSIGN_SOAK", 0)) * time.Minute)
	var counted []counts
	for round := 0; round < soakRounds || time.Now().Before(until); round++ {
		ctx, stop := context.WithCancel(t.Context())
		var people sync.WaitGroup
		for range soakWorkers {
			p := s.newPhone()
			people.Go(func() { l.work(ctx, p) })
		}
		leaver := s.newPhone()
		people.Go(func() { l.leave(ctx, leaver) })
		l.waitFor(soakActs)
		stop()
		people.Wait()
		l.check(l.fresh())
		counted = append(counted, s.settled(counted))
	}
	first, last := third(counted, 0), third(counted, 2)
	if len(counted) > soakRounds && float64(last.memory-caches) > slackMemory*float64(first.memory) {
		t.Errorf("memory grew from %d to %d MiB", first.memory>>20, last.memory>>20)
	}
	l.checkCallbacks(r)
	t.Logf("measured: %d rounds, %s; from the first third to the last: %v, %v", len(counted), l, first, last)
}

// counts is what a server holds when all is quiet.
type counts struct {
	memory             int64 // bytes that are resident
	descriptors, going int   // going are goroutines
}

func (c counts) String() string {
	return fmt.Sprintf("%.1f MiB, %d descriptors, %d goroutines", float64(c.memory)/(1<<20), c.descriptors, c.going)
}

// settled waits until the server holds no more than after the first round, but for some slack, and counts.
func (s *site) settled(before []counts) (c counts) {
	s.t.Helper()
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	eventually(s.t, 3*waitWithin, "the server to come to rest", func() (err error) {
		if c, err = s.counts(); err != nil || len(before) == 0 {
			return err
		}
		if first := before[0]; c.descriptors > first.descriptors+slackOpen || c.going > first.going+slackOpen {
			return fmt.Errorf("it holds %v, after the first round %v", c, first)
		}
		return nil
	})
	return c
}

func (s *site) counts() (c counts, err error) {
	pid := strconv.Itoa(s.nodes[0].cmd.Process.Pid)
	open, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		return c, err
	}
	c.descriptors = len(open)
	status, err := os.ReadFile("/proc/" + pid + "/statm")
	if err != nil {
		return c, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(status))[1], 10, 64)
	if err != nil {
		return c, err
	}
	c.memory = pages * int64(os.Getpagesize())
	answer, err := http.Get("http://" + s.nodes[0].addr["ops"] + "/metrics")
	if err != nil {
		return c, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), "go_goroutines "); found {
			c.going, err = strconv.Atoi(value)
			return c, err
		}
	}
	return c, fmt.Errorf("the metrics do not tell of goroutines")
}

// third is the median of one third of them; the very first, while caches fill, is left out.
func third(all []counts, n int) counts {
	all = all[1:]
	part := slices.Clone(all[len(all)*n/3 : max(len(all)*n/3+1, len(all)*(n+1)/3)])
	middle := func(of func(counts) int64) int64 {
		slices.SortFunc(part, func(a, b counts) int { return cmp.Compare(of(a), of(b)) })
		return of(part[len(part)/2])
	}
	return counts{
		middle(func(c counts) int64 { return c.memory }), int(middle(func(c counts) int64 { return int64(c.descriptors) })),
		int(middle(func(c counts) int64 { return int64(c.going) })),
	}
}

// leave is people who go away: from a decision that they wait for, from a stream, and from a code that never comes.
func (l *ledger) leave(ctx context.Context, p *phone) {
	u, ok := l.newcomer(ctx, p)
	if !ok {
		return
	}
	_, err := l.client.SendSMS(ctx, u.id, client.CodeMessage{Force: true})
	if refused, ok := errors.AsType[*client.Error](err); ok && refused.Status == http.StatusTooManyRequests {
		err = nil // these numbers are much alike
	}
	l.lost("ask for a text message", err)
	asked, err := l.client.CreateApproval(ctx, u.id, client.ApprovalRequest{Message: "Log in?"})
	l.lost("ask", err)
	for ctx.Err() == nil {
		soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond) // then they are gone
		var both sync.WaitGroup
		both.Go(func() { _, _ = l.client.WaitApproval(soon, asked.UUID, time.Minute) })
		both.Go(func() { _ = p.Watch(soon, func(terminal.Approval) {}, func(error) {}) })
		both.Wait()
		cancel()
	}
}

// deafListener takes connections and says nothing.
func deafListener(t *testing.T) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for held := []net.Conn{}; ; {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			held = append(held, conn) // open as long as the listener is
		}
	}()
	return ln.Addr().String()
}
