package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
)

// This file owns the whole cycle of an approval: the application asks and waits for its browser, the device is woken, reads, signs and
// answers, the browser is told, and the callback arrives.

// cycles runs cycles for a crowd of people, each of whom is asked one thing at a time.
type cycles struct {
	site   *site
	people []*person
	free   chan *follower
	told   *tally // from sending the answer to hearing it where the browser waits
	follow sync.Once
}

// follower is a person's device with its event stream open.
type follower struct {
	*person
	woken chan struct{} // one slot
}

func newCycles(s *site, p plan) *cycles {
	return &cycles{site: s, people: s.people[:min(p.crowd, len(s.people))], free: make(chan *follower, p.crowd), told: newTally()}
}

// begin opens everybody's stream. Streams end with the server.
func (c *cycles) begin() {
	for _, p := range c.people {
		f := &follower{p, make(chan struct{}, 1)}
		go f.listen(c.site)
		c.free <- f
	}
}

func (p *person) cookie() string { return "countersign_device=" + p.session }

func (p *person) header() http.Header {
	return http.Header{"Cookie": {p.cookie()}, "User-Agent": {"countersign-bench"}}
}

// listen follows the device's stream until it ends.
func (f *follower) listen(s *site) {
	conn, err := openStream(s.client.door(authenticatorHost), f.person)
	if err != nil {
		return
	}
	defer conn.Close()
	f.wake() // for what came before the stream was open
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		if lines.Text() == "event: approvals" {
			f.wake()
		}
	}
}

func (f *follower) wake() {
	select {
	case f.woken <- struct{}{}:
	default:
	}
}

// run is one cycle.
func (c *cycles) run(ctx context.Context, _ time.Time) error {
	c.follow.Do(c.begin)
	var f *follower
	select {
	case f = <-c.free:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { c.free <- f }()
	select {
	case <-f.woken: // by the end of an earlier cycle
	default:
	}
	s := c.site
	header := s.apiHeader()
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	raw, err := s.client.ask(ctx, http.MethodPost, apiURL+"/onetouch/json/users/"+strconv.FormatInt(f.user.AuthyID, 10)+"/approval_requests", header, asked)
	if err != nil {
		return err
	}
	uuid, err := created(raw)
	if err != nil {
		return err
	}
	decided := s.outside.decided.expect(uuid)
	defer s.outside.decided.forget(uuid)
	browser := make(chan error, 1)
	var heard time.Time // read after browser
	go func() {
		err := s.waitFor(ctx, uuid)
		heard = time.Now()
		browser <- err
	}()
	select {
	case <-f.woken:
	case <-ctx.Done():
		return errors.New("the device was not woken in time")
	}
	sent, err := f.answer(ctx, s, uuid)
	if err != nil {
		return err
	}
	if err := <-browser; err != nil {
		return err
	}
	c.told.add(heard.Sub(sent), nil)
	select {
	case status := <-decided:
		if status != "approved" {
			return errors.New("the callback told another decision")
		}
		return nil
	case <-ctx.Done():
		return errNoCallback
	}
}

// waitFor waits as an application does for its browser.
func (s *site) waitFor(ctx context.Context, uuid string) error {
	raw, err := s.client.ask(ctx, http.MethodGet, apiURL+"/onetouch/json/approval_requests/"+uuid+"?wait=30", s.apiHeader(), "")
	if err != nil {
		return err
	}
	status, err := statusOf(raw)
	if err == nil && status != "approved" {
		err = fmt.Errorf("the browser heard %q", status)
	}
	return err
}

// shown is an approval as a device reads it.
type shown struct {
	UUID        string
	Application struct{ ID, Name string }
	Logo        string
	Message     string
	Details     []receipt.Field
	ExpiresAt   int64 `json:"expires_at"`
	Sign        struct {
		Origin, Device, Hidden, Nonce string
		User                          int64
		IssuedAt                      int64 `json:"issued_at"`
	}
}

// answer has the device read what waits for it, sign, and answer. It returns when the answer was sent.
func (f *follower) answer(ctx context.Context, s *site, uuid string) (sent time.Time, err error) {
	raw, err := s.client.ask(ctx, http.MethodGet, authenticatorURL+"/device/v1/approvals", f.header(), "")
	if err != nil {
		return sent, err
	}
	var list struct{ Approvals []shown }
	if err := json.Unmarshal(raw, &list); err != nil {
		return sent, errors.New("the device cannot read what waits for it")
	}
	for _, a := range list.Approvals {
		if a.UUID != uuid {
			continue
		}
		signature, err := receipt.Sign(f.key, a.canonical(f.device.ID))
		if err != nil {
			return sent, err
		}
		header := f.header()
		header.Set("Content-Type", "application/json")
		sent = time.Now()
		_, err = s.client.ask(ctx, http.MethodPost, authenticatorURL+"/device/v1/approvals/"+uuid+"/answer", header,
			`{"decision":"approve","match":"","signature":"`+signature+`"}`)
		return sent, err
	}
	return sent, errors.New("the device was not shown the approval")
}

// canonical returns the bytes that the device signs: what it was shown.
func (a shown) canonical(device string) []byte {
	content := receipt.Content{Application: a.Application.Name, Message: a.Message, Details: a.Details, Logo: a.Logo}
	return receipt.Answer{
		Origin: a.Sign.Origin, Application: a.Application.ID, User: a.Sign.User, Device: device, Approval: a.UUID,
		Shown: content.Digest(), Hidden: a.Sign.Hidden, Decision: receipt.Approve, Nonce: a.Sign.Nonce, IssuedAt: a.Sign.IssuedAt, ExpiresAt: a.ExpiresAt,
	}.Canonical()
}

// cycleDirect does all but HTTP: create, read as the device, sign, answer, read as the application. There is no callback.
func (s *site) cycleDirect(ctx context.Context, _ time.Time) error {
	p := s.quiet.next()
	app, u, err := s.tenants.AuthenticateFor(ctx, s.quietKey, p.user.AuthyID)
	if err != nil {
		return err
	}
	made, err := s.approvals.Create(ctx, app, u, approval.Request{
		Message: "Log in to Example", Details: []receipt.Field{{Name: "Account", Value: "ana@example.com"}, {Name: "Location", Value: "Lisbon, Portugal"}},
	})
	if err != nil {
		return err
	}
	d, err := s.devices.Session(ctx, p.session)
	if err != nil {
		return err
	}
	if _, err := s.approvals.Inbox(ctx, d); err != nil {
		return err
	}
	signature, err := receipt.Sign(p.key, s.approvals.Signed(made, d.ID, receipt.Approve, ""))
	if err != nil {
		return err
	}
	if _, err := s.approvals.Answer(ctx, d, made.UUID, approval.Answer{Decision: receipt.Approve, Signature: signature}); err != nil {
		return err
	}
	_, err = s.approvals.Get(ctx, app.ID, made.UUID)
	return err
}
