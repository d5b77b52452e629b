package tenant

import (
	"testing"
)

// The masks of contract sections 3.2 and 4.2.
func TestMasks(t *testing.T) {
	for _, row := range []struct {
		code        int
		phone       string
		masked      string
		maskedCell  string
		nationalLen int
	}{
		{1, "+12025559302", "XXX-XXX-9302", "+1-XXX-XXX-XX02", 10},
		{351, "+351912344567", "XX-XXX-4567", "+351-XXX-XXX-XX67", 9},
		{57, "+573012345612", "XXX-XXX-5612", "+57-XXX-XXX-XX12", 10},
		{49, "+4915123456789", "X-XXX-XXX-6789", "+49-XXX-XXX-XX89", 11},
		{290, "+29051234", "X-1234", "+290-XXX-XXX-XX34", 5},
		{1, "+12", "2", "+1-XXX-XXX-XX2", 1},
		{1, "", "", "+1-XXX-XXX-XX", 0}, // a user with a bare identity
	} {
		u := User{CountryCode: row.code, Phone: row.phone}
		if got := u.MaskedPhone(); got != row.masked {
			t.Errorf("MaskedPhone of %s = %q, want %q", row.phone, got, row.masked)
		}
		if got := u.MaskedCell(); got != row.maskedCell {
			t.Errorf("MaskedCell of %s = %q, want %q", row.phone, got, row.maskedCell)
		}
		if got := len(u.National()); got != row.nationalLen {
			t.Errorf("National of %s has %d digits, want %d", row.phone, got, row.nationalLen)
		}
	}
}

func TestMaskAddress(t *testing.T) {
	for in, want := range map[string]string{
		"+12025550123": "+1 …23", "+4915123456789": "+49 …89", "ana@example.com": "a…@example.com", "ж@example.com": "ж…@example.com",
		"": "…", "7": "…7", "12345": "…45",
	} {
		if got := MaskAddress(in); got != want {
			t.Errorf("MaskAddress(%q) = %q, want %q", in, got, want)
		}
	}
}
