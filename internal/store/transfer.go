package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/transfer"
)

// This file owns importing and exporting users. A batch is one transaction; its statements need no answer at once, so that
// on PostgreSQL they travel together.

// ImportUsers adds those of users whose authy_id and phone are free, and returns for the others who has them.
func (s *Store) ImportUsers(ctx context.Context, users []transfer.NewUser, dry bool, record func(added, secrets int) audit.Record) (held [][]transfer.Held, err error) {
	err = s.write(ctx, func(t *tx) error {
		held = make([][]transfer.Held, len(users))
		added := make([]bool, len(users))
		if !dry {
			if err := t.addUsers(ctx, users, added, record); err != nil {
				return err
			}
		}
		for i, u := range users {
			if added[i] {
				continue
			}
			err := t.ask(ctx, func(r rows) error {
				held[i], err = collect(r, nil, scanHeld)
				return err
			}, `SELECT `+heldColumns+` WHERE u.app_id = $1 AND (u.authy_id = $2 OR u.phone = $3)`, u.AppID, u.AuthyID, u.Phone)
			if err != nil {
				return fmt.Errorf("read who is there: %w", err)
			}
		}
		return t.arrive()
	})
	return held, err
}

// addUsers inserts users, with their addresses and secrets, and says which.
func (t *tx) addUsers(ctx context.Context, users []transfer.NewUser, added []bool, record func(added, secrets int) audit.Record) error {
	places := make(map[string]int, len(users))
	var first, last string
	for i, u := range users {
		places[u.ID], first, last = i, min(cmp.Or(first, u.ID), u.ID), max(last, u.ID)
		// Without RETURNING, for which SQLite keeps a copy of every page that each statement changes: the ids are new, so that those that
		// are there afterwards were added.
		if err := t.later(ctx, `INSERT INTO users (id, app_id, authy_id, country_code, phone, email, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7)
			ON CONFLICT DO NOTHING`, u.ID, u.AppID, u.AuthyID, u.CountryCode, u.Phone, u.Email, ms(u.CreatedAt)); err != nil {
			return fmt.Errorf("insert user: %w", err)
		}
	}
	there, err := t.query(ctx, `SELECT id FROM users WHERE id >= $1 AND id <= $2`, first, last)
	ids, err := collect(there, err, scanText)
	if err != nil {
		return fmt.Errorf("insert users: %w", err)
	}
	for _, id := range ids {
		if i, ours := places[id]; ours {
			added[i] = true
		}
	}
	n := 0
	var withSecret []transfer.NewUser
	for i, u := range users {
		if !added[i] {
			continue
		}
		n++
		if u.Secret != nil {
			withSecret = append(withSecret, u)
		}
		if u.Email == "" {
			continue
		}
		if err := t.later(ctx, `INSERT INTO user_emails (user_id, email, added_at) VALUES ($1, $2, $3)`, u.ID, u.Email, ms(u.CreatedAt)); err != nil {
			return fmt.Errorf("insert e-mail: %w", err)
		}
	}
	if err := t.addSecrets(ctx, withSecret); err != nil || n == 0 {
		return err
	}
	return t.record(ctx, record(n, len(withSecret)))
}

// addSecrets inserts secrets that count at once, because their users have them. A number that is taken is drawn anew.
func (t *tx) addSecrets(ctx context.Context, users []transfer.NewUser) error {
	for range 20 {
		taken := make([]bool, len(users))
		for i, u := range users {
			id, sealed := u.Secret.Draw()
			err := t.ask(ctx, func(r rows) error { taken[i] = !r.Next(); return r.Err() },
				`INSERT INTO generic_secrets (id, app_id, user_id, secret, digits, period, created_at, confirmed_at)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $7) ON CONFLICT (id) DO NOTHING RETURNING id`,
				id, u.AppID, u.ID, sealed, u.Secret.Digits, int64(u.Secret.Period), ms(u.CreatedAt))
			if err != nil {
				return fmt.Errorf("insert generic secret: %w", err)
			}
		}
		if err := t.arrive(); err != nil {
			return fmt.Errorf("insert generic secrets: %w", err)
		}
		var left []transfer.NewUser
		for i, u := range users {
			if taken[i] {
				left = append(left, u)
			}
		}
		if users = left; len(users) == 0 {
			return nil
		}
	}
	return errors.New("no free number found in 20 draws")
}

const heldColumns = userColumns + `, u.removed_at > 0, COALESCE(g.id, 0), g.secret, COALESCE(g.digits, 0), COALESCE(g.period, 0)
	FROM users u LEFT JOIN generic_secrets g ON g.user_id = u.id AND g.confirmed_at > 0`

func scanHeld(r scanner) (h transfer.Held, err error) {
	var confirmed, created int64
	var g otp.AppSecret
	u := &h.User
	err = r.Scan(&u.ID, &u.AppID, &u.AuthyID, &u.CountryCode, &u.Phone, &u.Email, &confirmed, &created,
		&h.Removed, &g.GenericID, &g.Sealed, &g.Digits, &g.Period)
	u.Confirmed, u.CreatedAt = confirmed > 0, fromMS(created)
	if g.GenericID != 0 {
		h.Secret = &g
	}
	return h, err
}

// ExportUsers returns the application's users with the next higher ids, and records that they were read.
func (s *Store) ExportUsers(ctx context.Context, appID string, after int64, limit int, record func([]transfer.Held) audit.Record) (users []transfer.Held, err error) {
	err = s.write(ctx, func(t *tx) error {
		rows, err := t.query(ctx, `SELECT `+heldColumns+` WHERE u.app_id = $1 AND u.authy_id > $2 AND u.phone IS NOT NULL AND u.removed_at = 0 ORDER BY u.authy_id LIMIT $3`, appID, after, limit)
		if users, err = collect(rows, err, scanHeld); err != nil || len(users) == 0 {
			return err
		}
		return t.record(ctx, record(users))
	})
	return users, err
}
