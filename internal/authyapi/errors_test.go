// This file holds the refusals: contract section 2, and those of our additions.

package authyapi

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

// The four shapes of section 2.1, byte for byte.
func TestShapesOfRefusals(t *testing.T) {
	s := newSite(t)
	s.Phone(t, s.app, s.ana)
	r := request("GET", "/protected/json/users/1/status?api_key=wrong", "", "")
	s.serve(r).is(t, 401, `{"error_code":"60001","errors":{"message":"Invalid API key"},"message":"Invalid API key","success":false}`)
	s.post("/protected/json/users/new", "user[email]=ana%40example.com&user[cellphone]=12").is(t, 400,
		`{"cellphone":"is invalid","error_code":"60027","errors":{"cellphone":"is invalid","message":"User was not valid"},"message":"User was not valid","success":false}`)
	s.get(fmt.Sprintf("/protected/json/verify/0000000/%d", s.ana.AuthyID)).is(t, 401,
		`{"error_code":"60020","errors":{"message":"Token is invalid"},"message":"Token is invalid","success":false,"token":"is invalid"}`)
	s.get("/onetouch/json/approval_requests/66666666-7777-4888-9999-000000000000").is(t, 404,
		`{"error_code":"60049","errors":{},"message":"Approval request not found: 66666666-7777-4888-9999-000000000000","success":false}`)
}

// refused is what a refusal says beside its shape, which wellFormed checks.
func (a answer) refused(t *testing.T, status int, code, message string) {
	t.Helper()
	if a.status != status || a.at(t, "error_code") != code || a.at(t, "message") != message {
		t.Errorf("got  %d %s\nwant %d %s %s", a.status, a.body, status, code, message)
	}
	a.wellFormed(t)
}

func TestKeys(t *testing.T) {
	s := newSite(t)
	for name, key := range map[string]string{
		"missing": "", "unknown": strings.Repeat("a", 32), "too long": strings.Repeat("a", 100), "another's beginning": s.key[:31], "with a space": s.key + " x", "not UTF-8": "\xff",
	} {
		for _, rt := range routes {
			r := request(rt.method, filled(rt.path, "1", "1", "1"), "", "")
			r.Header.Set("X-Authy-API-Key", key)
			a := s.serve(r)
			if a.refused(t, 401, "60001", "Invalid API key"); t.Failed() {
				t.Fatalf("%s: %s %s", name, rt.method, rt.path)
			}
		}
	}
	r := request("GET", fmt.Sprintf("/protected/json/users/%d/status?api_key=%s", s.ana.AuthyID, s.key), "", "")
	r.Header.Set("X-Authy-API-Key", "wrong")
	s.serve(r).refused(t, 401, "60001", "Invalid API key") // the first place that holds one decides
}

// filled is a route's path with its placeholders filled in.
func filled(path, id, uuid, token string) string {
	return strings.NewReplacer("{format}", "json", "{id}", id, "{uuid}", uuid, "{token}", token, "{device}", "1", "{webhook}", "WH_1").Replace(path)
}

func TestUnknownPathsAndMethods(t *testing.T) {
	s := newSite(t)
	const message = "The requested URL was not found. See the documentation for the addresses of this API."
	for _, path := range []string{
		"/protected", "/protected/json", "/protected/json/users", "/protected/json/users/new/more", "/protected/json/phones", "/onetouch/json/approval_requests",
		"/dashboard/json/application", "/protected/json/verify/123456", "/PROTECTED/json/users/new", "/favicon.ico", "/protected/json/users/1/status/x",
	} {
		for _, method := range []string{"GET", "POST"} {
			s.ask(method, path, "", "").refused(t, 404, "60000", message)
		}
	}
	for _, rt := range everyRoute {
		xml := strings.Replace(filled(rt.path, "1", "1", "1"), "json", "xml", 1)
		s.ask(rt.method, xml, "", "").refused(t, 404, "60000", message)

		a := s.ask("PUT", filled(rt.path, "1", "1", "1"), "", "")
		var takes []string
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if slices.ContainsFunc(everyRoute, func(other route) bool { return other.method == method && other.path == rt.path }) {
				takes = append(takes, method)
			}
		}
		if a.refused(t, 405, "60000", "This address takes "+strings.Join(takes, ", ")+" requests only."); a.header.Get("Allow") != strings.Join(takes, ", ") {
			t.Errorf("Allow %q for a %s", a.header.Get("Allow"), rt.method)
		}
	}
	s.ask("POST", "/protected/xml/users/delete/1", "", "").refused(t, 404, "60000", message)
}

func TestRefusedRequests(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	bob := s.User(t, s.app, "bob@example.com", "202-555-0188") // has no phone
	create := fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID)
	verify := fmt.Sprintf("/protected/json/verify/1234567/%d", s.ana.AuthyID)
	sms := fmt.Sprintf("/protected/json/sms/%d?force=true", s.ana.AuthyID)
	for _, row := range []struct {
		name, method, target, contentType, body string
		status                                  int
		code, message                           string
	}{
		{"malformed JSON", "POST", create, jsonType, `{"message":`, 400, "60002", "Invalid request: malformed JSON"},
		{"not UTF-8", "POST", create, formType, "message=%ff", 400, "60005", "Input is not valid UTF-8"},
		{"not UTF-8 in a hash's name", "POST", create, formType, "message=m&details[%c3]=v", 400, "60005", "Input is not valid UTF-8"},
		{"no message", "POST", create, "", "", 400, "60004", "Invalid parameter: message - Parameter is required"},
		{"nothing in the message", "POST", create, formType, "message=+%e2%80%8b%09", 400, "60004", "Invalid parameter: message - Parameter is required"},
		{"message of the wrong kind", "POST", create, jsonType, `{"message":{"a":"b"}}`, 400, "60004", "Invalid parameter: message - Parameter is required"},
		{"nested details", "POST", create, jsonType, `{"message":"m","details":{"a":{"b":"c"}}}`, 400, "60004", "Invalid parameter: details - Values are texts, not nested"},
		{"list of details", "POST", create, jsonType, `{"message":"m","details":["a"]}`, 400, "60004", "Invalid parameter: details - A hash of texts is expected"},
		{"list of hidden details", "POST", create, formType, "message=m&hidden_details[]=a", 400, "60004", "Invalid parameter: hidden_details - A hash of texts is expected"},
		{"long detail", "POST", create, formType, "message=m&details[a]=" + strings.Repeat("x", 201), 400, "60004", "Invalid parameter: details - Names and values have at most 200 characters"},
		{"long name of a hidden detail", "POST", create, formType, "message=m&hidden_details[" + strings.Repeat("x", 201) + "]=a", 400, "60004", "Invalid parameter: hidden_details - Names and values have at most 200 characters"},
		{"too many details", "POST", create, formType, "message=m" + many("details", 65), 400, "60004", "Invalid parameter: details - At most 64 entries"},
		{"life no number", "POST", create, formType, "message=m&seconds_to_expire=soon", 400, "60004", "Invalid parameter: seconds_to_expire - 'soon' is not a valid Integer"},
		{"life no integer", "POST", create, jsonType, `{"message":"m","seconds_to_expire":1.5}`, 400, "60004", "Invalid parameter: seconds_to_expire - '1.5' is not a valid Integer"},
		{"life a list", "POST", create, jsonType, `{"message":"m","seconds_to_expire":[1]}`, 400, "60004", "Invalid parameter: seconds_to_expire - '' is not a valid Integer"},
		{"life negative", "POST", create, formType, "message=m&seconds_to_expire=-1", 400, "60004", "Invalid parameter: seconds_to_expire - Out of range"},
		{"life beyond the application's", "POST", create, formType, "message=m&seconds_to_expire=601", 400, "60004", "Invalid parameter: seconds_to_expire - This application allows 1 to 600"},
		{"life without end, not allowed", "POST", create, formType, "message=m&seconds_to_expire=0", 400, "60004", "Invalid parameter: seconds_to_expire - This application allows 1 to 600"},
		{"unknown match", "POST", create, formType, "message=m&match=scan", 400, "60004", "Invalid parameter: match - off or type"},
		{"logos a text", "POST", create, formType, "message=m&logos=x", 400, "60004", "Invalid parameter: logos - An array is expected"},
		{"no default logo", "POST", create, formType, "message=m&logos[][res]=low&logos[][url]=https://x.example", 400, "60080", "Invalid parameter: logos - One logo must have the res default"},
		{"unknown resolution", "POST", create, formType, "message=m&logos[][res]=huge&logos[][url]=https://x.example", 400, "60080", "Invalid parameter: logos - res is one of default, low, med, high"},
		{"logo without an address", "POST", create, jsonType, `{"message":"m","logos":[{"res":"default"}]}`, 400, "60080", "Invalid parameter: logos - A logo's url is an absolute https address of at most 500 characters"},
		{"logo of another scheme", "POST", create, formType, "message=m&logos[][res]=default&logos[][url]=file://x/etc", 400, "60080", "Invalid parameter: logos - A logo's url is an absolute https address of at most 500 characters"},
		{"logo that is no hash", "POST", create, jsonType, `{"message":"m","logos":["x"]}`, 400, "60080", "Invalid parameter: logos - A logo's url is an absolute https address of at most 500 characters"},
		{"logo with a long address", "POST", create, formType, "message=m&logos[][res]=default&logos[][url]=https://x.example/" + strings.Repeat("x", 500), 400, "60080", "Invalid parameter: logos - A logo's url is an absolute https address of at most 500 characters"},
		{"user without a device", "POST", fmt.Sprintf("/onetouch/json/users/%d/approval_requests", bob.AuthyID), formType, "message=m", 400, "60050", "The user has no device that could approve."},
		{"wait no number", "GET", "/onetouch/json/approval_requests/1?wait=x", "", "", 400, "60004", "Invalid parameter: wait - Seconds from 0 to 60 are expected"},
		{"wait negative", "GET", "/onetouch/json/approval_requests/1?wait=-1", "", "", 400, "60004", "Invalid parameter: wait - Seconds from 0 to 60 are expected"},
		{"cancel what is not there", "POST", "/onetouch/json/approval_requests/1/cancel", "", "", 404, "60049", "Approval request not found: 1"},
		{"renotify what is not there", "POST", "/onetouch/json/approval_requests/1/renotify", "", "", 404, "60049", "Approval request not found: 1"},
		{"long action to verify", "GET", verify, formType, "action=" + strings.Repeat("x", 256), 400, "60004", "Invalid parameter: action - At most 255 characters"},
		{"long action to send", "GET", sms, formType, "action=" + strings.Repeat("x", 256), 400, "60004", "Invalid parameter: action - At most 255 characters"},
		{"long action message", "GET", sms, formType, "action_message=" + strings.Repeat("x", 256), 400, "60004", "Invalid parameter: action - At most 255 characters"},
		{"user who is not there", "GET", "/protected/json/users/5/status", "", "", 404, "60026", "User not found."},
		{"SMS to who is not there", "GET", "/protected/json/sms/5", "", "", 404, "60026", "User not found."},
		{"code of who is not there", "GET", "/protected/json/verify/123456/5", "", "", 401, "60016", "User doesn't exist"},
		{"code of what is no id", "GET", "/protected/json/verify/123456/ana", "", "", 401, "60016", "User doesn't exist"},
		{"request to who is not there", "POST", "/onetouch/json/users/5/approval_requests", formType, "message=m", 404, "60026", "User not found."},
		{"ticket for who is not there", "POST", "/onetouch/json/users/5/enrollment_tickets", "", "", 404, "60026", "User not found."},
		{"code that is a word", "GET", fmt.Sprintf("/protected/json/verify/password/%d", s.ana.AuthyID), "", "", 401, "60020", "Token is invalid"},
		{"code that is a book", "GET", fmt.Sprintf("/protected/json/verify/%s/%d", strings.Repeat("1", 5000), s.ana.AuthyID), "", "", 401, "60020", "Token is invalid"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s.ask(row.method, row.target, row.contentType, row.body).refused(t, row.status, row.code, row.message)
		})
	}
}

// many writes n entries of a hash.
func many(name string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "&%s[k%d]=v", name, i)
	}
	return b.String()
}

func TestInvalidUsers(t *testing.T) {
	s := newSite(t)
	const (
		bad, blank, unsupported = "is invalid", "is invalid and can't be blank", "is not supported"
	)
	for _, row := range []struct {
		body   string
		fields map[string]string
	}{
		{`{}`, map[string]string{"email": blank, "cellphone": bad}},
		{`{"user":"ana"}`, map[string]string{"email": blank, "cellphone": bad}},
		{`{"user":{"email":" ","cellphone":"202-555-0123"}}`, map[string]string{"email": blank}},
		{`{"user":{"email":"ana","cellphone":"202-555-0123"}}`, map[string]string{"email": bad}},
		{`{"user":{"email":"Ana <ana@example.com>","cellphone":"202-555-0123"}}`, map[string]string{"email": bad}},
		{`{"user":{"email":"ana@example.com\r\nBcc: x@example.com","cellphone":"202-555-0123"}}`, map[string]string{"email": bad}},
		{`{"user":{"email":["ana@example.com"],"cellphone":"202-555-0123"}}`, map[string]string{"email": blank}},
		{`{"user":{"email":"ana@example.com"}}`, map[string]string{"cellphone": bad}},
		{`{"user":{"email":"ana@example.com","cellphone":"123"}}`, map[string]string{"cellphone": bad}},
		{`{"user":{"email":"ana@example.com","cellphone":"CALL-ME"}}`, map[string]string{"cellphone": bad}},
		{`{"user":{"email":"ana@example.com","cellphone":"٢٠٢٥٥٥٠١٢٣"}}`, map[string]string{"cellphone": bad}},
		{`{"user":{"email":"ana@example.com","cellphone":"202-555-0123","country_code":"xx"}}`, map[string]string{"country_code": unsupported, "cellphone": bad}},
		{`{"user":{"email":"ana@example.com","cellphone":"202-555-0123","country_code":999}}`, map[string]string{"country_code": unsupported, "cellphone": bad}},
		{`{"user":{"email":"ana@example.com","cellphone":"202-555-0123","country_code":-1}}`, map[string]string{"country_code": unsupported, "cellphone": bad}},
	} {
		a := s.ask("POST", "/protected/json/users/new", jsonType, row.body)
		a.refused(t, 400, "60027", "User was not valid")
		for _, field := range []string{"email", "cellphone", "country_code"} {
			want := any(row.fields[field])
			if want == "" {
				want = nil
			}
			if a.at(t, field) != want || a.at(t, "errors", field) != want {
				t.Errorf("%s: %s in %s", row.body, field, a.body)
			}
		}
	}
}

func TestSwitchedOff(t *testing.T) {
	s := newSite(t, func(set *tenant.Settings) { set.SMSEnabled, set.OneTouch = false, false })
	s.Phone(t, s.app, s.ana)
	s.get(fmt.Sprintf("/protected/json/sms/%d", s.ana.AuthyID)).refused(t, 403, "60007", "SMS is not enabled")
	s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), "message=m").refused(t, 403, "60065", "Approval requests are not enabled for this application.")
}

// A code works once; after the fifth wrong one nothing works until the wait is over (T-01, T-03 over HTTP).
func TestCodesAreSpentAndSuspended(t *testing.T) {
	s := newSite(t)
	phone := s.Phone(t, s.app, s.ana)
	verify := func(code string) answer {
		return s.get(fmt.Sprintf("/protected/json/verify/%s/%d", code, s.ana.AuthyID))
	}
	code := s.appCode(phone)
	if a := verify(code); a.status != 200 {
		t.Fatal(a.body)
	}
	for range 20 { // who presents it twice is no guesser
		a := verify(code)
		if a.refused(t, 401, "60019", "Token is invalid. Token was used recently."); a.at(t, "token") != "is invalid" {
			t.Error(a.body)
		}
	}
	for range otp.BudgetTries {
		verify("000000").refused(t, 401, "60020", "Token is invalid")
	}
	for range 100 {
		verify("000000").refused(t, 503, "60017", "User has been suspended.")
	}
	s.Clock.Advance(time.Minute)
	a := verify(s.appCode(phone))
	if a.refused(t, 503, "60017", "User has been suspended."); a.header.Get("Retry-After") != "840" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	// A spent budget never stops an approval (T-05).
	uuid := s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), "message=Log+in").uuid(t)
	if _, err := phone.Answer(t, uuid, approval.Approve, ""); err != nil {
		t.Error(err)
	}
	s.Clock.Advance(14 * time.Minute)
	if a := verify(s.appCode(phone)); a.status != 200 {
		t.Errorf("after the wait: %d %s", a.status, a.body)
	}
}

// A code belongs to the action that it was sent for (contract section 4.5).
func TestActions(t *testing.T) {
	s := newSite(t)
	verify := func(code, action string) answer {
		return s.get(fmt.Sprintf("/protected/json/verify/%s/%d?action=%s", code, s.ana.AuthyID, action))
	}
	s.get(fmt.Sprintf("/protected/json/sms/%d?action=pay", s.ana.AuthyID))
	code := s.Delivered(t, s.ana.Phone).Code
	verify(code, "").refused(t, 401, "60020", "Token is invalid")
	verify(code, "login").refused(t, 401, "60020", "Token is invalid")
	if a := verify(code, "pay"); a.status != 200 {
		t.Error(a.body)
	}
}

// ST6: where an action has to be named, no code of an authenticator stands for it, of whichever app; wrong ones cost as ever.
func TestST6_SentOnly(t *testing.T) {
	s := newSite(t, open)
	verify := func(code, more string) answer {
		return s.get(fmt.Sprintf("/protected/json/verify/%s/%d?action=pay%s", code, s.ana.AuthyID, more))
	}
	phone, generic := s.Phone(t, s.app, s.ana), s.generic(t)
	s.Clock.Advance(time.Minute)
	for _, code := range []string{s.appCode(phone), generic()} {
		verify(code, "&sent_only=true").refused(t, 401, "60020", "Token is invalid")
		if a := verify(code, ""); a.status != 200 {
			t.Errorf("where any code will do: %d %s", a.status, a.body)
		}
	}
	s.get(fmt.Sprintf("/protected/json/sms/%d?action=pay&force=true", s.ana.AuthyID))
	if a := verify(s.Delivered(t, s.ana.Phone).Code, "&sent_only=true"); a.status != 200 {
		t.Errorf("the code that was sent: %d %s", a.status, a.body)
	}
	for range otp.BudgetTries {
		verify("1234567", "&sent_only=true").refused(t, 401, "60020", "Token is invalid")
	}
	if a := verify("1234567", ""); a.status != 503 {
		t.Errorf("after five wrong ones: %d %s", a.status, a.body)
	}
}

func TestLimits(t *testing.T) {
	s := newSite(t)
	s.Phone(t, s.app, s.ana)
	for range otp.SentMax {
		s.get(fmt.Sprintf("/protected/json/sms/%d?force=true", s.ana.AuthyID))
		s.Clock.Advance(time.Second)
	}
	a := s.get(fmt.Sprintf("/protected/json/sms/%d?force=true", s.ana.AuthyID))
	if a.refused(t, 429, "60003", otp.ErrSendMany.Detail); a.header.Get("Retry-After") != "595" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}

	create := func() answer {
		return s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), "message=m&seconds_to_expire=60")
	}
	for range 3 {
		create().uuid(t)
	}
	a = create()
	if a.refused(t, 429, "60003", approval.ErrWaiting.Detail); a.header.Get("Retry-After") != "10" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	s.Clock.Advance(time.Minute)
	a = create()
	if a.refused(t, 429, "60003", approval.ErrFlood.Detail); a.header.Get("Retry-After") != "240" {
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	s.Clock.Advance(4 * time.Minute)
	create().uuid(t)
}

func TestFinalIsFinal(t *testing.T) {
	s := newSite(t, roomy)
	phone := s.Phone(t, s.app, s.ana)
	create := func() string {
		return s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), "message=m").uuid(t)
	}
	cancel := func(uuid string) answer { return s.post("/onetouch/json/approval_requests/"+uuid+"/cancel", "") }
	approved, denied, cancelled, expired := create(), create(), create(), create()
	for uuid, decision := range map[string]string{approved: approval.Approve, denied: approval.Deny} {
		if _, err := phone.Answer(t, uuid, decision, ""); err != nil {
			t.Fatal(err)
		}
	}
	if a := cancel(cancelled); a.status != http.StatusOK {
		t.Fatal(a.body)
	}
	s.Clock.Advance(2 * time.Minute)
	for uuid, status := range map[string]string{approved: "approved", denied: "denied", cancelled: "expired", expired: "expired"} {
		before := s.get("/onetouch/json/approval_requests/" + uuid)
		cancel(uuid).refused(t, 400, "60079", "The approval request is no longer pending.")
		if after := s.get("/onetouch/json/approval_requests/" + uuid); after.body != before.body || after.at(t, "approval_request", "status") != status {
			t.Errorf("%s became\n%s", before.body, after.body)
		}
	}
}

// nameless are the codes that package client has no sentinel for: mistakes in the calling program, which nobody handles at run time, and calls
// that the client does not make.
var nameless = map[string]string{
	"60002": "a malformed request, or an Idempotency-Key used twice",
	"60004": "a parameter out of its bounds",
	"60029": "an unknown type of activity",
	"60035": "registrations are the old phone library's",
	"60042": "the client always names a number",
	"60072": "dashboard", "60073": "dashboard", "60074": "dashboard", "60087": "dashboard", "60098": "dashboard", "60100": "dashboard",
	"60080": "a bad logo",
	"60089": "reporting", "60094": "reporting", "60095": "reporting",
	"60091": "the client sends no message of its own",
}

// What this API refuses, an application in Go tells apart by a sentinel of package client; a code that is new here is put there, or on the list.
func TestClientNamesRefusals(t *testing.T) {
	seen := map[string]bool{}
	for _, ref := range refusals {
		seen[ref.code] = true
		named, listed := errors.Unwrap(&client.Error{Code: ref.code}) != nil, nameless[ref.code] != ""
		if named == listed {
			t.Errorf("%s: has a sentinel: %v, is listed as having none: %v", ref.code, named, listed)
		}
	}
	for code := range nameless {
		if !seen[code] {
			t.Errorf("%s is on the list and never sent", code)
		}
	}
}
