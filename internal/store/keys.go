package store

import (
	"context"
	"fmt"
	"time"

	"countersign.dev/internal/seal"
)

// This file owns the data keys, and every sealed column for the exchange of keys.

func scanKey(r scanner) (k seal.StoredKey, err error) {
	var created, retired int64
	err = r.Scan(&k.ID, &k.Purpose, &k.Wrapped, &created, &retired)
	k.CreatedAt, k.RetiredAt = fromMS(created), fromMS(retired)
	return k, err
}

const storedKeys = `SELECT id, purpose, wrapped, created_at, retired_at FROM seal_keys ORDER BY id`

// StoredKeys returns the wrapped data keys.
func (s *Store) StoredKeys(ctx context.Context) ([]seal.StoredKey, error) {
	rows, err := s.query(ctx, storedKeys)
	return collect(rows, err, scanKey)
}

// SealKeys returns the wrapped data keys; make is asked for them when the database has none yet.
func (s *Store) SealKeys(ctx context.Context, now time.Time, make func() ([]seal.StoredKey, error)) (keys []seal.StoredKey, err error) {
	err = s.write(ctx, func(t *tx) error {
		if err := t.hold("seal keys"); err != nil {
			return err
		}
		rows, err := t.query(ctx, storedKeys)
		keys, err = collect(rows, err, scanKey)
		if err != nil || len(keys) > 0 {
			return err
		}
		if keys, err = make(); err != nil {
			return err
		}
		for i, k := range keys {
			if err := t.addKey(ctx, k, now); err != nil {
				return err
			}
			keys[i].CreatedAt = fromMS(ms(now))
		}
		return nil
	})
	return keys, err
}

func (t *tx) addKey(ctx context.Context, k seal.StoredKey, now time.Time) error {
	_, err := t.exec(ctx, `INSERT INTO seal_keys (id, purpose, wrapped, created_at) VALUES ($1, $2, $3, $4)`, k.ID, k.Purpose, k.Wrapped, ms(now))
	return err
}

// AddKey adds a data key. The id of one that exists is an error.
func (s *Store) AddKey(ctx context.Context, k seal.StoredKey, now time.Time) error {
	return s.write(ctx, func(t *tx) error { return t.addKey(ctx, k, now) })
}

// RewrapKeys replaces what wraps each key, if all of them still are as in old, or returns seal.ErrKeysChanged.
func (s *Store) RewrapKeys(ctx context.Context, old, fresh []seal.StoredKey) error {
	return s.write(ctx, func(t *tx) error {
		for i, k := range fresh {
			n, err := t.exec(ctx, `UPDATE seal_keys SET wrapped = $1 WHERE id = $2 AND wrapped = $3`, k.Wrapped, k.ID, old[i].Wrapped)
			if err != nil {
				return err
			}
			if n == 0 {
				return seal.ErrKeysChanged
			}
		}
		var n int
		if err := t.queryRow(ctx, `SELECT COUNT(*) FROM seal_keys`).Scan(&n); err != nil {
			return err
		}
		if n != len(old) {
			return seal.ErrKeysChanged
		}
		return nil
	})
}

// RetireKeys marks the sealing keys older than the key before.
func (s *Store) RetireKeys(ctx context.Context, before uint32, now time.Time) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE seal_keys SET retired_at = $1 WHERE purpose = 'seal' AND id < $2 AND retired_at = 0`, ms(now), before)
		return err
	})
}

// DropKeys removes the keys that were retired before at.
func (s *Store) DropKeys(ctx context.Context, at time.Time) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM seal_keys WHERE purpose = 'seal' AND retired_at > 0 AND retired_at < $1`, ms(at))
		return err
	})
}

// sealed is one column that holds sealed values, whose context is its name and the row's key.
type sealed struct {
	name string
	read func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error)
	swap func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error)
}

// sealedColumns are all of them. A test finds a column of the schema that is missing here.
func sealedColumns() []sealed {
	return []sealed{
		{
			name: "operators.totp",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, totp FROM operators WHERE id > $1 ORDER BY id LIMIT $2`, from(after, ""), limit)
				return values[string](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE operators SET totp = $1 WHERE id = $2 AND totp = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "api_keys.sealed",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, sealed FROM api_keys WHERE id > $1 ORDER BY id LIMIT $2`, from(after, ""), limit)
				return values[string](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE api_keys SET sealed = $1 WHERE id = $2 AND sealed = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "signing_keys.sealed",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, sealed FROM signing_keys WHERE id > $1 ORDER BY id LIMIT $2`, from(after, ""), limit)
				return values[string](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE signing_keys SET sealed = $1 WHERE id = $2 AND sealed = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "webhooks.sealed",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, sealed FROM webhooks WHERE id > $1 ORDER BY id LIMIT $2`, from(after, ""), limit)
				return values[string](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE webhooks SET sealed = $1 WHERE id = $2 AND sealed = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "access_keys.sealed",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, sealed FROM access_keys WHERE id > $1 ORDER BY id LIMIT $2`, from(after, ""), limit)
				return values[string](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE access_keys SET sealed = $1 WHERE id = $2 AND sealed = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "grants.secret",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, secret FROM grants WHERE id > $1 ORDER BY id LIMIT $2`, from(after, int64(-1)), limit)
				return values[int64](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE grants SET secret = $1 WHERE id = $2 AND secret = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "generic_secrets.secret",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, secret FROM generic_secrets WHERE id > $1 ORDER BY id LIMIT $2`, from(after, int64(-1)), limit)
				return values[int64](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE generic_secrets SET secret = $1 WHERE id = $2 AND secret = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "jobs.payload", // of messages, and of enrolments, which become messages; other jobs carry an id
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, payload FROM jobs WHERE id > $1 AND kind IN ('message', 'enrollment') ORDER BY id LIMIT $2`, from(after, ""), limit)
				return values[string](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE jobs SET payload = $1 WHERE id = $2 AND payload = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "outbox.sealed",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, sealed FROM outbox WHERE id > $1 ORDER BY id LIMIT $2`, from(after, ""), limit)
				return values[string](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE outbox SET sealed = $1 WHERE id = $2 AND sealed = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "push_keys.sealed",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT id, sealed FROM push_keys WHERE id > $1 ORDER BY id LIMIT $2`, from(after, int64(-1)), limit)
				return values[int64](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE push_keys SET sealed = $1 WHERE id = $2 AND sealed = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
		{
			name: "push_subscriptions.sealed",
			read: func(ctx context.Context, s *Store, after any, limit int) ([]seal.Value, error) {
				rows, err := s.query(ctx, `SELECT device_id, sealed FROM push_subscriptions WHERE device_id > $1 ORDER BY device_id LIMIT $2`, from(after, ""), limit)
				return values[string](rows, err)
			},
			swap: func(ctx context.Context, t *tx, fresh, old seal.Value) (int64, error) {
				return t.exec(ctx, `UPDATE push_subscriptions SET sealed = $1 WHERE device_id = $2 AND sealed = $3`, fresh.Sealed, old.Row, old.Sealed)
			},
		},
	}
}

// from is where a reading goes on: behind after, or at the first row.
func from(after, first any) any {
	if after == nil {
		return first
	}
	return after
}

func values[K string | int64](found rows, err error) ([]seal.Value, error) {
	return collect(found, err, func(r scanner) (v seal.Value, err error) {
		var key K
		err = r.Scan(&key, &v.Sealed)
		v.Row = key
		return v, err
	})
}

// SealedColumns names every column that holds sealed values.
func (s *Store) SealedColumns() (names []string) {
	for _, c := range sealedColumns() {
		names = append(names, c.name)
	}
	return names
}

func sealedColumn(name string) (sealed, error) {
	for _, c := range sealedColumns() {
		if c.name == name {
			return c, nil
		}
	}
	return sealed{}, fmt.Errorf("store: %s is no sealed column", name)
}

// SealedValues returns values of one column in the order of their rows, from behind the row after; nil: from the first.
func (s *Store) SealedValues(ctx context.Context, column string, after any, limit int) ([]seal.Value, error) {
	c, err := sealedColumn(column)
	if err != nil {
		return nil, err
	}
	found, err := c.read(ctx, s, after, limit)
	for i := range found {
		found[i].Context = fmt.Sprint(column, ":", found[i].Row)
	}
	return found, err
}

// Reseal replaces values that still are as in old, and returns how many.
func (s *Store) Reseal(ctx context.Context, column string, old, fresh []seal.Value) (n int, err error) {
	c, err := sealedColumn(column)
	if err != nil {
		return 0, err
	}
	err = s.write(ctx, func(t *tx) error {
		n = 0
		for i, v := range fresh {
			changed, err := c.swap(ctx, t, v, old[i])
			if err != nil {
				return err
			}
			n += int(changed)
		}
		return nil
	})
	return n, err
}
