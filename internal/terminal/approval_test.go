// This file tests reading and answering approvals. The server in memory checks every signature against its own row.

package terminal

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/terminal/terminaltest"
)

// decide answers an approval as the command does: read it first, then sign what was read.
func decide(t *testing.T, device *Terminal, uuid, decision, match string) (string, error) {
	t.Helper()
	a, err := device.Approval(t.Context(), uuid)
	if err != nil {
		return "", err
	}
	status, _, err := device.Answer(t.Context(), a, decision, match)
	return status, err
}

func TestList(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	if got, err := device.Approvals(t.Context()); err != nil || len(got) != 0 {
		t.Fatalf("%v, %v", got, err)
	}
	first := b.Ask("Log in?", "", nil)
	second := b.Ask("Pay?", "123", func(a *terminaltest.Approval) { a.ExpiresAt = 0 })
	got, err := device.Approvals(t.Context())
	if err != nil || len(got) != 2 || got[0].UUID != second || got[1].UUID != first {
		t.Fatalf("%+v, %v", got, err)
	}
	want := receipt.Content{Application: "Example Shop", Message: "Pay?", Details: []receipt.Field{{Name: "Zone", Value: "a"}, {Name: "IP", Value: "192.0.2.7"}}}
	if diff := cmp.Diff(want, got[0].Content); diff != "" {
		t.Error(diff)
	}
	if got[0].MatchDigits != 3 || !got[0].ExpiresAt.IsZero() || got[1].MatchDigits != 0 || got[1].ExpiresAt.IsZero() || got[0].Account != "ana@example.com" {
		t.Errorf("%+v", got)
	}
	_, err = device.Approval(t.Context(), "no/such one")
	says(t, err, "no approval no/such one", "device list")
}

func TestAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, number string
		change       func(*terminaltest.Approval)
		decision     string
		match        string
		want         string
	}{
		{name: "approve", decision: receipt.Approve, want: "approved"},
		{name: "deny", decision: receipt.Deny, want: "denied"},
		{name: "approve with a number", number: "042", decision: receipt.Approve, match: "042", want: "approved"},
		{name: "deny without the number", number: "042", decision: receipt.Deny, want: "denied"},
		{name: "never expires", decision: receipt.Approve, want: "approved", change: func(a *terminaltest.Approval) { a.ExpiresAt = 0 }},
		{name: "no details, a logo", decision: receipt.Approve, want: "approved", change: func(a *terminaltest.Approval) {
			a.Details, a.Logo = nil, strings.Repeat("ab", 32)
		}},
		{name: "hidden details", decision: receipt.Approve, want: "approved", change: func(a *terminaltest.Approval) {
			a.Sign.Hidden = receipt.HiddenDigest([]receipt.Field{{Name: "n", Value: "v"}})
		}},
		{name: "texts of many scripts", decision: receipt.Approve, want: "approved", change: func(a *terminaltest.Approval) {
			a.Message = "¿Entrar? \"登录\" \\ 🎉 <&>"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			device := b.enrolled(t)
			uuid := b.Ask("Log in?", tt.number, tt.change)
			for range 2 { // the same answer again is accepted again
				status, err := decide(t, device, uuid, tt.decision, tt.match)
				if err != nil || status != tt.want || b.Status(uuid) != tt.want {
					t.Fatalf("%s, %v; the server says %s", status, err, b.Status(uuid))
				}
			}
			other := map[string]string{receipt.Approve: receipt.Deny, receipt.Deny: receipt.Approve}[tt.decision]
			_, err := decide(t, device, uuid, other, tt.number)
			says(t, err, "decided already.")
		})
	}
}

func TestAnswerAfterSessionEnded(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	uuid := b.Ask("Log in?", "", nil)
	a, err := device.Approval(t.Context(), uuid)
	if err != nil {
		t.Fatal(err)
	}
	b.SignOut()
	if _, at, err := device.Answer(t.Context(), a, receipt.Approve, ""); err != nil || time.Since(at) > time.Minute {
		t.Error(at, err)
	}
}

func TestAnswerRefusedByServer(t *testing.T) {
	b := newBench(t)
	now := time.Now()
	b.Now = func() time.Time { return now }
	device := b.enrolled(t)
	numbered := b.Ask("Log in?", "123", nil)
	_, err := decide(t, device, numbered, receipt.Approve, "124")
	says(t, err, "The number does not match")
	if b.Status(numbered) != "denied" {
		t.Error(b.Status(numbered))
	}
	late := b.Ask("Log in?", "", nil)
	now = now.Add(time.Hour)
	_, err = decide(t, device, late, receipt.Approve, "")
	says(t, err, "has expired.")
}

// TestAnswerNotSent: what only a slip or a lying server explains is not signed.
func TestAnswerNotSent(t *testing.T) {
	for _, tt := range []struct {
		name, number, match, want string
		lie                       func(*terminaltest.Approval)
	}{
		{name: "number missing", number: "123", want: "3 digits that Example Shop shows"},
		{name: "number too short", number: "123", match: "12", want: "3 digits"},
		{name: "number of letters", number: "123", match: "12a", want: "3 digits"},
		{name: "number nobody asked for", match: "12", want: "leave --match away"},
		{name: "another origin", want: "https://auth.example.com", lie: func(a *terminaltest.Approval) { a.Sign.Origin = "https://auth.example.com" }},
		{name: "another device", want: "another device", lie: func(a *terminaltest.Approval) { a.Sign.Device = "x" }},
	} {
		b := newBench(t)
		b.Lie = tt.lie
		device := b.enrolled(t)
		uuid := b.Ask("Log in?", tt.number, nil)
		_, err := decide(t, device, uuid, receipt.Approve, tt.match)
		says(t, err, tt.want)
		if b.Status(uuid) != "pending" || b.Requests("POST /approvals/"+uuid+"/answer") != 0 {
			t.Errorf("%s: an answer was sent", tt.name)
		}
	}
}

// TestSignsWhatWasShown: whatever the server shows instead of its row, the signature does not fit the row.
func TestSignsWhatWasShown(t *testing.T) {
	for name, lie := range map[string]func(*terminaltest.Approval){
		"message":     func(a *terminaltest.Approval) { a.Message = "Pay 10?" },
		"detail":      func(a *terminaltest.Approval) { a.Details = []receipt.Field{{Name: "Zone", Value: "b"}} },
		"application": func(a *terminaltest.Approval) { a.Application.Name = "Example Bank" },
		"logo":        func(a *terminaltest.Approval) { a.Logo = strings.Repeat("00", 32) },
		"expiry":      func(a *terminaltest.Approval) { a.ExpiresAt++ },
		"unclean":     func(a *terminaltest.Approval) { a.Message += "\x1b[2J" + "\u202e!" },
	} {
		b := newBench(t)
		b.Lie = lie
		device := b.enrolled(t)
		uuid := b.Ask("Pay 1000?", "", nil)
		_, err := decide(t, device, uuid, receipt.Approve, "")
		if name == "unclean" {
			if a, err := device.Approval(t.Context(), uuid); err != nil || a.Content.Message != "Pay 1000?[2J!" {
				t.Errorf("%q, %v", a.Content.Message, err)
			}
		}
		says(t, err, "does not fit.", "Nothing was decided")
	}
}

// TestLoopbackNameChanges: a server that now calls itself by another name of this machine is signed for by that name.
func TestLoopbackNameChanges(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	b.Origin = strings.Replace(b.Origin, "localhost", "127.0.0.1", 1)
	for range 2 {
		if _, err := decide(t, device, b.Ask("Log in?", "", nil), receipt.Approve, ""); err != nil {
			t.Fatal(err)
		}
		b.SignOut()
	}
}

func TestServerWithoutWords(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	b.SetRefuse(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = w.Write([]byte("{}"))
		return true
	})
	a, err := device.Approval(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = device.Answer(t.Context(), a, receipt.Approve, "")
	says(t, err, "nothing was signed")
}
