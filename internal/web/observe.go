package web

import (
	"context"
	"net/http"
	"time"
)

// This file owns what others may know of each request: metrics and traces hear of it here, and get the route's pattern instead of
// the address (INV-8).

// Ended tells how a request ended.
type Ended struct {
	Method, Route string // the pattern; "none" when no route matched
	Status        int
	Took          time.Duration
}

type endedKey struct{}

// Observe returns next, which must have Log around it, with begin called for each request, and what that returns when the request ends.
func Observe(begin func(*http.Request) (context.Context, func(Ended)), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, end := begin(r)
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, endedKey{}, end)))
	})
}

// ended tells whoever observes the request.
func ended(ctx context.Context, e Ended) {
	if end, ok := ctx.Value(endedKey{}).(func(Ended)); ok {
		end(e)
	}
}
