// This file tests the signature against published vectors and against a second implementation.

package callback

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// vectorA is a whole callback, section 7.2 of the Authy API contract.
const vectorA = `{"authy_id":1635,"device_uuid":"2102943","callback_action":"approval_request_status","uuid":"11111111-2222-4333-8444-555555555555","status":"approved","approval_request":{"transaction":{"details":{"email_address":"ana@example.com","location":"Bogotá, CO"},"device_details":{},"device_geolocation":"","device_signing_time":1700000100,"encrypted":false,"flagged":false,"hidden_details":null,"message":"Login requested for Example + Co","reason":"","requester_details":null,"status":"approved","uuid":"66666666-7777-4888-9999-000000000000","created_at_time":1700000050,"customer_uuid":42},"expiration_timestamp":1700086450,"logos":null,"app_id":"5833393871fc61111c76d84f"},"signature":"YWJj+/==","device":{"city":null,"country":null,"id":2102943,"ip":"192.0.2.7","os_type":"android","enabled_unlock_methods":["pin","fingerprint"]}}`

const paramsA = `approval_request%5Bapp_id%5D=5833393871fc61111c76d84f&approval_request%5Bexpiration_timestamp%5D=1700086450&approval_request%5Blogos%5D=&approval_request%5Btransaction%5D%5Bcreated_at_time%5D=1700000050&approval_request%5Btransaction%5D%5Bcustomer_uuid%5D=42&approval_request%5Btransaction%5D%5Bdetails%5D%5Bemail_address%5D=ana%40example.com&approval_request%5Btransaction%5D%5Bdetails%5D%5Blocation%5D=Bogot%C3%A1%2C+CO&approval_request%5Btransaction%5D%5Bdevice_geolocation%5D=&approval_request%5Btransaction%5D%5Bdevice_signing_time%5D=1700000100&approval_request%5Btransaction%5D%5Bencrypted%5D=false&approval_request%5Btransaction%5D%5Bflagged%5D=false&approval_request%5Btransaction%5D%5Bhidden_details%5D=&approval_request%5Btransaction%5D%5Bmessage%5D=Login+requested+for+Example+%2B+Co&approval_request%5Btransaction%5D%5Breason%5D=&approval_request%5Btransaction%5D%5Brequester_details%5D=&approval_request%5Btransaction%5D%5Bstatus%5D=approved&approval_request%5Btransaction%5D%5Buuid%5D=66666666-7777-4888-9999-000000000000&authy_id=1635&callback_action=approval_request_status&device%5Bcity%5D=&device%5Bcountry%5D=&device%5Benabled_unlock_methods%5D%5B%5D=pin&device%5Benabled_unlock_methods%5D%5B%5D=fingerprint&device%5Bid%5D=2102943&device%5Bip%5D=192.0.2.7&device%5Bos_type%5D=android&device_uuid=2102943&signature=YWJj%2B%2F%3D%3D&status=approved&uuid=11111111-2222-4333-8444-555555555555`

const (
	vectorKey   = "0123456789abcdefghijklmnopqrstuv"
	vectorNonce = "1700000123"
	vectorURL   = "https://app.example.com/authy/callback"
)

// TestVectors reproduces section 7.2: the project's own vectors and the published one whose inputs are all known.
func TestVectors(t *testing.T) {
	for _, test := range []struct{ name, key, nonce, method, url, body, params, signature string }{
		{"A POST", vectorKey, vectorNonce, "POST", vectorURL, vectorA, paramsA, "5oFcxMGXLD2YNNcP5yVlhocRKwFCvovkEmOKBDa6nLg="},
		{"A GET", vectorKey, vectorNonce, "GET", vectorURL, vectorA, paramsA, "hRQH85V20XHqugKXc4P56Xy1c31wHXGaMyR8L22IIa0="},
		{
			"B POST: logos, null, boolean, space", vectorKey, vectorNonce, "POST", vectorURL,
			`{"b":"two words","a":{"y":null,"x":true},"logos":[{"res":"default","url":"https://img.example.com/d.png"},{"res":"low","url":"https://img.example.com/l.png"}]}`,
			`a%5Bx%5D=true&a%5By%5D=&b=two+words&logos%5B%5D%5Bres%5D=default&logos%5B%5D%5Burl%5D=https%3A%2F%2Fimg.example.com%2Fd.png&logos%5B%5D%5Bres%5D=low&logos%5B%5D%5Burl%5D=https%3A%2F%2Fimg.example.com%2Fl.png`,
			"jtZMxsuwFHjNcPT1stNuCkOdj0xIa9uwW+8GX7BgGv4=",
		},
		{
			"B GET", vectorKey, vectorNonce, "GET", vectorURL,
			`{"b":"two words","a":{"y":null,"x":true},"logos":[{"res":"default","url":"https://img.example.com/d.png"},{"res":"low","url":"https://img.example.com/l.png"}]}`,
			`a%5Bx%5D=true&a%5By%5D=&b=two+words&logos%5B%5D%5Bres%5D=default&logos%5B%5D%5Burl%5D=https%3A%2F%2Fimg.example.com%2Fd.png&logos%5B%5D%5Bres%5D=low&logos%5B%5D%5Burl%5D=https%3A%2F%2Fimg.example.com%2Fl.png`,
			"Uqc0/V+6lMCpUve32ONenNqSefwRuvaAffimLOFOnfw=",
		},
		{
			"D: corners of order and encoding", vectorKey, vectorNonce, "POST", vectorURL,
			`{"details":{"ip2":"2","ip":"1","Zone":"z","a b":"x~*y","a-b":"h"},"n":null,"e":{},"list":["q","p"]}`,
			`details%5BZone%5D=z&details%5Ba+b%5D=x~%2Ay&details%5Ba-b%5D=h&details%5Bip%5D=1&details%5Bip2%5D=2&list%5B%5D=q&list%5B%5D=p&n=`,
			"B531va9EDWE6ollfZqz82gTUp21Tr7N7ci4NcRI6848=",
		},
		{
			"assertion test of authy-client", "foo", "1455825429", "POST", "https://foo.bar/",
			`{"foo":{"bar":{"biz":"foo"}},"qux":"net"}`, `foo%5Bbar%5D%5Bbiz%5D=foo&qux=net`, "uq/wB8AR1Acvn0wFcjm7mmBJyR11nuuMhMy6semsAO8=",
		},
		{
			"dashboard API, where form bodies are signed", "sign-key-example", vectorNonce, "POST", "https://api.example.com/dashboard/json/application/webhooks",
			`{"name":"first","url":"https://app.example.com/hook","events":["user_added","token_verified"],"app_api_key":"AK1","access_key":"XK1"}`,
			`access_key=XK1&app_api_key=AK1&events%5B%5D=user_added&events%5B%5D=token_verified&name=first&url=https%3A%2F%2Fapp.example.com%2Fhook`,
			"8RHrfN6lu/WsxL+rHtlJWwhiGqJj+KycLa1JXlyfqU4=",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			params, err := Canonical([]byte(test.body))
			if err != nil {
				t.Fatal(err)
			}
			if params != test.params {
				t.Errorf("params:\n got %s\nwant %s", params, test.params)
			}
			if got := Sign(test.key, test.nonce, test.method, test.url, params); got != test.signature {
				t.Errorf("signature: got %s, want %s", got, test.signature)
			}
		})
	}
}

// TestPublishedVectors reproduces what the original service signed, as authy-java, a servlet sample and authy-client's README published it
// (section 7.2): of a POST the body, of a GET the query, which is the canonical text.
func TestPublishedVectors(t *testing.T) {
	text, err := os.ReadFile("testdata/published.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name, Key, Nonce, Method, URL, Signature, Query string
		Body                                            json.RawMessage
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) != 9 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		params := v.Query
		if v.Body != nil {
			if params, err = Canonical(v.Body); err != nil {
				t.Errorf("%s: %v", v.Name, err)
			}
			var body map[string]any
			decoder := json.NewDecoder(bytes.NewReader(v.Body))
			decoder.UseNumber()
			if err := decoder.Decode(&body); err != nil || naive(body, "") != params {
				t.Errorf("%s: the second implementation has %s, %v", v.Name, naive(body, ""), err)
			}
		}
		if got := Sign(v.Key, v.Nonce, v.Method, v.URL, params); got != v.Signature {
			t.Errorf("%s: got %s, want %s", v.Name, got, v.Signature)
		}
	}
}

func TestSignedURL(t *testing.T) {
	for in, want := range map[string]string{
		"https://app.example.com/cb":             "https://app.example.com/cb",
		"https://app.example.com/cb?x=1#y":       "https://app.example.com/cb",
		"https://app.example.com/cb#y?x":         "https://app.example.com/cb",
		"https://app.example.com:443/cb":         "https://app.example.com/cb",
		"http://app.example.com:80/cb":           "http://app.example.com/cb",
		"http://app.example.com:443/cb":          "http://app.example.com:443/cb",
		"https://app.example.com:8443/a:443/%7e": "https://app.example.com:8443/a:443/%7e",
		"https://app.example.com":                "https://app.example.com/",
		"https://app.example.com/":               "https://app.example.com/",
		"http://[::1]:80/cb/":                    "http://[::1]/cb/",
	} {
		if got := signedURL(in); got != want {
			t.Errorf("signedURL(%q): got %q, want %q", in, got, want)
		}
	}
}

func TestCanonicalCorners(t *testing.T) {
	for in, want := range map[string]string{
		`{}`:                             ``,
		`{"a":{},"b":[],"c":{"d":[{}]}}`: ``,
		` {"a" : 1 } ` + "\n":            `a=1`,
		`{"a":-1.50}`:                    `a=-1.50`,
		`{"a":[null,true,[1,[2]],{"c":1,"b":2}]}`: `a%5B%5D=&a%5B%5D=true&a%5B%5D%5B%5D=1&a%5B%5D%5B%5D%5B%5D=2&a%5B%5D%5Bb%5D=2&a%5B%5D%5Bc%5D=1`,
		`{"":{"status":"approved"}}`:              `%5Bstatus%5D=approved`,
		`{"a":"\u007c|\n"}`:                       `a=%7C%7C%0A`,
	} {
		if got, err := Canonical([]byte(in)); err != nil || got != want {
			t.Errorf("%s:\n got %s, %v\nwant %s", in, got, err, want)
		}
	}
	nested := func(levels int) string {
		return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels)
	}
	if _, err := Canonical([]byte(nested(maxDepth))); err != nil {
		t.Errorf("%d levels: %v", maxDepth, err)
	}
	for name, in := range map[string]string{
		"empty":                   ``,
		"array":                   `[]`,
		"text":                    `"a"`,
		"null":                    `null`,
		"two values":              `{}{}`,
		"text after":              `{}x`,
		"comma at the end":        `{"a":1,}`,
		"not UTF-8":               "{\"a\":\"\xff\"}",
		"key twice":               `{"a":1,"a":1}`,
		"key twice, spelled anew": `{"a":1,"\u0061":2}`,
		"key twice inside":        `{"b":[{"a":1,"a":2}]}`,
		"exponent":                `{"a":1e3}`,
		"too many levels":         nested(maxDepth + 1),
		"unclosed":                `{"a":{`,
		"a form":                  `a=1&b=2`,
	} {
		if got, err := Canonical([]byte(in)); !errors.Is(err, ErrMalformed) || got != "" {
			t.Errorf("%s: got %q, %v, want ErrMalformed", name, got, err)
		}
	}
	if _, err := Canonical([]byte(`{"a":"` + strings.Repeat("a", maxBody) + `"}`)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("over 64 KiB: %v", err)
	}
	if _, err := Canonical([]byte(`{"a":"` + strings.Repeat("a", maxBody-8) + `"}`)); err != nil {
		t.Errorf("64 KiB: %v", err)
	}
}

// naive is a second implementation of section 7.1, written from its text in another manner: over decoded values, with an encoder of its own.
func naive(value any, key string) string {
	var strs []string
	add := func(s string) {
		if s != "" {
			strs = append(strs, s)
		}
	}
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			if key == "" {
				add(naive(member, percent(name)))
			} else {
				add(naive(member, key+percent("[")+percent(name)+percent("]")))
			}
		}
		sort.Strings(strs)
		return strings.Join(strs, "&")
	case []any:
		for _, element := range v {
			add(naive(element, key+percent("[]")))
		}
		return strings.Join(strs, "&")
	case nil:
		return key + "="
	default:
		return key + "=" + percent(fmt.Sprint(v))
	}
}

func percent(s string) string {
	out := ""
	for _, b := range []byte(s) {
		switch {
		case b == ' ':
			out += "+"
		case 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9' || strings.IndexByte("-_.~", b) >= 0:
			out += string(rune(b))
		default:
			out += fmt.Sprintf("%%%02X", b)
		}
	}
	return out
}

// drawJSON draws a value of at most the given depth.
func drawJSON(t *rapid.T, depth int) any {
	kinds := 4
	if depth > 0 {
		kinds = 6
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return nil
	case 1:
		return rapid.Bool().Draw(t, "bool")
	case 2:
		return rapid.Int64().Draw(t, "int")
	case 3:
		return rapid.String().Draw(t, "string")
	case 4:
		list := make([]any, rapid.IntRange(0, 4).Draw(t, "len"))
		for i := range list {
			list[i] = drawJSON(t, depth-1)
		}
		return list
	default:
		return drawObject(t, depth)
	}
}

func drawObject(t *rapid.T, depth int) map[string]any {
	object := map[string]any{}
	for range rapid.IntRange(0, 5).Draw(t, "len") {
		name := rapid.OneOf(rapid.StringN(1, 8, -1), rapid.StringMatching(`[a-cA-C\[\]_ 1-]{1,3}`)).Draw(t, "name")
		object[name] = drawJSON(t, depth-1)
	}
	return object
}

func TestSecondImplementation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		object := drawObject(t, 4)
		body, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Canonical(body)
		if err != nil {
			t.Fatal(err)
		}
		if want := naive(object, ""); got != want {
			t.Fatalf("%s:\n got %s\nwant %s", body, got, want)
		}
		if strings.Contains(got, "|") {
			t.Fatalf("a raw bar in %s", got)
		}
	})
}
