package tenant

import (
	"strings"
	"testing"
)

// The E.164 corpus of security.md section 3. Real numbers are those that regulators set aside for fiction where they exist.

func TestParsePhone(t *testing.T) {
	for _, row := range []struct {
		code int
		in   string
		want string // "" = refused
	}{
		{1, "2025550123", "+12025550123"},
		{1, "202-555-0123", "+12025550123"},
		{1, "(202) 555.0123", "+12025550123"},
		{1, " 202 555 0123 ", "+12025550123"},
		{1, "202\u00a0555\u00a00123", "+12025550123"},
		{351, "912345678", "+351912345678"},
		{57, "301 2345678", "+573012345678"},
		{44, "7400 123456", "+447400123456"},
		{44, "07400 123456", "+447400123456"}, // trunk zero
		{49, "(0)1512 3456789", "+4915123456789"},
		{61, "0412 345 678", "+61412345678"},
		{39, "06 1234 5678", "+390612345678"}, // Italy keeps its zero
		{7, "8 912 345-67-89", "+79123456789"},
		{52, "55 1234 5678", "+525512345678"},
		{290, "51234", "+29051234"}, // Saint Helena: five digits

		{1, "", ""},
		{1, "   ", ""},
		{1, "-", ""},
		{1, "5550123", ""}, // no area code: nobody could be reached
		{1, "202555012", ""},
		{1, "20255501234", ""},
		{1, "123456789012345", ""},
		{1, "1234567890123456", ""},
		{1, "+12025550123", ""}, // the code is given apart
		{1, "2025550123x5", ""},
		{1, "2025550123 ext. 5", ""},
		{1, "2025550123;ext=5", ""},
		{1, "2025550123#", ""},
		{1, "2025550123,5", ""},
		{1, "1-800-FLOWERS", ""},
		{1, "202555O123", ""},             // a letter O
		{1, "٢٠٢٥٥٥٠١٢٣", ""},             // Arabic-Indic
		{1, "۲۰۲۵۵۵۰۱۲۳", ""},             // Persian
		{1, "２０２５５５０１２３", ""},             // full width
		{1, "२०२५५५०१२३", ""},             // Devanagari
		{1, "202\u2010555\u20100123", ""}, // a hyphen that is none
		{1, "202\t555\n0123", ""},
		{1, "2025550123\x00", ""},
		{1, "202\u200b5550123", ""},
		{1, "2025550123\xff", ""},
		{1, "-2025550123e0", ""},
		{44, "0", ""},
		{88, "000000000", ""},   // no such code, but 880 is
		{880, "0000000000", ""}, // would lose one more zero whenever it is read
	} {
		got, ok := ParsePhone(row.code, row.in)
		if got != row.want || ok != (row.want != "") {
			t.Errorf("ParsePhone(%d, %q) = %q, %t, want %q", row.code, row.in, got, ok, row.want)
		}
	}
}

func TestParseE164(t *testing.T) {
	for _, row := range []struct {
		in   string
		want string // "" = refused
		code int
	}{
		{"+12025550123", "+12025550123", 1},
		{"+1 (202) 555-0123", "+12025550123", 1},
		{" +351 912 345 678 ", "+351912345678", 351},
		{"+44 07400 123456", "+447400123456", 44},
		{"+44 (0)7400 123456", "+447400123456", 44},
		{"+39 06 12345678", "+390612345678", 39},
		{"+79123456789", "+79123456789", 7},
		{"+77012345678", "+77012345678", 7}, // Kazakhstan shares the code

		{"", "", 0},
		{"+", "", 0},
		{"12025550123", "", 0},
		{"0012025550123", "", 0},
		{"＋12025550123", "", 0}, // full-width plus
		{"++12025550123", "", 0},
		{"+12025550123+", "", 0},
		{"+02025550123", "", 0},
		{"+999 2025550123", "", 0},
		{"+1 555 0123", "", 0},
		{"+1 202 555 0123 ext 5", "", 0},
		{"+1 800 FLOWERS", "", 0},
		{"+١٢٠٢٥٥٥٠١٢٣", "", 0},
		{"+1234567890123456", "", 0},
		{"tel:+12025550123", "", 0},
		{"+12025550123;phone-context=+44", "", 0},
		{"+1\u200b2025550123", "", 0},
	} {
		got, code, ok := ParseE164(row.in)
		if got != row.want || code != row.code || ok != (row.want != "") {
			t.Errorf("ParseE164(%q) = %q, %d, %t, want %q, %d", row.in, got, code, ok, row.want, row.code)
		}
	}
}

// Whatever is accepted is canonical: a plus, 7 to 15 digits, and parsed again it is itself.
func FuzzPhones(f *testing.F) {
	f.Add(1, "202-555-0123")
	f.Add(44, "(0)7400 123456")
	f.Add(39, "06 1234 5678")
	f.Add(1, "٢٠٢٥٥٥٠١٢٣")
	f.Fuzz(func(t *testing.T, code int, in string) {
		for _, full := range []string{in, "+" + in} {
			if phone, country, ok := ParseE164(full); ok {
				again, sameCountry, ok := ParseE164(phone)
				if !canonical(phone) || again != phone || sameCountry != country || !ok {
					t.Errorf("ParseE164(%q) = %q, then %q", full, phone, again)
				}
			}
		}
		if code < 1 || code > 999 {
			return
		}
		phone, ok := ParsePhone(code, in)
		if !ok {
			if phone != "" {
				t.Errorf("ParsePhone(%d, %q) refuses and returns %q", code, in, phone)
			}
			return
		}
		if again, _, ok := ParseE164(phone); !canonical(phone) || !ok || again != phone {
			t.Errorf("ParsePhone(%d, %q) = %q, then %q, %t", code, in, phone, again, ok)
		}
	})
}

func canonical(phone string) bool {
	digits, plus := strings.CutPrefix(phone, "+")
	return plus && len(digits) >= 5 && len(digits) <= 15 && digits[0] != '0' && strings.Trim(digits, "0123456789") == ""
}
