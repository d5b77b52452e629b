package web

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/internal/fault"
)

func TestLimiter(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := NewLimiter(10, 3, func() time.Time { return now })
	ana, ben := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for range 3 {
		if err := l.Allow(ana); err != nil {
			t.Fatal(err)
		}
	}
	err := l.Allow(ana)
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Kind != fault.Limited || e.RetryAfter != 100*time.Millisecond {
		t.Fatalf("%v", err)
	}
	if err := l.Allow(ben); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	now = now.Add(100 * time.Millisecond)
	if err := l.Allow(ana); err != nil {
		t.Errorf("after the wait: %v", err)
	}
	if err := l.Allow(ana); err == nil {
		t.Error("a refused request gave back what it did not take")
	}
}

// One customer has at least a /64, so one address more is no new stranger; and an IPv4 address has one form.
func TestLimiterNetworks(t *testing.T) {
	for _, c := range []struct {
		a, b   string
		shared bool
	}{
		{"2001:db8::1", "2001:db8::2", true},
		{"2001:db8::1", "2001:db8:0:1::1", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"fe80::1%eth0", "fe80::1%eth1", true},
	} {
		l := NewLimiter(1, 1, func() time.Time { return time.Unix(0, 0) })
		l.Allow(netip.MustParseAddr(c.a))
		if err := l.Allow(netip.MustParseAddr(c.b)); (err != nil) != c.shared {
			t.Errorf("%s and %s: %v", c.a, c.b, err)
		}
	}
	l := NewLimiter(1, 1, time.Now)
	if l.Allow(netip.Addr{}) != nil || l.Allow(netip.Addr{}) == nil {
		t.Error("callers without an address do not share a bucket")
	}
	if NewLimiter(1, 0, time.Now).Allow(netip.Addr{}) == nil {
		t.Error("a burst of nothing lets somebody in")
	}
}

func TestLimiterIsBounded(t *testing.T) {
	l := NewLimiter(1, 1, func() time.Time { return time.Unix(0, 0) })
	first, addr := netip.MustParseAddr("10.0.0.0"), netip.MustParseAddr("10.0.0.0")
	for range maxAddresses {
		l.Allow(addr)
		addr = addr.Next()
	}
	if l.Allow(first) == nil { // and is the most recent now
		t.Error("an address was forgotten before the map was full")
	}
	l.Allow(addr)
	if len(l.byAddr) != maxAddresses || l.recent.Len() != maxAddresses {
		t.Errorf("%d and %d addresses", len(l.byAddr), l.recent.Len())
	}
	if l.Allow(first) == nil {
		t.Error("the most recent address was forgotten")
	}
	if l.Allow(first.Next()) != nil {
		t.Error("the oldest address was not forgotten")
	}
}

func TestLimiterInParallel(t *testing.T) {
	l := NewLimiter(1, 5, func() time.Time { return time.Unix(0, 0) })
	var wg sync.WaitGroup
	var in atomic.Int32
	for range 64 {
		wg.Go(func() {
			if l.Allow(netip.MustParseAddr("192.0.2.1")) == nil {
				in.Add(1)
			}
		})
	}
	wg.Wait()
	if in.Load() != 5 {
		t.Errorf("%d of 5 were let in", in.Load())
	}
}

func TestAddress(t *testing.T) {
	ours := Proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	for _, c := range []struct {
		proxies   Proxies
		remote    string
		forwarded []string
		want      string
	}{
		{nil, "192.0.2.1:80", []string{"203.0.113.9"}, "192.0.2.1"},                       // nobody is believed
		{ours, "192.0.2.1:80", []string{"203.0.113.9"}, "192.0.2.1"},                      // not a proxy of ours
		{ours, "10.0.0.1:80", nil, "10.0.0.1"},                                            // it added nothing
		{ours, "10.0.0.1:80", []string{"203.0.113.9"}, "203.0.113.9"},                     //
		{ours, "[::1]:80", []string{"203.0.113.9"}, "203.0.113.9"},                        //
		{ours, "[::ffff:10.0.0.1]:80", []string{"203.0.113.9"}, "203.0.113.9"},            //
		{ours, "10.0.0.1:80", []string{"198.51.100.7, 203.0.113.9"}, "203.0.113.9"},       // the first is the caller's invention
		{ours, "10.0.0.1:80", []string{"198.51.100.7", "203.0.113.9"}, "203.0.113.9"},     // in a header of its own
		{ours, "10.0.0.1:80", []string{"203.0.113.9, 10.0.0.2"}, "203.0.113.9"},           // two proxies of ours
		{ours, "10.0.0.1:80", []string{"10.9.9.9, 203.0.113.9, 10.0.0.2"}, "203.0.113.9"}, // an invented proxy
		{ours, "10.0.0.1:80", []string{"203.0.113.9, nonsense"}, "10.0.0.1"},              //
		{ours, "10.0.0.1:80", []string{"203.0.113.9:4711"}, "203.0.113.9"},                // with a port, as some proxies write it
		{ours, "10.0.0.1:80", []string{"198.51.100.7, 203.0.113.9:4711, 10.0.0.2:80"}, "203.0.113.9"},
		{ours, "10.0.0.1:80", []string{"[2001:db8::9]:4711"}, "2001:db8::9"}, //
		{ours, "10.0.0.1:80", []string{"[2001:db8::9]"}, "2001:db8::9"},      //
		{ours, "10.0.0.1:80", []string{"2001:db8::9"}, "2001:db8::9"},        //
		{ours, "10.0.0.1:80", []string{"203.0.113.9:port"}, "10.0.0.1"},      //
		{ours, "10.0.0.1:80", []string{"[203.0.113.9"}, "203.0.113.9"},       // whoever writes that means this
		{ours, "@", nil, "invalid IP"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		r.Header["X-Forwarded-For"] = c.forwarded
		if got := fmt.Sprint(c.proxies.Address(r)); got != c.want {
			t.Errorf("%s, %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}
