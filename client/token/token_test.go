package token_test

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"countersign.dev/client/token"
)

// The token of RFC 7515 appendix A.1, whose header has members and white space of its own.
const (
	rfcToken = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfcKey   = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
)

func TestVerify(t *testing.T) {
	key, err := base64.RawURLEncoding.DecodeString(rfcKey)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := token.Verify(rfcToken, "another", string(key))
	if want := "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"; err != nil || string(claims) != want {
		t.Errorf("%s %v", claims, err)
	}
	good := token.Sign("k", []byte(`{"a":"ñ"}`))
	if claims, err := token.Verify(good, "k"); err != nil || string(claims) != `{"a":"ñ"}` {
		t.Errorf("%s %v", claims, err)
	}
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	parts := strings.Split(good, ".")
	for name, forged := range map[string]string{
		"another key":      token.Sign("j", []byte(`{"a":1}`)),
		"an empty key":     token.Sign("", []byte(`{"a":1}`)),
		"other claims":     parts[0] + "." + part(`{"a":"n"}`) + "." + parts[2],
		"none":             part(`{"alg":"none"}`) + "." + parts[1] + ".",
		"none, signed":     part(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2],
		"RS256":            part(`{"alg":"RS256"}`) + "." + parts[1] + "." + parts[2],
		"critical":         part(`{"alg":"HS256","crit":["exp"]}`) + "." + parts[1] + "." + parts[2],
		"no header":        "." + parts[1] + "." + parts[2],
		"two parts":        parts[0] + "." + parts[1],
		"four parts":       good + ".",
		"padding":          good + "=",
		"loose bits":       good[:len(good)-1] + string(good[len(good)-1]+1),
		"a list of claims": token.Sign("k", []byte(`[1]`)),
		"no JSON":          token.Sign("k", []byte(`{"a"`)),
		"too long":         token.Sign("k", []byte(`{"a":"`+strings.Repeat("x", 96<<10)+`"}`)),
		"nothing":          "",
	} {
		if claims, err := token.Verify(forged, "k", ""); !errors.Is(err, token.Err) || claims != nil {
			t.Errorf("%s: %s %v", name, claims, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(rfcToken)
	f.Add(token.Sign("k", []byte(`{}`)))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		claims, err := token.Verify(text, "k")
		if err == nil && token.Sign("k", claims) == "" {
			t.Error("nothing")
		}
		if _, readable := token.Read(text); err == nil && readable != nil {
			t.Errorf("verified, and cannot be read: %v", readable)
		}
	})
}
