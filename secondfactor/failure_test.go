// This file owns the tests of failures: the provider is down, the store breaks.

package secondfactor_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"countersign.dev/secondfactor"
)

// FA1: a provider that is down at log-in lets nobody in, soon says so, and is asked again on request.
func TestFA1_ProviderDownAtLogin(t *testing.T) { bubble(t, providerDownAtLogin) }

func providerDownAtLogin(t *testing.T, a *app) {
	b := a.browser()
	a.provider.SetDown(true)
	start := time.Now()
	b.post("/login", "user", "ana", "next", "/account")
	if took := time.Since(start); took > 5*time.Second || took == 0 {
		t.Errorf("took %s", took)
	}
	page := b.get("/login/verify").body
	if b.state() != "choosing" || !strings.Contains(page, "could not reach the approval service") || !strings.Contains(page, "Try again") {
		t.Errorf("state %s", b.state())
	}
	if b.complete(); b.anybody() {
		t.Error("let in")
	}
	a.provider.SetDown(false)
	b.post("/login/verify/push")
	a.provider.Approve(a.provider.Last(t).UUID)
	b.get("/login/verify")
	if b.complete(); !b.signedIn("ana") {
		t.Error("not signed in after the provider came back")
	}
}

// A provider that refuses to ask was reached: the page says that, and offers what is left.
func TestFA1_ProviderRefusesToAsk(t *testing.T) {
	for code, says := range map[string]string{"60065": "cannot be asked", "60026": "cannot be asked", "60080": "cannot be asked", "60000": "could not reach"} {
		a := newApp(t)
		a.provider.Refuse("create", code)
		b := a.browser()
		b.post("/login", "user", "ana")
		page := b.get("/login/verify").body
		if !strings.Contains(page, says) || !strings.Contains(page, `name="token"`) {
			t.Errorf("%s: the page does not say %q, or takes no code", code, says)
		}
		if told := code != "60000"; told != (b.state() == "code_pending") {
			t.Errorf("%s: state %s", code, b.state())
		}
	}
}

// FA2: a provider that goes away between approval and completion lets nobody in; the approval can be completed when it is back.
func TestFA2_ProviderDownAtCompletion(t *testing.T) { bubble(t, providerDownAtCompletion) }

func providerDownAtCompletion(t *testing.T, a *app) {
	b := a.browser()
	approval := b.login("ana")
	a.provider.Approve(approval.UUID)
	a.callback(approval.UUID, "approved", approval.AuthyID, "", nil)
	a.provider.SetDown(true)
	if got := b.complete(); got.location != "/login/verify" || b.anybody() {
		t.Fatalf("answered %d %s", got.code, got.location)
	}
	if page := b.get("/login/verify").body; !strings.Contains(page, "Press Continue") || !strings.Contains(page, "data-hold") {
		t.Error("the page does not say so, or would try for ever")
	}
	a.provider.SetDown(false)
	if b.complete(); !b.signedIn("ana") {
		t.Error("not signed in")
	}
}

// brokenStore fails every call of one kind.
type brokenStore struct {
	secondfactor.Store
	broken string
	wrote  func(secondfactor.RecoveryCodes) // is told of every write of recovery codes
	listed func()                           // is told of every list of sessions, before anybody acts on it
}

var errStore = errors.New("disk I/O error: secret path")

func (s *brokenStore) AttemptOf(ctx context.Context, b string) (secondfactor.Attempt, error) {
	if s.broken == "read" {
		return secondfactor.Attempt{}, errStore
	}
	return s.Store.AttemptOf(ctx, b)
}

func (s *brokenStore) UpdateAttempt(ctx context.Context, a secondfactor.Attempt) error {
	if s.broken == "update" {
		return errStore
	}
	return s.Store.UpdateAttempt(ctx, a)
}

func (s *brokenStore) SessionsOf(ctx context.Context, user string) ([]secondfactor.Session, error) {
	if s.broken == "sessions" {
		return nil, errStore
	}
	list, err := s.Store.SessionsOf(ctx, user)
	if s.listed != nil {
		s.listed()
	}
	return list, err
}

func (s *brokenStore) PutRecovery(ctx context.Context, c secondfactor.RecoveryCodes) error {
	err := s.Store.PutRecovery(ctx, c)
	if s.wrote != nil {
		s.wrote(c)
	}
	return err
}

func (s *brokenStore) Consume(ctx context.Context, a secondfactor.Attempt, old string, n secondfactor.Session) error {
	if s.broken == "consume" {
		return errStore
	}
	return s.Store.Consume(ctx, a, old, n)
}

func (s *brokenStore) Session(ctx context.Context, hash string) (secondfactor.Session, error) {
	if s.broken == "session" {
		return secondfactor.Session{}, errStore
	}
	return s.Store.Session(ctx, hash)
}

// FA3, INV-7: a store that fails lets nobody in and tells strangers nothing.
func TestFA3_StoreFails(t *testing.T) {
	for _, broken := range []string{"read", "update", "consume", "session"} {
		t.Run(broken, func(t *testing.T) {
			store := &brokenStore{Store: secondfactor.NewMemoryStore()}
			a := newApp(t, func(c *secondfactor.Config) { c.Store = store })
			b := a.browser()
			approval := b.login("ana")
			store.broken = broken
			if broken == "consume" {
				a.callback(approval.UUID, "approved", approval.AuthyID, "", nil)
			}
			if broken == "session" {
				b.cookies["countersign_login"] = "something"
			}
			a.provider.Approve(approval.UUID)
			got := map[string]func() answer{
				"read": func() answer { return b.get("/login/verify") }, "update": func() answer { return b.get("/login/verify") },
				"consume": b.complete, "session": func() answer { return b.get("/account") },
			}[broken]()
			if got.code != 500 || strings.Contains(got.body, "secret path") || !strings.Contains(got.body, "Reference") {
				t.Errorf("answered %d: %s", got.code, got.body)
			}
			if b.complete(); broken != "session" && b.anybody() {
				t.Error("let in")
			}
		})
	}
}
