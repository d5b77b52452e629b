// This file tests the builders against the vectors shared with the authenticator.

package receipt

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"math"
	"os"
	"testing"
)

type vector struct {
	Kind, Name, Canonical, Digest string
	Input                         json.RawMessage
}

func loadVectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(data, &vectors); err != nil {
		t.Fatal(err)
	}
	return vectors
}

// TestVectors guards the wire form: a difference here locks every enrolled device out.
func TestVectors(t *testing.T) {
	seen := map[string]int{}
	for _, v := range loadVectors(t) {
		seen[v.Kind]++
		t.Run(v.Kind+"/"+v.Name, func(t *testing.T) {
			sum := sha256.Sum256([]byte(v.Canonical))
			if got := b64.EncodeToString(sum[:]); got != v.Digest {
				t.Errorf("digest of the canonical bytes: got %s, want %s", got, v.Digest)
			}
			v.check(t)
		})
	}
	for _, kind := range []string{"json", "answer", "shown", "hidden", "enrolment", "session", "signature"} {
		if seen[kind] == 0 {
			t.Errorf("no vector of kind %s", kind)
		}
	}
}

// input decodes a vector's input and refuses members that the builder does not know.
func input[T any](t *testing.T, v vector) T {
	t.Helper()
	var value T
	decoder := json.NewDecoder(bytes.NewReader(v.Input))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

func fields(pairs [][2]string) []Field {
	var list []Field
	for _, pair := range pairs {
		list = append(list, Field{Name: pair[0], Value: pair[1]})
	}
	return list
}

func (v vector) check(t *testing.T) {
	equal := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", what, got, want)
		}
	}
	switch v.Kind {
	case "json":
		equal("canonical", string(canonical(nil, integers(input[any](t, v)))), v.Canonical)
	case "shown":
		in := input[struct {
			Application, Logo, Message string
			Details                    [][2]string
			Context                    Context
		}](t, v)
		content := Content{Application: in.Application, Logo: in.Logo, Message: in.Message, Details: fields(in.Details), Context: in.Context}
		equal("digest", content.Digest(), v.Digest)
	case "hidden":
		in := input[struct{ Details [][2]string }](t, v)
		equal("digest", HiddenDigest(fields(in.Details)), v.Digest)
	case "answer":
		answer := input[Answer](t, v)
		equal("canonical", string(answer.Canonical()), v.Canonical)
		parsed, err := ParseAnswer([]byte(v.Canonical))
		if err != nil || parsed != answer {
			t.Errorf("ParseAnswer: got %+v, %v, want %+v", parsed, err, answer)
		}
	case "enrolment":
		in := input[struct {
			Challenge, Origin, Token string
			PublicKey                string `json:"public_key"`
		}](t, v)
		proof := EnrollmentProof{Challenge: in.Challenge, Origin: in.Origin, PublicKey: in.PublicKey, Token: in.Token}
		equal("canonical", string(proof.Canonical()), v.Canonical)
	case "session":
		in := input[struct{ Challenge, Origin, Device string }](t, v)
		proof := SessionProof{Challenge: in.Challenge, Origin: in.Origin, Device: in.Device}
		equal("canonical", string(proof.Canonical()), v.Canonical)
	case "signature":
		in := input[struct {
			PublicKey string `json:"public_key"`
			Signature string
		}](t, v)
		key, err := ParsePublicKey(in.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		if err := VerifySignature(key, []byte(v.Canonical), in.Signature); err != nil {
			t.Error(err)
		}
		if err := VerifySignature(key, []byte(v.Canonical+" "), in.Signature); err == nil {
			t.Error("verifies over other bytes")
		}
	default:
		t.Errorf("unknown kind %q", v.Kind)
	}
}

// integers turns the float64 of encoding/json into the int64 that canonical takes.
func integers(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, member := range v {
			v[key] = integers(member)
		}
	case []any:
		for i, element := range v {
			v[i] = integers(element)
		}
	case float64:
		if v != math.Trunc(v) {
			panic("vector with a number that is not an integer")
		}
		return int64(v)
	}
	return value
}
