// This file owns sign-up: the form, its checks, and the new account. Nobody is signed in by it.

package login

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"unicode/utf8"

	"countersign.dev/client/receipt"
)

// signupForm is what was typed, without the password, and what is wrong with it.
type signupForm struct {
	Name, Email, CountryCode, Phone string
	Errors                          map[string]string // by field; "" is for the form as a whole
	Countries                       []country
}

// Chosen reports whether a country is the choice that was made.
func (f signupForm) Chosen(c country) bool { return f.CountryCode == c.Value }

// problem is one line of the summary, with the field it leads to.
type problem struct{ Field, Text string }

// Problems are the errors in the order of the form.
func (f signupForm) Problems() (list []problem) {
	for _, field := range []string{"name", "email", "phone", "password"} {
		if text := f.Errors[field]; text != "" {
			list = append(list, problem{field, text})
		}
	}
	return list
}

func (a *App) showSignup(w http.ResponseWriter, r *http.Request) {
	if a.signedIn(r) {
		http.Redirect(w, r, "/account", http.StatusSeeOther)
		return
	}
	a.render(w, r, http.StatusOK, "signup", signupForm{CountryCode: "1", Countries: countries()})
}

// readSignup reads and checks the form. The account it returns has no password yet; ok means that nothing is wrong.
func readSignup(form url.Values) (u user, password string, answer signupForm, ok bool) {
	answer = signupForm{
		Name: receipt.CleanText(form.Get("name")), Email: strings.TrimSpace(form.Get("email")),
		CountryCode: form.Get("country_code"), Phone: strings.TrimSpace(form.Get("phone")),
		Errors: map[string]string{},
	}
	password = form.Get("password")
	if answer.Name == "" {
		answer.Errors["name"] = "Tell us your name."
	} else if utf8.RuneCountInString(answer.Name) > 100 {
		answer.Errors["name"] = "Use at most 100 characters."
	}
	if !soundEmail(answer.Email) {
		answer.Errors["email"] = "Enter an e-mail address, like ana@example.com."
	}
	code, phone, sound := readPhone(answer.CountryCode, answer.Phone)
	if !sound {
		answer.Errors["phone"] = "Enter a phone number with its country."
	}
	if problem := weakPassword(password, answer.Email); problem != "" {
		answer.Errors["password"] = problem
	}
	u = user{ID: rand.Text(), Name: answer.Name, Email: answer.Email, CountryCode: code, Phone: phone, Stamp: 1}
	return u, password, answer, len(answer.Errors) == 0
}

// soundEmail reports whether a text is one bare address, without anything that a mail header could trip over.
func soundEmail(text string) bool {
	address, err := mail.ParseAddress(text)
	return err == nil && address.Address == text && len(text) <= 254 && !strings.ContainsAny(text, "\r\n")
}

// signup makes the account and goes on to the second factor. An address in use gets the same work and a sentence that
// says no more than that it did not work.
func (a *App) signup(w http.ResponseWriter, r *http.Request) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	u, password, answer, ok := readSignup(form)
	answer.Countries = countries()
	if !ok {
		a.render(w, r, http.StatusUnprocessableEntity, "signup", answer)
		return
	}
	var err error
	if u.Password, err = a.hashing.hash(r.Context(), password); err != nil {
		a.fail(w, r, err)
		return
	}
	switch err := a.users.add(r.Context(), u, a.config.Clock()); {
	case errors.Is(err, errTaken):
		a.send(r.Context(), u.Email, "Somebody signed up with your address", "You have an account already, so nothing was done. If it was you, log in.")
		answer.Errors[""] = "We could not open an account with these details. If you have one already, log in."
		a.render(w, r, http.StatusUnprocessableEntity, "signup", answer)
	case err != nil:
		a.fail(w, r, err)
	default:
		a.startEnrolment(w, r, u, "/account")
	}
}
