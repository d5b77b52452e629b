package tenant

import (
	"context"
	"encoding/json"
	"net/mail"
	"net/netip"
	"strings"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
)

// This file owns what an application tells and asks about a user beside adding and removing: the mail address,
// activities, and the phone number in full.

// Errors about a user's data.
var (
	ErrEmail        = fault.New(fault.Invalid, "email-address-invalid", "Email is invalid")
	ErrActivity     = fault.New(fault.Invalid, "activity-invalid", "Activity could not be created: type is one of password_reset, banned, unbanned, cookie_login")
	ErrActivityData = fault.New(fault.Invalid, "activity-data-invalid", "Invalid parameter: data - At most 4 KiB")
	ErrExportPhones = fault.New(fault.Forbidden, "phone-export-off", "Phone number export is disabled")
	ErrNoPhone      = fault.New(fault.Invalid, "user-without-phone", "Phone number is invalid")
)

// Activities are kept so many for each user, for so long, and with so much of what the application says about them.
const (
	ActivitiesMax  = 100
	ActivityLife   = 180 * 24 * time.Hour
	activityMaxRaw = 4 << 10
)

// activityTypes are those of contract section 3.5.
var activityTypes = map[string]bool{"password_reset": true, "banned": true, "unbanned": true, "cookie_login": true}

// Activity is something that happened to a user in the application, as the application tells it. It changes nothing here.
type Activity struct {
	ID, AppID, UserID string
	At                time.Time
	Type              string
	Data              json.RawMessage // "null" when none was given
	IP                string          // of the user; "" when not told, or no address
}

// SetEmail gives the user another first mail address: the one that is shown, and that codes are sent to.
func (s *Service) SetEmail(ctx context.Context, app Application, u User, email string) error {
	address, ok := ParseEmail(email)
	if !ok {
		return ErrEmail
	}
	now := s.Now()
	rec := audit.New(now, app.ID, "app:"+app.ID, "user.email_changed", "user:"+u.ID)
	return s.Store.SetEmail(ctx, app.ID, u.ID, address, now, rec)
}

// RegisterActivity keeps an activity and records it.
func (s *Service) RegisterActivity(ctx context.Context, app Application, u User, a Activity) error {
	if !activityTypes[a.Type] {
		return ErrActivity
	}
	if len(a.Data) > activityMaxRaw {
		return ErrActivityData
	}
	now := s.Now()
	a.ID, a.AppID, a.UserID, a.At = ident.New(now), app.ID, u.ID, now
	rec := audit.New(now, app.ID, "app:"+app.ID, "activity."+a.Type, "user:"+u.ID)
	if ip, err := netip.ParseAddr(a.IP); err == nil {
		a.IP = ip.WithZone("").String()
		rec = rec.Noting("from " + a.IP)
	} else {
		a.IP = ""
	}
	return s.Store.AddActivity(ctx, a, rec)
}

// ExportPhone allows an application to read the user's number in full, if its operator does, and records it.
func (s *Service) ExportPhone(ctx context.Context, app Application, u User) error {
	if !app.Settings.ExportPhones {
		return ErrExportPhones
	}
	if u.Phone == "" {
		return ErrNoPhone
	}
	return s.Store.Record(ctx, audit.New(s.Now(), app.ID, "app:"+app.ID, "user.phone_exported", "user:"+u.ID))
}

// ParseEmail returns a plain address (no display name, at most 254 bytes) as it was typed but for spaces around it.
func ParseEmail(s string) (string, bool) {
	s = strings.TrimSpace(s)
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > 254 || strings.ContainsAny(s, " \t\r\n\"") {
		return "", false
	}
	return s, true
}
