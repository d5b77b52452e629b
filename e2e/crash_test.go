// This file proves that what was acknowledged survives kill -9 at any moment, that nothing counts twice, and that every
// decision's callback arrives.

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/client/receipt"
	"countersign.dev/internal/terminal"
)

// How often programs are killed. script/soak asks for more.
var (
	crashes = number("COUNTERSIGN_KILLS", 40)      // of `dev`
	outages = number("COUNTERSIGN_KILLS", 2*8) / 2 // of a deployment's server, and as many of its PostgreSQL
)

// number is what a variable of the environment says, or without it usual.
func number(variable string, usual int) int {
	n, err := strconv.Atoi(os.Getenv(variable))
	if err != nil || n < 1 {
		return usual
	}
	return n
}

const (
	crashWorkers = 6
	// callbacksWithin is longer than a job's lease: deliveries that died with a process are found when it ends.
	callbacksWithin = 100 * time.Second
)

// TestCrashes kills the server again and again while applications create approvals, devices answer and codes are verified.
func TestCrashes(t *testing.T) {
	d := startPlainDev(t)
	operator := d.console()
	app := operator.newApplication("Crash")
	r := newReceiver(t)
	r.keys = []string{app.key}
	operator.setCallback(app, r.URL)
	l := newLedger(t, d, app.key)
	l.run(crashes, func(int) {
		d.kill()
		d.start()
	})
	l.checkCallbacks(r)
	t.Logf("measured: %d kills, %s, %d callbacks for %d decisions", crashes, l, r.calls(), len(r.all()))
}

// TestServeCrashes is TestCrashes on a deployment: its server and its PostgreSQL are killed in turn. The server waits for its
// PostgreSQL and goes on by itself.
func TestServeCrashes(t *testing.T) {
	t.Parallel()
	s := newPlainSite(t, "fsync=on")
	r := newReceiver(t)
	r.keys = []string{s.APIKey}
	s.command("app", "callback", s.appID, r.URL, "--config", s.config)
	s.start(0)
	l := newLedger(t, s.dev, s.APIKey)
	l.run(2*outages, func(round int) {
		if round%2 == 0 {
			s.nodes[0].kill()
			s.start(0)
			return
		}
		s.db.Kill(t)
		s.db.Restart(t)
		s.awaitReady(0)
	})
	// What was under way when the server died belongs to it until its lease ends. Other nodes may live, so its next start frees nothing;
	// here that time passes while it is down.
	s.nodes[0].kill()
	s.sql(`UPDATE jobs SET run_at = run_at - 60000`)
	s.start(0)
	l.checkCallbacks(r)
	t.Logf("measured: %d kills of serve, %d of PostgreSQL, %s, %d callbacks for %d decisions", outages+1, outages, l, r.calls(), len(r.all()))
}

// promise is what the clients know of one approval: it was created, and perhaps what its device was told.
type promise struct {
	decision     string // asked for, "" while nobody was asked
	acknowledged bool   // the device was told that the decision counts
}

// spent is a code that was given.
type spent struct {
	user int64
	code string
}

// ledger is what was acknowledged, and the gate that workers pass while the server is up.
type ledger struct {
	t      *testing.T
	d      *dev
	client *client.Client

	mu        sync.Mutex
	approvals map[string]*promise // by uuid
	codes     map[spent]int       // how often each was accepted
	answers   int
	touched   []string // approvals since the last check
	used      []spent  // codes since the last check
	gate      chan struct{}

	acknowledged chan struct{} // one for each acknowledgement

	sick  bool // the disk fails, and an internal error is no surprise
	sorry int  // how many there were
}

func newLedger(t *testing.T, d *dev, key string) *ledger {
	return &ledger{t: t, d: d, client: d.client(key), approvals: map[string]*promise{}, codes: map[spent]int{}, acknowledged: make(chan struct{}, 1<<16)}
}

func (l *ledger) String() string {
	return fmt.Sprintf("%d approvals created, %d answers and %d right codes acknowledged", len(l.approvals), l.answers, len(l.codes))
}

// run has people work, and what serves them crash again and again, from which it has recovered when crash returns.
func (l *ledger) run(rounds int, crash func(round int)) {
	l.up()
	ctx, stop := context.WithCancel(l.t.Context())
	var workers sync.WaitGroup
	for range crashWorkers {
		p := l.d.newPhone()
		workers.Go(func() { l.work(ctx, p) })
	}
	defer workers.Wait()
	defer stop()
	for round := range rounds {
		l.waitFor(rand.N(40)) // so the kill comes anywhere: at the start too
		l.down()
		crash(round)
		l.check(l.fresh())
		l.up()
	}
	l.waitFor(40)
	stop()
	workers.Wait()
	l.check(l.all())
}

// up lets workers pass; down makes them wait.
func (l *ledger) up() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.gate != nil {
		close(l.gate)
	}
	l.gate = nil
}

func (l *ledger) down() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate = make(chan struct{})
}

// wait returns when the server is up, and whether to go on.
func (l *ledger) wait(ctx context.Context) bool {
	l.mu.Lock()
	gate := l.gate
	l.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

// waitFor returns after n acknowledgements.
func (l *ledger) waitFor(n int) {
	l.t.Helper()
	for range n {
		select {
		case <-l.acknowledged:
		case <-time.After(3 * waitWithin):
			l.t.Fatalf("the clients get nothing done\n%s", l.d.stderr)
		}
	}
}

// note keeps an acknowledgement.
func (l *ledger) note(f func()) {
	l.mu.Lock()
	f()
	l.mu.Unlock()
	select {
	case l.acknowledged <- struct{}{}:
	default: // nobody counts that far
	}
}

// work is one person after another: registered, enrolled, a code verified, a request answered.
func (l *ledger) work(ctx context.Context, p *phone) {
	for n := 0; l.wait(ctx); n++ {
		u, ok := l.newcomer(ctx, p)
		if !ok {
			continue // the server died on the way; begin with somebody else
		}
		l.verify(ctx, u, p)
		decision := receipt.Approve
		if n%3 == 1 {
			decision = receipt.Deny
		}
		l.decide(ctx, p, u, decision, n%4 != 3)
	}
}

// newcomer registers and enrols somebody.
func (l *ledger) newcomer(ctx context.Context, p *phone) (user, bool) {
	u := user{number: newNumber()}
	u.email = "user" + u.number + "@example.com"
	var err error
	if u.id, err = l.client.AddUser(ctx, client.NewUser{Email: u.email, CountryCode: "1", Phone: u.number}); l.lost("add user", err) {
		return u, false
	}
	ticket, err := l.client.CreateEnrollmentTicket(ctx, u.id)
	if l.lost("ticket", err) {
		return u, false
	}
	for {
		_, err = p.RedeemTicket(ctx, ticket.Words, "crash phone")
		var problem *terminal.Problem
		if !errors.As(err, &problem) || problem.Status != http.StatusTooManyRequests {
			return u, !l.lost("enrol", err)
		}
		select { // all of these people come from one address, and strangers there are few in a second
		case <-time.After(problem.RetryAfter):
		case <-ctx.Done():
			return u, false
		}
	}
}

// lost reports whether a call got no answer. Any answer but success, and that the database is away, fails the test.
func (l *ledger) lost(what string, err error) bool {
	if err != nil && !l.isLost(err) {
		l.t.Errorf("%s: %v", what, err)
	}
	return err != nil
}

// verify gives a right code until there is an answer, and then once more.
func (l *ledger) verify(ctx context.Context, u user, p *phone) {
	codes, err := p.Codes()
	if err != nil {
		l.t.Error(err)
		return
	}
	s := spent{u.id, codes[slices.IndexFunc(codes, func(c terminal.Code) bool { return c.Account == u.email })].Code}
	unsure := false
	for range 2 {
		_, err := l.client.VerifyCode(ctx, s.user, s.code, client.CodeOptions{})
		for l.isLost(err) && l.wait(ctx) {
			unsure = true
			_, err = l.client.VerifyCode(ctx, s.user, s.code, client.CodeOptions{})
		}
		l.mu.Lock()
		before := l.codes[s]
		l.mu.Unlock()
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && before > 0:
			l.t.Errorf("code %s of user %d was accepted twice", s.code, s.user)
		case err == nil:
			l.note(func() { l.codes[s]++; l.used = append(l.used, s) })
		case errors.Is(err, client.ErrCodeUsed) && (unsure || before > 0): // the answer that was lost said yes
		default:
			l.t.Errorf("code %s of user %d, accepted %d times, unsure %v: %v", s.code, s.user, before, unsure, err)
		}
	}
}

// isLost reports whether nobody can know what became of a call: there was no answer, or the server could not reach its database
// or lost it.
func (l *ledger) isLost(err error) bool {
	var refused *client.Error
	var problem *terminal.Problem
	switch {
	case l.sick && (errors.As(err, &refused) && refused.Status == http.StatusInternalServerError || errors.As(err, &problem) && problem.Status == http.StatusInternalServerError):
		l.mu.Lock()
		defer l.mu.Unlock()
		l.sorry++
		return true
	case errors.As(err, &refused):
		return refused.Status == http.StatusServiceUnavailable && refused.Code == "60000" && refused.RetryAfter > 0
	case errors.As(err, &problem):
		return problem.Code == "database-away" && problem.RetryAfter > 0
	}
	return err != nil
}

// decide asks for an approval and has the device answer it, until there is an answer; or leaves it waiting.
func (l *ledger) decide(ctx context.Context, p *phone, u user, decision string, answered bool) {
	asked, err := l.client.CreateApproval(ctx, u.id, client.ApprovalRequest{Message: "Log in to Crash"})
	if l.lost("create", err) {
		return
	}
	made := &promise{}
	l.note(func() { l.approvals[asked.UUID] = made; l.touched = append(l.touched, asked.UUID) })
	if !answered {
		return
	}
	l.mu.Lock()
	made.decision = decision
	l.mu.Unlock()
	for l.wait(ctx) {
		err := p.tryAnswer(ctx, asked.UUID, decision)
		if err == nil {
			l.note(func() { made.acknowledged = true; l.answers++; l.touched = append(l.touched, asked.UUID) })
			return
		}
		if ctx.Err() == nil && l.lost("answer", err) && rand.N(4) == 0 {
			return // some people do not press again
		}
	}
}

// batch is what to check.
type batch struct {
	approvals []string
	codes     []spent
}

// fresh is what was acknowledged since the last check.
func (l *ledger) fresh() batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := batch{l.touched, l.used}
	l.touched, l.used = nil, nil
	return b
}

func (l *ledger) all() batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	return batch{approvals: slices.Collect(maps.Keys(l.approvals))}
}

// check compares what the server says with what it acknowledged. Codes are given once more: they are spent.
func (l *ledger) check(b batch) {
	l.t.Helper()
	for _, uuid := range b.approvals {
		l.mu.Lock()
		want := *l.approvals[uuid]
		l.mu.Unlock()
		got, err := l.client.Approval(l.t.Context(), uuid)
		if err != nil {
			l.t.Errorf("approval %s was acknowledged and is gone: %v", uuid, err)
			continue
		}
		decided := map[string]string{receipt.Approve: client.StatusApproved, receipt.Deny: client.StatusDenied}[want.decision]
		if got.Status != decided && (want.acknowledged || got.Status != client.StatusPending) {
			l.t.Errorf("approval %s is %s; its device said %q, acknowledged: %v", uuid, got.Status, want.decision, want.acknowledged)
		}
	}
	for _, s := range b.codes {
		if _, err := l.client.VerifyCode(l.t.Context(), s.user, s.code, client.CodeOptions{}); !errors.Is(err, client.ErrCodeUsed) && !errors.Is(err, client.ErrCodeWrong) {
			l.t.Errorf("code %s of user %d after the crash: %v; want it used", s.code, s.user, err)
		}
	}
}

// checkCallbacks waits until each decision was told, and none was told as something else.
func (l *ledger) checkCallbacks(r *receiver) {
	l.t.Helper()
	decided := map[string]string{}
	for uuid := range l.approvals {
		got, err := l.client.Approval(l.t.Context(), uuid)
		if err != nil {
			l.t.Fatal(err)
		}
		if got.Status != client.StatusPending {
			decided[uuid] = got.Status
		}
	}
	eventually(l.t, callbacksWithin, "every callback", func() error {
		missing := 0
		for uuid := range decided {
			if len(r.told(uuid)) == 0 {
				missing++
			}
		}
		return want("decisions without a callback", missing, 0)
	})
	for uuid, status := range decided {
		for _, told := range r.told(uuid) {
			if told != status {
				l.t.Errorf("approval %s is %s, and its callback said %s", uuid, status, told)
			}
		}
	}
	for _, uuid := range r.all() {
		if _, ok := decided[uuid]; !ok {
			l.t.Errorf("a callback told of %s, which is not decided", uuid)
		}
	}
}
