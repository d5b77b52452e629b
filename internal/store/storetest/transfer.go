package storetest

import (
	"slices"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/transfer"
)

// This file tests importing and exporting users.

var transferTests = []test{
	{"users come in once", testImport},
	{"who is there already is the same or refused", testImportAgain},
	{"an imported secret's codes are right, once each", testImportedSecret},
	{"INV-10 a batch is recorded or not there", testINV10Import},
	{"INV-11 users of two applications", testINV11Import},
	{"users go out in batches", testExport},
}

const commandLine = "command"

func (f *fixture) users() *transfer.Service {
	return &transfer.Service{Store: f.Store, Ring: f.Ring, Now: f.Clock.Now}
}

func takesCodes(s *tenant.Settings) { s.GenericTokens, s.ExportSecrets = true, true }

var (
	importedSecret = transfer.Secret{Key: []byte("12345678901234567890"), Digits: 7, Period: 10}
	importedRows   = []transfer.Row{
		{Line: 2, AuthyID: 1635, CountryCode: 1, Phone: "+12025550101", Email: "ana@example.com"},
		{Line: 3, AuthyID: 7, CountryCode: 351, Phone: "+351912345678", Secret: &importedSecret},
		{Line: 4, AuthyID: 1 << 30, CountryCode: 39, Phone: "+390612345678", Email: "carlo@example.com"},
	}
)

// imported takes rows in, and checks the counts and the codes of the refusals.
func (f *fixture) imported(t *testing.T, app tenant.Application, rows []transfer.Row, dry bool, added, there int64, refused ...string) {
	t.Helper()
	done, err := f.users().Import(t.Context(), app, rows, dry, commandLine)
	must(t, err)
	same(t, "added", done.Added, added)
	same(t, "there already", done.Same, there)
	var codes []string
	for _, r := range done.Refused {
		codes = append(codes, r.Code)
	}
	if !slices.Equal(codes, refused) {
		t.Errorf("refused %v, want %v", codes, refused)
	}
}

// imports returns the notes of the application's records of imports, oldest first.
func (f *fixture) imports(t *testing.T, app tenant.Application, action string) (notes []string) {
	t.Helper()
	records, err := f.Store.Audit(t.Context(), app.ID, 100)
	must(t, err)
	for _, r := range slices.Backward(records) {
		if r.Action == action {
			same(t, "actor", r.Actor, commandLine)
			same(t, "outcome", r.Outcome, audit.OK)
			notes = append(notes, r.Note)
		}
	}
	return notes
}

func testImport(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", takesCodes)
	f.imported(t, app, importedRows, true, 3, 0)
	_, err := f.Store.UserByAuthyID(t.Context(), app.ID, 1635)
	wantErr(t, "a user after a dry run", err, tenant.ErrUser)
	f.imported(t, app, importedRows, false, 3, 0)
	f.imported(t, app, importedRows, false, 0, 3)
	f.imported(t, app, importedRows, true, 0, 3)
	if notes := f.imports(t, app, "users.imported"); !slices.Equal(notes, []string{"3 users, 1 with a secret"}) {
		t.Errorf("recorded %q", notes)
	}
	u, err := f.Store.UserByAuthyID(t.Context(), app.ID, 1635)
	must(t, err)
	same(t, "phone", u.Phone, "+12025550101")
	same(t, "country code", u.CountryCode, 1)
	same(t, "e-mail", u.Email, "ana@example.com")
	same(t, "confirmed", u.Confirmed, false)
	// The application registers the same person again, and gets the id that it knows.
	again, err := f.Tenants.AddUser(t.Context(), app, tenant.NewUser{Email: "ana@example.com", CountryCode: "1", Phone: "2025550101"})
	must(t, err)
	same(t, "authy_id", again.AuthyID, 1635)
}

func testImportAgain(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", takesCodes)
	f.imported(t, app, importedRows, false, 3, 0)
	gone := transfer.Row{AuthyID: 99, CountryCode: 1, Phone: "+12025550199"}
	f.imported(t, app, []transfer.Row{gone}, false, 1, 0)
	must(t, f.Tenants.RemoveUser(t.Context(), app, 99))

	ana, bea := importedRows[0], importedRows[1]
	other := func(r transfer.Row, change func(*transfer.Row)) transfer.Row {
		change(&r)
		return r
	}
	rows := []transfer.Row{
		other(ana, func(r *transfer.Row) { r.Email = "" }), // says nothing of it
		other(ana, func(r *transfer.Row) { r.Email = "ann@example.com" }),
		other(ana, func(r *transfer.Row) { r.Phone = "+12025550102" }),
		other(ana, func(r *transfer.Row) { r.AuthyID = 1636 }),
		other(ana, func(r *transfer.Row) { r.Phone = bea.Phone; r.CountryCode = bea.CountryCode }),
		other(ana, func(r *transfer.Row) { r.Secret = &importedSecret }),
		other(bea, func(r *transfer.Row) { r.Secret = nil }),
		other(bea, func(r *transfer.Row) { s := importedSecret; s.Period = 30; r.Secret = &s }),
		other(bea, func(r *transfer.Row) { s := importedSecret; s.Key = []byte("12345678901234567891"); r.Secret = &s }),
		gone,
		{AuthyID: 5, CountryCode: 1, Phone: "+12025550105"},
		{AuthyID: 5, CountryCode: 1, Phone: "+12025550106"}, // the line before has it
		{AuthyID: 6, CountryCode: 1, Phone: "+12025550105"},
	}
	refused := []string{
		"email-differs", "authy-id-taken", "phone-taken", "", "secret-differs", "secret-differs", "secret-differs", "user-removed", "authy-id-taken", "phone-taken",
	}
	done, err := f.users().Import(t.Context(), app, rows, false, commandLine)
	must(t, err)
	same(t, "added", done.Added, 1)
	same(t, "there already", done.Same, 2)
	same(t, "refused", len(done.Refused), len(refused))
	for i, r := range done.Refused {
		if want := refused[i]; r.Code != want && (want != "" || r.Code != "authy-id-taken" && r.Code != "phone-taken") {
			t.Errorf("refusal %d is %s, want %s", i, r.Code, want)
		}
	}
	f.imported(t, app, importedRows, false, 0, 3) // nothing was changed
}

func testImportedSecret(t *testing.T, f *fixture) {
	off := f.App(t, "Old")
	_, err := f.users().Import(t.Context(), off, importedRows, false, commandLine)
	wantErr(t, "secrets that would never be asked", err, otp.ErrGenericOff)
	same(t, "nobody is there", len(f.imports(t, off, "users.imported")), 0)

	app := f.App(t, "Bank", takesCodes)
	f.imported(t, app, importedRows, false, 3, 0)
	u, err := f.Store.UserByAuthyID(t.Context(), app.ID, 7)
	must(t, err)
	code := otp.HOTP(importedSecret.Key, uint64(otp.Step(f.Clock.Now(), 10*time.Second)), 7)
	results := tally(together(20, func(int) error { _, err := f.Codes.Verify(t.Context(), app, u, code, ""); return err }))
	same(t, "how often the code was right (INV-1)", results[""], 1)
	old := otp.HOTP(importedSecret.Key, uint64(otp.Step(f.Clock.Now(), 10*time.Second)-5), 7)
	_, err = f.Codes.Verify(t.Context(), app, u, old, "")
	wantErr(t, "a code of 50 seconds ago", err, otp.ErrWrong)
}

func testINV10Import(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", takesCodes)
	f.without(t, "audit", func() {
		if _, err := f.users().Import(t.Context(), app, importedRows, false, commandLine); err == nil {
			t.Error("an import that cannot be recorded is done")
		}
	})
	f.imported(t, app, importedRows, false, 3, 0)
	f.without(t, "audit", func() {
		if rows, err := f.users().Export(t.Context(), app, 0, false, commandLine); err == nil || len(rows) > 0 {
			t.Error("an export that cannot be recorded is told")
		}
	})
}

func testINV11Import(t *testing.T, f *fixture) {
	bank, shop := f.App(t, "Bank", takesCodes), f.App(t, "Shop", takesCodes)
	f.imported(t, bank, importedRows, false, 3, 0)
	f.imported(t, shop, importedRows, true, 3, 0)
	rows, err := f.users().Export(t.Context(), shop, 0, true, commandLine)
	must(t, err)
	same(t, "users of the other application", len(rows), 0)
	f.imported(t, shop, importedRows, false, 3, 0)
}

func testExport(t *testing.T, f *fixture) {
	app := f.App(t, "Bank", takesCodes)
	var want []transfer.Row
	for i := range transfer.BatchSize + 5 {
		want = append(want, transfer.Row{AuthyID: int64(100 + 7*i), CountryCode: 1, Phone: "+1202555" + string([]byte{byte('0' + i/1000), byte('0' + i/100%10), byte('0' + i/10%10), byte('0' + i%10)})})
	}
	want[3].Secret, want[7].Email = &importedSecret, "hal@example.com"
	_, err := f.users().Import(t.Context(), app, make([]transfer.Row, transfer.BatchMax+1), false, commandLine)
	wantErr(t, "more than a batch", err, transfer.ErrBatch)
	f.imported(t, app, want[:transfer.BatchSize], false, transfer.BatchSize, 0)
	f.imported(t, app, want[transfer.BatchSize:], false, 5, 0)
	must(t, f.Tenants.RemoveUser(t.Context(), app, want[9].AuthyID))
	want = slices.Delete(want, 9, 10)

	all := func(app tenant.Application, secrets bool) (got []transfer.Row) {
		for after := int64(0); ; after = got[len(got)-1].AuthyID {
			f.Clock.Advance(time.Millisecond) // so that records have an order
			rows, err := f.users().Export(t.Context(), app, after, secrets, commandLine)
			must(t, err)
			if len(rows) == 0 {
				return got
			}
			got = append(got, rows...)
		}
	}
	for _, secrets := range []bool{true, false} {
		got := all(app, secrets)
		same(t, "users", len(got), len(want))
		for i, g := range got {
			w := want[i]
			if g.AuthyID != w.AuthyID || g.Phone != w.Phone || g.Email != w.Email || g.CountryCode != w.CountryCode || (g.Secret != nil) != (secrets && w.Secret != nil) {
				t.Fatalf("user %d is %+v, want %+v", i, g, w)
			}
			if g.Secret != nil && (string(g.Secret.Key) != string(w.Secret.Key) || g.Secret.Digits != 7 || g.Secret.Period != 10) {
				t.Error("the secret is another one")
			}
		}
	}
	notes := f.imports(t, app, "users.exported")
	if want := []string{"1000 users, 1 with a secret", "4 users, 0 with a secret", "1000 users, 0 with a secret", "4 users, 0 with a secret"}; !slices.Equal(notes, want) {
		t.Errorf("recorded %q", notes)
	}
	closed := f.App(t, "Closed", func(s *tenant.Settings) { s.GenericTokens = true })
	f.imported(t, closed, importedRows, false, 3, 0)
	_, err = f.users().Export(t.Context(), closed, 0, true, commandLine)
	wantErr(t, "secrets that the application keeps", err, otp.ErrExportOff)
	same(t, "users without their secrets", len(all(closed, false)), 3)
}
