// Package dev runs the whole product on one laptop: provider, authenticator,
// console and sample application, each on its own loopback port, in one data
// folder, with nothing to configure.
package dev

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"countersign.dev/client"
	"countersign.dev/examples/login"
	"countersign.dev/internal/egress"
	"countersign.dev/internal/message"
	"countersign.dev/internal/notify"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/server"
	"countersign.dev/internal/store"
	"countersign.dev/internal/tenant"
)

// Config is what `countersign dev` is asked for.
type Config struct {
	Dir                                                string
	APIAddr, AuthenticatorAddr, ConsoleAddr, LoginAddr string
	// AuthenticatorURL is the authenticator's public URL when it is reached through something else, such as an https tunnel for a real phone.
	AuthenticatorURL string
	PushLoopback     bool // push services may be on this machine: for tests
	Now              func() time.Time
	Log              *slog.Logger
}

// Ready is what a running `dev` tells; it is also the content of dev.json. URLs have no trailing slash.
type Ready struct {
	APIURL           string `json:"api_url"`
	AuthenticatorURL string `json:"authenticator_url"`
	ConsoleURL       string `json:"console_url"`
	ConsoleLoginURL  string `json:"console_login_url"` // signs the operator in
	LoginURL         string `json:"login_url"`
	OutboxURL        string `json:"outbox_url"`
	APIKey           string `json:"api_key"` // of the application that the sample uses
	PID              int    `json:"pid"`
}

// Stopping takes at most five seconds: this long for open requests, then this long for running jobs, and a little for the database.
const (
	requestsWithin = 2 * time.Second
	jobsWithin     = 2 * time.Second
)

// Run starts everything, tells ready, and stops when ctx ends. Errors say what to do.
func Run(ctx context.Context, cfg Config, ready func(Ready) error) (err error) {
	f, err := openFolder(cfg.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	k, err := f.kept()
	if err != nil {
		return err
	}
	doors, err := open(cfg, k)
	if err != nil {
		return err
	}
	defer doors.close() // what is being served is closed by then
	for name, ln := range doors {
		k.Ports[name] = ln.Addr().(*net.TCPAddr).Port
	}
	if err := f.keep(k); err != nil {
		return err
	}
	s, r, err := start(ctx, cfg, f, doors)
	if err != nil {
		return err
	}
	app, key, err := seed(ctx, f, k, s, r.LoginURL)
	if err != nil {
		return errors.Join(err, s.Stop(ctx))
	}
	r.APIKey = key
	sample, err := newSample(cfg, f, r, s.Messages)
	if err != nil {
		return errors.Join(err, s.Stop(ctx))
	}
	if err := callSample(ctx, f, app, s, sample.CallbackURL()); err != nil {
		return errors.Join(err, sample.Close(), s.Stop(ctx))
	}
	if err := s.Start(ctx); err != nil {
		return errors.Join(err, sample.Close(), s.Stop(ctx))
	}
	listeners := []*server.Listener{
		server.Serve("api", doors["api"], s.API, nil, cfg.Log),
		server.Serve("authenticator", doors["authenticator"], s.Authenticator, nil, cfg.Log),
		server.Serve("console", doors["console"], s.Console, nil, cfg.Log),
		server.Serve("login", doors["login"], sample.Handler(), nil, cfg.Log),
	}
	err = announce(f, r, ready)
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, os.Remove(f.path(fileReady)), stop(s, sample, listeners))
}

// doors are the open listeners by surface.
type doors map[string]net.Listener

func (d doors) close() {
	for _, ln := range d {
		ln.Close()
	}
}

func open(cfg Config, k kept) (doors, error) {
	d := doors{}
	for _, want := range []struct{ name, addr string }{
		{"api", cfg.APIAddr}, {"authenticator", cfg.AuthenticatorAddr}, {"console", cfg.ConsoleAddr}, {"login", cfg.LoginAddr},
	} {
		addr, err := resolve(want.addr, k.Ports[want.name])
		if err == nil {
			d[want.name], err = server.Listen(want.name, addr)
		}
		if err != nil {
			delete(d, want.name)
			d.close()
			return nil, err
		}
	}
	return d, nil
}

// start opens the database and builds the provider.
func start(ctx context.Context, cfg Config, f *folder, d doors) (*server.Server, Ready, error) {
	r := Ready{
		APIURL: localURL(d["api"]), AuthenticatorURL: localURL(d["authenticator"]), ConsoleURL: localURL(d["console"]), LoginURL: localURL(d["login"]), PID: os.Getpid(),
	}
	if cfg.AuthenticatorURL != "" {
		r.AuthenticatorURL = strings.TrimRight(cfg.AuthenticatorURL, "/")
	}
	r.OutboxURL = r.ConsoleURL + "/outbox"
	master, err := f.masterKey()
	if err != nil {
		return nil, r, err
	}
	s, err := server.New(ctx, server.Config{
		Database: f.path(fileDatabase), Master: master, APIURL: r.APIURL, AuthenticatorURL: r.AuthenticatorURL, ConsoleURL: r.ConsoleURL,
		OwnerEmail: "owner@example.com", Egress: egress.Policy{Loopback: true}, Push: notify.Settings{Loopback: cfg.PushLoopback}, Outbox: true, Retention: store.DefaultRetention(), Now: cfg.Now, Log: cfg.Log,
	})
	if errors.Is(err, store.ErrNewer) {
		return nil, r, fmt.Errorf("%s: %w", f.path(fileDatabase), err)
	}
	if err != nil {
		return nil, r, fmt.Errorf("cannot use the data folder %s: %w", f.dir, err)
	}
	r.ConsoleLoginURL = s.Operators.EnableDev()
	return s, r, nil
}

// localURL is the address for people and signatures: by the name localhost, because browsers give it what they give to https.
func localURL(ln net.Listener) string {
	addr := ln.Addr().(*net.TCPAddr)
	host := addr.IP.String()
	if addr.IP.IsLoopback() || addr.IP.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
}

// appName is what phones show for the seeded application.
const appName = "Owlgate"

// seed makes the sample's application at the first start and returns it with its key.
func seed(ctx context.Context, f *folder, k kept, s *server.Server, loginURL string) (tenant.Application, string, error) {
	app, err := s.Tenants.Store.Application(ctx, s.Account.ID, k.Application)
	if errors.Is(err, tenant.ErrApplication) {
		// A drop-in one: it speaks the tutorial's API, to clients that know no number match.
		settings := tenant.DropIn()
		settings.Sending = sending.Free() // what is sent ends in the outbox
		settings.ResetWait = 30           // nobody tries it out for two days
		app, err = s.Tenants.CreateApplication(ctx, s.Account.ID, appName, settings, "system")
		if err == nil {
			k.Application, k.Callback = app.ID, ""
			err = f.keep(k)
		}
	}
	if err != nil {
		return app, "", fmt.Errorf("seed the sample's application: %w", err)
	}
	key, err := s.Tenants.APIKey(ctx, app.ID)
	return app, key, err
}

// callSample points the application's callback to the sample, unless somebody pointed it elsewhere since.
func callSample(ctx context.Context, f *folder, app tenant.Application, s *server.Server, url string) error {
	k, err := f.kept()
	if err != nil || k.Callback == url || app.Callback.URL != k.Callback {
		return err
	}
	if err := s.Tenants.SetCallback(ctx, s.Account.ID, app.ID, url, "system"); err != nil {
		return fmt.Errorf("set the sample's callback: %w", err)
	}
	k.Callback = url
	return f.keep(k)
}

func newSample(cfg Config, f *folder, r Ready, outbox *message.Service) (*login.App, error) {
	provider, err := client.New(client.Config{BaseURL: r.APIURL, APIKey: r.APIKey})
	if err != nil {
		return nil, err
	}
	app, err := login.New(login.Config{
		PublicURL: r.LoginURL, Provider: provider, APIKeys: []string{r.APIKey}, DB: f.path(fileSample), AuthenticatorURL: r.AuthenticatorURL, Name: appName,
		Mail:  func(ctx context.Context, m login.Mail) error { return outbox.Keep(ctx, m.To, m.Subject, m.Text) },
		Clock: cfg.Now, Logger: cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("start the sample application: %w", err)
	}
	return app, nil
}

// announce tells scripts and people that everything answers.
func announce(f *folder, r Ready, ready func(Ready) error) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := f.write(fileReady, append(text, '\n')); err != nil {
		return err
	}
	return ready(r)
}

// stop ends what waits, then what runs, then the database.
func stop(s *server.Server, sample *login.App, listeners []*server.Listener) error {
	s.EndWaiting()
	sample.EndStreams()
	requests, cancel := context.WithTimeout(context.Background(), requestsWithin)
	defer cancel()
	server.StopListening(requests, listeners...)
	err := sample.Close()
	jobs, cancel := context.WithTimeout(context.Background(), jobsWithin)
	defer cancel()
	return errors.Join(err, s.Stop(jobs))
}
