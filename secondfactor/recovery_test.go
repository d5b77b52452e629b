// This file owns the tests of recovery codes (RE in login-flow.md, T-21).

package secondfactor_test

import (
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/secondfactor"
)

// recoveryCodes makes a set for a person.
func (a *app) recoveryCodes(user string) []string {
	a.t.Helper()
	codes, err := a.guard.NewRecoveryCodes(a.t.Context(), user)
	if err != nil {
		a.t.Fatal(err)
	}
	return codes
}

func (a *app) codesLeft(user string) int {
	a.t.Helper()
	n, err := a.guard.RecoveryCodesLeft(a.t.Context(), user)
	if err != nil {
		a.t.Fatal(err)
	}
	return n
}

func TestT21_RecoveryCodesAreRandomAndHashed(t *testing.T) {
	a := newApp(t)
	codes := a.recoveryCodes("ana")
	kept, err := a.store.Recovery(t.Context(), "ana")
	if err != nil || len(codes) != 10 || len(kept.Hashes) != 10 {
		t.Fatalf("%d codes, %d kept, %v", len(codes), len(kept.Hashes), err)
	}
	seen := map[string]bool{}
	for _, code := range codes {
		clean, sound := secondfactor.CleanRecovery(code)
		// 16 letters of 5 bits: 80 bits.
		if !sound || len(clean) != 16 || strings.Count(code, "-") != 3 || seen[code] {
			t.Errorf("code %q", code)
		}
		seen[code] = true
		for _, hash := range kept.Hashes {
			if strings.Contains(hash, clean) || hash == secondfactor.HashOf(clean) {
				t.Error("a code is kept in the clear or as a quick hash")
			}
		}
	}
}

func TestRE1_LostPhoneIsOnTheWaitingPage(t *testing.T) {
	a := newApp(t)
	b := a.browser()
	b.login("ana")
	if page := b.get("/login/verify").body; !strings.Contains(page, "I have lost my phone") || strings.Contains(page, "recovery-form") || !strings.Contains(page, "whoever runs Owlgate") {
		t.Error("somebody without codes is offered a field for one, or no help at all")
	}
	a.recoveryCodes("ana")
	b.login("ana")
	if page := b.get("/login/verify").body; !strings.Contains(page, "recovery-form") || !strings.Contains(b.get("/authy/status").body, `"recovery"`) {
		t.Error("no field for a recovery code")
	}
}

func TestRE2_RecoveryCodeSignsIn(t *testing.T) {
	a := newApp(t)
	codes := a.recoveryCodes("ana")
	b := a.browser()
	approval := b.login("ana")
	got := b.post("/login/verify/recovery", "recovery", " "+strings.ToUpper(strings.ReplaceAll(codes[3], "-", " "))+" ")
	if got.code != 307 || got.location != "/login/verify/complete" || b.anybody() {
		t.Fatalf("answered %d to %s; signed in by the check itself: %v", got.code, got.location, b.anybody())
	}
	if b.complete(); !b.signedIn("ana") || a.codesLeft("ana") != 9 || a.heard() != "recovery_used" {
		t.Errorf("%d left, heard %q", a.codesLeft("ana"), a.heard())
	}
	if a.events[0].Left != 9 || a.completions()[0].Method != secondfactor.Recovery {
		t.Errorf("event %+v", a.events[0])
	}
	if page := b.post("/login/trust", "trust", "yes"); page.code != 409 {
		t.Errorf("a recovery code trusts the browser: %d (RB1)", page.code)
	}
	a.guard.Close()
	if status := a.provider.Approval(approval.UUID).Status; status != "cancelled" {
		t.Errorf("the live request is %s", status)
	}
}

// AC10: the owner hears of a code that was used up, whatever became of the attempt meanwhile.
func TestRE2_SpentCodeIsAlwaysTold(t *testing.T) {
	for name, meanwhile := range map[string]func(s *brokenStore, other *browser){
		"given up in another tab": func(_ *brokenStore, other *browser) { other.post("/login/verify/cancel") },
		"the store fails":         func(s *brokenStore, _ *browser) { s.broken = "update" },
	} {
		t.Run(name, func(t *testing.T) {
			store := &brokenStore{Store: secondfactor.NewMemoryStore()}
			a := newApp(t, func(c *secondfactor.Config) { c.Store = store })
			code := a.recoveryCodes("ana")[0]
			b, other := a.browser(), a.browser()
			b.login("ana")
			other.cookies = maps.Clone(b.cookies)
			store.wrote = func(c secondfactor.RecoveryCodes) {
				if len(c.Hashes) == 9 {
					meanwhile(store, other)
				}
			}
			b.post("/login/verify/recovery", "recovery", code)
			if b.complete(); b.anybody() || a.codesLeft("ana") != 9 {
				t.Errorf("%d left, signed in %v", a.codesLeft("ana"), b.anybody())
			}
			if a.heard() != "recovery_used" || a.events[0].Left != 9 || a.events[0].Origin.Address != "192.0.2.1" {
				t.Errorf("heard %q", a.heard())
			}
		})
	}
}

func TestRE3_RecoveryCodeWorksOnce(t *testing.T) {
	a := newApp(t)
	codes := a.recoveryCodes("ana")
	b := a.browser()
	b.login("ana")
	b.post("/login/verify/recovery", "recovery", codes[0])
	b.complete()
	again := a.browser()
	again.login("ana")
	if got := again.post("/login/verify/recovery", "recovery", codes[0]); got.code != 303 {
		t.Errorf("a used code: %d", got.code)
	}
	if page := again.get("/login/verify").body; !strings.Contains(page, "used before") || !strings.Contains(page, `data-testid="lost" open`) {
		t.Error("the page does not say so, or hides the field")
	}
	if again.complete(); again.anybody() {
		t.Error("signed in")
	}
	// Somebody else's codes are nothing here.
	bob := a.browser()
	bob.login("bob")
	bob.post("/login/verify/recovery", "recovery", codes[1])
	if bob.complete(); bob.anybody() {
		t.Error("signed in with another person's code")
	}
}

func TestRE4_RenewalVoidsTheOldSet(t *testing.T) {
	a := newApp(t)
	old := a.recoveryCodes("ana")
	renewed := a.recoveryCodes("ana")
	b := a.browser()
	b.login("ana")
	b.post("/login/verify/recovery", "recovery", old[0])
	if b.complete(); b.anybody() {
		t.Fatal("an old code works")
	}
	b.post("/login/verify/recovery", "recovery", renewed[0])
	if b.complete(); !b.signedIn("ana") {
		t.Error("a new code does not work")
	}
	if err := a.guard.DropRecoveryCodes(t.Context(), "ana"); err != nil || a.codesLeft("ana") != 0 {
		t.Errorf("%d left after the factor was switched off, %v", a.codesLeft("ana"), err)
	}
}

// T-21: recovery codes have tries of their own, which starting again, another browser, another address or a new set does not renew.
func TestT21_RecoveryTriesAreThePersons(t *testing.T) {
	a := newApp(t)
	codes := a.recoveryCodes("ana")
	for range 5 {
		b := a.browser()
		b.login("ana")
		b.post("/login/verify/recovery", "recovery", strings.Repeat("0", 16))
	}
	codes = append(codes, a.recoveryCodes("ana")...)
	b := a.browser()
	b.login("ana")
	for _, code := range codes[10:12] {
		b.post("/login/verify/recovery", "recovery", code)
	}
	if page := b.get("/login/verify").body; !strings.Contains(page, "within an hour") || a.codesLeft("ana") != 10 {
		t.Errorf("%d codes left, or the wait is not said", a.codesLeft("ana"))
	}
	if b.complete(); b.anybody() {
		t.Error("signed in beyond the tries")
	}
	a.provider.Approve(a.provider.Last(t).UUID)
	b.get("/login/verify")
	if b.complete(); !b.signedIn("ana") {
		t.Error("spent recovery tries stop an approval")
	}
	a.pass(time.Hour)
	b.login("ana")
	b.post("/login/verify/recovery", "recovery", codes[10])
	if b.complete(); !b.signedIn("ana") {
		t.Error("no new tries after an hour")
	}
}

// A right code gives its try back, and what cannot be a code costs none.
func TestT21_RightAndMalformedCodesCostNoTry(t *testing.T) {
	a := newApp(t)
	codes := a.recoveryCodes("ana")
	for _, code := range codes[:7] {
		b := a.browser()
		b.login("ana")
		b.post("/login/verify/recovery", "recovery", "nonsense")
		b.post("/login/verify/recovery", "recovery", code)
		if b.complete(); !b.signedIn("ana") {
			t.Fatalf("not signed in with %d left", a.codesLeft("ana"))
		}
	}
}

// INV-1: one recovery code presented in many browsers at once signs one of them in.
func TestINV1_RecoveryCodeAtOnce(t *testing.T) {
	for name, store := range map[string]secondfactor.Store{"memory": secondfactor.NewMemoryStore(), "sqlite": openSQLite(t)} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t, func(c *secondfactor.Config) { c.Store, c.Limits.WrongRecovery = store, 100 })
			code := a.recoveryCodes("ana")[0]
			var in atomic.Int64
			var all sync.WaitGroup
			for range 12 {
				b := a.browser()
				b.login("ana")
				all.Go(func() {
					b.post("/login/verify/recovery", "recovery", code)
					b.complete()
					if b.anybody() {
						in.Add(1)
					}
				})
			}
			all.Wait()
			if in.Load() != 1 || a.codesLeft("ana") != 9 {
				t.Errorf("%d signed in, %d left", in.Load(), a.codesLeft("ana"))
			}
		})
	}
}

// INV-2: many wrong codes at once are no more than five tries.
func TestINV2_ParallelRecoveryGuesses(t *testing.T) {
	a := newApp(t)
	a.recoveryCodes("ana")
	var all sync.WaitGroup
	for range 20 {
		b := a.browser()
		b.login("ana")
		all.Go(func() { b.post("/login/verify/recovery", "recovery", strings.Repeat("1", 16)) })
	}
	all.Wait()
	if kept, _ := a.store.Recovery(t.Context(), "ana"); kept.Wrong != 5 {
		t.Errorf("%d tries were taken", kept.Wrong)
	}
}

// Recovery codes are for logging in: an act, a setting or an enrolment has no field for one and takes none.
func TestT21_RecoveryCodesOnlyLogIn(t *testing.T) {
	a := newApp(t)
	codes := a.recoveryCodes("ana")
	b := a.browser()
	b.signIn("ana")
	b.post("/transfer", "amount", "5")
	b.post("/login/verify/recovery", "recovery", codes[0])
	if got := b.complete(); got.code != 303 || len(a.completions()) != 1 || a.codesLeft("ana") != 10 {
		t.Errorf("a transfer by recovery code: %d, %d codes left", got.code, a.codesLeft("ana"))
	}
	a.pass(20 * time.Minute)
	b.post("/login/confirm")
	b.post("/login/verify/recovery", "recovery", codes[0])
	b.complete()
	if b.get("/settings").code == 200 || a.codesLeft("ana") != 10 {
		t.Error("a recovery code opens settings")
	}
}

// Where keys are pinned a recovery code still works: it is the application's own, not the provider's word.
func TestRecoveryWithPinnedKeys(t *testing.T) {
	a := newApp(t)
	a.setKeys("ana", "BKEY")
	codes := a.recoveryCodes("ana")
	b := a.browser()
	b.login("ana")
	b.post("/login/verify/recovery", "recovery", codes[0])
	if b.complete(); !b.signedIn("ana") {
		t.Error("not signed in")
	}
}

// The provider is down, and the phone is lost: recovery codes are ours (FA1).
func TestFA1_RecoveryWithoutProvider(t *testing.T) {
	a := newApp(t, func(c *secondfactor.Config) { c.Limits.Provider = time.Millisecond })
	codes := a.recoveryCodes("ana")
	a.provider.SetDown(true)
	defer a.provider.SetDown(false)
	b := a.browser()
	b.post("/login", "user", "ana", "next", "/account")
	if page := b.get("/login/verify").body; !strings.Contains(page, "could not reach the approval service") || !strings.Contains(page, "recovery-form") {
		t.Error("recovery is not offered")
	}
	b.post("/login/verify/recovery", "recovery", codes[0])
	if b.complete(); !b.signedIn("ana") {
		t.Error("not signed in")
	}
}

func FuzzCleanRecovery(f *testing.F) {
	for _, seed := range []string{"0000-0000-0000-0000", "OIL0 oil0 abcd efgh", "", "🙂", "uuuuuuuuuuuuuuuu"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, sound := secondfactor.CleanRecovery(typed)
		if sound && (len(code) != 16 || strings.Trim(code, "0123456789abcdefghjkmnpqrstvwxyz") != "") {
			t.Errorf("%q became %q", typed, code)
		}
		if again, still := secondfactor.CleanRecovery(code); sound && (again != code || !still) {
			t.Errorf("%q became %q and then %q", typed, code, again)
		}
	})
}
