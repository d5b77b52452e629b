package notify_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/notify/pushtest"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a person with a subscribed phone, and a push service.
type bench struct {
	*servertest.Server
	service  *pushtest.Service
	received chan pushtest.Message
	browser  *pushtest.Browser
	id       string // of the phone's subscription
	log      bytes.Buffer
	app      tenant.Application
	ana      tenant.User
	phone    *servertest.Phone
}

func newBench(t *testing.T) *bench {
	b := &bench{Server: servertest.New(t), received: make(chan pushtest.Message, 10), browser: pushtest.NewBrowser()}
	b.service = &pushtest.Service{Now: b.Clock.Now, Deliver: func(m pushtest.Message) { b.received <- m }}
	srv := httptest.NewServer(b.service)
	t.Cleanup(srv.Close)
	b.service.URL = srv.URL
	b.Push.Log = slog.New(slog.NewTextHandler(&b.log, nil))
	t.Cleanup(b.Push.Client.CloseIdleConnections)
	b.app = b.App(t, "Owlgate", func(set *tenant.Settings) {
		set.Match, set.MatchDigits, set.WaitingMax, set.UnapprovedBurst = tenant.MatchType, 4, 20, 20
	})
	b.ana = b.User(t, b.app, "ana@example.com", "202-555-0123")
	b.phone = b.Phone(t, b.app, b.ana)
	b.subscribe(t)
	return b
}

// subscribe gives the phone a subscription at the push service.
func (b *bench) subscribe(t *testing.T) {
	t.Helper()
	state, err := b.Push.State(t.Context(), b.phone.Device)
	if err != nil {
		t.Fatal(err)
	}
	var endpoint string
	b.id, endpoint = b.service.Register(state.Key)
	b.Subscribe(t, b.phone, notify.Subscription{Endpoint: endpoint, P256dh: b.browser.P256dh(), Auth: b.browser.Auth})
}

// deliver runs a push job once.
func (b *bench) deliver(t *testing.T, j job.Job) {
	t.Helper()
	if err := b.Push.Deliver(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if err := b.service.Faults(); err != nil {
		t.Fatal(err)
	}
}

// ask makes an approval and returns it with its push job.
func (b *bench) ask(t *testing.T, change ...func(*approval.Request)) (approval.Approval, job.Job) {
	t.Helper()
	a := b.Ask(t, b.app, b.ana, "Log in from canary-place?", change...)
	jobs := b.Jobs.Offered(job.Push)
	if len(jobs) == 0 || jobs[len(jobs)-1].Ref != a.UUID {
		t.Fatalf("no push job for %s among %+v", a.UUID, jobs)
	}
	return a, jobs[len(jobs)-1]
}

// due claims the jobs that are due after a while.
func (b *bench) due(t *testing.T, after time.Duration) []job.Job {
	t.Helper()
	b.Clock.Advance(after)
	now := b.Clock.Now()
	jobs, err := b.Store.ClaimJobs(t.Context(), now, now.Add(job.Lease), 100)
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(jobs, func(j job.Job) bool { return j.Kind != job.Push })
}

// subscribed reports whether the phone still has a subscription.
func (b *bench) subscribed(t *testing.T) bool {
	t.Helper()
	_, ok, err := b.Store.Subscription(t.Context(), b.phone.Device.ID)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// T-11, T-18: what travels is the request's id and the application's name, encrypted, for as long as the request lives.
func TestDeliver(t *testing.T) {
	b := newBench(t)
	a, j := b.ask(t, func(r *approval.Request) {
		r.Details = []receipt.Field{{Name: "canary-name", Value: "canary-value"}}
		r.Hidden = []receipt.Field{{Name: "canary-hidden", Value: "canary-secret"}}
	})
	b.Clock.Advance(500 * time.Millisecond)
	b.deliver(t, j)
	m := <-b.received
	if m.Subscription != b.id || m.TTL != 119 || m.Urgency != "high" || len(m.Topic) != 32 || m.Subject != "mailto:owner@example.com" {
		t.Errorf("%+v", m)
	}
	plain, err := b.browser.Decrypt(m.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(plain, &got); err != nil || len(got) != 2 || got["id"] != a.UUID || got["application"] != "Owlgate" {
		t.Errorf("%s, %v", plain, err)
	}
	for _, secret := range []string{"canary", a.Match.Value, a.Nonce, "ana@"} {
		if strings.Contains(strings.ReplaceAll(string(plain), a.UUID, ""), secret) || strings.Contains(m.Topic, secret) && secret != a.Match.Value {
			t.Errorf("the message tells %q: %s (T-11)", secret, plain)
		}
	}
	if jobs := b.due(t, time.Hour); len(jobs) != 0 {
		t.Errorf("a delivered job stays: %+v", jobs)
	}
}

// A newer request takes the place of an older one of the same user on the same device, and of nothing else.
func TestTopic(t *testing.T) {
	b := newBench(t)
	topic := func(j job.Job) string {
		b.deliver(t, j)
		return (<-b.received).Topic
	}
	_, first := b.ask(t)
	_, second := b.ask(t)
	one := topic(first)
	if two := topic(second); one != two {
		t.Errorf("topics %s and %s", one, two)
	}
	other := b.User(t, b.app, "ben@example.com", "202-555-0124")
	b.phone.Enroll(t, b.app, other)
	b.Ask(t, b.app, other, "Log in?")
	jobs := b.Jobs.Offered(job.Push)
	if three := topic(jobs[len(jobs)-1]); three == one {
		t.Error("two users of one device share a topic")
	}
}

// A request that never ends is kept by the push service as long as those do.
func TestNeverExpires(t *testing.T) {
	b := newBench(t)
	b.app = b.App(t, "Patient", func(set *tenant.Settings) { *set = tenant.DropIn() })
	b.ana = b.User(t, b.app, "ana@example.com", "202-555-0123")
	b.phone.Enroll(t, b.app, b.ana)
	_, j := b.ask(t, func(r *approval.Request) { r.Life = new(int64) })
	b.deliver(t, j)
	if m := <-b.received; m.TTL != 28*86400 {
		t.Errorf("TTL %d", m.TTL)
	}
}

// What the push service answers, and what becomes of the job and the subscription.
func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		refusal pushtest.Refusal
		retry   time.Duration // at the earliest; 0: never
		gone    bool
	}{
		"404":                           {refusal: pushtest.Refusal{Status: 404}, gone: true},
		"410":                           {refusal: pushtest.Refusal{Status: 410}, gone: true},
		"413":                           {refusal: pushtest.Refusal{Status: 413}},
		"429 with Retry-After":          {refusal: pushtest.Refusal{Status: 429, RetryAfter: "30"}, retry: 30 * time.Second},
		"503 with Retry-After":          {refusal: pushtest.Refusal{Status: 503, RetryAfter: "Mon, 04 May 2026 10:00:45 GMT"}, retry: 45 * time.Second},
		"503 past the request's end":    {refusal: pushtest.Refusal{Status: 503, RetryAfter: "120"}},
		"503 with nonsense":             {refusal: pushtest.Refusal{Status: 503, RetryAfter: "soon"}, retry: time.Second},
		"500":                           {refusal: pushtest.Refusal{Status: 500}, retry: time.Second},
		"403":                           {refusal: pushtest.Refusal{Status: 403}, retry: time.Second},
		"a redirect, which is no place": {refusal: pushtest.Refusal{Status: 307}, retry: time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			_, j := b.ask(t)
			b.service.Refuse(c.refusal)
			b.deliver(t, j)
			if b.subscribed(t) == c.gone {
				t.Errorf("subscribed: %v", !c.gone)
			}
			if c.retry == 0 {
				if jobs := b.due(t, time.Hour); len(jobs) != 0 {
					t.Errorf("again: %+v", jobs)
				}
				return
			}
			if jobs := b.due(t, c.retry-time.Millisecond); len(jobs) != 0 {
				t.Errorf("again after %v", c.retry-time.Millisecond)
			}
			jobs := b.due(t, c.retry/5+2*time.Millisecond) // with its jitter
			if len(jobs) != 1 {
				t.Fatalf("%d jobs after %v", len(jobs), c.retry)
			}
			b.deliver(t, jobs[0])
			if len(b.received) != 1 {
				t.Error("the second try did not arrive")
			}
		})
	}
}

// What a push service asked for holds for the next request too.
func TestRetryAfterHoldsForTheSubscription(t *testing.T) {
	b := newBench(t)
	_, first := b.ask(t)
	b.service.Refuse(pushtest.Refusal{Status: 429, RetryAfter: "40"})
	b.deliver(t, first)
	b.Clock.Advance(10 * time.Second)
	_, second := b.ask(t)
	b.deliver(t, second)
	if n := b.service.Asked(); n != 1 {
		t.Fatalf("%d requests though asked to wait", n)
	}
	for _, j := range b.due(t, 30*time.Second) {
		b.deliver(t, j)
	}
	if len(b.received) == 0 {
		t.Error("nothing arrived afterwards")
	}
}

// Tries end with the request, however it ends, and with the right to answer it.
func TestNothingToDeliver(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, b *bench, a approval.Approval){
		"expired": func(_ *testing.T, b *bench, _ approval.Approval) { b.Clock.Advance(2 * time.Minute) },
		"cancelled": func(t *testing.T, b *bench, a approval.Approval) {
			must2(b.Approvals.Cancel(t.Context(), b.app, a.UUID))(t)
		},
		"denied": func(t *testing.T, b *bench, a approval.Approval) {
			must2(b.phone.Answer(t, a.UUID, approval.Deny, ""))(t)
		},
		"grant removed": func(t *testing.T, b *bench, _ approval.Approval) {
			must(t, b.Devices.RemoveGrant(t.Context(), b.phone.Device, b.phone.Grants[0].ID))
		},
		"user removed": func(t *testing.T, b *bench, _ approval.Approval) {
			must(t, b.Tenants.RemoveUser(t.Context(), b.app, b.ana.AuthyID))
		},
		"unsubscribed": func(t *testing.T, b *bench, _ approval.Approval) {
			must(t, b.Push.Unsubscribe(t.Context(), b.phone.Device))
		},
		"fetched": func(t *testing.T, b *bench, _ approval.Approval) {
			b.Clock.Advance(time.Millisecond)
			must(t, b.Push.Fetched(t.Context(), b.phone.Device))
		},
		"switched off":           func(_ *testing.T, b *bench, _ approval.Approval) { b.Push.Off = true },
		"host no longer allowed": func(_ *testing.T, b *bench, _ approval.Approval) { b.Push.Loopback = false },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			a, j := b.ask(t)
			end(t, b, a)
			b.deliver(t, j)
			if n := b.service.Asked(); n != 0 {
				t.Errorf("%d requests", n)
			}
			if jobs := b.due(t, time.Hour); len(jobs) != 0 {
				t.Errorf("the job stays: %+v", jobs)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must2[T any](_ T, err error) func(*testing.T) {
	return func(t *testing.T) { t.Helper(); must(t, err) }
}

// An open stream has two seconds to do it alone. A page that is awake reads at once and nothing is pushed; one that the phone has
// frozen reads nothing, and is pushed to.
func TestStreamFirst(t *testing.T) {
	for name, awake := range map[string]bool{"awake": true, "frozen": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.Clock.Advance(300 * time.Microsecond) // rows keep milliseconds
			stream := b.Live.Subscribe(live.DeviceTopic(b.phone.Device.ID))
			defer stream.Close()
			_, j := b.ask(t)
			b.deliver(t, j)
			if b.service.Asked() != 0 || len(b.due(t, 1900*time.Millisecond)) != 0 {
				t.Fatal("pushed before the stream had its chance")
			}
			if awake {
				must(t, b.Push.Fetched(t.Context(), b.phone.Device))
			}
			jobs := b.due(t, 200*time.Millisecond)
			if len(jobs) != 1 {
				t.Fatalf("%d jobs", len(jobs))
			}
			b.deliver(t, jobs[0])
			if got := len(b.received); (got == 0) != awake {
				t.Errorf("%d messages", got)
			}
		})
	}
}

// A repetition is sent to who has read of the request as well, and at once: he has not seen it.
func TestRenotifyIsPushed(t *testing.T) {
	b := newBench(t)
	stream := b.Live.Subscribe(live.DeviceTopic(b.phone.Device.ID))
	defer stream.Close()
	a, first := b.ask(t)
	b.Clock.Advance(time.Millisecond)
	must(t, b.Push.Fetched(t.Context(), b.phone.Device))
	b.deliver(t, first)
	b.Clock.Advance(30 * time.Second)
	must(t, b.Push.Fetched(t.Context(), b.phone.Device))
	must2(b.Approvals.Renotify(t.Context(), b.app, a.UUID))(t)
	jobs := b.Jobs.Offered(job.Push)
	if len(jobs) != 2 || b.service.Asked() != 0 {
		t.Fatalf("%d jobs, %d requests", len(jobs), b.service.Asked())
	}
	b.deliver(t, jobs[1])
	if len(b.received) != 1 {
		t.Error("the repetition was not pushed")
	}
}

// A late 410 about an older subscription leaves the newer one alone.
func TestLateGone(t *testing.T) {
	b := newBench(t)
	_, j := b.ask(t)
	older, ok, err := b.Store.Subscription(t.Context(), b.phone.Device.ID)
	if err != nil || !ok {
		t.Fatal(err)
	}
	b.Clock.Advance(time.Second)
	b.subscribe(t)
	must(t, b.Store.PushGone(t.Context(), j, older, auditRecord(b)))
	if !b.subscribed(t) {
		t.Error("the newer subscription is gone")
	}
	newer, _, err := b.Store.Subscription(t.Context(), b.phone.Device.ID)
	must(t, err)
	must(t, b.Store.PushGone(t.Context(), j, newer, auditRecord(b)))
	if b.subscribed(t) {
		t.Error("the subscription stays")
	}
}

// After a rotation the old key still signs for who subscribed with it, until the device has subscribed anew.
func TestRotateKey(t *testing.T) {
	b := newBench(t)
	before, err := b.Push.State(t.Context(), b.phone.Device)
	must(t, err)
	rotated, err := b.Push.RotateKey(t.Context(), "operator:test")
	must(t, err)
	after, err := b.Push.State(t.Context(), b.phone.Device)
	must(t, err)
	if before.EndpointHash == "" || after.Key == before.Key || after.Key != rotated || after.EndpointHash != "" {
		t.Errorf("%+v, then %+v", before, after)
	}
	_, j := b.ask(t)
	b.deliver(t, j) // the push service takes the old key only
	if len(b.received) != 1 {
		t.Fatal("nothing arrived with the old key")
	}
	_, endpoint := b.service.Register(after.Key)
	sub := notify.Subscription{Endpoint: endpoint, P256dh: b.browser.P256dh(), Auth: b.browser.Auth}
	if err := b.Push.Subscribe(t.Context(), b.phone.Device, sub, before.Key); err == nil || !strings.Contains(err.Error(), "push-key") {
		t.Errorf("subscribed with the old key: %v", err)
	}
	b.Subscribe(t, b.phone, sub)
	_, j = b.ask(t)
	b.deliver(t, j)
	if len(b.received) != 2 {
		t.Error("nothing arrived with the new key")
	}
}

// T-40: a name on the list that leads to a private address is refused when the connection is made, and nothing of the endpoint is logged.
func TestPrivateAddressIsRefused(t *testing.T) {
	b := newBench(t)
	b.Push.Client = egress.Policy{}.Client(time.Second) // as in production
	_, j := b.ask(t)
	b.deliver(t, j)
	if b.service.Asked() != 0 || len(b.received) != 0 {
		t.Error("a loopback address was reached")
	}
	if log := b.log.String(); !strings.Contains(log, egress.ErrAddress.Error()) || strings.Contains(log, b.id) {
		t.Errorf("log: %s", log)
	}
}

// A push service that never answers costs one time-out, and the job is tried again.
func TestHangingService(t *testing.T) {
	b := newBench(t)
	h := &held{asked: make(chan struct{}, 1)} // and never an answer
	b.Push.Client = &http.Client{Timeout: 50 * time.Millisecond, Transport: h}
	_, j := b.ask(t)
	b.deliver(t, j)
	<-h.asked
	jobs := b.due(t, 2*time.Second)
	if len(jobs) != 1 {
		t.Fatalf("%d jobs", len(jobs))
	}
	b.Push.Client = http.DefaultClient
	b.deliver(t, jobs[0])
	if len(b.received) != 1 {
		t.Error("the second try did not arrive")
	}
	http.DefaultClient.CloseIdleConnections()
}

// T-50: nothing of a subscription or a private key is readable in the rows.
func TestSealedAtRest(t *testing.T) {
	b := newBench(t)
	kept, _, err := b.Store.Subscription(t.Context(), b.phone.Device.ID)
	must(t, err)
	if bytes.Contains(kept.Sealed, []byte(b.id)) || bytes.Contains(kept.Sealed, b.browser.Auth) {
		t.Error("a subscription is readable")
	}
	if _, err := b.Ring.Open("push_subscriptions.sealed:other", kept.Sealed); err == nil {
		t.Error("a subscription opens as another device's")
	}
}

func auditRecord(b *bench) audit.Record {
	return audit.New(b.Clock.Now(), "", "system", "push.gone", "test")
}

// A request that never ends is tried for a day, at first every few seconds and then every hour.
func TestPatience(t *testing.T) {
	b := newBench(t)
	b.app = b.App(t, "Patient", func(set *tenant.Settings) { *set = tenant.DropIn() })
	b.ana = b.User(t, b.app, "ana@example.com", "202-555-0123")
	b.phone.Enroll(t, b.app, b.ana)
	_, j := b.ask(t, func(r *approval.Request) { r.Life = new(int64) })
	tries := []time.Duration{}
	began := b.Clock.Now()
	for jobs := []job.Job{j}; len(jobs) > 0; {
		tries = append(tries, b.Clock.Now().Sub(began))
		b.service.Refuse(pushtest.Refusal{Status: 500})
		b.deliver(t, jobs[0])
		jobs = nil
		for waited := time.Duration(0); waited < 2*time.Hour && len(jobs) == 0; {
			step := max(time.Second, tries[len(tries)-1]/20)
			waited += step
			jobs = b.due(t, step)
		}
	}
	if n := len(tries); n < 25 || n > 45 || tries[4] > 40*time.Second || tries[n-1] < 23*time.Hour || tries[n-1] > 26*time.Hour {
		t.Errorf("%d tries: %v", n, tries)
	}
}

// A subscription that is kept already makes no new row and no new record, however often an app repeats it; another one does.
func TestSameSubscriptionAgain(t *testing.T) {
	b := newBench(t)
	kept := func() notify.StoredSubscription {
		t.Helper()
		b.Clock.Advance(time.Second)
		stored, _, err := b.Store.Subscription(t.Context(), b.phone.Device.ID)
		must(t, err)
		return stored
	}
	first := kept()
	_, endpoint := b.service.Register("")
	sub := notify.Subscription{Endpoint: endpoint, P256dh: b.browser.P256dh(), Auth: b.browser.Auth}
	b.Subscribe(t, b.phone, sub)
	second := kept()
	if second.ID == first.ID {
		t.Error("another subscription is not kept")
	}
	for range 3 {
		b.Subscribe(t, b.phone, sub)
	}
	if third := kept(); third.ID != second.ID || !third.CreatedAt.Equal(second.CreatedAt) {
		t.Errorf("written again: %+v, %+v", second, third)
	}
	sub.Auth = bytes.Repeat([]byte{1}, 16)
	b.Subscribe(t, b.phone, sub)
	if kept().ID == second.ID {
		t.Error("other keys are not kept")
	}
}
