// This file owns receivers of callbacks, and proves what happens to one that fails.

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/client"
	"countersign.dev/client/callback"
)

// receiver is an application's callback endpoint. It checks every signature.
type receiver struct {
	URL     string // to be entered in the console
	dawdles bool   // takes its time

	mu     sync.Mutex
	status int                  // what is answered
	keys   []string             // keys that may sign
	tries  int                  // how often it was called
	events map[string][]string  // statuses told, by uuid; only what was answered with 200
	came   map[string]time.Time // when first, by uuid
	bad    []error              // calls that were not what they should be
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusOK, events: map[string][]string{}, came: map[string]time.Time{}}
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	r.URL = server.URL + "/countersign/callback"
	t.Cleanup(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, err := range r.bad {
			t.Errorf("a callback: %v", err)
		}
	})
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	if r.dawdles {
		time.Sleep(rand.N(300 * time.Millisecond)) // that is what it is for
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tries++
	// A verifier for each call: this receiver wants to see copies.
	v := &callback.Verifier{URL: r.URL, Keys: r.keys}
	event, err := v.Verify(request)
	if err != nil {
		r.bad = append(r.bad, err)
	}
	if r.status == http.StatusOK && err == nil {
		if len(r.events[event.UUID]) == 0 {
			r.came[event.UUID] = time.Now()
		}
		r.events[event.UUID] = append(r.events[event.UUID], event.Status)
	}
	w.WriteHeader(r.status)
}

// answer sets what is answered from now on.
func (r *receiver) answer(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// all returns every approval that was told about.
func (r *receiver) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Collect(maps.Keys(r.events))
}

// told returns what was told about an approval so far.
func (r *receiver) told(uuid string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events[uuid]
}

// arrival is when an approval was first told about.
func (r *receiver) arrival(uuid string) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.came[uuid]
}

func (r *receiver) calls() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries
}

// TestCallbackThatFails: three errors in a row disable it; its address entered again lets held deliveries go.
func TestCallbackThatFails(t *testing.T) {
	t.Parallel()
	d := startDev(t)
	operator := d.console()
	shop := operator.newApplication("Shop")
	r := newReceiver(t)
	r.keys = []string{shop.key}
	operator.setCallback(shop, r.URL)
	page, list, tries := "/applications/"+shop.id, "/", "/applications/"+shop.id+"/callbacks"
	c, p := d.client(shop.key), d.newPhone()
	u := d.addUser(c)
	p.enrol(c, u)
	decide := func(decision string) string {
		t.Helper()
		asked, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in to Shop"})
		if err != nil {
			t.Fatal(err)
		}
		p.answer(asked.UUID, decision)
		return asked.UUID
	}

	first := decide("approve")
	eventually(t, waitWithin, "the first callback", func() error { return want("told", fmt.Sprint(r.told(first)), "[approved]") })

	// One error is told, and does no harm yet.
	r.answer(http.StatusInternalServerError)
	held := map[string]string{decide("approve"): "approved"}
	eventually(t, waitWithin, "the console to show the first strikes", func() error {
		if text := plain(operator.get(page)); !regexp.MustCompile(`Failing [12]/3|Disabled`).MatchString(text) {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
	held[decide("deny")] = "denied"
	held[decide("approve")] = "approved"
	eventually(t, waitWithin, "the console to show that the callback is disabled", func() error {
		text := operator.get(page)
		if !strings.Contains(text, "Disabled since") || !strings.Contains(text, "500 Internal Server Error") {
			return fmt.Errorf("it says %q", plain(text))
		}
		if value := regexp.MustCompile(`name="url" value="([^"]*)"`).FindStringSubmatch(text); value == nil || value[1] != "" {
			return fmt.Errorf("the address is %q, not blank", value)
		}
		return nil
	})
	if text := plain(operator.get(list)); !regexp.MustCompile(`Shop .* Disabled`).MatchString(text) {
		t.Errorf("the list of applications does not show it: %s", text)
	}
	if text := plain(operator.get(tries)); strings.Count(text, "500 Internal Server Error") < 3 || !strings.Contains(text, " ms ") || !strings.Contains(text, "200 OK") {
		t.Errorf("the tries are not shown with status and time taken: %s", text)
	}
	var mails []message
	eventually(t, waitWithin, "the mail to the owner", func() (err error) {
		if mails, err = d.outbox("owner@example.com"); err == nil && len(mails) == 0 {
			err = fmt.Errorf("no mail")
		}
		return err
	})
	if len(mails) != 1 || mails[0].Channel != "email" || !strings.Contains(mails[0].Subject, "Shop") || !strings.Contains(mails[0].Body, r.URL) || !strings.Contains(mails[0].Body, "enable it again") {
		t.Errorf("the mail: %+v", mails)
	}

	// What is decided meanwhile is held, and the receiver is left alone.
	r.answer(http.StatusOK)
	calls := r.calls()
	held[decide("approve")] = "approved"
	d.stop()
	d.start() // a restart frees nothing
	operator = d.console()
	if got := r.calls(); got != calls {
		t.Errorf("a disabled callback was called %d times", got-calls)
	}

	operator.setCallback(shop, r.URL)
	eventually(t, waitWithin, "the held deliveries", func() error {
		for uuid, status := range held {
			if told := r.told(uuid); len(told) == 0 || told[0] != status {
				return fmt.Errorf("%s: told %v, want %s", uuid, told, status)
			}
		}
		return nil
	})
	eventually(t, waitWithin, "the console to show that it works", func() error {
		if text := plain(operator.get(page)); !strings.Contains(text, "Callback Active") {
			return fmt.Errorf("it says %q", text)
		}
		return nil
	})
	last := decide("deny")
	eventually(t, waitWithin, "the next callback", func() error { return want("told", fmt.Sprint(r.told(last)), "[denied]") })
}

// TestCallbackIsQuick measures from a device's sending of its answer to the callback's arrival. It runs alone.
func TestCallbackIsQuick(t *testing.T) {
	d := startPlainDev(t)
	operator := d.console()
	shop := operator.newApplication("Shop")
	r := newReceiver(t)
	r.keys = []string{shop.key}
	operator.setCallback(shop, r.URL)
	c, p := d.client(shop.key), d.newPhone()
	u := d.addUser(c)
	p.enrol(c, u)
	var took []time.Duration
	for range 25 {
		asked, err := c.CreateApproval(t.Context(), u.id, client.ApprovalRequest{Message: "Log in to Shop"})
		if err != nil {
			t.Fatal(err)
		}
		shown, err := p.Approval(t.Context(), asked.UUID)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, _, err := p.Answer(t.Context(), shown, "approve", ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, waitWithin, "the callback", func() error { return want("told", fmt.Sprint(r.told(asked.UUID)), "[approved]") })
		took = append(took, r.arrival(asked.UUID).Sub(began))
	}
	t.Logf("measured: answer sent to callback arrived, %d decisions: median %v, p95 %v", len(took), percentile(took, 50), percentile(took, 95))
	if median := percentile(took, 50); median >= 100*time.Millisecond {
		t.Errorf("median %v, want under 100 ms", median)
	}
}
