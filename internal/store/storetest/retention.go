package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// This file tests the retention of approvals, codes and audit records: what is over leaves, and nothing else ever does.

var retentionTests = []test{
	{"finished approvals leave with what hangs on them", testForgetApprovals},
	{"an approval stays while its callback is to be tried", testForgetUndelivered},
	{"a callback is sent again, or its approval leaves", testForgetRace},
	{"INV-3 and INV-4 a number's wrong tries stay while they count", testForgetTries},
	{"INV-10 whatever fails, a batch leaves as a whole", testForgetFails},
	{"no live row ever leaves", testForgetNothingLive},
	{"T-52 the chain begins where it was signed to begin", testForgetAudit},
	{"T-52 nothing is signed to begin behind what was changed", testForgetTampered},
}

const day = 24 * time.Hour

// brief is a retention that tests need not wait for long.
var brief = store.Retention{Approvals: 30 * day, Codes: 14 * day, Messages: 14 * day, Activities: 14 * day}

// forget removes everything that is over, a few rows at a time, and returns how many rows went.
func (f *fixture) forget(t *testing.T) (total int64) {
	t.Helper()
	for {
		n, err := f.Store.Forget(t.Context(), f.now(), brief, 3)
		must(t, err)
		if total += n; n == 0 {
			return total
		}
	}
}

func (f *fixture) count(t *testing.T, of string) int {
	t.Helper()
	return len(must1(f.Rows(t.Context(), of)))
}

func testForgetApprovals(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	app := d.app
	must(t, f.Store.Delivered(t.Context(), d.job, d.try(d.job, 200), 1))
	for range 7 { // more than one batch
		j := d.decide(t)[0]
		_, err := d.fail(j, 0, 1, f.now().Add(time.Second))
		must(t, err)
		must(t, f.Store.Delivered(t.Context(), j, d.try(j, 204), 1))
	}
	withdrawn := f.create(t, f.creation(d.person, time.Hour))
	must(t, second(f.Approvals.Cancel(t.Context(), app, withdrawn.UUID)))
	f.create(t, f.creation(d.person, time.Hour)) // runs out
	forever, late := f.create(t, f.creation(d.person, 0)), f.create(t, f.creation(d.person, 0))
	f.Tenants.Meter.Count(app.ID, tenant.CountAuths)
	f.Clock.Advance(time.Hour)
	must(t, f.Approvals.Sweep(t.Context()))
	figures := fmt.Sprint(must1(f.Tenants.Statistics(t.Context(), app)).Months)
	records := f.count(t, "audit")

	f.Clock.Advance(brief.Approvals - time.Hour - time.Millisecond)
	must(t, second(f.Approvals.Cancel(t.Context(), app, late.UUID))) // old, and final only now
	f.forget(t)
	same(t, "approvals a moment before their time", f.count(t, "approvals"), 12)
	f.Clock.Advance(time.Millisecond)
	f.forget(t)
	same(t, "approvals at it", f.count(t, "approvals"), 3) // what ran out did so later
	f.Clock.Advance(time.Hour)
	same(t, "rows at the last one's", f.forget(t), 1)
	same(t, "tries of callbacks", f.state(t, "callback_tries"), "")
	_, err := f.Approvals.Get(t.Context(), app.ID, withdrawn.UUID)
	wantErr(t, "asking for one that left", err, approval.ErrUnknown)
	for uuid, want := range map[string]approval.Status{forever.UUID: approval.Pending, late.UUID: approval.Cancelled} {
		a, err := f.Approvals.Get(t.Context(), app.ID, uuid)
		must(t, err)
		same(t, "one that stays", a.Status, want)
	}
	same(t, "monthly figures", fmt.Sprint(must1(f.Tenants.Statistics(t.Context(), app)).Months), figures)
	told := must1(f.Rows(t.Context(), "audit WHERE action = 'approvals.forgotten'"))
	if f.count(t, "audit") != records+1+len(told) || len(told) != 4 || !strings.Contains(told[0], "3, finished until ") {
		t.Errorf("of the batches it is told %q", told)
	}
}

func testForgetUndelivered(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	d.disable(t)
	f.Clock.Advance(brief.Approvals)
	f.forget(t)
	same(t, "approvals whose callback is held", f.count(t, "approvals"), 1)
	must1(f.Store.DropHeld(t.Context(), f.now()))
	f.forget(t)
	same(t, "approvals after it was dropped", f.count(t, "approvals"), 0)

	d.setURL(t, address)
	given := d.decide(t)[0] // up, in the end
	uuid := given.Ref
	must(t, f.Store.EndJob(t.Context(), given.ID))
	f.Clock.Advance(brief.Approvals)
	jobs, err := d.again(uuid)
	must(t, err)
	f.forget(t)
	same(t, "approvals that are sent once more", f.count(t, "approvals"), 1)
	must(t, f.Store.Delivered(t.Context(), jobs[0], d.try(jobs[0], 200), d.callback(t).Version))
	f.forget(t)
	same(t, "approvals after that", f.state(t, "approvals", "callback_tries"), "")
	_, err = d.again(uuid)
	wantErr(t, "sending one again that left", err, approval.ErrUnknown)
}

// again has a callback sent once more.
func (d *delivery) again(uuid string) ([]job.Job, error) {
	return d.f.Store.SendAgain(context.Background(), job.New(job.Callback, d.app.ID, uuid, d.f.now()), d.f.rec(d.app))
}

func testForgetRace(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	var uuids []string
	for range 30 {
		j := d.decide(t)[0]
		must(t, f.Store.EndJob(t.Context(), j.ID))
		uuids = append(uuids, j.Ref)
	}
	f.Clock.Advance(brief.Approvals)
	for _, err := range together(many, func(i int) error {
		if i%4 == 0 {
			return second(f.Store.Forget(context.Background(), f.now(), brief, 5))
		}
		_, err := d.again(uuids[i%len(uuids)])
		if errors.Is(err, approval.ErrUnknown) {
			return nil
		}
		return err
	}) {
		must(t, err)
	}
	same(t, "jobs about nothing", f.state(t, "jobs WHERE kind = 'callback' AND ref NOT IN (SELECT uuid FROM approvals)"), "")
	f.forget(t)
	same(t, "approvals about which there is no job", f.state(t, "approvals WHERE uuid NOT IN (SELECT ref FROM jobs WHERE kind = 'callback')"), "")
}

func testForgetTries(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	p := f.person(t, "Shop")
	wantErr(t, "a wrong code of a user", f.verify(p, wrong), otp.ErrWrong)
	f.verification(t, app)
	for range otp.BudgetTries - 1 {
		wantErr(t, "a wrong code", f.check(app, wrong), otp.ErrVerificationWrong)
	}
	f.Clock.Advance(brief.Codes - time.Second)
	f.forget(t)
	_, code := f.verification(t, app)
	wantErr(t, "the fifth", f.check(app, wrong), otp.ErrVerificationWrong)
	wantErr(t, "the right code as the sixth", f.check(app, code), otp.ErrVerificationNone)
	f.Clock.Advance(otp.BudgetWait)
	f.verification(t, app)
	for range otp.BudgetTries {
		wantErr(t, "a wrong code after the wait", f.check(app, wrong), otp.ErrVerificationWrong)
	}
	f.Clock.Advance(brief.Codes)
	f.forget(t)
	same(t, "budgets of the number, spent two weeks ago", f.count(t, "budgets WHERE subject LIKE 'phone:%'"), 1)
	f.Clock.Advance(2 * day)
	f.forget(t)
	same(t, "codes and budgets of the number in the end", f.state(t, "sent_codes", "budgets WHERE subject LIKE 'phone:%'"), "")
	same(t, "the user's", f.count(t, "budgets WHERE wrong = 1"), 1)

	e, _ := f.startPhone(t, number) // and an enrolment's number, whoever it is
	wantErr(t, "a wrong enrolment code", second(f.confirm(p.phone.Key, device.Confirmation{Enrollment: e.ID, Code: wrong})), device.ErrCodeWrong)
	f.Clock.Advance(brief.Codes - time.Second)
	f.forget(t)
	same(t, "budgets of an enrolment's number", f.count(t, "budgets WHERE subject LIKE 'phone:%'"), 1)
	f.Clock.Advance(time.Second)
	f.forget(t)
	same(t, "the same a second later", f.count(t, "budgets WHERE subject LIKE 'phone:%'"), 0)

	f.verification(t, app) // nodes' clocks differ: none takes for a lock what another kept of its time
	f.Clock.Advance(-time.Hour)
	wantErr(t, "a wrong code on a node that lags", f.check(app, wrong), otp.ErrVerificationWrong)
}

// testForgetFails: the database fails at the first statement, at the second, and so on. What a batch was about to remove is all there then.
func testForgetFails(t *testing.T, f *fixture) {
	d := f.deliver(t, "Bank")
	must(t, f.Store.Delivered(t.Context(), d.job, d.try(d.job, 200), 1))
	f.Clock.Advance(brief.Approvals)
	f.forget(t) // what else is over
	var left int
	sick := f.Failing(func(string) error {
		if left--; left == 0 {
			return errFault
		}
		return nil
	})
	t.Cleanup(func() { must(t, sick.Close()) })
	for fault := 1; ; fault++ {
		j := d.decide(t)[0]
		must(t, f.Store.Delivered(t.Context(), j, d.try(j, 200), 1))
		f.Clock.Advance(brief.Approvals)
		state := func() string { return f.state(t, "approvals", "callback_tries", "audit", "jobs") }
		before := state()
		left = fault
		_, err := sick.Forget(t.Context(), f.now(), brief, 10)
		if left > 0 {
			must(t, err)
			same(t, "approvals when all went well", f.state(t, "approvals", "callback_tries"), "")
			return
		}
		if err == nil {
			t.Errorf("the fault at statement %d was not told", fault)
		}
		if f.count(t, "approvals") > 0 { // else it came behind that batch
			sameState(t, fmt.Sprintf("after the fault at statement %d", fault), state(), before)
		}
		f.forget(t)
	}
}

// testForgetNothingLive: whatever happens in whatever order, retention takes only what is over, and in the end all of it.
func testForgetNothingLive(t *testing.T, f *fixture) {
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	d := f.deliver(t, "Bank")
	pending, final := []string{}, []string{d.job.Ref}
	take := func(from *[]string) string {
		i := r.IntN(len(*from))
		uuid := (*from)[i]
		*from = append((*from)[:i], (*from)[i+1:]...)
		return uuid
	}
	const callbacks = `uuid IN (SELECT ref FROM jobs WHERE kind = 'callback')`
	before := func(keep time.Duration) int64 { return f.now().Add(-keep).UnixMilli() }
	live := func(not string) []string {
		return []string{
			fmt.Sprintf(`approvals WHERE %s (status = 'pending' OR processed_at > %d OR %s)`, not, before(brief.Approvals), callbacks),
			fmt.Sprintf(`sent_codes WHERE %s (expires_at > %d)`, not, before(brief.Codes)),
			fmt.Sprintf(`budgets WHERE %s (subject NOT LIKE 'phone:%%' OR locked_until > %d)`, not, before(brief.Codes+day)),
			fmt.Sprintf(`messages WHERE %s (created_at > %d)`, not, before(brief.Messages)),
			fmt.Sprintf(`callback_tries WHERE %s (uuid IN (SELECT uuid FROM approvals WHERE status = 'pending' OR processed_at > %d OR %s))`, not, before(brief.Approvals), callbacks),
		}
	}
	acts := []func(){
		func() {
			pending = append(pending, f.create(t, f.creation(d.person, []time.Duration{0, time.Hour, 40 * day}[r.IntN(3)])).UUID)
		},
		func() {
			if len(pending) == 0 {
				return
			}
			uuid := take(&pending)
			if _, _, err := f.decide(f.decision(d.person, uuid), d.app.ID); err == nil {
				final = append(final, uuid)
			}
		},
		func() {
			if len(pending) > 0 {
				_, _ = f.Approvals.Cancel(t.Context(), d.app, take(&pending)) // it may have run out
			}
		},
		func() { must(t, f.Approvals.Sweep(t.Context())) },
		func() {
			jobs, err := f.Store.ClaimJobs(t.Context(), f.now(), f.now().Add(job.Lease), 3)
			must(t, err)
			for _, j := range jobs {
				switch version := d.callback(t).Version; {
				case j.Kind != job.Callback:
					must(t, f.Store.EndJob(t.Context(), j.ID))
				case r.IntN(2) == 0:
					must(t, f.Store.Delivered(t.Context(), j, d.try(j, 200), version))
				default:
					must(t, second(d.fail(j, []int{0, 500}[r.IntN(2)], version, f.now().Add(time.Hour))))
				}
			}
		},
		func() { d.setURL(t, address) },
		func() { _, _ = d.again(final[r.IntN(len(final))]) }, // it may have left
		func() { must(t, second(f.Store.DropHeld(t.Context(), f.now()))) },
		func() {
			if _, _, err := f.Codes.StartVerification(t.Context(), d.app, otp.VerificationRequest{Channel: otp.SMS, Phone: verified}); err == nil {
				_ = f.check(d.app, wrong)
			}
		},
		func() { _ = f.verify(d.person, wrong) },
		func() { f.Clock.Advance([]time.Duration{time.Minute, time.Hour, day, 8 * day, 31 * day}[r.IntN(5)]) },
	}
	for range 150 {
		if r.IntN(4) > 0 {
			acts[r.IntN(len(acts))]()
			continue
		}
		stays := append(live(""), "jobs", "users", "grants", "devices", "applications", "usage_months")
		was := f.state(t, stays...)
		must(t, second(f.Store.Forget(t.Context(), f.now(), brief, 1+r.IntN(5))))
		sameState(t, "after retention", f.state(t, stays...), was)
	}
	f.forget(t)
	same(t, "what is over in the end", f.state(t, live("NOT")...), "")
}

// audited verifies the chain, and an export of it, which must say the same.
func (f *fixture) audited(t *testing.T, c *audit.Chainer, kept ...audit.Checkpoint) audit.Report {
	t.Helper()
	report, err := audit.Verify(f.Store.AuditChain(t.Context()), public(c), kept...)
	must(t, err)
	var file bytes.Buffer
	must1(audit.Export(&file, f.Store.AuditChain(t.Context()), public(c), f.now()))
	named, items, err := audit.Import(&file)
	must(t, err)
	same(t, "the report of the export", fmt.Sprint(must1(audit.Verify(items, named, kept...))), fmt.Sprint(report))
	return report
}

// signed writes n records and signs how far the chain has come.
func (f *fixture) signed(t *testing.T, c *audit.Chainer, n int) audit.Checkpoint {
	t.Helper()
	f.records(t, n)
	must(t, c.Link(t.Context()))
	must(t, c.Checkpoint(t.Context()))
	return must1(f.Store.AuditHead(t.Context())).Sign(c.Key, f.now())
}

func testForgetAudit(t *testing.T, f *fixture) {
	c := f.chainer("one")
	forget := func(keep time.Duration, limit int) int64 {
		t.Helper()
		return must1(c.Forget(t.Context(), f.now().Add(-keep), limit))
	}
	first := f.signed(t, c, 10)
	f.Clock.Advance(40 * day)
	other := f.chainer("other") // knows of the first checkpoint alone
	must(t, other.Checkpoint(t.Context()))
	middle := f.signed(t, c, 10)
	f.Clock.Advance(40 * day)
	last := f.signed(t, c, 10)
	same(t, "links that leave before their time", forget(81*day, 100), 0)

	same(t, "rows of the first batch", forget(60*day, 4), 4+1) // with the checkpoint
	report := f.audited(t, c, first, middle, last)
	head := must1(f.Store.AuditHead(t.Context())).Seq // with the record of it, where that is linked at once
	if len(report.Faults) > 0 || report.Left != first.Seq || report.Links != head-first.Seq || report.Signed != last.Seq {
		t.Fatalf("a chain of which some left: %+v", report)
	}
	for forget(60*day, 4) > 0 {
		same(t, "faults on the way", len(f.audited(t, c, first, middle, last).Faults), 0)
	}
	same(t, "links that left", f.count(t, fmt.Sprint("audit WHERE seq <= ", first.Seq)), 0)
	if forged := (audit.Checkpoint{Head: audit.Head{Seq: first.Seq, Hash: middle.Hash}}).Sign(c.Key, f.now()); len(f.audited(t, c, forged).Faults) != 1 {
		t.Error("a checkpoint of another chain passes for the beginning")
	}
	end := f.signed(t, c, 1)
	must(t, other.Checkpoint(t.Context())) // what it signed left as it should
	same(t, "links", end.Seq, last.Seq+2)  // and the record of the beginning
	must(t, f.Exec(t.Context(), `CREATE TABLE kept_audit AS SELECT * FROM audit`))
	must(t, f.Exec(t.Context(), `CREATE TABLE kept_points AS SELECT * FROM audit_checkpoints`))
	must(t, f.Exec(t.Context(), `CREATE TABLE kept_beginning AS SELECT * FROM audit_beginning`))

	cut := fmt.Sprint(`DELETE FROM audit WHERE seq <= `, middle.Seq)
	points := fmt.Sprint(`DELETE FROM audit_checkpoints WHERE seq <= `, middle.Seq)
	for name, row := range map[string]struct {
		at int64
		do []string
	}{
		"the first that is left deleted": {first.Seq + 1, []string{fmt.Sprint(`DELETE FROM audit WHERE seq = `, first.Seq+1)}},
		"more removed":                   {first.Seq + 1, []string{cut, points}},
		"more removed, and said so":      {middle.Seq, []string{cut, points, fmt.Sprintf(`UPDATE audit_beginning SET seq = %d, hash = '%s'`, middle.Seq, middle.Hash)}},
		"with the checkpoint's own signature": {middle.Seq, []string{
			cut, fmt.Sprintf(`UPDATE audit_beginning SET seq = %d, hash = '%s', at = %d, signature = '%s'`, middle.Seq, middle.Hash, middle.At.UnixMilli(), middle.Signature), points,
		}},
		"the beginning deleted": {1, []string{`DELETE FROM audit_beginning`}},
		"its time changed":      {first.Seq, []string{`UPDATE audit_beginning SET at = at + 1`}},
		"a record changed":      {first.Seq + 2, []string{fmt.Sprint(`UPDATE audit SET outcome = 'refused' WHERE seq = `, first.Seq+2)}},
		"the end cut off":       {end.Seq, []string{fmt.Sprint(`DELETE FROM audit WHERE seq = `, end.Seq)}},
	} {
		for _, q := range row.do {
			must(t, f.Exec(t.Context(), q))
		}
		if report := f.audited(t, c); len(report.Faults) == 0 || report.Faults[0].Seq != row.at {
			t.Errorf("%s: %+v, want a fault at link %d", name, report, row.at)
		}
		for _, table := range []string{"audit", "audit_checkpoints", "audit_beginning"} {
			from := map[string]string{"audit": "kept_audit", "audit_checkpoints": "kept_points", "audit_beginning": "kept_beginning"}[table]
			must(t, f.Exec(t.Context(), `DELETE FROM `+table))
			must(t, f.Exec(t.Context(), `INSERT INTO `+table+` SELECT * FROM `+from))
		}
	}

	// All of it may leave when nothing happens for long; what comes then is linked behind what left.
	f.Clock.Advance(100 * day)
	for forget(60*day, 100) > 0 {
		continue
	}
	report = f.audited(t, c, end)
	head = must1(f.Store.AuditHead(t.Context())).Seq
	if len(report.Faults) > 0 || report.Links != head-end.Seq || report.Left != end.Seq {
		t.Errorf("a chain of which all left: %+v", report)
	}
	f.signed(t, c, 3)
	report = f.audited(t, c, end)
	if len(report.Faults) > 0 || report.Links != 4 || report.Signed != end.Seq+4 {
		t.Errorf("and that went on: %+v", report)
	}
}

func testForgetTampered(t *testing.T, f *fixture) {
	for name, do := range map[string]string{
		"a link that was changed":       `UPDATE audit SET hash = 'x' WHERE seq = 5`,
		"a checkpoint that was changed": `UPDATE audit_checkpoints SET at = at - 1`,
		"a checkpoint of nobody's":      `UPDATE audit_checkpoints SET signature = '00'`,
	} {
		c := f.chainer("one")
		must(t, f.Exec(t.Context(), `DELETE FROM audit_checkpoints`))
		must(t, f.Exec(t.Context(), `DELETE FROM audit`))
		must(t, f.Exec(t.Context(), `DELETE FROM audit_head`))
		f.signed(t, c, 5)
		must(t, f.Exec(t.Context(), do))
		f.Clock.Advance(40 * day)
		if _, err := c.Forget(t.Context(), f.now().Add(-30*day), 100); err == nil {
			t.Errorf("the chain was made to begin behind %s", name)
		}
		same(t, "links", f.count(t, "audit"), 5)
		same(t, "beginnings", f.count(t, "audit_beginning"), 0)
	}
}
