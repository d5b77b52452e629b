package egress

import "net/netip"

// This file owns which hosts are this machine by what they are called.

// IsLoopback reports whether host is this machine: localhost, 127.0.0.0/8 or ::1, written in lower case and without port, brackets or
// zone, or the same address inside IPv6. No other name counts: where it leads, only the connection shows.
func IsLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Zone() == "" && addr.Unmap().IsLoopback()
}
