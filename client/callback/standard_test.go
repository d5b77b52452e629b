// This file tests the signature of Standard Webhooks: against the project's published vectors, and against a second implementation
// that was written from the text of the specification alone.

package callback

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// The vectors of the Standard Webhooks project.
const (
	sampleSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	samplePrivate = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	samplePublic  = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	sampleID      = "msg_p5jXN8AQM9LWM0D4loKWxJek"
	sampleBody    = `{"test": 2432232314}`
	sampleV1      = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	sampleV1a     = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)

var sampleTime = time.Unix(1614265330, 0)

// newKeys makes a secret and a private key, as the specification describes them.
func newKeys() (secret, private string) {
	raw := make([]byte, 32+ed25519.SeedSize)
	rand.Read(raw)
	return "whsec_" + base64.StdEncoding.EncodeToString(raw[:32]), "whsk_" + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(raw[32:]))
}

func TestStandardVectors(t *testing.T) {
	for key, want := range map[string]string{sampleSecret: sampleV1, samplePrivate: sampleV1a} {
		if got, err := SignWebhook(key, sampleID, sampleTime, []byte(sampleBody)); err != nil || got != want {
			t.Errorf("%.6s: got %s, %v", key, got, err)
		}
	}
	if public, err := WebhookPublicKey(samplePrivate); err != nil || public != samplePublic {
		t.Errorf("public key %s, %v", public, err)
	}
	for _, key := range []string{sampleSecret, samplePublic} {
		id, err := VerifyWebhook([]string{key}, sampleHeader(sampleV1+" "+sampleV1a), []byte(sampleBody), sampleTime, time.Minute)
		if err != nil || id != sampleID {
			t.Errorf("%.6s: got %s, %v", key, id, err)
		}
	}
}

func sampleHeader(signatures string) http.Header {
	h := http.Header{}
	h.Set("webhook-id", sampleID)
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", signatures)
	return h
}

// secondMAC is HMAC as RFC 2104 writes it down: no code is shared with what it checks.
func secondMAC(key, text []byte) []byte {
	inner, outer := bytes.Repeat([]byte{0x36}, 64), bytes.Repeat([]byte{0x5c}, 64)
	for i, b := range key {
		inner[i] ^= b
		outer[i] ^= b
	}
	in := sha256.Sum256(append(inner, text...))
	out := sha256.Sum256(append(outer, in[:]...))
	return out[:]
}

// secondVerify is the second implementation: "the signature scheme" of the specification, step by step.
func secondVerify(secret, public string, h http.Header, body string) (v1, v1a bool) {
	text := h["Webhook-Id"][0] + "." + h["Webhook-Timestamp"][0] + "." + body
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	point, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(public, "whpk_"))
	for _, part := range strings.Fields(h["Webhook-Signature"][0]) {
		if part == "v1,"+base64.StdEncoding.EncodeToString(secondMAC(key, []byte(text))) {
			v1 = true
		}
		if encoded, ok := strings.CutPrefix(part, "v1a,"); ok {
			raw, _ := base64.StdEncoding.DecodeString(encoded)
			v1a = v1a || ed25519.Verify(point, []byte(text), raw)
		}
	}
	return v1, v1a
}

func TestStandardSecondImplementation(t *testing.T) {
	rng := mathrand.New(mathrand.NewPCG(7, 8))
	for i := range 200 {
		secret, private := newKeys()
		other, otherPrivate := newKeys()
		public, err := WebhookPublicKey(private)
		if err != nil {
			t.Fatal(err)
		}
		body := make([]byte, rng.IntN(2000))
		for i := range body {
			body[i] = byte(rng.Uint32())
		}
		id, at := fmt.Sprint("msg_", rng.Uint64()), time.Unix(int64(rng.Uint32()), 0)
		h := http.Header{}
		var signatures []string
		for _, key := range []string{other, otherPrivate, secret, private} {
			s, err := SignWebhook(key, id, at, body)
			if err != nil {
				t.Fatal(err)
			}
			signatures = append(signatures, s)
		}
		h.Set(HeaderWebhookID, id)
		h.Set(HeaderWebhookTimestamp, fmt.Sprint(at.Unix()))
		h.Set(HeaderWebhookSignature, strings.Join(signatures, " "))
		if v1, v1a := secondVerify(secret, public, h, string(body)); !v1 || !v1a {
			t.Fatalf("%d: the second implementation says %v, %v", i, v1, v1a)
		}
		for _, keys := range [][]string{{secret}, {public}, {other, secret}, {public, other}} {
			if got, err := VerifyWebhook(keys, h, body, at, 0); err != nil || got != id {
				t.Fatalf("%d: got %q, %v", i, got, err)
			}
		}
	}
}

// TestStandardRefusals is T-15: each change of a good event.
func TestStandardRefusals(t *testing.T) {
	foreign, _ := newKeys()
	both := sampleV1 + " " + sampleV1a
	for _, test := range []struct {
		name   string
		change func(http.Header)
		keys   []string
		body   string
		after  time.Duration
		want   error
	}{
		{name: "as it came"},
		{name: "at the end of its time", after: DefaultWindow},
		{name: "from a clock that is ahead", after: -DefaultWindow},
		{name: "late", after: DefaultWindow + time.Second, want: ErrStale},
		{name: "early", after: -DefaultWindow - time.Second, want: ErrStale},
		{name: "another body", body: `{"test":2432232314}`, want: ErrSignature},
		{name: "another secret", keys: []string{foreign}, want: ErrSignature},
		{name: "no keys", keys: []string{}, want: ErrSignature},
		{name: "an old and a new secret", keys: []string{foreign, sampleSecret}},
		{name: "an unknown version beside it", change: set(HeaderWebhookSignature, "v2,AAAA "+both)},
		{name: "only an unknown version", change: set(HeaderWebhookSignature, "v2,"+sampleV1[3:]), want: ErrSignature},
		{name: "v1 called v1a", change: set(HeaderWebhookSignature, "v1a,"+sampleV1[3:]), want: ErrSignature},
		{name: "a signature without its version", change: set(HeaderWebhookSignature, sampleV1[3:]), want: ErrSignature},
		{name: "a truncated signature", change: set(HeaderWebhookSignature, sampleV1[:40]), want: ErrSignature},
		{name: "no signature", change: func(h http.Header) { h.Del(HeaderWebhookSignature) }, want: ErrSignature},
		{name: "an empty signature", change: set(HeaderWebhookSignature, ""), want: ErrSignature},
		{name: "endless signatures", change: set(HeaderWebhookSignature, strings.Repeat("v1,AAAA ", 16)+sampleV1), want: ErrSignature},
		{name: "two headers of signatures", change: func(h http.Header) { h.Add(HeaderWebhookSignature, sampleV1) }, want: ErrSignature},
		{name: "another id", change: set(HeaderWebhookID, "msg_other"), want: ErrSignature},
		{name: "an id that takes the time along", change: func(h http.Header) {
			h.Set(HeaderWebhookID, sampleID+".1614265330")
		}, want: ErrSignature},
		{name: "no id", change: set(HeaderWebhookID, ""), want: ErrSignature},
		{name: "another time", change: set(HeaderWebhookTimestamp, "1614265331"), want: ErrSignature},
		{name: "a time spelled anew", change: set(HeaderWebhookTimestamp, "+1614265330"), want: ErrSignature},
		{name: "no time", change: func(h http.Header) { h.Del(HeaderWebhookTimestamp) }, want: ErrSignature},
		{name: "a key of another service", keys: []string{"sk_live_1"}, want: ErrSigningKey},
		{name: "a short secret", keys: []string{"whsec_MfKQ"}, want: ErrSigningKey},
		{name: "a private key in place of the public one", keys: []string{samplePrivate}, want: ErrSigningKey},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, keys, body := sampleHeader(both), test.keys, test.body
			if test.change != nil {
				test.change(h)
			}
			if body == "" {
				body = sampleBody
			}
			if keys == nil {
				keys = []string{sampleSecret}
			}
			id, err := VerifyWebhook(keys, h, []byte(body), sampleTime.Add(test.after), DefaultWindow)
			if !errors.Is(err, test.want) || (err == nil) != (id == sampleID) {
				t.Errorf("got %q, %v; want %v", id, err, test.want)
			}
		})
	}
	// A time that is signed and is none.
	h := sampleHeader("")
	h.Set(HeaderWebhookTimestamp, "016142653300")
	key, _ := webhookKey(sampleSecret, prefixSecret)
	h.Set(HeaderWebhookSignature, "v1,"+base64.StdEncoding.EncodeToString(webhookMAC(key, webhookText(sampleID, "016142653300", nil))))
	if _, err := VerifyWebhook([]string{sampleSecret}, h, nil, sampleTime, DefaultWindow); !errors.Is(err, ErrStale) {
		t.Errorf("a time with a zero in front: got %v", err)
	}
	for _, key := range []string{"", "whsec_", samplePublic, "whsk_AAAA", sampleSecret + "="} {
		if _, err := SignWebhook(key, sampleID, sampleTime, nil); !errors.Is(err, ErrSigningKey) || strings.Contains(err.Error(), "AAAA") {
			t.Errorf("signing with %q: %v", key, err)
		}
	}
}

func set(name, value string) func(http.Header) {
	return func(h http.Header) { h.Set(name, value) }
}

// standard makes a POST with both signatures.
func standard(t testing.TB, secret, nonce, body string) *http.Request {
	t.Helper()
	r := request(t, vectorKey, nonce, vectorURL, body)
	s, err := SignWebhook(secret, "msg_u-1", testTime, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set(HeaderWebhookID, "msg_u-1")
	r.Header.Set(HeaderWebhookTimestamp, fmt.Sprint(testTime.Unix()))
	r.Header.Set(HeaderWebhookSignature, s)
	return r
}

// With secrets a callback is known by its event, so the sender's other tries are copies; nothing but the secret lets one in.
func TestVerifierWithSecrets(t *testing.T) {
	v := newVerifier()
	v.Secrets = []string{sampleSecret}
	handled := 0
	handler := v.Handler(func(context.Context, Event) error { handled++; return nil })
	serve := func(r *http.Request) int {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	if code := serve(standard(t, sampleSecret, vectorNonce, testBody)); code != 200 || handled != 1 {
		t.Errorf("the first: %d, handled %d times", code, handled)
	}
	if code := serve(standard(t, sampleSecret, vectorNonce+".7", testBody)); code != 200 || handled != 1 {
		t.Errorf("another try: %d, handled %d times", code, handled)
	}
	if code := serve(signed(t)); code != 401 || handled != 1 {
		t.Errorf("the same without its webhook headers (T-15): %d, handled %d times", code, handled)
	}
	foreign, _ := newKeys()
	if code := serve(standard(t, foreign, vectorNonce, strings.Replace(testBody, "u-1", "u-2", 1))); code != 401 {
		t.Errorf("another secret: %d", code)
	}
	if code := serve(getRequest(t, testBody)); code != 200 || handled != 2 {
		t.Errorf("a GET, which has the other signature only: %d, handled %d times", code, handled)
	}
	v.Keys = nil
	if code := serve(signed(t)); code != 401 {
		t.Errorf("without keys: %d", code)
	}
	v.Secrets = []string{"whsec_typo"}
	if code := serve(standard(t, sampleSecret, vectorNonce, testBody)); code != 500 {
		t.Errorf("a setting that is no secret: %d, want an error that is tried again", code)
	}
}

func FuzzVerifyWebhook(f *testing.F) {
	f.Add(sampleID, "1614265330", sampleV1+" "+sampleV1a, []byte(sampleBody))
	f.Add("", "", "v1,", []byte(nil))
	f.Fuzz(func(t *testing.T, id, timestamp, signatures string, body []byte) {
		h := http.Header{HeaderWebhookID: {id}, HeaderWebhookTimestamp: {timestamp}, HeaderWebhookSignature: {signatures}}
		_, err := VerifyWebhook([]string{sampleSecret, samplePublic}, h, body, sampleTime, DefaultWindow)
		if err == nil && (id != sampleID || timestamp != "1614265330" || string(body) != sampleBody) {
			t.Errorf("forged: %q %q %q %q", id, timestamp, signatures, body)
		}
	})
}
