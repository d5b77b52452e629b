package approval

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/tenant"
)

func build(set tenant.Settings, req Request) (Approval, error) {
	app := tenant.Application{ID: "5833393871fc61111c76d84f", Serial: 42, Name: "Bank", Settings: set}
	u := tenant.User{ID: "u1", AppID: app.ID, AuthyID: 1635, Email: "ana@example.com"}
	return req.build(app, u, time.Unix(1_800_000_000, 0))
}

func seconds(n int64) *int64 { return &n }

func TestLife(t *testing.T) {
	fresh, dropIn := tenant.NewIntegration(), tenant.DropIn()
	for _, row := range []struct {
		set   tenant.Settings
		asked *int64
		want  int64 // -1: refused
	}{
		{fresh, nil, 120},
		{fresh, seconds(1), 1},
		{fresh, seconds(600), 600},
		{fresh, seconds(601), -1},
		{fresh, seconds(0), -1},
		{fresh, seconds(-1), -1},
		{dropIn, nil, 86400},
		{dropIn, seconds(0), 0},
		{dropIn, seconds(1), 1},
		{dropIn, seconds(315360000), 315360000},
		{dropIn, seconds(315360001), -1},
		{dropIn, seconds(-1), -1},
		{dropIn, seconds(1 << 62), -1},
		{dropIn, seconds(-1 << 63), -1},
	} {
		asked := any("none")
		if row.asked != nil {
			asked = *row.asked
		}
		a, err := build(row.set, Request{Message: "Log in?", Life: row.asked})
		if row.want < 0 {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("life of %v: %v, want it refused", asked, err)
			}
			continue
		}
		ends := time.Time{}
		if row.want > 0 {
			ends = a.CreatedAt.Add(time.Duration(row.want) * time.Second)
		}
		if err != nil || a.Life != row.want || !a.ExpiresAt.Equal(ends) {
			t.Errorf("life of %v: %d until %v, %v, want %d until %v", asked, a.Life, a.ExpiresAt, err, row.want, ends)
		}
	}
}

// T-11: a request may ask for more than the application's setting, never for less.
func TestT11MatchIsNeverLowered(t *testing.T) {
	for _, row := range []struct {
		set, asked, want tenant.MatchMode // want "" = refused
	}{
		{tenant.MatchOff, "", tenant.MatchOff},
		{tenant.MatchOff, tenant.MatchOff, tenant.MatchOff},
		{tenant.MatchOff, tenant.MatchType, tenant.MatchType},
		{tenant.MatchType, "", tenant.MatchType},
		{tenant.MatchType, tenant.MatchOff, tenant.MatchType},
		{tenant.MatchType, tenant.MatchType, tenant.MatchType},
		{tenant.MatchOff, "none", ""},
		{tenant.MatchType, "Type", ""},
	} {
		for digits := 2; digits <= 6; digits++ {
			set := tenant.NewIntegration()
			set.Match, set.MatchDigits = row.set, digits
			a, err := build(set, Request{Message: "Log in?", Match: row.asked})
			if row.want == "" {
				if !errors.Is(err, ErrInvalid) {
					t.Errorf("%q where the setting is %q: %v, want it refused", row.asked, row.set, err)
				}
				continue
			}
			want := 0
			if row.want == tenant.MatchType {
				want = digits
			}
			if err != nil || a.Match.Mode != row.want || len(a.Match.Value) != want || strings.Trim(a.Match.Value, "0123456789") != "" {
				t.Errorf("%q where the setting is %q: %+v, %v, want %q with %d digits", row.asked, row.set, a.Match, err, row.want, want)
			}
		}
	}
}

// Numbers and nonces are random: numbers cover all first digits, zero included, and no nonce comes twice.
func TestRandomness(t *testing.T) {
	set := tenant.NewIntegration()
	set.Match = tenant.MatchType
	first, nonces := map[byte]bool{}, map[string]bool{}
	for range 500 {
		a, err := build(set, Request{Message: "Log in?"})
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Nonce) != 22 || nonces[a.Nonce] {
			t.Fatalf("nonce %q", a.Nonce)
		}
		first[a.Match.Value[0]], nonces[a.Nonce] = true, true
	}
	if len(first) != 10 {
		t.Errorf("first digits %v", first)
	}
}

func TestContent(t *testing.T) {
	many := make([]receipt.Field, 65)
	long := strings.Repeat("ж", 200)
	for what, row := range map[string]struct {
		req     Request
		message string // "" = refused
	}{
		"plain":                         {Request{Message: "Log in?"}, "Log in?"},
		"nothing":                       {Request{}, ""},
		"nothing to see":                {Request{Message: " \n\u200b\u202e "}, ""},
		"cleaned":                       {Request{Message: "  Log\nin\u202e? \x00"}, "Log in?"},
		"200 characters":                {Request{Message: long}, long},
		"201 characters are cut":        {Request{Message: long + "x"}, long},
		"cut before a space":            {Request{Message: long[:len(long)-2] + " xyz"}, long[:len(long)-2]},
		"not UTF-8":                     {Request{Message: "Log\xffin"}, "Log\ufffdin"},
		"64 details":                    {Request{Message: "m", Details: many[:64]}, "m"},
		"65 details":                    {Request{Message: "m", Details: many}, ""},
		"65 hidden details":             {Request{Message: "m", Hidden: many}, ""},
		"a detail of 200 characters":    {Request{Message: "m", Details: []receipt.Field{{Name: long, Value: long}}}, "m"},
		"a detail's long name":          {Request{Message: "m", Details: []receipt.Field{{Name: long + "x"}}}, ""},
		"a detail's long value":         {Request{Message: "m", Details: []receipt.Field{{Value: long + "x"}}}, ""},
		"a hidden detail's long value":  {Request{Message: "m", Hidden: []receipt.Field{{Value: long + "x"}}}, ""},
		"an Idempotency-Key of 255":     {Request{Message: "m", IdempotencyKey: long[:254] + "x"}, "m"},
		"an Idempotency-Key of 256":     {Request{Message: "m", IdempotencyKey: long[:256]}, ""},
		"a detail with a line break":    {Request{Message: "m", Details: []receipt.Field{{Name: "a\nb", Value: "c"}}}, "m"},
		"a hidden detail is left alone": {Request{Message: "m", Hidden: []receipt.Field{{Name: "a\nb", Value: "\u202e"}}}, "m"},
	} {
		a, err := build(tenant.NewIntegration(), row.req)
		if row.message == "" {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v, want it refused", what, err)
			}
			continue
		}
		if err != nil || a.Content.Message != row.message || a.Content.Application != "Bank" || a.Status != Pending {
			t.Errorf("%s: %+v, %v", what, a.Content, err)
		}
		for _, f := range a.Content.Details {
			if strings.ContainsAny(f.Name+f.Value, "\n\u202e") {
				t.Errorf("%s: the detail %q is shown", what, f)
			}
		}
		if fmt.Sprintf("%q", a.Hidden) != fmt.Sprintf("%q", row.req.Hidden) {
			t.Errorf("%s: hidden details %q, want them as given", what, a.Hidden)
		}
	}
}

func TestLogos(t *testing.T) {
	logo := func(res, url string) Logo { return Logo{Res: res, URL: url} }
	const good = "https://bank.example/logo.png"
	for what, row := range map[string]struct {
		logos []Logo
		ok    bool
		shown string
	}{
		"none":              {nil, true, ""},
		"default":           {[]Logo{logo("default", good)}, true, good},
		"all":               {[]Logo{logo("low", "https://a.example/"), logo("med", "https://b.example/"), logo("high", "https://c.example/"), logo("default", good)}, true, good},
		"no default":        {[]Logo{logo("low", good)}, false, ""},
		"unknown res":       {[]Logo{logo("default", good), logo("tiny", good)}, false, ""},
		"relative":          {[]Logo{logo("default", "/logo.png")}, false, ""},
		"no host":           {[]Logo{logo("default", "https:///logo.png")}, false, ""},
		"data":              {[]Logo{logo("default", "data:image/png;base64,AAAA")}, false, ""},
		"javascript":        {[]Logo{logo("default", "javascript:alert(1)")}, false, ""},
		"500 bytes":         {[]Logo{logo("default", "https://a.example/"+strings.Repeat("a", 482))}, true, "https://a.example/" + strings.Repeat("a", 482)},
		"501 bytes":         {[]Logo{logo("default", "https://a.example/"+strings.Repeat("a", 483))}, false, ""},
		"eight":             {make8(logo("default", good)), true, good},
		"nine":              {append(make8(logo("default", good)), logo("low", good)), false, ""},
		"with a line break": {[]Logo{logo("default", "https://a.example/\n")}, false, ""},
	} {
		req := Request{Message: "m", Logos: row.logos}
		_, err := build(tenant.NewIntegration(), req)
		if row.ok && (err != nil || req.defaultLogo() != row.shown) || !row.ok && !errors.Is(err, ErrLogo) {
			t.Errorf("%s: shows %q, %v", what, req.defaultLogo(), err)
		}
	}
}

func make8(l Logo) (list []Logo) {
	for range 8 {
		list = append(list, l)
	}
	return list
}

// keeping is a store that keeps what was asked of it.
type keeping struct {
	Store
	asked Creation
	err   error
}

func (k *keeping) CreateApproval(_ context.Context, c Creation, _ audit.Record) (Approval, []job.Job, error) {
	k.asked = c
	if k.err != nil {
		return c.Approval, nil, k.err
	}
	return c.Approval, []job.Job{c.Push("d1")}, nil
}

// A refused creation wakes nobody, and one that was switched off does not even ask for the picture.
func TestCreate(t *testing.T) {
	k := &keeping{}
	fetched := ""
	var offered []job.Job
	s := &Service{
		Store: k, Live: live.NewHub(), Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
		Logo: func(_ context.Context, url string) string { fetched = url; return "digest" },
		NewPush: func(appID, uuid, deviceID string, now time.Time) job.Job {
			return job.New(job.Push, appID, uuid+" "+deviceID, now)
		},
		Offer: func(jobs ...job.Job) { offered = append(offered, jobs...) },
	}
	app := tenant.Application{ID: "a1", Name: "Bank", Settings: tenant.NewIntegration()}
	u := tenant.User{ID: "u1"}
	sub := s.Live.Subscribe(live.UserTopic("u1"))
	defer sub.Close()
	req := Request{Message: "Log in?", Logos: []Logo{{Res: "default", URL: "https://bank.example/logo.png"}}}

	off := app
	off.Settings.OneTouch = false
	if _, err := s.Create(t.Context(), off, u, req); !errors.Is(err, ErrOff) || fetched != "" {
		t.Errorf("switched off: %v, fetched %q", err, fetched)
	}
	k.err = ErrFlood
	if a, err := s.Create(t.Context(), app, u, req); !errors.Is(err, ErrFlood) || a.UUID != "" {
		t.Errorf("refused: %+v, %v", a, err)
	}
	if len(sub.Take()) > 0 || len(offered) > 0 {
		t.Error("a refused request woke somebody")
	}
	k.err = nil
	a, err := s.Create(t.Context(), app, u, req)
	if err != nil || a.Content.Logo != "digest" || fetched != req.Logos[0].URL || k.asked.Settings != app.Settings || k.asked.IdempotencyHash != "" {
		t.Errorf("created: %+v, %v", a, err)
	}
	if len(offered) != 1 || offered[0].Ref != a.UUID+" d1" || !offered[0].CreatedAt.Equal(a.CreatedAt) {
		t.Errorf("pushes %+v", offered)
	}
	if len(sub.Take()) != 1 {
		t.Error("the user's devices were not woken")
	}

	// The application's logo is inherited by a request that brings none, and by no other (contract section 12).
	app.Settings.Logo = "https://bank.example/inherited.png"
	if _, err := s.Create(t.Context(), app, u, req); err != nil || fetched != req.Logos[0].URL {
		t.Errorf("fetched %s, %v", fetched, err)
	}
	if _, err := s.Create(t.Context(), app, u, Request{Message: "Log in?"}); err != nil || fetched != app.Settings.Logo {
		t.Errorf("fetched %s, %v", fetched, err)
	}
	if kept := k.asked.Approval; len(kept.Logos) != 1 || kept.Logos[0] != (Logo{Res: "default", URL: app.Settings.Logo}) || kept.Content.Logo != "digest" {
		t.Errorf("inherited %+v", kept)
	}
}

// An application verifies a receipt with the context as it sent it (T-17): what the server makes of it is what [receipt.Content.Clean] does.
func TestContextAsSent(t *testing.T) {
	long := strings.Repeat("Mozilla/5.0 ", 30)
	for sent, kept := range map[receipt.Context]receipt.Context{
		{Address: "::ffff:192.0.2.1"}:                           {Address: "192.0.2.1"},
		{Address: "2001:DB8:0::7"}:                              {Address: "2001:db8::7"},
		{Address: " fe80::1%eth0 "}:                             {Address: "fe80::1"},
		{Browser: long}:                                         {Browser: strings.TrimSpace(long[:200])},
		{Browser: strings.Repeat("ä", 201)}:                     {Browser: strings.Repeat("ä", 200)},
		{Browser: "a\nb\u202e", Origin: "https://bank.example"}: {Browser: "a b", Origin: "https://bank.example"},
	} {
		a, err := build(tenant.NewIntegration(), Request{Message: "Log in?", Context: sent})
		if err != nil || a.Content.Context != kept {
			t.Errorf("%+v is kept as %+v, %v", sent, a.Content.Context, err)
		}
		asked := receipt.Content{Application: "Bank", Message: "Log in?", Context: sent}
		if asked.Clean().Digest() != a.Content.Digest() {
			t.Errorf("%+v: the application that asked would take the approval for one of something else", sent)
		}
	}
}
