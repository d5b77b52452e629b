// This file proves that applications are strangers to each other: what belongs to one is, for the other's key and for
// the other's devices, exactly as if it did not exist.

package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/client/receipt"
	"countersign.dev/internal/terminal"
)

// estate is what one application owns.
type estate struct {
	app      application
	client   *client.Client
	user     user
	phone    *phone
	grant    terminal.Grant
	approval client.Approval // pending
}

const sameKey = "one-idempotency-key"

// newEstate makes an application with a user and a device, and an approval that waits.
func newEstate(t *testing.T, d *dev, operator *console, name, number string) estate {
	t.Helper()
	e := estate{app: operator.newApplication(name), phone: d.newPhone()}
	e.client = d.client(e.app.key)
	e.user = user{number: number, email: strings.ToLower(name) + "@example.com"}
	var err error
	if e.user.id, err = e.client.AddUser(t.Context(), client.NewUser{Email: e.user.email, CountryCode: "1", Phone: number}); err != nil {
		t.Fatal(err)
	}
	e.grant = e.phone.enrol(e.client, e.user).Grants[0]
	if e.approval, err = e.client.CreateApproval(t.Context(), e.user.id, client.ApprovalRequest{Message: "Log in to " + name, IdempotencyKey: sameKey}); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestApplicationsAreStrangers: two applications, with a user of the same phone number each; one is hostile.
func TestApplicationsAreStrangers(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	operator, number := d.console(), newNumber()
	good := newEstate(t, d, operator, "Good", number)
	evil := newEstate(t, d, operator, "Evil", number)
	if good.user.id == evil.user.id || good.approval.UUID == evil.approval.UUID {
		t.Fatalf("both applications know one thing by one name: %d %s", good.user.id, good.approval.UUID)
	}
	before := good.view(t)

	t.Run("API", func(t *testing.T) { d := d.in(t); strangerAPI(t, d, good, evil) })
	t.Run("device", func(t *testing.T) { d := d.in(t); strangerDevice(t, d, good, evil) })

	if after := good.view(t); after != before {
		t.Errorf("what the good application sees was\n%s\nand is\n%s", before, after)
	}
	// All of it still works: no try, no code and no request was used up.
	if _, err := good.client.VerifyCode(t.Context(), good.user.id, good.phone.code(good.user.email), client.CodeOptions{}); err != nil {
		t.Errorf("the good user's code: %v", err)
	}
	good.phone.answer(good.approval.UUID, "approve")
	if got, err := evil.client.Approval(t.Context(), evil.approval.UUID); err != nil || got.Status != client.StatusPending {
		t.Errorf("the evil approval after the good one was approved: %s, %v", got.Status, err)
	}
}

// view is all that an application and its device see of themselves.
func (e estate) view(t *testing.T) string {
	t.Helper()
	status, err := e.client.User(t.Context(), e.user.id)
	if err != nil {
		t.Fatal(err)
	}
	approval, err := e.client.Approval(t.Context(), e.approval.UUID)
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := e.phone.Approvals(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	status.Confirmed = true // becomes so on the way
	for i := range status.DetailedDevices {
		status.DetailedDevices[i].LastSeenAt = time.Time{} // moves with every look
	}
	text, err := json.MarshalIndent([]any{status, approval, len(waiting)}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// strangerAPI tries every route of the API with the evil key and the good application's identifiers.
func strangerAPI(t *testing.T, d *dev, good, evil estate) {
	rightCode := good.phone.code(good.user.email)
	const noUser, noApproval = "1999999999", "00000000-0000-4000-8000-000000000000"
	routes := []struct {
		method, path string // %s is the identifier
		form         url.Values
	}{
		{"GET", "/protected/json/users/%s/status", nil},
		{"POST", "/protected/json/users/%s/remove", nil},
		{"POST", "/protected/json/users/%s/delete", nil},
		{"POST", "/protected/json/users/delete/%s", nil},
		{"GET", "/protected/json/verify/" + rightCode + "/%s", nil},
		{"GET", "/protected/json/verify/" + rightCode + "/%s", url.Values{"force": {"true"}}},
		{"GET", "/protected/json/sms/%s", nil},
		{"GET", "/protected/json/sms/%s", url.Values{"force": {"true"}}},
		{"POST", "/onetouch/json/users/%s/approval_requests", url.Values{"message": {"Log in"}}},
		{"POST", "/onetouch/json/users/%s/enrollment_tickets", nil},
		{"GET", "/onetouch/json/approval_requests/%s", nil},
		{"GET", "/onetouch/json/approval_requests/%s", url.Values{"wait": {"1"}}},
		{"POST", "/onetouch/json/approval_requests/%s/cancel", nil},
	}
	for _, route := range routes {
		foreign, unknown := id(good.user.id), noUser
		if strings.Contains(route.path, "approval_requests/%s") {
			foreign, unknown = good.approval.UUID, noApproval
		}
		ask := func(identifier string) string {
			got := d.mustCall(evil.app.key, route.method, fmt.Sprintf(route.path, identifier), route.form)
			if got.status < 400 || got.status >= 500 {
				t.Errorf("%s %s with the evil key: %d %s", route.method, route.path, got.status, got.body)
			}
			return fmt.Sprint(got.status, " ", strings.ReplaceAll(got.body, identifier, "ID"))
		}
		if foreignly, unknownly := ask(foreign), ask(unknown); foreignly != unknownly {
			t.Errorf("%s %s tells that the other application has it:\n%s\n%s", route.method, route.path, foreignly, unknownly)
		}
	}
	// Wrong codes for a foreign user use up nobody's tries.
	for i := range 8 {
		d.mustCall(evil.app.key, "GET", fmt.Sprintf("/protected/json/verify/%07d/%d", i, good.user.id), nil)
	}
	// A code for the good user, sent to the number that both have, is no code of the evil user.
	if _, err := good.client.SendSMS(t.Context(), good.user.id, client.CodeMessage{Force: true}); err != nil {
		t.Fatal(err)
	}
	sent := d.sentCode(good.user.number, 1)
	if _, err := evil.client.VerifyCode(t.Context(), evil.user.id, sent, client.CodeOptions{}); err == nil {
		t.Error("a code that the good application sent verified for the evil one's user")
	}
	if _, err := evil.client.VerifyCode(t.Context(), evil.user.id, good.phone.code(good.user.email), client.CodeOptions{}); err == nil {
		t.Error("an app code of the good application verified for the evil one's user")
	}
	if _, err := good.client.VerifyCode(t.Context(), good.user.id, sent, client.CodeOptions{}); err != nil {
		t.Errorf("the code that was sent, by who sent it: %v", err)
	}
	// The same number again gives each application its own user, and says nothing about the other.
	if again, err := evil.client.AddUser(t.Context(), client.NewUser{Email: "x@example.com", CountryCode: "1", Phone: good.user.number}); err != nil || again != evil.user.id {
		t.Errorf("the same number again: %d, %v; want %d", again, err, evil.user.id)
	}
	status, err := evil.client.User(t.Context(), evil.user.id)
	if err != nil || len(status.DetailedDevices) != 1 || status.DetailedDevices[0].ID != evil.grant.ID {
		t.Errorf("the evil user's devices: %+v, %v; want its own one only", status.DetailedDevices, err)
	}
}

// raw is a device that says what it likes: the terminal's key and session, without its manners.
type raw struct {
	d             *dev
	key           *ecdsa.PrivateKey
	device, token string
}

func (p *phone) raw(d *dev, stateFile string) raw {
	p.t.Helper()
	text, err := os.ReadFile(stateFile)
	if err != nil {
		p.t.Fatal(err)
	}
	state := parse[struct {
		PrivateKey []byte `json:"private_key"`
		Device     string `json:"device"`
		Session    string `json:"session"`
	}](p.t, string(text))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), state.PrivateKey)
	if err != nil {
		p.t.Fatal(err)
	}
	return raw{d, key, state.Device, state.Session}
}

// do makes one call of the device API and returns status and body.
func (r raw) do(method, path string, body any) string {
	r.d.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		r.d.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(r.d.t.Context(), method, r.d.AuthenticatorURL+"/device/v1/"+path, bytes.NewReader(text))
	if err != nil {
		r.d.t.Fatal(err)
	}
	request.AddCookie(&http.Cookie{Name: "countersign_device", Value: r.token})
	request.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.d.t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		r.d.t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", answer.StatusCode, got)
}

// strangerDevice tries every route of the device API from a device of the evil application.
func strangerDevice(t *testing.T, d *dev, good, evil estate) {
	r := evil.phone.raw(d, evil.phone.file)
	if got := r.do("GET", "approvals", nil); !strings.HasPrefix(got, "200 ") || !strings.Contains(got, evil.approval.UUID) {
		t.Fatalf("the evil device does not work at all: %s", got)
	}
	for _, list := range []string{"grants", "approvals", "devices"} {
		got := r.do("GET", list, nil)
		for _, secret := range []string{good.app.id, good.approval.UUID, good.user.email, `"Good"`, fmt.Sprintf(`:%d,`, good.grant.ID)} {
			if strings.Contains(got, secret) {
				t.Errorf("GET %s tells %s of the other application: %s", list, secret, got)
			}
		}
	}
	signed := func(uuid string) map[string]string {
		answer := receipt.Answer{
			Origin: d.AuthenticatorURL, Application: good.app.id, User: good.user.id, Device: r.device, Approval: uuid, Decision: receipt.Approve,
			Shown: receipt.Content{Application: "Good", Message: "Log in to Good"}.Digest(), Hidden: receipt.HiddenDigest(nil), Nonce: "AAAAAAAAAAAAAAAAAAAAAA",
		}
		signature, err := receipt.Sign(r.key, answer.Canonical())
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{"decision": "approve", "match": "", "signature": signature}
	}
	const noApproval, noGrant = "00000000-0000-4000-8000-000000000000", "1999999999"
	for _, route := range []struct {
		method, path, foreign, unknown string
		body                           func(identifier string) map[string]string
	}{
		{"GET", "approvals/%s", good.approval.UUID, noApproval, nil},
		{"POST", "approvals/%s/answer", good.approval.UUID, noApproval, signed},
		{"DELETE", "grants/%s", id(good.grant.ID), noGrant, nil},
	} {
		ask := func(identifier string) string {
			var body any
			if route.body != nil {
				body = route.body(identifier)
			}
			got := r.do(route.method, fmt.Sprintf(route.path, identifier), body)
			if got[0] != '4' {
				t.Errorf("%s %s from the evil device: %s", route.method, route.path, got)
			}
			return strings.ReplaceAll(got, identifier, "ID")
		}
		if foreignly, unknownly := ask(route.foreign), ask(route.unknown); foreignly != unknownly {
			t.Errorf("%s %s tells that the other application has it:\n%s\n%s", route.method, route.path, foreignly, unknownly)
		}
	}
	strangerEnrolment(t, d, good, evil)
}

// strangerEnrolment: tickets and enrolments give what they were made for, once, and nothing else.
func strangerEnrolment(t *testing.T, d *dev, good, evil estate) {
	ticket, err := good.client.CreateEnrollmentTicket(t.Context(), good.user.id)
	if err != nil {
		t.Fatal(err)
	}
	owner := d.newPhone()
	if _, err := owner.RedeemTicket(t.Context(), ticket.Words, "second phone"); err != nil {
		t.Fatal(err)
	}
	look := func(words string) string {
		return evil.phone.raw(d, evil.phone.file).do("POST", "tickets/look", map[string]string{"ticket": words})
	}
	if used, unknown := look(ticket.Words), look(strings.Repeat("babab-", 7)+"babab"); used != unknown || !strings.HasPrefix(used, "410 ") {
		t.Errorf("a used ticket of the other application tells of itself:\n%s\n%s", used, unknown)
	}
	if _, err := evil.phone.RedeemTicket(t.Context(), ticket.Words, ""); err == nil {
		t.Error("a used ticket worked again")
	}
	own, err := evil.client.CreateEnrollmentTicket(t.Context(), evil.user.id)
	if err != nil {
		t.Fatal(err)
	}
	enrolment, err := d.newPhone().RedeemTicket(t.Context(), own.Words, "evil second phone")
	if err != nil {
		t.Fatal(err)
	}
	for _, grant := range enrolment.Grants {
		if grant.Application.ID != evil.app.id {
			t.Errorf("an evil ticket gave a grant for %s", grant.Application.Name)
		}
	}
	// The second phone goes away again, so that the view afterwards is the view before.
	owned := owner.raw(d, owner.file)
	grants, err := good.client.User(t.Context(), good.user.id)
	if err != nil {
		t.Fatal(err)
	}
	for _, device := range grants.DetailedDevices {
		if device.ID != good.grant.ID {
			if got := owned.do("DELETE", "grants/"+id(device.ID), nil); !strings.HasPrefix(got, "204") {
				t.Errorf("remove the second phone: %s", got)
			}
		}
	}
}
