package dev

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"countersign.dev/internal/claim"
	"countersign.dev/internal/seal"
)

// This file owns the data folder: what lies in it, and that one process at a time uses it.

// Files of the data folder.
const (
	fileDatabase = "countersign.db"
	fileSample   = "login.db"
	fileMaster   = "master.key"
	fileKept     = "kept.json"
	fileReady    = "dev.json"
)

// folder is a data folder that this process has for itself.
type folder struct {
	dir   string
	claim *claim.Claim
}

// openFolder makes the folder when it is not there, and takes it. The error says what to do.
func openFolder(dir string) (*folder, error) {
	c, err := claim.Folder(dir)
	if errors.Is(err, claim.ErrTaken) {
		return nil, fmt.Errorf("the data folder %w: stop that one, or choose another folder with --data", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the data folder %w: choose another one with --data, or change its permissions", err)
	}
	return &folder{dir: dir, claim: c}, nil
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// close gives the folder back. The lock ends with the process in any case.
func (f *folder) close() error { return f.claim.Close() }

// reasonOf drops the path that os errors repeat.
func reasonOf(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// masterKey reads the folder's master key, or makes one.
func (f *folder) masterKey() ([]byte, error) {
	text, err := os.ReadFile(f.path(fileMaster))
	if errors.Is(err, fs.ErrNotExist) {
		key := seal.NewMaster()
		return key, f.write(fileMaster, []byte(hex.EncodeToString(key)+"\n"))
	}
	if err != nil {
		return nil, err
	}
	key, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(key) != seal.KeySize {
		return nil, fmt.Errorf("%s is not a master key: restore it from a backup, or start with another folder", f.path(fileMaster))
	}
	return key, nil
}

// kept is what the folder remembers from one start to the next.
type kept struct {
	Ports       map[string]int `json:"ports"`       // of listeners asked for with port 0: keys and signatures bind the origin, so they must not change
	Application string         `json:"application"` // the seeded one
	Callback    string         `json:"callback"`    // what its callback was set to by us
}

func (f *folder) kept() (k kept, err error) {
	text, err := os.ReadFile(f.path(fileKept))
	if errors.Is(err, fs.ErrNotExist) {
		return kept{Ports: map[string]int{}}, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &k)
	}
	if err != nil {
		return k, fmt.Errorf("%s cannot be read (%w): restore it, or start with another folder", f.path(fileKept), reasonOf(err))
	}
	if k.Ports == nil {
		k.Ports = map[string]int{}
	}
	return k, nil
}

func (f *folder) keep(k kept) error {
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return err
	}
	return f.write(fileKept, append(text, '\n'))
}

// resolve puts the kept port into an address that asks for port 0.
func resolve(addr string, kept int) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%q is not an address: write it as host:port, for example 127.0.0.1:8301", addr)
	}
	if port == "0" && kept > 0 {
		port = fmt.Sprint(kept)
	}
	return net.JoinHostPort(host, port), nil
}

// write replaces a file of the folder in one step, so that a reader sees the old one or the new one, whole.
func (f *folder) write(name string, content []byte) error {
	temp := f.path("." + name + "." + rand.Text()[:8])
	if err := os.WriteFile(temp, content, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", f.path(name), err)
	}
	if err := os.Rename(temp, f.path(name)); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", f.path(name), err), os.Remove(temp))
	}
	return nil
}
