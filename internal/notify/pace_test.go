package notify_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/job"
	"countersign.dev/internal/notify"
)

// held is a push service that answers when it is told to.
type held struct {
	asked  chan struct{}
	answer chan int // the status of one answer
}

func (h *held) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Host, "127.0.0.2") { // another service, which answers at once
		return &http.Response{StatusCode: 201, Body: http.NoBody}, nil
	}
	h.asked <- struct{}{}
	select {
	case status := <-h.answer:
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	case <-r.Context().Done():
		return nil, errors.New("given up")
	}
}

// A push service that answers slowly gets two requests at once, until it is quick again; what more there is for it waits in the table, and
// other services get theirs meanwhile.
func TestSlowService(t *testing.T) {
	b := newBench(t)
	h := &held{asked: make(chan struct{}), answer: make(chan int)}
	b.Push.Client = &http.Client{Transport: h}
	at := func(host string) {
		b.Subscribe(t, b.phone, notify.Subscription{Endpoint: "http://" + host + "/push/x", P256dh: b.browser.P256dh(), Auth: b.browser.Auth})
	}
	var work sync.WaitGroup
	begin := func() job.Job {
		t.Helper()
		b.Clock.Advance(time.Millisecond)
		_, j := b.ask(t)
		work.Go(func() {
			if err := b.Push.Deliver(t.Context(), j); err != nil {
				t.Error(err)
			}
		})
		<-h.asked
		return j
	}
	at("127.0.0.1")
	begin()
	b.Clock.Advance(3 * time.Second)
	h.answer <- 201
	work.Wait() // its answer was slow

	begin()
	begin()
	_, third := b.ask(t)
	b.deliver(t, third) // without a request: that would wait for asked
	if jobs := b.due(t, 0); len(jobs) != 0 {
		t.Errorf("%d jobs are due at once", len(jobs))
	}
	at("127.0.0.2")
	_, other := b.ask(t)
	b.deliver(t, other)
	h.answer <- 201
	h.answer <- 201
	work.Wait() // both in no time

	at("127.0.0.1")
	for range 5 {
		begin()
	}
	for range 5 {
		h.answer <- 201
	}
	work.Wait()
}
