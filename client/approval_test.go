// This file tests the calls about approvals.

package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/client/receipt"
)

const (
	testUUID = "8d031630-d15b-0134-b0a8-0a77bbe8093e"
	created  = `{"approval_request":{"uuid":"` + testUUID + `"},"message":"Approval request was created.","success":true}`
	pending  = `{"approval_request":{
   "_app_name":"Example","_app_serial_id":46113,"_authy_id":1635,"_id":"589d12e07d558e6b91e9370a",
   "_user_email":"ana@example.com","app_id":"58547f6f4014250a11c201f6",
   "created_at":"2017-02-10T01:09:52Z","notified":false,"processed_at":null,
   "seconds_to_expire":86400,"status":"pending","updated_at":"2017-02-10T01:09:52Z",
   "user_id":"5840a9328aa2fb674c485436","uuid":"` + testUUID + `"},
 "success":true}`
)

func TestCreateApproval(t *testing.T) {
	for _, test := range []struct {
		name    string
		request ApprovalRequest
		body    string
	}{
		{"least", ApprovalRequest{Message: "Log in?"}, `{"message":"Log in?"}`},
		{
			"most, in order",
			ApprovalRequest{
				Message: "Pay?", Details: []Field{{Name: "To", Value: "Bo"}, {Name: "Amount", Value: "10 €"}, {Name: "2", Value: ""}, {Name: "1", Value: "<&>"}},
				HiddenDetails: []Field{{Name: "z", Value: "1"}, {Name: "a", Value: "2"}}, Logos: []Logo{{Res: "default", URL: "https://img.example.com/d.png"}},
				Expire: 90 * time.Second, Match: MatchType,
			},
			`{"details":{"To":"Bo","Amount":"10 €","2":"","1":"\u003c\u0026\u003e"},"hidden_details":{"z":"1","a":"2"},"logos":[{"res":"default","url":"https://img.example.com/d.png"}],` +
				`"match":"type","message":"Pay?","seconds_to_expire":90}`,
		},
		{"never expires", ApprovalRequest{Message: "a", NeverExpire: true}, `{"message":"a","seconds_to_expire":0}`},
		{"a short life is not an endless one", ApprovalRequest{Message: "a", Expire: time.Millisecond}, `{"message":"a","seconds_to_expire":1}`},
		{"200 characters", ApprovalRequest{Message: strings.Repeat("é", 200)}, `{"message":"` + strings.Repeat("é", 200) + `"}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, requests := answering(t, 200, created)
			test.request.IdempotencyKey = "k1"
			got, err := c.CreateApproval(t.Context(), 1635, test.request)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Approval{UUID: testUUID, Status: StatusPending, AuthyID: 1635}, got); diff != "" {
				t.Error(diff)
			}
			wantAsked(t, *requests, asked{
				Method: "POST", URI: "/onetouch/json/users/1635/approval_requests", Body: test.body, ContentType: "application/json", Idempotency: "k1",
			})
		})
	}
	t.Run("number to match", func(t *testing.T) {
		c, _ := answering(t, 200, strings.Replace(created, `"}`, `","match":{"mode":"type","value":"042"}}`, 1))
		got, err := c.CreateApproval(t.Context(), 1635, ApprovalRequest{Message: "a", Match: MatchType})
		if err != nil || got.Match == nil || *got.Match != (Match{Mode: "type", Value: "042"}) {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("keys are made, and differ", func(t *testing.T) {
		c, requests := answering(t, 200, created)
		for range 2 {
			if _, err := c.CreateApproval(t.Context(), 1635, ApprovalRequest{Message: "a"}); err != nil {
				t.Fatal(err)
			}
		}
		first, second := (*requests)[0].Idempotency, (*requests)[1].Idempotency
		if len(first) < 22 || first == second {
			t.Errorf("keys %q and %q", first, second)
		}
	})
}

func TestCreateApprovalRefused(t *testing.T) {
	c, requests := answering(t, 200, created)
	for name, request := range map[string]ApprovalRequest{
		"long message":          {Message: strings.Repeat("a", 201)},
		"negative life":         {Message: "a", Expire: -1},
		"two lives":             {Message: "a", Expire: time.Minute, NeverExpire: true},
		"a detail twice":        {Message: "a", Details: []Field{{Name: "a"}, {Name: "a"}}},
		"a hidden detail twice": {Message: "a", HiddenDetails: []Field{{Name: "a"}, {Name: "a"}}},
	} {
		if _, err := c.CreateApproval(t.Context(), 1635, request); err == nil {
			t.Errorf("%s is sent", name)
		}
	}
	if len(*requests) != 0 {
		t.Errorf("sent %v", *requests)
	}
	c, _ = answering(t, 400, `{"message":"OneTouch: unregistered user","success":false,"errors":{},"error_code":"60050"}`)
	if _, err := c.CreateApproval(t.Context(), 1635, ApprovalRequest{Message: "a"}); !errors.Is(err, ErrNoDevice) {
		t.Errorf("got %v", err)
	}
	c, _ = answering(t, 200, `{"approval_request":{},"success":true}`)
	if got, err := c.CreateApproval(t.Context(), 1635, ApprovalRequest{Message: "a"}); err == nil {
		t.Errorf("an approval without uuid: %+v", got)
	}
}

func TestApproval(t *testing.T) {
	want := Approval{
		UUID: testUUID, Status: StatusPending, AuthyID: 1635, Application: "Example", ApplicationID: "58547f6f4014250a11c201f6",
		CreatedAt: time.Date(2017, 2, 10, 1, 9, 52, 0, time.UTC), Expire: 24 * time.Hour,
	}
	answered := want
	answered.Status, answered.ProcessedAt = StatusApproved, want.CreatedAt.Add(8*time.Second)
	answered.HiddenDetails = []Field{{Name: "z", Value: "1"}, {Name: "a", Value: "2"}}
	answered.Match = &Match{Mode: "type", Value: "042"}
	answered.Receipt = &receipt.Receipt{Answer: "YQ", Signature: "Yg", Enrollment: receipt.Enrollment{
		Device: "d1", Grant: 7, PublicKey: "BA", Method: "ticket", EnrolledAt: 1700000000,
	}}
	cancelled, expired := want, want
	cancelled.Status, expired.Status = StatusCancelled, StatusExpired
	for _, test := range []struct {
		name, from, to string
		want           Approval
	}{
		{"pending", "", "", want},
		{"id as text, as in old recordings", `"_authy_id":1635`, `"_authy_id":"1635"`, want},
		{"expired", `"pending"`, `"expired"`, expired},
		{"cancelled", `"pending"`, `"expired","cancelled":true`, cancelled},
		{
			"answered", `"processed_at":null,`, `"processed_at":"2017-02-10T01:10:00Z","hidden_details":{"z":"1","a":"2"},"match":{"mode":"type","value":"042"},` +
				`"receipt":{"answer":"YQ","signature":"Yg","logo":"","enrollment":{"device":"d1","grant":7,"public_key":"BA","method":"ticket","enrolled_at":1700000000}},"device":{"id":7},`, answered,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			body := strings.Replace(pending, test.from, test.to, 1)
			if test.want.Status == StatusApproved {
				body = strings.Replace(body, `"pending"`, `"approved"`, 1)
			}
			c, requests := answering(t, 200, body)
			got, err := c.Approval(t.Context(), testUUID)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			wantAsked(t, *requests, asked{Method: "GET", URI: "/onetouch/json/approval_requests/" + testUUID})
		})
	}
}

// TestApprovalFailsClosed is T-14: an answer about something else decides nothing.
func TestApprovalFailsClosed(t *testing.T) {
	for _, body := range []string{
		`{"approval_request":{"uuid":"11111111-2222-4333-8444-555555555555","status":"approved"},"success":true}`,
		`{"approval_request":{"status":"approved"},"success":true}`,
		`{"approval_request":{"uuid":"` + testUUID + `","status":"approved"}}`,
		`{"approval_request":{"uuid":"` + testUUID + `","status":["approved"]},"success":true}`,
		`{"approval_request":{"uuid":"` + testUUID + `","status":"approved"},"success":false}`,
	} {
		c, _ := answering(t, 200, body)
		if got, err := c.Approval(t.Context(), testUUID); err == nil || got.Status != "" {
			t.Errorf("%s: got %+v, %v", body, got, err)
		}
	}
	c, _ := answering(t, 404, `{"message":"Approval request not found: `+testUUID+`","success":false,"errors":{},"error_code":"60049"}`)
	if _, err := c.Approval(t.Context(), testUUID); !errors.Is(err, ErrApprovalNotFound) {
		t.Errorf("got %v", err)
	}
	c, requests := answering(t, 200, pending)
	for _, uuid := range []string{"", "..", "../users/1", testUUID + "/cancel", testUUID + "?wait=60", strings.Repeat("a", 65)} {
		if _, err := c.Approval(t.Context(), uuid); !errors.Is(err, ErrApprovalNotFound) {
			t.Errorf("%q: got %v", uuid, err)
		}
		if _, err := c.RenotifyApproval(t.Context(), uuid); !errors.Is(err, ErrApprovalNotFound) {
			t.Errorf("renotify %q: got %v", uuid, err)
		}
		if _, err := c.CancelApproval(t.Context(), uuid); !errors.Is(err, ErrApprovalNotFound) {
			t.Errorf("cancel %q: got %v", uuid, err)
		}
	}
	if len(*requests) != 0 {
		t.Errorf("sent %v", *requests)
	}
}

func TestWaitApproval(t *testing.T) {
	for wait, query := range map[time.Duration]string{
		-time.Second: "", 0: "", time.Millisecond: "?wait=1", 20 * time.Second: "?wait=20", time.Hour: "?wait=60",
	} {
		c, requests := answering(t, 200, pending)
		if _, err := c.WaitApproval(t.Context(), testUUID, wait); err != nil {
			t.Fatal(err)
		}
		wantAsked(t, *requests, asked{Method: "GET", URI: "/onetouch/json/approval_requests/" + testUUID + query})
	}
}

// TestDecision: a person may take longer than one long poll, and a server that knows no long polls is not asked without a pause.
func TestDecision(t *testing.T) {
	waiting := step{status: 200, body: pending}
	synctest.Test(t, func(t *testing.T) {
		c, script := scriptedClient(t, 0, waiting, waiting, waiting, step{status: 200, body: strings.Replace(pending, `"status":"pending"`, `"status":"denied"`, 1)})
		got, err := c.Decision(t.Context(), testUUID)
		if err != nil || got.Status != StatusDenied || len(script.seen) != 4 {
			t.Errorf("got %+v, %v after %d requests", got, err, len(script.seen))
		}
		for i, r := range script.seen {
			if r.URL.RawQuery != "wait=50" || i > 0 && script.gaps[i] != pollEvery {
				t.Errorf("request %d: %s after %v", i, r.URL.RawQuery, script.gaps[i])
			}
		}

		down := step{status: 503, body: `{"message":"later","error_code":"60000","success":false}`, later: "7"}
		c, script = scriptedClient(t, 0, waiting, down, step{status: 504}, step{status: 200, body: strings.Replace(pending, `"status":"pending"`, `"status":"approved"`, 1)})
		got, err = c.Decision(t.Context(), testUUID)
		if want := []time.Duration{pollEvery, 7 * time.Second, pollEvery}; err != nil || got.Status != StatusApproved || !slices.Equal(script.gaps[1:], want) {
			t.Errorf("of a server that was away: %+v, %v, asked again after %v", got, err, script.gaps)
		}

		ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
		defer cancel()
		c, script = scriptedClient(t, 0, waiting)
		start := time.Now()
		if got, err := c.Decision(ctx, testUUID); !errors.Is(err, context.DeadlineExceeded) || got.UUID != "" || time.Since(start) != 90*time.Second || len(script.seen) > 91 {
			t.Errorf("got %+v, %v after %v and %d requests", got, err, time.Since(start), len(script.seen))
		}

		c, script = scriptedClient(t, 0, step{status: 404, body: `{"message":"no","error_code":"60049"}`})
		if _, err := c.Decision(t.Context(), testUUID); !errors.Is(err, ErrApprovalNotFound) || len(script.seen) != 1 {
			t.Errorf("got %v", err)
		}
	})
}

func TestRenotifyApproval(t *testing.T) {
	c, requests := answering(t, 200, `{"approval_request":{"uuid":"`+testUUID+`","status":"pending"},"message":"The user's devices were told again.","success":true}`)
	got, err := c.RenotifyApproval(t.Context(), testUUID)
	if err != nil || got.Status != StatusPending || got.UUID != testUUID {
		t.Errorf("got %+v, %v", got, err)
	}
	wantAsked(t, *requests, asked{Method: "POST", URI: "/onetouch/json/approval_requests/" + testUUID + "/renotify"})
	c, _ = answering(t, 429, `{"error_code":"60003","errors":{"message":"x"},"message":"x","success":false}`)
	if _, err := c.RenotifyApproval(t.Context(), testUUID); !errors.Is(err, ErrRateLimited) {
		t.Errorf("got %v", err)
	}
}

func TestCancelApproval(t *testing.T) {
	c, requests := answering(t, 200, `{"approval_request":{"uuid":"`+testUUID+`","status":"expired","cancelled":true},"message":"Approval request was cancelled.","success":true}`)
	got, err := c.CancelApproval(t.Context(), testUUID)
	if err != nil || got.Status != StatusCancelled || got.UUID != testUUID {
		t.Errorf("got %+v, %v", got, err)
	}
	wantAsked(t, *requests, asked{Method: "POST", URI: "/onetouch/json/approval_requests/" + testUUID + "/cancel"})
	c, _ = answering(t, 400, `{"message":"Approval request is not pending","success":false,"errors":{},"error_code":"60079"}`)
	if _, err := c.CancelApproval(t.Context(), testUUID); !errors.Is(err, ErrNotPending) {
		t.Errorf("got %v", err)
	}
}

// TestDishonestServer is T-13: a server that says "approved" without an answer of the pinned key is found out.
func TestDishonestServer(t *testing.T) {
	device, server := newKey(t), newKey(t)
	answer := receipt.Answer{
		Origin: "https://auth.example.com", Application: "58547f6f4014250a11c201f6", User: 1635, Device: "d1", Approval: testUUID,
		Shown: receipt.Content{Application: "Example", Message: "Log in?"}.Digest(), Hidden: receipt.HiddenDigest(nil),
		Decision: receipt.Approve, Nonce: "AAECAwQFBgcICQoLDA0ODw", IssuedAt: 1700000050, ExpiresAt: 1700000170,
	}
	denied, other := answer, answer
	denied.Decision = receipt.Deny
	other.Approval = "11111111-2222-4333-8444-555555555555"
	want := receipt.Expected{
		Origin: answer.Origin, Application: answer.Application, User: 1635, Approval: testUUID, Content: receipt.Content{Application: "Example", Message: "Log in?"},
		Decision: receipt.Approve, Keys: []string{receipt.EncodePublicKey(&device.PublicKey)},
	}
	for _, test := range []struct {
		name   string
		key    *ecdsa.PrivateKey
		answer receipt.Answer
		want   error
	}{
		{"honest", device, answer, nil},
		{"signed with a key of its own", server, answer, receipt.ErrUnpinned},
		{"a denial of the person", device, denied, receipt.ErrMismatch},
		{"an earlier approval of the person", device, other, receipt.ErrMismatch},
	} {
		signature, err := receipt.Sign(test.key, test.answer.Canonical())
		if err != nil {
			t.Fatal(err)
		}
		proof, err := json.Marshal(receipt.Receipt{
			Answer: base64.RawURLEncoding.EncodeToString(test.answer.Canonical()), Signature: signature,
			Enrollment: receipt.Enrollment{Device: "d1", PublicKey: receipt.EncodePublicKey(&test.key.PublicKey)},
		})
		if err != nil {
			t.Fatal(err)
		}
		c, _ := answering(t, 200, strings.Replace(pending, `"status":"pending"`, `"status":"approved","receipt":`+string(proof), 1))
		approval, err := c.Approval(t.Context(), testUUID)
		if err != nil || approval.Status != StatusApproved || approval.Receipt == nil {
			t.Fatalf("%s: got %+v, %v", test.name, approval, err)
		}
		if err := approval.Receipt.Verify(want); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// What is expected of a receipt is what was sent: nothing that a device shows may be missing.
func TestContent(t *testing.T) {
	request := ApprovalRequest{
		Message: "Pay?", Details: []Field{{Name: "To", Value: "Bo"}, {Name: "Amount", Value: "10 €"}}, HiddenDetails: []Field{{Name: "order", Value: "A-17"}},
		Context: Context{IP: "192.0.2.7", UserAgent: "Firefox", Origin: "https://shop.example"},
	}
	want := receipt.Content{
		Application: "Shop", Message: "Pay?", Details: []receipt.Field{{Name: "To", Value: "Bo"}, {Name: "Amount", Value: "10 €"}},
		Context: receipt.Context{Address: "192.0.2.7", Browser: "Firefox", Origin: "https://shop.example"},
	}
	if diff := cmp.Diff(want, request.Content("Shop")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(receipt.Content{Application: "Shop"}, (ApprovalRequest{}).Content("Shop")); diff != "" {
		t.Error(diff)
	}
}
