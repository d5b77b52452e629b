package otp

import (
	"strings"
	"testing"
	"time"
)

// RFC 4226 appendix D.
func TestHOTPVectors(t *testing.T) {
	secret := []byte("12345678901234567890")
	for counter, want := range strings.Fields("755224 287082 359152 969429 338314 254676 287922 162583 399871 520489") {
		if got := HOTP(secret, uint64(counter), 6); got != want {
			t.Errorf("counter %d: got %s, want %s", counter, got, want)
		}
	}
}

// RFC 6238 appendix B, SHA-1; the last time needs more than 32 bits.
func TestTOTPVectors(t *testing.T) {
	secret := []byte("12345678901234567890")
	for unix, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got := HOTP(secret, uint64(Step(time.Unix(unix, 0), 30*time.Second)), 8); got != want {
			t.Errorf("time %d: got %s, want %s", unix, got, want)
		}
	}
}

func TestHOTPDigits(t *testing.T) {
	secret := []byte("12345678901234567890")
	for digits, want := range map[int]string{6: "755224", 7: "4755224", 8: "84755224"} { // of 1284755224, RFC 4226 appendix D
		if got := HOTP(secret, 0, digits); got != want {
			t.Errorf("%d digits: got %s, want %s", digits, got, want)
		}
	}
}

func TestStep(t *testing.T) {
	for _, row := range []struct {
		unix   int64
		nano   int64
		period time.Duration
		want   int64
	}{
		{0, 0, 30 * time.Second, 0},
		{29, 999_999_999, 30 * time.Second, 0},
		{30, 0, 30 * time.Second, 1},
		{59, 0, 10 * time.Second, 5},
		{60, 0, 10 * time.Second, 6},
		{1 << 31, 0, 30 * time.Second, 71582788},  // 2038
		{1 << 33, 0, 30 * time.Second, 286331153}, // 2242
		{253402300799, 0, time.Second, 253402300799},
	} {
		if got := Step(time.Unix(row.unix, row.nano), row.period); got != row.want {
			t.Errorf("step of %d.%09d by %v: got %d, want %d", row.unix, row.nano, row.period, got, row.want)
		}
	}
}

func TestNewSentCode(t *testing.T) {
	first := map[byte]int{}
	for digits := 6; digits <= 8; digits++ {
		for range 500 {
			code := NewSentCode(digits)
			if len(code) != digits || strings.Trim(code, "0123456789") != "" {
				t.Fatalf("code %q of %d digits", code, digits)
			}
			first[code[0]]++
		}
	}
	if len(first) != 10 { // 1,500 draws miss a digit once in 10^68 times
		t.Errorf("first digits %v, want all ten, zero included", first)
	}
}
