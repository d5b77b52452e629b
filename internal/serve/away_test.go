//go:build unix

package serve

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/settings"
	"countersign.dev/internal/store"
)

// awayWithin is how long a caller may wait to be told that the database is away.
const awayWithin = 5 * time.Second

// TestDatabaseAway: while PostgreSQL is gone each surface says so at once, in its own shape, with 503 and when to come back, and
// to many at once. The process says that it is alive and not ready, stays, and serves as before when PostgreSQL is back.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	server := postgrestest.Start(t)
	if err := store.Migrate(t.Context(), server.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	s := basic(t)
	s.Database = settings.Database("postgres:///postgres?user=countersign&host=" + server.Dir())
	s.StrangerRate, s.StrangerBurst = 1000, 1000
	r := start(t, s, time.Now)

	session := func(name string) http.Header { return http.Header{"Cookie": {name + "=" + strings.Repeat("a", 43)}} }
	calls := []struct {
		what, method, listener, path string
		header                       http.Header
		usual                        int // status when the database is there
		shape                        string
	}{
		{"API", "GET", "api", "/protected/json/app/details", http.Header{"X-Authy-Api-Key": {strings.Repeat("k", 32)}}, 401, `"error_code":"60000"`},
		{"authenticator, read", "GET", "authenticator", "/device/v1/approvals", session("countersign_device"), 401, `"type":"/problems/database-away"`},
		{"authenticator, stream", "GET", "authenticator", "/device/v1/events", session("countersign_device"), 401, `"type":"/problems/database-away"`},
		{"console", "GET", "console", "/", session("countersign_console"), 200, "cannot reach its database right now"},
	}
	hosts := map[string]string{"api": "localhost:1", "authenticator": "localhost:2", "console": "localhost:3"}
	ask := func(i int) (*http.Response, string) {
		c := calls[i]
		header := http.Header{"Host": {hosts[c.listener]}, "Origin": {"http://" + hosts[c.listener]}}
		for name, values := range c.header {
			header[name] = values
		}
		return r.ask(c.method, c.listener, "127.0.0.1", c.path, header)
	}
	for i, c := range calls {
		if answer, body := ask(i); answer.StatusCode != c.usual {
			t.Fatalf("%s: %s %s", c.what, answer.Status, body)
		}
	}
	server.Kill(t)
	for i := range calls { // its processes live on for a moment, each with a connection
		for answer, _ := ask(i); answer.StatusCode == calls[i].usual; answer, _ = ask(i) {
		}
	}
	var all sync.WaitGroup
	for range 20 { // more than there are connections
		for i, c := range calls {
			all.Go(func() {
				began := time.Now()
				answer, body := ask(i)
				after, err := strconv.Atoi(answer.Header.Get("Retry-After"))
				if answer.StatusCode != http.StatusServiceUnavailable || err != nil || after < 1 || !strings.Contains(body, c.shape) {
					t.Errorf("%s: %s, Retry-After %q, %s", c.what, answer.Status, answer.Header.Get("Retry-After"), body)
				}
				if took := time.Since(began); took > awayWithin {
					t.Errorf("%s: told after %v", c.what, took)
				}
			})
		}
	}
	all.Wait()
	if answer, _ := r.ask("GET", "ops", "127.0.0.1", "/healthz", nil); answer.StatusCode != http.StatusOK {
		t.Errorf("not alive: %s", answer.Status)
	}
	if answer, body := r.ask("GET", "ops", "127.0.0.1", "/readyz", nil); answer.StatusCode != 503 || !strings.Contains(body, `"database":"does not answer"`) {
		t.Errorf("readiness: %s %s", answer.Status, body)
	}
	server.Restart(t)
	for i, c := range calls {
		if answer, body := ask(i); answer.StatusCode != c.usual {
			t.Errorf("%s, when it is back: %s %s", c.what, answer.Status, body)
		}
	}
	if answer, body := r.ask("GET", "ops", "127.0.0.1", "/readyz", nil); answer.StatusCode != http.StatusOK {
		t.Errorf("readiness when it is back: %s %s", cmp.Or(body, answer.Status), body)
	}
}
