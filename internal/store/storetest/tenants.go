package storetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

var tenantTests = []test{
	{"the first account is made once", testFirstAccount},
	{"data keys are made once", testSealKeys},
	{"applications", testApplications},
	{"API keys", testAPIKeys},
	{"the rotation of an API key", testAPIKeyRotation},
	{"two rotations at once are one", testAPIKeyRotationRace},
	{"the settings", testSettings},
	{"settings that change at once all stay", testSettingsRace},
	{"the callback's address", testCallbackURL},
	{"the callback's address and method change together", testCallbackMethod},
	{"users are found by phone", testUsers},
	{"the same phone added by many at once is one user", testUserRace},
	{"an authy_id that is taken is drawn again", testAuthyIDTaken},
	{"a removed user is gone at once", testRemoveUser},
	{"a request that had expired stays expired when its user is removed", testRemoveUserKeepsExpired},
	{"the audit list", testAuditList},
}

func testFirstAccount(t *testing.T, f *fixture) {
	errs := together(8, func(i int) error {
		a, err := f.Store.FirstAccount(context.Background(), tenant.Account{ID: fmt.Sprint("a", i), Name: "x", OwnerEmail: "x", CreatedAt: f.now()})
		if err == nil && a != f.Account {
			err = fmt.Errorf("got %+v, want %+v", a, f.Account)
		}
		return err
	})
	wantTally(t, errs, map[error]int{nil: 8})

	must(t, f.Store.SetOwnerEmail(t.Context(), f.Account.ID, "new@example.com"))
	must(t, f.Store.SetOwnerEmail(t.Context(), "nothing", "x@example.com"))
	a, err := f.Store.FirstAccount(t.Context(), tenant.Account{})
	must(t, err)
	same(t, "the owner's address", a.OwnerEmail, "new@example.com")
}

func testSealKeys(t *testing.T, f *fixture) {
	must(t, f.Exec(t.Context(), `DELETE FROM seal_keys`))
	made := 0
	fresh := func() ([]seal.StoredKey, error) {
		made++
		return seal.NewKeys(seal.NewMaster())
	}
	kept := make([][]seal.StoredKey, 8)
	errs := together(8, func(i int) (err error) {
		kept[i], err = f.Store.SealKeys(context.Background(), f.now(), fresh)
		return err
	})
	wantTally(t, errs, map[error]int{nil: 8})
	same(t, "times that keys were made", made, 1)
	for _, k := range kept {
		same(t, "keys", fmt.Sprint(k), fmt.Sprint(kept[0]))
	}
	refused := fmt.Errorf("no entropy")
	must(t, f.Exec(t.Context(), `DELETE FROM seal_keys`))
	_, err := f.Store.SealKeys(t.Context(), f.now(), func() ([]seal.StoredKey, error) { return nil, refused })
	wantErr(t, "keys that cannot be made", err, refused)
}

func testApplications(t *testing.T, f *fixture) {
	zebra, ant := f.App(t, "Zebra"), f.App(t, "Ant")
	got, err := f.Store.Application(t.Context(), f.Account.ID, zebra.ID)
	must(t, err)
	same(t, "application", got, zebra)
	same(t, "zone", got.CreatedAt.Location(), time.UTC)
	list, err := f.Store.Applications(t.Context(), f.Account.ID)
	must(t, err)
	if !slices.Equal(list, []tenant.Application{ant, zebra}) {
		t.Errorf("applications by name: %+v", list)
	}
	_, err = f.Store.Application(t.Context(), f.Account.ID, "nothing")
	wantErr(t, "an unknown application", err, tenant.ErrApplication)
}

func testAPIKeys(t *testing.T, f *fixture) {
	app, other := f.App(t, "Bank"), f.App(t, "Shop")
	key := f.Key(t, app)
	got, err := f.Tenants.Authenticate(t.Context(), key)
	must(t, err)
	same(t, "the key's application", got, app)
	for _, bad := range []string{"", key[1:], key + "x", strings.ToUpper(key), strings.Repeat("k", 65)} {
		_, err := f.Tenants.Authenticate(t.Context(), bad)
		wantErr(t, "key "+bad, err, tenant.ErrKey)
		_, _, err = f.Tenants.AuthenticateFor(t.Context(), bad, 1)
		wantErr(t, "key "+bad+" with a user", err, tenant.ErrKey)
	}
	_, err = f.Store.SigningKey(t.Context(), "nothing")
	wantErr(t, "the key of no application", err, tenant.ErrApplication)

	// A second key is accepted too, the older one signs; a retired one is neither.
	second, err := f.Store.SigningKey(t.Context(), other.ID)
	must(t, err)
	must(t, f.Exec(t.Context(), `UPDATE api_keys SET app_id = $1, created_at = created_at + 1 WHERE id = $2`, app.ID, second.ID))
	got, err = f.Store.ApplicationByKeyHash(t.Context(), second.Hash, f.now())
	must(t, err)
	same(t, "the second key's application", got.ID, app.ID)
	ana := f.User(t, app, "ana@example.com", "202-555-0101")
	got, found, err := f.Store.ApplicationAndUser(t.Context(), second.Hash, ana.AuthyID, f.now())
	must(t, err)
	same(t, "the second key's application, with a user", got.ID, app.ID)
	same(t, "the user", found, ana)
	signs, err := f.Store.SigningKey(t.Context(), app.ID)
	must(t, err)
	if signs.ID == second.ID {
		t.Error("the newer key signs")
	}
	must(t, f.Exec(t.Context(), `UPDATE api_keys SET retired_at = 1 WHERE id = $1`, signs.ID))
	signs, err = f.Store.SigningKey(t.Context(), app.ID)
	must(t, err)
	same(t, "the key that signs after the older one retired", signs.ID, second.ID)
	_, err = f.Tenants.Authenticate(t.Context(), key)
	wantErr(t, "a retired key", err, tenant.ErrKey)
	_, _, err = f.Tenants.AuthenticateFor(t.Context(), key, ana.AuthyID)
	wantErr(t, "a retired key, with a user", err, tenant.ErrKey)
}

// Through a whole rotation some key of the application is accepted at every moment, and exactly one signs.
func testAPIKeyRotation(t *testing.T, f *fixture) {
	app, other := f.App(t, "Bank"), f.App(t, "Shop")
	first, untouched := f.Key(t, app), f.Key(t, other)
	stands := func(when, signs string, accepted, refused []string) {
		t.Helper()
		same(t, when+": the key that signs", f.Key(t, app), signs)
		for _, key := range accepted {
			got, err := f.Tenants.Authenticate(t.Context(), key)
			must(t, err)
			same(t, when+": the key's application", got.ID, app.ID)
		}
		for _, key := range refused {
			_, err := f.Tenants.Authenticate(t.Context(), key)
			wantErr(t, when+": an ended key", err, tenant.ErrKey)
		}
		keys, err := f.Tenants.Keys(t.Context(), app)
		must(t, err)
		signing := 0
		for _, k := range keys {
			if k.Signs {
				signing++
			}
		}
		same(t, when+": keys", fmt.Sprint(len(keys), " accepted, ", signing, " signs"), fmt.Sprint(len(accepted), " accepted, 1 signs"))
	}
	add := func() string {
		t.Helper()
		f.Clock.Advance(time.Second)
		key, err := f.Tenants.AddKey(t.Context(), app, "command")
		must(t, err)
		return key
	}
	for _, step := range []func(context.Context, tenant.Application, string) error{f.Tenants.PromoteKey, f.Tenants.FinishKey, f.Tenants.CancelKey} {
		wantErr(t, "a step without a rotation", step(t.Context(), app, "command"), tenant.ErrNotRotating)
	}
	second := add()
	stands("added", first, []string{first, second}, nil)
	_, err := f.Tenants.AddKey(t.Context(), app, "command")
	wantErr(t, "a third key", err, tenant.ErrRotating)
	wantErr(t, "the end of a key that nothing replaced", f.Tenants.FinishKey(t.Context(), app, "command"), tenant.ErrNotRotating)

	must(t, f.Tenants.CancelKey(t.Context(), app, "command"))
	stands("cancelled", first, []string{first}, []string{second})

	third := add()
	must(t, f.Tenants.PromoteKey(t.Context(), app, "command"))
	stands("promoted", third, []string{first, third}, []string{second})
	wantErr(t, "promoting twice", f.Tenants.PromoteKey(t.Context(), app, "command"), tenant.ErrNotRotating)
	wantErr(t, "cancelling what was promoted", f.Tenants.CancelKey(t.Context(), app, "command"), tenant.ErrNotRotating)
	must(t, f.Tenants.FinishKey(t.Context(), app, "command"))
	stands("finished", third, []string{third}, []string{first, second})

	fourth := add()
	must(t, f.Tenants.PromoteKey(t.Context(), app, "command"))
	f.Clock.Advance(tenant.KeepOldKey)
	stands("forgotten", fourth, []string{fourth}, []string{first, second, third})

	got, err := f.Tenants.Authenticate(t.Context(), untouched)
	must(t, err)
	same(t, "the other application's key", got.ID, other.ID)
	wantErr(t, "a key for nothing", f.Store.AddAPIKey(t.Context(), tenant.Key{ID: "k", AppID: "nothing", Hash: "h"}, f.now(), f.rec(app)), tenant.ErrRotating)
}

func testAPIKeyRotationRace(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	errs := together(8, func(int) error {
		_, err := f.Tenants.AddKey(context.Background(), app, "command")
		return err
	})
	wantTally(t, errs, map[error]int{nil: 1, tenant.ErrRotating: 7})
}

// to is a change that puts settings in the place of what was there.
func to(want tenant.Settings) tenant.Change {
	return func(set *tenant.Settings) (string, error) {
		*set = want
		return "changed", nil
	}
}

func testSettings(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	want := tenant.DropIn()
	must(t, f.Store.ChangeSettings(t.Context(), f.Account.ID, app.ID, to(want), f.rec(app)))
	got, err := f.Store.Application(t.Context(), f.Account.ID, app.ID)
	must(t, err)
	same(t, "settings", got.Settings, want)
	refuse := func(set *tenant.Settings) (string, error) {
		*set = tenant.Settings{}
		return "refused", tenant.ErrLogo
	}
	wantErr(t, "a change that refuses", f.Store.ChangeSettings(t.Context(), f.Account.ID, app.ID, refuse, f.rec(app)), tenant.ErrLogo)
	_, err = f.Store.ChangeCallback(t.Context(), f.Account.ID, app.ID, "https://bank.example/", refuse, f.now(), f.rec(app))
	wantErr(t, "a callback that refuses", err, tenant.ErrLogo)
	refused, err := f.Store.Application(t.Context(), f.Account.ID, app.ID)
	must(t, err)
	same(t, "the application after refusals", refused, got)
	list, err := f.Store.Audit(t.Context(), app.ID, 10)
	must(t, err)
	if len(list) != 2 || !slices.ContainsFunc(list, func(r audit.Record) bool { return r.Action == "test.done" && r.Note == "changed" }) {
		t.Errorf("records, of making and of one change: %+v", list)
	}
	wantErr(t, "settings of nothing", f.Store.ChangeSettings(t.Context(), f.Account.ID, "nothing", to(want), f.rec(app)), tenant.ErrApplication)
}

// testSettingsRace: operators who looked at an application before the others' changes change one setting each, and undo nothing of
// each other. Who looked at it then writes down what it was when it changed.
func testSettingsRace(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", func(s *tenant.Settings) { s.ExportSecrets = true })
	bg, turn := context.Background(), func(name string, on bool) error {
		return f.Tenants.SetSwitches(context.Background(), app, map[string]bool{name: on}, "operator:x")
	}
	changes := []func() error{
		func() error { return f.Tenants.SetLogo(bg, app, "https://bank.example/logo.png", "operator:x") },
		func() error { return f.Tenants.SetSite(bg, app, "bank.example", "operator:x") },
		func() error { return f.Tenants.SetMatch(bg, app, tenant.MatchType, 5, "operator:x") },
		func() error { return f.Tenants.SetResetWait(bg, app, 3, "operator:x") },
		func() error { return f.Tenants.SetSending(bg, app, sending.Limits{Countries: "PT"}, "operator:x") },
		func() error { return turn("export_secrets", false) },
		func() error { return turn("sms", false) },
		func() error {
			return f.Tenants.SetCallbackAndMethod(bg, app.AccountID, app.ID, "https://bank.example/hook", true, "operator:x")
		},
	}
	wantTally(t, together(len(changes), func(i int) error { return changes[i]() }), map[error]int{nil: len(changes)})
	want := app.Settings
	want.Logo, want.OriginHost, want.Match, want.MatchDigits = "https://bank.example/logo.png", "bank.example", tenant.MatchType, 5
	want.ResetWait, want.Sending, want.ExportSecrets, want.SMSEnabled, want.CallbackGet = 3*3600, sending.Limits{Countries: "PT"}, false, false, true
	got, err := f.Store.Application(bg, app.AccountID, app.ID)
	must(t, err)
	same(t, "settings", got.Settings, want)

	const n = 8 // of whom one finds it on
	wantTally(t, together(n, func(int) error { return turn("calls", false) }), map[error]int{nil: n})
	list, err := f.Store.Audit(bg, app.ID, 100)
	must(t, err)
	notes := map[string]int{}
	for _, r := range list {
		if r.Action == "settings.switches" {
			notes[r.Note]++
		}
	}
	same(t, "notes", fmt.Sprint(notes), fmt.Sprint(map[string]int{"export_secrets off": 1, "sms off": 1, "calls off": 1, "": n - 1}))
}

// testCallbackMethod: how a callback is called and its address never contradict each other, whichever of two changes is first.
func testCallbackMethod(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	const plain, query = "https://bank.example/hook", "https://bank.example/hook?tenant=1"
	set := func(address string, get bool) error {
		return f.Tenants.SetCallbackAndMethod(context.Background(), app.AccountID, app.ID, address, get, "operator:x")
	}
	stands := func(when, address string, version int64, get bool) {
		t.Helper()
		got, err := f.Store.Application(t.Context(), app.AccountID, app.ID)
		must(t, err)
		same(t, when, fmt.Sprint(got.Callback.URL, got.Callback.Version, got.Settings.CallbackGet), fmt.Sprint(address, version, get))
	}
	must(t, set(query, false))
	stands("POST with a query", query, 1, false)
	wantErr(t, "GET with a query", set(query, true), tenant.ErrCallbackQuery)
	stands("refused", query, 1, false)
	wantErr(t, "no address", set("", true), tenant.ErrCallbackURL)
	must(t, set(plain, true))
	stands("GET", plain, 2, true)
	wantErr(t, "a query, called as before", f.Tenants.SetCallback(t.Context(), app.AccountID, app.ID, query, "operator:x"), tenant.ErrCallbackQuery)
	stands("refused", plain, 2, true)
	f.Clock.Advance(time.Second) // so that its record is the newest
	must(t, set(query, false))
	stands("POST with a query", query, 3, false)
	list, err := f.Store.Audit(t.Context(), app.ID, 1)
	must(t, err)
	same(t, "record", list[0].Action+" "+list[0].Note, "callback.set "+query+" by POST")

	must(t, f.Tenants.SetCallback(t.Context(), app.AccountID, app.ID, "", "operator:x"))
	errs := together(16, func(i int) error {
		if i%2 == 0 {
			return set(plain, true)
		}
		return f.Tenants.SetCallback(context.Background(), app.AccountID, app.ID, query, "operator:x")
	})
	got, err := f.Store.Application(t.Context(), app.AccountID, app.ID)
	must(t, err)
	if got.Settings.CallbackGet && got.Callback.URL != plain {
		t.Errorf("called by GET at %s, after %v", got.Callback.URL, tally(errs))
	}
}

func testCallbackURL(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	for version, url := range []string{"https://a.example/", "https://b.example/", "https://b.example/", ""} {
		_, err := f.Store.ChangeCallback(t.Context(), f.Account.ID, app.ID, url, to(app.Settings), f.now(), f.rec(app))
		must(t, err)
		got, err := f.Store.Application(t.Context(), f.Account.ID, app.ID)
		must(t, err)
		same(t, "callback", got.Callback, tenant.Callback{URL: url, Version: int64(version) + 1})
	}
	_, err := f.Store.ChangeCallback(t.Context(), f.Account.ID, "nothing", "", to(app.Settings), f.now(), f.rec(app))
	wantErr(t, "the callback of nothing", err, tenant.ErrApplication)
}

func testUsers(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	ana := f.User(t, app, "ana@example.com", "202-555-0123")
	got, err := f.Store.UserByAuthyID(t.Context(), app.ID, ana.AuthyID)
	must(t, err)
	same(t, "user", got, ana)

	again := f.User(t, app, "ana.two@example.com", "(202) 555.0123")
	same(t, "the same phone", again, ana) // the first address stays
	rows, err := f.Rows(t.Context(), "user_emails")
	must(t, err)
	same(t, "addresses of the user", len(rows), 2)

	f.Clock.Advance(time.Second)
	bob := f.User(t, app, "ana@example.com", "202-555-0199")
	if bob.AuthyID == ana.AuthyID {
		t.Error("the same address with another phone is the same user")
	}
	list, err := f.Store.ListedUsers(t.Context(), app.ID, 10)
	must(t, err)
	if !slices.Equal(list, []operator.ListedUser{{User: bob}, {User: ana}}) {
		t.Errorf("users, newest first: %+v", list)
	}
	list, err = f.Store.ListedUsers(t.Context(), app.ID, 1)
	must(t, err)
	same(t, "users up to a limit", len(list), 1)
	_, err = f.Store.UserByAuthyID(t.Context(), app.ID, 12)
	wantErr(t, "an unknown user", err, tenant.ErrUser)
}

func testUserRace(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	ids := make([]int64, 32)
	errs := together(len(ids), func(i int) error {
		u, err := f.Tenants.AddUser(context.Background(), app, tenant.NewUser{Email: fmt.Sprintf("u%d@example.com", i), CountryCode: "1", Phone: "2025550123"})
		ids[i] = u.AuthyID
		return err
	})
	wantTally(t, errs, map[error]int{nil: len(ids)})
	for _, id := range ids {
		same(t, "authy_id", id, ids[0])
	}
}

func testAuthyIDTaken(t *testing.T, f *fixture) {
	app, other := f.App(t, "Bank"), f.App(t, "Shop")
	ana := f.User(t, app, "ana@example.com", "202-555-0123")
	want := tenant.User{ID: ident.New(f.now()), AppID: app.ID, AuthyID: ana.AuthyID, CountryCode: 1, Phone: "+12025550199", Email: "b@example.com", CreatedAt: f.now()}
	got, err := f.Store.AddUser(t.Context(), want, f.rec(app))
	must(t, err)
	if got.AuthyID == ana.AuthyID || got.AuthyID < 1 || got.AuthyID >= 1<<31 {
		t.Errorf("the second user got the authy_id %d", got.AuthyID)
	}
	want.ID, want.AppID = ident.New(f.now()), other.ID
	got, err = f.Store.AddUser(t.Context(), want, f.rec(other))
	must(t, err)
	same(t, "the same number in another application", got.AuthyID, ana.AuthyID)
}

func testRemoveUser(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	second := f.Phone(t, p.app, p.user)
	asked := f.Ask(t, p.app, p.user, "Log in?")
	sent := f.sms(t, p, "")
	shown := p.code(f.now())
	ticket, err := f.Devices.NewTicket(t.Context(), p.app, p.user)
	must(t, err)
	f.Clock.Advance(time.Second)
	must(t, f.verify(p, sent)) // confirms the user
	sent = f.sms(t, p, "")

	gone, err := f.Store.RemoveUser(t.Context(), p.app.ID, p.user.AuthyID, f.now(), f.rec(p.app))
	must(t, err)
	slices.Sort(gone.DeviceIDs)
	devices := []string{p.phone.Device.ID, second.Device.ID}
	slices.Sort(devices)
	same(t, "who must be woken", fmt.Sprint(gone), fmt.Sprint(tenant.Removed{UserID: p.user.ID, Approvals: []string{asked.UUID}, DeviceIDs: devices}))

	_, err = f.Store.UserByAuthyID(t.Context(), p.app.ID, p.user.AuthyID)
	wantErr(t, "a removed user", err, tenant.ErrUser)
	_, err = f.Store.RemoveUser(t.Context(), p.app.ID, p.user.AuthyID, f.now(), f.rec(p.app))
	wantErr(t, "removed twice", err, tenant.ErrUser)
	list, err := f.Store.ListedUsers(t.Context(), p.app.ID, 10)
	must(t, err)
	same(t, "users listed", len(list), 0)
	wantErr(t, "a code of a removed user", f.verify(p, shown), tenant.ErrUser)

	// Back again: the same number, and nothing of before works.
	back := f.User(t, p.app, "other@example.com", "202-555-0123")
	same(t, "the user who came back", back, p.user)
	for what, code := range map[string]string{"an app code of before": shown, "a sent code of before": sent} {
		if err := f.verify(p, code); err == nil {
			t.Error(what + " works")
		}
	}
	_, err = f.Devices.LookTicket(t.Context(), ticket.Words)
	if err == nil {
		t.Error("a ticket of before works")
	}
	a, err := f.Approvals.Get(t.Context(), p.app.ID, asked.UUID)
	must(t, err)
	same(t, "the approval", a.Status, approval.Cancelled)
	_, err = p.phone.Answer(t, asked.UUID, approval.Approve, "")
	wantErr(t, "an answer of a device of before", err, approval.ErrUnknown)
}

func testRemoveUserKeepsExpired(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	asked := f.Ask(t, p.app, p.user, "Log in?")
	f.Clock.Advance(asked.ExpiresAt.Sub(f.now())) // no sweep: only readers know
	before, err := f.Approvals.Get(t.Context(), p.app.ID, asked.UUID)
	must(t, err)
	must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID))
	must(t, f.Approvals.Sweep(t.Context()))
	after, err := f.Approvals.Get(t.Context(), p.app.ID, asked.UUID)
	must(t, err)
	same(t, "the status, final since before the removal", after.Status, before.Status)
	same(t, "its time", after.ProcessedAt, asked.ExpiresAt)
}

func testAuditList(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	f.Clock.Advance(time.Second)
	want := audit.New(f.now(), app.ID, "operator:x", "thing.done", "thing:1").Refused("no").Noting("because")
	want.AccountID = f.Account.ID
	must(t, f.Store.Record(t.Context(), want))
	list, err := f.Store.Audit(t.Context(), app.ID, 10)
	must(t, err)
	if len(list) != 2 || list[0] != want || list[1].Action != "application.created" {
		t.Errorf("audit, newest first: %+v", list)
	}
	list, err = f.Store.Audit(t.Context(), app.ID, 1)
	must(t, err)
	same(t, "records up to a limit", len(list), 1)
}

// jobOf returns a job that is in no table yet.
func (f *fixture) jobOf(app tenant.Application, kind job.Kind, ref string) job.Job {
	return job.New(kind, app.ID, ref, f.now())
}
