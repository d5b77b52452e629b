// This file tests receipts as an application meets them, against everybody who might forge one.

package receipt

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// receiptOf signs an answer and wraps it as the provider would.
func receiptOf(t testing.TB, key *ecdsa.PrivateKey, answer Answer) Receipt {
	t.Helper()
	return receiptOfBytes(t, key, answer.Canonical(), answer.Device)
}

func receiptOfBytes(t testing.TB, key *ecdsa.PrivateKey, signed []byte, device string) Receipt {
	t.Helper()
	signature, err := Sign(key, signed)
	if err != nil {
		t.Fatal(err)
	}
	return Receipt{
		Answer: b64.EncodeToString(signed), Signature: signature,
		Enrollment: Enrollment{Device: device, Grant: 7, PublicKey: EncodePublicKey(&key.PublicKey), Method: "ticket", EnrolledAt: 1700000000},
	}
}

// expectation is what the application of soundAnswer expects.
func expectation(key *ecdsa.PrivateKey) Expected {
	answer := soundAnswer()
	return Expected{
		Origin: answer.Origin, Application: answer.Application, User: answer.User, Approval: answer.Approval, Content: content(),
		Decision: Approve, Match: answer.Match, Keys: []string{EncodePublicKey(&key.PublicKey)},
	}
}

func TestReceiptVerify(t *testing.T) {
	key, other := newKey(t), newKey(t)
	otherKey := EncodePublicKey(&other.PublicKey)
	logo := strings.Repeat("ab", 32)
	withLogo := content()
	withLogo.Logo = logo
	for _, test := range []struct {
		name   string
		answer func(*Answer)             // changed before it is signed
		after  func(*Receipt, *Expected) // changed afterwards
		want   error
	}{
		{"as expected", nil, nil, nil},
		{"one of several pinned keys", nil, func(_ *Receipt, w *Expected) { w.Keys = append([]string{otherKey}, w.Keys...) }, nil},
		{"expected text is cleaned as the server cleans it", nil, func(_ *Receipt, w *Expected) { w.Content.Message = " Log\u202e in?\x00\n" }, nil},
		{"expected context is cleaned as the server cleans it", func(a *Answer) {
			shown := content()
			shown.Context = Context{Address: "192.0.2.1", Browser: strings.Repeat("b", 200)}
			a.Shown = shown.Digest()
		}, func(_ *Receipt, w *Expected) {
			w.Content.Context = Context{Address: "::ffff:192.0.2.1", Browser: strings.Repeat("b", 250)}
		}, nil},
		{"picture on the server's word", func(a *Answer) { a.Shown = withLogo.Digest() }, func(r *Receipt, _ *Expected) { r.Logo = logo }, nil},
		{"denial, expected as such", func(a *Answer) { a.Decision, a.Match = Deny, "" }, func(_ *Receipt, w *Expected) { w.Decision = Deny }, nil},

		{"no key pinned", nil, func(_ *Receipt, w *Expected) { w.Keys = nil }, ErrUnpinned},
		{"another key pinned", nil, func(_ *Receipt, w *Expected) { w.Keys = []string{otherKey} }, ErrUnpinned},
		{"the record claims another pinned key", nil, func(r *Receipt, w *Expected) {
			r.Enrollment.PublicKey, w.Keys = otherKey, append(w.Keys, otherKey)
		}, ErrSignature},
		{"pinned text is no key", nil, func(r *Receipt, w *Expected) { r.Enrollment.PublicKey, w.Keys = "", []string{""} }, ErrKey},
		{"answer is not base64url", nil, func(r *Receipt, _ *Expected) { r.Answer += "=" }, ErrMalformed},

		{"denial taken for an approval", func(a *Answer) { a.Decision = Deny }, nil, ErrMismatch},
		{"approval taken for a denial", nil, func(_ *Receipt, w *Expected) { w.Decision = Deny }, ErrMismatch},
		{"other origin", func(a *Answer) { a.Origin = "https://auth.example.net" }, nil, ErrMismatch},
		{"other application", func(a *Answer) { a.Application = "5833393871fc61111c76d850" }, nil, ErrMismatch},
		{"other user", func(a *Answer) { a.User++ }, nil, ErrMismatch},
		{"other approval", func(a *Answer) { a.Approval = "11111111-2222-4333-8444-555555555556" }, nil, ErrMismatch},
		{"other number", func(a *Answer) { a.Match = "043" }, nil, ErrMismatch},
		{"no number", func(a *Answer) { a.Match = "" }, nil, ErrMismatch},
		{"other message", nil, func(_ *Receipt, w *Expected) { w.Content.Message = "Pay 100?" }, ErrMismatch},
		{"a detail more", nil, func(_ *Receipt, w *Expected) {
			w.Content.Details = append(w.Content.Details, Field{Name: "To", Value: "Bo"})
		}, ErrMismatch},
		{"expected picture, none shown", nil, func(_ *Receipt, w *Expected) { w.Content.Logo = logo }, ErrMismatch},
		{"claimed picture, none shown", nil, func(r *Receipt, _ *Expected) { r.Logo = logo }, ErrMismatch},
		{"other hidden details", nil, func(_ *Receipt, w *Expected) { w.Hidden = []Field{{Name: "order", Value: "A-17"}} }, ErrMismatch},
		{"device of another record", nil, func(r *Receipt, _ *Expected) { r.Enrollment.Device = "d2" }, ErrMismatch},
		{"nothing expected but a key", nil, func(_ *Receipt, w *Expected) { *w = Expected{Keys: w.Keys} }, ErrMismatch},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer, want := soundAnswer(), expectation(key)
			if test.answer != nil {
				test.answer(&answer)
			}
			got := receiptOf(t, key, answer)
			if test.after != nil {
				test.after(&got, &want)
			}
			if err := got.Verify(want); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// TestBitFlips is the first half of the test of T-12: no bit of a receipt's proof can be changed.
func TestBitFlips(t *testing.T) {
	key := newKey(t)
	sound, want := receiptOf(t, key, soundAnswer()), expectation(key)
	if err := sound.Verify(want); err != nil {
		t.Fatal(err)
	}
	for _, part := range []func(*Receipt) *string{
		func(r *Receipt) *string { return &r.Answer },
		func(r *Receipt) *string { return &r.Signature },
		func(r *Receipt) *string { return &r.Enrollment.PublicKey },
		func(r *Receipt) *string { return &r.Enrollment.Device },
	} {
		for bit := range 8 * len(*part(&sound)) {
			flipped := sound
			raw := []byte(*part(&flipped))
			raw[bit/8] ^= 1 << (bit % 8)
			*part(&flipped) = string(raw)
			if err := flipped.Verify(want); err == nil {
				t.Fatalf("bit %d flipped, still verifies", bit)
			}
		}
	}
	signed := soundAnswer().Canonical()
	pub := &key.PublicKey
	for bit := range 8 * len(signed) {
		signed[bit/8] ^= 1 << (bit % 8)
		if err := VerifySignature(pub, signed, sound.Signature); err == nil {
			t.Fatalf("bit %d of the signed bytes flipped, still verifies", bit)
		}
		signed[bit/8] ^= 1 << (bit % 8)
	}
}

// TestSwappedFields is the second half of the test of T-12: with any field of one valid answer put into another, neither
// signature holds, whoever signed.
func TestSwappedFields(t *testing.T) {
	key := newKey(t)
	rapid.Check(t, func(rt *rapid.T) {
		a, b := drawAnswer(rt), drawAnswer(rt)
		ra, rb := receiptOf(t, key, a), receiptOf(t, key, b)
		for i := range reflect.TypeFor[Answer]().NumField() {
			mixed := a
			reflect.ValueOf(&mixed).Elem().Field(i).Set(reflect.ValueOf(b).Field(i))
			for _, r := range []struct {
				answer Answer
				proof  Receipt
			}{{a, ra}, {b, rb}} {
				if mixed == r.answer {
					continue
				}
				if VerifySignature(&key.PublicKey, mixed.Canonical(), r.proof.Signature) == nil {
					rt.Fatalf("field %s swapped, still verifies", reflect.TypeFor[Answer]().Field(i).Name)
				}
			}
		}
	})
}

// TestDenialIsNoApproval is the cross-protocol test of T-12.
func TestDenialIsNoApproval(t *testing.T) {
	key := newKey(t)
	rapid.Check(t, func(rt *rapid.T) {
		answer := drawAnswer(rt)
		answer.Decision = Deny
		r := receiptOf(t, key, answer)
		approval := answer
		approval.Decision = Approve
		if VerifySignature(&key.PublicKey, approval.Canonical(), r.Signature) == nil {
			rt.Fatal("a denial's signature holds for an approval")
		}
		forged := r
		forged.Answer = b64.EncodeToString(approval.Canonical())
		want := Expected{
			Origin: answer.Origin, Application: answer.Application, User: answer.User, Approval: answer.Approval,
			Decision: Approve, Match: answer.Match, Keys: []string{r.Enrollment.PublicKey},
		}
		for _, attempt := range []Receipt{r, forged} {
			if err := attempt.Verify(want); err == nil {
				rt.Fatal("a denial verifies as an approval")
			}
		}
	})
}

// TestSignedNonsense guards against a key that signs something else than an answer.
func TestSignedNonsense(t *testing.T) {
	key := newKey(t)
	for _, signed := range []string{"", "{}", string(SessionProof{Challenge: "c", Device: "d1", Origin: "o"}.Canonical()), " " + string(soundAnswer().Canonical())} {
		if err := receiptOfBytes(t, key, []byte(signed), "d1").Verify(expectation(key)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%q: got %v, want ErrMalformed", signed, err)
		}
	}
}

func TestReceiptJSON(t *testing.T) {
	text := `{"answer":"YQ","signature":"Yg","logo":"","enrollment":{"device":"d1","grant":7,"public_key":"BA","method":"ticket","enrolled_at":1700000000}}`
	var r Receipt
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(r); err != nil || string(got) != text {
		t.Errorf("got %s, %v\nwant %s", got, err, text)
	}
}
