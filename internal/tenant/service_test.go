package tenant_test

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/live"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// The texts of contract section 2.1, in every combination that a client can cause.
func TestAddUserInvalid(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	const blank, invalid, unsupported = "is invalid and can't be blank", "is invalid", "is not supported"
	for _, row := range []struct {
		user tenant.NewUser
		want map[string]string
	}{
		{tenant.NewUser{}, map[string]string{"email": blank, "cellphone": invalid}},
		{tenant.NewUser{Email: "  ", CountryCode: "1", Phone: "2025550123"}, map[string]string{"email": blank}},
		{tenant.NewUser{Email: "ana", CountryCode: "1", Phone: "2025550123"}, map[string]string{"email": invalid}},
		{tenant.NewUser{Email: "a@b.c", CountryCode: "1", Phone: "x"}, map[string]string{"cellphone": invalid}},
		{tenant.NewUser{Email: "a@b.c", CountryCode: "999", Phone: "2025550123"}, map[string]string{"country_code": unsupported, "cellphone": invalid}},
		{tenant.NewUser{Email: "a@b.c", CountryCode: "01", Phone: "2025550123"}, map[string]string{"country_code": unsupported}},
		{tenant.NewUser{Email: "a@b.c", CountryCode: "one", Phone: "2025550123"}, map[string]string{"country_code": unsupported, "cellphone": invalid}},
		{tenant.NewUser{Email: "a@b.c", CountryCode: "１", Phone: "2025550123"}, map[string]string{"country_code": unsupported, "cellphone": invalid}},
		{tenant.NewUser{Email: "a@b.c", CountryCode: "-1", Phone: "2025550123"}, map[string]string{"country_code": unsupported, "cellphone": invalid}},
		{tenant.NewUser{Email: "a@b.c", CountryCode: "++1", Phone: "2025550123"}, map[string]string{"country_code": unsupported, "cellphone": invalid}},
		{tenant.NewUser{Email: "a@b.c", CountryCode: "+", Phone: "2025550123"}, map[string]string{"country_code": unsupported, "cellphone": invalid}},
	} {
		u, err := s.Tenants.AddUser(t.Context(), app, row.user)
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || !errors.Is(err, tenant.ErrUserInvalid) || !maps.Equal(e.Fields, row.want) || u.ID != "" {
			t.Errorf("%+v: got %+v, %v, want the fields %v", row.user, u, err, row.want)
		}
	}
	if len(tenant.ErrUserInvalid.Fields) > 0 {
		t.Error("one caller's fields stay in the package's error")
	}
}

func TestAddUserDefaults(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	for _, code := range []string{"", " ", "1", "+1", " +1 "} {
		u, err := s.Tenants.AddUser(t.Context(), app, tenant.NewUser{Email: "a@b.c", CountryCode: code, Phone: "2025550123"})
		if err != nil || u.CountryCode != 1 || u.Phone != "+12025550123" {
			t.Errorf("country code %q: %+v, %v", code, u, err)
		}
		if u.AuthyID < 1_000_000 || u.AuthyID >= 1<<31 {
			t.Errorf("authy_id %d", u.AuthyID)
		}
	}
}

func TestRemoveUserWakes(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	phone := s.Phone(t, app, ana)
	asked := s.Ask(t, app, ana, "Log in?")
	for _, topic := range []live.Topic{live.UserTopic(ana.ID), live.DeviceTopic(phone.Device.ID), live.ApprovalTopic(asked.UUID)} {
		sub := s.Live.Subscribe(topic)
		defer sub.Close()
		defer func() {
			if len(sub.Take()) != 1 {
				t.Errorf("who waits for %s is not woken", topic)
			}
		}()
	}
	if err := s.Tenants.RemoveUser(t.Context(), app, ana.AuthyID); err != nil {
		t.Error(err)
	}
}

func TestApplicationNames(t *testing.T) {
	s := servertest.New(t)
	for in, want := range map[string]string{
		"Bank":                  "Bank",
		"  My \t own\n bank ":   "My own bank",
		strings.Repeat("ж", 30): strings.Repeat("ж", 30),
		strings.Repeat("ж", 31): "",
		"":                      "",
		" \n ":                  "",
		"Bank\xff":              "",
	} {
		app, err := s.Tenants.CreateApplication(t.Context(), s.Account.ID, in, tenant.DropIn(), "operator:x")
		if app.Name != want && err == nil || errors.Is(err, tenant.ErrName) != (want == "") {
			t.Errorf("name %q: %q, %v, want %q", in, app.Name, err, want)
		}
	}
}
