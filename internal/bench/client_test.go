package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// A client keeps its connections, opens another when the server closed one, reads answers of any length, and tells what went wrong in few words.
func TestClient(t *testing.T) {
	var mu sync.Mutex
	connections := map[string]bool{} // guarded by mu
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		connections[r.RemoteAddr] = true
		mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/closes":
			w.Header().Set("Connection", "close")
		case "/refuses":
			http.Error(w, `{"error_code":"60004"}`, http.StatusBadRequest)
			return
		case "/breaks":
			panic(http.ErrAbortHandler)
		case "/hangs":
			<-r.Context().Done()
		}
		io.WriteString(w, r.Method+" "+r.Host+r.URL.String()+" "+r.Header.Get("X-Mine")+" "+string(body)+strings.Repeat(".", 10_000)) // in chunks
	}))
	defer server.Close()
	c := newClient(map[string]string{"api": strings.TrimPrefix(server.URL, "http://")})
	defer c.close()
	ask := func(path, body string) (string, error) {
		raw, err := c.ask(t.Context(), http.MethodPost, "http://api.localhost:8301"+path, http.Header{"X-Mine": {"yes"}}, body)
		return strings.TrimRight(string(raw), "."), err
	}
	for _, row := range []struct {
		path, body, want, failure string
		connections               int
	}{
		{"/a?b=c", "body", "POST api.localhost:8301/a?b=c yes body", "", 1},
		{"/", "", "POST api.localhost:8301/ yes ", "", 1},
		{"/refuses", "", `{"error_code":"60004"}` + "\n", "answered 400 60004", 1},
		{"/closes", "", "POST api.localhost:8301/closes yes ", "", 1},
		{"/a", "", "POST api.localhost:8301/a yes ", "", 2},
		{"/breaks", "", "", "the connection broke", 2},
		{"/a", "", "POST api.localhost:8301/a yes ", "", 3},
	} {
		got, err := ask(row.path, row.body)
		mu.Lock()
		connected := len(connections)
		mu.Unlock()
		failure := ""
		if err != nil {
			failure = err.Error()
		}
		if got != row.want || failure != row.failure || connected != row.connections {
			t.Errorf("%s: %q, %q over %d connections, want %q, %q over %d", row.path, got, failure, connected, row.want, row.failure, row.connections)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.ask(ctx, http.MethodGet, server.URL+"/hangs", nil, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("an answer that does not come: %v", err)
	}
}

// Each caller gets the answer to its own request, whoever else gives back and takes connections meanwhile.
func TestClientOfMany(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path)
	}))
	t.Cleanup(server.Close)
	c := newClient(nil)
	t.Cleanup(c.close)
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for n := range 200 {
				path := fmt.Sprintf("/%d/%d", i, n)
				if raw, err := c.ask(t.Context(), http.MethodGet, server.URL+path, nil, ""); err != nil || string(raw) != path {
					errs[i] = fmt.Errorf("%s: answered %q, %v", path, raw, err)
					return
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
