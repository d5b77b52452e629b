// This file tests what nobody should send: whatever it is, the answer is the contract's, never a 500, and nothing is lost.

package authyapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

// segments are what may stand where an id is expected, as it is written in a path.
var segments = []string{
	"ana", "-1", "0", "1.0", "1e3", "0x10", "007", "+1", "9223372036854775807", "9223372036854775808", strings.Repeat("9", 4000), "%2e%2e", "%2F", "a%2Fb", "%7Bid%7D", "%00", "%ff",
	"%C3%28", "%20", "%F0%9F%94%91", "a;b", "a,b", "*", "'%20OR%201=1--", "<script>", "%7C", "%0d%0aX:1", "new", "delete", "remove", "json", "null",
}

func TestStrangeSegments(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	own := map[string]string{"{id}": fmt.Sprint(s.ana.AuthyID)}
	for _, rt := range everyRoute {
		for placeholder := range unknown {
			if !strings.Contains(rt.path, placeholder) {
				continue
			}
			for _, segment := range segments {
				r := request(rt.method, "/", "", "")
				u, err := url.Parse(fill(rt.path, placeholder, segment, own))
				if err != nil {
					t.Fatal(err)
				}
				r.URL = u
				s.authorize(r, "")
				a := s.serve(r)
				a.wellFormed(t)
				if a.status != 400 && a.status != 401 && a.status != 404 && a.status != 405 && (a.status != 503 || placeholder != "{token}") {
					t.Errorf("%s %s: %d %s", rt.method, u, a.status, a.body)
				}
			}
		}
	}
	if a := s.get(fmt.Sprintf("/protected/json/users/%d/status", s.ana.AuthyID)); a.status != 200 {
		t.Errorf("Ana was lost: %s", a.body)
	}
	if text := s.log.String(); text != "" {
		t.Errorf("logged: %s", text)
	}
}

// Input that is not text is named as that, wherever it stands.
func TestNotText(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	create := fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID)
	for name, a := range map[string]answer{
		"path":                      s.get("/onetouch/json/approval_requests/%ff"),
		"token":                     s.get(fmt.Sprintf("/protected/json/verify/%%ff/%d", s.ana.AuthyID)),
		"NUL in a path":             s.get("/onetouch/json/approval_requests/a%00b"),
		"NUL in a form":             s.post(create, "message=m&details[a]=%00"),
		"NUL in the name of a form": s.post(create, "message=m&details[%00]=a"),
		"NUL in JSON":               s.ask("POST", create, jsonType, `{"message":"a\u0000"}`),
		"NUL in a name of JSON":     s.ask("POST", create, jsonType, `{"message":"a","hidden_details":{"\u0000":"a"}}`),
		"NUL in a query":            s.get(fmt.Sprintf("/protected/json/sms/%d?action=%%00", s.ana.AuthyID)),
	} {
		if a.refused(t, 400, "60005", "Input is not valid UTF-8"); t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestLargeAndManyParameters(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	for _, rt := range everyRoute {
		target := filled(rt.path, fmt.Sprint(s.ana.AuthyID), "1", "1")
		s.ask(rt.method, target, formType, "a="+strings.Repeat("x", maxBody)).refused(t, 400, "60002", "Invalid request: larger than 64 KiB")
		s.ask(rt.method, target, jsonType, `{"a":"`+strings.Repeat("x", maxBody)+`"}`).refused(t, 400, "60002", "Invalid request: larger than 64 KiB")
		s.ask(rt.method, target, formType, strings.Repeat("a[]=1&", maxValues+1)).refused(t, 400, "60002", "Invalid request: more than 1000 parameters")
		s.ask(rt.method, target, jsonType, strings.Repeat(`{"a":`, 9)+"1"+strings.Repeat("}", 9)).refused(t, 400, "60002", "Invalid request: parameters nested deeper than 8")
	}
}

// Details whose names look the same when shown could not be told apart by the person, nor stand in one object of the callback.
func TestDetailsThatLookTheSame(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	target := fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID)
	for _, details := range []string{`{"to":"Bob","to ":"Eve"}`, `{"to":"Bob","t\u200bo":"Eve"}`, `{"a\nb":"1","a b":"2"}`, `{"":"1"," ":"2"}`} {
		s.ask("POST", target, jsonType, `{"message":"m","details":`+details+`}`).refused(t, 400, "60004", "Invalid parameter: details - Two names look the same")
	}
	s.ask("POST", target, jsonType, `{"message":"m","hidden_details":{"to":"Bob","to ":"Eve"}}`).uuid(t) // nobody looks at them
}

// Whatever may be asked can be told: its callback is signed, and not larger than what receivers read.
func TestTheLargestRequestFitsItsCallback(t *testing.T) {
	s := newSite(t, roomy)
	phone := s.Phone(t, s.app, s.ana)
	target := fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID)
	const tooLong = "Invalid parameter: details - Details, hidden details and logos are too long together"
	fit := 0
	for _, unit := range []string{"x", "🔑", "|", "\u0001"} {
		for _, n := range []int{1, 22, 27, 33, 38, 64} {
			body := bigRequest(t, unit, n)
			if len(body) > maxBody {
				break
			}
			a := s.ask("POST", target, jsonType, body)
			if a.status != http.StatusOK {
				a.refused(t, 400, "60004", tooLong)
				continue
			}
			answered, err := phone.Answer(t, a.uuid(t), approval.Approve, "")
			if err != nil {
				t.Fatal(err)
			}
			told, err := CallbackBody(s.app, answered)
			if err != nil || len(told) > maxBody {
				t.Fatalf("%d fields of %q: a callback of %d bytes, %v", n, unit, len(told), err)
			}
			fit = max(fit, len(told))
		}
	}
	if fit < 50<<10 {
		t.Errorf("the largest callback has only %d bytes", fit)
	}
}

// bigRequest has n details and n hidden details with values of 200 times unit, and a message of the same.
func bigRequest(t *testing.T, unit string, n int) string {
	t.Helper()
	details := map[string]string{}
	for i := range n {
		details[fmt.Sprint("k", i)] = strings.Repeat(unit, 200)
	}
	body, err := json.Marshal(map[string]any{
		"message": "m" + strings.Repeat(unit, 200), "details": details, "hidden_details": details,
		"logos": []map[string]string{{"res": "default", "url": "https://x.example/" + strings.Repeat("|", 480)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var errDisk = errors.New("disk I/O error at /var/lib/countersign")

// broken are stores that fail where a handler first needs them after authentication.
type (
	brokenKeys      struct{ tenant.Store }
	brokenTenants   struct{ tenant.Store }
	brokenDevices   struct{ device.Store }
	brokenCodes     struct{ otp.Store }
	brokenApprovals struct{ approval.Store }
	brokenReports   struct{ reporting.Store }
	brokenWebhooks  struct{ webhook.Store }
	brokenResets    struct{ reset.Store }
)

func (brokenWebhooks) AddWebhook(context.Context, webhook.Webhook, audit.Record) error {
	return errDisk
}

func (brokenWebhooks) Webhooks(context.Context, string) ([]webhook.Webhook, error) {
	return nil, errDisk
}

func (brokenWebhooks) RemoveWebhook(context.Context, string, string, audit.Record) error {
	return errDisk
}

func (brokenResets) AskReset(context.Context, reset.Reset, audit.Record) (reset.Reset, error) {
	return reset.Reset{}, errDisk
}

func (brokenResets) EndReset(context.Context, reset.Reset, string, string, time.Time, audit.Record) error {
	return errDisk
}

func (brokenResets) FinishReset(context.Context, device.StoredTicket, time.Time, audit.Record) (tenant.Removed, error) {
	return tenant.Removed{}, errDisk
}

func (brokenCodes) KeepNotice(context.Context, sending.Send, job.Job, audit.Record) error {
	return errDisk
}

func (brokenKeys) ApplicationByKeyHash(context.Context, string, time.Time) (tenant.Application, error) {
	return tenant.Application{}, errDisk
}

func (brokenKeys) ApplicationAndUser(context.Context, string, int64, time.Time) (tenant.Application, tenant.User, error) {
	return tenant.Application{}, tenant.User{}, errDisk
}

func (brokenTenants) AddUser(context.Context, tenant.User, audit.Record) (tenant.User, error) {
	return tenant.User{}, errDisk
}

func (brokenDevices) GrantsOfUser(context.Context, string) ([]device.Grant, error) {
	return nil, errDisk
}

func (brokenDevices) CreateTicket(context.Context, device.StoredTicket, audit.Record) error {
	return errDisk
}

func (brokenDevices) RemoveGrantOf(context.Context, string, int64, time.Time, audit.Record) (device.Grant, error) {
	return device.Grant{}, errDisk
}

func (brokenDevices) Registration(context.Context, string, string) (device.Registered, error) {
	return device.Registered{}, errDisk
}

func (brokenReports) EachRecord(context.Context, string, time.Time, time.Time, int, func(audit.Record) bool) (int, error) {
	return 0, errDisk
}

func (brokenCodes) Redeem(context.Context, otp.Attempt, func(otp.Candidates) otp.Verdict) (otp.Verdict, error) {
	return otp.Verdict{Matched: true}, errDisk
}

func (brokenCodes) HasGrant(context.Context, string) (string, error) { return "", errDisk }

func (brokenApprovals) CreateApproval(context.Context, approval.Creation, audit.Record) (approval.Approval, []job.Job, error) {
	return approval.Approval{}, nil, errDisk
}

func (brokenApprovals) Renotify(context.Context, string, string, time.Time, approval.Push, audit.Record) (approval.Approval, []job.Job, error) {
	return approval.Approval{}, nil, errDisk
}

func (brokenApprovals) Approval(context.Context, string, string) (approval.Approval, error) {
	return approval.Approval{}, errDisk
}

func (brokenTenants) RemoveUser(context.Context, string, int64, time.Time, audit.Record) (tenant.Removed, error) {
	return tenant.Removed{}, errDisk
}

func (brokenApprovals) Cancel(context.Context, string, string, time.Time, audit.Record) (approval.Approval, error) {
	return approval.Approval{}, errDisk
}

func (brokenTenants) SetEmail(context.Context, string, string, string, time.Time, audit.Record) error {
	return errDisk
}

func (brokenTenants) AddActivity(context.Context, tenant.Activity, audit.Record) error {
	return errDisk
}

func (brokenTenants) Record(context.Context, audit.Record) error { return errDisk }

func (brokenTenants) Statistics(context.Context, string, tenant.Month) (tenant.Statistics, error) {
	return tenant.Statistics{}, errDisk
}

func (brokenCodes) KeepGeneric(context.Context, otp.StoredGeneric, audit.Record) error {
	return errDisk
}

func (brokenCodes) Generic(context.Context, string, string, audit.Record) (otp.AppSecret, error) {
	return otp.AppSecret{}, errDisk
}

func (brokenCodes) KeepVerification(context.Context, otp.VerificationSending, audit.Record) (otp.Verification, job.Job, error) {
	return otp.Verification{}, job.Job{}, errDisk
}

func (brokenCodes) RedeemVerification(_ context.Context, _, _ string, _ time.Time, right func(id, hash string) bool) error {
	right("", "")
	return errDisk
}

func (brokenCodes) VerificationByPhone(context.Context, string, string) (otp.Verification, error) {
	return otp.Verification{}, errDisk
}

// readsNothing are the routes that need no row but the application's, which its key has found.
var readsNothing = []string{"/protected/{format}/phones/info", "/protected/{format}/app/details"}

// An error of ours is told without detail, logged whole, and never a yes (INV-7, INV-8).
func TestInternalErrors(t *testing.T) {
	s := newSite(t, roomy, open)
	phone := s.Phone(t, s.app, s.ana)
	code, uuid := s.appCode(phone), s.Ask(t, s.app, s.ana, "Log in?").UUID
	s.Tenants.Store, s.Devices.Store = brokenTenants{s.Store}, brokenDevices{s.Store}
	s.Codes.Store, s.Approvals.Store = brokenCodes{s.Store}, brokenApprovals{s.Store}
	s.credentials()
	s.Reports.Store, s.Webhooks.Store, s.Resets.Store = brokenReports{s.Store}, brokenWebhooks{s.Store}, brokenResets{s.Store}
	const told = `{"error_code":"60000","errors":{"message":"An internal error occurred. Please try again later."},"message":"An internal error occurred. Please try again later.","success":false}`
	calls := 0
	for _, rt := range everyRoute {
		calls++
		if slices.Contains(readsNothing, rt.path) {
			continue
		}
		before := len(s.log.String())
		s.ask(rt.method, filled(rt.path, fmt.Sprint(s.ana.AuthyID), uuid, code), formType, "message=m&user[email]=e%40example.com&user[cellphone]=2025550199"+
			"&email=e%40example.com&type=banned&country_code=1&phone_number=2025550199&verification_code=1234&interval=day&notice=number-changed&report[a][event][eq]=user_added&name=n&url=https://a.example&events[]=user_added&custom_user_id=1").is(t, 500, told)
		line := s.log.String()[before:]
		if !strings.Contains(line, errDisk.Error()) || !strings.Contains(line, "level=ERROR") || !strings.Contains(line, rt.path) {
			t.Errorf("%s %s is logged as %q", rt.method, rt.path, line)
		}
		if strings.Contains(line, s.key) || strings.Contains(line, uuid) || strings.Contains(line, code) {
			t.Errorf("%s %s: a secret or an address in %q", rt.method, rt.path, line)
		}
	}
	if calls != len(everyRoute) {
		t.Error("not every route was tried")
	}
}

// Without the database no key is "invalid": who asks must not take it for a wrong key.
func TestKeysCannotBeRead(t *testing.T) {
	s := newSite(t)
	s.credentials()
	s.Tenants.Store = brokenKeys{s.Store}
	for _, rt := range everyRoute {
		a := s.ask(rt.method, filled(rt.path, "1", "1", "1"), "", "")
		a.refused(t, 500, "60000", "An internal error occurred. Please try again later.")
	}
}
