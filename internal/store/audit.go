package store

import (
	"context"
	"fmt"

	"countersign.dev/internal/audit"
)

// record writes an audit record in the transaction of what it tells of (INV-10).
func (t *tx) record(ctx context.Context, r audit.Record) error {
	err := t.later(ctx, `INSERT INTO audit (id, at, account_id, app_id, actor, action, target, outcome, note)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		r.ID, ms(r.At), r.AccountID, r.AppID, r.Actor, r.Action, r.Target, r.Outcome, r.Note)
	if err != nil {
		return fmt.Errorf("write audit record %s: %w", r.Action, err)
	}
	return nil
}

// Record writes an audit record of something that changed nothing else.
func (s *Store) Record(ctx context.Context, r audit.Record) error {
	return s.write(ctx, func(t *tx) error { return t.record(ctx, r) })
}

// Audit returns an application's newest records, newest first.
func (s *Store) Audit(ctx context.Context, appID string, limit int) ([]audit.Record, error) {
	rows, err := s.query(ctx, `SELECT id, at, account_id, app_id, actor, action, target, outcome, note
		FROM audit WHERE app_id = $1 ORDER BY at DESC, id DESC LIMIT $2`, appID, limit)
	return collect(rows, err, scanRecord)
}

func scanRecord(r scanner) (a audit.Record, err error) {
	var at int64
	err = r.Scan(&a.ID, &at, &a.AccountID, &a.AppID, &a.Actor, &a.Action, &a.Target, &a.Outcome, &a.Note)
	a.At = fromMS(at)
	return a, err
}
