package storetest

import (
	"fmt"
	"testing"
	"time"

	"countersign.dev/internal/device"
	"countersign.dev/internal/job"
	"countersign.dev/internal/servertest"
	"countersign.dev/internal/store"
)

// testForget: what strangers leave behind goes a day after its end, in bounded writes; what counts stays.
func testForget(t *testing.T, f *fixture) {
	app := f.App(t, "Bank")
	u := f.User(t, app, "ana@example.com", number[2:])
	ticket, err := f.Devices.NewTicket(t.Context(), app, u)
	must(t, err)
	key := servertest.NewKey(t)
	_, err = f.confirm(key, device.Confirmation{Ticket: ticket.Words}) // a spent challenge, a session, a used ticket
	must(t, err)
	for i := range 25 {
		_, err := f.Devices.StartPhone(t.Context(), fmt.Sprintf("+120255501%02d", i))
		must(t, err)
	}
	for _, j := range f.Jobs.Offered(job.Enrollment) {
		must(t, f.Devices.SendCode(t.Context(), j))
	}
	forget := func(what string, want int64) {
		t.Helper()
		n, err := f.Store.Forget(t.Context(), f.now(), store.DefaultRetention(), 10)
		must(t, err)
		same(t, what, n, want)
	}
	forget("forgotten at once", 0)
	f.Clock.Advance(24 * time.Hour)
	forget("forgotten while the limits of a day look back", 0)
	f.Clock.Advance(2 * time.Hour)
	forget("enrollments, a challenge, a ticket and a message that was sent", 13)
	forget("more enrollments", 10)
	forget("the last enrollments", 5)
	forget("forgotten twice", 0)
	grants, err := f.Devices.OfUser(t.Context(), u.ID)
	must(t, err)
	same(t, "grants left", len(grants), 1)
}
