package callback_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

// This file tests the worker behind the real runner and the real table: at once, at least once, and nobody for another.

// run starts a runner over the rig's worker, and lets decisions offer to it.
func (r *rig) run() *job.Runner {
	runner := job.NewRunner(r.Store, map[job.Kind]job.Handler{job.Callback: r.worker.Deliver, job.Message: r.Messages.Deliver}, r.Clock.Now, slog.New(slog.DiscardHandler))
	r.worker.Offer, r.Approvals.Offer, r.Tenants.Offer = runner.Offer, runner.Offer, runner.Offer
	return runner
}

// approve has Ana approve something of the rig's application.
func (r *rig) approve(t *testing.T) approval.Approval {
	t.Helper()
	a, err := r.phone.Answer(t, r.Ask(t, r.app, r.ana, "Log in?").UUID, approval.Approve, "")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The decision itself starts its delivery: nobody has to look for it first, and usually it is there within milliseconds.
func TestToldAtOnce(t *testing.T) {
	r := newRig(t)
	rc := newReceiver(t, always(200))
	r.setCallback(t, rc.URL)
	runner := r.run() // never started: it would find nothing by looking
	r.approve(t)
	<-rc.got // the first opens the connection
	quickest := time.Hour
	for range 10 {
		asked := r.Ask(t, r.app, r.ana, "Log in?")
		begun := time.Now()
		if _, err := r.phone.Answer(t, asked.UUID, approval.Approve, ""); err != nil {
			t.Fatal(err)
		}
		quickest = min(quickest, (<-rc.got).at.Sub(begun))
	}
	if quickest > 100*time.Millisecond {
		t.Errorf("the quickest of ten came after %v", quickest)
	}
	runner.Stop(t.Context())
	if n := len(r.tries(t)); n != 11 {
		t.Errorf("%d tries", n)
	}
}

// An application whose receiver hangs delays nobody else's callback.
func TestHangingReceiverDelaysNobody(t *testing.T) {
	r := newRig(t)
	release := make(chan struct{})
	slow := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { <-release })
	quick := newReceiver(t, always(200))
	r.worker.Client = egress.Policy{Loopback: true}.Client(time.Hour) // so that it hangs for as long as this takes
	t.Cleanup(r.worker.Client.CloseIdleConnections)
	r.setCallback(t, slow.URL)
	runner := r.run()
	for range 72 {
		r.approve(t)
	}
	for range 64 { // as many as may run at once
		<-slow.got
	}
	shop := r.App(t, "Shop", roomy)
	bob := r.User(t, shop, "bob@example.com", "202-555-0188")
	phone := r.Phone(t, shop, bob)
	if err := r.Tenants.SetCallback(t.Context(), r.Account.ID, shop.ID, quick.URL, "operator:test"); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := phone.Answer(t, r.Ask(t, shop, bob, "Buy?").UUID, approval.Approve, ""); err != nil {
			t.Fatal(err)
		}
		<-quick.got
	}
	if n := len(slow.got); n != 0 {
		t.Errorf("%d more deliveries to the slow receiver ran", n)
	}
	close(release)
	for range 8 {
		<-slow.got
	}
	runner.Stop(t.Context())
}

// Shutdown in the middle of a delivery leaves it for the next start (at least once).
func TestShutdownInTheMiddle(t *testing.T) {
	r := newRig(t)
	var calls atomic.Int32
	hang := make(chan struct{})
	rc := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
		if calls.Add(1) == 1 {
			<-hang
		}
	})
	defer close(hang)
	r.setCallback(t, rc.URL)
	runner := r.run()
	runner.Start()
	a := r.approve(t)
	<-rc.got
	over, cancel := context.WithCancel(t.Context())
	cancel() // no patience left
	runner.Stop(over)
	if n := len(r.tries(t)); n != 0 {
		t.Errorf("%d tries kept, though nothing was learned", n)
	}
	if jobs := r.claim(t); len(jobs) != 0 {
		t.Errorf("due while it is leased: %v", jobs)
	}
	if err := r.Store.FreeLeases(t.Context(), r.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	runner = r.run()
	runner.Start()
	if got := <-rc.got; !strings.Contains(got.body, a.UUID) {
		t.Errorf("delivered %s", got.body)
	}
	runner.Stop(t.Context())
	if tries := r.tries(t); len(tries) != 1 || !tries[0].Delivered() {
		t.Errorf("%+v", tries)
	}
}

// A receiver that has answered, and only has not finished, has been told: shutdown does not tell it again.
func TestShutdownAfterTheAnswer(t *testing.T) {
	for _, status := range []int{200, 500} {
		r := newRig(t)
		rc := newReceiver(t, func(w http.ResponseWriter, req *http.Request) {
			w.WriteHeader(status)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			<-req.Context().Done()
		})
		r.setCallback(t, rc.URL)
		answered := make(chan struct{})
		r.worker.Client.Transport = telling{r.worker.Client.Transport, answered}
		runner := r.run()
		r.approve(t)
		<-answered
		over, cancel := context.WithCancel(t.Context())
		cancel()
		runner.Stop(over)
		if tries := r.tries(t); len(tries) != 1 || tries[0].Status != status {
			t.Errorf("%d: kept %+v", status, tries)
		}
		r.Clock.Advance(job.Lease)
		if jobs := r.claim(t); len(jobs) != map[int]int{200: 0, 500: 1}[status] {
			t.Errorf("%d: left %v", status, jobs)
		}
	}
}

// telling says when an answer's head has arrived.
type telling struct {
	http.RoundTripper
	answered chan struct{}
}

func (t telling) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.RoundTripper.RoundTrip(r)
	close(t.answered)
	return res, err
}

// Many decisions of many applications at once: each is told once, to its own application.
func TestManyAtOnce(t *testing.T) {
	r := newRig(t)
	runner := r.run()
	runner.Start()
	const apps, each = 5, 20
	type told struct{ app, body string }
	all := make(chan told, 2*apps*each)
	want := map[string]string{}
	var mu sync.Mutex
	var answering sync.WaitGroup
	for n := range apps {
		app := r.App(t, "App "+string(rune('A'+n)), roomy)
		rc := newReceiver(t, always(200))
		go func() {
			for got := range rc.got {
				all <- told{app.ID, got.body}
			}
		}()
		t.Cleanup(func() { close(rc.got) })
		if err := r.Tenants.SetCallback(t.Context(), r.Account.ID, app.ID, rc.URL, "operator:test"); err != nil {
			t.Fatal(err)
		}
		u := r.User(t, app, "ana@example.com", "202-555-0123")
		phone := r.Phone(t, app, u)
		for range each {
			uuid := r.Ask(t, app, u, "Log in?").UUID
			answering.Go(func() {
				if _, err := phone.Answer(t, uuid, approval.Approve, ""); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				want[uuid] = app.ID
			})
		}
	}
	answering.Wait()
	for range apps * each {
		got := <-all
		uuid := strings.SplitN(strings.SplitN(got.body, `"uuid":"`, 2)[1], `"`, 2)[0]
		if want[uuid] != got.app {
			t.Errorf("%s was told to %s, not to %s, or twice", uuid, got.app, want[uuid])
		}
		delete(want, uuid)
	}
	runner.Stop(t.Context())
	if len(all) != 0 || len(want) != 0 {
		t.Errorf("%d told too often, %d not at all", len(all), len(want))
	}
}

// Three deliveries that fail at once disable the callback once, with one mail.
func TestStrikesAtOnce(t *testing.T) {
	r := newRig(t)
	var together sync.WaitGroup
	together.Add(16)
	rc := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		together.Done()
		together.Wait()
		w.WriteHeader(500)
	})
	r.setCallback(t, rc.URL)
	runner := r.run()
	for range 16 {
		r.approve(t)
	}
	for range 16 {
		<-rc.got
	}
	runner.Stop(t.Context())
	if got := r.application(t).Callback; got.Strikes != tenant.StrikesToDisable || got.URL != "" {
		t.Errorf("%+v", got)
	}
	runner = r.run()
	runner.Start()
	defer runner.Stop(t.Context())
	r.Clock.Advance(job.Lease)
	if n := len(r.tries(t)); n != 16 {
		t.Errorf("%d tries", n)
	}
}
