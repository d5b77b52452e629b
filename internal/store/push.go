package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/job"
	"countersign.dev/internal/notify"
)

// This file owns Web Push: its keys, subscriptions and jobs.

const newestPushKey = `SELECT id, sealed FROM push_keys ORDER BY id DESC LIMIT 1`

func scanPushKey(r scanner) (k notify.StoredKey, err error) { return k, r.Scan(&k.ID, &k.Sealed) }

// PushKey returns the newest key; first is asked for one when there is none yet.
func (s *Store) PushKey(ctx context.Context, now time.Time, first func(id int64) notify.StoredKey) (notify.StoredKey, error) {
	k, err := scanPushKey(s.queryRow(ctx, newestPushKey))
	if err = missing(err, errNone); !errors.Is(err, errNone) {
		return k, err
	}
	err = s.write(ctx, func(t *tx) error {
		made := first(1)
		// Another node may be starting as well: whoever comes first has made it.
		if _, err := t.exec(ctx, `INSERT INTO push_keys (id, sealed, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`,
			made.ID, made.Sealed, ms(now)); err != nil {
			return fmt.Errorf("insert push key: %w", err)
		}
		k, err = scanPushKey(t.queryRow(ctx, newestPushKey))
		return err
	})
	return k, err
}

// AddPushKey keeps a key with the next id.
func (s *Store) AddPushKey(ctx context.Context, now time.Time, make func(id int64) notify.StoredKey, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if err := t.hold("push_keys"); err != nil { // another process may add one as well: it waits, and gets the next id
			return err
		}
		var highest int64
		if err := t.queryRow(ctx, `SELECT COALESCE(MAX(id), 0) FROM push_keys`).Scan(&highest); err != nil {
			return err
		}
		k := make(highest + 1)
		if _, err := t.exec(ctx, `INSERT INTO push_keys (id, sealed, created_at) VALUES ($1, $2, $3)`, k.ID, k.Sealed, ms(now)); err != nil {
			return fmt.Errorf("insert push key: %w", err)
		}
		return t.record(ctx, rec)
	})
}

// Subscribe keeps a device's subscription in place of its older one.
func (s *Store) Subscribe(ctx context.Context, sub notify.StoredSubscription, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `INSERT INTO push_subscriptions (device_id, id, key_id, sealed, created_at) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (device_id) DO UPDATE SET id = $2, key_id = $3, sealed = $4, created_at = $5, quiet_until = 0`,
			sub.DeviceID, sub.ID, sub.KeyID, sub.Sealed, ms(sub.CreatedAt)); err != nil {
			return fmt.Errorf("insert push subscription: %w", err)
		}
		return t.record(ctx, rec)
	})
}

// Unsubscribe forgets a device's subscription.
func (s *Store) Unsubscribe(ctx context.Context, deviceID string, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM push_subscriptions WHERE device_id = $1`, deviceID)
		if err != nil || n == 0 {
			return err
		}
		return t.record(ctx, rec)
	})
}

// unsubscribeLeft forgets the subscription of a device that acts for nobody any more.
func (t *tx) unsubscribeLeft(ctx context.Context, deviceID string) error {
	_, err := t.exec(ctx, `DELETE FROM push_subscriptions WHERE device_id = $1
		AND NOT EXISTS (SELECT 1 FROM grants g WHERE g.device_id = push_subscriptions.device_id AND g.removed_at = 0)`, deviceID)
	return err
}

// Subscription returns a device's subscription, and false when there is none.
func (s *Store) Subscription(ctx context.Context, deviceID string) (sub notify.StoredSubscription, ok bool, err error) {
	var created int64
	err = s.queryRow(ctx, `SELECT id, device_id, key_id, sealed, created_at FROM push_subscriptions WHERE device_id = $1`, deviceID).
		Scan(&sub.ID, &sub.DeviceID, &sub.KeyID, &sub.Sealed, &created)
	sub.CreatedAt = fromMS(created)
	if err = missing(err, errNone); errors.Is(err, errNone) {
		return sub, false, nil
	}
	return sub, err == nil, err
}

// Fetched notes when a subscribed device has read what waits for it.
func (s *Store) Fetched(ctx context.Context, deviceID string, now time.Time) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE push_subscriptions SET fetched_at = $1 WHERE device_id = $2 AND fetched_at < $1`, ms(now), deviceID)
		return err
	})
}

// insertPushes inserts the job of each device of the user that has a subscription. A nil make means that nothing is pushed.
func (t *tx) insertPushes(ctx context.Context, userID string, make func(deviceID string) job.Job) ([]job.Job, error) {
	if make == nil {
		return nil, nil
	}
	rows, err := t.query(ctx, `SELECT s.device_id FROM grants g JOIN push_subscriptions s ON s.device_id = g.device_id
		WHERE g.user_id = $1 AND g.removed_at = 0 ORDER BY s.device_id`, userID)
	devices, err := collect(rows, err, func(r scanner) (id string, err error) { return id, r.Scan(&id) })
	if err != nil {
		return nil, fmt.Errorf("read push subscriptions: %w", err)
	}
	var jobs []job.Job
	for _, id := range devices {
		j := make(id)
		if err := t.insertJob(ctx, j); err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	return jobs, nil
}

// PushDelivery returns what a push job is about, or notify.ErrNothing.
func (s *Store) PushDelivery(ctx context.Context, uuid, deviceID string, now time.Time) (d notify.Delivery, err error) {
	var created, expires, quiet, fetched int64
	err = s.queryRow(ctx, `SELECT p.uuid, p.app_id, p.user_id, p.app_name, p.created_at, p.expires_at,
		s.id, s.device_id, s.key_id, s.sealed, s.quiet_until, s.fetched_at, k.id, k.sealed
		FROM approvals p JOIN users u ON u.id = p.user_id
		JOIN grants g ON g.user_id = p.user_id AND g.device_id = $2 AND g.removed_at = 0 AND u.removed_at = 0
		JOIN push_subscriptions s ON s.device_id = g.device_id JOIN push_keys k ON k.id = s.key_id
		WHERE p.uuid = $1 AND p.status = 'pending' AND (p.expires_at = 0 OR p.expires_at > $3)`, uuid, deviceID, ms(now)).
		Scan(&d.UUID, &d.AppID, &d.UserID, &d.Application, &created, &expires,
			&d.Subscription.ID, &d.Subscription.DeviceID, &d.Subscription.KeyID, &d.Subscription.Sealed, &quiet, &fetched, &d.Key.ID, &d.Key.Sealed)
	d.CreatedAt, d.ExpiresAt, d.QuietUntil, d.FetchedAt = fromMS(created), fromMS(expires), fromMS(quiet), fromMS(fetched)
	return d, missing(err, notify.ErrNothing)
}

// PushDelayed gives a push job up until next, or for good, and leaves its subscription alone until quiet.
func (s *Store) PushDelayed(ctx context.Context, j job.Job, subscriptionID string, quiet, next time.Time) error {
	return s.write(ctx, func(t *tx) error {
		if _, err := t.exec(ctx, `UPDATE push_subscriptions SET quiet_until = $1 WHERE device_id = $2 AND id = $3 AND quiet_until < $1`,
			ms(quiet), string(j.Payload), subscriptionID); err != nil {
			return err
		}
		return t.giveUp(ctx, j, next)
	})
}

// PushGone removes a subscription that its push service no longer knows, unless the device has subscribed anew since.
func (s *Store) PushGone(ctx context.Context, j job.Job, sub notify.StoredSubscription, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `DELETE FROM push_subscriptions WHERE device_id = $1 AND id = $2`, sub.DeviceID, sub.ID)
		if err != nil {
			return err
		}
		if n > 0 {
			if err := t.record(ctx, rec); err != nil {
				return err
			}
		}
		return t.giveUp(ctx, j, time.Time{})
	})
}
