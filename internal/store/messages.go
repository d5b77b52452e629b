package store

import (
	"context"
	"fmt"
	"time"

	"countersign.dev/internal/message"
)

// This file owns the outbox and the pictures of approvals.

// KeepMessage puts a message into the outbox and ends its job.
func (s *Store) KeepMessage(ctx context.Context, m message.Stored, jobID string) error {
	return s.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO outbox (id, at, sealed) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`, m.ID, ms(m.At), m.Sealed); err != nil {
			return fmt.Errorf("insert message: %w", err)
		}
		return t.endJob(ctx, jobID)
	})
}

// Messages returns the outbox, newest first.
func (s *Store) Messages(ctx context.Context, limit int) ([]message.Stored, error) {
	rows, err := s.query(ctx, `SELECT id, at, sealed FROM outbox ORDER BY at DESC, id DESC LIMIT $1`, limit)
	return collect(rows, err, func(r scanner) (m message.Stored, err error) {
		var at int64
		err = r.Scan(&m.ID, &at, &m.Sealed)
		m.At = fromMS(at)
		return m, err
	})
}

// KeepLogo keeps a picture under its digest.
func (s *Store) KeepLogo(ctx context.Context, digest string, png []byte, now time.Time) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `INSERT INTO logos (digest, png, created_at) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING`, digest, png, ms(now))
		return err
	})
}

// Logo returns the picture with that digest, or nil when there is none.
func (s *Store) Logo(ctx context.Context, digest string) (png []byte, err error) {
	err = s.queryRow(ctx, `SELECT png FROM logos WHERE digest = $1`, digest).Scan(&png)
	return png, missing(err, nil)
}
