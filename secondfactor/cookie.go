// This file owns the two cookies, the headers of every page and the local paths.

package secondfactor

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The cookies. Browsers send cookies to every port of a host, so the names say whose they are.
const (
	sessionCookie = "countersign_login"
	pendingCookie = "countersign_login_pending"
)

// cookieName adds the prefix by which browsers refuse a cookie that another host or an unencrypted page set.
func (g *Guard) cookieName(name string) string {
	if g.secure {
		return "__Host-" + name
	}
	return name
}

// setCookie sets a cookie to a value, for a life; a life of 0 means until the browser ends, below 0 deletes it.
func (g *Guard) setCookie(w http.ResponseWriter, name, value string, life time.Duration) {
	cookie := &http.Cookie{
		Name: g.cookieName(name), Value: value, Path: "/", MaxAge: int(life.Seconds()),
		HttpOnly: true, Secure: g.secure, SameSite: http.SameSiteLaxMode,
	}
	http.SetCookie(w, cookie)
}

// cookieHash is the hash of a cookie's value, "" without one.
func (g *Guard) cookieHash(r *http.Request, name string) string {
	cookie, err := r.Cookie(g.cookieName(name))
	if err != nil || cookie.Value == "" {
		return ""
	}
	return hashOf(cookie.Value)
}

// newToken is a cookie value of 256 random bits. It is never derived from anything that the browser sent (T-23).
func newToken() (value, hash string) {
	value = rand.Text() + rand.Text()
	return value, hashOf(value)
}

// Headers sets what every page of a log-in should carry: no foreign content, no frames, no cache, no sniffing. Use it for your own
// pages around the second step as well.
func Headers(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
	h.Set("Cache-Control", "no-store")
}

// LocalPath returns a path of this application that is safe to redirect to, or otherwise when the text is no such path: another host,
// a scheme, a control character, a backslash that browsers take for a slash, or a page of the second step itself.
func LocalPath(text, otherwise string) string {
	if len(text) > 1024 || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") || strings.ContainsRune(text, '\\') ||
		strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return otherwise
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil ||
		strings.HasPrefix(u.Path, "//") || u.Path == "/login" || strings.HasPrefix(u.Path, "/login/") || strings.HasPrefix(u.Path, "/authy/") {
		return otherwise
	}
	return u.String()
}

// connectionAddress is the address of the connection. Behind a proxy it is the proxy's: set Config.Address.
func connectionAddress(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return ""
	}
	return host
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
