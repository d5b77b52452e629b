// Package live owns wake-ups: who waits for news of what. A hub is a process's own; a relay joins it with those of the other
// nodes (relay.go).
//
// It carries names, never facts. Whoever waits subscribes first, then reads the
// row, then sleeps until woken and reads the row again; so a wake-up may come
// twice or for nothing, and only costs a read.
package live

import (
	"maps"
	"slices"
	"sync"
)

// Topic names what somebody can wait for.
type Topic string

// ApprovalTopic is woken when that approval changes.
func ApprovalTopic(uuid string) Topic { return Topic("approval:" + uuid) }

// UserTopic is woken when one of that user's approvals appears or ends.
func UserTopic(userID string) Topic { return Topic("user:" + userID) }

// DeviceTopic is woken when the grants of that device change.
func DeviceTopic(deviceID string) Topic { return Topic("device:" + deviceID) }

// MessagesTopic is woken when the outbox gets a message.
const MessagesTopic Topic = "messages"

// Hub connects those who change things with those who wait. The zero value is not usable; use NewHub.
type Hub struct {
	mu      sync.Mutex // guards everything below, and what each subscription collects
	subs    map[Topic][]*Subscription
	closed  bool
	waiting int
	passOn  func([]Topic) // to the other nodes; nil: there are none
}

// NewHub returns an empty hub.
func NewHub() *Hub { return &Hub{subs: map[Topic][]*Subscription{}} }

// Subscription collects wake-ups for one waiter until it takes them. There is one for each open stream, and few topics in each: lists are
// smaller than maps.
type Subscription struct {
	hub     *Hub
	topics  []Topic
	pending []Topic
	ready   chan struct{} // made by C; one slot: a slow waiter holds up nobody and misses nothing
	notify  func()        // nil: who waits looks at ready
	done    bool
	ended   bool // Close was called
}

// Subscribe starts collecting wake-ups for topics. The caller must Close it.
func (h *Hub) Subscribe(topics ...Topic) *Subscription {
	s := &Subscription{hub: h}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting++
	s.set(topics)
	s.done = h.closed
	return s
}

// set changes what is waited for. The caller holds the lock.
func (s *Subscription) set(topics []Topic) {
	h, before := s.hub, s.topics
	s.topics = make([]Topic, 0, len(topics))
	for _, t := range topics {
		if slices.Contains(s.topics, t) {
			continue
		}
		s.topics = append(s.topics, t)
		if !slices.Contains(before, t) {
			h.subs[t] = append(h.subs[t], s)
		}
	}
	for _, t := range before {
		if !slices.Contains(s.topics, t) {
			h.remove(t, s)
		}
	}
}

// remove forgets that s waits for t. The caller holds the lock.
func (h *Hub) remove(t Topic, s *Subscription) {
	left := slices.DeleteFunc(h.subs[t], func(other *Subscription) bool { return other == s })
	if len(left) == 0 {
		delete(h.subs, t)
		return
	}
	h.subs[t] = left
}

// Set waits for these topics from now on, and no longer for others. What was woken already stays.
func (s *Subscription) Set(topics ...Topic) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if !s.done {
		s.set(topics)
	}
}

// C is readable when Take has something to give. It is closed when the hub closes: the program is stopping.
func (s *Subscription) C() <-chan struct{} {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if s.ready != nil {
		return s.ready
	}
	s.ready = make(chan struct{}, 1)
	if len(s.pending) > 0 {
		s.ready <- struct{}{}
	}
	if s.done && !s.ended {
		close(s.ready)
	}
	return s.ready
}

// Notify has f called when Woken has something new to tell, and now if it has; for those who cannot wait for a channel. f must not block,
// and not use the hub.
func (s *Subscription) Notify(f func()) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.notify = f
	if len(s.pending) > 0 || s.done {
		f()
	}
}

// Woken reports whether Take has something to give, and whether the hub is open.
func (s *Subscription) Woken() (woken, open bool) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return len(s.pending) > 0, !s.done
}

// Take returns the topics woken since the last Take.
func (s *Subscription) Take() []Topic {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	topics := s.pending
	s.pending = nil
	return topics
}

// Waiting returns how many subscriptions there are.
func (h *Hub) Waiting() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.waiting
}

// Close ends the subscription.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if !s.ended {
		s.ended = true
		s.hub.waiting--
	}
	s.set(nil)
	s.done = true
}

// Listening returns how many wait for that topic on this node.
func (h *Hub) Listening(topic Topic) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs[topic])
}

// Wake tells everyone who waits for one of topics, on every node. It never blocks. Call it after the commit, never before.
func (h *Hub) Wake(topics ...Topic) {
	h.wake(topics)
	h.mu.Lock()
	passOn := h.passOn
	h.mu.Unlock()
	if passOn != nil { // also when this node is about to stop: the others are not
		passOn(topics)
	}
}

// WakeAll tells everyone on this node, because nobody knows of what there is news.
func (h *Hub) WakeAll() {
	h.mu.Lock()
	topics := slices.Collect(maps.Keys(h.subs))
	h.mu.Unlock()
	h.wake(topics)
}

func (h *Hub) wake(topics []Topic) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	for _, t := range topics {
		for _, s := range h.subs[t] {
			s.wake(t)
		}
	}
}

// wake adds to what is collected, and tells of the first. The caller holds the lock.
func (s *Subscription) wake(t Topic) {
	if len(s.pending) == 0 && s.notify != nil {
		s.notify()
	}
	if !slices.Contains(s.pending, t) {
		s.pending = append(s.pending, t)
	}
	if s.ready != nil {
		select {
		case s.ready <- struct{}{}:
		default: // already told
		}
	}
}

// forward has every later Wake passed on. What passes it on must not block.
func (h *Hub) forward(passOn func([]Topic)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.passOn = passOn
}

// Close wakes everyone for the last time: their C is closed, and so is that of later subscribers.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.closed = true
	for _, subs := range h.subs {
		for _, s := range subs {
			if s.done {
				continue
			}
			s.done = true
			if s.ready != nil {
				close(s.ready)
			}
			if s.notify != nil {
				s.notify()
			}
		}
	}
}
