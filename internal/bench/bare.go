package bench

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
)

// This file owns the yardstick: a bare net/http handler that parses the same request and answers a constant, in a process of its own.

// bareAnswer is as long as the service's.
const bareAnswer = `{"message":"Token is valid.","token":"is valid","success":"true","device":{"city":null,"country":"","ip":null,"region":"","registration_city":null,"registration_country":null,"registration_ip":null,"registration_method":null,"registration_region":null,"os_type":"android","last_account_recovery_at":null,"id":123456789,"registration_date":1490996931,"last_sync_date":1490996931}}`

// ServeBare serves it until ctx ends, and prints where as a line of JSON.
func ServeBare(ctx context.Context, out io.Writer) error {
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

// startBare starts it.
func (s *site) startBare(ctx context.Context, program string) (*process, error) {
	var ready struct {
		Base string `json:"base"`
	}
	p, err := launch(ctx, filepath.Join(s.dir, "bare.log"), program, []string{"bench-bare"}, &ready)
	if err != nil {
		return nil, err
	}
	p.base, p.client = ready.Base, newClient(nil)
	return p, nil
}
