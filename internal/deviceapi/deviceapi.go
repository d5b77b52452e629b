// Package deviceapi is the surface that authenticators use: their API under
// /device/v1/, and the pages of the authenticator app.
//
// The route table is in routes.go. A request under /device/v1/ is JSON in and
// out; errors are problem documents. Signing in is proving the device's key; the session is a
// cookie. Nothing that needs no session says whether a number, user or device
// exists (INV-9). What a device may see and do is decided by the grants it has
// when it asks.
package deviceapi

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/live"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/web"
)

// API is what the surface needs. All fields must be set but those that say otherwise.
type API struct {
	Devices   *device.Service
	Approvals *approval.Service
	Resets    *reset.Service
	Push      *notify.Service
	Live      *live.Hub
	Streams   *web.Streams // nil: each stream waits in its handler
	// Logos returns the PNG with that hex SHA-256, or nil when there is none.
	Logos func(ctx context.Context, digest string) ([]byte, error)
	// App is the built authenticator: index.html, other files of the root, and assets/ with a hash in each name.
	App fs.FS
	// Shared is served under /shared/; nil: nothing is.
	Shared fs.FS
	// PublicURL is the authenticator's origin, without trailing slash. Its host is the only one that is answered to.
	PublicURL string
	Now       func() time.Time
	Logger    *slog.Logger

	// Proxies are the networks whose X-Forwarded-For is believed; usually none.
	Proxies web.Proxies
	// StrangerRate and StrangerBurst limit what one network address may ask without a session, in requests a
	// second and at once; 0: 10 and 200.
	StrangerRate  float64
	StrangerBurst int
}

// The cookie of a device's session (contract section 2).
const (
	cookieName = "countersign_device"
	cookiePath = "/device/"
)

// maxBody bounds request bodies, in bytes.
const maxBody = 16 << 10

// surface is an API with what it keeps while it runs.
type surface struct {
	API
	secure    bool // cookies only over TLS
	strangers *web.Limiter
}

// Handler returns the whole listener: routes, log, headers and checks. It panics when PublicURL is not an origin.
func (a *API) Handler() http.Handler {
	public, err := parseOrigin(a.PublicURL)
	if err != nil {
		panic(err)
	}
	s := newSurface(*a, public)
	h := strict(sameOrigin(public, s.mux()))
	h = web.Host(public.Host)(h)
	h = web.ToPublic(public)(h)
	h = web.Headers(h)
	return web.Log(a.Logger, a.Now, web.Problem, h)
}

// strict adds to the shared policy that only the app's own policy turns text into script addresses (T-60).
func strict(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", web.Policy+"; require-trusted-types-for 'script'; trusted-types countersign")
		next.ServeHTTP(w, r)
	})
}

func newSurface(a API, public *url.URL) *surface {
	if a.StrangerRate == 0 {
		a.StrangerRate = 10
	}
	if a.StrangerBurst == 0 {
		a.StrangerBurst = 200
	}
	return &surface{
		API: a, secure: public.Scheme == "https",
		strangers: web.NewLimiter(a.StrangerRate, a.StrangerBurst, a.Now),
	}
}

// session returns h for the device whose session the cookie names, or refuses.
func (s *surface) session(h func(w http.ResponseWriter, r *http.Request, d device.Device) error) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		d, err := s.Devices.Session(r.Context(), cookie(r))
		if err != nil {
			return err
		}
		web.Note(r, slog.String("device", d.ID))
		if err := s.Devices.Seen(r.Context(), d); err != nil {
			return err
		}
		return h(w, r, d)
	}
}

// stranger returns h within the limit of the caller's network address.
func (s *surface) stranger(h web.Handler) web.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := s.strangers.Allow(s.Proxies.Address(r)); err != nil {
			return err
		}
		return h(w, r)
	}
}

// cookie returns the session that the request carries, or "".
func cookie(r *http.Request) string {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return ""
	}
	return c.Value
}

// setCookie hands a session to the browser; "" takes it back.
func (s *surface) setCookie(w http.ResponseWriter, session string) {
	age := int(device.SessionLife / time.Second)
	if session == "" {
		age = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: session, Path: cookiePath, MaxAge: age, HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteStrictMode,
	})
}
