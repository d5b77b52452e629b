package console

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/message"
	"countersign.dev/internal/otp"
)

// sent puts three messages into the outbox, a second apart: two by SMS, one by mail.
func sent(t *testing.T, f *fixture) {
	t.Helper()
	app := f.App(t, "Shop")
	for _, phone := range []string{"202-555-0101", "202-555-0102"} {
		if _, err := f.Codes.Send(t.Context(), app, f.User(t, app, "u@example.com", phone), otp.Request{Channel: otp.SMS, Force: true}); err != nil {
			t.Fatal(err)
		}
		f.Clock.Advance(time.Second)
	}
	f.Jobs.Offer(f.Messages.CallbackDisabledJob(app, "owner@example.com", "https://shop.example.com/", "500", f.Clock.Now()))
	f.Outbox(t, "")
}

func TestOutbox(t *testing.T) {
	f := newFixture(t)
	sent(t, f)
	b := f.browser() // nobody is signed in
	page := b.get(t, "/outbox", 200)
	mustSay(t, page, "+12025550101", "+12025550102", "SMS", "E-mail", "owner@example.com", "Callback of Shop was disabled")
	if strings.Index(page.body, "+12025550102") > strings.Index(page.body, "+12025550101") {
		t.Error("the newest message is not first")
	}
	mustSay(t, b.get(t, "/outbox?to=bob@example.com", 200), "Nothing was sent to bob@example.com")

	script := f.browser()
	script.header.Set("Accept", "application/json")
	list := func(query string) (all []map[string]any) {
		t.Helper()
		a := script.get(t, "/outbox"+query, 200)
		if a.Header.Get("Content-Type") != "application/json" {
			t.Errorf("type %s", a.Header.Get("Content-Type"))
		}
		if err := json.Unmarshal([]byte(a.body), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	all := list("")
	if len(all) != 3 || all[0]["channel"] != "email" || all[1]["to"] != "+12025550102" || all[2]["to"] != "+12025550101" {
		t.Fatalf("messages %v", all)
	}
	for _, member := range []string{"id", "time", "channel", "to", "subject", "body", "code"} {
		if _, ok := all[1][member]; !ok {
			t.Errorf("no member %s in %v", member, all[1])
		}
	}
	if code, _ := all[1]["code"].(string); len(code) != 6 || !strings.Contains(all[1]["body"].(string), code) {
		t.Errorf("code %v", all[1])
	}
	for query, want := range map[string]int{"?to=%2B12025550101": 1, "?to=+12025550101": 1, "?to=owner@example.com": 1, "?to=12025550101": 0, "?to=nobody": 0, "?to=": 3} {
		if got := list(query); len(got) != want {
			t.Errorf("outbox%s has %d messages, want %d", query, len(got), want)
		}
	}
	if script.get(t, "/outbox?to=nobody", 200).body != "[]" {
		t.Error("no messages are not an empty list")
	}
}

func TestOutboxOpensOnThisMachineOnly(t *testing.T) {
	f := newFixture(t)
	sent(t, f)
	for _, path := range []string{"/outbox", "/outbox/events"} {
		for what, c := range map[string]struct {
			remote string
			header http.Header
		}{
			"another machine":  {"192.0.2.7:1234", nil},
			"the network":      {"10.0.0.5:1234", nil},
			"no address":       {"@", nil},
			"through a proxy":  {"127.0.0.1:1234", http.Header{"X-Forwarded-For": {"192.0.2.7"}}},
			"through a tunnel": {"[::1]:1234", http.Header{"Forwarded": {"for=192.0.2.7"}}},
		} {
			b := f.browser()
			b.remote, b.header = c.remote, c.header
			if a := b.get(t, path, http.StatusForbidden); strings.Contains(a.body, "2025550101") {
				t.Errorf("%s: %s shows messages", path, what)
			}
		}
		r := httptest.NewRequest("GET", "http://rebound.example:8303"+path, nil)
		if a := f.browser().do(t, r, false); a.StatusCode != http.StatusMisdirectedRequest {
			t.Errorf("%s under another name answers %d", path, a.StatusCode)
		}
	}
	b := f.browser()
	b.remote = "[::1]:1234"
	b.get(t, "/outbox", 200)

	public := newFixture(t, func(c *Config) { c.URL = "https://console.example.com" })
	r := httptest.NewRequest("GET", "https://console.example.com/outbox", nil)
	if a := public.browser().do(t, r, false); a.StatusCode != http.StatusForbidden {
		t.Errorf("a public console shows its outbox: %d", a.StatusCode)
	}
	serve := newFixture(t, func(c *Config) { c.Outbox = nil })
	serve.browser().get(t, "/outbox", 404)
	if strings.Contains(serve.dev(t).get(t, "/", 200).body, "/outbox") {
		t.Error("a console without outbox links to one")
	}
}

func TestOutboxTellsOfNewMessages(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	f := newFixture(t, func(c *Config) { c.URL = "http://" + server.Listener.Addr().String() })
	server.Config.Handler = f.handler
	server.Start()
	defer server.Close()
	answer, err := server.Client().Get(server.URL + "/outbox/events")
	if err != nil || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(answer, err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	waitFor := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), want) {
				return
			}
		}
		t.Fatalf("the stream ended before %q: %v", want, lines.Err())
	}
	waitFor("retry: ")
	f.Jobs.Offer(f.Messages.NewJob("", message.Message{Channel: otp.SMS, To: "+12025550101", Body: "1"}, f.Clock.Now()))
	f.Outbox(t, "")
	waitFor("event: messages")
	f.Live.Close()
	waitFor("event: bye")
}
