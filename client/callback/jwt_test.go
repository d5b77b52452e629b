package callback_test

import (
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"

	"countersign.dev/client/callback"
)

// The token of RFC 7515 appendix A.1, whose header has members and white space of its own.
const (
	rfcToken = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfcKey   = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"
)

func TestVerifyJWT(t *testing.T) {
	key, err := base64.RawURLEncoding.DecodeString(rfcKey)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := callback.VerifyJWT(rfcToken, "another", string(key))
	if want := "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"; err != nil || string(claims) != want {
		t.Errorf("%s %v", claims, err)
	}
	token := callback.SignJWT("k", []byte(`{"a":"ñ"}`))
	if claims, err := callback.VerifyJWT(token, "k"); err != nil || string(claims) != `{"a":"ñ"}` {
		t.Errorf("%s %v", claims, err)
	}
	part := func(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }
	parts := strings.Split(token, ".")
	for name, forged := range map[string]string{
		"another key":      callback.SignJWT("j", []byte(`{"a":1}`)),
		"an empty key":     callback.SignJWT("", []byte(`{"a":1}`)),
		"other claims":     parts[0] + "." + part(`{"a":"n"}`) + "." + parts[2],
		"none":             part(`{"alg":"none"}`) + "." + parts[1] + ".",
		"none, signed":     part(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2],
		"RS256":            part(`{"alg":"RS256"}`) + "." + parts[1] + "." + parts[2],
		"critical":         part(`{"alg":"HS256","crit":["exp"]}`) + "." + parts[1] + "." + parts[2],
		"no header":        "." + parts[1] + "." + parts[2],
		"two parts":        parts[0] + "." + parts[1],
		"four parts":       token + ".",
		"padding":          token + "=",
		"loose bits":       token[:len(token)-1] + string(token[len(token)-1]+1),
		"a list of claims": callback.SignJWT("k", []byte(`[1]`)),
		"no JSON":          callback.SignJWT("k", []byte(`{"a"`)),
		"too long":         callback.SignJWT("k", []byte(`{"a":"`+strings.Repeat("x", 96<<10)+`"}`)),
		"nothing":          "",
	} {
		if claims, err := callback.VerifyJWT(forged, "k", ""); !errors.Is(err, callback.ErrToken) || claims != nil {
			t.Errorf("%s: %s %v", name, claims, err)
		}
	}
}

func TestEventJWT(t *testing.T) {
	token := callback.SignJWT("WSK_1", []byte(`{"event":"user_added"}`))
	for kind, body := range map[string]string{
		"application/json":                                 `{"body":"` + token + `"}`,
		"application/json; charset=utf-8":                  `{"body":"` + token + `","more":1}`,
		"application/x-www-form-urlencoded":                "body=" + url.QueryEscape(token),
		"application/x-www-form-urlencoded; charset=utf-8": "more=1&body=" + token,
	} {
		if claims, err := callback.EventJWT("WSK_1", kind, []byte(body)); err != nil || string(claims) != `{"event":"user_added"}` {
			t.Errorf("%s: %s %v", kind, claims, err)
		}
		if _, err := callback.EventJWT("WSK_2", kind, []byte(body)); !errors.Is(err, callback.ErrToken) {
			t.Errorf("%s with another key: %v", kind, err)
		}
	}
	for body, want := range map[string]error{
		`{}`: callback.ErrToken, `{"body":1}`: callback.ErrMalformed, ``: callback.ErrMalformed, `{"body":"x"}`: callback.ErrToken, strings.Repeat(" ", 96<<10+1): callback.ErrTooLarge,
	} {
		if _, err := callback.EventJWT("WSK_1", "", []byte(body)); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", body, err, want)
		}
	}
	if _, err := callback.EventJWT("WSK_1", "application/x-www-form-urlencoded", []byte("body=%zz")); !errors.Is(err, callback.ErrMalformed) {
		t.Error(err)
	}
}

func FuzzVerifyJWT(f *testing.F) {
	f.Add(rfcToken)
	f.Add(callback.SignJWT("k", []byte(`{}`)))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := callback.VerifyJWT(token, "k")
		if err == nil && callback.SignJWT("k", claims) == "" {
			t.Error("nothing")
		}
		if _, readable := callback.ReadJWT(token); err == nil && readable != nil {
			t.Errorf("verified, and cannot be read: %v", readable)
		}
		callback.EventJWT("k", "", []byte(token))
	})
}
