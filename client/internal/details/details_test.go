// This file tests that details keep their order on the wire.

package details

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"countersign.dev/client/receipt"
)

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		field := rapid.Custom(func(t *rapid.T) receipt.Field {
			return receipt.Field{Name: rapid.String().Draw(t, "name"), Value: rapid.String().Draw(t, "value")}
		})
		want := Object(rapid.SliceOfDistinct(field, func(f receipt.Field) string { return f.Name }).Draw(t, "fields"))
		data, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Object
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("%s: %s", data, diff)
		}
	})
}

func TestObject(t *testing.T) {
	for in, want := range map[string]Object{
		`null`:  nil,
		`""`:    nil,
		`{}`:    nil,
		`"a"`:   {{Value: "a"}},
		`17`:    {{Value: "17"}},
		`false`: {{Value: "false"}},
		` { "b" : 1.50 , "a" : null, "" : "x", "c":true } `: {{Name: "b", Value: "1.50"}, {Name: "a"}, {Value: "x"}, {Name: "c", Value: "true"}},
	} {
		var got Object
		if err := json.Unmarshal([]byte(in), &got); err != nil {
			t.Errorf("%s: %v", in, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
	for _, in := range []string{`[]`, `[1]`, `{"a":{}}`, `{"a":[]}`, `{"a":1`} {
		var got Object
		if err := json.Unmarshal([]byte(in), &got); err == nil {
			t.Errorf("%s is read as %v", in, got)
		}
	}
	if _, err := json.Marshal(Object{{Name: "a"}, {Name: "a"}}); err == nil {
		t.Error("a name twice is written")
	}
}
