package store

import (
	"database/sql"
	"database/sql/driver"
	"testing"

	"countersign.dev/internal/otp"
)

// TestAssign: a value goes into the variables that database/sql would put it into, or is refused: never cut, and never read as another kind.
func TestAssign(t *testing.T) {
	var (
		wide    int64
		number  int
		small   int8
		version uint32
		yes     bool
		text    string
		channel otp.Channel
		raw     []byte
		null    sql.NullInt64
	)
	for _, c := range []struct {
		dest  any
		value driver.Value
		got   func() bool // nil: refused
	}{
		{&wide, int64(-7), func() bool { return wide == -7 }},
		{&number, int64(7), func() bool { return number == 7 }},
		{&small, int64(-128), func() bool { return small == -128 }},
		{&small, int64(128), nil},
		{&version, int64(1<<32 - 1), func() bool { return version == 1<<32-1 }},
		{&version, int64(1 << 32), nil},
		{&version, int64(-1), nil},
		{&yes, int64(1), func() bool { return yes }},
		{&text, "ana", func() bool { return text == "ana" }},
		{&text, int64(65), nil},
		{&text, nil, nil},
		{&channel, "sms", func() bool { return channel == otp.SMS }},
		{&raw, []byte("x"), func() bool { return string(raw) == "x" }},
		{&raw, nil, func() bool { return raw == nil }},
		{&wide, "7", nil},
		{&null, nil, func() bool { return !null.Valid }},
		{&null, int64(5), func() bool { return null.Valid && null.Int64 == 5 }},
	} {
		err := assign(c.dest, c.value)
		if (err == nil) != (c.got != nil) || c.got != nil && !c.got() {
			t.Errorf("%v into %T: %v", c.value, c.dest, err)
		}
	}
}
