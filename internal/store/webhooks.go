package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/job"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

// This file owns webhooks: access keys, who is told of which event, and how that goes.

// Offering has each job that a write inserted by itself, because somebody asked to be told of what it recorded, handed to offer after its commit.
// Until it is called they wait for their lease to end.
func (s *Store) Offering(offer func(...job.Job)) { s.offer.Store(&offer) }

// tellWebhooks inserts a job for each webhook that asked for the event that a record tells of. On PostgreSQL it travels with the next statement.
func (t *tx) tellWebhooks(ctx context.Context, r audit.Record) error {
	event := reporting.NameOf(r)
	if event == "" || r.AppID == "" {
		return nil
	}
	if asked, err := t.askedFor(ctx, r.AppID, event); err != nil || !asked {
		return err
	}
	told := t.told
	j := job.New(job.Webhook, "", r.ID, r.At)
	err := t.ask(ctx, func(rows rows) error {
		jobs, err := collect(rows, nil, scanJob)
		*told = append(*told, jobs...)
		return err
	}, `INSERT INTO jobs (id, kind, app_id, ref, attempts, created_at, run_at)
		SELECT CAST($1 AS TEXT) || w.id, $2, w.id, $1, $3, $4, $5 FROM webhook_events e JOIN webhooks w ON w.id = e.webhook_id
		WHERE e.app_id = $6 AND e.event = $7 AND w.paused_at = 0
		RETURNING `+jobColumns, r.ID, string(j.Kind), j.Attempts, ms(j.CreatedAt), ms(j.RunAt), r.AppID, event)
	if err != nil {
		return fmt.Errorf("tell webhooks of %s: %w", event, err)
	}
	return nil
}

// askedFor reports whether a webhook of the application may have asked for the event. A batch asks the database once for each application, where
// nobody else changes the answer meanwhile: asking with each record took a sixth of the writer's time. What one of the batch changes counts for the
// records of the next.
func (t *tx) askedFor(ctx context.Context, appID, event string) (bool, error) {
	if !t.alone {
		return true, nil
	}
	events, known := t.asked[appID]
	if !known {
		rows, err := t.query(ctx, `SELECT DISTINCT event FROM webhook_events WHERE app_id = $1`, appID)
		events, err = collect(rows, err, func(r scanner) (event string, err error) { return event, r.Scan(&event) })
		if err != nil {
			return false, fmt.Errorf("read what webhooks asked for: %w", err)
		}
		t.asked[appID] = events
	}
	return slices.Contains(events, event), nil
}

// AddAccessKey keeps a key, if the application has room for it.
func (s *Store) AddAccessKey(ctx context.Context, k webhook.AccessKey, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.lockApplication(ctx, k.AppID); err != nil {
			return err
		}
		n, err := t.exec(ctx, `INSERT INTO access_keys (id, app_id, hash, sealed, created_at) SELECT $2, id, $3, $4, $5 FROM applications
			WHERE id = $1 AND (SELECT COUNT(*) FROM access_keys WHERE app_id = $1) < $6`, k.AppID, k.ID, k.Hash, k.Sealed, ms(k.CreatedAt), webhook.MaxKeys)
		return t.changed(ctx, n, err, webhook.ErrKeysMany, rec)
	})
}

// lockApplication makes others who take the same application's row wait until the transaction ends. It changes nothing.
func (t *tx) lockApplication(ctx context.Context, appID string) error {
	return t.later(ctx, `UPDATE applications SET name = name WHERE id = $1`, appID)
}

func scanAccessKey(r scanner) (k webhook.AccessKey, err error) {
	var created int64
	err = r.Scan(&k.ID, &k.AppID, &k.Hash, &k.Sealed, &created)
	k.CreatedAt = fromMS(created)
	return k, err
}

// AccessKeys returns the application's keys, oldest first.
func (s *Store) AccessKeys(ctx context.Context, appID string) ([]webhook.AccessKey, error) {
	rows, err := s.query(ctx, `SELECT id, app_id, hash, sealed, created_at FROM access_keys WHERE app_id = $1 ORDER BY created_at, id`, appID)
	return collect(rows, err, scanAccessKey)
}

// AccessKeyByHash returns the key, or webhook.ErrAccessKey.
func (s *Store) AccessKeyByHash(ctx context.Context, hash string) (webhook.AccessKey, error) {
	k, err := scanAccessKey(s.queryRow(ctx, `SELECT id, app_id, hash, sealed, created_at FROM access_keys WHERE hash = $1`, hash))
	return k, missing(err, webhook.ErrAccessKey)
}

// EndAccessKey removes a key of the application.
func (s *Store) EndAccessKey(ctx context.Context, appID, id string, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM access_keys WHERE id = $1 AND app_id = $2`, id, appID)
		return t.changed(ctx, n, err, webhook.ErrAccessKey, rec)
	})
}

// AddWebhook keeps a webhook, if the application has room for it.
func (s *Store) AddWebhook(ctx context.Context, w webhook.Webhook, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.lockApplication(ctx, w.AppID); err != nil {
			return err
		}
		n, err := t.exec(ctx, `INSERT INTO webhooks (id, app_id, name, url, sealed, created_at) SELECT $2, id, $3, $4, $5, $6 FROM applications
			WHERE id = $1 AND (SELECT COUNT(*) FROM webhooks WHERE app_id = $1) < $7`, w.AppID, w.ID, w.Name, w.URL, w.Sealed, ms(w.CreatedAt), webhook.Max)
		if err == nil && n > 0 {
			for _, event := range w.Events {
				if err := t.later(ctx, `INSERT INTO webhook_events (app_id, event, webhook_id) VALUES ($1, $2, $3)`, w.AppID, event, w.ID); err != nil {
					return fmt.Errorf("insert a webhook's event: %w", err)
				}
			}
		}
		many := webhook.ErrInvalid.Saying(fmt.Sprintf("%s: an application has at most %d", webhook.ErrInvalid.Detail, webhook.Max))
		return t.changed(ctx, n, err, many, rec)
	})
}

const webhookColumns = `w.id, w.app_id, w.name, w.url, w.sealed, w.created_at, w.told_at, w.failing_since, w.paused_at, w.reason`

func scanWebhook(r scanner, more ...any) (w webhook.Webhook, err error) {
	var created, told, failing, paused int64
	err = r.Scan(append([]any{&w.ID, &w.AppID, &w.Name, &w.URL, &w.Sealed, &created, &told, &failing, &paused, &w.Reason}, more...)...)
	w.CreatedAt, w.ToldAt, w.FailingSince, w.PausedAt = fromMS(created), fromMS(told), fromMS(failing), fromMS(paused)
	return w, err
}

// Webhooks returns the application's webhooks with their events, oldest first.
func (s *Store) Webhooks(ctx context.Context, appID string) (all []webhook.Webhook, err error) {
	rows, err := s.query(ctx, `SELECT `+webhookColumns+`, e.event FROM webhooks w JOIN webhook_events e ON e.webhook_id = w.id
		WHERE w.app_id = $1 ORDER BY w.created_at, w.id, e.event`, appID)
	each, err := collect(rows, err, func(r scanner) (webhook.Webhook, error) {
		var event string
		w, err := scanWebhook(r, &event)
		w.Events = []string{event}
		return w, err
	})
	for _, w := range each {
		if n := len(all); n > 0 && all[n-1].ID == w.ID {
			all[n-1].Events = append(all[n-1].Events, w.Events...)
			continue
		}
		all = append(all, w)
	}
	return all, err
}

// RemoveWebhook removes a webhook of the application, and what waits for it; what is held goes when its time is over.
func (s *Store) RemoveWebhook(ctx context.Context, appID, id string, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		// First, so that no delivery can add a try behind those that are removed here.
		if err := t.lock(ctx, `SELECT 1 FROM webhooks WHERE id = $1 AND app_id = $2 FOR UPDATE`, id, appID); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `DELETE FROM webhook_events WHERE webhook_id = $1 AND app_id = $2`, id, appID); err != nil {
			return fmt.Errorf("remove a webhook's events: %w", err)
		}
		if _, err := t.exec(ctx, `DELETE FROM webhook_tries WHERE webhook_id = $1 AND EXISTS (SELECT 1 FROM webhooks WHERE id = $1 AND app_id = $2)`, id, appID); err != nil {
			return fmt.Errorf("remove a webhook's tries: %w", err)
		}
		n, err := t.exec(ctx, `DELETE FROM webhooks WHERE id = $1 AND app_id = $2`, id, appID)
		if err == nil && n > 0 {
			_, err = t.exec(ctx, `DELETE FROM jobs WHERE app_id = $1 AND held_until = 0`, id)
		}
		return t.changed(ctx, n, err, webhook.ErrUnknown, rec)
	})
}

// ResumeWebhook has a paused webhook told again, and returns what was held for it, leased to the caller.
func (s *Store) ResumeWebhook(ctx context.Context, appID, id string, now time.Time, rec audit.Record) (jobs []job.Job, err error) {
	err = s.write(ctx, func(t *tx) error {
		jobs = nil
		n, err := t.exec(ctx, `UPDATE webhooks SET paused_at = 0, failing_since = 0, reason = '' WHERE id = $1 AND app_id = $2 AND paused_at > 0`, id, appID)
		if err == nil && n == 0 {
			var one int
			err := t.queryRow(ctx, `SELECT 1 FROM webhooks WHERE id = $1 AND app_id = $2`, id, appID).Scan(&one)
			if err == nil {
				return webhook.ErrRunning
			}
			return missing(err, webhook.ErrUnknown)
		}
		if err := t.changed(ctx, n, err, webhook.ErrUnknown, rec); err != nil {
			return err
		}
		rows, err := t.query(ctx, `UPDATE jobs SET held_until = 0, attempts = 1, run_at = $1 WHERE app_id = $2 AND held_until > $3
			RETURNING `+jobColumns, ms(now.Add(job.Lease)), id, ms(now))
		jobs, err = collect(rows, err, scanJob)
		jobs = oldestFirst(jobs)
		return err
	})
	return jobs, err
}

// Telling returns what a webhook's job is about, or webhook.ErrUnknown.
func (s *Store) Telling(ctx context.Context, webhookID, recordID string) (w webhook.Webhook, app tenant.Application, rec audit.Record, err error) {
	if w, err = scanWebhook(s.queryRow(ctx, `SELECT `+webhookColumns+` FROM webhooks w WHERE w.id = $1`, webhookID)); err != nil {
		return w, app, rec, missing(err, webhook.ErrUnknown)
	}
	if rec, err = scanRecord(s.queryRow(ctx, `SELECT `+recordColumns+` FROM audit WHERE id = $1`, recordID)); err != nil {
		return w, app, rec, missing(err, webhook.ErrUnknown)
	}
	app, err = scanApp(s.queryRow(ctx, `SELECT `+appColumns+` FROM applications a WHERE a.id = $1`, w.AppID))
	return w, app, rec, missing(err, webhook.ErrUnknown)
}

// Told notes a delivery and ends the job. The webhook's row is written once a minute at most, so that it is no row that all wait for.
func (s *Store) Told(ctx context.Context, j job.Job, try webhook.Try) error {
	return s.write(ctx, func(t *tx) error {
		err := t.later(ctx, `UPDATE webhooks SET told_at = $2, failing_since = 0, reason = '' WHERE id = $1 AND paused_at = 0 AND (failing_since > 0 OR told_at < $3)`,
			j.AppID, ms(try.At), ms(try.At.Add(-time.Minute)))
		if err != nil {
			return fmt.Errorf("note a delivery: %w", err)
		}
		if err := t.keepTry(ctx, try); err != nil {
			return err
		}
		return t.endJob(ctx, j.ID)
	})
}

// keepTry keeps a try of a webhook that is still there, and the last ones before it.
func (t *tx) keepTry(ctx context.Context, try webhook.Try) error {
	err := t.later(ctx, `INSERT INTO webhook_tries (webhook_id, id, record_id, event, at, status, error, took) SELECT id, $2, $3, $4, $5, $6, $7, $8 FROM webhooks WHERE id = $1 FOR KEY SHARE`,
		try.WebhookID, try.ID, try.RecordID, try.Event, ms(try.At), try.Status, try.Error, try.Took.Microseconds())
	if err == nil {
		err = t.later(ctx, `WITH old AS MATERIALIZED (SELECT id FROM webhook_tries WHERE webhook_id = $1 ORDER BY id DESC LIMIT 100 OFFSET $2 FOR UPDATE SKIP LOCKED)
			DELETE FROM webhook_tries WHERE webhook_id = $1 AND id IN (SELECT id FROM old)`, try.WebhookID, webhook.MaxTries)
	}
	if err != nil {
		return fmt.Errorf("keep a webhook's try: %w", err)
	}
	return nil
}

// WebhookTries returns the last tries of an application's webhooks, newest first.
func (s *Store) WebhookTries(ctx context.Context, appID string) ([]webhook.Try, error) {
	rows, err := s.query(ctx, `SELECT t.id, t.webhook_id, t.record_id, t.event, t.at, t.status, t.error, t.took FROM webhooks w JOIN webhook_tries t ON t.webhook_id = w.id
		WHERE w.app_id = $1 ORDER BY t.id DESC`, appID)
	return collect(rows, err, func(r scanner) (try webhook.Try, err error) {
		var at, took int64
		err = r.Scan(&try.ID, &try.WebhookID, &try.RecordID, &try.Event, &at, &try.Status, &try.Error, &took)
		try.At, try.Took = fromMS(at), time.Duration(took)*time.Microsecond
		return try, err
	})
}

// TellAgain inserts a job that tells a webhook of the application once more of what one of the application's records tells.
func (s *Store) TellAgain(ctx context.Context, j job.Job, appID string, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		var paused int64
		if err := t.queryRow(ctx, `SELECT paused_at FROM webhooks WHERE id = $1 AND app_id = $2 FOR SHARE`, j.AppID, appID).Scan(&paused); err != nil {
			return missing(err, webhook.ErrUnknown)
		}
		if paused > 0 {
			return webhook.ErrPaused
		}
		var one int
		if err := t.queryRow(ctx, `SELECT 1 FROM audit WHERE id = $1 AND app_id = $2`, j.Ref, appID).Scan(&one); err != nil {
			return missing(err, webhook.ErrEvent)
		}
		if err := t.insertJob(ctx, j); err != nil {
			return err
		}
		return t.record(ctx, rec)
	})
}

// NotTold notes a failure, and pauses the webhook when nothing was delivered for long, in one statement: of many failures at once one does. Its row is
// taken before those of its jobs, by all of them.
func (s *Store) NotTold(ctx context.Context, j job.Job, f webhook.Failure) (mails []job.Job, err error) {
	err = s.write(ctx, func(t *tx) error {
		mails = nil
		var paused int64
		var owner string
		err := t.queryRow(ctx, `UPDATE webhooks SET reason = $1,
				failing_since = CASE WHEN failing_since = 0 THEN CAST($2 AS BIGINT) ELSE failing_since END,
				paused_at     = CASE WHEN failing_since > 0 AND failing_since <= $3 THEN CAST($2 AS BIGINT) ELSE 0 END
			WHERE id = $4 AND paused_at = 0
			RETURNING paused_at, (SELECT a.owner_email FROM accounts a JOIN applications p ON p.account_id = a.id WHERE p.id = webhooks.app_id)`,
			f.Try.Error, ms(f.At), ms(f.Before), j.AppID).Scan(&paused, &owner)
		if missing(err, nil) != nil {
			return err
		}
		if err := t.keepTry(ctx, f.Try); err != nil {
			return err
		}
		if err := t.giveUp(ctx, j, f.Next); err != nil || paused == 0 {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE jobs SET held_until = $1, run_at = $1 WHERE app_id = $2 AND held_until = 0`, ms(f.At.Add(webhook.HoldFor)), j.AppID); err != nil {
			return fmt.Errorf("hold a webhook's events: %w", err)
		}
		m := f.Mail(owner)
		if err := t.insertJob(ctx, m); err != nil {
			return err
		}
		mails = []job.Job{m}
		return t.record(ctx, f.Record)
	})
	return mails, err
}

// HoldTelling parks a job whose webhook is paused still.
func (s *Store) HoldTelling(ctx context.Context, j job.Job, until time.Time) error {
	return s.write(ctx, func(t *tx) error {
		var paused int64
		err := t.queryRow(ctx, `SELECT paused_at FROM webhooks WHERE id = $1 FOR SHARE`, j.AppID).Scan(&paused)
		if err != nil {
			return missing(err, nil)
		}
		if paused == 0 { // since the job was looked at: it stays due
			return t.giveUp(ctx, j, j.CreatedAt)
		}
		_, err = t.exec(ctx, `UPDATE jobs SET held_until = $3, run_at = $3 WHERE id = $1 AND run_at = $2`, j.ID, ms(j.RunAt), ms(until))
		return err
	})
}
