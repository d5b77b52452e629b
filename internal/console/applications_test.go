package console

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

func TestCreateApplication(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	page := b.get(t, "/applications/new", 200)
	if !strings.Contains(page.body, `value="new" checked`) {
		t.Error("the settings for new integrations are not preselected")
	}
	made := b.follow(t, "/applications", "name", "  The   Shop ", "defaults", "drop-in")
	app := onlyApp(t, f)
	if app.Name != "The Shop" || app.Settings != tenant.DropIn() || app.AccountID != f.Account.ID {
		t.Errorf("made %+v", app)
	}
	mustSay(t, made, "The Shop is ready.", f.Key(t, app), app.ID, "http://localhost:8301", "1 day", "7 digits, 10 seconds")
	for _, form := range map[string][]string{
		"no name":    {"name", "", "defaults", "new"},
		"long name":  {"name", strings.Repeat("a", 31), "defaults", "new"},
		"only marks": {"name", "\u200b\u202e", "defaults", "new"},
	} {
		mustSay(t, b.post(t, "/applications", 422, form...), "1 to 30 characters")
	}
	b.post(t, "/applications", 400, "name", "Other", "defaults", "strange")
	b.post(t, "/applications", 400, "name", "Other", "defaults", "new", "account_id", "x")
	onlyApp(t, f)
	b.follow(t, "/applications", "name", "Second", "defaults", "new")
	apps, err := f.Store.Applications(t.Context(), f.Account.ID)
	if err != nil || len(apps) != 2 || apps[0].Name != "Second" || apps[0].Settings != tenant.NewIntegration() {
		t.Errorf("applications %+v, %v", apps, err)
	}
}

func onlyApp(t *testing.T, f *fixture) tenant.Application {
	t.Helper()
	apps, err := f.Store.Applications(t.Context(), f.Account.ID)
	if err != nil || len(apps) != 1 {
		t.Fatalf("applications %+v, %v; want one", apps, err)
	}
	return apps[0]
}

// The API key is on no page but the answer to showing it, and the page of an application made a moment ago.
func TestKeyIsShownOnlyWhenAsked(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	to := b.post(t, "/applications", http.StatusSeeOther, "name", "Shop", "defaults", "new", "countries", "US").Header.Get("Location")
	app := onlyApp(t, f)
	key := f.Key(t, app)
	has := func(a answer) bool { return strings.Contains(a.body, key) }
	if !has(b.get(t, to, 200)) {
		t.Error("the page of a new application lacks its key")
	}
	if refreshed := (&browser{f: f, cookies: b.cookies, remote: b.remote, header: http.Header{refreshHeader: {"1"}}}).get(t, to, 200); has(refreshed) {
		t.Error("a refresh carries the key")
	}
	uuid := f.furnish(t, app)
	for _, r := range f.console.routes() {
		if r.method == "GET" && r.path != "/outbox/events" && r.path != "/signin/dev" && has(b.send(t, "GET", at(r.path, app.ID, uuid), nil)) {
			t.Errorf("the key is on %s", r.path)
		}
	}
	shown := b.post(t, "/applications/"+app.ID+"/key", 200)
	if !has(shown) || shown.Header.Get("Cache-Control") != "no-store" {
		t.Error("showing it does not show it, or lets it be stored")
	}
	b.get(t, "/applications/"+app.ID+"/key", 404) // a link shows nothing
	f.Clock.Advance(newFor)
	if has(b.get(t, to, 200)) {
		t.Error("an application that is no longer new shows its key unasked")
	}
	records, err := f.Store.Audit(t.Context(), app.ID, 100)
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, rec := range records {
		if rec.Action == "api_key.shown" && strings.HasPrefix(rec.Actor, "operator:") {
			count++
		}
	}
	if count != 2 {
		t.Errorf("showing the key was recorded %d times, want 2", count)
	}
}

func TestShowingTheKeyNeedsAFreshProof(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	app := f.App(t, "Shop")
	key := f.Key(t, app)
	show := "/applications/" + app.ID + "/key"
	mustSay(t, p.post(t, show, 200), key)

	age := func() {
		t.Helper()
		for range 2 { // in use, so that the session lives and only the proof ages
			f.Clock.Advance(operator.ProofLife / 2)
			p.get(t, "/", 200)
		}
	}
	age()
	a := p.post(t, show, http.StatusForbidden)
	mustSay(t, a, "Confirm it is you", "Password", "Code")
	if strings.Contains(a.body, key) {
		t.Error("the key is on the page that asks for a proof")
	}
	spent := p.code()
	mustSay(t, p.post(t, show, http.StatusForbidden, "password", password, "code", "000000"), "That did not work")
	mustSay(t, p.post(t, show, http.StatusForbidden, "password", "wrong horse battery", "code", spent), "That did not work")
	before := p.cookies["countersign_console"].Value
	mustSay(t, p.post(t, show, 200, "password", password, "code", spent), key)
	if p.cookies["countersign_console"].Value == before {
		t.Error("a new proof gives no new session value")
	}
	old := f.browser()
	old.cookies["countersign_console"] = &http.Cookie{Name: "countersign_console", Value: before}
	old.get(t, "/", http.StatusSeeOther)
	mustSay(t, p.post(t, show, 200), key)

	age()
	if a := p.post(t, show, http.StatusForbidden, "password", password, "code", spent); strings.Contains(a.body, key) {
		t.Error("a code that was used shows the key")
	}
}

func TestDevProvesByItsLink(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	for range 2 {
		f.Clock.Advance(operator.ProofLife / 2)
		b.get(t, "/", 200)
	}
	a := b.post(t, "/applications/"+app.ID+"/key", http.StatusForbidden)
	mustSay(t, a, "link in the terminal")
	if strings.Contains(a.body, `name="password"`) {
		t.Error("the operator of dev is asked for a password")
	}
	b.get(t, strings.TrimPrefix(f.ops.EnableDev(), publicURL), http.StatusSeeOther)
	mustSay(t, b.post(t, "/applications/"+app.ID+"/key", 200), f.Key(t, app))
}

func TestCallbackStates(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	u := f.User(t, app, "bob@example.com", "202-555-0123")
	f.Phone(t, app, u)
	uuid := f.Ask(t, app, u, "Log in").UUID
	page := "/applications/" + app.ID
	mustSay(t, b.get(t, page, 200), "Callback Not set")

	saved := b.follow(t, page+"/callback", "url", " https://shop.example.com/hook ")
	mustSay(t, saved, "The callback address is saved.", "Callback Active")
	if !strings.Contains(saved.body, `value="https://shop.example.com/hook"`) {
		t.Error("the form forgets the address")
	}
	f.try(t, app.ID, uuid, 500, "")
	mustSay(t, b.get(t, page, 200), "Failing 1/3", "The last delivery was answered outside 2xx")
	f.try(t, app.ID, uuid, 500, "")
	mustSay(t, b.get(t, page, 200), "Failing 2/3", "The last 2 deliveries were")
	f.try(t, app.ID, uuid, 200, "")
	mustSay(t, b.get(t, page, 200), "Callback Active")
	for range tenant.StrikesToDisable {
		f.try(t, app.ID, uuid, 503, "")
	}
	disabled := b.get(t, page, 200)
	mustSay(t, disabled, "Callback Disabled", "Disabled since 4 May 2026, 10:00:00 UTC", "Service Unavailable", "enter its address below", "24 hours", "Save and enable")
	if !strings.Contains(disabled.body, `name="url" value=""`) {
		t.Error("the address of a disabled callback is not blank")
	}
	mustSay(t, b.get(t, "/", 200), "Shop "+app.ID+" Callback Disabled")
	f.Outbox(t, "")
	mustSay(t, b.get(t, "/outbox", 200), "Callback of Shop was disabled")
	mustSay(t, b.follow(t, page+"/callback", "url", "https://shop.example.com/hook"), "Callback Active")
	mustSay(t, b.follow(t, page+"/callback", "off", "yes"), "The callback is off.", "Callback Not set")

	for _, bad := range []string{"", "ftp://x", "//x", "https://user@x", "https://x/#f", "javascript:alert(1)", strings.Repeat("a", 600)} {
		mustSay(t, b.post(t, page+"/callback", 422, "url", bad), "absolute http or https address", "Callback Not set")
	}
}

func TestNumberMatch(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	page := "/applications/" + app.ID
	mustSay(t, b.get(t, page, 200), "Number match Off")
	mustSay(t, b.follow(t, page+"/match", "mode", "type", "digits", "4"), "Number match is saved.", "Number match 4 digits", "Show match.value of the answer")
	if set := onlyApp(t, f).Settings; set.Match != tenant.MatchType || set.MatchDigits != 4 {
		t.Errorf("settings %+v", set)
	}
	mustSay(t, b.follow(t, page+"/match", "mode", "off", "digits", "4"), "Number match Off")
	for _, form := range [][]string{{"mode", "type", "digits", "1"}, {"mode", "type", "digits", "7"}, {"mode", "scan", "digits", "3"}, {"mode", "type"}, {}} {
		mustSay(t, b.post(t, page+"/match", 422, form...), "2 to 6 digits")
	}
}

func TestCallbackMethod(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	page := "/applications/" + app.ID
	b.follow(t, page+"/callback", "url", "https://shop.example.com/hook?a=1", "method", "POST")
	mustSay(t, b.post(t, page+"/callback", 422, "url", "https://shop.example.com/hook?a=1", "method", "GET"), "no query of its own")
	saved := b.follow(t, page+"/callback", "url", "https://shop.example.com/hook", "method", "GET")
	if set := onlyApp(t, f); !set.Settings.CallbackGet || set.Callback.URL != "https://shop.example.com/hook" || !strings.Contains(saved.body, `value="GET" checked`) {
		t.Errorf("saved %+v", set)
	}
	mustSay(t, b.post(t, page+"/callback", 422, "url", "https://shop.example.com/hook?a=1", "method", "GET"), "no query of its own")
	b.follow(t, page+"/callback", "url", "https://shop.example.com/hook?a=1", "method", "POST")
	if set := onlyApp(t, f); set.Settings.CallbackGet || set.Callback.URL != "https://shop.example.com/hook?a=1" {
		t.Errorf("saved %+v", set)
	}
}

func TestSwitches(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	page := "/applications/" + app.ID
	first := b.get(t, page, 200)
	for _, sw := range tenant.Switches {
		mustSay(t, first, switchWords[sw.Name].Title)
		if on := strings.Contains(first.body, `name="`+sw.Name+`" value="on" checked`); on != sw.On(tenant.NewIntegration()) {
			t.Errorf("%s is shown as %v", sw.Name, on)
		}
	}
	if len(switchWords) != len(tenant.Switches) {
		t.Error("there are words for other switches")
	}
	for _, sw := range tenant.Switches { // each alone, and so the others off
		mustSay(t, b.follow(t, page+"/switches", sw.Name, "on"), "What Shop may do is saved.")
		set := onlyApp(t, f).Settings
		for _, other := range tenant.Switches {
			if other.On(set) != (other.Name == sw.Name) {
				t.Errorf("%s alone is saved, and %s is %v", sw.Name, other.Name, other.On(set))
			}
		}
	}
	b.post(t, page+"/switches", 400, "match", "on")
	f.Clock.Advance(time.Second)
	b.follow(t, page+"/switches", "export_phones", "on", "any_code_at_once", "on")
	records, err := f.Store.Audit(t.Context(), app.ID, 1)
	if err != nil || records[0].Action != "settings.switches" || records[0].Note != "export_phones on" || !strings.HasPrefix(records[0].Actor, "operator:") {
		t.Errorf("recorded %+v, %v", records, err)
	}
}

// A stolen session of the console cannot open what an application hides, nor weaken what it asks for (T-53).
func TestT53_WeakeningNeedsAFreshProof(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	app := f.App(t, "Shop")
	page := "/applications/" + app.ID + "/switches"
	for range 2 {
		f.Clock.Advance(operator.ProofLife / 2)
		p.get(t, "/", 200)
	}
	for _, sw := range tenant.Switches {
		asked := p.post(t, page, map[bool]int{true: http.StatusForbidden, false: http.StatusSeeOther}[sw.Weakens], sw.Name, "on")
		if !sw.Weakens {
			continue
		}
		mustSay(t, asked, "Confirm it is you", "allow this")
		if !strings.Contains(asked.body, `name="`+sw.Name+`" value="on"`) {
			t.Errorf("what was filled in is lost: %s", sw.Name)
		}
		if sw.On(onlyApp(t, f).Settings) {
			t.Errorf("%s is on without a proof", sw.Name)
		}
	}
	p.post(t, page, http.StatusSeeOther, "export_phones", "on", "password", password, "code", p.code())
	if set := onlyApp(t, f).Settings; !set.ExportPhones || set.ExportSecrets {
		t.Errorf("after the proof: %+v", set)
	}
}

func TestFigures(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	mustSay(t, b.get(t, "/applications/"+app.ID, 200), "Nothing was counted yet", "0 users now")
	u := f.User(t, app, "bob@example.com", "202-555-0123")
	if _, err := f.Codes.Send(t.Context(), app, u, otp.Request{Channel: otp.SMS}); err != nil {
		t.Fatal(err)
	}
	f.Clock.Advance(31 * 24 * time.Hour)
	f.User(t, app, "eve@example.com", "202-555-0199")
	mustSay(t, f.dev(t).get(t, "/applications/"+app.ID, 200), "2 users now", "June 2026 0 0 0 1 0 May 2026 0 1 0 1 0")
}

func TestApprovalsShowHowTheyEnded(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop", func(s *tenant.Settings) { *s = tenant.DropIn(); s.Match = tenant.MatchType; s.ApprovalLife = 60 })
	u := f.User(t, app, "bob@example.com", "202-555-0123")
	phone := f.Phone(t, app, u)
	in := "/applications/" + app.ID + "/approvals"

	waiting := f.Ask(t, app, u, "Waiting")
	mustSay(t, b.get(t, in, 200), "Waiting bob@example.com")
	denied := f.Ask(t, app, u, "Mismatch")
	if _, err := phone.Answer(t, denied.UUID, "approve", "00"); err == nil {
		t.Fatal("a wrong number was taken")
	}
	mustSay(t, b.get(t, in+"/"+denied.UUID, 200), "Denied", "The number typed on the device was wrong.", "typed, 3 digits")
	cancelled := f.Ask(t, app, u, "Cancelled")
	if _, err := f.Approvals.Cancel(t.Context(), app, cancelled.UUID); err != nil {
		t.Fatal(err)
	}
	mustSay(t, b.get(t, in+"/"+cancelled.UUID, 200), "Cancelled", "withdrew it")
	if page := b.get(t, in+"/"+waiting.UUID, 200); strings.Contains(page.body, ">"+waiting.Match.Value+"<") {
		t.Error("the number to match is on the page")
	}
	f.Clock.Advance(time.Minute)
	mustSay(t, b.get(t, in, 200), "Expired")
	mustSay(t, b.get(t, in+"/"+waiting.UUID, 200), "Expired", "Nobody answered in time.")
}

// The logo of approvals that bring none: saved, refused with what was typed, and taken away.
func TestLogoOfTheApplication(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Shop")
	page := "/applications/" + app.ID
	saved := b.follow(t, page+"/logo", "logo", " https://shop.example/logo.png ")
	mustSay(t, saved, "The logo is saved.")
	if !strings.Contains(saved.body, `value="https://shop.example/logo.png"`) {
		t.Error("it is not shown")
	}
	for _, bad := range []string{"http://shop.example/logo.png", "logo.png", "data:image/png;base64,AAAA", "https://u:p@shop.example/x"} {
		refused := b.post(t, page+"/logo", http.StatusUnprocessableEntity, "logo", bad)
		mustSay(t, refused, "A logo is an absolute https address")
		if !strings.Contains(refused.body, `value="`+bad+`"`) {
			t.Errorf("%s is lost", bad)
		}
	}
	b.follow(t, page+"/logo", "logo", "")
	f.wantRecords(t, app, "settings.logo", 2)
}

// What an application told of a user is on the user's page, newest first, for its own operators.
func TestActivitiesOfAUser(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app, other := f.App(t, "Shop"), f.App(t, "Other")
	u := f.User(t, app, "bob@example.com", "202-555-0123")
	page := "/applications/" + app.ID + "/users/" + fmt.Sprint(u.AuthyID)
	mustSay(t, b.get(t, page, 200), "bob@example.com", "+1 XXX-XXX-0123", "told of nothing")
	for _, a := range []tenant.Activity{
		{Type: "password_reset", Data: []byte(`{"by":"support, ticket 4711"}`), IP: "192.0.2.7"},
		{Type: "cookie_login", Data: []byte("null")},
	} {
		f.Clock.Advance(1_000_000)
		if err := f.Tenants.RegisterActivity(t.Context(), app, u, a); err != nil {
			t.Fatal(err)
		}
	}
	shown := b.get(t, page, 200)
	mustSay(t, shown, "password_reset", "192.0.2.7", `{"by":"support, ticket 4711"}`, "cookie_login")
	if strings.Index(shown.body, "cookie_login") > strings.Index(shown.body, "password_reset") || strings.Contains(shown.text(), "null") {
		t.Error(shown.text())
	}
	b.get(t, "/applications/"+other.ID+"/users/"+fmt.Sprint(u.AuthyID), 404) // INV-11
}
