// This file owns how the acceptance list is walked: a subtest for each line of it, the line's id in the name, and many of them in one walk of the
// same people. docs/acceptance.md is the table of what these tests show; ./acceptance makes it from their names and results.

package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"countersign.dev/client"
	"countersign.dev/examples/login"
	"countersign.dev/secondfactor"
)

// walk is one walk through a part of the list: its people, who act in the subtest that runs.
type walk struct {
	t      *testing.T
	d      *dev
	people []*person
	tabs   []*tab // beside those of the people
}

// newWalk starts a `dev` for a walk.
func newWalk(t *testing.T) *walk { return &walk{t: t, d: startPlainDev(t)} }

// line tests one line of the list. What fails in it, fails there; the lines after it go on with what it left.
func (w *walk) line(id, what string, test func(t *testing.T)) {
	w.t.Run(id+"_"+strings.ReplaceAll(what, " ", "_"), func(t *testing.T) {
		w.hand(t)
		test(t)
	})
	w.hand(w.t)
}

// hand gives everything that can fail to the test that runs.
func (w *walk) hand(t *testing.T) {
	w.d.t = t
	for _, p := range w.people {
		p.d.t, p.desk.t, p.hand.t = t, t, t
	}
	for _, b := range w.tabs {
		b.t = t
	}
}

// person is somebody new in this walk, without animations, which every check would have to wait for.
func (w *walk) person(name string) *person {
	w.t.Helper()
	p := newPerson(w.t, w.d, name)
	p.desk.still()
	p.hand.still()
	w.people = append(w.people, p)
	w.hand(w.d.t)
	return p
}

// enrolled is somebody new who signed up and is signed in.
func (w *walk) enrolled(name string) *person {
	w.t.Helper()
	p := w.person(name)
	p.signUp()
	p.enrolByTicket()
	return p
}

// tab is one more browser of this walk.
func (w *walk) tab(name string) *tab {
	w.t.Helper()
	b := newDesk(w.t, name)
	b.still()
	w.tabs = append(w.tabs, b)
	w.hand(w.d.t)
	return b
}

// matchNumbers makes the sample's application ask for a number of two digits on every device.
func (w *walk) matchNumbers() {
	w.t.Helper()
	c, app := w.console()
	c.post(app+"/match", url.Values{"mode": {"type"}, "digits": {"2"}})
}

// console is the console with the path of the sample's application.
func (w *walk) console() (c *console, app string) {
	w.t.Helper()
	c = w.d.console()
	found := applicationLink.FindStringSubmatch(c.get("/"))
	if found == nil {
		w.t.Fatal("the console shows no application")
	}
	return c, "/applications/" + found[1]
}

// setSite names the host where people type the codes of text messages.
func (w *walk) setSite(host string) {
	w.t.Helper()
	c, app := w.console()
	c.post(app+"/site", url.Values{"host": {host}})
}

// allowReset plays the operator who made sure that it is them.
func (w *walk) allowReset(email string) {
	w.t.Helper()
	c, app := w.console()
	list := c.get(app + "/users")
	found := regexp.MustCompile(`href="(` + app + `/users/\d+)">` + regexp.QuoteMeta(email)).FindStringSubmatch(list)
	if found == nil || !strings.Contains(list, "Resets under way") {
		w.t.Fatalf("the console shows no reset of %s:\n%s", email, plain(list))
	}
	page := c.post(found[1]+"/reset", url.Values{"note": {"came to the counter with a key"}})
	if !strings.Contains(page, "The user was told") {
		w.t.Fatalf("it was not allowed:\n%s", plain(page))
	}
}

// sample is another instance of the sample application, in this process: its clock can be moved, its lives can be short, and no callback reaches it.
type sample struct {
	ahead     atomic.Int64 // of the clock, in nanoseconds
	provider  *httptest.Server
	front     *httptest.Server
	down      atomic.Bool  // the provider does not answer it
	away      atomic.Bool  // it does not answer browsers
	noStreams atomic.Bool  // nothing of a stream reaches browsers
	streams   atomic.Int64 // that are open
	app       atomic.Pointer[login.App]
	mu        sync.Mutex // guards sent
	sent      []message  // newest first
	config    login.Config
}

// withSample replaces the sample of a walk. Its people meet the new one from then on.
func (w *walk) withSample(limits secondfactor.Limits) *sample {
	w.t.Helper()
	s := &sample{}
	target, err := url.Parse(w.d.APIURL)
	if err != nil {
		w.t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ErrorLog = discardLog
	s.provider = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if s.down.Load() {
			panic(http.ErrAbortHandler) // the connection breaks
		}
		proxy.ServeHTTP(rw, r)
	}))
	s.provider.Config.ErrorLog = discardLog
	w.t.Cleanup(s.provider.Close)
	s.front = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if s.away.Load() {
			panic(http.ErrAbortHandler)
		}
		if r.URL.Path == "/login/verify/events" {
			s.streams.Add(1)
			defer s.streams.Add(-1)
			if s.noStreams.Load() {
				<-r.Context().Done()
				return
			}
		}
		s.app.Load().Handler().ServeHTTP(rw, r)
	}))
	s.front.Config.ErrorLog = discardLog
	s.front.Start()
	_, port, err := net.SplitHostPort(s.front.Listener.Addr().String())
	if err != nil {
		w.t.Fatal(err)
	}
	provider, err := client.New(client.Config{BaseURL: s.provider.URL, APIKey: w.d.APIKey})
	if err != nil {
		w.t.Fatal(err)
	}
	s.config = login.Config{
		PublicURL: "http://localhost:" + port, Provider: provider, APIKeys: []string{w.d.APIKey}, DB: filepath.Join(w.t.TempDir(), "login.db"),
		AuthenticatorURL: w.d.AuthenticatorURL, Mail: s.mail, Limits: limits, Clock: func() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) },
	}
	s.open(w.t)
	w.t.Cleanup(func() {
		s.app.Load().EndStreams()
		s.front.CloseClientConnections()
		s.front.Close()
		if err := s.app.Load().Close(); err != nil {
			w.t.Error(err)
		}
	})
	w.d = w.d.in(w.t)
	w.d.LoginURL = s.config.PublicURL
	w.d.mails = s.mails
	return s
}

func (s *sample) mail(_ context.Context, m login.Mail) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append([]message{{To: m.To, Subject: m.Subject, Body: m.Text}}, s.sent...)
	return nil
}

func (s *sample) mails(to string) (found []message, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.sent {
		if m.To == to {
			found = append(found, m)
		}
	}
	return found, nil
}

// open opens the application on its database.
func (s *sample) open(t *testing.T) {
	t.Helper()
	app, err := login.New(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.app.Store(app)
}

// cut breaks every connection with a browser and takes no other, or takes them again.
func (s *sample) cut(off bool) {
	s.away.Store(off)
	if off {
		s.front.CloseClientConnections()
	}
}

// newStyleKey is the key of a new application with the settings of today.
func (d *dev) newStyleKey(name string) string {
	d.t.Helper()
	page := d.console().post("/applications", url.Values{"name": {name}, "defaults": {"new"}, "countries": {"*"}})
	key := shownKey.FindStringSubmatch(page)
	if key == nil {
		d.t.Fatalf("no key on the page of a new application:\n%s", plain(page))
	}
	return key[1]
}

// later moves the clock.
func (s *sample) later(by time.Duration) { s.ahead.Add(int64(by)) }

// scripts switches JavaScript off or on for the pages that a tab loads from then on.
func (b *tab) scripts(on bool) {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}); err != nil {
		b.t.Fatal(err)
	}
}

// hurry makes the long timers of the pages that a tab loads from then on run many times as fast: those of ten seconds and more.
func (b *tab) hurry() {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
		Source: `{ const real = window.setTimeout; window.setTimeout = (f, ms, ...rest) => real(f, ms < 10000 ? ms : ms / 50, ...rest); }`,
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// inFront makes a tab believe that it is the one that is looked at, whatever other tabs do: only that one may use the clipboard.
func (b *tab) inFront() {
	b.t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true}); err != nil {
		b.t.Fatal(err)
	}
}

// size makes a window of a desk as large as this.
func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
}

// scheme asks pages for their light or dark look.
func (b *tab) scheme(name string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-reduced-motion", Value: "reduce"}, {Name: "prefers-color-scheme", Value: name},
	}})
	if err != nil {
		b.t.Fatal(err)
	}
}

// is checks what a script in the page says.
func is[T comparable](b *tab, what, script string, want T) {
	b.t.Helper()
	got, err := evaluate[T](b, script)
	if err != nil || got != want {
		b.t.Errorf("%s: %s is %v, want %v (%v)", b.name, what, got, want, err)
	}
}

// becomes waits until a script in the page says this.
func becomes[T comparable](b *tab, what, script string, expected T) {
	b.t.Helper()
	eventually(b.t, waitWithin, b.name+": "+what, func() error {
		got, err := evaluate[T](b, script)
		if err == nil {
			err = want(what, got, expected)
		}
		return err
	})
}

// screenshots is a folder for pictures of every page that is checked, "" for none. They are for people, who look at them after a change of style.
var screenshots = os.Getenv("COUNTERSIGN_SCREENSHOTS")

// shoot keeps what a page looks like now.
func (b *tab) shoot(name string) {
	if screenshots == "" {
		return
	}
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(screenshots, fmt.Sprintf("%s.png", strings.ReplaceAll(name, " ", "-"))), picture, 0o600)
	}
	if err != nil {
		b.t.Error(err)
	}
}
