package deviceapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/client/token"
	"countersign.dev/internal/device"
	"countersign.dev/internal/tenant"
)

// registration is a token of an application's for somebody, changed by change.
func (b *bench) registration(t *testing.T, app tenant.Application, key, name string, change func(claims, about map[string]any)) string {
	t.Helper()
	now := b.Clock.Now().Unix()
	about := map[string]any{"custom_user_id": name, "authy_app_id": app.Serial}
	claims := map[string]any{"iss": app.Name, "iat": now, "exp": now + 600, "context": about}
	if change != nil {
		change(claims, about)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return token.Sign(key, text)
}

// A token leads to a ticket as often as it is opened, until it made a device.
func TestRegisterByToken(t *testing.T) {
	b := newBench(t)
	key := b.Key(t, b.shop)
	open := func(signed string) string {
		t.Helper()
		r := b.send(t, "GET", "/register?token="+signed, nil, "")
		words, ok := strings.CutPrefix(r.Header.Get("Location"), "/enroll#")
		if r.StatusCode != 303 || !ok || r.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("%d %v", r.StatusCode, r.Header)
		}
		return words
	}
	signed := b.registration(t, b.shop, key, "emp-1", nil)
	first := open(signed)
	words := open(signed) // a preview opened it first
	if info, err := b.Devices.LookTicket(t.Context(), first); err == nil {
		t.Errorf("the first ticket lives: %+v", info)
	}
	b.NewPhone(t).EnrollBy(t, words)
	b.send(t, "GET", "/register?token="+signed, nil, "").want(t, 410, "ticket-invalid")

	r := b.request(t, "GET", "/register?token="+signed, nil, "")
	r.Header.Set("Accept", "text/html,*/*")
	res, err := b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 303 || res.Header.Get("Location") != "/enroll#used" {
		t.Errorf("people are led to %d %s", res.StatusCode, res.Header.Get("Location"))
	}
	b.Clock.Advance(time.Second)
	newer := b.registration(t, b.shop, key, "emp-1", nil)
	b.Clock.Advance(time.Second)
	newest := b.registration(t, b.shop, key, "emp-1", func(_, about map[string]any) { about["authy_app_id"] = b.shop.ID })
	open(newest)
	b.send(t, "GET", "/register?token="+newer, nil, "").want(t, 410, "ticket-invalid")
	found, err := b.Devices.Registration(t.Context(), b.shop, "emp-1")
	if err != nil || !found.Completed {
		t.Errorf("%+v %v", found, err)
	}
}

// Nothing but a token that the application signed, for itself and for now, is worth anything; and what is wrong with it tells a stranger nothing (INV-9).
func TestRegisterRefuses(t *testing.T) {
	b := newBench(t)
	key := b.Key(t, b.shop)
	bank := b.App(t, "Bank")
	for name, row := range map[string]struct {
		token string
		code  string
	}{
		"no token":                  {"", device.ErrToken.Code},
		"no JWT":                    {"a.b.c", device.ErrToken.Code},
		"another application's key": {b.registration(t, b.shop, b.Key(t, bank), "emp-1", nil), device.ErrToken.Code},
		"another application":       {b.registration(t, bank, key, "emp-1", nil), device.ErrToken.Code},
		"no such application":       {b.registration(t, b.shop, key, "emp-1", func(_, about map[string]any) { about["authy_app_id"] = 1 }), device.ErrToken.Code},
		"no application":            {b.registration(t, b.shop, key, "emp-1", func(_, about map[string]any) { delete(about, "authy_app_id") }), device.ErrToken.Code},
		"nobody":                    {b.registration(t, b.shop, key, "", nil), device.ErrToken.Code},
		"a long name":               {b.registration(t, b.shop, key, strings.Repeat("x", 256), nil), device.ErrToken.Code},
		"a list for a name":         {b.registration(t, b.shop, key, "", func(_, about map[string]any) { about["custom_user_id"] = []int{1} }), device.ErrToken.Code},
		"no end":                    {b.registration(t, b.shop, key, "emp-1", func(claims, _ map[string]any) { delete(claims, "exp") }), device.ErrTokenExpired.Code},
		"ended":                     {b.registration(t, b.shop, key, "emp-1", func(claims, _ map[string]any) { claims["exp"] = b.Clock.Now().Unix() }), device.ErrTokenExpired.Code},
		"ends in a week":            {b.registration(t, b.shop, key, "emp-1", func(claims, _ map[string]any) { claims["exp"] = b.Clock.Now().Add(7 * 24 * time.Hour).Unix() }), device.ErrToken.Code},
		"of tomorrow":               {b.registration(t, b.shop, key, "emp-1", func(claims, _ map[string]any) { claims["iat"] = b.Clock.Now().Add(time.Hour).Unix() }), device.ErrToken.Code},
	} {
		r := b.send(t, "GET", "/register?token="+row.token, nil, "")
		status := 400
		if row.code == device.ErrTokenExpired.Code {
			status = 410
		}
		if r.StatusCode != status || r.problem() != row.code {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.problem())
		}
	}
	if users, err := b.Store.ListedUsers(t.Context(), b.shop.ID, 10); err != nil || len(users) != 1 {
		t.Errorf("there are %d users, %v", len(users), err)
	}
	if rotating, err := b.Tenants.AddKey(t.Context(), b.shop, "operator:test"); err != nil {
		t.Fatal(err)
	} else if r := b.send(t, "GET", "/register?token="+b.registration(t, b.shop, rotating, "emp-1", nil), nil, ""); r.StatusCode != 303 {
		t.Errorf("the second key of a rotation: %d %s", r.StatusCode, fmt.Sprint(r.problem()))
	}
}
