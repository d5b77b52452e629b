// This file owns what the package asks of a store, and the records that are kept beside attempts.

package secondfactor

import (
	"context"
	"errors"
	"time"
)

// Errors of a [Store].
var (
	ErrNotFound = errors.New("secondfactor: not found")
	// ErrConflict says that a conditional write found another version, or a state from which nothing leads on.
	ErrConflict = errors.New("secondfactor: changed meanwhile")
)

// Session is one signed-in browser.
type Session struct {
	Hash    string // of the cookie's value
	ID      string // names it in lists; carries no authority
	User    string
	AuthyID int64
	Method  Method // that proved the factor
	Stamp   string // [Person.Stamp] at the log-in
	Browser string // what the browser said of itself
	Address string // where it came from

	CreatedAt   time.Time
	SeenAt      time.Time // of the last request, in steps of a minute
	ConfirmedAt time.Time // when the factor was last proved; zero when trust stood in for it
	FreshUntil  time.Time // how long that proof opens settings
	Trusted     string    // id of this browser's trust, "" without
	TrustAsked  bool      // the question whether to trust this browser was answered
}

// RecoveryCodes are one person's codes for the day when the phone is lost. Only slow hashes of them are kept.
type RecoveryCodes struct {
	User    string
	Version int64 // counts writes; a write is conditional on it, 0 means that there are none yet
	Salt    string
	Hashes  []string // of those that were not used
	Wrong   int      // wrong codes since WrongAt
	WrongAt time.Time
	MadeAt  time.Time
}

// TrustedBrowser is a browser in which a person's password is enough for a while. Its cookie holds a value that is replaced at each
// use, so that a copy is noticed.
type TrustedBrowser struct {
	ID        string
	Version   int64 // counts writes; a write is conditional on it, 0 means a new one
	User      string
	Stamp     string // [Person.Stamp] when it was trusted
	Hash      string // of the value that counts
	Before    string // hash of the one before, good for a moment after RotatedAt for a request that was under way
	RotatedAt time.Time
	Browser   string
	Address   string
	CreatedAt time.Time
	SeenAt    time.Time
	ExpiresAt time.Time
}

// Store keeps attempts, sessions, recovery codes and trusted browsers. The conditions are part of the writes, so that two tabs, two
// processes and a replay cannot both win. [NewMemoryStore] and [OpenSQLStore] are the two implementations; both are safe for
// concurrent use. Times lose nothing that matters below a millisecond.
type Store interface {
	// CreateAttempt inserts an attempt. Its ID and Browser are new.
	CreateAttempt(ctx context.Context, a Attempt) error
	// AttemptOf returns the attempt of a browser, by the hash of its pending cookie, or [ErrNotFound].
	AttemptOf(ctx context.Context, browser string) (Attempt, error)
	// AttemptFor returns the attempt whose last approval request has this UUID, or [ErrNotFound].
	AttemptFor(ctx context.Context, request string) (Attempt, error)
	// AttemptsBy returns the attempts of a user that are in no final state.
	AttemptsBy(ctx context.Context, user string) ([]Attempt, error)
	// UpdateAttempt writes an attempt if the stored version is a.Version and its state is not final, and counts the version up.
	// Otherwise it returns [ErrConflict].
	UpdateAttempt(ctx context.Context, a Attempt) error
	// Consume turns an approved attempt of this version into a consumed one, deletes the session with the hash replaces (if any) and
	// inserts the new one, all or nothing. An attempt that belongs to a session needs that session to be the one it replaces, so that a
	// log-out meanwhile is not undone. Of any number of concurrent calls one returns nil, the others [ErrConflict].
	Consume(ctx context.Context, a Attempt, replaces string, s Session) error

	// Session returns a session by its hash, or [ErrNotFound]. It does not judge its age.
	Session(ctx context.Context, hash string) (Session, error)
	// SessionsOf returns the sessions of a user, the newest first. It does not judge their age.
	SessionsOf(ctx context.Context, user string) ([]Session, error)
	// UpdateSession writes what may change in a session: when it was seen, how long it is fresh, its trust. An unknown session is no error.
	UpdateSession(ctx context.Context, s Session) error
	// EndSession deletes a session. An unknown session is no error.
	EndSession(ctx context.Context, hash string) error

	// Recovery returns a user's recovery codes; without any, only User is set.
	Recovery(ctx context.Context, user string) (RecoveryCodes, error)
	// PutRecovery writes them if the stored version is c.Version, and counts the version up. Otherwise it returns [ErrConflict].
	PutRecovery(ctx context.Context, c RecoveryCodes) error

	// Trusted returns a trusted browser by its id, or [ErrNotFound]. It does not judge its age.
	Trusted(ctx context.Context, id string) (TrustedBrowser, error)
	// TrustedOf returns the trusted browsers of a user, the newest first.
	TrustedOf(ctx context.Context, user string) ([]TrustedBrowser, error)
	// PutTrusted writes one if the stored version is b.Version, and counts the version up. Otherwise it returns [ErrConflict].
	PutTrusted(ctx context.Context, b TrustedBrowser) error
	// RemoveTrusted deletes a trusted browser of this user. An unknown one is no error.
	RemoveTrusted(ctx context.Context, user, id string) error

	// Sweep deletes attempts that ended and sessions that were created before the given times, and trust that ended by trustBefore,
	// some hundred of each at most.
	Sweep(ctx context.Context, attemptsBefore, sessionsBefore, trustBefore time.Time) error
}
