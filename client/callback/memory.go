// This file owns the memory of handled callbacks.

package callback

import (
	"crypto/sha256"
	"sync"
	"time"
)

// maxRemembered bounds the memory of one Verifier to some tens of megabytes, and holds 400 callbacks a second at the default window; above
// that rate the oldest are forgotten early. Only requests with a right signature take a place, so a stranger cannot push others out.
const maxRemembered = 1 << 18

// callbackID names one signed request. Its parts are hashed so that every entry has the same small size.
type callbackID [sha256.Size]byte

func identify(nonce string, sum []byte) callbackID {
	return sha256.Sum256(append(append(make([]byte, 0, len(nonce)+1+len(sum)), nonce+"|"...), sum...))
}

// memory is the set of callbacks that were handled or are being handled. Its zero value is ready.
type memory struct {
	mu      sync.Mutex
	handled map[callbackID]bool // false while being handled
	queue   []remembered        // in the order of arrival, which is the order of expiry
}

type remembered struct {
	id      callbackID
	expires time.Time
}

// reserve forgets what has expired, or the oldest when full, and notes that a callback is being handled, until settle or for the given time. It returns [ErrBusy] or [ErrReplayed]
// for one that is known.
func (m *memory) reserve(id callbackID, now time.Time, life time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.queue) > 0 && (now.After(m.queue[0].expires) || len(m.queue) >= maxRemembered) {
		delete(m.handled, m.queue[0].id)
		m.queue = m.queue[1:]
	}
	if handled, known := m.handled[id]; known {
		if handled {
			return ErrReplayed
		}
		return ErrBusy
	}
	if m.handled == nil {
		m.handled = map[callbackID]bool{}
	}
	m.handled[id] = false
	m.queue = append(m.queue, remembered{id, now.Add(life)})
	return nil
}

// settle remembers or forgets a callback that reserve noted.
func (m *memory) settle(id callbackID, handled bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !handled {
		delete(m.handled, id)
	} else if _, known := m.handled[id]; known {
		m.handled[id] = true
	}
}
