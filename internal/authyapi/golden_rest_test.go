// This file holds the rest of the contract's answers byte for byte: sections 3.4 to 3.7, 4.1 to 4.4, 8 and 9.

package authyapi

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image/png"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"rsc.io/qr"

	"countersign.dev/client/token"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

func TestPersonAnswers(t *testing.T) {
	s := newSite(t, open)
	users := fmt.Sprint("/protected/json/users/", s.ana.AuthyID)
	s.post(users+"/update", "email=ana%40example.org").is(t, 200, `{"message":"User was updated successfully","success":true}`)
	if got := s.get(users+"/status").at(t, "status", "email"); got != "ana@example.org" {
		t.Errorf("the address is %v", got)
	}
	s.post(users+"/update", "email=ana").is(t, 400, `{"error_code":"60038","errors":{"message":"Email is invalid"},"message":"Email is invalid","success":false}`)
	for _, kind := range []string{"password_reset", "banned", "unbanned", "cookie_login"} {
		s.post(users+"/register_activity", "type="+kind).is(t, 200, `{"message":"Activity was created.","success":true}`)
	}
	s.post(users+"/register_activity", "type=lunch").refused(t, 400, "60029", tenant.ErrActivity.Detail)
	s.post(users+"/register_activity", "type=banned&data[why]="+strings.Repeat("x", 4<<10)).refused(t, 400, "60004", tenant.ErrActivityData.Detail)

	s.get(users+"/phone_number").is(t, 200, `{"phone_number":"202-555-0123","country_code":"1","e164":"+12025550123","updated_at":"2026-05-04T10:00:00Z"}`)
	s.get(users+"/secret/export").is(t, 404, `{"error_code":"60113","errors":{"message":"Authenticator not found"},"message":"Authenticator not found","success":false}`)
	code := s.generic(t)
	a := s.get(users + "/secret/export")
	if secret, _ := a.at(t, "secret").(string); !regexp.MustCompile(`^[A-Z2-7]{32}$`).MatchString(secret) {
		t.Errorf("secret %q", secret)
	}
	a.is(t, 200, fmt.Sprintf(`{"secret":"%s","otp":"%s","success":true}`, a.at(t, "secret"), code()))
}

// What reveals secrets or personal data is off by default, and recorded when it is not (contract section 3.7).
func TestExportsAreOffAndRecorded(t *testing.T) {
	for _, defaults := range []tenant.Settings{tenant.NewIntegration(), tenant.DropIn()} {
		s := newSite(t, func(set *tenant.Settings) { *set = defaults })
		users := fmt.Sprint("/protected/json/users/", s.ana.AuthyID)
		s.get(users+"/phone_number").refused(t, 403, "60154", "Phone number export is disabled")
		s.get(users+"/secret/export").refused(t, 403, "60031", "Secret export is not enabled")
		s.post(users+"/secret", "").refused(t, 403, "60123", "Generic authenticator tokens are not enabled")
		s.post("/protected/json/phones/verification/start", "country_code=1&phone_number=2025550177&custom_code=4711").refused(t, 403, "60021", otp.ErrCustomCodeOff.Detail)
	}
	s := newSite(t, open)
	s.generic(t)
	for path, action := range map[string]string{"phone_number": "user.phone_exported", "secret/export": "generic_secret.exported"} {
		s.Clock.Advance(time.Second)
		s.get(fmt.Sprintf("/protected/json/users/%d/%s", s.ana.AuthyID, path))
		if last := s.lastRecord(t); last.Action != action || last.Actor != "app:"+s.app.ID || last.Target != "user:"+s.ana.ID {
			t.Errorf("%s is recorded as %+v", path, last)
		}
	}
}

// The QR code is a PNG of the size asked for that holds the otpauth address.
func TestSecret(t *testing.T) {
	s := newSite(t, open)
	target := fmt.Sprintf("/protected/json/users/%d/secret", s.ana.AuthyID)
	a := s.post(target, "label=Ana%3A+work+%26+home")
	picture, _ := a.at(t, "qr_code").(string)
	a.is(t, 200, fmt.Sprintf(`{"label":"Ana: work & home","issuer":"Bank","qr_code":"%s","message":"Secret was created.","success":true}`, picture))
	if got := s.post(target, "").at(t, "label"); got != "ana@example.com" {
		t.Errorf("label %v", got)
	}
	s.post(target, "qr_size=x").refused(t, 400, "60004", "Invalid parameter: qr_size - 'x' is not a valid Integer")
	s.post(target, "qr_size=1001").refused(t, 400, "60004", "Invalid parameter: qr_size - 100 to 1000 are expected")
	s.post(target, "qr_size=99").refused(t, 400, "60004", "Invalid parameter: qr_size - 100 to 1000 are expected")
	s.post(target, "label="+strings.Repeat("x", 101)).refused(t, 400, "60004", otp.ErrGenericLabel.Detail)

	long, err := s.Codes.NewGeneric(t.Context(), s.app, s.ana, strings.Repeat("ж", 100))
	if err != nil {
		t.Fatal(err)
	}
	short, err := s.Codes.NewGeneric(t.Context(), s.app, s.ana, "Ana: work & home+")
	if err != nil {
		t.Fatal(err)
	}
	if want := `^otpauth://totp/Bank:Ana%20%20work%20%26%20home%2B\?secret=[A-Z2-7]{32}&issuer=Bank&algorithm=SHA1&digits=6&period=30$`; !regexp.MustCompile(want).MatchString(short.URI) {
		t.Errorf("otpauth address %s", short.URI)
	}
	for _, uri := range []string{short.URI, long.URI} {
		if _, err := url.Parse(uri); err != nil {
			t.Error(err)
		}
		for _, size := range []int{100, 300, 1000} {
			picture, err := qrPNG(uri, size)
			if err != nil {
				t.Fatal(err)
			}
			holds(t, picture, uri, size)
		}
	}
}

// holds reports a difference between a picture and the QR code of a text, module by module, with white around it.
func holds(t *testing.T, picture, text string, size int) {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(picture, "data:image/png;base64,"))
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	want, err := qr.Encode(text, qr.M)
	if err != nil {
		t.Fatal(err)
	}
	side := img.Bounds().Dx()
	if side != max(size, want.Size+2*quietZone) || img.Bounds().Dy() != side {
		t.Errorf("the picture is %v, asked for %d", img.Bounds(), size)
	}
	scale := max(1, size/(want.Size+2*quietZone))
	from := (side - want.Size*scale) / 2
	for y := -quietZone; y < want.Size+quietZone; y++ {
		for x := -quietZone; x < want.Size+quietZone; x++ {
			red, _, _, _ := img.At(from+x*scale+scale/2, from+y*scale+scale/2).RGBA()
			if black := want.Black(x, y); black != (red == 0) {
				t.Fatalf("module %d, %d of %d is wrong at %d pixels", x, y, want.Size, size)
			}
		}
	}
}

// INV-1: a generic code is right once, counts from its first right code on, and then in the place of the one before.
func TestGenericCodes(t *testing.T) {
	s := newSite(t, open)
	verify := func(code string) answer {
		return s.get(fmt.Sprintf("/protected/json/verify/%s/%d", code, s.ana.AuthyID))
	}
	first := s.generic(t)
	s.Clock.Advance(time.Minute)
	code := first()
	a := verify(code)
	if a.status != 200 || a.at(t, "device", "os_type") != "unknown" || a.at(t, "device", "id") == nil {
		t.Errorf("%d %s", a.status, a.body)
	}
	verify(code).refused(t, 401, "60019", "Token is invalid. Token was used recently.")
	s.post(fmt.Sprintf("/protected/json/users/%d/secret", s.ana.AuthyID), "") // never used
	s.Clock.Advance(time.Minute)
	if a := verify(first()); a.status != 200 {
		t.Errorf("the secret in use, beside a new one: %d %s", a.status, a.body)
	}
	second := s.generic(t)
	s.Clock.Advance(time.Minute)
	if old := first(); old != second() {
		verify(old).refused(t, 401, "60020", "Token is invalid")
	}
	if a := verify(second()); a.status != 200 {
		t.Errorf("the new secret: %d %s", a.status, a.body)
	}
	if err := s.Tenants.SetSwitches(t.Context(), s.app, map[string]bool{"generic_tokens": false}, "operator:test"); err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(time.Minute)
	verify(second()).refused(t, 401, "60020", "Token is invalid")
}

func TestCallAndEmailAnswers(t *testing.T) {
	s := newSite(t, func(set *tenant.Settings) { set.SentDigits = 6 })
	call, email := fmt.Sprint("/protected/json/call/", s.ana.AuthyID), fmt.Sprint("/protected/json/email/", s.ana.AuthyID)
	s.get(call).is(t, 200, `{"success":true,"message":"Call started...","cellphone":"+1-XXX-XXX-XX23"}`)
	if m := s.Delivered(t, s.ana.Phone); m.Channel != otp.Voice || len(m.Code) != 6 {
		t.Errorf("%+v", m)
	}
	a := s.post(email, "action=pay")
	id, _ := a.at(t, "email_id").(string)
	if !regexp.MustCompile(`^EM[0-9a-f]{32}$`).MatchString(id) {
		t.Errorf("email_id %q", id)
	}
	a.is(t, 200, fmt.Sprintf(`{"success":true,"message":"Email token was sent","email":"ana@example.com","email_id":"%s"}`, id))
	code := s.Delivered(t, s.ana.Email).Code
	s.get(fmt.Sprintf("/protected/json/verify/%s/%d", code, s.ana.AuthyID)).refused(t, 401, "60020", "Token is invalid")
	if a := s.get(fmt.Sprintf("/protected/json/verify/%s/%d?action=pay", code, s.ana.AuthyID)); a.status != 200 || a.at(t, "device", "os_type") != "sms" {
		t.Errorf("%d %s", a.status, a.body)
	}

	s.Phone(t, s.app, s.ana)
	s.get(call).is(t, 200, `{"message":"Call ignored. User is using  App Tokens and this call is not necessary. Pass force=true if you still want to call users that are using the App.",`+
		`"cellphone":"+1-XXX-XXX-XX23","device":"android","ignored":true,"success":true}`)
	s.post(email, "").is(t, 200, `{"message":"Ignored: Email is not needed for smartphones. Pass force=true if you want to actually send it anyway.",`+
		`"email":"ana@example.com","device":"android","ignored":true,"success":true}`)
	off := newSite(t, func(set *tenant.Settings) { set.CallsOff = true })
	off.get(fmt.Sprint("/protected/json/call/", off.ana.AuthyID)).refused(t, 403, "60006", "Phone calls are not enabled on this account")
}

// Any code passes for who never finished registration, without force and only where the operator says so (contract section 4.1).
func TestAnyCodeAtOnce(t *testing.T) {
	s := newSite(t)
	target := fmt.Sprintf("/protected/json/verify/1234567/%d", s.ana.AuthyID)
	s.get(target).refused(t, 401, "60020", "Token is invalid")
	s = newSite(t, func(set *tenant.Settings) { set.AnyCodeAtOnce = true })
	target = fmt.Sprintf("/protected/json/verify/1234567/%d", s.ana.AuthyID)
	s.Clock.Advance(time.Second)
	if a := s.get(target); a.status != 200 || a.at(t, "token") != "is valid" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if last := s.lastRecord(t); last.Action != "code.unchecked" {
		t.Errorf("recorded %+v", last)
	}
	s.get(target+"?force=true").refused(t, 401, "60020", "Token is invalid")
	if got := s.get(fmt.Sprintf("/protected/json/users/%d/status", s.ana.AuthyID)).at(t, "status", "confirmed"); got != false {
		t.Error("a code that nobody checked confirms the user")
	}
	s.Phone(t, s.app, s.ana)
	s.get(target).refused(t, 401, "60020", "Token is invalid")
}

func TestPhoneVerificationAnswers(t *testing.T) {
	s := newSite(t, open)
	const start, check, status = "/protected/json/phones/verification/start", "/protected/json/phones/verification/check", "/protected/json/phones/verification/status"
	const number = "country_code=1&phone_number=212-654-3210"
	a := s.post(start, number)
	uuid, _ := a.at(t, "uuid").(string)
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(uuid) {
		t.Errorf("uuid %q", uuid)
	}
	const sent = `{"carrier":null,"is_cellphone":true,"is_ported":false,"message":"Text message sent to +1 212-654-3210.","seconds_to_expire":%d,"uuid":"%s","success":true}`
	a.is(t, 200, fmt.Sprintf(sent, 600, uuid))
	code := s.Delivered(t, "+12126543210").Code
	if len(code) != 4 {
		t.Errorf("code %q", code)
	}
	const running = `{"message":"Phone Verification status.","status":"%s","seconds_to_expire":%d,"uuid":"%s","success":true}`
	s.get(status+"?uuid="+uuid).is(t, 200, fmt.Sprintf(running, "pending", 600, uuid))

	// Again within its time: the same code, the same end, by whatever way.
	s.Clock.Advance(90 * time.Second)
	s.post(start, number).is(t, 200, fmt.Sprintf(sent, 510, uuid))
	if again := s.Delivered(t, "+12126543210").Code; again != code {
		t.Errorf("the code is %s, then %s", code, again)
	}
	s.Clock.Advance(time.Second)
	s.post(start, number+"&via=call").is(t, 200, fmt.Sprintf(strings.Replace(sent, "Text message sent to +1 212-654-3210.", "Call to +1 212-654-3210 initiated.", 1), 509, uuid))
	if m := s.Delivered(t, "+12126543210"); m.Code != code || m.Channel != otp.Voice {
		t.Errorf("a call with %s, want %s", m.Code, code)
	}

	const none = "No pending verifications for +1 212-654-3210 found."
	s.get(check+"?"+number+"&verification_code=x").is(t, 401, `{"error_code":"60022","errors":{"message":"Verification code is incorrect"},"message":"Verification code is incorrect","success":false}`)
	s.get(check+"?"+number+"&verification_code="+code).is(t, 200, `{"message":"Verification code is correct.","success":true}`)
	s.get(check+"?"+number+"&verification_code="+code).refused(t, 404, "60023", none)
	s.get(status+"?"+number).is(t, 200, fmt.Sprintf(running, "verified", 0, uuid))

	s.Clock.Advance(10 * time.Minute)
	s.post(start, number+"&custom_code=123456").is(t, 200, fmt.Sprintf(`{"carrier":null,"is_cellphone":true,"is_ported":false,"message":"Text message sent to +1 212-654-3210.",`+
		`"seconds_to_expire":600,"uuid":"%s","sms_id":"%s","success":true}`, s.get(status+"?"+number).at(t, "uuid"), s.Delivered(t, "+12126543210").ID))
	s.Clock.Advance(10 * time.Minute)
	s.get(status+"?"+number).is(t, 200, fmt.Sprintf(running, "expired", 0, s.get(status+"?"+number).at(t, "uuid")))
	s.get(check+"?"+number+"&verification_code=123456").refused(t, 404, "60023", none)
	s.get(status+"?country_code=1&phone_number=2126543211").refused(t, 404, "60023", "No pending verifications for +1 212-654-3211 found.")
	s.get(status+"?uuid=66666666-7777-4888-9999-000000000000").refused(t, 404, "60023", "Phone verification not found")
	s.get(status).refused(t, 400, "60042", "Either uuid or country_code and phone number are required")
}

func TestPhoneVerificationRefusals(t *testing.T) {
	s := newSite(t, open)
	for form, want := range map[string][3]string{
		"phone_number=2025550177":                                     {"400", "60004", "Invalid parameter: country_code - Parameter is required"},
		"country_code=xxx&phone_number=2025550177":                    {"400", "60004", "Invalid parameter: country_code - 'xxx' is not a valid Integer"},
		"country_code=1":                                              {"400", "60004", "Invalid parameter: phone_number - Parameter is required"},
		"country_code=999&phone_number=2025550177":                    {"403", "60078", "Invalid country code"},
		"country_code=1&phone_number=12":                              {"400", "60033", "Phone number is invalid"},
		"country_code=1&phone_number=2025550177&via=fax":              {"400", "60004", "Invalid parameter: via - sms or call"},
		"country_code=1&phone_number=2025550177&code_length=3":        {"400", "60004", "Invalid parameter: code_length - 4 to 10 are expected"},
		"country_code=1&phone_number=2025550177&code_length=11":       {"400", "60004", "Invalid parameter: code_length - 4 to 10 are expected"},
		"country_code=1&phone_number=2025550177&code_length=-9e9":     {"400", "60004", "Invalid parameter: code_length - '-9e9' is not a valid Integer"},
		"country_code=1&phone_number=2025550177&custom_code=12a4":     {"400", "60004", "Invalid parameter: custom_code - 4 to 10 digits are expected"},
		"country_code=1&phone_number=2025550177&custom_code=123":      {"400", "60004", "Invalid parameter: custom_code - 4 to 10 digits are expected"},
		"country_code=1&phone_number=2025550177&custom_message=Hello": {"403", "60091", "Custom messages are not allowed"},
		"country_code=351&phone_number=213456789":                     {"403", "60082", "Can not send SMS to landline phone numbers"},
	} {
		a := s.post("/protected/json/phones/verification/start", form)
		if got := [3]string{fmt.Sprint(a.status), fmt.Sprint(a.at(t, "error_code")), fmt.Sprint(a.at(t, "message"))}; got != want {
			t.Errorf("%s\ngot  %q\nwant %q", form, got, want)
		}
	}
	if list := s.Outbox(t, ""); len(list) != 0 {
		t.Errorf("sent %+v", list)
	}
	s.get("/protected/json/phones/verification/check?country_code=1&phone_number=2025550177").refused(t, 400, "60004", "Invalid parameter: verification_code - Parameter is required")
	off := newSite(t, func(set *tenant.Settings) { set.SMSEnabled, set.CallsOff = false, true })
	off.post("/protected/json/phones/verification/start", "country_code=1&phone_number=2025550177").refused(t, 403, "60007", "SMS is not enabled")
	off.post("/protected/json/phones/verification/start", "country_code=1&phone_number=2025550177&via=call").refused(t, 403, "60006", "Phone calls are not enabled on this account")
}

// INV-4, T-01 over HTTP: five wrong codes end the verification, and the number's budget outlives every new one.
func TestINV4VerificationBudget(t *testing.T) {
	s := newSite(t)
	const start, number = "/protected/json/phones/verification/start", "country_code=1&phone_number=2025550177"
	check := func(code string) answer {
		return s.get("/protected/json/phones/verification/check?" + number + "&verification_code=" + code)
	}
	s.post(start, number)
	code := s.Delivered(t, "+12025550177").Code
	for range otp.BudgetTries {
		check("x").refused(t, 401, "60022", "Verification code is incorrect")
	}
	check(code).refused(t, 404, "60023", "No pending verifications for +1 202-555-0177 found.")
	if a := s.post(start, number); a.header.Get("Retry-After") != "900" {
		a.refused(t, 429, "60003", otp.ErrVerificationMany.Detail)
		t.Errorf("Retry-After %q", a.header.Get("Retry-After"))
	}
	s.post(start, "country_code=1&phone_number=2025550178").at(t, "uuid") // another number is another budget
	s.Clock.Advance(15 * time.Minute)
	if a := s.post(start, number); a.status != 200 {
		t.Errorf("after the wait: %d %s", a.status, a.body)
	}
	if a := check(s.Delivered(t, "+12025550177").Code); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A verification is its application's own (INV-11).
func TestVerificationNextDoor(t *testing.T) {
	s := newSite(t)
	n := newNeighbour(t, s)
	const number = "country_code=1&phone_number=2025550177"
	ask := func(key, method, target string) answer {
		r := request(method, target, "", "")
		r.Header.Set("X-Authy-API-Key", key)
		return s.serve(r)
	}
	uuid := ask(n.key, "POST", "/protected/json/phones/verification/start?"+number).at(t, "uuid")
	code := s.Delivered(t, "+12025550177").Code
	s.get("/protected/json/phones/verification/check?"+number+"&verification_code="+code).refused(t, 404, "60023", "No pending verifications for +1 202-555-0177 found.")
	s.get(fmt.Sprint("/protected/json/phones/verification/status?uuid=", uuid)).refused(t, 404, "60023", "Phone verification not found")
	if a := ask(n.key, "GET", "/protected/json/phones/verification/check?"+number+"&verification_code="+code); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestPhoneInfoAnswers(t *testing.T) {
	s := newSite(t)
	const info = `{"message":"Phone number information as of 2026-05-04 10:00:00 UTC","type":"%s","provider":"%s","ported":false,"success":true}`
	for number, want := range map[string][2]string{
		"country_code=351&phone_number=912345678": {"cellphone", "Unknown"}, // numbers can be taken along in Portugal
		"country_code=351&phone_number=213456789": {"landline", "Unknown"},
		"country_code=1&phone_number=2025550123":  {"unknown", "Unknown"}, // the plan tells nothing in North America
		"country_code=351&phone_number=301234567": {"voip", "Unknown"},
		"country_code=244&phone_number=923123456": {"cellphone", "UNITEL"},
		"country_code=44&phone_number=9012345678": {"unknown", "Unknown"},
	} {
		s.get("/protected/json/phones/info?"+number).is(t, 200, fmt.Sprintf(info, want[0], want[1]))
	}
}

func TestApplicationAnswers(t *testing.T) {
	s := newSite(t, roomy)
	s.get("/protected/json/app/details").is(t, 200, fmt.Sprintf(`{"app":{"name":"Bank","plan":"self_hosted","sms_enabled":true,"phone_calls_enabled":true,`+
		`"app_id":%d,"onetouch_enabled":true},"message":"Application information.","success":true}`, s.app.Serial))
	phone := s.Phone(t, s.app, s.ana)
	for _, id := range []string{"sms/%d", "call/%d"} {
		s.get(fmt.Sprintf("/protected/json/"+id+"?force=true", s.ana.AuthyID))
	}
	s.get(fmt.Sprintf("/protected/json/verify/%s/%d", s.appCode(phone), s.ana.AuthyID))
	s.get(fmt.Sprintf("/protected/json/verify/0/%d", s.ana.AuthyID))
	if _, err := phone.Answer(t, s.Ask(t, s.app, s.ana, "Log in?").UUID, "approve", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := phone.Answer(t, s.Ask(t, s.app, s.ana, "Log in?").UUID, "deny", ""); err != nil {
		t.Fatal(err)
	}
	n := newNeighbour(t, s)
	const may = `{"sms_count":1,"calls_count":1,"users_count":1,"auths_count":2,"month":"May","api_calls_count":6,"year":2026}`
	const stats = `{"message":"Monthly statistics.","count":%d,"total_users":%d,"app_id":%d,"success":true,"stats":[%s]}`
	s.get("/protected/json/app/stats").is(t, 200, fmt.Sprintf(stats, 1, 1, s.app.Serial, may))

	// The months in which something happened, twelve at most, oldest first; over the turn of the year, and after a removal.
	s.Clock.Advance(31 * 24 * time.Hour * 9)
	s.User(t, s.app, "bob@example.com", "202-555-0199")
	s.post(fmt.Sprintf("/protected/json/users/%d/remove", s.ana.AuthyID), "")
	const february = `{"sms_count":0,"calls_count":0,"users_count":1,"auths_count":0,"month":"February","api_calls_count":%d,"year":2027}`
	s.get("/protected/json/app/stats").is(t, 200, fmt.Sprintf(stats, 2, 1, s.app.Serial, may+","+fmt.Sprintf(february, 2)))
	s.Clock.Advance(31 * 24 * time.Hour * 4)
	if a := s.get("/protected/json/app/stats"); fmt.Sprint(a.at(t, "count")) != "2" || strings.Contains(a.body, "May") {
		t.Errorf("after a year: %s", a.body)
	}
	r := request("GET", "/protected/json/app/stats?api_key="+n.key, "", "")
	if a := s.serve(r); fmt.Sprint(a.at(t, "total_users")) != "1" {
		t.Errorf("next door: %s", a.body)
	}
}

// A device that the application removes can do nothing more, and stands among the deleted ones (contract sections 3.2 and 3.9).
func TestRemovedDevices(t *testing.T) {
	s := newSite(t, roomy)
	kept, lost := s.Phone(t, s.app, s.ana), s.Phone(t, s.app, s.ana)
	asked := s.Ask(t, s.app, s.ana, "Log in?").UUID
	target := fmt.Sprint("/protected/json/sdk/devices/", lost.Grants[0].ID)
	s.Clock.Advance(time.Second)
	s.ask("DELETE", target, "", "").is(t, 200, `{"message":"Device was deleted","success":true}`)
	if last := s.lastRecord(t); last.Action != "grant.removed" || last.Actor != "app:"+s.app.ID {
		t.Errorf("recorded %+v", last)
	}
	s.ask("DELETE", target, "", "").is(t, 404, `{"error_code":"60092","errors":{"message":"Device not found"},"message":"Device not found","success":false}`)
	if _, err := lost.Answer(t, asked, "approve", ""); err == nil {
		t.Error("a removed device approves")
	}
	if _, err := kept.Answer(t, asked, "approve", ""); err != nil {
		t.Error(err)
	}
	a := s.get(fmt.Sprintf("/protected/json/users/%d/status", s.ana.AuthyID))
	var read struct {
		Status struct {
			Detailed []detailedDevice `json:"detailed_devices"`
			Deleted  []detailedDevice `json:"deleted_devices"`
		} `json:"status"`
	}
	if err := json.Unmarshal([]byte(a.body), &read); err != nil {
		t.Fatal(err)
	}
	if got := read.Status; len(got.Detailed) != 1 || got.Detailed[0].DeviceID != kept.Grants[0].ID || len(got.Deleted) != 1 || got.Deleted[0].DeviceID != lost.Grants[0].ID {
		t.Errorf("status %s", a.body)
	}
}

// registered has somebody open a token of the application's that names them so, and returns the ticket's words.
func (s *site) registered(t *testing.T, customID string) string {
	t.Helper()
	s.Clock.Advance(time.Second) // a token of its own
	now := s.Clock.Now().Unix()
	claims, err := json.Marshal(map[string]any{
		"iss": "Bank", "iat": now, "exp": now + 600, "context": map[string]any{"custom_user_id": customID, "authy_app_id": fmt.Sprint(s.app.Serial)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ticket, err := s.Devices.Register(t.Context(), token.Sign(s.key, claims))
	if err != nil {
		t.Fatal(err)
	}
	return ticket.Words
}

// A registration by token, from nobody to somebody with a device (contract section 3.8).
func TestRegistrationStatus(t *testing.T) {
	s := newSite(t, roomy)
	const target = "/protected/json/registrations/status?custom_user_id=emp-1"
	s.get(target).is(t, 404, `{"error_code":"60035","errors":{"message":"Registration request not found"},"message":"Registration request not found","success":false}`)
	s.get("/protected/json/registrations/status").refused(t, 400, "60004", "Invalid parameter: custom_user_id - Parameter is required")
	words := s.registered(t, "emp-1")
	id := int64(s.get(target).at(t, "registration", "authy_id").(float64))
	s.get(target).is(t, 200, fmt.Sprintf(`{"registration":{"authy_id":%d,"custom_user_id":"emp-1","status":"pending"},"message":"Registration status.","success":true}`, id))
	phone := s.NewPhone(t)
	phone.EnrollBy(t, words)
	s.get(target).is(t, 200, fmt.Sprintf(`{"registration":{"authy_id":%d,"custom_user_id":"emp-1","status":"completed"},"message":"Registration status.","success":true}`, id))
	if a := s.get(fmt.Sprintf("/protected/json/users/%d/status", id)); a.at(t, "status", "registered") != true || a.at(t, "status", "phone_number") != "" {
		t.Errorf("%s", a.body)
	}
	uuid := s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", id), "message=Log+in%3F").uuid(t)
	if _, err := phone.Answer(t, uuid, "approve", ""); err != nil {
		t.Fatal(err)
	}
	s.get(fmt.Sprintf("/protected/json/sms/%d?force=true", id)).refused(t, 400, "60004", otp.ErrNoAddress.Detail)
	s.registered(t, "emp-1") // a second device, by a new token
	if again := s.get(target).at(t, "registration", "authy_id"); again != float64(id) {
		t.Errorf("now %v, was %d", again, id)
	}
	n := newNeighbour(t, s)
	r := request("GET", target, "", "")
	r.Header.Set("X-Authy-API-Key", n.key)
	s.serve(r).refused(t, 404, "60035", "Registration request not found") // INV-11
	s.post(fmt.Sprintf("/protected/json/users/%d/remove", id), "")
	s.get(target).refused(t, 404, "60035", "Registration request not found")
	s.registered(t, "emp-1")
	if again := s.get(target).at(t, "registration", "authy_id"); again != float64(id) || s.get(target).at(t, "registration", "status") != "pending" {
		t.Errorf("back as %v", again)
	}
}
