// This file proves `countersign device` end to end: the binary as a phone, in a script.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign.dev/client"
)

// device runs `countersign device` with a state file of its own and returns what it prints. It must exit with code.
func (d *dev) device(state string, code int, args ...string) string {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(d.t.Context(), waitWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, raceBinary, append([]string{"device", "--authenticator", d.AuthenticatorURL, "--state", state}, args...)...)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != code {
		d.t.Fatalf("device %q: exit code %d (%v), want %d\n%s%s", args, got, err, code, &stdout, &stderr)
	}
	if code != 0 {
		return stderr.String()
	}
	return stdout.String()
}

// listed is an element of `countersign device list --json`.
type listed struct {
	UUID        string         `json:"uuid"`
	Application string         `json:"application"`
	Message     string         `json:"message"`
	Details     []client.Field `json:"details"`
	ExpiresAt   int64          `json:"expires_at"`
}

func parse[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func TestTerminalAuthenticator(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	c := d.client(d.APIKey)
	enrolments := map[string]func(state string, u user){
		"phone and code": func(state string, u user) {
			d.device(state, 0, "enroll", "--phone", "+1"+u.number)
			d.device(state, 0, "enroll", "--code", d.sentCode(u.number, 1))
		},
		"ticket link": func(state string, u user) {
			ticket, err := c.CreateEnrollmentTicket(t.Context(), u.id)
			if err != nil {
				t.Fatal(err)
			}
			d.device(state, 0, "enroll", "--ticket", ticket.Link)
		},
		"ticket words": func(state string, u user) {
			ticket, err := c.CreateEnrollmentTicket(t.Context(), u.id)
			if err != nil {
				t.Fatal(err)
			}
			d.device(state, 0, "enroll", "--ticket", strings.ToUpper(strings.ReplaceAll(ticket.Words, "-", " ")))
		},
	}
	for name, enrol := range enrolments {
		t.Run(name, func(t *testing.T) {
			d := d.in(t)
			state, u := filepath.Join(t.TempDir(), "device.json"), d.addUser(c)
			enrol(state, u)
			answerAll(t, d, c, state, u)
			codes := parse[[]struct{ Account, Code string }](t, d.device(state, 0, "codes", "--json"))
			if len(codes) != 1 || codes[0].Account != u.email {
				t.Fatalf("codes --json: %+v", codes)
			}
			if _, err := c.VerifyCode(t.Context(), u.id, codes[0].Code, client.CodeOptions{}); err != nil {
				t.Errorf("verify the code of `codes`: %v", err)
			}
		})
	}
}

// answerAll approves one request and denies another.
func answerAll(t *testing.T, d *dev, c *client.Client, state string, u user) {
	t.Helper()
	for command, want := range map[string]string{"approve": client.StatusApproved, "deny": client.StatusDenied} {
		asked, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{
			Message: "Send money to Jarod's vault", Expire: time.Minute,
			Details: []client.Field{{Name: "Request From", Value: "Jarod"}, {Name: "Amount Request", Value: "1,000,000"}, {Name: "Currency", Value: "Galleons"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		list := parse[[]listed](t, d.device(state, 0, "list", "--json"))
		if len(list) != 1 || list[0].UUID != asked.UUID || list[0].Application == "" || list[0].Message != "Send money to Jarod's vault" ||
			fmt.Sprint(list[0].Details) != "[{Request From Jarod} {Amount Request 1,000,000} {Currency Galleons}]" ||
			list[0].ExpiresAt <= time.Now().Unix() || list[0].ExpiresAt > time.Now().Add(time.Minute).Unix() {
			t.Fatalf("list --json: %+v", list)
		}
		d.device(state, 0, command, asked.UUID)
		got, err := c.Approval(t.Context(), asked.UUID)
		if err != nil || got.Status != want {
			t.Errorf("after %s: %s, %v; want %s", command, got.Status, err, want)
		}
		if complaint := d.device(state, 1, map[string]string{"approve": "deny", "deny": "approve"}[command], asked.UUID); !strings.Contains(complaint, "answered already") {
			t.Errorf("the other answer afterwards: %s", complaint)
		}
	}
	if list := d.device(state, 0, "list", "--json"); strings.TrimSpace(list) != "[]" {
		t.Errorf("list --json after all was answered: %s", list)
	}
}
