// This file owns calls about approvals.

package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"countersign.dev/client/internal/details"
	"countersign.dev/client/receipt"
)

// Field is one line of details.
type Field = receipt.Field

// The states of an approval. Only [StatusPending] changes, once. Let nothing happen for a status not in this list.
const (
	StatusPending   = "pending"
	StatusApproved  = "approved"
	StatusDenied    = "denied"
	StatusExpired   = "expired"
	StatusCancelled = "cancelled"
)

// The values of [ApprovalRequest.Match]. A request may only ask for more than the application's setting.
const (
	MatchOff  = "off"
	MatchType = "type" // the person must type the number of [Approval.Match] on the device
)

// MaxMessage is how many characters a message may have; servers cut longer ones, and nobody should approve half a sentence.
const MaxMessage = 200

// ApprovalRequest is what to ask a person.
type ApprovalRequest struct {
	Message       string  // what is asked, at most MaxMessage characters
	Details       []Field // shown below it, in this order; names must differ
	HiddenDetails []Field // not shown, but signed and returned
	Logos         []Logo
	Expire        time.Duration // life of the request, in whole seconds, rounded up; 0 = the application's default
	NeverExpire   bool
	Context       Context
	Match         string // MatchOff, MatchType or "" for the application's setting
	// IdempotencyKey names this request, so that sending it again within 24 hours returns the first approval. When empty
	// one is made for this call, so that repeating after a lost connection cannot ask twice.
	IdempotencyKey string
}

// Context says where the request was started: take it from the HTTP request that made you ask. The device shows it as told by your application,
// and it is in the digest that the device signs, as [receipt.Context.Clean] makes it. The zero value shows nothing.
type Context struct {
	IP        string // network address of the browser
	UserAgent string // what the browser calls itself
	Origin    string // of your page, scheme://host[:port]
}

// Logo is a picture to show. One of them must be of resolution "default".
type Logo struct {
	Res string `json:"res"` // "default", "low", "med" or "high"
	URL string `json:"url"`
}

// Approval is a request for a decision, and what became of it.
type Approval struct {
	UUID          string
	Status        string
	Match         *Match // nil when no number has to be typed
	AuthyID       int64
	Application   string           // the application's name as shown, on the server's word
	ApplicationID string           // its id as signed, on the server's word; receipts are checked with the one in your configuration, see [receipt.Expected]
	CreatedAt     time.Time        // zero in the answers to CreateApproval, CancelApproval and RenotifyApproval
	ProcessedAt   time.Time        // zero while pending
	Expire        time.Duration    // life it was given, 0 = never expires (or not told, as CreatedAt)
	HiddenDetails []Field          // as created, told once answered
	Reason        string           // why it was denied, "" for a plain no: "number-mismatch", "not-me"; to be shown or acted on, never as a permission
	Receipt       *receipt.Receipt // proof of the decision, told once answered; nil from servers other than Countersign
}

// Match is the number that the application shows and the person types on the device.
type Match struct {
	Mode  string `json:"mode"`
	Value string `json:"value"`
}

// CreateApproval asks a user's devices. The approval it returns is pending. It returns [ErrUserNotFound], [ErrNoDevice], [ErrRateLimited],
// which is an [ErrNotMe] when the user reported a request a while ago, or [ErrApprovalsDisabled].
func (c *Client) CreateApproval(ctx context.Context, authyID int64, request ApprovalRequest) (Approval, error) {
	const name = "create approval"
	body, err := request.body()
	if err != nil {
		return Approval{}, fmt.Errorf("countersign: %s: %w", name, err)
	}
	key := request.IdempotencyKey
	if key == "" {
		key = rand.Text()
	}
	path := "/onetouch/json/users/" + strconv.FormatInt(authyID, 10) + "/approval_requests"
	var answer approvalAnswer
	if err := c.do(ctx, call{name: name, method: "POST", path: path, body: body, repeatable: true, key: key}, &answer); err != nil {
		return Approval{}, err
	}
	if answer.Approval.UUID == "" {
		return Approval{}, fmt.Errorf("countersign: %s: answer names no approval", name)
	}
	approval := answer.approval()
	approval.Status, approval.AuthyID = StatusPending, authyID
	return approval, nil
}

// body checks a request and gives its JSON form.
func (r ApprovalRequest) body() (map[string]any, error) {
	body := map[string]any{"message": r.Message}
	switch {
	case utf8.RuneCountInString(r.Message) > MaxMessage:
		return nil, fmt.Errorf("message over %d characters", MaxMessage)
	case r.Expire < 0:
		return nil, errors.New("negative Expire")
	case r.Expire > 0 && r.NeverExpire:
		return nil, errors.New("both Expire and NeverExpire")
	case r.NeverExpire:
		body["seconds_to_expire"] = 0
	case r.Expire > 0:
		body["seconds_to_expire"] = wholeSeconds(r.Expire)
	}
	if len(r.Details) > 0 {
		body["details"] = details.Object(r.Details)
	}
	if len(r.HiddenDetails) > 0 {
		body["hidden_details"] = details.Object(r.HiddenDetails)
	}
	if len(r.Logos) > 0 {
		body["logos"] = r.Logos
	}
	if r.Context != (Context{}) {
		body["context"] = map[string]string{"ip": r.Context.IP, "user_agent": r.Context.UserAgent, "origin": r.Context.Origin}
	}
	if r.Match != "" {
		body["match"] = r.Match
	}
	return body, nil
}

// Content is what devices show for the request, under the application's name at the provider, to be the Content of [receipt.Expected].
func (r ApprovalRequest) Content(application string) receipt.Content {
	return receipt.Content{
		Application: application, Message: r.Message, Details: r.Details,
		Context: receipt.Context{Address: r.Context.IP, Browser: r.Context.UserAgent, Origin: r.Context.Origin},
	}
}

// Approval reads an approval as it is now. It returns [ErrApprovalNotFound] for a uuid that the application does not have.
func (c *Client) Approval(ctx context.Context, uuid string) (Approval, error) {
	return c.WaitApproval(ctx, uuid, 0)
}

// Decision waits until an approval is no longer pending, and reads it then. A server that is away for a while, or behind a proxy that says so (502, 503, 504),
// is asked again until ctx ends; what else goes wrong ends the waiting, which may begin anew. When ctx ends before, it returns the error of ctx, and the
// approval can still be decided: [Client.CancelApproval] ends that.
func (c *Client) Decision(ctx context.Context, uuid string) (Approval, error) {
	for {
		next := time.Now().Add(pollEvery)
		approval, err := c.WaitApproval(ctx, uuid, pollFor)
		away, ok := errors.AsType[*Error](err)
		if ok = ok && away.Status >= http.StatusBadGateway && away.Status <= http.StatusGatewayTimeout; ok {
			next = time.Now().Add(max(away.RetryAfter, pollEvery))
		}
		if !ok && (err != nil || approval.Status != StatusPending) {
			return approval, err
		}
		select {
		case <-time.After(time.Until(next)): // at once, unless the server is away or knows no waiting
		case <-ctx.Done():
			return Approval{}, fmt.Errorf("countersign: wait for decision: %w", ctx.Err())
		}
	}
}

// WaitApproval reads an approval as soon as it is decided, and after d, which the server bounds to a minute, as it is then: still pending, perhaps.
// [Client.Decision] waits longer.
func (c *Client) WaitApproval(ctx context.Context, uuid string, d time.Duration) (Approval, error) {
	if !isUUID(uuid) {
		return Approval{}, notFound(uuid)
	}
	return c.approval(ctx, uuid, call{
		name: "read approval", method: "GET", path: approvalPath(uuid),
		repeatable: true, wait: max(0, min(d, time.Minute)),
	})
}

// CancelApproval withdraws a pending approval. It returns [ErrNotPending] when it was decided before, which [Client.Approval] then reads.
func (c *Client) CancelApproval(ctx context.Context, uuid string) (Approval, error) {
	if !isUUID(uuid) {
		return Approval{}, notFound(uuid)
	}
	return c.approval(ctx, uuid, call{name: "cancel approval", method: "POST", path: approvalPath(uuid) + "/cancel"})
}

// RenotifyApproval tells the user's devices of a pending approval again: for the person who saw nothing. It stays the same request, with the same
// number and end. It returns [ErrNotPending] when it was decided, and [ErrRateLimited] when they were told a moment ago or often enough.
func (c *Client) RenotifyApproval(ctx context.Context, uuid string) (Approval, error) {
	if !isUUID(uuid) {
		return Approval{}, notFound(uuid)
	}
	return c.approval(ctx, uuid, call{name: "renotify approval", method: "POST", path: approvalPath(uuid) + "/renotify"})
}

// approval makes a call that answers with one approval, and checks that it is that one.
func (c *Client) approval(ctx context.Context, uuid string, call call) (Approval, error) {
	var answer approvalAnswer
	if err := c.do(ctx, call, &answer); err != nil {
		return Approval{}, err
	}
	if !strings.EqualFold(answer.Approval.UUID, uuid) {
		return Approval{}, fmt.Errorf("countersign: %s: answer is about another approval", call.name)
	}
	return answer.approval(), nil
}

// approvalAnswer is the JSON form of an approval.
type approvalAnswer struct {
	Approval struct {
		UUID        string           `json:"uuid"`
		Status      string           `json:"status"`
		Cancelled   bool             `json:"cancelled"`
		Match       *Match           `json:"match"`
		AuthyID     details.Text     `json:"_authy_id"` // a string in old servers
		AppName     string           `json:"_app_name"`
		AppID       string           `json:"app_id"`
		CreatedAt   time.Time        `json:"created_at"`
		ProcessedAt time.Time        `json:"processed_at"`
		Expire      int64            `json:"seconds_to_expire"`
		Hidden      details.Object   `json:"hidden_details"`
		Reason      string           `json:"reason"`
		Receipt     *receipt.Receipt `json:"receipt"`
	} `json:"approval_request"`
}

func (a approvalAnswer) approval() Approval {
	read := a.Approval
	if read.Cancelled && read.Status == StatusExpired {
		read.Status = StatusCancelled // the Authy API has no word for it
	}
	authyID, _ := strconv.ParseInt(string(read.AuthyID), 10, 64)
	return Approval{
		UUID: read.UUID, Status: read.Status, Match: read.Match, AuthyID: authyID, Application: read.AppName, ApplicationID: read.AppID,
		CreatedAt: read.CreatedAt, ProcessedAt: read.ProcessedAt, Expire: time.Duration(read.Expire) * time.Second, HiddenDetails: read.Hidden, Reason: read.Reason, Receipt: read.Receipt,
	}
}

func approvalPath(uuid string) string { return "/onetouch/json/approval_requests/" + uuid }

// isUUID reports whether a text may be part of a path. Which uuid shapes exist is the server's business.
func isUUID(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "-0123456789abcdefABCDEF") == ""
}

// notFound is what the server answers to an unknown uuid, for texts that cannot be one.
func notFound(uuid string) error {
	return &Error{Status: http.StatusNotFound, Code: "60049", Message: fmt.Sprintf("Approval request not found: %.64q", uuid)}
}
