package serve

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"countersign.dev/internal/egress"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/settings"
)

// rig is a running process, as the command would start it.
type rig struct {
	t      *testing.T
	ready  Ready
	log    *lockedBuffer
	stop   context.CancelFunc
	result chan error
	ended  bool
}

// basic returns settings for one machine, with ports that the system chooses.
func basic(t *testing.T) *settings.Serve { return local(t.TempDir()) }

func local(folder string) *settings.Serve {
	s := &settings.Serve{}
	s.Database = settings.Database(filepath.Join(folder, "countersign.db"))
	s.MasterKey = seal.NewMaster()
	s.OwnerEmail = "owner@example.com"
	for _, addr := range []*settings.Addr{&s.APIAddr, &s.AuthenticatorAddr, &s.ConsoleAddr, &s.OpsAddr} {
		*addr = "127.0.0.1:0"
	}
	s.APIURL, s.AuthenticatorURL, s.ConsoleURL = "http://localhost:1", "http://localhost:2", "http://localhost:3"
	s.ShutdownGrace, s.ShutdownPatience = settings.Duration(time.Millisecond), settings.Duration(10*time.Second)
	return s
}

func start(t *testing.T, s *settings.Serve, now func() time.Time) *rig {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r := &rig{t: t, log: &lockedBuffer{}, stop: stop, result: make(chan error, 1)}
	told := make(chan Ready, 1)
	go func() {
		r.result <- Run(ctx, Config{Settings: s, Now: now, Log: slog.New(slog.NewJSONHandler(r.log, nil))}, func(ready Ready) error {
			told <- ready
			return nil
		})
	}()
	select {
	case r.ready = <-told:
	case err := <-r.result:
		t.Fatalf("did not start: %v", err)
	}
	t.Cleanup(r.end)
	return r
}

// end stops the process and waits for it.
func (r *rig) end() {
	if r.ended {
		return
	}
	r.ended = true
	r.stop()
	if err := <-r.result; err != nil {
		r.t.Errorf("stopped with %v\n%s", err, r.log)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// ask sends a request to a listener, from an address of this machine.
func (r *rig) ask(method, listener, from, path string, header http.Header) (answer *http.Response, body string) {
	r.t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	client := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext}}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.ready.Listening[listener]+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	for name, values := range header {
		request.Header[name] = values
	}
	if host := header.Get("Host"); host != "" {
		request.Host = host
	}
	res, err := client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res, string(text)
}

// The ops listener tells health and readiness part by part, and profiles without the command line, which may hold a secret (INV-8).
func TestOps(t *testing.T) {
	r := start(t, basic(t), time.Now)
	for path, want := range map[string]string{
		"/healthz":             "200 ok\n",
		"/readyz":              `200 {"ready":true,"parts":{"database":"ok","process":"ok"}}` + "\n",
		"/debug/pprof/cmdline": "404 404 page not found\n",
	} {
		answer, body := r.ask("GET", "ops", "127.0.0.1", path, nil)
		if got := fmt.Sprint(answer.StatusCode, " ", body); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	if answer, body := r.ask("GET", "ops", "127.0.0.1", "/debug/pprof/goroutine?debug=1", nil); answer.StatusCode != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("%s %s", answer.Status, body)
	}
	if r.ready.Operator {
		t.Error("a new database has an operator")
	}
}

// On its way down a process first says that it is not ready, and still answers everybody, asking them to connect elsewhere; then it ends.
func TestDrains(t *testing.T) {
	s := basic(t)
	s.ShutdownGrace = settings.Duration(time.Second)
	r := start(t, s, time.Now)
	began := time.Now()
	r.stop()
	for {
		answer, body := r.ask("GET", "ops", "127.0.0.1", "/readyz", nil)
		if answer.StatusCode == http.StatusServiceUnavailable {
			if body != `{"ready":false,"parts":{"database":"ok","process":"stopping"}}`+"\n" {
				t.Error(body)
			}
			break
		}
	}
	answer, _ := r.ask("GET", "authenticator", "127.0.0.1", "/", http.Header{"Host": {"localhost:2"}})
	if answer.StatusCode != http.StatusOK || !answer.Close {
		t.Errorf("while draining: %s, closes: %v", answer.Status, answer.Close)
	}
	r.end()
	if took := time.Since(began); took < time.Second {
		t.Errorf("the grace was cut short: %v", took)
	}
	if _, err := net.Dial("tcp", r.ready.Listening["ops"]); err == nil {
		t.Error("something still listens")
	}
}

// Behind a proxy the plain listener answers the proxy alone, and believes nobody else about addresses (T-61).
func TestProxies(t *testing.T) {
	s := basic(t)
	s.AuthenticatorURL = "https://auth.example.com"
	s.TrustedProxy = []settings.Network{{Prefix: netip.MustParsePrefix("127.0.0.2/32")}}
	s.StrangerRate, s.StrangerBurst = 0.001, 2
	r := start(t, s, time.Now)
	get := func(from string, forwarded ...string) int {
		answer, _ := r.ask("POST", "authenticator", from, "/device/v1/tickets/look", http.Header{"Host": {"auth.example.com"}, "X-Forwarded-For": forwarded})
		return answer.StatusCode
	}
	if got := get("127.0.0.1", "203.0.113.1"); got != http.StatusForbidden {
		t.Errorf("around the proxy: %d", got)
	}
	first := get("127.0.0.2", "203.0.113.9")
	if first == http.StatusForbidden || first == http.StatusTooManyRequests {
		t.Fatalf("through the proxy: %d", first)
	}
	if again := get("127.0.0.2", "203.0.113.9"); again != first {
		t.Fatalf("the second of two: %d", again)
	}
	for _, cheat := range [][]string{{"198.51.100.7, 203.0.113.9"}, {"198.51.100.8", "203.0.113.9"}, {"127.0.0.2, 203.0.113.9"}, {"nonsense,203.0.113.9"}} {
		if got := get("127.0.0.2", cheat...); got != http.StatusTooManyRequests {
			t.Errorf("an invented address %q gave a fresh budget: %d", cheat, got)
		}
	}
	if other := get("127.0.0.2", "203.0.113.10"); other != first {
		t.Errorf("somebody else shares the budget: %d", other)
	}
}

// certificate writes a certificate with that serial number for localhost, and its key.
func certificate(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err1 := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	secret, err2 := x509.MarshalPKCS8PrivateKey(private)
	err3 := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644)
	err4 := os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
}

// New files of a certificate count without a restart; files that do not belong together leave the old one, and are told once.
func TestCertificateReload(t *testing.T) {
	s := basic(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certificate(t, cert, key, 1)
	s.TLSCert, s.TLSKey, s.AuthenticatorURL = settings.File(cert), settings.File(key), "https://localhost:2"
	var ahead atomic.Int64
	r := start(t, s, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	serial := func() int64 {
		t.Helper()
		ahead.Add(int64(2 * lookEvery))
		conn, err := tls.Dial("tcp", r.ready.Listening["authenticator"], &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
			t.Errorf("speaks %q", got)
		}
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 1 {
		t.Errorf("serves certificate %d", got)
	}
	if err := os.WriteFile(cert, []byte("half a certi"), 0o644); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := serial(); got != 1 {
			t.Errorf("a broken file: serves certificate %d", got)
		}
	}
	if n := strings.Count(r.log.String(), "the old one stays"); n != 1 {
		t.Errorf("told %d times:\n%s", n, r.log)
	}
	certificate(t, cert, key, 2)
	if got := serial(); got != 2 {
		t.Errorf("new files: serves certificate %d", got)
	}
	certificate(t, cert, key, 3)
	if err := os.Chmod(key, 0o604); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 || !strings.Contains(r.log.String(), "may be read by everybody") {
		t.Errorf("a key that everybody may read: serves certificate %d\n%s", got, r.log)
	}
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 3 {
		t.Errorf("once it is private: serves certificate %d", got)
	}
	if _, err := tls.Dial("tcp", r.ready.Listening["api"], &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("speaks TLS 1.1")
	}
}

// systemd hears when everything answers, and when the end begins.
func TestNotifies(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	r := start(t, basic(t), time.Now)
	hears := func(want string) {
		t.Helper()
		buf := make([]byte, 100)
		n, err := conn.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("%q, %v; want %q", buf[:n], err, want)
		}
	}
	hears("READY=1")
	r.end()
	hears("STOPPING=1")
}

// What keeps a process from starting is one sentence that says what to do, and nothing is left behind.
func TestRefusesToStart(t *testing.T) {
	s := basic(t)
	r := start(t, s, time.Now)
	try := func(want string, change func(*settings.Serve)) {
		t.Helper()
		other := *s
		change(&other)
		err := Run(t.Context(), Config{Settings: &other, Now: time.Now, Log: slog.New(slog.DiscardHandler)}, func(Ready) error {
			t.Error("it started")
			return context.Canceled
		})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	try("in use by another countersign: stop that one first", func(*settings.Serve) {})
	elsewhere := settings.Database(filepath.Join(t.TempDir(), "x.db"))
	try("is in use by another program: stop that program, or choose another address with --api-addr", func(o *settings.Serve) {
		o.Database, o.APIAddr = elsewhere, settings.Addr(r.ready.Listening["ops"])
	})
	r.end()
	try("the master key does not open this database's keys: use the key that the database was created with", func(o *settings.Serve) { o.MasterKey = seal.NewMaster() })
	start(t, s, time.Now).end() // with the right key, on everything that was given back

	db, err := sql.Open("sqlite", "file:"+string(s.Database))
	if err == nil {
		_, err = db.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, true)`)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	try("written by a newer version of countersign: use that version, or restore a backup", func(*settings.Serve) {})
}

// The operator's word on push reaches the sender: who is named, where messages may go, and whether any do.
func TestPushSettings(t *testing.T) {
	s := basic(t)
	s.PushHost, s.PushContact = []settings.PushHost{"push.example.com"}, "https://example.com/contact"
	got := serverConfig(Config{Settings: s}).Push
	if got.Off || got.Loopback || got.Contact != "https://example.com/contact" || len(got.Hosts) != 1 || got.Hosts[0] != "push.example.com" {
		t.Errorf("%+v", got)
	}
	s.PushOff, s.PushContact = true, ""
	if got := serverConfig(Config{Settings: s}).Push; !got.Off || got.Contact != "mailto:owner@example.com" {
		t.Errorf("%+v", got)
	}
}

// T-40: whatever the settings open, no callback, logo or push message goes to a listener of our own; others on the same address get theirs.
func TestOwnListenersAreClosed(t *testing.T) {
	beside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer beside.Close()
	for name, open := range map[string]func(*settings.Serve){
		"egress-allow": func(s *settings.Serve) {
			s.EgressAllow = []settings.Inside{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}}
		},
		"private-callbacks": func(s *settings.Serve) { s.PrivateCallbacks = true },
	} {
		s := basic(t)
		s.OpsAddr = ":0" // every address of this machine
		open(s)
		p := &process{Config: Config{Settings: s}, doors: map[string]net.Listener{}}
		if err := p.open(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.closeDoors)
		client := p.egress().Client(5 * time.Second)
		if res, err := client.Get(beside.URL); err != nil {
			t.Errorf("%s: the service beside it: %v", name, err)
		} else {
			res.Body.Close()
		}
		for surface, ln := range p.doors {
			_, port, _ := net.SplitHostPort(ln.Addr().String())
			if _, err := client.Get("http://127.0.0.1:" + port); !errors.Is(err, egress.ErrAddress) {
				t.Errorf("%s: %s: %v", name, surface, err)
			}
		}
		client.CloseIdleConnections()
	}
}
