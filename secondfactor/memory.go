// This file owns the store in memory, for tests and for trying things out: a restart signs everybody out.

package secondfactor

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

// MemoryStore is a [Store] in the memory of one process.
type MemoryStore struct {
	mu       sync.Mutex // guards all below
	attempts map[string]Attempt
	requests map[string]string // approval UUID -> browser
	sessions map[string]Session
	recovery map[string]RecoveryCodes  // by user
	trusted  map[string]TrustedBrowser // by id
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{
		attempts: map[string]Attempt{}, requests: map[string]string{}, sessions: map[string]Session{},
		recovery: map[string]RecoveryCodes{}, trusted: map[string]TrustedBrowser{},
	}
}

// CreateAttempt implements [Store].
func (m *MemoryStore) CreateAttempt(_ context.Context, a Attempt) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, exists := m.attempts[a.Browser]; exists {
		return ErrConflict
	}
	m.attempts[a.Browser] = a
	return nil
}

// AttemptOf implements [Store].
func (m *MemoryStore) AttemptOf(_ context.Context, browser string) (Attempt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, found := m.attempts[browser]
	if !found {
		return Attempt{}, ErrNotFound
	}
	return a, nil
}

// AttemptFor implements [Store].
func (m *MemoryStore) AttemptFor(_ context.Context, request string) (Attempt, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, found := m.attempts[m.requests[request]]
	if !found || a.Request != request {
		return Attempt{}, ErrNotFound
	}
	return a, nil
}

// AttemptsBy implements [Store].
func (m *MemoryStore) AttemptsBy(_ context.Context, user string) (list []Attempt, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.attempts {
		if a.User == user && !a.State.final() {
			list = append(list, a)
		}
	}
	return list, nil
}

// UpdateAttempt implements [Store].
func (m *MemoryStore) UpdateAttempt(_ context.Context, a Attempt) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, found := m.attempts[a.Browser]
	if !found || old.Version != a.Version || old.State.final() {
		return ErrConflict
	}
	m.put(old, a)
	return nil
}

// put replaces an attempt and keeps the index of requests right. The caller holds the lock.
func (m *MemoryStore) put(old, a Attempt) {
	a.Version++
	if old.Request != a.Request {
		delete(m.requests, old.Request)
		m.requests[a.Request] = a.Browser
	}
	m.attempts[a.Browser] = a
}

// Consume implements [Store].
func (m *MemoryStore) Consume(_ context.Context, a Attempt, replaces string, s Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, found := m.attempts[a.Browser]
	if !found || old.Version != a.Version || old.State != Approved {
		return ErrConflict
	}
	if _, found := m.sessions[replaces]; a.Session != "" && (!found || a.Session != replaces) {
		return ErrConflict
	}
	a.State = Consumed
	m.put(old, a)
	delete(m.sessions, replaces)
	m.sessions[s.Hash] = s
	return nil
}

// Session implements [Store].
func (m *MemoryStore) Session(_ context.Context, hash string) (Session, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, found := m.sessions[hash]
	if !found {
		return Session{}, ErrNotFound
	}
	return s, nil
}

// SessionsOf implements [Store].
func (m *MemoryStore) SessionsOf(_ context.Context, user string) (list []Session, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		if s.User == user {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b Session) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// UpdateSession implements [Store].
func (m *MemoryStore) UpdateSession(_ context.Context, s Session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if kept, found := m.sessions[s.Hash]; found {
		kept.SeenAt, kept.FreshUntil, kept.Trusted, kept.TrustAsked = s.SeenAt, s.FreshUntil, s.Trusted, s.TrustAsked
		m.sessions[s.Hash] = kept
	}
	return nil
}

// EndSession implements [Store].
func (m *MemoryStore) EndSession(_ context.Context, hash string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, hash)
	return nil
}

// Recovery implements [Store].
func (m *MemoryStore) Recovery(_ context.Context, user string) (RecoveryCodes, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := m.recovery[user]
	c.User, c.Hashes = user, slices.Clone(c.Hashes)
	return c, nil
}

// PutRecovery implements [Store].
func (m *MemoryStore) PutRecovery(_ context.Context, c RecoveryCodes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.recovery[c.User].Version != c.Version {
		return ErrConflict
	}
	c.Version++
	c.Hashes = slices.Clone(c.Hashes)
	m.recovery[c.User] = c
	return nil
}

// Trusted implements [Store].
func (m *MemoryStore) Trusted(_ context.Context, id string) (TrustedBrowser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, found := m.trusted[id]
	if !found {
		return TrustedBrowser{}, ErrNotFound
	}
	return b, nil
}

// TrustedOf implements [Store].
func (m *MemoryStore) TrustedOf(_ context.Context, user string) (list []TrustedBrowser, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.trusted {
		if b.User == user {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b TrustedBrowser) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// PutTrusted implements [Store].
func (m *MemoryStore) PutTrusted(_ context.Context, b TrustedBrowser) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trusted[b.ID].Version != b.Version {
		return ErrConflict
	}
	b.Version++
	m.trusted[b.ID] = b
	return nil
}

// RemoveTrusted implements [Store].
func (m *MemoryStore) RemoveTrusted(_ context.Context, user, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.trusted[id].User == user {
		delete(m.trusted, id)
	}
	return nil
}

// Sweep implements [Store].
func (m *MemoryStore) Sweep(_ context.Context, attemptsBefore, sessionsBefore, trustBefore time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for browser, a := range m.attempts {
		if a.ExpiresAt.Before(attemptsBefore) {
			delete(m.attempts, browser)
			delete(m.requests, a.Request)
		}
	}
	for hash, s := range m.sessions {
		if s.CreatedAt.Before(sessionsBefore) {
			delete(m.sessions, hash)
		}
	}
	for id, b := range m.trusted {
		if b.ExpiresAt.Before(trustBefore) {
			delete(m.trusted, id)
		}
	}
	return nil
}
