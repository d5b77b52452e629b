package notify

import (
	"bytes"
	"crypto/ecdh"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"countersign.dev/internal/notify/pushtest"
)

// The worked example of RFC 8291 section 5, byte for byte.
func TestEncryptRFC8291(t *testing.T) {
	bin := func(text string) []byte {
		raw, err := base64url.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	const want = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_" +
		"yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	const plain = "When I grow up, I want to be a watermelon"
	key, err := ecdh.P256().NewPrivateKey(bin("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	sub := Subscription{
		P256dh: bin("BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"),
		Auth:   bin("BTBZMqHH6r4Tts7J_aSIgg"),
	}
	body, err := encryptWith(sub, []byte(plain), 0, key, bin("DGv6ra1nlYgDCS1FRnbzlw"))
	if err != nil {
		t.Fatal(err)
	}
	if got := base64url.EncodeToString(body); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	browser, err := pushtest.BrowserOf(bin("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"), sub.Auth)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := browser.Decrypt(bin(want)); err != nil || string(got) != plain {
		t.Errorf("the test's own decryptor reads %q, %v", got, err)
	}
}

// What is encrypted comes back by the other implementation; no two messages are alike, and lengths come in steps.
func TestEncryptIsReadByAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		browser := pushtest.NewBrowser()
		sub := Subscription{P256dh: browser.P256dh(), Auth: browser.Auth}
		plain := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 3900).Draw(t, "plain")
		before := bytes.Clone(plain)
		first, err := encrypt(sub, plain)
		if err != nil {
			t.Fatal(err)
		}
		second, err := encrypt(sub, plain)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(plain, before) {
			t.Error("the plaintext was changed")
		}
		if bytes.Equal(first[:16], second[:16]) || bytes.Equal(first[21:86], second[21:86]) {
			t.Error("salt or key was used twice")
		}
		if (len(first)-86-16)%padTo != 0 || len(first) > recordSize {
			t.Errorf("%d bytes for %d", len(first), len(plain))
		}
		if got, err := browser.Decrypt(first); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes came back of %d: %v", len(got), len(plain), err)
		}
	})
}

func TestEncryptBounds(t *testing.T) {
	browser := pushtest.NewBrowser()
	sub := Subscription{P256dh: browser.P256dh(), Auth: browser.Auth}
	if _, err := encrypt(sub, make([]byte, maxPlain+1)); err == nil || !strings.Contains(err.Error(), "too long") {
		t.Errorf("too long: %v", err)
	}
	sub.P256dh = make([]byte, 65)
	if _, err := encrypt(sub, nil); err == nil {
		t.Error("a point that is not on the curve was used")
	}
}
