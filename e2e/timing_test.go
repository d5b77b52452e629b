// This file measures how long a person who approved looks at the waiting page.

package e2e

import (
	"slices"
	"testing"
	"time"
)

const (
	timedApprovals = 25
	medianWithin   = 100 * time.Millisecond
)

// TestApprovalReachesBrowser measures, by the browsers' own clocks, from the phone's sending of its answer to the account page
// being there in the browser at the desk. It runs alone: parallel tests wait until it is done.
func TestApprovalReachesBrowser(t *testing.T) {
	d := startPlainDev(t)
	ana := enrolled(t, d, "Ana")
	var took []time.Duration
	for range timedApprovals {
		ana.logOut(ana.desk)
		ana.logIn(ana.desk)
		ana.openRequest(ana.request(ana.desk))
		ana.press("approve")
		ana.desk.stand(d.LoginURL + "/account")
		sent, err := evaluate[float64](ana.hand, `(() => {
			const sent = performance.getEntriesByType("resource").filter(e => e.name.endsWith("/answer")).at(-1);
			const at = performance.timeOrigin + sent.startTime;
			performance.clearResourceTimings();
			return at;
		})()`)
		if err != nil {
			t.Fatal(err)
		}
		there, err := evaluate[float64](ana.desk, `new Promise(done => {
			const look = () => {
				const page = performance.getEntriesByType("navigation")[0];
				if (page.domContentLoadedEventEnd > 0) done(performance.timeOrigin + page.domContentLoadedEventEnd);
				else setTimeout(look, 1);
			};
			look();
		})`)
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Duration((there-sent)*float64(time.Millisecond)))
	}
	slices.Sort(took)
	if took[0] <= 0 {
		t.Fatalf("the clocks do not agree: %v", took)
	}
	median, p95 := took[len(took)/2], took[len(took)*95/100]
	t.Logf("measured: answer sent to standing on the account page, %d approvals: median %v, p95 %v, slowest %v",
		len(took), median.Round(100*time.Microsecond), p95.Round(100*time.Microsecond), took[len(took)-1].Round(100*time.Microsecond))
	if median >= medianWithin {
		t.Errorf("median %v, want under %v", median, medianWithin)
	}
}
