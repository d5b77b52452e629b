package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
)

// This file owns registrations by token: who an application's names are.

// Register finds or makes the user of a registration and keeps its ticket, if its token counts still.
func (s *Store) Register(ctx context.Context, r device.Registering, user, ticket audit.Record) error {
	name := "registration:" + r.User.AppID + ":" + r.CustomID
	return s.writeFor(ctx, name, func(t *tx) error {
		if err := t.hold(name); err != nil {
			return err
		}
		var token, given string
		var issued, used int64
		err := t.queryRow(ctx, `SELECT r.user_id, r.token, r.issued_at, r.ticket, COALESCE(t.used_at, 1) FROM registrations r LEFT JOIN tickets t ON t.hash = r.ticket
			WHERE r.app_id = $1 AND r.custom_id = $2`, r.User.AppID, r.CustomID).Scan(&r.Ticket.UserID, &token, &issued, &given, &used)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			if err := t.registerUser(ctx, &r, user); err != nil {
				return err
			}
		case err != nil:
			return err
		case ms(r.IssuedAt) < issued, token == r.TokenHash && used > 0:
			return device.ErrTicket
		default:
			n, err := t.exec(ctx, `UPDATE users SET removed_at = 0 WHERE id = $1 AND removed_at > 0`, r.Ticket.UserID)
			if err != nil {
				return fmt.Errorf("bring a registered user back: %w", err)
			}
			if user.Target = "user:" + r.Ticket.UserID; n > 0 {
				if err := t.record(ctx, user); err != nil {
					return err
				}
			}
		}
		if _, err := t.exec(ctx, `UPDATE registrations SET token = $3, issued_at = $4, ticket = $5 WHERE app_id = $1 AND custom_id = $2`,
			r.User.AppID, r.CustomID, r.TokenHash, ms(r.IssuedAt), r.Ticket.Hash); err != nil {
			return fmt.Errorf("note a registration's token: %w", err)
		}
		ticket.Target = "user:" + r.Ticket.UserID
		if _, err := t.lockUser(ctx, r.Ticket.UserID); err != nil {
			return err
		}
		if err := t.insertTicket(ctx, r.Ticket); err != nil {
			return err
		}
		return t.record(ctx, ticket)
	})
}

// registerUser makes the user of a registration, who has no phone number and no address.
func (t *tx) registerUser(ctx context.Context, r *device.Registering, rec audit.Record) error {
	u := r.User
	authyID, err := t.freeAuthyID(ctx, u.AppID, u.AuthyID)
	if err != nil {
		return err
	}
	if _, err := t.exec(ctx, `INSERT INTO users (id, app_id, authy_id, country_code, phone, email, created_at) VALUES ($1, $2, $3, 0, NULL, '', $4)`,
		u.ID, u.AppID, authyID, ms(u.CreatedAt)); err != nil {
		return fmt.Errorf("insert a registered user: %w", err)
	}
	if _, err := t.exec(ctx, `INSERT INTO registrations (app_id, custom_id, user_id, token, issued_at, ticket) VALUES ($1, $2, $3, '', 0, '')`,
		u.AppID, r.CustomID, u.ID); err != nil {
		return fmt.Errorf("insert a registration: %w", err)
	}
	r.Ticket.UserID, rec.Target = u.ID, "user:"+u.ID
	return t.record(ctx, rec)
}

// Registration returns what became of a registration, or device.ErrRegistration.
func (s *Store) Registration(ctx context.Context, appID, customID string) (r device.Registered, err error) {
	var devices int64
	err = s.queryRow(ctx, `SELECT u.authy_id, (SELECT COUNT(*) FROM grants g WHERE g.user_id = u.id AND g.removed_at = 0) FROM registrations r JOIN users u ON u.id = r.user_id
		WHERE r.app_id = $1 AND r.custom_id = $2 AND u.removed_at = 0`, appID, customID).Scan(&r.AuthyID, &devices)
	r.Completed = devices > 0
	return r, missing(err, device.ErrRegistration)
}
