// This file tests that clients' time-outs are never met: authy-client waits five seconds (contract section 1.6).

package authyapi

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

// A gateway that hangs slows nobody: codes leave by jobs, and however many of those hang, whoever asks for a code is answered at once, as is
// everybody else.
func TestAGatewayThatHangs(t *testing.T) {
	s := newSite(t, roomy, func(set *tenant.Settings) { set.CustomCodes = true })
	began := make(chan struct{}, 1000)
	runner := job.NewRunner(s.Store, map[job.Kind]job.Handler{job.Message: func(ctx context.Context, _ job.Job) error {
		began <- struct{}{}
		<-ctx.Done() // as long as the runner lets it
		return ctx.Err()
	}}, s.Clock.Now, slog.New(slog.DiscardHandler))
	runner.Start()
	s.Codes.Offer = runner.Offer
	phone := s.Phone(t, s.app, s.ana)
	t.Cleanup(func() {
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		runner.Stop(ended)
	})

	longest := time.Duration(0)
	ask := func(method, target string) answer {
		start := time.Now()
		a := s.ask(method, target, formType, "")
		longest = max(longest, time.Since(start))
		return a
	}
	for i := range 40 { // more than run at once
		s.Clock.Advance(10 * time.Minute)
		id := s.User(t, s.app, "u@example.com", fmt.Sprintf("202-555-01%02d", i)).AuthyID
		for _, a := range []answer{
			ask("GET", fmt.Sprintf("/protected/json/sms/%d?force=true", id)),
			ask("GET", fmt.Sprintf("/protected/json/call/%d?force=true", id)),
			ask("POST", fmt.Sprintf("/protected/json/email/%d?force=true", id)),
			ask("POST", fmt.Sprintf("/protected/json/phones/verification/start?country_code=1&phone_number=20255502%02d", i)),
		} {
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
	}
	<-began // it does hang
	s.Clock.Advance(time.Minute)
	for _, target := range []string{
		fmt.Sprintf("/protected/json/verify/%s/%d", s.appCode(phone), s.ana.AuthyID), fmt.Sprintf("/protected/json/users/%d/status", s.ana.AuthyID), "/protected/json/app/stats",
	} {
		if a := ask("GET", target); a.status != 200 {
			t.Errorf("%s: %d %s", target, a.status, a.body)
		}
	}
	if longest > 4*time.Second {
		t.Errorf("the slowest answer took %v", longest)
	}
	t.Logf("measured: slowest of 163 answers beside a gateway that hangs %v", longest)
}
