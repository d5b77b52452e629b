package otp

import (
	"context"
	"time"
	"unicode/utf8"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/trace"
)

// This file owns sent codes: what is asked for, and what then leaves.

// Channel is a way that a message takes to a person.
type Channel string

// The channels. A voice call reads its text aloud.
const (
	SMS   Channel = "sms"
	Voice Channel = "call"
	Email Channel = "email"
)

// Errors of sending.
var (
	ErrSMSOff    = fault.New(fault.Forbidden, "sms-disabled", "SMS is not enabled")
	ErrVoiceOff  = fault.New(fault.Forbidden, "calls-disabled", "Phone calls are not enabled on this account")
	ErrNoSMS     = fault.New(fault.Unavailable, "sms-impossible", "SMS token was not sent.")
	ErrNoVoice   = fault.New(fault.Unavailable, "call-impossible", "Call was not started.")
	ErrNoEmail   = fault.New(fault.Unavailable, "email-impossible", "Email token was not sent.")
	ErrNoAddress = fault.New(fault.Invalid, "no-address", "The user has no address for this kind of message.")
	ErrSendMany  = fault.New(fault.Limited, "sms-limited", "Too many codes were sent to this user in the last minutes. Slow down and try again later.")
)

// Sent codes.
const (
	SentLife   = 10 * time.Minute
	SentTries  = 5
	SentWindow = 10 * time.Minute
	SentMax    = 5 // codes of one user in SentWindow
)

// Outgoing is a code or a notice on its way to a person, whatever the channel and whoever asked. Package message puts it into words.
type Outgoing struct {
	App       tenant.Application // in whose name; the zero one for the authenticator's own codes
	Channel   Channel
	Address   string // E.164, or a mail address
	Code      string
	About     string    // what the code confirms, in the application's words; "" says nothing
	Locale    string    // language asked for, such as pt-BR; "" follows the phone number's country
	Host      string    // of the site where the code is typed, for browsers that fill it in only there; "" is not said
	ExpiresAt time.Time // it is never sent later

	Notice Notice    // what is told, instead of a code
	When   time.Time // that it tells
}

// Sending is a sent code that is about to be kept.
type Sending struct {
	ID, AppID, UserID, Address, Hash, Action string
	Channel                                  Channel
	CreatedAt, ExpiresAt                     time.Time
	Message                                  job.Job
	Send                                     sending.Send // what the limits of sending look at
}

// Request asks for a code (contract sections 4.2 to 4.4).
type Request struct {
	Channel                       Channel
	Force                         bool
	Action, ActionMessage, Locale string
	IP                            string // the end user's address, as the application tells it; "" when it does not
}

// Sent tells what became of it. Ignored: the user has the app, and Force was not set.
type Sent struct {
	ID       string // of the code that was sent
	Ignored  bool
	Platform string // of the device, when ignored
}

// Send makes a code and hands it to the gateway by way of a durable job, so that a slow gateway slows nobody.
func (s *Service) Send(ctx context.Context, app tenant.Application, u tenant.User, r Request) (Sent, error) {
	address, err := addressFor(r.Channel, app.Settings, u)
	if err != nil {
		return Sent{}, err
	}
	if !s.CanSend(r.Channel) {
		return Sent{}, impossible[r.Channel]
	}
	if utf8.RuneCountInString(r.Action) > maxAction || utf8.RuneCountInString(r.ActionMessage) > maxAction {
		return Sent{}, ErrAction
	}
	if !r.Force {
		platform, err := s.Store.HasGrant(ctx, u.ID)
		if err != nil {
			return Sent{}, err
		}
		if platform != "" {
			return Sent{Ignored: true, Platform: platform}, nil
		}
	}
	now := s.Now()
	out := Outgoing{
		App: app, Channel: r.Channel, Address: address, Code: NewSentCode(app.Settings.SentDigits), About: r.ActionMessage,
		Locale: r.Locale, Host: app.Settings.OriginHost, ExpiresAt: now.Add(SentLife),
	}
	k := Sending{
		ID: ident.New(now), AppID: app.ID, UserID: u.ID, Address: address, Channel: r.Channel, Action: r.Action,
		CreatedAt: now, ExpiresAt: out.ExpiresAt, Message: s.NewMessage(out, now),
	}
	k.Message.Trace = trace.Parent(ctx)
	k.Send = s.limited(app, k, r.IP)
	k.Hash = s.sentHash(k.ID, out.Code)
	rec := audit.New(now, app.ID, "app:"+app.ID, "code.sent", "user:"+u.ID).Noting(string(r.Channel) + " to " + tenant.MaskAddress(address))
	if err := s.Store.KeepSentCode(ctx, k, rec); err != nil {
		return Sent{}, err
	}
	s.Offer(k.Message)
	s.countSent(app.ID, r.Channel)
	return Sent{ID: k.ID}, nil
}

// limited returns what the limits of sending look at (T-30).
func (s *Service) limited(app tenant.Application, k Sending, ip string) sending.Send {
	return sending.Send{
		ID: k.ID, AccountID: app.AccountID, AppID: app.ID, AppName: app.Name, To: k.Address, Channel: string(k.Channel), IP: ip, At: k.CreatedAt,
		Limits: app.Settings.Sending, Alert: s.Alert,
	}
}

// impossible is what is told when no gateway is set up for a channel.
var impossible = map[Channel]error{SMS: ErrNoSMS, Voice: ErrNoVoice, Email: ErrNoEmail}

// addressFor returns where the user is reached by the channel, if the application may use it.
func addressFor(c Channel, set tenant.Settings, u tenant.User) (address string, err error) {
	switch c {
	case SMS:
		address = u.Phone
		if !set.SMSEnabled {
			return "", ErrSMSOff
		}
	case Voice:
		address = u.Phone
		if set.CallsOff {
			return "", ErrVoiceOff
		}
	case Email:
		address = u.Email
	}
	if address == "" {
		return "", ErrNoAddress
	}
	return address, nil
}
