package authyapi

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign.dev/internal/reporting"
	"countersign.dev/internal/tenant"
)

// This file owns reports: contract section 11.

func (a *API) reportEvents(c call) (any, error) {
	q, err := reportQuery(c.params, "query", a.Now())
	if err != nil {
		return nil, err
	}
	page, err := pageOf(c.params, "page", 1, reporting.MaxRecords)
	if err != nil {
		return nil, err
	}
	size, err := pageOf(c.params, "per_page", reporting.MaxPage, reporting.MaxPage)
	if err != nil {
		return nil, err
	}
	found, err := a.Reports.Page(c.ctx, c.app, q, page, size)
	if err != nil {
		return nil, err
	}
	events := make([]reportedEvent, len(found))
	for i, e := range found {
		events[i] = reportedEventOf(c.app, e)
	}
	return struct {
		Success bool            `json:"success"`
		Events  []reportedEvent `json:"events"`
		Message string          `json:"message"`
	}{true, events, "Events."}, nil
}

func (a *API) reportHistogram(c call) (any, error) {
	scope, err := reportQuery(c.params, "scope", a.Now())
	if err != nil {
		return nil, err
	}
	interval, ok := reporting.Intervals[c.params.String("interval")]
	if !ok {
		return nil, reporting.ErrInterval
	}
	page, err := pageOf(c.params, "page", 1, reporting.MaxRecords)
	if err != nil {
		return nil, err
	}
	named, ok := c.params.Object("report")
	if !ok || len(named) == 0 || len(named) > reporting.MaxReports {
		return nil, reporting.ErrReport.Saying(fmt.Sprintf("Invalid reporting report: 1 to %d of report[NAME][event][eq] are expected", reporting.MaxReports))
	}
	reports := map[string]string{}
	for _, m := range named {
		reports[m.Name] = m.Value.String("event", "eq")
		if !slices.Contains(reporting.Events(), reports[m.Name]) {
			return nil, reporting.ErrReport.Saying(fmt.Sprintf("Invalid reporting report: %.40s - event[eq] is one of %s", m.Name, strings.Join(reporting.Events(), ", ")))
		}
	}
	counted, err := a.Reports.Histogram(c.ctx, c.app, scope, reports, interval, page)
	if err != nil {
		return nil, err
	}
	type bucket struct {
		Time  string `json:"time"`
		Count int64  `json:"count"`
	}
	told := map[string][]bucket{}
	for name, buckets := range counted {
		told[name] = make([]bucket, len(buckets))
		for i, b := range buckets {
			told[name][i] = bucket{reportTime(b.At), b.Count}
		}
	}
	return struct {
		Success bool                `json:"success"`
		Reports map[string][]bucket `json:"reports"`
		Message string              `json:"message"`
	}{true, told, "Date histogram."}, nil
}

func (a *API) reportTerms(c call) (any, error) {
	q, err := reportQuery(c.params, "query", a.Now())
	if err != nil {
		return nil, err
	}
	if of := c.params.String("attribute"); of != "" && of != "event" {
		return nil, reporting.ErrQuery.Saying("Invalid reporting query: attribute - event is expected")
	}
	counted, err := a.Reports.Terms(c.ctx, c.app, q)
	if err != nil {
		return nil, err
	}
	type term struct {
		Term  string `json:"term"`
		Count int64  `json:"count"`
	}
	terms := make([]term, len(counted))
	for i, t := range counted {
		terms[i] = term{t.Name, t.Count}
	}
	return struct {
		Success bool   `json:"success"`
		Terms   []term `json:"terms"`
		Message string `json:"message"`
	}{true, terms, "Terms."}, nil
}

// reportQuery reads attribute[operator]=value under a name: event and what it is about with eq, time with gte and lte.
func reportQuery(p *Params, under string, now time.Time) (reporting.Query, error) {
	q := reporting.Query{To: now.Add(time.Millisecond)}
	attributes, _ := p.Object(under)
	for _, attribute := range attributes {
		operators, ok := attribute.Value.Object()
		if !ok {
			return q, reporting.ErrQuery.Saying(fmt.Sprintf("Invalid reporting query: %.40s - an operator is expected", attribute.Name))
		}
		for _, operator := range operators {
			if err := restrict(&q, attribute.Name+"["+operator.Name+"]", operator.Value.String()); err != nil {
				return q, err
			}
		}
	}
	if q.From.IsZero() {
		q.From = q.To.Add(-reporting.DefaultSpan)
	}
	return q, nil
}

const servedAttributes = "event[eq], authy_id[eq], uuid[eq], request_id[eq], time[gte] and time[lte] are served"

func restrict(q *reporting.Query, name, value string) error {
	if len(name) > 2 && name[1] == '_' && strings.Contains("sib", name[:1]) {
		name = name[2:] // the attribute's type, which the reference put in front
	}
	switch name {
	case "event[eq]":
		q.Event = value
		return nil
	case "uuid[eq]":
		q.UUID = value
		return nil
	case "request_id[eq]":
		q.Request = value
		return nil
	case "authy_id[eq]":
		id, err := strconv.ParseInt(value, 10, 64)
		if err != nil || id < 1 {
			return reporting.ErrQuery.Saying(fmt.Sprintf("Invalid reporting query: %s - '%.40s' is not a valid Integer", name, value))
		}
		q.AuthyID = id
		return nil
	case "time[gte]", "time[lte]":
		at, ok := parseReportTime(value)
		if !ok {
			return reporting.ErrQuery.Saying(fmt.Sprintf("Invalid reporting query: %s - '%.40s' is not a time such as 2026-05-04T10:00:00Z", name, value))
		}
		if name == "time[gte]" {
			q.From = at
		} else {
			q.To = at.Add(time.Millisecond) // that moment included
		}
		return nil
	}
	return reporting.ErrQuery.Saying(fmt.Sprintf("Invalid reporting query: %.60s - %s", name, servedAttributes))
}

// parseReportTime reads ISO 8601, or a date alone, between the years 2000 and 2200.
func parseReportTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, at.Year() >= 2000 && at.Year() < 2200
		}
	}
	return time.Time{}, false
}

// reportTime writes a time as reports have it.
func reportTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// pageOf reads a number from 1 to most.
func pageOf(p *Params, name string, otherwise, most int64) (int, error) {
	if !p.Has(name) || p.String(name) == "" && p.Kind(name) == KindString {
		return int(otherwise), nil
	}
	n, ok := p.Int(name)
	if !ok || n < 1 || n > min(most, math.MaxInt32) {
		return 0, reporting.ErrQuery.Saying(fmt.Sprintf("Invalid reporting query: %s - 1 to %d are expected", name, most))
	}
	return int(n), nil
}

type reportedEvent struct {
	Event     string          `json:"event"`
	Time      string          `json:"time"`
	RequestID string          `json:"request_id"`
	Objects   reportedObjects `json:"objects"`
}

type reportedObjects struct {
	App          reportedApp           `json:"app"`
	User         *reportedUser         `json:"user,omitempty"`
	Request      *reportedRequest      `json:"onetouch_request,omitempty"`
	Device       *reportedDevice       `json:"device,omitempty"`
	Verification *reportedVerification `json:"phone_verification,omitempty"`
}

type reportedApp struct {
	AccountSID string `json:"account_sid"`
	DeviceApp  bool   `json:"device_app"`
	ID         string `json:"id"`
	Name       string `json:"name"`
	Type       string `json:"type"`
}

type reportedUser struct {
	AuthyID     int64   `json:"authy_id"`
	AuthyIDs    []int64 `json:"authy_ids"`
	Banned      bool    `json:"banned"`
	CountryCode int     `json:"country_code"`
	PhoneNumber string  `json:"phone_number"` // a hash
}

type reportedRequest struct {
	DeviceGeolocation string   `json:"device_geolocation"`
	DeviceSigningTime int64    `json:"device_signing_time"`
	Errors            []string `json:"errors"`
	Expiration        int64    `json:"expiration_timestamp"` // 0 = never
	SecondsToExpire   int64    `json:"seconds_to_expire"`
	Status            string   `json:"status"`
	UUID              string   `json:"uuid"`
}

type reportedDevice struct {
	CreationDate int64    `json:"creation_date"`
	DeviceType   string   `json:"device_type"`
	Errors       []string `json:"errors"`
	ID           int64    `json:"id"`
	LastUsed     int64    `json:"last_used_date"`
	Name         string   `json:"name"`
	SyncDate     int64    `json:"sync_date"`
}

type reportedVerification struct {
	ID string `json:"id"`
}

func reportedEventOf(app tenant.Application, e reporting.Event) reportedEvent {
	told := reportedEvent{
		Event: e.Name, Time: reportTime(e.Record.At), RequestID: e.Record.ID,
		Objects: reportedObjects{App: reportedApp{AccountSID: "AC" + app.AccountID, ID: app.ID, Name: app.Name, Type: "full"}},
	}
	if u := e.User; u != nil {
		told.Objects.User = &reportedUser{AuthyID: u.AuthyID, AuthyIDs: []int64{u.AuthyID}, CountryCode: u.CountryCode, PhoneNumber: e.Phone}
	}
	if id := e.Record.Subject("verification"); id != "" {
		told.Objects.Verification = &reportedVerification{id}
	}
	a := e.Approval
	if a == nil {
		return told
	}
	request := &reportedRequest{Errors: []string{}, SecondsToExpire: a.Life, Status: string(a.Status), UUID: a.UUID}
	if !a.ExpiresAt.IsZero() {
		request.Expiration = a.ExpiresAt.Unix()
	}
	if a.Answer != nil {
		request.DeviceSigningTime = a.ProcessedAt.Unix()
		g := a.Answer.Grant
		told.Objects.Device = &reportedDevice{
			CreationDate: g.CreatedAt.Unix(), DeviceType: osType(g.Device.Platform), Errors: []string{}, ID: g.ID,
			LastUsed: g.Device.SeenAt.Unix(), Name: g.Device.Name, SyncDate: g.Device.SeenAt.Unix(),
		}
	}
	told.Objects.Request = request
	return told
}
