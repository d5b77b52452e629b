package store

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

// This file owns accounts and applications.

// FirstAccount returns the deployment's account and makes it when there is none.
func (s *Store) FirstAccount(ctx context.Context, fresh tenant.Account) (a tenant.Account, err error) {
	err = s.write(ctx, func(t *tx) error {
		if err := t.hold("first account"); err != nil {
			return err
		}
		var created int64
		err := t.queryRow(ctx, `SELECT id, name, owner_email, created_at FROM accounts ORDER BY created_at, id LIMIT 1`).
			Scan(&a.ID, &a.Name, &a.OwnerEmail, &created)
		a.CreatedAt = fromMS(created)
		if err == nil || missing(err, nil) != nil {
			return err
		}
		a = fresh
		_, err = t.exec(ctx, `INSERT INTO accounts (id, name, owner_email, created_at) VALUES ($1, $2, $3, $4)`,
			a.ID, a.Name, a.OwnerEmail, ms(a.CreatedAt))
		return err
	})
	return a, err
}

// SetOwnerEmail changes who hears of the account's disabled callbacks.
func (s *Store) SetOwnerEmail(ctx context.Context, accountID, email string) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE accounts SET owner_email = $2 WHERE id = $1 AND owner_email <> $2`, accountID, email)
		return err
	})
}

const appColumns = `a.id, a.serial, a.account_id, a.name, a.settings, a.callback_url, a.callback_version, a.callback_strikes,
	a.disabled_at, a.disabled_reason, a.created_at`

func scanApp(r scanner) (a tenant.Application, err error) {
	return (*parsed)(nil).scan(r)
}

// parsed keeps settings that were read already, by their text: an application's are read with each of its requests. A nil parsed keeps nothing.
type parsed struct {
	mu   sync.Mutex
	seen map[string]tenant.Settings
}

// parsedMax is how many are kept, before all are forgotten.
const parsedMax = 1000

func (p *parsed) settings(text string) (set tenant.Settings, err error) {
	if p == nil {
		return set, json.Unmarshal([]byte(text), &set)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	set, found := p.seen[text]
	if found {
		return set, nil
	}
	if err := json.Unmarshal([]byte(text), &set); err != nil {
		return set, err
	}
	if p.seen == nil || len(p.seen) >= parsedMax {
		p.seen = map[string]tenant.Settings{}
	}
	p.seen[text] = set
	return set, nil
}

func (p *parsed) scan(r scanner) (a tenant.Application, err error) {
	var settings string
	var disabled, created int64
	err = r.Scan(&a.ID, &a.Serial, &a.AccountID, &a.Name, &settings, &a.Callback.URL, &a.Callback.Version, &a.Callback.Strikes,
		&disabled, &a.Callback.DisabledReason, &created)
	if err != nil {
		return a, err
	}
	a.Callback.DisabledAt, a.CreatedAt = fromMS(disabled), fromMS(created)
	if a.Settings, err = p.settings(settings); err != nil {
		return a, fmt.Errorf("settings of application %s: %w", a.ID, err)
	}
	return a, nil
}

// Application returns one application of the account, or tenant.ErrApplication.
func (s *Store) Application(ctx context.Context, accountID, appID string) (tenant.Application, error) {
	a, err := scanApp(s.queryRow(ctx, `SELECT `+appColumns+` FROM applications a WHERE a.id = $1 AND a.account_id = $2`, appID, accountID))
	return a, missing(err, tenant.ErrApplication)
}

// Applications returns the account's applications by name.
func (s *Store) Applications(ctx context.Context, accountID string) ([]tenant.Application, error) {
	rows, err := s.query(ctx, `SELECT `+appColumns+` FROM applications a WHERE a.account_id = $1 ORDER BY a.name, a.id`, accountID)
	return collect(rows, err, scanApp)
}

// CreateApplication keeps a new application with its first key.
func (s *Store) CreateApplication(ctx context.Context, a tenant.Application, k tenant.Key, rec audit.Record) error {
	settings, err := json.Marshal(a.Settings)
	if err != nil {
		return err
	}
	return s.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO applications (id, serial, account_id, name, settings, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
			a.ID, a.Serial, a.AccountID, a.Name, string(settings), ms(a.CreatedAt)); err != nil {
			return fmt.Errorf("insert application: %w", err)
		}
		if _, err := t.exec(ctx, `INSERT INTO api_keys (id, app_id, hash, sealed, created_at) VALUES ($1, $2, $3, $4, $5)`,
			k.ID, k.AppID, k.Hash, k.Sealed, ms(a.CreatedAt)); err != nil {
			return fmt.Errorf("insert API key: %w", err)
		}
		return t.record(ctx, rec)
	})
}

// ChangeSettings keeps what change makes of an application's settings.
func (s *Store) ChangeSettings(ctx context.Context, accountID, appID string, change tenant.Change, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		note, err := t.changeSettings(ctx, accountID, appID, change)
		if err != nil {
			return err
		}
		return t.record(ctx, rec.Noting(note))
	})
}

// changeSettings runs change on an application's settings as they stand, and keeps what it makes of them. Nobody else changes
// the application until the transaction ends.
func (t *tx) changeSettings(ctx context.Context, accountID, appID string, change tenant.Change) (note string, err error) {
	var text string
	err = t.queryRow(ctx, `SELECT settings FROM applications WHERE id = $1 AND account_id = $2 FOR NO KEY UPDATE`, appID, accountID).Scan(&text)
	if err != nil {
		return "", missing(err, tenant.ErrApplication)
	}
	set, err := (*parsed)(nil).settings(text)
	if err != nil {
		return "", fmt.Errorf("settings of application %s: %w", appID, err)
	}
	if note, err = change(&set); err != nil {
		return "", err
	}
	changed, err := json.Marshal(set)
	if err != nil {
		return "", err
	}
	_, err = t.exec(ctx, `UPDATE applications SET settings = $1 WHERE id = $2`, string(changed), appID)
	return note, err
}

// ChangeCallback keeps what change makes of an application's settings and gives its callback a new address, clears what was counted
// against the old one, and releases held deliveries: they are returned, leased to the caller. An empty address turns the callback off
// and drops them.
func (s *Store) ChangeCallback(ctx context.Context, accountID, appID, url string, change tenant.Change, now time.Time, rec audit.Record) (released []job.Job, err error) {
	err = s.write(ctx, func(t *tx) error {
		released = nil
		note, err := t.changeSettings(ctx, accountID, appID, change)
		if err != nil {
			return err
		}
		_, err = t.exec(ctx, `UPDATE applications SET callback_url = $1, callback_version = callback_version + 1, callback_strikes = 0,
			disabled_at = 0, disabled_reason = '' WHERE id = $2`, url, appID)
		if err != nil {
			return err
		}
		if url == "" {
			_, err = t.exec(ctx, `DELETE FROM jobs WHERE app_id = $1 AND kind = $2`, appID, string(job.Callback))
		} else {
			released, err = t.releaseCallbacks(ctx, appID, now)
		}
		if err != nil {
			return err
		}
		return t.record(ctx, rec.Noting(note))
	})
	return released, err
}
