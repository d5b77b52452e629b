package message

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"os"
	"slices"
	"strings"

	"countersign.dev/internal/otp"
)

// This file owns how gateways are written in the settings: one address each, such as smpp://user:password@host:2775?from=Example.
// No error repeats what may be a secret.

// carrier is a kind of gateway: how it is written, what it carries, and what makes it.
type carrier struct {
	scheme, form string
	channels     []otp.Channel
	open         func(*dsn) (Gateway, error)
}

var carriers = []carrier{
	{"smpp", "smpp://SYSTEM-ID:PASSWORD@HOST:2775?from=SENDER", []otp.Channel{otp.SMS}, newSMPP},
	{"smpps", "smpps://SYSTEM-ID:PASSWORD@HOST:3550?from=SENDER", []otp.Channel{otp.SMS}, newSMPP},
	{"twilio", "twilio://ACCOUNT-SID:AUTH-TOKEN@api.twilio.com?from=+12025550100", []otp.Channel{otp.SMS, otp.Voice}, newTwilio},
	{"twilio+http", "twilio+http://ACCOUNT-SID:AUTH-TOKEN@HOST?from=+12025550100", []otp.Channel{otp.SMS, otp.Voice}, newTwilio},
	{"smtp", "smtp://USER:PASSWORD@HOST:587?from=codes@example.com", []otp.Channel{otp.Email}, newSMTP},
	{"smtps", "smtps://USER:PASSWORD@HOST:465?from=codes@example.com", []otp.Channel{otp.Email}, newSMTP},
	{"webhook+https", "webhook+https://HOST/PATH?secret=whsec_…", []otp.Channel{otp.SMS, otp.Voice, otp.Email}, newWebhook},
	{"webhook+http", "webhook+http://HOST/PATH?secret=whsec_…", []otp.Channel{otp.SMS, otp.Voice, otp.Email}, newWebhook},
}

// ParseGateway makes the gateway that address describes. Nothing is connected yet.
func ParseGateway(address string) (Gateway, error) {
	gateway, _, err := parseGateway(address)
	return gateway, err
}

// ParseGateways makes the gateways of one channel, in order.
func ParseGateways(channel otp.Channel, addresses []string) ([]Gateway, error) {
	var all []Gateway
	for i, address := range addresses {
		gateway, channels, err := parseGateway(address)
		if err != nil {
			return nil, fmt.Errorf("gateway %d: %w", i+1, err)
		}
		if !slices.Contains(channels, channel) {
			return nil, fmt.Errorf("gateway %d: %s carries no %s: name one of %s", i+1, gateway.Name(), nouns[channel], forms(channel))
		}
		if slices.ContainsFunc(all, func(g Gateway) bool { return g.Name() == gateway.Name() }) {
			return nil, fmt.Errorf("gateway %d: %s is named twice: records could not tell which one sent", i+1, gateway.Name())
		}
		all = append(all, gateway)
	}
	return all, nil
}

var nouns = map[otp.Channel]string{otp.SMS: "text messages", otp.Voice: "calls", otp.Email: "mail"}

func forms(channel otp.Channel) string {
	var all []string
	for _, c := range carriers {
		if channel == "" || slices.Contains(c.channels, channel) {
			all = append(all, c.form)
		}
	}
	return strings.Join(all, ", ")
}

func parseGateway(address string) (Gateway, []otp.Channel, error) {
	scheme, _, ok := strings.Cut(address, "://")
	for _, c := range carriers {
		if !ok || c.scheme != scheme {
			continue
		}
		d, err := parseDSN(address)
		var gateway Gateway
		if err == nil {
			gateway, err = c.open(d)
		}
		if err == nil {
			err = d.leftover()
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w; it is written as %s", scheme, err, c.form)
		}
		return gateway, c.channels, nil
	}
	return nil, nil, fmt.Errorf("a gateway is written as one of %s", forms("")) // and what stands there may be a secret
}

// MaskGateway returns the address with its secrets masked, whatever is wrong with it.
func MaskGateway(address string) string {
	scheme, _, _ := strings.Cut(address, "://")
	known := slices.ContainsFunc(carriers, func(c carrier) bool { return c.scheme == scheme })
	u, err := url.Parse(address)
	if !known || err != nil {
		return "…"
	}
	masked := scheme + "://"
	if broken(u) {
		return masked + "…" // what looks like the host may be a part of a password with a @ / ? or # in it
	}
	if u.User != nil {
		masked += url.User(u.User.Username()).String()
		if _, ok := u.User.Password(); ok {
			masked += ":…"
		}
		masked += "@"
	}
	masked += u.Host
	if len(u.Path) > 1 {
		masked += "/…" // receivers like to put secrets there
	}
	var options []string
	for name, values := range u.Query() {
		value := "…"
		if slices.Contains(plain, name) {
			value = strings.Join(values, ",")
		}
		options = append(options, name+"="+value)
	}
	slices.Sort(options)
	if len(options) > 0 {
		masked += "?" + strings.Join(options, "&")
	}
	return masked
}

// broken reports whether what stands behind the host can be no part of a gateway's address.
func broken(u *url.URL) bool {
	options, err := url.ParseQuery(u.RawQuery)
	for name := range options {
		if name != "secret" && !slices.Contains(plain, name) {
			return true
		}
	}
	return err != nil || u.Fragment != "" || strings.Contains(u.Path, "@")
}

// plain are the options that are no secret.
var plain = []string{"from", "service", "account", "ca-file", "password-file", "secret-file", "tls", "alphabet", "system-type", "window", "reports"}

// dsn is an address taken apart. Options are taken out of it, so that what nobody took can be refused.
type dsn struct {
	scheme         string
	user, password string
	host, port     string
	path           string
	options        url.Values
	file           string // the password comes from there
}

func parseDSN(address string) (*dsn, error) {
	u, err := url.Parse(address)
	if err != nil { // its text repeats the address
		return nil, errors.New("the address is malformed: write special characters of the password as %XX")
	}
	options, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the options after ? are malformed: write special characters as %XX")
	}
	d := &dsn{scheme: u.Scheme, host: u.Hostname(), port: u.Port(), path: u.EscapedPath(), options: options}
	d.user = u.User.Username()
	d.password, _ = u.User.Password()
	switch {
	case d.host == "":
		return nil, errors.New("it names no host")
	case u.Fragment != "":
		return nil, errors.New("a # begins nothing here: write it as %23")
	}
	if d.file = d.option("password-file"); d.file != "" {
		if d.password != "" {
			return nil, errors.New("it has a password and a password-file: name one of them")
		}
		if d.password, err = secretFile(d.file); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// option takes an option out. A + before a number reads as a space there, and is put back.
func (d *dsn) option(name string) string {
	values := d.options[name]
	if len(values) == 0 {
		return ""
	}
	if len(values) == 1 {
		delete(d.options, name)
	}
	value := strings.TrimSpace(values[0])
	if strings.HasPrefix(values[0], " ") && isDigits(value) {
		return "+" + value
	}
	return value
}

func isDigits(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// leftover refuses options that the gateway does not know, or that stand there twice.
func (d *dsn) leftover() error {
	for name, values := range d.options {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz-") != "" { // perhaps a part of the password
			return errors.New("there is an option that no gateway has: write special characters of the password as %XX")
		}
		if len(values) > 1 {
			return fmt.Errorf("the option %q stands there twice", name)
		}
		return fmt.Errorf("there is no option %q", name)
	}
	return nil
}

// address returns host and port, with the scheme's own port when none is named.
func (d *dsn) address(port string) string {
	if d.port != "" {
		port = d.port
	}
	return net.JoinHostPort(d.host, port)
}

// hostPort is the host as it was written, with the port if there is one.
func (d *dsn) hostPort() string {
	host := d.host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if d.port != "" {
		host += ":" + d.port
	}
	return host
}

// name is how records call the gateway.
func (d *dsn) name() string {
	if d.user != "" {
		return d.scheme + "://" + d.user + "@" + d.hostPort()
	}
	return d.scheme + "://" + d.hostPort()
}

// credentials demands user and password.
func (d *dsn) credentials() error {
	if d.user == "" || d.password == "" {
		return errors.New("it names no user and password, or no password-file")
	}
	return nil
}

// bare refuses a path, where none belongs.
func (d *dsn) bare() error {
	if d.path != "" && d.path != "/" {
		return errors.New("there is no path after the host")
	}
	return nil
}

// tls returns how certificates are checked: by the system's authorities, and by those in ca-file.
func (d *dsn) tls() (*tls.Config, error) {
	cfg := &tls.Config{ServerName: d.host, MinVersion: tls.VersionTLS12}
	file := d.option("ca-file")
	if file == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read ca-file: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca-file %s holds no certificate in PEM form", file)
	}
	cfg.RootCAs = pool
	return cfg, nil
}

// maxSecret bounds what is read of a file with a secret.
const maxSecret = 4 << 10

// secretFile reads a secret, without the line break that editors leave.
func secretFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxSecret {
		return "", fmt.Errorf("%s is no file with a secret in it", path)
	}
	if info.Mode().Perm()&0o004 != 0 {
		return "", fmt.Errorf("%s can be read by everybody on this machine: chmod 600 it", path)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	secret := strings.TrimRight(string(b), "\r\n")
	if secret == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return secret, nil
}

// mailbox parses a sender of mail, such as codes@example.com or Example <codes@example.com>.
func mailbox(s string) (*mail.Address, error) {
	a, err := mail.ParseAddress(s)
	if err != nil {
		return nil, errors.New("from is no mail address, such as codes@example.com or Example <codes@example.com>")
	}
	return a, nil
}
