package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/device"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/transfer"
)

// This file owns the database that load is put on, and the people in it. It is filled by the same domain services that the server
// runs, before the server starts.

// The surfaces' public addresses. Signatures are bound to them; the ports that the server really listens on are found out when it has started.
const (
	apiURL            = "http://api.localhost:8301"
	authenticatorHost = "authenticator.localhost:8302"
	authenticatorURL  = "http://" + authenticatorHost
	consoleURL        = "http://console.localhost:8303"
)

// codePeriod is how long an app code of the bench's people lives, in seconds: so short that a few thousand people can type as many a second. The
// server compares as many steps as for the clients that compare most (seven), whatever their length.
const codePeriod = 1

// site is a filled database.
type site struct {
	name     string // of the engine, as it is told
	dir      string
	database string
	master   []byte
	outside  *outside

	db        *store.Store
	tenants   *tenant.Service
	devices   *device.Service
	codes     *otp.Service
	approvals *approval.Service
	users     *transfer.Service
	account   tenant.Account

	app      tenant.Application
	key      string // of app
	secret   string // that signs its callbacks
	people   []*person
	texted   []int64 // authy_ids of those who are sent codes
	quiet    *circle // people of an application without callback, for what runs without HTTP
	quietKey string

	client *client // of the started server
}

// person is a user with a device.
type person struct {
	user    tenant.User
	device  device.Device
	session string
	key     *ecdsa.PrivateKey
	grant   int64
	secret  []byte // of app codes
	last    atomic.Int64
}

var errNoCode = errors.New("the bench has too few people: every code of the next one was typed already")

// code returns a code of the person that was never typed.
func (p *person) code(now time.Time, digits, skew int) (string, error) {
	at := otp.Step(now, codePeriod*time.Second)
	for {
		last := p.last.Load()
		step := max(at, last+1)
		if step > at+int64(skew)-1 {
			return "", errNoCode
		}
		if p.last.CompareAndSwap(last, step) {
			return otp.HOTP(p.secret, uint64(step), digits), nil
		}
	}
}

// circle hands out its people in turn.
type circle struct {
	people []*person
	n      atomic.Int64
}

func (c *circle) next() *person { return c.people[c.n.Add(1)%int64(len(c.people))] }

// open opens the database and builds the services.
func open(ctx context.Context, dir, address string, outside *outside) (*site, error) {
	s := &site{name: "PostgreSQL", dir: dir, database: address, master: seal.NewMaster(), outside: outside}
	if address == SQLite {
		s.name, s.database = "SQLite", filepath.Join(dir, "countersign.db")
	}
	var err error
	if s.db, err = store.Open(ctx, store.Config{URL: s.database, Migrate: true}); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	if err := s.build(ctx); err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

func (s *site) build(ctx context.Context) error {
	now := time.Now
	kept, err := s.db.StoredKeys(ctx)
	if err != nil {
		return err
	}
	if len(kept) > 0 {
		return errors.New("the database is in use already: name an empty one, because the bench fills it")
	}
	keys, err := s.db.SealKeys(ctx, now(), func() ([]seal.StoredKey, error) { return seal.NewKeys(s.master) })
	if err != nil {
		return err
	}
	if s.account, err = s.db.FirstAccount(ctx, tenant.Account{ID: ident.New(now()), Name: "Bench", OwnerEmail: "owner@example.com", CreatedAt: now()}); err != nil {
		return err
	}
	return s.serve(keys)
}

// reopen opens the database again, after a server had it.
func (s *site) reopen(ctx context.Context) (err error) {
	if s.db, err = store.Open(ctx, store.Config{URL: s.database}); err != nil {
		return err
	}
	keys, err := s.db.StoredKeys(ctx)
	if err == nil {
		err = s.serve(keys)
	}
	if err != nil {
		return errors.Join(err, s.db.Close())
	}
	return nil
}

// serve builds the domain's services.
func (s *site) serve(keys []seal.StoredKey) error {
	ring, err := seal.Open(s.master, keys)
	if err != nil {
		return err
	}
	now := time.Now
	hub, offer := live.NewHub(), func(...job.Job) {}
	meter := &tenant.Meter{Store: s.db, Now: now}
	s.tenants = &tenant.Service{Store: s.db, Ring: ring, Live: hub, Meter: meter, Now: now, Offer: offer}
	s.devices = &device.Service{Store: s.db, Ring: ring, Live: hub, Now: now, Origin: authenticatorURL, AccountID: s.account.ID, Offer: offer}
	s.codes = &otp.Service{Store: s.db, Ring: ring, Meter: meter, Now: now, Offer: offer}
	s.approvals = &approval.Service{Store: s.db, Ring: ring, Live: hub, Meter: meter, Now: now, Origin: authenticatorURL, Offer: offer}
	s.users = &transfer.Service{Store: s.db, Ring: ring, Now: now}
	return nil
}

func (s *site) close() error { return s.db.Close() }

// settings are those of an application that was written for Authy, which is what costs most, without the limits on how often one person is
// asked: a few people stand for many.
func settings() tenant.Settings {
	set := tenant.DropIn()
	set.CodePeriod, set.Sending, set.GenericTokens = codePeriod, sending.Free(), true
	set.ApprovalLife, set.UnapprovedHour = 120, 1_000_000
	return set
}

// seed makes what the scenarios need.
func (c *Config) seed(ctx context.Context, dir, address string, outside *outside, p plan) (*site, error) {
	folder, err := os.MkdirTemp(dir, "site-")
	if err != nil {
		return nil, err
	}
	s, err := open(ctx, folder, address, outside)
	if err != nil {
		return nil, err
	}
	c.step("%s: %d people with devices, %d with phones", s.name, p.people, p.texted)
	if err := s.fill(ctx, p); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

func (s *site) fill(ctx context.Context, p plan) (err error) {
	if s.app, err = s.tenants.CreateApplication(ctx, s.account.ID, "Bench", settings(), "operator:bench"); err != nil {
		return err
	}
	if s.key, err = s.tenants.APIKey(ctx, s.app.ID); err != nil {
		return err
	}
	if err := s.tenants.SetCallback(ctx, s.account.ID, s.app.ID, s.outside.base+callbackPath, "operator:bench"); err != nil {
		return err
	}
	secrets, err := s.tenants.WebhookKeys(ctx, s.app.ID)
	if err != nil {
		return err
	}
	s.secret = secrets[0].Secret
	if s.people, err = s.enrol(ctx, s.app, p.people); err != nil {
		return err
	}
	first := p.people
	if err := s.importUsers(ctx, s.app, first, p.texted, false); err != nil {
		return err
	}
	for i := range p.texted {
		s.texted = append(s.texted, authyID(first+i))
	}
	silent, err := s.tenants.CreateApplication(ctx, s.account.ID, "Bench, silent", settings(), "operator:bench")
	if err != nil {
		return err
	}
	if s.quietKey, err = s.tenants.APIKey(ctx, silent.ID); err != nil {
		return err
	}
	people, err := s.enrol(ctx, silent, p.callers*2)
	s.quiet = &circle{people: people}
	return err
}

func authyID(i int) int64 { return int64(100_000 + i) }

// importUsers takes users in by batches, as `countersign users import` does.
func (s *site) importUsers(ctx context.Context, app tenant.Application, from, n int, secrets bool) error {
	for ; n > 0; n -= transfer.BatchSize {
		rows := make([]transfer.Row, 0, transfer.BatchSize)
		for range min(n, transfer.BatchSize) {
			r := transfer.Row{AuthyID: authyID(from), CountryCode: 1, Phone: phone(from), Email: "person" + strconv.Itoa(from) + "@example.com"}
			if secrets {
				r.Secret = &transfer.Secret{Key: make([]byte, 20), Digits: 6, Period: 30}
				rand.Read(r.Secret.Key)
			}
			rows = append(rows, r)
			from++
		}
		done, err := s.users.Import(ctx, app, rows, false, "operator:bench")
		if err != nil {
			return fmt.Errorf("import users: %w", err)
		}
		if int(done.Added) != len(rows) {
			return fmt.Errorf("import users: %d of %d were added", done.Added, len(rows))
		}
	}
	return nil
}

// phone returns a number that could be somebody's: area codes and exchanges of the North American plan, spread as people's numbers are.
func phone(i int) string {
	areas := [...]string{"202", "212", "213", "305", "312", "404", "415", "512", "617", "702", "713", "786", "818", "917", "972", "303"}
	exchange := 220 + i/(len(areas)*10_000)
	return "+1" + areas[i%len(areas)] + strconv.Itoa(exchange) + fmt.Sprintf("%04d", i/len(areas)%10_000)
}

// enrol makes people with a device each, whose keys are real.
func (s *site) enrol(ctx context.Context, app tenant.Application, n int) ([]*person, error) {
	return s.enrolFrom(ctx, app, 0, n)
}

func (s *site) enrolFrom(ctx context.Context, app tenant.Application, from, n int) ([]*person, error) {
	if err := s.importUsers(ctx, app, from, n, false); err != nil {
		return nil, err
	}
	return s.equip(ctx, app, from, n)
}

// equip gives users one more device each.
func (s *site) equip(ctx context.Context, app tenant.Application, from, n int) ([]*person, error) {
	people := make([]*person, n)
	errs := make([]error, n)
	var next atomic.Int64
	var all sync.WaitGroup
	for range 64 { // who share flushes
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				people[i], errs[i] = s.enrolOne(ctx, app, authyID(from+i))
			}
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("enrol devices: %w", err)
	}
	return people, ctx.Err()
}

func (s *site) enrolOne(ctx context.Context, app tenant.Application, id int64) (*person, error) {
	u, err := s.tenants.User(ctx, app, id)
	if err != nil {
		return nil, err
	}
	ticket, err := s.devices.NewTicket(ctx, app, u)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := device.Confirmation{
		Ticket: ticket.Words, Challenge: s.devices.Challenge(),
		Device: device.NewDevice{Name: "Bench", Platform: "terminal", PublicKey: receipt.EncodePublicKey(&key.PublicKey)},
	}
	proof := receipt.EnrollmentProof{Challenge: c.Challenge, Origin: authenticatorURL, PublicKey: c.Device.PublicKey, Token: ticket.Words}
	if c.Proof, err = receipt.Sign(key, proof.Canonical()); err != nil {
		return nil, err
	}
	in, err := s.devices.Confirm(ctx, c)
	if err != nil {
		return nil, err
	}
	return &person{user: u, device: in.Device, session: in.Session, key: key, grant: in.Grants[0].ID, secret: in.Grants[0].Secret}, nil
}

// masterHex is the master key as settings write it.
func (s *site) masterHex() string { return hex.EncodeToString(s.master) }

// size returns how large the database's file is, in MiB; 0 for PostgreSQL.
func (s *site) size() float64 {
	info, err := os.Stat(s.database)
	if err != nil || strings.Contains(s.database, "://") {
		return 0
	}
	return round(float64(info.Size()) / (1 << 20))
}
