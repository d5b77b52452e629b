package authyapi

import (
	"errors"
	"fmt"
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/approval"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/tenant"
)

// This file owns approval requests: contract sections 5.1 and 5.2, and our additions to them.

func (a *API) createApproval(c call) (any, error) {
	u, err := c.user()
	if err != nil {
		return nil, err
	}
	req, err := approvalRequest(c)
	if err != nil {
		return nil, err
	}
	made, err := a.Approvals.Create(c.ctx, c.app, u, req)
	if err != nil {
		return nil, err
	}
	type request struct {
		UUID  string       `json:"uuid"`
		Match *matchAnswer `json:"match,omitempty"`
	}
	return struct {
		Request request `json:"approval_request"`
		Message string  `json:"message"`
		Success bool    `json:"success"`
	}{request{made.UUID, matchOf(made)}, "Approval request was created.", true}, nil
}

// errParameter is a parameter of the wrong kind (60004).
var errParameter = fault.New(fault.Invalid, "parameter-invalid", "Invalid parameter")

func approvalRequest(c call) (approval.Request, error) {
	p := c.params
	req := approval.Request{
		Message: p.String("message"), Match: tenant.MatchMode(p.String("match")), IdempotencyKey: c.r.Header.Get("Idempotency-Key"),
	}
	var err error
	if req.Details, err = fields(p, "details"); err != nil {
		return req, err
	}
	if err := tellApart(req.Details); err != nil {
		return req, err
	}
	if req.Hidden, err = fields(p, "hidden_details"); err != nil {
		return req, err
	}
	if req.Logos, err = logos(p); err != nil {
		return req, err
	}
	if k := p.Kind("context"); k != KindAbsent && k != KindNull && k != KindObject {
		return req, errParameter.Saying("Invalid parameter: context - A hash with ip, user_agent and origin is expected")
	}
	req.Context = receipt.Context{Address: p.String("context", "ip"), Browser: p.String("context", "user_agent"), Origin: p.String("context", "origin")}
	if req.Context.Address == "" {
		req.Context.Address = approval.Address(p.String("user_ip")) // the contract's own parameter; old clients send anything in it
	}
	if text := p.String("seconds_to_expire"); text != "" || p.Kind("seconds_to_expire") > KindString {
		n, ok := p.Int("seconds_to_expire")
		if !ok {
			return req, errParameter.Saying(fmt.Sprintf("Invalid parameter: seconds_to_expire - '%.40s' is not a valid Integer", text))
		}
		req.Life = &n
	}
	return req, checkSize(req)
}

// tellApart refuses details whose names look the same when shown: the person could not tell them apart, and a callback,
// where details are members of one object, could not carry them.
func tellApart(details []receipt.Field) error {
	seen := make(map[string]bool, len(details))
	for _, d := range details {
		name := receipt.CleanText(d.Name)
		if seen[name] {
			return errParameter.Saying("Invalid parameter: details - Two names look the same")
		}
		seen[name] = true
	}
	return nil
}

// maxTold is how many bytes the parts of a request that vary may have in its callback: receivers read 64 KiB, and the
// rest of a callback stays below 8.
const maxTold = 56 << 10

// checkSize refuses a request whose callback would be larger than receivers read. Some characters take six bytes in JSON.
func checkSize(req approval.Request) error {
	told, err := encodeJSON([]any{hash(req.Details), hash(req.Hidden), req.Logos})
	if err == nil && len(told) > maxTold {
		err = errParameter.Saying("Invalid parameter: details - Details, hidden details and logos are too long together")
	}
	return err
}

// fields reads a hash of texts in the order sent. A plain text is one detail without a name.
func fields(p *Params, name string) ([]receipt.Field, error) {
	switch p.Kind(name) {
	case KindAbsent, KindNull:
		return nil, nil
	case KindString:
		if text := p.String(name); text != "" {
			return []receipt.Field{{Value: text}}, nil
		}
		return nil, nil
	case KindArray:
		if items, _ := p.Array(name); len(items) == 0 { // how PHP writes an empty hash
			return []receipt.Field{}, nil
		}
	case KindObject:
		members, _ := p.Object(name)
		out := make([]receipt.Field, 0, len(members))
		for _, m := range members {
			if m.Value.Kind() > KindString {
				return nil, errParameter.Saying(fmt.Sprintf("Invalid parameter: %s - Values are texts, not nested", name))
			}
			out = append(out, receipt.Field{Name: m.Name, Value: m.Value.String()})
		}
		return out, nil
	}
	return nil, errParameter.Saying(fmt.Sprintf("Invalid parameter: %s - A hash of texts is expected", name))
}

func logos(p *Params) ([]approval.Logo, error) {
	if !p.Has("logos") || p.Kind("logos") == KindString && p.String("logos") == "" {
		return nil, nil
	}
	items, ok := p.Array("logos")
	if !ok {
		return nil, errParameter.Saying("Invalid parameter: logos - An array is expected")
	}
	out := make([]approval.Logo, 0, len(items))
	for _, item := range items {
		out = append(out, approval.Logo{Res: item.String("res"), URL: item.String("url")})
	}
	return out, nil
}

func (a *API) readApproval(c call) (any, error) {
	uuid := c.r.PathValue("uuid")
	wait, ok := c.params.Int("wait")
	if c.params.Has("wait") && (!ok || wait < 0) {
		return nil, errParameter.Saying("Invalid parameter: wait - Seconds from 0 to 60 are expected")
	}
	var found approval.Approval
	var err error
	if wait > 0 {
		found, err = a.Approvals.Wait(c.ctx, c.app.ID, uuid, time.Duration(min(wait, 60))*time.Second)
	} else {
		found, err = a.Approvals.Get(c.ctx, c.app.ID, uuid)
	}
	if err != nil {
		return nil, approvalError(uuid, err)
	}
	return struct {
		Request approvalAnswer `json:"approval_request"`
		Message string         `json:"message"`
		Success bool           `json:"success"`
	}{approvalAnswerOf(found), "Approval request.", true}, nil
}

func (a *API) cancelApproval(c call) (any, error) {
	uuid := c.r.PathValue("uuid")
	cancelled, err := a.Approvals.Cancel(c.ctx, c.app, uuid)
	if err != nil {
		return nil, approvalError(uuid, err)
	}
	type request struct {
		UUID      string `json:"uuid"`
		Status    string `json:"status"`
		Cancelled bool   `json:"cancelled"`
	}
	return struct {
		Request request `json:"approval_request"`
		Message string  `json:"message"`
		Success bool    `json:"success"`
	}{request{cancelled.UUID, wireStatus(cancelled.Status), true}, "Approval request was cancelled.", true}, nil
}

// renotifyApproval tells the user's devices of the same request again.
func (a *API) renotifyApproval(c call) (any, error) {
	uuid := c.r.PathValue("uuid")
	again, err := a.Approvals.Renotify(c.ctx, c.app, uuid)
	if err != nil {
		return nil, approvalError(uuid, err)
	}
	type request struct {
		UUID   string `json:"uuid"`
		Status string `json:"status"`
	}
	return struct {
		Request request `json:"approval_request"`
		Message string  `json:"message"`
		Success bool    `json:"success"`
	}{request{again.UUID, wireStatus(again.Status)}, "The user's devices were told again.", true}, nil
}

// approvalError says what went wrong from an application's side; the uuid in "not found" is the contract's.
func approvalError(uuid string, err error) error {
	switch {
	case errors.Is(err, approval.ErrUnknown):
		return approval.ErrUnknown.Saying(fmt.Sprintf("Approval request not found: %.64s", uuid))
	case errors.Is(err, approval.ErrNotPending):
		return approval.ErrNotPending.Saying("The approval request is no longer pending.")
	}
	return err
}
