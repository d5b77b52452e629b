package store

import (
	"context"
	"time"

	"countersign.dev/internal/seal"
)

// SealKeys returns the wrapped data keys; make is asked for them when the database has none yet.
func (s *Store) SealKeys(ctx context.Context, now time.Time, make func() ([]seal.StoredKey, error)) (keys []seal.StoredKey, err error) {
	err = s.write(ctx, func(t *tx) error {
		rows, err := t.query(ctx, `SELECT id, purpose, wrapped FROM seal_keys ORDER BY id`)
		keys, err = collect(rows, err, func(r scanner) (k seal.StoredKey, err error) {
			return k, r.Scan(&k.ID, &k.Purpose, &k.Wrapped)
		})
		if err != nil || len(keys) > 0 {
			return err
		}
		if keys, err = make(); err != nil {
			return err
		}
		for _, k := range keys {
			if _, err := t.exec(ctx, `INSERT INTO seal_keys (id, purpose, wrapped, created_at) VALUES ($1, $2, $3, $4)`,
				k.ID, k.Purpose, k.Wrapped, ms(now)); err != nil {
				return err
			}
		}
		return nil
	})
	return keys, err
}
