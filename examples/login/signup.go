// This file owns sign-up: an address is confirmed by a link in a mail, and whoever follows the link makes the account. Nobody is signed in by it, and
// nobody learns whether an address or a number has an account already.

package login

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"countersign.dev/client/receipt"
)

// addressPage is the form that asks for the address, and the answer to it.
type addressPage struct {
	Email string
	Wrong bool // it is no address
	Sent  bool
}

func (a *App) showSignup(w http.ResponseWriter, r *http.Request) {
	if a.signedIn(r) {
		http.Redirect(w, r, "/account", http.StatusSeeOther)
		return
	}
	a.render(w, r, http.StatusOK, "signup", addressPage{})
}

// signup mails a link to the address. If it has an account, its owner gets a note instead; the answer, and the work, are the same (SU3, D19).
// Production: send the mail after the answer, so that the time it takes says nothing either.
func (a *App) signup(w http.ResponseWriter, r *http.Request) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	email := strings.TrimSpace(form.Get("email"))
	if !soundEmail(email) {
		a.render(w, r, http.StatusUnprocessableEntity, "signup", addressPage{Email: email, Wrong: true})
		return
	}
	if err := a.mailSignup(r.Context(), email); err != nil && !errors.Is(err, errMoved) {
		a.fail(w, r, err)
		return
	}
	a.render(w, r, http.StatusOK, "signup", addressPage{Email: email, Sent: true})
}

func (a *App) mailSignup(ctx context.Context, email string) error {
	token, err := a.users.newLink(ctx, forSignup, email, a.config.Clock())
	if err != nil {
		return err
	}
	switch u, err := a.users.byEmail(ctx, email); {
	case errors.Is(err, errNotFound):
		a.send(ctx, email, "Open your account", "Go on here, within half an hour:\n"+a.config.PublicURL+"/signup/details?token="+token+
			"\n\nIf you did not ask for an account, do nothing. None will be opened.")
	case err != nil:
		return err
	default:
		a.send(ctx, u.Email, "You have an account already", "Somebody asked to open an account with your address. You have one already, so nothing was done.\n\n"+
			"If it was you, log in:\n"+a.config.PublicURL+"/login\nIf you forgot your password, choose a new one:\n"+a.config.PublicURL+"/forgot")
	}
	return nil
}

// signupForm is what was typed, without the password, and what is wrong with it.
type signupForm struct {
	Token, Email             string // of the link
	Name, CountryCode, Phone string
	Errors                   map[string]string // by field
	Countries                []country
}

// Chosen reports whether a country is the choice that was made.
func (f signupForm) Chosen(c country) bool { return f.CountryCode == c.Value }

// problem is one line of the summary, with the field it leads to.
type problem struct{ Field, Text string }

// Problems are the errors in the order of the form.
func (f signupForm) Problems() (list []problem) {
	for _, field := range []string{"name", "phone", "password"} {
		if text := f.Errors[field]; text != "" {
			list = append(list, problem{field, text})
		}
	}
	return list
}

// showDetails is where the link leads. Looking uses nothing up, because programs that read mail follow links too.
func (a *App) showDetails(w http.ResponseWriter, r *http.Request) {
	token := r.FormValue("token")
	if email, ok := a.signupEmail(w, r, token); ok {
		a.render(w, r, http.StatusOK, "details", signupForm{Token: token, Email: email, CountryCode: "1", Countries: countries()})
	}
}

// signupEmail is the address that a link confirms. If the link is not good any more it answers the request and returns false.
func (a *App) signupEmail(w http.ResponseWriter, r *http.Request, token string) (email string, ok bool) {
	email, err := a.users.linkEmail(r.Context(), forSignup, token, a.config.Clock())
	if err != nil {
		a.failLink(w, r, err)
	}
	return email, err == nil
}

// failLink answers who came by a link that does not work.
func (a *App) failLink(w http.ResponseWriter, r *http.Request, err error) {
	if !errors.Is(err, errNotFound) {
		a.fail(w, r, err)
		return
	}
	a.problem(w, r, http.StatusGone, "This link has run out, or it was used before. Ask for a new one.", "")
}

// readSignup reads and checks the form. The account it returns has neither address nor password yet; ok means that nothing is wrong.
func readSignup(form url.Values, email string) (u user, password string, answer signupForm, ok bool) {
	answer = signupForm{
		Token: form.Get("token"), Email: email, Name: receipt.CleanText(form.Get("name")),
		CountryCode: form.Get("country_code"), Phone: strings.TrimSpace(form.Get("phone")),
		Errors: map[string]string{}, Countries: countries(),
	}
	password = form.Get("password")
	if answer.Name == "" {
		answer.Errors["name"] = "Tell us your name."
	} else if utf8.RuneCountInString(answer.Name) > 100 {
		answer.Errors["name"] = "Use at most 100 characters."
	}
	code, phone, sound := readPhone(answer.CountryCode, answer.Phone)
	if !sound {
		answer.Errors["phone"] = "Enter a phone number with its country."
	}
	if problem := weakPassword(password, email); problem != "" {
		answer.Errors["password"] = problem
	}
	u = user{ID: rand.Text(), Name: answer.Name, CountryCode: code, Phone: phone, Stamp: 1}
	return u, password, answer, len(answer.Errors) == 0
}

// soundEmail reports whether a text is one bare address, without anything that a mail header could trip over.
func soundEmail(text string) bool {
	address, err := mail.ParseAddress(text)
	return err == nil && address.Address == text && len(text) <= 254 && !strings.ContainsAny(text, "\r\n")
}

// openAccount makes the account, uses the link up, and goes on to the second factor. A form with mistakes leaves the link as it was.
func (a *App) openAccount(w http.ResponseWriter, r *http.Request) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	token := form.Get("token")
	email, ok := a.signupEmail(w, r, token)
	if !ok {
		return
	}
	u, password, answer, ok := readSignup(form, email)
	if !ok {
		a.render(w, r, http.StatusUnprocessableEntity, "details", answer)
		return
	}
	var err error
	if u.Password, err = a.hashing.hash(r.Context(), password); err == nil {
		u.Email, err = a.users.add(r.Context(), u, token, a.config.Clock())
	}
	switch {
	case errors.Is(err, errTaken):
		a.problem(w, r, http.StatusConflict, "You have an account with this address by now. Log in.", "")
	case err != nil:
		a.failLink(w, r, err)
	default:
		a.startEnrolment(w, r, u, "/account")
	}
}

// add makes an account for the address of a link, and uses the link up in the same transaction. It returns the address, or errNotFound when the link is
// not good any more, or errTaken.
func (s *users) add(ctx context.Context, u user, token string, now time.Time) (email string, err error) {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return "", err
	}
	defer tx.Rollback() // of no effect after the commit
	email, err = useLink(ctx, tx, forSignup, token, now)
	if err != nil {
		return "", err
	}
	result, err := tx.ExecContext(ctx, `
		INSERT INTO users (id, name, email, email_folded, password, country_code, phone, created_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (email_folded) DO NOTHING`,
		u.ID, u.Name, email, fold(email), u.Password, u.CountryCode, u.Phone, now.Unix())
	if err := oneRow(result, err, errTaken, "add user"); err != nil {
		return "", err
	}
	return email, tx.Commit()
}
