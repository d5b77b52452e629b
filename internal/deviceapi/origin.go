package deviceapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/web"
)

// This file owns who may call from a browser: our own pages and nobody else's (T-60).

var errCrossOrigin = fault.New(fault.Forbidden, "cross-origin", "This may only be asked by the authenticator's own pages.")

func parseOrigin(publicURL string) (*url.URL, error) {
	u, err := url.Parse(publicURL)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.Scheme+"://"+u.Host != publicURL {
		return nil, fmt.Errorf("the authenticator's public URL %q is not an origin such as https://auth.example.com", publicURL)
	}
	return u, nil
}

// sameOrigin refuses what another origin's page asks: changes by http.CrossOriginProtection, and reads under /device/ as well,
// because cookies ignore ports and every surface of a laptop is the same site. A request that no
// browser made carries neither Sec-Fetch-Site nor Origin and passes.
func sameOrigin(public *url.URL, next http.Handler) http.Handler {
	changes := http.NewCrossOriginProtection()
	if err := changes.AddTrustedOrigin(public.Scheme + "://" + public.Host); err != nil {
		panic(err) // parseOrigin let only origins pass
	}
	refuse := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { web.Problem(w, r, errCrossOrigin) })
	changes.SetDenyHandler(refuse)
	changing := changes.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		site := r.Header.Get("Sec-Fetch-Site")
		if strings.HasPrefix(r.URL.Path, "/device/") && site != "" && site != "same-origin" && site != "none" {
			refuse(w, r)
			return
		}
		changing.ServeHTTP(w, r)
	})
}
