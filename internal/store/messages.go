package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/message"
)

// This file owns what became of messages, the outbox, and the pictures of approvals.

// insertMessage begins the record of a job's message.
func (t *tx) insertMessage(ctx context.Context, j job.Job) error {
	channel, address, _ := strings.Cut(j.Ref, " ")
	err := t.later(ctx, `INSERT INTO messages (id, app_id, channel, address, status, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $6)`,
		j.ID, j.AppID, channel, address, string(message.Queued), ms(j.CreatedAt))
	if err != nil {
		return fmt.Errorf("insert message: %w", err)
	}
	return nil
}

// KeepOutcome notes how a run of the message's job ended, and ends the job, with what follows, or gives it up until next.
func (s *Store) KeepOutcome(ctx context.Context, j job.Job, out message.Outcome, next time.Time, then ...job.Job) error {
	return s.write(ctx, func(t *tx) error {
		// Gateway and reason of an earlier run stay when this one tried none.
		err := t.later(ctx, `UPDATE messages SET status = $1, gateway = CASE WHEN $2 = '' THEN gateway ELSE $2 END, ref = $3,
			reason = CASE WHEN $4 = '' AND $1 = 'expired' THEN reason ELSE $4 END, tries = tries + $5, updated_at = $6
			WHERE id = $7 AND status IN ('queued', 'sent')`,
			string(out.Status), out.Gateway, out.Ref, out.Reason, out.Tries, ms(out.At), j.ID)
		if err != nil {
			return fmt.Errorf("keep outcome: %w", err)
		}
		if out.Status == message.Sent && out.Ref != "" {
			if err := t.applyReport(ctx, j.ID, out); err != nil {
				return err
			}
		}
		if out.Status == message.Sent {
			for _, follows := range then {
				if err := t.insertJob(ctx, follows); err != nil {
					return err
				}
			}
			return t.endJob(ctx, j.ID)
		}
		return t.giveUp(ctx, j, next)
	})
}

// applyReport takes a report that came before its message was known to be sent.
func (t *tx) applyReport(ctx context.Context, id string, out message.Outcome) error {
	var status, reason string
	var at int64
	err := t.queryRow(ctx, `DELETE FROM message_reports WHERE gateway = $1 AND ref = $2 RETURNING status, reason, at`, out.Gateway, out.Ref).Scan(&status, &reason, &at)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("take early report: %w", err)
	}
	_, err = t.exec(ctx, `UPDATE messages SET status = $1, reason = $2, updated_at = $3 WHERE id = $4`, status, reason, max(at, ms(out.At)), id)
	return err
}

// KeepReport notes a gateway's report, under the first of the names that is known.
func (s *Store) KeepReport(ctx context.Context, r message.Report, now time.Time) error {
	return s.write(ctx, func(t *tx) error {
		for _, ref := range r.Refs {
			n, err := t.exec(ctx, `UPDATE messages SET status = CASE WHEN status = 'sent' THEN $1 ELSE status END,
				reason = CASE WHEN status = 'sent' THEN $2 ELSE reason END, updated_at = CASE WHEN status = 'sent' THEN $3 ELSE updated_at END
				WHERE gateway = $4 AND ref = $5 AND ref <> ''`, string(r.Status), r.Reason, ms(now), r.Gateway, ref)
			if err != nil {
				return fmt.Errorf("keep report: %w", err)
			}
			if n > 0 {
				return nil
			}
		}
		for _, ref := range r.Refs {
			_, err := t.exec(ctx, `INSERT INTO message_reports (gateway, ref, status, reason, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (gateway, ref) DO NOTHING`,
				r.Gateway, ref, string(r.Status), r.Reason, ms(now))
			if err != nil {
				return fmt.Errorf("keep early report: %w", err)
			}
		}
		return nil
	})
}

// SentBy returns how a message was sent of which no more is known than that; a zero Record when there is none.
func (s *Store) SentBy(ctx context.Context, id string) (r message.Record, ref string, err error) {
	err = s.queryRow(ctx, `SELECT id, channel, gateway, ref FROM messages WHERE id = $1 AND status = 'sent'`, id).Scan(&r.ID, &r.Channel, &r.Gateway, &ref)
	return r, ref, missing(err, nil)
}

const messageColumns = `id, app_id, channel, address, status, gateway, reason, tries, created_at, updated_at`

func scanMessage(r scanner) (m message.Record, err error) {
	var created, updated int64
	err = r.Scan(&m.ID, &m.AppID, &m.Channel, &m.Address, &m.Status, &m.Gateway, &m.Reason, &m.Tries, &created, &updated)
	m.CreatedAt, m.UpdatedAt = fromMS(created), fromMS(updated)
	return m, err
}

// SentMessages returns the application's newest messages, by any channel when it is "", in any state when that is "".
func (s *Store) SentMessages(ctx context.Context, appID, channel, status string, limit int) ([]message.Record, error) {
	if status == "" {
		rows, err := s.query(ctx, `SELECT `+messageColumns+` FROM messages WHERE app_id = $1 AND ($2 = '' OR channel = $2)
			ORDER BY created_at DESC, id DESC LIMIT $3`, appID, channel, limit)
		return collect(rows, err, scanMessage)
	}
	rows, err := s.query(ctx, `SELECT `+messageColumns+` FROM messages WHERE app_id = $1 AND ($2 = '' OR channel = $2) AND status = $3
		ORDER BY created_at DESC, id DESC LIMIT $4`, appID, channel, status, limit)
	return collect(rows, err, scanMessage)
}

// KeepInOutbox puts a message into the outbox.
func (s *Store) KeepInOutbox(ctx context.Context, m message.Stored) error {
	return s.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO outbox (id, at, sealed) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`, m.ID, ms(m.At), m.Sealed); err != nil {
			return fmt.Errorf("insert into outbox: %w", err)
		}
		return nil
	})
}

// InOutbox returns the outbox, newest first.
func (s *Store) InOutbox(ctx context.Context, limit int) ([]message.Stored, error) {
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
