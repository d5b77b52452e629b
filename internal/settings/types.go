package settings

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"countersign.dev/internal/egress"
	"countersign.dev/internal/message"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/store"
	"countersign.dev/internal/wakeup"
)

// This file owns the types of settings: which texts are right, and the sentence for those that are not. A type's
// UnmarshalText checks one value, its String shows it. Sentences begin with the value, except for secrets: "the value".

// File is a path.
type File string

// UnmarshalText refuses the empty path.
func (f *File) UnmarshalText(text []byte) error {
	if len(text) == 0 || strings.ContainsRune(string(text), 0) {
		return fmt.Errorf("%q is not a path: name a file or folder, or leave the setting out", text)
	}
	*f = File(text)
	return nil
}

// Database is the path of an SQLite file, or the address of a PostgreSQL database.
type Database string

// UnmarshalText tells one from the other.
func (d *Database) UnmarshalText(text []byte) error {
	s := string(text)
	if strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
			return errors.New("the value is no database's address: write postgres://USER@HOST/NAME, or the path of an SQLite file")
		}
	} else if s == "" || strings.ContainsRune(s, 0) {
		return errors.New("the value is empty: write postgres://USER@HOST/NAME, or the path of an SQLite file")
	}
	*d = Database(s)
	return nil
}

// Postgres reports whether it is PostgreSQL.
func (d Database) Postgres() bool {
	return strings.Contains(string(d), "://") || store.KeyValue(string(d))
}

// passwordValue is a password in the other form, bare or in quotes.
var passwordValue = regexp.MustCompile(`(password\s*=\s*)('(?:[^'\\]|\\.)*'?|(?:[^\s\\]|\\.)*)`)

// String hides the passwords: of the user, and of the key of a client's certificate.
func (d Database) String() string {
	if !d.Postgres() {
		return string(d)
	}
	u, err := url.Parse(string(d))
	if err != nil || u.Scheme == "" {
		return passwordValue.ReplaceAllString(string(d), "${1}xxxxx")
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword"} {
		if q.Has(name) {
			q.Set(name, "xxxxx")
			u.RawQuery = q.Encode()
		}
	}
	return u.Redacted()
}

// NATS is the address of a NATS server, or several.
type NATS string

// UnmarshalText wants nats:// or tls:// addresses.
func (n *NATS) UnmarshalText(text []byte) error {
	if _, err := wakeup.Servers(string(text)); err != nil {
		return err
	}
	*n = NATS(text)
	return nil
}

// String hides passwords and tokens.
func (n NATS) String() string {
	servers, err := wakeup.Servers(string(n))
	if err != nil { // there is none
		return string(n)
	}
	shown := make([]string, len(servers))
	for i, u := range servers {
		if _, password := u.User.Password(); u.User != nil && !password {
			u.User = url.User("xxxxx") // a token
		}
		shown[i] = u.Redacted()
	}
	return strings.Join(shown, ",")
}

// Key is a master key.
type Key []byte

// examples are keys that stand in somebody's documents.
var examples = []string{
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	"603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4", // NIST SP 800-38A
}

// distinct is how many different bytes a key has at least. A random one has fewer with a probability below 2^-70.
const distinct = 16

// UnmarshalText refuses what is no key, and what everybody knows.
func (k *Key) UnmarshalText(text []byte) error {
	s := strings.ToLower(strings.TrimSpace(string(text)))
	key, err := hex.DecodeString(s)
	if err != nil || len(key) != seal.KeySize {
		return fmt.Errorf("the value is not a master key, which has %d hex digits: make one with: countersign keys new FILE", 2*seal.KeySize)
	}
	seen := map[byte]bool{}
	for _, b := range key {
		seen[b] = true
	}
	known := len(seen) < distinct
	for _, example := range examples {
		known = known || s == example
	}
	if known {
		return errors.New("the value is an example, which everybody knows: make one of your own with: countersign keys new FILE")
	}
	*k = key
	return nil
}

// Email is a plain mail address.
type Email string

// UnmarshalText takes no display name.
func (e *Email) UnmarshalText(text []byte) error {
	a, err := mail.ParseAddress(string(text))
	if err != nil || a.Address != string(text) || len(text) > 254 {
		return fmt.Errorf("%q is not a mail address: write it like owner@example.com", text)
	}
	*e = Email(text)
	return nil
}

// Addr is where to listen.
type Addr string

// UnmarshalText wants a host or nothing, and a port.
func (a *Addr) UnmarshalText(text []byte) error {
	_, port, err := net.SplitHostPort(string(text))
	if n, numeric := strconv.ParseUint(port, 10, 16); err != nil || numeric != nil || n > 65535 {
		return fmt.Errorf("%q is not an address to listen on: write it like 127.0.0.1:8301, or :8301 for every network of this machine", text)
	}
	*a = Addr(text)
	return nil
}

// URL is a public address: scheme and host, without trailing slash.
type URL string

// UnmarshalText wants an origin. Whether http is enough depends on the host.
func (p *URL) UnmarshalText(text []byte) error {
	u, err := url.Parse(strings.TrimSuffix(string(text), "/"))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("%q is not a public address: write scheme and host alone, like https://login.example.com", text)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return fmt.Errorf("%q would let everything travel in plain text: write https, which http may stand for on localhost only", text)
	}
	*p = URL(u.Scheme + "://" + strings.ToLower(u.Host))
	return nil
}

// HTTPS reports whether browsers come by TLS.
func (p URL) HTTPS() bool { return strings.HasPrefix(string(p), "https:") }

// isLoopback also takes the names that browsers and resolvers keep for this machine (RFC 6761 section 6.3).
func isLoopback(host string) bool {
	return egress.IsLoopback(host) || strings.HasSuffix(host, ".localhost")
}

// Gateway is what carries messages to people, with its credentials.
type Gateway string

// UnmarshalText wants one of the forms that package message knows.
func (g *Gateway) UnmarshalText(text []byte) error {
	if _, err := message.ParseGateway(string(text)); err != nil {
		return fmt.Errorf("the value is no gateway: %w", err)
	}
	*g = Gateway(text)
	return nil
}

// String hides the credentials.
func (g Gateway) String() string { return message.MaskGateway(string(g)) }

// Network is a range of addresses.
type Network struct{ netip.Prefix }

// UnmarshalText also takes a single address.
func (n *Network) UnmarshalText(text []byte) (err error) {
	if n.Prefix, err = parseNetwork(string(text)); err == nil && n.Bits() == 0 {
		err = fmt.Errorf("%q is everybody: name the proxy's own address or network, or anyone could forge where a request comes from", text)
	}
	return err
}

func parseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is neither an address nor a network: write it like 10.0.0.5 or 10.0.0.0/24", text)
	case p != p.Masked():
		return p, fmt.Errorf("%q has bits behind its length: write %s", text, p.Masked())
	}
	return p, nil
}

// Inside is a part of a private network, or of this machine's own addresses.
type Inside struct{ netip.Prefix }

// UnmarshalText also takes a single address.
func (n *Inside) UnmarshalText(text []byte) (err error) {
	if n.Prefix, err = parseNetwork(string(text)); err == nil {
		err = egress.CheckNetwork(n.Prefix)
	}
	return err
}

// Duration is a length of time above zero.
type Duration time.Duration

// UnmarshalText takes what time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v <= 0 || v > time.Hour {
		return fmt.Errorf("%q is not a length of time of at most an hour: write it like 20s or 1m30s", text)
	}
	*d = Duration(v)
	return nil
}

func (d Duration) String() string { return time.Duration(d).String() }

// Keep is how long something stays, in days. Zero is for ever.
type Keep time.Duration

const (
	day     = 24 * time.Hour
	forever = "forever"
)

// UnmarshalText takes days like 90d, and forever.
func (k *Keep) UnmarshalText(text []byte) error {
	days, found := strings.CutSuffix(string(text), "d")
	n, err := strconv.Atoi(days)
	switch {
	case string(text) == forever:
		*k = 0
		return nil
	case err != nil || !found || n > 36_500:
		return fmt.Errorf("%q is no number of days: write it like 90d, or forever", text)
	case time.Duration(n)*day < store.Least:
		return fmt.Errorf("%q is too short: limits and callbacks look back for days, so keep it for %s at least", text, Keep(store.Least))
	}
	*k = Keep(time.Duration(n) * day)
	return nil
}

func (k Keep) String() string {
	if k == 0 {
		return forever
	}
	return fmt.Sprintf("%dd", time.Duration(k)/day)
}

// Count is a whole number from 1 on.
type Count int

// UnmarshalText bounds it by a million.
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > 1_000_000 {
		return fmt.Errorf("%q is not a whole number from 1 to 1000000", text)
	}
	*c = Count(n)
	return nil
}

// Rate is a number of times a second.
type Rate float64

// UnmarshalText bounds it by a million.
func (r *Rate) UnmarshalText(text []byte) error {
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil || !(v > 0 && v <= 1_000_000) {
		return fmt.Errorf("%q is not a number above 0 and up to 1000000, such as 10 or 0.5", text)
	}
	*r = Rate(v)
	return nil
}

// Level is from where on something is logged.
type Level slog.Level

// UnmarshalText knows four words.
func (l *Level) UnmarshalText(text []byte) error {
	v, ok := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}[string(text)]
	if !ok {
		return fmt.Errorf("%q is not a level: write debug, info, warn or error", text)
	}
	*l = Level(v)
	return nil
}

func (l Level) String() string { return strings.ToLower(slog.Level(l).String()) }

// Format is how log lines look.
type Format string

// UnmarshalText knows two words.
func (f *Format) UnmarshalText(text []byte) error {
	if s := string(text); s != "json" && s != "text" {
		return fmt.Errorf("%q is not a format: write json or text", text)
	}
	*f = Format(text)
	return nil
}
