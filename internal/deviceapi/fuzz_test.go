package deviceapi_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/deviceapi"
	"countersign.dev/internal/servertest"
)

// newFuzzBench is a bench with a device that is signed in, something that waits for it, and no limit that would
// keep inputs from the decoders.
func newFuzzBench(f *testing.F) (*bench, *phone, approval.Approval) {
	b := newBench(f, func(a *deviceapi.API) { a.StrangerRate, a.StrangerBurst = 1e9, 1e9 })
	p := b.enrolled(f, b.shop, b.ana)
	return b, p, b.Ask(f, b.shop, b.ana, "Log in?")
}

// sound fails the test when an answer is a server's error or not in its own form.
func sound(t *testing.T, r *http.Request, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Code >= 500 || w.Code < 200 {
		t.Fatalf("%s %q: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
	if w.Code < 400 || r.Method == http.MethodHead {
		return
	}
	if ct := w.Header().Get("Content-Type"); ct == "application/problem+json" {
		var p struct {
			Type, Title, Detail string
			Status              int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Status != w.Code || p.Type == "" || p.Title == "" || p.Detail == "" {
			t.Fatalf("%s %q: %d %s", r.Method, r.URL, w.Code, w.Body)
		}
	} else if strings.HasPrefix(r.URL.Path, "/device/") {
		t.Fatalf("%s %q: %d as %s", r.Method, r.URL, w.Code, ct)
	}
}

// Every decoder behind every route that takes a body: no input is our fault, and none decides anything.
func FuzzBodies(f *testing.F) {
	b, p, asked := newFuzzBench(f)
	var paths, methods []string
	for _, r := range deviceapi.Routes() {
		if r.Method == "POST" || r.Method == "PUT" {
			paths, methods = append(paths, strings.Replace(r.Path, "{uuid}", asked.UUID, 1)), append(methods, r.Method)
		}
	}
	enrollment := b.byPhone(f, anaPhone)
	proof := receipt.SessionProof{Challenge: b.challenge(f), Device: p.device, Origin: servertest.Origin}
	for _, v := range []any{
		map[string]string{"phone": anaPhone},
		map[string]string{"ticket": b.ticket(f, b.shop, b.ana)},
		p.confirmation(f, map[string]any{"enrollment": enrollment, "code": "1234567"}),
		p.confirmation(f, map[string]any{"ticket": "babab-babab-babab-babab-babab-babab-babab-babab"}),
		map[string]string{"device": p.device, "challenge": proof.Challenge, "proof": p.sign(f, proof.Canonical())},
		map[string]string{"decision": "approve", "match": "", "signature": strings.Repeat("A", 86)},
		p.subscription(f, "https://fcm.googleapis.com/fcm/send/1"),
		map[string]string{"decision": "deny", "match": "123", "signature": p.sign(f, p.approval(f, asked.UUID).signed("approve", "").Canonical())},
	} {
		raw, err := json.Marshal(v)
		if err != nil {
			f.Fatal(err)
		}
		for i := range paths {
			f.Add(uint8(i), raw)
		}
	}
	for _, s := range []string{"", "{}", "null", "[]", "{\"phone\":\"\xff\"}", `{"phone":"\ud800"}`, `{"device":{"name":"\u0000"}}`, `{"ticket":null}`} {
		f.Add(uint8(0), []byte(s))
	}
	f.Fuzz(func(t *testing.T, route uint8, body []byte) {
		n := int(route) % len(paths)
		r := b.request(t, methods[n], paths[n], string(body), p.cookie)
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		sound(t, r, w)
		if a, err := b.Approvals.Get(t.Context(), b.shop.ID, asked.UUID); err != nil || a.Status != approval.Pending {
			t.Fatalf("%s %q made it %s, %v", r.URL, body, a.Status, err)
		}
	})
}

// Whatever the request line and the cookie are.
func FuzzRequests(f *testing.F) {
	b, p, asked := newFuzzBench(f)
	for _, r := range deviceapi.Routes() {
		f.Add(r.Method, strings.Replace(r.Path, "{uuid}", asked.UUID, 1), p.cookie, "*/*", "")
		f.Add(r.Method, r.Path, "x", "text/html", "same-origin")
	}
	for _, target := range []string{"/device/v1/approvals/%00", "/device/v1/grants/%ff", "//", "/device/v1/logos/%2e%2e", "/assets/..%2f", "/shared/%5c", "/device/v1/grants/-0", "/.."} {
		f.Add("GET", target, p.cookie, "text/html", "none")
	}
	f.Fuzz(func(t *testing.T, method, target, cookie, accept, site string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || u.Host != "" {
			return
		}
		r := b.request(t, "GET", "/", nil, "")
		r.Method, r.URL, r.RequestURI = method, u, target
		r.Header.Set("Cookie", "countersign_device="+cookie)
		r.Header.Set("Accept", accept)
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		b.handler.ServeHTTP(w, r)
		sound(t, r, w)
		if strings.Contains(w.Body.String(), asked.UUID) && cookie != p.cookie && !strings.Contains(target, asked.UUID) {
			t.Fatalf("%s %q with the cookie %q tells of the approval", method, target, cookie)
		}
	})
}
