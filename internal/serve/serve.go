// Package serve runs the provider for a company: four listeners with its own database, certificates or proxy, until it
// is told to stop.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"countersign.dev/internal/admin"
	"countersign.dev/internal/claim"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/server"
	"countersign.dev/internal/settings"
	"countersign.dev/internal/trace/export"
	"countersign.dev/internal/web"
)

// tracesWithin is how long the receiver of traces may take for the last of them.
const tracesWithin = 3 * time.Second

// version is that of this program, as traces carry it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

// Config is what a run is made of.
type Config struct {
	Settings *settings.Serve // checked
	Now      func() time.Time
	Log      *slog.Logger
}

// Ready is what a running process tells.
type Ready struct {
	APIURL           string            `json:"api_url"`
	AuthenticatorURL string            `json:"authenticator_url"`
	ConsoleURL       string            `json:"console_url"`
	Listening        map[string]string `json:"listening"` // address of each listener by its name
	Operator         bool              `json:"operator"`  // false: nobody can use the console yet
	PID              int               `json:"pid"`
}

// process is one run.
type process struct {
	Config
	doors     map[string]net.Listener
	server    *server.Server
	listeners []*server.Listener // of the surfaces
	ops       *server.Listener
	commands  *admin.Socket // nil on PostgreSQL, where commands open the database themselves
}

// Run starts everything, tells ready, and stops when ctx ends. Errors say what to do.
func Run(ctx context.Context, cfg Config, ready func(Ready) error) (err error) {
	p := &process{Config: cfg, doors: map[string]net.Listener{}}
	own, err := claimDatabase(&cfg.Settings.Storage)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, own.Close()) }()
	defer p.closeDoors() // what is being served is closed by then
	if err := p.open(); err != nil {
		return err
	}
	config := serverConfig(cfg)
	config.Egress = p.egress()
	if config.Gateways, err = cfg.Settings.Gateways(); err != nil {
		return err
	}
	var endTraces func(context.Context) error
	if config.Tracer, endTraces, err = export.FromEnvironment(ctx, version()); err != nil {
		return err
	}
	defer func() { // the last spans are those of stopping
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesWithin)
		defer cancel()
		if e := endTraces(last); e != nil {
			cfg.Log.Warn("the last traces could not be sent", "error", e)
		}
	}()
	if p.server, err = server.New(ctx, config); err != nil {
		return fmt.Errorf("cannot use the database %s: %w", cfg.Settings.Database, err)
	}
	if err := p.start(ctx); err != nil {
		return errors.Join(err, p.server.Stop(ctx))
	}
	err = p.announce(ctx, ready)
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, p.stop())
}

// claimDatabase takes the folder of an SQLite database, which is for one process, and PostgreSQL as it is.
func claimDatabase(s *settings.Storage) (*claim.Claim, error) {
	if s.Database.Postgres() {
		return nil, nil
	}
	c, err := claim.Folder(s.Folder())
	if errors.Is(err, claim.ErrTaken) {
		return nil, fmt.Errorf("the database's folder %w: stop that one first; only PostgreSQL is for more than one at a time", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the database's folder %w: choose another one with --data or --database, or change its permissions", err)
	}
	return c, nil
}

func serverConfig(cfg Config) server.Config {
	s := cfg.Settings
	return server.Config{
		Database: string(s.Database), Master: s.MasterKey, FormerMasters: s.FormerMasters(),
		APIURL: string(s.APIURL), AuthenticatorURL: string(s.AuthenticatorURL), ConsoleURL: string(s.ConsoleURL),
		OwnerEmail: string(s.OwnerEmail), WakeUps: string(s.WakeUps), Retention: s.Retention.Settings(),
		Push: s.Push.Settings(s.OwnerEmail), Proxies: s.Proxies(), StrangerRate: float64(s.StrangerRate), StrangerBurst: int(s.StrangerBurst), Now: cfg.Now, Log: cfg.Log,
	}
}

// open takes the addresses.
func (p *process) open() error {
	addrs := map[string]settings.Addr{"ops": p.Settings.OpsAddr}
	for _, surface := range p.Settings.Surfaces() {
		addrs[surface.Name] = surface.Addr
	}
	for name, addr := range addrs {
		ln, err := server.Listen(name, string(addr))
		if err != nil {
			return err
		}
		p.doors[name] = ln
	}
	return nil
}

// egress is what the settings open, without our own doors.
func (p *process) egress() egress.Policy {
	policy := p.Settings.Egress()
	for _, ln := range p.doors {
		policy.Closed = append(policy.Closed, ln.Addr().(*net.TCPAddr).AddrPort())
	}
	return policy
}

func (p *process) closeDoors() {
	for _, ln := range p.doors {
		ln.Close()
	}
}

// start begins to work and to answer.
func (p *process) start(ctx context.Context) error {
	secure := map[string]*tls.Config{}
	for _, surface := range p.Settings.Surfaces() {
		if surface.Cert == "" {
			continue
		}
		pair, err := openPair(string(surface.Cert), string(surface.Key), p.Now, p.Log.With("surface", surface.Name))
		if err != nil {
			return err
		}
		secure[surface.Name] = pair.config()
	}
	if err := p.server.Start(ctx); err != nil {
		return err
	}
	handlers := map[string]http.Handler{"api": p.server.API, "authenticator": p.server.Authenticator, "console": p.server.Console}
	for _, surface := range p.Settings.Surfaces() {
		h := p.server.Draining(handlers[surface.Name])
		if surface.URL.HTTPS() && surface.Cert == "" {
			h = web.Proxies(p.Settings.Proxies()).Only(h)
		}
		p.listeners = append(p.listeners, server.Serve(surface.Name, p.doors[surface.Name], h, secure[surface.Name], p.Log))
	}
	if !p.Settings.Database.Postgres() {
		var err error
		commands := &admin.Admin{Tenants: p.server.Tenants, Operators: p.server.Operators, Push: p.server.Push, Users: p.server.Users, Account: p.server.Account}
		if p.commands, err = admin.Serve(p.Settings.Folder(), commands, p.Log); err != nil {
			return err
		}
	}
	p.ops = server.Serve("ops", p.doors["ops"], p.server.Ops(), nil, p.Log)
	return nil
}

// announce tells scripts, people and systemd that everything answers.
func (p *process) announce(ctx context.Context, ready func(Ready) error) error {
	s := p.Settings
	told := Ready{APIURL: string(s.APIURL), AuthenticatorURL: string(s.AuthenticatorURL), ConsoleURL: string(s.ConsoleURL), Listening: map[string]string{}, PID: os.Getpid()}
	for name, ln := range p.doors {
		told.Listening[name] = ln.Addr().String()
	}
	var err error
	if told.Operator, err = p.server.Operators.Exists(ctx); err != nil {
		return err
	}
	if err := ready(told); err != nil {
		return err
	}
	return notify("READY=1")
}

// stop goes in this order: load balancers look elsewhere, who waits is answered, open requests end, jobs end, the database closes.
// Health and readiness are told to the last.
func (p *process) stop() error {
	p.Log.Info("stopping")
	err := notify("STOPPING=1")
	p.server.Drain()
	time.Sleep(time.Duration(p.Settings.ShutdownGrace))
	p.server.EndWaiting()
	patience := time.Duration(p.Settings.ShutdownPatience)
	requests, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server.StopListening(requests, p.listeners...)
	if p.commands != nil {
		p.commands.Stop(requests)
	}
	jobs, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	err = errors.Join(err, p.server.Stop(jobs))
	now, cancel := context.WithCancel(context.Background())
	cancel()
	server.StopListening(now, p.ops)
	return err
}
