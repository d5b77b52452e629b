// This file owns the tests of people whose device keys the application pinned: no code stands for them.

package secondfactor_test

import (
	"strings"
	"testing"

	"countersign.dev/secondfactor"
	"countersign.dev/secondfactor/secondfactortest"
)

// That a code is right is the provider's word, and pinned keys are for who does not take it.
func TestPinnedKeysTakeNoCodes(t *testing.T) {
	for _, prefer := range []secondfactor.Method{"", secondfactor.Code, secondfactor.SMS} {
		a := newApp(t)
		a.addPerson("cid", "2025550177", false)
		device := a.provider.AddDevice(a.people["cid"].AuthyID)
		a.setKeys("cid", device.PublicKey)
		a.prefer = prefer
		b := a.browser()
		approval := b.login("cid")
		b.post("/authy/send_token", "force", "true")
		if _, sent := a.provider.Sent(a.people["cid"].AuthyID); sent != 0 {
			t.Errorf("preferring %q: a code was sent", prefer)
		}
		b.post("/authy/verify", "token", secondfactortest.AppCode)
		if b.complete(); b.anybody() || a.provider.Calls("verify") != 0 {
			t.Fatalf("preferring %q: a code signs in", prefer)
		}
		if page := b.get("/login/verify").body; strings.Contains(page, `name="token"`) {
			t.Errorf("preferring %q: the page asks for a code", prefer)
		}
		a.provider.ApproveAs(approval.UUID, device, nil)
		b.get("/login/verify")
		if b.complete(); !b.signedIn("cid") {
			t.Errorf("preferring %q: the pinned device does not sign in", prefer)
		}
	}
}

// A provider that says there is no device does not turn an act into a matter of text messages.
func TestPinnedKeysTakeNoCodesForAnAct(t *testing.T) {
	a := newApp(t)
	a.addPerson("cid", "2025550177", false)
	device := a.provider.AddDevice(a.people["cid"].AuthyID)
	a.setKeys("cid", device.PublicKey)
	b := a.browser()
	a.provider.ApproveAs(b.login("cid").UUID, device, nil)
	b.get("/login/verify")
	b.complete()
	a.provider.Refuse("create", "60050")
	b.post("/transfer", "amount", "5")
	b.post("/authy/send_token", "force", "true")
	code, sent := a.provider.Sent(a.people["cid"].AuthyID)
	b.post("/authy/verify", "token", code)
	if b.complete(); sent != 0 || len(a.completions()) != 1 {
		t.Errorf("%d codes were sent, completions %+v", sent, a.completions())
	}
}
