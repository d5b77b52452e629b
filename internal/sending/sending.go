// Package sending owns the rules that a message must pass before it leaves
// (T-30): where to and to what kind of number, how often, for how much money,
// and whether people there ever type the codes that they are sent.
//
// It holds rules and values only. The store reads what they look at while it
// holds the account's lock, asks Decide, and counts the message in the same
// transaction, so that two nodes never both find room for the last one.
package sending

import (
	"fmt"
	"net/netip"
	"time"

	"countersign.dev/internal/fault"
	"countersign.dev/internal/job"
)

// Errors that this package reports, in the order of the rules.
var (
	ErrNumber   = fault.New(fault.Invalid, "number-kind", "Phone number is invalid: no codes are sent to numbers of this kind.")
	ErrLandline = fault.New(fault.Forbidden, "number-landline", "Can not send SMS to landline phone numbers")
	ErrCountry  = fault.New(fault.Forbidden, "country-closed", "Codes are not sent to this country. The application's operator names the countries in the console.")
	ErrNumMany  = fault.New(fault.Limited, "number-limited", "Too many codes were sent to this number in the last minutes. Slow down and try again later.")
	ErrWait     = fault.New(fault.Limited, "resend-early", "A code was sent to this number a moment ago. Slow down: each further one has to wait twice as long.")
	ErrPrefix   = fault.New(fault.Limited, "prefix-limited", "Too many numbers like this one were sent codes in the last hour. Slow down and try again later.")
	ErrAddress  = fault.New(fault.Limited, "address-limited", "Too many codes were asked for from this address in the last hour. Slow down and try again later.")
	ErrHour     = fault.New(fault.Limited, "sms-hour-spent", "SMS limit reached: the application's budget of this hour is spent.")
	ErrDay      = fault.New(fault.Limited, "sms-day-spent", "Daily SMS limit reached: the application's budget of today is spent.")
	ErrCalls    = fault.New(fault.Limited, "calls-spent", "Daily calls limit reached: the application's budget is spent.")
	ErrMail     = fault.New(fault.Limited, "mail-spent", "Too many codes were sent by e-mail. Slow down and try again later.")
	ErrPaused   = fault.New(fault.Unavailable, "sms-paused", "SMS token was not sent.")
	ErrNoCall   = fault.New(fault.Unavailable, "calls-paused", "Call was not started.")
)

// Refusals returns all of them.
func Refusals() []*fault.Error {
	return []*fault.Error{ErrNumber, ErrLandline, ErrCountry, ErrNumMany, ErrWait, ErrPrefix, ErrAddress, ErrHour, ErrDay, ErrCalls, ErrMail, ErrPaused, ErrNoCall}
}

// Channels, as package message names them.
const (
	SMS   = "sms"
	Call  = "call"
	Email = "email"
)

// Send is a message that is about to leave.
type Send struct {
	ID        string
	AccountID string // who pays: a number's limits hold over all its applications
	AppID     string
	AppName   string
	To        string // E.164, or a mail address
	Channel   string
	IP        string // the end user's address as the application tells it; "" when it does not
	At        time.Time
	Limits    Limits
	// Alert makes the notice to the account's owner that sending was paused.
	Alert func(s Send, owner string, p Pause) job.Job
}

// Address is the end user's network as it is counted: an IPv4 address, or the 64 bits in front of an IPv6 address, of which
// one person has as many as they like. What is no address counts as none.
func (s Send) Address() string {
	a, err := netip.ParseAddr(s.IP)
	if err != nil {
		return ""
	}
	if a = a.Unmap().WithZone(""); a.Is6() {
		p, _ := a.Prefix(64) // 64 bits always fit
		a = p.Addr()
	}
	return a.String()
}

// Windows of budgets, in UTC.
const (
	Hour = time.Hour
	Day  = 24 * time.Hour
)

// Rules with numbers that no operator changes.
const (
	Burst          = 10 * time.Minute // of Limits.NumberBurst
	BreakAt        = 20               // sent codes before conversion is judged
	BreakBelow     = 20               // percent verified
	Sample         = 50               // how many of the latest are looked at
	Mature         = 5 * time.Minute  // a code not typed by then was not typed
	PauseMin       = time.Hour        // doubles with each pause in a row
	PauseMax       = 24 * time.Hour
	StrangersShare = 80             // percent of each budget that numbers may use which never typed a code
	Kept           = 25 * time.Hour // what was sent is looked at for a day
)

// Past is a message that left earlier.
type Past struct {
	At       time.Time
	Verified bool
}

// Crowd counts messages of the last hour whose code nobody has typed.
type Crowd struct {
	N      int
	Oldest time.Time
}

// Scopes that are paused for themselves.
const (
	ByCountry = "country"
	ByPrefix  = "prefix"
)

// Pause is an open breaker: nothing is sent there until it closes by itself, or an operator closes it.
type Pause struct {
	Scope string // ByCountry, ByPrefix
	Place string // US, +1202555
	Until time.Time
	Level int // how many were in a row before it
	Sent  int // in the sample that opened it
	Typed int
}

// Ratio is how many of a sample were verified.
type Ratio struct{ Sent, Typed int }

// Spent is what one budget has used, and when it starts anew.
type Spent struct {
	Budget
	Ends time.Time
}

// History is what the rules look at beside the message itself.
type History struct {
	// Known: somebody with this number typed a right code at the application before. Fraud needs ever new numbers, so what it causes for
	// others who look like it does not shut out who is known.
	Known   bool
	Number  []Past // of the last day, newest first, over all applications of the account
	Prefix  Crowd  // other numbers of the prefix
	Address Crowd
	// Of the application, and of the application in the country.
	AppHour, AppDay, CountryHour, CountryDay Spent
	Pauses                                   map[string]Pause // by scope, open or closed
	Ratios                                   map[string]Ratio // by scope: the latest that had time to be typed, since the last pause
}

// Decide says whether the message may leave. The error is the first rule that it breaks, and says when to come back; a pause
// beside it has just begun and has to be kept and told.
func (s Send) Decide(p Place, h History) (*Pause, error) {
	l := s.Limits.Filled()
	if s.Channel == Email {
		return nil, s.decideMail(l, h)
	}
	if err := l.reachable(s.Channel, p); err != nil {
		return nil, err
	}
	if err := s.often(l, h); err != nil {
		return nil, err
	}
	if !h.Known && h.Prefix.N >= l.PrefixHour {
		return nil, ErrPrefix.After(h.Prefix.Oldest.Add(Hour).Sub(s.At))
	}
	if s.Address() != "" && h.Address.N >= l.AddressHour {
		return nil, ErrAddress.After(h.Address.Oldest.Add(Hour).Sub(s.At))
	}
	price := l.Price(s.To, s.Channel)
	for _, b := range []struct {
		used  Spent
		limit Budget
		err   *fault.Error
	}{{h.AppDay, l.Day, ErrDay}, {h.CountryDay, l.CountryDay, ErrDay}, {h.AppHour, l.Hour, ErrHour}, {h.CountryHour, l.CountryHour, ErrHour}} {
		if !h.Known { // the rest is for people who are known
			b.limit.Messages, b.limit.Cost = b.limit.Messages*StrangersShare/100, b.limit.Cost*StrangersShare/100
		}
		if !b.limit.holds(b.used.Budget, price) {
			if s.Channel == Call {
				b.err = ErrCalls
			}
			return nil, b.err.After(b.used.Ends.Sub(s.At))
		}
	}
	if l.Free || h.Known {
		return nil, nil
	}
	return s.converts(p, h)
}

// often is how soon and how often one number is sent codes. Whoever types the codes waits for none.
func (s Send) often(l Limits, h History) error {
	if n := len(h.Number); n >= l.NumberDay {
		return ErrNumMany.After(h.Number[l.NumberDay-1].At.Add(Day).Sub(s.At))
	}
	if n := l.NumberBurst; len(h.Number) >= n && s.At.Sub(h.Number[n-1].At) < Burst {
		return ErrNumMany.After(h.Number[n-1].At.Add(Burst).Sub(s.At))
	}
	untyped := 0
	for untyped < len(h.Number) && !h.Number[untyped].Verified {
		untyped++
	}
	if untyped > 0 {
		wait := min(l.ResendWait.Duration()<<min(untyped-1, 20), Day)
		if again := h.Number[0].At.Add(wait); again.After(s.At) {
			return ErrWait.After(again.Sub(s.At))
		}
	}
	return nil
}

// converts is the breaker: codes that nobody types are not sent to people.
func (s Send) converts(p Place, h History) (*Pause, error) {
	refusal := ErrPaused
	if s.Channel == Call {
		refusal = ErrNoCall
	}
	for _, scope := range []string{ByCountry, ByPrefix} {
		if pause := h.Pauses[scope]; pause.Until.After(s.At) {
			return nil, refusal.After(pause.Until.Sub(s.At))
		}
	}
	for _, scope := range []string{ByCountry, ByPrefix} {
		r := h.Ratios[scope]
		if r.Sent < BreakAt || r.Typed*100 >= r.Sent*BreakBelow {
			continue
		}
		pause := Pause{Scope: scope, Place: p.In(scope), Sent: r.Sent, Typed: r.Typed}
		if last, ok := h.Pauses[scope]; ok {
			pause.Level = last.Level + 1
		}
		wait := min(PauseMin<<min(pause.Level, 10), PauseMax)
		pause.Until = s.At.Add(wait)
		return &pause, refusal.After(wait)
	}
	return nil, nil
}

// decideMail has the rules of the number and a budget of messages: a mail costs nothing, but nobody wants a hundred.
func (s Send) decideMail(l Limits, h History) error {
	if err := s.often(l, h); err != nil {
		return err
	}
	if !l.MailHour.holds(h.CountryHour.Budget, 0) {
		return ErrMail.After(h.CountryHour.Ends.Sub(s.At))
	}
	if s.Address() != "" && h.Address.N >= l.AddressHour {
		return ErrAddress.After(h.Address.Oldest.Add(Hour).Sub(s.At))
	}
	return nil
}

// Why says in a sentence why a pause began.
func (p Pause) Why() string {
	return fmt.Sprintf("%d of the last %d codes sent to %s were typed; paused until %s", p.Typed, p.Sent, p.Place, p.Until.UTC().Format("2 Jan 15:04 UTC"))
}

// Errors of operators.
var (
	ErrNoPause = fault.New(fault.NotFound, "pause-unknown", "Sending is not paused there, or not any more.")
	ErrLimits  = fault.New(fault.Invalid, "limits-invalid", "These limits cannot be.")
)

// State is what an operator sees of an application's sending.
type State struct {
	Hour, Day Spent
	Pauses    []Pause
	Refused   []Refused // today
}

// Refused counts what one rule refused.
type Refused struct {
	Rule, Country string
	N             int
	Last          time.Time
}
