// Package approval owns the approval: one request for a decision, its states,
// and the rules by which it is made, answered, cancelled and expires.
//
//	pending → approved | denied | expired | cancelled, once (INV-5)
//
// "Still pending?" is asked inside the statement that decides. The rest of the
// journey is in docs/architecture.md.
package approval

import (
	"time"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/device"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/tenant"
)

// Errors that this package reports.
var (
	ErrUnknown    = fault.New(fault.NotFound, "unknown", "There is no such request.")
	ErrNoDevice   = fault.New(fault.Conflict, "no-device", "The user has no device that could approve.")
	ErrOff        = fault.New(fault.Forbidden, "onetouch-disabled", "Approval requests are not enabled for this application.")
	ErrWaiting    = fault.New(fault.Limited, "approvals-waiting", "Too many approval requests are waiting for this user. Wait until one is answered or expires.")
	ErrFlood      = fault.New(fault.Limited, "approvals-unapproved", "Too many approval requests for this user in the last minutes without an approval. Slow down and try again later.")
	ErrPause      = fault.New(fault.Limited, "approvals-pause", "The user denied the last approval requests or let them expire. Each such end makes the next one wait longer.")
	ErrReported   = fault.New(fault.Limited, "user-reported", "The user said that somebody else made an approval request. Nothing is asked of them for a while.")
	ErrNotPending = fault.New(fault.Conflict, "already-decided", "This request was answered already.")
	ErrExpired    = fault.New(fault.Gone, "expired", "Too late: this request has expired.")
	ErrCancelled  = fault.New(fault.Gone, "cancelled", "This request was withdrawn.")
	ErrMismatch   = fault.New(fault.Conflict, "number-mismatch", "The number does not match. The request was denied.")
	ErrSignature  = fault.New(fault.Unauthenticated, "bad-signature", "The device's signature does not fit this request.")
	ErrInvalid    = fault.New(fault.Invalid, "approval-invalid", "The approval request is not valid.")
	ErrLogo       = fault.New(fault.Invalid, "approval-logo-invalid", "A logo is not valid.")
	ErrRenotified = fault.New(fault.Limited, "renotify-limit", "The user was told of this request often enough, or a moment ago.")
	ErrReused     = fault.New(fault.Conflict, "idempotency-key-reused", "This Idempotency-Key was used for another request.")
)

// Status of an approval.
type Status string

const (
	Pending   Status = "pending"
	Approved  Status = "approved"
	Denied    Status = "denied"
	Expired   Status = "expired"
	Cancelled Status = "cancelled"
)

// Decision words, as a device signs them.
const (
	Approve = receipt.Approve
	Deny    = receipt.Deny
	NotMe   = receipt.NotMe // a denial that also stops the application's requests to the user, and the reason of it
)

// StopFor is how long an application asks a user nothing who said that it was not they.
const StopFor = 20 * time.Minute

// Waits are how long the next request waits after the first, second, … one in a row that was denied or expired (T-10). An approval
// begins anew.
var Waits = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour}

// Report tells a person's devices that one of them said "it was not me".
type Report struct {
	Application, Account string
	Device               string // which said it
	At, Until            time.Time
}

// Inbox is what a device shows.
type Inbox struct {
	Waiting   []Approval // pending, and the device may answer them; newest first, at most 100
	Reports   []Report   // as long as they stop requests
	Unfetched bool       // something waits of which the device's push subscription does not know that it was read
}

// Limits on content (contract section 5.1).
const (
	maxMessage = 200 // characters; longer ones are cut, as Authy's own libraries did
	maxField   = 200 // characters of a detail's name or value; longer ones are refused, because a cut could change the meaning
	maxFields  = 64
	maxLogoURL = 500
)

// Logo is a picture's address at one resolution.
type Logo struct {
	Res string `json:"res"`
	URL string `json:"url"`
}

// Match is the number that ties an approval to the screen it was asked from.
type Match struct {
	Mode  tenant.MatchMode
	Value string // only for the application; never for a device before its answer (T-11)
}

// Approval is one request for a decision.
type Approval struct {
	UUID, ID  string // ID: 24 hex digits
	AppID     string
	AppSerial int64
	UserID    string
	AuthyID   int64
	UserEmail string
	Status    Status

	Content receipt.Content // what the device shows; a snapshot
	Hidden  []receipt.Field // nil when none were given
	Logos   []Logo          // as given
	Match   Match
	Nonce   string

	Life        int64 // seconds as asked for; 0 = never expires
	CreatedAt   time.Time
	ExpiresAt   time.Time // zero = never
	UpdatedAt   time.Time
	ProcessedAt time.Time // zero while pending
	Reason      string    // why it was denied, "" for a plain no: "number-mismatch", NotMe

	Trace string // traceparent of who asked for it; "" = not traced

	Answer *Answered // who answered; nil while pending, or when nobody did
	Ended  []string  // uuids of the user's other requests that ended with this one; only right after it was decided
}

// Answered is what a device said.
type Answered struct {
	Grant     device.Grant
	Signed    []byte // canonical bytes
	Signature string
}

// At returns a as it is at now: a pending approval past its end is expired, whether or not a sweep has said so in the row.
func (a Approval) At(now time.Time) Approval {
	if a.Status == Pending && !a.ExpiresAt.IsZero() && !now.Before(a.ExpiresAt) {
		a.Status, a.ProcessedAt, a.UpdatedAt = Expired, a.ExpiresAt, a.ExpiresAt
	}
	return a
}

// Receipt returns the proof of the answer for the application; nil when no device answered.
func (a Approval) Receipt() *receipt.Receipt {
	if a.Answer == nil {
		return nil
	}
	g := a.Answer.Grant
	return &receipt.Receipt{
		Answer: encode(a.Answer.Signed), Signature: a.Answer.Signature, Logo: a.Content.Logo,
		Enrollment: receipt.Enrollment{Device: g.Device.ID, Grant: g.ID, PublicKey: g.Device.PublicKey, Method: g.Method, EnrolledAt: g.CreatedAt.Unix()},
	}
}
