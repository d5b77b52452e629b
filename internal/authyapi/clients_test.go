// This file holds the hard rules of contract section 1.6, each named after the client that breaks without it.

package authyapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/tenant"
)

var digits = regexp.MustCompile(`[0-9]+`)

// authy-ssh takes the only number of the answer for the id, and finds failures by words.
func TestAuthySSHAddsUser(t *testing.T) {
	s := newSite(t)
	a := s.post("/protected/json/users/new?api_key="+s.key, "user[email]=ana%40example.com&user[cellphone]=2025550123&user[country_code]=1")
	if got := digits.FindAllString(a.body, -1); len(got) != 1 || got[0] != fmt.Sprint(s.ana.AuthyID) {
		t.Errorf("numbers %v in %s", got, a.body)
	}
	for word, want := range map[string]bool{"user": true, "id": true, "cellphone": false, "email": false, "country": false} {
		if strings.Contains(a.body, word) != want {
			t.Errorf("%q: not %v in %s", word, want, a.body)
		}
	}
	failed := s.post("/protected/json/users/new", "user[email]=x&user[cellphone]=1&user[country_code]=0")
	for _, word := range []string{"cellphone", "email", "country"} {
		if !strings.Contains(failed.body, word) {
			t.Errorf("no %q in %s", word, failed.body)
		}
	}
}

// authy-ssh looks for words in their order.
func TestAuthySSHSendsSMS(t *testing.T) {
	s := newSite(t)
	a := s.get(fmt.Sprintf("/protected/json/sms/%d?force=true", s.ana.AuthyID))
	if !regexp.MustCompile(`success.*sent`).MatchString(a.body) {
		t.Errorf("sent: %s", a.body)
	}
	off := newSite(t, func(set *tenant.Settings) { set.SMSEnabled = false })
	a = off.get(fmt.Sprintf("/protected/json/sms/%d?force=true", off.ana.AuthyID))
	if !regexp.MustCompile(`not.*enabled`).MatchString(a.body) {
		t.Errorf("disabled: %s", a.body)
	}
}

// authy-ssh splits the body at a vertical bar, and Python's Token.ok compares text; so nothing that a caller sent may bring either in.
func TestAuthySSHAndPythonReadText(t *testing.T) {
	s := newSite(t, roomy)
	phone := s.Phone(t, s.app, s.ana)
	a := s.get(fmt.Sprintf("/protected/json/verify/%s/%d", s.appCode(phone), s.ana.AuthyID))
	if !strings.Contains(a.body, `"token":"is valid"`) {
		t.Errorf("right code: %s", a.body)
	}
	hidden := s.ask("POST", fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), jsonType,
		`{"message":"a|b","hidden_details":{"c|d":"e|f","token":"is valid"}}`)
	if _, err := phone.Answer(t, hidden.uuid(t), approval.Approve, ""); err != nil {
		t.Fatal(err)
	}
	read := s.get("/onetouch/json/approval_requests/" + hidden.uuid(t))
	read.wellFormed(t)
	if got := fmt.Sprint(read.at(t, "approval_request", "hidden_details")); got != "map[c|d:e|f token:is valid]" {
		t.Errorf("hidden_details %s", got)
	}
	s.get("/onetouch/json/approval_requests/a%7Cb").wellFormed(t)
	s.get("/a%7Cb").wellFormed(t)
	s.get(fmt.Sprintf("/protected/json/verify/a%%7Cb/%d", s.ana.AuthyID)).wellFormed(t)
}

// The OpenVPN plugin's parser stops after twenty lexical items, and needs the token before the device.
func TestOpenVPNReadsTwentyItems(t *testing.T) {
	s := newSite(t)
	phone := s.Phone(t, s.app, s.ana)
	a := s.get(fmt.Sprintf("/protected/json/verify/%s/%d?api_key=%s&force=true", s.appCode(phone), s.ana.AuthyID, s.key))
	var order []string
	tokens := json.NewDecoder(strings.NewReader(a.body))
	for depth, isName := 0, true; ; {
		token, err := tokens.Token()
		if err != nil {
			break
		}
		switch token {
		case json.Delim('{'):
			depth, isName = depth+1, true
			continue
		case json.Delim('}'):
			depth--
		default:
			if name, ok := token.(string); ok && isName && depth == 1 {
				order = append(order, name)
			}
			isName = !isName
			continue
		}
		isName = true
	}
	if want := []string{"message", "token", "success", "device"}; !slices.Equal(order, want) {
		t.Errorf("members in the order %v, want %v", order, want)
	}
}

// Java reads error_code as a string and parses it, and message, from every answer that is not 200; go-authy decodes errors into a map of strings.
// wellFormed holds every refusal of these tests to it; here are those that no handler makes.
func TestJavaReadsEveryRefusal(t *testing.T) {
	s := newSite(t)
	for _, r := range []*http.Request{
		request("GET", "/nowhere", "", ""), request("DELETE", "/protected/json/users/1/status", "", ""), request("POST", "/", "", ""),
		request("GET", "/protected/xml/users/1/status", "", ""), request("OPTIONS", "/protected/json/users/new", "", ""),
		request("CONNECT", "/protected/json/users/new", "", ""), request("BREW", "/onetouch", "", ""), request("GET", "/protected/json/users/1", "", ""),
	} {
		a := s.serve(r)
		if a.wellFormed(t); a.status == http.StatusOK || a.at(t, "error_code") != "60000" {
			t.Errorf("%s %s: %d %s", r.Method, r.URL, a.status, a.body)
		}
	}
}

// Ids are numbers for Java, go-authy and authy-client, and fit their 32 bits; devices is a list of strings for Java and Rust.
func TestJavaTypes(t *testing.T) {
	s := newSite(t)
	s.Phone(t, s.app, s.ana)
	var read struct {
		Status struct {
			AuthyID     int32    `json:"authy_id"`
			CountryCode int32    `json:"country_code"`
			Confirmed   bool     `json:"confirmed"`
			Registered  bool     `json:"registered"`
			HardToken   bool     `json:"has_hard_token"`
			Disabled    bool     `json:"account_disabled"`
			Phone       string   `json:"phone_number"`
			Devices     []string `json:"devices"`
			Detailed    []struct {
				DeviceType   string `json:"device_type"`
				OSType       string `json:"os_type"`
				CreationDate int64  `json:"creation_date"`
				DeviceID     int32  `json:"device_id"`
			} `json:"detailed_devices"`
		} `json:"status"`
		Success bool   `json:"success"`
		Message string `json:"message"`
	}
	a := s.get(fmt.Sprintf("/protected/json/users/%d/status", s.ana.AuthyID))
	if err := json.Unmarshal([]byte(a.body), &read); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	st := read.Status
	if st.AuthyID == 0 || st.CountryCode != 1 || !slices.Equal(st.Devices, []string{"android"}) || len(st.Detailed) != 1 || st.Detailed[0].DeviceType == "" ||
		st.Detailed[0].OSType == "" || st.Detailed[0].CreationDate == 0 || st.Detailed[0].DeviceID == 0 {
		t.Errorf("%+v from %s", read, a.body)
	}
}

// authy-client asserts these texts, and types, of an approval request.
func TestAuthyClientAsserts(t *testing.T) {
	s := newSite(t)
	phone := s.Phone(t, s.app, s.ana)
	code := s.appCode(phone)
	uuid := s.Ask(t, s.app, s.ana, "Log in?").UUID
	for _, want := range []struct{ target, message string }{
		{fmt.Sprintf("/protected/json/users/%d/status", s.ana.AuthyID), "User status."},
		{fmt.Sprintf("/protected/json/verify/%s/%d", code, s.ana.AuthyID), "Token is valid."},
		{fmt.Sprintf("/protected/json/verify/%s/%d", code, s.ana.AuthyID), "Token is invalid. Token was used recently."}, // and .NET, in any case
	} {
		if a := s.ask("GET", want.target, jsonType, `{"user_ip":"192.0.2.7"}`); a.at(t, "message") != want.message {
			t.Errorf("%s: %s", want.target, a.body)
		}
	}
	a := s.get("/onetouch/json/approval_requests/" + uuid)
	for name, pattern := range map[string]string{
		"_user_email": `^[^@]+@[^@]+$`, "_app_serial_id": `^[0-9]+$`, "_id": `^[0-9a-f]{24}$`, "app_id": `^[0-9a-f]{24}$`, "user_id": `^[0-9a-f]{24}$`,
		"uuid": `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, "processed_at": `^<nil>$`,
		"created_at": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, "updated_at": `^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, "notified": `^false$`, "_authy_id": `^[0-9]+$`,
	} {
		value := a.at(t, "approval_request", name)
		if n, ok := value.(float64); ok {
			value = int64(n)
		}
		if !regexp.MustCompile(pattern).MatchString(fmt.Sprint(value)) {
			t.Errorf("%s is %v", name, value)
		}
	}
}

// Ruby and Rust insist on a message in each answer.
func TestRustReadsMessages(t *testing.T) {
	s := newSite(t, roomy, open)
	for _, u := range usages(s, s.Phone(t, s.app, s.ana)) {
		if u.name == "secret/export" || u.name == "phone_number" { // later than the client, and without
			continue
		}
		if a := s.ask(u.method, u.target(t)+"?"+u.form, "", ""); a.at(t, "message") == nil || a.at(t, "success") == nil {
			t.Errorf("%s: %s", u.name, a.body)
		}
	}
}

// Java and authy-client remove a user with a JSON type over nothing, or over {}.
func TestJavaAndAuthyClientRemove(t *testing.T) {
	s := newSite(t)
	for _, body := range []string{"", "{}"} {
		for _, spelling := range []string{"%d/remove", "%d/delete", "delete/%d"} {
			s.User(t, s.app, "ana@example.com", "202-555-0123")
			s.ask("POST", "/protected/json/users/"+fmt.Sprintf(spelling, s.ana.AuthyID), jsonType, body).is(t, 200, `{"message":"User removed from application","success":true}`)
		}
	}
}

// The Rails generator, PHP and the Java README end the base URL in a slash. Over a real connection: a redirected POST would lose its body.
func TestRailsDoubleSlashes(t *testing.T) {
	s := newSite(t)
	server := httptest.NewServer(s.handler)
	defer server.Close()
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, path := range []string{
		"//protected/json/users/new", "/protected//json///users/new", "/protected/json/users/new/", "//protected/json/users/new//", "/protected/./json/users/new",
	} {
		req, err := http.NewRequest("POST", server.URL+path+"?api_key="+s.key, strings.NewReader("user[email]=ana%40example.com&user[cellphone]=2025550123"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", formType)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 || !strings.Contains(string(body), fmt.Sprint(s.ana.AuthyID)) {
			t.Errorf("%s: %d %s %v", path, res.StatusCode, body, err)
		}
	}
}

// One shell client probes the root before its first call, without a key.
func TestShellClientProbes(t *testing.T) {
	s := newSite(t)
	for _, target := range []string{"/", "//"} {
		s.serve(request("GET", target, "", "")).is(t, 200, `{"message":"Countersign","success":true}`)
	}
	if a := s.serve(request("HEAD", "/", "", "")); a.status != 200 {
		t.Errorf("HEAD: %d", a.status)
	}
}

// The log names the route, whichever way the client spelled its path, and never what stood in the address.
func TestPatternIsLeftForTheLog(t *testing.T) {
	s := newSite(t)
	for target, want := range map[string]string{
		"/protected/json/users/1/remove":   "POST /protected/{format}/users/{id}/remove",
		"//protected/json/users/1/remove":  "POST /protected/{format}/users/{id}/remove",
		"/protected/json/users/delete/1":   "POST /protected/{format}/users/{id}/delete",
		"//protected/json/users/delete/1/": "POST /protected/{format}/users/{id}/delete",
		"/elsewhere":                       "",
	} {
		r := request("POST", target, "", "")
		if s.serve(r); r.Pattern != want {
			t.Errorf("%s: pattern %q, want %q", target, r.Pattern, want)
		}
	}
}
