package tenant

import (
	"context"
	"sync"
	"time"
)

// This file owns the monthly figures of an application (contract section 9.2).

// Counted is something that is counted by the month.
type Counted uint8

// What is counted.
const (
	CountSMS     Counted = iota // text messages with a code
	CountCalls                  // calls with a code
	CountUsers                  // users added
	CountAuths                  // right codes and approved approvals
	CountAPICall                // requests with the application's key
	countedKinds
)

// UsageMonths is how many months are told.
const UsageMonths = 12

// Month is a month of the calendar: months since year 0, in UTC.
type Month int64

// MonthOf returns the month of t.
func MonthOf(t time.Time) Month {
	t = t.UTC()
	return Month(t.Year()*12 + int(t.Month()) - 1)
}

// Year returns the year of m.
func (m Month) Year() int { return int(m / 12) }

// Name returns the English name of m.
func (m Month) Name() string { return time.Month(m%12 + 1).String() }

// Usage is what was counted for one application in one month.
type Usage struct {
	AppID                              string
	Month                              Month
	SMS, Calls, Users, Auths, APICalls int64
}

// Meter counts in memory and adds what it counted to the rows in sweeps. A row that every request of an application
// updated would be the one row that all nodes wait for, and a request that only reads would become a write. So a crash may
// lose the figures of the seconds since the last sweep; the facts behind them are in their own rows. A nil Meter counts nothing.
type Meter struct {
	Store interface {
		// AddUsage adds to the months' rows.
		AddUsage(ctx context.Context, more []Usage) error
	}
	Now func() time.Time

	mu      sync.Mutex
	pending map[meterKey]*[countedKinds]int64
}

type meterKey struct {
	appID string
	month Month
}

// Count adds one.
func (m *Meter) Count(appID string, what Counted) {
	if m == nil {
		return
	}
	key := meterKey{appID, MonthOf(m.Now())}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pending == nil {
		m.pending = map[meterKey]*[countedKinds]int64{}
	}
	counts := m.pending[key]
	if counts == nil {
		counts = new([countedKinds]int64)
		m.pending[key] = counts
	}
	counts[what]++
}

// Sweep adds what was counted since the last sweep to the rows. What cannot be added now is kept for the next.
func (m *Meter) Sweep(ctx context.Context) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	swept := m.pending
	m.pending = nil
	m.mu.Unlock()
	if len(swept) == 0 {
		return nil
	}
	more := make([]Usage, 0, len(swept))
	for key, n := range swept {
		more = append(more, Usage{key.appID, key.month, n[CountSMS], n[CountCalls], n[CountUsers], n[CountAuths], n[CountAPICall]})
	}
	err := m.Store.AddUsage(ctx, more)
	if err != nil {
		m.giveBack(swept)
	}
	return err
}

func (m *Meter) giveBack(swept map[meterKey]*[countedKinds]int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pending == nil {
		m.pending = swept
		return
	}
	for key, n := range swept {
		counts := m.pending[key]
		if counts == nil {
			m.pending[key] = n
			continue
		}
		for i := range counts {
			counts[i] += n[i]
		}
	}
}

// Statistics are an application's figures: its users now, and the last months in which anything was counted, oldest first.
type Statistics struct {
	Users  int64
	Months []Usage
}

// Statistics returns an application's figures, those of this process up to now.
func (s *Service) Statistics(ctx context.Context, app Application) (Statistics, error) {
	if err := s.Meter.Sweep(ctx); err != nil {
		return Statistics{}, err
	}
	return s.Store.Statistics(ctx, app.ID, MonthOf(s.Now())-UsageMonths+1)
}
