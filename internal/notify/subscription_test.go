package notify

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/url"
	"strings"
	"testing"

	"countersign.dev/internal/notify/pushtest"
)

func TestParseSubscription(t *testing.T) {
	browser := pushtest.NewBrowser()
	point, auth := base64url.EncodeToString(browser.P256dh()), base64url.EncodeToString(browser.Auth)
	const endpoint = "https://fcm.googleapis.com/fcm/send/abc:def"
	sub, err := ParseSubscription(endpoint, point, auth)
	if err != nil || sub.Endpoint != endpoint || !bytes.Equal(sub.P256dh, browser.P256dh()) || !bytes.Equal(sub.Auth, browser.Auth) {
		t.Fatalf("%+v, %v", sub, err)
	}
	compressed := append([]byte{2}, browser.P256dh()[1:33]...)
	off := bytes.Clone(browser.P256dh())
	off[64] ^= 1
	for name, in := range map[string][3]string{
		"no endpoint":             {"", point, auth},
		"relative":                {"/push", point, auth},
		"no host":                 {"https:///push", point, auth},
		"another scheme":          {"ftp://fcm.googleapis.com/x", point, auth},
		"a script":                {"javascript:alert(1)", point, auth},
		"credentials":             {"https://a:b@fcm.googleapis.com/x", point, auth},
		"a fragment":              {endpoint + "#x", point, auth},
		"a control character":     {endpoint + "\r\nX: 1", point, auth},
		"too long":                {endpoint + strings.Repeat("x", maxEndpoint), point, auth},
		"a compressed point":      {endpoint, base64url.EncodeToString(compressed), auth},
		"a point off the curve":   {endpoint, base64url.EncodeToString(off), auth},
		"the point at infinity":   {endpoint, "AA", auth},
		"no point":                {endpoint, "", auth},
		"padded base64":           {endpoint, base64.URLEncoding.EncodeToString(browser.P256dh()), auth},
		"a line break in base64":  {endpoint, point[:40] + "\n" + point[40:], auth},
		"a short secret":          {endpoint, point, base64url.EncodeToString(browser.Auth[:15])},
		"a long secret":           {endpoint, point, base64url.EncodeToString(append(browser.Auth, 1))},
		"no secret":               {endpoint, point, ""},
		"base64 with spare bits":  {endpoint, point, auth[:21] + "B"},
		"standard base64 letters": {endpoint, strings.Repeat("+", 87), auth},
	} {
		if sub, err := ParseSubscription(in[0], in[1], in[2]); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %+v, %v", name, sub, err)
		}
	}
}

// No text makes the decoder accept what cannot be used later.
func FuzzSubscription(f *testing.F) {
	browser := pushtest.NewBrowser()
	point, auth := base64url.EncodeToString(browser.P256dh()), base64url.EncodeToString(browser.Auth)
	f.Add("https://fcm.googleapis.com/fcm/send/abc", point, auth)
	f.Add("https://updates.push.services.mozilla.com:443/wpush/v2/x?y=z", point, auth)
	f.Add("https://[::1]:8443/", point, auth)
	f.Add("http://0x7f.1/", "BA", "AA==")
	f.Fuzz(func(t *testing.T, endpoint, p256dh, auth string) {
		sub, err := ParseSubscription(endpoint, p256dh, auth)
		if err != nil {
			return
		}
		if _, err := encrypt(sub, []byte("x")); err != nil {
			t.Errorf("accepted, but cannot encrypt for it: %v", err)
		}
		u, err := url.Parse(sub.origin())
		if err != nil || u.Host == "" || u.Path != "" || u.User != nil {
			t.Errorf("the origin of %q is %q", endpoint, sub.origin())
		}
		if base64url.EncodeToString(sub.P256dh) != p256dh || base64url.EncodeToString(sub.Auth) != auth {
			t.Error("two texts for one value")
		}
		_ = Settings{}.mayReach(endpoint)
	})
}

// T-40: messages go to push services only, whatever the browser claims.
func TestMayReach(t *testing.T) {
	set := Settings{Hosts: []string{"push.example.com", "*.corp.example", "up.example.org:8443"}}
	for endpoint, want := range map[string]error{
		"https://fcm.googleapis.com/fcm/send/x":                 nil,
		"https://FCM.googleapis.com:443/fcm/send/x":             nil,
		"https://updates.push.services.mozilla.com/wpush/v2/x":  nil,
		"https://web.push.apple.com/x":                          nil,
		"https://wns2-par02p.notify.windows.com/w/?token=x":     nil,
		"https://push.example.com/x":                            nil,
		"https://a.b.corp.example/x":                            nil,
		"https://up.example.org:8443/x":                         nil,
		"http://fcm.googleapis.com/fcm/send/x":                  ErrInvalid,
		"https://fcm.googleapis.com:8443/x":                     ErrHost,
		"https://fcm.googleapis.com./x":                         ErrHost,
		"https://fcm.googleapis.com.evil.example/x":             ErrHost,
		"https://evilfcm.googleapis.com/x":                      ErrHost,
		"https://push.services.mozilla.com.evil.example/x":      ErrHost,
		"https://evilpush.services.mozilla.com/x":               ErrHost,
		"https://notify.windows.com/x":                          ErrHost,
		"https://corp.example/x":                                ErrHost,
		"https://up.example.org/x":                              ErrHost,
		"https://evil.example/x":                                ErrHost,
		"https://evil.example/?https://fcm.googleapis.com/":     ErrHost,
		"https://127.0.0.1/x":                                   ErrHost,
		"https://localhost/x":                                   ErrHost,
		"https://[::1]/x":                                       ErrHost,
		"https://169.254.169.254/latest/meta-data":              ErrHost,
		"http://localhost:1/x":                                  ErrInvalid,
		"https://fcm.googleapis.com@evil.example/x":             ErrInvalid,
		"https://evil.example\\@fcm.googleapis.com/x":           ErrInvalid,
		"gopher://fcm.googleapis.com/x":                         ErrInvalid,
		"https://fcm.googleapis.com%2eevil.example/fcm/send/xy": ErrInvalid,
	} {
		if err := set.mayReach(endpoint); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", endpoint, err, want)
		}
	}
	set.Loopback = true
	for endpoint, want := range map[string]error{
		"http://localhost:1234/x": nil, "http://127.0.0.1:1/x": nil, "https://[::1]:1/x": nil,
		"http://10.0.0.1/x": ErrInvalid, "https://localhost.evil.example/x": ErrHost,
	} {
		if err := set.mayReach(endpoint); !errors.Is(err, want) {
			t.Errorf("%s with loopback: %v, want %v", endpoint, err, want)
		}
	}
}

func TestCheckSettings(t *testing.T) {
	for host, ok := range map[string]bool{
		"push.example.com": true, "push.example.com:8443": true, "*.example.com": true,
		"": false, "*": false, "*.": false, "*.com:": false, "https://push.example.com": false, "push.example.com/": false, "push.example.com:x": false,
		"push.*.com": false, "localhost": false, "a b.example": false, "user@push.example.com": false, ".example.com": false,
	} {
		if err := CheckHost(host); (err == nil) != ok {
			t.Errorf("host %q: %v", host, err)
		}
	}
	for contact, ok := range map[string]bool{
		"mailto:ops@example.com": true, "https://example.com/contact": true,
		"": false, "ops@example.com": false, "mailto:": false, "http://example.com": false, "https:": false,
	} {
		if err := CheckContact(contact); (err == nil) != ok {
			t.Errorf("contact %q: %v", contact, err)
		}
	}
}
