// Package egress owns requests to addresses that others choose: callbacks and logos (T-40).
//
// The address is checked when the connection is made, after resolution, so a
// name that resolves differently the second time gains nothing. Redirects are
// not followed, proxies are not used, time is short.
package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrAddress says that the address is one that requests may not go to.
var ErrAddress = errors.New("the address is private, local or reserved")

// Policy says where requests may go beside the public internet.
type Policy struct {
	Loopback bool           // 127.0.0.0/8 and ::1: for `dev`
	Private  bool           // networks that nobody routes (RFC 1918, RFC 4193, RFC 6598): for receivers beside us
	Networks []netip.Prefix // parts of both, for an operator who opens no more than he needs; see CheckNetwork
	// Closed are addresses of our own listeners, where no request goes whatever is open: what is told there without credentials is for
	// the operator, and an application could name it as its callback. An unspecified address is every one of this machine's loopback.
	Closed []netip.AddrPort
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

// loopback are the ranges of Policy.Loopback.
var loopback = prefixes("127.0.0.0/8", "::1/128")

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// CheckNetwork says what is wrong with an operator's entry for Policy.Networks.
func CheckNetwork(n netip.Prefix) error {
	within := func(outer netip.Prefix) bool { return outer.Bits() <= n.Bits() && outer.Contains(n.Addr()) }
	if slices.ContainsFunc(private, within) || slices.ContainsFunc(loopback, within) {
		return nil
	}
	return fmt.Errorf("%q is no part of a private network: public addresses are open already, and others, such as those of a cloud's metadata, never are; write it like 10.1.2.0/24", n)
}

// Allowed reports whether requests may go to addr.
func (p Policy) Allowed(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	if contains(p.Networks, addr) {
		return true
	}
	if addr.IsLoopback() {
		return p.Loopback
	}
	if p.Private && contains(private, addr) {
		return true
	}
	return addr.IsValid() && !contains(special, addr)
}

func contains(networks []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// closed reports whether at is a listener of our own.
func (p Policy) closed(at netip.AddrPort) bool {
	addr := at.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(p.Closed, func(own netip.AddrPort) bool {
		return own.Port() == at.Port() && (own.Addr().Unmap() == addr || own.Addr().IsUnspecified() && addr.IsLoopback())
	})
}

// String says for people what is open.
func (p Policy) String() string {
	var open []string
	if p.Private {
		open = append(open, "all private networks")
	}
	if p.Loopback {
		open = append(open, "this machine")
	}
	for _, n := range p.Networks {
		open = append(open, n.String())
	}
	if len(open) == 0 {
		return "the public internet only"
	}
	return "the public internet, " + strings.Join(open, ", ")
}

// Client returns an HTTP client that goes only where p allows and gives up after timeout.
func (p Policy) Client(timeout time.Duration) *http.Client {
	dialer := &net.Dialer{Timeout: timeout, ControlContext: func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("%w: %s", ErrAddress, address)
		}
		if !p.Allowed(at.Addr()) || p.closed(at) {
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
		return "the receiver's certificate is not valid: " + flaw(certificate.Err)
	case TimedOut(err):
		return fmt.Sprintf("no answer within %d seconds", int(patience/time.Second))
	}
	// The system's own words, "connection refused", without the name of the call and the addresses that package net puts around them.
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		return "no connection: " + op.Err.Error() // an alert of TLS, which is one of a list
	}
	return "no connection, or it broke"
}

// flaw is what is wrong with a certificate, without the names in it, which the other side chose.
func flaw(err error) string {
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "it has expired, or is not valid yet"
	}
	if _, other := errors.AsType[x509.HostnameError](err); other {
		return "it is for another name"
	}
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		return "it is signed by an authority that this machine does not know"
	}
	return "it cannot be verified"
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
