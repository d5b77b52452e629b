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
	mu      sync.Mutex // guards everything below, and the pending set of each subscription
	subs    map[Topic]map[*Subscription]struct{}
	closed  bool
	waiting int
	passOn  func([]Topic) // to the other nodes; nil: there are none
}

// NewHub returns an empty hub.
func NewHub() *Hub { return &Hub{subs: map[Topic]map[*Subscription]struct{}{}} }

// Subscription collects wake-ups for one waiter until it takes them.
type Subscription struct {
	hub     *Hub
	topics  map[Topic]struct{}
	pending map[Topic]struct{}
	ready   chan struct{} // one slot: a slow waiter holds up nobody and misses nothing
	done    bool
	ended   bool // Close was called
}

// Subscribe starts collecting wake-ups for topics. The caller must Close it.
func (h *Hub) Subscribe(topics ...Topic) *Subscription {
	s := &Subscription{hub: h, topics: map[Topic]struct{}{}, pending: map[Topic]struct{}{}, ready: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting++
	s.add(topics)
	if h.closed {
		s.done = true
		close(s.ready)
	}
	return s
}

func (s *Subscription) add(topics []Topic) {
	for _, t := range topics {
		s.topics[t] = struct{}{}
		m := s.hub.subs[t]
		if m == nil {
			m = map[*Subscription]struct{}{}
			s.hub.subs[t] = m
		}
		m[s] = struct{}{}
	}
}

// Add subscribes to more topics.
func (s *Subscription) Add(topics ...Topic) {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	if !s.done {
		s.add(topics)
	}
}

// C is readable when Take has something to give. It is closed when the hub closes: the program is stopping.
func (s *Subscription) C() <-chan struct{} { return s.ready }

// Take returns the topics woken since the last Take.
func (s *Subscription) Take() []Topic {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	topics := make([]Topic, 0, len(s.pending))
	for t := range s.pending {
		topics = append(topics, t)
	}
	clear(s.pending)
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
	for t := range s.topics {
		delete(s.hub.subs[t], s)
		if len(s.hub.subs[t]) == 0 {
			delete(s.hub.subs, t)
		}
	}
	s.done = true
}

// Listening reports whether somebody waits for that topic on this node.
func (h *Hub) Listening(topic Topic) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs[topic]) > 0
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
		for s := range h.subs[t] {
			s.pending[t] = struct{}{}
			select {
			case s.ready <- struct{}{}:
			default: // already told
			}
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
	told := map[*Subscription]struct{}{}
	for _, subs := range h.subs {
		for s := range subs {
			if _, ok := told[s]; !ok && !s.done {
				told[s] = struct{}{}
				s.done = true
				close(s.ready)
			}
		}
	}
}
