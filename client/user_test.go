// This file tests the calls about users against the bodies that the contract prints.

package client

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAddUser(t *testing.T) {
	c, requests := answering(t, 200, `{"message":"User created successfully.","user":{"id":1635},"success":true}`)
	id, err := c.AddUser(t.Context(), NewUser{Email: "ana@example.com", CountryCode: "1", Phone: "(202) 555-0123"})
	if err != nil || id != 1635 {
		t.Errorf("got %d, %v", id, err)
	}
	wantAsked(t, *requests, asked{
		Method: "POST", URI: "/protected/json/users/new", ContentType: "application/json",
		Body: `{"user":{"cellphone":"(202) 555-0123","country_code":"1","email":"ana@example.com"}}`,
	})
}

func TestAddUserRefused(t *testing.T) {
	c, _ := answering(t, 400, `{"message":"User was not valid","success":false,"errors":{"cellphone":"is invalid","message":"User was not valid"},"cellphone":"is invalid","error_code":"60027"}`)
	_, err := c.AddUser(t.Context(), NewUser{})
	var failure *Error
	if !errors.Is(err, ErrInvalidUser) || !errors.As(err, &failure) {
		t.Fatalf("got %v", err)
	}
	want := &Error{Status: 400, Code: "60027", Message: "User was not valid", Fields: map[string]string{"cellphone": "is invalid"}}
	if diff := cmp.Diff(want, failure); diff != "" {
		t.Error(diff)
	}
	for _, body := range []string{`{"success":true}`, `{"user":{"id":0},"success":true}`, `{"user":{"id":"x"},"success":true}`} {
		c, _ := answering(t, 200, body)
		if id, err := c.AddUser(t.Context(), NewUser{}); err == nil || id != 0 {
			t.Errorf("%s: got %d, %v", body, id, err)
		}
	}
}

func TestUser(t *testing.T) {
	const body = `{"status":{"authy_id":1635,"confirmed":true,"registered":true,"country_code":1,
  "phone_number":"XXX-XXX-5609","email":"ana@example.com","devices":["iphone"],
  "has_hard_token":false,"account_disabled":false,
  "detailed_devices":[{"device_type":"authy","os_type":"iphone","registration_device_id":null,"public_key":"BAAA","name":"Ana's phone",
     "registration_method":"sms","device_id":290908,"last_sync_date":1433868999,"creation_date":1433868212},
     {"device_type":"authy","os_type":"unknown","registration_device_id":null,
     "registration_method":null,"device_id":290909,"last_sync_date":null,"creation_date":1433868212}],
  "deleted_devices":[]},
 "message":"User status.","success":true}`
	c, requests := answering(t, 200, body)
	got, err := c.User(t.Context(), 1635)
	if err != nil {
		t.Fatal(err)
	}
	created := time.Unix(1433868212, 0).UTC()
	want := UserStatus{
		AuthyID: 1635, Confirmed: true, Registered: true, CountryCode: 1, Phone: "XXX-XXX-5609", Email: "ana@example.com", Devices: []string{"iphone"},
		DetailedDevices: []Device{
			{ID: 290908, Type: "authy", OSType: "iphone", RegistrationMethod: "sms", Name: "Ana's phone", PublicKey: "BAAA", CreatedAt: created, LastSeenAt: time.Unix(1433868999, 0).UTC()},
			{ID: 290909, Type: "authy", OSType: "unknown", CreatedAt: created},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	wantAsked(t, *requests, asked{Method: "GET", URI: "/protected/json/users/1635/status"})
	if _, err := c.User(t.Context(), 1636); err == nil {
		t.Error("an answer about another user is believed")
	}
	c, _ = answering(t, 404, `{"message":"User not found.","success":false,"errors":{"message":"User not found."},"error_code":"60026"}`)
	if _, err := c.User(t.Context(), 1635); !errors.Is(err, ErrUserNotFound) || errors.Is(err, ErrApprovalNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestRemoveUser(t *testing.T) {
	c, requests := answering(t, 200, `{"message":"User removed from application","success":true}`)
	if err := c.RemoveUser(t.Context(), 1635); err != nil {
		t.Error(err)
	}
	wantAsked(t, *requests, asked{Method: "POST", URI: "/protected/json/users/1635/remove"})
}

func TestCreateEnrollmentTicket(t *testing.T) {
	c, requests := answering(t, 200, `{"enrollment_ticket":{"link":"http://localhost:8302/enroll#lusab-babad","words":"lusab-babad","expires_at":"2026-11-22T20:00:00Z"},"message":"Enrollment ticket was created.","success":true}`)
	got, err := c.CreateEnrollmentTicket(t.Context(), 1635)
	want := Ticket{Link: "http://localhost:8302/enroll#lusab-babad", Words: "lusab-babad", ExpiresAt: time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)}
	if err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
	wantAsked(t, *requests, asked{Method: "POST", URI: "/onetouch/json/users/1635/enrollment_tickets"})
}
