// Package device owns authenticators: devices, their keys and sessions, the
// grants that let them act for users, and the two ways to get one (T-20).
//
// A device can do nothing without a grant. An enrolment ticket, shown by an
// application inside a signed-in session, makes one grant for that user. A
// proved phone number makes grants for the users of that number within one
// account, but never for a user who has a device already.
package device

import (
	"context"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
)

// Errors that this package reports.
var (
	ErrInvalid      = fault.New(fault.Invalid, "invalid", "The request is not valid.")
	ErrPhone        = fault.New(fault.Invalid, "invalid", "That is not a phone number in international form, such as +12025550123.")
	ErrTicket       = fault.New(fault.Gone, "ticket-invalid", "This link was used already, is older than ten minutes, or is mistyped. Ask the application for a new one.")
	ErrCodeWrong    = fault.New(fault.Unauthenticated, "code-wrong", "That is not the code that was sent.")
	ErrCodeExpired  = fault.New(fault.Gone, "code-expired", "The code is no longer valid. Ask for a new one.")
	ErrSecondDevice = fault.New(fault.Conflict, "second-device", "This number has a device already. Add another one with a link from the application, or remove the first.")
	ErrNoUser       = fault.New(fault.NotFound, "no-user", "No application knows this number yet. Sign up there first.")
	ErrNotSignedIn  = fault.New(fault.Unauthenticated, "not-signed-in", "This device is not signed in.")
	ErrGrant        = fault.New(fault.NotFound, "unknown", "There is no such device.")
	ErrNoSMS        = fault.New(fault.Unavailable, "enrollment-by-sms-impossible", "This server sends no text messages. Ask the application for a link instead.")
	ErrLimited      = fault.New(fault.Limited, "limited", "Too many codes were asked for. Try again later.")
)

// How long things live.
const (
	TicketLife     = 10 * time.Minute
	EnrollmentLife = 10 * time.Minute
	ChallengeLife  = 2 * time.Minute
	SessionLife    = 90 * 24 * time.Hour
)

// Device is one installed authenticator.
type Device struct {
	ID        string
	Name      string
	Platform  string // android, iphone, ipad, desktop, terminal
	PublicKey string // receipt.EncodePublicKey form
	CreatedAt time.Time
	SeenAt    time.Time
}

// Platforms that a device may say it is.
var Platforms = []string{"android", "iphone", "ipad", "desktop", "terminal"}

// Ways to get a grant.
const (
	MethodTicket = "ticket"
	MethodSMS    = "sms"
)

// Grant lets a device act for a user. Its id is what Authy clients know as a device id.
type Grant struct {
	ID          int64 // below 2^31
	Device      Device
	UserID      string
	AuthyID     int64
	AppID       string
	Application string // name
	Account     string // how the person knows the user: the e-mail address
	Method      string
	Digits      int // of app codes, fixed when the grant is made
	Period      tenant.Seconds
	CreatedAt   time.Time
	Secret      []byte // TOTP; only right after it was made
}

// Ticket is a one-time right to make a grant for one user.
type Ticket struct {
	Words     string // 128 bits as eight words joined by dashes
	Link      string
	ExpiresAt time.Time
}

// TicketInfo is what somebody who holds a ticket may see before using it.
type TicketInfo struct {
	Application, Account string
	ExpiresAt            time.Time
}

// Enrollment is a running proof of a phone number.
type Enrollment struct {
	ID        string
	ExpiresAt time.Time
}

// NewDevice is what a device tells about itself.
type NewDevice struct{ Name, Platform, PublicKey string }

// Confirmation asks for grants, by ticket or by enrollment and code.
type Confirmation struct {
	Ticket     string // words, as typed
	Enrollment string
	Code       string
	Challenge  string
	Device     NewDevice
	Proof      string // signature of the enrolment proof by the device's key
}

// Enrolled is the outcome of a confirmation.
type Enrolled struct {
	Device  Device
	Grants  []Grant // with their secrets
	Session string  // opaque, for the cookie
}

// StoredTicket is a ticket as it is kept.
type StoredTicket struct {
	Hash, AppID, UserID  string
	CreatedAt, ExpiresAt time.Time
}

// StoredEnrollment is an enrollment as it is kept.
type StoredEnrollment struct {
	ID, AccountID, Phone, CodeHash string
	TriesLeft                      int
	CreatedAt, ExpiresAt           time.Time
}

// StoredGrant is a grant that is about to be kept.
type StoredGrant struct {
	ID     int64
	Sealed []byte // the secret, bound to the id
	Secret []byte // not kept: handed back to the device once
}

// Spent is a challenge that was used by a key.
type Spent struct {
	PublicKey, Challenge string
	ExpiresAt            time.Time
}

// Session is a device's session as it is kept.
type Session struct {
	Hash      string
	CreatedAt time.Time
	ExpiresAt time.Time
}

// Store is what this package needs to keep.
type Store interface {
	CreateTicket(ctx context.Context, t StoredTicket, rec audit.Record) error   // tenant.ErrUser when the user is not, or no longer, the application's
	Ticket(ctx context.Context, hash string, now time.Time) (TicketInfo, error) // ErrTicket

	// Register finds or makes the user of a registration, and keeps its ticket. ErrTicket when the token made a device already, or a newer token of the same
	// name was used. The first record is of a user who was made or came back, the second of the ticket.
	Register(ctx context.Context, r Registering, user, ticket audit.Record) error
	Registration(ctx context.Context, appID, customID string) (Registered, error) // ErrRegistration

	// StartEnrollment keeps the enrollment and its job. Whose the number is it does not look at, so that nothing tells (INV-9).
	// It reports ErrLimited when the number had MaxCodes in CodesWindow, or MaxCodesDay in a day.
	StartEnrollment(ctx context.Context, e StoredEnrollment, look job.Job, rec audit.Record) error
	// SendEnrollment ends an enrollment's job. It keeps and returns the message in its place when the number belongs to a user of the account, an application
	// of such users may send there (T-30), and the code can still be used.
	SendEnrollment(ctx context.Context, look job.Job, send sending.Send) (message []job.Job, err error)

	// EnrollByTicket spends the ticket and the challenge and makes the device (if its key is new), the grant and the session.
	EnrollByTicket(ctx context.Context, hash string, in Enrolling) (Device, []Grant, error) // ErrTicket, ErrNotSignedIn for a used challenge

	// EnrollByCode reserves a try, calls right with the stored hash, and if it says yes does what EnrollByTicket does
	// for every user of the number within the account who has no device.
	EnrollByCode(ctx context.Context, enrollmentID string, right func(codeHash string) bool, in Enrolling) (Device, []Grant, error)

	DeviceByID(ctx context.Context, id string) (Device, error) // ErrNotSignedIn
	OpenSession(ctx context.Context, deviceID string, s Session, spent Spent) error
	DeviceBySession(ctx context.Context, hash string, now time.Time) (Device, error) // ErrNotSignedIn
	CloseSession(ctx context.Context, hash string) error
	TouchDevice(ctx context.Context, deviceID string, now time.Time) error

	Grants(ctx context.Context, deviceID string) ([]Grant, error)                                                    // the device's own
	GrantsOfUser(ctx context.Context, userID string) ([]Grant, error)                                                // all devices of one user
	GrantsBeside(ctx context.Context, deviceID string) ([]Grant, error)                                              // all devices of the users this device has a grant for
	RemoveGrant(ctx context.Context, deviceID string, grantID int64, now time.Time, rec audit.Record) (Grant, error) // ErrGrant unless GrantsBeside has it
	RemovedGrants(ctx context.Context, userID string, limit int) ([]Grant, error)                                    // last removed first
	RemoveGrantOf(ctx context.Context, appID string, grantID int64, now time.Time, rec audit.Record) (Grant, error)  // ErrGrant
}

// Enrolling is what both ways of enrolment need.
type Enrolling struct {
	Device  NewDevice
	Method  string
	Now     time.Time
	Spent   Spent
	Session Session
	Secret  func() StoredGrant // a fresh grant id and secret
	Actor   string
}

// Limits on codes for enrolment by phone number.
const (
	MaxCodes    = 3
	CodesWindow = 10 * time.Minute
	MaxCodesDay = 8
	codeTries   = 5
	codeDigits  = 7
)

// Service is the entrance to this package.
type Service struct {
	Store  Store
	Ring   *seal.Ring
	Live   *live.Hub
	Now    func() time.Time
	Origin string // the authenticator's public URL, without trailing slash
	// AccountID is the account that enrolment by phone number looks in.
	AccountID string
	// Keys returns an application by its number or id, with the keys that are accepted from it: tenant.ErrApplication.
	Keys func(ctx context.Context, name string) (tenant.Application, []string, error)
	// NewMessage makes the job that sends a code.
	NewMessage func(out otp.Outgoing, now time.Time) job.Job
	// Alert makes the notice that sending was paused.
	Alert   func(s sending.Send, owner string, p sending.Pause) job.Job
	CanSend func(otp.Channel) bool // a gateway is set up
	Offer   func(...job.Job)
}
