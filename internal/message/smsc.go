package message

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"strconv"
	"strings"
	"time"

	"countersign.dev/internal/egress"
	"countersign.dev/internal/message/smpp"
)

// This file owns the gateway to message centres that speak SMPP.

// smsc submits over one connection that stays open.
type smsc struct {
	name   string
	client *smpp.Client
	hear   func(Report) error
}

func newSMPP(d *dsn) (Gateway, error) {
	if err := errors.Join(d.credentials(), d.bare()); err != nil {
		return nil, err
	}
	g := &smsc{name: d.name()}
	cfg := smpp.Config{
		SystemID: d.user, Password: d.password, SystemType: d.option("system-type"), From: d.option("from"), Hear: g.receipt,
	}
	if window := d.option("window"); window != "" {
		n, err := strconv.Atoi(window)
		if err != nil || n < 1 || n > 1000 {
			return nil, errors.New("window is how many messages may wait for their answer, 1 to 1000")
		}
		cfg.Window = n
	}
	switch d.option("alphabet") {
	case "", "gsm":
	case "ucs2":
		cfg.UCS2 = true
	default:
		return nil, errors.New("alphabet is gsm, or ucs2 for a message centre whose default alphabet is another")
	}
	dialer := &net.Dialer{KeepAlive: 30 * time.Second}
	cfg.Dial = func(ctx context.Context) (net.Conn, error) { return dialer.DialContext(ctx, "tcp", d.address("2775")) }
	if d.scheme == "smpps" {
		secure, err := d.tls()
		if err != nil {
			return nil, err
		}
		over := &tls.Dialer{NetDialer: dialer, Config: secure}
		cfg.Dial = func(ctx context.Context) (net.Conn, error) { return over.DialContext(ctx, "tcp", d.address("3550")) }
	}
	var err error
	g.client, err = smpp.New(cfg)
	return g, err
}

func (g *smsc) Name() string { return g.name }

func (g *smsc) Start(hear func(Report) error, log *slog.Logger) {
	g.hear = hear
	g.client.Start(log.With("gateway", g.name))
}

func (g *smsc) Close() { g.client.Close() }

func (g *smsc) Send(ctx context.Context, m Message) (string, error) {
	id, err := g.client.Submit(ctx, m.To, m.Body, m.Left)
	if err != nil {
		return "", smppFailure(err)
	}
	return id, nil
}

func (g *smsc) Check(ctx context.Context) (clock time.Time, err error) {
	if err := g.client.Check(ctx); err != nil {
		return clock, smppFailure(err)
	}
	return clock, nil
}

func smppFailure(err error) *Failure {
	refused, ok := errors.AsType[*smpp.Refused](err)
	if !ok {
		return &Failure{Reason: egress.Reason(err, Patience), Hung: egress.TimedOut(err)}
	}
	f := &Failure{Reason: refused.Status.String()}
	switch refused.Status {
	case smpp.StatusDestination:
		f.Refused = true
	case smpp.StatusThrottled, smpp.StatusQueueFull:
		f.After = time.Second
	case smpp.StatusBind, smpp.StatusPassword, smpp.StatusSystemID:
		f.Reason += ": are system id and password right?"
	}
	return f
}

// receipt turns a receipt into a report.
func (g *smsc) receipt(r smpp.Receipt) error {
	report := Report{Gateway: g.name, Refs: spellings(r.ID)}
	switch r.State {
	case smpp.Delivered:
		report.Status = Delivered
	case smpp.Expired, smpp.Deleted, smpp.Undeliverable, smpp.Unknown, smpp.Rejected:
		report.Status, report.Reason = Failed, strings.TrimSpace(string(r.State)+" "+r.Error)
	default:
		return nil // on its way
	}
	return g.hear(report)
}

// spellings are the forms that an id may have had in the answer to its submission: some message centres answer in hexadecimal and report in decimal.
func spellings(id string) []string {
	all := []string{id}
	if n, ok := new(big.Int).SetString(id, 10); ok && len(id) <= 20 {
		hex := n.Text(16)
		all = append(all, hex, strings.ToUpper(hex))
	}
	if n, ok := new(big.Int).SetString(id, 16); ok && len(id) <= 20 {
		all = append(all, n.String())
	}
	return all
}
