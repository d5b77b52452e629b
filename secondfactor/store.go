// This file owns what the package asks of a store, and the session.

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
	Hash      string // of the cookie's value
	User      string
	AuthyID   int64
	Method    Method // that proved the factor
	CreatedAt time.Time
	SeenAt    time.Time // of the last request, in steps of a minute
}

// Store keeps attempts and sessions. The conditions are part of the writes, so that two tabs, two processes and a replay cannot
// both win. [NewMemoryStore] and [OpenSQLStore] are the two implementations; both are safe for concurrent use. Times lose
// nothing that matters below a millisecond.
type Store interface {
	// CreateAttempt inserts an attempt. Its ID and Browser are new.
	CreateAttempt(ctx context.Context, a Attempt) error
	// AttemptOf returns the attempt of a browser, by the hash of its pending cookie, or [ErrNotFound].
	AttemptOf(ctx context.Context, browser string) (Attempt, error)
	// AttemptFor returns the attempt whose last approval request has this UUID, or [ErrNotFound].
	AttemptFor(ctx context.Context, request string) (Attempt, error)
	// UpdateAttempt writes an attempt if the stored version is a.Version and its state is not final, and counts the version up.
	// Otherwise it returns [ErrConflict].
	UpdateAttempt(ctx context.Context, a Attempt) error
	// Consume turns an approved attempt of this version into a consumed one, deletes the session with the hash replaces (if any) and
	// inserts the new one, all or nothing. A step-up needs the session it replaces, so that a log-out meanwhile is not undone. Of
	// any number of concurrent calls one returns nil, the others [ErrConflict].
	Consume(ctx context.Context, a Attempt, replaces string, s Session) error
	// Session returns a session by its hash, or [ErrNotFound]. It does not judge its age.
	Session(ctx context.Context, hash string) (Session, error)
	// TouchSession notes when a session was last seen. An unknown session is no error.
	TouchSession(ctx context.Context, hash string, seen time.Time) error
	// EndSession deletes a session. An unknown session is no error.
	EndSession(ctx context.Context, hash string) error
	// Sweep deletes attempts that ended and sessions that were created before the given times, some hundred at most.
	Sweep(ctx context.Context, attemptsBefore, sessionsBefore time.Time) error
}
