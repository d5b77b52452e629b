package settings

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"countersign.dev/internal/store"
)

const goodKey = "8c1f0be2a4d37a5990de61fbc2783415b3e6f7d8a9c0112e3f40516273849dab"

// good returns values of a deployment with nothing wrong.
func good() map[string]string {
	return map[string]string{
		"master-key": goodKey, "owner-email": "owner@example.com",
		"api-url": "http://localhost:8301", "authenticator-url": "http://localhost:8302", "console-url": "http://localhost:8303",
	}
}

// with returns the good values with some others; "" takes one away.
func with(values ...string) map[string]string {
	all := good()
	for i := 0; i < len(values); i += 2 {
		if all[values[i]] = values[i+1]; values[i+1] == "" {
			delete(all, values[i])
		}
	}
	return all
}

func asFlags(values map[string]string) []string {
	var args []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		args = append(args, "--"+name+"="+values[name])
	}
	return args
}

// parse does what the command does before it runs.
func parse(t *testing.T, args ...string) (*Serve, error) {
	t.Helper()
	var cli struct {
		Serve  Serve `cmd:""`
		Device struct {
			Authenticator string `env:"COUNTERSIGN_AUTHENTICATOR"`
		} `cmd:""`
	}
	parser, err := kong.New(&cli, kong.Writers(io.Discard, io.Discard), kong.Name("countersign"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append([]string{"serve"}, args...)); err != nil {
		return nil, err
	}
	return &cli.Serve, cli.Serve.Check()
}

// setAll gives values as variables.
func setAll(t *testing.T, values map[string]string) {
	for name, value := range values {
		t.Setenv(variable(name), value)
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// says fails the test unless err is exactly that one sentence.
func says(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// wrongValues has a row for each setting: a value of the wrong kind, and what is wrong with it.
var wrongValues = []struct{ setting, value, why string }{
	{"config", "/nowhere/x.toml", "/nowhere/x.toml cannot be read (no such file or directory): name another file, or change its permissions"},
	{"data", "\x00", `"\x00" is not a path: name a file or folder, or leave the setting out`},
	{"database", "mysql://root:secret@db/x", "the value is no database's address: write postgres://USER@HOST/NAME, or the path of an SQLite file"},
	{"database-file", "/nowhere/db", "/nowhere/db cannot be read (no such file or directory): name another file, or change its permissions"},
	{"master-key", "abc", "the value is not a master key, which has 64 hex digits: make one with: countersign keys new FILE"},
	{"master-key-file", "/nowhere/key", "/nowhere/key cannot be read (no such file or directory): name another file, or change its permissions"},
	{"former-master-key", "abc", "the value is not a master key, which has 64 hex digits: make one with: countersign keys new FILE"},
	{"former-master-key-file", "/nowhere/key", "/nowhere/key cannot be read (no such file or directory): name another file, or change its permissions"},
	{"owner-email", "Owner <o@example.com>", `"Owner <o@example.com>" is not a mail address: write it like owner@example.com`},
	{"api-addr", "8301", `"8301" is not an address to listen on: write it like 127.0.0.1:8301, or :8301 for every network of this machine`},
	{"authenticator-addr", "127.0.0.1:99999", `"127.0.0.1:99999" is not an address to listen on: write it like 127.0.0.1:8301, or :8301 for every network of this machine`},
	{"console-addr", "localhost:http", `"localhost:http" is not an address to listen on: write it like 127.0.0.1:8301, or :8301 for every network of this machine`},
	{"ops-addr", ":", `":" is not an address to listen on: write it like 127.0.0.1:8301, or :8301 for every network of this machine`},
	{"api-url", "api.example.com", `"api.example.com" is not a public address: write scheme and host alone, like https://login.example.com`},
	{"authenticator-url", "https://example.com/auth", `"https://example.com/auth" is not a public address: write scheme and host alone, like https://login.example.com`},
	{"console-url", "http://console.example.com", `"http://console.example.com" would let everything travel in plain text: write https, which http may stand for on localhost only`},
	{"tls-cert", "\x00", `"\x00" is not a path: name a file or folder, or leave the setting out`},
	{"tls-key", "\x00", `"\x00" is not a path: name a file or folder, or leave the setting out`},
	{"api-tls-cert", "\x00", `"\x00" is not a path: name a file or folder, or leave the setting out`},
	{"api-tls-key", "\x00", `"\x00" is not a path: name a file or folder, or leave the setting out`},
	{"authenticator-tls-cert", "\x00", `"\x00" is not a path: name a file or folder, or leave the setting out`},
	{"authenticator-tls-key", "\x00", `"\x00" is not a path: name a file or folder, or leave the setting out`},
	{"console-tls-cert", "\x00", `"\x00" is not a path: name a file or folder, or leave the setting out`},
	{"console-tls-key", "\x00", `"\x00" is not a path: name a file or folder, or leave the setting out`},
	{"trusted-proxy", "proxy.example.com", `"proxy.example.com" is neither an address nor a network: write it like 10.0.0.5 or 10.0.0.0/24`},
	{"sms-gateway", "smpp://bank:s3cretpw@smsc.example.com", "the value is no gateway: smpp: the sender is a number with +, a short code of at most 8 digits, or a name of at most 11 letters and digits; it is written as smpp://SYSTEM-ID:PASSWORD@HOST:2775?from=SENDER"},
	{"sms-gateway-file", "/nowhere/sms", "/nowhere/sms cannot be read (no such file or directory): name another file, or change its permissions"},
	{"voice-gateway", "twilio://AC1@api.twilio.com?from=123", "the value is no gateway: twilio: it names no user and password, or no password-file; it is written as twilio://ACCOUNT-SID:AUTH-TOKEN@api.twilio.com?from=+12025550100"},
	{"voice-gateway-file", "/nowhere/voice", "/nowhere/voice cannot be read (no such file or directory): name another file, or change its permissions"},
	{"mail-gateway", "smtp://ana:s3cretpw@mail.example.com?from=a@example.com&tls=maybe", "the value is no gateway: smtp: the option tls is none, or absent: then smtp demands STARTTLS and smtps begins with TLS; it is written as smtp://USER:PASSWORD@HOST:587?from=codes@example.com"},
	{"mail-gateway-file", "/nowhere/mail", "/nowhere/mail cannot be read (no such file or directory): name another file, or change its permissions"},
	{"egress-allow", "169.254.0.0/16", `"169.254.0.0/16" is no part of a private network: public addresses are open already, and others, such as those of a cloud's metadata, never are; write it like 10.1.2.0/24`},
	{"private-callbacks", "yes", `"yes" is neither true nor false`},
	{"push-off", "yes", `"yes" is neither true nor false`},
	{"push-contact", "ops@example.com", `"ops@example.com" is not a contact for push services: write mailto:you@example.com or an https address`},
	{"push-host", "https://push.example.com/", `"https://push.example.com/" is not a push host: write push.example.com, push.example.com:8443 or *.example.com`},
	{"stranger-rate", "-1", `"-1" is not a number above 0 and up to 1000000, such as 10 or 0.5`},
	{"stranger-burst", "0", `"0" is not a whole number from 1 to 1000000`},
	{"wake-ups", "nats://ana:s3cretpw@", "the value is not the address of a NATS server: write it like tls://USER:PASSWORD@nats.example.com:4222, several with commas between"},
	{"wake-ups", "tls://ana:s3cretpw@a.example.com,http://ana:s3cretpw@b.example.com", "the value is not the address of a NATS server: write it like tls://USER:PASSWORD@nats.example.com:4222, several with commas between"},
	{"wake-ups-file", "/nowhere/nats", "/nowhere/nats cannot be read (no such file or directory): name another file, or change its permissions"},
	{"log-level", "loud", `"loud" is not a level: write debug, info, warn or error`},
	{"log-format", "xml", `"xml" is not a format: write json or text`},
	{"retain-approvals", "90", `"90" is no number of days: write it like 90d, or forever`},
	{"retain-codes", "1d", `"1d" is too short: limits and callbacks look back for days, so keep it for 7d at least`},
	{"retain-messages", "0", `"0" is no number of days: write it like 90d, or forever`},
	{"retain-activities", "-30d", `"-30d" is too short: limits and callbacks look back for days, so keep it for 7d at least`},
	{"retain-audit", "never", `"never" is no number of days: write it like 90d, or forever`},
	{"shutdown-grace", "2", `"2" is not a length of time of at most an hour: write it like 20s or 1m30s`},
	{"shutdown-patience", "2h", `"2h" is not a length of time of at most an hour: write it like 20s or 1m30s`},
}

// TestRetention: the settings' defaults are those of the store, and each kind can be kept for ever.
func TestRetention(t *testing.T) {
	s, err := parse(t, asFlags(good())...)
	if err != nil || s.Retention.Settings() != store.DefaultRetention() {
		t.Errorf("got %+v, %v", s.Retention.Settings(), err)
	}
	s, err = parse(t, asFlags(with("retain-approvals", "forever", "retain-codes", "forever", "retain-messages", "forever", "retain-activities", "forever", "retain-audit", "365d"))...)
	if want := (store.Retention{Audit: 365 * day}); err != nil || s.Retention.Settings() != want {
		t.Errorf("got %+v, %v", s.Retention.Settings(), err)
	}
	for _, e := range s.Effective() {
		if e.Name == "retain-audit" && e.Value != "365d" || e.Name == "retain-codes" && e.Value != "forever" {
			t.Errorf("shown as %+v", e)
		}
	}
}

// Every setting refuses a wrong value with its own sentence, wherever it comes from.
func TestWrongValues(t *testing.T) {
	rows := map[string]int{}
	for _, c := range wrongValues {
		rows[c.setting]++
		t.Run(c.setting, func(t *testing.T) {
			values := with(c.setting, "")
			if c.setting == "master-key-file" {
				values = with("master-key", "")
			}
			args := asFlags(values)
			if !strings.Contains(c.value, "\x00") { // no variable and no TOML file can hold one
				t.Setenv(variable(c.setting), c.value)
				_, err := parse(t, args...)
				says(t, err, c.setting+" ("+variable(c.setting)+"): "+c.why)
				t.Setenv(variable(c.setting), "")
				if c.setting != "config" {
					path := write(t, "x.toml", c.setting+` = "`+c.value+`"`)
					_, err = parse(t, append(args, "--config", path)...)
					says(t, err, c.setting+" ("+path+"): "+c.why)
				}
			}
			if c.setting == "private-callbacks" || c.setting == "push-off" {
				return // a switch on the command line takes "yes" too
			}
			_, err := parse(t, append(args, "--"+c.setting+"="+c.value)...)
			if err == nil || !strings.HasSuffix(err.Error(), c.why) || !strings.Contains(err.Error(), "--"+c.setting) {
				t.Errorf("as a flag: %v", err)
			}
		})
	}
	for _, name := range Names() {
		if rows[name] == 0 {
			t.Errorf("the setting %s has no row in wrongValues: add a wrong value and its sentence", name)
		}
	}
}

// pair writes a certificate for localhost and its key.
func pair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err1 := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	secret, err2 := x509.MarshalPKCS8PrivateKey(private)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	cert = write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	return cert, write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
}

// Settings that are right alone and unsafe or useless together.
func TestWrongTogether(t *testing.T) {
	cert, key := pair(t)
	_, otherKey := pair(t)
	open := write(t, "open.key", goodKey)
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	zero, short := write(t, "zero.key", strings.Repeat("0", 64)), write(t, "short.key", "ab\n")
	for name, c := range map[string]struct {
		values map[string]string
		want   string
	}{
		"no master key":          {with("master-key", ""), "master-key-file: there is no master key: make one with: countersign keys new FILE, and name it here"},
		"the key of zeros":       {with("master-key", "", "master-key-file", zero), "master-key-file (--master-key-file): " + zero + ": the value is an example, which everybody knows: make one of your own with: countersign keys new FILE"},
		"a file without a key":   {with("master-key", "", "master-key-file", short), "master-key-file (--master-key-file): " + short + ": the value is not a master key, which has 64 hex digits: make one with: countersign keys new FILE"},
		"everybody's file":       {with("master-key", "", "master-key-file", open), "master-key-file (--master-key-file): " + open + " may be read by everybody on this machine: run chmod o-rwx " + open + ", and replace the secret if others may have seen it"},
		"a key twice":            {with("master-key-file", open), "master-key (--master-key): is given twice, here and as master-key-file: leave one of them out"},
		"no owner":               {with("owner-email", ""), "owner-email: is missing: name who hears when a callback is disabled, like owner@example.com"},
		"no public address":      {with("console-url", ""), "console-url: is missing: name the public address, like https://console.example.com, because nothing is derived from requests"},
		"one origin for two":     {with("console-url", "http://localhost:8302"), "console-url (--console-url): is the same as authenticator-url: give each surface a host or port of its own"},
		"one port for two":       {with("console-addr", "127.0.0.1:8302"), "console-addr (--console-addr): is the address of another listener: choose a port of its own"},
		"ops on another's port":  {with("ops-addr", "127.0.0.1:8301"), "ops-addr (--ops-addr): is the address of another listener: choose a port of its own"},
		"https out of nowhere":   {with("api-url", "https://api.example.com"), "api-url (--api-url): begins with https, but the listener has neither a certificate nor a proxy in front: set tls-cert and tls-key, or trusted-proxy"},
		"plain to the world":     {with("api-addr", ":8301"), "api-addr (--api-addr): can be reached from other machines in plain text: listen on 127.0.0.1, or set tls-cert and tls-key"},
		"http with certificate":  {with("api-tls-cert", cert, "api-tls-key", key), "api-url (--api-url): begins with http, but the listener has a certificate: write https"},
		"a certificate alone":    {with("api-tls-cert", cert), "api-tls-key: is missing: name the private key to api-tls-cert"},
		"a private key alone":    {with("api-tls-key", key), "api-tls-cert: is missing: name the certificate to api-tls-key"},
		"key of another":         {with("api-url", "https://localhost:8301", "api-tls-cert", cert, "api-tls-key", otherKey), "api-tls-cert (--api-tls-cert): is not a certificate to api-tls-key (tls: private key does not match public key): name PEM files that belong together"},
		"everybody a proxy":      {with("trusted-proxy", "0.0.0.0/0"), `--trusted-proxy: "0.0.0.0/0" is everybody: name the proxy's own address or network, or anyone could forge where a request comes from`},
		"open to everything":     {with("egress-allow", "10.0.0.0/7"), `--egress-allow: "10.0.0.0/7" is no part of a private network: public addresses are open already, and others, such as those of a cloud's metadata, never are; write it like 10.1.2.0/24`},
		"a network and a half":   {with("trusted-proxy", "10.0.0.1/24"), `--trusted-proxy: "10.0.0.1/24" has bits behind its length: write 10.0.0.0/24`},
		"text by mail":           {with("sms-gateway", "smtps://mail.example.com?from=a@example.com"), "sms-gateway (--sms-gateway): gateway 1: smtps://mail.example.com carries no text messages: name one of smpp://SYSTEM-ID:PASSWORD@HOST:2775?from=SENDER, smpps://SYSTEM-ID:PASSWORD@HOST:3550?from=SENDER, twilio://ACCOUNT-SID:AUTH-TOKEN@api.twilio.com?from=+12025550100, twilio+http://ACCOUNT-SID:AUTH-TOKEN@HOST?from=+12025550100, webhook+https://HOST/PATH?secret=whsec_…, webhook+http://HOST/PATH?secret=whsec_…"},
		"a gateway twice":        {with("mail-gateway", "smtps://mail.example.com?from=a@example.com,smtps://mail.example.com?from=b@example.com"), "mail-gateway (--mail-gateway): gateway 2: smtps://mail.example.com is named twice: records could not tell which one sent"},
		"wake-ups for one node":  {with("wake-ups", "nats://127.0.0.1:4222"), "wake-ups (--wake-ups): is for several nodes on one PostgreSQL: leave it out, or name a PostgreSQL database with --database"},
		"a database that is not": {with("database", "mysql://x"), "--database: the value is no database's address: write postgres://USER@HOST/NAME, or the path of an SQLite file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, asFlags(c.values)...)
			says(t, err, c.want)
		})
	}
}

// Keys that stand in documents, or that nobody drew at random, protect nothing.
func TestKnownKeys(t *testing.T) {
	for _, known := range append(examples, strings.Repeat("00", 32), strings.Repeat("FF", 32), strings.Repeat("deadbeef", 8)) {
		var k Key
		if err := k.UnmarshalText([]byte(known)); err == nil || !strings.Contains(err.Error(), "example") || strings.Contains(err.Error(), known) {
			t.Errorf("%s: %v", known, err)
		}
	}
	var k Key
	if err := k.UnmarshalText([]byte(strings.ToUpper(goodKey) + "\n")); err != nil {
		t.Error(err)
	}
}

// A flag counts before a variable, a variable before the file, the file before the default; secrets in files of their own too.
func TestPrecedence(t *testing.T) {
	values := good()
	delete(values, "master-key")
	args := asFlags(values)
	inFile, inVariable := write(t, "a.key", goodKey), write(t, "b.key", strings.Replace(goodKey, "8c", "9c", 1))
	path := write(t, "x.toml", "stranger-burst = 7\nlog-level = \"warn\"\nlog-format = \"text\"\nprivate-callbacks = true\nmaster-key-file = \""+inFile+"\"\ntrusted-proxy = [\"10.0.0.1\", \"10.1.0.0/16\"]\n")
	setAll(t, map[string]string{"config": path, "stranger-burst": "8", "log-level": "error", "master-key-file": inVariable})
	s, err := parse(t, append(args, "--stranger-burst=9")...)
	if err != nil {
		t.Fatal(err)
	}
	if s.StrangerBurst != 9 || s.LogLevel.String() != "error" || s.LogFormat != "text" || s.StrangerRate != 10 || !s.PrivateCallbacks || s.MasterKey[0] != 0x9c || len(s.TrustedProxy) != 2 {
		t.Errorf("%+v", s)
	}
	from := map[string]string{}
	for _, e := range s.Effective() {
		from[e.Name] = e.Value + " from " + e.From
		if strings.Contains(e.Value, goodKey[2:]) {
			t.Errorf("%s is shown", e.Name)
		}
	}
	for name, want := range map[string]string{
		"stranger-burst": "9 from --stranger-burst", "log-level": "error from COUNTERSIGN_LOG_LEVEL", "log-format": "text from " + path,
		"stranger-rate": "10 from default", "trusted-proxy": "10.0.0.1/32, 10.1.0.0/16 from " + path, "private-callbacks": "true from " + path,
		"master-key": "******** from COUNTERSIGN_MASTER_KEY_FILE, the file " + inVariable, "config": path + " from COUNTERSIGN_CONFIG",
	} {
		if from[name] != want {
			t.Errorf("%s: %s, want %s", name, from[name], want)
		}
	}
	if got := slices.Sorted(maps.Keys(from)); !slices.Equal(got, slices.Sorted(slices.Values(Names()))) {
		t.Errorf("shown are %v", got)
	}
	// The nearer source wins, whichever of the two ways it takes.
	t.Setenv("COUNTERSIGN_MASTER_KEY_FILE", "")
	t.Setenv("COUNTERSIGN_MASTER_KEY", strings.Replace(goodKey, "8c", "7c", 1))
	if s, err := parse(t, args...); err != nil || s.MasterKey[0] != 0x7c {
		t.Error(err)
	}
}

// Unknown names are refused in all three sources, each with the nearest right one; all problems are told at once.
func TestUnknownNames(t *testing.T) {
	_, err := parse(t, append(asFlags(good()), "--api-uri=x")...)
	if err == nil || !strings.Contains(err.Error(), "--api-uri") || !strings.Contains(err.Error(), "--api-url") {
		t.Error(err)
	}
	t.Setenv("COUNTERSIGN_AUTHENTICATOR", "https://auth.example.com") // of another command
	t.Setenv("COUNTERSIGN_LOGLEVEL", "debug")
	path := write(t, "x.toml", "api_addr = \":1\"\nconfig = \"y.toml\"\nstranger-burst = [1]\n[tls]\ncert = \"x\"\n")
	_, err = parse(t, append(asFlags(good()), "--config", path)...)
	problems, _ := errors.AsType[Problems](err)
	want := Problems{
		{"COUNTERSIGN_LOGLEVEL", "environment", "there is no such setting: unset it, or write COUNTERSIGN_LOG_LEVEL"},
		{"api_addr", path, "there is no such setting: remove it, or write api-addr"},
		{"config", path, "a file cannot name another one: remove it"},
		{"tls", path, "there is no such setting: remove it, or write data"},
		{"stranger-burst", path, `has a value of another kind: write stranger-burst = "…"`},
	}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Error(diff)
	}
	path = write(t, "y.toml", "api-addr = \":1\napi-url = 1")
	_, err = parse(t, append(asFlags(good()), "--config", path)...)
	if err == nil || !strings.Contains(err.Error(), "line 1, column") || !strings.Contains(err.Error(), "is not TOML") {
		t.Error(err)
	}
}

// Every setting says what it is and has a type that checks it; every secret can come from a file.
func TestDeclarations(t *testing.T) {
	names := Names()
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Serve]()) {
		name := f.Tag.Get("name")
		if name == "" {
			continue
		}
		if f.Tag.Get("help") == "" || f.Tag.Get("group") == "" {
			t.Errorf("%s has no help or no group", name)
		}
		if _, secret := f.Tag.Lookup("secret"); secret && !slices.Contains(names, name+"-file") {
			t.Errorf("the secret %s has no %s-file", name, name)
		}
	}
	if n := len(slices.Compact(slices.Sorted(slices.Values(names)))); n != len(names) {
		t.Error("a name stands for two settings")
	}
}

// INV-8: no form of a database's address shows its passwords.
func TestDatabaseShown(t *testing.T) {
	for in, want := range map[string]string{
		"host=db password=secret1 dbname=x":                         "host=db password=xxxxx dbname=x",
		`password = 'it\'s secret1' sslpassword=x\ secret1 host=db`: "password = xxxxx sslpassword=xxxxx host=db",
		"host=db password='secret1 of a slip":                       "host=db password=xxxxx",
		"postgres://db/x?sslpassword=secret1":                       "postgres://db/x?sslpassword=xxxxx",
		"postgres://ana:secret@db/x":                                "postgres://ana:xxxxx@db/x",
		"postgres://db/x?user=a&password=secret1":                   "postgres://db/x?password=xxxxx&user=a",
		"/var/lib/c.db": "/var/lib/c.db",
	} {
		if got := Database(in).String(); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// INV-8: neither does that of a NATS server.
func TestNATSShown(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "",
		"nats://127.0.0.1:4222":                 "nats://127.0.0.1:4222",
		"tls://ana:secret1@a:4222":              "tls://ana:xxxxx@a:4222",
		"tls://secret1@a, nats://ana:secret1@b": "tls://xxxxx@a,nats://ana:xxxxx@b",
	} {
		if got := NATS(in).String(); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}

// A key=value address is PostgreSQL's, as it is for package store, and no folder is claimed for it.
func TestDatabaseForms(t *testing.T) {
	for in, want := range map[string]bool{"host=/run user=a": true, "postgres://db/x": true, "/var/lib/c.db": false, "a=b.db": false} {
		if Database(in).Postgres() != want {
			t.Errorf("%s: PostgreSQL %v", in, !want)
		}
	}
}

// FuzzFile feeds the settings file: it is refused with problems, or its values are those that the types allow.
func FuzzFile(f *testing.F) {
	f.Add("api-addr = \":1\"\n[x]\n")
	f.Add("trusted-proxy = [\"10.0.0.0/8\"]\nstranger-rate = 1e3\nlog-level = 'warn'")
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(t.TempDir(), "x.toml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := parse(t, append(asFlags(good()), "--config", path)...)
		if err != nil {
			if strings.Contains(err.Error(), goodKey) {
				t.Errorf("the key is told: %v", err)
			}
			return
		}
		if s.StrangerRate <= 0 || s.StrangerBurst < 1 || s.ShutdownPatience <= 0 {
			t.Errorf("%+v", s)
		}
	})
}
