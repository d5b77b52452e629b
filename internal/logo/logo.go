// Package logo owns the pictures of approvals.
//
// A picture is fetched by the server once in a while, never by the device: the
// authenticator talks to its own origin only, and what is shown is what was
// signed. It is decoded, shrunk and encoded anew as PNG, so that nothing of
// the original file reaches a device but its pixels (T-40).
package logo

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"image"
	_ "image/gif"  // accepted formats
	_ "image/jpeg" // accepted formats
	"image/png"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/image/draw"
	"golang.org/x/sync/singleflight"
)

const (
	maxBytes = 512 << 10 // of the original file
	maxSide  = 2048      // pixels of the original
	side     = 192       // pixels of what devices get: 64 CSS pixels on a sharp screen
	freshFor = 10 * time.Minute
	failFor  = time.Minute // how long a failure is remembered, so that a dead host costs one wait
	maxKnown = 1000        // addresses remembered
	patience = 2 * time.Second
	decoders = 2 // pictures decoded at once: each may take 32 MiB
)

// Store is what this package needs to keep.
type Store interface {
	KeepLogo(ctx context.Context, digest string, png []byte, now time.Time) error
}

// Fetcher fetches pictures and remembers their digests. Make it with New.
type Fetcher struct {
	store  Store
	client *http.Client
	now    func() time.Time
	log    *slog.Logger

	fetches  singleflight.Group // by address: who asks for what is being fetched waits for it
	decoding chan struct{}      // holds a slot for each picture that is being decoded

	mu    sync.Mutex
	known map[string]known // by address
}

type known struct {
	digest string // "" = could not be had
	until  time.Time
}

// New returns a fetcher that uses client, which must be guarded against private addresses.
func New(store Store, client *http.Client, now func() time.Time, log *slog.Logger) *Fetcher {
	return &Fetcher{store: store, client: client, now: now, log: log, decoding: make(chan struct{}, decoders), known: map[string]known{}}
}

// Digest returns the hex SHA-256 of the PNG that devices will be shown for the picture at url, or "" when it cannot be
// had within two seconds: an approval without its picture is better than none.
func (f *Fetcher) Digest(ctx context.Context, url string) string {
	f.mu.Lock()
	k, ok := f.known[url]
	f.mu.Unlock()
	if ok && f.now().Before(k.until) {
		return k.digest
	}
	digest, _, _ := f.fetches.Do(url, func() (any, error) {
		// Others may wait for it too, so it goes on when this caller leaves.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		digest, err := f.fetch(ctx, url)
		k := known{digest, f.now().Add(freshFor)}
		if err != nil {
			f.log.Warn("a logo could not be had; the request is shown without it", "error", err)
			k = known{"", f.now().Add(failFor)}
		}
		f.remember(url, k)
		return k.digest, nil
	})
	return digest.(string)
}

func (f *Fetcher) remember(url string, k known) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) >= maxKnown {
		clear(f.known) // rare, and costs one fetch an address
	}
	f.known[url] = k
}

func (f *Fetcher) fetch(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", errors.New("the address is not a URL")
	}
	if req.URL.User != nil {
		return "", errors.New("credentials in the address")
	}
	req.Header.Set("Accept", "image/png, image/jpeg, image/gif")
	res, err := f.client.Do(req)
	if err != nil {
		return "", fmt.Errorf("%s: %w", req.URL.Host, errors.Unwrap(err)) // without the address, whose query may be secret (INV-8)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBytes+1))
	if err != nil {
		return "", err
	}
	if len(body) > maxBytes {
		return "", fmt.Errorf("larger than %d bytes", maxBytes)
	}
	select {
	case f.decoding <- struct{}{}:
		defer func() { <-f.decoding }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	picture, err := Normalise(body)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(picture)
	digest := hex.EncodeToString(sum[:])
	return digest, f.store.KeepLogo(ctx, digest, picture, f.now())
}

// Normalise decodes a PNG, JPEG or GIF and returns it as a PNG that fits a square of 192 pixels.
func Normalise(file []byte) ([]byte, error) {
	config, _, err := image.DecodeConfig(bytes.NewReader(file)) // before the pixels: a small file may claim a huge picture
	if err != nil {
		return nil, fmt.Errorf("not a PNG, JPEG or GIF: %w", err)
	}
	if config.Width > maxSide || config.Height > maxSide || config.Width < 1 || config.Height < 1 {
		return nil, errors.New("larger than 2048 pixels a side, or empty")
	}
	src, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, fmt.Errorf("broken picture: %w", err)
	}
	w, h := fit(src.Bounds().Dx(), src.Bounds().Dy())
	dst := image.NewNRGBA(image.Rect(0, 0, w, h))
	draw.CatmullRom.Scale(dst, dst.Bounds(), src, src.Bounds(), draw.Src, nil)
	var out bytes.Buffer
	if err := png.Encode(&out, dst); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// fit shrinks w×h into the square and keeps its proportions.
func fit(w, h int) (int, int) {
	long := max(w, h)
	if long <= side {
		return w, h
	}
	return max(w*side/long, 1), max(h*side/long, 1)
}
