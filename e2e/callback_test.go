// This file owns receivers of callbacks, and proves what happens to one that fails.

package e2e

import (
	"fmt"
	"maps"
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
	URL string // to be entered in the console

	mu     sync.Mutex
	status int                 // what is answered
	keys   []string            // keys that may sign
	tries  int                 // how often it was called
	events map[string][]string // statuses told, by uuid; only what was answered with 200
	bad    []error             // calls that were not what they should be
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{status: http.StatusOK, events: map[string][]string{}}
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

	// While all is well, a decision is told within 100 ms; the deadline here only ends the test.
	began, first := time.Now(), decide("approve")
	eventually(t, waitWithin, "the first callback", func() error { return want("told", fmt.Sprint(r.told(first)), "[approved]") })
	t.Logf("measured: decision asked, answered and called back in %v", time.Since(began).Round(time.Millisecond))

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
