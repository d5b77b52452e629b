package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/tenant/operator"
)

// The service of operators has tests of its own, over the store; here is what each engine must do.

var operatorTests = []test{
	{"a set-up link makes one operator", testSetupLink},
	{"INV-1 a set-up link", testINV1SetupLink},
	{"an address belongs to one operator", testOperatorAddress},
	{"an invitation is for one address", testInvitation},
	{"INV-1 an operator is set up anew once, and signed out elsewhere", testResetOperator},
	{"the last operator stays", testRemoveOperator},
	{"INV-2 tries of an operator", testINV2Operator},
	{"INV-1 a step of an operator", testINV1OperatorStep},
	{"sessions of operators", testOperatorSessions},
	{"the operator of dev", testDevOperator},
}

func (f *fixture) account(id string) audit.Record {
	r := audit.New(f.now(), "", "test", "test.done", "test")
	r.AccountID = id
	return r
}

func (f *fixture) stored(email string) operator.Stored {
	return operator.Stored{
		Operator:    operator.Operator{ID: ident.New(f.now()), AccountID: f.Account.ID, Email: email, CreatedAt: f.now()},
		EmailFolded: email, PasswordHash: "hash", TOTP: []byte{1, 2}, TOTPStep: 5,
	}
}

func (f *fixture) session(op operator.Stored, hash string) operator.Session {
	return operator.Session{Hash: hash, Operator: op.Operator, CreatedAt: f.now(), SeenAt: f.now(), ProvedAt: f.now()}
}

// operator makes one by a set-up link.
func (f *fixture) operator(t *testing.T) operator.Stored {
	t.Helper()
	op := f.stored("olga@example.com")
	must(t, f.Store.KeepSetupLink(t.Context(), "link", f.Account.ID, f.now().Add(time.Hour), f.account(f.Account.ID)))
	must(t, f.Store.CreateOperator(t.Context(), "link", op, f.session(op, "first"), f.account(f.Account.ID)))
	return op
}

func testSetupLink(t *testing.T, f *fixture) {
	end := f.now().Add(time.Hour)
	keep := func(hash string) error {
		return f.Store.KeepSetupLink(t.Context(), hash, f.Account.ID, end, f.account(f.Account.ID))
	}
	must(t, keep("older"))
	must(t, keep("newer"))
	_, err := f.Store.SetupLink(t.Context(), "older", f.now())
	wantErr(t, "the older link", err, operator.ErrSetup)
	link, err := f.Store.SetupLink(t.Context(), "newer", end.Add(-time.Millisecond))
	must(t, err)
	same(t, "the link", link, operator.Link{Hash: "newer", AccountID: f.Account.ID, ExpiresAt: end})
	_, err = f.Store.SetupLink(t.Context(), "newer", end)
	wantErr(t, "a link exactly at its end", err, operator.ErrSetup)

	op := f.stored("olga@example.com")
	create := func(hash string, at time.Time) error {
		op.CreatedAt = at
		return f.Store.CreateOperator(t.Context(), hash, op, f.session(op, "s"), f.account(f.Account.ID))
	}
	wantErr(t, "no link", create("nothing", f.now()), operator.ErrSetup)
	wantErr(t, "an ended link", create("newer", end), operator.ErrSetup)
	foreign := op
	foreign.AccountID = f.otherAccount(t, "Far").AccountID
	wantErr(t, "another account's link (INV-11)",
		f.Store.CreateOperator(t.Context(), "newer", foreign, f.session(foreign, "s"), f.account(foreign.AccountID)), operator.ErrSetup)
	got, err := f.Store.OperatorByEmail(t.Context(), "olga@example.com")
	must(t, err)
	same(t, "an operator who is not there", got.ID, "")
	must(t, create("newer", end.Add(-time.Millisecond)))
	got, err = f.Store.OperatorByEmail(t.Context(), "olga@example.com")
	must(t, err)
	same(t, "the operator", fmt.Sprint(got), fmt.Sprint(op))
	wantErr(t, "a used link", create("newer", f.now()), operator.ErrSetup)
	wantErr(t, "one more link", keep("more"), operator.ErrSetUp)
}

func testINV1SetupLink(t *testing.T, f *fixture) {
	must(t, f.Store.KeepSetupLink(t.Context(), "link", f.Account.ID, f.now().Add(time.Hour), f.account(f.Account.ID)))
	errs := together(many, func(i int) error {
		op := f.stored(fmt.Sprintf("o%d@example.com", i))
		return f.Store.CreateOperator(context.Background(), "link", op, f.session(op, op.ID), f.account(f.Account.ID))
	})
	wantTally(t, errs, map[error]int{nil: 1, operator.ErrSetup: many - 1})
}

func testOperatorAddress(t *testing.T, f *fixture) {
	f.operator(t)
	far := f.otherAccount(t, "Far")
	must(t, f.Store.KeepSetupLink(t.Context(), "far", far.AccountID, f.now().Add(time.Hour), f.account(far.AccountID)))
	op := f.stored("olga@example.com")
	op.AccountID = far.AccountID
	before := f.state(t, "operators", "operator_sessions", "setup_links")
	wantErr(t, "an address that another operator has", f.Store.CreateOperator(t.Context(), "far", op, f.session(op, "s"), f.account(far.AccountID)), operator.ErrEmail)
	sameState(t, "after it", f.state(t, "operators", "operator_sessions", "setup_links"), before)
}

// invite keeps a link for an address; with an operator's id it sets that one up anew.
func (f *fixture) invite(hash, email, operatorID string) error {
	return f.Store.KeepInvitation(context.Background(), operator.Link{
		Hash: hash, AccountID: f.Account.ID, Email: email, OperatorID: operatorID, ExpiresAt: f.now().Add(time.Hour),
	}, f.now(), f.account(f.Account.ID))
}

func testInvitation(t *testing.T, f *fixture) {
	op := f.operator(t)
	wantErr(t, "an address that an operator has", f.invite("taken", op.EmailFolded, ""), operator.ErrExists)
	must(t, f.invite("older", "ben@example.com", ""))
	must(t, f.invite("newer", "ben@example.com", ""))
	must(t, f.invite("beside", "eve@example.com", ""))
	_, err := f.Store.SetupLink(t.Context(), "older", f.now())
	wantErr(t, "the older link for an address", err, operator.ErrSetup)
	link, err := f.Store.SetupLink(t.Context(), "newer", f.now())
	must(t, err)
	same(t, "the link", link, operator.Link{Hash: "newer", AccountID: f.Account.ID, Email: "ben@example.com", ExpiresAt: f.now().Add(time.Hour)})
	create := func(hash, email string) error {
		made := f.stored(email)
		return f.Store.CreateOperator(context.Background(), hash, made, f.session(made, made.ID), f.account(f.Account.ID))
	}
	wantErr(t, "another address", create("newer", "eve@example.com"), operator.ErrSetup)
	wantErr(t, "by a link to set somebody up anew", func() error {
		must(t, f.invite("anew", op.EmailFolded, op.ID))
		return create("anew", op.EmailFolded)
	}(), operator.ErrSetup)
	wantTally(t, together(many, func(int) error { return create("newer", "ben@example.com") }), map[error]int{nil: 1, operator.ErrSetup: many - 1})
	all, err := f.Store.Operators(t.Context(), f.Account.ID)
	must(t, err)
	same(t, "operators", len(all), 2)
	far := f.otherAccount(t, "Far")
	all, err = f.Store.Operators(t.Context(), far.AccountID)
	must(t, err)
	same(t, "operators of another account (INV-11)", len(all), 0)

	f.Clock.Advance(time.Hour)
	must(t, f.invite("later", "kim@example.com", ""))
	same(t, "links kept", len(must1(f.Rows(t.Context(), "setup_links"))), 1)
}

func testResetOperator(t *testing.T, f *fixture) {
	op := f.operator(t)
	wantErr(t, "an operator who is not there", f.invite("l", "nobody@example.com", "nobody"), operator.ErrOperator)
	wantErr(t, "another one's address", f.invite("l", "eve@example.com", op.ID), operator.ErrOperator)
	must(t, f.invite("anew", op.EmailFolded, op.ID))
	must1(f.Store.ReserveOperatorTry(t.Context(), op.ID, f.now()))
	fresh := op
	fresh.PasswordHash, fresh.TOTP, fresh.TOTPStep = "other", []byte{3}, 1 // another app's steps may be behind
	reset := func(hash string, op operator.Stored) error {
		return f.Store.ResetOperator(context.Background(), hash, op, f.session(op, ident.New(f.now())), f.account(f.Account.ID))
	}
	other := fresh
	other.ID = "other"
	before := f.state(t, "operators", "operator_sessions", "setup_links", "budgets")
	wantErr(t, "a link for somebody else", reset("anew", other), operator.ErrSetup)
	wantErr(t, "no link", reset("none", fresh), operator.ErrSetup)
	sameState(t, "after refusals", f.state(t, "operators", "operator_sessions", "setup_links", "budgets"), before)
	wantTally(t, together(many, func(int) error { return reset("anew", fresh) }), map[error]int{nil: 1, operator.ErrSetup: many - 1})
	got, err := f.Store.OperatorByEmail(t.Context(), op.EmailFolded)
	must(t, err)
	same(t, "the operator", fmt.Sprint(got), fmt.Sprint(fresh))
	_, err = f.Store.OperatorSession(t.Context(), "first", f.now().Add(-time.Minute), f.now().Add(-time.Minute), false)
	wantErr(t, "a session of before", err, operator.ErrSignedOut)
	same(t, "sessions", len(must1(f.Rows(t.Context(), "operator_sessions"))), 1)
	same(t, "waits", len(must1(f.Rows(t.Context(), "budgets WHERE subject LIKE 'operator:%' AND wrong > 0"))), 0)

	must(t, f.invite("late", op.EmailFolded, op.ID))
	f.Clock.Advance(time.Hour)
	wantErr(t, "a link at its end", reset("late", fresh), operator.ErrSetup)
}

func testRemoveOperator(t *testing.T, f *fixture) {
	op := f.operator(t)
	remove := func(account, id string) error {
		return f.Store.RemoveOperator(context.Background(), account, id, f.account(f.Account.ID))
	}
	before := f.state(t, "operators", "operator_sessions", "setup_links")
	wantErr(t, "the last", remove(f.Account.ID, op.ID), operator.ErrLast)
	wantErr(t, "nobody", remove(f.Account.ID, "nobody"), operator.ErrOperator)
	wantErr(t, "one of another account (INV-11)", remove(f.otherAccount(t, "Far").AccountID, op.ID), operator.ErrOperator)
	sameState(t, "after refusals", f.state(t, "operators", "operator_sessions", "setup_links"), before)
	ben := f.stored("ben@example.com")
	must(t, f.invite("ben", ben.EmailFolded, ""))
	must(t, f.Store.CreateOperator(t.Context(), "ben", ben, f.session(ben, "bens"), f.account(f.Account.ID)))
	must(t, f.invite("anew", op.EmailFolded, op.ID))
	must(t, f.invite("bens anew", ben.EmailFolded, ben.ID))
	errs := together(2, func(i int) error { return remove(f.Account.ID, []string{op.ID, ben.ID}[i]) }) // each removes the other
	wantTally(t, errs, map[error]int{nil: 1, operator.ErrLast: 1})
	same(t, "operators", len(must1(f.Rows(t.Context(), "operators"))), 1)
	same(t, "sessions", len(must1(f.Rows(t.Context(), "operator_sessions"))), 1)
	same(t, "links", len(must1(f.Rows(t.Context(), "setup_links WHERE operator_id <> ''"))), 1)
}

func testINV2Operator(t *testing.T, f *fixture) {
	op := f.operator(t)
	noTry := errors.New("no try left")
	reserve := func(id string, at time.Time) error {
		left, err := f.Store.ReserveOperatorTry(context.Background(), id, at)
		if err == nil && !left {
			err = noTry
		}
		return err
	}
	wantTally(t, together(more, func(int) error { return reserve(op.ID, f.now()) }), map[error]int{nil: otp.BudgetTries, noTry: more - otp.BudgetTries})
	wantErr(t, "a try for nobody", reserve("", f.now()), noTry)
	wantErr(t, "a millisecond before the wait is over", reserve(op.ID, f.now().Add(otp.BudgetWait-time.Millisecond)), noTry)
	wantErr(t, "when it is over", reserve(op.ID, f.now().Add(otp.BudgetWait)), nil)
	must(t, f.Store.OpenOperatorSession(t.Context(), f.session(op, "s"), 6, f.account(op.AccountID)))
	for range otp.BudgetTries {
		wantErr(t, "a try after signing in", reserve(op.ID, f.now().Add(otp.BudgetWait)), nil)
	}
	wantErr(t, "one too many", reserve(op.ID, f.now().Add(otp.BudgetWait)), noTry)

	rec := f.account(op.AccountID).Refused("no")
	before := len(must1(f.Rows(t.Context(), "audit")))
	must(t, f.Store.RefuseOperator(t.Context(), nil))
	must(t, f.Store.RefuseOperator(t.Context(), &rec))
	same(t, "refusals recorded", len(must1(f.Rows(t.Context(), "audit")))-before, 1)
}

func testINV1OperatorStep(t *testing.T, f *fixture) {
	op := f.operator(t)
	open := func(hash string, step int64) error {
		return f.Store.OpenOperatorSession(context.Background(), f.session(op, hash), step, f.account(op.AccountID))
	}
	wantErr(t, "the step of the set-up", open("set-up", 5), operator.ErrSignIn)
	wantTally(t, together(many, func(i int) error { return open(fmt.Sprint(i), 7) }), map[error]int{nil: 1, operator.ErrSignIn: many - 1})
	wantErr(t, "an older step", open("older", 6), operator.ErrSignIn)
	wantErr(t, "a newer step", open("newer", 8), nil)
	same(t, "refusals recorded", len(must1(f.Rows(t.Context(), "audit WHERE outcome = 'code-used'"))), many+1)
	same(t, "sessions", len(must1(f.Rows(t.Context(), "operator_sessions"))), 3)
}

func testOperatorSessions(t *testing.T, f *fixture) {
	op := f.operator(t)
	get := func(hash string, at time.Time) (operator.Session, error) {
		return f.Store.OperatorSession(t.Context(), hash, at.Add(-operator.SessionIdle), at.Add(-operator.SessionMax), false)
	}
	start := f.now()
	got, err := get("first", start.Add(operator.SessionIdle-time.Millisecond))
	must(t, err)
	same(t, "the session", fmt.Sprint(got), fmt.Sprint(f.session(op, "first")))
	_, err = get("first", start.Add(operator.SessionIdle))
	wantErr(t, "a session that was idle just too long", err, operator.ErrSignedOut)
	_, err = get("nothing", start)
	wantErr(t, "no session", err, operator.ErrSignedOut)

	must(t, f.Store.TouchOperatorSession(t.Context(), "first", start.Add(operator.SessionMax)))
	must(t, f.Store.TouchOperatorSession(t.Context(), "first", start)) // never back
	_, err = get("first", start.Add(operator.SessionMax-time.Millisecond))
	wantErr(t, "a session that is used", err, nil)
	_, err = get("first", start.Add(operator.SessionMax))
	wantErr(t, "a session that is just too old", err, operator.ErrSignedOut)

	before := len(must1(f.Rows(t.Context(), "audit")))
	must(t, f.Store.CloseOperatorSession(t.Context(), "first", f.account(op.AccountID)))
	must(t, f.Store.CloseOperatorSession(t.Context(), "first", f.account(op.AccountID)))
	same(t, "ends recorded", len(must1(f.Rows(t.Context(), "audit")))-before, 1)
	must(t, f.Store.TouchOperatorSession(t.Context(), "first", start.Add(time.Second)))
	_, err = get("first", start)
	wantErr(t, "a closed session, used once more", err, operator.ErrSignedOut)

	must(t, f.Store.OpenOperatorSession(t.Context(), f.session(op, "second"), 6, f.account(op.AccountID)))
	f.Clock.Advance(operator.SessionIdle)
	must(t, f.Store.OpenOperatorSession(t.Context(), f.session(op, "third"), 7, f.account(op.AccountID)))
	same(t, "sessions kept", len(must1(f.Rows(t.Context(), "operator_sessions"))), 1)
}

func testDevOperator(t *testing.T, f *fixture) {
	dev := f.stored(operator.DevEmail)
	dev.PasswordHash, dev.TOTP = "", []byte{}
	for i := range 2 { // made once, found again
		dev.ID = ident.New(f.now())
		must(t, f.Store.OpenDevSession(t.Context(), dev, f.session(dev, fmt.Sprint(i)), f.account(dev.AccountID)))
	}
	rows, err := f.Rows(t.Context(), "operators")
	must(t, err)
	same(t, "operators", len(rows), 1)
	for _, inDev := range []bool{true, false} {
		_, err := f.Store.OperatorSession(t.Context(), "1", f.now().Add(-time.Minute), f.now().Add(-time.Minute), inDev)
		want := operator.ErrSignedOut
		if inDev {
			wantErr(t, "a session of dev in dev", err, nil)
		} else {
			wantErr(t, "a session of dev elsewhere", err, want)
		}
	}
	// An operator of dev does not stand in the way of a real one.
	wantErr(t, "a set-up link beside the operator of dev",
		f.Store.KeepSetupLink(t.Context(), "l", f.Account.ID, f.now().Add(time.Hour), f.account(f.Account.ID)), nil)
	olga := f.stored("taken@example.com")
	must(t, f.Store.CreateOperator(t.Context(), "l", olga, f.session(olga, "r"), f.account(f.Account.ID)))
	olga.PasswordHash = ""
	wantErr(t, "the link of dev for an operator with a password",
		f.Store.OpenDevSession(t.Context(), olga, f.session(olga, "x"), f.account(f.Account.ID)), operator.ErrDevLink)
}
