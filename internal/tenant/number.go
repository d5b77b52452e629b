package tenant

import (
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// This file owns what the numbering plans tell of a phone number. They know what a range of numbers was given out for and to whom;
// who a number was taken to since, only carriers know.

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
