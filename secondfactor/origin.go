// This file owns where a request comes from: the browser's own words, and its network address behind proxies.

package secondfactor

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"countersign.dev/client"
)

// Origin is what is known of the browser behind a request: by its own word, and by Config.Address.
func (g *Guard) Origin(r *http.Request) Origin {
	return Origin{Browser: Browser(r), Address: g.config.Address(r)}
}

// context is what the device shows of where an attempt was begun, in the form that the provider keeps, because the device signs it. What
// is unknown is left out rather than invented (D29).
func (g *Guard) context(a Attempt) client.Context {
	from := client.Context{Origin: g.origin}
	if ip, err := netip.ParseAddr(a.Origin.Address); err == nil {
		from.IP = ip.Unmap().WithZone("").String()
	}
	if a.Origin.Browser != "unknown" {
		from.UserAgent = a.Origin.Browser // in a few words: nobody reads what browsers call themselves
	}
	if strings.Trim(from.Origin, "abcdefghijklmnopqrstuvwxyz0123456789:/.-[]") != "" {
		from.Origin = "" // no name that a device would show
	}
	return from
}

// connectionAddress is the address of the connection. Behind a proxy it is the proxy's: set Config.Address.
func connectionAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
}

// ForwardedBy makes a function for Config.Address: the last address in X-Forwarded-For that is none of these proxies', and the connection's
// own when the connection is from none of them. Whatever a browser writes into that header stands before what the proxies add.
func ForwardedBy(proxies ...netip.Prefix) func(*http.Request) string {
	ours := func(address string) bool {
		ip, err := netip.ParseAddr(address)
		return err == nil && slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(ip.Unmap()) })
	}
	return func(r *http.Request) string {
		address := connectionAddress(r)
		hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
		for _, hop := range slices.Backward(hops) {
			if !ours(address) {
				return address
			}
			hop = strings.TrimSpace(hop)
			if _, err := netip.ParseAddr(hop); err != nil {
				return address // a proxy that does not say, or something that is no address
			}
			address = hop
		}
		return address
	}
}

// Browser names browser and system in a few words, "unknown" when the header says nothing known. It is what the browser
// says of itself: good enough to recognise one's own, worth nothing as proof.
func Browser(r *http.Request) string {
	agent := r.UserAgent()
	first := func(pairs ...string) string {
		for i := 0; i < len(pairs); i += 2 {
			if strings.Contains(agent, pairs[i]) {
				return pairs[i+1]
			}
		}
		return ""
	}
	// The order matters: most browsers also name those they want to be taken for.
	name := first("Edg", "Edge", "OPR/", "Opera", "Firefox/", "Firefox", "FxiOS", "Firefox", "CriOS", "Chrome", "Chrome/", "Chrome", "Safari/", "Safari")
	system := first("iPhone", "iPhone", "iPad", "iPad", "Android", "Android", "Windows", "Windows", "Mac OS", "macOS", "CrOS", "ChromeOS", "Linux", "Linux")
	switch {
	case name == "" && system == "":
		return "unknown"
	case system == "":
		return name
	case name == "":
		return system
	}
	return name + " on " + system
}
