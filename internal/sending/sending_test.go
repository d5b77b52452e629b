package sending

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"countersign.dev/internal/fault"
)

var now = time.Date(2026, 5, 4, 10, 0, 0, 0, time.UTC)

func send(to string) Send {
	l := Defaults()
	l.Countries = "PT US"
	return Send{To: to, Channel: SMS, At: now, IP: "192.0.2.7", Limits: l}
}

func (s Send) decide(h History) error {
	_, err := s.Decide(Locate(s.To, s.Channel), h)
	return err
}

// T-30: what is no person's number gets no message, and what is in no named country neither.
func TestT30KindAndCountry(t *testing.T) {
	for _, row := range []struct {
		to, channel string
		want        error
	}{
		{"+12025550123", SMS, nil},
		{"+12025550123", Call, nil},
		{"+351912345678", SMS, nil},
		{"+351212345678", SMS, ErrLandline},
		{"+351212345678", Call, nil},
		{"+447400123456", SMS, ErrCountry},
		{"+18765550123", SMS, ErrCountry}, // Jamaica shares +1
		{"+14165550123", SMS, ErrCountry}, // and so does Canada
		{"+19005550123", SMS, ErrNumber},  // premium
		{"+18005550123", SMS, ErrNumber},  // toll free
		{"+15005550006", SMS, ErrNumber},  // personal
		{"+351707123456", SMS, ErrNumber}, // personal
		{"+351808123456", Call, ErrNumber},
		{"+447012345678", SMS, ErrNumber},
		{"+881612345678", SMS, ErrNumber}, // satellite
		{"+8835100123456", Call, ErrNumber},
		{"+33899123456", Call, ErrNumber},
		{"+491512345678", SMS, ErrNumber}, // too short for its plan
		{"+999123456789", SMS, ErrNumber},
		{"", SMS, ErrNumber},
		{"ana@example.com", Email, nil},
	} {
		s := send(row.to)
		s.Channel = row.channel
		if err := s.decide(History{}); !errors.Is(err, row.want) {
			t.Errorf("%s to %s: %v, want %v", row.channel, row.to, err, row.want)
		}
	}
	nowhere := send("+12025550123")
	nowhere.Limits = Limits{}
	if err := nowhere.decide(History{}); !errors.Is(err, ErrCountry) {
		t.Errorf("an application that named no country: %v", err)
	}
	free := send("+447700900123") // a number of fiction
	free.Limits = Free()
	if err := free.decide(History{}); err != nil {
		t.Errorf("a number of fiction where nothing is sent: %v", err)
	}
}

func pasts(typed bool, ago ...time.Duration) (list []Past) {
	for _, a := range ago {
		list = append(list, Past{At: now.Add(-a), Verified: typed})
	}
	return list
}

// T-30: each rule at its edge, and when it says to come back.
func TestT30Rules(t *testing.T) {
	minute := time.Minute
	spent := func(n int, cost Money) Spent { return Spent{Budget{n, cost}, now.Add(20 * minute)} }
	for name, row := range map[string]struct {
		h     History
		want  error
		after time.Duration
	}{
		"nothing before":                     {},
		"a moment after the first":           {h: History{Number: pasts(false, 14*time.Second)}, want: ErrWait, after: time.Second},
		"when its wait is over":              {h: History{Number: pasts(false, 15*time.Second)}},
		"the wait doubles":                   {h: History{Number: pasts(false, 29*time.Second, time.Minute)}, want: ErrWait, after: time.Second},
		"who typed one waits for none":       {h: History{Number: pasts(true, time.Second, time.Minute)}},
		"three in ten minutes":               {h: History{Number: pasts(true, minute, 2*minute, 9*minute)}, want: ErrNumMany, after: minute},
		"the third is ten minutes old":       {h: History{Number: pasts(true, minute, 2*minute, 10*minute)}},
		"eight a day":                        {h: History{Number: pasts(true, 2*time.Hour, 3*time.Hour, 4*time.Hour, 5*time.Hour, 6*time.Hour, 7*time.Hour, 8*time.Hour, 20*time.Hour)}, want: ErrNumMany, after: 4 * time.Hour},
		"four other numbers alike":           {h: History{Prefix: Crowd{4, now.Add(-50 * minute)}}},
		"five other numbers alike":           {h: History{Prefix: Crowd{5, now.Add(-50 * minute)}}, want: ErrPrefix, after: 10 * minute},
		"twenty from one address":            {h: History{Address: Crowd{20, now.Add(-59 * minute)}}, want: ErrAddress, after: minute},
		"messages of the hour":               {h: History{Known: true, AppHour: spent(500, 0)}, want: ErrHour, after: 20 * minute},
		"the last message of the hour":       {h: History{Known: true, AppHour: spent(499, 0)}},
		"strangers' messages of the hour":    {h: History{AppHour: spent(400, 0)}, want: ErrHour, after: 20 * minute},
		"strangers' last of the hour":        {h: History{AppHour: spent(399, 0)}},
		"money of the hour":                  {h: History{Known: true, AppHour: spent(1, 25*Unit)}, want: ErrHour, after: 20 * minute},
		"the last money of the hour":         {h: History{Known: true, AppHour: spent(1, 25*Unit-10_000)}},
		"one millionth beyond it":            {h: History{Known: true, AppHour: spent(1, 25*Unit-9_999)}, want: ErrHour, after: 20 * minute},
		"known, in a crowd that is not":      {h: History{Known: true, Prefix: Crowd{9, now}, Pauses: map[string]Pause{ByPrefix: {Until: now.Add(minute)}}}},
		"messages of the day":                {h: History{AppDay: spent(3000, 0)}, want: ErrDay, after: 20 * minute},
		"money of the country's day":         {h: History{CountryDay: spent(1, 40*Unit)}, want: ErrDay, after: 20 * minute},
		"messages of the country's hour":     {h: History{CountryHour: spent(300, 0)}, want: ErrHour, after: 20 * minute},
		"a pause":                            {h: History{Pauses: map[string]Pause{ByPrefix: {Until: now.Add(minute)}}}, want: ErrPaused, after: minute},
		"the pause is over":                  {h: History{Pauses: map[string]Pause{ByPrefix: {Until: now}}}},
		"nineteen, and none typed":           {h: History{Ratios: map[string]Ratio{ByCountry: {19, 0}}}},
		"twenty, and a fifth typed":          {h: History{Ratios: map[string]Ratio{ByCountry: {20, 4}}}},
		"twenty, and less than a fifth":      {h: History{Ratios: map[string]Ratio{ByCountry: {20, 3}}}, want: ErrPaused, after: time.Hour},
		"less than a fifth of numbers alike": {h: History{Ratios: map[string]Ratio{ByPrefix: {50, 9}}}, want: ErrPaused, after: time.Hour},
	} {
		err := send("+12025550123").decide(row.h)
		if !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		} else if e, ok := errors.AsType[*fault.Error](err); ok && e.RetryAfter != row.after {
			t.Errorf("%s: come back in %v, want %v", name, e.RetryAfter, row.after)
		}
	}
}

// A pause that follows another is twice as long, up to a day.
func TestT30PauseDoubles(t *testing.T) {
	h := History{Pauses: map[string]Pause{}, Ratios: map[string]Ratio{ByPrefix: {20, 0}}}
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 24, 24, 24} {
		s := send("+12025550123")
		pause, err := s.Decide(Locate(s.To, SMS), h)
		if pause == nil || pause.Level != i || pause.Place != "+1202555" || pause.Until != now.Add(want*time.Hour) || !errors.Is(err, ErrPaused) {
			t.Fatalf("pause %d: %+v, %v", i, pause, err)
		}
		pause.Until = now
		h.Pauses[ByPrefix] = *pause
	}
	s := send("+12025550123")
	s.Channel = Call
	if _, err := s.Decide(Locate(s.To, Call), h); !errors.Is(err, ErrNoCall) {
		t.Errorf("a call: %v", err)
	}
}

func TestMail(t *testing.T) {
	s := send("ana@example.com")
	s.Channel = Email
	for name, row := range map[string]struct {
		h    History
		want error
	}{
		"the first":        {},
		"too soon":         {History{Number: pasts(false, time.Second)}, ErrWait},
		"too many":         {History{Number: pasts(true, 1, 2, 3)}, ErrNumMany},
		"the hour's":       {History{CountryHour: Spent{Budget: Budget{Messages: 1000}}}, ErrMail},
		"one address's":    {History{Address: Crowd{20, now}}, ErrAddress},
		"texts are others": {History{AppHour: Spent{Budget: Budget{Messages: 5000}}}, nil},
	} {
		if err := s.decide(row.h); !errors.Is(err, row.want) {
			t.Errorf("%s: %v, want %v", name, err, row.want)
		}
	}
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "2001:db8:1:2::9": "2001:db8:1:2::", "fe80::1%eth0": "fe80::",
		"": "", "unknown": "", "192.0.2.7, 10.0.0.1": "", "192.0.2.7:80": "",
	} {
		if got := (Send{IP: in}).Address(); got != want {
			t.Errorf("address %q is counted as %q, want %q", in, got, want)
		}
	}
}

func TestPrices(t *testing.T) {
	table, err := ParsePrices("+44=0.04, +4474=0.05;+1=0.0075")
	if err != nil || table != "+1=0.0075 +4474=0.05 +44=0.04" {
		t.Fatalf("table %q, %v", table, err)
	}
	l := Limits{Prices: table}
	for number, want := range map[string]string{"+447400123456": "0.05", "+447500123456": "0.04", "+12025550123": "0.0075", "+351912345678": "0.06", "+8801712345678": "0.20"} {
		if got := l.Price(number, SMS).String(); got != want {
			t.Errorf("a text to %s costs %s, want %s", number, got, want)
		}
	}
	if text, call := l.Price("+12025550123", SMS), l.Price("+12025550123", Call); call != 2*text || l.Price("ana@example.com", Email) != 0 {
		t.Errorf("a call costs %v, a text %v", call, text)
	}
	for _, bad := range []string{"44=0.04", "+44", "+44=", "+44=x", "+=1", "+44=-1", "+44=1.0000001", "+44=1e3", "++44=1", strings.Repeat("+1=1 ", 301)} {
		if table, err := ParsePrices(bad); !errors.Is(err, ErrLimits) || table != "" {
			t.Errorf("%.30q: %q, %v", bad, table, err)
		}
	}
}

func TestCountries(t *testing.T) {
	for in, want := range map[string]string{"US": "US", " us,PT ; ca\nUS": "CA PT US", "": "", "US *": "*", "*": "*"} {
		if got, err := ParseCountries(in); err != nil || got != want {
			t.Errorf("%q: %q, %v", in, got, err)
		}
	}
	for _, bad := range []string{"USA", "ZZ", "001", "United States", "U", "US PT XX"} {
		if got, err := ParseCountries(bad); !errors.Is(err, ErrLimits) || got != "" {
			t.Errorf("%q: %q, %v", bad, got, err)
		}
	}
}

// What is kept reads back as it was meant.
func FuzzParsePrices(f *testing.F) {
	f.Add("+44=0.04, +1=0.0075")
	f.Add("+1=999999999.999999")
	f.Fuzz(func(t *testing.T, in string) {
		kept, err := ParsePrices(in)
		if err != nil {
			return
		}
		if again, err := ParsePrices(kept); err != nil || again != kept {
			t.Errorf("%q is kept as %q and read as %q, %v", in, kept, again, err)
		}
		for number, price := range prices(kept) {
			if price < 0 || number[0] != '+' {
				t.Errorf("%q costs %v", number, price)
			}
		}
	})
}

func TestMoney(t *testing.T) {
	for in, want := range map[string]string{"12": "12.00", "0.0075": "0.0075", "1.5": "1.50", "007": "7.00", "0.000001": "0.000001", "999999999.999999": "999999999.999999"} {
		m, ok := ParseMoney(in)
		if !ok || m.String() != want {
			t.Errorf("%q: %s, %t", in, m, ok)
		}
	}
	for _, bad := range []string{"", ".5", "-1", "1,5", "1.0000001", "1e3", "9999999999", "1 000"} {
		if m, ok := ParseMoney(bad); ok {
			t.Errorf("%q: %s", bad, m)
		}
	}
	if fmt.Sprint(Defaults().Check(), Free().Check()) != "<nil> <nil>" {
		t.Error("the standard limits do not pass their own check")
	}
}
