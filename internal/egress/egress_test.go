package egress

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

// This file holds the corpus of T-40: addresses in every notation, names that lie, and answers that point elsewhere.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAllowed(t *testing.T) {
	for _, row := range []struct {
		what string
		list string
		want bool
	}{
		{"public", "1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 223.255.255.255", true},
		{"public, IPv6", "2600:: 2606:4700:4700::1111 2a00:1450:4001:80b::200e 2001:4860:4860::8888 3ffe:ffff::1", true},
		{"public, mapped", "::ffff:1.1.1.1", true},
		{"this network", "0.0.0.0 0.255.255.255", false},
		{"private", "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255", false},
		{"shared", "100.64.0.0 100.127.255.255", false},
		{"loopback", "127.0.0.1 127.255.255.255 ::1", false},
		{"link-local, with the clouds' metadata", "169.254.0.0 169.254.169.254 169.254.255.255 fe80::1 fe80::a9fe:a9fe febf:ffff::1", false},
		{"protocol assignments, documentation, benchmarks", "192.0.0.1 192.0.0.192 192.0.2.1 198.51.100.1 203.0.113.1 198.18.0.0 198.19.255.255 2001:db8::1 3fff::1 2001:2::1", false},
		{"multicast, reserved, broadcast", "224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 ff02::1 ff0e::1", false},
		{"unspecified", ":: 0.0.0.0", false},
		{"IPv4-mapped", "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0", false},
		{"IPv4-compatible", "::7f00:1 ::10.0.0.1 ::1.1.1.1", false},
		{"IPv4-translated (RFC 2765)", "::ffff:0:127.0.0.1 ::ffff:0:1.1.1.1", false},
		{"NAT64", "64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::1.1.1.1 64:ff9b:1::10.0.0.1", false},
		{"6to4", "2002:7f00:1:: 2002:a00:1::1 2002:101:101::1 192.88.99.1", false},
		{"Teredo and its neighbours", "2001::1 2001:0:7f00:1:: 2001:10::1 2001:20::1", false},
		{"unique-local, site-local", "fc00::1 fd00:ec2::254 fec0::1", false},
		{"discard, SRv6, not assigned", "100::1 5f00::1 1::1 4000::1 8000::1 c000::1", false},
		{"with a zone", "fe80::1%eth0 ::1%lo fd00::1%0", false},
	} {
		for text := range strings.FieldsSeq(row.list) {
			if got := (Policy{}).Allowed(netip.MustParseAddr(text)); got != row.want {
				t.Errorf("%s: %s is allowed: %v", row.what, text, got)
			}
		}
	}
	if (Policy{Loopback: true}).Allowed(netip.Addr{}) || (Policy{}).Allowed(netip.Addr{}) {
		t.Error("no address at all is allowed")
	}
	for text, want := range map[string]bool{"127.0.0.1": true, "127.1.2.3": true, "::1": true, "::ffff:127.0.0.1": true, "10.0.0.1": false, "0.0.0.0": false, "::": false, "169.254.169.254": false, "64:ff9b::7f00:1": false} {
		if got := (Policy{Loopback: true}).Allowed(netip.MustParseAddr(text)); got != want {
			t.Errorf("with loopback, %s is allowed: %v", text, got)
		}
	}
}

// An operator opens parts of private networks by name, and nothing else by mistake.
func TestNetworks(t *testing.T) {
	for text, right := range map[string]bool{
		"10.0.0.0/8": true, "10.1.2.0/24": true, "192.168.7.9/32": true, "100.64.0.0/16": true, "fd00:1::/32": true, "127.0.0.1/32": true, "::1/128": true,
		"0.0.0.0/0": false, "::/0": false, "10.0.0.0/7": false, "1.1.1.1/32": false, "169.254.169.254/32": false, "169.254.0.0/16": false, "fe80::/10": false,
		"224.0.0.0/4": false, "::ffff:10.0.0.0/104": false, "64:ff9b::/96": false, "126.0.0.0/7": false, "0.0.0.0/32": false,
	} {
		if err := CheckNetwork(netip.MustParsePrefix(text)); (err == nil) != right {
			t.Errorf("%s: %v", text, err)
		}
	}
	p := Policy{Networks: prefixes("10.1.0.0/16", "127.0.0.1/32")}
	for text, want := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "127.0.0.1": true, "1.1.1.1": true, "10.2.0.1": false, "127.0.0.2": false, "::1": false, "169.254.169.254": false, "192.168.0.1": false,
	} {
		if got := p.Allowed(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is allowed: %v", text, got)
		}
	}
	if got := p.String(); got != "the public internet, 10.1.0.0/16, 127.0.0.1/32" {
		t.Error(got)
	}
}

// No way of writing an IPv4 address inside an IPv6 one opens what the plain address does not.
func TestEmbeddedAddresses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v4 := [4]byte(rapid.SliceOfN(rapid.Byte(), 4, 4).Draw(t, "address"))
		plain := Policy{}.Allowed(netip.AddrFrom4(v4))
		for _, prefix := range []string{"::", "::ffff:0.0.0.0", "::ffff:0:0.0.0.0", "64:ff9b::", "64:ff9b:1::", "2001::", "fe80::5efe:0:0"} {
			b := netip.MustParseAddr(prefix).As16()
			copy(b[12:], v4[:])
			if addr := netip.AddrFrom16(b); (Policy{}).Allowed(addr) && !plain {
				t.Fatalf("%s", addr)
			}
		}
		b := netip.MustParseAddr("2002::").As16()
		copy(b[2:], v4[:])
		if addr := netip.AddrFrom16(b); (Policy{}).Allowed(addr) {
			t.Fatalf("%s", addr)
		}
	})
}

// resolveTo makes every host name mean what answer says, for this test; n counts the questions for A records.
func resolveTo(t *testing.T, answer func(n int) []netip.Addr) {
	t.Helper()
	var asked atomic.Int32
	real := net.DefaultResolver
	t.Cleanup(func() { net.DefaultResolver = real })
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go func() {
			defer there.Close()
			for answerQuestion(there, &asked, answer) == nil {
			}
		}()
		return here, nil
	}}
}

// answerQuestion reads one question of DNS over a stream (RFC 1035 section 4.2.2) and answers it with addresses of its type.
func answerQuestion(conn net.Conn, asked *atomic.Int32, answer func(n int) []netip.Addr) error {
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return err
	}
	question := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, question); err != nil {
		return err
	}
	end := 12
	for question[end] != 0 {
		end += 1 + int(question[end])
	}
	kind := question[end+2] // 1 = A, 28 = AAAA
	end += 5
	n := int(asked.Load())
	if kind == 1 {
		n = int(asked.Add(1))
	}
	var records []byte
	var count uint16
	for _, addr := range answer(n) {
		if addr.Is4() == (kind == 1) {
			count++
			records = append(records, 0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, byte(len(addr.AsSlice())))
			records = append(records, addr.AsSlice()...)
		}
	}
	reply := append([]byte{question[0], question[1], 0x81, 0x80, 0, 1, byte(count >> 8), byte(count), 0, 0, 0, 0}, question[12:end]...)
	reply = append(reply, records...)
	_, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...))
	return err
}

func addrs(list ...string) func(int) []netip.Addr {
	var out []netip.Addr
	for _, text := range list {
		out = append(out, netip.MustParseAddr(text))
	}
	return func(int) []netip.Addr { return out }
}

// inside is a service on this machine that must not be reached.
func inside(t *testing.T) (port string, calls *atomic.Int32) {
	t.Helper()
	calls = &atomic.Int32{}
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) }))
	t.Cleanup(server.Close)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, calls
}

func get(t *testing.T, c *http.Client, url string) (*http.Response, error) {
	t.Helper()
	res, err := c.Get(url)
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
	}
	c.CloseIdleConnections()
	return res, err
}

// Every spelling of this machine is refused when the connection is made: those that are addresses, those that the system's resolver
// takes for addresses (RFC 6943 section 3.1.1), and names.
func TestSpellingsOfThisMachine(t *testing.T) {
	port, calls := inside(t)
	resolveTo(t, addrs("127.0.0.1", "::1"))
	c := Policy{}.Client(5 * time.Second)
	for _, host := range []string{
		"127.0.0.1", "127.1.2.3", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "[::ffff:0.0.0.0]",
		"[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[::1%25lo]", "[fe80::1%25lo]", "[fe80::1%251]", "[fd00::1%25eth0]",
		"2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "0x7f.0.0.1", "127.1", "127.0.1", "0", "0x7f.1", "127.0.0.1.", "localhost", "LOCALHOST", "localhost.",
		"a.localhost", "127.0.0.1.nip.example", "①②⑦.⓪.⓪.①", "１２７.0.0.1", "127。0。0。1", "xn--ls8h.example",
	} {
		// Some spellings are no URL, or no name, to Go; that is a refusal too.
		if _, err := get(t, c, "http://"+host+":"+port+"/"); err == nil {
			t.Errorf("%s was reached", host)
		}
	}
	if n := calls.Load(); n != 0 {
		t.Errorf("it was reached %d times", n)
	}
}

// Literal addresses and names that resolve are refused as ErrAddress, which callers tell from other failures.
func TestErrAddress(t *testing.T) {
	port, _ := inside(t)
	resolveTo(t, addrs("10.0.0.1", "fd00::1", "169.254.169.254"))
	c := Policy{}.Client(5 * time.Second)
	for _, host := range []string{"127.0.0.1", "[::1]", "[fe80::1%25lo]", "[::ffff:0:127.0.0.1]", "bank.example", "0x7f.1", "metadata.internal"} {
		if _, err := get(t, c, "http://"+host+":"+port); !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", host, err)
		}
	}
}

// A name that means a public address when somebody looks, and this machine when the connection is made (DNS rebinding), gains nothing.
func TestAnswerChanges(t *testing.T) {
	port, calls := inside(t)
	resolveTo(t, func(n int) []netip.Addr {
		if n == 1 {
			return addrs("1.1.1.1")(n)
		}
		return addrs("127.0.0.1")(n)
	})
	seen, err := net.DefaultResolver.LookupNetIP(t.Context(), "ip4", "rebind.example")
	if err != nil || len(seen) != 1 || !(Policy{}).Allowed(seen[0].Unmap()) {
		t.Fatalf("the look saw %v, %v", seen, err)
	}
	c := Policy{}.Client(5 * time.Second)
	for range 3 {
		if _, err := get(t, c, "http://rebind.example:"+port); !errors.Is(err, ErrAddress) {
			t.Errorf("got %v", err)
		}
	}
	if calls.Load() != 0 {
		t.Error("it was reached")
	}
}

// Of a name's addresses only those that are allowed are tried.
func TestOneOfSeveralAddresses(t *testing.T) {
	port, calls := inside(t)
	resolveTo(t, addrs("10.0.0.1", "169.254.169.254", "127.0.0.1"))
	if _, err := get(t, Policy{Loopback: true}.Client(5*time.Second), "http://bank.example:"+port); err != nil || calls.Load() != 1 {
		t.Errorf("%v, %d calls", err, calls.Load())
	}
}

// An allowed receiver cannot point us elsewhere.
func TestRedirects(t *testing.T) {
	port, calls := inside(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:"+port+"/", status)
		}))
		res, err := get(t, Policy{Loopback: true}.Client(5*time.Second), server.URL)
		server.Close()
		if err != nil || res.StatusCode != status {
			t.Errorf("%d: %v, %v", status, res, err)
		}
	}
	if calls.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// A proxy would connect for us, without our check.
func TestNoProxy(t *testing.T) {
	if (Policy{}).Client(time.Second).Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy may be used")
	}
}

// A receiver that never answers, or never ends its head, costs no more than the time it was given.
func TestTime(t *testing.T) {
	release := make(chan struct{})
	for name, handler := range map[string]http.HandlerFunc{
		"no answer": func(http.ResponseWriter, *http.Request) { <-release },
		"half an answer": func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "x")
			_ = http.NewResponseController(w).Flush()
			<-release
		},
	} {
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		c := Policy{Loopback: true}.Client(50 * time.Millisecond)
		res, err := c.Get(server.URL)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		var timeout interface{ Timeout() bool }
		if !errors.As(err, &timeout) || !timeout.Timeout() {
			t.Errorf("%s: %v", name, err)
		}
		c.CloseIdleConnections()
	}
	close(release)
}

// What is wrong with a certificate is told without a word of it: its names are the other side's to choose (T-40).
func TestReasonNamesNoCertificate(t *testing.T) {
	serve := func(names []string, from, to time.Time) *httptest.Server {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "canary"}, DNSNames: names, NotBefore: from, NotAfter: to}
		der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: private}}}
		server.StartTLS()
		t.Cleanup(server.Close)
		return server
	}
	now := time.Now()
	resolveTo(t, addrs("127.0.0.1"))
	for want, server := range map[string]*httptest.Server{
		"it is for another name":              serve([]string{"canary.example", "evil.example"}, now.Add(-time.Hour), now.Add(time.Hour)),
		"signed by an authority":              serve([]string{"bank.example"}, now.Add(-time.Hour), now.Add(time.Hour)),
		"it has expired, or is not valid yet": serve([]string{"bank.example"}, now.Add(-2*time.Hour), now.Add(-time.Hour)),
	} {
		_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
		c := Policy{Loopback: true}.Client(5 * time.Second)
		_, err := get(t, c, "https://bank.example:"+port)
		if got := Reason(err, time.Second); !strings.HasPrefix(got, "the receiver's certificate is not valid: ") || !strings.Contains(got, want) || strings.Contains(got, "example") || strings.Contains(got, "canary") {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// The head of an answer is bounded.
func TestLongHead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
	}))
	defer server.Close()
	if res, err := get(t, Policy{Loopback: true}.Client(5*time.Second), server.URL); err == nil {
		t.Errorf("a head of a megabyte was read: %s", res.Status)
	}
}
