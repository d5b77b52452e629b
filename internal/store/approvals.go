package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/job"
	"countersign.dev/internal/tenant"
)

// This file owns approvals.

const approvalColumns = `p.uuid, p.id, p.app_id, a.serial, p.user_id, u.authy_id, u.email, p.status, p.app_name, p.message, p.details, p.hidden, p.logos,
	p.logo, p.match_mode, p.match_value, p.nonce, p.life, p.created_at, p.expires_at, p.updated_at, p.processed_at, p.reason,
	p.grant_id, p.signed, p.signature, p.request_hash, p.trace, p.context_address, p.context_browser, p.context_origin`

const approvalTables = ` FROM approvals p JOIN applications a ON a.id = p.app_id JOIN users u ON u.id = p.user_id `

// answerColumns are who answered, which is nobody while it waits. Beside approvalTables they need answerTables.
const answerColumns = `a.name, COALESCE(ag.method, ''), COALESCE(ag.digits, 0), COALESCE(ag.period, 0), COALESCE(ag.created_at, 0),
	COALESCE(ad.id, ''), COALESCE(ad.name, ''), COALESCE(ad.platform, ''), COALESCE(ad.public_key, ''), COALESCE(ad.created_at, 0), COALESCE(ad.seen_at, 0), `

const answerTables = `LEFT JOIN grants ag ON ag.id = p.grant_id LEFT JOIN devices ad ON ad.id = ag.device_id `

// approvalRow is an approval with what only the store needs of it.
type approvalRow struct {
	approval.Approval
	grantID     int64
	signed      []byte
	signature   string
	requestHash string
}

func scanApproval(r scanner) (p approvalRow, err error) {
	var details, hidden, logos string
	var created, expires, updated, processed int64
	err = r.Scan(&p.UUID, &p.ID, &p.AppID, &p.AppSerial, &p.UserID, &p.AuthyID, &p.UserEmail, &p.Status, &p.Content.Application, &p.Content.Message,
		&details, &hidden, &logos, &p.Content.Logo, &p.Match.Mode, &p.Match.Value, &p.Nonce, &p.Life, &created, &expires, &updated, &processed,
		&p.Reason, &p.grantID, &p.signed, &p.signature, &p.requestHash, &p.Trace,
		&p.Content.Context.Address, &p.Content.Context.Browser, &p.Content.Context.Origin)
	if err != nil {
		return p, err
	}
	p.CreatedAt, p.ExpiresAt, p.UpdatedAt, p.ProcessedAt = fromMS(created), fromMS(expires), fromMS(updated), fromMS(processed)
	if p.Content.Details, err = fieldsFromJSON(details); err == nil {
		p.Hidden, err = fieldsFromJSON(hidden)
	}
	if err == nil && logos != "null" {
		err = json.Unmarshal([]byte(logos), &p.Logos)
	}
	if err != nil {
		return p, fmt.Errorf("stored approval %s: %w", p.UUID, err)
	}
	return p, nil
}

// scanAnswered reads answerColumns and approvalColumns.
func scanAnswered(r scanner) (approvalRow, error) {
	var g device.Grant
	var created int64
	var at deviceTimes
	p, err := scanApproval(prefixed{r, append([]any{&g.Application, &g.Method, &g.Digits, &g.Period, &created}, at.into(&g.Device)...)})
	if err != nil || p.grantID == 0 {
		return p, err
	}
	if g.Device.ID == "" {
		return p, fmt.Errorf("stored approval %s: the grant that answered is gone", p.UUID)
	}
	at.set(&g.Device)
	g.ID = p.grantID
	p.of(&g, created)
	p.Answer = &approval.Answered{Grant: g, Signed: p.signed, Signature: p.signature}
	return p, nil
}

func fieldsToJSON(fields []receipt.Field) string {
	if fields == nil {
		return "null"
	}
	pairs := make([][2]string, len(fields))
	for i, f := range fields {
		pairs[i] = [2]string{f.Name, f.Value}
	}
	b, _ := json.Marshal(pairs) // strings always encode
	return string(b)
}

func fieldsFromJSON(s string) ([]receipt.Field, error) {
	if s == "null" {
		return nil, nil
	}
	var pairs [][2]string
	if err := json.Unmarshal([]byte(s), &pairs); err != nil || pairs == nil {
		return nil, err
	}
	fields := make([]receipt.Field, len(pairs))
	for i, p := range pairs {
		fields[i] = receipt.Field{Name: p[0], Value: p[1]}
	}
	return fields, nil
}

// CreateApproval inserts a pending approval if the user is there, can answer, and is not being flooded (T-10).
func (s *Store) CreateApproval(ctx context.Context, c approval.Creation, rec audit.Record) (kept approval.Approval, jobs []job.Job, err error) {
	err = s.writeFor(ctx, c.UserID, func(t *tx) error {
		kept, jobs = c.Approval, nil
		// The user's row is taken first, so that two nodes cannot both find room below a limit.
		var lastApproved, stopped int64
		err := t.queryRow(ctx, `SELECT approved_at, stopped_until FROM users WHERE id = $1 AND app_id = $2 AND removed_at = 0 FOR NO KEY UPDATE`,
			c.UserID, c.AppID).Scan(&lastApproved, &stopped)
		if err != nil {
			return missing(err, tenant.ErrUser)
		}
		if c.IdempotencyHash != "" {
			first, err := t.firstOf(ctx, c)
			if err != nil || first != nil {
				if first != nil {
					kept = *first
				}
				return err
			}
		}
		if left := fromMS(stopped).Sub(c.Now); left > 0 {
			return approval.ErrReported.After(left)
		}
		subscribed, err := t.mayAsk(ctx, c, fromMS(lastApproved))
		if err != nil {
			return err
		}
		logos, err := json.Marshal(c.Logos)
		if err != nil {
			return err
		}
		if err := t.later(ctx, `INSERT INTO approvals (uuid, id, app_id, user_id, status, app_name, message, details, hidden, logos, logo,
			match_mode, match_value, nonce, life, created_at, expires_at, updated_at, idempotency_hash, request_hash,
			context_address, context_browser, context_origin, trace)
			VALUES ($1, $2, $3, $4, 'pending', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $15, $17, $18, $19, $20, $21, $22)`,
			c.UUID, c.ID, c.AppID, c.UserID, c.Content.Application, c.Content.Message, fieldsToJSON(c.Content.Details), fieldsToJSON(c.Hidden),
			string(logos), c.Content.Logo, string(c.Match.Mode), c.Match.Value, c.Nonce, c.Life, ms(c.CreatedAt), ms(c.ExpiresAt),
			nullText(c.IdempotencyHash), c.RequestHash, c.Content.Context.Address, c.Content.Context.Browser, c.Content.Context.Origin, c.Trace); err != nil {
			return fmt.Errorf("insert approval: %w", err)
		}
		if subscribed {
			if jobs, err = t.insertPushes(ctx, c.UserID, c.Push); err != nil {
				return err
			}
		}
		return t.record(ctx, rec)
	})
	return kept, jobs, err
}

func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// firstOf returns the approval that was made with the same Idempotency-Key, if there is one; a key older than its life is free again.
func (t *tx) firstOf(ctx context.Context, c approval.Creation) (*approval.Approval, error) {
	if _, err := t.exec(ctx, `UPDATE approvals SET idempotency_hash = NULL WHERE idempotency_hash = $1 AND created_at <= $2`,
		c.IdempotencyHash, ms(c.Now.Add(-approval.IdempotencyLife))); err != nil {
		return nil, err
	}
	first, err := scanAnswered(t.queryRow(ctx, `SELECT `+answerColumns+approvalColumns+approvalTables+answerTables+`WHERE p.idempotency_hash = $1`, c.IdempotencyHash))
	if err != nil {
		return nil, missing(err, nil)
	}
	if first.requestHash != c.RequestHash {
		return nil, approval.ErrReused
	}
	return &first.Approval, nil
}

// mayAsk asks for a device and for room below the application's limits, and reports whether a device of the user has a push subscription. It
// is one statement, after the user's row was taken: what others did who held it is seen.
func (t *tx) mayAsk(ctx context.Context, c approval.Creation, lastApproved time.Time) (subscribed bool, err error) {
	type limit struct {
		window time.Duration
		max    int
		asked  int   // without an approval
		oldest int64 // of these
	}
	burst, hour := limit{window: 5 * time.Minute, max: c.Settings.UnapprovedBurst}, limit{window: time.Hour, max: c.Settings.UnapprovedHour}
	since := func(l limit) int64 { return max(ms(c.Now.Add(-l.window)), ms(lastApproved)) }
	var granted bool
	var waiting int
	if err := t.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM grants WHERE user_id = $1 AND removed_at = 0),
			EXISTS (SELECT 1 FROM grants g JOIN push_subscriptions s ON s.device_id = g.device_id WHERE g.user_id = $1 AND g.removed_at = 0),
			(SELECT COUNT(*) FROM approvals w WHERE w.user_id = $1 AND w.processed_at = 0 AND (w.expires_at = 0 OR w.expires_at > $2)),
			COUNT(CASE WHEN created_at > $3 THEN 1 END), COALESCE(MIN(CASE WHEN created_at > $3 THEN created_at END), 0),
			COUNT(*), COALESCE(MIN(created_at), 0)
		FROM approvals WHERE user_id = $1 AND created_at > $4 AND status <> 'approved'`, c.UserID, ms(c.Now), since(burst), since(hour)).
		Scan(&granted, &subscribed, &waiting, &burst.asked, &burst.oldest, &hour.asked, &hour.oldest); err != nil {
		return false, err
	}
	switch {
	case !granted:
		return false, approval.ErrNoDevice
	case waiting >= c.Settings.WaitingMax:
		return false, approval.ErrWaiting.After(10 * time.Second)
	}
	for _, l := range []limit{burst, hour} {
		if l.max > 0 && l.asked >= l.max {
			return false, approval.ErrFlood.After(fromMS(l.oldest).Add(l.window).Sub(c.Now))
		}
	}
	if c.Settings.UnapprovedWaits {
		err = t.waited(ctx, c, lastApproved, waiting)
	}
	return subscribed, err
}

// waited asks whether the person has had peace for long enough after the requests that they denied or let expire since they last approved one.
func (t *tx) waited(ctx context.Context, c approval.Creation, lastApproved time.Time, waiting int) error {
	since := c.Now.Add(-24 * time.Hour)
	if lastApproved.After(since) {
		since = lastApproved
	}
	var n int
	var last int64
	if err := t.queryRow(ctx, `SELECT COUNT(*), COALESCE(MAX(CASE WHEN processed_at > 0 THEN processed_at ELSE expires_at END), 0) FROM approvals
		WHERE user_id = $1 AND created_at > $2 AND (status IN ('denied', 'expired') OR (status = 'pending' AND expires_at > 0 AND expires_at <= $3))`,
		c.UserID, ms(since), ms(c.Now)).Scan(&n, &last); err != nil {
		return err
	}
	if n == 0 {
		return nil
	}
	if waiting > 0 { // one at a time, until the person approves one
		return approval.ErrWaiting.After(10 * time.Second)
	}
	wait := approval.Waits[min(n, len(approval.Waits))-1]
	if left := fromMS(last).Add(wait).Sub(c.Now); left > 0 {
		return approval.ErrPause.After(left)
	}
	return nil
}

// Whose row it is, is only compared where its uuid is known. PostgreSQL would as soon look for the row among all of an application or a user, where its
// statistics know of few; by || '' no index finds it.

// Approval returns an approval of the application, or approval.ErrUnknown.
func (s *Store) Approval(ctx context.Context, appID, uuid string) (approval.Approval, error) {
	p, err := scanAnswered(s.queryRow(ctx, `SELECT `+answerColumns+approvalColumns+approvalTables+answerTables+`WHERE p.uuid = $1 AND p.app_id || '' = $2`, uuid, appID))
	return p.Approval, missing(err, approval.ErrUnknown)
}

// Standing returns what approval.At needs of an approval of the application, or approval.ErrUnknown.
func (s *Store) Standing(ctx context.Context, appID, uuid string) (a approval.Approval, err error) {
	var expires int64
	err = s.queryRow(ctx, `SELECT status, expires_at FROM approvals WHERE uuid = $1 AND app_id || '' = $2`, uuid, appID).Scan(&a.Status, &expires)
	a.ExpiresAt = fromMS(expires)
	return a, missing(err, approval.ErrUnknown)
}

// Decide makes a pending approval final, and inserts its callback job in the same transaction.
func (s *Store) Decide(ctx context.Context, d approval.Decision, cb job.Job, rec audit.Record) (ended []string, jobs []job.Job, err error) {
	err = s.writeFor(ctx, d.UserID, func(t *tx) error {
		ended, jobs = nil, nil
		// The user's row is taken first: who removes a grant or the user holds it too, and comes before or after as a whole.
		if err := t.lock(ctx, `SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE`, d.UserID); err != nil {
			return err
		}
		n, err := t.exec(ctx, `UPDATE approvals SET status = $1, processed_at = $2, updated_at = $2, reason = $3, grant_id = $4, signed = $5, signature = $6
			WHERE uuid = $7 AND user_id || '' = $9 AND status = 'pending' AND (expires_at = 0 OR expires_at > $2)
			AND EXISTS (SELECT 1 FROM users u WHERE u.id = approvals.user_id AND u.removed_at = 0)
			AND EXISTS (SELECT 1 FROM grants g WHERE g.id = $4 AND g.user_id = approvals.user_id AND g.device_id = $8 AND g.removed_at = 0)`,
			string(d.Status), ms(d.Now), d.Reason, d.GrantID, d.Signed, d.Signature, d.UUID, d.DeviceID, d.UserID)
		if err != nil {
			return fmt.Errorf("decide: %w", err)
		}
		if n == 0 {
			return approval.ErrNotPending
		}
		if d.Status == approval.Approved {
			if err := t.later(ctx, `UPDATE users SET approved_at = $1 WHERE id = $2 AND approved_at < $1`, ms(d.Now), d.UserID); err != nil {
				return fmt.Errorf("note the approval: %w", err)
			}
		}
		if d.Reason == approval.NotMe {
			if ended, err = t.stop(ctx, d, rec); err != nil {
				return err
			}
		}
		if jobs, err = t.insertCallback(ctx, cb); err != nil {
			return err
		}
		return t.record(ctx, rec)
	})
	return ended, jobs, err
}

// stop keeps that the person said "it was not me": nothing is asked of them for a while, and what else waits for them is withdrawn.
func (t *tx) stop(ctx context.Context, d approval.Decision, rec audit.Record) ([]string, error) {
	until := d.Now.Add(approval.StopFor)
	if _, err := t.exec(ctx, `UPDATE users SET stopped_until = $1, stopped_by = $2 WHERE id = $3`, ms(until), d.GrantID, d.UserID); err != nil {
		return nil, fmt.Errorf("stop requests: %w", err)
	}
	rows, err := t.query(ctx, `UPDATE approvals SET status = 'cancelled', processed_at = $1, updated_at = $1, reason = $2
		WHERE user_id = $3 AND processed_at = 0 RETURNING uuid`, ms(d.Now), approval.NotMe, d.UserID)
	ended, err := collect(rows, err, func(r scanner) (uuid string, err error) { return uuid, r.Scan(&uuid) })
	if err != nil {
		return nil, fmt.Errorf("withdraw what else waits: %w", err)
	}
	for _, uuid := range ended {
		if err := t.record(ctx, audit.New(d.Now, rec.AppID, "system", "approval.cancelled", "approval:"+uuid).Noting(approval.NotMe)); err != nil {
			return nil, err
		}
	}
	return ended, t.record(ctx, audit.New(d.Now, rec.AppID, rec.Actor, "approvals.stopped", "user:"+d.UserID).Noting("until "+until.UTC().Format("15:04:05 UTC")))
}

// reports returns who of the device's users said "it was not me" while that stops requests.
func (s *Store) reports(ctx context.Context, deviceID string, now time.Time) ([]approval.Report, error) {
	rows, err := s.query(ctx, `SELECT a.name, u.email, u.stopped_until, COALESCE(d.name, '') FROM grants g JOIN users u ON u.id = g.user_id JOIN applications a ON a.id = u.app_id
		LEFT JOIN grants b ON b.id = u.stopped_by LEFT JOIN devices d ON d.id = b.device_id
		WHERE g.device_id = $1 AND g.removed_at = 0 AND u.removed_at = 0 AND u.stopped_until > $2 ORDER BY u.stopped_until DESC, u.id`, deviceID, ms(now))
	return collect(rows, err, func(r scanner) (p approval.Report, err error) {
		var until int64
		err = r.Scan(&p.Application, &p.Account, &until, &p.Device)
		p.Until = fromMS(until)
		p.At = p.Until.Add(-approval.StopFor)
		return p, err
	})
}

// Cancel withdraws a pending approval.
func (s *Store) Cancel(ctx context.Context, appID, uuid string, now time.Time, rec audit.Record) (a approval.Approval, err error) {
	err = s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE approvals SET status = 'cancelled', processed_at = $1, updated_at = $1
			WHERE uuid = $2 AND app_id || '' = $3 AND status = 'pending' AND (expires_at = 0 OR expires_at > $1)`, ms(now), uuid, appID)
		if err != nil {
			return err
		}
		p, err := scanApproval(t.queryRow(ctx, `SELECT `+approvalColumns+approvalTables+`WHERE p.uuid = $1 AND p.app_id || '' = $2`, uuid, appID))
		switch {
		case err != nil:
			return missing(err, approval.ErrUnknown)
		case n == 0:
			return approval.ErrNotPending
		}
		a = p.Approval
		return t.record(ctx, rec)
	})
	return a, err
}

// Renotify counts a repeated notification of a pending approval and inserts its push jobs (T-10).
func (s *Store) Renotify(ctx context.Context, appID, uuid string, now time.Time, push approval.Push, rec audit.Record) (a approval.Approval, jobs []job.Job, err error) {
	err = s.write(ctx, func(t *tx) error {
		jobs = nil
		n, err := t.exec(ctx, `UPDATE approvals SET renotified = renotified + 1, renotified_at = $1
			WHERE uuid = $2 AND app_id || '' = $3 AND status = 'pending' AND (expires_at = 0 OR expires_at > $1)
			AND renotified < $4 AND renotified_at <= $5 AND created_at <= $5`,
			ms(now), uuid, appID, approval.RenotifyMax, ms(now.Add(-approval.RenotifyPause)))
		if err != nil {
			return err
		}
		var renotified, last int64
		p, err := scanApproval(prefixed{t.queryRow(ctx, `SELECT p.renotified, p.renotified_at, `+approvalColumns+approvalTables+`WHERE p.uuid = $1 AND p.app_id || '' = $2`,
			uuid, appID), []any{&renotified, &last}})
		if err != nil {
			return missing(err, approval.ErrUnknown)
		}
		a = p.Approval
		switch {
		case n > 0:
		case a.At(now).Status != approval.Pending:
			return approval.ErrNotPending
		case renotified >= approval.RenotifyMax:
			return approval.ErrRenotified.After(untilEnd(a, now))
		default:
			return approval.ErrRenotified.After(fromMS(max(last, ms(a.CreatedAt))).Add(approval.RenotifyPause).Sub(now))
		}
		if jobs, err = t.insertPushes(ctx, a.UserID, push); err != nil {
			return err
		}
		return t.record(ctx, rec)
	})
	return a, jobs, err
}

// untilEnd is when a request makes room for a new one; nobody waits for one that never ends.
func untilEnd(a approval.Approval, now time.Time) time.Duration {
	if a.ExpiresAt.IsZero() {
		return 24 * time.Hour
	}
	return a.ExpiresAt.Sub(now)
}

const forDevice = `JOIN grants g ON g.user_id = p.user_id AND g.device_id = $1 AND g.removed_at = 0 AND u.removed_at = 0 `

// ApprovalForDevice returns an approval that the device may see, without who answered it, and the grant that lets it.
func (s *Store) ApprovalForDevice(ctx context.Context, deviceID, uuid string) (approval.Approval, device.Grant, error) {
	var g device.Grant
	var created int64
	p, err := scanApproval(prefixed{s.queryRow(ctx, `SELECT g.id, a.name, g.method, g.digits, g.period, g.created_at, `+approvalColumns+approvalTables+forDevice+`WHERE p.uuid = $2`,
		deviceID, uuid), []any{&g.ID, &g.Application, &g.Method, &g.Digits, &g.Period, &created}})
	p.of(&g, created)
	return p.Approval, g, missing(err, approval.ErrUnknown)
}

// of tells a grant of the approval's user what the approval's row says.
func (p *approvalRow) of(g *device.Grant, created int64) {
	g.UserID, g.AuthyID, g.AppID, g.Account, g.CreatedAt = p.UserID, p.AuthyID, p.AppID, p.UserEmail, fromMS(created)
}

// Inbox returns what the device may answer now, newest first, and what else it shows. Where something waits, the same statement finds that
// nothing was reported, as nearly always.
func (s *Store) Inbox(ctx context.Context, deviceID string, now time.Time) (in approval.Inbox, err error) {
	reported := true
	rows, err := s.query(ctx, `SELECT EXISTS (SELECT 1 FROM push_subscriptions s WHERE s.device_id = $1 AND s.fetched_at < $2),
			EXISTS (SELECT 1 FROM grants own JOIN users r ON r.id = own.user_id WHERE own.device_id = $1 AND own.removed_at = 0 AND r.removed_at = 0 AND r.stopped_until > $2), `+
		approvalColumns+` FROM grants g JOIN users u ON u.id = g.user_id JOIN approvals p ON p.user_id = u.id JOIN applications a ON a.id = p.app_id
		WHERE g.device_id = $1 AND g.removed_at = 0 AND u.removed_at = 0 AND p.processed_at = 0 AND (p.expires_at = 0 OR p.expires_at > $2)
		ORDER BY p.created_at DESC, p.uuid LIMIT 100`, deviceID, ms(now))
	in.Waiting, err = collect(rows, err, func(r scanner) (approval.Approval, error) {
		p, err := scanApproval(prefixed{r, []any{&in.Unfetched, &reported}})
		return p.Approval, err
	})
	if err == nil && reported {
		in.Reports, err = s.reports(ctx, deviceID, now)
	}
	return in, err
}

// Expire writes into the rows what readers see already.
func (s *Store) Expire(ctx context.Context, now time.Time, limit int) (n int, err error) {
	var one int // most sweeps find nothing: ask without a write first
	const over = `processed_at = 0 AND expires_at > 0 AND expires_at <= $1`
	if err := s.queryRow(ctx, `SELECT 1 FROM approvals WHERE `+over+` LIMIT 1`, ms(now)).Scan(&one); err != nil {
		return 0, missing(err, nil)
	}
	err = s.write(ctx, func(t *tx) error {
		n = 0
		// What others hold is being decided, or marked by another node.
		rows, err := t.query(ctx, `WITH ended AS MATERIALIZED (SELECT uuid FROM approvals WHERE `+over+` ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)
			UPDATE approvals SET status = 'expired', processed_at = expires_at, updated_at = expires_at
			WHERE uuid IN (SELECT uuid FROM ended) AND status = 'pending'
			RETURNING app_id, uuid`, ms(now), limit)
		expired, err := collect(rows, err, func(r scanner) (e [2]string, err error) { return e, r.Scan(&e[0], &e[1]) })
		if err != nil {
			return err
		}
		for _, e := range expired {
			if err := t.record(ctx, audit.New(now, e[0], "system", "approval.expired", "approval:"+e[1])); err != nil {
				return err
			}
		}
		n = len(expired)
		return nil
	})
	return n, err
}
