// This file owns the transfer: an act that moves money only when exactly its values were approved on the person's device.

package login

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"countersign.dev/client"
	"countersign.dev/client/receipt"
	"countersign.dev/secondfactor"
)

// currencies of the bank.
var currencies = []string{"Galleons", "Sickles", "Knuts"}

// transferForm is what was typed, and what is wrong with it.
type transferForm struct {
	Payee, Amount, Currency string
	Currencies              []string
	Errors                  map[string]string
}

func defaultTransfer() transferForm {
	return transferForm{Payee: "Jarod's vault", Amount: "1,000,000", Currency: "Galleons", Currencies: currencies}
}

// moneyTransfer is one transfer.
type moneyTransfer struct {
	ID, Payee, Currency string
	Amount              int64
	Done                bool
	DoneAt              time.Time
}

// AmountText writes the amount as people read it: 1,000,000.
func (t moneyTransfer) AmountText() string {
	digits := strconv.FormatInt(t.Amount, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// act is what a person is asked to approve. It is built from the row, before the question and again before the money moves, so
// it covers the values that move and no others.
func (t moneyTransfer) act(logo string) secondfactor.Act {
	from, _ := strings.CutSuffix(t.Payee, "'s vault")
	return secondfactor.Act{
		Ref: t.ID, ReturnTo: "/transfers/" + t.ID, StartOver: "/account?transfer=" + t.ID,
		Ask: secondfactor.Ask{
			Message: "Request to send money to " + t.Payee,
			Details: []client.Field{
				{Name: "Request From", Value: from},
				{Name: "To", Value: t.Payee},
				{Name: "Amount Request", Value: t.AmountText()},
				{Name: "Currency", Value: t.Currency},
			},
			Hidden: []client.Field{{Name: "transfer", Value: t.ID}},
			Logo:   logo,
		},
	}
}

// readTransfer reads and checks the form.
func readTransfer(form url.Values) (t moneyTransfer, answer transferForm, ok bool) {
	answer = transferForm{
		Payee: strings.TrimSpace(form.Get("payee")), Amount: strings.TrimSpace(form.Get("amount")), Currency: form.Get("currency"),
		Currencies: currencies, Errors: map[string]string{},
	}
	// What a device would clean away must not be in it: the person has to see what is sent.
	if answer.Payee == "" || answer.Payee != receipt.CleanText(answer.Payee) || !utf8.ValidString(answer.Payee) {
		answer.Errors["payee"] = "Say who gets the money, in plain text."
	} else if utf8.RuneCountInString(answer.Payee) > 100 {
		answer.Errors["payee"] = "Use at most 100 characters."
	}
	amount, err := strconv.ParseInt(strings.NewReplacer(",", "", " ", "").Replace(answer.Amount), 10, 64)
	if err != nil || amount < 1 || amount > 1_000_000_000_000 {
		answer.Errors["amount"] = "Enter a whole number between 1 and 1,000,000,000,000."
	}
	if !slices.Contains(currencies, answer.Currency) {
		answer.Errors["currency"] = "Choose a currency."
	}
	return moneyTransfer{ID: rand.Text(), Payee: answer.Payee, Amount: amount, Currency: answer.Currency}, answer, len(answer.Errors) == 0
}

// transfer notes what is wanted and asks for the approval. Nothing moves.
func (a *App) transfer(w http.ResponseWriter, r *http.Request, who secondfactor.SignedIn, u user) {
	form, ok := a.form(w, r)
	if !ok {
		return
	}
	t, answer, ok := readTransfer(form)
	if !ok {
		a.renderAccount(w, r, who, u, http.StatusUnprocessableEntity, answer)
		return
	}
	if err := a.users.addTransfer(r.Context(), u.ID, t, a.config.Clock()); err != nil {
		a.fail(w, r, err)
		return
	}
	a.guard.StepUp(w, r, who, person(u), t.act(a.logo()))
}

// carryOut moves the money: once, and only what was approved.
func (a *App) carryOut(ctx context.Context, done secondfactor.Completion) error {
	t, err := a.users.transfer(ctx, done.User, done.Ref)
	if err != nil {
		return err
	}
	if !done.Covers(t.act(a.logo())) {
		return fmt.Errorf("transfer %s is not what was approved", t.ID)
	}
	return a.users.doTransfer(ctx, done.User, t, done.Origin, a.config.Clock())
}

// logo is the address of the picture that stands beside a request on the device.
func (a *App) logo() string { return a.config.PublicURL + "/assets/logo.png" }

func (a *App) showTransfer(w http.ResponseWriter, r *http.Request, _ secondfactor.SignedIn, u user) {
	t, err := a.users.transfer(r.Context(), u.ID, r.PathValue("id"))
	switch {
	case errors.Is(err, errNotFound):
		a.notFound(w, r)
	case err != nil:
		a.fail(w, r, err)
	default:
		a.render(w, r, http.StatusOK, "transfer", t)
	}
}

func (s *users) addTransfer(ctx context.Context, userID string, t moneyTransfer, now time.Time) error {
	_, err := s.db.ExecContext(ctx, `INSERT INTO transfers (id, user_id, payee, amount, currency, created_at) VALUES ($1, $2, $3, $4, $5, $6)`,
		t.ID, userID, t.Payee, t.Amount, t.Currency, now.Unix())
	if err != nil {
		return fmt.Errorf("add transfer: %w", err)
	}
	return nil
}

// transfer reads a transfer of this user; others have none of that id.
func (s *users) transfer(ctx context.Context, userID, id string) (moneyTransfer, error) {
	t := moneyTransfer{ID: id}
	var doneAt sql.NullInt64
	err := s.db.QueryRowContext(ctx, `SELECT payee, amount, currency, done_at FROM transfers WHERE id = $1 AND user_id = $2`, id, userID).
		Scan(&t.Payee, &t.Amount, &t.Currency, &doneAt)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return moneyTransfer{}, errNotFound
	case err != nil:
		return moneyTransfer{}, fmt.Errorf("read transfer: %w", err)
	}
	t.Done, t.DoneAt = doneAt.Valid, time.Unix(doneAt.Int64, 0).UTC()
	return t, nil
}

// doTransfer does it if it was not done before, and writes it into the history, both or neither.
func (s *users) doTransfer(ctx context.Context, userID string, t moneyTransfer, from secondfactor.Origin, now time.Time) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("do transfer: %w", err)
	}
	defer tx.Rollback()
	result, err := tx.ExecContext(ctx, `UPDATE transfers SET done_at = $1 WHERE id = $2 AND done_at IS NULL`, now.Unix(), t.ID)
	if err := oneRow(result, err, errMoved, "do transfer"); err != nil {
		return err
	}
	what := "Sent " + t.AmountText() + " " + t.Currency + " to " + t.Payee
	if _, err := tx.ExecContext(ctx, `INSERT INTO events (user_id, at, what, origin) VALUES ($1, $2, $3, $4)`, userID, now.Unix(), what, place(from)); err != nil {
		return fmt.Errorf("do transfer: %w", err)
	}
	return tx.Commit()
}
