// This file tests the commands for whoever runs an installation: with nobody at the database, and while `serve` has it.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"countersign.dev/internal/admin"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/serve"
)

// office is an installation: a folder, a master key and a file with settings.
type office struct {
	*desk
	dir, config string
}

func newOffice(t testing.TB) *office {
	dir := t.TempDir()
	o := &office{&desk{t: t}, dir, filepath.Join(dir, "countersign.toml")}
	o.run(0, "keys", "new", filepath.Join(dir, "master.key"))
	text := `data = "` + dir + `/data"
master-key-file = "` + dir + `/master.key"
owner-email = "owner@example.com"
api-addr = "127.0.0.1:0"
authenticator-addr = "127.0.0.1:0"
console-addr = "127.0.0.1:0"
ops-addr = "127.0.0.1:0"
api-url = "http://localhost:8301"
authenticator-url = "http://localhost:8302"
console-url = "http://localhost:8303"
shutdown-grace = "1ms"
`
	if err := os.WriteFile(o.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("COUNTERSIGN_CONFIG", o.config)
	return o
}

// serve runs `countersign serve` until the returned function is called.
func (o *office) serve() (ready serve.Ready, stop func()) {
	o.t.Helper()
	ctx, interrupt := context.WithCancel(o.t.Context())
	reader, writer := io.Pipe()
	var stderr bytes.Buffer
	exit := make(chan int, 1)
	go func() {
		exit <- run(ctx, []string{"serve", "--json"}, writer, &stderr)
		writer.Close()
	}()
	line, err := bufio.NewReader(reader).ReadString('\n')
	if err != nil {
		o.t.Fatalf("serve ended: %s", &stderr)
	}
	if err := json.Unmarshal([]byte(line), &ready); err != nil {
		o.t.Fatal(err)
	}
	return ready, func() {
		interrupt()
		if code := <-exit; code != 0 {
			o.t.Errorf("serve ended with %d: %s", code, &stderr)
		}
	}
}

// The same commands do the same with nobody at the database and while serve has it.
func TestAdministration(t *testing.T) {
	o := newOffice(t)
	for _, running := range []bool{false, true} {
		name := map[bool]string{false: "alone", true: "while serve runs"}[running]
		t.Run(name, func(t *testing.T) {
			if running {
				_, stop := o.serve()
				defer stop()
			}
			made := parse[admin.Application](t, o.run(0, "app", "create", "--json", "Shop "+name))
			if len(made.APIKey) != 32 || len(made.Keys) != 1 || !made.Keys[0].Signs || made.Number == 0 {
				t.Errorf("%+v", made)
			}
			has(t, o.run(0, "app", "list"), "NAME", "Shop "+name, made.ID, "none")
			if shown := o.run(0, "app", "show", made.ID); strings.Contains(shown, made.APIKey) {
				t.Error("the key is shown unasked")
			}
			has(t, o.run(0, "app", "show", "Shop "+name, "--key"), made.APIKey)
			has(t, o.run(1, "app", "show", "nothing"), "no such application")
			has(t, o.run(1, "app", "create", strings.Repeat("x", 31)), "1 to 30 characters")
			has(t, o.run(0, "app", "callback", made.ID, "https://shop.example.com/cb"), "https://shop.example.com/cb")
			has(t, o.run(1, "app", "callback", made.ID, "ftp://x"), "absolute http or https address")
			has(t, o.run(0, "app", "callback", made.ID, "--off"), "none")

			second := parse[admin.Application](t, o.run(0, "app", "rotate-key", made.ID, "--json"))
			if second.APIKey == made.APIKey || len(second.Keys) != 2 || !second.Keys[0].Signs || second.Keys[1].Signs {
				t.Errorf("%+v", second)
			}
			has(t, o.run(1, "app", "rotate-key", made.ID), "promote the new key or cancel it")
			promoted := parse[admin.Application](t, o.run(0, "app", "rotate-key", made.ID, "--json", "--promote"))
			if promoted.APIKey != "" || promoted.Keys[0].Signs || !promoted.Keys[1].Signs || promoted.Keys[0].EndsAt == nil {
				t.Errorf("%+v", promoted)
			}
			has(t, o.run(0, "app", "rotate-key", made.ID, "--finish"), "signs callbacks")
			has(t, o.run(0, "app", "show", made.ID, "--key"), second.APIKey)

			link := parse[admin.Link](t, o.run(0, "operator", "invite", "--json"))
			if !strings.HasPrefix(link.URL, "http://localhost:8303/setup#") {
				t.Error(link)
			}
			has(t, o.run(0, "operator", "invite"), "http://localhost:8303/setup#", "works once")
			has(t, o.run(0, "operator", "invite", "ben@example.com"), "http://localhost:8303/setup#", "for ben@example.com")
			has(t, o.run(1, "operator", "invite", "ben"), "not an e-mail address")
			has(t, o.run(1, "operator", "reset", "ben@example.com"), "no operator with that e-mail address")
			has(t, o.run(1, "operator", "remove", "ben@example.com"), "no operator with that e-mail address")
			if all := parse[[]admin.Operator](t, o.run(0, "operator", "list", "--json")); len(all) != 0 {
				t.Errorf("operators %+v", all)
			}
			key := parse[admin.PushKey](t, o.run(0, "keys", "rotate-push", "--json"))
			if point, err := base64.RawURLEncoding.DecodeString(key.Key); err != nil || len(point) != 65 {
				t.Errorf("%+v, %v", key, err)
			}
			if again := o.run(0, "keys", "rotate-push"); strings.Contains(again, key.Key) || !strings.Contains(again, "new key") {
				t.Errorf("the same key again: %s", again)
			}
			has(t, o.run(0, "migrate"), "up to date")
		})
	}
	apps := parse[[]admin.Application](t, o.run(0, "app", "list", "--json"))
	if len(apps) != 2 {
		t.Errorf("%+v", apps)
	}
	has(t, o.run(0, "migrate", "up"), "up to date")
	_, stop := o.serve()
	defer stop()
	has(t, o.run(1, "migrate", "up"), "in use by another countersign: stop that one")
	has(t, o.run(1, "serve"), "in use by another countersign: stop that one first")
}

// A new master key is its owner's alone, and an old one is never touched.
func TestKeysNew(t *testing.T) {
	d := &desk{t: t}
	path := filepath.Join(t.TempDir(), "master.key")
	has(t, d.run(0, "keys", "new", path), "--master-key-file")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	before, _ := os.ReadFile(path)
	has(t, d.run(1, "keys", "new", path), "there already")
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) || len(after) != 65 {
		t.Errorf("%q became %q", before, after)
	}
}

// serve --check prints what counts and where it comes from; wrong settings end with 2, and each has its line.
func TestServeCheck(t *testing.T) {
	o := newOffice(t)
	shown := o.run(0, "serve", "--check", "--log-level", "warn")
	has(t, shown, "log-level", "warn", "--log-level", o.config, "********", "default")
	key, err := os.ReadFile(filepath.Join(o.dir, "master.key"))
	if err != nil || strings.Contains(shown, strings.TrimSpace(string(key))) {
		t.Errorf("the master key is shown, or %v", err)
	}
	var list []map[string]string
	if err := json.Unmarshal([]byte(o.run(0, "serve", "--check", "--json")), &list); err != nil || len(list) < 20 {
		t.Error(list, err)
	}
	t.Setenv("COUNTERSIGN_LOG_LEVEL", "loud")
	t.Setenv("COUNTERSIGN_API_URL", "api")
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"serve", "--check"}, &stdout, &stderr); code != 2 || stdout.Len() > 0 || strings.Count(stderr.String(), "\n") != 2 {
		t.Errorf("%d: %s%s", code, &stdout, &stderr)
	}
	t.Setenv("COUNTERSIGN_CONFIG", "")
	t.Setenv("COUNTERSIGN_LOG_LEVEL", "")
	t.Setenv("COUNTERSIGN_API_URL", "")
	has(t, o.run(2, "app", "list"), "there is no master key")
	has(t, o.run(2, "app", "callback", "x"), "--off")
	has(t, o.run(2, "serve", "--api-uri=x"), "--api-url")
}

// INV-8: serve --check shows where each secret comes from, as a table and as JSON, and none of them; neither does a refusal.
func TestServeCheckShowsNoSecret(t *testing.T) {
	newOffice(t)
	const canary, hook = "c4n4rypw", "Y2FuYXJ5LWdhdGV3YXktc2VjcmV0LW9mLTMyLWJ5dGVz"
	settings := []string{
		"--database=postgres://countersign:" + canary + "@db.example.com/countersign?sslpassword=" + canary,
		"--sms-gateway=smpp://bank:" + canary + "@smsc.example.com?from=Bank", "--sms-gateway=webhook+https://hooks.example.com/" + canary + "/send?secret=whsec_" + hook,
		"--voice-gateway=twilio://AC1:" + canary + "@api.twilio.com?from=%2B12025550100", "--mail-gateway=smtp://ana:" + canary + "@mail.example.com?from=codes@example.com",
		"--former-master-key=" + hex.EncodeToString(seal.NewMaster()),
	}
	secrets := []string{canary, hook, "canary-gateway-secret", strings.TrimPrefix(settings[5], "--former-master-key=")}
	for _, more := range [][]string{{}, {"--json"}, {"--mail-gateway=smtp://ana:" + canary + "@mail.example.com"}, {"--voice-gateway=smpp://" + canary + "@x?" + canary}} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), slices.Concat([]string{"serve", "--check"}, settings, more), &stdout, &stderr)
		text := stdout.String() + stderr.String()
		if len(more) == 0 || more[0] == "--json" {
			has(t, text, "smsc.example.com", "hooks.example.com", "AC1", "mail.example.com", "db.example.com")
		} else if code == 0 {
			t.Errorf("%q was accepted", more)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%q: %q is shown:\n%s", more, secret, text)
			}
		}
	}
}

// Looking at a database makes none; one that cannot be reached is an error.
func TestMigrateStatus(t *testing.T) {
	o := newOffice(t)
	has(t, o.run(0, "migrate", "status"), "version 0 of", "no schema yet")
	if _, err := os.Stat(filepath.Join(o.dir, "data")); !os.IsNotExist(err) {
		t.Errorf("looking made something: %v", err)
	}
	has(t, o.run(0, "migrate", "up"), "up to date")
	has(t, o.run(1, "migrate", "status", "--database", "postgres://127.0.0.1:1/x?connect_timeout=1"), "version")
}
