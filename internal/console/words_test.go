package console

import (
	"testing"

	"countersign.dev/internal/sending"
)

func TestGrouped(t *testing.T) {
	for number, want := range map[any]string{
		0: "0", 999: "999", 1000: "1,000", 1_000_000: "1,000,000", sending.Money(1_234_567 * sending.Unit): "1,234,567.00", sending.Money(sending.Unit / 50): "0.02",
	} {
		if got := grouped(number); got != want {
			t.Errorf("%v: %q, want %q", number, got, want)
		}
	}
}
