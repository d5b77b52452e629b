// Package reporting owns what an application may ask about its past: events, and how many there were (contract section 11).
//
// An event is what Authy's reports called something that our audit record tells of. Nothing is kept for reports alone, so they say
// what that record says, no more, and a question reads at most [MaxRecords] of it.
package reporting

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/otp"
	"countersign.dev/internal/seal"
	"countersign.dev/internal/sending"
	"countersign.dev/internal/tenant"
)

// Bounds of a question.
const (
	MaxRecords  = 50_000              // records read for one answer, where the Service says no other number
	MaxPage     = 100                 // events on a page
	MaxBuckets  = 500                 // spans of time on a page
	MaxReports  = 10                  // in one histogram
	DefaultSpan = 30 * 24 * time.Hour // when the question names no beginning
)

// Errors of a question.
var (
	ErrQuery    = fault.New(fault.Invalid, "reporting-query-invalid", "Invalid reporting query")
	ErrInterval = fault.New(fault.Invalid, "reporting-interval-invalid", "Invalid reporting interval: minute, hour or day is expected")
	ErrReport   = fault.New(fault.Invalid, "reporting-report-invalid", "Invalid reporting report")
	ErrMany     = ErrQuery.Saying("Invalid reporting query: too much happened in that time, ask for a shorter one")
)

// told is what an audit record has to be for an event.
type told struct{ event, action, outcome string }

// catalogue are the events of contract section 10.4 that happen here.
var catalogue = slices.Concat([]told{
	{"user_added", "user.added", audit.OK},
	{"user_removed", "user.removed", audit.OK},
	{"suspended_account", "codes.suspended", audit.OK},
	{"totp_token_sent", "code.sent", audit.OK},
	{"token_verified", "code.verified", audit.OK},
	{"token_invalid", "code.verified", otp.ErrWrong.Code},
	{"token_invalid", "code.verified", otp.ErrUsed.Code},
	{"custom_message_not_allowed", "verification.started", otp.ErrCustomMessage.Code},
	{"one_touch_request_sent", "approval.created", audit.OK},
	{"one_touch_request_responded", "approval." + string(approval.Approved), audit.OK},
	{"one_touch_request_responded", "approval." + string(approval.Denied), audit.OK},
	{"device_registration_completed", "grant.created", audit.OK},
	{"user_registration_completed", "user.registered", audit.OK},
	{"account_recovery_started", "reset.asked", audit.OK},
	{"account_recovery_approved", "reset.allowed", audit.OK},
	{"account_recovery_canceled", "reset.stopped", audit.OK},
	{"account_recovery_canceled", "reset.refused", audit.OK},
	{"phone_verification_started", "verification.started", audit.OK},
	{"phone_verification_code_is_valid", "verification.checked", audit.OK},
	{"phone_verification_code_is_invalid", "verification.checked", otp.ErrVerificationWrong.Code},
	{"phone_verification_not_found", "verification.checked", otp.ErrVerificationNone.Code},
	{"too_many_code_verifications", "verification.suspended", audit.OK},
}, refusedStarts())

// refusedStarts are the refusals of a phone verification: there were too many, or that number cannot be verified.
func refusedStarts() (all []told) {
	for _, no := range sending.Refusals() {
		event := "phone_verification_failed"
		if no.Kind == fault.Limited {
			event = "too_many_phone_verifications"
		}
		all = append(all, told{event, "verification.started", no.Code})
	}
	return all
}

// elsewhere are the events of the contract's catalogue that have no occasion here: a user's number never changes, because it is what the user was added
// by, and removing somebody from an application deletes nothing of theirs in another one.
var elsewhere = []string{"user_phone_changed", "user_account_deleted", "phone_change_requested", "phone_change_pin_sent", "phone_change_canceled"}

// Events returns the names of all events that happen here, sorted.
func Events() []string {
	names := map[string]bool{}
	for _, c := range catalogue {
		names[c.event] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// Catalogue returns the names of all events that may be asked for, sorted: those that never happen here too, so that whoever asks for them is not refused.
func Catalogue() []string {
	return slices.Sorted(slices.Values(append(Events(), elsewhere...)))
}

// NameOf returns the event that a record tells of, "" for none.
func NameOf(r audit.Record) string {
	for _, c := range catalogue {
		if c.action == r.Action && c.outcome == r.Outcome {
			return c.event
		}
	}
	return ""
}

// Query is which events are meant: From inclusive, To exclusive.
type Query struct {
	From, To time.Time
	Event    string // "" is any
	AuthyID  int64  // of the user it is about; 0 is any
	UUID     string // of the approval or verification it is about; "" is any
	Request  string // request_id of the event; "" is any
}

// maxApprovals bounds how many approvals are looked at to find out whose they are.
const maxApprovals = 2000

// Event is something that happened, with what it was about as that is now. What does not apply, or is gone, is nil.
type Event struct {
	Name     string
	Record   audit.Record
	User     *tenant.User
	Approval *approval.Approval
	// Phone is the user's number as a keyed hash: the same number reads the same, and tells nothing else.
	Phone string
}

// Bucket is how many events began in one span of time.
type Bucket struct {
	At    time.Time
	Count int64
}

// Term is how many events bear a name.
type Term struct {
	Name  string
	Count int64
}

// Store is what this package reads.
type Store interface {
	// EachRecord calls each with at most limit of the application's audit records in [from, to), newest first, until it returns false, and
	// returns how many it called it with.
	EachRecord(ctx context.Context, appID string, from, to time.Time, limit int, each func(audit.Record) bool) (int, error)
	// UserIDOf returns the id of the application's user with that authy_id, removed or not: tenant.ErrUser.
	UserIDOf(ctx context.Context, appID string, authyID int64) (string, error)
	// UserByID finds the application's user, removed or not: tenant.ErrUser.
	UserByID(ctx context.Context, appID, userID string) (tenant.User, error)
	Approval(ctx context.Context, appID, uuid string) (approval.Approval, error) // approval.ErrUnknown
}

// Service is the entrance to this package.
type Service struct {
	Store Store
	Ring  *seal.Ring
	Now   func() time.Time
	Most  int // records read for one answer; 0 means MaxRecords
}

// each calls f with the events that are meant, newest first, until it returns false. ErrMany when not all could be read.
func (s *Service) each(ctx context.Context, app tenant.Application, q Query, f func(name string, r audit.Record) bool) error {
	if q.Event != "" && !slices.Contains(Events(), q.Event) {
		return nil // one that never happens here
	}
	about, err := s.about(ctx, app, q)
	if err != nil {
		return gone(err) // nobody's
	}
	most := cmp.Or(s.Most, MaxRecords)
	more, failed := true, error(nil)
	n, err := s.Store.EachRecord(ctx, app.ID, q.From, q.To, most+1, func(r audit.Record) bool {
		name := NameOf(r)
		if name == "" || q.Event != "" && q.Event != name {
			return true
		}
		meant, err := about(r)
		if failed = err; err != nil {
			return false
		}
		if meant {
			more = f(name, r)
		}
		return more
	})
	if err == nil {
		err = failed
	}
	if err == nil && more && n > most {
		err = ErrMany
	}
	return err
}

// about returns whether a record is about what is meant. Nothing but approvals has to be read for that: their records do not name the user.
func (s *Service) about(ctx context.Context, app tenant.Application, q Query) (func(audit.Record) (bool, error), error) {
	userID, read := "", 0
	if q.AuthyID != 0 {
		var err error
		if userID, err = s.Store.UserIDOf(ctx, app.ID, q.AuthyID); err != nil {
			return nil, err
		}
	}
	return func(r audit.Record) (bool, error) {
		uuid := r.Subject("approval")
		switch {
		case q.Request != "" && q.Request != r.ID, q.UUID != "" && q.UUID != uuid && q.UUID != r.Subject("verification"):
			return false, nil
		case userID == "" || uuid == "":
			return userID == "" || r.Subject("user") == userID, nil
		}
		if read++; read > maxApprovals {
			return false, ErrMany
		}
		a, err := s.Store.Approval(ctx, app.ID, uuid)
		return err == nil && a.UserID == userID, gone(err)
	}, nil
}

// Page returns a page of events, newest first; the first page is 1.
func (s *Service) Page(ctx context.Context, app tenant.Application, q Query, page, size int) ([]Event, error) {
	var found []Event
	skip := (page - 1) * size
	err := s.each(ctx, app, q, func(name string, r audit.Record) bool {
		if skip--; skip < 0 {
			found = append(found, Event{Name: name, Record: r})
		}
		return len(found) < size
	})
	if err != nil {
		return nil, err
	}
	for i := range found {
		if err := s.fill(ctx, &found[i]); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// Event returns the event that a record tells of, with what it was about.
func (s *Service) Event(ctx context.Context, r audit.Record) (Event, error) {
	e := Event{Name: NameOf(r), Record: r}
	return e, s.fill(ctx, &e)
}

// fill reads what an event was about.
func (s *Service) fill(ctx context.Context, e *Event) error {
	userID := e.Record.Subject("user")
	if uuid := e.Record.Subject("approval"); uuid != "" {
		a, err := s.Store.Approval(ctx, e.Record.AppID, uuid)
		if err != nil {
			return gone(err)
		}
		a = a.At(s.Now())
		e.Approval, userID = &a, a.UserID
	}
	if userID == "" {
		return nil
	}
	u, err := s.Store.UserByID(ctx, e.Record.AppID, userID)
	if err != nil {
		return gone(err)
	}
	e.User = &u
	if u.Phone != "" {
		e.Phone = s.Ring.Hash("reported phone", u.Phone)
	}
	return nil
}

// gone passes on what is no missing row.
func gone(err error) error {
	if fault.KindOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// Intervals are the spans that a histogram may have.
var Intervals = map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour}

// Histogram returns for each named query how many events there were in each span of time (UTC), oldest first, without empty ones; the
// first page is 1. All count within q.
func (s *Service) Histogram(ctx context.Context, app tenant.Application, q Query, reports map[string]string, interval time.Duration, page int) (map[string][]Bucket, error) {
	counts := map[string]map[time.Time]int64{}
	spans := map[time.Time]bool{}
	err := s.each(ctx, app, q, func(name string, r audit.Record) bool {
		at := r.At.UTC().Truncate(interval)
		for report, event := range reports {
			if event == "" || event == name {
				if counts[report] == nil {
					counts[report] = map[time.Time]int64{}
				}
				counts[report][at]++
				spans[at] = true
			}
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	shown := slices.SortedFunc(maps.Keys(spans), time.Time.Compare)
	shown = shown[min(len(shown), (page-1)*MaxBuckets):]
	shown = shown[:min(len(shown), MaxBuckets)]
	all := map[string][]Bucket{}
	for report := range reports {
		all[report] = []Bucket{}
		for _, at := range shown {
			if n := counts[report][at]; n > 0 {
				all[report] = append(all[report], Bucket{at, n})
			}
		}
	}
	return all, nil
}

// Terms returns how often each event happened, the most frequent first.
func (s *Service) Terms(ctx context.Context, app tenant.Application, q Query) ([]Term, error) {
	counts := map[string]int64{}
	err := s.each(ctx, app, q, func(name string, _ audit.Record) bool { counts[name]++; return true })
	terms := make([]Term, 0, len(counts))
	for name, n := range counts {
		terms = append(terms, Term{name, n})
	}
	slices.SortFunc(terms, func(a, b Term) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	return terms, err
}
