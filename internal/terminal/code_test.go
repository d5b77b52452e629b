// This file tests one-time codes with the vectors of RFC 6238 appendix B.

package terminal

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRFC6238(t *testing.T) {
	for unix, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471",
		1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		if got := totp([]byte("12345678901234567890"), time.Unix(unix, 0), 30, 8); got != want {
			t.Errorf("at %d: got %s, want %s", unix, got, want)
		}
		if got := totp([]byte("12345678901234567890"), time.Unix(unix, 0), 30, 6); got != want[2:] {
			t.Errorf("at %d: got %s, want %s", unix, got, want[2:])
		}
	}
}

// TestCodes: offline, and by the server's clock although this machine's is an hour behind.
func TestCodes(t *testing.T) {
	server := time.Unix(1111111109, 0)
	b := newBench(t)
	b.Now = func() time.Time { return server }
	device := b.enrolled(t)
	device.now = func() time.Time { return server.Add(-time.Hour) }
	if _, err := device.Approvals(t.Context()); err != nil { // learns the clock
		t.Fatal(err)
	}
	before := b.Requests("GET /grants")
	offline := b.open(t, "")
	for later, want := range map[time.Duration]Code{
		0:               {"Example Shop", "ana@example.com", "07081804", 1},
		2 * time.Second: {"Example Shop", "ana@example.com", "14050471", 29},
	} {
		offline.now = func() time.Time { return server.Add(later - time.Hour) }
		codes, err := offline.Codes()
		if diff := cmp.Diff([]Code{want}, codes); err != nil || diff != "" {
			t.Error(err, diff)
		}
	}
	if b.Requests("GET /grants") != before {
		t.Error("codes used the network")
	}
}

func TestClockOffsetIsNotWrittenForLittle(t *testing.T) {
	b := newBench(t)
	device := b.enrolled(t)
	if err := device.open(); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1700000000, 0)
	device.state.ClockOffset = 0
	for _, step := range []struct{ offset, want int64 }{{499, 0}, {5000, 5000}, {4600, 5000}, {-5000, -5000}} {
		if err := device.observe(now.UnixMilli()+step.offset, now, now); err != nil || device.state.ClockOffset != step.want {
			t.Errorf("%d: got %d, %v, want %d", step.offset, device.state.ClockOffset, err, step.want)
		}
	}
	if err := device.observe(0, now, now); err != nil || device.state.ClockOffset != -5000 {
		t.Error("a missing server time was believed")
	}
}
