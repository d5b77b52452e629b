package live

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"
)

// This file owns wake-ups between nodes: processes that share a database and nothing else.

const (
	gather    = 2 * time.Millisecond // wake-ups of so long leave together
	textMax   = 7900                 // bytes; PostgreSQL takes fewer than 8,000
	unsaidMax = 10_000               // topics that wait to be said; the others' polls find what is more
	pollEvery = time.Second
	// overlap is how far each poll reads back: rows become visible later than their time says, and clocks differ.
	overlap = 5 * time.Second
	// farBack is from where on nothing is looked for one by one, and everybody is woken: this node stood still, or its database did.
	farBack     = time.Minute
	rejoinFirst = 100 * time.Millisecond
	rejoinMax   = 10 * time.Second
)

// Change is news that the database has.
type Change struct {
	At     time.Time // by the clock of the node that made it
	Topics []Topic   // to wake
}

// Line is what nodes reach each other by.
type Line interface {
	// Converse sends each text of out to all other nodes, and calls hear with what they send. It calls joined when nothing
	// sent from now on will be missed. It returns when the connection breaks or ctx ends.
	Converse(ctx context.Context, out <-chan string, joined func(), hear func(text string)) error
	// Changed calls found with everything that changed since then, oldest first.
	Changed(ctx context.Context, since time.Time, found func(Change)) error
}

// Relay passes wake-ups between the hub of a node and those of the others. What gets lost on the way the database still
// knows: once a second a node reads what has changed in the last seconds, and wakes whoever has not heard of it.
type Relay struct {
	hub  *Hub
	line Line
	now  func() time.Time
	log  *slog.Logger

	due chan struct{} // one slot: something is unsaid

	mu     sync.Mutex // guards unsaid and heard
	unsaid map[Topic]struct{}
	heard  map[Topic]time.Time // when a topic was last woken, as long as polls read back
}

// NewRelay returns a relay that has the hub's wake-ups from now on, and passes them on while Run runs.
func NewRelay(hub *Hub, line Line, now func() time.Time, log *slog.Logger) *Relay {
	r := &Relay{hub: hub, line: line, now: now, log: log, due: make(chan struct{}, 1), unsaid: map[Topic]struct{}{}, heard: map[Topic]time.Time{}}
	hub.forward(r.say)
	return r
}

// Run passes wake-ups on until ctx ends.
func (r *Relay) Run(ctx context.Context) {
	out := make(chan string)
	var all sync.WaitGroup
	all.Go(func() { r.speak(ctx, out) })
	all.Go(func() { r.converse(ctx, out) })
	all.Go(func() { r.poll(ctx) })
	all.Wait()
}

// say keeps what this node woke until it is passed on. It never blocks.
func (r *Relay) say(topics []Topic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	for _, t := range topics {
		r.heard[t] = now
		if len(r.unsaid) < unsaidMax {
			r.unsaid[t] = struct{}{}
		}
	}
	select {
	case r.due <- struct{}{}:
	default: // already told
	}
}

// speak hands out what is unsaid, gathered into few texts.
func (r *Relay) speak(ctx context.Context, out chan<- string) {
	for {
		select {
		case <-r.due:
		case <-ctx.Done():
			return
		}
		if !pause(ctx, gather) {
			return
		}
		for _, text := range r.texts() {
			select {
			case out <- text:
			case <-ctx.Done():
				return
			}
		}
	}
}

// pause waits, and returns false when ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// texts takes what is unsaid: topics, a line each, in texts that are short enough.
func (r *Relay) texts() (texts []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var text strings.Builder
	for t := range r.unsaid {
		if text.Len() > 0 && text.Len()+1+len(t) > textMax {
			texts = append(texts, text.String())
			text.Reset()
		}
		if text.Len() > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(string(t))
	}
	clear(r.unsaid)
	if text.Len() > 0 {
		texts = append(texts, text.String())
	}
	return texts
}

// hear wakes who waits here for what another node woke. A name that nobody waits for wakes nobody, whatever it says.
func (r *Relay) hear(text string) {
	if len(text) > textMax { // no node sends as much
		return
	}
	var topics []Topic
	for name := range strings.SplitSeq(text, "\n") {
		topics = append(topics, Topic(name))
	}
	r.mu.Lock()
	now := r.now()
	for _, t := range topics {
		r.heard[t] = now
	}
	r.mu.Unlock()
	r.hub.wake(topics)
}

// converse keeps the connection to the others. After each interruption everybody is woken once, because nobody knows what was missed.
func (r *Relay) converse(ctx context.Context, out <-chan string) {
	wait := rejoinFirst
	for {
		err := r.line.Converse(ctx, out, func() { wait = rejoinFirst; r.hub.WakeAll() }, r.hear)
		if ctx.Err() != nil {
			return
		}
		r.log.Warn("wake-ups of other nodes come up to a second late until the connection for them is back", "error", err)
		if !pause(ctx, wait/2+rand.N(wait)) { // each node at a moment of its own
			return
		}
		wait = min(2*wait, rejoinMax)
	}
}

// poll is the net beneath.
func (r *Relay) poll(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	since, failing := r.now().Add(-overlap), false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		began := r.now()
		from := since
		if began.Sub(since) > farBack {
			from = began.Add(-overlap)
		}
		err := r.line.Changed(ctx, from, r.found)
		if err == nil {
			if from.After(since) {
				r.hub.WakeAll()
			}
			since = began.Add(-overlap)
		} else if !failing && ctx.Err() == nil {
			r.log.Error("cannot read what has changed; it is read as soon as the database answers", "error", err)
		}
		failing = err != nil
		r.forget(began.Add(-overlap))
	}
}

// found wakes who has not heard of a change. A topic that was woken after the change is taken for heard.
func (r *Relay) found(c Change) {
	r.mu.Lock()
	var news []Topic
	for _, t := range c.Topics {
		if r.heard[t].Before(c.At) {
			r.heard[t] = c.At
			news = append(news, t)
		}
	}
	r.mu.Unlock()
	r.hub.wake(news)
}

// forget drops what polls do not read any more.
func (r *Relay) forget(before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t, at := range r.heard {
		if at.Before(before) {
			delete(r.heard, t)
		}
	}
}
