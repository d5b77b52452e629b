package storetest

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/client/token"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

var deviceTests = []test{
	{"many open a registration's token at once, and it is one user's", testRegistrationsAtOnce},
	{"enrolment by ticket", testTicket},
	{"a ticket ends at its time", testTicketExpiry},
	{"no ticket for who is not there", testTicketNoUser},
	{"enrolment by number", testByNumber},
	{"an unknown number gets no message and the same answer", testUnknownNumber},
	{"a number never adds a second device", testSecondDevice},
	{"a number and a ticket race for the first device", testSecondDeviceRace},
	{"five wrong enrolment codes, also at once", testEnrolmentTries},
	{"only the newest enrolment of a number works", testNewestEnrolment},
	{"an enrolment ends at its time", testEnrolmentExpiry},
	{"enrolment codes are limited", testEnrolmentLimit},
	{"INV-4 new enrolment codes give no new guesses", testEnrolmentBudget},
	{"only the newest ticket works", testNewestTicket},
	{"a device enrolled again keeps its id and loses its old secret", testEnrolAgain},
	{"a grant's number that is taken is drawn again", testGrantNumberTaken},
	{"sessions", testSessions},
	{"seen", testTouch},
	{"lists of grants", testGrantLists},
	{"a removed grant is gone at once", testRemoveGrant},
}

// confirm proves a key for a ticket or an enrolment.
func (f *fixture) confirm(key *ecdsa.PrivateKey, c device.Confirmation) (device.Enrolled, error) {
	public := receipt.EncodePublicKey(&key.PublicKey)
	if c.Challenge == "" {
		c.Challenge = f.Devices.Challenge()
	}
	token := c.Enrollment
	if c.Ticket != "" {
		token = c.Ticket
	}
	proof, err := receipt.Sign(key, receipt.EnrollmentProof{Challenge: c.Challenge, Origin: servertest.Origin, PublicKey: public, Token: token}.Canonical())
	if err != nil {
		return device.Enrolled{}, err
	}
	c.Proof, c.Device = proof, device.NewDevice{Name: "Phone", Platform: "iphone", PublicKey: public}
	return f.Devices.Confirm(context.Background(), c)
}

func (f *fixture) ticket(t *testing.T, app tenant.Application, u tenant.User) device.Ticket {
	t.Helper()
	ticket, err := f.Devices.NewTicket(t.Context(), app, u)
	must(t, err)
	return ticket
}

func testTicket(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	ana := f.User(t, app, "ana@example.com", "202-555-0123")
	ticket := f.ticket(t, app, ana)
	info, err := f.Devices.LookTicket(t.Context(), ticket.Words)
	must(t, err)
	same(t, "ticket", info, device.TicketInfo{Application: "Bank", Account: ana.Email, ExpiresAt: f.now().Add(10 * time.Minute)})

	key := servertest.NewKey(t)
	got, err := f.confirm(key, device.Confirmation{Ticket: ticket.Words})
	must(t, err)
	if len(got.Grants) != 1 || len(got.Grants[0].Secret) != 20 {
		t.Fatalf("grants %+v, want one with a secret", got.Grants)
	}
	g := got.Grants[0]
	want := device.Grant{
		ID: g.ID, Device: got.Device, UserID: ana.ID, AuthyID: ana.AuthyID, AppID: app.ID, Application: "Bank", Account: ana.Email,
		Method: device.MethodTicket, Digits: 6, Period: 30, CreatedAt: f.now(), Secret: g.Secret,
	}
	same(t, "grant", fmt.Sprint(g), fmt.Sprint(want))
	same(t, "device", got.Device, device.Device{
		ID: got.Device.ID, Name: "Phone", Platform: "iphone", PublicKey: receipt.EncodePublicKey(&key.PublicKey), CreatedAt: f.now(), SeenAt: f.now(),
	})
	signedIn, err := f.Devices.Session(t.Context(), got.Session)
	must(t, err)
	same(t, "the session's device", signedIn, got.Device)

	_, err = f.Devices.LookTicket(t.Context(), ticket.Words)
	wantErr(t, "looking at a used ticket", err, device.ErrTicket)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Ticket: ticket.Words})
	wantErr(t, "using a used ticket", err, device.ErrTicket)
	_, err = f.Store.Ticket(t.Context(), "nothing", f.now())
	wantErr(t, "looking at no ticket", err, device.ErrTicket)
}

func testTicketExpiry(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	ana := f.User(t, app, "ana@example.com", "202-555-0123")
	early := f.ticket(t, app, ana)
	f.Clock.Advance(device.TicketLife - time.Millisecond)
	_, err := f.confirm(servertest.NewKey(t), device.Confirmation{Ticket: early.Words})
	wantErr(t, "a millisecond before its end", err, nil)
	late := f.ticket(t, app, ana)
	f.Clock.Advance(device.TicketLife)
	_, err = f.Devices.LookTicket(t.Context(), late.Words)
	wantErr(t, "looking exactly at its end", err, device.ErrTicket)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Ticket: late.Words})
	wantErr(t, "using it exactly at its end", err, device.ErrTicket)
}

// testNewestTicket: who was shown a ticket before its owner asked for one cannot add a device beside the owner's (T-20).
func testNewestTicket(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	ana, bob := f.User(t, app, "ana@example.com", "202-555-0123"), f.User(t, app, "bob@example.com", "202-555-0199")
	stale, others := f.ticket(t, app, ana), f.ticket(t, app, bob)
	newest := f.ticket(t, app, ana)
	_, err := f.Devices.LookTicket(t.Context(), stale.Words)
	wantErr(t, "looking at the older ticket", err, device.ErrTicket)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Ticket: newest.Words})
	wantErr(t, "the newest ticket", err, nil)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Ticket: stale.Words})
	wantErr(t, "the older ticket", err, device.ErrTicket)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Ticket: others.Words})
	wantErr(t, "another user's ticket", err, nil)
}

// testTicketNoUser: a ticket that an application asks for while the user is being removed must not wait for their return.
func testTicketNoUser(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	ana := f.User(t, app, "ana@example.com", "202-555-0123")
	must(t, f.Tenants.RemoveUser(t.Context(), app, ana.AuthyID))
	_, err := f.Devices.NewTicket(t.Context(), app, ana)
	wantErr(t, "a ticket for a removed user", err, tenant.ErrUser)

	f.User(t, app, "ana@example.com", "202-555-0123")
	f.User(t, app, "bob@example.com", "202-555-0199") // is there, and of no help
	ticket := f.ticket(t, app, ana)
	must(t, f.Exec(t.Context(), `UPDATE users SET removed_at = 1 WHERE id = $1`, ana.ID)) // and nothing else of a removal
	_, err = f.Devices.LookTicket(t.Context(), ticket.Words)
	wantErr(t, "looking at a ticket whose user is gone", err, device.ErrTicket)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Ticket: ticket.Words})
	wantErr(t, "using a ticket whose user is gone", err, device.ErrTicket)
}

// startPhone begins an enrolment by number and returns it with its code, "" when no message left. Time moves on a
// little, so that the newest message can be told.
func (f *fixture) startPhone(t *testing.T, number string) (device.Enrollment, string) {
	t.Helper()
	f.Clock.Advance(time.Millisecond)
	before := len(f.Outbox(t, number))
	e, err := f.Devices.StartPhone(t.Context(), number)
	must(t, err)
	sent := f.Outbox(t, number)
	if len(sent) == before {
		return e, ""
	}
	return e, sent[0].Code
}

const number = "+12025550123"

func testByNumber(t *testing.T, f *fixture) {
	bank, shop := f.App(t, "Bank"), f.App(t, "Shop", func(s *tenant.Settings) { s.CodeDigits, s.CodePeriod = 7, 10 })
	inBank := f.User(t, bank, "ana@bank.example", number[2:])
	f.Clock.Advance(time.Millisecond)
	inShop := f.User(t, shop, "ana@shop.example", number[2:])
	f.User(t, shop, "bob@shop.example", "202-555-0199")
	e, code := f.startPhone(t, number)
	same(t, "the code's length", len(code), 7)
	got, err := f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: e.ID, Code: code[:3] + " " + code[3:]})
	must(t, err)
	if len(got.Grants) != 2 || got.Grants[0].UserID != inBank.ID || got.Grants[1].UserID != inShop.ID {
		t.Fatalf("grants %+v, want one for each user of the number", got.Grants)
	}
	g := got.Grants[1]
	same(t, "the grant's way and code", fmt.Sprint(g.Method, g.Digits, g.Period), fmt.Sprint(device.MethodSMS, 7, tenant.Seconds(10)))
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: e.ID, Code: code})
	wantErr(t, "a used code", err, device.ErrCodeExpired)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: "nothing", Code: code})
	wantErr(t, "no enrolment", err, device.ErrCodeExpired)
}

func testUnknownNumber(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	removed := f.User(t, app, "ana@example.com", number[2:])
	must(t, f.Tenants.RemoveUser(t.Context(), app, removed.AuthyID))
	for what, number := range map[string]string{"a removed user's number": number, "a number nobody has": "+12025550177"} {
		e, err := f.Devices.StartPhone(t.Context(), number)
		must(t, err)
		if e.ID == "" || !e.ExpiresAt.Equal(f.now().Add(device.EnrollmentLife)) {
			t.Errorf("%s: the answer %+v differs from that for a known number", what, e)
		}
	}
	same(t, "messages", len(f.Outbox(t, "")), 0)
	same(t, "jobs", f.state(t, "jobs"), "")

	// Even the right code makes nothing of a number that nobody has.
	d := f.Devices
	kept := device.StoredEnrollment{
		ID: "e1", AccountID: f.Account.ID, Phone: "+12025550166", CodeHash: "h", TriesLeft: 5, CreatedAt: f.now(), ExpiresAt: f.now().Add(time.Minute),
	}
	must(t, d.Store.StartEnrollment(t.Context(), kept, f.jobOf(app, job.Enrollment, kept.ID), f.rec(app)))
	_, _, err := d.Store.EnrollByCode(t.Context(), "e1", func(hash string) bool { return hash == "h" }, f.enrolling("key"))
	wantErr(t, "the right code for nobody's number", err, device.ErrNoUser)
	same(t, "devices", f.state(t, "devices", "grants", "device_sessions", "spent_challenges"), "")
}

// enrolling is what a device tells when the store is asked directly.
func (f *fixture) enrolling(key string) device.Enrolling {
	return device.Enrolling{
		Device: device.NewDevice{Name: "Phone", Platform: "android", PublicKey: key}, Method: device.MethodSMS, Now: f.now(), Actor: "person",
		Spent:   device.Spent{PublicKey: key, Challenge: ident.UUID(), ExpiresAt: f.now().Add(time.Minute)},
		Session: device.Session{Hash: ident.UUID(), CreatedAt: f.now(), ExpiresAt: f.now().Add(time.Hour)},
		Secret: func() device.StoredGrant {
			return device.StoredGrant{ID: ident.Number(), Sealed: []byte("s"), Secret: []byte("p")}
		},
	}
}

func testSecondDevice(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	e, code := f.startPhone(t, number)
	before := f.state(t, "devices", "grants", "device_sessions", "spent_challenges")
	got, err := f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: e.ID, Code: code})
	wantErr(t, "a second device by number", err, device.ErrSecondDevice)
	if got.Session != "" || len(got.Grants) > 0 {
		t.Errorf("the refusal carries %+v", got)
	}
	sameState(t, "after it", f.state(t, "devices", "grants", "device_sessions", "spent_challenges"), before)

	// The number makes grants for those who have none, beside one who has.
	shop := f.App(t, "Shop")
	free := f.User(t, shop, "ana@shop.example", number[2:])
	e, code = f.startPhone(t, number)
	got, err = f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: e.ID, Code: code})
	must(t, err)
	if len(got.Grants) != 1 || got.Grants[0].UserID != free.ID {
		t.Errorf("grants %+v, want one for the user without a device", got.Grants)
	}

	// And again once the first device is gone.
	must(t, f.Devices.RemoveGrant(t.Context(), p.phone.Device, p.grant().ID))
	e, code = f.startPhone(t, number)
	got, err = f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: e.ID, Code: code})
	must(t, err)
	if len(got.Grants) != 1 || got.Grants[0].UserID != p.user.ID {
		t.Errorf("grants %+v, want one for the user whose device is gone", got.Grants)
	}
}

// testSecondDeviceRace: whoever comes second by number is refused; a ticket may always add.
func testSecondDeviceRace(t *testing.T, f *fixture) {
	for i := range 8 {
		app := f.App(t, fmt.Sprint("Bank", i))
		phone := fmt.Sprintf("+1202555010%d", i)
		u := f.User(t, app, "ana@example.com", phone[2:])
		ticket := f.ticket(t, app, u)
		e, code := f.startPhone(t, phone)
		keys := []*ecdsa.PrivateKey{servertest.NewKey(t), servertest.NewKey(t)}
		errs := together(2, func(i int) error {
			c := device.Confirmation{Enrollment: e.ID, Code: code}
			if i == 0 {
				c = device.Confirmation{Ticket: ticket.Words}
			}
			_, err := f.confirm(keys[i], c)
			return err
		})
		wantErr(t, "the ticket", errs[0], nil)
		grants, err := f.Store.GrantsOfUser(t.Context(), u.ID)
		must(t, err)
		first := grants[0].Method
		switch {
		case errs[1] == nil && len(grants) == 2: // the number came first; same time, so either may be listed first
		case errors.Is(errs[1], device.ErrSecondDevice) && len(grants) == 1 && first == device.MethodTicket:
		default:
			t.Errorf("by number: %v, with the grants %+v", errs[1], grants)
		}
	}
}

func testEnrolmentTries(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	f.User(t, app, "ana@example.com", number[2:])
	e, code := f.startPhone(t, number)
	key := servertest.NewKey(t)
	errs := together(64, func(int) error {
		_, err := f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: "0000000x"})
		return err
	})
	wantTally(t, errs, map[error]int{device.ErrCodeWrong: 5, device.ErrCodeExpired: 59})
	_, err := f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code})
	wantErr(t, "the right code after five wrong ones", err, device.ErrCodeExpired)
}

func testNewestEnrolment(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	f.User(t, app, "ana@example.com", number[2:])
	older, olderCode := f.startPhone(t, number)
	newer, newerCode := f.startPhone(t, number)
	f.User(t, app, "bob@example.com", "202-555-0177")
	bobs, bobsCode := f.startPhone(t, "+12025550177") // somebody else's number ends nothing here
	elsewhere := *f.Devices
	elsewhere.AccountID = f.otherAccount(t, "Far").AccountID
	_, err := elsewhere.StartPhone(t.Context(), number) // nor does the same number in another account
	must(t, err)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: older.ID, Code: olderCode})
	wantErr(t, "the older code", err, device.ErrCodeExpired)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: newer.ID, Code: olderCode + "x"})
	wantErr(t, "a wrong code", err, device.ErrCodeWrong)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: newer.ID, Code: newerCode})
	wantErr(t, "the newer code", err, nil)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: bobs.ID, Code: bobsCode})
	wantErr(t, "somebody else's code after it", err, nil)
}

func testEnrolmentExpiry(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	f.User(t, app, "ana@example.com", number[2:])
	e, code := f.startPhone(t, number)
	f.Clock.Advance(device.EnrollmentLife - time.Millisecond)
	_, err := f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: e.ID, Code: code + "x"})
	wantErr(t, "a millisecond before its end", err, device.ErrCodeWrong)
	f.Clock.Advance(time.Millisecond)
	_, err = f.confirm(servertest.NewKey(t), device.Confirmation{Enrollment: e.ID, Code: code})
	wantErr(t, "exactly at its end", err, device.ErrCodeExpired)
}

func testEnrolmentLimit(t *testing.T, f *fixture) {
	for _, number := range []string{number, "+12025550177"} { // known or not: the same
		if number[2:] == "2025550123" {
			f.User(t, f.App(t, "Bank"), "ana@example.com", number[2:])
		}
		for range device.MaxCodes {
			_, err := f.Devices.StartPhone(t.Context(), number)
			must(t, err)
			f.Clock.Advance(time.Minute)
		}
		_, err := f.Devices.StartPhone(t.Context(), number)
		wantErr(t, "a code too many", err, device.ErrLimited)
		wait := device.CodesWindow - device.MaxCodes*time.Minute
		same(t, "when to come back", retryAfter(err), wait)
		f.Clock.Advance(wait - time.Millisecond)
		_, err = f.Devices.StartPhone(t.Context(), number)
		wantErr(t, "a millisecond before the window moves on", err, device.ErrLimited)
		f.Clock.Advance(time.Millisecond)
		_, err = f.Devices.StartPhone(t.Context(), number)
		wantErr(t, "when the window has moved on", err, nil)

		for range device.MaxCodesDay - device.MaxCodes - 1 {
			f.Clock.Advance(device.CodesWindow)
			_, err = f.Devices.StartPhone(t.Context(), number)
			must(t, err)
		}
		f.Clock.Advance(device.CodesWindow)
		_, err = f.Devices.StartPhone(t.Context(), number)
		wantErr(t, "a code too many of the day (T-30)", err, device.ErrLimited)
		f.Clock.Advance(retryAfter(err))
		_, err = f.Devices.StartPhone(t.Context(), number)
		wantErr(t, "the next day", err, nil)
	}
}

// testEnrolmentBudget: strangers may ask for codes without end, so their guesses are counted for the number, known or not (INV-9).
func testEnrolmentBudget(t *testing.T, f *fixture) {
	f.User(t, f.App(t, "Bank"), "ana@example.com", number[2:])
	key := servertest.NewKey(t)
	for _, number := range []string{number, "+12025550177"} {
		for round, wait := range []time.Duration{15 * time.Minute, 30 * time.Minute} {
			e, _ := f.startPhone(t, number)
			for range 5 {
				_, err := f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: "0000000x"})
				wantErr(t, "a wrong code", err, device.ErrCodeWrong)
			}
			e, code := f.startPhone(t, number)
			_, err := f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code + "x"})
			wantErr(t, fmt.Sprint("a guess at a new code, round ", round), err, device.ErrLimited)
			same(t, "when to come back", retryAfter(err), wait-time.Millisecond)
			_, err = f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code})
			wantErr(t, "the right code meanwhile", err, device.ErrLimited)
			f.Clock.Advance(wait)
		}
	}
	e, code := f.startPhone(t, number)
	_, err := f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code})
	wantErr(t, "the right code afterwards", err, nil)

	// A right code gives everything back, also when it makes no device: it was no guess.
	f.Clock.Advance(24 * time.Hour) // room for more codes of the day
	for i := range 6 {
		e, code = f.startPhone(t, number)
		_, err = f.confirm(key, device.Confirmation{Enrollment: e.ID, Code: code})
		wantErr(t, fmt.Sprint("a second device by number, ", i), err, device.ErrSecondDevice)
		f.Clock.Advance(device.CodesWindow)
	}
}

func testEnrolAgain(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	old := p.grant()
	f.Clock.Advance(time.Hour)
	fresh := p.phone.Enroll(t, p.app, p.user)
	same(t, "the device's id", fresh.Device.ID, old.Device.ID)
	same(t, "when it was made", fresh.Device.CreatedAt, old.CreatedAt)
	same(t, "when it was seen", fresh.Device.SeenAt, f.now())
	grants, err := f.Store.GrantsOfUser(t.Context(), p.user.ID)
	must(t, err)
	if len(grants) != 1 || grants[0].ID != fresh.ID {
		t.Errorf("grants %+v, want the new one alone", grants)
	}
	wantErr(t, "a code of the old secret", f.verify(p, appCode(old, f.now())), wrongUnless(appCode(old, f.now()) == appCode(fresh, f.now())))
	wantErr(t, "a code of the new secret", f.verify(p, appCode(fresh, f.now())), nil)
}

func testGrantNumberTaken(t *testing.T, f *fixture) {
	p, app := f.person(t, "Bank"), f.App(t, "Shop")
	u := f.User(t, app, "ana@shop.example", number[2:])
	ticket := device.StoredTicket{Hash: "h", AppID: app.ID, UserID: u.ID, CreatedAt: f.now(), ExpiresAt: f.now().Add(time.Minute)}
	must(t, f.Store.CreateTicket(t.Context(), ticket, f.rec(app)))
	in, draws := f.enrolling("key"), 0
	in.Method = device.MethodTicket
	in.Secret = func() device.StoredGrant {
		if draws++; draws < 4 {
			return device.StoredGrant{ID: p.grant().ID, Sealed: []byte("taken")}
		}
		return device.StoredGrant{ID: ident.Number(), Sealed: []byte("free"), Secret: []byte("secret")}
	}
	_, grants, err := f.Store.EnrollByTicket(t.Context(), "h", in)
	must(t, err)
	if len(grants) != 1 || grants[0].UserID != u.ID || string(grants[0].Secret) != "secret" || draws != 4 {
		t.Errorf("after %d draws: %+v", draws, grants)
	}
	same(t, "the other grant's user", must1(f.Store.Grants(t.Context(), p.phone.Device.ID))[0].UserID, p.user.ID)
}

func testSessions(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	d := p.phone.Device
	ses := device.Session{Hash: "s1", CreatedAt: f.now(), ExpiresAt: f.now().Add(time.Hour)}
	spent := device.Spent{PublicKey: d.PublicKey, Challenge: "c1", ExpiresAt: f.now().Add(time.Minute)}
	must(t, f.Store.OpenSession(t.Context(), d.ID, ses, spent))
	got, err := f.Store.DeviceBySession(t.Context(), "s1", f.now().Add(time.Hour-time.Millisecond))
	must(t, err)
	same(t, "the session's device", got, d)
	_, err = f.Store.DeviceBySession(t.Context(), "s1", f.now().Add(time.Hour))
	wantErr(t, "a session exactly at its end", err, device.ErrNotSignedIn)
	_, err = f.Store.DeviceBySession(t.Context(), "s2", f.now())
	wantErr(t, "no session", err, device.ErrNotSignedIn)

	ses.Hash = "s2"
	wantErr(t, "a used challenge", f.Store.OpenSession(t.Context(), d.ID, ses, spent), device.ErrNotSignedIn)
	_, err = f.Store.DeviceBySession(t.Context(), "s2", f.now())
	wantErr(t, "the session of a used challenge", err, device.ErrNotSignedIn)
	spent.PublicKey = "another key"
	wantErr(t, "the same challenge used by another key", f.Store.OpenSession(t.Context(), d.ID, ses, spent), nil)

	must(t, f.Store.CloseSession(t.Context(), "s1"))
	must(t, f.Store.CloseSession(t.Context(), "s1"))
	_, err = f.Store.DeviceBySession(t.Context(), "s1", f.now())
	wantErr(t, "a closed session", err, device.ErrNotSignedIn)
	_, err = f.Store.DeviceBySession(t.Context(), "s2", f.now())
	wantErr(t, "another session of the device", err, nil)

	got, err = f.Store.DeviceByID(t.Context(), d.ID)
	must(t, err)
	same(t, "the device", got, d)
	_, err = f.Store.DeviceByID(t.Context(), "nothing")
	wantErr(t, "no device", err, device.ErrNotSignedIn)
}

func testTouch(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	d := p.phone.Device
	for _, step := range []struct{ at, want time.Duration }{{time.Hour, time.Hour}, {time.Minute, time.Hour}, {2 * time.Hour, 2 * time.Hour}} {
		must(t, f.Store.TouchDevice(t.Context(), d.ID, f.now().Add(step.at)))
		got, err := f.Store.DeviceByID(t.Context(), d.ID)
		must(t, err)
		same(t, "last seen never goes back", got.SeenAt, f.now().Add(step.want))
	}
	must(t, f.Store.TouchDevice(t.Context(), "nothing", f.now().Add(3*time.Hour)))
	got, err := f.Store.DeviceByID(t.Context(), d.ID)
	must(t, err)
	same(t, "last seen when another device is", got.SeenAt, f.now().Add(2*time.Hour))
}

func testGrantLists(t *testing.T, f *fixture) {
	p := f.person(t, "Zoo")
	f.Clock.Advance(time.Second)
	tablet := f.Phone(t, p.app, p.user)
	f.Clock.Advance(time.Second)
	app := f.App(t, "Ant")
	other := f.User(t, app, "ana@ant.example", number[2:])
	p.phone.Enroll(t, app, other)
	f.Phone(t, app, f.User(t, app, "bob@ant.example", "202-555-0199")) // a stranger's

	inZoo, onTablet, inAnt := p.phone.Grants[0].ID, tablet.Grants[0].ID, p.phone.Grants[1].ID
	own, err := f.Store.Grants(t.Context(), p.phone.Device.ID)
	must(t, err)
	same(t, "a device's own, oldest first", fmt.Sprint(ids(own)), fmt.Sprint([]int64{inZoo, inAnt}))
	ofUser, err := f.Store.GrantsOfUser(t.Context(), p.user.ID)
	must(t, err)
	same(t, "a user's, oldest first", fmt.Sprint(ids(ofUser)), fmt.Sprint([]int64{inZoo, onTablet}))
	beside, err := f.Store.GrantsBeside(t.Context(), p.phone.Device.ID)
	must(t, err)
	same(t, "those beside, by application", fmt.Sprint(ids(beside)), fmt.Sprint([]int64{inAnt, inZoo, onTablet}))
	for _, g := range slices.Concat(own, ofUser, beside) {
		if g.Secret != nil {
			t.Error("a list carries a secret")
		}
	}
	want := withoutSecret(p.phone.Grants[0])
	want.Device = p.phone.Device // as it was seen last
	same(t, "one of them, whole", fmt.Sprint(own[0]), fmt.Sprint(want))

	platform, err := f.Store.HasGrant(t.Context(), p.user.ID)
	must(t, err)
	same(t, "the platform of the newest device", platform, "android")
	platform, err = f.Store.HasGrant(t.Context(), "nobody")
	must(t, err)
	same(t, "the platform of nobody", platform, "")
}

func withoutSecret(g device.Grant) device.Grant {
	g.Secret = nil
	return g
}

func ids(grants []device.Grant) (list []int64) {
	for _, g := range grants {
		list = append(list, g.ID)
	}
	return list
}

func testRemoveGrant(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	tablet := f.Phone(t, p.app, p.user)
	shown := appCode(tablet.Grants[0], f.now())
	f.Clock.Advance(time.Millisecond)
	rec := audit.New(f.now(), "", "device:x", "grant.removed", "grant")
	gone, err := f.Store.RemoveGrant(t.Context(), p.phone.Device.ID, tablet.Grants[0].ID, f.now(), rec)
	must(t, err)
	same(t, "the removed grant", fmt.Sprint(gone), fmt.Sprint(withoutSecret(tablet.Grants[0])))
	wantErr(t, "a code of the removed grant", f.verify(p, shown), wrongUnless(shown == p.code(f.now())))
	_, err = f.Store.RemoveGrant(t.Context(), p.phone.Device.ID, tablet.Grants[0].ID, f.now(), rec)
	wantErr(t, "removed twice", err, device.ErrGrant)
	_, err = f.Store.RemoveGrant(t.Context(), tablet.Device.ID, p.grant().ID, f.now(), rec)
	wantErr(t, "removed by a device without a grant", err, device.ErrGrant)
	rows, err := f.Rows(t.Context(), "audit WHERE action = 'grant.removed' AND app_id = '"+p.app.ID+"'")
	must(t, err)
	same(t, "records of the removal, under the grant's application", len(rows), 1)

	errs := together(16, func(int) error {
		_, err := f.Store.RemoveGrant(context.Background(), p.phone.Device.ID, p.grant().ID, f.now(), audit.New(f.now(), "", "x", "x", "x"))
		return err
	})
	wantTally(t, errs, map[error]int{nil: 1, device.ErrGrant: 15})
	platform, err := f.Store.HasGrant(t.Context(), p.user.ID)
	must(t, err)
	same(t, "a platform after all grants are gone", platform, "")
	same(t, "grants of the device", len(must1(f.Store.Grants(t.Context(), p.phone.Device.ID))), 0)
	same(t, "grants of the user", len(must1(f.Store.GrantsOfUser(t.Context(), p.user.ID))), 0)
	same(t, "grants beside", len(must1(f.Store.GrantsBeside(t.Context(), p.phone.Device.ID))), 0)
}

func testRegistrationsAtOnce(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	now := f.now().Unix()
	signed := token.Sign(f.Key(t, app), fmt.Appendf(nil, `{"iat":%d,"exp":%d,"context":{"custom_user_id":"emp-1","authy_app_id":%d}}`, now, now+600, app.Serial))
	var mu sync.Mutex
	tickets := map[string]int{}
	wantTally(t, together(16, func(int) error {
		ticket, err := f.Devices.Register(context.Background(), signed)
		mu.Lock()
		defer mu.Unlock()
		tickets[ticket.Words]++
		return err
	}), map[error]int{nil: 16})
	same(t, "users", len(must1(f.Rows(t.Context(), "users"))), 1)
	live := 0
	for words := range tickets {
		if _, err := f.Devices.LookTicket(t.Context(), words); err == nil {
			live++
		}
	}
	same(t, "tickets that work", live, 1)
	same(t, "tickets", len(tickets), 16)
}
