package store

import (
	"context"
	"errors"
	"fmt"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

// This file owns the secrets that users scanned into other authenticator apps.

// KeepGeneric keeps a new secret, and ends one that was never confirmed. The one in use stays until the new one is.
func (s *Store) KeepGeneric(ctx context.Context, g otp.StoredGeneric, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `DELETE FROM generic_secrets WHERE user_id = $1 AND app_id = $2 AND confirmed_at = 0`, g.UserID, g.AppID); err != nil {
			return fmt.Errorf("end an unconfirmed secret: %w", err)
		}
		var one int
		if err := t.queryRow(ctx, `SELECT 1 FROM users WHERE id = $1 AND app_id = $2 AND removed_at = 0`, g.UserID, g.AppID).Scan(&one); err != nil {
			return missing(err, tenant.ErrUser)
		}
		for range 20 {
			id, sealed := g.Draw()
			n, err := t.exec(ctx, `INSERT INTO generic_secrets (id, app_id, user_id, secret, digits, period, created_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING`, id, g.AppID, g.UserID, sealed, g.Digits, int64(g.Period), ms(g.CreatedAt))
			if err != nil {
				return fmt.Errorf("insert generic secret: %w", err)
			}
			if n == 1 {
				return t.record(ctx, rec)
			}
		}
		return errors.New("no free number found in 20 draws")
	})
}

const genericColumns = `id, secret, last_step, digits, period`

func scanGeneric(r scanner) (g otp.AppSecret, err error) {
	return g, r.Scan(&g.GenericID, &g.Sealed, &g.LastStep, &g.Digits, &g.Period)
}

// generic returns the user's secrets: the one in use, and one that waits for its first right code.
func (t *tx) generic(ctx context.Context, userID string) ([]otp.AppSecret, error) {
	rows, err := t.query(ctx, `SELECT `+genericColumns+` FROM generic_secrets WHERE user_id = $1`, userID)
	secrets, err := collect(rows, err, scanGeneric)
	if err != nil {
		return nil, fmt.Errorf("read generic secrets: %w", err)
	}
	return secrets, nil
}

// spendGeneric marks the step as used. A first right code puts the secret in the place of the one before.
func (t *tx) spendGeneric(ctx context.Context, a otp.Attempt, v otp.Verdict) (int64, error) {
	n, err := t.exec(ctx, `UPDATE generic_secrets SET last_step = $1 WHERE id = $2 AND user_id = $3 AND last_step < $1`, v.Step, v.GenericID, a.UserID)
	if err != nil || n == 0 {
		return n, err
	}
	first, err := t.exec(ctx, `UPDATE generic_secrets SET confirmed_at = $1 WHERE id = $2 AND confirmed_at = 0`, ms(a.Now), v.GenericID)
	if err != nil || first == 0 {
		return n, err
	}
	_, err = t.exec(ctx, `DELETE FROM generic_secrets WHERE user_id = $1 AND id <> $2 AND confirmed_at > 0`, a.UserID, v.GenericID)
	return n, err
}

// Generic returns the secret in use, and records that it was read.
func (s *Store) Generic(ctx context.Context, appID, userID string, rec audit.Record) (g otp.AppSecret, err error) {
	err = s.write(ctx, func(t *tx) error {
		g, err = scanGeneric(t.queryRow(ctx, `SELECT `+genericColumns+` FROM generic_secrets
			WHERE user_id = $1 AND app_id = $2 AND confirmed_at > 0`, userID, appID))
		if err != nil {
			return missing(err, otp.ErrNoGeneric)
		}
		return t.record(ctx, rec)
	})
	return g, err
}
