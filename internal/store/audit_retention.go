package store

import (
	"context"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
)

// This file owns the retention of the audit record: where the chain begins, and the removal of what is before that. Links leave in small
// batches; whatever of them is still there is no part of the chain any more.

// AuditBeginning returns where the chain begins, the zero value when that is its first link.
func (s *Store) AuditBeginning(ctx context.Context) (b audit.Beginning, err error) {
	var at int64
	err = s.queryRow(ctx, `SELECT seq, hash, at, signature FROM audit_beginning WHERE one = 1`).Scan(&b.Seq, &b.Hash, &at, &b.Signature)
	b.At = fromMS(at)
	return b, missing(err, nil)
}

// CheckpointUntil returns the newest checkpoint that was signed then or before, the zero value when there is none.
func (s *Store) CheckpointUntil(ctx context.Context, before time.Time) (c audit.Checkpoint, err error) {
	var at int64
	err = s.queryRow(ctx, `SELECT seq, hash, at, signature FROM audit_checkpoints WHERE at <= $1 ORDER BY at DESC LIMIT 1`, ms(before)).
		Scan(&c.Seq, &c.Hash, &at, &c.Signature)
	c.At = fromMS(at)
	return c, missing(err, nil)
}

// BeginAudit has the chain begin there, if it does not begin there or later already.
func (s *Store) BeginAudit(ctx context.Context, b audit.Beginning, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `INSERT INTO audit_beginning AS b (one, seq, hash, at, signature) VALUES (1, $1, $2, $3, $4)
			ON CONFLICT (one) DO UPDATE SET seq = excluded.seq, hash = excluded.hash, at = excluded.at, signature = excluded.signature WHERE b.seq < excluded.seq`,
			b.Seq, b.Hash, ms(b.At), b.Signature)
		if err != nil {
			return fmt.Errorf("begin the chain: %w", err)
		}
		if n == 0 { // another node has done it
			return nil
		}
		return t.record(ctx, rec)
	})
}

// ForgetAudit removes at most limit links and checkpoints each from before the chain's beginning, and returns how many it removed.
func (s *Store) ForgetAudit(ctx context.Context, limit int) (n int64, err error) {
	var one int
	err = s.queryRow(ctx, `SELECT 1 FROM audit WHERE seq <= (SELECT seq FROM audit_beginning WHERE one = 1)
		UNION ALL SELECT 1 FROM audit_checkpoints WHERE seq <= (SELECT seq FROM audit_beginning WHERE one = 1) LIMIT 1`).Scan(&one)
	if err != nil {
		return 0, missing(err, nil)
	}
	err = s.write(ctx, func(t *tx) error {
		links, err := t.exec(ctx, `WITH ended AS MATERIALIZED (SELECT id FROM audit WHERE seq <= (SELECT seq FROM audit_beginning WHERE one = 1)
				ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED)
			DELETE FROM audit WHERE id IN (SELECT id FROM ended)`, limit)
		if err != nil {
			return fmt.Errorf("forget links: %w", err)
		}
		points, err := t.exec(ctx, `WITH ended AS MATERIALIZED (SELECT seq FROM audit_checkpoints WHERE seq <= (SELECT seq FROM audit_beginning WHERE one = 1)
				ORDER BY seq LIMIT $1 FOR UPDATE SKIP LOCKED)
			DELETE FROM audit_checkpoints WHERE seq IN (SELECT seq FROM ended)`, limit)
		n = links + points
		return err
	})
	return n, err
}
