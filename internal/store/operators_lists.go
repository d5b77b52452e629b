package store

import (
	"context"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/tenant/operator"
)

// This file owns the lists that operators look at: newest first, and never more than asked for.

// ListedUsers returns the application's newest users.
func (s *Store) ListedUsers(ctx context.Context, appID string, limit int) ([]operator.ListedUser, error) {
	rows, err := s.query(ctx, `SELECT (SELECT COUNT(*) FROM grants g WHERE g.user_id = u.id AND g.removed_at = 0), `+userColumns+`
		FROM users u WHERE u.app_id = $1 AND u.removed_at = 0 ORDER BY u.created_at DESC, u.id DESC LIMIT $2`, appID, limit)
	return collect(rows, err, func(r scanner) (l operator.ListedUser, err error) {
		l.User, err = scanUser(prefixed{r, []any{&l.Devices}})
		return l, err
	})
}

// ListedApprovals returns the application's newest approvals.
func (s *Store) ListedApprovals(ctx context.Context, appID string, limit int) ([]operator.ListedApproval, error) {
	rows, err := s.query(ctx, `SELECT COALESCE(d.name, ''), `+approvalColumns+approvalTables+`LEFT JOIN grants g ON g.id = p.grant_id LEFT JOIN devices d ON d.id = g.device_id
		WHERE p.app_id = $1 ORDER BY p.created_at DESC, p.uuid LIMIT $2`, appID, limit)
	return collect(rows, err, func(r scanner) (l operator.ListedApproval, err error) {
		row, err := scanApproval(prefixed{r, []any{&l.AnsweredBy}})
		l.Approval = row.Approval
		return l, err
	})
}

// TriesOf returns the delivery attempts of one approval's callback.
func (s *Store) TriesOf(ctx context.Context, appID, uuid string, limit int) ([]callback.Try, error) {
	rows, err := s.query(ctx, `SELECT id, app_id, uuid, url, at, status, error, took FROM callback_tries WHERE uuid = $1 AND app_id = $2
		ORDER BY at DESC, id DESC LIMIT $3`, uuid, appID, limit)
	return collect(rows, err, scanTry)
}

// AccountAudit returns an account's newest records of what concerns no application.
func (s *Store) AccountAudit(ctx context.Context, accountID string, limit int) ([]audit.Record, error) {
	rows, err := s.query(ctx, `SELECT id, at, account_id, app_id, actor, action, target, outcome, note
		FROM audit WHERE app_id = '' AND account_id = $1 ORDER BY at DESC, id DESC LIMIT $2`, accountID, limit)
	return collect(rows, err, scanRecord)
}
