package tenant

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/sending"
)

// This file owns an application's settings and the two sets of defaults of design section 9.

// MatchMode says whether an approval demands a number that the person reads on the screen where they log in.
type MatchMode string

const (
	MatchOff  MatchMode = "off"
	MatchType MatchMode = "type" // typed into the device
)

// Settings are what an operator decides for one application. They are kept as JSON, so that a
// setting added later works when absent.
type Settings struct {
	Match       MatchMode `json:"match"`
	MatchDigits int       `json:"match_digits"` // 2 to 6

	ApprovalLife    Seconds `json:"approval_life"`     // when the request names none
	ApprovalLifeMax Seconds `json:"approval_life_max"` // 0: any, also never expiring
	WaitingMax      int     `json:"waiting_max"`       // pending approvals of one user
	UnapprovedHour  int     `json:"unapproved_hour"`   // requests in an hour since the user last approved one
	UnapprovedBurst int     `json:"unapproved_burst"`  // the same in five minutes; 0: no such limit
	UnapprovedWaits bool    `json:"unapproved_waits"`  // each denial or expiry makes the next request wait longer

	CodeDigits int     `json:"code_digits"` // app codes
	CodePeriod Seconds `json:"code_period"`
	CodeSkew   int     `json:"code_skew"` // steps accepted either side of now
	SentDigits int     `json:"sent_digits"`
	SMSEnabled bool    `json:"sms_enabled"`
	CallsOff   bool    `json:"calls_off"`   // no codes by voice call
	OriginHost string  `json:"origin_host"` // of the site where sent codes are typed: named in text messages, so that browsers fill them in only there
	OneTouch   bool    `json:"onetouch_enabled"`
	Logo       string  `json:"logo"` // address of a picture: approvals that bring none show it

	Sending sending.Limits `json:"sending"` // countries, budgets and prices of codes by text, call and mail

	ResetWait Seconds `json:"reset_wait,omitempty"` // how long people can stop a reset that an operator allowed; 0: two days

	CallbackGet   bool `json:"callback_get"`     // decisions are told by GET instead of POST
	GenericTokens bool `json:"generic_tokens"`   // users may have the codes of another authenticator app
	ExportSecrets bool `json:"export_secrets"`   // the application may read those apps' secrets
	ExportPhones  bool `json:"export_phones"`    // the application may read phone numbers in full
	CustomCodes   bool `json:"custom_codes"`     // the application may choose the code of a phone verification
	AnyCodeAtOnce bool `json:"any_code_at_once"` // without force, any code is right for a user who never finished registration, as Authy had it
}

// Change changes settings as they stand inside the write, and says for the audit record what it did, or why it refuses. It may be
// called more than once, each time with settings read anew: it computes, and does nothing else.
type Change func(*Settings) (note string, err error)

// Seconds is a whole number of seconds in settings.
type Seconds int64

// Duration converts s.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// NewIntegration is what an application gets that is written against this service. Its page shows the number of an approval, as the login
// library's does.
func NewIntegration() Settings {
	return Settings{
		Match: MatchType, MatchDigits: 3,
		ApprovalLife: 120, ApprovalLifeMax: 600,
		WaitingMax: 3, UnapprovedHour: 10, UnapprovedBurst: 3, UnapprovedWaits: true,
		CodeDigits: 6, CodePeriod: 30, CodeSkew: 1, SentDigits: 6,
		SMSEnabled: true, OneTouch: true,
	}
}

// DropIn is what an application gets that was written for Authy and must not notice the change.
func DropIn() Settings {
	return Settings{
		Match: MatchOff, MatchDigits: 3,
		ApprovalLife: 86400, ApprovalLifeMax: 0,
		WaitingMax: 20, UnapprovedHour: 60,
		CodeDigits: 7, CodePeriod: 10, CodeSkew: 3, SentDigits: 7,
		SMSEnabled: true, OneTouch: true,
	}
}

// Switch is a setting that an operator turns on and off.
type Switch struct {
	Name     string // in forms and audit records
	field    func(*Settings) *bool
	inverted bool // the field says off
	Weakens  bool // reveals something, or accepts more, when it is on: asks who turns it on
}

// Switches are all of them, in the order in which they are shown.
var Switches = []Switch{
	{Name: "approvals", field: func(s *Settings) *bool { return &s.OneTouch }},
	{Name: "sms", field: func(s *Settings) *bool { return &s.SMSEnabled }},
	{Name: "calls", field: func(s *Settings) *bool { return &s.CallsOff }, inverted: true},
	{Name: "generic_tokens", field: func(s *Settings) *bool { return &s.GenericTokens }, Weakens: true},
	{Name: "custom_codes", field: func(s *Settings) *bool { return &s.CustomCodes }, Weakens: true},
	{Name: "export_phones", field: func(s *Settings) *bool { return &s.ExportPhones }, Weakens: true},
	{Name: "export_secrets", field: func(s *Settings) *bool { return &s.ExportSecrets }, Weakens: true},
	{Name: "any_code_at_once", field: func(s *Settings) *bool { return &s.AnyCodeAtOnce }, Weakens: true},
}

// On reports whether the switch is on in s.
func (w Switch) On(s Settings) bool { return *w.field(&s) != w.inverted }

// Turn turns the switch in s.
func (w Switch) Turn(s *Settings, on bool) { *w.field(s) = on != w.inverted }

// change changes an application's settings, with a record of what.
func (s *Service) change(ctx context.Context, app Application, what, actor string, change Change) error {
	return s.Store.ChangeSettings(ctx, app.AccountID, app.ID, change, audit.New(s.Now(), app.ID, actor, what, "application:"+app.ID))
}

// SetSwitches turns the switches that are named, and leaves the others as they are.
func (s *Service) SetSwitches(ctx context.Context, app Application, on map[string]bool, actor string) error {
	return s.change(ctx, app, "settings.switches", actor, func(set *Settings) (string, error) {
		var changed []string
		for _, w := range Switches {
			on, named := on[w.Name]
			if !named || on == w.On(*set) {
				continue
			}
			w.Turn(set, on)
			changed = append(changed, w.Name+map[bool]string{true: " on", false: " off"}[on])
		}
		return strings.Join(changed, ", "), nil
	})
}

// SetMatch turns number match on or off for an application's new approvals.
func (s *Service) SetMatch(ctx context.Context, app Application, mode MatchMode, digits int, actor string) error {
	if mode != MatchOff && mode != MatchType || digits < 2 || digits > 6 {
		return fault.New(fault.Invalid, "match-invalid", "Number match is off, or typed with 2 to 6 digits.")
	}
	return s.change(ctx, app, "settings.match", actor, func(set *Settings) (string, error) {
		set.Match, set.MatchDigits = mode, digits
		return fmt.Sprintf("%s, %d digits", mode, digits), nil
	})
}

// SetSending gives an application its limits of sending.
func (s *Service) SetSending(ctx context.Context, app Application, l sending.Limits, actor string) error {
	if err := l.Check(); err != nil {
		return err
	}
	return s.change(ctx, app, "settings.sending", actor, func(set *Settings) (string, error) {
		set.Sending = l
		return "countries: " + cmp.Or(l.Countries, "none"), nil
	})
}

// SetResetWait says how long an application's people can stop a reset that an operator allowed.
func (s *Service) SetResetWait(ctx context.Context, app Application, hours int, actor string) error {
	if hours < 1 || hours > 336 {
		return fault.New(fault.Invalid, "reset-wait-invalid", "The wait is a whole number of hours, from 1 to 336.")
	}
	return s.change(ctx, app, "settings.reset_wait", actor, func(set *Settings) (string, error) {
		set.ResetWait = Seconds(hours) * 3600
		return fmt.Sprint(hours, " hours"), nil
	})
}

// SetSite names the host of the page where people type sent codes; "" names none.
func (s *Service) SetSite(ctx context.Context, app Application, host, actor string) error {
	host = strings.ToLower(strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(host), "https://"), "/"))
	if host != "" && !hostName.MatchString(host) {
		return ErrOriginHost
	}
	return s.change(ctx, app, "settings.site", actor, func(set *Settings) (string, error) {
		set.OriginHost = host
		return host, nil
	})
}

// SetLogo names the picture that approvals show which bring none; "" names none.
func (s *Service) SetLogo(ctx context.Context, app Application, address, actor string) error {
	address = strings.TrimSpace(address)
	if u, ok := ParseReceiver(address); address != "" && (!ok || u.Scheme != "https") {
		return ErrLogo
	}
	return s.change(ctx, app, "settings.logo", actor, func(set *Settings) (string, error) {
		set.Logo = address
		return address, nil
	})
}

// hostName is a domain as a text message can name it: no port, no path (wicg.github.io/sms-one-time-codes).
var hostName = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
