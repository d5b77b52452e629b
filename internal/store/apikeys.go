package store

import (
	"context"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/tenant"
)

// This file owns API keys and their rotation. A key is accepted while retired_at is 0 or still to come; the oldest with 0 signs.

// ApplicationByKeyHash returns the application with that API key, or tenant.ErrKey.
func (s *Store) ApplicationByKeyHash(ctx context.Context, hash string, now time.Time) (tenant.Application, error) {
	a, err := s.parsed.scan(s.queryRow(ctx, `SELECT `+appColumns+` FROM api_keys k JOIN applications a ON a.id = k.app_id
		WHERE k.hash = $1 AND (k.retired_at = 0 OR k.retired_at > $2)`, hash, ms(now)))
	return a, missing(err, tenant.ErrKey)
}

// ApplicationAndUser returns the application with that API key, or tenant.ErrKey, and the application's user of that authy_id, or the zero value. It is
// one statement, because most requests begin with it. (That the user is of a.id, which is unique, and not of k.app_id, has PostgreSQL look for one of both
// values before it has statistics too, and not through all authy_ids.)
func (s *Store) ApplicationAndUser(ctx context.Context, hash string, authyID int64, now time.Time) (a tenant.Application, u tenant.User, err error) {
	found := s.queryRow(ctx, `SELECT `+appColumns+`, COALESCE(u.id, ''), a.id, COALESCE(u.authy_id, 0), COALESCE(u.country_code, 0), COALESCE(u.phone, ''),
			COALESCE(u.email, ''), COALESCE(u.confirmed_at, 0), COALESCE(u.created_at, 0)
		FROM api_keys k JOIN applications a ON a.id = k.app_id
		LEFT JOIN users u ON u.app_id = a.id AND u.authy_id = $2 AND u.removed_at = 0
		WHERE k.hash = $1 AND (k.retired_at = 0 OR k.retired_at > $3)`, hash, authyID, ms(now))
	a, err = s.parsed.scan(scanFunc(func(app ...any) error {
		u, err = scanUser(scanFunc(func(user ...any) error { return found.Scan(append(app, user...)...) }))
		return err
	}))
	if err != nil || u.ID == "" {
		u = tenant.User{}
	}
	return a, u, missing(err, tenant.ErrKey)
}

// SigningKey returns the key that signs the application's callbacks.
func (s *Store) SigningKey(ctx context.Context, appID string) (k tenant.Key, err error) {
	err = s.queryRow(ctx, `SELECT id, app_id, hash, sealed FROM api_keys WHERE app_id = $1 AND retired_at = 0 ORDER BY created_at, id LIMIT 1`, appID).
		Scan(&k.ID, &k.AppID, &k.Hash, &k.Sealed)
	return k, missing(err, tenant.ErrApplication)
}

// LiveAPIKeys returns the application's keys that are accepted, oldest first.
func (s *Store) LiveAPIKeys(ctx context.Context, appID string, now time.Time) ([]tenant.KeyInfo, error) {
	rows, err := s.query(ctx, `SELECT id, created_at, retired_at FROM api_keys WHERE app_id = $1 AND (retired_at = 0 OR retired_at > $2) ORDER BY created_at, id`, appID, ms(now))
	return collect(rows, err, func(r scanner) (k tenant.KeyInfo, err error) {
		var created, ends int64
		err = r.Scan(&k.ID, &created, &ends)
		k.CreatedAt, k.EndsAt = fromMS(created), fromMS(ends)
		return k, err
	})
}

// AddAPIKey keeps a second key. tenant.ErrRotating when the application has two already.
func (s *Store) AddAPIKey(ctx context.Context, k tenant.Key, now time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		// Changes nothing: it makes a rotation at the same moment on another node wait, which then sees this one's key.
		if _, err := t.exec(ctx, `UPDATE applications SET name = name WHERE id = $1`, k.AppID); err != nil {
			return err
		}
		n, err := t.exec(ctx, `INSERT INTO api_keys (id, app_id, hash, sealed, created_at) SELECT $2, id, $3, $4, $5 FROM applications
			WHERE id = $1 AND (SELECT COUNT(*) FROM api_keys WHERE app_id = $1 AND (retired_at = 0 OR retired_at > $5)) = 1`,
			k.AppID, k.ID, k.Hash, k.Sealed, ms(now))
		return t.changed(ctx, n, err, tenant.ErrRotating, rec)
	})
}

// newestKey is the newest key of application $1 that does not end.
const newestKey = `(SELECT id FROM api_keys WHERE app_id = $1 AND retired_at = 0 ORDER BY created_at DESC, id DESC LIMIT 1)`

// PromoteAPIKey lets all but the newest key end at the given time. tenant.ErrNotRotating when there is one only.
func (s *Store) PromoteAPIKey(ctx context.Context, appID string, ends time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE api_keys SET retired_at = $2 WHERE app_id = $1 AND retired_at = 0 AND id <> `+newestKey, appID, ms(ends))
		return t.changed(ctx, n, err, tenant.ErrNotRotating, rec)
	})
}

// FinishAPIKey ends at once what is to end later. tenant.ErrNotRotating when nothing is.
func (s *Store) FinishAPIKey(ctx context.Context, appID string, now time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE api_keys SET retired_at = $2 WHERE app_id = $1 AND retired_at > $2`, appID, ms(now))
		return t.changed(ctx, n, err, tenant.ErrNotRotating, rec)
	})
}

// CancelAPIKey ends the newest key while an older one signs. tenant.ErrNotRotating when it is the only one.
func (s *Store) CancelAPIKey(ctx context.Context, appID string, now time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE api_keys SET retired_at = $2 WHERE app_id = $1 AND retired_at = 0 AND id = `+newestKey+`
			AND (SELECT COUNT(*) FROM api_keys WHERE app_id = $1 AND retired_at = 0) > 1`, appID, ms(now))
		return t.changed(ctx, n, err, tenant.ErrNotRotating, rec)
	})
}

// AcceptedKeys returns an application by its number or id, with its keys that are accepted; tenant.ErrApplication.
func (s *Store) AcceptedKeys(ctx context.Context, serial int64, id string, now time.Time) (a tenant.Application, keys []tenant.Key, err error) {
	if a, err = scanApp(s.queryRow(ctx, `SELECT `+appColumns+` FROM applications a WHERE a.serial = $1 OR a.id = $2`, serial, id)); err != nil {
		return a, nil, missing(err, tenant.ErrApplication)
	}
	rows, err := s.query(ctx, `SELECT id, app_id, hash, sealed FROM api_keys WHERE app_id = $1 AND (retired_at = 0 OR retired_at > $2)`, a.ID, ms(now))
	keys, err = collect(rows, err, func(r scanner) (k tenant.Key, err error) { return k, r.Scan(&k.ID, &k.AppID, &k.Hash, &k.Sealed) })
	return a, keys, err
}
