package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"

	"countersign.dev/internal/fault"
)

type decoded struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
	Inner struct {
		Flag bool     `json:"flag"`
		List []string `json:"list"`
	} `json:"inner"`
}

func decode(contentType, body string) (decoded, error) {
	r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	var into decoded
	return into, Decode(httptest.NewRecorder(), r, 200, &into)
}

func TestDecodeRefuses(t *testing.T) {
	const js = "application/json"
	for _, c := range []struct{ name, contentType, body, says string }{
		{"no content type", "", `{}`, "application/json"},
		{"a form", "application/x-www-form-urlencoded", `name=x`, "application/json"},
		{"what a page may send unasked", "text/plain", `{}`, "application/json"},
		{"another charset", js + "; charset=utf-16", `{}`, "application/json"},
		{"too long", js, `{"name":"` + strings.Repeat("x", 200) + `"}`, "more than 200 bytes"},
		{"nothing", js, ``, "one JSON object"},
		{"null", js, `null`, "one JSON object"},
		{"a list", js, `[]`, "one JSON object"},
		{"cut short", js, `{"name":"x"`, "not valid JSON"},
		{"cut in a value", js, `{"name":`, "not valid JSON"},
		{"no name", js, `{1:2}`, "not valid JSON"},
		{"two values", js, `{}{}`, "after the JSON object"},
		{"trailing text", js, `{} x`, "after the JSON object"},
		{"not UTF-8", js, "{\"name\":\"\xff\"}", "not UTF-8"},
		{"not UTF-8 in a name", js, "{\"\xff\":1}", "not UTF-8"},
		{"unknown", js, `{"nam":"x"}`, `no member "nam"`},
		{"unknown inside", js, `{"inner":{"x":1}}`, `no member "x"`},
		{"another case", js, `{"Name":"x"}`, `no member "Name"`},
		{"what only looks the same", js, `{"ſ":"x"}`, "no member"},
		{"twice", js, `{"name":"x","name":"y"}`, `"name" is there twice`},
		{"twice inside", js, `{"inner":{"flag":true,"flag":false}}`, `"flag" is there twice`},
		{"twice by escape", js, `{"name":"x","n\u0061me":"y"}`, `"name" is there twice`},
		{"a number for a string", js, `{"name":1}`, "name must be a string"},
		{"a string for a number", js, `{"count":"1"}`, "count must be a whole number"},
		{"a fraction", js, `{"count":1.5}`, "count must be a whole number"},
		{"too large", js, `{"count":9223372036854775808}`, "count must be a whole number"},
		{"a string for an object", js, `{"inner":"x"}`, "inner must be an object"},
		{"a string for a flag", js, `{"inner":{"flag":"x"}}`, "inner.flag must be true or false"},
		{"an object for a list", js, `{"inner":{"list":{}}}`, "inner.list must be a list"},
		{"deep", js, `{"inner":` + strings.Repeat("[", 60) + strings.Repeat("]", 60) + `}`, "nested too deeply"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decode(c.contentType, c.body)
			if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestDecodeTakes(t *testing.T) {
	for _, c := range []struct{ contentType, body string }{
		{"application/json", `{"name":"Žofie","count":-3,"inner":{"flag":true,"list":["a"]}}`},
		{"application/json; charset=UTF-8", " {\"name\":\"\\u017dofie\",\n\"count\":-3,\"inner\":{\"flag\":true,\"list\":[\"a\"]}}\n"},
	} {
		got, err := decode(c.contentType, c.body)
		if err != nil || got.Name != "Žofie" || got.Count != -3 || !got.Inner.Flag || len(got.Inner.List) != 1 {
			t.Errorf("%s: %+v, %v", c.body, got, err)
		}
	}
}

func TestDecodeBrokenConnection(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(errors.New("gone")))
	r.Header.Set("Content-Type", "application/json")
	if err := Decode(httptest.NewRecorder(), r, 200, new(decoded)); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}

// What Decode takes has one meaning: encoded anew and decoded again it is the same, and every refusal is the caller's.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"name":"x","count":1,"inner":{"flag":true,"list":["a"]}}`, `{"name":"\ud800"}`, `{"name":null}`, `[]`, `{"a":{}}`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		first, err := decode("application/json", string(body))
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		again, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		second := decoded{}
		if err := json.Unmarshal(again, &second); err != nil {
			t.Fatal(err)
		}
		if third, _ := json.Marshal(second); !bytes.Equal(third, again) {
			t.Fatalf("%q: %s, then %s", body, again, third)
		}
	})
}
