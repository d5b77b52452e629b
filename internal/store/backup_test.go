package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"countersign.dev/internal/seal"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// TestBackupWhileRunning: a backup made under load is whole, private, holds what was acknowledged before it began, and restores.
func TestBackupWhileRunning(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "countersign.db")
	db, err := store.OpenSQLite(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.On(t, db)
	app := s.App(t, "Bank")
	key := s.Key(t, app)

	var mu sync.Mutex
	acknowledged := []string{app.ID}
	var load sync.WaitGroup
	stop, seen := make(chan struct{}), make(chan struct{}, 1000)
	load.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			one, err := s.Tenants.CreateApplication(context.Background(), s.Account.ID, fmt.Sprint("App", i), tenant.NewIntegration(), "operator:test")
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			acknowledged = append(acknowledged, one.ID)
			mu.Unlock()
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	})
	for range 20 {
		<-seen
	}
	mu.Lock()
	before := len(acknowledged)
	mu.Unlock()
	backup := filepath.Join(dir, "backup.db")
	made, err := store.Backup(t.Context(), path, backup)
	close(stop)
	load.Wait()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(backup)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != made.Bytes || made.Version == 0 {
		t.Errorf("made %+v, %v with mode %v", made, err, info.Mode())
	}
	if _, err := store.Backup(t.Context(), path, backup); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("over an older backup: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}

	// The machine is lost; what is left is the backup and the master key.
	opens := func(keys []seal.StoredKey) error { _, err := seal.Open(s.Master, keys); return err }
	restored := filepath.Join(t.TempDir(), "countersign.db")
	wrong := func(keys []seal.StoredKey) error { _, err := seal.Open(seal.NewMaster(), keys); return err }
	if _, err := store.Restore(t.Context(), backup, restored, wrong); !errors.Is(err, seal.ErrWrongMaster) {
		t.Errorf("with another master key: %v", err)
	}
	if _, err := store.Restore(t.Context(), backup, restored, opens); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Restore(t.Context(), backup, restored, opens); err == nil || !strings.Contains(err.Error(), "there already") {
		t.Errorf("over a database: %v", err)
	}
	again, err := store.OpenSQLite(t.Context(), restored)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	keys, err := again.StoredKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ring, err := seal.Open(s.Master, keys)
	if err != nil {
		t.Fatal(err)
	}
	tenants := &tenant.Service{Store: again, Ring: ring, Now: s.Clock.Now}
	if got, err := tenants.APIKey(t.Context(), app.ID); err != nil || got != key {
		t.Errorf("the restored key is %q, %v", got, err)
	}
	for _, id := range acknowledged[:before] {
		if _, err := again.Application(t.Context(), s.Account.ID, id); err != nil {
			t.Errorf("INV-12: an application that was acknowledged before the backup began: %v", err)
		}
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(backup), "*part*"))
	if err != nil || len(files) > 0 {
		t.Errorf("left behind: %q, %v", files, err)
	}
}

// TestRestoreRefuses: what is no whole database of a version that this program knows never takes the place of one.
func TestRestoreRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "countersign.db")
	if err := os.WriteFile(path, emptySQLite(), 0o600); err != nil {
		t.Fatal(err)
	}
	change := func(name, q string) string {
		to := filepath.Join(dir, name)
		if err := os.WriteFile(to, emptySQLite(), 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", "file:"+to)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
		return to
	}
	write := func(name string, text []byte) string {
		to := filepath.Join(dir, name)
		if err := os.WriteFile(to, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return to
	}
	whole := emptySQLite()
	damaged := append([]byte{}, whole...)
	for i := len(damaged) / 2; i < len(damaged)/2+8192; i++ {
		damaged[i] ^= 0xff
	}
	for name, backup := range map[string]string{
		"there is no backup": filepath.Join(dir, "none"), "not a database": write("text", []byte("hello, this is no database at all")), "cut off": write("cut", whole[:len(whole)/2]),
		"damaged": write("damaged", damaged), "no database of countersign": change("foreign", "DROP TABLE goose_db_version"),
		"newer version": change("newer", "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)"),
	} {
		to := filepath.Join(dir, "restored.db")
		if _, err := store.Restore(t.Context(), backup, to, func([]seal.StoredKey) error { return nil }); err == nil {
			t.Errorf("%s: restored", name)
		}
		if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: something was left: %v", name, err)
			os.Remove(to)
		}
	}
	if _, err := store.Restore(t.Context(), path, filepath.Join(dir, "fine.db"), func([]seal.StoredKey) error { return nil }); err != nil {
		t.Error("a whole one:", err)
	}
}
