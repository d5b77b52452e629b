package tenant

import (
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// This file owns phone numbers: their one form, and what the numbering plans tell of them. The plans know what a range of numbers was
// given out for and to whom; who a number was taken to since, only carriers know.

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

// Kinds of a number, as the contract calls them (section 8.4).
const (
	KindCellphone = "cellphone"
	KindLandline  = "landline"
	KindVoIP      = "voip"
	KindUnknown   = "unknown" // the plan does not tell, as in North America
)

// NumberInfo is what is known of a number.
type NumberInfo struct {
	Kind      string
	Cellphone bool   // is one, or may be where the plan does not tell
	Carrier   string // "" where numbers can be taken to another carrier, or when none is known
}

// DescribeNumber looks an E.164 number up.
func DescribeNumber(phone string) NumberInfo {
	n, err := phonenumbers.Parse(phone, "")
	if err != nil {
		return NumberInfo{Kind: KindUnknown}
	}
	info := NumberInfo{Kind: KindUnknown}
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE:
		info.Kind, info.Cellphone = KindCellphone, true
	case phonenumbers.FIXED_LINE:
		info.Kind = KindLandline
	case phonenumbers.FIXED_LINE_OR_MOBILE:
		info.Cellphone = true
	case phonenumbers.VOIP:
		info.Kind = KindVoIP
	}
	if carrier, err := phonenumbers.GetSafeCarrierDisplayNameForNumber(n, "en"); err == nil {
		info.Carrier = carrier
	}
	return info
}

// DisplayNumber writes an E.164 number as the contract's sentences do: +1 201-555-0123 (section 8.1).
func DisplayNumber(phone string) string {
	_, cc, ok := ParseE164(phone)
	if !ok {
		return phone
	}
	code := "+" + strconv.Itoa(cc)
	return code + " " + Grouped(strings.TrimPrefix(phone, code))
}

// KnownCallingCode reports whether a country or service has that calling code.
func KnownCallingCode(cc int) bool {
	return cc > 0 && phonenumbers.GetRegionCodeForCountryCode(cc) != "ZZ"
}
