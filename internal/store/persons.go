package store

import (
	"context"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/tenant"
)

// This file owns what applications tell about their users: another mail address, activities.

// SetEmail makes an address the user's first.
func (s *Store) SetEmail(ctx context.Context, appID, userID, email string, now time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE users SET email = $1 WHERE id = $2 AND app_id = $3 AND removed_at = 0`, email, userID, appID)
		if err != nil {
			return fmt.Errorf("set e-mail: %w", err)
		}
		if n == 0 {
			return tenant.ErrUser
		}
		if _, err := t.exec(ctx, `INSERT INTO user_emails (user_id, email, added_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			userID, email, ms(now)); err != nil {
			return fmt.Errorf("insert e-mail: %w", err)
		}
		return t.record(ctx, rec)
	})
}

// AddActivity keeps an activity, and of the user's older ones only the newest.
func (s *Store) AddActivity(ctx context.Context, a tenant.Activity, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `INSERT INTO activities (id, app_id, user_id, at, type, data, ip)
			SELECT $1, app_id, id, $2, $3, $4, $5 FROM users WHERE id = $6 AND app_id = $7 AND removed_at = 0`,
			a.ID, ms(a.At), a.Type, string(a.Data), a.IP, a.UserID, a.AppID)
		if err != nil {
			return fmt.Errorf("insert activity: %w", err)
		}
		if n == 0 {
			return tenant.ErrUser
		}
		if _, err := t.exec(ctx, `DELETE FROM activities WHERE id IN
			(SELECT id FROM activities WHERE user_id = $1 ORDER BY at DESC, id DESC LIMIT 1000 OFFSET $2)`, a.UserID, tenant.ActivitiesMax); err != nil {
			return fmt.Errorf("forget older activities: %w", err)
		}
		return t.record(ctx, rec)
	})
}

// Activities returns what the application told of a user of its own, newest first.
func (s *Store) Activities(ctx context.Context, appID, userID string, limit int) ([]tenant.Activity, error) {
	rows, err := s.query(ctx, `SELECT id, app_id, user_id, at, type, data, ip FROM activities WHERE user_id = $1 AND app_id = $2 ORDER BY at DESC, id DESC LIMIT $3`, userID, appID, limit)
	return collect(rows, err, func(r scanner) (a tenant.Activity, err error) {
		var at int64
		var data string
		err = r.Scan(&a.ID, &a.AppID, &a.UserID, &at, &a.Type, &data, &a.IP)
		a.At, a.Data = fromMS(at), []byte(data)
		return a, err
	})
}
