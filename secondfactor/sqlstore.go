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

// Schema creates the tables of [SQLStore], where they do not exist. Columns are what statements ask for; body is the rest
// of the record as JSON. Times are Unix milliseconds.
const Schema = `
CREATE TABLE IF NOT EXISTS secondfactor_attempts (
	browser    TEXT   PRIMARY KEY,
	request    TEXT   UNIQUE,
	user_id    TEXT   NOT NULL,
	version    BIGINT NOT NULL,
	state      TEXT   NOT NULL CHECK (state IN ('choosing', 'push_pending', 'code_pending', 'approved',
		'denied', 'expired', 'cancelled', 'locked', 'consumed')),
	expires_at BIGINT NOT NULL,
	body       TEXT   NOT NULL
);
CREATE INDEX IF NOT EXISTS secondfactor_attempts_user ON secondfactor_attempts (user_id);
CREATE INDEX IF NOT EXISTS secondfactor_attempts_expires ON secondfactor_attempts (expires_at);
CREATE TABLE IF NOT EXISTS secondfactor_sessions (
	hash        TEXT   PRIMARY KEY,
	user_id     TEXT   NOT NULL,
	created_at  BIGINT NOT NULL,
	seen_at     BIGINT NOT NULL,
	fresh_until BIGINT NOT NULL,
	trusted     TEXT   NOT NULL,
	trust_asked BIGINT NOT NULL,
	body        TEXT   NOT NULL
);
CREATE INDEX IF NOT EXISTS secondfactor_sessions_user ON secondfactor_sessions (user_id);
CREATE INDEX IF NOT EXISTS secondfactor_sessions_created ON secondfactor_sessions (created_at);
CREATE TABLE IF NOT EXISTS secondfactor_recovery (
	user_id TEXT   PRIMARY KEY,
	version BIGINT NOT NULL,
	body    TEXT   NOT NULL
);
CREATE TABLE IF NOT EXISTS secondfactor_trusted (
	id         TEXT   PRIMARY KEY,
	user_id    TEXT   NOT NULL,
	version    BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	body       TEXT   NOT NULL
);
CREATE INDEX IF NOT EXISTS secondfactor_trusted_user ON secondfactor_trusted (user_id);
CREATE INDEX IF NOT EXISTS secondfactor_trusted_expires ON secondfactor_trusted (expires_at);
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
		INSERT INTO secondfactor_attempts (browser, request, user_id, version, state, expires_at, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
		a.Browser, requestOrNull(a), a.User, a.Version, string(a.State), a.ExpiresAt.UnixMilli(), string(body))
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

// AttemptsBy implements [Store].
func (s *SQLStore) AttemptsBy(ctx context.Context, user string) ([]Attempt, error) {
	return readAll(ctx, s.db, readAttempt, `SELECT version, state, body FROM secondfactor_attempts
		WHERE user_id = $1 AND state IN ('choosing', 'push_pending', 'code_pending', 'approved')`, user)
}

// row is one row, of one or of many.
type row interface{ Scan(columns ...any) error }

// readAll reads all rows of a query.
func readAll[T any](ctx context.Context, db *sql.DB, read func(row) (T, error), query string, args ...any) (list []T, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		one, err := read(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, one)
	}
	return list, rows.Err()
}

// readAttempt reads one row. The columns win over the body.
func readAttempt(row row) (Attempt, error) {
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
	if a.Session != "" && a.Session != replaces {
		return ErrConflict
	}
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
	if err != nil && (a.Session != "" || !errors.Is(err, ErrConflict)) {
		return err
	}
	body, err := json.Marshal(session)
	if err != nil {
		return fmt.Errorf("encode session: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		INSERT INTO secondfactor_sessions (hash, user_id, created_at, seen_at, fresh_until, trusted, trust_asked, body)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		session.Hash, session.User, session.CreatedAt.UnixMilli(), session.SeenAt.UnixMilli(), millis(session.FreshUntil),
		session.Trusted, flag(session.TrustAsked), string(body))
	if err != nil {
		return fmt.Errorf("insert session: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("consume attempt: %w", err)
	}
	return nil
}

// millis is a time as it is stored, 0 for never.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// flag is a truth value as it is stored: the two databases have no common type for it.
func flag(yes bool) int64 {
	if yes {
		return 1
	}
	return 0
}

const sessionColumns = `hash, created_at, seen_at, fresh_until, trusted, trust_asked, body`

// Session implements [Store].
func (s *SQLStore) Session(ctx context.Context, hash string) (Session, error) {
	return readSession(s.db.QueryRowContext(ctx, `SELECT `+sessionColumns+` FROM secondfactor_sessions WHERE hash = $1`, hash))
}

// SessionsOf implements [Store].
func (s *SQLStore) SessionsOf(ctx context.Context, user string) ([]Session, error) {
	return readAll(ctx, s.db, readSession,
		`SELECT `+sessionColumns+` FROM secondfactor_sessions WHERE user_id = $1 ORDER BY created_at DESC, hash`, user)
}

// readSession reads one row. The columns win over the body.
func readSession(row row) (Session, error) {
	var (
		session                    Session
		hash, trusted, body        string
		created, seen, fresh, asks int64
	)
	switch err := row.Scan(&hash, &created, &seen, &fresh, &trusted, &asks, &body); {
	case errors.Is(err, sql.ErrNoRows):
		return Session{}, ErrNotFound
	case err != nil:
		return Session{}, fmt.Errorf("read session: %w", err)
	}
	if err := json.Unmarshal([]byte(body), &session); err != nil {
		return Session{}, fmt.Errorf("decode session: %w", err)
	}
	session.Hash, session.CreatedAt, session.SeenAt = hash, time.UnixMilli(created), time.UnixMilli(seen)
	session.Trusted, session.TrustAsked, session.FreshUntil = trusted, asks != 0, time.Time{}
	if fresh != 0 {
		session.FreshUntil = time.UnixMilli(fresh)
	}
	return session, nil
}

// UpdateSession implements [Store].
func (s *SQLStore) UpdateSession(ctx context.Context, session Session) error {
	_, err := s.db.ExecContext(ctx, `
		UPDATE secondfactor_sessions SET seen_at = $1, fresh_until = $2, trusted = $3, trust_asked = $4 WHERE hash = $5`,
		session.SeenAt.UnixMilli(), millis(session.FreshUntil), session.Trusted, flag(session.TrustAsked), session.Hash)
	if err != nil {
		return fmt.Errorf("update session: %w", err)
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

// Recovery implements [Store].
func (s *SQLStore) Recovery(ctx context.Context, user string) (RecoveryCodes, error) {
	c := RecoveryCodes{User: user}
	err := readBody(s.db.QueryRowContext(ctx, `SELECT version, body FROM secondfactor_recovery WHERE user_id = $1`, user), &c, &c.Version)
	if errors.Is(err, ErrNotFound) {
		return c, nil
	}
	return c, err
}

// readBody reads a row of version and body. The column wins over the body.
func readBody(row row, into any, version *int64) error {
	var stored int64
	var body string
	switch err := row.Scan(&stored, &body); {
	case errors.Is(err, sql.ErrNoRows):
		return ErrNotFound
	case err != nil:
		return fmt.Errorf("read row: %w", err)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		return fmt.Errorf("decode row: %w", err)
	}
	*version = stored
	return nil
}

// PutRecovery implements [Store].
func (s *SQLStore) PutRecovery(ctx context.Context, c RecoveryCodes) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode recovery codes: %w", err)
	}
	if c.Version == 0 {
		result, err := s.db.ExecContext(ctx, `
			INSERT INTO secondfactor_recovery (user_id, version, body) VALUES ($1, 1, $2) ON CONFLICT DO NOTHING`, c.User, string(body))
		return oneRow(result, err, "insert recovery codes")
	}
	result, err := s.db.ExecContext(ctx, `
		UPDATE secondfactor_recovery SET version = version + 1, body = $1 WHERE user_id = $2 AND version = $3`, string(body), c.User, c.Version)
	return oneRow(result, err, "update recovery codes")
}

// Trusted implements [Store].
func (s *SQLStore) Trusted(ctx context.Context, id string) (TrustedBrowser, error) {
	return readTrusted(s.db.QueryRowContext(ctx, `SELECT version, body FROM secondfactor_trusted WHERE id = $1`, id))
}

// TrustedOf implements [Store].
func (s *SQLStore) TrustedOf(ctx context.Context, user string) ([]TrustedBrowser, error) {
	// The life is the same for all, so the last to end is the newest.
	return readAll(ctx, s.db, readTrusted,
		`SELECT version, body FROM secondfactor_trusted WHERE user_id = $1 ORDER BY expires_at DESC, id`, user)
}

func readTrusted(row row) (TrustedBrowser, error) {
	var b TrustedBrowser
	err := readBody(row, &b, &b.Version)
	return b, err
}

// PutTrusted implements [Store].
func (s *SQLStore) PutTrusted(ctx context.Context, b TrustedBrowser) error {
	body, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("encode trusted browser: %w", err)
	}
	if b.Version == 0 {
		result, err := s.db.ExecContext(ctx, `
			INSERT INTO secondfactor_trusted (id, user_id, version, expires_at, body) VALUES ($1, $2, 1, $3, $4) ON CONFLICT DO NOTHING`,
			b.ID, b.User, b.ExpiresAt.UnixMilli(), string(body))
		return oneRow(result, err, "insert trusted browser")
	}
	result, err := s.db.ExecContext(ctx, `
		UPDATE secondfactor_trusted SET version = version + 1, expires_at = $1, body = $2 WHERE id = $3 AND version = $4`,
		b.ExpiresAt.UnixMilli(), string(body), b.ID, b.Version)
	return oneRow(result, err, "update trusted browser")
}

// RemoveTrusted implements [Store].
func (s *SQLStore) RemoveTrusted(ctx context.Context, user, id string) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM secondfactor_trusted WHERE id = $1 AND user_id = $2`, id, user); err != nil {
		return fmt.Errorf("remove trusted browser: %w", err)
	}
	return nil
}

// Sweep implements [Store].
func (s *SQLStore) Sweep(ctx context.Context, attemptsBefore, sessionsBefore, trustBefore time.Time) error {
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
	_, err = s.db.ExecContext(ctx, `DELETE FROM secondfactor_trusted WHERE id IN
		(SELECT id FROM secondfactor_trusted WHERE expires_at < $1 LIMIT 500)`, trustBefore.UnixMilli())
	if err != nil {
		return fmt.Errorf("sweep trusted browsers: %w", err)
	}
	return nil
}
