package store

import (
	"cmp"
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

// KeepInvitation keeps a link for an address, in place of an older one for it. Links that are used or over leave.
func (s *Store) KeepInvitation(ctx context.Context, link operator.Link, now time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.hold("set up " + link.AccountID); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM setup_links WHERE account_id = $1 AND (email = $2 OR used_at > 0 OR expires_at <= $3)`,
			link.AccountID, link.Email, ms(now)); err != nil {
			return fmt.Errorf("end older links: %w", err)
		}
		var n int64
		var err error
		refusal := operator.ErrExists
		if link.OperatorID == "" {
			n, err = t.exec(ctx, `INSERT INTO setup_links (hash, account_id, email, expires_at) SELECT $1, id, $3, $4 FROM accounts
				WHERE id = $2 AND NOT EXISTS (SELECT 1 FROM operators o WHERE o.email_folded = $3)`, link.Hash, link.AccountID, link.Email, ms(link.ExpiresAt))
		} else {
			refusal = operator.ErrOperator
			n, err = t.exec(ctx, `INSERT INTO setup_links (hash, account_id, email, expires_at, operator_id) SELECT $1, o.account_id, o.email_folded, $4, o.id FROM operators o
				WHERE o.account_id = $2 AND o.email_folded = $3 AND o.id = $5 AND o.password_hash <> ''`, link.Hash, link.AccountID, link.Email, ms(link.ExpiresAt), link.OperatorID)
		}
		if err != nil {
			return fmt.Errorf("insert invitation: %w", err)
		}
		if n == 0 {
			return refusal
		}
		return t.record(ctx, rec)
	})
}

// SetupLink returns a live link.
func (s *Store) SetupLink(ctx context.Context, hash string, now time.Time) (link operator.Link, err error) {
	var expires int64
	err = s.queryRow(ctx, `SELECT hash, account_id, email, operator_id, expires_at FROM setup_links WHERE hash = $1 AND used_at = 0 AND expires_at > $2`, hash, ms(now)).
		Scan(&link.Hash, &link.AccountID, &link.Email, &link.OperatorID, &expires)
	link.ExpiresAt = fromMS(expires)
	return link, missing(err, operator.ErrSetup)
}

// CreateOperator spends the link and keeps the operator.
func (s *Store) CreateOperator(ctx context.Context, linkHash string, op operator.Stored, ses operator.Session, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.hold("set up " + op.AccountID); err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE setup_links SET used_at = $2 WHERE hash = $3 AND account_id = $1 AND used_at = 0 AND expires_at > $2 AND operator_id = ''
			AND (email = $4 OR email = '' AND `+nobodySetUp+`)`, op.AccountID, ms(op.CreatedAt), linkHash, op.EmailFolded)
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

// ResetOperator spends the link and sets the operator up anew. The steps of the new app begin with the one that was just accepted.
func (s *Store) ResetOperator(ctx context.Context, linkHash string, op operator.Stored, ses operator.Session, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.hold("set up " + op.AccountID); err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE setup_links SET used_at = $2 WHERE hash = $3 AND account_id = $1 AND operator_id = $4 AND used_at = 0 AND expires_at > $2`,
			op.AccountID, ms(ses.CreatedAt), linkHash, op.ID)
		if err == nil && n > 0 {
			n, err = t.exec(ctx, `UPDATE operators SET password_hash = $1, totp = $2, totp_step = $3 WHERE id = $4 AND account_id = $5 AND password_hash <> ''`,
				op.PasswordHash, op.TOTP, op.TOTPStep, op.ID, op.AccountID)
		}
		if err != nil {
			return fmt.Errorf("reset operator: %w", err)
		}
		if n == 0 {
			return operator.ErrSetup
		}
		if err := t.endOperatorSessions(ctx, op.ID); err != nil {
			return err
		}
		return t.openOperatorSession(ctx, ses, rec)
	})
}

// endOperatorSessions ends every session of an operator, and what wrong tries made them wait for.
func (t *tx) endOperatorSessions(ctx context.Context, id string) error {
	if _, err := t.exec(ctx, `DELETE FROM operator_sessions WHERE operator_id = $1`, id); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	if _, err := t.exec(ctx, `DELETE FROM budgets WHERE subject = $1`, operatorBudget(id)); err != nil {
		return fmt.Errorf("reset budget: %w", err)
	}
	return nil
}

// Operators returns the account's operators with a password, oldest first.
func (s *Store) Operators(ctx context.Context, accountID string) ([]operator.Operator, error) {
	rows, err := s.query(ctx, `SELECT id, account_id, email, created_at FROM operators WHERE account_id = $1 AND password_hash <> '' ORDER BY created_at, id`, accountID)
	return collect(rows, err, func(r scanner) (o operator.Operator, err error) {
		var created int64
		err = r.Scan(&o.ID, &o.AccountID, &o.Email, &created)
		o.CreatedAt = fromMS(created)
		return o, err
	})
}

// RemoveOperator removes an operator with their sessions and links, unless nobody else is left. Who removes waits for each other, so two
// of them cannot remove one another.
func (s *Store) RemoveOperator(ctx context.Context, accountID, operatorID string, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.hold("set up " + accountID); err != nil {
			return err
		}
		if err := t.endOperatorSessions(ctx, operatorID); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM setup_links WHERE account_id = $1 AND operator_id = $2`, accountID, operatorID); err != nil {
			return fmt.Errorf("end links: %w", err)
		}
		n, err := t.exec(ctx, `DELETE FROM operators WHERE id = $2 AND account_id = $1 AND password_hash <> ''
			AND EXISTS (SELECT 1 FROM operators o WHERE o.account_id = $1 AND o.password_hash <> '' AND o.id <> $2)`, accountID, operatorID)
		if err != nil {
			return fmt.Errorf("remove operator: %w", err)
		}
		if n == 0 {
			var one int
			err := t.queryRow(ctx, `SELECT 1 FROM operators WHERE id = $1 AND account_id = $2`, operatorID, accountID).Scan(&one)
			return cmp.Or(missing(err, operator.ErrOperator), error(operator.ErrLast)) // what was deleted above is undone
		}
		return t.record(ctx, rec)
	})
}
