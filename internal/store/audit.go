package store

import (
	"context"
	"fmt"
	"iter"
	"time"

	"countersign.dev/internal/audit"
)

// This file owns the audit record and its chain.

const recordColumns = `id, at, account_id, app_id, actor, action, target, outcome, note`

// chain is the end of the audit record's chain, as the running transaction sees it, where one runs at a time: there a record is linked as it is
// inserted. Where several run at once they commit records unlinked, and LinkAudit links them.
type chain struct {
	known, grew bool // head was read; it is to be kept
	head        audit.Head
}

// record writes an audit record in the transaction of what it tells of (INV-10), and a job for each webhook that asked for the event that it is.
func (t *tx) record(ctx context.Context, r audit.Record) error {
	seq, hash, err := t.link(ctx, r)
	if err == nil {
		err = t.later(ctx, `INSERT INTO audit (id, at, account_id, app_id, actor, action, target, outcome, note, seq, hash)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`,
			r.ID, ms(r.At), r.AccountID, r.AppID, r.Actor, r.Action, r.Target, r.Outcome, r.Note, seq, hash)
	}
	if err != nil {
		return fmt.Errorf("write audit record %s: %w", r.Action, err)
	}
	return t.tellWebhooks(ctx, r)
}

// link returns the place of a new record in the chain, or nil where it gets one later.
func (t *tx) link(ctx context.Context, r audit.Record) (seq any, hash string, err error) {
	if !t.alone {
		return nil, "", nil
	}
	c := &t.chain
	if !c.known {
		err := t.queryRow(ctx, `SELECT seq, hash FROM audit_head WHERE one = 1`).Scan(&c.head.Seq, &c.head.Hash)
		if err = missing(err, nil); err != nil {
			return nil, "", err
		}
	}
	c.head, c.known, c.grew = c.head.Next(r), true, true
	return c.head.Seq, c.head.Hash, nil
}

// keepHead writes down how far the chain has come: before a commit, and before something else looks for it.
func (t *tx) keepHead(ctx context.Context) error {
	if !t.chain.grew {
		return nil
	}
	t.chain.grew = false
	return t.later(ctx, `INSERT INTO audit_head (one, seq, hash, holder, lease_until) VALUES (1, $1, $2, '', 0)
		ON CONFLICT (one) DO UPDATE SET seq = $1, hash = $2`, t.chain.head.Seq, t.chain.head.Hash)
}

// changed records a change, or reports no when there was none.
func (t *tx) changed(ctx context.Context, n int64, err, no error, rec audit.Record) error {
	if err != nil {
		return fmt.Errorf("%s: %w", rec.Action, err)
	}
	if n == 0 {
		return no
	}
	return t.record(ctx, rec)
}

// Record writes an audit record of something that changed nothing else.
func (s *Store) Record(ctx context.Context, r audit.Record) error {
	return s.write(ctx, func(t *tx) error { return t.record(ctx, r) })
}

// Audit returns an application's newest records, newest first.
func (s *Store) Audit(ctx context.Context, appID string, limit int) ([]audit.Record, error) {
	rows, err := s.query(ctx, `SELECT `+recordColumns+` FROM audit WHERE app_id = $1 ORDER BY at DESC, id DESC LIMIT $2`, appID, limit)
	return collect(rows, err, scanRecord)
}

func scanRecord(r scanner) (a audit.Record, err error) {
	var at int64
	err = r.Scan(&a.ID, &at, &a.AccountID, &a.AppID, &a.Actor, &a.Action, &a.Target, &a.Outcome, &a.Note)
	a.At = fromMS(at)
	return a, err
}

// AuditHead returns the newest link of the chain.
func (s *Store) AuditHead(ctx context.Context) (audit.Head, error) {
	var h audit.Head
	err := s.queryRow(ctx, `SELECT seq, hash FROM audit_head WHERE one = 1`).Scan(&h.Seq, &h.Hash)
	return h, missing(err, nil)
}

// AuditLinked reports whether the link stands in the chain with its hash.
func (s *Store) AuditLinked(ctx context.Context, h audit.Head) (linked bool, err error) {
	var hash string
	err = s.queryRow(ctx, `SELECT hash FROM audit WHERE seq = $1`, h.Seq).Scan(&hash)
	return err == nil && hash == h.Hash, missing(err, nil)
}

// LinkAudit links at most limit records by next, if holder has the lease or can take it until then, and returns the newest link and
// how many it added. Nothing to link, or another one's lease, is 0.
func (s *Store) LinkAudit(ctx context.Context, holder string, now, until time.Time, limit int, next func(audit.Head, audit.Record) audit.Head) (head audit.Head, n int, err error) {
	// Most seconds there is nothing, or another process does it: ask without a write first.
	var one int
	if err := s.queryRow(ctx, `SELECT 1 FROM audit WHERE seq IS NULL LIMIT 1`).Scan(&one); err != nil {
		return head, 0, missing(err, nil)
	}
	err = s.queryRow(ctx, `SELECT 1 FROM audit_head WHERE one = 1 AND holder <> $1 AND lease_until > $2`, holder, ms(now)).Scan(&one)
	if err == nil {
		return head, 0, nil
	} else if missing(err, nil) != nil {
		return head, 0, err
	}
	err = s.write(ctx, func(t *tx) error {
		head, n = audit.Head{}, 0
		if err := t.keepHead(ctx); err != nil {
			return err
		}
		t.chain.known = false
		if err := t.later(ctx, `INSERT INTO audit_head (one, seq, hash, holder, lease_until) VALUES (1, 0, '', '', 0) ON CONFLICT (one) DO NOTHING`); err != nil {
			return err
		}
		err := t.queryRow(ctx, `UPDATE audit_head SET holder = $1, lease_until = $2 WHERE one = 1 AND (holder = $1 OR lease_until <= $3) RETURNING seq, hash`,
			holder, ms(until), ms(now)).Scan(&head.Seq, &head.Hash)
		if err != nil {
			return missing(err, nil)
		}
		rows, err := t.query(ctx, `SELECT `+recordColumns+` FROM audit WHERE seq IS NULL ORDER BY id LIMIT $1`, limit)
		records, err := collect(rows, err, scanRecord)
		if err != nil {
			return err
		}
		for _, r := range records {
			head = next(head, r)
			if err := t.later(ctx, `UPDATE audit SET seq = $1, hash = $2 WHERE id = $3`, head.Seq, head.Hash, r.ID); err != nil {
				return err
			}
		}
		n = len(records)
		_, err = t.exec(ctx, `UPDATE audit_head SET seq = $1, hash = $2 WHERE one = 1`, head.Seq, head.Hash)
		return err
	})
	return head, n, err
}

// AddCheckpoint keeps a checkpoint; one of the same link that is there already stays.
func (s *Store) AddCheckpoint(ctx context.Context, c audit.Checkpoint) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO audit_checkpoints (seq, hash, at, signature) VALUES ($1, $2, $3, $4) ON CONFLICT (seq) DO NOTHING`,
			c.Seq, c.Hash, ms(c.At), c.Signature)
		return err
	})
}

// chainBatch is how many links are read at once.
const chainBatch = 1000

// AuditChain returns the chain as it stands from its beginning, each checkpoint behind the link that it covers, and those whose link is missing at the end. It
// ends where the chain ended when it began.
func (s *Store) AuditChain(ctx context.Context) iter.Seq2[audit.Item, error] {
	return func(yield func(audit.Item, error) bool) {
		var newest int64
		if err := s.queryRow(ctx, `SELECT COALESCE(MAX(seq), 0) FROM audit`).Scan(&newest); err != nil {
			yield(audit.Item{}, err)
			return
		}
		begins, points, links, err := s.chainStart(ctx, newest)
		if err != nil {
			yield(audit.Item{}, err)
			return
		}
		if begins.Seq != 0 && !yield(audit.Item{Beginning: &begins}, nil) {
			return
		}
		for {
			var last int64
			for _, link := range links {
				last = link.Seq
				for len(points) > 0 && points[0].Seq < link.Seq { // behind its own link, or where that would be
					if !yield(audit.Item{Checkpoint: &points[0]}, nil) {
						return
					}
					points = points[1:]
				}
				if !yield(audit.Item{Link: &link}, nil) {
					return
				}
			}
			if len(links) < chainBatch {
				break
			}
			if links, err = s.links(ctx, last, newest); err != nil {
				yield(audit.Item{}, err)
				return
			}
		}
		for _, c := range points {
			if !yield(audit.Item{Checkpoint: &c}, nil) {
				return
			}
		}
	}
}

// chainStart returns where the chain begins, its checkpoints, and its first links, all of the same moment: it looks again when retention moved the
// beginning in between.
func (s *Store) chainStart(ctx context.Context, newest int64) (begins audit.Beginning, points []audit.Checkpoint, links []audit.Link, err error) {
	for {
		if begins, err = s.AuditBeginning(ctx); err != nil {
			return begins, nil, nil, err
		}
		after := begins.Seq
		if after == 0 {
			after = -1 << 62 // whatever somebody put before the first link is found too
		}
		if points, err = s.checkpoints(ctx, after); err == nil {
			links, err = s.links(ctx, after, newest)
		}
		if err != nil {
			return begins, nil, nil, err
		}
		if again, err := s.AuditBeginning(ctx); err != nil || again == begins {
			return begins, points, links, err
		}
	}
}

// links returns a batch of links behind one.
func (s *Store) links(ctx context.Context, after, newest int64) ([]audit.Link, error) {
	rows, err := s.query(ctx, `SELECT seq, hash, `+recordColumns+` FROM audit WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3`, after, newest, chainBatch)
	return collect(rows, err, scanLink)
}

func (s *Store) checkpoints(ctx context.Context, after int64) ([]audit.Checkpoint, error) {
	rows, err := s.query(ctx, `SELECT seq, hash, at, signature FROM audit_checkpoints WHERE seq > $1 ORDER BY seq`, after)
	return collect(rows, err, func(r scanner) (c audit.Checkpoint, err error) {
		var at int64
		err = r.Scan(&c.Seq, &c.Hash, &at, &c.Signature)
		c.At = fromMS(at)
		return c, err
	})
}

func scanLink(r scanner) (l audit.Link, err error) {
	l.Record, err = scanRecord(prefixed{r, []any{&l.Seq, &l.Hash}})
	return l, err
}
