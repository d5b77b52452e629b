// This file tests the verifier and its handler against the acceptance list (CB1, CB3, CB5 to CB7), T-14 and T-15.

package callback

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"countersign.dev/client/receipt"
)

const testBody = `{"authy_id":1635,"device_uuid":"77","callback_action":"approval_request_status","uuid":"u-1","status":"approved"}`

var testTime = time.Unix(1700000123, 0)

func newVerifier() *Verifier {
	return &Verifier{URL: vectorURL, Keys: []string{vectorKey}, Now: func() time.Time { return testTime }}
}

// request makes a signed POST.
func request(t testing.TB, key, nonce, url, body string) *http.Request {
	t.Helper()
	params, err := Canonical([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/authy/callback", strings.NewReader(body))
	r.Header.Set(HeaderNonce, nonce)
	r.Header.Set(HeaderSignature, Sign(key, nonce, "POST", url, params))
	return r
}

func signed(t testing.TB) *http.Request {
	return request(t, vectorKey, vectorNonce, vectorURL, testBody)
}

// getRequest makes the GET form of a callback.
func getRequest(t testing.TB, body string) *http.Request {
	t.Helper()
	params, err := Canonical([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "/authy/callback?"+params, nil)
	r.Header.Set(HeaderNonce, vectorNonce)
	r.Header.Set(HeaderSignature, Sign(vectorKey, vectorNonce, "GET", vectorURL, params))
	return r
}

func TestEvent(t *testing.T) {
	withReceipt := strings.Replace(testBody, "{", `{"receipt":{"answer":"YQ","signature":"Yg","logo":"","enrollment":{"device":"d1","grant":7,"public_key":"BA","method":"ticket","enrolled_at":1700000000}},`, 1)
	wantA := Event{
		UUID: "11111111-2222-4333-8444-555555555555", Status: Approved, Action: "approval_request_status", AuthyID: 1635, DeviceID: "2102943",
		Message: "Login requested for Example + Co", Details: []receipt.Field{{Name: "email_address", Value: "ana@example.com"}, {Name: "location", Value: "Bogotá, CO"}},
	}
	short := Event{UUID: "u-1", Status: Approved, Action: "approval_request_status", AuthyID: 1635, DeviceID: "77"}
	withTransaction := func(transaction string) string {
		return strings.Replace(testBody, "{", `{"approval_request":{"transaction":`+transaction+`},`, 1)
	}
	for _, test := range []struct {
		name, body string
		want       func() Event
	}{
		{"vector A", vectorA, func() Event { return wantA }},
		{"short", testBody, func() Event { return short }},
		{"integer device, text user", `{"uuid":"u-1","authy_id":"1635","device_uuid":77,"status":"approved","callback_action":"approval_request_status"}`, func() Event { return short }},
		{"unknown status is reported as it came", strings.Replace(testBody, "approved", "Approved ", 1), func() Event {
			e := short
			e.Status = "Approved "
			return e
		}},
		{"order of details kept, scalars as text", withTransaction(`{"details":{"z":1,"a":true,"b":null,"c":"x"},"hidden_details":{"k":"v"}}`), func() Event {
			e := short
			e.Details = []receipt.Field{{Name: "z", Value: "1"}, {Name: "a", Value: "true"}, {Name: "b"}, {Name: "c", Value: "x"}}
			e.Hidden = []receipt.Field{{Name: "k", Value: "v"}}
			return e
		}},
		{"details as a bare text", withTransaction(`{"details":"hello","hidden_details":""}`), func() Event {
			e := short
			e.Details = []receipt.Field{{Value: "hello"}}
			return e
		}},
		{"receipt", withReceipt, func() Event {
			e := short
			e.Receipt = &receipt.Receipt{Answer: "YQ", Signature: "Yg", Enrollment: receipt.Enrollment{
				Device: "d1", Grant: 7, PublicKey: "BA", Method: "ticket", EnrolledAt: 1700000000,
			}}
			return e
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := newVerifier().Verify(request(t, vectorKey, vectorNonce, vectorURL, test.body))
			if err != nil {
				t.Fatal(err)
			}
			want := test.want()
			want.Body = json.RawMessage(test.body)
			if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Event{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("GET", func(t *testing.T) {
		got, err := newVerifier().Verify(getRequest(t, vectorA))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wantA, got, cmpopts.IgnoreUnexported(Event{})); diff != "" {
			t.Error(diff)
		}
	})
}

// TestRefusals is CB3, T-14 and T-15: each change of a good callback, and what it is answered.
func TestRefusals(t *testing.T) {
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	body := func(text string) func(*http.Request) {
		return func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		}
	}
	good := signed(t).Header.Get(HeaderSignature)
	// The last character before the padding carries four bits and two that mean nothing.
	loose := map[byte]string{}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := 0; i < len(alphabet); i += 4 {
		loose[alphabet[i]] = alphabet[i+1 : i+2]
	}
	huge := `{"a":"` + strings.Repeat("a", maxBody) + `"}`
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		want   error
		status int
	}{
		{"no signature", func(r *http.Request) { r.Header.Del(HeaderSignature) }, ErrSignature, 401},
		{"no nonce", func(r *http.Request) { r.Header.Del(HeaderNonce) }, ErrSignature, 401},
		{"two signatures", func(r *http.Request) { r.Header.Add(HeaderSignature, "AAAA") }, ErrSignature, 401},
		{"two nonces", func(r *http.Request) { r.Header.Add(HeaderNonce, "1") }, ErrSignature, 401},
		{"signature is not base64", header(HeaderSignature, "*"), ErrSignature, 401},
		{"signature spelled anew", header(HeaderSignature, strings.TrimRight(good, "=")), ErrSignature, 401},
		{"signature with loose bits", header(HeaderSignature, good[:42]+loose[good[42]]+"="), ErrSignature, 401},
		{"truncated signature", header(HeaderSignature, good[:40]), ErrSignature, 401},
		{"empty signature", header(HeaderSignature, ""), ErrSignature, 401},
		{"other nonce", header(HeaderNonce, "1700000124"), ErrSignature, 401},
		{"nonce that moves the bars", header(HeaderNonce, vectorNonce+"|POST"), ErrSignature, 401},
		{"endless nonce", header(HeaderNonce, strings.Repeat("1", 256)), ErrSignature, 401},
		{"other method", func(r *http.Request) { r.Method = "GET" }, ErrSignature, 401},
		{"denial made an approval", body(strings.Replace(testBody, "approved", "denied", 1)), ErrSignature, 401},
		{"a member less", body(strings.Replace(testBody, `"device_uuid":"77",`, "", 1)), ErrSignature, 401},
		{"a member more", body(strings.Replace(testBody, "{", `{"x":1,`, 1)), ErrSignature, 401},
		{"form body", body("uuid=u-1&status=approved"), ErrMalformed, 400},
		{"empty body", body(""), ErrMalformed, 400},
		{"key twice", body(strings.Replace(testBody, "{", `{"status":"denied",`, 1)), ErrMalformed, 400},
		{"body over 64 KiB", body(huge), ErrTooLarge, 413},
		{"body over 64 KiB of unknown length", func(r *http.Request) { body(huge)(r); r.ContentLength = -1 }, ErrTooLarge, 413},
		{"query over 64 KiB", func(r *http.Request) { r.Method, r.URL.RawQuery = "GET", huge }, ErrTooLarge, 413},
		{"broken body", func(r *http.Request) { r.Body = io.NopCloser(io.MultiReader(strings.NewReader("{"), broken{})) }, ErrMalformed, 400},
		{"PUT", func(r *http.Request) { r.Method = "PUT" }, ErrMethod, 405},
		{"HEAD", func(r *http.Request) { r.Method = "HEAD" }, ErrMethod, 405},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := signed(t)
			test.change(r)
			if got, err := newVerifier().Verify(r); !errors.Is(err, test.want) || got.UUID != "" {
				t.Errorf("Verify: got %+v, %v, want %v", got, err, test.want)
			}
			r = signed(t)
			test.change(r)
			w := httptest.NewRecorder()
			newVerifier().Handler(func(context.Context, Event) error {
				t.Error("handled")
				return nil
			}).ServeHTTP(w, r)
			if w.Code != test.status || strings.Contains(w.Body.String(), "callback") {
				t.Errorf("Handler: got %d %q, want %d without detail", w.Code, w.Body, test.status)
			}
		})
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// TestSignedNonsense guards against a signed callback that could be matched with nothing, or has members of another type.
func TestSignedNonsense(t *testing.T) {
	for _, body := range []string{
		`{"status":"approved","authy_id":1}`, `{"uuid":"u","status":"approved"}`, `{"uuid":"u","authy_id":"x"}`, `{"uuid":"u","authy_id":-1}`,
		`{"uuid":["u"],"authy_id":1}`, `{"uuid":{"u":"u"},"authy_id":1}`, `{"uuid":"u","authy_id":1,"approval_request":"x"}`,
		`{"uuid":"u","authy_id":1,"approval_request":{"transaction":{"details":{"a":{"b":1}}}}}`, `{"uuid":"u","authy_id":1,"receipt":"x"}`, `{}`,
	} {
		if _, err := newVerifier().Verify(request(t, vectorKey, vectorNonce, vectorURL, body)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", body, err)
		}
	}
}

// TestURLComesFromSettings is CB6.
func TestURLComesFromSettings(t *testing.T) {
	r := signed(t)
	r.Host = "internal:8080"
	r.URL.Path = "/rewritten"
	r.Header.Set("X-Forwarded-Host", "evil.example.com")
	r.Header.Set("X-Forwarded-Proto", "http")
	if _, err := newVerifier().Verify(r); err != nil {
		t.Errorf("behind a proxy: %v", err)
	}
	forged := request(t, vectorKey, vectorNonce, "https://evil.example.com/authy/callback", testBody)
	forged.Host = "evil.example.com"
	if _, err := newVerifier().Verify(forged); !errors.Is(err, ErrSignature) {
		t.Errorf("for another address: got %v", err)
	}
}

// TestKeys is CB7, and that missing settings refuse everything (INV-7).
func TestKeys(t *testing.T) {
	for _, test := range []struct {
		name string
		keys []string
		by   string
		want error
	}{
		{"old key during rotation", []string{"new", vectorKey}, vectorKey, nil},
		{"new key during rotation", []string{"new", vectorKey}, "new", nil},
		{"key that was removed", []string{"new"}, vectorKey, ErrSignature},
		{"no keys", nil, vectorKey, ErrSignature},
		{"no keys, signed with the empty key", nil, "", ErrSignature},
		{"empty key", []string{"", "new"}, "", ErrSignature},
	} {
		v := newVerifier()
		v.Keys = test.keys
		if _, err := v.Verify(request(t, test.by, vectorNonce, vectorURL, testBody)); !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
}

func TestFreshness(t *testing.T) {
	for _, test := range []struct {
		nonce  string
		window time.Duration
		want   error
	}{
		{"1700000123", 0, nil},
		{"1700000123.123456789", 0, nil},
		{"1700000423", 0, nil},
		{"1699999823", 0, nil},
		{"1700000424", 0, ErrStale},
		{"1699999822", 0, ErrStale},
		{"1700000124", time.Second, nil},
		{"1700000125", time.Second, ErrStale},
		{"1700000123x", 0, ErrStale},
		{"+1700000123", 0, ErrStale},
		{"1700000123.1.1", 0, ErrStale},
		{".1700000123", 0, ErrStale},
		{"99999999999999999999", 0, ErrStale},
		{"0", 0, ErrStale},
		{"a nonce", 0, ErrStale},
		{"a nonce", -1, nil},
		{"a|nonce", -1, ErrSignature},
		{"1", -1, nil},
	} {
		v := newVerifier()
		v.Window = test.window
		if _, err := v.Verify(request(t, vectorKey, test.nonce, vectorURL, testBody)); !errors.Is(err, test.want) {
			t.Errorf("nonce %q, window %v: got %v, want %v", test.nonce, test.window, err, test.want)
		}
	}
	v := newVerifier()
	v.Now = nil
	if _, err := v.Verify(signed(t)); !errors.Is(err, ErrStale) {
		t.Errorf("a nonce of 2023 by the system clock: got %v", err)
	}
}

func TestHandler(t *testing.T) {
	var log bytes.Buffer
	v := newVerifier()
	v.Log = slog.New(slog.NewTextHandler(&log, nil))
	var calls int
	result := error(nil)
	handler := v.Handler(func(ctx context.Context, e Event) error {
		calls++
		if ctx.Value(http.ServerContextKey) != "marked" || e.UUID != "u-1" {
			t.Errorf("got %v, %+v", ctx, e)
		}
		if result == errPanic {
			panic("oops")
		}
		return result
	})
	serve := func() *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		r := signed(t)
		handler.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.ServerContextKey, "marked")))
		return w
	}
	// An error that wraps one of ours is still the function's own: 500, and not taken for a handled copy.
	for _, failure := range []error{errors.New("secret detail"), ErrReplayed} {
		result = failure
		if w := serve(); w.Code != 500 || strings.Contains(w.Body.String(), "secret") {
			t.Errorf("failure: got %d %q", w.Code, w.Body)
		}
	}
	result = errPanic
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		serve()
	}()
	result = nil
	if w := serve(); w.Code != 200 || calls != 4 {
		t.Errorf("after failures: got %d, %d calls", w.Code, calls)
	}
	if w := serve(); w.Code != 200 || calls != 4 {
		t.Errorf("copy: got %d, %d calls", w.Code, calls)
	}
	for _, want := range []string{"secret detail", "status=500", "uuid=u-1", "already handled"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not say %q:\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), vectorKey) {
		t.Error("the key is in the log (INV-8)")
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/", nil))
	if w.Code != 405 || w.Header().Get("Allow") != "POST, GET" {
		t.Errorf("PUT: got %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

var errPanic = errors.New("panic instead")

func FuzzVerify(f *testing.F) {
	good := signed(f)
	f.Add("POST", vectorNonce, good.Header.Get(HeaderSignature), []byte(testBody), "")
	f.Add("POST", vectorNonce, "5oFcxMGXLD2YNNcP5yVlhocRKwFCvovkEmOKBDa6nLg=", []byte(vectorA), "")
	f.Add("GET", vectorNonce, "hRQH85V20XHqugKXc4P56Xy1c31wHXGaMyR8L22IIa0=", []byte(nil), paramsA)
	f.Fuzz(func(t *testing.T, method, nonce, signature string, body []byte, query string) {
		// Signed as given: only the unaltered seeds may verify.
		r := &http.Request{Method: method, URL: good.URL, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}
		u := *good.URL
		u.RawQuery = query
		r.URL = &u
		r.Header[HeaderNonce], r.Header[HeaderSignature] = []string{nonce}, []string{signature}
		if event, err := newVerifier().Verify(r); err == nil && (nonce != vectorNonce || event.AuthyID != 1635) {
			t.Errorf("forged: %+v", event)
		}
		// Signed rightly: whatever the body says, no panic, and what verifies can be matched with something.
		params, err := Canonical(body)
		if err != nil {
			return
		}
		r.Method, r.Body = "POST", io.NopCloser(bytes.NewReader(body))
		r.Header[HeaderNonce] = []string{vectorNonce}
		r.Header[HeaderSignature] = []string{base64.StdEncoding.EncodeToString(mac(vectorKey, vectorNonce, "POST", vectorURL, params))}
		event, err := newVerifier().Verify(r)
		if err == nil && (event.UUID == "" || event.AuthyID <= 0) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %+v, %v", body, event, err)
		}
	})
}
