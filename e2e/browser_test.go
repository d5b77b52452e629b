// This file owns Chromium: one process for all tests, a browser context of its own for each person and each phone, and
// tabs that act and wait as a person would.

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is the one browser, started by the first test that needs it.
var chromium struct {
	once  sync.Once
	ctx   context.Context
	close func()
	err   error
}

// openBrowser returns the context of the running browser.
func openBrowser() (context.Context, error) {
	chromium.once.Do(func() {
		profile, err := os.MkdirTemp("", "countersign-chromium-")
		if err != nil {
			chromium.err = err
			return
		}
		options := append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.NoSandbox, // root has no sandbox
			chromedp.DisableGPU, chromedp.UserDataDir(profile), chromedp.WindowSize(1280, 900),
			chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
			// A process kept in reserve is started again after each navigation, and takes its time from what is measured.
			chromedp.Flag("disable-features", "Translate,SpareRendererForSitePerProcess,BackForwardCache,OptimizationHints,MediaRouter"),
			chromedp.Flag("ignore-certificate-errors-spki-list", ours.pin), // believes in the certificate of serve_test.go alone
			// Nothing leaves this machine, whatever a page asks for.
			chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		)
		ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
		ctx, cancel := chromedp.NewContext(ctx)
		chromium.ctx = ctx
		chromium.err = chromedp.Do(ctx)
		chromium.close = func() {
			cancel()
			stop()
			os.RemoveAll(profile)
		}
	})
	return chromium.ctx, chromium.err
}

func closeBrowser() {
	if chromium.close != nil {
		chromium.close()
	}
}

// tab is one page of one person.
type tab struct {
	t    *testing.T
	name string // for messages and file names
	ctx  context.Context

	mu       sync.Mutex
	problems []string // what no page may do
}

// newDesk is a person at a desk, with a browser that knows nothing.
func newDesk(t *testing.T, name string) *tab {
	t.Helper()
	return openTab(t, name, nil)
}

// newHand is a phone in a hand, with a browser that knows nothing.
func newHand(t *testing.T, name string) *tab {
	t.Helper()
	b := openTab(t, name, nil)
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2), chromedp.EmulateMobile))
	return b
}

// another is a second tab of the same browser, with the same cookies.
func (b *tab) another(name string) *tab {
	b.t.Helper()
	return openTab(b.t, name, b)
}

func openTab(t *testing.T, name string, beside *tab) *tab {
	t.Helper()
	parent, err := openBrowser()
	if err != nil {
		t.Fatalf("Chromium does not start: %v", err)
	}
	options := []chromedp.ContextOption{chromedp.WithNewBrowserContext()}
	if beside != nil {
		parent, options = beside.ctx, nil
	}
	ctx, cancel := chromedp.NewContext(parent, options...)
	t.Cleanup(cancel)
	b := &tab{t: t, name: name, ctx: ctx}
	b.do()
	if err := chromedp.Listen(ctx, b.watch); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b.save()
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, p := range b.problems {
			t.Errorf("%s: %s", name, p)
		}
	})
	return b
}

// watch notes what no page of ours may do: leave the machine, throw, or break its own content policy.
func (b *tab) watch(event any) {
	problem := ""
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if u, err := url.Parse(e.Request.URL); err == nil && strings.HasPrefix(u.Scheme, "http") && u.Hostname() != "localhost" && u.Hostname() != "127.0.0.1" {
			problem = "asked for " + e.Request.URL
		}
	case *runtime.EventExceptionThrown:
		problem = "threw " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			problem += " " + e.ExceptionDetails.Exception.Description
		}
	case *log.EventEntryAdded:
		if e.Entry.Source == log.EntrySourceSecurity || strings.Contains(e.Entry.Text, "Content Security Policy") {
			problem = "broke a policy: " + e.Entry.Text
		}
	}
	if problem != "" {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.problems = append(b.problems, problem)
	}
}

// save keeps what the page looked like when the test failed.
func (b *tab) save() {
	ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
	defer cancel()
	file := b.t.ArtifactDir() + "/" + strings.ReplaceAll(b.name, " ", "-")
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href + "\n\n" + document.title + "\n\n" + document.body.innerText`))
	html, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.documentElement.outerHTML`))
	shot, _ := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	err := errors.Join(os.WriteFile(file+".txt", []byte(text), 0o600), os.WriteFile(file+".html", []byte(html), 0o600), os.WriteFile(file+".png", shot, 0o600))
	b.t.Logf("%s stands on %s\nkept as %s.{png,txt,html} %v", b.name, text, file, err)
}

// do runs steps that must work.
func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if len(steps) == 0 { // the first use opens the tab, which then lives as long as this context
		if err := chromedp.Do(b.ctx); err != nil {
			b.t.Fatalf("%s: open a tab: %v", b.name, err)
		}
		return
	}
	ctx, cancel := context.WithTimeout(b.ctx, waitWithin)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v", b.name, err)
	}
}

// open goes to an address and waits until it is loaded.
func (b *tab) open(address string) {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
}

// evaluate runs JavaScript in the page and decodes what it gives. A page that is just being left is an error.
func evaluate[T any](b *tab, script string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, waitWithin)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

// quote writes a string for JavaScript.
func quote(s string) string {
	text, _ := json.Marshal(s) // a string always encodes
	return string(text)
}

// testid selects by data-testid.
func testid(id string) string { return fmt.Sprintf("[data-testid=%q]", id) }

// named selects a form field by its name.
func named(name string) string { return fmt.Sprintf("form [name=%q]:not([type=hidden])", name) }

// submit selects the button of the form with this action.
func submit(action string) string {
	return fmt.Sprintf("form[action=%q] button:not([type=button])", action)
}

// place is where an element can be clicked.
type place struct {
	X, Y float64
	Why  string // why it cannot, "" when it can
}

// find returns where the first visible element that matches can be clicked: on the screen, enabled, and not covered.
func (b *tab) find(selector string) (place, error) {
	p, err := evaluate[place](b, `(() => {
		const all = [...document.querySelectorAll(`+quote(selector)+`)];
		const e = all.find(e => e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length > 0);
		if (!e) return {why: all.length ? "hidden" : "not there"};
		if (e.disabled) return {why: "disabled"};
		e.scrollIntoView({block: "center", inline: "center", behavior: "instant"});
		const r = e.getClientRects()[0], x = r.left + r.width / 2, y = r.top + r.height / 2;
		const hit = document.elementFromPoint(x, y);
		if (!hit || !(e.contains(hit) || hit.contains(e) || hit.closest("label")?.contains(e))) return {why: "covered by " + (hit ? hit.outerHTML.slice(0, 80) : "nothing")};
		return {x, y, why: ""};
	})()`)
	if err == nil && p.Why != "" {
		err = errors.New(p.Why)
	}
	return p, err
}

// click clicks an element with the mouse once it can be clicked and stands still.
func (b *tab) click(selector string) {
	b.t.Helper()
	var at place
	eventually(b.t, waitWithin, b.name+" to click "+selector, func() error {
		now, err := b.find(selector)
		if err == nil && now != at {
			err = errors.New("it moves")
		}
		at = now
		return err
	})
	b.do(chromedp.MouseClickXY(at.X, at.Y))
}

// fill replaces what a field holds, by typing into it. A list gets its option chosen by value.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	eventually(b.t, waitWithin, b.name+" to fill "+selector, func() error {
		if _, err := b.find(selector); err != nil {
			return err
		}
		list, err := evaluate[bool](b, `(() => {
			const e = document.querySelector(`+quote(selector)+`);
			e.focus();
			if (e.tagName !== "SELECT") { e.select(); return false; }
			e.value = `+quote(text)+`;
			e.dispatchEvent(new Event("change", {bubbles: true}));
			return true;
		})()`)
		if err != nil || list {
			return err
		}
		ctx, cancel := context.WithTimeout(b.ctx, waitWithin)
		defer cancel()
		_, err = chromedp.Call(ctx, input.InsertText, input.InsertTextParams{Text: text})
		return err
	})
}

// see waits for a visible element whose text contains all parts, and returns its text.
func (b *tab) see(selector string, parts ...string) (text string) {
	b.t.Helper()
	eventually(b.t, waitWithin, fmt.Sprintf("%s to see %q in %s", b.name, parts, selector), func() (err error) {
		text, err = b.text(selector)
		for _, part := range parts {
			if err == nil && !strings.Contains(text, part) {
				err = fmt.Errorf("it says %q", text)
			}
		}
		return err
	})
	return text
}

// text is the text of the first visible element that matches.
func (b *tab) text(selector string) (string, error) {
	got, err := evaluate[struct {
		Text string
		Ok   bool
	}](b, `(() => {
		const e = [...document.querySelectorAll(`+quote(selector)+`)].find(e => e.checkVisibility({visibilityProperty: true}));
		return e ? {text: e.innerText, ok: true} : {text: "", ok: false};
	})()`)
	if err == nil && !got.Ok {
		err = errors.New("not there")
	}
	return got.Text, err
}

// stand waits until the tab shows a page whose address begins with this, loaded.
func (b *tab) stand(address string) {
	b.t.Helper()
	eventually(b.t, waitWithin, b.name+" to stand on "+address, func() error {
		at, err := evaluate[string](b, `document.readyState === "loading" ? "" : location.href`)
		if err == nil && !strings.HasPrefix(at, address) {
			err = fmt.Errorf("it stands on %s", at)
		}
		return err
	})
}

// attribute waits until the first match of selector has this value in an attribute.
func (b *tab) attribute(selector, name, value string) {
	b.t.Helper()
	eventually(b.t, waitWithin, fmt.Sprintf("%s to see %s=%q in %s", b.name, name, value, selector), func() error {
		got, err := evaluate[string](b, fmt.Sprintf(`document.querySelector(%s)?.getAttribute(%s) ?? "nothing"`, quote(selector), quote(name)))
		if err == nil && got != value {
			err = fmt.Errorf("it is %q", got)
		}
		return err
	})
}

// state waits until the waiting page's status region is in this state.
func (b *tab) state(state string) {
	b.t.Helper()
	b.attribute("[role=status][data-state]", "data-state", state)
}

// leave does something that loads another page, and returns when that is there. Without it the next step could still
// happen on the old page, where it looks the same.
func (b *tab) leave(how func()) {
	b.t.Helper()
	if _, err := evaluate[bool](b, `window.theOldPage = true`); err != nil {
		b.t.Fatalf("%s: %v", b.name, err)
	}
	how()
	eventually(b.t, waitWithin, b.name+" to see another page", func() error {
		there, err := evaluate[bool](b, `!window.theOldPage && document.readyState !== "loading"`)
		if err == nil && !there {
			err = errors.New("it is still the old one")
		}
		return err
	})
}

// still asks the page for no motion, as a person can in the settings. Without a graphics card every frame of an animation is
// drawn by the processor that both browsers and the server share here.
func (b *tab) still() {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}
