package device

import (
	"context"
	"encoding/json"
	"errors"
	"time"
	"unicode/utf8"

	"countersign.dev/client/token"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/tenant"
)

// This file owns registration without personal data (contract section 3.8): an application signs a token that names somebody by a word of its own,
// and shows it; whoever opens it gets a ticket for that user, who is made if need be. A token makes one device, like a ticket.

// Errors of a registration.
var (
	ErrToken        = fault.New(fault.Invalid, "token-invalid", "This is no registration link of an application here. Ask the application for a new one.")
	ErrTokenExpired = fault.New(fault.Gone, "token-expired", "This registration link has ended. Ask the application for a new one.")
	ErrRegistration = fault.New(fault.NotFound, "registration-unknown", "Registration request not found")
)

// Bounds of a token.
const (
	TokenLife   = 24 * time.Hour // it may still be valid for so long
	tokenEarly  = 5 * time.Minute
	maxCustomID = 255 // characters
)

// Registered is somebody whom a token named.
type Registered struct {
	AuthyID   int64
	Completed bool // has a device
}

// Registering is a registration on its way into its rows.
type Registering struct {
	User      tenant.User // to make, if there is none by that name
	CustomID  string
	TokenHash string
	IssuedAt  time.Time
	Ticket    StoredTicket // its user is the store's to fill in
}

// claims are what a token says.
type claims struct {
	IssuedAt int64 `json:"iat"`
	Expires  int64 `json:"exp"`
	Context  struct {
		CustomUserID json.RawMessage `json:"custom_user_id"`
		AppID        json.RawMessage `json:"authy_app_id"`
	} `json:"context"`
}

// word reads what may stand as text or as a number.
func word(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil {
		return n.String()
	}
	return ""
}

// Register returns a ticket for the user that a token names. It reports ErrToken, ErrTokenExpired, and ErrTicket for a token that was used.
func (s *Service) Register(ctx context.Context, signed string) (Ticket, error) {
	raw, err := token.Read(signed)
	if err != nil {
		return Ticket{}, ErrToken
	}
	var c claims
	if json.Unmarshal(raw, &c) != nil {
		return Ticket{}, ErrToken
	}
	app, keys, err := s.keysOf(ctx, word(c.Context.AppID))
	if err != nil {
		return Ticket{}, err
	}
	if _, err := token.Verify(signed, keys...); err != nil {
		return Ticket{}, ErrToken
	}
	// From here on the application says so.
	now, issued, expires := s.Now(), time.Unix(c.IssuedAt, 0), time.Unix(c.Expires, 0)
	custom := word(c.Context.CustomUserID)
	switch n := utf8.RuneCountInString(custom); {
	case n < 1 || n > maxCustomID || !utf8.ValidString(custom) || issued.After(now.Add(tokenEarly)) || expires.After(now.Add(TokenLife)):
		return Ticket{}, ErrToken
	case !now.Before(expires):
		return Ticket{}, ErrTokenExpired
	}
	t, stored := s.DrawTicket(app, tenant.User{}) // whose it is, the store knows
	return t, s.Store.Register(ctx, Registering{
		User:     tenant.User{ID: ident.New(now), AppID: app.ID, AuthyID: ident.Number(), CreatedAt: now},
		CustomID: custom, TokenHash: s.Ring.Hash("registration token", signed), IssuedAt: issued, Ticket: stored,
	}, audit.New(now, app.ID, "app:"+app.ID, "user.added", "").Noting("by a registration token"), audit.New(now, app.ID, "app:"+app.ID, "ticket.created", "").Noting("by a registration token"))
}

// keysOf returns an application by its number or id, and the keys that may sign its tokens. None is ErrToken, like a wrong signature.
func (s *Service) keysOf(ctx context.Context, name string) (tenant.Application, []string, error) {
	app, keys, err := s.Keys(ctx, name)
	if errors.Is(err, tenant.ErrApplication) {
		err = ErrToken
	}
	return app, keys, err
}

// Registration returns what became of the registration of somebody whom the application names so. ErrRegistration.
func (s *Service) Registration(ctx context.Context, app tenant.Application, customID string) (Registered, error) {
	return s.Store.Registration(ctx, app.ID, customID)
}
