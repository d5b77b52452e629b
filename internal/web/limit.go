package web

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"countersign.dev/internal/fault"
)

// This file owns limits for strangers (T-32): how often one network address may ask what needs no credentials.

// maxAddresses is how many addresses a Limiter remembers, about a megabyte.
const maxAddresses = 10_000

// ErrLimited is what a Limiter reports.
var ErrLimited = fault.New(fault.Limited, "limited", "Too many requests from this network address. Try again in a moment.")

// Limiter is a token bucket for each address. It is safe for concurrent use.
type Limiter struct {
	rate  rate.Limit
	burst int
	now   func() time.Time

	mu     sync.Mutex
	byAddr map[netip.Prefix]*list.Element // of *bucket
	recent *list.List                     // most recent first
}

type bucket struct {
	addr  netip.Prefix
	limit *rate.Limiter
}

// NewLimiter allows perSecond requests on average and burst at once.
func NewLimiter(perSecond float64, burst int, now func() time.Time) *Limiter {
	return &Limiter{rate: rate.Limit(perSecond), burst: burst, now: now, byAddr: map[netip.Prefix]*list.Element{}, recent: list.New()}
}

// Allow takes one token of addr's bucket, or returns ErrLimited with when the next one is there.
func (l *Limiter) Allow(addr netip.Addr) error {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	wanted := l.bucket(network(addr)).ReserveN(now, 1)
	if !wanted.OK() { // a burst of 0 lets nobody in
		return ErrLimited.After(time.Minute)
	}
	if wait := wanted.DelayFrom(now); wait > 0 {
		wanted.CancelAt(now)
		return ErrLimited.After(wait)
	}
	return nil
}

// bucket returns addr's bucket and makes it the most recent. The oldest gives way to a new one: it is full again by then,
// unless ten thousand networks ask at once, and then no limit by address helps.
func (l *Limiter) bucket(addr netip.Prefix) *rate.Limiter {
	if e := l.byAddr[addr]; e != nil {
		l.recent.MoveToFront(e)
		return e.Value.(*bucket).limit
	}
	if l.recent.Len() >= maxAddresses {
		oldest := l.recent.Back()
		delete(l.byAddr, oldest.Value.(*bucket).addr)
		l.recent.Remove(oldest)
	}
	b := &bucket{addr, rate.NewLimiter(l.rate, l.burst)}
	l.byAddr[addr] = l.recent.PushFront(b)
	return b.limit
}

// network is who shares a bucket: an IPv4 address, or the /64 that one IPv6 customer has at the least.
func network(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, _ := addr.Prefix(bits) // fails for the zero Addr only, whose bucket is then shared
	return p
}

// Proxies are the networks whose X-Forwarded-For is believed; usually none, or the reverse proxy's.
type Proxies []netip.Prefix

// Address returns the address that the request came from: the connection's, or, when that is a proxy of ours, the last
// one that the proxies in front of it added to X-Forwarded-For. What stands before that is the caller's invention.
// It returns the zero Addr when there is none, as on a Unix socket.
func (p Proxies) Address(r *http.Request) netip.Addr {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	addr, _ := netip.ParseAddr(host)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !p.contains(addr) {
			break
		}
		next, err := parseHop(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		addr = next
	}
	return addr
}

// parseHop reads an entry of X-Forwarded-For: an address, or as some proxies write it, one with brackets or a port.
func parseHop(hop string) (netip.Addr, error) {
	if at, err := netip.ParseAddrPort(hop); err == nil {
		return at.Addr(), nil
	}
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		hop = strings.TrimSuffix(inner, "]")
	}
	return netip.ParseAddr(hop)
}

// Only returns next for connections from the proxies alone: who comes around them would send secrets in plain text.
func (p Proxies) Only(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		if addr, _ := netip.ParseAddr(host); !p.contains(addr) {
			Problem(w, r, Refuse(http.StatusForbidden, fault.Forbidden, "not-the-proxy", "This address is for the reverse proxy alone. Use the public one."))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (p Proxies) contains(addr netip.Addr) bool {
	return slices.ContainsFunc(p, func(n netip.Prefix) bool { return n.Contains(addr.Unmap()) })
}
