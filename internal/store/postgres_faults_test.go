//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
)

// TestFaultyWires: two nodes work while the network between them and PostgreSQL is slow, resets connections in the middle of a packet, and
// falls silent without telling anybody. What was acknowledged is there afterwards, no code was accepted and no request decided twice, who
// could not be served is told so, and all goes on when the network is well (INV-1, INV-5, INV-7, INV-12).
func TestFaultyWires(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	if err := store.Migrate(t.Context(), server.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	wires := [2]*wire{newWire(t, server), newWire(t, server)}
	first := servertest.On(t, openStore(t, wires[0].url))
	nodes := [2]*servertest.Server{first, first.Beside(t, openStore(t, wires[1].url))}
	app := first.App(t, "Bank")
	w := &witness{t: t, app: app.ID, acked: make(chan struct{}, 1000), records: map[string]bool{}, codes: map[string]int{}, decided: map[string][]string{}}
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range 4 {
		u := first.User(t, app, "ana@example.com", fmt.Sprintf("202-555-%04d", i))
		phone := first.Phone(t, app, u)
		asked := make(chan approval.Approval)
		clients.Go(func() {
			defer close(asked)
			for ctx.Err() == nil {
				a, err := nodes[i%2].Approvals.Create(context.Background(), app, u, approval.Request{Message: "Log in?"})
				if w.fine("ask", err) {
					asked <- a
				}
			}
		})
		clients.Go(func() { // the answer goes to both nodes, a yes to one and a no to the other
			for a := range asked {
				var both sync.WaitGroup
				for n, decision := range []string{approval.Approve, approval.Deny} {
					both.Go(func() { w.decide(nodes[n], phone, a, decision) })
				}
				both.Wait()
			}
		})
		for _, node := range nodes { // both try the same codes
			clients.Go(func() {
				for step := int64(1e9); ctx.Err() == nil; step++ {
					w.redeem(node, otp.Attempt{AppID: app.ID, UserID: u.ID, Now: first.Clock.Now()}, phone.Grants[0].ID, step)
					w.record(node)
				}
			})
		}
	}
	for round, is := range []condition{dawdles, breaks, breaks, silent, dawdles} {
		before := w.awayUntil()
		wires[round%2].set(is)
		began := time.Now()
		if is == silent {
			w.await(t, "somebody to be told that the database is away", func() bool { return w.awayUntil() > before })
			t.Logf("measured: while a wire is silent the first is told after %v", time.Since(began))
		}
		w.wait(60)
		wires[round%2].set(passes)
		w.wait(30)
	}
	stop()
	clients.Wait()
	w.check(nodes[1])
	t.Logf("measured: %d records, %d codes, %d decisions acknowledged; %d were told that the database is away", len(w.records), len(w.codes), len(w.decided), w.away)
}

// witness remembers what was acknowledged.
type witness struct {
	t     *testing.T
	app   string // that asks
	acked chan struct{}

	mu      sync.Mutex
	records map[string]bool
	codes   map[string]int
	decided map[string][]string // by uuid
	away    int
}

// fine reports whether an act was done. It may also have been refused by the rules, or because the database was away; else the test fails.
func (w *witness) fine(what string, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err == nil:
		select {
		case w.acked <- struct{}{}:
		default: // nobody waits for that many
		}
		return true
	case errors.Is(err, store.ErrAway):
		w.away++
	case fault.KindOf(err) == fault.Internal:
		w.t.Errorf("%s: %v", what, err)
	}
	return false
}

func (w *witness) awayUntil() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.away
}

// wait waits for that many acknowledgements.
func (w *witness) wait(n int) {
	for range n {
		<-w.acked
	}
}

// await waits for something that acknowledgements and failures bring about.
func (w *witness) await(t *testing.T, what string, seen func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !seen(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (w *witness) redeem(node *servertest.Server, a otp.Attempt, grant, step int64) {
	_, err := node.Store.Redeem(context.Background(), a, func(otp.Candidates) otp.Verdict {
		return otp.Verdict{Matched: true, GrantID: grant, Step: step}
	})
	if w.fine("redeem", err) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.codes[fmt.Sprint(grant, " ", step)]++
	}
}

func (w *witness) record(node *servertest.Server) {
	r := audit.New(time.Now(), "", "faults", "test", "test")
	if w.fine("record", node.Store.Record(context.Background(), r)) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.records[r.ID] = true
	}
}

func (w *witness) decide(node *servertest.Server, phone *servertest.Phone, a approval.Approval, decision string) {
	signature := phone.Sign(w.t, node.Approvals.Signed(a, phone.Device.ID, decision, ""))
	_, err := node.Approvals.Answer(context.Background(), phone.Device, a.UUID, approval.Answer{Decision: decision, Signature: signature})
	if w.fine("answer", err) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.decided[a.UUID] = append(w.decided[a.UUID], decision)
	}
}

// check compares what was acknowledged with what is in the database.
func (w *witness) check(node *servertest.Server) {
	w.t.Helper()
	there := map[string]bool{}
	kept, err := node.Store.Audit(w.t.Context(), "", 1_000_000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range kept {
		there[r.ID] = true
	}
	for id := range w.records {
		if !there[id] {
			w.t.Errorf("the record %s was acknowledged and is gone", id)
		}
	}
	for code, n := range w.codes {
		if n > 1 {
			w.t.Errorf("the code %s was accepted %d times", code, n)
		}
	}
	for uuid, decisions := range w.decided {
		a, err := node.Approvals.Get(w.t.Context(), w.app, uuid)
		want := map[string]approval.Status{approval.Approve: approval.Approved, approval.Deny: approval.Denied}[decisions[0]]
		if err != nil || len(decisions) > 1 || a.Status != want {
			w.t.Errorf("%s was decided as %v and is %s, %v", uuid, decisions, a.Status, err)
		}
	}
	if w.away == 0 {
		w.t.Error("nobody was told that the database is away: were the wires ever bad?")
	}
}
