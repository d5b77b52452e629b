package store

import (
	"context"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/tenant"
)

// This file owns what reports read.

// recordsBatch is how many records are read at once.
const recordsBatch = 500

// EachRecord calls each with at most limit of an application's audit records in [from, to), newest first, until it returns false, and returns
// how many it called it with. It holds no connection meanwhile, because each may read too: several that all wait for a second one would wait for
// ever.
func (s *Store) EachRecord(ctx context.Context, appID string, from, to time.Time, limit int, each func(audit.Record) bool) (n int, err error) {
	for at, id := ms(to), ""; ; {
		batch := min(recordsBatch, limit-n)
		rows, err := s.query(ctx, `SELECT `+recordColumns+` FROM audit WHERE app_id = $1 AND at >= $2 AND at <= $3 AND (at < $3 OR id < $4)
			ORDER BY at DESC, id DESC LIMIT $5`, appID, ms(from), at, id, batch)
		records, err := collect(rows, err, scanRecord)
		if err != nil {
			return n, err
		}
		for _, r := range records {
			if n++; !each(r) {
				return n, nil
			}
			at, id = ms(r.At), r.ID
		}
		if len(records) < batch || n == limit {
			return n, nil
		}
	}
}

// UserByID returns the application's user, removed or not, or tenant.ErrUser.
func (s *Store) UserByID(ctx context.Context, appID, userID string) (tenant.User, error) {
	u, err := scanUser(s.queryRow(ctx, `SELECT `+userColumns+` FROM users u WHERE u.id = $1 AND u.app_id = $2`, userID, appID))
	return u, missing(err, tenant.ErrUser)
}

// UserIDOf returns the id of the application's user with that authy_id, removed or not, or tenant.ErrUser.
func (s *Store) UserIDOf(ctx context.Context, appID string, authyID int64) (id string, err error) {
	err = s.queryRow(ctx, `SELECT id FROM users WHERE app_id = $1 AND authy_id = $2`, appID, authyID).Scan(&id)
	return id, missing(err, tenant.ErrUser)
}
