package callback_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"countersign.dev/client/callback"
	"countersign.dev/client/token"
)

func TestEventJWT(t *testing.T) {
	signed := token.Sign("WSK_1", []byte(`{"event":"user_added"}`))
	for kind, body := range map[string]string{
		"application/json":                                 `{"body":"` + signed + `"}`,
		"application/json; charset=utf-8":                  `{"body":"` + signed + `","more":1}`,
		"application/x-www-form-urlencoded":                "body=" + url.QueryEscape(signed),
		"application/x-www-form-urlencoded; charset=utf-8": "more=1&body=" + signed,
	} {
		if claims, err := callback.EventJWT("WSK_1", kind, []byte(body)); err != nil || string(claims) != `{"event":"user_added"}` {
			t.Errorf("%s: %s %v", kind, claims, err)
		}
		if _, err := callback.EventJWT("WSK_2", kind, []byte(body)); !errors.Is(err, token.Err) {
			t.Errorf("%s with another key: %v", kind, err)
		}
	}
	for body, want := range map[string]error{
		`{}`: token.Err, `{"body":1}`: callback.ErrMalformed, ``: callback.ErrMalformed, `{"body":"x"}`: token.Err, strings.Repeat(" ", 96<<10+1): callback.ErrTooLarge,
	} {
		if _, err := callback.EventJWT("WSK_1", "", []byte(body)); !errors.Is(err, want) {
			t.Errorf("%.20q: %v, want %v", body, err, want)
		}
	}
	if _, err := callback.EventJWT("WSK_1", "application/x-www-form-urlencoded", []byte("body=%zz")); !errors.Is(err, callback.ErrMalformed) {
		t.Error(err)
	}
}

func FuzzEventJWT(f *testing.F) {
	f.Add("application/json", `{"body":"a.b.c"}`)
	f.Add("application/x-www-form-urlencoded", "body=a.b.c&body=%zz")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		if claims, err := callback.EventJWT("k", contentType, []byte(body)); err == nil && len(claims) == 0 {
			t.Error("nothing, and no error")
		}
	})
}
