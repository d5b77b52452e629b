package console

import (
	"context"
	"database/sql"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// at fills the wildcards of a route's path.
func at(path, app, uuid string) string {
	return strings.NewReplacer("{app}", app, "{uuid}", uuid, "{authy_id}", "1", "{$}", "", "{webhook}", "WH_"+noUUID, "{key}", strings.Repeat("0", 24)).Replace(path)
}

// noUUID names no approval.
const noUUID = "5f0c8a52-7f5e-4cb8-a2bb-000000000000"

func TestEveryPageEmptyAndFull(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	mustSay(t, b.get(t, "/", 200), "Create your first application")
	mustSay(t, b.get(t, "/outbox", 200), "Nothing was sent yet")
	empty := f.App(t, "Empty")
	full := f.App(t, "Full")
	uuid := f.furnish(t, full)
	for _, r := range f.console.routes() {
		if r.method != "GET" || r.path == "/assets/" || r.path == "/signin/dev" || r.path == "/outbox/events" || strings.Contains(r.path, "{authy_id}") { // the last has a test of its own
			continue
		}
		page := b.get(t, at(r.path, full.ID, uuid), 200)
		if !strings.HasPrefix(page.body, "<!doctype html>\n<html lang=\"en\">") || !strings.Contains(page.body, "<h1") || strings.Contains(page.body, "<no value>") {
			t.Errorf("%s is not a whole page:\n%s", r.path, page.body)
		}
		if r.access == ofAccount && !strings.Contains(r.path, "{uuid}") {
			b.get(t, at(r.path, empty.ID, noUUID), 200)
		}
	}
	in := "/applications/" + empty.ID
	mustSay(t, b.get(t, in+"/users", 200), "No users yet")
	mustSay(t, b.get(t, in+"/approvals", 200), "Nothing was asked yet")
	mustSay(t, b.get(t, in+"/callbacks", 200), "No callback was tried yet", "has no callback address")
	mustSay(t, b.get(t, in+"/audit", 200), "application.created")

	in = "/applications/" + full.ID
	mustSay(t, b.get(t, "/", 200), "Full", "Failing 1/3")
	mustSay(t, b.get(t, in+"/users", 200), "bob@example.com", "+1 XXX-XXX-0123", "Not yet", "These are all.")
	mustSay(t, b.get(t, in+"/approvals", 200), "Log in to the shop", "Approved", "Test phone")
	mustSay(t, b.get(t, in+"/approvals/"+uuid, 200), "Log in to the shop", "Approved", "Test phone", "by ticket", "503 Service Unavailable")
	mustSay(t, b.get(t, in+"/callbacks", 200), "503 Service Unavailable", "No answer", "connection refused", "https://shop.example.com/hook", "23.4 ms")
	mustSay(t, b.get(t, in+"/audit", 200), "approval.approved", "user.added", "Application", "Device", "XXX-XXX-0123")
	mustSay(t, b.get(t, "/account", 200), "operator.signed_in", operator.DevEmail)
	if strings.Contains(b.get(t, in+"/users", 200).body, "2025550123") {
		t.Error("a whole phone number is shown")
	}
}

func TestListsAreNewestFirstAndSayTheirLimit(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Many")
	for i := range listMax + 1 {
		f.Clock.Advance(1_000_000)
		f.User(t, app, "u"+string(rune('a'+i%26))+"@example.com", "202-55"+[]string{"5", "6"}[i/100]+"-01"+string(rune('0'+i/10%10))+string(rune('0'+i%10)))
	}
	page := b.get(t, "/applications/"+app.ID+"/users", 200)
	mustSay(t, page, "The newest 100 are shown")
	if n := strings.Count(page.body, "<tr id="); n != listMax {
		t.Errorf("%d rows, want %d", n, listMax)
	}
	if strings.Index(page.body, "XXX-XXX-0100") > strings.Index(page.body, "XXX-XXX-0199") {
		t.Error("the newest user is not first")
	}
}

func TestOnlyOperatorsGetIn(t *testing.T) {
	f := newFixture(t)
	app := f.App(t, "Closed")
	uuid := f.furnish(t, app)
	stranger := f.browser()
	forged := f.browser()
	forged.cookies["countersign_console"] = &http.Cookie{Name: "countersign_console", Value: strings.Repeat("A", 43)}
	for _, r := range f.console.routes() {
		if r.access != signedIn && r.access != ofAccount {
			continue
		}
		for _, b := range []*browser{stranger, forged} {
			a := b.send(t, r.method, at(r.path, app.ID, uuid), nil)
			if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(a.Header.Get("Location"), "/signin") {
				t.Errorf("%s %s answers a stranger %d", r.method, r.path, a.StatusCode)
			}
		}
	}
	stranger.header.Set(refreshHeader, "1")
	stranger.get(t, "/", http.StatusUnauthorized) // a script learns it by the status
}

// INV-11: an application of another account, and an approval of another application, are not found: the same answer as for
// what does not exist.
func TestAnOperatorSeesOnlyTheirAccount(t *testing.T) {
	f, other := twoAccounts(t)
	mine := f.App(t, "Mine")
	f.furnish(t, mine)
	theirs, err := f.Tenants.CreateApplication(t.Context(), other, "Theirs", tenant.NewIntegration(), "operator:other")
	if err != nil {
		t.Fatal(err)
	}
	sibling := f.App(t, "Sibling")
	uuid := f.furnish(t, sibling)
	b := f.dev(t)

	reference := regexp.MustCompile(`[0-9a-f]{24}|[0-9a-f-]{36}`)
	for _, r := range f.console.routes() {
		if r.access != ofAccount {
			continue
		}
		form := map[string][]string{}
		unknown := b.send(t, r.method, at(r.path, strings.Repeat("0", 24), noUUID), form)
		foreign := b.send(t, r.method, at(r.path, theirs.ID, noUUID), form)
		if unknown.StatusCode != 404 || foreign.StatusCode != 404 || reference.ReplaceAllString(unknown.body, "") != reference.ReplaceAllString(foreign.body, "") {
			t.Errorf("%s %s: foreign %d, unknown %d, want the same 404", r.method, r.path, foreign.StatusCode, unknown.StatusCode)
		}
	}
	b.get(t, "/applications/"+sibling.ID+"/approvals/"+uuid, 200)
	b.get(t, "/applications/"+mine.ID+"/approvals/"+uuid, 404)
	if strings.Contains(b.get(t, "/", 200).body, theirs.ID) {
		t.Error("the list shows another account's application")
	}

	ops := operator.New(operator.Config{Store: f.Store, Ring: f.Ring, Now: f.Clock.Now, AccountID: other, URL: publicURL})
	f.ops = ops // set-up links are of an account; sessions are the operator's
	f.console.Operators = ops
	p := f.setUp(t)
	p.get(t, "/applications/"+theirs.ID, 200)
	p.get(t, "/applications/"+mine.ID, 404)
	p.post(t, "/applications/"+mine.ID+"/key", 404)
	if strings.Contains(p.get(t, "/account", 200).body, operator.DevEmail) {
		t.Error("the account's record shows another account's operator")
	}
}

// twoAccounts returns a console whose database has a second account.
func twoAccounts(t *testing.T) (f *fixture, other string) {
	t.Helper()
	f = newFixture(t)
	entries, err := filepath.Glob(filepath.Join(filepath.Dir(t.TempDir()), "*", "countersign.db"))
	if err != nil || len(entries) != 1 {
		t.Fatal("the database was not found: ", entries, err)
	}
	db, err := sql.Open("sqlite", "file:"+entries[0]+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other = ident.New(f.Clock.Now())
	if _, err := db.ExecContext(t.Context(), `INSERT INTO accounts (id, name, owner_email, created_at) VALUES ($1, 'Other', 'other@example.com', $2)`,
		other, f.Clock.Now().UnixMilli()+1); err != nil {
		t.Fatal(err)
	}
	return f, other
}

func TestHeaders(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	for _, path := range []string{"/", "/signin", "/setup", "/outbox", "/nothing", "/applications/" + strings.Repeat("0", 24)} {
		h := b.send(t, "GET", path, nil).Header
		csp := h.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'self'", "base-uri 'none'", "frame-ancestors 'none'", "object-src 'none'", "form-action 'self'", "require-trusted-types-for 'script'"} {
			if !strings.Contains(csp, part) {
				t.Errorf("%s: no %s in %q", path, part, csp)
			}
		}
		if strings.Contains(csp, "unsafe") || h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	page := b.get(t, "/", 200).body
	for _, loaded := range regexp.MustCompile(`(?:href|src)="(/assets/[^"]+)"`).FindAllStringSubmatch(page, -1) {
		a := b.get(t, loaded[1], 200)
		if !strings.Contains(a.Header.Get("Cache-Control"), "immutable") || a.Header.Get("Content-Type") == "" {
			t.Errorf("%s: headers %v", loaded[1], a.Header)
		}
	}
	if regexp.MustCompile(`<script(?: type="module")?>|\sstyle=|\son[a-z]+=`).MatchString(page) {
		t.Error("inline script or style in the page")
	}
	b.get(t, "/assets/0000000000000000/console.css", 404)
	b.get(t, f.console.assets.base+"layout.html", 404)
	b.get(t, f.console.assets.base+"console.go", 404)
}

func TestOtherSitesAndHostsAreRefused(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	app := f.App(t, "Target")
	for _, h := range []http.Header{{"Sec-Fetch-Site": {"cross-site"}}, {"Sec-Fetch-Site": {"same-site"}}, {"Origin": {"http://evil.example"}}} {
		evil := &browser{f: f, cookies: b.cookies, remote: b.remote, header: h}
		mustSay(t, evil.post(t, "/applications/"+app.ID+"/callback", http.StatusForbidden, "url", "https://evil.example/"), "sent from another site")
	}
	for host, status := range map[string]int{"evil.example": 421, "localhost:9999": 307, "127.0.0.1:8303": 307, "localhost:8303": 200} {
		r := httptest.NewRequest("GET", "http://"+host+"/", nil)
		if a := b.do(t, r, false); a.StatusCode != status {
			t.Errorf("host %s answers %d, want %d", host, a.StatusCode, status)
		}
	}
}

// broken fails where it is asked for the audit record.
type broken struct{ Lists }

func (broken) Audit(context.Context, string, int) ([]audit.Record, error) {
	return nil, errors.New("the disk is on fire")
}

func TestErrorPages(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.Lists = broken{c.Lists} })
	b := f.dev(t)
	app := f.App(t, "Broken")
	mustSay(t, b.get(t, "/nothing", 404), "Nothing here")
	mustSay(t, b.get(t, "/applications/nothing", 404), "There is no such application.")
	a := b.get(t, "/applications/"+app.ID+"/audit", 500)
	mustSay(t, a, "Something broke", a.Header.Get("X-Request-Id"))
	if strings.Contains(a.body, "fire") {
		t.Error("the page tells an internal error")
	}
	if !strings.Contains(f.logged.String(), "the disk is on fire") {
		t.Error("the log does not tell it")
	}
}

func TestLogCarriesNoSecret(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	app := f.App(t, "Logged")
	p.post(t, "/applications/"+app.ID+"/key", 200)
	link := f.ops.EnableDev()
	p.get(t, strings.TrimPrefix(link, publicURL), http.StatusSeeOther)
	_, token, _ := strings.Cut(link, "token=")
	for _, secret := range []string{token, f.Key(t, app), password, p.cookies["countersign_console"].Value} {
		if strings.Contains(f.logged.String(), secret) {
			t.Errorf("the log carries %q", secret)
		}
	}
}
