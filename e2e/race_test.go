// This file proves that a code is good once, and that wrong codes are counted before they are compared, however many
// come at the same time.

package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
)

// crowd is how many ask at once.
const crowd = 200

// TestCodesAtOnce: 200 parallel verifications of one right code, and of wrong ones. Code means app code and sent code.
func TestCodesAtOnce(t *testing.T) {
	d := startDev(t)
	c := d.client(d.APIKey)

	t.Run("right app code", func(t *testing.T) {
		u, p := d.addUser(c), d.newPhone()
		p.enrol(c, u)
		once(t, d, u, p.code(u.email))
	})
	t.Run("right sent code", func(t *testing.T) {
		u := d.addUser(c)
		if got := d.mustCall(d.APIKey, "GET", fmt.Sprintf("/protected/json/sms/%d", u.id), nil); got.status != 200 {
			t.Fatal(got.body)
		}
		once(t, d, u, d.sentCode(u.number, 1))
	})
	t.Run("wrong codes", func(t *testing.T) {
		u, p := d.addUser(c), d.newPhone()
		p.enrol(c, u)
		got := verifyAtOnce(t, d, u, func(i int) string { return fmt.Sprintf("%07d", i) })
		if got["401 60020"] > 5 || got["401 60020"] == 0 || got["401 60020"]+got["503 60017"] != crowd {
			t.Errorf("%v; want at most 5 compared (401 60020) and the others refused (503 60017)", got)
		}
	})
}

// TestServeCodesAtOnce is TestCodesAtOnce on `serve` with PostgreSQL.
func TestServeCodesAtOnce(t *testing.T) {
	t.Parallel()
	s := newPlainSite(t)
	s.start(0)
	c := s.client(s.APIKey)

	u, p := s.addUser(c), s.newPhone()
	p.enrol(c, u)
	once(t, s.dev, u, p.code(u.email))

	u, p = s.addUser(c), s.newPhone()
	p.enrol(c, u)
	got := verifyAtOnce(t, s.dev, u, func(i int) string { return fmt.Sprintf("%07d", i) })
	if got["401 60020"] > 5 || got["401 60020"] == 0 || got["401 60020"]+got["503 60017"] != crowd {
		t.Errorf("%v; want at most 5 compared (401 60020) and the others refused (503 60017)", got)
	}
}

// once verifies a right code many times at once, and expects one success.
func once(t *testing.T, d *dev, u user, code string) {
	t.Helper()
	got := verifyAtOnce(t, d, u, func(int) string { return code })
	t.Log(got)
	if got["200 "] != 1 {
		t.Errorf("%v; want exactly one success", got)
	}
	for outcome := range got {
		switch outcome {
		case "200 ", "401 60019", "401 60020", "503 60017": // used, wrong, too many tries
		default:
			t.Errorf("answered %s", outcome)
		}
	}
}

// verifyAtOnce verifies many codes at the same time, each over a connection of its own, and counts "status code".
func verifyAtOnce(t *testing.T, d *dev, u user, code func(i int) string) map[string]int {
	t.Helper()
	var (
		start   = make(chan struct{})
		done    sync.WaitGroup
		mu      sync.Mutex
		answers = map[string]int{}
	)
	for i := range crowd {
		done.Go(func() {
			<-start
			got, err := d.call(t.Context(), d.APIKey, http.MethodGet, fmt.Sprintf("/protected/json/verify/%s/%d", code(i), u.id), nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			answers[fmt.Sprintf("%d %s", got.status, got.code())]++
		})
	}
	close(start)
	done.Wait()
	return answers
}
