// Package operator owns the people who run an account's applications: how they
// are set up, sign in, stay signed in, and prove again who they are (T-53).
//
//	set-up link → e-mail, password, app code → operator, or the same one set up anew
//	e-mail + password + app code → session (15 minutes idle, 8 hours at most)
//
// Every sign-in, and so every step-up, takes both factors and gives a new
// session value. `dev` has one more door: a link that signs its operator in.
package operator

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"net/url"
	"runtime"
	"strings"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/tenant"
)

// Errors that this package reports.
var (
	// ErrSignIn is every refusal to sign in, so that it tells nothing about which operators exist (INV-9).
	ErrSignIn = fault.New(fault.Unauthenticated, "sign-in-refused",
		"That did not work. Check the e-mail address, the password, and that the code is a new one. After five wrong tries in a row, signing in is refused for 15 minutes or longer, whatever is typed.")
	ErrDevLink   = fault.New(fault.Unauthenticated, "dev-link-invalid", "This link belongs to a server that was stopped. Open the one that countersign dev printed last.")
	ErrSignedOut = fault.New(fault.Unauthenticated, "signed-out", "You are not signed in.")
	ErrBusy      = fault.New(fault.Unavailable, "sign-in-busy", "Too many people are signing in right now. Try again in a moment.")
	ErrSetup     = fault.New(fault.Gone, "setup-invalid", "This set-up link was used already, is older than a day, or is mistyped. Ask whoever runs the server for a new one.")
	ErrSetupCode = fault.New(fault.Invalid, "setup-code-wrong", "That is not the code the app shows now. Type the newest one.")
	ErrSetUp     = fault.New(fault.Conflict, "operator-exists", "This account has an operator already, so there is nothing to set up.")
	ErrExists    = fault.New(fault.Conflict, "operator-invited", "An operator has that e-mail address already. Set them up anew instead.")
	ErrOperator  = fault.New(fault.NotFound, "operator-unknown", "There is no operator with that e-mail address.")
	ErrLast      = fault.New(fault.Conflict, "operator-last", "That is the only operator. Invite another one first, or nobody can use the console.")
	ErrInvited   = fault.New(fault.Invalid, "email-other", "This link was made for another e-mail address. Type that one.")
	ErrEmail     = fault.New(fault.Invalid, "email-invalid", "That is not an e-mail address that can be used here.")
	ErrPassword  = fault.New(fault.Invalid, "password-invalid", "A password has 12 to 256 characters, and is not the e-mail address.")
)

// How long things live (security.md section 5).
const (
	SessionIdle = 15 * time.Minute
	SessionMax  = 8 * time.Hour
	ProofLife   = 15 * time.Minute // after it, showing a secret asks for both factors again
	SetupLife   = 24 * time.Hour
)

// touchEvery is how exactly idleness is kept: a session that is used writes once in this time.
const touchEvery = time.Minute

// DevEmail names the operator of `dev`.
const DevEmail = "dev@localhost"

// Operator is someone who may run an account's applications.
type Operator struct {
	ID, AccountID, Email string
	CreatedAt            time.Time
}

// Session is one browser in which an operator is signed in.
type Session struct {
	Hash      string // names it; the value is known to the browser only
	Operator  Operator
	CreatedAt time.Time
	SeenAt    time.Time
	ProvedAt  time.Time
}

// Fresh reports whether the operator proved who they are within ProofLife.
func (s Session) Fresh(now time.Time) bool { return now.Sub(s.ProvedAt) < ProofLife }

// Stored is an operator as it is kept.
type Stored struct {
	Operator
	EmailFolded  string
	PasswordHash string // PHC form; "" cannot sign in by password
	TOTP         []byte // sealed
	TOTPStep     int64  // highest accepted
}

// Link is a set-up link as it is kept.
type Link struct {
	Hash, AccountID string
	Email           string // folded, whom it is for; "" for the account's first operator, whoever that is
	OperatorID      string // who is set up anew; "" makes a new operator
	ExpiresAt       time.Time
}

// Store is what this package needs to keep.
type Store interface {
	// OperatorByEmail returns the operator with that folded address, or a zero Stored when nobody has it.
	OperatorByEmail(ctx context.Context, folded string) (Stored, error)
	// ReserveOperatorTry counts a wrong try before anything is compared (INV-2), and reports whether there was one left. It
	// writes as much for nobody ("") and for a spent budget as for anybody else, so that its time tells nothing.
	ReserveOperatorTry(ctx context.Context, operatorID string, now time.Time) (bool, error)
	// RefuseOperator records a refusal; without a record it writes as much all the same.
	RefuseOperator(ctx context.Context, rec *audit.Record) error
	// OpenOperatorSession spends the step, which must be later than every one before, gives the reserved try back and keeps
	// the session. A step that is spent is ErrSignIn, and is recorded.
	OpenOperatorSession(ctx context.Context, ses Session, step int64, rec audit.Record) error
	// OpenDevSession keeps a session of the operator without password, and makes that operator when missing.
	OpenDevSession(ctx context.Context, op Stored, ses Session, rec audit.Record) error
	// OperatorSession returns a session that was seen after idle and created after oldest, or ErrSignedOut. Those of an
	// operator without password are found only with dev.
	OperatorSession(ctx context.Context, hash string, idle, oldest time.Time, dev bool) (Session, error)
	TouchOperatorSession(ctx context.Context, hash string, now time.Time) error
	CloseOperatorSession(ctx context.Context, hash string, rec audit.Record) error

	// OperatorExists reports whether the account has an operator with a password.
	OperatorExists(ctx context.Context, accountID string) (bool, error)
	// KeepSetupLink keeps a link unless the account has an operator with a password: ErrSetUp.
	KeepSetupLink(ctx context.Context, hash, accountID string, expires time.Time, rec audit.Record) error
	// KeepInvitation keeps a link for an address, in place of an older one for it: ErrExists when an operator has the address, or
	// ErrOperator when the operator whom it is to set up anew is not there.
	KeepInvitation(ctx context.Context, link Link, now time.Time, rec audit.Record) error
	// SetupLink returns a live link, or ErrSetup.
	SetupLink(ctx context.Context, hash string, now time.Time) (Link, error)
	// CreateOperator spends the link in one conditional statement, keeps the operator and the session. It reports ErrSetup, or
	// ErrEmail for an address that another operator has.
	CreateOperator(ctx context.Context, linkHash string, op Stored, ses Session, rec audit.Record) error
	// ResetOperator spends the link, gives the operator another password and app, and ends every session and wait of theirs but ses. ErrSetup.
	ResetOperator(ctx context.Context, linkHash string, op Stored, ses Session, rec audit.Record) error
	// Operators returns the account's operators with a password, oldest first.
	Operators(ctx context.Context, accountID string) ([]Operator, error)
	// RemoveOperator removes one with their sessions and links, unless nobody else is left: ErrLast, or ErrOperator.
	RemoveOperator(ctx context.Context, accountID, operatorID string, rec audit.Record) error
}

// Config is what a Service is made of.
type Config struct {
	Store     Store
	Ring      *seal.Ring
	Now       func() time.Time
	AccountID string // that set-up links and the link of `dev` are for
	URL       string // the console's public URL, without trailing slash
}

// Service is the entrance to this package.
type Service struct {
	Config
	hashing chan struct{} // one slot for each password hash that may run at once: each takes 19 MiB and a processor
	waiting chan struct{} // bounds who runs or waits for a slot
	devHash string        // of the token in the link of `dev`; "" = no such door
}

// New returns a Service.
func New(c Config) *Service {
	n := runtime.NumCPU()
	return &Service{Config: c, hashing: make(chan struct{}, n), waiting: make(chan struct{}, 16*n)}
}

// EnableDev opens the door of `dev` and returns the link, which works until the program ends. Call it before serving.
func (s *Service) EnableDev() (link string) {
	token := newToken()
	s.devHash = s.Ring.Hash("operator dev link", token)
	return s.URL + "/signin/dev?token=" + url.QueryEscape(token)
}

// Dev reports whether EnableDev was called.
func (s *Service) Dev() bool { return s.devHash != "" }

// SignIn opens a session for who knows the password and has the app. Every refusal is ErrSignIn, after the same work.
func (s *Service) SignIn(ctx context.Context, email, password, code string) (token string, err error) {
	now := s.Now()
	op, err := s.Store.OperatorByEmail(ctx, fold(email))
	if err != nil {
		return "", err
	}
	left, err := s.Store.ReserveOperatorTry(ctx, op.ID, now)
	if err != nil {
		return "", err
	}
	right, err := s.checkPassword(ctx, op.PasswordHash, password)
	if err != nil {
		return "", err
	}
	step, found := s.checkCode(op, code, now)
	rec := audit.New(now, "", "operator:"+op.ID, "operator.signed_in", "operator:"+op.ID)
	rec.AccountID = op.AccountID
	if !left || !right || !found {
		var kept *audit.Record
		if left {
			r := rec.Refused(ErrSignIn.Code)
			kept = &r
		}
		if err := s.Store.RefuseOperator(ctx, kept); err != nil {
			return "", err
		}
		return "", ErrSignIn
	}
	token, ses := s.newSession(op.Operator, now)
	if err := s.Store.OpenOperatorSession(ctx, ses, step, rec); err != nil {
		return "", err
	}
	return token, nil
}

// SignInDev opens a session of the operator of `dev` for who has the link's token.
func (s *Service) SignInDev(ctx context.Context, linkToken string) (token string, err error) {
	if !s.Dev() || subtle.ConstantTimeCompare([]byte(s.Ring.Hash("operator dev link", linkToken)), []byte(s.devHash)) != 1 {
		return "", ErrDevLink
	}
	now := s.Now()
	op := Stored{Operator: Operator{ID: ident.New(now), AccountID: s.AccountID, Email: DevEmail, CreatedAt: now}, EmailFolded: DevEmail, TOTP: []byte{}}
	token, ses := s.newSession(op.Operator, now)
	rec := audit.New(now, "", "", "operator.signed_in", "").Noting("by the link of dev")
	rec.AccountID = s.AccountID
	if err := s.Store.OpenDevSession(ctx, op, ses, rec); err != nil {
		return "", err
	}
	return token, nil
}

func (s *Service) newSession(op Operator, now time.Time) (token string, ses Session) {
	token = newToken()
	return token, Session{Hash: s.sessionHash(token), Operator: op, CreatedAt: now, SeenAt: now, ProvedAt: now}
}

// Session returns the session with that value, or ErrSignedOut. Active says that the operator did something: a page that
// refreshes itself keeps nobody signed in.
func (s *Service) Session(ctx context.Context, token string, active bool) (Session, error) {
	if token == "" || len(token) > 64 {
		return Session{}, ErrSignedOut
	}
	now := s.Now()
	ses, err := s.Store.OperatorSession(ctx, s.sessionHash(token), now.Add(-SessionIdle), now.Add(-SessionMax), s.Dev())
	if err != nil {
		return Session{}, err
	}
	if active && now.Sub(ses.SeenAt) >= touchEvery {
		err = s.Store.TouchOperatorSession(ctx, ses.Hash, now)
	}
	return ses, err
}

// SignOut ends the session.
func (s *Service) SignOut(ctx context.Context, ses Session) error {
	rec := audit.New(s.Now(), "", "operator:"+ses.Operator.ID, "operator.signed_out", "operator:"+ses.Operator.ID)
	rec.AccountID = ses.Operator.AccountID
	return s.Store.CloseOperatorSession(ctx, ses.Hash, rec)
}

func (s *Service) sessionHash(token string) string { return s.Ring.Hash("operator session", token) }

// newToken returns 256 random bits.
func newToken() string {
	var b [32]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// fold makes of an address the one by which its operator is found.
func fold(email string) string {
	email, _ = tenant.ParseEmail(email)
	return strings.ToLower(email)
}
