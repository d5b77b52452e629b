// This file holds the surface to the contract's own tables: the endpoint map, and the codes of section 2 with their statuses and messages.

package authyapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

// endpointMap is the contract's, with the later spellings of a removal. What is not served yet is said in notServed.
var endpointMap = []string{
	"POST /protected/json/users/new",
	"GET /protected/json/users/{id}/status",
	"POST /protected/json/users/{id}/remove",
	"POST /protected/json/users/{id}/delete",
	"POST /protected/json/users/delete/{id}",
	"POST /protected/json/users/{id}/update",
	"POST /protected/json/users/{id}/register_activity",
	"POST /protected/json/users/{id}/secret",
	"GET /protected/json/users/{id}/secret/export",
	"GET /protected/json/users/{id}/phone_number",
	"GET /protected/json/registrations/status",
	"DELETE /protected/json/sdk/devices/{device}",
	"GET /protected/json/verify/{token}/{id}",
	"GET /protected/json/sms/{id}",
	"GET /protected/json/call/{id}",
	"POST /protected/json/email/{id}",
	"POST /onetouch/json/users/{id}/approval_requests",
	"GET /onetouch/json/approval_requests/{uuid}",
	"POST /protected/json/phones/verification/start",
	"GET /protected/json/phones/verification/check",
	"GET /protected/json/phones/verification/status",
	"GET /protected/json/phones/info",
	"GET /protected/json/app/details",
	"GET /protected/json/app/stats",
	"POST /dashboard/json/application/webhooks",
	"GET /dashboard/json/application/webhooks",
	"DELETE /dashboard/json/application/webhooks/{id}",
	"GET /protected/json/reporting/events",
	"GET /protected/json/reporting/date_histogram",
	"GET /protected/json/reporting/terms",
}

// notServed are the areas that docs/api.md says are missing.
var notServed []string

// Every row of the endpoint map is served, as it is written and with the slashes that clients add; the rest is a plain 404. TestEveryRouteInEveryEncoding
// calls each in every encoding.
func TestEndpointMap(t *testing.T) {
	s := newSite(t, roomy, open)
	for _, row := range endpointMap {
		method, path, _ := strings.Cut(row, " ")
		missing := slices.ContainsFunc(notServed, func(area string) bool { return strings.Contains(path, area) })
		for _, target := range []string{path, "/" + path, path + "/", strings.ReplaceAll(path, "/", "//") + "//"} {
			target = filled(target, fmt.Sprint(s.ana.AuthyID), unknown["{uuid}"], "0000000")
			r := request(method, "/", "", "")
			r.URL.Path = target
			s.authorize(r, "")
			a := s.serve(r)
			a.wellFormed(t)
			if unserved := a.at(t, "error_code") == "60000"; unserved != missing {
				t.Errorf("%s %s: %d %s", method, target, a.status, a.body)
			}
			if a.status == 201 || a.status == 204 || a.status >= 300 && a.status < 400 {
				t.Errorf("%s %s: status %d", method, target, a.status)
			}
		}
		if s.User(t, s.app, "ana@example.com", "202-555-0123").AuthyID != s.ana.AuthyID { // back, if the row removed her
			t.Fatal("Ana is somebody else now")
		}
	}
}

// codeStatuses are the statuses of section 2 of the contract, for the codes that we serve.
var codeStatuses = map[string]int{
	"60001": 401, "60002": 400, "60003": 429, "60004": 400, "60005": 400, "60006": 403, "60007": 403, "60008": 503, "60009": 429, "60010": 429, "60011": 429,
	"60012": 429, "60013": 403, "60014": 503, "60015": 503, "60016": 401, "60017": 503, "60018": 503, "60019": 401, "60020": 401, "60021": 403, "60022": 401, "60023": 404,
	"60024": 500, "60025": 500, "60026": 404, "60027": 400, "60028": 400, "60029": 400, "60030": 400, "60031": 403, "60032": 400, "60033": 400, "60034": 400, "60035": 404,
	"60036": 401, "60037": 400, "60038": 400, "60042": 400, "60046": 400, "60047": 401, "60049": 404, "60050": 400, "60051": 404, "60052": 500, "60053": 500, "60054": 400,
	"60055": 500, "60056": 400, "60057": 503, "60058": 404, "60059": 400, "60060": 503, "60061": 503, "60063": 403, "60064": 403, "60065": 403, "60066": 403, "60068": 400,
	"60069": 400, "60070": 400, "60071": 404, "60072": 404, "60073": 400, "60074": 400, "60075": 400, "60078": 403, "60079": 400, "60080": 400, "60082": 403, "60083": 403,
	"60086": 401, "60087": 401, "60089": 400, "60090": 400, "60091": 403, "60092": 404, "60093": 400, "60094": 400, "60095": 400, "60096": 500, "60097": 400, "60098": 400,
	"60099": 400, "60100": 400, "60101": 401, "60113": 404, "60114": 400, "60115": 403, "60117": 404, "60118": 401, "60119": 400, "60120": 429, "60121": 400, "60122": 500,
	"60123": 403, "60124": 404, "60154": 403,

	"60901": 404, "60902": 409, // ours, of calls that Authy did not have
}

// Every refusal of ours is a code of the contract with its status, and each domain error has one.
func TestRefusalsAreTheContracts(t *testing.T) {
	for name, ref := range refusals {
		want, known := codeStatuses[ref.code]
		if !known {
			t.Errorf("%s is told as %s, which the contract does not know", name, ref.code)
		} else if ref.status != want {
			t.Errorf("%s is told as %s with status %d, want %d", name, ref.code, ref.status, want)
		}
	}
}

// The messages that the contract quotes, word for word.
func TestMessagesOfTheContract(t *testing.T) {
	s := newSite(t, func(set *tenant.Settings) { set.SMSEnabled, set.CallsOff = false, true })
	phone := s.Phone(t, s.app, s.ana)
	code := s.appCode(phone)
	id := fmt.Sprint(s.ana.AuthyID)
	type row struct{ method, target, code, message string }
	rows := []row{
		{"GET", "/protected/json/sms/" + id + "?force=true", "60007", "SMS is not enabled"},
		{"GET", "/protected/json/call/" + id + "?force=true", "60006", "Phone calls are not enabled on this account"},
		{"GET", "/protected/json/verify/000000/" + id, "60020", "Token is invalid"},
		{"GET", "/protected/json/verify/000000/5", "60016", "User doesn't exist"},
		{"GET", "/protected/json/verify/" + code + "/" + id, "", "Token is valid."},
		{"GET", "/protected/json/verify/" + code + "/" + id, "60019", "Token is invalid. Token was used recently."},
		{"POST", "/protected/json/users/new", "60027", "User was not valid"},
		{"GET", "/onetouch/json/approval_requests/" + unknown["{uuid}"], "60049", "Approval request not found: " + unknown["{uuid}"]},
		{"POST", "/protected/json/phones/verification/start?phone_number=2025550177&country_code=xxx", "60004", "Invalid parameter: country_code - 'xxx' is not a valid Integer"},
		{"GET", "/protected/json/phones/verification/check?country_code=1&phone_number=201-555-0123&verification_code=1", "60023", "No pending verifications for +1 201-555-0123 found."},
	}
	for _, path := range []string{"GET sms/5", "GET call/5", "POST email/5", "GET users/5/status", "POST users/5/remove", "POST users/5/update", "GET sms/ana", "GET users/ana/status"} {
		method, rest, _ := strings.Cut(path, " ")
		rows = append(rows, row{method, "/protected/json/" + rest, "60026", "User not found."})
	}
	for _, r := range rows {
		a := s.ask(r.method, r.target, "", "")
		got, _ := a.at(t, "error_code").(string)
		if got != r.code || a.at(t, "message") != r.message {
			t.Errorf("%s %s: %d %s, want %s %q", r.method, r.target, a.status, a.body, r.code, r.message)
		}
	}
	for range otp.BudgetTries {
		s.get("/protected/json/verify/000000/" + id)
	}
	s.get("/protected/json/verify/000000/"+id).refused(t, 503, "60017", "User has been suspended.")
}
