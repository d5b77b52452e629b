// This file tests telling: real services, a real receiver on loopback, and a worker between them.

package webhook_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	sign "countersign.dev/client/callback"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/authyapi"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/job"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a provider with one application, and a receiver.
type rig struct {
	*servertest.Server
	worker *webhook.Worker
	app    tenant.Application

	mu     sync.Mutex
	got    []got
	answer func(w http.ResponseWriter)
	url    string
}

// got is a request as it came.
type got struct{ contentType, body string }

func newRig(t *testing.T, change ...func(*tenant.Settings)) *rig {
	t.Helper()
	r := &rig{Server: servertest.New(t), answer: func(http.ResponseWriter) {}}
	r.app = r.App(t, "Bank", change...)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, got{req.Header.Get("Content-Type"), string(body)})
		r.answer(w)
	}))
	t.Cleanup(receiver.Close)
	r.url = receiver.URL + "/hook"
	client := egress.Policy{Loopback: true}.Client(webhook.Patience)
	t.Cleanup(client.CloseIdleConnections)
	r.worker = &webhook.Worker{
		Service: r.Webhooks, Reports: r.Reports, Client: client, Claims: authyapi.EventClaims, Mail: r.Messages.WebhookPausedJob, Log: slog.New(slog.DiscardHandler),
	}
	return r
}

// hook makes a webhook that is told of these events.
func (r *rig) hook(t *testing.T, events ...string) (w webhook.Webhook, key string) {
	t.Helper()
	w, err := r.Webhooks.Create(t.Context(), r.app, "first", r.url, events, "operator:test")
	if err != nil {
		t.Fatal(err)
	}
	key, err = r.Webhooks.SigningKey(w)
	if err != nil {
		t.Fatal(err)
	}
	return w, key
}

// row is the webhook as its row is now.
func (r *rig) row(t *testing.T, id string) webhook.Webhook {
	t.Helper()
	all, err := r.Webhooks.List(t.Context(), r.app)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		if w.ID == id {
			return w
		}
	}
	t.Fatal("it is gone")
	return webhook.Webhook{}
}

func (r *rig) deliver(t *testing.T, jobs ...job.Job) {
	t.Helper()
	for _, j := range jobs {
		if err := r.worker.Deliver(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
}

// claim leases the webhooks' jobs that are due now.
func (r *rig) claim(t *testing.T) []job.Job {
	t.Helper()
	jobs, err := r.Store.ClaimJobs(t.Context(), r.Clock.Now(), r.Clock.Now().Add(job.Lease), 200)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(jobs, func(j job.Job) bool { return j.Kind != job.Webhook })
}

// event is what is read of a request.
type event struct {
	Issued  int64  `json:"iat"`
	Event   string `json:"event"`
	Time    string `json:"time"`
	Request string `json:"request_id"`
	Objects struct {
		App  struct{ ID, Name string } `json:"app"`
		User struct {
			AuthyID int64 `json:"authy_id"`
		} `json:"user"`
	} `json:"objects"`
}

func (r *rig) events(t *testing.T, key string) (all []event) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.got {
		claims, err := sign.EventJWT(key, g.contentType, []byte(g.body))
		if err != nil {
			t.Fatalf("%s: %v", g.body, err)
		}
		var e event
		if err := json.Unmarshal(claims, &e); err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func roomy(set *tenant.Settings) {
	set.CustomCodes, set.WaitingMax, set.UnapprovedHour, set.UnapprovedBurst = true, 100, 100, 0
}

// Every event of the catalogue that happens here is told as it happens, once, with what the reports say of it.
func TestEveryEventIsTold(t *testing.T) {
	r := newRig(t, roomy)
	hook, key := r.hook(t, reporting.Events()...)
	ana := r.User(t, r.app, "ana@example.com", "202-555-0123")
	phone := r.Phone(t, r.app, ana)
	for _, answer := range []string{approval.Approve, approval.Deny} {
		asked := r.Ask(t, r.app, ana, "Log in?")
		if _, err := phone.Answer(t, asked.UUID, answer, ""); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Codes.Send(t.Context(), r.app, ana, otp.Request{Channel: otp.SMS, Force: true}); err != nil {
		t.Fatal(err)
	}
	verify := func(code string) { _, _ = r.Codes.Verify(t.Context(), r.app, ana, code, "") }
	verify(r.Delivered(t, ana.Phone).Code)
	for range otp.BudgetTries + 2 { // the last two find her suspended, which is no event
		verify("0")
	}
	start := func(change func(*otp.VerificationRequest)) {
		v := otp.VerificationRequest{Channel: otp.SMS, Phone: "+12025550178", Code: "4711"}
		change(&v)
		_, _, _ = r.Codes.StartVerification(t.Context(), r.app, v)
	}
	check := func(code string) { _ = r.Codes.CheckVerification(t.Context(), r.app, "+12025550178", code) }
	same := func(*otp.VerificationRequest) {}
	start(same)
	check("0")
	check("4711")
	start(func(v *otp.VerificationRequest) { v.Message = "Win a prize" })
	closed := r.app
	closed.Settings.Sending = sending.Limits{Countries: "US"}
	_, _, _ = r.Codes.StartVerification(t.Context(), closed, otp.VerificationRequest{Channel: otp.SMS, Phone: "+447700900123"})
	r.Clock.Advance(10 * time.Minute)
	start(same)
	for range otp.SentTries {
		check("0")
	}
	lost := func(steps ...func() error) {
		for _, step := range append([]func() error{func() error { _, err := r.Resets.Ask(t.Context(), r.app, ana); return err }}, steps...) {
			if err := step(); err != nil {
				t.Fatal(err)
			}
		}
	}
	lost(func() error { return r.Resets.Refuse(t.Context(), r.app, ana, "operator:test") })
	lost(func() error {
		_, err := r.Resets.Allow(t.Context(), r.app, ana, "seen in person", "operator:test")
		return err
	}, func() error { return r.Resets.Stop(t.Context(), r.app, ana) })
	if err := r.Tenants.RemoveUser(t.Context(), r.app, ana.AuthyID); err != nil {
		t.Fatal(err)
	}
	offered := r.Jobs.Offered(job.Webhook)
	r.deliver(t, offered...)
	r.deliver(t, r.claim(t)...) // nothing: each ended
	counts := map[string]int{}
	requests := map[string]bool{}
	for _, e := range r.events(t, key) {
		counts[e.Event]++
		requests[e.Request] = true
		if e.Objects.App.ID != r.app.ID || e.Issued != r.Clock.Now().Unix() || e.Objects.User.AuthyID != 0 && e.Objects.User.AuthyID != ana.AuthyID {
			t.Errorf("%+v", e)
		}
	}
	want := map[string]int{
		"user_added": 1, "device_registration_completed": 1, "user_registration_completed": 1,
		"account_recovery_started": 2, "account_recovery_approved": 1, "account_recovery_canceled": 2, "one_touch_request_sent": 2, "one_touch_request_responded": 2, "totp_token_sent": 1, "token_verified": 1,
		"token_invalid": otp.BudgetTries, "suspended_account": 1, "phone_verification_started": 2, "phone_verification_code_is_invalid": 1 + otp.SentTries,
		"phone_verification_code_is_valid": 1, "too_many_code_verifications": 1, "custom_message_not_allowed": 1, "phone_verification_failed": 1, "user_removed": 1,
	}
	if fmt.Sprint(counts) != fmt.Sprint(want) {
		t.Errorf("told  %v\nwant %v", counts, want)
	}
	if len(requests) != len(offered) {
		t.Errorf("%d events with %d names", len(offered), len(requests))
	}
	// too_many_phone_verifications has a test of its own below; not_found happens when two nodes check at once.
	for _, name := range reporting.Events() {
		if counts[name] == 0 && name != "too_many_phone_verifications" && name != "phone_verification_not_found" {
			t.Errorf("%s never happened", name)
		}
	}
	if r.row(t, hook.ID).ToldAt.IsZero() {
		t.Error("nobody noted that it was told")
	}
	told, err := r.Reports.Page(t.Context(), r.app, reporting.Query{From: r.Clock.Now().Add(-time.Hour), To: r.Clock.Now().Add(time.Hour)}, 1, 100)
	if err != nil || len(told) != len(offered) {
		t.Errorf("the reports have %d events, %d were told, %v", len(told), len(offered), err)
	}
}

// Refusals are told when their number doubles, so that whoever makes an application ask again and again fills no record.
func TestRefusedStartsAreTold(t *testing.T) {
	r := newRig(t, func(set *tenant.Settings) { set.Sending.NumberDay = 1 })
	_, key := r.hook(t, "too_many_phone_verifications")
	for range 9 {
		_, _, _ = r.Codes.StartVerification(t.Context(), r.app, otp.VerificationRequest{Channel: otp.SMS, Phone: "+12025550178"})
	}
	r.deliver(t, r.Jobs.Offered(job.Webhook)...)
	if n := len(r.events(t, key)); n != 4 { // of eight refusals the first, second, fourth and eighth
		t.Errorf("told %d times", n)
	}
}

// Only who asked is told, and only of their own application (INV-11).
func TestOnlyWhoAsked(t *testing.T) {
	r := newRig(t)
	shop := r.App(t, "Shop")
	theirs, err := r.Webhooks.Create(t.Context(), shop, "theirs", r.url, webhook.Events(), "operator:test")
	if err != nil {
		t.Fatal(err)
	}
	r.hook(t, "user_removed")
	one, _ := r.hook(t, "user_added")
	two, _ := r.hook(t, "user_added", "user_removed")
	r.User(t, r.app, "ana@example.com", "202-555-0123")
	var told []string
	for _, j := range r.Jobs.Offered(job.Webhook) {
		told = append(told, j.AppID)
	}
	want := []string{one.ID, two.ID}
	slices.Sort(told)
	slices.Sort(want)
	if !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	for _, id := range []string{theirs.ID, "WH_none"} {
		for name, err := range map[string]error{
			"remove": r.Webhooks.Remove(t.Context(), r.app, id, "x"), "resume": r.Webhooks.Resume(t.Context(), r.app, id, "x"),
		} {
			if err == nil || err.Error() != webhook.ErrUnknown.Error() {
				t.Errorf("%s %s: %v", name, id, err)
			}
		}
		if _, err := r.Webhooks.Reveal(t.Context(), r.app, id, "x"); err == nil {
			t.Errorf("shown: %s", id)
		}
	}
}

// A receiver that fails is tried again like a callback's, with the same event; one that takes nothing for an hour is paused, its owner told, and what waits is
// held until somebody resumes it. Events while it is paused are not queued.
func TestFailingReceiver(t *testing.T) {
	r := newRig(t)
	hook, key := r.hook(t, "user_added")
	r.answer = func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }
	r.User(t, r.app, "ana@example.com", "202-555-0101")
	r.deliver(t, r.Jobs.Offered(job.Webhook)...)
	if w := r.row(t, hook.ID); w.FailingSince.IsZero() || !w.PausedAt.IsZero() || w.Reason != "HTTP status 502 Bad Gateway" {
		t.Errorf("%+v", w)
	}
	if due := r.claim(t); len(due) != 0 {
		t.Errorf("tried again at once: %v", due)
	}
	r.Clock.Advance(2 * time.Second)
	again := r.claim(t)
	if len(again) != 1 || again[0].Attempts != 2 {
		t.Fatalf("%+v", again)
	}
	r.deliver(t, again...)
	all := r.events(t, key)
	if len(all) != 2 || all[0].Request != all[1].Request || all[0].Issued == all[1].Issued {
		t.Errorf("%+v", all)
	}
	r.Clock.Advance(webhook.FailFor)
	again = r.claim(t)
	r.deliver(t, again...)
	w := r.row(t, hook.ID)
	if w.PausedAt.IsZero() {
		t.Fatalf("not paused: %+v", w)
	}
	if mail := r.Delivered(t, "owner@example.com"); mail.Subject != "Webhook of Bank was paused" || !strings.Contains(mail.Body, hook.URL) {
		t.Errorf("%+v", mail)
	}
	r.deliver(t, again...) // one that was on its way meanwhile
	before := len(r.Jobs.Offered(job.Webhook))
	r.User(t, r.app, "bob@example.com", "202-555-0102")
	if n := len(r.Jobs.Offered(job.Webhook)); n != before {
		t.Error("told while it is paused")
	}
	r.Clock.Advance(time.Hour)
	if due := r.claim(t); len(due) != 0 {
		t.Errorf("held, and claimed: %v", due)
	}
	if err := r.Webhooks.Resume(t.Context(), r.app, hook.ID, "operator:test"); err != nil {
		t.Fatal(err)
	}
	if err := r.Webhooks.Resume(t.Context(), r.app, hook.ID, "operator:test"); err == nil || err.Error() != webhook.ErrRunning.Error() {
		t.Errorf("resumed twice: %v", err)
	}
	r.answer = func(http.ResponseWriter) {}
	released := r.Jobs.Offered(job.Webhook)[before:]
	if len(released) != 1 {
		t.Fatalf("released %v", released)
	}
	r.deliver(t, released...)
	if w := r.row(t, hook.ID); !w.PausedAt.IsZero() || !w.FailingSince.IsZero() || w.Reason != "" || w.ToldAt.IsZero() {
		t.Errorf("%+v", w)
	}
}

// What was held for longer than a day is dropped; what waits for a webhook that was removed, too.
func TestHeldAndRemoved(t *testing.T) {
	r := newRig(t)
	hook, _ := r.hook(t, "user_added")
	r.answer = func(w http.ResponseWriter) { w.WriteHeader(500) }
	r.User(t, r.app, "ana@example.com", "202-555-0101")
	j := r.Jobs.Offered(job.Webhook)[0]
	r.deliver(t, j)
	r.Clock.Advance(webhook.FailFor)
	r.deliver(t, r.claim(t)...)
	if n, err := r.Store.DropHeld(t.Context(), r.Clock.Now().Add(webhook.HoldFor-time.Second)); n != 0 || err != nil {
		t.Errorf("dropped early: %d, %v", n, err)
	}
	if n, err := r.Store.DropHeld(t.Context(), r.Clock.Now().Add(webhook.HoldFor)); n != 1 || err != nil {
		t.Errorf("dropped %d, %v", n, err)
	}
	if err := r.Webhooks.Resume(t.Context(), r.app, hook.ID, "operator:test"); err != nil {
		t.Fatal(err)
	}
	r.User(t, r.app, "bob@example.com", "202-555-0102")
	late := r.Jobs.Offered(job.Webhook)[1]
	if err := r.Webhooks.Remove(t.Context(), r.app, hook.ID, "operator:test"); err != nil {
		t.Fatal(err)
	}
	seen := len(r.got)
	r.deliver(t, late)
	r.Clock.Advance(time.Hour)
	if due := r.claim(t); len(due) != 0 || len(r.got) != seen {
		t.Errorf("%v is due, and %d came after the end", due, len(r.got)-seen)
	}
}

// T-40: a webhook goes nowhere that callbacks may not go, and follows no redirect.
func TestT40WebhooksStayOutside(t *testing.T) {
	r := newRig(t)
	hook, _ := r.hook(t, "user_added")
	r.worker.Client = egress.Policy{}.Client(webhook.Patience)
	r.User(t, r.app, "ana@example.com", "202-555-0101")
	r.deliver(t, r.Jobs.Offered(job.Webhook)...)
	if w := r.row(t, hook.ID); len(r.got) != 0 || !strings.Contains(w.Reason, "private, local or reserved") {
		t.Errorf("%d requests came, %q", len(r.got), w.Reason)
	}
	open := newRig(t)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("redirected") }))
	t.Cleanup(other.Close)
	hook, _ = open.hook(t, "user_added")
	open.answer = func(w http.ResponseWriter) {
		w.Header().Set("Location", other.URL)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
	open.User(t, open.app, "ana@example.com", "202-555-0101")
	open.deliver(t, open.Jobs.Offered(job.Webhook)...)
	if w := open.row(t, hook.ID); w.Reason != "HTTP status 307 Temporary Redirect" {
		t.Errorf("%q", w.Reason)
	}
}

// One webhook that hangs holds up neither another of its application nor callbacks: each has a lane of its own.
func TestAHangingWebhookHoldsUpNobody(t *testing.T) {
	r := newRig(t)
	slow, _ := r.hook(t, "user_added")
	quick, _ := r.hook(t, "user_added")
	release, told := make(chan struct{}), make(chan string, 100)
	runner := job.NewRunner(r.Store, map[job.Kind]job.Handler{
		job.Webhook: func(_ context.Context, j job.Job) error {
			if j.AppID == slow.ID {
				<-release
			}
			told <- j.AppID
			return nil
		},
		job.Callback: func(_ context.Context, j job.Job) error { told <- "callback"; return nil },
	}, r.Clock.Now, slog.New(slog.DiscardHandler))
	r.Store.Offering(runner.Offer)
	const users = 30 // more than run at once
	for i := range users {
		r.User(t, r.app, "ana@example.com", fmt.Sprintf("202-555-01%02d", i))
	}
	runner.Offer(job.New(job.Callback, r.app.ID, "uuid", r.Clock.Now()))
	counts := map[string]int{}
	for range users + 1 {
		counts[<-told]++
	}
	if counts[quick.ID] != users || counts["callback"] != 1 {
		t.Errorf("%v", counts)
	}
	close(release)
	runner.Stop(t.Context())
}
