package bench

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"time"
)

// This file owns the yardstick: a bare net/http handler that parses the same request and answers a constant, in a process of its own.

// bareAnswer is as long as the service's.
const bareAnswer = `{"message":"Token is valid.","token":"is valid","success":"true","device":{"city":null,"country":"","ip":null,"region":"","registration_city":null,"registration_country":null,"registration_ip":null,"registration_method":null,"registration_region":null,"os_type":"android","last_account_recovery_at":null,"id":123456789,"registration_date":1490996931,"last_sync_date":1490996931}}`

// ServeBare serves it until ctx ends, and prints where as a line of JSON. Each request computes for as long as work besides, on a processor that does nothing else.
func ServeBare(ctx context.Context, work time.Duration, out io.Writer) error {
	rounds := roundsIn(work)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /protected/{format}/verify/{token}/{id}", func(w http.ResponseWriter, r *http.Request) {
		_, err := strconv.ParseInt(r.PathValue("id"), 10, 64)
		query, bad := url.ParseQuery(r.URL.RawQuery)
		if err != nil || bad != nil || r.PathValue("format") != "json" || r.PathValue("token") == "" || r.Header.Get("X-Authy-API-Key") == "" || !query.Has("force") {
			http.Error(w, "not the request that is expected", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		compute(rounds)
		io.WriteString(w, bareAnswer)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	stopped := context.AfterFunc(ctx, func() { server.Close() })
	defer stopped()
	if err := json.NewEncoder(out).Encode(struct {
		Base string `json:"base"`
	}{"http://" + ln.Addr().String()}); err != nil {
		return err
	}
	if err := server.Serve(ln); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// compute hashes a page, which is in the processor's cache, as often as told.
func compute(rounds int) {
	var page [4096]byte
	for range rounds {
		sum := sha256.Sum256(page[:])
		copy(page[:], sum[:])
	}
}

// roundsIn is how many rounds of compute take as long as work, at the machine's best speed.
func roundsIn(work time.Duration) int {
	const often = 100
	best := time.Duration(math.MaxInt64)
	for range 50 {
		begun := time.Now()
		compute(often)
		best = min(best, time.Since(begun))
	}
	return int(work * often / best)
}

// startBare starts it.
func (s *site) startBare(ctx context.Context, program string, work time.Duration) (*process, error) {
	var ready struct {
		Base string `json:"base"`
	}
	p, err := launch(ctx, filepath.Join(s.dir, "bare.log"), program, []string{"bench-bare", "--work", work.String()}, &ready)
	if err != nil {
		return nil, err
	}
	p.base, p.client = ready.Base, newClient(nil)
	return p, nil
}
