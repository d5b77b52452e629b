// This file holds the answers of the contract byte for byte: sections 3.1 to 3.3, 4.1, 4.2, 5.1 and 5.2, and our additions.

package authyapi

import (
	"fmt"
	"strings"
	"testing"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/tenant"
)

func TestUserAnswers(t *testing.T) {
	s := newSite(t)
	users := fmt.Sprint("/protected/json/users/", s.ana.AuthyID)
	created := fmt.Sprintf(`{"message":"User created successfully.","user":{"id":%d},"success":true}`, s.ana.AuthyID)
	s.post("/protected/json/users/new", "user[email]=ana%40example.com&user[cellphone]=202-555-0123&user[country_code]=1").is(t, 200, created)

	const bare = `{"status":{"authy_id":%d,"confirmed":false,"registered":false,"country_code":1,"phone_number":"XXX-XXX-0123","email":"ana@example.com",` +
		`"devices":[],"has_hard_token":false,"account_disabled":false,"detailed_devices":[],"deleted_devices":[]},"message":"User status.","success":true}`
	s.get(users+"/status").is(t, 200, fmt.Sprintf(bare, s.ana.AuthyID))

	phone := s.Phone(t, s.app, s.ana)
	s.get(fmt.Sprintf("/protected/json/verify/%s/%d", s.appCode(phone), s.ana.AuthyID))
	const registered = `{"status":{"authy_id":%d,"confirmed":true,"registered":true,"country_code":1,"phone_number":"XXX-XXX-0123","email":"ana@example.com",` +
		`"devices":["android"],"has_hard_token":false,"account_disabled":false,"detailed_devices":[{"device_type":"authy","os_type":"android",` +
		`"registration_device_id":null,"registration_method":null,"device_id":%d,"last_sync_date":%[3]d,"creation_date":%[3]d,"public_key":"%[4]s","name":"Test phone"}],` +
		`"deleted_devices":[]},"message":"User status.","success":true}`
	s.get(users+"/status").is(t, 200, fmt.Sprintf(registered, s.ana.AuthyID, phone.Grants[0].ID, start.Unix(), phone.Device.PublicKey))

	for _, spelling := range []string{"%d/remove", "%d/delete", "delete/%d"} {
		target := "/protected/json/users/" + fmt.Sprintf(spelling, s.ana.AuthyID)
		s.post(target, "").is(t, 200, `{"message":"User removed from application","success":true}`)
		s.post(target, "").is(t, 404, `{"error_code":"60026","errors":{"message":"User not found."},"message":"User not found.","success":false}`)
		s.post("/protected/json/users/new", "user[email]=ana%40example.com&user[cellphone]=2025550123").is(t, 200, created)
	}
}

func TestCodeAnswers(t *testing.T) {
	s := newSite(t)
	sms := fmt.Sprint("/protected/json/sms/", s.ana.AuthyID)
	s.get(sms).is(t, 200, `{"success":true,"message":"SMS token was sent","cellphone":"+1-XXX-XXX-XX23"}`)
	sent := s.Delivered(t, s.ana.Phone).Code

	const fromPhone = `{"message":"Token is valid.","token":"is valid","success":"true","device":{"city":null,"country":null,"id":%d,"ip":null,` +
		`"last_account_recovery_at":null,"last_sync_date":%[2]d,"os_type":"android","region":null,"registration_city":null,"registration_country":null,` +
		`"registration_date":%[2]d,"registration_device_id":null,"registration_ip":null,"registration_method":null,"registration_region":null}}`
	phone := s.Phone(t, s.app, s.ana)
	s.get(fmt.Sprintf("/protected/json/verify/%s/%d", s.appCode(phone), s.ana.AuthyID)).is(t, 200, fmt.Sprintf(fromPhone, phone.Grants[0].ID, start.Unix()))

	const fromSMS = `{"message":"Token is valid.","token":"is valid","success":"true","device":{"city":null,"country":null,"id":null,"ip":null,` +
		`"last_account_recovery_at":null,"last_sync_date":null,"os_type":"sms","region":null,"registration_city":null,"registration_country":null,` +
		`"registration_date":null,"registration_device_id":null,"registration_ip":null,"registration_method":null,"registration_region":null}}`
	s.get(fmt.Sprintf("/protected/json/verify/%s/%d", sent, s.ana.AuthyID)).is(t, 200, fromSMS)

	s.get(sms).is(t, 200, `{"message":"Ignored: SMS is not needed for smartphones. Pass force=true if you want to actually send it anyway.",`+
		`"cellphone":"+1-XXX-XXX-XX23","device":"android","ignored":true,"success":true}`)
	s.get(sms+"?force=true").is(t, 200, `{"success":true,"message":"SMS token was sent","cellphone":"+1-XXX-XXX-XX23"}`)
}

// The cell phone is masked in one shape whatever its length, the phone number in groups counted from the right (contract sections 3.2 and 4.2).
func TestMaskedNumbers(t *testing.T) {
	s := newSite(t)
	added := s.post("/protected/json/users/new", "user[email]=rui%40example.com&user[cellphone]=912+345+678&user[country_code]=351")
	id := fmt.Sprint(int64(added.at(t, "user", "id").(float64)))
	if got := s.get("/protected/json/users/"+id+"/status").at(t, "status", "phone_number"); got != "XX-XXX-5678" {
		t.Errorf("phone_number %q", got)
	}
	if got := s.get("/protected/json/sms/"+id).at(t, "cellphone"); got != "+351-XXX-XXX-XX78" {
		t.Errorf("cellphone %q", got)
	}
}

func TestApprovalAnswers(t *testing.T) {
	s := newSite(t, roomy)
	phone := s.Phone(t, s.app, s.ana)
	asked := s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), "message=Log+in%3F&details[Place]=Bogot%C3%A1&hidden_details[ref]=7")
	uuid := asked.uuid(t)
	asked.is(t, 200, fmt.Sprintf(`{"approval_request":{"uuid":"%s"},"message":"Approval request was created.","success":true}`, uuid))

	row, err := s.Approvals.Get(t.Context(), s.app.ID, uuid)
	if err != nil {
		t.Fatal(err)
	}
	const pending = `{"approval_request":{"_app_name":"Bank","_app_serial_id":%d,"_authy_id":%d,"_id":"%s","_user_email":"ana@example.com","app_id":"%s",` +
		`"created_at":"2026-05-04T10:00:00Z","notified":false,"processed_at":null,"seconds_to_expire":120,"status":"pending",` +
		`"updated_at":"2026-05-04T10:00:00Z","user_id":"%s","uuid":"%s"},"message":"Approval request.","success":true}`
	s.get("/onetouch/json/approval_requests/"+uuid).is(t, 200, fmt.Sprintf(pending, s.app.Serial, s.ana.AuthyID, row.ID, s.app.ID, s.ana.ID, uuid))

	s.Clock.Advance(1500e6)
	answered, err := phone.Answer(t, uuid, approval.Approve, "")
	if err != nil {
		t.Fatal(err)
	}
	g := phone.Grants[0]
	device := fmt.Sprintf(`{"city":null,"country":null,"id":%d,"ip":null,"region":null,"enabled_unlock_methods":"none","last_unlock_method_used":null,`+
		`"last_unlock_date":null,"last_account_recovery_at":null,"last_sync_date":%[2]d,"multidevice_enabled":true,"multidevice_updated_at":null,"os_type":"android",`+
		`"registration_city":null,"registration_country":null,"registration_date":%[2]d,"registration_device_id":null,"registration_ip":null,`+
		`"registration_method":null,"registration_region":null}`, g.ID, start.Unix())
	r := answered.Receipt()
	receipt := fmt.Sprintf(`{"answer":"%s","signature":"%s","logo":"","enrollment":{"device":"%s","grant":%d,"public_key":"%s","method":"ticket","enrolled_at":%d}}`,
		r.Answer, r.Signature, phone.Device.ID, g.ID, phone.Device.PublicKey, start.Unix())
	const approved = `{"approval_request":{"_app_name":"Bank","_app_serial_id":%d,"_authy_id":%d,"_id":"%s","_user_email":"ana@example.com","app_id":"%s",` +
		`"created_at":"2026-05-04T10:00:00Z","notified":false,"processed_at":"2026-05-04T10:00:01Z","seconds_to_expire":120,"status":"approved",` +
		`"updated_at":"2026-05-04T10:00:01Z","user_id":"%s","uuid":"%s","hidden_details":{"ref":"7"},"device":%s,"receipt":%s},"message":"Approval request.","success":true}`
	s.get("/onetouch/json/approval_requests/"+uuid).is(t, 200,
		fmt.Sprintf(approved, s.app.Serial, s.ana.AuthyID, row.ID, s.app.ID, s.ana.ID, uuid, device, receipt))

	body, err := CallbackBody(s.app, answered)
	if err != nil {
		t.Fatal(err)
	}
	const told = `{"authy_id":%d,"device_uuid":"%d","callback_action":"approval_request_status","uuid":"%[3]s","status":"approved","approval_request":{"transaction":{` +
		`"details":{"Place":"Bogotá"},"device_details":{},"device_geolocation":"","device_signing_time":%[4]d,"encrypted":false,"flagged":false,` +
		`"hidden_details":{"ref":"7"},"message":"Log in?","reason":"","requester_details":null,"status":"approved","uuid":"%[3]s","created_at_time":%[5]d,` +
		`"customer_uuid":"%[6]s"},"expiration_timestamp":%[7]d,"logos":null,"app_id":"%[8]s"},"signature":"%[9]s","device":%[10]s,"receipt":%[11]s}`
	want := fmt.Sprintf(told, s.ana.AuthyID, g.ID, uuid, start.Unix()+1, start.Unix(), s.Account.ID, start.Unix()+120, s.app.ID, r.Signature, device, receipt)
	if string(body) != want {
		t.Errorf("callback\ngot  %s\nwant %s", body, want)
	}
}

// What is absent is null or empty in a callback, and an end that never comes is 0 (contract section 6.2).
func TestCallbackOfLittle(t *testing.T) {
	s := newSite(t, roomy, func(set *tenant.Settings) { set.ApprovalLifeMax = 0 })
	phone := s.Phone(t, s.app, s.ana)
	uuid := s.post(fmt.Sprintf("/onetouch/json/users/%d/approval_requests", s.ana.AuthyID), "message=Pay%3F&seconds_to_expire=0").uuid(t)
	denied, err := phone.Answer(t, uuid, approval.Deny, "")
	if err != nil {
		t.Fatal(err)
	}
	body, err := CallbackBody(s.app, denied)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{body: string(body)}
	transaction := []string{"approval_request", "transaction"}
	for _, want := range []struct {
		path  []string
		value string
	}{
		{append(transaction, "details"), "map[]"},
		{append(transaction, "hidden_details"), "<nil>"},
		{append(transaction, "status"), "denied"},
		{[]string{"approval_request", "expiration_timestamp"}, "0"},
		{[]string{"approval_request", "logos"}, "<nil>"},
		{[]string{"status"}, "denied"},
	} {
		if got := fmt.Sprint(a.at(t, want.path...)); got != want.value {
			t.Errorf("%v: got %s, want %s", want.path, got, want.value)
		}
	}
	pending := s.Ask(t, s.app, s.ana, "Log in?")
	if _, err := CallbackBody(s.app, pending); err == nil {
		t.Error("a callback for what nobody answered")
	}
}

func TestAdditionalAnswers(t *testing.T) {
	s := newSite(t, roomy)
	s.Phone(t, s.app, s.ana)
	base := fmt.Sprintf("/onetouch/json/users/%d", s.ana.AuthyID)

	uuid := s.post(base+"/approval_requests", "message=Log+in%3F").uuid(t)
	s.post("/onetouch/json/approval_requests/"+uuid+"/cancel", "").is(t, 200,
		fmt.Sprintf(`{"approval_request":{"uuid":"%s","status":"expired","cancelled":true},"message":"Approval request was cancelled.","success":true}`, uuid))
	if a := s.get("/onetouch/json/approval_requests/" + uuid); a.at(t, "approval_request", "status") != "expired" ||
		a.at(t, "approval_request", "cancelled") != true || a.at(t, "approval_request", "processed_at") != "2026-05-04T10:00:00Z" {
		t.Errorf("a cancelled one reads %s", a.body)
	}

	asked := s.post(base+"/approval_requests", "message=Log+in%3F&match=type")
	row, err := s.Approvals.Get(t.Context(), s.app.ID, asked.uuid(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(row.Match.Value) != 3 {
		t.Fatalf("match value %q", row.Match.Value)
	}
	asked.is(t, 200, fmt.Sprintf(`{"approval_request":{"uuid":"%s","match":{"mode":"type","value":"%s"}},"message":"Approval request was created.","success":true}`,
		row.UUID, row.Match.Value))
	read := s.get("/onetouch/json/approval_requests/" + row.UUID)
	if got := fmt.Sprint(read.at(t, "approval_request", "match")); got != fmt.Sprintf("map[mode:type value:%s]", row.Match.Value) {
		t.Errorf("match %s", got)
	}

	ticket := s.post(base+"/enrollment_tickets", "")
	words, _ := ticket.at(t, "enrollment_ticket", "words").(string)
	ticket.is(t, 200, fmt.Sprintf(`{"enrollment_ticket":{"link":"http://localhost:8302/enroll#%[1]s","words":"%[1]s","expires_at":"2026-05-04T10:10:00Z"},`+
		`"message":"Enrollment ticket was created.","success":true}`, words))
	if info, err := s.Devices.LookTicket(t.Context(), words); err != nil || info.Application != "Bank" || info.Account != s.ana.Email {
		t.Errorf("the ticket is for %+v, %v", info, err)
	}
}

// A denial by somebody who says that it was not they who asked has its reason, and the flag.
func TestCallbackOfNotMe(t *testing.T) {
	s := newSite(t, roomy)
	phone := s.Phone(t, s.app, s.ana)
	reported, err := phone.Answer(t, s.Ask(t, s.app, s.ana, "Log in?").UUID, approval.NotMe, "")
	if err != nil {
		t.Fatal(err)
	}
	body, err := CallbackBody(s.app, reported)
	if told := string(body); err != nil || !strings.Contains(told, `"reason":"not-me"`) || !strings.Contains(told, `"flagged":true`) || !strings.Contains(told, `"status":"denied"`) {
		t.Errorf("%s, %v", told, err)
	}
}
