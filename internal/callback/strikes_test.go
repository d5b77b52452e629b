package callback_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/job"
)

// This file tests strikes: what is one, what clears them, and what the third does.

// Every status outside 2xx is a strike, also those that ask to go elsewhere; any 2xx clears them.
func TestStrikes(t *testing.T) {
	r := newRig(t)
	status := http.StatusOK
	rc := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	})
	r.setCallback(t, rc.URL+"/authy")
	for _, row := range []struct{ status, strikes int }{
		{500, 1},
		{200, 0},
		{301, 1},
		{300, 2},
		{204, 0},
		{307, 1},
		{308, 2},
		{299, 0},
		{304, 1},
		{400, 2},
		{201, 0},
		{401, 1},
		{410, 2},
		{202, 0},
		{429, 1},
		{503, 2},
		{206, 0},
	} {
		status = row.status
		_, j := r.decide(t)
		r.deliver(t, j)
		if got := r.application(t).Callback; got.Strikes != row.strikes || got.URL == "" {
			t.Errorf("after %d: %+v", row.status, got)
		}
		if try := r.tries(t)[0]; try.Status != row.status || try.Delivered() != (row.strikes == 0) || (try.Error == "") != try.Delivered() {
			t.Errorf("after %d: kept %+v", row.status, try)
		}
		r.Clock.Advance(time.Second / 2)
	}
	close(rc.got)
	n := 0
	for got := range rc.got {
		if n++; got.URL.Path != "/authy" {
			t.Errorf("a redirect was followed to %s", got.URL)
		}
	}
	if n != 17 {
		t.Errorf("%d requests", n)
	}
}

// The third strike in a row blanks the address, tells the owner, and holds what is queued for a day; a new address releases it.
func TestThirdStrike(t *testing.T) {
	r := newRig(t)
	bad := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "a secret stack trace", http.StatusInternalServerError)
	})
	r.setCallback(t, bad.URL+"/authy")
	first, j := r.decide(t)
	second, waiting := r.decide(t) // leased, not yet tried
	for attempt := range 3 {
		r.deliver(t, j)
		if attempt < 2 {
			j.Attempts++
		}
	}
	got := r.application(t).Callback
	if got.URL != "" || got.Strikes != 3 || !got.DisabledAt.Equal(r.Clock.Now()) || got.DisabledReason != "HTTP status 500 Internal Server Error" {
		t.Fatalf("%+v", got)
	}
	mail := r.Delivered(t, r.Account.OwnerEmail)
	if mail.Channel != "email" || mail.Subject != "Callback of Bank was disabled" || mail.Code != "" {
		t.Errorf("mail %+v", mail)
	}
	for _, want := range []string{"Bank", bad.URL + "/authy", "three times in a row", "HTTP status 500", "console", "24 hours"} {
		if !strings.Contains(mail.Body, want) {
			t.Errorf("no %q in the mail:\n%s", want, mail.Body)
		}
	}
	if strings.Contains(mail.Body+fmt.Sprint(r.tries(t)), "stack trace") {
		t.Error("the receiver's answer is shown")
	}
	if n := len(r.Outbox(t, "")); n != 1 {
		t.Errorf("%d mails", n)
	}

	r.deliver(t, waiting) // its turn comes now: held, not tried
	third, offered := r.decide(t)
	if offered.ID != "" {
		t.Error("a decision after the third strike was offered at once")
	}
	r.Clock.Advance(23 * time.Hour)
	if jobs := r.claim(t); len(jobs) != 0 {
		t.Fatalf("held jobs were claimed: %v", jobs)
	}
	if n := len(r.tries(t)); n != 3 {
		t.Errorf("%d tries", n)
	}

	good := newReceiver(t, always(200))
	before := len(r.Jobs.Offered(job.Callback))
	r.setCallback(t, good.URL)
	released := r.Jobs.Offered(job.Callback)[before:]
	for _, j := range released {
		r.deliver(t, j)
	}
	var told []string
	for range released {
		got := <-good.got
		told = append(told, regexp.MustCompile(`"uuid":"([^"]+)"`).FindStringSubmatch(got.body)[1])
	}
	want := []string{first.UUID, second.UUID, third.UUID}
	slices.Sort(told)
	slices.Sort(want)
	if !slices.Equal(told, want) {
		t.Errorf("told of %v, want %v", told, want)
	}
	if got := r.application(t).Callback; got.Strikes != 0 || !got.DisabledAt.IsZero() || got.DisabledReason != "" {
		t.Errorf("%+v", got)
	}
}

// Held deliveries are dropped after a day, those of that day's end only a day after their decision.
func TestHeldAreDropped(t *testing.T) {
	r := newRig(t)
	bad := newReceiver(t, always(500))
	r.setCallback(t, bad.URL)
	_, j := r.decide(t)
	_, waiting := r.decide(t)
	r.Clock.Advance(time.Hour)
	for range 3 {
		r.deliver(t, j)
	}
	r.deliver(t, waiting)
	r.Clock.Advance(10 * time.Hour)
	r.decide(t)
	for _, row := range []struct {
		later   time.Duration
		dropped int64
	}{{14*time.Hour - time.Millisecond, 0}, {time.Millisecond, 2}, {10*time.Hour - time.Millisecond, 0}, {time.Millisecond, 1}} {
		r.Clock.Advance(row.later)
		if n, err := r.Store.DropHeld(t.Context(), r.Clock.Now()); n != row.dropped || err != nil {
			t.Errorf("dropped %d, %v; want %d", n, err, row.dropped)
		}
	}
}

// A late answer of an old address says nothing about the new one.
func TestLateAnswerOfAnOldAddress(t *testing.T) {
	r := newRig(t)
	good := newReceiver(t, always(200))
	status := 500
	old := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		r.setCallback(t, good.URL)
		w.WriteHeader(status)
	})
	r.setCallback(t, old.URL)
	_, j := r.decide(t)
	r.deliver(t, j)
	if got := r.application(t).Callback; got.URL != good.URL || got.Strikes != 0 {
		t.Errorf("after its failure: %+v", got)
	}
	// And a success clears no strikes of the new address.
	status = 200
	bad := newReceiver(t, always(500))
	late := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) {
		r.setCallback(t, bad.URL)
		_, j := r.decide(t)
		r.deliver(t, j)
		w.WriteHeader(200)
	})
	r.setCallback(t, late.URL)
	_, j = r.decide(t)
	r.deliver(t, j)
	if got := r.application(t).Callback; got.Strikes != 1 {
		t.Errorf("after its success: %+v", got)
	}
}
