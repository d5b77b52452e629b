// This file owns the tables: users, their events and their transfers. The second step's tables are in the same SQLite file.

package login

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	_ "modernc.org/sqlite"

	"countersign.dev/secondfactor"
)

// No column says who is signed in or what was approved: that belongs to attempts and sessions. The address is unique in the form that
// comparisons use, so that two sign-ups at once cannot both win. protected is set by a proof only, never without an authy_id.
const schema = `
CREATE TABLE IF NOT EXISTS users (
	id           TEXT    PRIMARY KEY,
	name         TEXT    NOT NULL,
	email        TEXT    NOT NULL,
	email_folded TEXT    NOT NULL UNIQUE,
	password     TEXT    NOT NULL,
	country_code TEXT    NOT NULL,
	phone        TEXT    NOT NULL,
	authy_id     INTEGER NOT NULL DEFAULT 0,
	protected    INTEGER NOT NULL DEFAULT 0 CHECK (protected = 0 OR protected = 1 AND authy_id > 0),
	method       TEXT    NOT NULL DEFAULT '',
	codes_saved  INTEGER NOT NULL DEFAULT 0,  -- the recovery codes were shown and saved
	stamp        INTEGER NOT NULL DEFAULT 1,  -- counts changes of password and factor
	alarm_at     INTEGER NOT NULL DEFAULT 0,  -- "that was not me", until the password is changed
	new_country_code TEXT NOT NULL DEFAULT '', -- a number that is still to be proved
	new_phone    TEXT    NOT NULL DEFAULT '',
	new_authy_id INTEGER NOT NULL DEFAULT 0,
	created_at   INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS users_authy_id ON users (authy_id);
CREATE TABLE IF NOT EXISTS transfers (
	id         TEXT    PRIMARY KEY,
	user_id    TEXT    NOT NULL REFERENCES users (id),
	payee      TEXT    NOT NULL,
	amount     INTEGER NOT NULL CHECK (amount > 0),
	currency   TEXT    NOT NULL,
	created_at INTEGER NOT NULL,
	done_at    INTEGER
);
CREATE TABLE IF NOT EXISTS events (
	id      INTEGER PRIMARY KEY,
	user_id TEXT    NOT NULL REFERENCES users (id),
	at      INTEGER NOT NULL,
	what    TEXT    NOT NULL,
	origin  TEXT    NOT NULL
);
CREATE INDEX IF NOT EXISTS events_user ON events (user_id, id);
CREATE TABLE IF NOT EXISTS links (
	hash         TEXT    PRIMARY KEY,
	purpose      TEXT    NOT NULL,
	email        TEXT    NOT NULL,
	email_folded TEXT    NOT NULL,
	created_at   INTEGER NOT NULL,
	used         INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS links_email ON links (email_folded, purpose, created_at);
CREATE INDEX IF NOT EXISTS links_created ON links (created_at);
CREATE TABLE IF NOT EXISTS numbers (              -- a code was texted to it for an account, and came back or did not yet
	user_id      TEXT    PRIMARY KEY REFERENCES users (id),
	country_code TEXT    NOT NULL,
	phone        TEXT    NOT NULL,
	texted_at    INTEGER NOT NULL,
	proved       INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS restarts (user_id TEXT PRIMARY KEY REFERENCES users (id)); -- a lost factor is being replaced
`

var (
	errNotFound = errors.New("not found")
	errTaken    = errors.New("e-mail address in use")
	errMoved    = errors.New("changed meanwhile")
)

// users is the database.
type users struct{ db *sql.DB }

// user is one account.
type user struct {
	ID, Name, Email, Password string
	CountryCode, Phone        string              // calling code and national number, digits only
	TextedAt                  time.Time           // when a code was sent to this number to prove it, zero for never
	Proved                    bool                // the code came back: the number is theirs
	AuthyID                   int64               // 0 until the provider has registered the number
	Protected                 bool                // the second factor was proved once
	Method                    secondfactor.Method // that worked last
	CodesSaved                bool                // the recovery codes are saved: set-up is complete
	Stamp                     int64               // changes with the password and the factor
	AlarmAt                   int64               // when somebody else was at the door, 0 for never
}

// MaskedPhone shows the last two digits.
func (u user) MaskedPhone() string {
	hidden := max(len(u.Phone)-2, 0)
	return "+" + u.CountryCode + " " + strings.Repeat("•", hidden) + u.Phone[hidden:]
}

// ShownPhone is the whole number while it was only just typed, so that a slip is noticed, and masked once the account was protected with it.
func (u user) ShownPhone() string {
	if u.Protected || u.Stamp > 1 && u.Proved {
		return u.MaskedPhone()
	}
	return "+" + u.CountryCode + " " + u.Phone
}

// event is one line of an account's history.
type event struct {
	At           time.Time
	What, Origin string
}

func openUsers(path string) (*users, error) {
	// Made here, because SQLite would let everybody on the machine read it; its log gets the same mode.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("login: open %s: %w", path, err)
	}
	file.Close()
	// "file:" first, or the driver drops the options; a busy database is waited for; writers take their lock at once.
	source := "file:" + (&url.URL{Path: path}).EscapedPath() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"
	db, err := sql.Open("sqlite", source)
	if err != nil {
		return nil, fmt.Errorf("login: open %s: %w", path, err)
	}
	if _, err := db.Exec(schema); err != nil {
		db.Close()
		return nil, fmt.Errorf("login: create tables in %s: %w", path, err)
	}
	if _, err := db.Exec(proveProtected, ""); err != nil {
		db.Close()
		return nil, fmt.Errorf("login: note numbers in %s: %w", path, err)
	}
	return &users{db}, nil
}

// proveProtected notes that the number of a protected account was proved, for one account or for all: those of before numbers were kept apart have no
// row, and a number that was changed has that of the old one. Without it the number would be shown whole after a reset, to whoever has the password.
const proveProtected = `INSERT INTO numbers (user_id, country_code, phone, texted_at, proved)
	SELECT id, country_code, phone, 0, 1 FROM users WHERE protected = 1 AND $1 IN ('', id)
	ON CONFLICT (user_id) DO UPDATE SET country_code = excluded.country_code, phone = excluded.phone, proved = 1
	WHERE numbers.country_code <> excluded.country_code OR numbers.phone <> excluded.phone OR numbers.proved = 0`

// fold is the form in which addresses are compared: letter case and spaces around are no difference.
func fold(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// What was proved of another number than the account's counts for nothing.
const selectUser = `SELECT u.id, u.name, u.email, u.password, u.country_code, u.phone, u.authy_id, u.protected, u.method, u.codes_saved, u.stamp, u.alarm_at,
	coalesce(n.texted_at, 0), coalesce(n.proved, 0)
	FROM users u LEFT JOIN numbers n ON n.user_id = u.id AND n.country_code = u.country_code AND n.phone = u.phone WHERE `

func (s *users) one(ctx context.Context, where string, arg any) (user, error) {
	var u user
	var texted int64
	err := s.db.QueryRowContext(ctx, selectUser+where, arg).Scan(&u.ID, &u.Name, &u.Email, &u.Password, &u.CountryCode, &u.Phone, &u.AuthyID, &u.Protected,
		&u.Method, &u.CodesSaved, &u.Stamp, &u.AlarmAt, &texted, &u.Proved)
	if texted != 0 {
		u.TextedAt = time.Unix(texted, 0)
	}
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return user{}, errNotFound
	case err != nil:
		return user{}, fmt.Errorf("read user: %w", err)
	}
	return u, nil
}

func (s *users) byEmail(ctx context.Context, email string) (user, error) {
	return s.one(ctx, `u.email_folded = $1`, fold(email))
}

func (s *users) byID(ctx context.Context, id string) (user, error) {
	return s.one(ctx, `u.id = $1`, id)
}

// oneRow turns a conditional write that found nothing to do into an error of its own.
func oneRow(result sql.Result, err, none error, doing string) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	switch n, err := result.RowsAffected(); {
	case err != nil:
		return fmt.Errorf("%s: %w", doing, err)
	case n == 0:
		return none
	}
	return nil
}

// register notes the provider's id, and setPhone a corrected number. Neither can touch an account that is protected: a
// factor that was proved is only ever replaced by proving another.
func (s *users) register(ctx context.Context, id string, authyID int64) error {
	result, err := s.db.ExecContext(ctx, `UPDATE users SET authy_id = $1 WHERE id = $2 AND protected = 0`, authyID, id)
	return oneRow(result, err, errMoved, "register user")
}

func (s *users) setPhone(ctx context.Context, id, countryCode, phone string) error {
	result, err := s.db.ExecContext(ctx,
		`UPDATE users SET country_code = $1, phone = $2, authy_id = 0 WHERE id = $3 AND protected = 0`, countryCode, phone, id)
	return oneRow(result, err, errMoved, "set phone")
}

// shared reports whether another account has proved the same number: then its devices are the business of both.
func (s *users) shared(ctx context.Context, u user) (bool, error) {
	var n int
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM users WHERE authy_id = $1 AND id <> $2 AND protected = 1`, u.AuthyID, u.ID).Scan(&n); err != nil {
		return false, fmt.Errorf("count accounts: %w", err)
	}
	return n > 0, nil
}

// protect notes that the factor was proved with this provider id: from now on the password alone opens nothing, and no reset
// goes on that was cut off before.
func (s *users) protect(ctx context.Context, id string, authyID int64, method secondfactor.Method) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("protect user: %w", err)
	}
	defer tx.Rollback() // of no effect after the commit
	result, err := tx.ExecContext(ctx, `UPDATE users SET protected = 1, method = $1 WHERE id = $2 AND authy_id = $3`, string(method), id, authyID)
	if err := oneRow(result, err, errMoved, "protect user"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `DELETE FROM restarts WHERE user_id = $1`, id); err != nil {
		return fmt.Errorf("protect user: %w", err)
	}
	return tx.Commit()
}

// saveCodes notes that the recovery codes are saved, which completes the set-up.
func (s *users) saveCodes(ctx context.Context, id string) error {
	result, err := s.db.ExecContext(ctx, `UPDATE users SET codes_saved = 1 WHERE id = $1 AND protected = 1`, id)
	return oneRow(result, err, errMoved, "save recovery codes")
}

// unprotect forgets the factor. The next log-in sets up another.
func (s *users) unprotect(ctx context.Context, id string) error {
	result, err := s.db.ExecContext(ctx, `UPDATE users SET protected = 0, codes_saved = 0, authy_id = 0, method = '',
		new_phone = '', new_authy_id = 0, stamp = stamp + 1 WHERE id = $1`, id)
	return oneRow(result, err, errMoved, "unprotect user")
}

// wantPhone notes a number that is to be proved, and changePhone takes it once that is done. Until then the old one counts.
func (s *users) wantPhone(ctx context.Context, id, countryCode, phone string, authyID int64) error {
	result, err := s.db.ExecContext(ctx, `UPDATE users SET new_country_code = $1, new_phone = $2, new_authy_id = $3 WHERE id = $4 AND protected = 1`,
		countryCode, phone, authyID, id)
	return oneRow(result, err, errMoved, "note number")
}

func (s *users) changePhone(ctx context.Context, id string, authyID int64, method secondfactor.Method) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("change number: %w", err)
	}
	defer tx.Rollback() // of no effect after the commit
	result, err := tx.ExecContext(ctx, `UPDATE users SET country_code = new_country_code, phone = new_phone, authy_id = new_authy_id, method = $1,
		new_phone = '', new_authy_id = 0, stamp = stamp + 1 WHERE id = $2 AND new_authy_id = $3 AND protected = 1`, string(method), id, authyID)
	if err := oneRow(result, err, errMoved, "change number"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, proveProtected, id); err != nil {
		return fmt.Errorf("change number: %w", err)
	}
	return tx.Commit()
}

// factorChanged makes trusted browsers strangers.
func (s *users) factorChanged(ctx context.Context, id string) error {
	result, err := s.db.ExecContext(ctx, `UPDATE users SET stamp = stamp + 1 WHERE id = $1`, id)
	return oneRow(result, err, errMoved, "note change of factor")
}

// setPassword ends the alarm as well: whoever knew the old one knows nothing now. Links by mail that would set another one are void first.
func (s *users) setPassword(ctx context.Context, id, hash string) error {
	if _, err := s.db.ExecContext(ctx, `UPDATE links SET used = 1 WHERE email_folded = (SELECT email_folded FROM users WHERE id = $1)`, id); err != nil {
		return fmt.Errorf("void links: %w", err)
	}
	result, err := s.db.ExecContext(ctx, `UPDATE users SET password = $1, alarm_at = 0, stamp = stamp + 1 WHERE id = $2`, hash, id)
	return oneRow(result, err, errMoved, "set password")
}

func (s *users) setAlarm(ctx context.Context, id string, at int64) error {
	result, err := s.db.ExecContext(ctx, `UPDATE users SET alarm_at = $1 WHERE id = $2`, at, id)
	return oneRow(result, err, errMoved, "set alarm")
}

// signedIn notes by which method somebody logged in, to begin with it the next time. Only what can be asked for again is worth noting.
func (s *users) signedIn(ctx context.Context, id string, method secondfactor.Method) error {
	switch method {
	case secondfactor.Push, secondfactor.Code, secondfactor.SMS:
	default:
		return nil
	}
	if _, err := s.db.ExecContext(ctx, `UPDATE users SET method = $1 WHERE id = $2`, string(method), id); err != nil {
		return fmt.Errorf("note log-in: %w", err)
	}
	return nil
}

// record adds a line to the history. It holds no codes and no numbers.
func (s *users) record(ctx context.Context, id, what string, from secondfactor.Origin, now time.Time) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO events (user_id, at, what, origin) VALUES ($1, $2, $3, $4)`, id, now.Unix(), what, place(from))
	if err != nil {
		return fmt.Errorf("record event: %w", err)
	}
	return nil
}

// place says where something happened. Only what is known is said.
func place(from secondfactor.Origin) string {
	if from.Address == "" {
		return from.Browser
	}
	return from.Browser + ", " + from.Address
}

// events returns the last lines of the history, newest first.
func (s *users) events(ctx context.Context, id string, most int) (list []event, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT at, what, origin FROM events WHERE user_id = $1 ORDER BY id DESC LIMIT $2`, id, most)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e event
		var at int64
		if err := rows.Scan(&at, &e.What, &e.Origin); err != nil {
			return nil, fmt.Errorf("read events: %w", err)
		}
		e.At = time.Unix(at, 0).UTC()
		list = append(list, e)
	}
	return list, rows.Err()
}

func methodName(m secondfactor.Method) string {
	switch m {
	case secondfactor.Push:
		return "an approval on a device"
	case secondfactor.SMS:
		return "a text message"
	case secondfactor.Recovery:
		return "a recovery code"
	case secondfactor.Trusted:
		return "the password only, in a trusted browser"
	default:
		return "a code"
	}
}
