// Package transfer owns moving an application's users in from a file, as when a team leaves Authy, and out again.
//
// A file is read line by line into rows (Reader), rows go to the database in batches (Import, Service.Import), and what
// cannot be taken is told with its line and the reason. There is no note of how far an import is: a row whose user is
// there already, and is the same, is counted and passed over. So an import that was killed goes on when the same
// command runs again, and running it once more changes nothing.
package transfer

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/ident"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/tenant"
)

// How many users travel and commit together.
const (
	BatchSize = 1000 // where a server runs meanwhile: it waits for a batch at most
	// BatchMax is for a SQLite file that nobody else uses. The indexes of ids and numbers are touched at random, so that a thousand users change nearly
	// as many pages of each as ten thousand do.
	BatchMax = 10_000
)

// Errors that this package reports.
var (
	ErrBatch = fault.New(fault.Invalid, "batch-invalid", "That is no batch of users of this version.")

	errSecretsOff = otp.ErrGenericOff.Saying("The file has secrets of other authenticator apps, whose codes this application does not take: " +
		"turn that on first (countersign app switch APP generic_tokens on), or leave the secrets out.")
	errExportOff = otp.ErrExportOff.Saying("This application does not let secrets out: turn that on first (countersign app switch APP export_secrets on).")
)

// Row is one user of a file, in the one form that the database knows.
type Row struct {
	Line        int64   `json:"line,omitempty"` // of the file
	AuthyID     int64   `json:"authy_id"`
	CountryCode int     `json:"country_code"`
	Phone       string  `json:"phone"` // E.164
	Email       string  `json:"email,omitempty"`
	Secret      *Secret `json:"secret,omitempty"`
}

// Secret is what the user's other authenticator app makes codes of, by HMAC-SHA-1.
type Secret struct {
	Key    []byte         `json:"key"`
	Digits int            `json:"digits"`
	Period tenant.Seconds `json:"period"`
}

// Refusal says why a row was not taken. It carries nothing of the row but its authy_id.
type Refusal struct {
	Line    int64  `json:"line"`
	AuthyID int64  `json:"authy_id,omitempty"` // 0: the row has none that can be read
	Code    string `json:"code"`
	Reason  string `json:"reason"`
}

// Imported says what became of rows.
type Imported struct {
	Added   int64     `json:"added"`
	Same    int64     `json:"same"` // were there already
	Refused []Refusal `json:"refused,omitempty"`
}

// NewUser is a user on the way into the database.
type NewUser struct {
	tenant.User
	Secret *NewSecret
}

// NewSecret is a secret on the way into its row.
type NewSecret struct {
	Draw   func() (id int64, sealed []byte) // a fresh number, and the secret bound to it
	Digits int
	Period tenant.Seconds
}

// Held is a user of the database.
type Held struct {
	tenant.User
	Removed bool
	Secret  *otp.AppSecret // the one in use
}

// Store is what this package needs to keep. Each writes its audit record in the transaction of what it tells of (INV-10).
type Store interface {
	// ImportUsers adds the users whose authy_id and phone are free in their application, in their order, unless dry. For each
	// of the others it returns who has one or the other. The record is made when somebody was added.
	ImportUsers(ctx context.Context, users []NewUser, dry bool, record func(added, secrets int) audit.Record) (held [][]Held, err error)
	// ExportUsers returns the application's users with the next higher ids, at most limit. Nothing is recorded when there are none.
	ExportUsers(ctx context.Context, appID string, after int64, limit int, record func(users []Held) audit.Record) ([]Held, error)
}

// Service is the entrance to this package.
type Service struct {
	Store Store
	Ring  *seal.Ring
	Now   func() time.Time
}

// Import takes one batch in, in one transaction and with one audit record. With dry it only says what would become of it.
func (s *Service) Import(ctx context.Context, app tenant.Application, rows []Row, dry bool, actor string) (Imported, error) {
	var done Imported
	if len(rows) > BatchMax {
		return done, ErrBatch
	}
	now := s.Now()
	users := make([]NewUser, len(rows))
	for i, r := range rows {
		if !r.sound() {
			return done, ErrBatch
		}
		if r.Secret != nil && !app.Settings.GenericTokens {
			return done, errSecretsOff
		}
		users[i] = NewUser{
			User:   tenant.User{ID: ident.New(now), AppID: app.ID, AuthyID: r.AuthyID, CountryCode: r.CountryCode, Phone: r.Phone, Email: r.Email, CreatedAt: now},
			Secret: s.sealed(r.Secret),
		}
	}
	held, err := s.Store.ImportUsers(ctx, users, dry, func(added, secrets int) audit.Record {
		return audit.New(now, app.ID, actor, "users.imported", "application:"+app.ID).Noting(fmt.Sprintf("%d users, %d with a secret", added, secrets))
	})
	if err != nil {
		return done, err
	}
	for i, r := range rows {
		if len(held[i]) == 0 {
			done.Added++
			continue
		}
		refused, err := s.differs(r, held[i])
		switch {
		case err != nil:
			return done, err
		case refused == nil:
			done.Same++
		default:
			done.Refused = append(done.Refused, *refused)
		}
	}
	return done, nil
}

// sound reports whether the row has the form that Reader gives it.
func (r Row) sound() bool {
	national, ok := strings.CutPrefix(r.Phone, "+"+strconv.Itoa(r.CountryCode))
	email, isEmail := tenant.ParseEmail(r.Email)
	return r.AuthyID > 0 && r.AuthyID <= math.MaxInt32 &&
		ok && tenant.KnownCallingCode(r.CountryCode) && len(r.Phone) <= 16 && national != "" && strings.Trim(national, "0123456789") == "" &&
		(r.Email == "" || isEmail && email == r.Email) && (r.Secret == nil || r.Secret.sound())
}

func (s *Secret) sound() bool {
	return len(s.Key) >= minKey && len(s.Key) <= maxKey && s.Digits >= minDigits && s.Digits <= maxDigits && s.Period >= minPeriod && s.Period <= maxPeriod
}

func (s *Service) sealed(secret *Secret) *NewSecret {
	if secret == nil {
		return nil
	}
	return &NewSecret{Digits: secret.Digits, Period: secret.Period, Draw: func() (int64, []byte) {
		id := ident.Number()
		return id, s.Ring.Seal(otp.GenericContext(id), secret.Key)
	}}
}

// differs says why a row cannot be taken beside who is there already; nil: it is the same user. What the row leaves out is no difference.
func (s *Service) differs(r Row, held []Held) (*Refusal, error) {
	refused := func(code, reason string) (*Refusal, error) {
		return &Refusal{Line: r.Line, AuthyID: r.AuthyID, Code: code, Reason: reason}, nil
	}
	for _, h := range held {
		switch {
		case h.AuthyID != r.AuthyID:
			return refused("phone-taken", fmt.Sprintf("the phone number belongs to the user with the authy_id %d", h.AuthyID))
		case h.Phone != r.Phone:
			return refused("authy-id-taken", "the authy_id belongs to a user with another phone number")
		case h.Removed:
			return refused("user-removed", "the user was removed here: the application can add them again, and gets the same authy_id")
		case r.Email != "" && h.Email != r.Email:
			return refused("email-differs", "the user is there already, with another e-mail address")
		case r.Secret != nil && h.Secret == nil:
			return refused("secret-differs", "the user is there already, without a secret")
		}
		if r.Secret == nil {
			continue
		}
		key, err := s.open(h.Secret)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(key, r.Secret.Key) || h.Secret.Digits != r.Secret.Digits || h.Secret.Period != r.Secret.Period {
			return refused("secret-differs", "the user is there already, with another secret")
		}
	}
	return nil, nil
}

func (s *Service) open(secret *otp.AppSecret) ([]byte, error) {
	key, err := s.Ring.Open(otp.GenericContext(secret.GenericID), secret.Sealed)
	if err != nil {
		return nil, fmt.Errorf("generic secret %d: %w", secret.GenericID, err)
	}
	return key, nil
}

// Export returns the application's users with the next higher ids after one, a batch at most; none are left when it returns none. Each
// batch is recorded. Secrets leave only when the operator asked for them and the application's settings allow it.
func (s *Service) Export(ctx context.Context, app tenant.Application, after int64, secrets bool, actor string) ([]Row, error) {
	if secrets && !app.Settings.ExportSecrets {
		return nil, errExportOff
	}
	held, err := s.Store.ExportUsers(ctx, app.ID, after, BatchSize, func(users []Held) audit.Record {
		with := 0
		for _, h := range users {
			if secrets && h.Secret != nil {
				with++
			}
		}
		return audit.New(s.Now(), app.ID, actor, "users.exported", "application:"+app.ID).Noting(fmt.Sprintf("%d users, %d with a secret", len(users), with))
	})
	if err != nil {
		return nil, err
	}
	rows := make([]Row, len(held))
	for i, h := range held {
		rows[i] = Row{AuthyID: h.AuthyID, CountryCode: h.CountryCode, Phone: h.Phone, Email: h.Email}
		if !secrets || h.Secret == nil {
			continue
		}
		key, err := s.open(h.Secret)
		if err != nil {
			return nil, err
		}
		rows[i].Secret = &Secret{Key: key, Digits: h.Secret.Digits, Period: h.Secret.Period}
	}
	return rows, nil
}
