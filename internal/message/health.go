package message

import (
	"slices"
	"sync"
	"time"

	"countersign.dev/internal/otp"
)

// This file owns the health of gateways: one that fails is left alone for a while, then one message tries whether it is back.

// How long a gateway is left alone. One failure may be chance; a second in a row, or an answer that never came, is not.
const (
	restFirst = 5 * time.Second // doubles
	restMax   = time.Minute
	strikes   = 2
)

// Condition is how a gateway does.
type Condition struct {
	Gateway string
	Channel otp.Channel
	Resting time.Time // it is left alone until then; zero when it is well
	Reason  string    // of its last failure, "" since the last success
	Failed  int       // in a row
}

// Well reports whether messages go there.
func (c Condition) Well() bool { return c.Resting.IsZero() }

// health is shared by all jobs of a process. The zero value knows nothing bad of anybody.
type health struct {
	mu sync.Mutex
	of map[string]*condition // by gateway; guarded by mu
}

type condition struct {
	failed int // in a row
	until  time.Time
	trying bool // one message tries whether it is back
	reason string
}

func (h *health) get(name string) *condition {
	c := h.of[name]
	if c == nil {
		if h.of == nil {
			h.of = map[string]*condition{}
		}
		c = &condition{}
		h.of[name] = c
	}
	return c
}

// begin reports whether a message may go there now.
func (h *health) begin(name string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.get(name)
	if c.until.IsZero() {
		return true
	}
	if now.Before(c.until) || c.trying {
		return false
	}
	c.trying = true
	return true
}

// interrupted takes back a try that says nothing.
func (h *health) interrupted(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.get(name).trying = false
}

// note counts how a try went.
func (h *health) note(name string, err error, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.get(name)
	c.trying = false
	if err == nil || asFailure(err).Refused { // it answered: it is well
		*c = condition{}
		return
	}
	f := asFailure(err)
	c.reason = f.Reason
	if f.After > 0 { // it is well, and busy
		c.until = later(c.until, now.Add(f.After))
		return
	}
	c.failed++
	if c.failed >= strikes || f.Hung {
		c.until = now.Add(min(restFirst<<min(c.failed-1, 10), restMax))
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// soonest returns how long it takes until one of them may be tried; 0 is now.
func (h *health) soonest(gateways []Gateway, now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	var waits []time.Duration
	for _, g := range gateways {
		waits = append(waits, h.get(g.Name()).until.Sub(now))
	}
	if len(waits) == 0 {
		return 0
	}
	return max(0, slices.Min(waits))
}

// Conditions tells how every gateway does, as this process sees it.
func (s *Service) Conditions() (all []Condition) {
	now := s.Now()
	for _, channel := range []otp.Channel{otp.SMS, otp.Voice, otp.Email} {
		for _, g := range s.Gateways[channel] {
			all = append(all, s.health.condition(g.Name(), channel, now))
		}
	}
	return all
}

func (h *health) condition(name string, channel otp.Channel, now time.Time) Condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.get(name)
	told := Condition{Gateway: name, Channel: channel, Reason: c.reason, Failed: c.failed}
	if now.Before(c.until) {
		told.Resting = c.until
	}
	return told
}
