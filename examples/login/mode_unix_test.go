//go:build unix

// This file owns the test of the database file's mode; there are no such permissions elsewhere.

package login_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"countersign.dev/examples/login"
	"countersign.dev/secondfactor/secondfactortest"
)

// Password hashes and numbers are for the application alone, in whatever folder the file lies (T-50).
func TestDatabaseIsForItsOwnerOnly(t *testing.T) {
	folder := t.TempDir()
	app, err := login.New(login.Config{
		PublicURL: "http://bank.test", Provider: secondfactortest.New().Client(t), DB: filepath.Join(folder, "login.db"),
		Mail: func(context.Context, login.Mail) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	files, err := os.ReadDir(folder)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		info, err := file.Info()
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode&0o077 != 0 {
			t.Errorf("%s has the mode %04o", file.Name(), mode)
		}
	}
}
