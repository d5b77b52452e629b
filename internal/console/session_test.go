package console

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"rsc.io/qr"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant/operator"
)

func TestSetupByHTTP(t *testing.T) {
	f := newFixture(t)
	link, err := f.ops.SetupLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(link, publicURL+"/setup#")
	b := f.browser()
	mustSay(t, b.get(t, "/setup", 200), "Step 1 of 2")
	mustSay(t, b.post(t, "/setup", 410, "link", "mistyped", "email", email, "password", password), "used already")
	mustSay(t, b.post(t, "/setup", 422, "link", token, "email", "ana", "password", password), "not an e-mail address")
	mustSay(t, b.post(t, "/setup", 422, "link", token, "email", email, "password", "short"), "12 to 256 characters")

	one := &person{browser: b}
	page := b.post(t, "/setup", 200, "link", token, "email", email, "password", password)
	one.secret = secretOn(t, page)
	if strings.Contains(page.body, password) {
		t.Error("the password is on the page")
	}
	late := b.post(t, "/setup", 200, "link", token, "email", "eve@example.com", "password", password)
	wrong := b.post(t, "/setup/confirm", 422, "sealed", sealedOn(t, page), "code", "000000")
	mustSay(t, wrong, "not the code")
	b.post(t, "/setup/confirm", http.StatusSeeOther, "sealed", sealedOn(t, wrong), "code", one.code())
	mustSay(t, b.get(t, "/", 200), "Applications", email)

	two := &person{browser: f.browser(), secret: secretOn(t, late)}
	mustSay(t, two.post(t, "/setup/confirm", 410, "sealed", sealedOn(t, late), "code", two.code()), "used already")
	mustSay(t, two.post(t, "/setup", 410, "link", token, "email", email, "password", password), "used already")
}

func TestSetupLinkExpires(t *testing.T) {
	f := newFixture(t)
	link, err := f.ops.SetupLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ := strings.Cut(link, "#")
	f.Clock.Advance(operator.SetupLife)
	mustSay(t, f.browser().post(t, "/setup", 410, "link", token, "email", email, "password", password), "older than a day")
}

func TestQRCodeDrawsEveryModule(t *testing.T) {
	const uri = "otpauth://totp/Countersign:ana@example.com?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	drawn, err := newQR(uri)
	if err != nil {
		t.Fatal(err)
	}
	want, err := qr.Encode(uri, qr.M)
	if err != nil || drawn.Size != want.Size+2*quietZone {
		t.Fatalf("size %d, %v", drawn.Size, err)
	}
	dark := map[[2]int]bool{}
	for run := range strings.SplitSeq(strings.TrimSuffix(drawn.Path, "z"), "z") {
		var x, y, n, back int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &n, &back); err != nil || back != n {
			t.Fatalf("run %q: %v", run, err)
		}
		for i := range n {
			dark[[2]int{x + i - quietZone, y - quietZone}] = true
		}
	}
	for y := range want.Size {
		for x := range want.Size {
			if dark[[2]int{x, y}] != want.Black(x, y) {
				t.Fatalf("module %d,%d is wrong", x, y)
			}
		}
	}
}

// INV-9: a wrong password, a wrong code, an unknown address and a locked operator get the same answer.
func TestRefusalsToSignInLookTheSame(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	f.Clock.Advance(time.Minute)
	stranger := f.browser()
	try := func(mail, password, code string) string {
		t.Helper()
		f.Clock.Advance(time.Second) // the limit of the address is not what is tested here
		a := stranger.post(t, "/signin", http.StatusUnauthorized, "email", mail, "password", password, "code", code)
		id := regexp.MustCompile(`(?i)X-Request-Id|[A-Z2-7]{16}`)
		return id.ReplaceAllString(strings.ReplaceAll(a.body, mail, "MAIL"), "")
	}
	want := try("nobody@example.com", password, p.code())
	for what, got := range map[string]string{
		"wrong password": try(email, "wrong horse battery", p.code()),
		"wrong code":     try(email, password, "000000"),
		"no account":     try("bob@example.com", "x", "1"),
	} {
		if got != want {
			t.Errorf("%s looks different:\n%s\n%s", what, got, want)
		}
	}
	for range otp.BudgetTries {
		try(email, "wrong horse battery", p.code())
	}
	if got := try(email, password, p.code()); got != want {
		t.Errorf("a locked operator looks different:\n%s", got)
	}
	if strings.Contains(want, password) {
		t.Error("the page repeats the password")
	}
}

func TestSignInAndOut(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	f.Clock.Advance(time.Minute)
	app := f.App(t, "Shop")
	before := p.cookies["countersign_console"].Value
	a := p.post(t, "/signout", http.StatusSeeOther)
	if a.Header.Get("Location") != "/signin?out" || len(p.cookies) != 0 {
		t.Errorf("signed out to %q with cookies %v", a.Header.Get("Location"), p.cookies)
	}
	mustSay(t, p.get(t, "/signin?out", 200), "You are signed out.")
	p.cookies["countersign_console"] = &http.Cookie{Name: "countersign_console", Value: before}
	p.get(t, "/", http.StatusSeeOther) // the old value is dead

	to := p.get(t, "/applications/"+app.ID+"/users", http.StatusSeeOther).Header.Get("Location")
	if !strings.Contains(p.get(t, to, 200).body, `name="next" value="/applications/`+app.ID+`/users"`) {
		t.Error("the sign-in page forgets where to go")
	}
	code := p.code()
	a = p.post(t, "/signin", http.StatusSeeOther, "email", email, "password", password, "code", code, "next", "/applications/"+app.ID+"/users")
	if a.Header.Get("Location") != "/applications/"+app.ID+"/users" {
		t.Errorf("signed in to %s", a.Header.Get("Location"))
	}
	p.get(t, "/", 200)
	f.browser().post(t, "/signin", http.StatusUnauthorized, "email", email, "password", password, "code", code) // INV-1: a code is good once
}

func TestSignInGoesNowhereElse(t *testing.T) {
	for path, want := range map[string]string{
		"/account": "/account", "": "/", "https://evil.example": "/", "//evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/",
		"javascript:alert(1)": "/", "/\r\nSet-Cookie: a=b": "/", "account": "/",
	} {
		if got := ownPath(path); got != want {
			t.Errorf("ownPath(%q) = %q, want %q", path, got, want)
		}
	}
}

func TestSessionCookie(t *testing.T) {
	for publicURL, want := range map[string]http.Cookie{
		"http://localhost:8303":       {Name: "countersign_console"},
		"https://console.example.com": {Name: "__Host-countersign_console", Secure: true},
	} {
		f := newFixture(t, func(c *Config) { c.URL = publicURL })
		link := f.ops.EnableDev()
		b := f.browser()
		r, err := http.NewRequestWithContext(t.Context(), "GET", link, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.RequestURI = r.URL.RequestURI()
		b.do(t, r, false)
		k := b.cookies[want.Name]
		if k == nil || !k.HttpOnly || k.SameSite != http.SameSiteLaxMode || k.Secure != want.Secure || k.Path != "/" || k.Domain != "" || k.MaxAge != 0 || len(k.Value) < 43 {
			t.Errorf("%s: cookie %+v", publicURL, k)
		}
	}
}

func TestIdleSessionEnds(t *testing.T) {
	f := newFixture(t)
	b := f.dev(t)
	f.Clock.Advance(10 * time.Minute)
	b.get(t, "/", 200)
	f.Clock.Advance(10 * time.Minute)
	watching := &browser{f: f, cookies: b.cookies, remote: b.remote, header: http.Header{refreshHeader: {"1"}}}
	watching.get(t, "/", 200)
	f.Clock.Advance(10 * time.Minute)
	watching.get(t, "/", http.StatusUnauthorized) // a page that looks by itself keeps nobody signed in
	b.get(t, "/", http.StatusSeeOther)
}

func TestDevLinkByHTTP(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	b.get(t, "/signin/dev?token=x", http.StatusUnauthorized)
	if strings.Contains(b.get(t, "/signin", 200).text(), "countersign dev") {
		t.Error("the sign-in page speaks of dev where there is none")
	}
	b = f.dev(t)
	mustSay(t, b.get(t, "/signin", 200), "countersign dev")
	first := b.cookies["countersign_console"].Value
	b.get(t, "/signin/dev?token=wrong", http.StatusUnauthorized)
	b.get(t, "/", 200)
	again := strings.TrimPrefix(f.ops.EnableDev(), publicURL)
	b.get(t, again, http.StatusSeeOther)
	b.get(t, again, http.StatusSeeOther) // as often as one likes
	if b.cookies["countersign_console"].Value == first {
		t.Error("signing in again gives no new session value")
	}
	b.cookies["countersign_console"].Value = first
	b.get(t, "/", http.StatusSeeOther) // and ends the one before
}

func TestSignInIsLimitedByAddress(t *testing.T) {
	f := newFixture(t)
	b := f.browser()
	status := 0
	for range 40 {
		if status = b.send(t, "POST", "/signin", map[string][]string{"email": {"x"}}).StatusCode; status == http.StatusTooManyRequests {
			break
		}
	}
	if status != http.StatusTooManyRequests {
		t.Errorf("forty tries at once end with %d", status)
	}
}

// T-53: what changes where decisions go, or what signs them, asks for a fresh proof, keeps what was filled in, and does nothing before the proof.
func TestChangesAskForAProof(t *testing.T) {
	f := newFixture(t)
	p := f.setUp(t)
	app := f.App(t, "Shop")
	f.setCallback(t, app, "https://shop.example.com/old")
	page := "/applications/" + app.ID
	stale := func() {
		for range 2 {
			f.Clock.Advance(operator.ProofLife / 2)
			p.get(t, "/", 200)
		}
	}
	secrets := func() int {
		keys, err := f.Tenants.WebhookKeys(t.Context(), app.ID)
		if err != nil {
			t.Fatal(err)
		}
		return len(keys)
	}
	for _, row := range []struct {
		path, act string
		form      []string
		done      func() bool
	}{
		{"/callback", "change the callback", []string{"url", "https://shop.example.com/new", "method", "POST"}, func() bool { return onlyApp(t, f).Callback.URL == "https://shop.example.com/new" }},
		{"/callback", "change the callback", []string{"off", "1"}, func() bool { return onlyApp(t, f).Callback.URL == "" }},
		{"/webhook-secret/rotate", "replace the webhook secret", nil, func() bool { return secrets() == 2 }},
		{"/webhook-secret/end", "end the old webhook secret", nil, func() bool { return secrets() == 1 }},
	} {
		stale()
		asked := p.post(t, page+row.path, http.StatusForbidden, row.form...)
		mustSay(t, asked, "Confirm it is you", row.act, "Shop")
		if !strings.Contains(asked.body, `action="`+page+row.path+`"`) {
			t.Errorf("%s: the proof leads elsewhere", row.path)
		}
		for i := 0; i < len(row.form); i += 2 {
			if !strings.Contains(asked.body, `name="`+row.form[i]+`" value="`+row.form[i+1]+`"`) {
				t.Errorf("%s: %s is forgotten", row.path, row.form[i])
			}
		}
		mustSay(t, p.post(t, page+row.path, http.StatusForbidden, append(row.form, "password", password, "code", "000000")...), "That did not work")
		if row.done() {
			t.Errorf("%s %v: it was done without a proof", row.path, row.form)
		}
		p.post(t, page+row.path, http.StatusSeeOther, append(row.form, "password", password, "code", p.code())...)
		if !row.done() {
			t.Errorf("%s %v: it was not done with a proof", row.path, row.form)
		}
	}
}
