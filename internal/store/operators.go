package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/tenant/operator"
)

// This file owns operators, their sessions, and the links that set them up.

// OperatorByEmail returns the operator with that folded address, or a zero value.
func (s *Store) OperatorByEmail(ctx context.Context, folded string) (o operator.Stored, err error) {
	var created int64
	err = s.queryRow(ctx, `SELECT id, account_id, email, email_folded, password_hash, totp, totp_step, created_at FROM operators WHERE email_folded = $1`, folded).
		Scan(&o.ID, &o.AccountID, &o.Email, &o.EmailFolded, &o.PasswordHash, &o.TOTP, &o.TOTPStep, &created)
	o.CreatedAt = fromMS(created)
	return o, missing(err, nil)
}

func operatorBudget(id string) string { return "operator:" + id }

// writeAnyway makes a transaction cost a flush, like those that count or record, where there is nothing to keep.
func (t *tx) writeAnyway(ctx context.Context) error {
	_, err := t.exec(ctx, `INSERT INTO budgets AS b (subject, wrong, locked_until, level) VALUES ($1, 0, 0, 0)
		ON CONFLICT (subject) DO UPDATE SET wrong = 1 - b.wrong`, operatorBudget("nobody"))
	return err
}

// ReserveOperatorTry counts a try and reports whether there was one left.
func (s *Store) ReserveOperatorTry(ctx context.Context, operatorID string, now time.Time) (left bool, err error) {
	err = s.write(ctx, func(t *tx) error {
		if left = operatorID != ""; left {
			locked, err := t.reserveTry(ctx, operatorBudget(operatorID), now)
			if left = locked == 0; err != nil || left {
				return err
			}
		}
		return t.writeAnyway(ctx)
	})
	return left && err == nil, err
}

// RefuseOperator records a refusal.
func (s *Store) RefuseOperator(ctx context.Context, rec *audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if rec == nil {
			return t.writeAnyway(ctx)
		}
		return t.record(ctx, *rec)
	})
}

// OpenOperatorSession spends the step and keeps the session. A spent step is refused, and the refusal is committed.
func (s *Store) OpenOperatorSession(ctx context.Context, ses operator.Session, step int64, rec audit.Record) error {
	var answer error
	err := s.write(ctx, func(t *tx) error {
		answer = nil
		n, err := t.exec(ctx, `UPDATE operators SET totp_step = $1 WHERE id = $2 AND totp_step < $1`, step, ses.Operator.ID)
		if err != nil {
			return fmt.Errorf("spend the step: %w", err)
		}
		if n == 0 {
			answer = operator.ErrSignIn
			return t.record(ctx, rec.Refused("code-used"))
		}
		if _, err := t.exec(ctx, `DELETE FROM budgets WHERE subject = $1`, operatorBudget(ses.Operator.ID)); err != nil {
			return fmt.Errorf("reset budget: %w", err)
		}
		return t.openOperatorSession(ctx, ses, rec)
	})
	if err == nil {
		err = answer
	}
	return err
}

// openOperatorSession keeps a session, and removes those that are over: there are few, so nothing else needs to.
func (t *tx) openOperatorSession(ctx context.Context, ses operator.Session, rec audit.Record) error {
	if _, err := t.exec(ctx, `DELETE FROM operator_sessions WHERE seen_at <= $1 OR created_at <= $2`,
		ms(ses.CreatedAt.Add(-operator.SessionIdle)), ms(ses.CreatedAt.Add(-operator.SessionMax))); err != nil {
		return fmt.Errorf("remove old sessions: %w", err)
	}
	if _, err := t.exec(ctx, `INSERT INTO operator_sessions (hash, operator_id, created_at, seen_at, proved_at) VALUES ($1, $2, $3, $3, $3)`,
		ses.Hash, ses.Operator.ID, ms(ses.CreatedAt)); err != nil {
		return fmt.Errorf("insert session: %w", err)
	}
	return t.record(ctx, rec)
}

const insertOperator = `INSERT INTO operators (id, account_id, email, email_folded, password_hash, totp, totp_step, created_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (email_folded) DO NOTHING`

// OpenDevSession keeps a session of the operator of `dev`, and makes that operator when missing.
func (s *Store) OpenDevSession(ctx context.Context, op operator.Stored, ses operator.Session, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, insertOperator,
			op.ID, op.AccountID, op.Email, op.EmailFolded, "", op.TOTP, 0, ms(op.CreatedAt)); err != nil {
			return fmt.Errorf("insert the operator of dev: %w", err)
		}
		err := t.queryRow(ctx, `SELECT id FROM operators WHERE email_folded = $1 AND account_id = $2 AND password_hash = ''`,
			op.EmailFolded, op.AccountID).Scan(&ses.Operator.ID)
		if err != nil {
			return missing(err, operator.ErrDevLink)
		}
		rec.Actor = "operator:" + ses.Operator.ID
		rec.Target = rec.Actor
		return t.openOperatorSession(ctx, ses, rec)
	})
}

// OperatorSession returns a live session.
func (s *Store) OperatorSession(ctx context.Context, hash string, idle, oldest time.Time, dev bool) (ses operator.Session, err error) {
	var created, seen, proved, since int64
	err = s.queryRow(ctx, `SELECT s.hash, s.created_at, s.seen_at, s.proved_at, o.id, o.account_id, o.email, o.created_at
		FROM operator_sessions s JOIN operators o ON o.id = s.operator_id
		WHERE s.hash = $1 AND s.seen_at > $2 AND s.created_at > $3 AND (o.password_hash <> '' OR $4)`, hash, ms(idle), ms(oldest), dev).
		Scan(&ses.Hash, &created, &seen, &proved, &ses.Operator.ID, &ses.Operator.AccountID, &ses.Operator.Email, &since)
	ses.CreatedAt, ses.SeenAt, ses.ProvedAt, ses.Operator.CreatedAt = fromMS(created), fromMS(seen), fromMS(proved), fromMS(since)
	return ses, missing(err, operator.ErrSignedOut)
}

// TouchOperatorSession notes that a session was used. A session that ended meanwhile stays ended.
func (s *Store) TouchOperatorSession(ctx context.Context, hash string, now time.Time) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE operator_sessions SET seen_at = $1 WHERE hash = $2 AND seen_at < $1`, ms(now), hash)
		return err
	})
}

// CloseOperatorSession ends a session.
func (s *Store) CloseOperatorSession(ctx context.Context, hash string, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM operator_sessions WHERE hash = $1`, hash)
		if err != nil || n == 0 {
			return err
		}
		return t.record(ctx, rec)
	})
}

const nobodySetUp = `NOT EXISTS (SELECT 1 FROM operators o WHERE o.account_id = $1 AND o.password_hash <> '')`

// OperatorExists reports whether the account has an operator with a password.
func (s *Store) OperatorExists(ctx context.Context, accountID string) (bool, error) {
	var one int
	err := s.queryRow(ctx, `SELECT 1 FROM operators o WHERE o.account_id = $1 AND o.password_hash <> '' LIMIT 1`, accountID).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// KeepSetupLink keeps a link for an account without an operator. Older links of the account end: one is out at a time.
func (s *Store) KeepSetupLink(ctx context.Context, hash, accountID string, expires time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.hold("set up " + accountID); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM setup_links WHERE account_id = $1`, accountID); err != nil {
			return fmt.Errorf("end older links: %w", err)
		}
		n, err := t.exec(ctx, `INSERT INTO setup_links (hash, account_id, expires_at) SELECT $2, id, $3 FROM accounts WHERE id = $1 AND `+nobodySetUp,
			accountID, hash, ms(expires))
		if err != nil {
			return fmt.Errorf("insert set-up link: %w", err)
		}
		if n == 0 {
			return operator.ErrSetUp
		}
		return t.record(ctx, rec)
	})
}

// SetupLink returns the account that a live link is for.
func (s *Store) SetupLink(ctx context.Context, hash string, now time.Time) (accountID string, err error) {
	err = s.queryRow(ctx, `SELECT account_id FROM setup_links WHERE hash = $1 AND used_at = 0 AND expires_at > $2`, hash, ms(now)).Scan(&accountID)
	return accountID, missing(err, operator.ErrSetup)
}

// CreateOperator spends the link and keeps the operator.
func (s *Store) CreateOperator(ctx context.Context, linkHash string, op operator.Stored, ses operator.Session, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.hold("set up " + op.AccountID); err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE setup_links SET used_at = $2 WHERE hash = $3 AND account_id = $1 AND used_at = 0 AND expires_at > $2 AND `+nobodySetUp,
			op.AccountID, ms(op.CreatedAt), linkHash)
		if err != nil {
			return fmt.Errorf("spend set-up link: %w", err)
		}
		if n == 0 {
			return operator.ErrSetup
		}
		n, err = t.exec(ctx, insertOperator,
			op.ID, op.AccountID, op.Email, op.EmailFolded, op.PasswordHash, op.TOTP, op.TOTPStep, ms(op.CreatedAt))
		if err != nil {
			return fmt.Errorf("insert operator: %w", err)
		}
		if n == 0 {
			return operator.ErrEmail
		}
		return t.openOperatorSession(ctx, ses, rec)
	})
}
