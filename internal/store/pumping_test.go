//go:build !race

package store_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

// This file simulates SMS pumping (T-30) in virtual time over the real store: somebody makes an application send messages to numbers
// that earn them money, while its people go on logging in. It is about numbers and goes on for a day, so it runs without the race detector, which
// watches the same statements in the conformance suite; script/test fuzz runs it.

// pumping is one way to do it: the numbers that are tried in one step, and the address they are asked for from.
type pumping struct {
	name    string
	numbers func(r *rand.Rand, step int) []e164
	address func(r *rand.Rand) string
	types   int // the fraud types every so manieth code, to look like people; 0: none
	cap     sending.Money
	pauses  bool // the breaker is expected to open
}

type e164 struct{ country, national string }

func portuguese(r *rand.Rand) e164 { return e164{"351", fmt.Sprintf("91%07d", r.IntN(10_000_000))} }

func times(n int, number func(*rand.Rand) e164) func(*rand.Rand, int) []e164 {
	return func(r *rand.Rand, _ int) (list []e164) {
		for range n {
			list = append(list, number(r))
		}
		return list
	}
}

// A day has 96 steps of a quarter of an hour; perStep is how many messages a fraud tries to cause in one.
const (
	steps   = 96
	perStep = 8
)

// TestT30_PumpingIsBounded runs all frauds at once, each at an application of its own, so that they share disk flushes.
func TestT30_PumpingIsBounded(t *testing.T) {
	const share = sending.StrangersShare
	d := sending.Defaults()
	country, all := d.CountryDay.Cost*share/100, d.Day.Cost*share/100
	one := func(*rand.Rand) string { return "198.51.100.9" }
	many := func(r *rand.Rand) string { return fmt.Sprintf("198.51.%d.%d", r.IntN(256), r.IntN(256)) }
	w, towns := newWorld(t), []*town(nil)
	for _, p := range []pumping{
		{name: "numbers in sequence, many addresses", address: many, cap: country, pauses: true, numbers: func(_ *rand.Rand, step int) (list []e164) {
			for i := range perStep {
				list = append(list, e164{"351", fmt.Sprintf("91234%04d", step*perStep+i)})
			}
			return list
		}},
		{name: "many prefixes of one country, many addresses", address: many, cap: country, pauses: true, numbers: times(perStep, portuguese)},
		{name: "many prefixes of one country, one address", address: one, cap: country, pauses: true, numbers: times(perStep, portuguese)},
		{name: "many countries", address: many, cap: all, numbers: times(perStep, func(r *rand.Rand) e164 {
			return []e164{
				portuguese(r),
				{"44", fmt.Sprintf("74%08d", r.IntN(100_000_000))},
				{"1", fmt.Sprintf("%d%03d%04d", []int{202, 212, 305, 415}[r.IntN(4)], 200+r.IntN(700), r.IntN(10000))},
				{"880", fmt.Sprintf("17%08d", r.IntN(100_000_000))}, // named by nobody
				{"1", fmt.Sprintf("876%03d%04d", 300+r.IntN(600), r.IntN(10000))},
				{"881", fmt.Sprintf("6%08d", r.IntN(100_000_000))},
			}[r.IntN(6)]
		})},
		{name: "a slow drip that honest codes outweigh", address: many, cap: country, numbers: times(1, portuguese)},
		{name: "one number again and again", address: many, cap: country, numbers: times(perStep, func(*rand.Rand) e164 { return e164{"351", "912345678"} })},
		{name: "many prefixes, a third of the codes typed", address: many, cap: country, types: 3, numbers: times(perStep, portuguese)},
	} {
		towns = append(towns, w.town(t, p, uint64(len(towns))))
	}
	w.Clock.Advance(w.Clock.Now().Truncate(sending.Day).Add(sending.Day).Sub(w.Clock.Now()))
	for step := range steps {
		w.step(t, towns, step)
		w.Clock.Advance(sending.Day / steps)
	}
	for _, town := range towns {
		t.Run(town.name, town.judge)
	}
	// The frauds are gone: breakers close by themselves, and first log-ins work again.
	w.Clock.Advance(sending.Kept)
	for _, town := range towns {
		if err := w.ask(t, town.app, w.add(t, town.app, portuguese(town.random)), ""); err != nil {
			t.Errorf("%s: a day after the fraud: %v", town.name, err)
		}
	}
}

// world is the provider with its towns.
type world struct {
	*servertest.Server
	mu    sync.Mutex
	codes map[string]string // by application and number
}

func newWorld(t *testing.T) *world {
	w := &world{Server: servertest.On(t, openSQLite(t)), codes: map[string]string{}}
	w.Codes.NewMessage = func(out otp.Outgoing, now time.Time) job.Job {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.codes[out.App.ID+out.Address] = out.Code
		return w.Messages.CodeJob(out, now)
	}
	return w
}

// town is an application whose people log in by text message, and its fraud.
type town struct {
	pumping
	world  *world
	random *rand.Rand
	app    tenant.Application
	people []tenant.User

	logins, served, newcomers, newServed int // honest
	tried, left                          int // the fraud
	lost                                 sending.Money
}

func (w *world) town(t *testing.T, p pumping, seed uint64) *town {
	town := &town{pumping: p, world: w, random: rand.New(rand.NewPCG(30, seed))}
	town.app = w.App(t, "Bank", func(s *tenant.Settings) {
		s.Sending = sending.Defaults()
		s.Sending.Countries = "GB PT US"
	})
	town.people = make([]tenant.User, 100)
	numbers := make([]e164, len(town.people))
	for i := range numbers {
		numbers[i] = town.person(i)
	}
	atOnce(len(numbers), func(i int) { town.people[i] = w.add(t, town.app, numbers[i]) })
	if err := w.Store.Exec(t.Context(), `UPDATE users SET confirmed_at = 1 WHERE app_id = $1`, town.app.ID); err != nil { // they signed up long ago
		t.Fatal(err)
	}
	return town
}

// person is a number of the town: half of them are American, a quarter each British and Portuguese.
func (town *town) person(i int) e164 {
	r := town.random
	switch i % 4 {
	case 0:
		return portuguese(r)
	case 1:
		return e164{"44", fmt.Sprintf("74%08d", r.IntN(100_000_000))}
	}
	return e164{"1", fmt.Sprintf("%d%03d%04d", []int{202, 212, 305, 415}[r.IntN(4)], 200+r.IntN(700), r.IntN(10000))}
}

func (w *world) add(t *testing.T, app tenant.Application, n e164) tenant.User {
	u, err := w.Tenants.AddUser(t.Context(), app, tenant.NewUser{Email: "somebody@example.com", CountryCode: n.country, Phone: n.national})
	if err != nil {
		t.Errorf("add %v: %v", n, err)
	}
	return u
}

func atOnce(n int, do func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

func (w *world) ask(t *testing.T, app tenant.Application, u tenant.User, ip string) error {
	_, err := w.Codes.Send(t.Context(), app, u, otp.Request{Channel: otp.SMS, IP: ip})
	if _, refused := errors.AsType[*fault.Error](err); err != nil && !refused {
		t.Error(err)
	}
	return err
}

// try is somebody who asks for a code.
type try struct {
	town          *town
	number        e164 // of who registers for it
	user          tenant.User
	ip            string
	honest, types bool
	err           error
}

// step is a quarter of an hour in which each town has three log-ins and its fraud. Three log-ins in a hundred are somebody's first, and one in
// twenty people walk away from their code.
func (w *world) step(t *testing.T, towns []*town, step int) {
	var all []*try
	for _, town := range towns {
		for i := range 3 {
			n := step*3 + i
			k := &try{town: town, honest: true, types: n%20 > 0, ip: fmt.Sprintf("203.0.113.%d", n%256)}
			if n%33 == 32 {
				k.number = town.person(n / 33)
			} else {
				k.user = town.people[n%len(town.people)]
			}
			all = append(all, k)
		}
		for i, n := range town.numbers(town.random, step) {
			types := town.types > 0 && (step*perStep+i)%town.types == 0
			all = append(all, &try{town: town, number: n, ip: town.address(town.random), types: types})
		}
	}
	atOnce(len(all), func(i int) {
		k := all[i]
		if k.user.ID == "" {
			k.user = w.add(t, k.town.app, k.number)
		}
		k.err = w.ask(t, k.town.app, k.user, k.ip)
	})
	atOnce(len(all), func(i int) {
		k := all[i]
		if k.err != nil || !k.types {
			return
		}
		w.mu.Lock()
		code := w.codes[k.town.app.ID+k.user.Phone]
		w.mu.Unlock()
		if _, err := w.Codes.Verify(t.Context(), k.town.app, k.user, code, ""); err != nil {
			t.Errorf("the code of %s: %v", k.user.Phone, err)
		}
	})
	for _, k := range all {
		k.town.note(k)
	}
}

func (town *town) note(k *try) {
	ok := 0
	if k.err == nil {
		ok = 1
	}
	if !k.honest {
		town.tried++
		town.left += ok
		town.lost += sending.Money(ok) * town.app.Settings.Sending.Price(k.user.Phone, sending.SMS)
		return
	}
	town.logins++
	town.served += ok
	if k.number != (e164{}) {
		town.newcomers++
		town.newServed += ok
	}
}

func (town *town) judge(t *testing.T) {
	records, err := town.world.Store.Audit(t.Context(), town.app.ID, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	paused := 0
	for _, r := range records {
		if r.Action == "sending.paused" {
			paused++
		}
	}
	honest := 100 * float64(town.served) / float64(town.logins)
	t.Logf("measured: of %d tries %d left and cost %v of at most %v a day; %.2f %% of %d honest log-ins were sent their code, %d of %d first ones; %d pauses",
		town.tried, town.left, town.lost, town.cap, honest, town.logins, town.newServed, town.newcomers, paused)
	if town.lost > town.cap {
		t.Errorf("pumping cost %v, more than the budget of %v", town.lost, town.cap)
	}
	if honest < 99 {
		t.Errorf("%.2f %% of honest log-ins were sent their code, want 99", honest)
	}
	if town.pauses != (paused > 0) {
		t.Errorf("%d pauses", paused)
	}
}
