// This file owns approvals: reading what is asked, and signing the answer to exactly what was read.

package terminal

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"countersign.dev/client/receipt"
)

// Approval is one request for a decision. Its texts are clean: they cannot move the cursor of a terminal.
type Approval struct {
	UUID        string
	Account     string
	Content     receipt.Content // what must be shown before it is signed
	CreatedAt   time.Time
	ExpiresAt   time.Time // zero = never
	Status      string    // pending, approved, denied, expired or cancelled
	MatchDigits int       // length of the number to type, 0 when none is asked for

	application string // id
	terms       terms
}

// terms are what the server adds to the signed bytes besides what is shown.
type terms struct {
	Origin   string
	Device   string
	User     int64
	Hidden   string
	Nonce    string
	IssuedAt int64 `json:"issued_at"`
}

// wireApproval is an approval as the device API writes it.
type wireApproval struct {
	UUID        string
	Application struct{ ID, Name string }
	Account     string
	Logo        string
	Message     string
	Details     []receipt.Field
	Context     receipt.Context
	CreatedAt   int64 `json:"created_at"`
	ExpiresAt   int64 `json:"expires_at"`
	Status      string
	Match       struct {
		Mode   string
		Digits int
	}
	Sign terms
}

func (w wireApproval) approval() Approval {
	a := Approval{
		UUID:    receipt.CleanText(w.UUID),
		Account: receipt.CleanText(w.Account),
		Content: receipt.Content{
			Application: w.Application.Name, Message: w.Message, Details: w.Details, Logo: receipt.CleanText(w.Logo), Context: w.Context,
		}.Clean(),
		CreatedAt:   time.Unix(w.CreatedAt, 0),
		Status:      receipt.CleanText(w.Status),
		application: w.Application.ID,
		terms:       w.Sign,
	}
	if w.ExpiresAt != 0 {
		a.ExpiresAt = time.Unix(w.ExpiresAt, 0)
	}
	if w.Match.Mode != "off" {
		a.MatchDigits = w.Match.Digits
	}
	return a
}

// Approvals returns the pending approvals, newest first.
func (t *Terminal) Approvals(ctx context.Context) ([]Approval, error) {
	if err := t.open(); err != nil {
		return nil, err
	}
	return t.approvals(ctx)
}

func (t *Terminal) approvals(ctx context.Context) ([]Approval, error) {
	var out struct {
		Approvals  []wireApproval
		ServerTime int64 `json:"server_time"`
	}
	start := t.now()
	if err := t.callSignedIn(ctx, http.MethodGet, "/approvals", nil, &out); err != nil {
		return nil, err
	}
	approvals := make([]Approval, len(out.Approvals))
	for i, w := range out.Approvals {
		approvals[i] = w.approval()
	}
	return approvals, t.observe(out.ServerTime, start, t.now())
}

// Approval returns one approval in any status.
func (t *Terminal) Approval(ctx context.Context, uuid string) (Approval, error) {
	if err := t.open(); err != nil {
		return Approval{}, err
	}
	var out wireApproval
	err := t.callSignedIn(ctx, http.MethodGet, "/approvals/"+url.PathEscape(uuid), nil, &out)
	if hasCode(err, "unknown") {
		return Approval{}, fmt.Errorf("this device has no approval %s; see: countersign device list", uuid)
	}
	return out.approval(), err
}

// Answer signs a decision about an approval that was just shown, and sends it. match is the number that the person typed,
// "" for none. The status it returns is the approval's own afterwards; the same answer given again is accepted again.
// A number of the right length that does not match denies the approval, and is an error.
func (t *Terminal) Answer(ctx context.Context, a Approval, decision, match string) (status string, processedAt time.Time, err error) {
	if err := t.open(); err != nil {
		return "", time.Time{}, err
	}
	if err := t.mayAnswer(a, decision, match); err != nil {
		return "", time.Time{}, err
	}
	answer := receipt.Answer{
		Origin: a.terms.Origin, Application: a.application, User: a.terms.User, Device: t.state.Device, Approval: a.UUID,
		Shown: a.Content.Digest(), Hidden: a.terms.Hidden, Match: match, Decision: decision,
		Nonce: a.terms.Nonce, IssuedAt: a.terms.IssuedAt,
	}
	if !a.ExpiresAt.IsZero() {
		answer.ExpiresAt = a.ExpiresAt.Unix()
	}
	signature, err := t.state.sign(answer.Canonical())
	if err != nil {
		return "", time.Time{}, err
	}
	in := map[string]string{"decision": decision, "match": match, "signature": signature}
	var out struct {
		Status      string
		ProcessedAt int64 `json:"processed_at"`
	}
	err = t.callSignedIn(ctx, http.MethodPost, "/approvals/"+url.PathEscape(a.UUID)+"/answer", in, &out)
	return receipt.CleanText(out.Status), time.Unix(out.ProcessedAt, 0), err
}

// mayAnswer refuses what must not be signed, and a number that could only be a slip: sent, it would deny the approval.
func (t *Terminal) mayAnswer(a Approval, decision, match string) error {
	switch {
	case !sameServer(a.terms.Origin, t.base):
		return fmt.Errorf("the request is meant for %q, but this terminal belongs to %s; nothing was signed", receipt.CleanText(a.terms.Origin), t.base)
	case a.terms.Device != t.state.Device:
		return errors.New("the request is meant for another device; nothing was signed")
	case decision != receipt.Approve && match == "":
		return nil
	case a.MatchDigits == 0 && match != "":
		return errors.New("this request asks for no number; leave --match away")
	case len(match) != a.MatchDigits || strings.Trim(match, "0123456789") != "":
		return fmt.Errorf("type the number of %d digits that %s shows: --match NUMBER", a.MatchDigits, a.Content.Application)
	}
	return nil
}
