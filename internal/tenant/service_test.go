package tenant_test

import (
	"errors"
	"fmt"
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

func TestAPIKeys(t *testing.T) {
	s := servertest.New(t)
	seen := map[string]bool{}
	letters := map[rune]bool{}
	for i := range 20 {
		app := s.App(t, fmt.Sprint("App ", i))
		key := s.Key(t, app)
		if len(key) != 32 || strings.IndexFunc(key, func(r rune) bool {
			return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) >= 0 || seen[key] {
			t.Errorf("key %q, want 32 new alphanumeric characters", key)
		}
		seen[key] = true
		for _, r := range key {
			letters[r] = true
		}
		shown, err := s.Tenants.RevealKey(t.Context(), app, "operator:x")
		if err != nil || shown != key {
			t.Errorf("shown %q, %v", shown, err)
		}
		list, err := s.Store.Audit(t.Context(), app.ID, 10)
		if err != nil || len(list) != 2 || list[0].Action != "api_key.shown" && list[1].Action != "api_key.shown" {
			t.Errorf("audit %+v, %v", list, err)
		}
		for _, r := range list {
			if strings.Contains(fmt.Sprint(r), key) {
				t.Error("the key stands in the audit record (INV-8)")
			}
		}
	}
	if len(letters) < 60 { // of 62, in 640 draws
		t.Errorf("only %d different characters in 20 keys", len(letters))
	}
}

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

func TestSetMatch(t *testing.T) {
	s := servertest.New(t)
	app := s.App(t, "Bank")
	for _, row := range []struct {
		mode   tenant.MatchMode
		digits int
		ok     bool
	}{
		{tenant.MatchType, 2, true},
		{tenant.MatchType, 6, true},
		{tenant.MatchOff, 3, true},
		{tenant.MatchType, 1, false},
		{tenant.MatchType, 7, false},
		{"scan", 3, false},
		{"", 3, false},
		{tenant.MatchOff, 0, false},
	} {
		before, err := s.Store.Application(t.Context(), s.Account.ID, app.ID)
		if err != nil {
			t.Fatal(err)
		}
		err = s.Tenants.SetMatch(t.Context(), before, row.mode, row.digits, "operator:x")
		if row.ok != (err == nil) || err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("%q with %d digits: %v", row.mode, row.digits, err)
		}
		want := before.Settings
		if row.ok {
			want.Match, want.MatchDigits = row.mode, row.digits
		}
		after, err := s.Store.Application(t.Context(), s.Account.ID, app.ID)
		if err != nil || after.Settings != want {
			t.Errorf("settings %+v, %v, want %+v", after.Settings, err, want)
		}
	}
}

// Design section 9, line by line.
func TestDefaults(t *testing.T) {
	fresh, dropIn := tenant.NewIntegration(), tenant.DropIn()
	for what, got := range map[string][2]any{
		"life":            {fresh.ApprovalLife, tenant.Seconds(120)},
		"longest life":    {fresh.ApprovalLifeMax, tenant.Seconds(600)},
		"waiting":         {fresh.WaitingMax, 3},
		"in 5 minutes":    {fresh.UnapprovedBurst, 3},
		"in an hour":      {fresh.UnapprovedHour, 10},
		"digits":          {fresh.CodeDigits, 6},
		"period":          {fresh.CodePeriod, tenant.Seconds(30)},
		"skew":            {fresh.CodeSkew, 1},
		"sent digits":     {fresh.SentDigits, 6},
		"match digits":    {fresh.MatchDigits, 3},
		"old life":        {dropIn.ApprovalLife, tenant.Seconds(86400)},
		"old longest":     {dropIn.ApprovalLifeMax, tenant.Seconds(0)},
		"old waiting":     {dropIn.WaitingMax, 20},
		"old burst":       {dropIn.UnapprovedBurst, 0},
		"old hour":        {dropIn.UnapprovedHour, 60},
		"old digits":      {dropIn.CodeDigits, 7},
		"old period":      {dropIn.CodePeriod, tenant.Seconds(10)},
		"old skew":        {dropIn.CodeSkew, 3},
		"old sent digits": {dropIn.SentDigits, 7},
		"old match":       {dropIn.Match, tenant.MatchOff},
	} {
		if got[0] != got[1] {
			t.Errorf("%s: %v, want %v", what, got[0], got[1])
		}
	}
}
