package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// This file owns listening: time limits of connections, and stopping.

// Listener serves one surface.
type Listener struct {
	http *http.Server
}

// Listen opens addr for the surface called name. The error says what to do.
func Listen(name, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	switch {
	case err == nil:
		return ln, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the address %s of the %s is in use by another program: stop that program, or choose another address with --%s-addr", addr, name, name)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("the address %s of the %s may not be opened by this user: choose a port above 1023 with --%s-addr", addr, name, name)
	default:
		return nil, fmt.Errorf("cannot listen on %s for the %s: %w", addr, name, err)
	}
}

// Serve starts to answer on ln, by TLS when there is a configuration for it. Streams and long polls live as long as they like, so there is no limit on writing
// a whole answer; whoever streams sets a deadline for each write.
func Serve(name string, ln net.Listener, h http.Handler, secure *tls.Config, log *slog.Logger) *Listener {
	l := &Listener{http: &http.Server{
		Handler: h, TLSConfig: secure, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}}
	serve := l.http.Serve
	if secure != nil {
		serve = func(ln net.Listener) error { return l.http.ServeTLS(ln, "", "") }
	}
	go func() {
		if err := serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("stopped listening", "surface", name, "error", err)
		}
	}()
	return l
}

// StopListening stops taking connections and waits for open requests until ctx ends, then cuts them off. Browsers
// keep connections open on which they never ask, and those may last until then.
func StopListening(ctx context.Context, listeners ...*Listener) {
	var wg sync.WaitGroup
	for _, l := range listeners {
		wg.Go(func() {
			if l.http.Shutdown(ctx) != nil {
				l.http.Close()
			}
		})
	}
	wg.Wait()
}
