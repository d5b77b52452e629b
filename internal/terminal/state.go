// This file owns the state file: its form, its permissions, its lock and its atomic replacement.

package terminal

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"countersign.dev/client/receipt"
)

// stateVersion grows when an older program would lose something by rewriting the file.
const stateVersion = 1

// state is all that a terminal authenticator keeps.
type state struct {
	Version       int      `json:"version"`
	Authenticator string   `json:"authenticator"`         // public origin, part of everything signed
	PrivateKey    []byte   `json:"private_key,omitempty"` // P-256 scalar, 32 bytes
	Device        string   `json:"device,omitempty"`      // device id, "" until enrolled
	Name          string   `json:"name,omitempty"`
	Session       string   `json:"session,omitempty"` // cookie value
	Pending       *Pending `json:"pending,omitempty"`
	Grants        []Grant  `json:"grants,omitempty"`
	ClockOffset   int64    `json:"clock_offset_ms,omitempty"` // server's clock minus ours
}

// Pending is an enrolment that waits for its code.
type Pending struct {
	Enrollment string `json:"enrollment"`
	Phone      string `json:"phone"`
	ExpiresAt  int64  `json:"expires_at"` // Unix seconds
}

// Grant is the right to act for one user of one application, with its secret for codes.
type Grant struct {
	ID          int64 `json:"id"`
	Application struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"application"`
	Account    string `json:"account"`
	Digits     int    `json:"digits"`
	Period     int    `json:"period"` // seconds
	EnrolledAt int64  `json:"enrolled_at"`
	Secret     string `json:"secret"` // base32
}

// key returns the device's key pair.
func (s *state) key() (*ecdsa.PrivateKey, error) {
	return ecdsa.ParseRawPrivateKey(elliptic.P256(), s.PrivateKey)
}

// sign signs canonical bytes with the device's key.
func (s *state) sign(canonical []byte) (string, error) {
	key, err := s.key()
	if err != nil {
		return "", err
	}
	return receipt.Sign(key, canonical)
}

// newKey gives the state a fresh key.
func (s *state) newKey() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make a device key: %w", err)
	}
	s.PrivateKey, err = key.Bytes()
	return err
}

// check reports what is wrong with a state that was read.
func (s *state) check() error {
	if s.Version > stateVersion {
		return errors.New("it was written by a newer countersign")
	}
	if s.Version < 1 {
		return errors.New("it has no version")
	}
	if len(s.PrivateKey) > 0 || s.Device != "" {
		if _, err := s.key(); err != nil {
			return fmt.Errorf("its key: %w", err)
		}
	}
	for _, g := range s.Grants {
		if err := g.check(); err != nil {
			return err
		}
	}
	return nil
}

// DefaultStateFile returns where the state is kept when nobody says otherwise.
func DefaultStateFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("no folder for settings (%w); name a file with --state", err)
	}
	return filepath.Join(dir, "countersign", "device.json"), nil
}

// stateFile is the path of a state file.
type stateFile string

// load reads the state; a missing file is the state of a terminal that was never enrolled.
func (f stateFile) load() (state, error) {
	fresh := state{Version: stateVersion}
	raw, err := os.ReadFile(string(f))
	if errors.Is(err, fs.ErrNotExist) {
		return fresh, nil
	}
	if err != nil {
		return fresh, fmt.Errorf("read the device's state: %w", err)
	}
	if err := f.checkMode(); err != nil {
		return fresh, err
	}
	var s state
	err = json.Unmarshal(raw, &s)
	if err == nil {
		err = s.check()
	}
	if err != nil {
		return fresh, fmt.Errorf("%s cannot be used (%w); restore it from a copy, or move it away and enrol again", f, err)
	}
	return s, nil
}

// checkMode refuses a file that others can read: it holds the key and the secrets. Windows keeps no such bits.
func (f stateFile) checkMode() error {
	info, err := os.Stat(string(f))
	if err != nil {
		return fmt.Errorf("read the device's state: %w", err)
	}
	if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode&0o077 != 0 {
		return fmt.Errorf("%s holds the device's key, but others on this machine can use it (mode %04o); run: chmod 600 %s", f, mode, f)
	}
	return nil
}

// update reads the state, applies change and writes the result, all under the file's lock. The lock is never held
// during a request. An error of change leaves the file as it was.
func (f stateFile) update(change func(*state) error) (state, error) {
	if err := os.MkdirAll(filepath.Dir(string(f)), 0o700); err != nil {
		return state{}, fmt.Errorf("make the folder of the device's state: %w", err)
	}
	unlock, err := lock(string(f) + ".lock")
	if err != nil {
		return state{}, fmt.Errorf("lock the device's state: %w", err)
	}
	defer unlock()
	s, err := f.load()
	if err != nil {
		return state{}, err
	}
	if err := change(&s); err != nil {
		return state{}, err
	}
	if err := f.save(s); err != nil {
		return state{}, fmt.Errorf("write the device's state: %w", err)
	}
	return s, nil
}

// save replaces the file in one step, so that a reader sees the old state or the new one and a full disk loses nothing.
func (f stateFile) save(s state) error {
	var raw bytes.Buffer
	encoder := json.NewEncoder(&raw)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(s); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(string(f)), ".device-*.tmp") // mode 0600
	if err != nil {
		return err
	}
	_, err = temporary.Write(raw.Bytes())
	if err == nil {
		err = temporary.Sync()
	}
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(temporary.Name(), string(f))
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary.Name()))
	}
	return nil
}
