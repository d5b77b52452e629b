package operator_test

import (
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant/operator"
)

const (
	email    = "Ana@Example.com"
	password = "correct horse battery"
)

// person is an operator with the app on the phone.
type person struct {
	*servertest.Server
	ops    *operator.Service
	secret []byte
}

func newOperators(s *servertest.Server) *operator.Service {
	return operator.New(operator.Config{Store: s.Store, Ring: s.Ring, Now: s.Clock.Now, AccountID: s.Account.ID, URL: "http://localhost:8303"})
}

// setUp returns someone who went through the set-up; the step of its code is spent.
func setUp(t *testing.T) *person {
	t.Helper()
	p := &person{Server: servertest.New(t)}
	p.ops = newOperators(p.Server)
	draft := p.begin(t, p.link(t))
	p.secret = decode(t, draft.Secret)
	if _, err := p.ops.Finish(t.Context(), draft.Sealed, p.code()); err != nil {
		t.Fatal(err)
	}
	p.Clock.Advance(time.Minute)
	return p
}

func (p *person) link(t *testing.T) (token string) {
	t.Helper()
	link, err := p.ops.SetupLink(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ = strings.Cut(link, "#")
	return token
}

func (p *person) begin(t *testing.T, link string) operator.Draft {
	t.Helper()
	draft, err := p.ops.Begin(t.Context(), link, email, password)
	if err != nil {
		t.Fatal(err)
	}
	return draft
}

func (p *person) code() string {
	return otp.HOTP(p.secret, uint64(otp.Step(p.Clock.Now(), 30*time.Second)), 6)
}

func decode(t *testing.T, secret string) []byte {
	t.Helper()
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func want(t *testing.T, what string, err, as error) {
	t.Helper()
	if !errors.Is(err, as) {
		t.Errorf("%s: got %v, want %v", what, err, as)
	}
}

func TestSignInTakesBothFactors(t *testing.T) {
	p := setUp(t)
	for _, c := range []struct{ what, email, password, code string }{
		{"wrong password", email, "wrong horse battery", p.code()},
		{"wrong code", email, password, "000000"},
		{"no code", email, password, ""},
		{"unknown e-mail", "bob@example.com", password, p.code()},
		{"no e-mail", "", password, p.code()},
	} {
		_, err := p.ops.SignIn(t.Context(), c.email, c.password, c.code)
		want(t, c.what, err, operator.ErrSignIn)
	}
	token, err := p.ops.SignIn(t.Context(), "  ana@EXAMPLE.com ", password, p.code()[:3]+" "+p.code()[3:])
	if err != nil {
		t.Fatal("right in every way but letter case and spaces:", err)
	}
	ses, err := p.ops.Session(t.Context(), token, true)
	if err != nil || ses.Operator.Email != email || ses.Operator.AccountID != p.Account.ID || !ses.Fresh(p.Clock.Now()) {
		t.Errorf("session %+v, %v", ses, err)
	}
	if strings.Contains(ses.Hash, token) {
		t.Error("the session is kept with its value")
	}
}

// INV-1: a step is accepted once, and none before it, also when many come at once.
func TestCodeOfOperatorIsUsedOnce(t *testing.T) {
	p := setUp(t)
	code := p.code()
	var wg sync.WaitGroup
	var mu sync.Mutex
	opened := 0
	for range 4 { // fewer than the budget
		wg.Go(func() {
			if _, err := p.ops.SignIn(t.Context(), email, password, code); err == nil {
				mu.Lock()
				opened++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if opened != 1 {
		t.Errorf("one code opened %d sessions", opened)
	}
	p.Clock.Advance(30 * time.Second)
	_, err := p.ops.SignIn(t.Context(), email, password, code)
	want(t, "the code again in the next step", err, operator.ErrSignIn)
	if _, err := p.ops.SignIn(t.Context(), email, password, p.code()); err != nil {
		t.Error("a new code:", err)
	}
}

// INV-2, INV-4: five wrong tries lock the operator, in words that do not say so, and only for a time.
func TestBudgetOfOperator(t *testing.T) {
	p := setUp(t)
	for range otp.BudgetTries {
		_, err := p.ops.SignIn(t.Context(), email, password, "000000")
		want(t, "wrong code", err, operator.ErrSignIn)
	}
	_, err := p.ops.SignIn(t.Context(), email, password, p.code())
	want(t, "right, but the budget is spent", err, operator.ErrSignIn)
	p.Clock.Advance(otp.BudgetWait)
	if _, err := p.ops.SignIn(t.Context(), email, password, p.code()); err != nil {
		t.Error("after the wait:", err)
	}
	records, err := p.Store.AccountAudit(t.Context(), p.Account.ID, 50)
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, r := range records {
		if r.Action == "operator.signed_in" && r.Outcome == operator.ErrSignIn.Code {
			refused++
		}
	}
	if refused != otp.BudgetTries {
		t.Errorf("%d refusals recorded, want %d: each counted one, and none of a locked operator", refused, otp.BudgetTries)
	}
}

func TestSessionEnds(t *testing.T) {
	p := setUp(t)
	open := func() string {
		t.Helper()
		p.Clock.Advance(30 * time.Second)
		token, err := p.ops.SignIn(t.Context(), email, password, p.code())
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	alive := func(token string, active bool) error {
		_, err := p.ops.Session(t.Context(), token, active)
		return err
	}

	idle := open()
	p.Clock.Advance(operator.SessionIdle - time.Second)
	if err := alive(idle, false); err != nil {
		t.Error("just before the idle limit:", err)
	}
	p.Clock.Advance(2 * time.Second)
	want(t, "idle too long; a page that refreshes itself is not use", alive(idle, true), operator.ErrSignedOut)

	used := open()
	for range int(operator.SessionMax/(10*time.Minute)) - 1 {
		p.Clock.Advance(10 * time.Minute)
		if err := alive(used, true); err != nil {
			t.Fatal("in use:", err)
		}
	}
	p.Clock.Advance(10 * time.Minute)
	want(t, "used, but older than the most", alive(used, true), operator.ErrSignedOut)

	left := open()
	ses, err := p.ops.Session(t.Context(), left, true)
	if err != nil {
		t.Fatal(err)
	}
	p.Clock.Advance(operator.ProofLife)
	if ses.Fresh(p.Clock.Now()) {
		t.Error("a proof is still fresh after ProofLife")
	}
	if err := p.ops.SignOut(t.Context(), ses); err != nil {
		t.Fatal(err)
	}
	want(t, "signed out", alive(left, true), operator.ErrSignedOut)
	want(t, "no value", alive("", true), operator.ErrSignedOut)
	want(t, "a long value", alive(strings.Repeat("a", 10_000), true), operator.ErrSignedOut)
}

func TestSetupLinkWorksOnce(t *testing.T) {
	p := &person{Server: servertest.New(t)}
	p.ops = newOperators(p.Server)

	old := p.link(t)
	link := p.link(t)
	_, err := p.ops.Begin(t.Context(), old, email, password)
	want(t, "an older link", err, operator.ErrSetup)
	_, err = p.ops.Begin(t.Context(), "mistyped", email, password)
	want(t, "a mistyped link", err, operator.ErrSetup)
	_, err = p.ops.Begin(t.Context(), link, "ana", password)
	want(t, "no e-mail", err, operator.ErrEmail)
	_, err = p.ops.Begin(t.Context(), link, email, "elevenchars")
	want(t, "a short password", err, operator.ErrPassword)
	_, err = p.ops.Begin(t.Context(), link, email, strings.ToUpper(email))
	want(t, "the e-mail as password", err, operator.ErrPassword)

	first, second := p.begin(t, link), p.begin(t, link) // two browsers, one link
	p.secret = decode(t, first.Secret)
	_, err = p.ops.Finish(t.Context(), first.Sealed, "000000")
	want(t, "a wrong code", err, operator.ErrSetupCode)
	_, err = p.ops.Finish(t.Context(), "forged", p.code())
	want(t, "a forged draft", err, operator.ErrSetup)
	again, err := p.ops.Resume(first.Sealed)
	if err != nil || again != first {
		t.Errorf("resumed %+v, %v", again, err)
	}
	token, err := p.ops.Finish(t.Context(), first.Sealed, p.code())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.ops.Session(t.Context(), token, true); err != nil {
		t.Error("the new operator is signed in:", err)
	}
	_, err = p.ops.SignIn(t.Context(), email, password, p.code())
	want(t, "the code of the set-up again", err, operator.ErrSignIn)

	p.secret = decode(t, second.Secret)
	_, err = p.ops.Finish(t.Context(), second.Sealed, p.code())
	want(t, "the link a second time", err, operator.ErrSetup)
	_, err = p.ops.Begin(t.Context(), link, email, password)
	want(t, "the link a third time", err, operator.ErrSetup)
	_, err = p.ops.SetupLink(t.Context())
	want(t, "a link when there is an operator", err, operator.ErrSetUp)
}

// An operator invites another by address; each is set up anew by a link that only replaces what they had when it is used.
func TestInviteAndReset(t *testing.T) {
	p := setUp(t)
	_, err := p.ops.Invite(t.Context(), p.Account.ID, "ben", "command")
	want(t, "no address", err, operator.ErrEmail)
	_, err = p.ops.Invite(t.Context(), p.Account.ID, strings.ToUpper(email), "command")
	want(t, "an operator's address", err, operator.ErrExists)
	_, err = p.ops.Reset(t.Context(), p.Account.ID, "ben@example.com", "command")
	want(t, "nobody set up anew", err, operator.ErrOperator)
	_, err = p.ops.Reset(t.Context(), "another account", email, "command")
	want(t, "another account's operator (INV-11)", err, operator.ErrOperator)

	link := func(url string, err error) (token string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		_, token, _ = strings.Cut(url, "http://localhost:8303/setup#")
		return token
	}
	ben := &person{Server: p.Server, ops: p.ops}
	invitation := link(p.ops.Invite(t.Context(), p.Account.ID, "Ben@example.com", "operator:x"))
	_, err = p.ops.Begin(t.Context(), invitation, "eve@example.com", password)
	want(t, "an invitation for somebody else", err, operator.ErrInvited)
	draft, err := p.ops.Begin(t.Context(), invitation, "ben@EXAMPLE.com", password)
	if err != nil {
		t.Fatal(err)
	}
	ben.secret = decode(t, draft.Secret)
	if _, err := p.ops.Finish(t.Context(), draft.Sealed, ben.code()); err != nil {
		t.Fatal(err)
	}

	old, err := p.ops.SignIn(t.Context(), email, password, p.code())
	if err != nil {
		t.Fatal(err)
	}
	anew := link(p.ops.Reset(t.Context(), p.Account.ID, email, "operator:ben"))
	const other = "another horse battery"
	if draft, err = p.ops.Begin(t.Context(), anew, email, other); err != nil {
		t.Fatal(err)
	}
	p.Clock.Advance(time.Minute)
	if _, err := p.ops.SignIn(t.Context(), email, password, p.code()); err != nil {
		t.Error("before the link is used the old ones work:", err)
	}
	fresh := &person{Server: p.Server, ops: p.ops, secret: decode(t, draft.Secret)}
	token, err := p.ops.Finish(t.Context(), draft.Sealed, fresh.code())
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.ops.Session(t.Context(), old, true)
	want(t, "a session of before", err, operator.ErrSignedOut)
	ses, err := p.ops.Session(t.Context(), token, true)
	if err != nil || ses.Operator.Email != email {
		t.Errorf("%+v, %v", ses, err)
	}
	p.Clock.Advance(time.Minute)
	_, err = p.ops.SignIn(t.Context(), email, password, p.code())
	want(t, "the old password and app", err, operator.ErrSignIn)
	_, err = p.ops.SignIn(t.Context(), email, other, p.code())
	want(t, "the old app", err, operator.ErrSignIn)
	if _, err := p.ops.SignIn(t.Context(), email, other, fresh.code()); err != nil {
		t.Error("the new ones:", err)
	}
	_, err = p.ops.Finish(t.Context(), draft.Sealed, fresh.code())
	want(t, "the link once more", err, operator.ErrSetup)

	late := link(p.ops.Reset(t.Context(), p.Account.ID, email, "command"))
	if err := p.ops.Remove(t.Context(), p.Account.ID, email, "command"); err != nil {
		t.Fatal(err)
	}
	_, err = p.ops.Begin(t.Context(), late, email, other)
	want(t, "a link for who was removed", err, operator.ErrSetup)
	_, err = p.ops.Session(t.Context(), token, true)
	want(t, "a session of who was removed", err, operator.ErrSignedOut)
	want(t, "the last operator", p.ops.Remove(t.Context(), p.Account.ID, "ben@example.com", "command"), operator.ErrLast)
	records, err := p.Store.AccountAudit(t.Context(), p.Account.ID, 100)
	if err != nil {
		t.Fatal(err)
	}
	var did []string
	for _, rec := range records {
		if !strings.Contains(rec.Action, "signed") {
			who, _, _ := strings.Cut(rec.Actor, ":")
			did = append(did, who+" "+rec.Action+" "+rec.Note)
		}
	}
	slices.Sort(did)              // those of one moment are in no order
	if diff := cmp.Diff([]string{ // INV-10
		"command operator.removed Ana@Example.com", "command operator.reset_link_made Ana@Example.com", "operator operator.created Ana@Example.com",
		"operator operator.created ben@EXAMPLE.com", "operator operator.invited Ben@example.com", "operator operator.reset Ana@Example.com",
		"operator operator.reset_link_made Ana@Example.com", "system operator.setup_link_made ",
	}, did); diff != "" {
		t.Error(diff)
	}
}

// INV-1: however many finish at once, one link makes one operator.
func TestSetupLinkHasOneWinner(t *testing.T) {
	p := &person{Server: servertest.New(t)}
	p.ops = newOperators(p.Server)
	link := p.link(t)
	drafts := make([]operator.Draft, 8)
	for i := range drafts {
		var err error
		if drafts[i], err = p.ops.Begin(t.Context(), link, fmt.Sprintf("ana%d@example.com", i), password); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	outcomes := make(chan error, len(drafts))
	for _, draft := range drafts {
		racer := person{Server: p.Server, secret: decode(t, draft.Secret)}
		wg.Go(func() {
			_, err := p.ops.Finish(t.Context(), draft.Sealed, racer.code())
			outcomes <- err
		})
	}
	wg.Wait()
	close(outcomes)
	made := 0
	for err := range outcomes {
		if err == nil {
			made++
		} else {
			want(t, "the others", err, operator.ErrSetup)
		}
	}
	if made != 1 {
		t.Errorf("one link made %d operators", made)
	}
}

func TestSetupLinkExpiresBetweenItsPages(t *testing.T) {
	p := &person{Server: servertest.New(t)}
	p.ops = newOperators(p.Server)
	link := p.link(t)
	draft := p.begin(t, link)
	p.secret = decode(t, draft.Secret)
	p.Clock.Advance(operator.SetupLife)
	_, err := p.ops.Finish(t.Context(), draft.Sealed, p.code())
	want(t, "finished too late", err, operator.ErrSetup)
	_, err = p.ops.Begin(t.Context(), link, email, password)
	want(t, "begun too late", err, operator.ErrSetup)
}

func TestSetupMeetsAnAddressInUse(t *testing.T) {
	p := &person{Server: servertest.New(t)}
	p.ops = newOperators(p.Server)
	dev, err := url.Parse(p.ops.EnableDev())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.ops.SignInDev(t.Context(), dev.Query().Get("token")); err != nil {
		t.Fatal(err)
	}
	link := p.link(t)
	draft, err := p.ops.Begin(t.Context(), link, operator.DevEmail, password)
	if err != nil {
		t.Fatal(err)
	}
	p.secret = decode(t, draft.Secret)
	_, err = p.ops.Finish(t.Context(), draft.Sealed, p.code())
	want(t, "the address of another operator", err, operator.ErrEmail)
	p.begin(t, link) // the link was not spent
}

func TestOtpauthURI(t *testing.T) {
	p := &person{Server: servertest.New(t)}
	p.ops = newOperators(p.Server)
	draft := p.begin(t, p.link(t))
	u, err := url.Parse(draft.URI)
	if err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Path != "/Countersign:"+email ||
		u.Query().Get("secret") != draft.Secret || u.Query().Get("issuer") != "Countersign" || strings.Contains(draft.URI, "+") {
		t.Errorf("uri %s, %v", draft.URI, err)
	}
}

func TestDevLink(t *testing.T) {
	p := &person{Server: servertest.New(t)}
	p.ops = newOperators(p.Server)
	_, err := p.ops.SignInDev(t.Context(), "")
	want(t, "no such door", err, operator.ErrDevLink)

	link, err := url.Parse(p.ops.EnableDev())
	if err != nil || link.Path != "/signin/dev" {
		t.Fatal(link, err)
	}
	_, err = p.ops.SignInDev(t.Context(), "wrong")
	want(t, "a wrong token", err, operator.ErrDevLink)
	var token string
	for range 2 { // as often as one likes
		if token, err = p.ops.SignInDev(t.Context(), link.Query().Get("token")); err != nil {
			t.Fatal(err)
		}
	}
	ses, err := p.ops.Session(t.Context(), token, true)
	if err != nil || ses.Operator.Email != operator.DevEmail || ses.Operator.AccountID != p.Account.ID {
		t.Errorf("session %+v, %v", ses, err)
	}
	_, err = p.ops.SignIn(t.Context(), operator.DevEmail, "", "")
	want(t, "by an empty password", err, operator.ErrSignIn)

	restarted := newOperators(p.Server)
	_, err = restarted.Session(t.Context(), token, true)
	want(t, "a session of dev in a server without that door", err, operator.ErrSignedOut)
	restarted.EnableDev()
	_, err = restarted.SignInDev(t.Context(), link.Query().Get("token"))
	want(t, "the link of an earlier start", err, operator.ErrDevLink)
	if _, err := restarted.SetupLink(t.Context()); err != nil {
		t.Error("the operator of dev does not stand in the way of a first operator:", err)
	}
}
