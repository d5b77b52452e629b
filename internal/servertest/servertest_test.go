package servertest_test

import (
	"errors"
	"testing"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/job"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// The helper itself: one approval from end to end, and a message that arrives.
func TestServer(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank", func(set *tenant.Settings) { set.Match = tenant.MatchType })
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	if err := s.Tenants.SetCallback(t.Context(), s.Account.ID, app.ID, "https://bank.example/callback", "operator:test"); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Tenants.Authenticate(t.Context(), s.Key(t, app)); err != nil || got.ID != app.ID {
		t.Fatalf("the key belongs to %q, %v", got.ID, err)
	}
	phone := s.Phone(t, app, ana)
	asked := s.Ask(t, app, ana, "Log in?")
	got, err := phone.Answer(t, asked.UUID, approval.Approve, asked.Match.Value)
	if err != nil || got.Status != approval.Approved {
		t.Fatalf("answered %q, %v", got.Status, err)
	}
	if jobs := s.Jobs.Offered(job.Callback); len(jobs) != 1 || jobs[0].Ref != asked.UUID {
		t.Errorf("offered callbacks: %v", jobs)
	}
	if _, err := phone.Answer(t, asked.UUID, approval.Deny, ""); !errors.Is(err, approval.ErrNotPending) {
		t.Errorf("a second answer: %v", err)
	}
	if _, err := s.Devices.StartPhone(t.Context(), "+12025550123"); err != nil {
		t.Fatal(err)
	}
	if m := s.Delivered(t, "+12025550123"); len(m.Code) != 7 {
		t.Errorf("the message carries the code %q", m.Code)
	}
}
