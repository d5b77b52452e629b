package notify

import (
	"sync"
	"time"
)

// This file owns patience with push services. One that answers slowly gets few requests at once, so that it does not fill the places of an
// application's jobs and hold up those for other services: at the worst once, for as long as one request may take.

const (
	slowAfter  = 2 * time.Second // an answer that takes longer
	slowAtOnce = 2               // requests to a service that is slow
	paceMost   = 1000            // services that are remembered; they are a handful, unless somebody invents them
)

// pace remembers how push services answer. The zero value knows nothing bad of anybody.
type pace struct {
	mu sync.Mutex
	of map[string]*traffic // by origin; guarded by mu
}

type traffic struct {
	running int
	slow    bool // its last answer was
}

// begin reports whether a request may go there now. Then end must follow.
func (p *pace) begin(origin string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	there := p.of[origin]
	if there == nil {
		if len(p.of) >= paceMost {
			clear(p.of)
		}
		if p.of == nil {
			p.of = map[string]*traffic{}
		}
		there = &traffic{}
		p.of[origin] = there
	}
	if there.slow && there.running >= slowAtOnce {
		return false
	}
	there.running++
	return true
}

// end notes how long the answer took, or what there was instead of one.
func (p *pace) end(origin string, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	there := p.of[origin]
	if there == nil {
		return // forgotten meanwhile
	}
	there.running = max(0, there.running-1)
	if there.slow = took > slowAfter; !there.slow && there.running == 0 {
		delete(p.of, origin)
	}
}
