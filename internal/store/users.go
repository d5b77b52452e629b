package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/tenant"
)

// This file owns applications' users.

const userColumns = `u.id, u.app_id, u.authy_id, u.country_code, COALESCE(u.phone, ''), u.email, u.confirmed_at, u.created_at`

// returnedUser is the same after an INSERT: SQLite knows no alias there, and PostgreSQL needs none.
const returnedUser = `id, app_id, authy_id, country_code, COALESCE(phone, ''), email, confirmed_at, created_at`

func scanUser(r scanner) (u tenant.User, err error) {
	var confirmed, created int64
	err = r.Scan(&u.ID, &u.AppID, &u.AuthyID, &u.CountryCode, &u.Phone, &u.Email, &confirmed, &created)
	u.Confirmed, u.CreatedAt = confirmed > 0, fromMS(created)
	return u, err
}

// AddUser inserts u, or finds who has its phone within the application and brings them back if they were removed.
func (s *Store) AddUser(ctx context.Context, u tenant.User, rec audit.Record) (kept tenant.User, err error) {
	err = s.write(ctx, func(t *tx) error {
		id := u
		if id.AuthyID, err = t.freeAuthyID(ctx, u.AppID, u.AuthyID); err != nil {
			return err
		}
		kept, err = scanUser(t.queryRow(ctx, `INSERT INTO users (id, app_id, authy_id, country_code, phone, email, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT (app_id, phone) DO UPDATE SET removed_at = 0
			RETURNING `+returnedUser, id.ID, id.AppID, id.AuthyID, id.CountryCode, id.Phone, id.Email, ms(id.CreatedAt)))
		if err != nil {
			return fmt.Errorf("insert user: %w", err)
		}
		if _, err := t.exec(ctx, `INSERT INTO user_emails (user_id, email, added_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			kept.ID, u.Email, ms(u.CreatedAt)); err != nil {
			return fmt.Errorf("insert e-mail: %w", err)
		}
		rec.Target = "user:" + kept.ID
		return t.record(ctx, rec)
	})
	return kept, err
}

// freeAuthyID returns want, or another random number when the application has that one already.
func (t *tx) freeAuthyID(ctx context.Context, appID string, want int64) (int64, error) {
	for range 20 {
		var one int
		err := t.queryRow(ctx, `SELECT 1 FROM users WHERE app_id = $1 AND authy_id = $2`, appID, want).Scan(&one)
		if err != nil {
			return want, missing(err, nil)
		}
		want = ident.Number()
	}
	return 0, errors.New("no free authy_id found in 20 draws")
}

// UserByAuthyID returns the application's user, or tenant.ErrUser.
func (s *Store) UserByAuthyID(ctx context.Context, appID string, authyID int64) (tenant.User, error) {
	u, err := scanUser(s.queryRow(ctx, `SELECT `+userColumns+` FROM users u WHERE u.app_id = $1 AND u.authy_id = $2 AND u.removed_at = 0`, appID, authyID))
	return u, missing(err, tenant.ErrUser)
}

// RemoveUser takes the user out, with everything that could act for them. The budget stays: removal buys no new tries (INV-4).
func (s *Store) RemoveUser(ctx context.Context, appID string, authyID int64, now time.Time, rec audit.Record) (gone tenant.Removed, err error) {
	err = s.write(ctx, func(t *tx) error {
		gone = tenant.Removed{}
		err := t.queryRow(ctx, `UPDATE users SET removed_at = $1, confirmed_at = 0 WHERE app_id = $2 AND authy_id = $3 AND removed_at = 0 RETURNING id`,
			ms(now), appID, authyID).Scan(&gone.UserID)
		if err != nil {
			return missing(err, tenant.ErrUser)
		}
		if err := t.endFactors(ctx, &gone, now); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE resets SET ended_at = $1, outcome = 'removed' WHERE user_id = $2 AND ended_at = 0`, ms(now), gone.UserID); err != nil {
			return fmt.Errorf("end reset: %w", err)
		}
		rec.Target = "user:" + gone.UserID
		return t.record(ctx, rec)
	})
	return gone, err
}

// endFactors ends everything that can act for a user: devices, other authenticator apps, codes, tickets, and what was asked.
func (t *tx) endFactors(ctx context.Context, gone *tenant.Removed, now time.Time) error {
	rows, err := t.query(ctx, `UPDATE grants SET removed_at = $1 WHERE user_id = $2 AND removed_at = 0 RETURNING device_id`, ms(now), gone.UserID)
	if gone.DeviceIDs, err = collect(rows, err, scanText); err != nil {
		return fmt.Errorf("end grants: %w", err)
	}
	for _, id := range gone.DeviceIDs {
		if err := t.unsubscribeLeft(ctx, id); err != nil {
			return fmt.Errorf("end push subscriptions: %w", err)
		}
	}
	rows, err = t.query(ctx, `UPDATE approvals SET status = 'cancelled', processed_at = $1, updated_at = $1
		WHERE user_id = $2 AND processed_at = 0 AND (expires_at = 0 OR expires_at > $1) RETURNING uuid`, ms(now), gone.UserID)
	if gone.Approvals, err = collect(rows, err, scanText); err != nil {
		return fmt.Errorf("cancel approvals: %w", err)
	}
	if _, err := t.exec(ctx, `UPDATE sent_codes SET ended_at = $1 WHERE user_id = $2 AND ended_at = 0`, ms(now), gone.UserID); err != nil {
		return fmt.Errorf("end codes: %w", err)
	}
	if _, err := t.exec(ctx, `UPDATE tickets SET used_at = $1 WHERE user_id = $2 AND used_at = 0`, ms(now), gone.UserID); err != nil {
		return fmt.Errorf("end tickets: %w", err)
	}
	if _, err := t.exec(ctx, `DELETE FROM generic_secrets WHERE user_id = $1`, gone.UserID); err != nil {
		return fmt.Errorf("end generic secrets: %w", err)
	}
	return nil
}

func scanText(r scanner) (v string, err error) { return v, r.Scan(&v) }
