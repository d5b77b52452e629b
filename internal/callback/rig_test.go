// This file owns what the tests of the worker share: real services, a real receiver on loopback, and a worker between them.

package callback_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	sign "countersign.dev/client/callback"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/authyapi"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/job"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rig is a provider with one application and Ana, who has a phone.
type rig struct {
	*servertest.Server
	worker *callback.Worker
	app    tenant.Application
	ana    tenant.User
	phone  *servertest.Phone
	told   map[string]int // how often Changed was told of an application
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{Server: servertest.New(t), told: map[string]int{}}
	r.app = r.App(t, "Bank", roomy)
	r.ana = r.User(t, r.app, "ana@example.com", "202-555-0123")
	r.phone = r.Phone(t, r.app, r.ana)
	client := egress.Policy{Loopback: true}.Client(callback.Patience)
	t.Cleanup(client.CloseIdleConnections)
	var mu sync.Mutex
	r.worker = &callback.Worker{
		Store: r.Store, Client: client, Body: authyapi.CallbackBody, Key: r.Tenants.OpenKey, Secrets: r.Tenants.OpenWebhookKeys, Mail: r.Messages.CallbackDisabledJob, Offer: r.Jobs.Offer,
		Now: r.Clock.Now, Log: slog.New(slog.DiscardHandler),
		Changed: func(appID string) {
			mu.Lock()
			defer mu.Unlock()
			r.told[appID]++
		},
	}
	return r
}

func roomy(set *tenant.Settings) {
	set.WaitingMax, set.UnapprovedHour, set.UnapprovedBurst, set.ApprovalLifeMax = 1_000_000, 1_000_000, 0, 0
}

// setCallback points the application's callback to an address.
func (r *rig) setCallback(t *testing.T, url string) {
	t.Helper()
	if err := r.Tenants.SetCallback(context.WithoutCancel(t.Context()), r.Account.ID, r.app.ID, url, "operator:test"); err != nil {
		t.Fatal(err)
	}
}

// setCallbackByGet is setCallback to an address that is called by GET.
func (r *rig) setCallbackByGet(t *testing.T, url string) {
	t.Helper()
	if err := r.Tenants.SetCallbackAndMethod(t.Context(), r.Account.ID, r.app.ID, url, true, "operator:test"); err != nil {
		t.Fatal(err)
	}
}

// application is the application as its row is now.
func (r *rig) application(t *testing.T) tenant.Application {
	t.Helper()
	app, err := r.Store.Application(t.Context(), r.Account.ID, r.app.ID)
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// decide has Ana approve something, and returns it with its callback job; the job is zero when none was offered.
func (r *rig) decide(t *testing.T) (approval.Approval, job.Job) {
	t.Helper()
	before := len(r.Jobs.Offered(job.Callback))
	asked := r.Ask(t, r.app, r.ana, "Log in?")
	a, err := r.phone.Answer(t, asked.UUID, approval.Approve, "")
	if err != nil {
		t.Fatal(err)
	}
	offered := r.Jobs.Offered(job.Callback)
	if len(offered) == before {
		return a, job.Job{}
	}
	return a, offered[len(offered)-1]
}

// deliver runs one attempt.
func (r *rig) deliver(t *testing.T, j job.Job) {
	t.Helper()
	if err := r.worker.Deliver(t.Context(), j); err != nil {
		t.Fatal(err)
	}
}

// due moves the clock on until a callback job is due, and claims it.
func (r *rig) due(t *testing.T, after time.Duration) job.Job {
	t.Helper()
	r.Clock.Advance(after)
	jobs := r.claim(t)
	if len(jobs) != 1 {
		t.Fatalf("%d jobs are due", len(jobs))
	}
	return jobs[0]
}

// claim leases the callback jobs that are due now.
func (r *rig) claim(t *testing.T) (callbacks []job.Job) {
	t.Helper()
	jobs, err := r.Store.ClaimJobs(t.Context(), r.Clock.Now(), r.Clock.Now().Add(job.Lease), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if j.Kind == job.Callback {
			callbacks = append(callbacks, j)
		}
	}
	return callbacks
}

// tries are the application's delivery attempts, newest first.
func (r *rig) tries(t *testing.T) []callback.Try {
	t.Helper()
	tries, err := r.Store.Tries(t.Context(), r.app.ID, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return tries
}

// verifier is what the application checks its callbacks with.
func (r *rig) verifier(t *testing.T, url string) *sign.Verifier {
	return &sign.Verifier{URL: url, Keys: []string{r.Key(t, r.app)}, Now: r.Clock.Now}
}

// arrival is a copy of a request that a receiver got.
type arrival struct {
	*http.Request
	body string
	at   time.Time
}

// receiver is an application's end. It answers what answer says and hands every request to the test.
type receiver struct {
	*httptest.Server
	got chan arrival
}

func newReceiver(t *testing.T, answer http.HandlerFunc) *receiver {
	t.Helper()
	rc := &receiver{got: make(chan arrival, 1000)}
	rc.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		kept := r.Clone(context.Background())
		kept.Body = io.NopCloser(bytes.NewReader(body))
		rc.got <- arrival{kept, string(body), time.Now()}
		answer(w, r)
	}))
	t.Cleanup(rc.Close)
	return rc
}

// always answers with one status.
func always(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}
