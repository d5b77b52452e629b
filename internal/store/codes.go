package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant"
)

// This file owns codes: the budget, app codes' steps, and sent codes.

// Redeem verifies and spends a code; the order of its statements is that of INV-2.
func (s *Store) Redeem(ctx context.Context, a otp.Attempt, compare func(otp.Candidates) otp.Verdict) (v otp.Verdict, err error) {
	var answer error // what the caller is told; it does not undo the counting
	err = s.writeAmong(ctx, a.UserID, func(t *tx) error {
		v, answer = otp.Verdict{}, nil
		try, err := t.beginTry(ctx, "user:"+a.UserID, a.Now)
		if err != nil {
			return err
		}
		var user typist
		candidates, err := t.candidates(ctx, a, &user)
		if err != nil {
			return err
		}
		if !user.found {
			return tenant.ErrUser
		}
		locked, err := t.endTry(ctx, try)
		if err != nil {
			return err
		}
		if locked > 0 {
			answer = otp.ErrBudget.After(locked)
			return nil
		}
		// A savepoint of its own: whatever fails from here on, the try stays counted (INV-3).
		failed := t.savepoint(func() error {
			v = compare(candidates)
			if v.Matched {
				if err := t.returnOthers(ctx, candidates.Sent, v.SentID); err != nil {
					return err
				}
			}
			if answer, err = t.spend(ctx, a, v, user); err != nil || answer != otp.ErrWrong || try.wrong < otp.BudgetTries {
				return err
			}
			return t.record(ctx, audit.New(a.Now, a.AppID, "system", "codes.suspended", "user:"+a.UserID))
		})
		if failed != nil {
			answer = failed
		}
		return nil
	})
	if err == nil {
		err = answer
	}
	if err != nil {
		v = otp.Verdict{}
	}
	return v, err
}

// try is a wrong code that was counted before anything is compared.
type try struct {
	subject      string
	now          time.Time
	reserved     found // there was one left
	wrong, level int64
}

// reserveTry counts a wrong code before anything is compared. It returns how long the budget stays spent when there is no try left,
// otherwise 0. The fifth try spends the budget as it is reserved; a right code gives everything back.
func (t *tx) reserveTry(ctx context.Context, subject string, now time.Time) (time.Duration, error) {
	try, err := t.beginTry(ctx, subject, now)
	if err != nil {
		return 0, err
	}
	return t.endTry(ctx, try)
}

// beginTry is the first half of reserveTry. What it found is known when a later query was answered.
func (t *tx) beginTry(ctx context.Context, subject string, now time.Time) (*try, error) {
	r := &try{subject: subject, now: now}
	err := t.ask(ctx, func(rows rows) error { return r.reserved.scan(rows, &r.wrong, &r.level) },
		`INSERT INTO budgets AS b (subject, wrong, locked_until, level) VALUES ($1, 1, 0, 0)
		ON CONFLICT (subject) DO UPDATE SET wrong = CASE WHEN b.wrong >= $2 THEN 1 ELSE b.wrong + 1 END
		WHERE b.locked_until <= $3
		RETURNING wrong, level`, subject, otp.BudgetTries, ms(now))
	if err != nil {
		return nil, fmt.Errorf("reserve a try: %w", err)
	}
	return r, nil
}

// endTry is the second half.
func (t *tx) endTry(ctx context.Context, r *try) (time.Duration, error) {
	if err := t.arrive(); err != nil {
		return 0, err
	}
	if !r.reserved {
		var until int64
		err := t.queryRow(ctx, `SELECT locked_until FROM budgets WHERE subject = $1`, r.subject).Scan(&until)
		return max(fromMS(until).Sub(r.now), time.Millisecond), err
	}
	if r.wrong >= otp.BudgetTries {
		wait := min(otp.BudgetWait<<min(r.level, 10), otp.BudgetWaitMax)
		return 0, t.later(ctx, `UPDATE budgets SET locked_until = $1, level = level + 1 WHERE subject = $2`, ms(r.now.Add(wait)), r.subject)
	}
	return 0, nil
}

// found is whether a query has a row.
type found bool

func (f *found) look(rows rows) error {
	*f = found(rows.Next())
	return rows.Err()
}

// scan also reads the row.
func (f *found) scan(rows rows, dest ...any) error {
	if err := f.look(rows); err != nil || !*f {
		return err
	}
	return rows.Scan(dest...)
}

// returnTry takes back one reserved try, for a code that was right but spent already: who presents it twice is no guesser.
func (t *tx) returnTry(ctx context.Context, subject string) error {
	return t.later(ctx, `UPDATE budgets SET level = CASE WHEN locked_until > 0 AND wrong >= $1 AND level > 0 THEN level - 1 ELSE level END,
		wrong = wrong - 1, locked_until = 0 WHERE subject = $2 AND wrong > 0`, otp.BudgetTries, subject)
}

// resetBudget gives everything back, after a right code.
func (t *tx) resetBudget(ctx context.Context, subject string) error {
	if err := t.later(ctx, `UPDATE budgets SET wrong = 0, locked_until = 0, level = 0 WHERE subject = $1`, subject); err != nil {
		return fmt.Errorf("reset budget: %w", err)
	}
	return nil
}

// candidates reserves a try of each live sent code, unless the budget is spent, and returns everything the user's code may match.
func (t *tx) candidates(ctx context.Context, a otp.Attempt, user *typist) (c otp.Candidates, err error) {
	if err := t.appSecrets(ctx, a, user, &c); err != nil {
		return c, err
	}
	if err := t.arrive(); err != nil || !user.sent {
		return c, err
	}
	rows, err := t.query(ctx, `UPDATE sent_codes SET tries_left = tries_left - CASE WHEN used_at = 0 THEN 1 ELSE 0 END
		WHERE user_id = $1 AND action = $2 AND created_at > $3 AND expires_at > $4 AND ended_at = 0 AND (tries_left > 0 OR used_at > 0)
		AND EXISTS (SELECT 1 FROM budgets b WHERE b.subject = $5 AND b.locked_until <= $4)
		RETURNING id, hash, used_at`, a.UserID, a.Action, ms(a.Now.Add(-otp.SentLife)), ms(a.Now), "user:"+a.UserID)
	c.Sent, err = collect(rows, err, func(r scanner) (h otp.SentHash, err error) {
		var used int64
		err = r.Scan(&h.ID, &h.Hash, &used)
		h.Used = used > 0
		return h, err
	})
	if err != nil {
		return c, fmt.Errorf("reserve tries of sent codes: %w", err)
	}
	return c, nil
}

// typist is the user who types a code.
type typist struct {
	found, confirmed bool
	sent             bool // there may be sent codes to compare with
}

// appSecrets looks for the user, and adds what their authenticators know where that counts.
func (t *tx) appSecrets(ctx context.Context, a otp.Attempt, user *typist, c *otp.Candidates) error {
	err := t.ask(ctx, func(rows rows) error {
		for rows.Next() {
			var g otp.AppSecret
			var created, seen int64
			if err := rows.Scan(&user.confirmed, &user.sent, &g.GrantID, &g.Sealed, &g.LastStep, &g.Digits, &g.Period, &g.Device.Method, &created, &g.Device.Platform, &seen); err != nil {
				return err
			}
			user.found = true
			if g.GrantID != 0 && !a.SentOnly {
				g.Device.CreatedAt, g.Device.LastSeenAt = fromMS(created), fromMS(seen)
				c.Apps = append(c.Apps, g)
			}
		}
		return rows.Err()
	}, `SELECT u.confirmed_at > 0, EXISTS (SELECT 1 FROM sent_codes WHERE user_id = $1 AND action = $3 AND created_at > $4),
			COALESCE(g.id, 0), g.secret, COALESCE(g.last_step, 0), COALESCE(g.digits, 0), COALESCE(g.period, 0),
			COALESCE(g.method, ''), COALESCE(g.created_at, 0), COALESCE(d.platform, ''), COALESCE(d.seen_at, 0)
		FROM users u LEFT JOIN grants g ON g.user_id = u.id AND g.removed_at = 0 LEFT JOIN devices d ON d.id = g.device_id
		WHERE u.id = $1 AND u.app_id = $2 AND u.removed_at = 0`, a.UserID, a.AppID, a.Action, ms(a.Now.Add(-otp.SentLife)))
	if err != nil {
		return fmt.Errorf("read app secrets: %w", err)
	}
	if !a.Generic || a.SentOnly {
		return nil
	}
	generic, err := t.generic(ctx, a.UserID)
	c.Apps = append(c.Apps, generic...)
	return err
}

// returnOthers takes back the reserved tries of the sent codes beside the one that matched: nobody guessed at them.
func (t *tx) returnOthers(ctx context.Context, sent []otp.SentHash, matched string) error {
	for _, c := range sent {
		if c.Used || c.ID == matched {
			continue
		}
		if err := t.later(ctx, `UPDATE sent_codes SET tries_left = tries_left + 1 WHERE id = $1`, c.ID); err != nil {
			return fmt.Errorf("take back the try of a sent code: %w", err)
		}
	}
	return nil
}

// spend marks what matched as used, in a statement that asks whether it was not; answer is what the caller is told.
func (t *tx) spend(ctx context.Context, a otp.Attempt, v otp.Verdict, user typist) (answer, err error) {
	rec := audit.New(a.Now, a.AppID, "app:"+a.AppID, "code.verified", "user:"+a.UserID)
	if !v.Matched {
		return otp.ErrWrong, t.record(ctx, rec.Refused(otp.ErrWrong.Code))
	}
	var n int64
	if !v.Used {
		switch {
		case v.SentID != "":
			n, err = t.exec(ctx, `UPDATE sent_codes SET used_at = $1 WHERE id = $2 AND used_at = 0 AND ended_at = 0 AND expires_at > $1`, ms(a.Now), v.SentID)
		case v.GenericID != 0:
			n, err = t.spendGeneric(ctx, a, v)
		default:
			n, err = t.exec(ctx, `UPDATE grants SET last_step = $1 WHERE id = $2 AND user_id = $3 AND removed_at = 0 AND last_step < $1`, v.Step, v.GrantID, a.UserID)
		}
		if err != nil {
			return nil, fmt.Errorf("spend code: %w", err)
		}
	}
	if n == 0 {
		if err := t.returnTry(ctx, "user:"+a.UserID); err != nil {
			return nil, err
		}
		return otp.ErrUsed, t.record(ctx, rec.Refused(otp.ErrUsed.Code))
	}
	if err := t.resetBudget(ctx, "user:"+a.UserID); err != nil {
		return nil, err
	}
	if v.SentID != "" {
		if err := t.sentTyped(ctx, v.SentID, a.Now); err != nil {
			return nil, err
		}
	}
	if !user.confirmed {
		if err := t.later(ctx, `UPDATE users SET confirmed_at = $1 WHERE id = $2 AND confirmed_at = 0`, ms(a.Now), a.UserID); err != nil {
			return nil, fmt.Errorf("confirm user: %w", err)
		}
	}
	return nil, t.record(ctx, rec)
}

// KeepSentCode keeps a new code and its message job, and ends the older ones of the same action: only the newest works.
func (s *Store) KeepSentCode(ctx context.Context, k otp.Sending, rec audit.Record) error {
	var refused *fault.Error // what the caller is told; it does not undo that the refusal is counted
	err := s.writeFor(ctx, "account:"+k.Send.AccountID, func(t *tx) error {
		refused = nil
		// The user's row is taken first, so that two nodes cannot both find room below the limit.
		var user, count found
		var sent, oldest int64
		err := errors.Join(
			t.ask(ctx, user.look, `SELECT 1 FROM users WHERE id = $1 AND app_id = $2 AND removed_at = 0 FOR NO KEY UPDATE`, k.UserID, k.AppID),
			t.ask(ctx, func(rows rows) error { return count.scan(rows, &sent, &oldest) }, `SELECT COUNT(*), COALESCE(MIN(created_at), 0) FROM sent_codes WHERE user_id = $1 AND created_at > $2`,
				k.UserID, ms(k.CreatedAt.Add(-otp.SentWindow))),
		)
		if err == nil {
			err = t.arrive()
		}
		if err != nil {
			return err
		}
		if !user {
			return tenant.ErrUser
		}
		if sent >= otp.SentMax {
			return otp.ErrSendMany.After(fromMS(oldest).Add(otp.SentWindow).Sub(k.CreatedAt))
		}
		if refused, err = t.admit(ctx, k.Send); err != nil || refused != nil {
			return err
		}
		if err := t.later(ctx, `UPDATE sent_codes SET ended_at = $1 WHERE user_id = $2 AND action = $3 AND created_at > $4 AND ended_at = 0`,
			ms(k.CreatedAt), k.UserID, k.Action, ms(k.CreatedAt.Add(-otp.SentLife))); err != nil {
			return fmt.Errorf("end older codes: %w", err)
		}
		if err := t.later(ctx, `INSERT INTO sent_codes (id, app_id, user_id, address, channel, hash, action, tries_left, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`, k.ID, k.AppID, k.UserID, k.Address, string(k.Channel), k.Hash, k.Action, otp.SentTries,
			ms(k.CreatedAt), ms(k.ExpiresAt)); err != nil {
			return fmt.Errorf("insert code: %w", err)
		}
		if err := t.insertJob(ctx, k.Message); err != nil {
			return err
		}
		return t.record(ctx, rec)
	})
	if err == nil && refused != nil {
		return refused
	}
	return err
}

// HasGrant returns the platform of the user's newest device, or "".
func (s *Store) HasGrant(ctx context.Context, userID string) (platform string, err error) {
	err = s.queryRow(ctx, `SELECT d.platform FROM grants g JOIN devices d ON d.id = g.device_id
		WHERE g.user_id = $1 AND g.removed_at = 0 ORDER BY g.created_at DESC, g.id LIMIT 1`, userID).Scan(&platform)
	return platform, missing(err, nil)
}
