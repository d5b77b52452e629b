// This file owns the cookies, the headers of every page and the local paths.

package secondfactor

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// The cookies, beside one of each trusted browser and account. Browsers send cookies to every port of a host, so the names say whose they are.
const (
	sessionCookie = "countersign_login"
	pendingCookie = "countersign_login_pending"
)

// cookieName adds the prefix by which browsers refuse a cookie that another host or an unencrypted page set.
func (g *Guard) cookieName(name string) string {
	if g.base != "" {
		name += "_" + hashOf(g.base)[:6] // the host may have other applications under other paths
	}
	if g.secure {
		return "__Host-" + name
	}
	return name
}

// local is a path as handlers see it, without the prefix.
func (g *Guard) local(path string) string {
	if rest, found := strings.CutPrefix(path, g.base+"/"); found {
		return "/" + rest
	}
	return path
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
