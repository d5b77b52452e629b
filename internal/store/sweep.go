package store

import (
	"context"
	"fmt"
	"time"

	"countersign.dev/internal/tenant"
)

// This file owns forgetting by age: rows whose time was over a day ago and that strangers can cause, and what tells of messages and activities.
// What people may need longer is in retention.go and audit_retention.go.

// Retention is how long what is over stays. Zero is for ever.
type Retention struct {
	Approvals  time.Duration // since they were decided, withdrawn or ran out, with the tries of their callbacks
	Codes      time.Duration // since a sent code or phone verification ended, and since the last try at a number
	Messages   time.Duration // what became of a message, since it was sent
	Activities time.Duration // since they were registered
	Audit      time.Duration // up to a checkpoint of that age
}

// DefaultRetention keeps approvals for a quarter of a year, codes and messages for the questions of a month, and the audit record for ever.
func DefaultRetention() Retention {
	const day = 24 * time.Hour
	return Retention{Approvals: 90 * day, Codes: 30 * day, Messages: 30 * day, Activities: tenant.ActivityLife}
}

// Least is the shortest time that anything may stay. Limits look a day back, a callback is tried for two; and a number's wrong tries, forgotten
// any sooner, would be more in the long run than the doubling waits allow (T-01).
const Least = 7 * 24 * time.Hour

// forgetAfter keeps rows that strangers cause a little longer than they count: limits look a day back.
const forgetAfter = 25 * time.Hour

// until is up to when what ended is to leave: before everything when it stays for ever.
func until(now time.Time, keep time.Duration) int64 {
	if keep == 0 {
		return -1
	}
	return ms(now.Add(-keep))
}

// Forget removes at most limit rows of each kind that are over and returns how many it removed. What strangers cause, messages and activities leave in
// one small write, each other kind that has any in one of its own, so that nobody is held up.
func (s *Store) Forget(ctx context.Context, now time.Time, keep Retention, limit int) (total int64, err error) {
	for _, kind := range []func(context.Context, time.Time, Retention, int) (int64, error){
		s.forgetEnded, s.forgetApprovals, s.forgetCodes, s.forgetTries,
	} {
		n, err := kind(ctx, now, keep, limit)
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
}

// forgetEnded removes what strangers cause, messages and activities.
func (s *Store) forgetEnded(ctx context.Context, now time.Time, keep Retention, limit int) (total int64, err error) {
	before := ms(now.Add(-forgetAfter))
	err = s.write(ctx, func(t *tx) error {
		enrollments, err := t.exec(ctx, `DELETE FROM enrollments WHERE id IN
			(SELECT id FROM enrollments WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`, before, limit)
		if err != nil {
			return fmt.Errorf("forget enrollments: %w", err)
		}
		challenges, err := t.exec(ctx, `DELETE FROM spent_challenges WHERE (public_key, challenge) IN
			(SELECT public_key, challenge FROM spent_challenges WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`, before, limit)
		if err != nil {
			return fmt.Errorf("forget challenges: %w", err)
		}
		sessions, err := t.exec(ctx, `DELETE FROM device_sessions WHERE hash IN
			(SELECT hash FROM device_sessions WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`, before, limit)
		if err != nil {
			return fmt.Errorf("forget device sessions: %w", err)
		}
		tickets, err := t.exec(ctx, `DELETE FROM tickets WHERE hash IN
			(SELECT hash FROM tickets WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2)`, before, limit)
		if err != nil {
			return fmt.Errorf("forget tickets: %w", err)
		}
		messages, err := t.exec(ctx, `DELETE FROM messages WHERE id IN
			(SELECT id FROM messages WHERE created_at <= $1 ORDER BY created_at LIMIT $2)`, until(now, keep.Messages), limit)
		if err != nil {
			return fmt.Errorf("forget messages: %w", err)
		}
		reports, err := t.exec(ctx, `DELETE FROM message_reports WHERE (gateway, ref) IN
			(SELECT gateway, ref FROM message_reports WHERE at <= $1 ORDER BY at LIMIT $2)`, before, limit)
		if err != nil {
			return fmt.Errorf("forget reports: %w", err)
		}
		activities, err := t.exec(ctx, `DELETE FROM activities WHERE id IN (SELECT id FROM activities WHERE at <= $1 ORDER BY at LIMIT $2)`,
			until(now, keep.Activities), limit)
		if err != nil {
			return fmt.Errorf("forget activities: %w", err)
		}
		resets, err := t.exec(ctx, `DELETE FROM resets WHERE id IN (SELECT id FROM resets WHERE lapses_at <= $1 ORDER BY lapses_at LIMIT $2)`,
			ms(now.Add(-tenant.ActivityLife)), limit)
		if err != nil {
			return fmt.Errorf("forget resets: %w", err)
		}
		sent, err := t.forgetSending(ctx, now, limit)
		if err != nil {
			return err
		}
		total = enrollments + challenges + sessions + tickets + messages + reports + sent + activities + resets
		return nil
	})
	return total, err
}
