// This file owns the store in memory, for tests and for trying things out: a restart signs everybody out.

package secondfactor

import (
	"context"
	"sync"
	"time"
)

// MemoryStore is a [Store] in the memory of one process.
type MemoryStore struct {
	mu       sync.Mutex // guards all below
	attempts map[string]Attempt
	requests map[string]string // approval UUID -> browser
	sessions map[string]Session
}

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore {
	return &MemoryStore{attempts: map[string]Attempt{}, requests: map[string]string{}, sessions: map[string]Session{}}
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
	if _, found := m.sessions[replaces]; !found && a.Purpose == ForStepUp {
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

// TouchSession implements [Store].
func (m *MemoryStore) TouchSession(_ context.Context, hash string, seen time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, found := m.sessions[hash]; found {
		s.SeenAt = seen
		m.sessions[hash] = s
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

// Sweep implements [Store].
func (m *MemoryStore) Sweep(_ context.Context, attemptsBefore, sessionsBefore time.Time) error {
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
	return nil
}
