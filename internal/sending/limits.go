package sending

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// This file owns what an operator decides: countries, budgets and prices.

// Money is an amount in millionths of the currency that the gateway bills in.
type Money int64

// Unit is one of that currency.
const Unit Money = 1_000_000

// ParseMoney reads a decimal such as 12 or 0.0075 with at most six places.
func ParseMoney(s string) (Money, bool) {
	whole, part, _ := strings.Cut(strings.TrimSpace(s), ".")
	if whole == "" || len(whole) > 9 || len(part) > 6 || strings.Trim(whole+part, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(whole+part+strings.Repeat("0", 6-len(part)), 10, 64)
	return Money(n), err == nil
}

// String is the shortest decimal with at least two places: 12.50, 0.0075.
func (m Money) String() string {
	s := strconv.FormatInt(int64(m/Unit), 10) + "." + strconv.FormatInt(int64(Unit+m%Unit), 10)[1:]
	for strings.HasSuffix(s, "0") && len(s)-strings.IndexByte(s, '.') > 3 {
		s = s[:len(s)-1]
	}
	return s
}

// Budget is a number of messages and what they cost.
type Budget struct {
	Messages int   `json:"messages"`
	Cost     Money `json:"cost"`
}

// holds reports whether one more message at that price fits.
func (b Budget) holds(used Budget, price Money) bool {
	return used.Messages < b.Messages && used.Cost+price <= b.Cost
}

func (b Budget) or(d Budget) Budget {
	return Budget{cmp.Or(b.Messages, d.Messages), cmp.Or(b.Cost, d.Cost)}
}

// Seconds is a whole number of seconds in settings.
type Seconds int

// Duration converts s.
func (s Seconds) Duration() time.Duration { return time.Duration(s) * time.Second }

// Anywhere as a country allows every one.
const Anywhere = "*"

// Limits are an application's settings of sending. Zero is the default of each, but for Countries: where nobody named one, no
// message leaves.
type Limits struct {
	Countries string `json:"countries"` // ISO 3166 codes of two letters with a space between; or Anywhere

	Hour        Budget `json:"hour"` // of the application
	Day         Budget `json:"day"`
	CountryHour Budget `json:"country_hour"` // of each country within it
	CountryDay  Budget `json:"country_day"`
	MailHour    Budget `json:"mail_hour"` // codes by e-mail; they cost nothing

	NumberBurst int     `json:"number_burst"` // messages to one number in ten minutes
	NumberDay   int     `json:"number_day"`   // the same in a day
	PrefixHour  int     `json:"prefix_hour"`  // numbers that share all but four digits, whose code nobody typed, in an hour
	AddressHour int     `json:"address_hour"` // messages asked for from one network address, whose code nobody typed, in an hour
	ResendWait  Seconds `json:"resend_wait"`  // -1 for none; before a second message to a number that typed none; doubles with each

	Free bool `json:"free,omitempty"` // messages reach nobody: numbers of fiction are as good as others, and nothing is paused

	Prices string `json:"prices,omitempty"` // of one text, by what a number begins with: "+1=0.0075 +4477=0.04"; the longest counts
}

// Defaults are the limits of an application that sends real messages (T-30; security reference section 5).
func Defaults() Limits {
	return Limits{
		Hour: Budget{500, 25 * Unit}, Day: Budget{3000, 100 * Unit},
		CountryHour: Budget{300, 10 * Unit}, CountryDay: Budget{1500, 40 * Unit},
		MailHour:    Budget{1000, 0},
		NumberBurst: 3, NumberDay: 8, PrefixHour: 5, AddressHour: 20, ResendWait: 15,
	}
}

// Free are the limits where a message costs nothing and reaches nobody: in `dev` and in tests.
func Free() Limits {
	many := Budget{1_000_000, 1_000_000 * Unit}
	return Limits{
		Countries: Anywhere, Hour: many, Day: many, CountryHour: many, CountryDay: many, MailHour: many,
		NumberBurst: 1000, NumberDay: 1000, PrefixHour: 1000, AddressHour: 1000, ResendWait: -1, Free: true,
	}
}

// Filled returns the limits as they hold, with defaults where none was set.
func (l Limits) Filled() Limits {
	d := Defaults()
	l.Hour, l.Day = l.Hour.or(d.Hour), l.Day.or(d.Day)
	l.CountryHour, l.CountryDay, l.MailHour = l.CountryHour.or(d.CountryHour), l.CountryDay.or(d.CountryDay), l.MailHour.or(d.MailHour)
	l.NumberBurst, l.NumberDay = cmp.Or(l.NumberBurst, d.NumberBurst), cmp.Or(l.NumberDay, d.NumberDay)
	l.PrefixHour, l.AddressHour = cmp.Or(l.PrefixHour, d.PrefixHour), cmp.Or(l.AddressHour, d.AddressHour)
	l.ResendWait = cmp.Or(l.ResendWait, d.ResendWait)
	return l
}

// Place is where a number is.
type Place struct {
	Country string // ISO 3166; "" for what belongs to no country
	Prefix  string // the number without its last four digits
	kind    phonenumbers.PhoneNumberType
}

// In returns the place's name in a scope.
func (p Place) In(scope string) string {
	if scope == ByCountry {
		return p.Country
	}
	return p.Prefix
}

// MailPlace is where codes by e-mail are counted.
var MailPlace = Place{Country: Email}

// Locate finds where a message goes.
func Locate(to, channel string) Place {
	if channel == Email {
		return MailPlace
	}
	p := Place{Prefix: to[:max(0, len(to)-4)], kind: phonenumbers.UNKNOWN}
	n, err := phonenumbers.Parse(to, "")
	if err != nil {
		return p
	}
	p.kind = phonenumbers.GetNumberType(n)
	if region := phonenumbers.GetRegionCodeForNumber(n); region != phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY { // satellite and other shared codes
		p.Country = region
	}
	return p
}

// reachable says whether a person answers at such a number, in a country that the application named. Personal numbers (such as
// +44 70) forward at a high price, and are what fraud lives on.
func (l Limits) reachable(channel string, p Place) error {
	if l.Free && p.kind == phonenumbers.UNKNOWN {
		return nil
	}
	switch p.kind {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE, phonenumbers.VOIP:
	case phonenumbers.FIXED_LINE:
		if channel == SMS {
			return ErrLandline
		}
	default: // premium, shared cost, toll free, pager, UAN, voice mail, personal, and what no plan knows
		return ErrNumber
	}
	switch {
	case p.Country == "":
		return ErrNumber
	case l.Countries != Anywhere && !slices.Contains(strings.Fields(l.Countries), p.Country):
		return ErrCountry
	}
	return nil
}

// estimates are what one text costs where the operator's table has no price: high rather than low, because a budget that is
// reached early is noticed, and one that is too wide is paid.
var estimates = map[string]Money{
	"": 200_000, "+1": 10_000, "+44": 50_000, "+33": 80_000, "+34": 80_000, "+351": 60_000, "+49": 110_000, "+39": 90_000, "+55": 60_000, "+57": 60_000, "+52": 60_000,
	"+61": 60_000, "+91": 80_000,
}

// Price is what a message to the number costs, at most: a call counts twice a text, and mail nothing.
func (l Limits) Price(number, channel string) Money {
	if channel == Email {
		return 0
	}
	price, ok := longest(prices(l.Prices), number)
	if !ok {
		price, _ = longest(estimates, number)
	}
	if channel == Call {
		price *= 2
	}
	return price
}

func longest(prices map[string]Money, number string) (Money, bool) {
	for n := len(number); n >= 0; n-- {
		if price, ok := prices[number[:n]]; ok {
			return price, true
		}
	}
	return 0, false
}

// apart splits a list at spaces, commas and lines.
func apart(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ';' || unicode.IsSpace(r) })
}

// ParseCountries reads a list such as "US, ca PT", or * for everywhere, into the form that is kept.
func ParseCountries(s string) (string, error) {
	known := phonenumbers.GetSupportedRegions()
	list := apart(strings.ToUpper(s))
	for _, c := range list {
		switch {
		case c == Anywhere:
			return Anywhere, nil
		case !known[c] || len(c) != 2:
			return "", ErrLimits.Saying(fmt.Sprintf("%.20q is no country: name each by its two letters, such as US or PT.", c))
		}
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), " "), nil
}

// maxPrices bounds an operator's table.
const maxPrices = 300

// ParsePrices reads a table such as "+1=0.0075, +44=0.04" into the form that is kept.
func ParsePrices(s string) (string, error) {
	list := apart(s)
	if len(list) > maxPrices {
		return "", ErrLimits.Saying(fmt.Sprintf("The table of prices has at most %d lines.", maxPrices))
	}
	for i, entry := range list {
		number, amount, _ := strings.Cut(entry, "=")
		digits, plus := strings.CutPrefix(number, "+")
		price, ok := ParseMoney(amount)
		if !plus || len(digits) < 1 || len(digits) > 11 || strings.Trim(digits, "0123456789") != "" || !ok {
			return "", ErrLimits.Saying(fmt.Sprintf("%.30q is no price: write what numbers begin with, an equals sign, and the price of one text, such as +44=0.04.", entry))
		}
		list[i] = number + "=" + price.String()
	}
	slices.Sort(list)
	return strings.Join(list, " "), nil
}

// prices reads what ParsePrices wrote.
func prices(kept string) map[string]Money {
	table := map[string]Money{}
	for _, entry := range strings.Fields(kept) {
		number, amount, _ := strings.Cut(entry, "=")
		if price, ok := ParseMoney(amount); ok {
			table[number] = price
		}
	}
	return table
}

// Check reports what an operator cannot have meant.
func (l Limits) Check() error {
	for _, b := range []Budget{l.Hour, l.Day, l.CountryHour, l.CountryDay, l.MailHour} {
		if b.Messages < 0 || b.Messages > 10_000_000 || b.Cost < 0 || b.Cost > 1_000_000*Unit {
			return ErrLimits.Saying("A budget is a number of messages up to ten million, and an amount up to a million.")
		}
	}
	for _, n := range []int{l.NumberBurst, l.NumberDay, l.PrefixHour, l.AddressHour} {
		if n < 0 || n > 1_000_000 {
			return ErrLimits.Saying("How many messages one number, numbers alike and one address may have is at most a million.")
		}
	}
	if l.ResendWait < -1 || l.ResendWait > Seconds(Day/time.Second) {
		return ErrLimits.Saying("The wait before another message is at most a day.")
	}
	return nil
}
