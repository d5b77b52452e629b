// Package tenant owns who uses the service: accounts, their operators and
// applications, the applications' API keys and settings, and their users.
//
// An application sees only its own users (INV-11): every look-up here takes the
// application, and what belongs to another one is not found.
package tenant

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"countersign.dev/internal/fault"
)

// Errors that this package reports.
var (
	ErrKey           = fault.New(fault.Unauthenticated, "key-invalid", "Invalid API key")
	ErrUser          = fault.New(fault.NotFound, "user-unknown", "User not found.")
	ErrUserInvalid   = fault.New(fault.Invalid, "user-invalid", "User was not valid")
	ErrApplication   = fault.New(fault.NotFound, "application-unknown", "There is no such application.")
	ErrCallbackURL   = fault.New(fault.Invalid, "callback-url-invalid", "A callback URL is an absolute http or https address without user name and fragment.")
	ErrCallbackQuery = fault.New(fault.Invalid, "callback-query", "An address that is called by GET has no query of its own: the decision is told there.")
	ErrOriginHost    = fault.New(fault.Invalid, "origin-host-invalid", "A site is a host name such as login.example.com, without port and path.")
	ErrLogo          = fault.New(fault.Invalid, "logo-address-invalid", "A logo is an absolute https address of at most 500 characters.")
	ErrName          = fault.New(fault.Invalid, "name-invalid", "An application's name has 1 to 30 characters.")
)

// Account is who runs applications; its owner hears of disabled callbacks.
type Account struct {
	ID, Name, OwnerEmail string
	CreatedAt            time.Time
}

// Application is what integrates us.
type Application struct {
	ID        string // 24 hex digits
	Serial    int64  // the number that Authy clients know as app_id
	AccountID string
	Name      string
	Settings  Settings
	Callback  Callback
	CreatedAt time.Time
}

// Callback is where an application hears of decisions, and how that goes (design section 3, step 7).
type Callback struct {
	URL            string // "" when never set, or blanked after the third strike
	Version        int64  // changes with each new URL; a late answer to an old address changes nothing
	Strikes        int    // HTTP errors in a row
	DisabledAt     time.Time
	DisabledReason string
}

// StrikesToDisable is how many HTTP errors in a row blank the callback's URL.
const StrikesToDisable = 3

// HoldFor is how long deliveries wait for a new URL after a callback was disabled.
const HoldFor = 24 * time.Hour

// User is someone within one application.
type User struct {
	ID          string // 24 hex digits
	AppID       string
	AuthyID     int64 // unique within the application
	CountryCode int
	Phone       string // E.164
	Email       string // the first one given
	Confirmed   bool   // gave at least one right code to the application
	CreatedAt   time.Time
}

// National returns the phone number without its country calling code.
func (u User) National() string {
	return strings.TrimPrefix(u.Phone, "+"+strconv.Itoa(u.CountryCode))
}

// MaskedPhone keeps the last four digits of the national number: XXX-XXX-9302 (contract section 3.2).
func (u User) MaskedPhone() string {
	n := []byte(u.National())
	for i := range max(len(n)-4, 0) {
		n[i] = 'X'
	}
	return Grouped(string(n))
}

// Grouped writes a national number in groups of four, three, three… counted from the right, with dashes between.
func Grouped(national string) string {
	groups := []string{}
	for size := 4; national != ""; size = 3 {
		cut := max(len(national)-size, 0)
		groups = append([]string{national[cut:]}, groups...)
		national = national[:cut]
	}
	return strings.Join(groups, "-")
}

// MaskedCell is the form of the code-sending answers, whatever the number's length: +1-XXX-XXX-XX02 (contract section 4.2).
func (u User) MaskedCell() string {
	n := u.National()
	return "+" + strconv.Itoa(u.CountryCode) + "-XXX-XXX-XX" + n[max(len(n)-2, 0):]
}

// MaskAddress keeps of a phone number its calling code and last two digits, and of a mail address its first letter and its domain: what an
// operator needs to recognise it, and nobody else can use.
func MaskAddress(address string) string {
	if local, domain, ok := strings.Cut(address, "@"); ok {
		first, _ := utf8.DecodeRuneInString(local)
		return string(first) + "…@" + domain
	}
	code := ""
	if _, cc, ok := ParseE164(address); ok {
		code = "+" + strconv.Itoa(cc) + " "
	}
	return code + "…" + address[max(len(address)-2, 0):]
}
