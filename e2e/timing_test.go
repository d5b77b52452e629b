// This file measures how long a person who approved looks at the waiting page.

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	timedApprovals = 25
	medianWithin   = 100 * time.Millisecond
)

// legs are the parts of the way of a decision, in milliseconds by the browsers' own clocks.
var legs = []string{"to the browser at the desk", "completing the log-in", "getting the account page", "showing it"}

// TestApprovalReachesBrowser measures from the phone's sending of its answer to the account page being there in the browser at
// the desk. It runs alone: parallel tests wait until it is done.
func TestApprovalReachesBrowser(t *testing.T) {
	d := startPlainDev(t)
	ana := enrolled(t, d, "Ana")
	took, parts := []float64{}, make([][]float64, len(legs))
	for range timedApprovals {
		ana.logOut(ana.desk)
		ana.logIn(ana.desk)
		ana.openRequest(ana.request(ana.desk))
		ana.press("approve")
		ana.desk.stand(d.LoginURL + "/account")
		marks := append([]float64{answerSent(t, ana.hand)}, accountShown(t, ana.desk)...)
		for i := range legs {
			parts[i] = append(parts[i], marks[i+1]-marks[i])
		}
		took = append(took, marks[len(legs)]-marks[0])
	}
	if slices.Min(took) <= 0 {
		t.Fatalf("the clocks do not agree: %v", took)
	}
	t.Logf("measured: answer sent to standing on the account page, %d approvals: median %.1f ms, p95 %.1f ms, slowest %.1f ms",
		len(took), percentile(took, 50), percentile(took, 95), slices.Max(took))
	var each []string
	for i, leg := range legs {
		each = append(each, fmt.Sprintf("%s %.1f ms", leg, percentile(parts[i], 50)))
	}
	t.Logf("measured: of it, in the median: %s", strings.Join(each, ", "))
	if median := time.Duration(percentile(took, 50) * float64(time.Millisecond)); median >= medianWithin {
		t.Errorf("median %v, want under %v", median, medianWithin)
	}
}

// percentile is the nearest-rank percentile.
func percentile(values []float64, percent int) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)*percent+99)/100-1]
}

// answerSent is when the phone sent its last answer, in Unix milliseconds.
func answerSent(t *testing.T, hand *tab) float64 {
	t.Helper()
	at, err := evaluate[float64](hand, `(() => {
		const sent = performance.getEntriesByType("resource").filter(e => e.name.endsWith("/answer")).at(-1);
		const at = performance.timeOrigin + sent.startTime;
		performance.clearResourceTimings(); // the browser keeps 250
		return at;
	})()`)
	if err != nil {
		t.Fatalf("when the answer was sent: %v", err)
	}
	return at
}

// accountShown is when the desk began to complete the log-in, when it was sent on to the account page, when it had that
// page, and when the page was there, in Unix milliseconds.
func accountShown(t *testing.T, desk *tab) []float64 {
	t.Helper()
	marks, err := evaluate[[]float64](desk, `new Promise(done => {
		const look = () => {
			const page = performance.getEntriesByType("navigation")[0];
			if (page.domContentLoadedEventEnd === 0) return setTimeout(look, 1);
			done([page.startTime, page.redirectEnd, page.responseEnd, page.domContentLoadedEventEnd].map(ms => performance.timeOrigin + ms));
		};
		look();
	})`)
	if err != nil {
		t.Fatalf("when the account page was there: %v", err)
	}
	return marks
}
