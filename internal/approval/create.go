package approval

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"

	"countersign.dev/client/receipt"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/live"
	"countersign.dev/internal/tenant"
	"countersign.dev/internal/trace"
)

// This file owns steps 1 to 4 of the journey: what an application may ask for, and how it becomes a row.

// Request is what an application asks a user to decide.
type Request struct {
	Message        string
	Details        []receipt.Field
	Hidden         []receipt.Field // never shown, returned with the decision
	Logos          []Logo
	Life           *int64           // seconds; nil = the application's default, 0 = never expires
	Context        receipt.Context  // where it was started, as the application tells
	Match          tenant.MatchMode // "" = the application's setting; a request may only ask for more
	IdempotencyKey string           // the same key returns the first approval for 24 hours
}

// IdempotencyLife is how long an Idempotency-Key is remembered.
const IdempotencyLife = 24 * time.Hour

// Create makes an approval and wakes the user's devices.
func (s *Service) Create(ctx context.Context, app tenant.Application, u tenant.User, req Request) (Approval, error) {
	if !app.Settings.OneTouch {
		return Approval{}, ErrOff
	}
	now := s.Now()
	a, err := s.rules(ctx, app, u, req, now)
	if err != nil {
		return Approval{}, err
	}
	a.Trace = trace.Parent(ctx)
	creation := Creation{Approval: a, Settings: app.Settings, Push: s.push(app.ID, a.UUID, a.Trace, now), Now: now}
	if req.IdempotencyKey != "" {
		creation.IdempotencyHash = s.Ring.Hash("idempotency key", app.ID+":"+req.IdempotencyKey)
		creation.RequestHash = s.Ring.Hash("idempotent request", fmt.Sprintf("%q %d", []any{u.ID, req.Message, req.Details, req.Hidden, req.Logos, a.Match.Mode, req.Context}, a.Life))
	}
	rec := audit.New(now, app.ID, "app:"+app.ID, "approval.created", "approval:"+a.UUID)
	writing, span := trace.Start(ctx, "approval.transaction", attribute.String("approval", a.UUID))
	kept, jobs, err := s.Store.CreateApproval(writing, creation, rec)
	span.End(err)
	if err != nil {
		return Approval{}, err
	}
	if kept.UUID == a.UUID { // not one that was asked for before
		s.changed(Pending, 0, 1)
	}
	_, span = trace.Start(ctx, "approval.wake", attribute.Int("pushes", len(jobs)))
	s.Live.Wake(live.UserTopic(u.ID)) // open streams first
	s.Offer(jobs...)
	span.End(nil)
	return kept.At(now), nil
}

// rules asks what may be asked for, and fetches the picture that is shown.
func (s *Service) rules(ctx context.Context, app tenant.Application, u tenant.User, req Request, now time.Time) (Approval, error) {
	ctx, span := trace.Start(ctx, "approval.rules")
	if logo := app.Settings.Logo; len(req.Logos) == 0 && logo != "" {
		req.Logos = []Logo{{Res: "default", URL: logo}} // inherited (contract section 12)
	}
	a, err := req.build(app, u, now)
	if shown := req.defaultLogo(); err == nil && shown != "" {
		a.Content.Logo = s.Logo(ctx, shown)
	}
	span.End(err)
	return a, err
}

func (r Request) build(app tenant.Application, u tenant.User, now time.Time) (Approval, error) {
	a := Approval{
		UUID: ident.UUID(), ID: ident.New(now), AppID: app.ID, AppSerial: app.Serial, UserID: u.ID, AuthyID: u.AuthyID, UserEmail: u.Email,
		Status: Pending, Hidden: r.Hidden, Logos: r.Logos, CreatedAt: now, UpdatedAt: now, Nonce: nonce(),
	}
	a.Content = receipt.Content{Application: app.Name, Message: cut(receipt.CleanText(r.Message), maxMessage), Details: r.Details, Context: r.Context}.Clean()
	if a.Content.Message == "" {
		return a, ErrInvalid.Saying("Invalid parameter: message - Parameter is required")
	}
	if err := checkFields("details", a.Content.Details); err != nil {
		return a, err
	}
	if err := checkFields("hidden_details", r.Hidden); err != nil {
		return a, err
	}
	if err := r.checkLogos(); err != nil {
		return a, err
	}
	if err := checkContext(a.Content.Context); err != nil {
		return a, err
	}
	if len(r.IdempotencyKey) > 255 {
		return a, ErrInvalid.Saying("Idempotency-Key has at most 255 characters.")
	}
	var err error
	if a.Life, err = life(app.Settings, r.Life); err != nil {
		return a, err
	}
	if a.Life > 0 {
		a.ExpiresAt = now.Add(time.Duration(a.Life) * time.Second)
	}
	a.Match, err = match(app.Settings, r.Match)
	return a, err
}

// cut keeps the first n characters of s.
func cut(s string, n int) string {
	for i := range s {
		if n == 0 {
			return strings.TrimSpace(s[:i])
		}
		n--
	}
	return s
}

func checkFields(name string, fields []receipt.Field) error {
	if len(fields) > maxFields {
		return ErrInvalid.Saying(fmt.Sprintf("Invalid parameter: %s - At most %d entries", name, maxFields))
	}
	for _, f := range fields {
		if utf8.RuneCountInString(f.Name) > maxField || utf8.RuneCountInString(f.Value) > maxField {
			return ErrInvalid.Saying(fmt.Sprintf("Invalid parameter: %s - Names and values have at most %d characters", name, maxField))
		}
	}
	return nil
}

// checkContext holds a clean context to what a device can show in a line, and nobody can read as something else (T-17): an address is one, an
// origin has no more than scheme, host and port, in ASCII, where look-alike letters stand as punycode.
func checkContext(c receipt.Context) error {
	if c.Address != "" && Address(c.Address) == "" {
		return ErrInvalid.Saying("Invalid parameter: context - ip is not a network address")
	}
	if c.Origin != "" {
		u, err := url.Parse(c.Origin)
		if err != nil || (u.Scheme != "https" && u.Scheme != "http") || u.Scheme+"://"+u.Host != c.Origin || len(c.Origin) > 200 || strings.IndexFunc(c.Origin, notOrigin) >= 0 {
			return ErrInvalid.Saying("Invalid parameter: context - origin is https://, a host name in ASCII, and perhaps a port")
		}
	}
	return nil
}

// notOrigin finds what no origin has.
func notOrigin(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune(":/.-[]", r)
}

// Address returns a network address in its usual form, "" when it is none.
func Address(s string) string {
	clean := receipt.Context{Address: s}.Clean().Address
	if _, err := netip.ParseAddr(clean); err != nil {
		return ""
	}
	return clean
}

// checkLogos holds to contract section 5.1: resolutions known, one of them "default", addresses short.
func (r Request) checkLogos() error {
	for _, l := range r.Logos {
		u, err := url.Parse(l.URL)
		if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") || len(l.URL) > maxLogoURL {
			return ErrLogo.Saying("Invalid parameter: logos - A logo's url is an absolute https address of at most 500 characters")
		}
		if !slices.Contains([]string{"default", "low", "med", "high"}, l.Res) {
			return ErrLogo.Saying("Invalid parameter: logos - res is one of default, low, med, high")
		}
	}
	if len(r.Logos) > 8 {
		return ErrLogo.Saying("Invalid parameter: logos - At most 8 logos")
	}
	if len(r.Logos) > 0 && r.defaultLogo() == "" {
		return ErrLogo.Saying("Invalid parameter: logos - One logo must have the res default")
	}
	return nil
}

func (r Request) defaultLogo() string {
	for _, l := range r.Logos {
		if l.Res == "default" {
			return l.URL
		}
	}
	return ""
}

// lifeMax bounds what can be asked for where the application's settings do not: ten years of seconds.
const lifeMax = 10 * 365 * 86400

func life(set tenant.Settings, asked *int64) (int64, error) {
	if asked == nil {
		return int64(set.ApprovalLife), nil
	}
	n, limit := *asked, int64(set.ApprovalLifeMax)
	switch {
	case n < 0 || n > lifeMax:
		return 0, ErrInvalid.Saying("Invalid parameter: seconds_to_expire - Out of range")
	case limit > 0 && (n == 0 || n > limit):
		return 0, ErrInvalid.Saying(fmt.Sprintf("Invalid parameter: seconds_to_expire - This application allows 1 to %d", limit))
	}
	return n, nil
}

// match applies the application's setting; a request may only ask for more than that.
func match(set tenant.Settings, asked tenant.MatchMode) (Match, error) {
	mode := set.Match
	switch asked {
	case "", tenant.MatchOff: // "off" cannot lower what the operator set
	case tenant.MatchType:
		mode = tenant.MatchType
	default:
		return Match{}, ErrInvalid.Saying("Invalid parameter: match - off or type")
	}
	if mode != tenant.MatchType {
		return Match{Mode: tenant.MatchOff}, nil
	}
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(set.MatchDigits)), nil)
	n, err := rand.Int(rand.Reader, limit)
	if err != nil {
		return Match{}, err
	}
	return Match{Mode: mode, Value: fmt.Sprintf("%0*d", set.MatchDigits, n)}, nil
}

func nonce() string {
	var b [16]byte
	rand.Read(b[:])
	return encode(b[:])
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
