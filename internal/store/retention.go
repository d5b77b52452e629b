package store

import (
	"context"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
)

// This file owns the retention of what people may need for a while: finished approvals with the tries of their callbacks, and sent codes, and the
// wrong tries at numbers. What is live is kept by conditions inside the statements, so that no clock and no other node can be in
// between.

// Oldest is when what is oldest of each kind was over, as Retention counts it; the zero time where there is none.
type Oldest struct{ Approvals, Codes, Messages, Activities, Audit time.Time }

// Oldest looks what has stayed longest. Of the audit record it is the first link that the chain still has.
func (s *Store) Oldest(ctx context.Context) (o Oldest, err error) {
	var approvals, codes, messages, activities, audit int64
	err = s.queryRow(ctx, `SELECT
		COALESCE((SELECT processed_at FROM approvals WHERE processed_at > 0 ORDER BY processed_at LIMIT 1), 0),
		COALESCE((SELECT expires_at FROM sent_codes WHERE expires_at > 0 ORDER BY expires_at LIMIT 1), 0),
		COALESCE((SELECT created_at FROM messages WHERE created_at > 0 ORDER BY created_at LIMIT 1), 0),
		COALESCE((SELECT at FROM activities WHERE at > 0 ORDER BY at LIMIT 1), 0),
		COALESCE((SELECT at FROM audit WHERE seq > 0 ORDER BY seq LIMIT 1), 0)`).Scan(&approvals, &codes, &messages, &activities, &audit)
	return Oldest{fromMS(approvals), fromMS(codes), fromMS(messages), fromMS(activities), fromMS(audit)}, err
}

// forgetApprovals removes approvals that have been final for long enough, but for those whose callback is still to be tried. What was counted of
// them stays in the monthly figures, what was recorded in the audit record.
func (s *Store) forgetApprovals(ctx context.Context, now time.Time, keep Retention, limit int) (n int64, err error) {
	before := until(now, keep.Approvals)
	var one int // most sweeps find nothing: ask without a write first
	if err := s.queryRow(ctx, `SELECT 1 FROM approvals WHERE processed_at > 0 AND processed_at <= $1 LIMIT 1`, before).Scan(&one); err != nil {
		return 0, missing(err, nil)
	}
	err = s.write(ctx, func(t *tx) error {
		// What others hold is leaving by another node, or an operator is having its callback sent once more. NOT EXISTS would be a join, in which
		// PostgreSQL reads every job for each approval when its statistics are of a time when there was none. By <> it takes most rows for right, so it
		// reads in the index's order instead of all that is over.
		rows, err := t.query(ctx, `SELECT p.uuid FROM approvals p WHERE p.processed_at > 0 AND p.processed_at <= $1
			AND COALESCE((SELECT 1 FROM jobs j WHERE j.kind = 'callback' AND j.ref = p.uuid LIMIT 1), 0) <> 1
			ORDER BY p.processed_at LIMIT $2 FOR UPDATE OF p SKIP LOCKED`, before, limit)
		leaving, err := collect(rows, err, func(r scanner) (uuid string, err error) { return uuid, r.Scan(&uuid) })
		if n = int64(len(leaving)); err != nil || n == 0 {
			return err
		}
		for _, uuid := range leaving {
			// Asked again: a job may have come before the row was held.
			if err := t.later(ctx, `DELETE FROM approvals WHERE uuid = $1 AND status <> 'pending' AND NOT EXISTS (SELECT 1 FROM jobs WHERE kind = 'callback' AND ref = $1)`, uuid); err != nil {
				return fmt.Errorf("forget an approval: %w", err)
			}
			if err := t.later(ctx, `DELETE FROM callback_tries WHERE uuid = $1 AND NOT EXISTS (SELECT 1 FROM approvals WHERE uuid = $1)`, uuid); err != nil {
				return fmt.Errorf("forget tries of a callback: %w", err)
			}
		}
		return t.record(ctx, audit.New(now, "", "system", "approvals.forgotten", "approvals").
			Noting(fmt.Sprintf("%d, finished until %s", n, fromMS(before).Format(time.DateTime+" UTC"))))
	})
	return n, err
}

// forgetCodes removes sent codes and phone verifications that ended long enough ago.
func (s *Store) forgetCodes(ctx context.Context, now time.Time, keep Retention, limit int) (n int64, err error) {
	before := until(now, keep.Codes)
	var one int
	if err := s.queryRow(ctx, `SELECT 1 FROM sent_codes WHERE expires_at <= $1 LIMIT 1`, before).Scan(&one); err != nil {
		return 0, missing(err, nil)
	}
	err = s.write(ctx, func(t *tx) (err error) {
		n, err = t.exec(ctx, `WITH ended AS MATERIALIZED (SELECT id FROM sent_codes WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
			DELETE FROM sent_codes WHERE id IN (SELECT id FROM ended)`, before, limit)
		if err != nil {
			return fmt.Errorf("forget codes: %w", err)
		}
		return nil
	})
	return n, err
}

// forgetTries removes the budgets of numbers at which nobody tried for long enough: one that never verified would keep its budget for ever, and
// strangers can name any number. That of a user stays as long as the user, and wrong tries of which nobody noted the time, as nodes of versions
// before leave them, until the number's next.
func (s *Store) forgetTries(ctx context.Context, now time.Time, keep Retention, limit int) (n int64, err error) {
	before := until(now.Add(-usedBefore), keep.Codes)
	var one int
	if err := s.queryRow(ctx, `SELECT 1 FROM budgets WHERE substr(subject, 1, 6) = 'phone:' AND locked_until <= $1 AND (locked_until > 0 OR wrong = 0) LIMIT 1`, before).Scan(&one); err != nil {
		return 0, missing(err, nil)
	}
	err = s.write(ctx, func(t *tx) (err error) {
		n, err = t.exec(ctx, `WITH ended AS MATERIALIZED (SELECT subject FROM budgets WHERE substr(subject, 1, 6) = 'phone:' AND locked_until <= $1
				AND (locked_until > 0 OR wrong = 0) ORDER BY locked_until LIMIT $2 FOR UPDATE SKIP LOCKED)
			DELETE FROM budgets WHERE subject IN (SELECT subject FROM ended)`, before, limit)
		if err != nil {
			return fmt.Errorf("forget tries: %w", err)
		}
		return nil
	})
	return n, err
}

// usedAt is how the budget of a number tells when it was used: by a lock that ended a day before, so that no node whose clock lags takes it for
// one that counts.
func usedAt(now time.Time) int64 { return ms(now.Add(-usedBefore)) }

const usedBefore = 24 * time.Hour

// noteTry keeps when a number's budget was used, unless it is spent.
func (t *tx) noteTry(ctx context.Context, subject string, now time.Time) error {
	return t.later(ctx, `UPDATE budgets SET locked_until = $1 WHERE subject = $2 AND locked_until < $1`, usedAt(now), subject)
}
