package store_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"countersign.dev/internal/authyapi"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
)

// TestAPollIsOneRead: old integrations ask every second or two, so beside the look at the key a poll of a pending approval costs one
// read, found by its index, and no write, however many approvals there are.
func TestAPollIsOneRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "countersign.db")
	db, err := store.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := servertest.On(t, db)
	app := s.App(t, "Bank")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	s.Phone(t, app, ana)
	asked := s.Ask(t, app, ana, "Log in?")
	api := (&authyapi.API{Tenants: s.Tenants, Devices: s.Devices, Resets: s.Resets, Codes: s.Codes, Approvals: s.Approvals, Now: s.Clock.Now, Log: slog.New(slog.DiscardHandler)}).Handler()
	key := s.Key(t, app)

	var reads []string
	db.Watch(func(text string) { reads = append(reads, text) })
	before, err := db.Rows(t.Context(), "audit")
	if err != nil {
		t.Fatal(err)
	}
	const polls = 10
	reads = nil
	for range polls {
		r := httptest.NewRequest("GET", "/onetouch/json/approval_requests/"+asked.UUID, nil)
		r.Header.Set("X-Authy-API-Key", key)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"status":"pending"`) {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
	}
	if len(reads) != 2*polls {
		t.Errorf("%d polls cost %d reads, want the key and the row each:\n%s", polls, len(reads), strings.Join(reads, "\n"))
	}
	after, err := db.Rows(t.Context(), "audit")
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("polls wrote records, %v", err)
	}
	plain, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	for _, text := range reads[:2] {
		for _, step := range plan(t, plain, statement{sql: text, position: "poll"}) {
			if !strings.HasPrefix(step, "SEARCH") {
				t.Errorf("a poll is not found by an index: %s\n%s", step, text)
			}
		}
	}
}
