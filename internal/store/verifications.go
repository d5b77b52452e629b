package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/sending"
)

// This file owns phone verifications: sent codes of a number, without a user.

// phoneSubject names the budget of one number within one application.
func phoneSubject(appID, phone string) string { return "phone:" + appID + ":" + phone }

// KeepVerification sends the running verification's code again, or keeps a new one.
func (s *Store) KeepVerification(ctx context.Context, k otp.VerificationSending, rec audit.Record) (v otp.Verification, m job.Job, err error) {
	var refused *fault.Error // what the caller is told; it does not undo that the refusal is counted
	subject := phoneSubject(k.AppID, k.Address)
	err = s.writeFor(ctx, subject, func(t *tx) error {
		refused = nil
		locked, err := t.takeNumber(ctx, subject, k.CreatedAt)
		if err != nil {
			return err
		}
		if locked > 0 {
			return otp.ErrVerificationMany.After(locked)
		}
		if refused, err = t.admit(ctx, k.Send); err != nil || refused != nil {
			return cmp.Or(err, t.recordRefusal(ctx, k.Send, rec, refused))
		}
		id, ends, err := t.sendAgain(ctx, k, &m)
		if err != nil {
			return err
		}
		if id == "" {
			id, ends = k.ID, k.ExpiresAt
			var hash string
			hash, m = k.Compose(id, ends)
			if _, err := t.exec(ctx, `INSERT INTO sent_codes (id, app_id, address, channel, hash, action, tries_left, created_at, expires_at)
				VALUES ($1, $2, $3, $4, $5, '', $6, $7, $8)`, id, k.AppID, k.Address, string(k.Channel), hash, otp.SentTries,
				ms(k.CreatedAt), ms(ends)); err != nil {
				return fmt.Errorf("insert code: %w", err)
			}
		}
		if err := t.insertJob(ctx, m); err != nil {
			return err
		}
		v = otp.Verification{ID: id, ExpiresAt: ends}
		rec.Target = "verification:" + id
		return t.record(ctx, rec)
	})
	if err == nil && refused != nil {
		err = refused
	}
	return v, m, err
}

// recordRefusal records a refused verification the first time in a day for its reason and country, and then whenever their number has
// doubled: whoever makes an application ask again and again fills no record.
func (t *tx) recordRefusal(ctx context.Context, s sending.Send, rec audit.Record, refused *fault.Error) error {
	if refused == nil {
		return nil
	}
	n, err := t.refusals(ctx, s, refused.Code)
	if err != nil || n&(n-1) != 0 {
		return err
	}
	return t.record(ctx, rec.Refused(refused.Code).Noting(fmt.Sprintf("%s, number %d of this kind today", rec.Note, n)))
}

// takeNumber takes the row of a number's budget, before any other row of the number, and returns how long the budget stays spent. It keeps
// when that was, for [Store.Forget].
func (t *tx) takeNumber(ctx context.Context, subject string, now time.Time) (time.Duration, error) {
	var locked int64
	err := t.queryRow(ctx, `INSERT INTO budgets AS b (subject, wrong, locked_until, level) VALUES ($1, 0, $2, 0)
		ON CONFLICT (subject) DO UPDATE SET locked_until = CASE WHEN b.locked_until < excluded.locked_until THEN excluded.locked_until ELSE b.locked_until END
		RETURNING locked_until`, subject, usedAt(now)).Scan(&locked)
	if err != nil {
		return 0, fmt.Errorf("take a number's budget: %w", err)
	}
	return max(0, fromMS(locked).Sub(now)), nil
}

// sendAgain composes the running verification's message once more when that would be the same code, and returns its id; else it ends it and
// returns "".
func (t *tx) sendAgain(ctx context.Context, k otp.VerificationSending, m *job.Job) (id string, ends time.Time, err error) {
	var hash string
	var expires int64
	err = t.queryRow(ctx, `SELECT id, hash, expires_at FROM sent_codes WHERE app_id = $1 AND address = $2 AND user_id IS NULL
		AND created_at > $3 AND expires_at > $4 AND used_at = 0 AND ended_at = 0 AND tries_left > 0`,
		k.AppID, k.Address, ms(k.CreatedAt.Add(-otp.SentLife)), ms(k.CreatedAt)).Scan(&id, &hash, &expires)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ends, nil
	}
	if err != nil {
		return "", ends, fmt.Errorf("read the running verification: %w", err)
	}
	ends = fromMS(expires)
	same, message := k.Compose(id, ends)
	if same != hash {
		_, err = t.exec(ctx, `UPDATE sent_codes SET ended_at = $1 WHERE id = $2 AND ended_at = 0`, ms(k.CreatedAt), id)
		return "", ends, err
	}
	*m = message
	return id, ends, nil
}

// RedeemVerification verifies and spends a code; the order of its statements is that of INV-2.
func (s *Store) RedeemVerification(ctx context.Context, appID, phone string, now time.Time, right func(id, hash string) bool) error {
	var answer error // what the caller is told; it does not undo the counting
	subject := phoneSubject(appID, phone)
	err := s.writeFor(ctx, subject, func(t *tx) error {
		answer = nil
		// The number's budget comes before any other row of the number. Who has a running verification has one.
		if err := t.lock(ctx, `SELECT 1 FROM budgets WHERE subject = $1 FOR NO KEY UPDATE`, subject); err != nil {
			return fmt.Errorf("take a number's budget: %w", err)
		}
		var id, hash string
		var left int64
		err := t.queryRow(ctx, `UPDATE sent_codes SET tries_left = tries_left - 1
			WHERE app_id = $1 AND address = $2 AND user_id IS NULL AND created_at > $3 AND expires_at > $4 AND used_at = 0 AND ended_at = 0 AND tries_left > 0
			RETURNING id, hash, tries_left`, appID, phone, ms(now.Add(-otp.SentLife)), ms(now)).Scan(&id, &hash, &left)
		if err != nil {
			return missing(err, otp.ErrVerificationNone)
		}
		locked, err := t.reserveTry(ctx, subject, now)
		if err != nil {
			return err
		}
		if locked > 0 {
			answer = otp.ErrVerificationNone
			return nil
		}
		// A savepoint of its own: whatever fails from here on, the try stays counted (INV-3).
		if failed := t.savepoint(func() (err error) {
			answer, err = t.spendVerification(ctx, appID, phone, id, now, right(id, hash))
			if err != nil || answer != otp.ErrVerificationWrong || left > 0 {
				return err
			}
			return t.record(ctx, audit.New(now, appID, "system", "verification.suspended", "verification:"+id))
		}); failed != nil {
			answer = failed
		}
		return nil
	})
	if err == nil {
		err = answer
	}
	return err
}

// spendVerification marks a verification as used, in a statement that asks whether it was not; answer is what the caller is told.
func (t *tx) spendVerification(ctx context.Context, appID, phone, id string, now time.Time, right bool) (answer, err error) {
	rec := audit.New(now, appID, "app:"+appID, "verification.checked", "verification:"+id)
	if !right {
		return otp.ErrVerificationWrong, t.record(ctx, rec.Refused(otp.ErrVerificationWrong.Code))
	}
	n, err := t.exec(ctx, `UPDATE sent_codes SET used_at = $1 WHERE id = $2 AND used_at = 0 AND ended_at = 0 AND expires_at > $1`, ms(now), id)
	if err != nil {
		return nil, fmt.Errorf("spend code: %w", err)
	}
	if n == 0 {
		return otp.ErrVerificationNone, t.record(ctx, rec.Refused(otp.ErrVerificationNone.Code))
	}
	if _, err := t.exec(ctx, `DELETE FROM budgets WHERE subject = $1`, phoneSubject(appID, phone)); err != nil {
		return nil, fmt.Errorf("reset budget: %w", err)
	}
	if err := t.sentTyped(ctx, id, now); err != nil {
		return nil, err
	}
	return nil, t.record(ctx, rec)
}

const verificationColumns = `id, expires_at, used_at, CASE WHEN ended_at > 0 OR tries_left = 0 THEN 1 ELSE 0 END`

func scanVerification(r scanner) (v otp.Verification, err error) {
	var expires, used, ended int64
	err = r.Scan(&v.ID, &expires, &used, &ended)
	v.ExpiresAt, v.UsedAt, v.Ended = fromMS(expires), fromMS(used), ended > 0
	return v, err
}

// VerificationByID returns one of the application's verifications.
func (s *Store) VerificationByID(ctx context.Context, appID, id string) (otp.Verification, error) {
	v, err := scanVerification(s.queryRow(ctx, `SELECT `+verificationColumns+` FROM sent_codes WHERE id = $1 AND app_id = $2 AND user_id IS NULL`, id, appID))
	return v, missing(err, otp.ErrVerificationNone)
}

// VerificationByPhone returns a number's newest verification.
func (s *Store) VerificationByPhone(ctx context.Context, appID, phone string) (otp.Verification, error) {
	v, err := scanVerification(s.queryRow(ctx, `SELECT `+verificationColumns+` FROM sent_codes
		WHERE app_id = $1 AND address = $2 AND user_id IS NULL ORDER BY created_at DESC, id LIMIT 1`, appID, phone))
	return v, missing(err, otp.ErrVerificationNone)
}
