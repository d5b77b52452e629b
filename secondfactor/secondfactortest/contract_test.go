package secondfactortest_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/internal/authyapi"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/servertest"
	"countersign.dev/secondfactor/secondfactortest"
)

// This file asks the provider in memory and the real one, over its store, the same, so that the one in memory keeps to what applications meet.

// provider is either of them, with one user.
type provider struct {
	api       *client.Client
	id        int64
	allow     func(due bool)
	later     func() // time passes
	addDevice func() (grant int64)
	texted    func() (code string)
}

func inMemory(t *testing.T) provider {
	p := secondfactortest.New()
	id := p.AddUser("ana@example.com", "1", "202-555-0123")
	return provider{
		api: p.Client(t), id: id,
		allow: func(due bool) {
			at := time.Now().Add(-time.Second)
			if !due {
				at = time.Now().Add(time.Hour)
			}
			p.AllowReset(id, at)
		},
		later:     func() {},
		addDevice: func() int64 { return p.AddDevice(id).Grant },
		texted:    func() string { code, _ := p.Sent(id); return code },
	}
}

// served answers requests in the same process.
type served struct{ http.Handler }

func (s served) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

func overStore(t *testing.T) provider {
	s := servertest.New(t)
	app := s.App(t, "Owlgate")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	surface := &authyapi.API{
		URL: "http://provider.test", Webhooks: s.Webhooks, Tenants: s.Tenants, Devices: s.Devices, Resets: s.Resets, Codes: s.Codes,
		Approvals: s.Approvals, Reports: s.Reports, Now: s.Clock.Now, Log: slog.New(slog.DiscardHandler),
	}
	api, err := client.New(client.Config{
		BaseURL: "http://provider.test", APIKey: s.Key(t, app), HTTPClient: &http.Client{Transport: served{surface.Handler()}}, Retries: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	return provider{
		api: api, id: ana.AuthyID,
		allow: func(due bool) {
			if _, err := s.Resets.Allow(t.Context(), app, ana, "came by", "operator:o"); err != nil {
				t.Fatal(err)
			}
			if due {
				s.Clock.Advance(reset.Wait)
			}
		},
		later:     func() { s.Clock.Advance(time.Second) },
		addDevice: func() int64 { return s.NewPhone(t).Enroll(t, app, ana).ID },
		texted:    func() string { return s.Delivered(t, "+12025550123").Code },
	}
}

// A reset can be finished once it is due, and again while nothing was proved since: the first answer may have been lost.
func TestResets(t *testing.T) {
	finished := func(p provider) error {
		p.allow(true)
		_, err := p.api.FinishReset(t.Context(), p.id)
		p.later()
		return err
	}
	text := func(p provider) error {
		_, err := p.api.SendSMS(t.Context(), p.id, client.CodeMessage{Force: true})
		return err
	}
	for _, row := range []struct {
		name string
		do   func(p provider) error // before it is finished
		want error
	}{
		{"nobody asked", func(provider) error { return nil }, client.ErrNoReset},
		{"asked", func(p provider) error { _, err := p.api.AskReset(t.Context(), p.id); return err }, client.ErrResetNotDue},
		{"allowed", func(p provider) error { p.allow(false); return nil }, client.ErrResetNotDue},
		{"stopped", func(p provider) error { p.allow(true); return p.api.StopReset(t.Context(), p.id) }, client.ErrNoReset},
		{"due", func(p provider) error { p.allow(true); return nil }, nil},
		{"finished", finished, nil},
		{"finished twice", func(p provider) error {
			err := finished(p)
			_, again := p.api.FinishReset(t.Context(), p.id)
			return errors.Join(err, again)
		}, nil},
		{"finished and asked anew", func(p provider) error {
			err := finished(p)
			_, anew := p.api.AskReset(t.Context(), p.id)
			return errors.Join(err, anew)
		}, client.ErrResetNotDue},
		{"a ticket was made", func(p provider) error {
			err := finished(p)
			_, more := p.api.CreateEnrollmentTicket(t.Context(), p.id)
			return errors.Join(err, more)
		}, nil},
		{"a device was added", func(p provider) error { err := finished(p); p.addDevice(); return err }, client.ErrNoReset},
		{"a device was added and removed", func(p provider) error {
			return errors.Join(finished(p), p.api.RemoveDevice(t.Context(), p.addDevice()))
		}, client.ErrNoReset},
		{"a text was sent", func(p provider) error { return errors.Join(finished(p), text(p)) }, nil},
		{"a wrong code came back", func(p provider) error {
			err := errors.Join(finished(p), text(p))
			if _, wrong := p.api.VerifyCode(t.Context(), p.id, "0000000", client.CodeOptions{}); wrong == nil {
				t.Error("a wrong code was right")
			}
			return err
		}, nil},
		{"a text came back", func(p provider) error {
			err := errors.Join(finished(p), text(p))
			verified, right := p.api.VerifyCode(t.Context(), p.id, p.texted(), client.CodeOptions{})
			if verified != (client.VerifiedCode{Sent: true}) {
				t.Errorf("the code of a text is from %+v", verified)
			}
			return errors.Join(err, right)
		}, client.ErrNoReset},
	} {
		for side, start := range map[string]func(*testing.T) provider{"in memory": inMemory, "over its store": overStore} {
			p := start(t)
			if err := row.do(p); err != nil {
				t.Errorf("%s, %s: %v", row.name, side, err)
			}
			ticket, err := p.api.FinishReset(t.Context(), p.id)
			if !errors.Is(err, row.want) || err == nil && ticket.Words == "" {
				t.Errorf("%s, %s: %+v, %v, want %v", row.name, side, ticket, err, row.want)
			}
		}
	}
}
