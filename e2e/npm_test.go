// This file proves that Authy's client libraries work with only the base URL changed: every method of two of them,
// unmodified, on good and bad paths. authy-client checks what comes back by itself.

package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"countersign.dev/client"
)

// library is a running client library.
type library struct {
	t      *testing.T
	in     io.WriteCloser
	out    *bufio.Scanner
	stderr *bytes.Buffer
}

// startLibrary starts the npm package of that name, as an application with that key.
func startLibrary(t *testing.T, d *dev, name, key string) *library {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "client.js", name)
	cmd.Dir = "npm"
	cmd.Env = append(os.Environ(), "API_URL="+d.APIURL, "API_KEY="+key, "NODE_OPTIONS=--no-deprecation")
	l := &library{t: t, stderr: &bytes.Buffer{}}
	cmd.Stderr = l.stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	l.in, l.out = in, bufio.NewScanner(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait() // what it did was told line by line
	})
	return l
}

type told struct{ Error, Result map[string]any }

func (l *library) call(method string, parameters ...any) (answer told) {
	l.t.Helper()
	line, err := json.Marshal(append([]any{method}, parameters...))
	if err != nil {
		l.t.Fatal(err)
	}
	if _, err := l.in.Write(append(line, '\n')); err != nil {
		l.t.Fatal(err)
	}
	if !l.out.Scan() {
		l.t.Fatalf("%s: the client ended (the libraries are installed by `npm ci` in e2e/npm)\n%s", method, l.stderr)
	}
	if err := json.Unmarshal(l.out.Bytes(), &answer); err != nil {
		l.t.Fatalf("%s: %v: %s", method, err, l.out.Bytes())
	}
	return answer
}

// good makes a call that must succeed.
func (l *library) good(method string, parameters ...any) map[string]any {
	l.t.Helper()
	answer := l.call(method, parameters...)
	if answer.Error != nil || answer.Result == nil {
		l.t.Fatalf("%s%v: %v", method, parameters, answer.Error)
	}
	return answer.Result
}

// bad makes a call that the server must refuse with that code.
func (l *library) bad(code, method string, parameters ...any) {
	l.t.Helper()
	answer := l.call(method, parameters...)
	refusal := answer.Error
	if body, ok := refusal["body"].(map[string]any); ok { // how authy-client hands it on
		refusal = body
	}
	if answer.Result != nil || refusal["error_code"] != code || refusal["success"] != false || refusal["message"] == "" {
		l.t.Errorf("%s%v: %v, want it refused with %s", method, parameters, answer, code)
	}
}

// at returns the value at a path of member names.
func at(value any, path ...string) any {
	for _, name := range path {
		members, _ := value.(map[string]any)
		value = members[name]
	}
	return value
}

const nobody = 1999999999 // an id that no user has

// TestNPMAuthy is every method of the npm client `authy` 1.4.0.
func TestNPMAuthy(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	authy := startLibrary(t, d, "authy", d.APIKey)
	u := user{number: newNumber()}
	u.email = "npm" + u.number + "@example.com"

	id := at(authy.good("register_user", u.email, u.number, "1"), "user", "id")
	for _, spelling := range [][]any{{u.email, u.number}, {u.email, u.number, false}, {u.email, u.number, "1", false}} {
		if again := at(authy.good("register_user", spelling...), "user", "id"); again != id {
			t.Errorf("register_user%v: id %v, then %v", spelling, id, again)
		}
	}
	authy.bad("60027", "register_user", "nobody", u.number, "1")
	u.id = int64(id.(float64))

	// Codes, while there is no device: nothing is ignored.
	if sent := authy.good("request_sms", u.id); sent["ignored"] != nil || sent["cellphone"] != "+1-XXX-XXX-XX"+u.number[8:] {
		t.Errorf("request_sms: %v", sent)
	}
	code := d.sentCode(u.number, 1)
	if verified := authy.good("verify", u.id, code); verified["token"] != "is valid" || verified["success"] != "true" {
		t.Errorf("verify: %v", verified)
	}
	authy.bad("60019", "verify", u.id, code, true)
	authy.bad("60020", "verify", u.id, "0", true)
	authy.bad("60016", "verify", nobody, "1234567", true)
	authy.bad("60026", "request_sms", nobody)
	if called := authy.good("request_call", u.id, true); called["message"] != "Call started..." {
		t.Errorf("request_call: %v", called)
	}
	authy.good("verify", u.id, d.sentCode(u.number, 2), true)
	authy.bad("60026", "request_call", nobody, true)
	authy.bad("60050", "send_approval_request", u.id, map[string]any{"message": "Log in?"}, nil, nil)

	p := d.newPhone()
	p.enrol(d.client(d.APIKey), u)
	if status := at(authy.good("user_status", u.id), "status"); at(status, "registered") != true || at(status, "authy_id") != id || at(status, "confirmed") != true {
		t.Errorf("user_status: %v", status)
	}
	authy.bad("60026", "user_status", nobody)
	for _, method := range []string{"request_sms", "request_call"} {
		if sent := authy.good(method, u.id); sent["ignored"] != true {
			t.Errorf("%s for somebody with the app: %v, want it ignored", method, sent)
		}
	}
	if verified := authy.good("verify", u.id, p.code(u.email)); verified["token"] != "is valid" || at(verified, "device", "id") == nil {
		t.Errorf("verify an app code: %v", verified)
	}

	asked := authy.good("send_approval_request", u.id, map[string]any{
		"message": "Log in to Example", "details": map[string]string{"Account": u.email, "Place": "Zürich & Bern"}, "seconds_to_expire": 120,
	}, map[string]string{"transfer": "42"}, []map[string]string{{"res": "default", "url": d.LoginURL + "/d.png"}, {"res": "low", "url": d.LoginURL + "/l.png"}})
	uuid, _ := at(asked, "approval_request", "uuid").(string)
	if !regexp.MustCompile(`^[0-9a-f-]{36}$`).MatchString(uuid) {
		t.Fatalf("send_approval_request: %v", asked)
	}
	if got := at(authy.good("check_approval_status", uuid), "approval_request", "status"); got != "pending" {
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
	request := at(authy.good("check_approval_status", uuid), "approval_request")
	if at(request, "status") != "approved" || at(request, "hidden_details", "transfer") != "42" {
		t.Errorf("check_approval_status: %v", request)
	}
	authy.bad("60049", "check_approval_status", "66666666-7777-4888-9999-000000000000")
	authy.bad("60026", "send_approval_request", nobody, map[string]any{"message": "Log in?"}, nil, nil)
	authy.bad("60080", "send_approval_request", u.id, map[string]any{"message": "Log in?"}, nil, []map[string]string{{"res": "low", "url": d.LoginURL + "/l.png"}})

	other := newNumber()
	started := authy.good("phones.verification_start", other, "1", map[string]any{"via": "sms", "code_length": 6, "locale": "es"})
	if started["seconds_to_expire"] == nil || started["uuid"] == nil || started["is_cellphone"] != true {
		t.Errorf("verification_start: %v", started)
	}
	if got := authy.good("phones.verification_status", other, "1"); got["status"] != "pending" {
		t.Errorf("verification_status: %v", got)
	}
	authy.bad("60022", "phones.verification_check", other, "1", "0")
	if got := authy.good("phones.verification_check", other, "1", d.sentCode(other, 1)); got["message"] != "Verification code is correct." {
		t.Errorf("verification_check: %v", got)
	}
	if got := authy.good("phones.verification_status", other, "1"); got["status"] != "verified" {
		t.Errorf("verification_status: %v", got)
	}
	if got := authy.good("phones.verification_start", other, "1", "call"); !regexp.MustCompile(`^Call to .* initiated\.$`).MatchString(got["message"].(string)) {
		t.Errorf("verification_start by call: %v", got)
	}
	authy.bad("60033", "phones.verification_start", "12", "1", "sms")
	authy.bad("60021", "phones.verification_start", newNumber(), "1", map[string]any{"custom_code": "123456"})
	authy.bad("60023", "phones.verification_check", newNumber(), "1", "1234")
	authy.bad("60023", "phones.verification_status", newNumber(), "1")
	if got := authy.good("phones.info", "912345678", "351"); got["type"] != "cellphone" || got["ported"] != false {
		t.Errorf("phones.info: %v", got)
	}
	authy.bad("60078", "phones.info", "12345678", "999")

	if removed := authy.good("delete_user", u.id); removed["success"] != true {
		t.Errorf("delete_user: %v", removed)
	}
	authy.bad("60026", "delete_user", u.id)
	startLibrary(t, d, "authy", "wrong").bad("60001", "user_status", u.id)
}

// TestNPMAuthyClient is every method of the npm client `authy-client` 1.1.4, which holds every answer to rules of its own.
func TestNPMAuthyClient(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	authy := startLibrary(t, d, "authy-client", d.APIKey)
	object := func(pairs ...any) map[string]any {
		o := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			o[pairs[i].(string)] = pairs[i+1]
		}
		return o
	}
	u := user{number: newNumber()}
	u.email = "npm" + u.number + "@example.com"
	id := at(authy.good("registerUser", object("countryCode", "US", "email", u.email, "phone", u.number)), "user", "id")
	u.id = int64(id.(float64))
	them := object("authyId", u.id)
	ip := object("ip", "192.0.2.7")
	gone := object("authyId", nobody)

	authy.good("requestSms", them, object("action", "pay", "message", "Pay 5"))
	code := d.sentCode(u.number, 1)
	// This client knows no action for verify, so a code with one is wrong for it.
	authy.bad("60020", "verifyToken", object("authyId", u.id, "token", code), object("force", true))
	authy.bad("60026", "requestSms", gone)
	authy.bad("60026", "requestCall", gone)

	p := d.newPhone()
	p.enrol(d.client(d.APIKey), u)
	for _, method := range []string{"requestSms", "requestCall"} {
		if sent := authy.good(method, them); sent["ignored"] != true || sent["device"] == nil {
			t.Errorf("%s for somebody with the app: %v, want it ignored", method, sent)
		}
	}
	code = p.code(u.email)
	if verified := authy.good("verifyToken", object("authyId", u.id, "token", code), object("force", true)); verified["success"] != "true" {
		t.Errorf("verifyToken: %v", verified)
	}
	authy.bad("60019", "verifyToken", object("authyId", u.id, "token", code))
	authy.bad("60016", "verifyToken", object("authyId", nobody, "token", "1234567"))
	if called := authy.good("requestCall", object("authyId", u.id), object("force", true)); called["ignored"] != nil {
		t.Errorf("requestCall: %v", called)
	}

	if status := at(authy.good("getUserStatus", them, ip), "status"); at(status, "registered") != true || at(status, "confirmed") != true {
		t.Errorf("getUserStatus: %v", status)
	}
	authy.bad("60026", "getUserStatus", gone)
	for _, kind := range []string{"password_reset", "banned", "unbanned", "cookie_login"} {
		authy.good("registerActivity", object("authyId", u.id, "type", kind, "data", object("reason", "a test")), ip)
	}
	authy.bad("60026", "registerActivity", object("authyId", nobody, "type", "banned"), ip)

	if details := at(authy.good("getApplicationDetails", ip), "app"); at(details, "onetouch_enabled") != true || at(details, "phone_calls_enabled") != true {
		t.Errorf("getApplicationDetails: %v", details)
	}
	stats := authy.good("getApplicationStatistics", ip)
	months, _ := stats["stats"].([]any)
	if len(months) != 1 || at(months[0], "sms_count") != 1.0 || at(months[0], "calls_count") != 1.0 || at(months[0], "auths_count") != 1.0 || at(months[0], "year") != float64(time.Now().UTC().Year()) {
		t.Errorf("getApplicationStatistics: %v", stats)
	}

	uuid, _ := at(authy.good("createApprovalRequest", object("authyId", u.id, "message", "Log in?",
		"details", object("visible", object("place", "Bern"), "hidden", object("ref", "7")),
		"logos", []any{object("res", "default", "url", d.LoginURL+"/d.png")}), object("ttl", 120)), "approval_request", "uuid").(string)
	if got := at(authy.good("getApprovalRequest", object("id", uuid)), "approval_request", "status"); got != "pending" {
		t.Errorf("getApprovalRequest: %v, want pending", got)
	}
	p.answer(uuid, "deny")
	if got := at(authy.good("getApprovalRequest", object("id", uuid)), "approval_request", "status"); got != "denied" {
		t.Errorf("getApprovalRequest: %v, want denied", got)
	}
	authy.bad("60049", "getApprovalRequest", object("id", "66666666-7777-4888-9999-000000000000"))
	authy.bad("60026", "createApprovalRequest", object("authyId", nobody, "message", "Log in?"))

	number := newNumber()
	phone := object("countryCode", "US", "phone", number)
	authy.good("startPhoneVerification", object("countryCode", "US", "phone", number, "via", "sms"), object("locale", "pt", "codeLength", 6))
	authy.bad("60022", "verifyPhone", object("countryCode", "US", "phone", number, "token", "0000"))
	authy.good("verifyPhone", object("countryCode", "US", "phone", number, "token", d.sentCode(number, 1)))
	authy.bad("60023", "verifyPhone", object("countryCode", "US", "phone", number, "token", "0000"))
	if info := authy.good("getPhoneInformation", phone, ip); info["provider"] != "Unknown" || info["type"] != "unknown" {
		t.Errorf("getPhoneInformation: %v", info)
	}

	authy.good("deleteUser", them, ip)
	authy.bad("60026", "deleteUser", them)
	startLibrary(t, d, "authy-client", "wrong").bad("60001", "getUserStatus", gone)
}

// TestNPMAuthyClientVerifiesCallbacks: the library's own check takes a callback that was really delivered, approved and denied, and no other.
func TestNPMAuthyClientVerifiesCallbacks(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	operator := d.console()
	shop := operator.newApplication("Shop")
	authy := startLibrary(t, d, "authy-client", shop.key)
	deliveries := make(chan map[string]any, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		deliveries <- map[string]any{
			"body": body, "method": r.Method, "protocol": "http", "url": r.URL.String(), "headers": map[string]string{
				"host": r.Host, "x-authy-signature": r.Header.Get("X-Authy-Signature"), "x-authy-signature-nonce": r.Header.Get("X-Authy-Signature-Nonce"),
			},
		}
	}))
	t.Cleanup(server.Close)
	operator.setCallback(shop, server.URL+"/authy/callback?from=shop")
	c, p := d.client(shop.key), d.newPhone()
	u := d.addUser(c)
	p.enrol(c, u)
	for decision, status := range map[string]string{"approve": "approved", "deny": "denied"} {
		asked, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{
			Message: "Pay 5 € to Bob & Eve?", Details: []client.Field{{Name: "to", Value: "Bob & Eve"}, {Name: "amount", Value: "5 €"}},
			HiddenDetails: []client.Field{{Name: "ref", Value: "7"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		p.answer(asked.UUID, decision)
		var delivered map[string]any
		select {
		case delivered = <-deliveries:
		case <-time.After(waitWithin):
			t.Fatal("no callback came")
		}
		if got := authy.good("verifyCallback", delivered); at(got, "body", "status") != status || at(got, "body", "uuid") != asked.UUID {
			t.Errorf("verifyCallback of %s: %v", decision, got)
		}
		delivered["body"].(map[string]any)["uuid"] = "66666666-7777-4888-9999-000000000000"
		if got := authy.call("verifyCallback", delivered); got.Error == nil {
			t.Errorf("verifyCallback takes a changed body: %v", got.Result)
		}
	}
}
