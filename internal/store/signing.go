package store

import (
	"context"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/tenant"
)

// This file owns what signs callbacks by Standard Webhooks. The index signing_keys_newest keeps it to one for each application that
// does not end; at most one more is about to.

// SigningKeys returns what signs the application's callbacks at now, newest first; none when nothing did yet.
func (s *Store) SigningKeys(ctx context.Context, appID string, now time.Time) ([]tenant.Signing, error) {
	rows, err := s.query(ctx, `SELECT id, app_id, sealed, created_at, retired_at FROM signing_keys
		WHERE app_id = $1 AND (retired_at = 0 OR retired_at > $2) ORDER BY retired_at`, appID, ms(now))
	return collect(rows, err, scanSigning)
}

func scanSigning(r scanner) (k tenant.Signing, err error) {
	var created, ends int64
	err = r.Scan(&k.ID, &k.AppID, &k.Sealed, &created, &ends)
	k.CreatedAt, k.EndsAt = fromMS(created), fromMS(ends)
	return k, err
}

// FirstSigningKey keeps an application's first, unless somebody else did so meanwhile, and returns what there is.
func (s *Store) FirstSigningKey(ctx context.Context, k tenant.Signing) (keys []tenant.Signing, err error) {
	err = s.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, insertSigning+` ON CONFLICT (app_id) WHERE retired_at = 0 DO NOTHING`, k.ID, k.AppID, k.Sealed, ms(k.CreatedAt)); err != nil {
			return fmt.Errorf("insert webhook secret: %w", err)
		}
		rows, err := t.query(ctx, `SELECT id, app_id, sealed, created_at, retired_at FROM signing_keys WHERE app_id = $1 AND retired_at = 0`, k.AppID)
		keys, err = collect(rows, err, scanSigning)
		return err
	})
	return keys, err
}

const insertSigning = `INSERT INTO signing_keys (id, app_id, sealed, created_at) VALUES ($1, $2, $3, $4)`

// RotateSigningKey keeps a new one and lets the one before end at the given time. tenant.ErrSecretRotating when one is about to end already.
// Those that ended are removed.
func (s *Store) RotateSigningKey(ctx context.Context, k tenant.Signing, ends time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		now := ms(k.CreatedAt)
		if _, err := t.exec(ctx, `DELETE FROM signing_keys WHERE app_id = $1 AND retired_at > 0 AND retired_at <= $2`, k.AppID, now); err != nil {
			return fmt.Errorf("remove webhook secrets: %w", err)
		}
		// Of two rotations at once on two nodes, the second waits for this row and then finds that it ends.
		n, err := t.exec(ctx, `UPDATE signing_keys SET retired_at = $2 WHERE app_id = $1 AND retired_at = 0
			AND NOT EXISTS (SELECT 1 FROM signing_keys o WHERE o.app_id = $1 AND o.retired_at > $3)`, k.AppID, ms(ends), now)
		if err != nil {
			return fmt.Errorf("retire webhook secret: %w", err)
		}
		if n == 0 {
			return tenant.ErrSecretRotating
		}
		if _, err := t.exec(ctx, insertSigning, k.ID, k.AppID, k.Sealed, now); err != nil {
			return fmt.Errorf("insert webhook secret: %w", err)
		}
		return t.record(ctx, rec)
	})
}

// EndSigningKey ends at once what is about to end. tenant.ErrSecretNotRotating when nothing is.
func (s *Store) EndSigningKey(ctx context.Context, appID string, now time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE signing_keys SET retired_at = $2 WHERE app_id = $1 AND retired_at > $2`, appID, ms(now))
		return t.changed(ctx, n, err, tenant.ErrSecretNotRotating, rec)
	})
}
