// This file tests the strictness of ParseAnswer, by example, by property and by fuzzing.

package receipt

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// soundAnswer is a valid answer that tests change.
func soundAnswer() Answer {
	return Answer{
		Origin: "https://auth.example.com", Application: "5833393871fc61111c76d84f", User: 1635, Device: "d1",
		Approval: "11111111-2222-4333-8444-555555555555", Shown: content().Digest(), Hidden: HiddenDigest(nil), Match: "042",
		Decision: Approve, Nonce: "AAECAwQFBgcICQoLDA0ODw", IssuedAt: 1700000050, ExpiresAt: 1700000170,
	}
}

func content() Content {
	return Content{Application: "Example", Message: "Log in?", Details: []Field{{Name: "IP", Value: "192.0.2.7"}}}
}

func TestParseAnswerRefuses(t *testing.T) {
	sound := string(soundAnswer().Canonical())
	if _, err := ParseAnswer([]byte(sound)); err != nil {
		t.Fatal(err)
	}
	replace := func(from, to string) string {
		t.Helper()
		if !strings.Contains(sound, from) {
			t.Fatalf("%q is not in the answer", from)
		}
		return strings.Replace(sound, from, to, 1)
	}
	for name, signed := range map[string]string{
		"empty":                         "",
		"null":                          "null",
		"array":                         "[" + sound + "]",
		"white space inside":            replace(":1635", ": 1635"),
		"white space after":             sound + "\n",
		"second value":                  sound + sound,
		"byte order mark":               "\ufeff" + sound,
		"unknown member":                replace(`"version":1`, `"version":1,"x":1`),
		"repeated member":               replace(`"decision":"approve"`, `"decision":"deny","decision":"approve"`),
		"missing member":                replace(`"match":"042",`, ``),
		"reordered members":             replace(`"user":1635,"version":1`, `"version":1,"user":1635`),
		"other letter case of a member": replace(`"match"`, `"Match"`),
		"escaped letter":                replace(`"approve"`, `"\u0061pprove"`),
		"escaped slash":                 replace(`https://`, `https:\/\/`),
		"not UTF-8":                     replace(`"d1"`, "\"d\xff\""),
		"exponent":                      replace(`1635`, `1.635e3`),
		"fraction":                      replace(`1635`, `1635.0`),
		"number as text":                replace(`1635`, `"1635"`),
		"beyond 2^53":                   replace(`1635`, `9007199254740992`),
		"no user":                       replace(`1635`, `0`),
		"negative time":                 replace(`1700000050`, `-1`),
		"other version":                 replace(`"version":1`, `"version":2`),
		"other format":                  replace(`countersign.answer`, `countersign.session`),
		"other decision":                replace(`"approve"`, `"approved"`),
		"no decision":                   replace(`"approve"`, `""`),
		"no origin":                     replace(`https://auth.example.com`, ``),
		"no device":                     replace(`"d1"`, `""`),
		"match of letters":              replace(`"042"`, `"a42"`),
		"short nonce":                   replace(`AAECAwQFBgcICQoLDA0ODw`, `AAECAwQFBgcICQoLDA0O`),
		"loose bits in the nonce":       replace(`AAECAwQFBgcICQoLDA0ODw`, `AAECAwQFBgcICQoLDA0ODx`),
		"line feed in the nonce":        replace(`AAECAwQFBgcICQoLDA0ODw`, `AAECAwQFBgcICQ\noLDA0ODw`),
		"padded nonce":                  replace(`AAECAwQFBgcICQoLDA0ODw`, `AAECAwQFBgcICQoLDA0ODw==`),
		"no shown":                      replace(content().Digest(), ``),
		"session proof":                 string(SessionProof{Challenge: "c", Device: "d1", Origin: "o"}.Canonical()),
	} {
		if got, err := ParseAnswer([]byte(signed)); !errors.Is(err, ErrMalformed) || got != (Answer{}) {
			t.Errorf("%s: got %+v, %v, want ErrMalformed", name, got, err)
		}
	}
}

// drawAnswer draws a sound answer with arbitrary texts.
func drawAnswer(t *rapid.T) Answer {
	text := rapid.StringN(1, 20, -1)
	bytesOf := func(size int, label string) string {
		return b64.EncodeToString(rapid.SliceOfN(rapid.Byte(), size, size).Draw(t, label))
	}
	seconds := rapid.Int64Range(0, maxInteger)
	return Answer{
		Origin: text.Draw(t, "origin"), Application: text.Draw(t, "application"), User: rapid.Int64Range(1, maxInteger).Draw(t, "user"),
		Device: text.Draw(t, "device"), Approval: text.Draw(t, "approval"), Shown: bytesOf(32, "shown"), Hidden: bytesOf(32, "hidden"),
		Match: rapid.StringMatching(`[0-9]{0,6}`).Draw(t, "match"), Decision: rapid.SampledFrom([]string{Approve, Deny}).Draw(t, "decision"),
		Nonce: bytesOf(16, "nonce"), IssuedAt: seconds.Draw(t, "issued_at"), ExpiresAt: seconds.Draw(t, "expires_at"),
	}
}

func TestAnswerRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawAnswer(t)
		got, err := ParseAnswer(want.Canonical())
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

// TestFormatsDiffer guards habit 15: bytes signed for one purpose never serve another.
func TestFormatsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		enrolment := EnrollmentProof{Challenge: s, Origin: s, PublicKey: s, Token: s}.Canonical()
		session := SessionProof{Challenge: s, Device: s, Origin: s}.Canonical()
		if bytes.Equal(enrolment, session) {
			t.Fatal("the same bytes")
		}
		for _, signed := range [][]byte{enrolment, session} {
			if _, err := ParseAnswer(signed); err == nil {
				t.Fatal("a proof is read as an answer")
			}
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	for _, v := range loadVectors(f) {
		f.Add([]byte(v.Canonical))
	}
	f.Fuzz(func(t *testing.T, signed []byte) {
		answer, err := ParseAnswer(signed)
		if err != nil {
			if answer != (Answer{}) {
				t.Error("an answer beside an error")
			}
			return
		}
		if !bytes.Equal(answer.Canonical(), signed) {
			t.Error("two byte sequences for one answer")
		}
	})
}
