// Package storetest is the conformance suite of the store: what every database engine must do alike.
//
// It tests the methods by the comments of the domain's Store interfaces, and the invariants of the security reference
// through the real services: each test of an invariant bears its name. It covers create and read, every named error,
// concurrency, boundaries of time, and two applications and accounts that must not see each other.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// suite is all of it.
var suite = []struct {
	name  string
	tests []test
}{
	{"Tenants", tenantTests},
	{"Operators", operatorTests},
	{"Devices", deviceTests},
	{"Codes", codeTests},
	{"Sending", sendingTests},
	{"DropIn", dropInTests},
	{"Transfer", transferTests},
	{"Resets", resetTests},
	{"Approvals", approvalTests},
	{"Fatigue", fatigueTests},
	{"Callbacks", callbackTests},
	{"Signing", signingTests},
	{"Reporting", reportingTests},
	{"Webhooks", webhookTests},
	{"Jobs", jobTests},
	{"Push", pushTests},
	{"Keys", keyTests},
	{"Messages", messageTests},
	{"Audit", auditTests},
	{"Retention", retentionTests},
	{"Invariants", invariantTests},
	{"Isolation", isolationTests},
	{"Histories", historyTests},
	{"Model", modelTests},
}

// Run runs the suite. Open returns an empty database that ends with the test, of a store that also has the test methods
// of direct (export_test.go in the store's package). Groups are the names of those to run; none means all.
func Run(t *testing.T, open func(t *testing.T) *store.Store, groups ...string) {
	for _, group := range suite {
		if len(groups) > 0 && !slices.Contains(groups, group.name) {
			continue
		}
		t.Run(group.name, func(t *testing.T) {
			for _, test := range group.tests {
				t.Run(test.name, func(t *testing.T) {
					t.Parallel()
					test.run(t, newFixture(t, open(t)))
				})
			}
		})
	}
}

type test struct {
	name string
	run  func(t *testing.T, f *fixture)
}

// fixture is the real services over the store under test, and a way around them.
type fixture struct {
	*servertest.Server
	direct
}

// direct is what export_test.go gives the store.
type direct interface {
	Exec(ctx context.Context, q string, args ...any) error
	Rows(ctx context.Context, table string) ([]string, error)
	Failing(fail func(sql string) error) *store.Store
}

func newFixture(t *testing.T, db *store.Store) *fixture {
	t.Helper()
	d, ok := any(db).(direct)
	if !ok {
		t.Fatal("the store has no test methods: run the suite from the store's own package")
	}
	return &fixture{servertest.On(t, db), d}
}

// now is the test's time, which stands still.
func (f *fixture) now() time.Time { return f.Clock.Now() }

// rec is an audit record for methods that are called directly.
func (f *fixture) rec(app tenant.Application) audit.Record {
	return audit.New(f.now(), app.ID, "test", "test.done", "test")
}

// person is an application with a user who has a phone.
type person struct {
	app   tenant.Application
	user  tenant.User
	phone *servertest.Phone
}

// grant is the phone's grant for the person.
func (p person) grant() device.Grant { return p.phone.Grants[0] }

// code is what the person's phone shows at a time.
func (p person) code(at time.Time) string { return appCode(p.grant(), at) }

func appCode(g device.Grant, at time.Time) string {
	return otp.HOTP(g.Secret, uint64(otp.Step(at, g.Period.Duration())), g.Digits)
}

// wrong is a code that no candidate has: real ones are decimal.
const wrong = "wrong!"

// person makes an application, a user and a phone.
func (f *fixture) person(t *testing.T, name string, change ...func(*tenant.Settings)) person {
	t.Helper()
	app := f.App(t, name, change...)
	user := f.User(t, app, strings.ToLower(name)+"@example.com", "202-555-0123")
	return person{app, user, f.Phone(t, app, user)}
}

// patient lifts the limits on approvals that a test is not about.
func patient(s *tenant.Settings) { s.WaitingMax, s.UnapprovedHour, s.UnapprovedBurst = 1000, 0, 0 }

// otherAccount makes a second account with an application of its own.
func (f *fixture) otherAccount(t *testing.T, name string) tenant.Application {
	t.Helper()
	account := ident.New(f.now())
	err := f.Exec(t.Context(), `INSERT INTO accounts (id, name, owner_email, created_at) VALUES ($1, 'Other', 'other@example.net', $2)`,
		account, f.now().Add(time.Hour).UnixMilli())
	must(t, err)
	settings := tenant.NewIntegration()
	settings.Match = tenant.MatchOff
	app, err := f.Tenants.CreateApplication(t.Context(), account, name, settings, "operator:test")
	must(t, err)
	return app
}

// sms sends a code and returns it. Time moves on a little, so that the newest message can be told.
func (f *fixture) sms(t *testing.T, p person, action string) string {
	t.Helper()
	f.Clock.Advance(time.Millisecond)
	_, err := f.Codes.Send(t.Context(), p.app, p.user, otp.Request{Channel: otp.SMS, Force: true, Action: action})
	must(t, err)
	return f.Delivered(t, p.user.Phone).Code
}

// verify checks a code and returns the error alone.
func (f *fixture) verify(p person, code string) error {
	_, err := f.Codes.Verify(context.Background(), p.app, p.user, code, "")
	return err
}

// tables are those that hold state; audit is left out.
var tables = []string{
	"accounts", "applications", "api_keys", "users", "user_emails", "devices", "device_sessions", "spent_challenges", "grants",
	"tickets", "enrollments", "approvals", "sent_codes", "budgets", "jobs", "callback_tries", "outbox", "messages", "message_reports",
	"activities", "generic_secrets",
}

// state returns all rows of those tables, or of all that hold state.
func (f *fixture) state(t *testing.T, of ...string) string {
	t.Helper()
	if len(of) == 0 {
		of = tables
	}
	var all []string
	for _, table := range of {
		rows, err := f.Rows(t.Context(), table)
		must(t, err)
		all = append(all, rows...)
	}
	return strings.Join(all, "\n")
}

// sameState fails the test with the rows that came and went.
func sameState(t testing.TB, when, got, want string) {
	t.Helper()
	came, went := lines(got), lines(want)
	for row := range came {
		if _, ok := went[row]; ok {
			delete(came, row)
			delete(went, row)
		}
	}
	if len(came)+len(went) > 0 {
		t.Errorf("%s there came %q and there went %q", when, slices.Collect(maps.Keys(came)), slices.Collect(maps.Keys(went)))
	}
}

func lines(s string) map[string]bool {
	set := map[string]bool{}
	for row := range strings.SplitSeq(s, "\n") {
		set[row] = true
	}
	return set
}

// without runs do while a table is gone, so that whatever needs it fails.
func (f *fixture) without(t *testing.T, table string, do func()) {
	t.Helper()
	must(t, f.Exec(t.Context(), "ALTER TABLE "+table+" RENAME TO gone"))
	defer func() { must(t, f.Exec(t.Context(), "ALTER TABLE gone RENAME TO "+table)) }()
	do()
}

// together runs do n times at once and returns what each returned.
func together(n int, do func(i int) error) []error {
	var all sync.WaitGroup
	start := make(chan struct{})
	errs := make([]error, n)
	for i := range n {
		all.Go(func() {
			<-start
			errs[i] = do(i)
		})
	}
	close(start)
	all.Wait()
	return errs
}

// tally counts errors by text, "" for none.
func tally(errs []error) map[string]int {
	counts := map[string]int{}
	for _, err := range errs {
		text := ""
		if err != nil {
			text = err.Error()
		}
		counts[text]++
	}
	return counts
}

// wantTally fails the test unless the errors are exactly those, as often.
func wantTally(t *testing.T, errs []error, want map[error]int) {
	t.Helper()
	texts := map[string]int{}
	for err, n := range want {
		if n == 0 {
			continue
		}
		if err == nil {
			texts[""] += n
		} else {
			texts[err.Error()] += n
		}
	}
	if got := tally(errs); fmt.Sprint(got) != fmt.Sprint(texts) {
		t.Errorf("outcomes %v, want %v", got, texts)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantErr fails the test unless err is want; nil means success.
func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

func same[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func must1[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// wrongUnless is otp.ErrWrong, but for the one time in a million that two secrets show the same code.
func wrongUnless(equal bool) error {
	if equal {
		return nil
	}
	return otp.ErrWrong
}

// retryAfter is when a limited caller is told to come back.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
