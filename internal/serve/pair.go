package serve

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"countersign.dev/internal/settings"
)

// This file owns certificates: files that are read again when they change, while connections go on.

// lookEvery is how often the files are looked at, at most: at handshakes.
const lookEvery = time.Second

// pair is a certificate and its key, in two files.
type pair struct {
	cert, key string
	now       func() time.Time
	log       *slog.Logger

	mu     sync.Mutex // guards the rest
	loaded *tls.Certificate
	stamp  string // of the files when they were last read
	lookAt time.Time
}

// openPair reads both files.
func openPair(cert, key string, now func() time.Time, log *slog.Logger) (*pair, error) {
	p := &pair{cert: cert, key: key, now: now, log: log, stamp: stampOf(cert, key), lookAt: now().Add(lookEvery)}
	loaded, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate %s and its key: %w", cert, err)
	}
	p.loaded = &loaded
	return p, nil
}

// stampOf changes when one of the files does.
func stampOf(paths ...string) (stamp string) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			stamp += fmt.Sprintln(info.ModTime().UnixNano(), info.Size(), info.Mode())
		} else {
			stamp += "none\n"
		}
	}
	return stamp
}

// config is what a listener uses.
func (p *pair) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return p.current(), nil }}
}

// current returns the newest certificate that could be read. Files that do not belong together, as between the writing of
// the one and the other, leave the old one.
func (p *pair) current() *tls.Certificate {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if now.Before(p.lookAt) {
		return p.loaded
	}
	p.lookAt = now.Add(lookEvery)
	stamp := stampOf(p.cert, p.key)
	if stamp == p.stamp {
		return p.loaded
	}
	p.stamp = stamp
	err := settings.CheckPrivate(p.key) // as at the start
	var loaded tls.Certificate
	if err == nil {
		loaded, err = tls.LoadX509KeyPair(p.cert, p.key)
	}
	if err != nil {
		p.log.Error("the new certificate cannot be used; the old one stays", "file", p.cert, "error", err)
		return p.loaded
	}
	p.log.Info("read a new certificate", "file", p.cert, "expires", loaded.Leaf.NotAfter)
	p.loaded = &loaded
	return p.loaded
}
