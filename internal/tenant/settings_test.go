package tenant_test

import (
	"testing"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

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
