// This file tests the reading of parameters: one named row for each row and bullet of the Authy contract, section 1.3.

package authyapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func request(method, target, contentType, body string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

// show writes a tree in one line, so that a table can say what it expects: objects {name:value}, arrays [value].
func show(p *Params) string {
	switch p.Kind() {
	case KindNull:
		return "null"
	case KindString:
		return p.text
	case KindArray:
		parts := make([]string, len(p.items))
		for i, item := range p.items {
			parts[i] = show(item)
		}
		return "[" + strings.Join(parts, " ") + "]"
	case KindObject:
		parts := make([]string, len(p.members))
		for i, m := range p.members {
			parts[i] = m.Name + ":" + show(m.Value)
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return "absent"
}

func multipartBody(t *testing.T, fields ...string) (contentType, body string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return w.FormDataContentType(), b.String()
}

func TestDecode(t *testing.T) {
	multiType, multiBody := multipartBody(t, "user[email]", "a@example.com", "user[cellphone]", "201-555-0123", "api_key", "K")
	tests := []struct{ name, method, target, contentType, body, want string }{
		{
			"form, bracketed keys (Ruby, node-authy, go-authy, Rust, curl)", "POST", "/", formType,
			"user[email]=a%40example.com&user%5Bcellphone%5D=201&details[k]=v", "{user:{email:a@example.com cellphone:201} details:{k:v}}",
		},
		{"form with a charset", "POST", "/", formType + "; charset=UTF-8", "a=1", "{a:1}"},
		{"JSON object (Python, Java, authy-client)", "POST", "/", jsonType, `{"user":{"email":"a@example.com"}}`, "{user:{email:a@example.com}}"},
		{"JSON with white space and a charset", "POST", "/", "application/json;charset=utf-8", " {\n \"a\" : [ 1 , \"b\" ] }\n", "{a:[1 b]}"},
		{
			"everything in the query of a POST (PHP, Postman)", "POST", "/?user[email]=x&logos[0][res]=default&logos[0][url]=u", "", "",
			"{user:{email:x} logos:{0:{res:default url:u}}}",
		},
		{"multipart (PHP curl given an array)", "POST", "/", multiType, multiBody, "{user:{email:a@example.com cellphone:201-555-0123} api_key:K}"},
		{"form body on a GET (node-authy)", "GET", "/?api_key=K", formType, "phone_number=201&country_code=1", "{api_key:K phone_number:201 country_code:1}"},
		{"JSON body on a GET (authy-client)", "GET", "/", jsonType, `{"user_ip":"192.0.2.7"}`, "{user_ip:192.0.2.7}"},
		{"empty body with a JSON type (Java delete)", "POST", "/", jsonType, "", "{}"},
		{"white space with a JSON type", "POST", "/", jsonType, " \r\n", "{}"},
		{"empty object with a JSON type (authy-client delete)", "POST", "/", jsonType, "{}", "{}"},
		{"no content type, JSON", "POST", "/", "", ` {"a":"b"}`, "{a:b}"},
		{"no content type, form", "POST", "/", "", "a=b", "{a:b}"},
		{"broken content type is guessed too", "POST", "/", ";;", `{"a":"b"}`, "{a:b}"},
		{"foreign content type is guessed too", "POST", "/", "text/plain", "a=b\n", "{a:b}"},
		{"byte order mark", "POST", "/", jsonType, "\xef\xbb\xbf{\"a\":\"b\"}", "{a:b}"},
		{
			"array of hashes, a repeated sub-key starts the next (Rack)", "POST", "/", formType,
			"logos[][res]=default&logos[][url]=d&logos[][res]=low&logos[][url]=l", "{logos:[{res:default url:d} {res:low url:l}]}",
		},
		{"array of hashes, elements of one member", "POST", "/", formType, "logos[][res]=a&logos[][res]=b", "{logos:[{res:a} {res:b}]}"},
		{"array of hashes of hashes", "POST", "/", formType, "a[][b][c]=1&a[][b][d]=2&a[][b][c]=3", "{a:[{b:{c:1 d:2}} {b:{c:3}}]}"},
		{"array inside a hash of an array stays in its element", "POST", "/", formType, "a[][b][]=1&a[][b][]=2&a[][c]=3", "{a:[{b:[1 2] c:3}]}"},
		{"array of strings", "POST", "/", formType, "events[]=a&events[]=b", "{events:[a b]}"},
		{"arrays inside arrays", "POST", "/", formType, "a[][]=1&a[][]=2", "{a:[[1] [2]]}"},
		{"indexed form groups by index", "POST", "/", formType, "logos[1][res]=low&logos[0][res]=default&logos[1][url]=l", "{logos:{1:{res:low url:l} 0:{res:default}}}"},
		{"JSON numbers keep their text", "POST", "/", jsonType, `{"a":57,"b":1.50,"c":1e3,"d":12345678901234567890}`, "{a:57 b:1.50 c:1e3 d:12345678901234567890}"},
		{"JSON booleans and null", "POST", "/", jsonType, `{"a":true,"b":false,"c":null}`, "{a:true b:false c:null}"},
		{"details as a plain string", "POST", "/", jsonType, `{"details":"from Bogotá"}`, "{details:from Bogotá}"},
		{"semicolon is data", "POST", "/?q=1;r=2", formType, "a=b;c=d&e;f=g", "{q:1;r=2 a:b;c=d e;f:g}"},
		{"plus is a space in query and form", "GET", "/?a+b=c+d", formType, "e+f=g+h", "{a b:c d e f:g h}"},
		{"an encoded plus is a plus", "GET", "/?a=%2B1", formType, "b=%2b57", "{a:+1 b:+57}"},
		{
			"query merged with body, body wins, place of the first", "POST", "/?a=1&user[email]=q&b=2", jsonType, `{"c":"3","user":{"email":"b","cellphone":"4"},"a":"9"}`,
			"{a:9 user:{email:b cellphone:4} b:2 c:3}",
		},
		{"an array in the body replaces that of the query", "POST", "/?a[]=1&a[]=2", jsonType, `{"a":["3"]}`, "{a:[3]}"},
		{"duplicates: last wins, order of the first (form)", "POST", "/", formType, "a=1&b=2&a=3", "{a:3 b:2}"},
		{"duplicates: last wins, order of the first (JSON)", "POST", "/", jsonType, `{"a":1,"b":2,"a":{"c":3}}`, "{a:{c:3} b:2}"},
		{"fields that disagree: last wins", "POST", "/", formType, "a=1&a[b]=2&c[d]=3&c=4&e[]=5&e[f]=6&g[h]=7&g[]=8", "{a:{b:2} c:4 e:{f:6} g:[8]}"},
		{"unmatched brackets are a plain name", "POST", "/", formType, "a[b=1&c]=2&[d]=3&e[f]g=4&h[i[j]]=5&k[l]]=6", "{a[b:1 c]:2 [d]:3 e[f]g:4 h[i[j]]:5 k[l]]:6}"},
		{"empty fields", "POST", "/?&&", formType, "a&b=&&=c", "{a: b: :c}"},
		{"order of details is kept", "POST", "/", jsonType, `{"details":{"z":"1","a":"2","m":"3"}}`, "{details:{z:1 a:2 m:3}}"},
		{"form labelled multi-byte text", "POST", "/", formType, "a=Bogot%C3%A1&b=Bogotá", "{a:Bogotá b:Bogotá}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := decode(request(tt.method, tt.target, tt.contentType, tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, show(p)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	many := strings.Repeat("a[]=1&", maxValues+1)
	manyJSON := `{"a":[` + strings.Repeat("1,", maxValues-1) + "1]}"
	deepJSON := strings.Repeat(`{"a":`, maxDepth+1) + "1" + strings.Repeat("}", maxDepth+1)
	multiType, multiBody := multipartBody(t, "a", "b")
	badType, badBody := multipartBody(t, "a", "\xff")
	tests := []struct {
		name, target, contentType, body string
		want                            *decodeError
	}{
		{"invalid UTF-8 in the query", "/?a=%ff", "", "", errNotUTF8},
		{"invalid UTF-8 in a name of the query", "/?%c3%28=1", "", "", errNotUTF8},
		{"invalid UTF-8 in a form", "/", formType, "a=%C3", errNotUTF8},
		{"invalid UTF-8 in JSON", "/", jsonType, "{\"a\":\"\xff\"}", errNotUTF8},
		{"invalid UTF-8 in multipart", "/", badType, badBody, errNotUTF8},
		{"body over 64 KiB", "/", formType, "a=" + strings.Repeat("x", maxBody-1), errTooLarge},
		{"query over 64 KiB", "/?a=" + strings.Repeat("x", maxBody), "", "", errTooLarge},
		{"too many parameters in a form", "/", formType, many, errTooMany},
		{"too many parameters in a query", "/?" + many, "", "", errTooMany},
		{"too many parameters in JSON", "/", jsonType, manyJSON, errTooMany},
		{"too deep a form", "/", formType, "a" + strings.Repeat("[b]", maxDepth) + "=1", errTooDeep},
		{"too deep JSON", "/", jsonType, deepJSON, errTooDeep},
		{"escape cut off in the query", "/?a=%2", "", "", &decodeError{"60002", "Invalid request: malformed query string"}},
		{"bad escape in a form", "/", formType, "a=%zz", &decodeError{"60002", "Invalid request: malformed form"}},
		{"JSON cut off", "/", jsonType, `{"a":`, &decodeError{"60002", "Invalid request: malformed JSON"}},
		{"JSON with something after it", "/", jsonType, `{"a":1} {}`, &decodeError{"60002", "Invalid request: malformed JSON"}},
		{"JSON type over a form", "/", jsonType, "a=1", &decodeError{"60002", "Invalid request: malformed JSON"}},
		{"JSON that is no object", "/", jsonType, "[1]", &decodeError{"60002", "Invalid request: the JSON body must be an object"}},
		{"JSON null", "/", jsonType, "null", &decodeError{"60002", "Invalid request: the JSON body must be an object"}},
		{"multipart without a boundary", "/", "multipart/form-data", "x", &decodeError{"60002", "Invalid request: malformed multipart body"}},
		{"multipart cut off", "/", multiType, multiBody[:len(multiBody)-10], &decodeError{"60002", "Invalid request: malformed multipart body"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p, err := decode(request("POST", tt.target, tt.contentType, tt.body))
			var got *decodeError
			if !errors.As(err, &got) || *got != *tt.want {
				t.Fatalf("got %s, %v; want %v", show(p), err, tt.want)
			}
		})
	}
}

func TestDecodeAtTheBounds(t *testing.T) {
	bodies := map[string]string{
		formType: "a" + strings.Repeat("[b]", maxDepth-1) + "=1&" + strings.Repeat("c[]=1&", maxValues-1),
		jsonType: strings.Repeat(`{"a":`, maxDepth) + "1" + strings.Repeat("}", maxDepth),
	}
	for contentType, body := range bodies {
		body += strings.Repeat(" ", maxBody-len(body))
		if contentType == formType {
			body = strings.TrimSpace(body)
		}
		if _, err := decode(request("POST", "/", contentType, body)); err != nil {
			t.Errorf("%s: %v", contentType, err)
		}
	}
	if _, err := decode(request("POST", "/", jsonType, `{"a":[`+strings.Repeat("1,", maxValues-2)+"1]}")); err != nil {
		t.Error(err)
	}
}

func TestDecodeReadError(t *testing.T) {
	r := request("POST", "/", formType, "")
	r.Body = io.NopCloser(io.MultiReader(strings.NewReader("a=1"), errReader{io.ErrUnexpectedEOF}))
	if _, err := decode(r); !errors.As(err, new(*decodeError)) {
		t.Errorf("body cut off: %v", err)
	}
	r.Body = http.MaxBytesReader(nil, io.NopCloser(strings.NewReader("a=1")), 2)
	if _, err := decode(r); err != errTooLarge {
		t.Errorf("body over the listener's own limit: %v", err)
	}
	r.Body = nil
	if p, err := decode(r); err != nil || show(p) != "{}" {
		t.Errorf("no body: %v", err)
	}
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

func TestAccessors(t *testing.T) {
	p, err := decode(request("POST", "/?n=1&details[1]=one&list[1]=b&list[0]=a&list[10]=c", jsonType,
		`{"user":{"email":"a@example.com","country_code":57},"force":"True","null":null,"empty":"","none":[],"nothing":{},"floor":1.5," pad":" 8 "}`))
	if err != nil {
		t.Fatal(err)
	}
	check := func(name string, got, want any) {
		t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	check("String", p.String("user", "email"), "a@example.com")
	check("String of an object", p.String("user"), "")
	check("String of nothing", p.String("user", "x", "y"), "")
	check("String below a string", p.String("n", "x"), "")
	for path, want := range map[string]string{"n": "1 true", "floor": "0 false", "empty": "0 false", " pad": "8 true", "absent": "0 false"} {
		n, ok := p.Int(path)
		check("Int "+path, fmt.Sprint(n, ok), want)
	}
	n, ok := p.Int("user", "country_code")
	check("Int of a JSON number", fmt.Sprint(n, ok), "57 true")
	check("Has", []bool{p.Has("n"), p.Has("empty"), p.Has("none"), p.Has("null"), p.Has("absent")}, []bool{true, true, true, false, false})
	check("Kind", []Kind{p.Kind(), p.Kind("n"), p.Kind("null"), p.Kind("none"), p.Kind("absent")},
		[]Kind{KindObject, KindString, KindNull, KindArray, KindAbsent})
	details, ok := p.Object("details")
	check("Object of a hash with a digit for a name", fmt.Sprintf("%d %s %v", len(details), details[0].Name, ok), "1 1 true")
	list, ok := p.Array("list")
	check("Array of the indexed form, in the order of indexes", fmt.Sprintf("%s %s %s %v", show(list[0]), show(list[1]), show(list[2]), ok), "a b c true")
	for path, want := range map[string]bool{"none": true, "nothing": false, "user": false, "n": false, "absent": false} {
		_, ok := p.Array(path)
		check("Array "+path, ok, want)
	}
	_, ok = p.Object("list")
	check("Object of the indexed form", ok, true)
	_, ok = p.Object("n")
	check("Object of a string", ok, false)
	var absent *Params
	check("nil", fmt.Sprintf("%v %q %q %v", absent.Has(), absent.String("a"), absent.APIKey(), absent.Bool("b")), `false "" "" false`)
}

func TestBool(t *testing.T) {
	for body, want := range map[string]bool{
		`{"b":true}`: true, `{"b":"true"}`: true, `{"b":"True"}`: true, `{"b":"1"}`: true, `{"b":1}`: true,
		`{"b":false}`: false, `{"b":"false"}`: false, `{"b":"False"}`: false, `{"b":"0"}`: false, `{"b":"yes"}`: false, `{"b":"TRUE"}`: false,
		`{"b":""}`: false, `{"b":null}`: false, `{"b":[true]}`: false, `{}`: false,
	} {
		p, err := decode(request("POST", "/", jsonType, body))
		if err != nil {
			t.Fatal(err)
		}
		if p.Bool("b") != want {
			t.Errorf("%s: not %v", body, want)
		}
	}
}

func TestAPIKeyOrder(t *testing.T) {
	for _, tt := range []struct{ name, header, query, body, want string }{
		{"header before query and body", "H", "Q", "B", "H"},
		{"query before body, although the body wins as a parameter", "", "Q", "B", "Q"},
		{"body", "", "", "B", "B"},
		{"none", "", "", "", ""},
	} {
		r := request("POST", "/?api_key="+tt.query, formType, "api_key="+tt.body)
		r.Header.Set("x-authy-api-key", tt.header)
		p, err := decode(r)
		if err != nil {
			t.Fatal(err)
		}
		if p.APIKey() != tt.want {
			t.Errorf("%s: got %q", tt.name, p.APIKey())
		}
	}
}

func TestCleanPaths(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /protected/json/users/{id}/status", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s", r.PathValue("id"), r.URL.RawQuery, body)
	})
	mux.HandleFunc("POST /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "root") })
	mux.HandleFunc("POST /{name}", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.PathValue("name")) })
	handler := cleanPaths(mux)
	for target, want := range map[string]string{
		"/protected/json/users/1/status?a=/b//c/":    "1 a=/b//c/ body",
		"//protected/json/users/1/status":            "1  body",
		"/protected//json///users/1/status//":        "1  body",
		"/protected/./json/x/../users/1/status/":     "1  body",
		"//protected/json/users/a%2F%2Fb%2f/status/": "a//b/  body",
		"//protected/json/users/a%20b/status":        "a b  body",
		"/":                                          "root",
		"///":                                        "root",
		"/x%2F/":                                     "x/",
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, request("POST", target, "", "body"))
		if w.Code != http.StatusOK || w.Body.String() != want {
			t.Errorf("%s: %d %q, want %q", target, w.Code, w.Body, want)
		}
	}
	r := request("POST", "//x/", "", "")
	handler.ServeHTTP(httptest.NewRecorder(), r)
	if diff := cmp.Diff(r.URL, &url.URL{Path: "//x/"}); diff != "" {
		t.Errorf("the caller's request was changed: %s", diff)
	}
}
