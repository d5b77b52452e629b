package logo

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"image/color"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"countersign.dev/internal/egress"
)

// This file tests the fetching: what is asked for, how often, for how long, and what is remembered.

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shelf is a store in memory.
type shelf struct {
	mu     sync.Mutex
	kept   map[string][]byte
	broken error
}

func (s *shelf) KeepLogo(_ context.Context, digest string, png []byte, _ time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.kept[digest] = png
	}
	return s.broken
}

// host answers requests without a network, so that time can be synthetic.
type host func(*http.Request) (*http.Response, error)

func (h host) RoundTrip(r *http.Request) (*http.Response, error) { return h(r) }

func response(status int, body io.Reader) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(body), Header: http.Header{}}
}

func fetcher(h host) (*Fetcher, *shelf) {
	s := &shelf{kept: map[string][]byte{}}
	return New(s, &http.Client{Transport: h}, time.Now, slog.New(slog.DiscardHandler)), s
}

func TestDigest(t *testing.T) {
	file := encodePNG(t, plain(300, 150, color.White))
	var asked *http.Request
	f, s := fetcher(func(r *http.Request) (*http.Response, error) {
		asked = r
		return response(200, bytes.NewReader(file)), nil
	})
	digest := f.Digest(t.Context(), "https://bank.example/logo.png?v=1")
	want, err := Normalise(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(want)
	if digest != hex.EncodeToString(sum[:]) || !bytes.Equal(s.kept[digest], want) {
		t.Errorf("digest %q, kept %d", digest, len(s.kept))
	}
	if asked.Method != "GET" || asked.URL.String() != "https://bank.example/logo.png?v=1" || len(asked.Cookies()) != 0 || asked.Header.Get("Authorization") != "" {
		t.Errorf("asked %s %s %v", asked.Method, asked.URL, asked.Header)
	}
}

// What cannot be had is no picture, and no error: an approval without its picture is better than none.
func TestNoPicture(t *testing.T) {
	good := encodePNG(t, plain(10, 10, color.White))
	for name, h := range map[string]host{
		"404":     func(*http.Request) (*http.Response, error) { return response(404, bytes.NewReader(good)), nil },
		"204":     func(*http.Request) (*http.Response, error) { return response(204, http.NoBody), nil },
		"no host": func(*http.Request) (*http.Response, error) { return nil, errBroken },
		"not one": func(*http.Request) (*http.Response, error) { return response(200, strings.NewReader("<svg/>")), nil },
		"too large": func(*http.Request) (*http.Response, error) {
			return response(200, io.LimitReader(padded(good), maxBytes+1)), nil
		},
		"breaks off": func(*http.Request) (*http.Response, error) {
			return response(200, io.MultiReader(bytes.NewReader(good), broken{})), nil
		},
	} {
		f, s := fetcher(h)
		if digest := f.Digest(t.Context(), "https://bank.example/logo.png"); digest != "" || len(s.kept) != 0 {
			t.Errorf("%s: %q", name, digest)
		}
	}
	f, _ := fetcher(func(*http.Request) (*http.Response, error) {
		return response(200, io.LimitReader(padded(good), maxBytes)), nil
	})
	if f.Digest(t.Context(), "https://bank.example/logo.png") == "" {
		t.Error("a file of exactly the largest size was refused")
	}
	for _, url := range []string{"::", "https://ana:secret@bank.example/logo.png"} {
		if digest := f.Digest(t.Context(), url); digest != "" {
			t.Errorf("%q: %q", url, digest)
		}
	}
}

// padded is a picture with rubbish behind it, without end.
func padded(file []byte) io.Reader { return io.MultiReader(bytes.NewReader(file), zeros{}) }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// The log names the host, and never an address, whose query may be a key to the picture (INV-8).
func TestAddressIsNotLogged(t *testing.T) {
	var log bytes.Buffer
	f, _ := fetcher(func(*http.Request) (*http.Response, error) { return nil, errBroken })
	f.log = slog.New(slog.NewTextHandler(&log, nil))
	f.Digest(t.Context(), "https://bank.example/logo.png?signature=canary")
	f.Digest(t.Context(), "https://bank.example:x/logo.png?signature=canary")
	if text := log.String(); strings.Contains(text, "canary") || !strings.Contains(text, "bank.example: broken") {
		t.Errorf("logged: %s", text)
	}
}

// A picture that could not be kept is none: nobody could be shown what they sign.
func TestNotKept(t *testing.T) {
	f, s := fetcher(func(*http.Request) (*http.Response, error) {
		return response(200, bytes.NewReader(encodePNG(t, plain(10, 10, color.White)))), nil
	})
	s.broken = errBroken
	if digest := f.Digest(t.Context(), "https://bank.example/logo.png"); digest != "" {
		t.Errorf("digest %q of a picture that is nowhere", digest)
	}
}

// A slow host costs two seconds, once a minute, and who asks beside gets the same outcome.
func TestSlowHost(t *testing.T) {
	for name, h := range map[string]host{
		"no answer": func(r *http.Request) (*http.Response, error) { <-r.Context().Done(); return nil, r.Context().Err() },
		"a drop at a time": func(r *http.Request) (*http.Response, error) {
			return response(200, slow{r.Context()}), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var asked atomic.Int32
				f, _ := fetcher(func(r *http.Request) (*http.Response, error) { asked.Add(1); return h(r) })
				ask := func(want time.Duration, fetches int32) {
					t.Helper()
					begun := time.Now()
					if digest := f.Digest(t.Context(), "https://slow.example/logo.png"); digest != "" || time.Since(begun) != want || asked.Load() != fetches {
						t.Errorf("%q after %v, asked %d times; want %v and %d", digest, time.Since(begun), asked.Load(), want, fetches)
					}
				}
				ask(patience, 1)
				ask(0, 1)
				<-time.After(failFor - time.Nanosecond)
				ask(0, 1)
				<-time.After(time.Nanosecond)
				ask(patience, 2)
			})
		})
	}
}

// slow gives a byte every 100 ms.
type slow struct{ ctx context.Context }

func (s slow) Read(b []byte) (int, error) {
	select {
	case <-time.After(100 * time.Millisecond):
		b[0] = 0
		return 1, nil
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
}

// A picture is fetched anew after ten minutes, once however many ask, and not given up because the first of them leaves.
func TestFetchedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		file := encodePNG(t, plain(10, 10, color.White))
		f, _ := fetcher(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			select {
			case <-time.After(time.Second):
				return response(200, bytes.NewReader(file)), nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		for round := range int32(3) {
			first, leave := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() { f.Digest(first, "https://bank.example/logo.png") })
			synctest.Wait()
			for range 50 {
				all.Go(func() {
					if f.Digest(t.Context(), "https://bank.example/logo.png") == "" {
						t.Error("no picture")
					}
				})
			}
			synctest.Wait()
			leave()
			all.Wait()
			if n := asked.Load(); n != round+1 {
				t.Errorf("round %d: fetched %d times", round, n)
			}
			<-time.After(freshFor)
		}
	})
}

// Decoding takes memory, so few do it at once; who gets no turn in time has no picture.
func TestFewDecodeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := encodePNG(t, plain(10, 10, color.White))
		f, _ := fetcher(func(*http.Request) (*http.Response, error) { return response(200, bytes.NewReader(file)), nil })
		for range cap(f.decoding) {
			f.decoding <- struct{}{}
		}
		begun := time.Now()
		if digest := f.Digest(t.Context(), "https://bank.example/1"); digest != "" || time.Since(begun) != patience {
			t.Errorf("%q after %v", digest, time.Since(begun))
		}
		go func() {
			<-time.After(time.Second)
			<-f.decoding
		}()
		begun = time.Now()
		if digest := f.Digest(t.Context(), "https://bank.example/2"); digest == "" || time.Since(begun) != time.Second {
			t.Errorf("%q after %v", digest, time.Since(begun))
		}
	})
}

// What is remembered is bounded, whatever addresses are named.
func TestMemoryIsBounded(t *testing.T) {
	f, _ := fetcher(func(*http.Request) (*http.Response, error) { return nil, errBroken })
	for i := range 3*maxKnown + 1 {
		f.Digest(t.Context(), fmt.Sprint("https://bank.example/", i))
	}
	if n := len(f.known); n > maxKnown {
		t.Errorf("%d addresses are remembered", n)
	}
}

// Over a real connection, with the client that the server uses: redirects, compressed bombs, and hosts inside.
func TestRealClient(t *testing.T) {
	good := encodePNG(t, plain(10, 10, color.White))
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.Copy(z, io.LimitReader(padded(good), 5<<20)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var followed atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/good":
			w.Write(good)
		case "/moved":
			http.Redirect(w, r, "/target", http.StatusFound)
		case "/target":
			followed.Store(true)
			w.Write(good)
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			w.Write(packed.Bytes())
		}
	}))
	defer server.Close()
	for _, row := range []struct {
		path   string
		policy egress.Policy
		want   bool
	}{
		{"/good", egress.Policy{Loopback: true}, true},
		{"/good", egress.Policy{}, false},
		{"/moved", egress.Policy{Loopback: true}, false},
		{"/bomb", egress.Policy{Loopback: true}, false},
	} {
		client := row.policy.Client(time.Minute)
		f := New(&shelf{kept: map[string][]byte{}}, client, time.Now, slog.New(slog.DiscardHandler))
		if got := f.Digest(t.Context(), server.URL+row.path) != ""; got != row.want {
			t.Errorf("%s %+v: %v", row.path, row.policy, got)
		}
		client.CloseIdleConnections()
	}
	if followed.Load() {
		t.Error("a redirect was followed")
	}
}
