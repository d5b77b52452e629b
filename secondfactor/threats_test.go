// This file owns the tests of threats and failures that concern the library (security.md, and FA and LB in login-flow.md).

package secondfactor_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

// T-14: the browser sends everything an attacker would change; nothing of it decides.
func TestT14_BrowserCarriesNoDecision(t *testing.T) {
	a := newApp(t)
	other := a.browser()
	foreign := other.login("bob")
	a.provider.Approve(foreign.UUID)
	other.get("/login/verify")
	for name, form := range map[string][]string{
		"changed status":            {"status", "approved", "state", "approved"},
		"other user's request":      {"uuid", foreign.UUID},
		"missing field":             {},
		"wrong type":                {"attempt[]", "1", "token[]", "7654321"},
		"foreign attempt":           {"attempt", "0123456789ab"},
		"several values of a field": {"token", "7654321,7654322"},
	} {
		t.Run(name, func(t *testing.T) {
			b := a.browser()
			b.login("ana")
			for _, path := range []string{"/login/verify/complete", "/authy/verify", "/login/verify/push", "/authy/send_token"} {
				b.post(path, form...)
			}
			if b.anybody() {
				t.Error("signed in")
			}
		})
	}
	t.Run("pending cookie of another browser as session", func(t *testing.T) {
		b := a.browser()
		b.cookies["countersign_login"] = other.cookies["countersign_login_pending"]
		if b.anybody() {
			t.Error("signed in")
		}
	})
	t.Run("used approval", func(t *testing.T) {
		pending := other.cookies["countersign_login_pending"]
		if other.complete(); !other.signedIn("bob") {
			t.Fatal("not signed in")
		}
		b := a.browser()
		b.cookies["countersign_login_pending"] = pending
		if b.complete(); b.anybody() || b.state() != "401" {
			t.Error("an approval was used twice")
		}
	})
}

// T-23: half a session opens nothing, and steps out of order lead nowhere.
func TestT23_StepsOutOfOrder(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	for _, path := range []string{"/login/verify/push", "/authy/send_token", "/authy/verify", "/login/verify/cancel"} {
		if got := b.post(path, "token", "7654321"); got.location != "/login" {
			t.Errorf("%s without an attempt: %d %s", path, got.code, got.location)
		}
	}
	if got := b.complete(); got.code != 409 {
		t.Errorf("complete without an attempt: %d", got.code)
	}
	for path, want := range map[string]string{"/login/verify": "/login", "/account": "/login?next=%2Faccount", "/enrol": "/login"} {
		if got := b.get(path); got.location != want {
			t.Errorf("%s: %d %s", path, got.code, got.location)
		}
	}
	if got := b.post("/transfer", "amount", "1"); got.location != "/login" || a.provider.Count() != 0 {
		t.Errorf("transfer without a session: %d %s", got.code, got.location)
	}
	if b.state() != "401" || b.get("/login/verify/events").code != 401 {
		t.Error("status or stream without an attempt")
	}
}

func TestD11_EnrolmentSignsInOnlyAfterTheProof(t *testing.T) {
	a := newApp(t)
	a.addPerson("cid", "2025550177", false)
	b := a.browser()
	if got := b.post("/enrol", "user", "cid"); got.location != "/enrol" {
		t.Fatalf("enrol: %d %s", got.code, got.location)
	}
	if got := b.get("/enrol"); got.body != "enrolling cid" || b.anybody() || a.provider.Count() != 0 {
		t.Errorf("enrolling: %q", got.body)
	}
	if got := b.get("/login/verify"); got.location != "/enrol" {
		t.Errorf("waiting page before anything was asked: %d %s", got.code, got.location)
	}
	b.post("/login/verify/push")
	if page := b.get("/login/verify").body; b.anybody() || !strings.Contains(page, "no authenticator") {
		t.Error("no device is not said")
	}
	a.provider.AddDevice(a.people["cid"].AuthyID)
	b.post("/enrol", "user", "cid")
	b.post("/login/verify/push")
	approval := a.provider.Last(t)
	if approval.Message != "Confirm that this device protects your account" {
		t.Errorf("asked %q", approval.Message)
	}
	a.provider.Approve(approval.UUID)
	b.get("/login/verify")
	b.complete()
	if done := a.completions(); !b.signedIn("cid") || len(done) != 1 || done[0].Purpose != secondfactor.ForEnrol || done[0].DeviceKey == "" {
		t.Error("not signed in after the proof")
	}
	if got := b.get("/enrol"); got.location != "/login" {
		t.Errorf("enrolment goes on: %d", got.code)
	}
}

// Who comes back to an enrolment that has run out is led to the page that says so.
func TestEnrolmentRunsOut(t *testing.T) {
	a := newApp(t)
	a.addPerson("cid", "2025550177", false)
	b := a.browser()
	b.post("/enrol", "user", "cid")
	a.pass(31 * time.Minute)
	if got := b.get("/enrol"); got.location != "/login/verify" {
		t.Errorf("led to %q", got.location)
	}
	if page := b.get("/login/verify").body; !strings.Contains(page, "expired") {
		t.Error("the page does not say that it has expired")
	}
}

// T-60: headers on every page, and cookies that other sites, scripts and hosts cannot use.
func TestT60_HeadersAndCookies(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	for _, path := range []string{"/login/verify", "/authy/status", "/login/verify/assets/verify.js"} {
		h := b.get(path).header
		if csp := h.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: headers %v", path, h)
		}
	}
	if cache := b.get("/login/verify").header.Get("Cache-Control"); cache != "no-store" {
		t.Errorf("cache %q", cache)
	}
	if page := b.get("/login/verify").body; strings.Contains(page, "<style") || strings.Contains(page, "style=") || strings.Contains(page, "onclick") || strings.Contains(page, "http://") && !strings.Contains(page, secondfactortest.Origin) {
		t.Error("inline style or script, or a foreign address")
	}
	for public, want := range map[string]string{
		"http://app.test":  "countersign_login_pending",
		"https://app.test": "__Host-countersign_login_pending",
	} {
		a := newApp(t, func(c *secondfactor.Config) { c.PublicURL = public })
		b := a.browser()
		cookie := b.post("/login", "user", "ana").header.Get("Set-Cookie")
		if !strings.HasPrefix(cookie, want+"=") || !strings.Contains(cookie, "; Path=/;") || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Lax") ||
			strings.Contains(cookie, "Secure") != strings.HasPrefix(public, "https") || strings.Contains(cookie, "Domain") {
			t.Errorf("%s: cookie %q", public, cookie)
		}
	}
}

// T-41, T-60: hostile text is shown as text, and never reaches a header.
func TestT41_HostileText(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	b.post("/transfer", "amount", "<script>alert(1)</script>\r\nSet-Cookie: x=1")
	got := b.get("/login/verify")
	if strings.Contains(got.body, "<script>alert") || !strings.Contains(got.body, "&lt;script&gt;") || got.header.Get("Set-Cookie") != "" {
		t.Error("hostile text is not shown as text")
	}
	for _, next := range []string{"//evil.test", "https://evil.test", "/\\evil.test", "/x\r\nSet-Cookie: a=b", "javascript:alert(1)", "/login/verify", "/login", ""} {
		b := a.browser()
		a.provider.Approve(func() string { b.post("/login", "user", "ana", "next", next); return a.provider.Last(t).UUID }())
		b.get("/login/verify")
		if got := b.complete(); got.location != "/" || strings.Contains(got.header.Get("Set-Cookie"), "a=b") {
			t.Errorf("next %q leads to %q", next, got.location)
		}
	}
}

func FuzzLocalPath(f *testing.F) {
	for _, seed := range []string{"/account?a=b#c", "//x", "/\\x", "/%2f/x", "/x:y", "/..//x", "/\t/x", "\x00"} {
		f.Add(seed)
	}
	base, err := url.Parse("https://app.test/login/verify/complete")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		path := secondfactor.LocalPath(text, "/otherwise")
		to, err := base.Parse(path)
		if err != nil || to.Host != "app.test" || to.Scheme != "https" || strings.ContainsAny(path, "\r\n\\\t") || !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") {
			t.Errorf("%q gives %q", text, path)
		}
	})
}

// PU11: a newer attempt of the same browser replaces the older one, and a form left over from it does nothing to the new one.
func TestPU11_TwoTabs(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	first := b.login("ana")
	old := b.cookies["countersign_login_pending"]
	form := b.get("/login/verify").body
	_, rest, _ := strings.Cut(form, `name="attempt" value="`)
	tag, _, _ := strings.Cut(rest, `"`)
	b.login("ana")
	b.post("/login/verify/cancel", "attempt", tag)
	if b.state() != "push_pending" {
		t.Errorf("the old tab's cancel ended the new attempt: %s", b.state())
	}
	if page := b.get("/login/verify").body; !strings.Contains(page, "out of date") {
		t.Error("the stale form is not explained")
	}
	tab := a.browser()
	tab.cookies["countersign_login_pending"] = old
	if tab.state() != "cancelled" {
		t.Errorf("the old attempt is %s", tab.state())
	}
	a.guard.Close()
	if status := a.provider.Approval(first.UUID).Status; status != "cancelled" {
		t.Errorf("the old request is %s", status)
	}
}

func TestPU16_CancelWithdraws(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	approval := b.login("ana")
	if got := b.post("/login/verify/cancel"); got.location != "/login?notice=cancelled" {
		t.Errorf("leads to %s", got.location)
	}
	a.guard.Close()
	if status := a.provider.Approval(approval.UUID).Status; status != "cancelled" || b.state() != "401" {
		t.Errorf("request %s, state %s", status, b.state())
	}
}

func TestLO4_LogoutWithdraws(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.signIn("ana")
	b.post("/transfer", "amount", "5")
	approval := a.provider.Last(t)
	b.post("/logout")
	a.guard.Close()
	if status := a.provider.Approval(approval.UUID).Status; status != "cancelled" {
		t.Errorf("request %s", status)
	}
}

func TestPU1_NumberAndLinkAreShown(t *testing.T) {
	a := newApp(t)
	a.provider.SetMatch("042")
	b := a.browser()
	approval := b.login("ana")
	page := b.get("/login/verify").body
	if !strings.Contains(page, `data-testid="match-number" aria-hidden="true">042</span><span class="hush">0 4 2<`) || !strings.Contains(page, secondfactortest.Origin+"/approvals/"+approval.UUID) {
		t.Error("no number or no link")
	}
	if approval.Message != "Log in to Owlgate" || approval.Details[0].Value != "ana@example.com" || approval.Life != 2*time.Minute {
		t.Errorf("asked %+v", approval)
	}
}

// PU1: the page says where to approve, as far as the provider tells, and does without when it does not.
func TestPU1_TheDeviceIsNamed(t *testing.T) {
	a := newApp(t)
	id := a.people["ana"].AuthyID
	shows := func(words string) {
		t.Helper()
		b := a.browser()
		b.login("ana")
		if page := b.get("/login/verify").body; !strings.Contains(page, "<h1 tabindex=\"-1\">Approve on "+words+"</h1>") || !strings.Contains(page, "Sent to "+words+". Waiting") {
			t.Errorf("the page does not name %s", words)
		}
	}
	shows("your device")
	a.provider.NameDevice(id, `Ana's "phone" <b>`)
	shows("Ana&#39;s &#34;phone&#34; &lt;b&gt;")
	a.provider.NameDevice(id, "Phone")
	a.provider.AddDevice(id)
	shows("Phone or your other device")
	a.provider.AddDevice(id)
	shows("Phone or one of your 2 other devices")
	a.provider.Refuse("user", "60000")
	shows("your device")
}

func TestSessionEnds(t *testing.T) {
	for name, c := range map[string]struct {
		steps []time.Duration
		ok    bool
	}{
		"kept alive":    {[]time.Duration{29 * time.Minute, 29 * time.Minute, 29 * time.Minute}, true},
		"30 min idle":   {[]time.Duration{29 * time.Minute, 30 * time.Minute}, false},
		"12 h at most":  {repeat(29*time.Minute, 25), false},
		"nearly 12 h":   {repeat(29*time.Minute, 24), true},
		"a moment idle": {[]time.Duration{30*time.Minute - time.Second}, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			b := a.browser()
			b.signIn("ana")
			ok := false
			for _, step := range c.steps {
				a.pass(step)
				ok = b.signedIn("ana")
			}
			if ok != c.ok {
				t.Errorf("signed in: %v", ok)
			}
		})
	}
}

func repeat(d time.Duration, n int) (list []time.Duration) {
	for range n {
		list = append(list, d)
	}
	return list
}

func TestNewRefusesBadSettings(t *testing.T) {
	good := func() secondfactor.Config {
		return secondfactor.Config{PublicURL: publicURL, Name: "x", Provider: secondfactortest.New().Client(t), Store: secondfactor.NewMemoryStore()}
	}
	for name, c := range map[string]struct {
		spoil func(*secondfactor.Config)
		says  string
	}{
		"no address":               {func(c *secondfactor.Config) { c.PublicURL = "" }, "PublicURL"},
		"no scheme":                {func(c *secondfactor.Config) { c.PublicURL = "app.test" }, "PublicURL"},
		"other scheme":             {func(c *secondfactor.Config) { c.PublicURL = "ftp://app.test" }, "PublicURL"},
		"query":                    {func(c *secondfactor.Config) { c.PublicURL += "/?a=b" }, "PublicURL"},
		"odd path":                 {func(c *secondfactor.Config) { c.PublicURL += "/app//x" }, "PublicURL"},
		"dots in the path":         {func(c *secondfactor.Config) { c.PublicURL += "/app/../x" }, "PublicURL"},
		"no name":                  {func(c *secondfactor.Config) { c.Name = "" }, "Name"},
		"no provider":              {func(c *secondfactor.Config) { c.Provider = nil }, "Provider"},
		"no store":                 {func(c *secondfactor.Config) { c.Store = nil }, "Store"},
		"half of the trust":        {func(c *secondfactor.Config) { c.Trust.Origin = "x" }, "Trust"},
		"unknown match":            {func(c *secondfactor.Config) { c.Match = "on" }, `Match "on"`},
		"log-in form elsewhere":    {func(c *secondfactor.Config) { c.LoginURL = publicURL + "/login" }, `LoginURL "http://app.test/login"`},
		"log-in form with a query": {func(c *secondfactor.Config) { c.LoginURL = "/login?from=here" }, `LoginURL "/login?from=here"`},
		"enrolment without slash":  {func(c *secondfactor.Config) { c.EnrolURL = "enrol" }, `EnrolURL "enrol"`},
		"another host":             {func(c *secondfactor.Config) { c.AfterLogout = "//evil.test" }, `AfterLogout "//evil.test"`},
		"another host, backslash":  {func(c *secondfactor.Config) { c.AfterLogout = `/\evil.test` }, "AfterLogout"},
	} {
		settings := good()
		c.spoil(&settings)
		if _, err := secondfactor.New(settings); err == nil || !strings.Contains(err.Error(), "secondfactor: "+c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*secondfactor.Config){
		"defaults": func(*secondfactor.Config) {},
		"all": func(c *secondfactor.Config) {
			c.Match, c.LoginURL, c.EnrolURL, c.AfterLogout = "off", "/in", "/setup/", "/?bye"
		},
	} {
		settings := good()
		change(&settings)
		if _, err := secondfactor.New(settings); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBrowserNames(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36":                              "Chrome on Linux",
		"Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36 Edg/126.0":                      "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile Safari/604": "Safari on iPhone",
		"Mozilla/5.0 (Android 14; Mobile; rv:126.0) Gecko/126.0 Firefox/126.0":                                                           "Firefox on Android",
		"": "unknown", "curl/8": "unknown",
	} {
		r := &http.Request{Header: http.Header{"User-Agent": {agent}}}
		if got := secondfactor.Browser(r); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}
