package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

// This file owns callbacks: their jobs, tries and strikes.

// insertCallback inserts a callback job where the application has a callback: to run now, leased to the caller, or held when it was
// disabled. The question and the insert are one statement.
func (t *tx) insertCallback(ctx context.Context, j job.Job) ([]job.Job, error) {
	var held int64
	err := t.queryRow(ctx, `INSERT INTO jobs (id, kind, app_id, ref, trace, attempts, created_at, run_at, held_until)
		SELECT $1, $2, id, $3, $9, $4, $5, CASE WHEN callback_url = '' THEN CAST($6 AS BIGINT) ELSE CAST($7 AS BIGINT) END,
			CASE WHEN callback_url = '' THEN CAST($6 AS BIGINT) ELSE 0 END
		FROM applications WHERE id = $8 AND (callback_url <> '' OR disabled_at > 0)
		RETURNING held_until`,
		j.ID, string(j.Kind), j.Ref, j.Attempts, ms(j.CreatedAt), ms(j.CreatedAt.Add(tenant.HoldFor)), ms(j.RunAt), j.AppID, j.Trace).Scan(&held)
	if err != nil {
		return nil, missing(err, nil)
	}
	if held == 0 {
		return []job.Job{j}, nil
	}
	// Who gave an address meanwhile has released what was held then, but not this one.
	if given, err := t.lockCallback(ctx, j.AppID); err != nil || !given {
		return nil, err
	}
	if _, err := t.exec(ctx, `UPDATE jobs SET held_until = 0, run_at = $1 WHERE id = $2`, ms(j.RunAt), j.ID); err != nil {
		return nil, fmt.Errorf("release a callback: %w", err)
	}
	return []job.Job{j}, nil
}

// lockCallback keeps the application's callback address as it is until the transaction ends, and reports whether there is one.
func (t *tx) lockCallback(ctx context.Context, appID string) (given bool, err error) {
	var url string
	err = t.queryRow(ctx, `SELECT callback_url FROM applications WHERE id = $1 FOR SHARE`, appID).Scan(&url)
	return url != "", err
}

// SendAgain inserts a callback job for an approval of the application that was answered, while there is an address.
func (s *Store) SendAgain(ctx context.Context, j job.Job, rec audit.Record) (jobs []job.Job, err error) {
	err = s.write(ctx, func(t *tx) error {
		jobs = nil
		n, err := t.exec(ctx, `INSERT INTO jobs (id, kind, app_id, ref, attempts, created_at, run_at) SELECT $1, $2, a.id, p.uuid, $3, $4, $5
			FROM approvals p JOIN applications a ON a.id = p.app_id WHERE p.uuid = $6 AND p.app_id || '' = $7 AND p.grant_id > 0 AND a.callback_url <> '' FOR SHARE OF p`,
			j.ID, string(j.Kind), j.Attempts, ms(j.CreatedAt), ms(j.RunAt), j.Ref, j.AppID)
		if err != nil {
			return fmt.Errorf("send a callback again: %w", err)
		}
		if n == 0 {
			return t.whyNotAgain(ctx, j)
		}
		jobs = []job.Job{j}
		return t.record(ctx, rec)
	})
	return jobs, err
}

func (t *tx) whyNotAgain(ctx context.Context, j job.Job) error {
	var grant int64
	err := t.queryRow(ctx, `SELECT grant_id FROM approvals WHERE uuid = $1 AND app_id || '' = $2`, j.Ref, j.AppID).Scan(&grant)
	switch {
	case err != nil:
		return missing(err, approval.ErrUnknown)
	case grant == 0:
		return callback.ErrNotAnswered
	}
	return callback.ErrNoAddress
}

// Delivery returns whose callback it is, with all that signs: one statement, because each decision needs it.
func (s *Store) Delivery(ctx context.Context, appID string, now time.Time) (d callback.Delivery, err error) {
	rows, err := s.query(ctx, `SELECT k.id, k.app_id, k.hash, k.sealed, COALESCE(w.id, ''), a.id, w.sealed, COALESCE(w.created_at, 0), COALESCE(w.retired_at, 0), `+
		appColumns+` FROM applications a
		JOIN api_keys k ON k.id = (SELECT id FROM api_keys WHERE app_id = a.id AND retired_at = 0 ORDER BY created_at, id LIMIT 1)
		LEFT JOIN signing_keys w ON w.app_id = a.id AND (w.retired_at = 0 OR w.retired_at > $2)
		WHERE a.id = $1`, appID, ms(now))
	signing, err := collect(rows, err, func(r scanner) (tenant.Signing, error) {
		return scanSigning(scanFunc(func(signing ...any) (err error) {
			d.App, err = s.parsed.scan(prefixed{r, append([]any{&d.Key.ID, &d.Key.AppID, &d.Key.Hash, &d.Key.Sealed}, signing...)})
			return err
		}))
	})
	switch {
	case err != nil:
		return d, err
	case len(signing) == 0:
		return d, tenant.ErrApplication
	case signing[0].ID != "":
		d.Signing = signing // no order in SQL: it would sort wide rows
		slices.SortFunc(d.Signing, func(a, b tenant.Signing) int { return a.EndsAt.Compare(b.EndsAt) })
	}
	return d, nil
}

// scanFunc scans for several: each gives its destinations to the next.
type scanFunc func(dest ...any) error

// Scan implements scanner.
func (f scanFunc) Scan(dest ...any) error { return f(dest...) }

func (t *tx) insertTry(ctx context.Context, try callback.Try) error {
	err := t.later(ctx, `INSERT INTO callback_tries (id, app_id, uuid, url, at, status, error, took) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		try.ID, try.AppID, try.UUID, try.URL, ms(try.At), try.Status, try.Error, try.Took.Microseconds())
	if err != nil {
		return fmt.Errorf("insert callback try: %w", err)
	}
	return nil
}

// Delivered keeps a successful try, clears the strikes, and ends the job.
func (s *Store) Delivered(ctx context.Context, j job.Job, try callback.Try, version int64) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.insertTry(ctx, try); err != nil {
			return err
		}
		if err := t.later(ctx, `UPDATE applications SET callback_strikes = 0 WHERE id = $1 AND callback_version = $2 AND callback_strikes > 0`,
			j.AppID, version); err != nil {
			return fmt.Errorf("clear strikes: %w", err)
		}
		return t.endJob(ctx, j.ID)
	})
}

// Failed keeps a failed try and counts the strike, in one statement conditional on the address's version.
func (s *Store) Failed(ctx context.Context, j job.Job, try callback.Try, version int64, next time.Time, reason string,
	mail func(string) job.Job, rec audit.Record,
) (struck callback.Struck, err error) {
	err = s.writeFor(ctx, "callbacks of "+j.AppID, func(t *tx) error {
		struck = callback.Struck{}
		if try.Status > 0 { // a strike may hold all of the application's jobs: its row comes before that of any of them
			var one int
			if err := t.queryRow(ctx, `SELECT 1 FROM applications WHERE id = $1 FOR NO KEY UPDATE`, j.AppID).Scan(&one); err != nil {
				return err
			}
		}
		if err := t.insertTry(ctx, try); err != nil {
			return err
		}
		if err := t.giveUp(ctx, j, next); err != nil || try.Status == 0 {
			return err
		}
		return t.strike(ctx, j.AppID, version, try.At, reason, mail, rec, &struck)
	})
	return struck, err
}

func (t *tx) strike(ctx context.Context, appID string, version int64, now time.Time, reason string,
	mail func(string) job.Job, rec audit.Record, struck *callback.Struck,
) error {
	var owner string
	err := t.queryRow(ctx, `UPDATE applications SET
			callback_strikes = callback_strikes + 1,
			callback_url     = CASE WHEN callback_strikes + 1 >= $1 THEN '' ELSE callback_url END,
			callback_version = CASE WHEN callback_strikes + 1 >= $1 THEN callback_version + 1 ELSE callback_version END,
			disabled_at      = CASE WHEN callback_strikes + 1 >= $1 THEN CAST($2 AS BIGINT) ELSE 0 END,
			disabled_reason  = CASE WHEN callback_strikes + 1 >= $1 THEN $3 ELSE '' END
		WHERE id = $4 AND callback_version = $5 AND callback_url <> ''
		RETURNING callback_strikes, (SELECT owner_email FROM accounts WHERE accounts.id = applications.account_id)`,
		tenant.StrikesToDisable, ms(now), reason, appID, version).Scan(&struck.Strikes, &owner)
	if err != nil {
		return missing(err, nil) // a late answer to an old address
	}
	if struck.Strikes < tenant.StrikesToDisable {
		return nil
	}
	struck.Disabled = true
	if err := t.holdCallbacks(ctx, appID, now); err != nil {
		return fmt.Errorf("hold callbacks: %w", err)
	}
	m := mail(owner)
	if err := t.insertJob(ctx, m); err != nil {
		return err
	}
	struck.Jobs = []job.Job{m}
	return t.record(ctx, rec)
}

// Hold parks one job until an address is given.
func (s *Store) Hold(ctx context.Context, j job.Job, until time.Time) error {
	return s.write(ctx, func(t *tx) error {
		given, err := t.lockCallback(ctx, j.AppID)
		if err != nil {
			return err
		}
		if given { // since the job was looked at: it stays due
			return t.giveUp(ctx, j, j.CreatedAt)
		}
		_, err = t.exec(ctx, `UPDATE jobs SET held_until = $3, run_at = $3 WHERE id = $1 AND run_at = $2`, j.ID, ms(j.RunAt), ms(until))
		return err
	})
}

// Tries returns an application's newest delivery attempts, newest first.
func (s *Store) Tries(ctx context.Context, appID string, limit int) ([]callback.Try, error) {
	rows, err := s.query(ctx, `SELECT id, app_id, uuid, url, at, status, error, took FROM callback_tries WHERE app_id = $1 ORDER BY at DESC, id DESC LIMIT $2`, appID, limit)
	return collect(rows, err, scanTry)
}

func scanTry(r scanner) (t callback.Try, err error) {
	var at, took int64
	err = r.Scan(&t.ID, &t.AppID, &t.UUID, &t.URL, &at, &t.Status, &t.Error, &took)
	t.At, t.Took = fromMS(at), time.Duration(took)*time.Microsecond
	return t, err
}
