// This file owns the test double of the server: it answers what the contract prints, and keeps what it was asked.

package client

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

const testKey = "0123456789abcdefghijklmnopqrstuv"

// asked is one request as the server saw it.
type asked struct {
	Method, URI, Body, Key, Idempotency, ContentType, UserAgent string
}

// answering starts a server that gives one answer to everything, and returns a client of it and the requests it gets.
func answering(t *testing.T, status int, body string) (*Client, *[]asked) {
	t.Helper()
	var requests []asked
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if len(r.TransferEncoding) != 0 || r.Method == http.MethodGet && r.ContentLength != 0 {
			t.Errorf("%s %s: length %d, encoding %v", r.Method, r.URL.Path, r.ContentLength, r.TransferEncoding)
		}
		requests = append(requests, asked{
			Method: r.Method, URI: r.RequestURI, Body: string(sent), Key: r.Header.Get("X-Authy-API-Key"),
			Idempotency: r.Header.Get("Idempotency-Key"), ContentType: r.Header.Get("Content-Type"), UserAgent: r.UserAgent(),
		})
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	c, err := New(Config{BaseURL: server.URL + "/", APIKey: testKey, HTTPClient: server.Client(), Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c, &requests
}

// wantAsked checks the one request that a server got. Key and UserAgent are checked here, the rest against want.
func wantAsked(t *testing.T, got []asked, want asked) {
	t.Helper()
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	if got[0].Key != testKey || got[0].UserAgent != "countersign-go" {
		t.Errorf("key %q, user agent %q", got[0].Key, got[0].UserAgent)
	}
	got[0].Key, got[0].UserAgent = "", ""
	if got[0] != want {
		t.Errorf("\n got %+v\nwant %+v", got[0], want)
	}
}
