// Package servertest builds the real store, key ring and domain services for
// tests of the surfaces, with a clock that only tests move.
//
// It takes the place of internal/server in tests of one surface: nothing in it
// is faked but time and the job runner. Jobs are recorded; messages are
// delivered to the real outbox when a test asks for them.
package servertest

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/message"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/reset"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/webhook"
)

// Origin is the authenticator's public URL in tests.
const Origin = "http://localhost:8302"

// Server is everything behind the surfaces.
type Server struct {
	Clock     *Clock
	Store     *store.Store
	Master    []byte // the master key that opens Ring
	Ring      *seal.Ring
	Live      *live.Hub
	Account   tenant.Account
	Tenants   *tenant.Service
	Devices   *device.Service
	Resets    *reset.Service
	Approvals *approval.Service
	Codes     *otp.Service
	Messages  *message.Service
	Reports   *reporting.Service
	Webhooks  *webhook.Service
	Push      *notify.Service
	Jobs      *Jobs
}

// New builds a server over a fresh SQLite database that ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	db, err := store.OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "countersign.db"))
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return On(t, db)
}

// On builds a server over an empty database that the caller opened and will close.
func On(t testing.TB, db *store.Store) *Server {
	t.Helper()
	clock := &Clock{now: time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)}
	master := seal.NewMaster()
	keys, err := db.SealKeys(t.Context(), clock.Now(), func() ([]seal.StoredKey, error) { return seal.NewKeys(master) })
	must(t, err)
	ring, err := seal.Open(master, keys)
	must(t, err)
	account, err := db.FirstAccount(t.Context(), tenant.Account{
		ID: ident.New(clock.Now()), Name: "Example", OwnerEmail: "owner@example.com", CreatedAt: clock.Now(),
	})
	must(t, err)
	s := assemble(clock, db, ring, account)
	s.Master = master
	return s
}

// Beside builds another server, on another connection to the same database or on a copy of it. It opens the keys by itself.
func (s *Server) Beside(t testing.TB, db *store.Store) *Server {
	t.Helper()
	keys, err := db.StoredKeys(t.Context())
	must(t, err)
	ring, err := seal.Open(s.Master, keys)
	must(t, err)
	other := assemble(s.Clock, db, ring, s.Account)
	other.Master = s.Master
	return other
}

func assemble(clock *Clock, db *store.Store, ring *seal.Ring, account tenant.Account) *Server {
	hub, jobs, meter := live.NewHub(), &Jobs{}, &tenant.Meter{Store: db, Now: clock.Now}
	push := &notify.Service{
		Store: db, Ring: ring, Live: hub, Client: egress.Policy{Loopback: true}.Client(notify.Patience), Now: clock.Now, Log: slog.New(slog.DiscardHandler),
		Settings: notify.Settings{Contact: "mailto:owner@example.com", Loopback: true},
	}
	messages := &message.Service{Store: db, Ring: ring, Live: hub, Now: clock.Now, Log: slog.New(slog.DiscardHandler)}
	messages.ToOutbox()
	tenants := &tenant.Service{Store: db, Ring: ring, Live: hub, Meter: meter, Now: clock.Now, Offer: jobs.Offer}
	devices := &device.Service{
		Store: db, Ring: ring, Live: hub, Now: clock.Now, Origin: Origin, AccountID: account.ID, Keys: tenants.AcceptedKeys,
		NewMessage: messages.CodeJob, CanSend: messages.CanSend, Alert: messages.SendingPausedJob, Offer: jobs.Offer,
	}
	db.Offering(jobs.Offer)
	return &Server{
		Clock: clock, Store: db, Ring: ring, Live: hub, Account: account, Messages: messages, Push: push, Jobs: jobs,
		Reports: &reporting.Service{Store: db, Ring: ring, Now: clock.Now},
		Tenants: tenants, Webhooks: &webhook.Service{Store: db, Tenants: tenants, Ring: ring, Now: clock.Now, Offer: jobs.Offer},
		Devices: devices,
		Resets: &reset.Service{
			Store: db, Devices: devices, Live: hub, Now: clock.Now,
			NewMessage: messages.CodeJob, CanSend: messages.CanSend, Alert: messages.SendingPausedJob, Offer: jobs.Offer,
		},
		Approvals: &approval.Service{
			Store: db, Ring: ring, Live: hub, Meter: meter, Now: clock.Now, Origin: Origin, Offer: jobs.Offer,
			Logo: func(context.Context, string) string { return "" }, NewPush: notify.JobFor,
		},
		Codes: &otp.Service{Store: db, Ring: ring, Meter: meter, Now: clock.Now, NewMessage: messages.CodeJob, CanSend: messages.CanSend, Alert: messages.SendingPausedJob, Offer: jobs.Offer},
	}
}

// App makes an application with the settings of a new integration but for what tests of other things would trip over (limits of sending,
// number match, waits after denials), changed by each of change.
func (s *Server) App(t testing.TB, name string, change ...func(*tenant.Settings)) tenant.Application {
	t.Helper()
	settings := tenant.NewIntegration()
	settings.Sending = sending.Free()
	settings.Match, settings.UnapprovedWaits = tenant.MatchOff, false
	for _, c := range change {
		c(&settings)
	}
	app, err := s.Tenants.CreateApplication(t.Context(), s.Account.ID, name, settings, "operator:test")
	must(t, err)
	return app
}

// Key returns the application's API key.
func (s *Server) Key(t testing.TB, app tenant.Application) string {
	t.Helper()
	key, err := s.Tenants.APIKey(t.Context(), app.ID)
	must(t, err)
	return key
}

// User registers a user by e-mail address and national number under +1, for example "202-555-0123".
func (s *Server) User(t testing.TB, app tenant.Application, email, phone string) tenant.User {
	t.Helper()
	u, err := s.Tenants.AddUser(t.Context(), app, tenant.NewUser{Email: email, CountryCode: "1", Phone: phone})
	must(t, err)
	return u
}

// Ask creates an approval that shows message, changed by each of change.
func (s *Server) Ask(t testing.TB, app tenant.Application, u tenant.User, message string, change ...func(*approval.Request)) approval.Approval {
	t.Helper()
	request := approval.Request{Message: message}
	for _, c := range change {
		c(&request)
	}
	a, err := s.Approvals.Create(t.Context(), app, u, request)
	must(t, err)
	return a
}

// Delivered sends the messages that wait and returns the newest one to that address (E.164 or mail). It fails the test when there is none.
func (s *Server) Delivered(t testing.TB, to string) message.Message {
	t.Helper()
	list := s.Outbox(t, to)
	if len(list) == 0 {
		t.Fatalf("no message was sent to %s", to)
	}
	return list[0]
}

// Outbox sends the messages that wait and returns all to that address, newest first; to "" means to anybody.
func (s *Server) Outbox(t testing.TB, to string) []message.Message {
	t.Helper()
	for _, j := range s.Jobs.take(job.Enrollment) {
		must(t, s.Devices.SendCode(t.Context(), j))
	}
	for _, j := range s.Jobs.take(job.Message) {
		must(t, s.Messages.Deliver(t.Context(), j))
	}
	list, err := s.Messages.Outbox(t.Context(), to)
	must(t, err)
	return list
}

// Clock stands still until a test advances it. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the time on by d.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Jobs takes the place of the runner: it records what was offered. It is safe for concurrent use.
type Jobs struct {
	mu      sync.Mutex
	offered []job.Job
}

// Offer records jobs.
func (j *Jobs) Offer(jobs ...job.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.offered = append(j.offered, jobs...)
}

// Offered returns the recorded jobs of that kind, oldest first. Messages that Outbox has sent are no longer among them.
func (j *Jobs) Offered(kind job.Kind) (found []job.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, offered := range j.offered {
		if offered.Kind == kind {
			found = append(found, offered)
		}
	}
	return found
}

// take returns the jobs of that kind and forgets them.
func (j *Jobs) take(kind job.Kind) (taken []job.Job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	kept := j.offered[:0]
	for _, offered := range j.offered {
		if offered.Kind == kind {
			taken = append(taken, offered)
		} else {
			kept = append(kept, offered)
		}
	}
	j.offered = kept
	return taken
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(fmt.Errorf("servertest: %w", err))
	}
}
