// This file owns links by mail: each is good for one purpose, once, for half an hour. Whoever follows one reads the mail of its address. Only a hash of
// what stands in a link is kept.

package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// What a link is for. One for a password opens no account, and the other way round.
const (
	forSignup   = "signup"
	forPassword = "password"
)

const (
	linkLife  = 30 * time.Minute
	linkPause = time.Minute // between two links of a kind for one address
)

func linkHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// newLink keeps a link for an address and returns what stands in it, or errMoved when one was made a moment ago. It is kept for every address, so
// that this work says nothing (D19); whether it is mailed is for the caller. Links that nobody can use any more go, so that the table does not grow.
func (s *users) newLink(ctx context.Context, purpose, email string, now time.Time) (token string, err error) {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM links WHERE created_at <= $1`, now.Add(-linkLife).Unix()); err != nil {
		return "", fmt.Errorf("remove old links: %w", err)
	}
	token = rand.Text() // 128 bits
	result, err := s.db.ExecContext(ctx, `
		INSERT INTO links (hash, purpose, email, email_folded, created_at) SELECT $1, $2, $3, $4, $5
		WHERE NOT EXISTS (SELECT 1 FROM links WHERE email_folded = $4 AND purpose = $2 AND created_at > $6)`,
		linkHash(token), purpose, email, fold(email), now.Unix(), now.Add(-linkPause).Unix())
	return token, oneRow(result, err, errMoved, "add link")
}

// linkEmail returns the address of a link that can still be used.
func (s *users) linkEmail(ctx context.Context, purpose, token string, now time.Time) (string, error) {
	return linked(s.db.QueryRowContext(ctx, `SELECT email FROM links WHERE hash = $1 AND purpose = $2 AND used = 0 AND created_at > $3`,
		linkHash(token), purpose, now.Add(-linkLife).Unix()))
}

// useLink uses a link up, once, and returns its address. db is the database or a transaction.
func useLink(ctx context.Context, db interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}, purpose, token string, now time.Time,
) (email string, err error) {
	return linked(db.QueryRowContext(ctx, `UPDATE links SET used = 1 WHERE hash = $1 AND purpose = $2 AND used = 0 AND created_at > $3 RETURNING email`,
		linkHash(token), purpose, now.Add(-linkLife).Unix()))
}

func linked(row *sql.Row) (email string, err error) {
	switch err := row.Scan(&email); {
	case errors.Is(err, sql.ErrNoRows):
		return "", errNotFound
	case err != nil:
		return "", fmt.Errorf("read link: %w", err)
	}
	return email, nil
}
