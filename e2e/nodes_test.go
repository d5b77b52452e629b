// This file proves that of three nodes on one PostgreSQL any may die in the middle of any step of a log-in, and nobody notices: no log-in
// fails, no decision is lost or counted twice.

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"countersign.dev/client"
	"countersign.dev/client/callback"
	"countersign.dev/internal/terminal"
	"countersign.dev/secondfactor"
)

// Who asks, as the front tells them apart. Each has a node that it prefers.
const (
	whoAsks    = "asks"    // the application, for an approval
	whoWaits   = "waits"   // the application, for the decision
	whoBrowses = "browses" // the login library, for the decision, behind a browser that waits
	whoListens = "listens" // the device, for requests
	whoAnswers = "answers" // the device, which reads a request and answers it
)

// front is a proxy before one surface of all nodes, as load balancers are: what finds a node dead, or dying before it has answered, or not
// able to serve, is sent to the next one.
type front struct {
	s       *site
	surface string
	nodes   *placing
}

// placing says which node each of those who ask is sent to first, and what happens there.
type placing struct {
	mu     sync.Mutex
	first  map[string]int
	before map[string]func() // once, while a request is on its way to its node
	after  map[string]func() // once, when the answer has come and before it is passed on; it is lost
	failed int               // requests that were sent once more
}

// take removes and returns what is to happen.
func (p *placing) take(from map[string]func(), who string) func() {
	p.mu.Lock()
	defer p.mu.Unlock()
	happen := from[who]
	delete(from, who)
	return happen
}

// arm has something happen once.
func (p *placing) arm(to map[string]func(), who string, happen func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	to[who] = happen
}

func (p *placing) at(who string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.first[who]
}

// who tells who sends a request.
func who(r *http.Request) string {
	switch {
	case strings.HasSuffix(r.URL.Path, "/device/v1/events"):
		return whoListens
	case strings.HasPrefix(r.URL.Path, "/device/"):
		return whoAnswers
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/approval_requests"):
		return whoAsks
	}
	return r.UserAgent()
}

// RoundTrip sends a request to the node of who sends it, and to the next ones until one has answered.
func (f *front) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
	}
	from := who(r)
	for i := f.nodes.at(from); ; i++ {
		again := r.Clone(r.Context())
		again.URL.Scheme, again.URL.Host = "http", f.s.nodes[i%len(f.s.nodes)].addr[f.surface]
		if again.Body = http.NoBody; len(body) > 0 {
			again.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body[:1]), &event{happens: f.nodes.take(f.nodes.before, from)}, bytes.NewReader(body[1:])))
		}
		answer, err := http.DefaultTransport.RoundTrip(again)
		if err == nil && answer.StatusCode == http.StatusServiceUnavailable {
			answer.Body.Close()
			err = errors.New("not this one")
		}
		if err == nil {
			lose := f.nodes.take(f.nodes.after, from)
			if lose == nil {
				return answer, nil
			}
			lose()
			answer.Body.Close()
			err = errors.New("the answer is lost")
		}
		if r.Context().Err() != nil {
			return nil, err
		}
		f.nodes.mu.Lock()
		f.nodes.failed++
		f.nodes.mu.Unlock()
	}
}

// event is nothing to read, but that something happens when that is noticed.
type event struct{ happens func() }

func (e *event) Read([]byte) (int, error) {
	if e.happens != nil {
		e.happens()
	}
	return 0, io.EOF
}

// serveFront puts the front of a surface where the world finds it.
func (s *site) serveFront(surface, public string, nodes *placing) {
	s.t.Helper()
	u, err := url.Parse(public)
	if err != nil {
		s.t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(ours.cert, ours.key)
	if err != nil {
		s.t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetXForwarded(); r.Out.Host = u.Host },
		Transport:     &front{s, surface, nodes},
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // streams of nodes that die
	}
	server := httptest.NewUnstartedServer(proxy)
	server.Listener.Close()
	if server.Listener, err = net.Listen("tcp", "127.0.0.1:"+u.Port()); err != nil {
		s.t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	s.t.Cleanup(server.CloseClientConnections)
	s.t.Cleanup(server.Close)
}

// bank is an application with the login library, and what it was told.
type bank struct {
	URL   string
	guard *secondfactor.Guard

	mu    sync.Mutex
	told  map[string][]string // by uuid
	first func()              // once, when the next callback comes; it gets no answer
	done  int                 // log-ins that were completed
}

// newBank starts it. Its people are known by their authy_id.
func newBank(t *testing.T, s *site) *bank {
	t.Helper()
	b := &bank{told: map[string][]string{}}
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	b.URL = server.URL
	provider, err := client.New(client.Config{BaseURL: s.APIURL, APIKey: s.APIKey, UserAgent: whoBrowses})
	if err != nil {
		t.Fatal(err)
	}
	b.guard, err = secondfactor.New(secondfactor.Config{
		PublicURL: b.URL, Name: "Bank", Provider: provider, Store: secondfactor.NewMemoryStore(), APIKeys: []string{s.APIKey},
		Limits: secondfactor.Limits{Provider: waitWithin},
		Completed: func(context.Context, secondfactor.Completion) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.done++
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.guard.Close)
	pages := http.NewServeMux()
	b.guard.Routes(pages)
	pages.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		var id int64
		_, _ = fmt.Sscan(r.FormValue("user"), &id)
		b.guard.Login(w, r, secondfactor.Person{ID: r.FormValue("user"), AuthyID: id, Account: "user"}, "/account")
	})
	pages.Handle("GET /account", b.guard.Require(func(w http.ResponseWriter, _ *http.Request, who secondfactor.SignedIn) {
		fmt.Fprint(w, "account of ", who.User())
	}))
	mux.Handle("/", pages)
	verifier := &callback.Verifier{URL: b.URL + "/authy/callback", Keys: []string{s.APIKey}}
	mux.HandleFunc("POST /authy/callback", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // whoever called is dead
		}
		b.mu.Lock()
		first := b.first
		b.first = nil
		b.mu.Unlock()
		if first != nil {
			first()
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		event, err := verifier.Verify(r)
		if err != nil {
			t.Errorf("callback: %v", err)
		}
		b.mu.Lock()
		b.told[event.UUID] = append(b.told[event.UUID], event.Status)
		b.mu.Unlock()
		r.Body = io.NopCloser(bytes.NewReader(body))
		pages.ServeHTTP(w, r)
	})
	return b
}

// meet has something happen when the next callback comes, and that one gets no answer.
func (b *bank) meet(happen func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.first = happen
}

// visitor is a browser at the bank.
type visitor struct {
	*http.Client
	bank *bank
}

func (b *bank) visitor() visitor {
	jar, _ := cookiejar.New(nil) // fails never
	return visitor{&http.Client{Jar: jar}, b}
}

func (v visitor) get(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.bank.URL+path, nil)
	if err != nil {
		return nil, err
	}
	return v.Do(r)
}

// ask gives the password.
func (v visitor) ask(u user) error {
	answer, err := v.PostForm(v.bank.URL+"/login", url.Values{"user": {fmt.Sprint(u.id)}})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return errors.Join(want("page", answer.Request.URL.Path, "/login/verify"), want("status", answer.StatusCode, http.StatusOK))
}

// wait watches the waiting page's stream until it is decided, and opens what was asked for.
func (v visitor) wait(ctx context.Context) error {
	answer, err := v.get(ctx, "/login/verify/events")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	lines, state := bufio.NewScanner(answer.Body), ""
	for state != "approved" && lines.Scan() {
		if _, rest, found := strings.Cut(lines.Text(), `"state":"`); found {
			state, _, _ = strings.Cut(rest, `"`)
		}
	}
	if err := errors.Join(lines.Err(), want("state", state, "approved")); err != nil {
		return fmt.Errorf("the browser's stream: %w", err)
	}
	done, err := v.PostForm(v.bank.URL+"/login/verify/complete", nil)
	if err != nil {
		return err
	}
	defer done.Body.Close()
	return errors.Join(want("page", done.Request.URL.Path, "/account"), want("status", done.StatusCode, http.StatusOK))
}

// TestServeNodesKilled: the device's stream is on one node, the application's wait on a second, the browser's on a third. In the middle of each
// step of the journey (docs/architecture.md) a node that has part in it is killed, with kill -9.
func TestServeNodesKilled(t *testing.T) {
	t.Parallel()
	s := newSite(t, 3)
	for i := range s.nodes {
		s.start(i)
	}
	nodes := &placing{first: map[string]int{}, before: map[string]func(){}, after: map[string]func(){}}
	s.serveFront("api", s.APIURL, nodes)
	s.serveFront("authenticator", s.AuthenticatorURL, nodes)
	shop := newBank(t, s)
	s.command("app", "callback", s.appID, shop.URL+"/authy/callback", "--config", s.config)
	application, err := client.New(client.Config{BaseURL: s.APIURL, APIKey: s.APIKey, UserAgent: whoWaits})
	if err != nil {
		t.Fatal(err)
	}
	ana, hand := s.addUser(application), s.newPhone()
	hand.enrol(application, ana)
	fresh := make(chan terminal.Approval, 1)
	ctx, stop := context.WithCancel(t.Context())
	watched := make(chan error, 1)
	go func() {
		watched <- hand.Watch(ctx, func(a terminal.Approval) { fresh <- a }, func(error) {})
	}()

	// logIn is one log-in. In its middle the test may do something, before it is asked for, and before it is answered.
	logIn := func(ask, answer func(do func() error) error) error {
		v := shop.visitor()
		if err := ask(func() error { return v.ask(ana) }); err != nil {
			return fmt.Errorf("ask: %w", err)
		}
		inBrowser, inApplication := make(chan error, 1), make(chan error, 1)
		go func() { inBrowser <- v.wait(ctx) }()
		var request terminal.Approval
		select {
		case request = <-fresh:
		case <-time.After(3 * waitWithin):
			return errors.New("the device heard nothing")
		}
		go func() { inApplication <- decided(ctx, application, request.UUID, client.StatusApproved) }()
		if err := answer(func() error { return hand.tryAnswer(ctx, request.UUID, "approve") }); err != nil {
			return fmt.Errorf("answer: %w", err)
		}
		return errors.Join(<-inBrowser, <-inApplication)
	}
	plainly := func(do func() error) error { return do() }
	// held does something while rows are held, until somebody waits for them; then a node is killed, and they are let go.
	held := func(node int, lock string) func(do func() error) error {
		return func(do func() error) error {
			release := s.hold(lock)
			done := make(chan error, 1)
			go func() { done <- do() }()
			s.awaitWaiter()
			s.nodes[node].kill()
			release()
			return <-done
		}
	}
	dies := func(node int) func() { return func() { s.nodes[node].kill() } }

	for _, c := range []struct {
		step        string
		dies        int // the node
		places      map[string]int
		ask, answer func(do func() error) error
		prepare     func()
	}{
		{"none", -1, nil, plainly, plainly, nil},
		{"1 the application asks", 1, map[string]int{whoAsks: 1}, plainly, plainly, func() { nodes.arm(nodes.before, whoAsks, dies(1)) }},
		{"2 the rules", 1, map[string]int{whoAsks: 1}, held(1, `LOCK TABLE users IN ACCESS EXCLUSIVE MODE`), plainly, nil},
		{"3 the transaction", 1, map[string]int{whoAsks: 1}, held(1, `SELECT 1 FROM users FOR UPDATE`), plainly, nil},
		{"3 its answer is lost", 1, map[string]int{whoAsks: 1}, plainly, plainly, func() { nodes.arm(nodes.after, whoAsks, dies(1)) }},
		{"4 the device is woken", 0, map[string]int{whoAsks: 1}, plainly, plainly, func() { nodes.arm(nodes.before, whoAsks, dies(0)) }},
		{"5 the device reads", 2, map[string]int{whoAnswers: 2}, plainly, plainly, func() { nodes.arm(nodes.after, whoAnswers, dies(2)) }},
		{"6 the decision", 2, map[string]int{whoAnswers: 2}, plainly, held(2, `SELECT 1 FROM approvals WHERE status = 'pending' FOR UPDATE`), nil},
		{"7 the callback", 2, map[string]int{whoAnswers: 2}, plainly, plainly, func() { shop.meet(dies(2)) }},
		{"8 the application waits", 1, map[string]int{whoAsks: 0, whoAnswers: 0}, plainly, func(do func() error) error { s.nodes[1].kill(); return do() }, nil},
		{"8 the browser waits", 2, map[string]int{whoAsks: 0, whoAnswers: 0}, plainly, func(do func() error) error { s.nodes[2].kill(); return do() }, nil},
		{"none afterwards", -1, nil, plainly, plainly, nil},
	} {
		began := time.Now()
		nodes.mu.Lock()
		nodes.first = map[string]int{whoListens: 0, whoWaits: 1, whoBrowses: 2}
		for who, node := range c.places {
			nodes.first[who] = node
		}
		nodes.mu.Unlock()
		if c.prepare != nil {
			c.prepare()
		}
		if err := logIn(c.ask, c.answer); err != nil {
			t.Errorf("step %s: the log-in failed: %v", c.step, err)
		}
		if c.dies >= 0 {
			select {
			case <-s.nodes[c.dies].exited:
			case <-time.After(waitWithin):
				t.Errorf("step %s: no node was killed", c.step)
			}
			s.start(c.dies)
			// What died with the node belongs to it until its lease ends. That time passes now.
			s.sql(`UPDATE jobs SET run_at = run_at - 60000`)
		}
		eventually(t, 3*waitWithin, "the callback", func() error { // before the node that sends it may die
			return want("callbacks to come", s.count(`SELECT COUNT(*) FROM jobs WHERE kind = 'callback'`), "0")
		})
		t.Logf("step %s: %v", c.step, time.Since(began).Round(time.Millisecond))
	}
	stop()
	if err := <-watched; err != nil {
		t.Errorf("the device's stream: %v", err)
	}
	s.decidedOnce(shop, 12)
	t.Logf("measured: 12 log-ins over 10 kills, none failed; %d requests were sent once more by the proxy", nodes.failed)
}

// hold keeps rows or a table from everybody else until release is called.
func (s *site) hold(lock string) (release func()) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.db.URL("postgres"))
	if err == nil {
		_, err = conn.Exec(s.t.Context(), "BEGIN; "+lock)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return func() { conn.Close(s.t.Context()) }
}

// awaitWaiter returns when somebody waits for a lock.
func (s *site) awaitWaiter() {
	s.t.Helper()
	eventually(s.t, waitWithin, "somebody to wait for the lock", func() error {
		return want("who waits", s.count(`SELECT COUNT(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock'`), "true")
	})
}

// count returns what a query of one value says.
func (s *site) count(query string) (value string) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.db.URL("postgres"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(s.t.Context())
	if err := conn.QueryRow(s.t.Context(), `SELECT CAST((`+query+`) AS TEXT)`).Scan(&value); err != nil {
		s.t.Fatal(err)
	}
	return value
}

// decidedOnce: there were so many log-ins, each with one approval, one decision, and one callback that says the same.
func (s *site) decidedOnce(b *bank, n int) {
	s.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for uuid, statuses := range b.told {
		if len(statuses) != 1 || statuses[0] != client.StatusApproved {
			s.t.Errorf("%s was told as %v, want approved, once", uuid, statuses)
		}
	}
	if len(b.told) != n {
		s.t.Errorf("%d decisions were told, want %d", len(b.told), n)
	}
	for what, query := range map[string]string{
		"approvals":           `SELECT COUNT(*) FROM approvals`,
		"approved":            `SELECT COUNT(*) FROM approvals WHERE status = 'approved'`,
		"records of decision": `SELECT COUNT(*) FROM audit WHERE action = 'approval.approved'`,
	} {
		if got := s.count(query); got != fmt.Sprint(n) {
			s.t.Errorf("%s: %s, want %d", what, got, n)
		}
	}
	if b.done != n {
		s.t.Errorf("%d log-ins were completed, want %d", b.done, n)
	}
}
