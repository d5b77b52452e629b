// Package egress owns requests to addresses that others choose: callbacks and logos (T-40).
//
// The address is checked when the connection is made, after resolution, so a
// name that resolves differently the second time gains nothing. Redirects are
// not followed, proxies are not used, time is short.
package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// ErrAddress says that the address is one that requests may not go to.
var ErrAddress = errors.New("the address is private, local or reserved")

// Policy says where requests may go beside the public internet.
type Policy struct {
	Loopback bool // 127.0.0.0/8 and ::1: for `dev`
	Private  bool // networks that nobody routes (RFC 1918, RFC 4193, RFC 6598): for receivers beside us
}

// private are the ranges of Policy.Private. Link-local addresses, where clouds keep their secrets, are not among them.
var private = prefixes("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")

// special are the ranges that are not the public internet (IANA special-purpose registries), with those that carry an
// IPv4 address inside. Of IPv6 all is special but the global unicast addresses, 2000::/3 (RFC 4291 section 2.4).
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/3", "4000::/2", "8000::/1", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// Allowed reports whether requests may go to addr.
func (p Policy) Allowed(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if addr.IsLoopback() {
		return p.Loopback
	}
	if p.Private && slices.ContainsFunc(private, func(n netip.Prefix) bool { return n.Contains(addr) }) {
		return true
	}
	for _, bad := range special {
		if bad.Contains(addr) {
			return false
		}
	}
	return addr.IsValid()
}

// Client returns an HTTP client that goes only where p allows and gives up after timeout.
func (p Policy) Client(timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrAddress, address)
		}
		if !p.Allowed(at.Addr()) {
			return ErrAddress
		}
		return nil
	}}
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout,
			MaxIdleConnsPerHost: 16, IdleConnTimeout: 60 * time.Second, MaxResponseHeaderBytes: 32 << 10, ForceAttemptHTTP2: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Reason says in a few words why a request, or a connection of another kind, got no answer within its patience. Nothing that the other
// side said is in it (T-40).
func Reason(err error, patience time.Duration) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, ErrAddress):
		return "the address is private, local or reserved, and not allowed"
	case errors.As(err, &dns):
		return "the host name could not be resolved"
	case errors.As(err, &certificate):
		return "the receiver's certificate is not valid: " + certificate.Err.Error()
	case TimedOut(err):
		return fmt.Sprintf("no answer within %d seconds", int(patience/time.Second))
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return "no connection: " + op.Err.Error()
	}
	return "no connection, or it broke"
}

// TimedOut reports whether err says that time was over.
func TimedOut(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// RetryAfter returns how long an answer asks to be left alone (RFC 9110 section 10.2.3: seconds or a date), at most the given time; 0 when it does not ask.
func RetryAfter(h http.Header, now time.Time, most time.Duration) time.Duration {
	text, wait := h.Get("Retry-After"), time.Duration(0)
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(n) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return max(0, min(wait, most))
}
