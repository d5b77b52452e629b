// This file tests what a caller without the application's key learns: nothing (INV-9), by status, headers, body and time.

package authyapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/servertest"
)

// pair is one request about something that exists, and the same about something that does not.
type pair struct{ known, unknown func() *http.Request }

// pairs has every route with identifiers that exist and that do not, in its path and in its parameters.
func pairs(t *testing.T, s *site, phone *servertest.Phone) map[string]pair {
	uuid := s.Ask(t, s.app, s.ana, "Log in?").UUID
	all := map[string]pair{}
	build := func(rt route, id, uuid, code, number, email, key string) func() *http.Request {
		form := "user[email]=" + email + "&user[cellphone]=" + number + "&user[country_code]=1&country_code=1&phone_number=" + number +
			"&verification_code=" + code + "&email=" + email + "&message=m&type=banned&name=n&url=https://a.example&events[]=user_added&app_api_key=" + key + "&access_key=" + key
		return func() *http.Request {
			r := request(rt.method, filled(rt.path, id, uuid, code), formType, form)
			if key != "" {
				r.Header.Set("X-Authy-API-Key", key)
			}
			return r
		}
	}
	for _, rt := range everyRoute {
		for name, key := range map[string]string{"no key": "", "a wrong key": strings.Repeat("k", 32), "nearly the key": s.key[:31] + "?"} {
			all[rt.method+" "+rt.path+" with "+name] = pair{
				build(rt, fmt.Sprint(s.ana.AuthyID), uuid, s.appCode(phone), "2025550123", "ana%40example.com", key),
				build(rt, "2147483000", unknown["{uuid}"], "000000", "2025550199", "eve%40example.com", key),
			}
		}
	}
	return all
}

func TestINV9StrangersLearnNothing(t *testing.T) {
	s := newSite(t, roomy, open)
	phone := s.Phone(t, s.app, s.ana)
	s.verification(t)
	for name, p := range pairs(t, s, phone) {
		known, unknown := s.serve(p.known()), s.serve(p.unknown())
		want := http.StatusUnauthorized
		if strings.Contains(name, "/dashboard/") {
			want = http.StatusBadRequest // invalid application API key, in the contract's words
		}
		if known.status != want || known.status != unknown.status || known.body != unknown.body || fmt.Sprint(known.header) != fmt.Sprint(unknown.header) {
			t.Errorf("%s\nknown   %d %v %s\nunknown %d %v %s", name, known.status, known.header, known.body, unknown.status, unknown.header, unknown.body)
		}
	}
	if sent := s.Outbox(t, ""); len(sent) != 1 { // the verification's own
		t.Errorf("strangers made %d messages leave", len(sent)-1)
	}
}

// The quickest of many turns is the time that the work itself takes, whatever else the machine does. For a stranger it is the same about
// what exists and what does not; a single row read more would be seen.
func TestINV9StrangersLearnNothingFromTime(t *testing.T) {
	s := newSite(t, roomy, open)
	phone := s.Phone(t, s.app, s.ana)
	quickest := func(r func() *http.Request, best *time.Duration) {
		req := r()
		began := time.Now()
		s.serve(req)
		*best = min(*best, time.Since(began))
	}
	all := pairs(t, s, phone)
	names := make([]string, 0, len(all))
	for name := range all {
		if strings.HasSuffix(name, "a wrong key") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		known, unknown := time.Hour, time.Hour
		ratio := 0.0
		for range 5 { // more turns only ever bring the quickest closer to the truth
			for range 60 { // in turn, so that both meet the same weather
				quickest(all[name].known, &known)
				quickest(all[name].unknown, &unknown)
			}
			if ratio = float64(known) / float64(unknown); ratio > 1/1.3 && ratio < 1.3 {
				break
			}
		}
		if ratio < 1/1.3 || ratio > 1.3 {
			t.Errorf("%s takes %v about what exists and %v about what does not", name, known, unknown)
		}
	}
}
