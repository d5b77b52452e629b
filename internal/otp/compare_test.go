package otp

import (
	"fmt"
	"testing"
	"time"

	"countersign.dev/internal/seal"
	"countersign.dev/internal/tenant"
)

// This file tests the comparison alone; what surrounds it is in store/storetest.

type comparer struct {
	Service
	set tenant.Settings
	now time.Time
}

func newComparer(t *testing.T, set tenant.Settings) *comparer {
	t.Helper()
	master := seal.NewMaster()
	keys, err := seal.NewKeys(master)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.Open(master, keys)
	if err != nil {
		t.Fatal(err)
	}
	return &comparer{Service{Ring: ring}, set, time.Unix(4102444815, 0)} // 2100, in the middle of a step
}

// app returns a grant's secret with the application's settings, and what it shows so many steps from now.
func (c *comparer) app(grantID int64, secret string) (AppSecret, func(steps int64) string) {
	s := AppSecret{GrantID: grantID, Sealed: c.Ring.Seal(AppSecretContext(grantID), []byte(secret)), Digits: c.set.CodeDigits, Period: c.set.CodePeriod}
	return s, func(steps int64) string { return HOTP([]byte(secret), uint64(c.at()+steps), s.Digits) }
}

func (c *comparer) at() int64 { return Step(c.now, c.set.CodePeriod.Duration()) }

func (c *comparer) verdict(candidates Candidates, code string) Verdict {
	return c.compare(candidates, c.set, code, c.now)
}

func TestWindow(t *testing.T) {
	for name, set := range map[string]tenant.Settings{"new integration": tenant.NewIntegration(), "drop-in": tenant.DropIn()} {
		t.Run(name, func(t *testing.T) {
			c := newComparer(t, set)
			app, shown := c.app(7, "12345678901234567890")
			skew := int64(set.CodeSkew)
			for steps := -skew - 2; steps <= skew+2; steps++ {
				want := Verdict{}
				if -skew <= steps && steps <= skew {
					want = Verdict{Matched: true, GrantID: 7, Step: c.at() + steps}
				}
				if got := c.verdict(Candidates{Apps: []AppSecret{app}}, shown(steps)); got != want {
					t.Errorf("a code %d steps from now: %+v, want %+v", steps, got, want)
				}
			}
		})
	}
}

// T-04: the highest accepted step and every earlier one are spent, also inside the window; later ones are not.
func TestT04OlderStep(t *testing.T) {
	c := newComparer(t, tenant.DropIn())
	app, shown := c.app(7, "12345678901234567890")
	app.LastStep = c.at() + 1
	for steps := int64(-3); steps <= 3; steps++ {
		want := Verdict{Matched: true, Used: steps <= 1, GrantID: 7, Step: c.at() + steps}
		if got := c.verdict(Candidates{Apps: []AppSecret{app}}, shown(steps)); got != want {
			t.Errorf("a code %d steps from now: %+v, want %+v", steps, got, want)
		}
	}
}

func TestWhatMatches(t *testing.T) {
	c := newComparer(t, tenant.NewIntegration())
	phone, onPhone := c.app(7, "the phone's secret")
	tablet, onTablet := c.app(8, "the tablet's secret")
	sent := SentHash{ID: "s1", Hash: c.sentHash("s1", "314159")}
	spent := SentHash{ID: "s2", Hash: c.sentHash("s2", "271828"), Used: true}
	all := Candidates{Apps: []AppSecret{phone, tablet}, Sent: []SentHash{sent, spent}}
	for code, want := range map[string]Verdict{
		onPhone(0):   {Matched: true, GrantID: 7, Step: c.at()},
		onTablet(-1): {Matched: true, GrantID: 8, Step: c.at() - 1},
		"314159":     {Matched: true, SentID: "s1"},
		"271828":     {Matched: true, Used: true, SentID: "s2"},

		"":                {},
		"31415":           {},
		" 314159":         {},
		"0314159":         {},
		"314159\x00":      {},
		"３１４１５９":          {}, // full width
		sent.Hash:         {},
		"s1:314159":       {},
		onPhone(0) + "0":  {},
		onPhone(0)[:5]:    {},
		"-" + onPhone(0):  {},
		"999999999999999": {},
	} {
		if got := c.verdict(all, code); got != want {
			t.Errorf("code %q: %+v, want %+v", code, got, want)
		}
	}
	if got := c.verdict(Candidates{}, onPhone(0)); got != (Verdict{}) {
		t.Errorf("without candidates: %+v", got)
	}
}

// A code that two candidates share is good as long as one of them is unspent, in any order.
func TestUnspentBeforeSpent(t *testing.T) {
	c := newComparer(t, tenant.NewIntegration())
	fresh, shown := c.app(7, "one secret")
	old := fresh
	old.GrantID, old.Sealed, old.LastStep = 8, c.Ring.Seal(AppSecretContext(8), []byte("one secret")), c.at()+1
	code := shown(0)
	usedSent := SentHash{ID: "s1", Hash: c.sentHash("s1", code), Used: true}
	freshSent := SentHash{ID: "s2", Hash: c.sentHash("s2", code)}
	for i, all := range []Candidates{
		{Apps: []AppSecret{fresh, old}},
		{Apps: []AppSecret{old, fresh}},
		{Apps: []AppSecret{fresh}, Sent: []SentHash{usedSent}},
		{Apps: []AppSecret{old}, Sent: []SentHash{usedSent, freshSent}},
		{Apps: []AppSecret{old}, Sent: []SentHash{freshSent, usedSent}},
	} {
		if got := c.verdict(all, code); !got.Matched || got.Used {
			t.Errorf("case %d: %+v, want an unspent match", i, got)
		}
	}
}

// INV-7: a secret that does not open matches nothing, and hides no other.
func TestINV7SecretThatDoesNotOpen(t *testing.T) {
	c := newComparer(t, tenant.NewIntegration())
	broken, onBroken := c.app(7, "broken")
	broken.Sealed = c.Ring.Seal(AppSecretContext(9), []byte("broken")) // another row's (T-50)
	sound, onSound := c.app(8, "sound")
	all := Candidates{Apps: []AppSecret{broken, {GrantID: 10, Digits: 6, Period: 30}, sound}}
	if got := c.verdict(all, onBroken(0)); onBroken(0) != onSound(0) && got.Matched {
		t.Errorf("the code of a secret that does not open: %+v", got)
	}
	if got := c.verdict(all, HOTP(nil, uint64(c.at()), 6)); got.Matched {
		t.Errorf("the code of the empty secret: %+v", got)
	}
	if got := c.verdict(all, onSound(0)); !got.Matched || got.GrantID != 8 {
		t.Errorf("the sound one: %+v", got)
	}
}

// A hash belongs to one code of one sending.
func TestSentHash(t *testing.T) {
	c := newComparer(t, tenant.NewIntegration())
	seen := map[string]string{}
	for _, id := range []string{"a", "b", "a:1"} {
		for _, code := range []string{"123456", "1:123456", "654321"} {
			hash := c.sentHash(id, code)
			if len(hash) != 64 {
				t.Errorf("hash %q", hash)
			}
			if other, ok := seen[hash]; ok && other != id+":"+code {
				t.Errorf("one hash for %q and %q", other, id+":"+code)
			}
			seen[hash] = id + ":" + code
		}
	}
	if fmt.Sprint(AppSecretContext(7)) == fmt.Sprint(AppSecretContext(77)) {
		t.Error("two rows with one context")
	}
}
