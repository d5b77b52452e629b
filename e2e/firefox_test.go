// This file owns Firefox: a process of its own for a test that needs real Web Push, driven over WebDriver BiDi on its WebSocket, without a
// driver program.

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// firefox is a running browser.
type firefox struct {
	t    *testing.T
	conn *websocket.Conn

	mu      sync.Mutex // guards what follows
	last    int
	waiting map[int]chan bidiAnswer
	broken  error // why there are no answers any more
}

// bidiAnswer is what comes back for one command.
type bidiAnswer struct {
	ID      int             `json:"id"`
	Type    string          `json:"type"` // success, error, event
	Result  json.RawMessage `json:"result"`
	Error   string          `json:"error"`
	Message string          `json:"message"`
}

// firefoxSettings let nothing leave this machine and no dialog appear.
func firefoxSettings(pushServer string) map[string]any {
	return map[string]any{
		"dom.push.serverURL": pushServer, "dom.push.testing.allowInsecureServerURL": true, "dom.push.connection.enabled": true, "dom.push.retryBaseInterval": 100,
		"permissions.default.desktop-notification": 1, "dom.push.testing.ignorePermission": true,
		"alerts.useSystemBackend": false, "alerts.showFavicons": false,
		"browser.shell.checkDefaultBrowser": false, "browser.startup.homepage": "about:blank", "browser.startup.page": 0, "startup.homepage_welcome_url": "",
		"datareporting.policy.dataSubmissionEnabled": false, "toolkit.telemetry.server": "", "app.normandy.enabled": false, "app.update.enabled": false,
		"extensions.update.enabled": false, "extensions.getAddons.cache.enabled": false, "services.settings.server": "http://127.0.0.1:1/v1",
		"browser.safebrowsing.malware.enabled": false, "browser.safebrowsing.phishing.enabled": false, "browser.safebrowsing.downloads.enabled": false,
		"network.captive-portal-service.enabled": false, "network.connectivity-service.enabled": false, "network.trr.mode": 5,
		"network.dns.disablePrefetch": true, "network.prefetch-next": false, "network.proxy.type": 1,
		// Everything goes to a proxy that is not there, but what is on this machine.
		"network.proxy.http": "127.0.0.1", "network.proxy.http_port": 1, "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 1,
		"network.proxy.no_proxies_on": "localhost, 127.0.0.1", "network.proxy.allow_hijacking_localhost": false,
	}
}

// startFirefox starts a browser that knows nothing, and ends it with the test.
func startFirefox(t *testing.T, settings map[string]any) *firefox {
	t.Helper()
	program, err := exec.LookPath("firefox-esr")
	if err != nil {
		program, err = exec.LookPath("firefox")
	}
	if err != nil {
		t.Fatalf("Firefox is missing: %v", err)
	}
	profile := t.TempDir()
	var prefs strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		value, _ := json.Marshal(settings[name]) // texts, numbers and booleans always encode
		fmt.Fprintf(&prefs, "user_pref(%q, %s);\n", name, value)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", "--remote-allow-system-access", "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "MOZ_CRASHREPORTER_DISABLE=1", "MOZ_DISABLE_CONTENT_SANDBOX=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	address, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if found := regexp.MustCompile(`WebDriver BiDi listening on (ws://\S+)`).FindStringSubmatch(lines.Text()); found != nil {
				address <- found[1]
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has nothing worth saving
		<-ended
		_ = cmd.Wait()
	})
	select {
	case at := <-address:
		return dialFirefox(t, at)
	case <-ended:
		t.Fatal("Firefox ended at once")
	case <-time.After(startWithin):
		t.Fatalf("Firefox tells no address after %v", startWithin)
	}
	return nil
}

func dialFirefox(t *testing.T, address string) *firefox {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startWithin)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, address+"/session", nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	f := &firefox{t: t, conn: conn, waiting: map[int]chan bidiAnswer{}}
	go f.listen()
	f.must("session.new", map[string]any{"capabilities": map[string]any{}}, nil)
	return f
}

// listen hands answers to those who wait for them. Events are of no interest.
func (f *firefox) listen() {
	for {
		var a bidiAnswer
		err := wsjson.Read(context.Background(), f.conn, &a)
		f.mu.Lock()
		if err != nil {
			f.broken = err
			for _, c := range f.waiting {
				close(c)
			}
			f.mu.Unlock()
			return
		}
		if c := f.waiting[a.ID]; c != nil && a.Type != "event" {
			delete(f.waiting, a.ID)
			c <- a
		}
		f.mu.Unlock()
	}
}

// call runs one command of the protocol and decodes its result.
func (f *firefox) call(method string, params, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), waitWithin)
	defer cancel()
	c := make(chan bidiAnswer, 1)
	f.mu.Lock()
	f.last++
	id := f.last
	f.waiting[id] = c
	err := f.broken
	f.mu.Unlock()
	if err != nil {
		return err
	}
	if err := wsjson.Write(ctx, f.conn, map[string]any{"id": id, "method": method, "params": params}); err != nil {
		return err
	}
	select {
	case a, ok := <-c:
		switch {
		case !ok:
			return errors.New("Firefox has gone")
		case a.Type == "error":
			return fmt.Errorf("%s: %s: %s", method, a.Error, a.Message)
		case into == nil:
			return nil
		}
		return json.Unmarshal(a.Result, into)
	case <-ctx.Done():
		return fmt.Errorf("%s: no answer", method)
	}
}

func (f *firefox) must(method string, params, into any) {
	f.t.Helper()
	if err := f.call(method, params, into); err != nil {
		f.t.Fatal(err)
	}
}

// window is one tab, or the browser's own scripts.
type window struct {
	*firefox
	context string
}

// open opens an address in a new tab, and returns when it is loaded.
func (f *firefox) open(address string) *window {
	f.t.Helper()
	var tab struct{ Context string }
	f.must("browsingContext.create", map[string]any{"type": "tab"}, &tab)
	f.must("browsingContext.navigate", map[string]any{"context": tab.Context, "url": address, "wait": "complete"}, nil)
	return &window{f, tab.Context}
}

// chrome returns the browser's own window, for what no page may do.
func (f *firefox) chrome() *window {
	f.t.Helper()
	var tree struct{ Contexts []struct{ Context string } }
	f.must("browsingContext.getTree", map[string]any{"moz:scope": "chrome"}, &tree)
	if len(tree.Contexts) == 0 {
		f.t.Fatal("Firefox has no window")
	}
	return &window{f, tree.Contexts[0].Context}
}

// tabs returns the addresses of all open tabs.
func (f *firefox) tabs() []*window {
	f.t.Helper()
	var tree struct{ Contexts []struct{ Context string } }
	f.must("browsingContext.getTree", map[string]any{}, &tree)
	var all []*window
	for _, c := range tree.Contexts {
		all = append(all, &window{f, c.Context})
	}
	return all
}

func (w *window) close() {
	w.t.Helper()
	w.must("browsingContext.close", map[string]any{"context": w.context}, nil)
}

// eval runs JavaScript as if the person had just pressed something, and decodes what it gives or promises.
func eval[T any](w *window, script string) (got T, err error) {
	var out struct {
		Type             string
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	err = w.call("script.evaluate", map[string]any{
		"expression": "(async () => JSON.stringify((await (" + script + ")) ?? null))()", "target": map[string]any{"context": w.context}, "awaitPromise": true, "userActivation": true,
	}, &out)
	if err == nil && out.Type != "success" {
		err = fmt.Errorf("%.80s…: %s", script, out.ExceptionDetails.Text)
	}
	if err == nil {
		err = json.Unmarshal([]byte(out.Result.Value), &got)
	}
	return got, err
}

// click presses an element once it is there and enabled.
func (w *window) click(selector string) {
	w.t.Helper()
	eventually(w.t, waitWithin, "Firefox to click "+selector, func() error {
		ok, err := eval[bool](w, `(() => {
			const e = document.querySelector(`+quote(selector)+`);
			if (!e || e.disabled) return false;
			e.click();
			return true;
		})()`)
		if err == nil && !ok {
			err = errors.New("not there, or disabled")
		}
		return err
	})
}

// see waits for an element whose text contains all parts.
func (w *window) see(selector string, parts ...string) {
	w.t.Helper()
	eventually(w.t, waitWithin, fmt.Sprintf("Firefox to see %q in %s", parts, selector), func() error {
		text, err := eval[string](w, `document.querySelector(`+quote(selector)+`)?.innerText ?? "(nothing)"`)
		for _, part := range parts {
			if err == nil && !strings.Contains(text, part) {
				err = fmt.Errorf("it says %q", text)
			}
		}
		return err
	})
}
