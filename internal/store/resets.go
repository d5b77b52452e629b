package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
)

// This file owns resets of people who lost everything, and notices.

const resetColumns = `r.id, r.app_id, r.user_id, r.asked_at, r.allowed_at, r.due_at, r.lapses_at`

type resetTimes struct{ asked, allowed, due, lapses int64 }

func (rt *resetTimes) into(r *reset.Reset) []any {
	return []any{&r.ID, &r.AppID, &r.UserID, &rt.asked, &rt.allowed, &rt.due, &rt.lapses}
}

func (rt *resetTimes) set(r *reset.Reset) {
	r.AskedAt, r.AllowedAt, r.DueAt, r.LapsesAt = fromMS(rt.asked), fromMS(rt.allowed), fromMS(rt.due), fromMS(rt.lapses)
}

func scanReset(r scanner) (x reset.Reset, err error) {
	var at resetTimes
	err = r.Scan(at.into(&x)...)
	at.set(&x)
	return x, err
}

// AskReset keeps a reset, or returns the one that is under way.
func (s *Store) AskReset(ctx context.Context, r reset.Reset, rec audit.Record) (kept reset.Reset, err error) {
	err = s.writeFor(ctx, r.UserID, func(t *tx) error {
		if kept, err = t.openReset(ctx, r); err != nil {
			return err
		}
		if kept.ID != r.ID {
			return nil // asked before: nothing changed, so nothing is recorded
		}
		return t.record(ctx, rec)
	})
	return kept, err
}

// openReset returns the user's reset that is under way, which is r when there was none.
func (t *tx) openReset(ctx context.Context, r reset.Reset) (reset.Reset, error) {
	if _, err := t.lockUser(ctx, r.UserID); err != nil { // whether it is there, the INSERT asks
		return r, err
	}
	if _, err := t.exec(ctx, `UPDATE resets SET ended_at = lapses_at, outcome = 'lapsed' WHERE user_id = $1 AND ended_at = 0 AND lapses_at <= $2`,
		r.UserID, ms(r.AskedAt)); err != nil {
		return r, fmt.Errorf("end a lapsed reset: %w", err)
	}
	if _, err := t.exec(ctx, `INSERT INTO resets (id, app_id, user_id, asked_at, lapses_at)
		SELECT $1, app_id, id, $2, $3 FROM users WHERE id = $4 AND app_id = $5 AND removed_at = 0 ON CONFLICT DO NOTHING`,
		r.ID, ms(r.AskedAt), ms(r.LapsesAt), r.UserID, r.AppID); err != nil {
		return r, fmt.Errorf("insert reset: %w", err)
	}
	kept, err := scanReset(t.queryRow(ctx, `SELECT `+resetColumns+` FROM resets r WHERE r.user_id = $1 AND r.app_id = $2 AND r.ended_at = 0`, r.UserID, r.AppID))
	return kept, missing(err, tenant.ErrUser)
}

// ResetOf returns the reset that is under way for a user, or reset.ErrNone.
func (s *Store) ResetOf(ctx context.Context, userID string, now time.Time) (reset.Reset, error) {
	r, err := scanReset(s.queryRow(ctx, `SELECT `+resetColumns+` FROM resets r WHERE r.user_id = $1 AND r.ended_at = 0 AND r.lapses_at > $2`, userID, ms(now)))
	return r, missing(err, reset.ErrNone)
}

// OpenResets returns an application's resets that are under way with their users, the oldest first.
func (s *Store) OpenResets(ctx context.Context, appID string, now time.Time, limit int) ([]operator.ListedReset, error) {
	rows, err := s.query(ctx, `SELECT `+resetColumns+`, `+userColumns+` FROM resets r JOIN users u ON u.id = r.user_id
		WHERE r.app_id = $1 AND r.ended_at = 0 AND r.lapses_at > $2 ORDER BY r.asked_at, r.id LIMIT $3`, appID, ms(now), limit)
	return collect(rows, err, func(r scanner) (l operator.ListedReset, err error) {
		var at resetTimes
		l.User, err = scanUser(prefixed{r, at.into(&l.Reset)})
		at.set(&l.Reset)
		return l, err
	})
}

// Emails returns every address that was ever the user's.
func (s *Store) Emails(ctx context.Context, userID string) ([]string, error) {
	rows, err := s.query(ctx, `SELECT email FROM user_emails WHERE user_id = $1 ORDER BY added_at, email`, userID)
	return collect(rows, err, scanText)
}

// AllowReset allows the reset that is under way, or a new one, unless it is allowed already, and keeps what tells of it.
func (s *Store) AllowReset(ctx context.Context, r reset.Reset, a reset.Announcement, rec audit.Record) (sent []job.Job, err error) {
	err = s.writeFor(ctx, r.UserID, func(t *tx) error {
		sent = nil
		open, err := t.openReset(ctx, r)
		if err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE resets SET allowed_at = $1, due_at = $2, lapses_at = $3 WHERE id = $4 AND ended_at = 0 AND allowed_at = 0`,
			ms(r.AllowedAt), ms(r.DueAt), ms(r.LapsesAt), open.ID)
		if err != nil {
			return fmt.Errorf("allow reset: %w", err)
		}
		if n == 0 {
			return reset.ErrAllowed
		}
		if sent, err = t.announce(ctx, a); err != nil {
			return err
		}
		return t.record(ctx, rec)
	})
	return sent, err
}

// announce keeps the messages that tell of a reset, and returns those that leave.
func (t *tx) announce(ctx context.Context, a reset.Announcement) (sent []job.Job, err error) {
	for _, mail := range a.Mails {
		if err := t.insertJob(ctx, mail); err != nil {
			return nil, err
		}
		sent = append(sent, mail)
	}
	if a.Text == nil {
		return sent, nil
	}
	switch refused, err := t.keepNotice(ctx, a.Text.Send, a.Text.Message); {
	case err != nil:
		return nil, err
	case refused == nil:
		sent = append(sent, a.Text.Message)
	}
	return sent, nil
}

// keepNotice keeps a text that nobody answers, within the limits of sending. That no code of it is typed says nothing about who gets it.
func (t *tx) keepNotice(ctx context.Context, send sending.Send, message job.Job) (refused *fault.Error, err error) {
	if refused, err = t.admit(ctx, send); err != nil || refused != nil {
		return refused, err
	}
	if _, err := t.exec(ctx, `UPDATE sends SET typed = 1 WHERE id = $1`, send.ID); err != nil {
		return nil, fmt.Errorf("count notice: %w", err)
	}
	return nil, t.insertJob(ctx, message)
}

// KeepNotice keeps a notice, or reports the rule of package sending that it breaks.
func (s *Store) KeepNotice(ctx context.Context, send sending.Send, message job.Job, rec audit.Record) error {
	var refused *fault.Error // what the caller is told; it does not undo that the refusal is counted
	err := s.writeFor(ctx, "account:"+send.AccountID, func(t *tx) (err error) {
		if refused, err = t.keepNotice(ctx, send, message); err != nil || refused != nil {
			return err
		}
		return t.record(ctx, rec)
	})
	if err == nil && refused != nil {
		return refused
	}
	return err
}

// ResetsBeside returns the resets that are under way for the users that a device acts for.
func (s *Store) ResetsBeside(ctx context.Context, deviceID string, now time.Time) ([]reset.Beside, error) {
	rows, err := s.query(ctx, `SELECT `+resetColumns+`, g.id, a.name, u.email FROM grants g JOIN resets r ON r.user_id = g.user_id AND r.ended_at = 0
		JOIN users u ON u.id = g.user_id JOIN applications a ON a.id = g.app_id
		WHERE g.device_id = $1 AND g.removed_at = 0 AND r.lapses_at > $2 ORDER BY g.id`, deviceID, ms(now))
	return collect(rows, err, func(r scanner) (b reset.Beside, err error) {
		var at resetTimes
		err = r.Scan(append(at.into(&b.Reset), &b.GrantID, &b.Application, &b.Account)...)
		at.set(&b.Reset)
		return b, err
	})
}

// EndReset ends the reset of r's user, or reports reset.ErrNone. A device that says so must still act for the user.
func (s *Store) EndReset(ctx context.Context, r reset.Reset, outcome, deviceID string, now time.Time, rec audit.Record) error {
	return s.writeFor(ctx, r.UserID, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE resets SET ended_at = $1, outcome = $2 WHERE user_id = $3 AND app_id = $4 AND ended_at = 0 AND lapses_at > $1
			AND ($5 = '' OR EXISTS (SELECT 1 FROM grants g WHERE g.device_id = $5 AND g.user_id = resets.user_id AND g.removed_at = 0))`,
			ms(now), outcome, r.UserID, r.AppID, deviceID)
		if err != nil {
			return fmt.Errorf("end reset: %w", err)
		}
		if n == 0 {
			return reset.ErrNone
		}
		return t.record(ctx, rec)
	})
}

// FinishReset uses a reset up that is due: everything that could act for the user ends, and the ticket is kept. The budget stays (INV-4). One that was
// finished a while ago, and after which nothing was proved, gives another ticket: who asked may never have had the answer.
func (s *Store) FinishReset(ctx context.Context, k device.StoredTicket, now time.Time, rec audit.Record) (gone tenant.Removed, err error) {
	err = s.writeFor(ctx, k.UserID, func(t *tx) error {
		gone = tenant.Removed{UserID: k.UserID}
		if _, err := t.lockUser(ctx, k.UserID); err != nil { // whether it is there, the ticket asks
			return err
		}
		n, err := t.exec(ctx, `UPDATE resets SET ended_at = $1, outcome = 'finished'
			WHERE user_id = $2 AND app_id = $3 AND ended_at = 0 AND allowed_at > 0 AND due_at <= $1 AND lapses_at > $1`, ms(now), k.UserID, k.AppID)
		if err != nil {
			return fmt.Errorf("finish reset: %w", err)
		}
		if n == 0 {
			if err := t.finishedBefore(ctx, k, now); err != nil {
				return err
			}
		}
		if err := t.endFactors(ctx, &gone, now); err != nil {
			return err
		}
		if err := t.insertTicket(ctx, k); err != nil {
			return err
		}
		return t.record(ctx, rec)
	})
	return gone, err
}

// finishedBefore is nil when the user's reset was finished within reset.Again, no newer one is under way, and nobody came back since: no device was
// added, whether it is still there or not, no sent code and no other authenticator app was right. Whoever came back had the answer, or needs none; a second
// end would give the account to anybody with the password. Sent codes stay longer than reset.Again. The caller holds the user's row, as who adds a device
// does. Otherwise it says why nothing can be finished.
func (t *tx) finishedBefore(ctx context.Context, k device.StoredTicket, now time.Time) error {
	var one int
	err := t.queryRow(ctx, `SELECT 1 FROM resets r WHERE r.user_id = $1 AND r.app_id = $2 AND r.outcome = 'finished' AND r.ended_at > $3
		AND NOT EXISTS (SELECT 1 FROM resets newer WHERE newer.user_id = r.user_id AND newer.ended_at = 0)
		AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.user_id = r.user_id AND g.removed_at = 0)
		AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.user_id = r.user_id AND g.removed_at > 0 AND g.removed_at > r.ended_at)
		AND NOT EXISTS (SELECT 1 FROM sent_codes c WHERE c.user_id = r.user_id AND c.used_at > r.ended_at)
		AND NOT EXISTS (SELECT 1 FROM generic_secrets s WHERE s.user_id = r.user_id AND s.confirmed_at > r.ended_at) LIMIT 1`, k.UserID, k.AppID, ms(now.Add(-reset.Again))).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return t.notFinished(ctx, k.UserID, now)
	}
	return err
}

// notFinished says why a reset cannot be finished.
func (t *tx) notFinished(ctx context.Context, userID string, now time.Time) error {
	var one int
	err := t.queryRow(ctx, `SELECT 1 FROM resets WHERE user_id = $1 AND ended_at = 0 AND lapses_at > $2`, userID, ms(now)).Scan(&one)
	if err != nil {
		return missing(err, reset.ErrNone)
	}
	return reset.ErrNotDue
}
