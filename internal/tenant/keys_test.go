package tenant_test

import (
	"fmt"
	"strings"
	"testing"

	"countersign.dev/internal/servertest"
)

func TestAPIKeys(t *testing.T) {
	s := servertest.New(t)
	seen := map[string]bool{}
	letters := map[rune]bool{}
	for i := range 20 {
		app := s.App(t, fmt.Sprint("App ", i))
		key := s.Key(t, app)
		if len(key) != 32 || strings.IndexFunc(key, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) >= 0 || seen[key] {
			t.Errorf("key %q, want 32 new alphanumeric characters", key)
		}
		seen[key] = true
		for _, r := range key {
			letters[r] = true
		}
		shown, err := s.Tenants.RevealKey(t.Context(), app, "operator:x")
		if err != nil || shown != key {
			t.Errorf("shown %q, %v", shown, err)
		}
		list, err := s.Store.Audit(t.Context(), app.ID, 10)
		if err != nil || len(list) != 2 || list[0].Action != "api_key.shown" && list[1].Action != "api_key.shown" {
			t.Errorf("audit %+v, %v", list, err)
		}
		for _, r := range list {
			if strings.Contains(fmt.Sprint(r), key) {
				t.Error("the key stands in the audit record (INV-8)")
			}
		}
	}
	if len(letters) < 60 { // of 62, in 640 draws
		t.Errorf("only %d different characters in 20 keys", len(letters))
	}
}
