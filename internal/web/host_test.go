package web

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestHost(t *testing.T) {
	public, err := url.Parse("http://localhost:8302")
	if err != nil {
		t.Fatal(err)
	}
	h := ToPublic(public)(Host(public.Host)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "in") })))
	for _, c := range []struct {
		method, host, target, accept string
		status                       int
		location                     string
	}{
		{"GET", "localhost:8302", "/codes", "text/html", 200, ""},
		{"GET", "LOCALHOST:8302", "/codes", "text/html", 200, ""},
		{"GET", "127.0.0.1:8302", "/approvals/1?a=b", "text/html,*/*", 307, "http://localhost:8302/approvals/1?a=b"},
		{"HEAD", "[::1]:8302", "/", "text/html", 307, "http://localhost:8302/"},
		{"GET", "localhost", "/", "text/html", 307, "http://localhost:8302/"},
		{"GET", "LOCALHOST:1", "/", "text/html", 307, "http://localhost:8302/"},
		{"GET", "localhost.:8302", "/", "text/html", 421, ""},
		{"GET", "127.0.0.1:8302", "//evil.example/%2e%2e/", "text/html", 307, "http://localhost:8302//evil.example/%2e%2e/"},
		{"GET", "127.0.0.1:8302", "/device/v1/grants", "*/*", 421, ""},
		{"POST", "127.0.0.1:8302", "/", "text/html", 421, ""},
		{"GET", "rebound.example:8302", "/", "text/html", 421, ""},
		{"GET", "127.0.0.1.evil.example", "/", "text/html", 421, ""},
		{"GET", "localhost.evil.example:8302", "/", "text/html", 421, ""},
		{"GET", "localhost:8303", "/", "*/*", 421, ""},
		{"GET", "", "/", "text/html", 421, ""},
	} {
		r := httptest.NewRequest(c.method, c.target, nil)
		r.Host = c.host
		if u, err := url.ParseRequestURI(c.target); err == nil { // as a server reads it: a path, whatever it begins with
			r.URL = u
		}
		r.Header.Set("Accept", c.accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.status || w.Header().Get("Location") != c.location {
			t.Errorf("%s %s%s: %d to %q", c.method, c.host, c.target, w.Code, w.Header().Get("Location"))
		}
		if c.status == 421 && !strings.Contains(w.Body.String(), "localhost:8302") {
			t.Errorf("%s: %s", c.host, w.Body)
		}
	}
}
