//go:build unix

package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/server"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/terminal"
)

// This file runs two whole servers on one PostgreSQL: a phone's stream at one, the application at the other.

// startNode starts a server on a database, and its surfaces. Authenticator is the public address; "" takes this node's own.
func startNode(t *testing.T, database, authenticator string) (s *server.Server, api, device string) {
	t.Helper()
	var surfaces [2]http.Handler // set before anybody knows the addresses
	var doors [2]*httptest.Server
	for i := range doors {
		doors[i] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { surfaces[i].ServeHTTP(w, r) }))
	}
	api, device = doors[0].URL, doors[1].URL
	if authenticator == "" {
		authenticator = device
	}
	s, err := server.New(t.Context(), server.Config{
		Database: database, Master: master, APIURL: api, AuthenticatorURL: authenticator, ConsoleURL: "http://localhost:3",
		OwnerEmail: "owner@example.com", Egress: egress.Policy{Loopback: true}, Push: notify.Settings{Off: true}, Outbox: true,
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	surfaces = [2]http.Handler{s.API, s.Authenticator}
	t.Cleanup(func() {
		s.EndWaiting()
		for _, door := range doors {
			door.CloseClientConnections()
			door.Close()
		}
		if err := s.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s, api, device
}

// TestTwoNodes: the phone's stream and its answers are at one node, the application asks and waits at the other. Each side
// hears of the other's at once, and every decision is called back once.
func TestTwoNodes(t *testing.T) {
	const rounds = 10
	database := postgrestest.Database(t, store.Migrate)
	var calls sync.Map // uuid → *atomic.Int64
	called := make(chan string, 10*rounds)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body struct {
			UUID string `json:"uuid"`
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		n, _ := calls.LoadOrStore(body.UUID, &atomic.Int64{})
		n.(*atomic.Int64).Add(1)
		called <- body.UUID
	}))
	t.Cleanup(receiver.Close)
	a, _, device := startNode(t, database, "")
	_, api, _ := startNode(t, database, device)

	app, err := a.Tenants.CreateApplication(t.Context(), a.Account.ID, "Bank", tenant.DropIn(), "operator:test")
	if err == nil {
		err = a.Tenants.SetCallback(t.Context(), a.Account.ID, app.ID, receiver.URL, "operator:test")
	}
	if err != nil {
		t.Fatal(err)
	}
	key, err := a.Tenants.APIKey(t.Context(), app.ID)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(client.Config{BaseURL: api, APIKey: key, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	ana, err := c.AddUser(t.Context(), client.NewUser{Email: "ana@example.com", CountryCode: "1", Phone: "2025550123"})
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := c.CreateEnrollmentTicket(t.Context(), ana)
	if err != nil {
		t.Fatal(err)
	}
	phone, hand := newTerminal(t, device), newTerminal(t, device)
	for _, p := range []*terminal.Terminal{phone, hand} { // two devices: one watches, one answers
		if _, err := p.RedeemTicket(t.Context(), ticket.Words, "phone"); err != nil {
			t.Fatal(err)
		}
		if ticket, err = c.CreateEnrollmentTicket(t.Context(), ana); err != nil {
			t.Fatal(err)
		}
	}
	seen := make(chan string, rounds)
	watching, stop := context.WithCancel(t.Context())
	var watcher sync.WaitGroup
	watcher.Go(func() {
		err := phone.Watch(watching, func(a terminal.Approval) { seen <- a.UUID }, func(err error) { t.Error("the stream broke:", err) })
		if err != nil {
			t.Error(err)
		}
	})
	defer watcher.Wait()
	defer stop()

	var shown, told []time.Duration
	for range rounds {
		began := time.Now()
		asked, err := c.CreateApproval(t.Context(), ana, client.ApprovalRequest{Message: "Log in?"})
		if err != nil {
			t.Fatal(err)
		}
		waited := make(chan error, 1)
		go func() {
			got, err := c.WaitApproval(t.Context(), asked.UUID, time.Minute)
			if err == nil && got.Status != client.StatusApproved {
				err = fmt.Errorf("told that it is %s", got.Status)
			}
			waited <- err
		}()
		if uuid := <-seen; uuid != asked.UUID {
			t.Fatalf("the phone shows %s, want %s", uuid, asked.UUID)
		}
		shown = append(shown, time.Since(began))
		request, err := hand.Approval(t.Context(), asked.UUID)
		if err != nil {
			t.Fatal(err)
		}
		began = time.Now()
		if _, _, err := hand.Answer(t.Context(), request, "approve", ""); err != nil {
			t.Fatal(err)
		}
		if err := <-waited; err != nil {
			t.Error(err)
		}
		told = append(told, time.Since(began))
	}
	slices.Sort(shown)
	slices.Sort(told)
	t.Logf("measured: at the other node the phone shows a request after %v, the application hears of the decision after %v (medians of %d)",
		shown[rounds/2], told[rounds/2], rounds)
	if shown[0] > 100*time.Millisecond || told[0] > 100*time.Millisecond { // a slow machine is not what is tested
		t.Errorf("the quickest took %v and %v", shown[0], told[0])
	}
	for range rounds {
		<-called
	}
	n := 0
	calls.Range(func(uuid, times any) bool {
		n++
		if times := times.(*atomic.Int64).Load(); times != 1 {
			t.Errorf("%s was called back %d times", uuid, times)
		}
		return true
	})
	if n != rounds {
		t.Errorf("%d of %d decisions were called back", n, rounds)
	}
}

func newTerminal(t *testing.T, authenticator string) *terminal.Terminal {
	t.Helper()
	p, err := terminal.New(terminal.Config{StateFile: filepath.Join(t.TempDir(), "device.json"), Authenticator: authenticator})
	if err != nil {
		t.Fatal(err)
	}
	return p
}
