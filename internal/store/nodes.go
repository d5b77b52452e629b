package store

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/live"
)

// This file owns what nodes on one PostgreSQL tell each other: by LISTEN and NOTIFY on a connection of its own, and by what
// the rows say when a message was lost. A Store on PostgreSQL is a live.Line.

const (
	quiet  = 20 * time.Second // without a word, before the connection is asked whether it is still there
	answer = 5 * time.Second  // for it to answer
)

// lineConfig is how the connection for wake-ups is opened.
func lineConfig(cfg *pgxpool.Config) *pgx.ConnConfig {
	line := cfg.ConnConfig.Copy()
	if line.RuntimeParams["application_name"] == "" {
		line.RuntimeParams["application_name"] = "countersign wake-ups"
	}
	return line
}

// Converse sends each text of out to all other nodes, and calls hear with what they send, until the connection breaks or ctx
// ends. Joined is called when nothing sent from now on will be missed. The texts are never sent within a transaction of ours:
// NOTIFY lets one commit at a time through, and is forgotten in a crash without harm, so it need not wait for the disk.
func (s *Store) Converse(ctx context.Context, out <-chan string, joined func(), hear func(text string)) error {
	conn, err := pgx.ConnectConfig(ctx, s.line)
	if err != nil {
		return fmt.Errorf("reach PostgreSQL: %w", err)
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), answer)
		defer cancel()
		conn.Close(end)
	}()
	if err := tell(ctx, conn, `SET synchronous_commit = off; LISTEN countersign`); err != nil {
		return err
	}
	joined()
	for {
		said, heard, err := next(ctx, conn, out)
		if err != nil {
			return err
		}
		if heard != nil && heard.PID != conn.PgConn().PID() { // what this node says comes back to it
			hear(heard.Payload)
		}
		switch {
		case said != "":
			err = tell(ctx, conn, `SELECT pg_notify('countersign', $1)`, said)
		case heard == nil:
			err = tell(ctx, conn, `SELECT 1`)
		}
		if err != nil {
			return err
		}
	}
}

func tell(ctx context.Context, conn *pgx.Conn, q string, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, answer)
	defer cancel()
	_, err := conn.Exec(ctx, q, args...)
	return err
}

// next waits for a text to send or one of another node's; both may come at once, and neither after a while.
func next(ctx context.Context, conn *pgx.Conn, out <-chan string) (said string, heard *pgconn.Notification, err error) {
	wait, stop := context.WithTimeout(ctx, quiet)
	var turn sync.WaitGroup
	turn.Go(func() {
		select {
		case said = <-out:
			stop()
		case <-wait.Done():
		}
	})
	heard, err = conn.WaitForNotification(wait)
	stop()
	turn.Wait()
	if ctx.Err() == nil && !conn.IsClosed() {
		err = nil // the wait was ended, not the connection
	}
	return said, heard, err
}

// Changed calls found with what changed since then.
func (s *Store) Changed(ctx context.Context, since time.Time, found func(live.Change)) error {
	rows, err := s.query(ctx, `SELECT uuid, user_id, status, updated_at FROM approvals WHERE updated_at > $1 ORDER BY updated_at`, ms(since))
	err = each(rows, err, func(r scanner) error {
		var uuid, user, status string
		var at int64
		if err := r.Scan(&uuid, &user, &status, &at); err != nil {
			return err
		}
		topics := []live.Topic{live.UserTopic(user)}
		if approval.Status(status) != approval.Pending {
			topics = append(topics, live.ApprovalTopic(uuid))
		}
		found(live.Change{At: fromMS(at), Topics: topics})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read changed approvals: %w", err)
	}
	// All devices of a user hear of each other's coming and going.
	rows, err = s.query(ctx, `SELECT g.user_id, g.device_id, COALESCE(beside.device_id, ''), g.at FROM (
			SELECT user_id, device_id, created_at AS at FROM grants WHERE created_at > $1
			UNION ALL SELECT user_id, device_id, removed_at AS at FROM grants WHERE removed_at > 0 AND removed_at > $1) g
		LEFT JOIN grants beside ON beside.user_id = g.user_id AND beside.removed_at = 0 ORDER BY g.at`, ms(since))
	err = each(rows, err, func(r scanner) error {
		var user, device, beside string
		var at int64
		if err := r.Scan(&user, &device, &beside, &at); err != nil {
			return err
		}
		found(live.Change{At: fromMS(at), Topics: []live.Topic{live.UserTopic(user), live.DeviceTopic(device), live.DeviceTopic(beside)}})
		return nil
	})
	if err != nil {
		return fmt.Errorf("read changed grants: %w", err)
	}
	return nil
}

// each runs do for every row.
func each(rows rows, err error, do func(scanner) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := do(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}
