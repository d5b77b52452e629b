// This file tests the terminal authenticator against an authenticator in memory: enrolment, sessions and errors.

package terminal

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/internal/terminal/terminaltest"
)

// bench is a server and the state file of one terminal.
type bench struct {
	*terminaltest.Server
	file string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return &bench{terminaltest.New(t), filepath.Join(t.TempDir(), "sub", "device.json")}
}

// open returns the terminal as a new process would.
func (b *bench) open(t *testing.T, authenticator string) *Terminal {
	t.Helper()
	terminal, err := New(Config{StateFile: b.file, Authenticator: authenticator})
	if err != nil {
		t.Fatal(err)
	}
	return terminal
}

// enrolled returns the terminal of an enrolled device.
func (b *bench) enrolled(t *testing.T) *Terminal {
	t.Helper()
	if _, err := b.open(t, b.URL).RedeemTicket(t.Context(), b.Ticket("ana@example.com"), "desk"); err != nil {
		t.Fatal(err)
	}
	return b.open(t, "")
}

// says fails the test unless err is there and its sentence has every part.
func says(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one that says %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}

func TestEnrolByCode(t *testing.T) {
	b := newBench(t)
	pending, err := b.open(t, b.URL).RequestCode(t.Context(), "+12025550123")
	if err != nil || pending.Phone != "+12025550123" || pending.ExpiresAt == 0 {
		t.Fatalf("%+v, %v", pending, err)
	}
	_, err = b.open(t, "").ConfirmCode(t.Context(), "0000000", "desk")
	says(t, err, "The code is wrong.", "enroll --code CODE")
	enrolment, err := b.open(t, "").ConfirmCode(t.Context(), terminaltest.Code, "desk")
	if err != nil || enrolment.Name != "desk" || len(enrolment.Grants) != 1 || enrolment.Grants[0].Account != "ana@example.com" {
		t.Fatalf("%+v, %v", enrolment, err)
	}
	_, err = b.open(t, "").ConfirmCode(t.Context(), terminaltest.Code, "desk")
	says(t, err, "no code is awaited", "enroll --phone NUMBER")
	if _, err := b.open(t, "").Approvals(t.Context()); err != nil {
		t.Error(err)
	}
	if b.Requests("POST /sessions") != 0 {
		t.Error("the session of the enrolment was not kept")
	}
	info, err := os.Stat(b.file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state file: %v, %v", info.Mode(), err)
	}
}

func TestEnrolRefused(t *testing.T) {
	b := newBench(t)
	_, err := b.open(t, "").RequestCode(t.Context(), "+12025550123")
	says(t, err, "which authenticator?", "--authenticator")
	_, err = b.open(t, b.URL).RequestCode(t.Context(), "2025550123")
	says(t, err, "not a phone number")
	if _, err = b.open(t, b.URL).RequestCode(t.Context(), "+12025550123"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err = b.open(t, "").ConfirmCode(t.Context(), "1", "desk")
		says(t, err, "wrong")
	}
	_, err = b.open(t, "").ConfirmCode(t.Context(), terminaltest.Code, "desk")
	says(t, err, "not valid any more.", "enroll --phone NUMBER")
	_, err = b.open(t, "").Approvals(t.Context())
	says(t, err, "not enrolled yet", "enroll --help")
	for code, part := range map[string]string{"second-device": "--ticket LINK", "key-in-use": "--state", "limited": "Try again in 7 s."} {
		b.SetRefuse(func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPost {
				return false
			}
			if code == "limited" {
				w.Header().Set("Retry-After", "7")
			}
			terminaltest.Problem(w, http.StatusConflict, code, "Told by the server")
			return true
		})
		_, err = b.open(t, "").ConfirmCode(t.Context(), terminaltest.Code, "desk")
		says(t, err, "Told by the server.", part)
	}
}

func TestEnrolByTicket(t *testing.T) {
	b := newBench(t)
	link := b.URL + "/enroll#" + b.Ticket("ana@example.com")
	first, err := b.open(t, "").RedeemTicket(t.Context(), link, "desk")
	if err != nil {
		t.Fatal(err)
	}
	if got := b.open(t, ""); got.read() != nil || got.state.Authenticator != b.Origin {
		t.Errorf("authenticator %q, want the server's own spelling %q", got.state.Authenticator, b.Origin)
	}
	_, err = b.open(t, "").RedeemTicket(t.Context(), link, "desk")
	says(t, err, "cannot be used")

	typed := strings.ToUpper(strings.ReplaceAll(b.Ticket("ben@example.com"), "-", " "))
	second, err := b.open(t, b.Origin).RedeemTicket(t.Context(), " "+typed+"\n", "desk")
	if err != nil {
		t.Fatal(err)
	}
	if second.Device != first.Device {
		t.Error("the second ticket made a second device")
	}
	codes, err := b.open(t, "").Codes()
	if err != nil || len(codes) != 2 || codes[1].Account != "ben@example.com" {
		t.Errorf("%+v, %v", codes, err)
	}
	for ticket, part := range map[string]string{
		"":                                     "has 8 words, this one has 0",
		"lusab-babad":                          "has 8 words, this one has 2",
		"lusab-babad-gutih-tugad-x":            `"x" is not a word`,
		"http://localhost:1/enroll":            "8 words",
		"/enroll#lusab":                        "not an enrolment link",
		"http://auth.example.com/enroll#lusab": "not safe",
	} {
		_, _, err := parseTicket(ticket)
		says(t, err, part)
	}
}

// TestEnrolAgain: a server that forgot the device gives the same key a new one, and old grants go.
func TestEnrolAgain(t *testing.T) {
	b := newBench(t)
	b.enrolled(t)
	b.RemoveDevices()
	_, err := b.open(t, "").Approvals(t.Context())
	says(t, err, "not signed in.", "Enrol again")
	if _, err := b.open(t, "").RedeemTicket(t.Context(), b.Ticket("new@example.com"), "desk"); err != nil {
		t.Fatal(err)
	}
	codes, err := b.open(t, "").Codes()
	if err != nil || len(codes) != 1 || codes[0].Account != "new@example.com" {
		t.Errorf("%+v, %v", codes, err)
	}
}

// A device that takes a second user keeps its name, whatever it would be called now.
func TestEnrolSecondUser(t *testing.T) {
	b := newBench(t)
	b.enrolled(t)
	again, err := b.open(t, "").RedeemTicket(t.Context(), b.Ticket("bob@example.com"), "another name")
	if err != nil || again.Name != "desk" {
		t.Errorf("%+v, %v", again, err)
	}
	if codes, err := b.open(t, "").Codes(); err != nil || len(codes) != 2 {
		t.Errorf("%+v, %v", codes, err)
	}
}

func TestWrongOrigin(t *testing.T) {
	for name, origin := range map[string]string{
		"another host": "https://auth.example.com",
		"another port": "http://localhost:1",
		"nothing":      "",
	} {
		b := newBench(t)
		b.Origin = origin
		_, err := b.open(t, b.URL).RequestCode(t.Context(), "+12025550123")
		says(t, err, b.URL, `"`+origin+`"`, "nothing was signed")
		if _, err := os.Stat(b.file); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a state was written", name)
		}
	}
	// A server that changes its mind later gets no session proof for the new name.
	b := newBench(t)
	device := b.enrolled(t)
	b.SignOut()
	b.Origin = "https://auth.example.com"
	_, err := device.Approvals(t.Context())
	says(t, err, "nothing was signed")
	if b.Requests("POST /sessions") != 0 {
		t.Error("a proof was sent")
	}
}

func TestOneAuthenticatorPerState(t *testing.T) {
	b, other := newBench(t), newBench(t)
	if _, err := b.open(t, b.URL).RequestCode(t.Context(), "+12025550123"); err != nil {
		t.Fatal(err)
	}
	other.file = b.file // not enrolled yet: free to choose another authenticator
	other.enrolled(t)
	_, err := b.open(t, b.URL).Approvals(t.Context())
	says(t, err, b.file, other.Origin, b.URL, "--state")
	_, err = b.open(t, "").RedeemTicket(t.Context(), b.URL+"/enroll#"+b.Ticket("a"), "desk")
	says(t, err, other.Origin, b.URL)
	if b.Requests("POST /enrollments/confirm") != 0 {
		t.Error("a key of one authenticator was shown to another")
	}
}

func TestSessionIsRenewedOnce(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	b.SignOut()
	if _, err := device.Approvals(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.open(t, "").Approvals(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := b.Requests("POST /sessions"); n != 1 {
		t.Errorf("%d new sessions, want 1 that is kept", n)
	}
	b.SetRefuse(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/device/v1/approvals" {
			return false
		}
		terminaltest.Problem(w, http.StatusUnauthorized, "not-signed-in", "No")
		return true
	})
	before := b.Requests("GET /approvals")
	_, err := device.Approvals(t.Context())
	says(t, err, "Enrol again")
	if n := b.Requests("GET /approvals") - before; n != 2 {
		t.Errorf("%d tries, want 2", n)
	}
}

func TestUnreachable(t *testing.T) {
	b := newBench(t)
	b.enrolled(t)
	answer := func(status int, contentType, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	for name, refuse := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"502 Bad Gateway": answer(502, "text/html", "<h1>502</h1>"),
		"302 Found":       answer(302, "text/html", ""),
		"200 OK":          answer(200, "text/html", "<h1>Welcome</h1>"),
		"404 Not Found":   answer(404, "application/problem+json", "{"),
		"EOF":             func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) },
	} {
		b.SetRefuse(refuse)
		_, err := b.open(t, "").Approvals(t.Context())
		says(t, err, "cannot reach the authenticator at "+b.Origin, name)
		if !errors.As(err, new(*Unreachable)) {
			t.Errorf("%s: %T", name, err)
		}
	}
	if b.Requests("GET /elsewhere") != 0 {
		t.Error("a redirect was followed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.SetRefuse(func(_ http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	})
	if _, err := b.open(t, "").Approvals(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	slow := &Unreachable{"http://localhost:1", context.DeadlineExceeded}
	says(t, slow, "no answer within 15 s")
}

func TestProblemText(t *testing.T) {
	for _, test := range []struct {
		problem Problem
		want    string
	}{
		{Problem{Status: 503}, "Service Unavailable."},
		{Problem{Status: 599}, "error."},
		{Problem{Detail: "Really?", RetryAfter: 90 * time.Second}, "Really? Try again in 90 s."},
	} {
		if diff := cmp.Diff(test.want, test.problem.Error()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestParseOrigin(t *testing.T) {
	for address, want := range map[string]string{
		"http://localhost:8302":       "http://localhost:8302",
		"http://LOCALHOST:8302/":      "http://localhost:8302",
		"http://127.8.0.1":            "http://127.8.0.1:80",
		"http://[::1]:1":              "http://[::1]:1",
		"https://Auth.example.com":    "https://auth.example.com:443",
		"HTTPS://auth.example.com:44": "https://auth.example.com:44",
	} {
		got, err := parseOrigin(address)
		if err != nil || got.String() != want {
			t.Errorf("%s: got %v, %v, want %s", address, got, err, want)
		}
	}
	for _, address := range []string{
		"", "localhost:8302", "ftp://a", "http://", "https://:1", "https://a/b", "https://a?b", "https://a#b", "https://u@a",
		"http://a.example.com", "http://192.0.2.1", "http://localhost.example.com", "https://a b", "https://a:x",
	} {
		if got, err := parseOrigin(address); err == nil {
			t.Errorf("%q: got %v, want an error", address, got)
		}
		if _, err := New(Config{StateFile: "x", Authenticator: address}); address != "" && err == nil {
			t.Errorf("%q: New accepts it", address)
		}
	}
}

func TestSameServer(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"http://localhost:8302", "http://127.0.0.1:8302", true},
		{"http://[::1]:8302", "http://127.0.0.1:8302", true},
		{"http://[::1]", "http://localhost:80/", true},
		{"https://a.example.com:443", "https://A.example.com", true},
		{"http://localhost:8302", "http://localhost:8303", false},
		{"http://localhost:8302", "https://localhost:8302", false},
		{"https://localhost", "https://a.example.com", false},
		{"https://a.example.com", "https://b.example.com", false},
		{"http://127.0.0.2:1", "http://localhost:1", false},
		{"", "", false},
	} {
		if sameServer(test.a, test.b) != test.want || sameServer(test.b, test.a) != test.want {
			t.Errorf("%s and %s: not %v", test.a, test.b, test.want)
		}
	}
}

// TestParallelEnrolments: terminals that share a state file become one device with all grants.
func TestParallelEnrolments(t *testing.T) {
	b := newBench(t)
	const terminals = 8
	var group sync.WaitGroup
	for i := range terminals {
		ticket := b.Ticket(string(rune('a'+i)) + "@example.com")
		device := b.open(t, b.URL)
		group.Go(func() {
			if _, err := device.RedeemTicket(t.Context(), ticket, "desk"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	codes, err := b.open(t, "").Codes()
	if err != nil || len(codes) != terminals {
		t.Errorf("%d codes, %v; want %d", len(codes), err, terminals)
	}
	if _, err := b.open(t, "").Approvals(t.Context()); err != nil || b.Requests("POST /sessions") != 0 {
		t.Errorf("after it: %v", err)
	}
}
