// This file holds reports to contract section 11.

package authyapi

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/approval"
	"countersign.dev/internal/reporting"
)

// past makes Ana's history: enrolled, asked, approved, a wrong code and a right one; each a minute after the other.
func (s *site) past(t *testing.T) approval.Approval {
	t.Helper()
	s.Clock.Advance(time.Minute)
	phone := s.Phone(t, s.app, s.ana)
	s.Clock.Advance(time.Minute)
	asked := s.Ask(t, s.app, s.ana, "Log in?")
	s.Clock.Advance(time.Minute)
	a, err := phone.Answer(t, asked.UUID, "approve", "")
	if err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(time.Minute)
	verify := func(code string) { s.get(fmt.Sprintf("/protected/json/verify/%s/%d", code, s.ana.AuthyID)) }
	verify("000000")
	s.Clock.Advance(time.Minute)
	verify(s.appCode(phone))
	return a
}

const reports = "/protected/json/reporting/"

// names are the events of an answer, in its order.
func (a answer) names(t *testing.T) string {
	t.Helper()
	list, _ := a.at(t, "events").([]any)
	names := make([]string, len(list))
	for i, e := range list {
		names[i] = fmt.Sprint(e.(map[string]any)["event"])
	}
	return strings.Join(names, " ")
}

func (s *site) wantNames(t *testing.T, query, want string) {
	t.Helper()
	a := s.get(reports + "events?" + query)
	// The first device makes two events in one moment, which have no order.
	got := strings.Replace(a.names(t), "user_registration_completed device_registration_completed", "device_registration_completed user_registration_completed", 1)
	if a.status != 200 || got != want {
		t.Errorf("%s: %d %s\n%s\nwant %s", query, a.status, got, a.body, want)
	}
}

func TestReportedEvents(t *testing.T) {
	s := newSite(t, roomy)
	a := s.past(t)
	s.wantNames(t, "", "token_verified token_invalid one_touch_request_responded one_touch_request_sent device_registration_completed user_registration_completed user_added")
	s.wantNames(t, "per_page=2", "token_verified token_invalid")
	s.wantNames(t, "per_page=4&page=2", "device_registration_completed user_registration_completed user_added")
	s.wantNames(t, "page=9", "")
	s.wantNames(t, "query[event][eq]=user_added", "user_added")
	s.wantNames(t, "query[event][eq]=user_phone_changed", "") // of the catalogue, and never happens here
	s.wantNames(t, "query[time][gte]=2026-05-04T10:03:00Z&query[time][lte]=2026-05-04T10:04:00Z", "token_invalid one_touch_request_responded")
	s.wantNames(t, "query[time][gte]=2026-05-05", "")
	s.wantNames(t, "query[time][lte]=2026-05-04T12:00:30%2B02:00", "user_added")

	event := s.get(reports + "events?query[event][eq]=one_touch_request_responded")
	id := s.records(t, "approval.approved")
	hash := s.Ring.Hash("reported phone", s.ana.Phone)
	g := a.Answer.Grant
	event.is(t, 200, fmt.Sprintf(`{"success":true,"events":[{"event":"one_touch_request_responded","time":"2026-05-04T10:03:00.000Z","request_id":"%s","objects":{`+
		`"app":{"account_sid":"AC%s","device_app":false,"id":"%s","name":"Bank","type":"full"},`+
		`"user":{"authy_id":%d,"authy_ids":[%d],"banned":false,"country_code":1,"phone_number":"%s"},`+
		`"onetouch_request":{"device_geolocation":"","device_signing_time":1777888980,"errors":[],"expiration_timestamp":1777889040,"seconds_to_expire":120,"status":"approved","uuid":"%s"},`+
		`"device":{"creation_date":1777888860,"device_type":"%s","errors":[],"id":%d,"last_used_date":%d,"name":"%s","sync_date":%[10]d}}}],"message":"Events."}`,
		id, s.app.AccountID, s.app.ID, s.ana.AuthyID, s.ana.AuthyID, hash, a.UUID, osType(g.Device.Platform), g.ID, g.Device.SeenAt.Unix(), g.Device.Name))
	if strings.Contains(event.body, s.ana.National()) {
		t.Error("a phone number in the clear (INV-8)")
	}
}

// records is the id of the application's newest record of an action.
func (s *site) records(t *testing.T, action string) string {
	t.Helper()
	all, err := s.Store.Audit(t.Context(), s.app.ID, 100)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range all {
		if r.Action == action {
			return r.ID
		}
	}
	t.Fatalf("no record of %s", action)
	return ""
}

// Attributes beyond event and time: whose, which approval, which event; of somebody who is gone too.
func TestReportedAbout(t *testing.T) {
	s := newSite(t, roomy)
	a := s.past(t)
	s.Clock.Advance(time.Minute)
	bob := s.User(t, s.app, "bob@example.com", "202-555-0188")
	of := func(id int64) string { return fmt.Sprintf("query[authy_id][eq]=%d", id) }
	const hers = "token_verified token_invalid one_touch_request_responded one_touch_request_sent device_registration_completed user_registration_completed user_added"
	s.wantNames(t, of(s.ana.AuthyID), hers)
	s.wantNames(t, fmt.Sprintf("query[i_authy_id][eq]=%d", s.ana.AuthyID), hers)
	s.wantNames(t, of(s.ana.AuthyID)+"&query[event][eq]=token_invalid", "token_invalid")
	s.wantNames(t, of(bob.AuthyID), "user_added")
	s.wantNames(t, of(2147483000), "")
	s.wantNames(t, "query[s_uuid][eq]="+a.UUID, "one_touch_request_responded one_touch_request_sent")
	s.wantNames(t, of(bob.AuthyID)+"&query[uuid][eq]="+a.UUID, "")
	s.wantNames(t, "query[request_id][eq]="+s.records(t, "approval.approved"), "one_touch_request_responded")
	s.get(reports+"terms?"+of(bob.AuthyID)).is(t, 200, `{"success":true,"terms":[{"term":"user_added","count":1}],"message":"Terms."}`)
	s.get(reports+"date_histogram?interval=day&report[a][event][eq]=user_added&scope[authy_id][eq]="+fmt.Sprint(bob.AuthyID)).is(t, 200,
		`{"success":true,"reports":{"a":[{"time":"2026-05-04T00:00:00.000Z","count":1}]},"message":"Date histogram."}`)
	s.Clock.Advance(time.Second)
	s.post(fmt.Sprintf("/protected/json/users/%d/remove", bob.AuthyID), "")
	s.wantNames(t, of(bob.AuthyID), "user_removed user_added")
	n := newNeighbour(t, s)
	s.wantNames(t, of(n.user.AuthyID), "") // INV-11
	s.wantNames(t, "query[uuid][eq]="+n.asked.UUID, "")
}

// What was about somebody who is gone is still told.
func TestReportedAfterRemoval(t *testing.T) {
	s := newSite(t, roomy)
	s.past(t)
	s.Clock.Advance(time.Minute)
	s.post(fmt.Sprintf("/protected/json/users/%d/remove", s.ana.AuthyID), "")
	a := s.get(reports + "events?per_page=1")
	if a.names(t) != "user_removed" || !strings.Contains(a.body, fmt.Sprintf(`"authy_id":%d`, s.ana.AuthyID)) {
		t.Errorf("%s", a.body)
	}
}

func TestReportedCounts(t *testing.T) {
	s := newSite(t, roomy)
	s.past(t)
	s.get(reports+"terms").is(t, 200, `{"success":true,"terms":[{"term":"device_registration_completed","count":1},{"term":"one_touch_request_responded","count":1},`+
		`{"term":"one_touch_request_sent","count":1},{"term":"token_invalid","count":1},{"term":"token_verified","count":1},{"term":"user_added","count":1},{"term":"user_registration_completed","count":1}],"message":"Terms."}`)
	s.get(reports+"date_histogram?interval=hour&report[new][event][eq]=user_added&report[good][event][eq]=token_verified").is(t, 200,
		`{"success":true,"reports":{"good":[{"time":"2026-05-04T10:00:00.000Z","count":1}],"new":[{"time":"2026-05-04T10:00:00.000Z","count":1}]},"message":"Date histogram."}`)
	s.get(reports+"date_histogram?interval=minute&report[a][event][eq]=token_verified&scope[time][gte]=2026-05-04T10:05:00Z").is(t, 200,
		`{"success":true,"reports":{"a":[{"time":"2026-05-04T10:05:00.000Z","count":1}]},"message":"Date histogram."}`)
	s.get(reports+"date_histogram?interval=day&report[a][event][eq]=token_verified&page=2").is(t, 200, `{"success":true,"reports":{"a":[]},"message":"Date histogram."}`)
}

func TestReportsRefuse(t *testing.T) {
	s := newSite(t, roomy)
	for query, want := range map[string][2]string{
		"events?query[event]=user_added":                             {"60089", "event - an operator is expected"},
		"events?query[event][gte]=user_added":                        {"60089", "event[gte] - " + servedAttributes},
		"events?query[s_ip][eq]=1":                                   {"60089", "ip[eq] - " + servedAttributes},
		"events?query[time][gte]=yesterday":                          {"60089", "time[gte] - 'yesterday' is not a time such as 2026-05-04T10:00:00Z"},
		"events?query[time][gte]=9999-01-01":                         {"60089", "time[gte] - '9999-01-01' is not a time such as 2026-05-04T10:00:00Z"},
		"events?query[authy_id][eq]=ana":                             {"60089", "authy_id[eq] - 'ana' is not a valid Integer"},
		"events?query[authy_id][gte]=1":                              {"60089", "authy_id[gte] - " + servedAttributes},
		"events?page=0":                                              {"60089", "page - 1 to 50000 are expected"},
		"events?per_page=101":                                        {"60089", "per_page - 1 to 100 are expected"},
		"events?per_page=x":                                          {"60089", "per_page - 1 to 100 are expected"},
		"terms?attribute=s_ip":                                       {"60089", "attribute - event is expected"},
		"date_histogram?report[a][event][eq]=user_added":             {"60094", "minute, hour or day is expected"},
		"date_histogram?interval=week&report[a][event][eq]=user_add": {"60094", "minute, hour or day is expected"},
		"date_histogram?interval=day":                                {"60095", "1 to 10 of report[NAME][event][eq] are expected"},
		"date_histogram?interval=day&report[a][event][eq]=lunch":     {"60095", "a - event[eq] is one of " + strings.Join(reporting.Events(), ", ")},
	} {
		path, values, _ := strings.Cut(query, "?")
		parsed, err := url.ParseQuery(values)
		if err != nil {
			t.Fatal(err)
		}
		a := s.get(reports + path + "?" + parsed.Encode())
		if message := fmt.Sprint(a.at(t, "message")); a.status != 400 || a.at(t, "error_code") != want[0] || !strings.HasSuffix(message, want[1]) {
			t.Errorf("%s: %d %s, want %v", query, a.status, a.body, want)
		}
		a.wellFormed(t)
	}
	many := reports + "date_histogram?interval=day"
	for i := range reporting.MaxReports + 1 {
		many += fmt.Sprintf("&report[r%d][event][eq]=user_added", i)
	}
	if a := s.get(many); a.at(t, "error_code") != "60095" {
		t.Errorf("%d reports: %s", reporting.MaxReports+1, a.body)
	}
}

// A question that would read too much is refused, unless its page is full before.
func TestReportsAreBounded(t *testing.T) {
	s := newSite(t, roomy)
	s.past(t)
	s.Reports.Most = 4
	s.wantNames(t, "per_page=2", "token_verified token_invalid")
	for _, path := range []string{"events?per_page=4&page=2", "events?query[event][eq]=user_added", "terms", "date_histogram?interval=day&report[a][event][eq]=user_added"} {
		s.get(reports+path).refused(t, 400, "60089", reporting.ErrMany.Detail)
	}
	s.wantNames(t, "query[event][eq]=user_added&query[time][lte]=2026-05-04T10:00:30Z", "user_added")
}

// An application reads its own past alone (INV-11).
func TestReportsOfTheNeighbour(t *testing.T) {
	s := newSite(t, roomy)
	n := newNeighbour(t, s)
	a := s.get(reports + "events")
	if a.names(t) != "user_added" || strings.Contains(a.body, n.app.ID) || strings.Contains(a.body, fmt.Sprint(n.user.AuthyID)) {
		t.Errorf("%s", a.body)
	}
	if got := s.get(reports + "terms").body; strings.Contains(got, "one_touch_request_sent") {
		t.Errorf("%s", got)
	}
}
