// Package server builds every part of the provider, mounts its surfaces, and
// owns the order in which they start and stop.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/authyapi"
	"countersign.dev/internal/callback"
	"countersign.dev/internal/device"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/logo"
	"countersign.dev/internal/message"
	"countersign.dev/internal/metrics"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/reporting"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/tenant/operator"
	"countersign.dev/internal/trace"
	"countersign.dev/internal/transfer"
	"countersign.dev/internal/web"
	"countersign.dev/internal/webhook"
)

// Config is what a server needs to know. Every field up to Egress must be set, and the clock and the log.
type Config struct {
	Database string // a postgres:// address, or the path of the SQLite file
	Master   []byte // master key, seal.KeySize bytes

	// Public addresses without trailing slash. Nothing is derived from request headers.
	APIURL, AuthenticatorURL, ConsoleURL string

	OwnerEmail string        // of the first account: hears of disabled callbacks
	Egress     egress.Policy // where callbacks may go, logos may come from, and push services may be
	Push       notify.Settings
	// Gateways carry messages out, in their order by channel. With Outbox nothing goes out: the console's listener shows what would have.
	Gateways map[otp.Channel][]message.Gateway
	Outbox   bool

	// WakeUps are the NATS servers that carry wake-ups between nodes, as wakeup.Servers takes them; "": PostgreSQL does.
	WakeUps string

	// Retention is how long what is over stays; the zero value keeps all of it but what strangers cause.
	Retention store.Retention

	Proxies       web.Proxies // whose X-Forwarded-For is believed; usually none
	StrangerRate  float64     // requests a second of one address to the authenticator without a session, and at once; 0: the surface's defaults
	StrangerBurst int

	// FormerMasters may still wrap some data keys, while the master key is exchanged; usually none.
	FormerMasters [][]byte
	// Tracer makes traces; nil makes none.
	Tracer *trace.Tracer

	Now func() time.Time
	Log *slog.Logger
}

// Server is a provider that is ready to serve. Its surfaces are handlers, so that whoever listens decides how.
type Server struct {
	API, Authenticator, Console http.Handler

	Account   tenant.Account
	Tenants   *tenant.Service
	Operators *operator.Service
	Messages  *message.Service
	Push      *notify.Service
	Users     *transfer.Service
	Webhooks  *webhook.Service

	cfg       Config
	db        *store.Store
	ring      *seal.Ring
	chainer   *audit.Chainer
	live      *live.Hub
	streams   *web.Streams
	meter     *tenant.Meter
	metrics   *metrics.Metrics
	jobs      *job.Runner
	callbacks *callback.Worker
	reports   *reporting.Service
	approvals *approval.Service
	stopSweep context.CancelFunc
	sweeping  sync.WaitGroup
	draining  atomic.Bool // set once: the program is about to stop
}

// New opens the database, brings it up to date, and builds every part.
func New(ctx context.Context, cfg Config) (*Server, error) {
	s, err := open(ctx, cfg, store.Config{URL: cfg.Database})
	if err != nil {
		return nil, err
	}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

// Open opens the database for its administration alone: there are the account, its applications and its operators, and
// nothing runs. It needs the database, the master key, the console's address, the clock and the log.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	return open(ctx, cfg, store.Config{URL: cfg.Database, Bulk: true})
}

func open(ctx context.Context, cfg Config, database store.Config) (*Server, error) {
	db, err := store.Open(ctx, database)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, db: db, live: live.NewHub(), streams: web.NewStreams(openFiles()/5*4, cfg.Log)}
	if err := s.administer(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// administer builds what administration needs.
func (s *Server) administer(ctx context.Context) error {
	cfg, db, now := s.cfg, s.db, s.cfg.Now
	keys, err := db.SealKeys(ctx, now(), func() ([]seal.StoredKey, error) { return seal.NewKeys(cfg.Master) })
	if err != nil {
		return fmt.Errorf("read the data keys: %w", err)
	}
	ring, err := seal.Open(cfg.Master, keys, cfg.FormerMasters...)
	if err != nil {
		return err
	}
	ring.Follow(func() ([]seal.StoredKey, error) { return db.StoredKeys(context.Background()) })
	s.ring = ring
	s.chainer = &audit.Chainer{Store: db, Key: audit.SigningKey(ring.Derive(audit.KeyLabel)), Holder: ident.New(now()), Now: now, Log: cfg.Log}
	s.Account, err = db.FirstAccount(ctx, tenant.Account{ID: ident.New(now()), Name: "Countersign", OwnerEmail: cfg.OwnerEmail, CreatedAt: now()})
	if err != nil {
		return fmt.Errorf("read the account: %w", err)
	}
	s.meter = &tenant.Meter{Store: db, Now: now}
	s.Tenants = &tenant.Service{Store: db, Ring: s.ring, Live: s.live, Meter: s.meter, Now: now, Offer: s.leave}
	s.Operators = operator.New(operator.Config{Store: db, Ring: s.ring, Now: now, AccountID: s.Account.ID, URL: cfg.ConsoleURL})
	s.Push = newPush(cfg, db, s.ring, s.live)
	s.Webhooks = &webhook.Service{Store: db, Tenants: s.Tenants, Ring: s.ring, Now: now, Offer: s.leave}
	db.Offering(s.leave)
	s.Users = &transfer.Service{Store: db, Ring: s.ring, Now: now}
	return nil
}

// leave gives up leased jobs at once, for whoever runs jobs. One that cannot be given up is free when its lease ends.
func (s *Server) leave(jobs ...job.Job) {
	for _, j := range jobs {
		if err := s.db.RetryJob(context.Background(), j, s.cfg.Now()); err != nil {
			s.cfg.Log.Warn("a job waits for its lease to end", "job", j.ID, "error", err)
		}
	}
}

// build builds all the rest.
func (s *Server) build(ctx context.Context) error {
	cfg, db, hub, ring, now := s.cfg, s.db, s.live, s.ring, s.cfg.Now
	if err := db.SetOwnerEmail(ctx, s.Account.ID, cfg.OwnerEmail); err != nil {
		return fmt.Errorf("keep the owner's address: %w", err)
	}
	messages := &message.Service{Store: db, Ring: ring, Live: hub, Gateways: cfg.Gateways, Now: now, Log: cfg.Log}
	if cfg.Outbox {
		messages.ToOutbox()
	}
	s.Messages = messages
	client := cfg.Egress.Client(callback.Patience)
	logos := logo.New(db, client, now, cfg.Log)
	worker := &callback.Worker{
		Store: db, Client: client, Body: authyapi.CallbackBody, Mail: messages.CallbackDisabledJob, Now: now, Log: cfg.Log,
	}
	if err := s.Push.Prepare(ctx); err != nil {
		return fmt.Errorf("read the push key: %w", err)
	}
	s.reports = &reporting.Service{Store: db, Ring: ring, Now: now}
	events := &webhook.Worker{
		Service: s.Webhooks, Reports: s.reports, Client: client, Claims: authyapi.EventClaims, Mail: messages.WebhookPausedJob, Log: cfg.Log,
	}
	devices := &device.Service{
		Store: db, Ring: ring, Live: hub, Now: now, Origin: cfg.AuthenticatorURL, AccountID: s.Account.ID, Keys: s.Tenants.AcceptedKeys,
		NewMessage: messages.CodeJob, CanSend: messages.CanSend, Alert: messages.SendingPausedJob,
	}
	s.jobs = job.NewRunner(db, map[job.Kind]job.Handler{
		job.Callback: worker.Deliver, job.Message: messages.Deliver, job.Report: messages.Follow, job.Push: s.Push.Deliver, job.Webhook: events.Deliver,
		job.Enrollment: devices.SendCode,
	}, now, cfg.Log)
	devices.Offer = s.jobs.Offer
	worker.Offer, s.callbacks = s.jobs.Offer, worker
	s.jobs.Trace(cfg.Tracer)

	s.Tenants.Offer, s.Webhooks.Offer = s.jobs.Offer, s.jobs.Offer
	db.Offering(s.jobs.Offer)
	worker.Key, worker.Secrets = s.Tenants.OpenKey, s.Tenants.OpenWebhookKeys
	s.approvals = &approval.Service{
		Store: db, Ring: ring, Live: hub, Meter: s.meter, Now: now, Origin: cfg.AuthenticatorURL, Logo: logos.Digest, Offer: s.jobs.Offer,
	}
	if !cfg.Push.Off {
		s.approvals.NewPush = notify.JobFor
	}
	codes := &otp.Service{Store: db, Ring: ring, Meter: s.meter, Now: now, NewMessage: messages.CodeJob, Alert: messages.SendingPausedJob, Offer: s.jobs.Offer}
	codes.CanSend = messages.CanSend
	s.metrics = s.newMetrics()
	s.observe(worker, codes, messages)
	s.mount(devices, codes, messages)
	return nil
}

// newPush returns the sender of push messages. All of loopback is open to it by its own switch only.
func newPush(cfg Config, db *store.Store, ring *seal.Ring, hub *live.Hub) *notify.Service {
	policy := cfg.Egress
	policy.Loopback = cfg.Push.Loopback
	set := cfg.Push
	if set.Contact == "" {
		set.Contact = "mailto:" + cfg.OwnerEmail
	}
	return &notify.Service{Store: db, Ring: ring, Live: hub, Client: policy.Client(notify.Patience), Settings: set, Now: cfg.Now, Log: cfg.Log}
}
