package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/tenant"
)

var fatigueTests = []test{
	{"T-10 each denial and expiry makes the next request wait longer", testWaits},
	{"T-10 waits hold for who asks at once", testWaitsAtOnce},
	{"T-10 it was not me", testNotMe},
	{"T-10 a flood ends in silence", testFlood},
	{"T-10 not me tells nothing of other applications", testNotMeIsolation},
	{"T-11 a wrong number counts as a denial", testWrongNumberWaits},
	{"T-17 where it was started is kept, shown and signed", testContext},
}

// tired gives an application the limits of a new integration.
func tired(s *tenant.Settings) {
	sending := s.Sending
	*s = tenant.NewIntegration()
	s.Sending, s.Match = sending, tenant.MatchOff
}

func (f *fixture) request(t *testing.T, p person) (approval.Approval, error) {
	t.Helper()
	return f.Approvals.Create(t.Context(), p.app, p.user, approval.Request{Message: "Log in?"})
}

func testWaits(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", tired, func(s *tenant.Settings) { s.UnapprovedHour, s.UnapprovedBurst = 0, 0 })
	end := []func(a approval.Approval){
		func(a approval.Approval) { must1(p.phone.Answer(t, a.UUID, approval.Deny, "")) },
		func(a approval.Approval) { f.Clock.Advance(a.ExpiresAt.Sub(f.now())) },
	}
	for i, want := range []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, time.Hour, time.Hour} {
		asked, err := f.request(t, p)
		must(t, err)
		f.Clock.Advance(time.Second)
		end[i%2](asked)
		_, err = f.request(t, p)
		wantErr(t, fmt.Sprint("right after end ", i+1), err, approval.ErrPause)
		same(t, fmt.Sprint("wait ", i+1), retryAfter(err), want)
		f.Clock.Advance(want - time.Millisecond)
		_, err = f.request(t, p)
		wantErr(t, "a millisecond before", err, approval.ErrPause)
		f.Clock.Advance(time.Millisecond)
	}
	asked, err := f.request(t, p)
	must(t, err)
	must1(p.phone.Answer(t, asked.UUID, approval.Approve, ""))
	f.Clock.Advance(time.Second)
	asked, err = f.request(t, p)
	wantErr(t, "after an approval", err, nil)
	must1(f.Approvals.Cancel(t.Context(), p.app, asked.UUID))
	asked, err = f.request(t, p)
	wantErr(t, "after one that the application withdrew", err, nil)
	must1(p.phone.Answer(t, asked.UUID, approval.Deny, ""))
	_, err = f.request(t, p)
	same(t, "the wait begins anew", retryAfter(err), 30*time.Second)
}

func testWaitsAtOnce(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", tired)
	errs := together(32, func(int) error { _, err := f.request(t, p); return err })
	wantTally(t, errs, map[error]int{nil: 3, approval.ErrWaiting: 29})
	for _, a := range must1(f.Approvals.Inbox(t.Context(), p.phone.Device)).Waiting {
		must1(p.phone.Answer(t, a.UUID, approval.Deny, ""))
	}
	f.Clock.Advance(10 * time.Minute)
	wantTally(t, together(32, func(int) error { _, err := f.request(t, p); return err }), map[error]int{nil: 1, approval.ErrWaiting: 31})
}

func testNotMe(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", tired)
	must(t, f.Tenants.SetCallback(t.Context(), p.app.AccountID, p.app.ID, "https://bank.example/hook", "operator:x"))
	tablet := f.Phone(t, p.app, p.user)
	theirs, also := must1(f.request(t, p)), must1(f.request(t, p))
	waits := f.Live.Subscribe(live.ApprovalTopic(also.UUID))
	defer waits.Close()
	decided, err := p.phone.Answer(t, theirs.UUID, approval.NotMe, "")
	must(t, err)
	same(t, "status and reason", string(decided.Status)+" "+decided.Reason, "denied not-me")
	again, err := p.phone.Answer(t, theirs.UUID, approval.NotMe, "")
	wantErr(t, "the same answer again", err, nil)
	same(t, "its reason", again.Reason, approval.NotMe)
	_, err = p.phone.Answer(t, theirs.UUID, approval.Approve, "")
	wantErr(t, "an approval after it", err, approval.ErrNotPending)

	// The report is inside the signature: it proves itself, and is no plain denial.
	want := receipt.Expected{
		Origin: f.Approvals.Origin, Application: p.app.ID, User: p.user.AuthyID, Approval: theirs.UUID, Content: receipt.Content{Application: "Bank", Message: "Log in?"},
		Decision: receipt.NotMe, Keys: []string{p.phone.Device.PublicKey},
	}
	must(t, decided.Receipt().Verify(want))
	want.Decision = receipt.Deny
	wantErr(t, "as a plain denial", decided.Receipt().Verify(want), receipt.ErrMismatch)

	// The application hears of it.
	same(t, "callbacks", len(f.Jobs.Offered(job.Callback)), 1)
	var actions []string
	for _, r := range must1(f.Store.Audit(t.Context(), p.app.ID, 20)) {
		actions = append(actions, r.Action)
	}
	if !slices.Contains(actions, "approvals.stopped") || !slices.Contains(actions, "approval.denied") {
		t.Errorf("audit %v", actions)
	}

	// So do the person's other devices, and what else waited is gone.
	reports := must1(f.Approvals.Inbox(t.Context(), tablet.Device)).Reports
	want1 := []approval.Report{{Application: "Bank", Account: p.user.Email, Device: "Test phone", At: f.now(), Until: f.now().Add(approval.StopFor)}}
	same(t, "reports on the other device", fmt.Sprint(reports), fmt.Sprint(want1))
	other := must1(f.Approvals.Get(t.Context(), p.app.ID, also.UUID))
	same(t, "the other request", string(other.Status)+" "+other.Reason, "cancelled not-me")
	same(t, "who waits for it is woken", len(waits.Take()), 1)
	same(t, "waiting", len(must1(f.Approvals.Inbox(t.Context(), tablet.Device)).Waiting), 0)

	_, err = f.request(t, p)
	wantErr(t, "a request after it", err, approval.ErrReported)
	same(t, "when to come back", retryAfter(err), approval.StopFor)
	wantErr(t, "a code goes on working", f.verify(p, p.code(f.now())), nil)
	f.Clock.Advance(approval.StopFor - time.Millisecond)
	_, err = f.request(t, p)
	wantErr(t, "a millisecond before its end", err, approval.ErrReported)
	f.Clock.Advance(time.Millisecond)
	_, err = f.request(t, p)
	wantErr(t, "when it is over", err, nil)
	same(t, "reports when it is over", len(must1(f.Approvals.Inbox(t.Context(), tablet.Device)).Reports), 0)
}

func testNotMeIsolation(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", tired)
	shop := f.App(t, "Shop", tired)
	other := person{app: shop, user: f.User(t, shop, "ana@example.com", "202-555-0123"), phone: p.phone}
	p.phone.Enroll(t, shop, other.user)
	stranger := f.person(t, "Foreign", tired)
	asked, elsewhere := must1(f.request(t, p)), must1(f.request(t, other))
	must1(p.phone.Answer(t, asked.UUID, approval.NotMe, ""))
	same(t, "a request of another application", must1(f.Approvals.Get(t.Context(), shop.ID, elsewhere.UUID)).Status, approval.Pending)
	_, err := f.request(t, other)
	wantErr(t, "another application may ask", err, nil)
	_, err = f.request(t, stranger)
	wantErr(t, "another person may be asked", err, nil)
	same(t, "reports on a stranger's device", len(must1(f.Approvals.Inbox(t.Context(), stranger.phone.Device)).Reports), 0)
}

func testWrongNumberWaits(t *testing.T, f *fixture) {
	p := f.person(t, "Bank", tired, func(s *tenant.Settings) { s.Match = tenant.MatchType })
	asked := must1(f.request(t, p))
	_, err := p.phone.Answer(t, asked.UUID, approval.Approve, "1"+asked.Match.Value[:2])
	if asked.Match.Value[:3] != "1"+asked.Match.Value[:2] {
		wantErr(t, "a wrong number", err, approval.ErrMismatch)
		_, err = f.request(t, p)
		wantErr(t, "right after it", err, approval.ErrPause)
	}
}

func testContext(t *testing.T, f *fixture) {
	p := f.person(t, "Bank")
	told := receipt.Context{Address: "2001:db8::7", Browser: "Mozilla/5.0 \u202e(X11)\u2069", Origin: "https://login.bank.example"}
	asked, err := f.Approvals.Create(t.Context(), p.app, p.user, approval.Request{Message: "Log in?", Context: told})
	must(t, err)
	seen := must1(f.Approvals.ForDevice(t.Context(), p.phone.Device, asked.UUID))
	same(t, "what the device shows", seen.Content.Context, receipt.Context{Address: "2001:db8::7", Browser: "Mozilla/5.0 (X11)", Origin: "https://login.bank.example"})
	decided, err := p.phone.Answer(t, asked.UUID, approval.Approve, "")
	must(t, err)
	want := receipt.Expected{
		Origin: f.Approvals.Origin, Application: p.app.ID, User: p.user.AuthyID, Approval: asked.UUID,
		Content:  receipt.Content{Application: "Bank", Message: "Log in?", Context: told},
		Decision: receipt.Approve, Keys: []string{p.phone.Device.PublicKey},
	}
	must(t, decided.Receipt().Verify(want))
	want.Content.Context.Address = "192.0.2.7"
	wantErr(t, "with another address", decided.Receipt().Verify(want), receipt.ErrMismatch)
	for _, bad := range []receipt.Context{
		{Address: "somewhere"},
		{Address: "192.0.2.7, 10.0.0.1"},
		{Origin: "login.bank.example"},
		{Origin: "https://bank.example/path"},
		{Origin: "https://user@bank.example"},
		{Origin: "javascript://x"},
		{Origin: "https://bаnk.example"},
		{Origin: "https://" + strings.Repeat("a", 200)},
	} {
		_, err := f.Approvals.Create(t.Context(), p.app, p.user, approval.Request{Message: "Log in?", Context: bad})
		wantErr(t, fmt.Sprintf("%+v", bad), err, approval.ErrInvalid)
	}
}

// testFlood simulates somebody who knows the password and asks every ten seconds, for a day of virtual time: how often does the person's
// phone ring? Each request and each renewed notification is one ring.
func testFlood(t *testing.T, f *fixture) {
	for i, row := range []struct {
		name       string
		answer     func(p person, a approval.Approval)
		hour, rest int // rings at most: in the first hour, in every later one
	}{
		{"nobody answers", nil, 16, 4},
		{"each is denied", func(p person, a approval.Approval) { must1(p.phone.Answer(t, a.UUID, approval.Deny, "")) }, 5, 1},
		{"each is reported", func(p person, a approval.Approval) { must1(p.phone.Answer(t, a.UUID, approval.NotMe, "")) }, 3, 1},
	} {
		p := f.person(t, fmt.Sprint("Bank", i), tired)
		rings := make([]int, 24)
		start, reported := f.now(), 0
		var open []string
		for now := f.now(); now.Sub(start) < 24*time.Hour; now = f.now() {
			hour := int(now.Sub(start) / time.Hour)
			a, err := f.request(t, p)
			switch e, _ := errors.AsType[*fault.Error](err); {
			case err == nil:
				rings[hour]++
				if open = append(open, a.UUID); row.answer != nil {
					f.Clock.Advance(time.Second)
					row.answer(p, a)
					open = nil
				}
			case e == nil || e.Kind != fault.Limited || e.RetryAfter <= 0:
				t.Fatal(err)
			case errors.Is(err, approval.ErrReported):
				reported++
			}
			open = slices.DeleteFunc(open, func(uuid string) bool {
				_, err := f.Approvals.Renotify(t.Context(), p.app, uuid)
				if err == nil {
					rings[hour]++
				}
				return errors.Is(err, approval.ErrNotPending)
			})
			f.Clock.Advance(10 * time.Second)
			if e, ok := errors.AsType[*fault.Error](err); ok && len(open) == 0 { // asking in between changes nothing, and takes the test's time
				f.Clock.Advance(max(0, e.RetryAfter-10*time.Second))
			}
		}
		t.Logf("measured: %s: the phone rang %d times in the first hour, at most %d in a later one", row.name, rings[0], slices.Max(rings[1:]))
		if rings[0] > row.hour || slices.Max(rings[1:]) > row.rest {
			t.Errorf("%s: rings an hour %v, want at most %d and then %d", row.name, rings, row.hour, row.rest)
		}
		if row.name == "each is reported" && reported == 0 {
			t.Error("no request was refused because of a report")
		}
	}
}
