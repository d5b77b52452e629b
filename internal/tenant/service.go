package tenant

import (
	"context"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/seal"
)

// This file owns the entrance: what is kept, making an application, and adding and removing its users.

// Store is what this package needs to keep. Methods that take an audit record
// write it in the transaction of the change (INV-10).
type Store interface {
	ApplicationByKeyHash(ctx context.Context, hash string, now time.Time) (Application, error)                    // ErrKey
	ApplicationAndUser(ctx context.Context, hash string, authyID int64, now time.Time) (Application, User, error) // ErrKey
	Application(ctx context.Context, accountID, appID string) (Application, error)                                // ErrApplication
	Applications(ctx context.Context, accountID string) ([]Application, error)                                    // by name
	CreateApplication(ctx context.Context, app Application, key Key, rec audit.Record) error                      //
	// ChangeSettings adds what change says to the record.
	ChangeSettings(ctx context.Context, accountID, appID string, change Change, rec audit.Record) error // ErrApplication, and what change reports
	// ChangeCallback is ChangeSettings with a new address, "" for none: it clears the strikes, raises the version and releases held deliveries.
	// It returns the released jobs, leased to the caller.
	ChangeCallback(ctx context.Context, accountID, appID, url string, change Change, now time.Time, rec audit.Record) ([]job.Job, error)
	// EndPause closes a breaker of sending, or reports sending.ErrNoPause.
	EndPause(ctx context.Context, appID, scope, place string, now time.Time, rec audit.Record) error
	SigningKey(ctx context.Context, appID string) (Key, error)                                            // ErrApplication
	AcceptedKeys(ctx context.Context, serial int64, id string, now time.Time) (Application, []Key, error) // ErrApplication
	LiveAPIKeys(ctx context.Context, appID string, now time.Time) ([]KeyInfo, error)                      // oldest first
	AddAPIKey(ctx context.Context, key Key, now time.Time, rec audit.Record) error                        // ErrRotating
	PromoteAPIKey(ctx context.Context, appID string, ends time.Time, rec audit.Record) error              // ErrNotRotating
	FinishAPIKey(ctx context.Context, appID string, now time.Time, rec audit.Record) error                // ErrNotRotating
	CancelAPIKey(ctx context.Context, appID string, now time.Time, rec audit.Record) error                // ErrNotRotating
	SigningKeys(ctx context.Context, appID string, now time.Time) ([]Signing, error)                      // that sign at now, newest first
	FirstSigningKey(ctx context.Context, k Signing) ([]Signing, error)                                    // of two at once one is kept, and both get it
	RotateSigningKey(ctx context.Context, k Signing, ends time.Time, rec audit.Record) error              // ErrSecretRotating
	EndSigningKey(ctx context.Context, appID string, now time.Time, rec audit.Record) error               // ErrSecretNotRotating
	Record(ctx context.Context, rec audit.Record) error

	// AddUser inserts the user, or finds the one with the same phone in the application, brings it back if it
	// was removed, and adds the e-mail address to it.
	AddUser(ctx context.Context, u User, rec audit.Record) (User, error)
	UserByAuthyID(ctx context.Context, appID string, authyID int64) (User, error) // ErrUser
	// RemoveUser also ends the user's grants, codes and pending approvals; it returns what must be woken.
	RemoveUser(ctx context.Context, appID string, authyID int64, now time.Time, rec audit.Record) (Removed, error) // ErrUser

	SetEmail(ctx context.Context, appID, userID, email string, now time.Time, rec audit.Record) error // ErrUser
	AddActivity(ctx context.Context, a Activity, rec audit.Record) error                              // ErrUser; keeps the user's newest ActivitiesMax

	Statistics(ctx context.Context, appID string, since Month) (Statistics, error) // months oldest first
}

// Removed says who waits for news after everything of a user ended.
type Removed struct {
	UserID    string
	Approvals []string // cancelled, by uuid
	DeviceIDs []string // lost a grant
}

// Wake tells them.
func (r Removed) Wake(hub *live.Hub) {
	topics := []live.Topic{live.UserTopic(r.UserID)}
	for _, uuid := range r.Approvals {
		topics = append(topics, live.ApprovalTopic(uuid))
	}
	for _, id := range r.DeviceIDs {
		topics = append(topics, live.DeviceTopic(id))
	}
	hub.Wake(topics...)
}

// Service is the entrance to this package.
type Service struct {
	Store Store
	Ring  *seal.Ring
	Live  *live.Hub
	Meter *Meter
	Now   func() time.Time
	// Offer hands a leased job to the runner.
	Offer func(...job.Job)
}

// CreateApplication makes an application with its first API key. Actor is for the audit record.
func (s *Service) CreateApplication(ctx context.Context, accountID, name string, set Settings, actor string) (Application, error) {
	name = strings.Join(strings.Fields(name), " ")
	if n := utf8.RuneCountInString(name); n < 1 || n > 30 || !utf8.ValidString(name) {
		return Application{}, ErrName
	}
	now := s.Now()
	app := Application{ID: ident.New(now), Serial: ident.Number(), AccountID: accountID, Name: name, Settings: set, CreatedAt: now}
	secret := newAPIKey()
	key := Key{ID: ident.New(now), AppID: app.ID, Hash: s.keyHash(secret)}
	key.Sealed = s.Ring.Seal(keyContext(key.ID), []byte(secret))
	rec := audit.New(now, app.ID, actor, "application.created", "application:"+app.ID).Noting(name)
	return app, s.Store.CreateApplication(ctx, app, key, rec)
}

// EndPause lets codes go to a country or prefix again before the pause is over.
func (s *Service) EndPause(ctx context.Context, app Application, scope, place, actor string) error {
	now := s.Now()
	return s.Store.EndPause(ctx, app.ID, scope, place, now, audit.New(now, app.ID, actor, "sending.resumed", scope+":"+place))
}

// NewUser is what an application tells about someone.
type NewUser struct {
	Email       string
	CountryCode string // calling code, with or without +; "" means 1 (contract section 3.1)
	Phone       string // dashes, dots, spaces and parentheses are tolerated
}

// AddUser registers someone with the application, or finds who is registered with that phone (contract section 3.1).
// Invalid input is ErrUserInvalid with its Fields set.
func (s *Service) AddUser(ctx context.Context, app Application, n NewUser) (User, error) {
	u, fields := n.check()
	if len(fields) > 0 {
		e := *ErrUserInvalid
		e.Fields = fields
		return User{}, &e
	}
	now := s.Now()
	u.ID, u.AppID, u.AuthyID, u.CreatedAt = ident.New(now), app.ID, ident.Number(), now
	rec := audit.New(now, app.ID, "app:"+app.ID, "user.added", "user:"+u.ID).Noting(u.MaskedPhone())
	kept, err := s.Store.AddUser(ctx, u, rec)
	if err == nil && kept.ID == u.ID {
		s.Meter.Count(app.ID, CountUsers)
	}
	return kept, err
}

// check validates and normalises; the texts are those of contract section 2.1.
func (n NewUser) check() (User, map[string]string) {
	fields := map[string]string{}
	email, ok := ParseEmail(n.Email)
	switch {
	case strings.TrimSpace(n.Email) == "":
		fields["email"] = "is invalid and can't be blank"
	case !ok:
		fields["email"] = "is invalid"
	}
	code := strings.TrimSpace(n.CountryCode)
	if code == "" {
		code = "1"
	}
	code = strings.TrimPrefix(code, "+")
	digits, err := strconv.ParseUint(code, 10, 16) // knows no second sign
	cc := int(digits)
	if err != nil || cc < 1 || cc > 999 || code[0] == '0' || phonenumbers.GetRegionCodeForCountryCode(cc) == "ZZ" {
		fields["country_code"] = "is not supported"
	}
	phone, ok := ParsePhone(cc, n.Phone)
	if !ok {
		fields["cellphone"] = "is invalid"
	}
	return User{CountryCode: cc, Phone: phone, Email: email}, fields
}

// User returns the application's user with that authy_id, or ErrUser.
func (s *Service) User(ctx context.Context, app Application, authyID int64) (User, error) {
	return s.Store.UserByAuthyID(ctx, app.ID, authyID)
}

// RemoveUser takes someone out of the application at once (contract section 3.3).
func (s *Service) RemoveUser(ctx context.Context, app Application, authyID int64) error {
	now := s.Now()
	rec := audit.New(now, app.ID, "app:"+app.ID, "user.removed", "")
	removed, err := s.Store.RemoveUser(ctx, app.ID, authyID, now, rec)
	if err != nil {
		return err
	}
	removed.Wake(s.Live)
	return nil
}
