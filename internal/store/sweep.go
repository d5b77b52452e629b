package store

import (
	"context"
	"fmt"
	"time"

	"countersign.dev/internal/tenant"
)

// This file owns forgetting: rows whose time was over a day ago and that strangers can cause, and old activities.

// forgetAfter keeps such rows a little longer than they count: limits look a day back.
const forgetAfter = 25 * time.Hour

// forgetMessages is how long it is told what became of a message.
const forgetMessages = 30 * 24 * time.Hour

// Forget removes at most limit ended rows of each kind and returns how many it removed. One small write a call, so that
// it never holds up others.
func (s *Store) Forget(ctx context.Context, now time.Time, limit int) (total int64, err error) {
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
		// An operator asks about a message of last week, hardly about one of last year.
		messages, err := t.exec(ctx, `DELETE FROM messages WHERE id IN
			(SELECT id FROM messages WHERE created_at <= $1 ORDER BY created_at LIMIT $2)`, ms(now.Add(-forgetMessages)), limit)
		if err != nil {
			return fmt.Errorf("forget messages: %w", err)
		}
		reports, err := t.exec(ctx, `DELETE FROM message_reports WHERE (gateway, ref) IN
			(SELECT gateway, ref FROM message_reports WHERE at <= $1 ORDER BY at LIMIT $2)`, before, limit)
		if err != nil {
			return fmt.Errorf("forget reports: %w", err)
		}
		activities, err := t.exec(ctx, `DELETE FROM activities WHERE id IN (SELECT id FROM activities WHERE at <= $1 ORDER BY at LIMIT $2)`,
			ms(now.Add(-tenant.ActivityLife)), limit)
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
