package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/device"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
)

// This file owns devices, their sessions and grants, and enrolment.

const deviceColumns = `d.id, d.name, d.platform, d.public_key, d.created_at, d.seen_at`

// returnedDevice is the same after an INSERT: SQLite knows no alias there, and PostgreSQL needs none.
const returnedDevice = `id, name, platform, public_key, created_at, seen_at`

type deviceTimes struct{ created, seen int64 }

func (dt *deviceTimes) into(d *device.Device) []any {
	return []any{&d.ID, &d.Name, &d.Platform, &d.PublicKey, &dt.created, &dt.seen}
}

func (dt *deviceTimes) set(d *device.Device) {
	d.CreatedAt, d.SeenAt = fromMS(dt.created), fromMS(dt.seen)
}

func scanDevice(r scanner) (d device.Device, err error) {
	var at deviceTimes
	err = r.Scan(at.into(&d)...)
	at.set(&d)
	return d, err
}

const grantColumns = `g.id, g.user_id, u.authy_id, g.app_id, a.name, u.email, g.method, g.digits, g.period, g.created_at, ` + deviceColumns

const (
	grantTables  = ` FROM grants g ` + grantParties
	grantParties = `JOIN devices d ON d.id = g.device_id JOIN users u ON u.id = g.user_id JOIN applications a ON a.id = g.app_id `
)

func scanGrant(r scanner) (g device.Grant, err error) {
	var created int64
	var at deviceTimes
	err = r.Scan(append([]any{&g.ID, &g.UserID, &g.AuthyID, &g.AppID, &g.Application, &g.Account, &g.Method, &g.Digits, &g.Period, &created},
		at.into(&g.Device)...)...)
	g.CreatedAt = fromMS(created)
	at.set(&g.Device)
	return g, err
}

// CreateTicket keeps a new ticket.
func (s *Store) CreateTicket(ctx context.Context, k device.StoredTicket, rec audit.Record) error {
	return s.writeFor(ctx, k.UserID, func(t *tx) error {
		if _, err := t.lockUser(ctx, k.UserID); err != nil { // whether it is there, the INSERT asks
			return err
		}
		if err := t.insertTicket(ctx, k); err != nil {
			return err
		}
		return t.record(ctx, rec)
	})
}

// insertTicket keeps a ticket for a user whose row is locked. Only the newest works: one that was shown to somebody else before is worth
// nothing once its owner asks (T-20).
func (t *tx) insertTicket(ctx context.Context, k device.StoredTicket) error {
	if _, err := t.exec(ctx, `UPDATE tickets SET used_at = $1 WHERE user_id = $2 AND app_id = $3 AND used_at = 0`,
		ms(k.CreatedAt), k.UserID, k.AppID); err != nil {
		return fmt.Errorf("end older tickets: %w", err)
	}
	n, err := t.exec(ctx, `INSERT INTO tickets (hash, app_id, user_id, created_at, expires_at)
		SELECT $1, app_id, id, $2, $3 FROM users WHERE id = $4 AND app_id = $5 AND removed_at = 0`,
		k.Hash, ms(k.CreatedAt), ms(k.ExpiresAt), k.UserID, k.AppID)
	if err != nil {
		return fmt.Errorf("insert ticket: %w", err)
	}
	if n == 0 { // removed meanwhile (INV-6)
		return tenant.ErrUser
	}
	return nil
}

// Ticket tells what a live ticket is for, or device.ErrTicket.
func (s *Store) Ticket(ctx context.Context, hash string, now time.Time) (i device.TicketInfo, err error) {
	var expires int64
	err = s.queryRow(ctx, `SELECT a.name, u.email, t.expires_at FROM tickets t JOIN users u ON u.id = t.user_id JOIN applications a ON a.id = t.app_id
		WHERE t.hash = $1 AND t.used_at = 0 AND t.expires_at > $2 AND u.removed_at = 0`, hash, ms(now)).Scan(&i.Application, &i.Account, &expires)
	i.ExpiresAt = fromMS(expires)
	return i, missing(err, device.ErrTicket)
}

// StartEnrollment keeps an enrolment, and the job that looks whether somebody has its number. Nothing here depends on that (INV-9).
func (s *Store) StartEnrollment(ctx context.Context, e device.StoredEnrollment, look job.Job, rec audit.Record) error {
	return s.writeFor(ctx, "phone:"+e.Phone, func(t *tx) error {
		if err := t.hold("enrolment of " + e.Phone); err != nil {
			return err
		}
		if err := t.mayEnroll(ctx, e); err != nil {
			return err
		}
		if _, err := t.exec(ctx, `UPDATE enrollments SET used_at = $1 WHERE phone = $2 AND account_id = $3 AND used_at = 0`,
			ms(e.CreatedAt), e.Phone, e.AccountID); err != nil { // only the newest code works
			return fmt.Errorf("end older enrollments: %w", err)
		}
		if _, err := t.exec(ctx, `INSERT INTO enrollments (id, account_id, phone, code_hash, tries_left, created_at, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, e.ID, e.AccountID, e.Phone, e.CodeHash, e.TriesLeft, ms(e.CreatedAt), ms(e.ExpiresAt)); err != nil {
			return fmt.Errorf("insert enrollment: %w", err)
		}
		if err := t.insertJob(ctx, look); err != nil {
			return err
		}
		return t.record(ctx, rec)
	})
}

// SendEnrollment ends an enrolment's job, and keeps the message in its place when its number may be sent the code.
func (s *Store) SendEnrollment(ctx context.Context, look job.Job, send sending.Send) (message []job.Job, err error) {
	err = s.writeFor(ctx, "account:"+send.AccountID, func(t *tx) error {
		message = nil
		n, err := t.exec(ctx, `DELETE FROM jobs WHERE id = $1 AND kind = $2`, look.ID, string(job.Enrollment))
		if err != nil {
			return fmt.Errorf("end enrollment job: %w", err)
		}
		if n == 0 { // somebody else has done it
			return nil
		}
		err = t.queryRow(ctx, `SELECT phone FROM enrollments WHERE id = $1 AND used_at = 0 AND expires_at > $2`, look.Ref, ms(send.At)).Scan(&send.To)
		if err != nil {
			return missing(err, nil) // a newer code took its place, or it is too late
		}
		users, err := t.usersOfPhone(ctx, send.AccountID, send.To)
		if err != nil {
			return err
		}
		may, err := t.maySendTo(ctx, users, send)
		if err != nil || !may {
			return err
		}
		m := look
		m.Kind, m.Ref, m.Attempts, m.RunAt = job.Message, send.Channel+" "+tenant.MaskAddress(send.To), 1, send.At.Add(job.Lease)
		message = []job.Job{m}
		return t.insertJob(ctx, m)
	})
	return message, err
}

// maySendTo asks whether one of the applications of these users may send a code to their number, and counts it there. The person is told
// nothing of a refusal, because nobody else could be refused (INV-9).
func (t *tx) maySendTo(ctx context.Context, users []phoneUser, s sending.Send) (bool, error) {
	for _, u := range users {
		s.AppID, s.AppName, s.Limits = u.appID, u.appName, u.settings.Sending
		refused, err := t.admit(ctx, s)
		if err != nil {
			return false, err
		}
		if refused == nil {
			return true, nil
		}
	}
	return false, nil
}

// mayEnroll asks whether the number may be sent one more code (T-30), known or not.
func (t *tx) mayEnroll(ctx context.Context, e device.StoredEnrollment) error {
	for _, limit := range []struct {
		max    int64
		window time.Duration
	}{{device.MaxCodes, device.CodesWindow}, {device.MaxCodesDay, 24 * time.Hour}} {
		var started, oldest int64
		err := t.queryRow(ctx, `SELECT COUNT(*), COALESCE(MIN(created_at), 0) FROM enrollments WHERE phone = $1 AND created_at > $2`,
			e.Phone, ms(e.CreatedAt.Add(-limit.window))).Scan(&started, &oldest)
		if err != nil {
			return err
		}
		if started >= limit.max {
			return device.ErrLimited.After(fromMS(oldest).Add(limit.window).Sub(e.CreatedAt))
		}
	}
	return nil
}

// phoneUser is a user of a number, with the code settings of its application.
type phoneUser struct {
	id, appID, appName string
	settings           tenant.Settings
}

func (t *tx) usersOfPhone(ctx context.Context, accountID, phone string) ([]phoneUser, error) {
	rows, err := t.query(ctx, `SELECT u.id, `+appColumns+` FROM users u JOIN applications a ON a.id = u.app_id
		WHERE u.phone = $1 AND u.removed_at = 0 AND a.account_id = $2 ORDER BY u.created_at, u.id`, phone, accountID)
	return collect(rows, err, func(r scanner) (p phoneUser, err error) {
		a, err := scanApp(prefixed{r, []any{&p.id}})
		p.appID, p.appName, p.settings = a.ID, a.Name, a.Settings
		return p, err
	})
}

// prefixed scans more columns in front of those that another scan function knows.
type prefixed struct {
	scanner
	first []any
}

func (p prefixed) Scan(dest ...any) error { return p.scanner.Scan(append(p.first, dest...)...) }

// EnrollByTicket spends a ticket and makes the device's grant for its user.
func (s *Store) EnrollByTicket(ctx context.Context, hash string, in device.Enrolling) (d device.Device, grants []device.Grant, err error) {
	err = s.write(ctx, func(t *tx) error {
		// The user's row is taken first, as who removes the user does.
		var user found
		if err := t.ask(ctx, user.look, `SELECT 1 FROM tickets t JOIN users u ON u.id = t.user_id WHERE t.hash = $1 FOR NO KEY UPDATE OF u`, hash); err != nil {
			return err
		}
		var userID, appID string
		err := t.queryRow(ctx, `UPDATE tickets SET used_at = $1 WHERE hash = $2 AND used_at = 0 AND expires_at > $1
			AND EXISTS (SELECT 1 FROM users u WHERE u.id = tickets.user_id AND u.removed_at = 0) RETURNING user_id, app_id`, ms(in.Now), hash).Scan(&userID, &appID)
		if err != nil {
			return missing(err, device.ErrTicket)
		}
		a, err := scanApp(t.queryRow(ctx, `SELECT `+appColumns+` FROM applications a WHERE a.id = $1`, appID))
		if err != nil {
			return fmt.Errorf("read the ticket's application: %w", err)
		}
		d, grants, err = t.enroll(ctx, []phoneUser{{id: userID, appID: appID, settings: a.Settings}}, in)
		return err
	})
	return d, grants, err
}

// EnrollByCode reserves a try, compares, and makes grants for the number's users who have no device yet.
func (s *Store) EnrollByCode(ctx context.Context, id string, right func(hash string) bool, in device.Enrolling) (d device.Device, grants []device.Grant, err error) {
	var answer error // what the caller is told; it does not undo the counting
	err = s.write(ctx, func(t *tx) error {
		answer = nil
		var accountID, phone, hash string
		err := t.queryRow(ctx, `UPDATE enrollments SET tries_left = tries_left - 1 WHERE id = $1 AND used_at = 0 AND tries_left > 0 AND expires_at > $2
			RETURNING account_id, phone, code_hash`, id, ms(in.Now)).Scan(&accountID, &phone, &hash)
		if err != nil {
			return missing(err, device.ErrCodeExpired)
		}
		// A new code gives no new guesses: they are counted for the number too, known or not (INV-4, INV-9).
		budget := "phone:" + accountID + ":" + phone
		locked, err := t.reserveTry(ctx, budget, in.Now)
		if err != nil {
			return err
		}
		if locked > 0 {
			answer = device.ErrLimited.After(locked)
			return nil
		}
		if err := t.noteTry(ctx, budget, in.Now); err != nil {
			return err
		}
		var wrong error
		matched := false
		answer = t.savepoint(func() error { // the try stays counted whatever follows (INV-3)
			if !right(hash) {
				wrong = device.ErrCodeWrong
				return t.record(ctx, audit.New(in.Now, "", in.Actor, "enrollment.confirmed", "enrollment").Refused(device.ErrCodeWrong.Code))
			}
			matched = true
			if err := t.typed(ctx, accountID, phone, in.Now); err != nil {
				return err
			}
			n, err := t.exec(ctx, `UPDATE enrollments SET used_at = $1 WHERE id = $2 AND used_at = 0`, ms(in.Now), id)
			if err != nil || n == 0 {
				return errors.Join(err, device.ErrCodeExpired)
			}
			users, err := t.withoutDevice(ctx, accountID, phone)
			if err != nil {
				return err
			}
			d, grants, err = t.enroll(ctx, users, in)
			return err
		})
		if answer == nil {
			answer = wrong
		}
		if matched {
			return t.resetBudget(ctx, budget)
		}
		return nil
	})
	if err == nil {
		err = answer
	}
	if err != nil {
		return device.Device{}, nil, err
	}
	return d, grants, nil
}

// withoutDevice returns the number's users who have no device; a number alone never adds a second one (T-20).
func (t *tx) withoutDevice(ctx context.Context, accountID, phone string) (free []phoneUser, err error) {
	users, err := t.usersOfPhone(ctx, accountID, phone)
	if err != nil {
		return nil, err
	}
	if len(users) == 0 {
		return nil, device.ErrNoUser
	}
	for _, u := range users {
		// So that two nodes cannot both find it without a device.
		if there, err := t.lockUser(ctx, u.id); err != nil {
			return nil, err
		} else if !there {
			continue // removed meanwhile
		}
		var one int
		err := t.queryRow(ctx, `SELECT 1 FROM grants WHERE user_id = $1 AND removed_at = 0 LIMIT 1`, u.id).Scan(&one)
		if err = missing(err, errNone); errors.Is(err, errNone) {
			free = append(free, u)
		} else if err != nil {
			return nil, err
		}
	}
	if len(free) == 0 {
		return nil, device.ErrSecondDevice
	}
	return free, nil
}

var errNone = errors.New("no row")

// enroll makes the device if its key is new, its session, and a grant for each user.
func (t *tx) enroll(ctx context.Context, users []phoneUser, in device.Enrolling) (d device.Device, grants []device.Grant, err error) {
	d, err = scanDevice(t.queryRow(ctx, `INSERT INTO devices (id, name, platform, public_key, created_at, seen_at) VALUES ($1, $2, $3, $4, $5, $5)
		ON CONFLICT (public_key) DO UPDATE SET seen_at = $5 RETURNING `+returnedDevice,
		ident.New(in.Now), in.Device.Name, in.Device.Platform, in.Device.PublicKey, ms(in.Now)))
	if err != nil {
		return d, nil, fmt.Errorf("insert device: %w", err)
	}
	if err := t.openSession(ctx, d.ID, in.Session, in.Spent); err != nil {
		return d, nil, err
	}
	for _, u := range users {
		g, err := t.grant(ctx, d, u, in)
		if err != nil {
			return d, nil, err
		}
		grants = append(grants, g)
	}
	return d, grants, nil
}

// grant makes one grant. A device that has one for the user already gets a new secret in its place.
func (t *tx) grant(ctx context.Context, d device.Device, u phoneUser, in device.Enrolling) (g device.Grant, err error) {
	var one int
	err = t.queryRow(ctx, `SELECT 1 FROM grants WHERE user_id = $1 AND removed_at = 0 LIMIT 1`, u.id).Scan(&one)
	beside := err == nil // the user is registered already
	if missing(err, nil) != nil {
		return g, err
	}
	if _, err := t.exec(ctx, `UPDATE grants SET removed_at = $1 WHERE user_id = $2 AND device_id = $3 AND removed_at = 0`, ms(in.Now), u.id, d.ID); err != nil {
		return g, fmt.Errorf("end the older grant: %w", err)
	}
	secret := in.Secret()
	for range 20 {
		n, err := t.exec(ctx, `INSERT INTO grants (id, device_id, user_id, app_id, secret, digits, period, method, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING`,
			secret.ID, d.ID, u.id, u.appID, secret.Sealed, u.settings.CodeDigits, int64(u.settings.CodePeriod), in.Method, ms(in.Now))
		if err != nil {
			return g, fmt.Errorf("insert grant: %w", err)
		}
		if n == 1 {
			break
		}
		secret = in.Secret() // the number was taken: draw again
	}
	g, err = scanGrant(t.queryRow(ctx, `SELECT `+grantColumns+grantTables+`WHERE g.id = $1 AND g.device_id = $2`, secret.ID, d.ID))
	if err != nil {
		return g, fmt.Errorf("read the new grant: %w", err)
	}
	g.Secret = secret.Secret
	if err := t.record(ctx, audit.New(in.Now, u.appID, in.Actor, "grant.created", "user:"+u.id).Noting(fmt.Sprintf("device %s by %s", d.ID, in.Method))); err != nil || beside {
		return g, err
	}
	return g, t.record(ctx, audit.New(in.Now, u.appID, in.Actor, "user.registered", "user:"+u.id))
}

func (t *tx) openSession(ctx context.Context, deviceID string, ses device.Session, spent device.Spent) error {
	n, err := t.exec(ctx, `INSERT INTO spent_challenges (public_key, challenge, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		spent.PublicKey, spent.Challenge, ms(spent.ExpiresAt))
	if err != nil {
		return fmt.Errorf("spend challenge: %w", err)
	}
	if n == 0 {
		return device.ErrNotSignedIn
	}
	if _, err := t.exec(ctx, `INSERT INTO device_sessions (hash, device_id, created_at, expires_at) VALUES ($1, $2, $3, $4)`,
		ses.Hash, deviceID, ms(ses.CreatedAt), ms(ses.ExpiresAt)); err != nil {
		return fmt.Errorf("insert session: %w", err)
	}
	return nil
}

// DeviceByID returns a device, or device.ErrNotSignedIn.
func (s *Store) DeviceByID(ctx context.Context, id string) (device.Device, error) {
	d, err := scanDevice(s.queryRow(ctx, `SELECT `+deviceColumns+` FROM devices d WHERE d.id = $1`, id))
	return d, missing(err, device.ErrNotSignedIn)
}

// OpenSession keeps a session and spends the challenge that proved the key.
func (s *Store) OpenSession(ctx context.Context, deviceID string, ses device.Session, spent device.Spent) error {
	return s.write(ctx, func(t *tx) error { return t.openSession(ctx, deviceID, ses, spent) })
}

// DeviceBySession returns the device of a live session, or device.ErrNotSignedIn.
func (s *Store) DeviceBySession(ctx context.Context, hash string, now time.Time) (device.Device, error) {
	d, err := scanDevice(s.queryRow(ctx, `SELECT `+deviceColumns+` FROM device_sessions s JOIN devices d ON d.id = s.device_id
		WHERE s.hash = $1 AND s.expires_at > $2`, hash, ms(now)))
	return d, missing(err, device.ErrNotSignedIn)
}

// CloseSession ends a session.
func (s *Store) CloseSession(ctx context.Context, hash string) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `DELETE FROM device_sessions WHERE hash = $1`, hash)
		return err
	})
}

// TouchDevice notes when the device was last seen.
func (s *Store) TouchDevice(ctx context.Context, id string, now time.Time) error {
	return s.write(ctx, func(t *tx) error {
		_, err := t.exec(ctx, `UPDATE devices SET seen_at = $1 WHERE id = $2 AND seen_at < $1`, ms(now), id)
		return err
	})
}

// Grants returns a device's own grants, oldest first.
func (s *Store) Grants(ctx context.Context, deviceID string) ([]device.Grant, error) {
	rows, err := s.query(ctx, `SELECT `+grantColumns+grantTables+`WHERE g.device_id = $1 AND g.removed_at = 0 ORDER BY g.created_at, g.id`, deviceID)
	return collect(rows, err, scanGrant)
}

// GrantsOfUser returns the grants of all devices of a user, oldest first.
func (s *Store) GrantsOfUser(ctx context.Context, userID string) ([]device.Grant, error) {
	rows, err := s.query(ctx, `SELECT `+grantColumns+grantTables+`WHERE g.user_id = $1 AND g.removed_at = 0 ORDER BY g.created_at, g.id`, userID)
	return collect(rows, err, scanGrant)
}

// besideDevice are the grants of all devices of the users that a device acts for; it has one of each.
const besideDevice = ` FROM grants own JOIN grants g ON g.user_id = own.user_id ` + grantParties + `WHERE own.device_id = $1 AND own.removed_at = 0 AND g.removed_at = 0 `

// GrantsBeside returns the grants of all devices of the users that this device acts for.
func (s *Store) GrantsBeside(ctx context.Context, deviceID string) ([]device.Grant, error) {
	rows, err := s.query(ctx, `SELECT `+grantColumns+besideDevice+`ORDER BY a.name, g.created_at, g.id`, deviceID)
	return collect(rows, err, scanGrant)
}

// RemoveGrant ends one of those grants.
func (s *Store) RemoveGrant(ctx context.Context, deviceID string, grantID int64, now time.Time, rec audit.Record) (g device.Grant, err error) {
	err = s.write(ctx, func(t *tx) error {
		g, err = scanGrant(t.queryRow(ctx, `SELECT `+grantColumns+besideDevice+`AND g.id = $2 FOR NO KEY UPDATE OF u`, deviceID, grantID))
		if err != nil {
			return missing(err, device.ErrGrant)
		}
		// Asked again, now that the user's row is held: two devices that remove each other are one too many.
		n, err := t.exec(ctx, `UPDATE grants SET removed_at = $3 WHERE id = $2 AND removed_at = 0 AND EXISTS (SELECT 1 FROM grants own
			WHERE own.device_id = $1 AND own.user_id = grants.user_id AND own.removed_at = 0)`, deviceID, grantID, ms(now))
		if err != nil {
			return err
		}
		if n == 0 {
			return device.ErrGrant
		}
		if err := t.unsubscribeLeft(ctx, g.Device.ID); err != nil {
			return err
		}
		rec.AppID = g.AppID
		return t.record(ctx, rec)
	})
	return g, err
}

// RemovedGrants returns the grants that a user had, last removed first.
func (s *Store) RemovedGrants(ctx context.Context, userID string, limit int) ([]device.Grant, error) {
	rows, err := s.query(ctx, `SELECT `+grantColumns+grantTables+`WHERE g.user_id = $1 AND g.removed_at > 0 ORDER BY g.removed_at DESC, g.id LIMIT $2`, userID, limit)
	return collect(rows, err, scanGrant)
}

// RemoveGrantOf ends a grant for a user of the application.
func (s *Store) RemoveGrantOf(ctx context.Context, appID string, grantID int64, now time.Time, rec audit.Record) (g device.Grant, err error) {
	err = s.write(ctx, func(t *tx) error {
		g, err = scanGrant(t.queryRow(ctx, `SELECT `+grantColumns+grantTables+`WHERE g.id = $1 AND g.app_id = $2 AND g.removed_at = 0 FOR NO KEY UPDATE OF u`, grantID, appID))
		if err != nil {
			return missing(err, device.ErrGrant)
		}
		n, err := t.exec(ctx, `UPDATE grants SET removed_at = $1 WHERE id = $2 AND app_id = $3 AND removed_at = 0`, ms(now), grantID, appID)
		if err != nil {
			return err
		}
		if n == 0 {
			return device.ErrGrant
		}
		if err := t.unsubscribeLeft(ctx, g.Device.ID); err != nil {
			return err
		}
		return t.record(ctx, rec)
	})
	return g, err
}
