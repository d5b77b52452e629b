// This file proves that an Authy client library works with only the base URL changed.

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"testing"
)

// authy calls the npm client `authy` 1.4.0 and returns what its callback got.
func authy(t *testing.T, d *dev, method string, parameters ...any) map[string]any {
	t.Helper()
	text, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", "authy.js", method, string(text))
	cmd.Dir = "npm"
	cmd.Env = append(os.Environ(), "API_URL="+d.APIURL, "API_KEY="+d.APIKey, "NODE_OPTIONS=--no-deprecation")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%s", err, exit.Stderr)
		}
		t.Fatalf("node authy.js %s: %v (the library is installed by `npm ci` in e2e/npm)", method, err)
	}
	var told struct{ Error, Result map[string]any }
	if err := json.Unmarshal(out, &told); err != nil {
		t.Fatalf("%s: %v: %s", method, err, out)
	}
	if told.Error != nil {
		t.Fatalf("%s: %v", method, told.Error)
	}
	return told.Result
}

// TestNPMClient: it adds a user, asks for approval, reads it, requests an SMS, verifies.
func TestNPMClient(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	number := newNumber()
	email := "npm" + number + "@example.com"

	added := authy(t, d, "register_user", email, number, "1")
	registered, _ := added["user"].(map[string]any)
	id, ok := registered["id"].(float64)
	if !ok || id < 1 {
		t.Fatalf("register_user: %v", added)
	}
	u := user{id: int64(id), email: email, number: number}
	p := d.newPhone()
	p.enrol(d.client(d.APIKey), u)
	status, _ := authy(t, d, "user_status", u.id)["status"].(map[string]any)
	if status["registered"] != true || status["authy_id"] != id {
		t.Errorf("user_status: %v", status)
	}

	asked := authy(t, d, "send_approval_request", u.id, map[string]any{
		"message": "Log in to Example", "details": map[string]string{"Account": email, "Place": "Zürich & Bern"}, "seconds_to_expire": 120,
	}, map[string]string{"transfer": "42"}, nil)
	uuid, _ := asked["approval_request"].(map[string]any)["uuid"].(string)
	if !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(uuid) {
		t.Fatalf("send_approval_request: %v", asked)
	}
	read := func() any {
		t.Helper()
		request, _ := authy(t, d, "check_approval_status", uuid)["approval_request"].(map[string]any)
		return request["status"]
	}
	if got := read(); got != "pending" {
		t.Errorf("check_approval_status: %v, want pending", got)
	}
	shown, err := p.Approval(t.Context(), uuid)
	if err != nil {
		t.Fatal(err)
	}
	if shown.Content.Message != "Log in to Example" || len(shown.Content.Details) != 2 || shown.Content.Details[1].Value != "Zürich & Bern" {
		t.Errorf("the phone shows %+v", shown.Content)
	}
	p.answer(uuid, "approve")
	if got := read(); got != "approved" {
		t.Errorf("check_approval_status: %v, want approved", got)
	}

	if sent := authy(t, d, "request_sms", u.id); sent["ignored"] != true {
		t.Errorf("request_sms for somebody with the app: %v, want it ignored", sent)
	}
	if sent := authy(t, d, "request_sms", u.id, true); sent["success"] != true || sent["ignored"] == true {
		t.Errorf("request_sms with force: %v", sent)
	}
	if verified := authy(t, d, "verify", u.id, d.sentCode(number, 1), true); verified["token"] != "is valid" || verified["success"] != "true" {
		t.Errorf("verify: %v", verified)
	}
	if verified := authy(t, d, "verify", u.id, p.code(email)); verified["token"] != "is valid" {
		t.Errorf("verify an app code: %v", verified)
	}
	if removed := authy(t, d, "delete_user", u.id); removed["success"] != true {
		t.Errorf("delete_user: %v", removed)
	}
}
