// This file owns the store in a database: one SQL text for SQLite and PostgreSQL. It needs database/sql only; the application
// brings the driver.

package secondfactor

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Schema creates the two tables of [SQLStore], where they do not exist. Columns are what statements ask for; body is the rest
// of the attempt as JSON. Times are Unix milliseconds.
const Schema = `
CREATE TABLE IF NOT EXISTS secondfactor_attempts (
	browser    TEXT   PRIMARY KEY,
	request    TEXT   UNIQUE,
	version    BIGINT NOT NULL,
	state      TEXT   NOT NULL CHECK (state IN ('choosing', 'push_pending', 'code_pending', 'approved',
		'denied', 'expired', 'cancelled', 'locked', 'consumed')),
	expires_at BIGINT NOT NULL,
	body       TEXT   NOT NULL
);
CREATE INDEX IF NOT EXISTS secondfactor_attempts_expires ON secondfactor_attempts (expires_at);
CREATE TABLE IF NOT EXISTS secondfactor_sessions (
	hash       TEXT   PRIMARY KEY,
	user_id    TEXT   NOT NULL,
	authy_id   BIGINT NOT NULL,
	method     TEXT   NOT NULL,
	created_at BIGINT NOT NULL,
	seen_at    BIGINT NOT NULL
);
CREATE INDEX IF NOT EXISTS secondfactor_sessions_created ON secondfactor_sessions (created_at);
`

// SQLStore is a [Store] in SQLite or PostgreSQL.
type SQLStore struct{ db *sql.DB }

// OpenSQLStore returns a store in db and creates its tables where they do not exist.
func OpenSQLStore(ctx context.Context, db *sql.DB) (*SQLStore, error) {
	if _, err := db.ExecContext(ctx, Schema); err != nil {
		return nil, fmt.Errorf("secondfactor: create tables: %w", err)
	}
	return &SQLStore{db}, nil
}

// CreateAttempt implements [Store].
func (s *SQLStore) CreateAttempt(ctx context.Context, a Attempt) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode attempt: %w", err)
	}
	result, err := s.db.ExecContext(ctx, `
		INSERT INTO secondfactor_attempts (browser, request, version, state, expires_at, body)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`,
		a.Browser, requestOrNull(a), a.Version, string(a.State), a.ExpiresAt.UnixMilli(), string(body))
	return oneRow(result, err, "insert attempt")
}

// requestOrNull keeps attempts without a request out of the unique index.
func requestOrNull(a Attempt) sql.NullString {
	return sql.NullString{String: a.Request, Valid: a.Request != ""}
}

// AttemptOf implements [Store].
func (s *SQLStore) AttemptOf(ctx context.Context, browser string) (Attempt, error) {
	return readAttempt(s.db.QueryRowContext(ctx,
		`SELECT version, state, body FROM secondfactor_attempts WHERE browser = $1`, browser))
}

// AttemptFor implements [Store].
func (s *SQLStore) AttemptFor(ctx context.Context, request string) (Attempt, error) {
	return readAttempt(s.db.QueryRowContext(ctx,
		`SELECT version, state, body FROM secondfactor_attempts WHERE request = $1`, request))
}

// readAttempt reads one row. The columns win over the body.
func readAttempt(row *sql.Row) (Attempt, error) {
	var (
		a       Attempt
		version int64
		state   State
		body    string
	)
	switch err := row.Scan(&version, &state, &body); {
	case errors.Is(err, sql.ErrNoRows):
		return Attempt{}, ErrNotFound
	case err != nil:
		return Attempt{}, fmt.Errorf("read attempt: %w", err)
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		return Attempt{}, fmt.Errorf("decode attempt: %w", err)
	}
	a.Version, a.State = version, state
	return a, nil
}

// executor is a database or a transaction.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// UpdateAttempt implements [Store].
func (s *SQLStore) UpdateAttempt(ctx context.Context, a Attempt) error {
	return updateAttempt(ctx, s.db, a,
		`state IN ('choosing', 'push_pending', 'code_pending', 'approved')`)
}

// updateAttempt is the one write of attempts: on the version that was read, from a state that leads on.
func updateAttempt(ctx context.Context, db executor, a Attempt, from string) error {
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("encode attempt: %w", err)
	}
	result, err := db.ExecContext(ctx, `
		UPDATE secondfactor_attempts SET request = $1, version = version + 1, state = $2, expires_at = $3, body = $4
		WHERE browser = $5 AND version = $6 AND `+from,
		requestOrNull(a), string(a.State), a.ExpiresAt.UnixMilli(), string(body), a.Browser, a.Version)
	return oneRow(result, err, "update attempt")
}

// oneRow turns a conditional write that found nothing to write into [ErrConflict].
func oneRow(result sql.Result, err error, doing string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch n, err := result.RowsAffected(); {
	case err != nil:
		return fmt.Errorf("%s: %w", doing, err)
	case n != 1:
		return ErrConflict
	}
	return nil
}

// Consume implements [Store].
func (s *SQLStore) Consume(ctx context.Context, a Attempt, replaces string, session Session) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("consume attempt: %w", err)
	}
	defer tx.Rollback()
	a.State = Consumed
	if err := updateAttempt(ctx, tx, a, `state = 'approved'`); err != nil {
		return err
	}
	result, err := tx.ExecContext(ctx, `DELETE FROM secondfactor_sessions WHERE hash = $1`, replaces)
	err = oneRow(result, err, "replace session")
	if err != nil && (a.Purpose == ForStepUp || !errors.Is(err, ErrConflict)) {
		return err
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO secondfactor_sessions (hash, user_id, authy_id, method, created_at, seen_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		session.Hash, session.User, session.AuthyID, string(session.Method), session.CreatedAt.UnixMilli(), session.SeenAt.UnixMilli())
	if err != nil {
		return fmt.Errorf("insert session: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("consume attempt: %w", err)
	}
	return nil
}

// Session implements [Store].
func (s *SQLStore) Session(ctx context.Context, hash string) (Session, error) {
	session := Session{Hash: hash}
	var created, seen int64
	err := s.db.QueryRowContext(ctx, `
		SELECT user_id, authy_id, method, created_at, seen_at FROM secondfactor_sessions WHERE hash = $1`, hash).
		Scan(&session.User, &session.AuthyID, &session.Method, &created, &seen)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Session{}, ErrNotFound
	case err != nil:
		return Session{}, fmt.Errorf("read session: %w", err)
	}
	session.CreatedAt, session.SeenAt = time.UnixMilli(created), time.UnixMilli(seen)
	return session, nil
}

// TouchSession implements [Store].
func (s *SQLStore) TouchSession(ctx context.Context, hash string, seen time.Time) error {
	_, err := s.db.ExecContext(ctx, `UPDATE secondfactor_sessions SET seen_at = $1 WHERE hash = $2`, seen.UnixMilli(), hash)
	if err != nil {
		return fmt.Errorf("touch session: %w", err)
	}
	return nil
}

// EndSession implements [Store].
func (s *SQLStore) EndSession(ctx context.Context, hash string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM secondfactor_sessions WHERE hash = $1`, hash); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// Sweep implements [Store].
func (s *SQLStore) Sweep(ctx context.Context, attemptsBefore, sessionsBefore time.Time) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM secondfactor_attempts WHERE browser IN
		(SELECT browser FROM secondfactor_attempts WHERE expires_at < $1 LIMIT 500)`, attemptsBefore.UnixMilli())
	if err != nil {
		return fmt.Errorf("sweep attempts: %w", err)
	}
	_, err = s.db.ExecContext(ctx, `DELETE FROM secondfactor_sessions WHERE hash IN
		(SELECT hash FROM secondfactor_sessions WHERE created_at < $1 LIMIT 500)`, sessionsBefore.UnixMilli())
	if err != nil {
		return fmt.Errorf("sweep sessions: %w", err)
	}
	return nil
}
