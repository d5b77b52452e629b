package deviceapi_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"countersign.dev/internal/reset"
	"countersign.dev/internal/tenant"
)

// This file owns the tests of resets as devices see and stop them.

// seenReset is a reset as the device gets it.
type seenReset struct {
	Grant       int64  `json:"grant"`
	Application string `json:"application"`
	Account     string `json:"account"`
	AskedAt     int64  `json:"asked_at"`
	DueAt       int64  `json:"due_at"`
}

func (p *phone) resets(t *testing.T) []seenReset {
	t.Helper()
	var in struct{ Resets []seenReset }
	p.do(t, "GET", "grants", nil).into(t, 200, &in)
	return in.Resets
}

func (b *bench) ask(t *testing.T, app tenant.Application, u tenant.User) reset.Reset {
	t.Helper()
	r, err := b.Resets.Ask(t.Context(), app, u)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A device hears of each reset of a person it acts for, of nobody else's, and of none that has ended.
func TestDeviceSeesResets(t *testing.T) {
	b := newBench(t)
	bob := b.User(t, b.shop, "bob@example.com", "202-555-0124")
	p, other := b.enrolled(t, b.shop, b.ana), b.enrolled(t, b.shop, bob)
	var raw map[string]json.RawMessage
	p.do(t, "GET", "grants", nil).into(t, 200, &raw)
	if string(raw["resets"]) != "[]" {
		t.Errorf("without a reset: %s", raw["resets"])
	}
	asked := b.ask(t, b.shop, b.ana)
	want := seenReset{p.grants[0].ID, "Shop", "ana@example.com", asked.AskedAt.Unix(), 0}
	if got := p.resets(t); !slices.Equal(got, []seenReset{want}) {
		t.Errorf("asked: %+v, want %+v", got, want)
	}
	if _, err := b.Resets.Allow(t.Context(), b.shop, b.ana, "came by", "operator:o"); err != nil {
		t.Fatal(err)
	}
	want.DueAt = b.Clock.Now().Add(reset.Wait).Unix()
	if got := p.resets(t); !slices.Equal(got, []seenReset{want}) {
		t.Errorf("allowed: %+v, want %+v", got, want)
	}
	if got := other.resets(t); len(got) != 0 {
		t.Errorf("somebody else's phone sees %+v", got)
	}
	b.send(t, "GET", "/device/v1/grants", nil, "").want(t, 401, "not-signed-in")
	if err := b.Resets.Refuse(t.Context(), b.shop, b.ana, "operator:o"); err != nil {
		t.Fatal(err)
	}
	if got := p.resets(t); len(got) != 0 {
		t.Errorf("refused: %+v", got)
	}
}

// T-21: whoever holds a device of the person ends a reset, once; no other device does, and one that was removed no more.
func TestT21_DeviceStopsReset(t *testing.T) {
	b := newBench(t)
	bob := b.User(t, b.shop, "bob@example.com", "202-555-0124")
	p, other := b.enrolled(t, b.shop, b.ana), b.enrolled(t, b.shop, bob)
	stop := "grants/" + id(p.grants[0]) + "/reset"
	p.do(t, "DELETE", stop, nil).want(t, 404, reset.ErrNone.Code)
	b.ask(t, b.shop, b.ana)
	b.ask(t, b.shop, bob)
	other.do(t, "DELETE", stop, nil).want(t, 404, reset.ErrNone.Code)
	b.send(t, "DELETE", "/device/v1/"+stop, nil, "").want(t, 401, "not-signed-in")
	for _, wrong := range []string{"x", "0", "-1", "99999999999999999999", id(p.grants[0]) + "0"} {
		if r := p.do(t, "DELETE", "grants/"+wrong+"/reset", nil); r.StatusCode != 404 {
			t.Errorf("grant %s: %d", wrong, r.StatusCode)
		}
	}
	if got := p.resets(t); len(got) != 1 {
		t.Fatalf("a stranger stopped it: %+v", got)
	}
	if r := p.do(t, "DELETE", stop, nil); r.StatusCode != 204 || len(r.body) != 0 {
		t.Errorf("stopped: %d %s", r.StatusCode, r.body)
	}
	if mine, his := p.resets(t), other.resets(t); len(mine) != 0 || len(his) != 1 {
		t.Errorf("afterwards: %+v and %+v", mine, his)
	}
	p.do(t, "DELETE", stop, nil).want(t, 404, reset.ErrNone.Code)
	if _, err := b.Resets.Finish(t.Context(), b.shop, b.ana); err == nil || !strings.Contains(err.Error(), reset.ErrNone.Detail) {
		t.Errorf("finished after it was stopped: %v", err)
	}

	b.ask(t, b.shop, b.ana) // once more, and the device was removed meanwhile
	p.do(t, "DELETE", "grants/"+id(p.grants[0]), nil)
	if r := p.do(t, "DELETE", stop, nil); r.StatusCode == 204 {
		t.Error("a removed device stopped it")
	}
	if _, err := b.Store.ResetOf(t.Context(), b.ana.ID, b.Clock.Now()); err != nil {
		t.Errorf("it is over: %v", err)
	}
}
