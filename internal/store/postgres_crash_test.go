//go:build unix

package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
)

// TestPostgreSQLKilled kills PostgreSQL (kill -9) again and again while two nodes write. What was acknowledged is there
// afterwards, no code was accepted twice, and the nodes go on by themselves once it is back (INV-1, INV-12).
func TestPostgreSQLKilled(t *testing.T) {
	server := postgrestest.Start(t, "fsync=on")
	url := server.URL("postgres")
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	nodes := []*store.Store{openStore(t, url), openStore(t, url)}
	s := servertest.On(t, nodes[0])
	app := s.App(t, "Bank")
	const pairs, kills, between = 6, 3, 100
	k := &keeper{acked: make(chan struct{}, 100), up: make(chan struct{}), records: map[string]bool{}, accepted: map[string]int{}}
	close(k.up)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range pairs {
		u := s.User(t, app, "ana@example.com", fmt.Sprintf("202-555-%04d", i))
		grant := s.Phone(t, app, u).Grants[0].ID
		for _, node := range nodes { // both try the same codes of the same user
			clients.Go(func() {
				for step := int64(1e9); ctx.Err() == nil; step++ {
					k.redeem(node, otp.Attempt{AppID: app.ID, UserID: u.ID, Now: s.Clock.Now()}, grant, step)
					k.record(node)
				}
			})
		}
	}
	for range kills {
		k.wait(between)
		up := make(chan struct{})
		k.mu.Lock()
		k.up = up
		k.mu.Unlock()
		server.Kill(t)
		server.Restart(t)
		close(up)
	}
	k.wait(between) // on the connections that they made anew
	stop()
	clients.Wait()

	there := map[string]bool{}
	kept, err := nodes[1].Audit(t.Context(), "", 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range kept {
		there[r.ID] = true
	}
	for id := range k.records {
		if !there[id] {
			t.Errorf("the record %s was acknowledged and is gone", id)
		}
	}
	for code, n := range k.accepted {
		if n > 1 {
			t.Errorf("the code %s was accepted %d times", code, n)
		}
	}
	if k.failed == 0 {
		t.Error("no write failed: did the server ever die?")
	}
	t.Logf("%d records and %d codes acknowledged, %d writes failed over %d kills", len(k.records), len(k.accepted), k.failed, kills)
}

// keeper remembers what was acknowledged.
type keeper struct {
	acked    chan struct{}
	mu       sync.Mutex
	up       chan struct{} // closed while the server is there
	records  map[string]bool
	accepted map[string]int
	failed   int
}

func (k *keeper) redeem(db *store.Store, a otp.Attempt, grant, step int64) {
	_, err := db.Redeem(context.Background(), a, func(otp.Candidates) otp.Verdict {
		return otp.Verdict{Matched: true, GrantID: grant, Step: step}
	})
	if err != nil && !errors.Is(err, otp.ErrUsed) {
		k.fail()
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil {
		k.accepted[fmt.Sprint(grant, " ", step)]++
	}
}

// fail counts a failure and waits until the server is there.
func (k *keeper) fail() {
	k.mu.Lock()
	k.failed++
	up := k.up
	k.mu.Unlock()
	<-up
}

func (k *keeper) record(db *store.Store) {
	r := audit.New(time.Now(), "", "crash", "test", "test")
	if err := db.Record(context.Background(), r); err != nil {
		k.fail()
		return
	}
	k.mu.Lock()
	k.records[r.ID] = true
	k.mu.Unlock()
	select {
	case k.acked <- struct{}{}:
	default: // nobody waits for that many
	}
}

// wait waits for that many acknowledgements.
func (k *keeper) wait(n int) {
	for range n {
		<-k.acked
	}
}
