package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"countersign.dev/internal/tenant"
)

// This file owns monthly figures.

// AddUsage adds to the months' rows, always in the same order, so that two nodes cannot wait for each other.
func (s *Store) AddUsage(ctx context.Context, more []tenant.Usage) error {
	slices.SortFunc(more, func(a, b tenant.Usage) int {
		return cmp.Or(cmp.Compare(a.AppID, b.AppID), cmp.Compare(a.Month, b.Month))
	})
	return s.write(ctx, func(t *tx) error {
		for _, u := range more {
			if _, err := t.exec(ctx, `INSERT INTO usage_months AS m (app_id, month, sms, calls, users, auths, api_calls) VALUES ($1, $2, $3, $4, $5, $6, $7)
				ON CONFLICT (app_id, month) DO UPDATE SET sms = m.sms + excluded.sms, calls = m.calls + excluded.calls, users = m.users + excluded.users,
					auths = m.auths + excluded.auths, api_calls = m.api_calls + excluded.api_calls`,
				u.AppID, int64(u.Month), u.SMS, u.Calls, u.Users, u.Auths, u.APICalls); err != nil {
				return fmt.Errorf("add figures: %w", err)
			}
		}
		return nil
	})
}

// Statistics returns an application's users and its figures of the months from since on, oldest first. It counts the users' rows,
// which takes longer the more there are: it is for who looks, not for who works.
func (s *Store) Statistics(ctx context.Context, appID string, since tenant.Month) (st tenant.Statistics, err error) {
	if err := s.queryRow(ctx, `SELECT COUNT(*) FROM users WHERE app_id = $1 AND removed_at = 0`, appID).Scan(&st.Users); err != nil {
		return st, fmt.Errorf("count users: %w", err)
	}
	rows, err := s.query(ctx, `SELECT app_id, month, sms, calls, users, auths, api_calls FROM usage_months WHERE app_id = $1 AND month >= $2 ORDER BY month`,
		appID, int64(since))
	st.Months, err = collect(rows, err, func(r scanner) (u tenant.Usage, err error) {
		return u, r.Scan(&u.AppID, &u.Month, &u.SMS, &u.Calls, &u.Users, &u.Auths, &u.APICalls)
	})
	return st, err
}
