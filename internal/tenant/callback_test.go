package tenant_test

import (
	"errors"
	"strings"
	"testing"

	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

func TestCallbackAddresses(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	for address, ok := range map[string]bool{
		"https://bank.example/callback":             true,
		" http://localhost:8080/cb?tenant=1 ":       true,
		"https://[2001:db8::1]:8443/":               true,
		"":                                          true, // off
		"https://bank.example/#part":                false,
		"https://user:password@bank.example/":       false,
		"https://user@bank.example/":                false,
		"ftp://bank.example/":                       false,
		"javascript:alert(1)":                       false,
		"//bank.example/":                           false,
		"/callback":                                 false,
		"https:///callback":                         false,
		"bank.example":                              false,
		"https://bank.example/\r\nX: y":             false,
		"https://" + strings.Repeat("a", 500) + "/": false,
	} {
		err := s.Tenants.SetCallback(t.Context(), s.Account.ID, app.ID, address, "operator:x")
		if ok != (err == nil) || !ok && !errors.Is(err, tenant.ErrCallbackURL) {
			t.Errorf("address %q: %v", address, err)
			continue
		}
		got, err := s.Store.Application(t.Context(), s.Account.ID, app.ID)
		if err != nil || ok && got.Callback.URL != strings.TrimSpace(address) {
			t.Errorf("address %q is kept as %q, %v", address, got.Callback.URL, err)
		}
	}
}
