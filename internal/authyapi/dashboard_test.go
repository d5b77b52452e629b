// This file holds the dashboard API to contract section 10: signing, answers, refusals.

package authyapi

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	sign "countersign.dev/client/callback"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/webhook"
)

const hooksPath = "/dashboard/json/application/webhooks"

// noWebhooks removes all that the application has.
func (s *site) noWebhooks(t *testing.T) {
	t.Helper()
	all, err := s.Webhooks.List(t.Context(), s.app)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		if err := s.Webhooks.Remove(t.Context(), s.app, w.ID, "operator:test"); err != nil {
			t.Fatal(err)
		}
	}
}

// hook makes the webhook WH_1.
func (s *site) hook(t *testing.T) {
	t.Helper()
	s.noWebhooks(t)
	w := webhook.Webhook{ID: "WH_1", AppID: s.app.ID, Name: "first", URL: "https://app.example.com/hook", Sealed: []byte{1}, Events: []string{"user_added"}, CreatedAt: s.Clock.Now()}
	if err := s.Store.AddWebhook(t.Context(), w, audit.New(s.Clock.Now(), s.app.ID, "operator:test", "webhook.created", "webhook:WH_1")); err != nil {
		t.Fatal(err)
	}
}

// The vectors of contract section 10.1, over parameters as they come in a form and in JSON.
func TestDashboardSignatureVectors(t *testing.T) {
	canonical := func(contentType, body string) string {
		p, err := decode(request("POST", "/", contentType, body))
		if err != nil {
			t.Fatal(err)
		}
		params, err := sign.Canonical(p.JSON())
		if err != nil {
			t.Fatal(err)
		}
		return params
	}
	if got := canonical(formType, "b=val%7Cue%262&a=value1"); got != "a=value1&b=val%7Cue%262" {
		t.Errorf("documented example: %s", got)
	}
	const own = "access_key=XK1&app_api_key=AK1&events%5B%5D=user_added&events%5B%5D=token_verified&name=first&url=https%3A%2F%2Fapp.example.com%2Fhook"
	for contentType, body := range map[string]string{
		formType: "name=first&url=https://app.example.com/hook&events[]=user_added&events[]=token_verified&app_api_key=AK1&access_key=XK1",
		jsonType: `{"access_key":"XK1","events":["user_added","token_verified"],"app_api_key":"AK1","name":"first","url":"https://app.example.com/hook"}`,
	} {
		if got := canonical(contentType, body); got != own {
			t.Errorf("%s: %s", contentType, got)
		}
	}
	got := sign.Sign("sign-key-example", "1700000123", "POST", "https://api.example.com/dashboard/json/application/webhooks", own)
	if want := "8RHrfN6lu/WsxL+rHtlJWwhiGqJj+KycLa1JXlyfqU4="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	if got := canonical(jsonType, `{"a":null,"b":{},"c":[],"d":[{"e":true},[1.50]]}`); got != "a=&d%5B%5D%5Be%5D=true&d%5B%5D%5B%5D=1.50" {
		t.Errorf("corners: %s", got)
	}
	// As large as a request can be: what signs it is no larger.
	for _, c := range []string{"|", "<", "&", "\u00e9", "/"} {
		long := strings.Repeat(c, (maxBody-10)/len(c))
		if got, want := canonical(jsonType, `{"a":"`+long+`"}`), "a="+url.QueryEscape(long); got != want {
			t.Errorf("%d bytes of %s: %d bytes, want %d", len(long), c, len(got), len(want))
		}
	}
}

// Answers byte for byte, from the first webhook to none.
func TestDashboardAnswers(t *testing.T) {
	s := newSite(t)
	s.get(hooksPath).is(t, 200, `{"webhooks":[],"message":"Webhooks.","success":true}`)
	s.Clock.Advance(time.Second)
	made := s.post(hooksPath, "name=first&url=https%3A%2F%2Fapp.example.com%2Fhook&events[]=user_added&events[]=token_verified&events[]=phone_change_requested")
	id, key := fmt.Sprint(made.at(t, "webhook", "id")), fmt.Sprint(made.at(t, "webhook", "signing_key"))
	if !strings.HasPrefix(id, "WH_") || !strings.HasPrefix(key, "WSK_") || len(key) < 40 {
		t.Errorf("id %s, key %s", id, key)
	}
	object := fmt.Sprintf(`{"id":"%s","name":"first","account_sid":"AC%s","service_id":"%d","url":"https://app.example.com/hook","signing_key":"%s",`+
		`"events":["phone_change_requested","token_verified","user_added"],"creation_date":"2026-05-04T10:00:01Z"}`, id, s.app.AccountID, s.app.Serial, key)
	made.is(t, 200, `{"webhook":`+object+`,"message":"Webhook created","success":true}`)
	s.get(hooksPath).is(t, 200, `{"webhooks":[`+object+`],"message":"Webhooks.","success":true}`)
	if rec := s.lastRecord(t); rec.Action != "webhook.created" || !strings.HasPrefix(rec.Actor, "access_key:") || rec.Target != "webhook:"+id {
		t.Errorf("recorded as %+v", rec)
	}
	s.ask("DELETE", hooksPath+"/"+id, "", "").is(t, 200, `{"message":"Webhook deleted","success":true}`)
	s.ask("DELETE", hooksPath+"/"+id, "", "").refused(t, 400, "60100", errDeleteWebhook.Detail)
	s.ask("DELETE", hooksPath, formType, "webhook_id="+id).refused(t, 400, "60100", errDeleteWebhook.Detail)
	s.ask("DELETE", hooksPath, "", "").refused(t, 400, "60100", errDeleteWebhook.Detail)
	for range webhook.Max {
		s.post(hooksPath, "name=n&url=https://a.example&events=user_added")
	}
	s.post(hooksPath, "name=n&url=https://a.example&events=user_added").refused(t, 400, "60098", "Webhook could not be created: an application has at most 10")
}

func TestDashboardRefusesWebhooks(t *testing.T) {
	s := newSite(t)
	const prefix = "Webhook could not be created: "
	for form, want := range map[string]string{
		"url=https://a.example&events[]=user_added":                       "name - 1 to 100 characters are expected",
		"name=%e2%80%8b&url=https://a.example&events[]=user_added":        "name - 1 to 100 characters are expected",
		"name=n&events[]=user_added":                                      "url - an absolute http or https address without user name and fragment is expected",
		"name=n&url=file:///etc/passwd&events[]=user_added":               "url - an absolute http or https address without user name and fragment is expected",
		"name=n&url=https://u:p@a.example&events[]=user_added":            "url - an absolute http or https address without user name and fragment is expected",
		"name=n&url=https://a.example":                                    "events - at least one is expected",
		"name=n&url=https://a.example&events[]=":                          "events - '' is none of " + strings.Join(webhook.Events(), ", "),
		"name=n&url=https://a.example&events[]=user_added&events[]=lunch": "events - 'lunch' is none of " + strings.Join(webhook.Events(), ", "),
		"name=n&url=https://a.example&events[a]=user_added":               "events - at least one is expected",
	} {
		s.post(hooksPath, form).refused(t, 400, "60098", prefix+want)
	}
	s.get(hooksPath).is(t, 200, `{"webhooks":[],"message":"Webhooks.","success":true}`)
}

// Who asks must have all three keys, of the same application, and sign what was sent, now.
func TestDashboardCredentials(t *testing.T) {
	s := newSite(t)
	n := newNeighbour(t, s)
	theirs, err := s.Webhooks.NewAccessKey(t.Context(), n.app, "operator:test")
	if err != nil {
		t.Fatal(err)
	}
	own := s.credentials()
	// tried sends a GET with these, signed over another URL and other parameters where told.
	type try struct{ app, access, signing, nonce, signedURL, signedParams, method, more string }
	tried := func(x try) answer {
		q := url.Values{"app_api_key": {x.app}, "access_key": {x.access}}.Encode() + x.more
		r := request("GET", hooksPath+"?"+q, "", "")
		params, err := url.QueryUnescape("access_key=" + x.access + "&app_api_key=" + x.app + x.more)
		if err != nil {
			t.Fatal(err)
		}
		if x.signedParams != "" {
			params = x.signedParams
		}
		signedURL := publicURL + hooksPath
		if x.signedURL != "" {
			signedURL = x.signedURL
		}
		method := "GET"
		if x.method != "" {
			method = x.method
		}
		r.Header.Set(sign.HeaderNonce, x.nonce)
		r.Header.Set(sign.HeaderSignature, sign.Sign(x.signing, x.nonce, method, signedURL, params))
		return s.serve(r)
	}
	now := fmt.Sprint(s.Clock.Now().Unix())
	good := try{app: s.key, access: own.AccessKey, signing: own.SigningKey, nonce: now}
	with := func(change func(*try)) try {
		x := good
		change(&x)
		return x
	}
	for name, x := range map[string]try{
		"as it should be":          good,
		"another kind of nonce":    with(func(x *try) { x.nonce = "151904087600001.151904087600002" }),
		"a nonce with a fraction":  with(func(x *try) { x.nonce = now + ".000000001" }),
		"a parameter nobody knows": with(func(x *try) { x.more = "&b=1" }),
		"a client that sorts all": with(func(x *try) {
			x.more, x.signedParams = "&e[]=b&e[]=a", "access_key="+own.AccessKey+"&app_api_key="+s.key+"&e%5B%5D=a&e%5B%5D=b"
		}),
		"a client that keeps order": with(func(x *try) {
			x.more, x.signedParams = "&e[]=b&e[]=a", "access_key="+own.AccessKey+"&app_api_key="+s.key+"&e%5B%5D=b&e%5B%5D=a"
		}),
	} {
		if a := tried(x); a.status != 200 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	refused := func(name string, x try, status int, code, message string) {
		t.Helper()
		if a := tried(x); a.status != status || a.at(t, "error_code") != code || a.at(t, "message") != message {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	refused("another application's key", with(func(x *try) { x.app = n.key }), 400, "60074", webhook.ErrPermission.Detail)
	refused("another application's access key", with(func(x *try) { x.access, x.signing = theirs.AccessKey, theirs.SigningKey }), 400, "60074", webhook.ErrPermission.Detail)
	refused("no application key", with(func(x *try) { x.app = "" }), 400, "60073", webhook.ErrAppKey.Detail)
	refused("a wrong application key", with(func(x *try) { x.app = strings.Repeat("k", 32) }), 400, "60073", webhook.ErrAppKey.Detail)
	refused("no access key", with(func(x *try) { x.access = "" }), 404, "60072", webhook.ErrAccessKey.Detail)
	refused("a wrong access key", with(func(x *try) { x.access = own.AccessKey[1:] }), 404, "60072", webhook.ErrAccessKey.Detail)
	refused("the signing key as access key", with(func(x *try) { x.access = own.SigningKey }), 404, "60072", webhook.ErrAccessKey.Detail)
	for name, x := range map[string]try{
		"another signing key": with(func(x *try) { x.signing = theirs.SigningKey }),
		"no signing key":      with(func(x *try) { x.signing = "" }),
		"the API key signs":   with(func(x *try) { x.signing = s.key }),
		"another method":      with(func(x *try) { x.method = "DELETE" }),
		"another host":        with(func(x *try) { x.signedURL = "https://api.example.org" + hooksPath }),
		"another path":        with(func(x *try) { x.signedURL = publicURL + hooksPath + "/WH_1" }),
		"more than was signed": with(func(x *try) {
			x.more, x.signedParams = "&b=1", "access_key="+own.AccessKey+"&app_api_key="+s.key
		}),
		"an old one":       with(func(x *try) { x.nonce = fmt.Sprint(s.Clock.Now().Add(-webhook.Freshness - time.Second).Unix()) }),
		"one of tomorrow":  with(func(x *try) { x.nonce = fmt.Sprint(s.Clock.Now().Add(24 * time.Hour).Unix()) }),
		"a bar in a nonce": with(func(x *try) { x.nonce = "1|GET" }),
	} {
		refused(name, x, 401, "60087", webhook.ErrSignature.Detail)
	}
	keys, err := s.Webhooks.AccessKeys(t.Context(), s.app)
	if err != nil || len(keys) != 1 {
		t.Fatal(keys, err)
	}
	if err := s.Webhooks.EndAccessKey(t.Context(), s.app, keys[0].ID, "operator:test"); err != nil {
		t.Fatal(err)
	}
	refused("a key that was ended", good, 404, "60072", webhook.ErrAccessKey.Detail)
}

// The address that is signed is the one that the client called, double slashes included (contract section 1.1).
func TestDashboardDoubleSlash(t *testing.T) {
	s := newSite(t)
	if a := s.get("/" + hooksPath); a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
