package storetest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/tenant"
)

// This file tests what reports read.

var reportingTests = []test{
	{"records in a span of time, newest first, up to a limit", testEachRecord},
	{"INV-11 a user by id is the application's own", testUserByID},
	{"reports on both engines", testReporting},
}

// recorded keeps n records of an application, a second after each other from now on.
func (f *fixture) recorded(t *testing.T, app tenant.Application, n int) {
	t.Helper()
	for i := range n {
		must(t, f.Store.Record(t.Context(), audit.New(f.now().Add(time.Duration(i)*time.Second), app.ID, "test", "test.done", fmt.Sprint("test:", i))))
	}
}

func testEachRecord(t *testing.T, f *fixture) {
	app, other := f.App(t, "Bank"), f.App(t, "Shop")
	f.Clock.Advance(time.Hour)
	f.recorded(t, app, 6)
	f.recorded(t, other, 3)
	from, to := f.now().Add(time.Second), f.now().Add(5*time.Second)
	for _, row := range []struct {
		limit, stop int
		want        string
	}{
		{10, 10, "4 3 2 1"}, // the first included, the end not
		{3, 10, "4 3 2"},
		{10, 2, "4 3"},
	} {
		var got []string
		n, err := f.Store.EachRecord(t.Context(), app.ID, from, to, row.limit, func(r audit.Record) bool {
			got = append(got, r.Subject("test"))
			return len(got) < row.stop
		})
		must(t, err)
		same(t, "records", strings.Join(got, " "), row.want)
		same(t, "count", n, len(got))
	}
}

func testUserByID(t *testing.T, f *fixture) {
	p, other := f.person(t, "Bank"), f.App(t, "Shop")
	u, err := f.Store.UserByID(t.Context(), p.app.ID, p.user.ID)
	must(t, err)
	same(t, "the user", u.AuthyID, p.user.AuthyID)
	_, err = f.Store.UserByID(t.Context(), other.ID, p.user.ID)
	wantErr(t, "another application's", err, tenant.ErrUser)
	must(t, f.Tenants.RemoveUser(t.Context(), p.app, p.user.AuthyID))
	_, err = f.Store.UserByID(t.Context(), p.app.ID, p.user.ID)
	must(t, err)
}

func testReporting(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	must(t, f.verify(p, p.code(f.now())))
	q := reporting.Query{From: f.now().Add(-time.Hour), To: f.now().Add(time.Hour)}
	events, err := f.Reports.Page(t.Context(), p.app, q, 1, 100)
	must(t, err)
	names := map[string]int{}
	for _, e := range events {
		names[e.Name]++
		if e.User == nil || e.User.ID != p.user.ID || e.Phone == "" || strings.Contains(e.Phone, p.user.National()) {
			t.Errorf("%s is about %+v, %q", e.Name, e.User, e.Phone)
		}
	}
	same(t, "events", fmt.Sprint(names), "map[device_registration_completed:1 token_verified:1 user_added:1 user_registration_completed:1]")
}
