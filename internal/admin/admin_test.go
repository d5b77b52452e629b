package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/internal/transfer"
)

func newAdmin(t testing.TB) *Admin {
	s := servertest.New(t)
	operators := operator.New(operator.Config{Store: s.Store, Ring: s.Ring, Now: s.Clock.Now, AccountID: s.Account.ID, URL: "http://localhost:8303"})
	return &Admin{Tenants: s.Tenants, Operators: operators, Push: s.Push, Account: s.Account, Users: &transfer.Service{Store: s.Store, Ring: s.Ring, Now: s.Clock.Now}}
}

// The socket is for its owner alone, comes back after a kill, and answers what the process itself would.
func TestSocket(t *testing.T) {
	a, dir := newAdmin(t), t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, folder, file), nil, 0o600); err != nil { // what a killed process leaves behind
		t.Fatal(err)
	}
	socket, err := Serve(dir, a, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, folder))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v %v", info.Mode(), err)
	}
	client, err := Dial(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var made Application
	if err := client.Do(t.Context(), Request{Act: "app.create", Name: "Bank"}, &made); err != nil || made.APIKey == "" {
		t.Errorf("%+v, %v", made, err)
	}
	var same Application
	if err := Local(a).Do(t.Context(), Request{Act: "app.show", App: "Bank"}, &same); err != nil || same.ID != made.ID {
		t.Errorf("%+v, %v", same, err)
	}
	err = client.Do(t.Context(), Request{Act: "app.show", App: "x"}, &same)
	if !errors.Is(err, tenant.ErrApplication) || fault.KindOf(err) != fault.NotFound {
		t.Errorf("a refusal arrives as %v", err)
	}
	if err := client.Do(t.Context(), Request{Act: "x"}, &same); !errors.Is(err, errAct) {
		t.Error(err)
	}
	if err := client.Do(t.Context(), Request{Act: "app.create", Name: strings.Repeat("x", maxRequest)}, &same); err == nil {
		t.Error("a request without an end was read")
	}
	socket.Stop(t.Context())
	if _, err := Dial(t.Context(), dir); err == nil {
		t.Error("it answers after it stopped")
	}
}

// Names are for people: two applications of one name must be told apart by id.
func TestAmbiguousName(t *testing.T) {
	a := newAdmin(t)
	var one, two Application
	for _, made := range []*Application{&one, &two} {
		if err := Local(a).Do(t.Context(), Request{Act: "app.create", Name: "Bank"}, made); err != nil {
			t.Fatal(err)
		}
	}
	if err := Local(a).Do(t.Context(), Request{Act: "app.show", App: "Bank"}, &one); !errors.Is(err, errNames) {
		t.Error(err)
	}
	if err := Local(a).Do(t.Context(), Request{Act: "app.show", App: two.ID}, &one); err != nil || one.ID != two.ID {
		t.Errorf("%+v, %v", one, err)
	}
}

// FuzzRequest feeds the socket: whatever comes is answered in form, and only requests of ours do anything.
func FuzzRequest(f *testing.F) {
	a := newAdmin(f)
	f.Add([]byte(`{"act":"app.list"}`))
	f.Add([]byte(`{"act":"app.show","app":"x","reveal":true}`))
	f.Add([]byte(`{"act":"users.import","app":"x","rows":[{"authy_id":1,"country_code":1,"phone":"+12025550123"}]}`))
	f.Add([]byte(`{"act":"app.create","name":"","drop_in":true,"extra":1}`))
	f.Fuzz(func(t *testing.T, request []byte) {
		text, err := a.answer(context.Background(), request)
		if err != nil {
			t.Fatal(err)
		}
		var got answer
		if json.Unmarshal(text, &got) != nil {
			t.Errorf("answered %q", text)
		}
	})
}
