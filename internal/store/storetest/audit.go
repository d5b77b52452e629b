package storetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/audit"
)

// This file tests the audit record's chain (T-52).

var auditTests = []test{
	{"T-52 whatever is done to the chain is found, with its position", testTamperedAudit},
	{"T-52 a chain that was exchanged behind a checkpoint is not signed", testExchangedAudit},
	{"T-52 many chainers make one chain", testChainers},
	{"T-52 a process that ends signs what is linked, and leaves what it has no time for", testEndedChainer},
}

func (f *fixture) chainer(name string) *audit.Chainer {
	return &audit.Chainer{
		Store: f.Store, Key: audit.SigningKey(f.Ring.Derive(audit.KeyLabel)), Holder: name, Now: f.Clock.Now, Log: slog.New(slog.DiscardHandler),
	}
}

func public(c *audit.Chainer) ed25519.PublicKey { return c.Key.Public().(ed25519.PublicKey) }

// records writes n audit records.
func (f *fixture) records(t testing.TB, n int) {
	t.Helper()
	for i := range n {
		must(t, f.Store.Record(context.Background(), audit.New(f.now(), "app", "system", "test.done", fmt.Sprint("thing:", i)).Noting("a note <&> \"ü\" "+strings.Repeat("x", i))))
	}
}

// unlinked writes a record as a version did that linked nothing at once, or as PostgreSQL's transactions do.
func (f *fixture) unlinked(t testing.TB, id string) {
	t.Helper()
	must(t, f.Exec(t.Context(), `INSERT INTO audit (id, at, account_id, app_id, actor, action, target, outcome, note) VALUES ('`+id+`', 1, '', '', 'system', 'test.done', '', 'ok', '')`))
}

func testEndedChainer(t *testing.T, f *fixture) {
	c := f.chainer("one")
	f.records(t, 3)
	must(t, c.Link(t.Context()))
	linked := must1(f.Store.AuditHead(t.Context()))
	f.unlinked(t, "late")
	must(t, c.End(t.Context(), 0))
	report := f.audited(t, c)
	same(t, "links, signed and faults", fmt.Sprint(report.Links, report.Signed, len(report.Faults)), fmt.Sprint(linked.Seq, linked.Seq, 0))
	must(t, c.End(t.Context(), time.Minute))
	report = f.audited(t, c)
	same(t, "links, signed and faults at last", fmt.Sprint(report.Links, report.Signed, len(report.Faults)), fmt.Sprint(linked.Seq+1, linked.Seq+1, 0))
}

func testTamperedAudit(t *testing.T, f *fixture) {
	c := f.chainer("one")
	key := public(c)
	f.person(t, "Bank")
	f.records(t, 4)
	must(t, c.Link(t.Context()))
	must(t, c.Checkpoint(t.Context()))
	f.records(t, 3)
	must(t, c.Link(t.Context()))
	f.Clock.Advance(time.Minute)
	must(t, c.Checkpoint(t.Context()))
	head, err := f.Store.AuditHead(t.Context())
	must(t, err)
	last := head.Sign(c.Key, f.now()) // as the log kept it
	n := head.Seq
	verify := func(kept ...audit.Checkpoint) audit.Report {
		t.Helper()
		report, err := audit.Verify(f.Store.AuditChain(t.Context()), key, kept...)
		must(t, err)
		var file bytes.Buffer // and the same of an export
		_, err = audit.Export(&file, f.Store.AuditChain(t.Context()), key, f.now())
		must(t, err)
		named, items, err := audit.Import(&file)
		must(t, err)
		offline, err := audit.Verify(items, named, kept...)
		must(t, err)
		same(t, "the report of the export", fmt.Sprint(offline), fmt.Sprint(report))
		return report
	}
	whole := verify(last)
	if len(whole.Faults) > 0 || whole.Links != n || whole.Signed != n || whole.Checkpoints != 2 {
		t.Fatalf("%+v of %d links", whole, n)
	}
	must(t, f.Exec(t.Context(), `CREATE TABLE kept_audit AS SELECT * FROM audit`))
	must(t, f.Exec(t.Context(), `CREATE TABLE kept_points AS SELECT * FROM audit_checkpoints`))
	for name, row := range map[string]struct {
		at   int64 // position of the first fault
		do   []string
		kept []audit.Checkpoint
	}{
		"a record changed":           {3, []string{`UPDATE audit SET outcome = 'refused' WHERE seq = 3`}, nil},
		"its time changed":           {3, []string{`UPDATE audit SET at = at + 1 WHERE seq = 3`}, nil},
		"its hash changed":           {3, []string{`UPDATE audit SET hash = 'x' WHERE seq = 3`}, nil},
		"two fields run together":    {3, []string{`UPDATE audit SET actor = actor || action, action = '' WHERE seq = 3`}, nil},
		"the first deleted":          {1, []string{`DELETE FROM audit WHERE seq = 1`}, nil},
		"one deleted":                {5, []string{`DELETE FROM audit WHERE seq = 5`}, nil},
		"one deleted, others moved":  {5, []string{`DELETE FROM audit WHERE seq = 5`, `UPDATE audit SET seq = -seq WHERE seq > 5`, `UPDATE audit SET seq = -seq - 1 WHERE seq < 0`}, nil},
		"one unlinked":               {5, []string{`UPDATE audit SET seq = NULL, hash = '' WHERE seq = 5`}, nil},
		"two in another order":       {3, []string{`UPDATE audit SET seq = -4 WHERE seq = 3`, `UPDATE audit SET seq = 3 WHERE seq = 4`, `UPDATE audit SET seq = 4 WHERE seq = -4`}, nil},
		"one repeated at the end":    {n + 1, []string{`INSERT INTO audit (id, at, account_id, app_id, actor, action, target, outcome, note, seq, hash) SELECT 'again', at, account_id, app_id, actor, action, target, outcome, note, (SELECT MAX(seq) + 1 FROM audit), hash FROM audit WHERE seq = 3`}, nil},
		"one inserted at the start":  {0, []string{`INSERT INTO audit (id, at, account_id, app_id, actor, action, target, outcome, note, seq, hash) VALUES ('new', 1, '', '', '', '', '', '', '', 0, 'x')`}, nil},
		"the end cut off":            {n, []string{fmt.Sprint(`DELETE FROM audit WHERE seq = `, n)}, nil},
		"the end and its checkpoint": {n, []string{fmt.Sprint(`DELETE FROM audit WHERE seq >= `, n-1), fmt.Sprint(`DELETE FROM audit_checkpoints WHERE seq = `, n)}, []audit.Checkpoint{last}},
		"a checkpoint changed":       {n, []string{fmt.Sprint(`UPDATE audit_checkpoints SET at = at + 1 WHERE seq = `, n)}, nil},
		"a checkpoint of nothing":    {n + 5, []string{fmt.Sprintf(`INSERT INTO audit_checkpoints (seq, hash, at, signature) VALUES (%d, 'x', 1, '00')`, n+5)}, nil},
	} {
		for _, q := range row.do {
			must(t, f.Exec(t.Context(), q))
		}
		report := verify(row.kept...)
		if len(report.Faults) == 0 {
			t.Errorf("%s: not found", name)
		} else if report.Faults[0].Seq != row.at {
			t.Errorf("%s: found at link %d, want %d: %v", name, report.Faults[0].Seq, row.at, report.Faults)
		}
		for _, q := range []string{
			`DELETE FROM audit`, `INSERT INTO audit SELECT * FROM kept_audit`, `DELETE FROM audit_checkpoints`, `INSERT INTO audit_checkpoints SELECT * FROM kept_points`,
		} {
			must(t, f.Exec(t.Context(), q))
		}
	}
	// Whoever builds the chain anew has no key for its checkpoints.
	f.forge(t)
	if report := verify(); len(report.Faults) != 2 || report.Signed != 0 {
		t.Errorf("a chain that was built anew: %+v, want both checkpoints to differ", report)
	}
}

// forge changes the second record and builds the chain anew, with its head, as whoever can write to the database can.
func (f *fixture) forge(t *testing.T) {
	t.Helper()
	head := audit.Head{}
	for item, err := range f.Store.AuditChain(t.Context()) {
		must(t, err)
		if link := item.Link; link != nil {
			if link.Seq == 2 {
				link.Outcome = "refused"
			}
			head = head.Next(link.Record)
			must(t, f.Exec(t.Context(), `UPDATE audit SET outcome = $1, hash = $2 WHERE seq = $3`, link.Outcome, head.Hash, head.Seq))
		}
	}
	must(t, f.Exec(t.Context(), `UPDATE audit_head SET seq = $1, hash = $2`, head.Seq, head.Hash))
}

// Deleting the checkpoints as well would leave a chain that is good in itself: the next signature must not bless it.
func testExchangedAudit(t *testing.T, f *fixture) {
	c := f.chainer("one")
	f.records(t, 4)
	must(t, c.Link(t.Context()))
	must(t, c.Checkpoint(t.Context()))
	f.records(t, 1)
	must(t, c.Link(t.Context()))
	must(t, c.Checkpoint(t.Context()))
	f.forge(t)
	must(t, f.Exec(t.Context(), `DELETE FROM audit_checkpoints`))
	for range 2 { // it stays so, whatever is written meanwhile
		f.records(t, 1)
		must(t, c.Link(t.Context()))
		f.Clock.Advance(time.Minute)
		if err := c.Checkpoint(t.Context()); err == nil {
			t.Error("a chain that was built anew was signed")
		}
	}
	report, err := audit.Verify(f.Store.AuditChain(t.Context()), public(c))
	must(t, err)
	same(t, "links that a checkpoint covers", report.Signed, 0)
	// Cut, and nothing behind it: the same.
	f.forge(t)
	must(t, f.Exec(t.Context(), `DELETE FROM audit WHERE seq > 3`))
	must(t, f.Exec(t.Context(), `UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3)`))
	if err := c.Checkpoint(t.Context()); err == nil {
		t.Error("a chain that was cut was signed")
	}
}

func testChainers(t *testing.T, f *fixture) {
	a, b := f.chainer("a"), f.chainer("b")
	for range 4 {
		f.records(t, 60)
		for _, err := range together(4, func(i int) error {
			if i%2 == 0 {
				return a.Link(context.Background())
			}
			return b.Link(context.Background())
		}) {
			must(t, err)
		}
		f.Clock.Advance(time.Minute) // who linked may be gone
	}
	must(t, b.Link(t.Context()))
	must(t, a.Checkpoint(t.Context()))
	must(t, b.Checkpoint(t.Context())) // of the same link
	report, err := audit.Verify(f.Store.AuditChain(t.Context()), public(a))
	must(t, err)
	if len(report.Faults) > 0 || report.Links != 240 || report.Signed != 240 {
		t.Errorf("%+v", report)
	}
	// The one that holds the lease dies: nobody links until it ends, then another does.
	f.unlinked(t, "one")
	must(t, a.Link(t.Context()))
	f.unlinked(t, "two")
	must(t, b.Link(t.Context()))
	head, err := f.Store.AuditHead(t.Context())
	must(t, err)
	same(t, "links while another has the lease", head.Seq, 241)
	f.Clock.Advance(time.Minute)
	must(t, b.Link(t.Context()))
	head, err = f.Store.AuditHead(t.Context())
	must(t, err)
	same(t, "links after its end", head.Seq, 242)
	// Those that were linked as they were written and those that were not stand in one chain.
	for i := range 3 {
		f.records(t, 2)
		f.unlinked(t, fmt.Sprint("later ", i))
		must(t, b.Link(t.Context()))
	}
	report, err = audit.Verify(f.Store.AuditChain(t.Context()), public(a))
	must(t, err)
	if len(report.Faults) > 0 || report.Links != 251 {
		t.Errorf("%+v", report)
	}
	if _, err := audit.Export(io.Discard, f.Store.AuditChain(t.Context()), public(a), f.now()); err != nil {
		t.Error(err)
	}
}
