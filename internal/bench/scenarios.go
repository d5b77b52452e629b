package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"countersign.dev/internal/tenant"
)

// This file owns the scenarios that are operations: what people do, step by step.

// runs returns the scenarios that are wanted. They reach the server when it has started.
func (c *Config) runs(s *site, p plan) ([]*run, error) {
	cycles := newCycles(s, p)
	everybody := &circle{people: s.people}
	verify := scenario{
		name: "verify", unit: "verifications", do: s.verify(everybody), direct: s.verifyDirect(&circle{people: s.people}), bare: true,
	}
	cycle := scenario{
		name: "approval", unit: "whole cycles", do: cycles.run, direct: s.cycleDirect, callers: len(cycles.people),
		parts: cycles.told, partName: "from the device's answer to the waiting browser", idle: 20,
	}
	sms := scenario{name: "sms", unit: "codes sent and typed", do: s.text()}
	mixed := scenario{name: "mixed", unit: "operations", do: blend(verify.do, cycles.run, sms.do), callers: len(cycles.people)}
	var out []*run
	for _, sc := range []scenario{verify, cycle, sms, mixed} {
		if c.wants(sc.name) {
			out = append(out, &run{sc, Result{Store: s.name, Scenario: sc.name, Unit: sc.unit, Part: sc.partName}})
		}
	}
	return out, nil
}

// blend is a day in a life: of ten operations seven are verifications, two approvals, and one a code by text message.
func blend(verify, cycle, sms operation) operation {
	var n atomic.Int64
	return func(ctx context.Context, due time.Time) error {
		switch n.Add(1) % 10 {
		case 0, 5:
			return cycle(ctx, due)
		case 3:
			return sms(ctx, due)
		}
		return verify(ctx, due)
	}
}

func (s *site) apiHeader() http.Header {
	return http.Header{"X-Authy-Api-Key": {s.key}, "User-Agent": {"countersign-bench"}}
}

func (s *site) verifyPath(p *person, code string) string {
	return "/protected/json/verify/" + code + "/" + strconv.FormatInt(p.user.AuthyID, 10) + "?force=true"
}

// verify has the next person type an app code.
func (s *site) verify(who *circle) operation {
	header := s.apiHeader()
	return func(ctx context.Context, _ time.Time) error {
		p := who.next()
		code, err := p.code(time.Now(), s.app.Settings.CodeDigits, s.app.Settings.CodeSkew)
		if err != nil {
			return err
		}
		_, err = s.client.ask(ctx, http.MethodGet, apiURL+s.verifyPath(p, code), header, "")
		return err
	}
}

// verifyBare sends the bare handler the same request.
func (s *site) verifyBare(who *circle, b *process) operation {
	header := s.apiHeader()
	return func(ctx context.Context, _ time.Time) error {
		_, err := b.client.ask(ctx, http.MethodGet, b.base+s.verifyPath(who.next(), "1234567"), header, "")
		return err
	}
}

// verifyDirect does what the API does for that request, all of it but HTTP.
func (s *site) verifyDirect(who *circle) operation {
	return func(ctx context.Context, _ time.Time) error {
		p := who.next()
		app, u, err := s.caller(ctx, p.user.AuthyID)
		if err != nil {
			return err
		}
		code, err := p.code(time.Now(), app.Settings.CodeDigits, app.Settings.CodeSkew)
		if err != nil {
			return err
		}
		_, err = s.codes.Verify(ctx, app, u, code, "")
		return err
	}
}

// caller is what each request of an application begins with.
func (s *site) caller(ctx context.Context, authyID int64) (tenant.Application, tenant.User, error) {
	return s.tenants.AuthenticateFor(ctx, s.key, authyID)
}

// text has the next person sent a code by text message, and type it.
func (s *site) text() operation {
	header := s.apiHeader()
	var n atomic.Int64
	return func(ctx context.Context, _ time.Time) error {
		i := int(n.Add(1)) % len(s.texted)
		id, number := strconv.FormatInt(s.texted[i], 10), phone(int(s.texted[i]-authyID(0)))
		sent := s.outside.codes.expect(number)
		defer s.outside.codes.forget(number)
		if _, err := s.client.ask(ctx, http.MethodGet, apiURL+"/protected/json/sms/"+id+"?force=true", header, ""); err != nil {
			return err
		}
		select {
		case code := <-sent:
			_, err := s.client.ask(ctx, http.MethodGet, apiURL+"/protected/json/verify/"+code+"/"+id+"?force=true", header, "")
			return err
		case <-ctx.Done():
			return errNoMessage
		}
	}
}

// asked is the form that an application sends for an approval.
var asked = url.Values{"message": {"Log in to Example"}, "details[Account]": {"ana@example.com"}, "details[Location]": {"Lisbon, Portugal"}}.Encode()

// created is what it gets.
func created(raw []byte) (uuid string, err error) {
	var answer struct {
		Request struct{ UUID string } `json:"approval_request"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil || answer.Request.UUID == "" {
		return "", errors.New("the answer names no approval")
	}
	return answer.Request.UUID, nil
}

// statusOf is the status in the API's answer about an approval.
func statusOf(raw []byte) (string, error) {
	var answer struct {
		Request struct{ Status string } `json:"approval_request"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return "", fmt.Errorf("the answer cannot be read")
	}
	return answer.Request.Status, nil
}
