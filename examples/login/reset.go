// This file owns the forgotten password: a link by mail, good for half an hour and once. It leads to the log-in, where the second factor is asked
// for as ever: who can read somebody's mail gets no further (D10).

package login

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	resetLife  = 30 * time.Minute
	resetPause = time.Minute // between two mails to one account
)

// forgotPage is the form that asks for the address, and the answer to it.
type forgotPage struct {
	Email string
	Sent  bool
}

func (a *App) showForgot(w http.ResponseWriter, r *http.Request) {
	a.render(w, r, http.StatusOK, "forgot", forgotPage{})
}

// forgot mails a link, if there is an account. The answer is the same if there is none (D19). Production: send the mail after the answer, so
// that the time it takes says nothing either.
func (a *App) forgot(w http.ResponseWriter, r *http.Request) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	u, err := a.users.byEmail(r.Context(), form.Get("email"))
	if err == nil {
		err = a.mailReset(r.Context(), u)
	}
	if err != nil && !errors.Is(err, errNotFound) && !errors.Is(err, errMoved) {
		a.fail(w, r, err)
		return
	}
	a.render(w, r, http.StatusOK, "forgot", forgotPage{Email: form.Get("email"), Sent: true})
}

func (a *App) mailReset(ctx context.Context, u user) error {
	token := rand.Text() // 128 bits; only its hash is kept
	if err := a.users.addReset(ctx, u.ID, resetHash(token), a.config.Clock()); err != nil {
		return err
	}
	a.send(ctx, u.Email, "A new password", "Choose a new password here, within half an hour:\n"+a.config.PublicURL+"/reset?token="+token+
		"\n\nAfterwards you log in with it, and with your second factor as ever. If you did not ask for this, do nothing.")
	return nil
}

func resetHash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// showReset shows the form. Whether the link is good is said when it is used.
func (a *App) showReset(w http.ResponseWriter, r *http.Request) {
	a.render(w, r, http.StatusOK, "password", passwordPage{Token: r.FormValue("token")})
}

// reset sets the new password, signs out everywhere, and trusts no browser any more. It signs nobody in.
func (a *App) reset(w http.ResponseWriter, r *http.Request) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	// The token is used up only with a password that will do.
	page := passwordPage{Token: form.Get("token"), Error: weakPassword(form.Get("password"), "")}
	if page.Error != "" {
		a.render(w, r, http.StatusUnprocessableEntity, "password", page)
		return
	}
	ctx := context.WithoutCancel(r.Context())
	id, err := a.users.useReset(ctx, resetHash(page.Token), a.config.Clock())
	if errors.Is(err, errNotFound) {
		a.problem(w, r, http.StatusGone, "This link has run out, or it was used before. Ask for a new one.", "")
		return
	}
	var u user
	if err == nil {
		u, err = a.users.byID(ctx, id)
	}
	if err == nil {
		err = a.setPassword(ctx, u, form.Get("password"))
	}
	if err == nil {
		err = errors.Join(a.guard.Reset(ctx, u.ID), a.tell(ctx, u, a.origin(r), "The password was reset by mail", "All browsers were signed out, and none is trusted any more."))
	}
	if err != nil {
		a.fail(w, r, err)
		return
	}
	a.waits.forget(u.Email)
	http.Redirect(w, r, "/login?notice=reset", http.StatusSeeOther)
}

// addReset notes a link, unless one was made a moment ago. Links that nobody can use any more go with it, so that the table does not grow.
func (s *users) addReset(ctx context.Context, userID, hash string, now time.Time) error {
	if _, err := s.db.ExecContext(ctx, `DELETE FROM resets WHERE created_at <= $1`, now.Add(-resetLife).Unix()); err != nil {
		return fmt.Errorf("remove old resets: %w", err)
	}
	result, err := s.db.ExecContext(ctx, `
		INSERT INTO resets (hash, user_id, created_at) SELECT $1, $2, $3
		WHERE NOT EXISTS (SELECT 1 FROM resets WHERE user_id = $2 AND created_at > $4)`, hash, userID, now.Unix(), now.Add(-resetPause).Unix())
	return oneRow(result, err, errMoved, "add reset")
}

// useReset uses a link up, once. It returns whose it is.
func (s *users) useReset(ctx context.Context, hash string, now time.Time) (userID string, err error) {
	err = s.db.QueryRowContext(ctx, `UPDATE resets SET used = 1 WHERE hash = $1 AND used = 0 AND created_at > $2 RETURNING user_id`,
		hash, now.Add(-resetLife).Unix()).Scan(&userID)
	if errors.Is(err, sql.ErrNoRows) {
		return "", errNotFound
	} else if err != nil {
		return "", fmt.Errorf("use reset: %w", err)
	}
	return userID, nil
}
