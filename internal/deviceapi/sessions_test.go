package deviceapi_test

import (
	"strings"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/servertest"
)

func TestSessions(t *testing.T) {
	b := newBench(t)
	p := b.enrolled(t, b.shop, b.ana)
	enrolment := p.cookie
	p.signIn(t).want(t, 204, "")
	if p.cookie == enrolment {
		t.Error("signing in gave the same session (T-23)")
	}
	p.do(t, "GET", "grants", nil).want(t, 200, "")
	out := p.do(t, "DELETE", "sessions", nil)
	out.want(t, 204, "")
	if c := out.Cookies(); len(c) != 1 || c[0].Value != "" || c[0].MaxAge >= 0 || c[0].Path != "/device/" {
		t.Errorf("cookie after signing out: %v", c)
	}
	p.do(t, "GET", "grants", nil).want(t, 401, "not-signed-in")
	p.do(t, "DELETE", "sessions", nil).want(t, 204, "")
	b.send(t, "DELETE", "/device/v1/sessions", nil, "").want(t, 204, "")
	b.send(t, "GET", "/device/v1/grants", nil, enrolment).want(t, 200, "") // signed out here, not everywhere
	b.Clock.Advance(90 * 24 * time.Hour)
	b.send(t, "GET", "/device/v1/grants", nil, enrolment).want(t, 401, "not-signed-in")
	p.signIn(t).want(t, 204, "")
	for _, cookie := range []string{"x", strings.Repeat("A", 52), strings.Repeat("A", 4000), p.cookie + "A", strings.ToLower(p.cookie)} {
		b.send(t, "GET", "/device/v1/grants", nil, cookie).want(t, 401, "not-signed-in")
	}
}

// Whoever cannot prove a key is told the same, whatever is wrong; a challenge is good once.
func TestSignInRefuses(t *testing.T) {
	b := newBench(t)
	p, other := b.enrolled(t, b.shop, b.ana), b.newPhone(t)
	var first []byte
	for name, change := range map[string]func(proof *receipt.SessionProof, body map[string]string){
		"an unknown device": func(proof *receipt.SessionProof, _ map[string]string) { proof.Device = strings.Repeat("0", 24) },
		"no id":             func(proof *receipt.SessionProof, _ map[string]string) { proof.Device = "" },
		"an impossible id":  func(proof *receipt.SessionProof, _ map[string]string) { proof.Device = "a\x00b" },
		"another key": func(proof *receipt.SessionProof, body map[string]string) {
			body["proof"] = other.sign(t, proof.Canonical())
		},
		"another origin": func(proof *receipt.SessionProof, body map[string]string) {
			forged := *proof
			forged.Origin = "http://evil.example"
			body["proof"] = p.sign(t, forged.Canonical())
		},
		"a used challenge": func(proof *receipt.SessionProof, body map[string]string) {
			body["proof"] = p.sign(t, proof.Canonical())
			b.send(t, "POST", "/device/v1/sessions", map[string]string{"device": proof.Device, "challenge": proof.Challenge, "proof": body["proof"]}, "").want(t, 204, "")
		},
		"a used challenge in another form": func(proof *receipt.SessionProof, body map[string]string) {
			body["proof"] = p.sign(t, proof.Canonical())
			b.send(t, "POST", "/device/v1/sessions", map[string]string{"device": proof.Device, "challenge": proof.Challenge, "proof": body["proof"]}, "").want(t, 204, "")
			proof.Challenge += "\n"
			body["proof"] = p.sign(t, proof.Canonical())
		},
		"too late":        func(*receipt.SessionProof, map[string]string) { b.Clock.Advance(2 * time.Minute) },
		"another's proof": func(_ *receipt.SessionProof, body map[string]string) { body["proof"] = "A" },
	} {
		proof := receipt.SessionProof{Challenge: b.challenge(t), Device: p.device, Origin: servertest.Origin}
		body := map[string]string{}
		change(&proof, body)
		if body["proof"] == "" {
			body["proof"] = p.sign(t, proof.Canonical())
		}
		body["device"], body["challenge"] = proof.Device, proof.Challenge
		r := b.send(t, "POST", "/device/v1/sessions", body, "")
		if first == nil {
			first = r.body
		}
		if r.StatusCode != 401 || r.problem() != "not-signed-in" || string(r.body) != string(first) || len(r.Cookies()) > 0 {
			t.Errorf("%s: %d %s", name, r.StatusCode, r.body)
		}
	}
}
