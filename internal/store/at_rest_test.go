//go:build unix

package store_test

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"countersign.dev/internal/otp"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// TestT50NothingReadableAtRest: whoever steals the database's files reads no secret in them, and no whole phone number in the audit (INV-8).
func TestT50NothingReadableAtRest(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		dir := t.TempDir()
		nothingReadable(t, dir, store.Config{URL: filepath.Join(dir, "countersign.db")})
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		server := postgrestest.Start(t)
		nothingReadable(t, server.Dir(), store.Config{URL: server.URL("postgres"), Migrate: true})
	})
}

// nothingReadable fills a database whose files are below dir, and looks into them.
func nothingReadable(t *testing.T, dir string, cfg store.Config) {
	db, err := store.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.On(t, db)
	app := s.App(t, "Bank", func(set *tenant.Settings) { set.SentDigits = 18 }) // long, so that it stands nowhere by chance
	ana := s.User(t, app, "ana@example.com", "202-555-0123")
	ticket, err := s.Devices.NewTicket(t.Context(), app, ana)
	if err != nil {
		t.Fatal(err)
	}
	phone := s.Phone(t, app, ana)
	if _, err := s.Codes.Send(t.Context(), app, ana, otp.Request{Channel: otp.SMS, Force: true}); err != nil {
		t.Fatal(err)
	}
	code := s.Delivered(t, ana.Phone).Code
	if _, err := s.Codes.Verify(t.Context(), app, ana, code, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Codes.Send(t.Context(), app, ana, otp.Request{Channel: otp.SMS, Force: true}); err != nil { // and one whose job still waits
		t.Fatal(err)
	}
	if err := s.Tenants.RemoveUser(t.Context(), app, ana.AuthyID); err != nil {
		t.Fatal(err)
	}
	audit, err := s.Store.Audit(t.Context(), app.ID, 100)
	if err != nil || len(audit) < 6 {
		t.Fatal(audit, err)
	}
	for _, r := range audit {
		if strings.Contains(r.Note+r.Target, "2025550123") {
			t.Errorf("the audit record %+v carries the phone number", r)
		}
	}
	key := s.Key(t, app)
	access, err := s.Webhooks.NewAccessKey(t.Context(), app, "operator:test")
	if err != nil {
		t.Fatal(err)
	}
	hook, err := s.Webhooks.Create(t.Context(), app, "first", "https://bank.example/hook", []string{"user_added"}, "operator:test")
	if err != nil {
		t.Fatal(err)
	}
	hookKey, err := s.Webhooks.SigningKey(hook)
	if err != nil {
		t.Fatal(err)
	}
	files := func() (all []byte) { // the data and the write-ahead log
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(path)
			all = append(all, b...)
			if errors.Is(err, fs.ErrNotExist) { // PostgreSQL goes on working
				err = nil
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	raw := files()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	raw = append(raw, files()...)
	if !bytes.Contains(raw, []byte("ana@example.com")) {
		t.Fatal("the test does not see what is in the database")
	}
	for what, secret := range map[string]string{
		"API key": key, "ticket": ticket.Words, "session": phone.Session, "sent code": code, "TOTP secret": string(phone.Grants[0].Secret),
		"access key": access.AccessKey, "dashboard's signing key": access.SigningKey, "webhook's signing key": hookKey,
	} {
		for _, form := range []string{
			secret, hex.EncodeToString([]byte(secret)), base64.RawStdEncoding.EncodeToString([]byte(secret)), base32.StdEncoding.EncodeToString([]byte(secret)),
		} {
			if bytes.Contains(raw, []byte(form)) {
				t.Errorf("the %s can be read in the database's files as %q", what, form)
			}
		}
	}
}
