// This file owns `countersign dev`: flags, and what is printed. What runs is in internal/dev.

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"countersign.dev/internal/dev"
)

// devCmd is `countersign dev`: everything on one laptop.
type devCmd struct {
	Data              string     `placeholder:"DIR" help:"Folder for databases and keys; made when it is not there (default: countersign-data in the current folder)." default:"countersign-data"`
	APIAddr           string     `name:"api-addr" placeholder:"ADDR" help:"Address of the API (default: ${default}). Port 0 chooses a free port once and keeps it." default:"127.0.0.1:8301"`
	AuthenticatorAddr string     `name:"authenticator-addr" placeholder:"ADDR" help:"Address of the authenticator (default: ${default})." default:"127.0.0.1:8302"`
	ConsoleAddr       string     `name:"console-addr" placeholder:"ADDR" help:"Address of the console (default: ${default})." default:"127.0.0.1:8303"`
	LoginAddr         string     `name:"login-addr" placeholder:"ADDR" help:"Address of the sample log-in application (default: ${default})." default:"127.0.0.1:8300"`
	PublicURL         string     `name:"public-url" placeholder:"URL" help:"The authenticator's address as phones reach it, for example through an https tunnel."`
	PushLoopback      bool       `name:"push-loopback" hidden:"" help:"Let push services be on this machine: for tests."`
	LogLevel          slog.Level `name:"log-level" placeholder:"LEVEL" help:"Log to stderr from this level on: debug, info, warn or error (default: ${default})." default:"warn"`
	JSON              bool       `name:"json" help:"Print the addresses as JSON, the same as dev.json in the data folder."`
}

// Run starts everything and stops when ctx ends.
func (c *devCmd) Run(ctx context.Context, out *output) error {
	dir, err := filepath.Abs(c.Data)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(out.Err, &slog.HandlerOptions{Level: c.LogLevel}))
	return dev.Run(ctx, dev.Config{
		Dir: dir, APIAddr: c.APIAddr, AuthenticatorAddr: c.AuthenticatorAddr, ConsoleAddr: c.ConsoleAddr, LoginAddr: c.LoginAddr,
		AuthenticatorURL: c.PublicURL, PushLoopback: c.PushLoopback, Now: time.Now, Log: log,
	}, func(r dev.Ready) error {
		if c.JSON {
			return out.json(r)
		}
		_, err := fmt.Fprintf(out.Out, devWelcome, r.LoginURL, r.AuthenticatorURL, r.ConsoleLoginURL, r.OutboxURL, r.APIURL, shown(dir), r.LoginURL, called(), r.AuthenticatorURL)
		return err
	})
}

const devWelcome = `
Countersign is running.

  Sample application   %s
  Authenticator        %s
  Console (signs in)   %s
  Outbox (SMS, mail)   %s
  API                  %s
  Data folder          %s

Next:
  1. Open %s/signup and sign up. The mail and the text message
     lie in the outbox.
  2. Put the authenticator into a second browser profile, or on the terminal with
     %s device enroll: follow the link that the sign-up page shows
     (or open %s and type its words).
  3. Log in, and approve on the authenticator.

Ctrl-C stops; the next start goes on where this one stopped.
`

// called is how whoever started this program starts it again.
func called() string {
	if strings.Contains(filepath.ToSlash(os.Args[0]), "/go-build") {
		return "go run ./cmd/countersign"
	}
	return "countersign"
}

// shown writes a path the short way when it lies below the current folder.
func shown(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil && filepath.IsLocal(rel) {
			return rel
		}
	}
	return path
}
