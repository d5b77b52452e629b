// This file owns phone numbers: the picker of countries, and what people type.

package login

import (
	_ "embed"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

//go:embed countries.txt
var countryLines string

// country is one choice of the picker. Several countries share a calling code; the value of all but the chief one names the region too.
type country struct {
	Value, Name string
	Code        string
}

// countries reads the picker's choices.
func countries() (list []country) {
	for line := range strings.Lines(countryLines) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(fields) < 3 {
			continue
		}
		c := country{Value: fields[1] + " " + fields[0], Code: fields[1], Name: fields[2]}
		if len(fields) == 4 {
			c.Value = fields[1]
		}
		list = append(list, c)
	}
	return list
}

// readPhone turns a choice of the picker and a typed number into calling code and national number, digits only. A number that begins with
// + or 00 brings its own country. The provider has the last word on numbers; here only the impossible is refused.
func readPhone(countryCode, typed string) (code, phone string, ok bool) {
	calling, region, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(countryCode), "+"), " ")
	typed = strings.TrimSpace(typed)
	if rest, international := strings.CutPrefix(typed, "00"); international {
		typed = "+" + rest
	}
	if len(typed) > 40 {
		return "", "", false
	}
	if region == "" {
		number, err := strconv.Atoi(calling)
		if err != nil && !strings.HasPrefix(typed, "+") {
			return "", "", false
		}
		region = phonenumbers.GetRegionCodeForCountryCode(number)
	}
	number, err := phonenumbers.Parse(typed, region)
	if err != nil || !phonenumbers.IsPossibleNumber(number) {
		return "", "", false
	}
	return strconv.Itoa(int(number.GetCountryCode())), phonenumbers.GetNationalSignificantNumber(number), true
}
