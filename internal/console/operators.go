package console

import (
	"errors"
	"net/http"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/tenant/operator"
)

// This file owns the account's page: who is signed in, the operators, and what they did. Operators are invited, set up anew and removed by each
// other, after a fresh proof; every act is on the record that all of them read (T-53).

// account is the data of template "account".
type account struct {
	Session   operator.Session
	Operators []operator.Operator
	Link      setupLink // just made
	Email     string    // as typed, when it was refused
	Fail      string
	Removed   bool
	Rows      []entry
	Max       int
}

// setupLink is shown once: only its hash is kept.
type setupLink struct {
	URL, For string
	Anew     bool // for an operator who is there
}

func (c *console) accountPage(w http.ResponseWriter, r *http.Request, ses operator.Session) error {
	return c.renderAccount(w, r, http.StatusOK, ses, account{Removed: r.URL.Query().Has("removed")})
}

func (c *console) renderAccount(w http.ResponseWriter, r *http.Request, status int, ses operator.Session, p account) error {
	records, err := c.Lists.AccountAudit(r.Context(), ses.Operator.AccountID, listMax)
	if err != nil {
		return err
	}
	if p.Operators, err = c.Operators.Store.Operators(r.Context(), ses.Operator.AccountID); err != nil {
		return err
	}
	p.Session, p.Rows, p.Max = ses, entries(records, ses), listMax
	return c.render(w, status, "account", view{Title: "Account", Nav: "account", Operator: ses.Operator, Page: p})
}

// onOperator is an act on one operator's address, after a fresh proof of who asks. It answers when do has not, with the link that do made.
func (c *console) onOperator(act string, do func(r *http.Request, ses operator.Session, email string) (setupLink, error)) http.Handler {
	return c.signedIn(func(w http.ResponseWriter, r *http.Request, ses operator.Session) error {
		form, err := readForm(w, r, "email", "password", "code")
		if err != nil {
			return err
		}
		what := purpose{Act: act, For: form["email"], Path: r.URL.Path, Back: "/account"}
		if ok, err := c.proved(w, r, ses, form, what); !ok || err != nil {
			return err
		}
		link, err := do(r, ses, form["email"])
		if refused, ok := errors.AsType[*fault.Error](err); ok && refused.Kind != fault.Unavailable {
			return c.renderAccount(w, r, http.StatusUnprocessableEntity, ses, account{Email: form["email"], Fail: refused.Detail})
		}
		if err != nil {
			return err
		}
		if link.URL == "" {
			http.Redirect(w, r, "/account?removed", http.StatusSeeOther)
			return nil
		}
		return c.renderAccount(w, r, http.StatusOK, ses, account{Link: link})
	})
}

func (c *console) inviteOperator(r *http.Request, ses operator.Session, email string) (setupLink, error) {
	url, err := c.Operators.Invite(r.Context(), ses.Operator.AccountID, email, actor(ses))
	return setupLink{URL: url, For: email}, err
}

func (c *console) resetOperator(r *http.Request, ses operator.Session, email string) (setupLink, error) {
	url, err := c.Operators.Reset(r.Context(), ses.Operator.AccountID, email, actor(ses))
	return setupLink{URL: url, For: email, Anew: true}, err
}

func (c *console) removeOperator(r *http.Request, ses operator.Session, email string) (setupLink, error) {
	return setupLink{}, c.Operators.Remove(r.Context(), ses.Operator.AccountID, email, actor(ses))
}
