package doctor

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/job"
	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// gate is a gateway that is in the state of err, and whose clock shows at.
type gate struct {
	err error
	at  time.Time
}

func (gate) Name() string                               { return "smpp" }
func (g gate) Check(context.Context) (time.Time, error) { return g.at, g.err }
func (f Finding) about(check, text string) bool {
	return f.Check == check && strings.Contains(f.Says, text)
}

// TestExamine breaks one part after the other, and wants each found by its own sentence.
func TestExamine(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	site := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(site.Close)
	ill := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(ill.Close)
	private := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(private, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	public := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(public, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	well := Config{
		DB: s.Store, Master: s.Master, Private: map[string]string{"master key": private}, URLs: map[string]string{"api": site.URL},
		Gateways: []Gateway{gate{at: s.Clock.Now()}}, Client: site.Client(), Now: s.Clock.Now,
	}
	found := Examine(t.Context(), well)
	if Worst(found) != OK {
		t.Errorf("a well installation: %+v", found)
	}
	if len(found) < 8 {
		t.Errorf("only %d checks", len(found))
	}
	for name, row := range map[string]struct {
		change func(*Config)
		level  Level
		check  string
		says   string
	}{
		"another master key":    {func(c *Config) { c.Master = seal.NewMaster() }, Fail, "keys", "master key"},
		"a former master key":   {func(c *Config) { c.Master, c.Former = seal.NewMaster(), [][]byte{s.Master} }, Warn, "keys", "rotate-master"},
		"everybody's file":      {func(c *Config) { c.Private = map[string]string{"master key": public} }, Fail, "files", "chmod o-rwx " + public},
		"no file":               {func(c *Config) { c.Private = map[string]string{"master key": private + "x"} }, Fail, "files", "not there"},
		"nobody at the address": {func(c *Config) { c.URLs = map[string]string{"console": "http://127.0.0.1:1"} }, Fail, "console-url", "cannot be reached"},
		"a bad certificate":     {func(c *Config) { c.Client = &http.Client{} }, Fail, "api-url", "certificate"},
		"a certificate's end":   {func(c *Config) { c.Now = func() time.Time { return site.Certificate().NotAfter.Add(-48 * time.Hour) } }, Warn, "api-url", "ends in 2 days"},
		"a sick proxy":          {func(c *Config) { c.URLs = map[string]string{"api": ill.URL} }, Fail, "api-url", "502"},
		"a gateway":             {func(c *Config) { c.Gateways = []Gateway{gate{err: errors.New("bind refused")}} }, Fail, "gateway", "bind refused"},
		"a slow clock":          {func(c *Config) { c.Gateways = []Gateway{gate{at: s.Clock.Now().Add(time.Hour)}} }, Warn, "clock", "1h0m0s away from that of smpp"},
		"a fast clock":          {func(c *Config) { c.Gateways = []Gateway{gate{at: s.Clock.Now().Add(-4 * time.Second)}} }, Warn, "clock", "4s away from that of smpp"},
	} {
		c := well
		row.change(&c)
		found := Examine(t.Context(), c)
		ok := false
		for _, f := range found {
			ok = ok || f.Level == row.level && f.about(row.check, row.says)
		}
		if !ok || Worst(found) != row.level {
			t.Errorf("%s: %+v", name, found)
		}
	}

	// A message that nobody sends.
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	if _, err := s.Devices.NewTicket(t.Context(), app, ana); err != nil {
		t.Fatal(err)
	}
	phone := s.Phone(t, app, ana)
	s.Subscribed(t, phone, "https://fcm.googleapis.com/1")
	if err := s.Tenants.SetCallback(t.Context(), s.Account.ID, app.ID, "https://example.com/callback", "operator:test"); err != nil {
		t.Fatal(err)
	}
	s.Ask(t, app, ana, "Log in")
	for _, row := range []struct {
		after time.Duration
		level Level
	}{{0, OK}, {job.Lease + 2*time.Minute, Warn}, {20 * time.Minute, Fail}} {
		s.Clock.Advance(row.after)
		found := Examine(t.Context(), well)
		if Worst(found) != row.level {
			t.Errorf("%s later: %+v, want %s", row.after, found, row.level)
		}
	}
}

// Strikes of a callback, and its end, are told with what to do.
func TestStruckCallbacks(t *testing.T) {
	s := servertest.New(t)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }))
	t.Cleanup(receiver.Close)
	app := s.App(t, "Bank")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	phone := s.Phone(t, app, ana)
	if err := s.Tenants.SetCallback(t.Context(), s.Account.ID, app.ID, receiver.URL, "operator:test"); err != nil {
		t.Fatal(err)
	}
	worker := &callback.Worker{
		Store: s.Store, Client: receiver.Client(), Key: s.Tenants.OpenKey, Secrets: s.Tenants.OpenWebhookKeys, Mail: s.Messages.CallbackDisabledJob, Offer: s.Jobs.Offer,
		Body: func(tenant.Application, approval.Approval) ([]byte, error) { return []byte("{}"), nil }, Now: s.Clock.Now, Log: slog.New(slog.DiscardHandler),
	}
	for strikes, says := range []string{"None is disabled or has strikes", `callback of "Bank" has 1 of 3 strikes`, "2 of 3 strikes", "was disabled at 2026-05-04T10:"} {
		level := OK
		if strikes > 0 {
			level = Warn
			s.Clock.Advance(time.Second)
			if _, err := phone.Answer(t, s.Ask(t, app, ana, "Log in").UUID, approval.Approve, ""); err != nil {
				t.Fatal(err)
			}
			if err := worker.Deliver(t.Context(), s.Jobs.Offered(job.Callback)[strikes-1]); err != nil {
				t.Fatal(err)
			}
		}
		found := Examine(t.Context(), Config{DB: s.Store, Master: s.Master, Now: s.Clock.Now})
		if !slices.ContainsFunc(found, func(f Finding) bool { return f.Level == level && f.about("callbacks", says) }) || Worst(found) != level {
			t.Errorf("after %d strikes: %+v", strikes, found)
		}
	}
}

// What should have left long ago is told by the setting that says so, until it has left.
func TestRetentionLags(t *testing.T) {
	const day = 24 * time.Hour
	s := servertest.New(t)
	app := s.App(t, "Bank")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	phone := s.Phone(t, app, ana)
	if _, err := phone.Answer(t, s.Ask(t, app, ana, "Log in").UUID, approval.Deny, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Codes.Send(t.Context(), app, ana, otp.Request{Channel: otp.SMS, Force: true}); err != nil {
		t.Fatal(err)
	}
	s.Delivered(t, "+12025550123")
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	chainer := &audit.Chainer{Store: s.Store, Key: key, Holder: "test", Now: s.Clock.Now, Log: slog.New(slog.DiscardHandler)}
	if err := errors.Join(chainer.Link(t.Context()), chainer.Checkpoint(t.Context())); err != nil {
		t.Fatal(err)
	}
	lags := func(keep store.Retention) (settings []string) {
		t.Helper()
		found := Examine(t.Context(), Config{DB: s.Store, Master: s.Master, Now: s.Clock.Now, Retain: keep})
		for _, f := range found {
			if f.Check == "retention" && f.Level == Warn {
				setting, rest, _ := strings.Cut(f.Says, " ")
				if !strings.HasPrefix(rest, "lags 2 days behind: start serve") {
					t.Errorf("it says %q", f.Says)
				}
				settings = append(settings, setting)
			}
		}
		return settings
	}
	keep := store.Retention{Approvals: 7 * day, Codes: 7 * day, Messages: 7 * day, Activities: 7 * day, Audit: 7 * day}
	s.Clock.Advance(7*day + time.Hour)
	if got := lags(keep); got != nil {
		t.Errorf("within the day: %v", got)
	}
	s.Clock.Advance(2 * day)
	if got, want := lags(keep), []string{"retain-approvals", "retain-codes", "retain-messages", "retain-audit"}; !slices.Equal(got, want) {
		t.Errorf("after two days: %v, want %v", got, want)
	}
	if got := lags(store.Retention{}); got != nil {
		t.Errorf("what stays for ever lags: %v", got)
	}
	for n := int64(1); n > 0; {
		if n, err = s.Store.Forget(t.Context(), s.Clock.Now(), keep, 10); err != nil {
			t.Fatal(err)
		}
		more, err := chainer.Forget(t.Context(), s.Clock.Now().Add(-keep.Audit), 10)
		if n += more; err != nil {
			t.Fatal(err)
		}
	}
	if got := lags(keep); got != nil {
		t.Errorf("when it has left: %v", got)
	}
}

// Gateways are asked as they are in the settings: one that answers is well, and each that does not is named without its secret, with the reason.
func TestRealGateways(t *testing.T) {
	s := servertest.New(t)
	status := func(code int) string {
		site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", s.Clock.Now().Add(5*time.Minute).Format(http.TimeFormat))
			w.WriteHeader(code)
		}))
		t.Cleanup(site.Close)
		return strings.TrimPrefix(site.URL, "http://")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() { // a server that hangs up at once; an address that nobody listens at could soon be somebody else's
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	for _, row := range []struct {
		channel otp.Channel
		address string
		level   Level
		says    string
	}{
		{otp.SMS, "webhook+http://" + status(http.StatusOK) + "/s3cretpw?secret=" + secret, Warn, "takes messages"}, // its clock is five minutes ahead
		{otp.SMS, "webhook+http://" + status(http.StatusUnauthorized) + "/s3cretpw?secret=" + secret, Fail, "HTTP status 401 Unauthorized: are the credentials right?"},
		{otp.Email, "smtp://" + ln.Addr().String() + "?from=codes@example.com&tls=none", Fail, "takes no messages"},
	} {
		gateways, err := message.ParseGateways(row.channel, []string{row.address})
		if err != nil {
			t.Fatal(err)
		}
		found := Examine(t.Context(), Config{DB: s.Store, Master: s.Master, Gateways: []Gateway{gateways[0]}, Now: s.Clock.Now})
		ok := false
		for _, f := range found {
			ok = ok || f.about("gateway", gateways[0].Name()) && f.about("gateway", row.says)
			if strings.Contains(f.Says, "s3cretpw") || strings.Contains(f.Says, secret) {
				t.Errorf("INV-8: %+v", f)
			}
		}
		late := slices.ContainsFunc(found, func(f Finding) bool { return f.about("clock", "5m0s away from that of "+gateways[0].Name()) })
		if !ok || Worst(found) != row.level || late != (row.level == Warn) {
			t.Errorf("%s: %+v", gateways[0].Name(), found)
		}
	}
}
