// This file tests every route in every encoding of contract section 1.3, with the key in each place of section 1.2.

package authyapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/servertest"
)

// usage is how a route is called: with parameters in both notations, and how to see that they arrived.
type usage struct {
	name, method string
	target       func(t *testing.T) string // made anew for each call, because some work once
	form, json   string
	arrived      func(t *testing.T, a answer)
}

// usages has one line for each route, and for each spelling of one.
func usages(s *site, phone *servertest.Phone) []usage {
	users := fmt.Sprint("/protected/json/users/", s.ana.AuthyID)
	fixed := func(target string) func(*testing.T) string { return func(*testing.T) string { return target } }
	says := func(want ...string) func(*testing.T, answer) {
		return func(t *testing.T, a answer) {
			for _, w := range want {
				if !strings.Contains(a.body, w) {
					t.Errorf("no %s in %s", w, a.body)
				}
			}
		}
	}
	// Bob comes and goes: removal must not take Ana's phone.
	again := func(spelling string) func(*testing.T) string {
		return func(t *testing.T) string {
			bob := s.User(t, s.app, "bob@example.com", "202-555-0188")
			return "/protected/json/users/" + fmt.Sprintf(spelling, bob.AuthyID)
		}
	}
	asked := func(suffix string) func(t *testing.T) string {
		return func(t *testing.T) string {
			return "/onetouch/json/approval_requests/" + s.Ask(t, s.app, s.ana, "Log in?").UUID + suffix
		}
	}
	// An operator has allowed Eve to begin anew, a while ago.
	inTrouble := func(suffix string, after time.Duration) func(t *testing.T) string {
		return func(t *testing.T) string {
			eve := s.User(t, s.app, "eve@example.com", "202-555-0166")
			if suffix != "" {
				if _, err := s.Resets.Allow(t.Context(), s.app, eve, "came by", "operator:o"); err != nil && !errors.Is(err, reset.ErrAllowed) {
					t.Fatal(err)
				}
				s.Clock.Advance(after)
			}
			return fmt.Sprintf("/onetouch/json/users/%d/reset%s", eve.AuthyID, suffix)
		}
	}
	return []usage{
		{
			"reporting/events", "GET", fixed("/protected/json/reporting/events"),
			"query[event][eq]=user_added&per_page=1", `{"query":{"event":{"eq":"user_added"}},"per_page":1}`, says(`"events":[{"event":"user_added"`),
		},
		{
			"reporting/date_histogram", "GET", fixed("/protected/json/reporting/date_histogram"),
			"report[new][event][eq]=user_added&interval=day", `{"report":{"new":{"event":{"eq":"user_added"}}},"interval":"day"}`, says(`"reports":{"new":[{"time":"`),
		},
		{
			"reporting/terms", "GET", fixed("/protected/json/reporting/terms"),
			"query[event][eq]=user_added&attribute=event", `{"query":{"event":{"eq":"user_added"}},"attribute":"event"}`, says(`"terms":[{"term":"user_added"`),
		},
		{
			"users/new", "POST", fixed("/protected/json/users/new"),
			"user[email]=ana%40example.com&user%5Bcellphone%5D=202-555-0123&user[country_code]=1",
			`{"user": {"email": "ana@example.com", "cellphone": "202-555-0123", "country_code": 1}}`,
			says(fmt.Sprintf(`"id":%d}`, s.ana.AuthyID)),
		},
		{"status", "GET", fixed(users + "/status"), "user_ip=192.0.2.7", `{"user_ip":"192.0.2.7"}`, says(`"User status."`)},
		{"remove", "POST", again("%d/remove"), "", "", says("User removed from application")},
		{"delete", "POST", again("%d/delete"), "", "", says("User removed from application")},
		{"delete, id last", "POST", again("delete/%d"), "user_ip=192.0.2.7", `{}`, says("User removed from application")},
		{
			"verify", "GET", func(t *testing.T) string {
				s.Clock.Advance(time.Minute) // an app code works once
				return fmt.Sprintf("/protected/json/verify/%s/%d", s.appCode(phone), s.ana.AuthyID)
			}, "force=true", `{"force":true}`, says(`"token":"is valid"`, `"success":"true"`),
		},
		{
			"verify, with an action", "GET", func(t *testing.T) string {
				s.Clock.Advance(10 * time.Minute)
				s.get(fmt.Sprintf("/protected/json/sms/%d?force=true&action=pay", s.ana.AuthyID))
				return fmt.Sprintf("/protected/json/verify/%s/%d", s.Delivered(t, s.ana.Phone).Code, s.ana.AuthyID)
			}, "action=pay&user_ip=192.0.2.7", `{"action":"pay","user_ip":"192.0.2.7"}`, says(`"os_type":"sms"`),
		},
		{
			"sms", "GET", func(*testing.T) string {
				s.Clock.Advance(10 * time.Minute) // for the limit on sending
				return fmt.Sprint("/protected/json/sms/", s.ana.AuthyID)
			}, "force=true&action_message=a+transfer", `{"force":"True","action_message":"a transfer"}`,
			func(t *testing.T, a answer) {
				says("SMS token was sent")(t, a)
				if got := s.Delivered(t, s.ana.Phone).Body; !strings.Contains(got, "a transfer") {
					t.Errorf("the message does not say what for: %s", got)
				}
			},
		},
		{
			"create", "POST", fixed(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID)),
			"message=Pay%3F+%26&details[To]=Bob&details[Amount]=5;00&hidden_details[ref]=7&seconds_to_expire=60&match=type" +
				"&logos[][res]=default&logos[][url]=https://x.example/d&logos[][res]=low&logos[][url]=https://x.example/l",
			`{"message":"Pay? &","details":{"To":"Bob","Amount":"5;00"},"hidden_details":{"ref":7},"seconds_to_expire":"60","match":"type",` +
				`"logos":[{"res":"default","url":"https://x.example/d"},{"res":"low","url":"https://x.example/l"}]}`,
			s.created,
		},
		{"read", "GET", asked(""), "wait=0", `{"wait":0}`, says(`"status":"pending"`)},
		{"cancel", "POST", asked("/cancel"), "", "", says(`"cancelled":true`)},
		{"renotify", "POST", func(t *testing.T) string {
			target := asked("/renotify")(t)
			s.Clock.Advance(approval.RenotifyPause)
			return target
		}, "", "", says(`"status":"pending"`, "told again")},
		{
			"dashboard webhooks", "POST", func(t *testing.T) string {
				s.noWebhooks(t)
				return "/dashboard/json/application/webhooks"
			},
			"name=first&url=https%3A%2F%2Fapp.example.com%2Fhook%3Fa%3Db&events[]=user_removed&events[]=user_added",
			`{"name":"first","url":"https://app.example.com/hook?a=b","events":["user_removed","user_added"]}`,
			says(`"name":"first"`, `"url":"https://app.example.com/hook?a=b"`, `"events":["user_added","user_removed"]`, `"message":"Webhook created"`),
		},
		{"dashboard webhooks", "GET", fixed("/dashboard/json/application/webhooks"), "", "{}", says(`"webhooks":[`)},
		{
			"dashboard webhooks, removed", "DELETE", func(t *testing.T) string {
				s.hook(t)
				return "/dashboard/json/application/webhooks/WH_1"
			}, "", "{}", says(`"message":"Webhook deleted"`),
		},
		{
			"dashboard webhooks, removed by a parameter", "DELETE", func(t *testing.T) string {
				s.hook(t)
				return "/dashboard/json/application/webhooks"
			}, "webhook_id=WH_1", `{"webhook_id":"WH_1"}`, says(`"message":"Webhook deleted"`),
		},
		{
			"registrations/status", "GET", func(t *testing.T) string {
				s.registered(t, "emp-1 & co")
				return "/protected/json/registrations/status"
			},
			"custom_user_id=emp-1+%26+co", `{"custom_user_id":"emp-1 & co"}`, says(`"custom_user_id":"emp-1 & co"`, `"status":"pending"`),
		},
		{"enrollment_tickets", "POST", fixed(fmt.Sprintf("/onetouch/json/users/%d/enrollment_tickets", s.ana.AuthyID)), "", "", says("/enroll#")},
		{"notices", "POST", fixed(fmt.Sprintf("/onetouch/json/users/%d/notices", s.ana.AuthyID)), "notice=number-changed", `{"notice":"number-changed"}`, says("Notice was sent.")},
		{"reset", "POST", inTrouble("", 0), "", "", says(`{"reset":{"state":"asked","asked_at":"`, `"due_at":null}`)},
		{"reset/stop", "POST", inTrouble("/stop", 0), "", "", says("Reset was stopped.")},
		{"reset/finish", "POST", inTrouble("/finish", reset.Wait), "", "", says("/enroll#")},
		{"update", "POST", fixed(users + "/update"), "email=ana%40example.com", `{"email":"ana@example.com"}`, says("User was updated successfully")},
		{
			"register_activity", "POST", func(*testing.T) string {
				s.Clock.Advance(time.Second) // so that its record is the newest
				return users + "/register_activity"
			}, "type=password_reset&data[reason]=lost&ip=192.0.2.7",
			`{"type":"password_reset","data":{"reason":"lost"},"user_ip":"192.0.2.7"}`,
			func(t *testing.T, a answer) {
				says("Activity was created.")(t, a)
				if last := s.lastRecord(t); last.Action != "activity.password_reset" || last.Note != "from 192.0.2.7" {
					t.Errorf("recorded %+v", last)
				}
			},
		},
		{"secret", "POST", fixed(users + "/secret"), "qr_size=200&label=Ana+%26+Co", `{"qr_size":"200","label":"Ana & Co"}`, says(`{"label":"Ana & Co","issuer":"Bank","qr_code":"data:image/png;base64,`)},
		{
			"secret/export", "GET", func(t *testing.T) string {
				s.generic(t)
				return users + "/secret/export"
			}, "", "", says(`{"secret":"`, `"otp":"`),
		},
		{
			"sdk/devices", "DELETE", func(t *testing.T) string {
				return fmt.Sprint("/protected/json/sdk/devices/", s.Phone(t, s.app, s.ana).Grants[0].ID)
			}, "", "", says("Device was deleted"),
		},
		{"phone_number", "GET", fixed(users + "/phone_number"), "", "", says(`"e164":"+12025550123"`)},
		{
			"call", "GET", func(*testing.T) string {
				s.Clock.Advance(10 * time.Minute)
				return fmt.Sprint("/protected/json/call/", s.ana.AuthyID)
			}, "force=true&locale=de", `{"force":true,"locale":"de"}`,
			func(t *testing.T, a answer) {
				says("Call started...")(t, a)
				if m := s.Delivered(t, s.ana.Phone); m.Channel != otp.Voice || m.Language != "de-DE" {
					t.Errorf("said by %s in %q", m.Channel, m.Language)
				}
			},
		},
		{
			"email", "POST", func(*testing.T) string {
				s.Clock.Advance(10 * time.Minute)
				return fmt.Sprint("/protected/json/email/", s.ana.AuthyID)
			}, "force=1", `{"force":1}`, says("Email token was sent"),
		},
		{
			"verification/start", "POST", func(*testing.T) string {
				s.Clock.Advance(10 * time.Minute)
				return "/protected/json/phones/verification/start"
			}, "via=call&country_code=1&phone_number=202-555-0177&code_length=6&locale=fr", `{"via":"call","country_code":"1","phone_number":"(202) 555 0177","code_length":6,"locale":"FR"}`,
			func(t *testing.T, a answer) {
				says("Call to +1 202-555-0177 initiated.")(t, a)
				if m := s.Delivered(t, "+12025550177"); len(m.Code) != 6 || m.Language != "fr-FR" {
					t.Errorf("sent %q in %q", m.Code, m.Language)
				}
			},
		},
		{
			"verification/check", "GET", func(t *testing.T) string {
				s.verification(t)
				return "/protected/json/phones/verification/check"
			}, "country_code=1&phone_number=202.555.0178&verification_code=4711", `{"country_code":1,"phone_number":"2025550178","verification_code":4711}`,
			says("Verification code is correct."),
		},
		{
			"verification/status", "GET", func(t *testing.T) string {
				s.verification(t)
				return "/protected/json/phones/verification/status"
			}, "country_code=1&phone_number=2025550178", `{"country_code":1,"phone_number":2025550178}`, says(`"status":"pending"`),
		},
		{
			"phones/info", "GET", fixed("/protected/json/phones/info"), "country_code=351&phone_number=912+345+678&user_ip=192.0.2.7",
			`{"country_code":351,"phone_number":"912345678"}`, says(`"type":"cellphone"`),
		},
		{"app/details", "GET", fixed("/protected/json/app/details"), "user_ip=192.0.2.7", `{"user_ip":"192.0.2.7"}`, says("Application information.")},
		{"app/stats", "GET", fixed("/protected/json/app/stats"), "user_ip=192.0.2.7", `{"user_ip":"192.0.2.7"}`, says("Monthly statistics.")},
		{"probe", "GET", fixed("/"), "", "", says(`{"message":"Countersign","success":true}`)},
	}
}

// created holds the row to what the table above sent.
func (s *site) created(t *testing.T, a answer) {
	t.Helper()
	row, err := s.Approvals.Get(t.Context(), s.app.ID, a.uuid(t))
	if err != nil {
		t.Fatal(err)
	}
	type content struct {
		Message         string
		Details, Hidden []receipt.Field
		Logos           []approval.Logo
		Life            int64
	}
	want := content{
		"Pay? &",
		[]receipt.Field{{Name: "To", Value: "Bob"}, {Name: "Amount", Value: "5;00"}},
		[]receipt.Field{{Name: "ref", Value: "7"}},
		[]approval.Logo{{Res: "default", URL: "https://x.example/d"}, {Res: "low", URL: "https://x.example/l"}},
		60,
	}
	if diff := cmp.Diff(want, content{row.Content.Message, row.Content.Details, row.Hidden, row.Logos, row.Life}); diff != "" {
		t.Error(diff)
	}
	if a.at(t, "approval_request", "match", "value") != row.Match.Value {
		t.Errorf("the number is not told: %s", a.body)
	}
}

// encoding writes a request's parameters, with the key among them when it goes there.
type encoding struct {
	name  string
	write func(t *testing.T, method, target string, u usage, key string) *http.Request
}

var encodings = []encoding{
	{"form", func(_ *testing.T, method, target string, u usage, key string) *http.Request {
		return request(method, target, formType, withKey(u.form, key))
	}},
	{"JSON", func(_ *testing.T, method, target string, u usage, key string) *http.Request {
		return request(method, target, jsonType, jsonWithKey(u.json, key))
	}},
	{"query", func(_ *testing.T, method, target string, u usage, key string) *http.Request {
		return request(method, target+"?"+withKey(u.form, key), "", "")
	}},
	{"query beside an empty JSON body", func(_ *testing.T, method, target string, u usage, key string) *http.Request {
		return request(method, target+"?"+withKey(u.form, key), jsonType, "")
	}},
	{"query beside {}", func(_ *testing.T, method, target string, u usage, key string) *http.Request {
		return request(method, target+"?"+withKey(u.form, key), jsonType, "{}")
	}},
	{"multipart", func(t *testing.T, method, target string, u usage, key string) *http.Request {
		var fields []string
		for pair := range strings.SplitSeq(withKey(u.form, key), "&") {
			name, value, _ := strings.Cut(pair, "=")
			for _, escaped := range []string{name, value} {
				plain, err := url.QueryUnescape(escaped)
				if err != nil {
					t.Fatal(err)
				}
				fields = append(fields, plain)
			}
		}
		contentType, body := multipartBody(t, fields...)
		return request(method, target, contentType, body)
	}},
	{"form without a type", func(_ *testing.T, method, target string, u usage, key string) *http.Request {
		return request(method, target, "", withKey(u.form, key))
	}},
	{"JSON without a type", func(_ *testing.T, method, target string, u usage, key string) *http.Request {
		return request(method, target, "", jsonWithKey(u.json, key))
	}},
}

func withKey(form, key string) string {
	if key != "" {
		form += "&api_key=" + key
	}
	return strings.TrimPrefix(form, "&")
}

func jsonWithKey(text, key string) string {
	switch {
	case key == "":
		return text
	case strings.Trim(text, "{}") == "":
		return `{"api_key":"` + key + `"}`
	}
	return strings.TrimSuffix(text, "}") + `,"api_key":"` + key + `"}`
}

func TestEveryRouteInEveryEncoding(t *testing.T) {
	s := newSite(t, roomy, open)
	for _, u := range usages(s, s.Phone(t, s.app, s.ana)) {
		for _, e := range encodings {
			for _, place := range []string{"header", "query", "body"} {
				t.Run(u.name+"/"+e.name+"/"+place, func(t *testing.T) {
					target, inParams := u.target(t), ""
					if place != "header" {
						inParams = s.key
					}
					r := e.write(t, u.method, target, u, inParams)
					switch {
					case strings.HasPrefix(target, "/dashboard/"): // has other keys, and those always among the parameters
						u := u
						u.form = "app_api_key=" + s.key + "&access_key=" + s.credentials().AccessKey + "&" + u.form
						u.json = strings.Replace(strings.TrimSuffix(u.json, "}")+`,"app_api_key":"`+s.key+`","access_key":"`+s.credentials().AccessKey+`"}`, "{,", "{", 1)
						r = e.write(t, u.method, target, u, "")
						body, err := io.ReadAll(r.Body)
						if err != nil {
							t.Fatal(err)
						}
						r.Body = io.NopCloser(bytes.NewReader(body))
						s.sign(r, string(body))
					case place == "header":
						r.Header.Set("x-authy-api-key", s.key)
					case place == "query" && r.URL.RawQuery == "": // the parameters in the body, the key in the query (node-authy)
						r = e.write(t, u.method, target, u, "")
						r.URL.RawQuery = "api_key=" + s.key
					}
					a := s.serve(r)
					if a.status != http.StatusOK {
						t.Fatalf("%d %s", a.status, a.body)
					}
					a.wellFormed(t)
					u.arrived(t, a)
				})
			}
		}
	}
}

// The table above has a line for each route.
func TestUsagesAreComplete(t *testing.T) {
	s := newSite(t, roomy, open)
	called := map[string]bool{}
	for _, u := range usages(s, s.Phone(t, s.app, s.ana)) {
		r := request(u.method, u.target(t), "", "")
		s.serve(r)
		called[r.Pattern] = true
	}
	for _, rt := range everyRoute {
		if !called[rt.method+" "+rt.path] {
			t.Errorf("%s %s is not tried in every encoding", rt.method, rt.path)
		}
	}
}

// A form for one of PHP's empty arrays, and Ruby's absent ones, is no parameter at all.
func TestEmptyParameters(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	for _, body := range []string{
		`{"message":"Log in?","details":{},"hidden_details":{},"logos":[]}`,
		`{"message":"Log in?","details":[],"hidden_details":[],"logos":[]}`,
		`{"message":"Log in?","details":null,"hidden_details":null,"logos":null,"seconds_to_expire":null,"match":null}`,
		`{"message":"Log in?","details":"","hidden_details":"","logos":"","seconds_to_expire":"","match":""}`,
	} {
		a := s.ask("POST", fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), jsonType, body)
		row, err := s.Approvals.Get(t.Context(), s.app.ID, a.uuid(t))
		if err != nil || len(row.Content.Details) != 0 || len(row.Hidden) != 0 || len(row.Logos) != 0 || row.Life != 120 {
			t.Errorf("%s made %+v, %v", body, row, err)
		}
	}
}

// Values of details are shown as they were written, and a plain text is one detail without a name (contract sections 1.3 and 5.1).
func TestDetailsAsText(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	target := fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID)
	for body, want := range map[string][]receipt.Field{
		`{"message":"m","details":{"a":1.50,"b":true,"c":null,"d":12345678901234567890}}`: {{Name: "a", Value: "1.50"}, {Name: "b", Value: "true"}, {Name: "c"}, {Name: "d", Value: "12345678901234567890"}},
		`{"message":"m","details":"from Bogotá"}`:                                         {{Value: "from Bogotá"}},
		`{"message":"m","details":{"z":"1","a":"2"}}`:                                     {{Name: "z", Value: "1"}, {Name: "a", Value: "2"}},
	} {
		row, err := s.Approvals.Get(t.Context(), s.app.ID, s.ask("POST", target, jsonType, body).uuid(t))
		if diff := cmp.Diff(want, row.Content.Details); diff != "" || err != nil {
			t.Errorf("%s: %v %s", body, err, diff)
		}
	}
}
