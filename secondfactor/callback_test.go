// This file owns the tests of the callback: what is refused, what is ignored, and that it is only a hint.

package secondfactor_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

func TestD15_Callbacks(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*http.Request)
		code int
	}{
		{"no signature", func(r *http.Request) { r.Header.Del("X-Authy-Signature") }, 401},
		{"no nonce", func(r *http.Request) { r.Header.Del("X-Authy-Signature-Nonce") }, 401},
		{"wrong signature", func(r *http.Request) { r.Header.Set("X-Authy-Signature", "AAAA"+r.Header.Get("X-Authy-Signature")[4:]) }, 401},
		{"other body", func(r *http.Request) { r.Body = http.NoBody }, 400},
		{"other method", func(r *http.Request) { r.Method = "PUT" }, 405},
		{"too large", func(r *http.Request) { r.ContentLength = 1 << 20 }, 413},
		{"other host in the headers", func(r *http.Request) { r.Host = "evil.test"; r.Header.Set("X-Forwarded-Host", "evil.test") }, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			approval := b.login("ana")
			if code := a.callback(approval.UUID, "approved", approval.AuthyID, "", c.edit); code != c.code {
				t.Errorf("answered %d, want %d", code, c.code)
			}
			if approved := b.state() == "approved"; approved != (c.code == 200) {
				t.Errorf("state %s", b.state())
			}
		})
	}
	t.Run("nonce too old", func(t *testing.T) {
		a := newApp(t)
		approval := a.browser().login("ana")
		if code := a.callback(approval.UUID, "approved", approval.AuthyID, "1700000000.1", nil); code != 401 {
			t.Errorf("answered %d", code)
		}
	})
	t.Run("replayed and late", func(t *testing.T) {
		a := newApp(t)
		b := a.browser()
		approval := b.login("ana")
		a.provider.Deny(approval.UUID)
		nonce := fmt.Sprintf("%d.1", a.clock().Unix())
		for range 2 {
			if code := a.callback(approval.UUID, "denied", approval.AuthyID, nonce, nil); code != 200 {
				t.Errorf("answered %d", code)
			}
		}
		if code := a.callback(approval.UUID, "approved", approval.AuthyID, nonce+"2", nil); code != 200 || b.state() != "denied" {
			t.Errorf("late decision: %d, state %s", code, b.state())
		}
	})
	t.Run("other user, unknown request", func(t *testing.T) {
		a := newApp(t)
		b := a.browser()
		approval := b.login("ana")
		if code := a.callback(approval.UUID, "approved", a.people["bob"].AuthyID, "", nil); code != 200 || b.state() != "push_pending" {
			t.Errorf("other user: %d, %s", code, b.state())
		}
		if code := a.callback("00000000-0000-4000-8000-000000000000", "approved", approval.AuthyID, "", nil); code != 200 {
			t.Errorf("unknown request: %d", code)
		}
	})
}

// T-15: whoever has the API key can sign a callback; what it says is still asked.
func TestT15_CallbackIsOnlyAHint(t *testing.T) {
	for _, truth := range []string{"pending", "denied", "expired"} {
		t.Run(truth, func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			approval := b.login("ana")
			switch truth {
			case "denied":
				a.provider.Deny(approval.UUID)
			case "expired":
				a.provider.Expire(approval.UUID)
			}
			a.callback(approval.UUID, "approved", approval.AuthyID, "", nil)
			if b.state() != "approved" {
				t.Fatalf("state %s", b.state())
			}
			if got := b.complete(); got.location != "/login/verify" || b.anybody() {
				t.Errorf("signed in although the provider says %s", truth)
			}
			if page := b.get("/login/verify"); b.state() != "denied" || !strings.Contains(page.body, "cannot be accepted") {
				t.Errorf("state %s", b.state())
			}
		})
	}
}
