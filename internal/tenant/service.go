package tenant

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/mail"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nyaruka/phonenumbers"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/job"
	"countersign.dev/internal/live"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/sending"
)

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

// Key is an API key as it is kept: found by keyed hash, and sealed because callbacks are signed with it.
type Key struct {
	ID, AppID, Hash string
	Sealed          []byte
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

const keyAlphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// newAPIKey returns 32 random alphanumeric characters (contract section 1.2), about 190 bits.
func newAPIKey() string {
	key := make([]byte, 0, 32)
	var b [64]byte
	for len(key) < 32 {
		rand.Read(b[:])
		for _, v := range b {
			if v < 248 && len(key) < 32 { // 248 = 4·62: every character equally likely
				key = append(key, keyAlphabet[v%62])
			}
		}
	}
	return string(key)
}

func (s *Service) keyHash(key string) string { return s.Ring.Hash("api key", key) }

func keyContext(id string) string { return "api_keys.sealed:" + id }

// Authenticate returns the application that the API key belongs to, or ErrKey.
func (s *Service) Authenticate(ctx context.Context, key string) (Application, error) {
	if !maybeKey(key) {
		return Application{}, ErrKey
	}
	return s.Store.ApplicationByKeyHash(ctx, s.keyHash(key), s.Now())
}

// AuthenticateFor is Authenticate for a request about a user; the user is the zero value when the application has none with that authy_id.
func (s *Service) AuthenticateFor(ctx context.Context, key string, authyID int64) (Application, User, error) {
	if !maybeKey(key) {
		return Application{}, User{}, ErrKey
	}
	return s.Store.ApplicationAndUser(ctx, s.keyHash(key), authyID, s.Now())
}

func maybeKey(key string) bool { return len(key) > 0 && len(key) <= 64 }

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

// RevealKey returns the application's API key to an operator, and records that it was shown.
func (s *Service) RevealKey(ctx context.Context, app Application, actor string) (string, error) {
	key, err := s.APIKey(ctx, app.ID)
	if err != nil {
		return "", err
	}
	rec := audit.New(s.Now(), app.ID, actor, "api_key.shown", "application:"+app.ID)
	return key, s.Store.Record(ctx, rec)
}

// APIKey returns the key that signs the application's callbacks.
func (s *Service) APIKey(ctx context.Context, appID string) (string, error) {
	key, err := s.Store.SigningKey(ctx, appID)
	if err != nil {
		return "", err
	}
	return s.OpenKey(key)
}

// OpenKey returns a kept API key in the clear.
func (s *Service) OpenKey(k Key) (string, error) {
	plain, err := s.Ring.Open(keyContext(k.ID), k.Sealed)
	return string(plain), err
}

// AcceptedKeys returns an application by its number or id, with the keys that are accepted from it. ErrApplication.
func (s *Service) AcceptedKeys(ctx context.Context, name string) (Application, []string, error) {
	serial, err := strconv.ParseInt(name, 10, 64)
	if err != nil {
		serial = 0 // nobody's
	}
	app, kept, err := s.Store.AcceptedKeys(ctx, serial, name, s.Now())
	if err != nil {
		return app, nil, err
	}
	keys := make([]string, len(kept))
	for i, k := range kept {
		if keys[i], err = s.OpenKey(k); err != nil {
			return app, nil, err
		}
	}
	return app, keys, nil
}

// SetCallback gives the application's callback a new address ("" turns it off), which also enables it again and releases what was
// held. It is called as before.
func (s *Service) SetCallback(ctx context.Context, accountID, appID, address, actor string) error {
	return s.setCallback(ctx, accountID, appID, address, actor, func(set Settings) bool { return set.CallbackGet })
}

// SetCallbackAndMethod is SetCallback that also says how the address is called: by GET, with everything in the query, or by POST.
func (s *Service) SetCallbackAndMethod(ctx context.Context, accountID, appID, address string, get bool, actor string) error {
	if strings.TrimSpace(address) == "" {
		return ErrCallbackURL
	}
	return s.setCallback(ctx, accountID, appID, address, actor, func(Settings) bool { return get })
}

func (s *Service) setCallback(ctx context.Context, accountID, appID, address, actor string, byGet func(Settings) bool) error {
	address = strings.TrimSpace(address)
	if _, ok := ParseReceiver(address); address != "" && !ok {
		return ErrCallbackURL
	}
	change := func(set *Settings) (note string, err error) {
		get := byGet(*set)
		if get && strings.Contains(address, "?") {
			return "", ErrCallbackQuery
		}
		if note = address; get != set.CallbackGet {
			note += " by " + map[bool]string{true: "GET", false: "POST"}[get]
		}
		set.CallbackGet = get
		return note, nil
	}
	now := s.Now()
	rec := audit.New(now, appID, actor, "callback.set", "application:"+appID)
	released, err := s.Store.ChangeCallback(ctx, accountID, appID, address, change, now, rec)
	if err != nil {
		return err
	}
	s.Offer(released...)
	return nil
}

// ParseReceiver reads the address of somebody who is told something: http or https, absolute, without user name and fragment, at most 500 bytes.
func ParseReceiver(address string) (*url.URL, bool) {
	u, err := url.Parse(address)
	return u, err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.Fragment == "" && len(address) <= 500
}

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

// EndPause lets codes go to a country or prefix again before the pause is over.
func (s *Service) EndPause(ctx context.Context, app Application, scope, place, actor string) error {
	now := s.Now()
	return s.Store.EndPause(ctx, app.ID, scope, place, now, audit.New(now, app.ID, actor, "sending.resumed", scope+":"+place))
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

// ParseEmail returns a plain address (no display name, at most 254 bytes) as it was typed but for spaces around it.
func ParseEmail(s string) (string, bool) {
	s = strings.TrimSpace(s)
	a, err := mail.ParseAddress(s)
	if err != nil || a.Address != s || len(s) > 254 || strings.ContainsAny(s, " \t\r\n\"") {
		return "", false
	}
	return s, true
}

// ParsePhone returns the E.164 form of a national number under a country calling code.
// Letters, extensions and impossible lengths are refused.
func ParsePhone(countryCode int, national string) (string, bool) {
	digits := strings.Map(func(r rune) rune {
		switch r {
		case ' ', '-', '.', '(', ')', '\u00a0':
			return -1
		}
		return r
	}, national)
	if digits == "" || len(digits) > 15 || strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) >= 0 {
		return "", false
	}
	phone, ok := canonicalPhone("+" + strconv.Itoa(countryCode) + digits)
	if !ok || phonenumbers.GetRegionCodeForCountryCode(countryCode) == "ZZ" { // digits that complete another code: 88 and 0… is Bangladesh's 880
		return "", false
	}
	return phone, true
}

// ParseE164 returns the canonical form of a full international number (+ and digits; punctuation as in ParsePhone)
// and its country calling code.
func ParseE164(full string) (phone string, countryCode int, ok bool) {
	full = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -.()\u00a0", r) {
			return -1
		}
		return r
	}, full)
	if len(full) < 5 || len(full) > 16 || full[0] != '+' || strings.IndexFunc(full[1:], func(r rune) bool { return r < '0' || r > '9' }) >= 0 {
		return "", 0, false
	}
	phone, ok = canonicalPhone(full)
	if !ok {
		return "", 0, false
	}
	n, err := phonenumbers.Parse(phone, "")
	return phone, int(n.GetCountryCode()), err == nil
}

// canonicalPhone returns the one form of a full number. A number whose form would read as another number, because zeros in
// front were taken for a trunk prefix once more, is refused: whoever has it could not be found by it.
func canonicalPhone(full string) (string, bool) {
	phone, ok := formatPhone(full)
	if !ok || phone == full { // in its one form already: reading it once more would say the same, and reading is slow
		return phone, ok
	}
	if again, ok := formatPhone(phone); !ok || again != phone {
		return "", false
	}
	return phone, true
}

func formatPhone(full string) (string, bool) {
	n, err := phonenumbers.Parse(full, "")
	// Not IsPossibleNumber, which takes a number without its area code too: nobody could be reached there.
	if err != nil || phonenumbers.IsPossibleNumberWithReason(n) != phonenumbers.IS_POSSIBLE {
		return "", false
	}
	return phonenumbers.Format(n, phonenumbers.E164), true
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
