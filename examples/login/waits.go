// This file owns the patience with wrong passwords: after five in a row an account waits a minute, then two, up to fifteen.

package login

import (
	"sync"
	"time"
)

const (
	freeTries = 5
	firstWait = time.Minute
	lastWait  = 15 * time.Minute
	waitsKept = 10_000
)

// waits counts by what was typed, whether or not there is such an account, so that waiting says nothing (D19); and not by network address, so
// that nobody waits for a neighbour. It is in memory. Production: keep it where all processes see it, and limit addresses generously as well.
type waits struct {
	mu    sync.Mutex // guards by
	by    map[string]patienceWith
	clock func() time.Time
}

type patienceWith struct {
	wrong int
	until time.Time
}

// left is how long an account still has to wait, and counts a try if it has not to. A right password calls forget.
func (t *waits) left(email string) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, key := t.clock(), fold(email)
	p := t.by[key]
	if wait := p.until.Sub(now); wait > 0 {
		return wait
	}
	p.wrong++ // before anything is compared
	if p.wrong >= freeTries {
		p.until = now.Add(min(firstWait<<min(p.wrong-freeTries, 10), lastWait))
	}
	if len(t.by) >= waitsKept {
		t.thin(now)
	}
	t.by[key] = p
	return 0
}

func (t *waits) forget(email string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.by, fold(email))
}

// thin makes room: first who need not wait, then anybody. The caller holds the lock.
func (t *waits) thin(now time.Time) {
	for key, p := range t.by {
		if !now.Before(p.until) {
			delete(t.by, key)
		}
	}
	for key := range t.by {
		if len(t.by) < waitsKept {
			return
		}
		delete(t.by, key)
	}
}
