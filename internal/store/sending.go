package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"countersign.dev/internal/audit"
	"countersign.dev/internal/fault"
	"countersign.dev/internal/sending"
)

// This file owns the limits of sending: what they look at, and the counting, in the transaction that keeps the message (T-30).

// admit asks whether the message may leave, and counts it when it may. Refused is the rule it breaks; it undoes nothing, because the
// refusal is counted and a pause that it begins is kept.
func (t *tx) admit(ctx context.Context, s sending.Send) (refused *fault.Error, err error) {
	// The account's row is taken first: until this transaction ends nobody else, on any node, looks at its numbers and budgets.
	var owner string
	if err := t.queryRow(ctx, `SELECT owner_email FROM accounts WHERE id = $1 FOR NO KEY UPDATE`, s.AccountID).Scan(&owner); err != nil {
		return nil, fmt.Errorf("take the account: %w", err)
	}
	place := sending.Locate(s.To, s.Channel)
	h, err := t.sendHistory(ctx, s, place)
	if err != nil {
		return nil, fmt.Errorf("read what was sent: %w", err)
	}
	pause, no := s.Decide(place, h)
	if pause != nil {
		if err := t.pause(ctx, s, *pause, owner); err != nil {
			return nil, fmt.Errorf("pause sending: %w", err)
		}
	}
	if no == nil {
		return nil, t.countSend(ctx, s, place)
	}
	if !errors.As(no, &refused) {
		return nil, no
	}
	_, err = t.exec(ctx, `INSERT INTO send_refusals AS r (app_id, day, rule, country, n, last) VALUES ($1, $2, $3, $4, 1, $5)
		ON CONFLICT (app_id, day, rule, country) DO UPDATE SET n = r.n + 1, last = $5`,
		s.AppID, ms(s.At.Truncate(sending.Day)), refused.Code, place.Country, ms(s.At))
	return refused, err
}

// refusals returns how often the application was refused for that reason and country today.
func (t *tx) refusals(ctx context.Context, s sending.Send, rule string) (n int64, err error) {
	err = t.queryRow(ctx, `SELECT n FROM send_refusals WHERE app_id = $1 AND day = $2 AND rule = $3 AND country = $4`,
		s.AppID, ms(s.At.Truncate(sending.Day)), rule, sending.Locate(s.To, s.Channel).Country).Scan(&n)
	return n, err
}

// sendHistory reads what the rules look at; every list of it is bounded by a rule.
func (t *tx) sendHistory(ctx context.Context, s sending.Send, p sending.Place) (h sending.History, err error) {
	var one int
	err = t.queryRow(ctx, `SELECT 1 FROM users WHERE app_id = $1 AND phone = $2 AND confirmed_at > 0 AND removed_at = 0`, s.AppID, s.To).Scan(&one)
	if h.Known = err == nil; missing(err, nil) != nil {
		return h, err
	}
	rows, err := t.query(ctx, `SELECT at, typed FROM sends WHERE account_id = $1 AND number = $2 AND at > $3 ORDER BY at DESC LIMIT $4`,
		s.AccountID, s.To, ms(s.At.Add(-sending.Day)), s.Limits.Filled().NumberDay)
	h.Number, err = collect(rows, err, func(r scanner) (past sending.Past, err error) {
		var at, typed int64
		err = r.Scan(&at, &typed)
		past.At, past.Verified = fromMS(at), typed > 0
		return past, err
	})
	if err != nil {
		return h, err
	}
	hour := ms(s.At.Add(-sending.Hour))
	if p.Prefix != "" {
		h.Prefix, err = scanCrowd(t.queryRow(ctx, `SELECT COUNT(DISTINCT number), COALESCE(MIN(at), 0) FROM sends
			WHERE app_id = $1 AND prefix = $2 AND at > $3 AND number <> $4 AND typed = 0`, s.AppID, p.Prefix, hour, s.To))
		if err != nil {
			return h, err
		}
	}
	if address := s.Address(); address != "" {
		h.Address, err = scanCrowd(t.queryRow(ctx, `SELECT COUNT(*), COALESCE(MIN(at), 0) FROM sends
			WHERE app_id = $1 AND address = $2 AND address <> '' AND at > $3 AND typed = 0`, s.AppID, address, hour))
		if err != nil {
			return h, err
		}
	}
	if h.AppHour, h.AppDay, err = budgets(ctx, t, s.AppID, "", s.At); err != nil {
		return h, err
	}
	if h.CountryHour, h.CountryDay, err = budgets(ctx, t, s.AppID, p.Country, s.At); err != nil {
		return h, err
	}
	if s.Channel == sending.Email {
		return h, nil
	}
	h.Pauses, h.Ratios = map[string]sending.Pause{}, map[string]sending.Ratio{}
	since := s.At.Add(-sending.Day)
	for _, scope := range []string{sending.ByCountry, sending.ByPrefix} { // what came before a country's pause counts for its prefixes no more
		if since, err = t.conversion(ctx, s, p, scope, since, h); err != nil {
			return h, err
		}
	}
	return h, nil
}

func scanCrowd(r scanner) (c sending.Crowd, err error) {
	var oldest int64
	err = r.Scan(&c.N, &oldest)
	c.Oldest = fromMS(oldest)
	return c, err
}

// window is a span of a budget.
type window struct {
	name string
	long time.Duration
}

var (
	hours = window{"hour", sending.Hour}
	days  = window{"day", sending.Day}
)

// budgets returns what was spent of a country in this hour and on this day; of all of them when country is "".
func budgets(ctx context.Context, q querier, appID, country string, now time.Time) (hour, day sending.Spent, err error) {
	thisHour, today := now.Truncate(hours.long), now.Truncate(days.long)
	hour.Ends, day.Ends = thisHour.Add(hours.long), today.Add(days.long)
	rows, err := q.query(ctx, `SELECT span, messages, cost FROM send_budgets WHERE app_id = $1 AND country = $2
		AND ((span = 'hour' AND began = $3) OR (span = 'day' AND began = $4))`, appID, country, ms(thisHour), ms(today))
	_, err = collect(rows, err, func(r scanner) (span string, err error) {
		var s sending.Spent
		err = r.Scan(&span, &s.Messages, &s.Cost)
		if into := map[string]*sending.Spent{hours.name: &hour, days.name: &day}[span]; into != nil {
			into.Messages, into.Cost = s.Messages, s.Cost
		}
		return span, err
	})
	return hour, day, err
}

// conversion reads the pause of a scope, and how many of the latest codes after it, or after since, were typed. It returns the later of the two.
func (t *tx) conversion(ctx context.Context, s sending.Send, p sending.Place, scope string, since time.Time, h sending.History) (time.Time, error) {
	pause, err := scanPause(t.queryRow(ctx, `SELECT scope, place, until, level, sent, typed FROM send_pauses WHERE app_id = $1 AND scope = $2 AND place = $3`,
		s.AppID, scope, p.In(scope)))
	switch {
	case err == nil:
		h.Pauses[scope] = pause
		if pause.Until.After(since) {
			since = pause.Until
		}
	case missing(err, nil) != nil:
		return since, err
	}
	const newest = ` AND at >= $3 AND at <= $4 ORDER BY at DESC LIMIT $5) AS newest`
	var r sending.Ratio
	args := []any{s.AppID, p.In(scope), ms(since), ms(s.At.Add(-sending.Mature)), sending.Sample}
	if scope == sending.ByCountry {
		err = t.queryRow(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(typed), 0) AS BIGINT) FROM (SELECT typed FROM sends WHERE app_id = $1 AND country = $2`+newest, args...).Scan(&r.Sent, &r.Typed)
	} else {
		err = t.queryRow(ctx, `SELECT COUNT(*), CAST(COALESCE(SUM(typed), 0) AS BIGINT) FROM (SELECT typed FROM sends WHERE app_id = $1 AND prefix = $2`+newest, args...).Scan(&r.Sent, &r.Typed)
	}
	h.Ratios[scope] = r
	return since, err
}

func scanPause(r scanner) (p sending.Pause, err error) {
	var until int64
	err = r.Scan(&p.Scope, &p.Place, &until, &p.Level, &p.Sent, &p.Typed)
	p.Until = fromMS(until)
	return p, err
}

// pause keeps a pause, records it, and tells the account's owner.
func (t *tx) pause(ctx context.Context, s sending.Send, p sending.Pause, owner string) error {
	if _, err := t.exec(ctx, `INSERT INTO send_pauses (app_id, scope, place, until, level, sent, typed) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (app_id, scope, place) DO UPDATE SET until = $4, level = $5, sent = $6, typed = $7`,
		s.AppID, p.Scope, p.Place, ms(p.Until), p.Level, p.Sent, p.Typed); err != nil {
		return err
	}
	mail := s.Alert(s, owner, p)
	mail.Attempts, mail.RunAt = 0, s.At // due, not leased: whoever polls next sends it
	if err := t.insertJob(ctx, mail); err != nil {
		return err
	}
	return t.record(ctx, audit.New(s.At, s.AppID, "system", "sending.paused", p.Scope+":"+p.Place).Noting(p.Why()))
}

// countSend keeps that the message left.
func (t *tx) countSend(ctx context.Context, s sending.Send, p sending.Place) error {
	if err := t.later(ctx, `INSERT INTO sends (id, account_id, app_id, number, channel, country, prefix, address, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		s.ID, s.AccountID, s.AppID, s.To, s.Channel, p.Country, p.Prefix, s.Address(), ms(s.At)); err != nil {
		return fmt.Errorf("insert send: %w", err)
	}
	countries := []string{"", p.Country}
	if s.Channel == sending.Email {
		countries = countries[1:] // mail is no part of the budget of texts and calls
	}
	for _, country := range countries {
		for _, w := range []window{hours, days} {
			if err := t.later(ctx, `INSERT INTO send_budgets AS b (app_id, country, span, began, messages, cost) VALUES ($1, $2, $3, $4, 1, $5)
				ON CONFLICT (app_id, country, span, began) DO UPDATE SET messages = b.messages + 1, cost = b.cost + $5`,
				s.AppID, country, w.name, ms(s.At.Truncate(w.long)), int64(s.Limits.Price(s.To, s.Channel))); err != nil {
				return fmt.Errorf("count send: %w", err)
			}
		}
	}
	return nil
}

// typed notes that somebody typed a code which the number was sent: whoever is behind it reads what is sent there, so what was sent to it
// in the last day was not sent in vain.
func (t *tx) typed(ctx context.Context, accountID, number string, now time.Time) error {
	if _, err := t.exec(ctx, `UPDATE sends SET typed = 1 WHERE account_id = $1 AND number = $2 AND at > $3 AND typed = 0`,
		accountID, number, ms(now.Add(-sending.Day))); err != nil {
		return fmt.Errorf("note a typed code: %w", err)
	}
	return nil
}

// sentTyped is typed for the number of a sent code.
func (t *tx) sentTyped(ctx context.Context, sentID string, now time.Time) error {
	var accountID, number string
	if err := t.queryRow(ctx, `SELECT a.account_id, c.address FROM sent_codes c JOIN applications a ON a.id = c.app_id WHERE c.id = $1`, sentID).
		Scan(&accountID, &number); err != nil {
		return fmt.Errorf("read where a code was sent: %w", err)
	}
	return t.typed(ctx, accountID, number, now)
}

// SendingState returns what an application's budgets have used, where sending is paused, and what was refused today.
func (s *Store) SendingState(ctx context.Context, appID string, now time.Time) (st sending.State, err error) {
	if st.Hour, st.Day, err = budgets(ctx, s, appID, "", now); err != nil {
		return st, err
	}
	rows, err := s.query(ctx, `SELECT scope, place, until, level, sent, typed FROM send_pauses WHERE app_id = $1 AND until > $2 ORDER BY until DESC, place LIMIT 20`,
		appID, ms(now))
	if st.Pauses, err = collect(rows, err, scanPause); err != nil {
		return st, err
	}
	rows, err = s.query(ctx, `SELECT rule, country, n, last FROM send_refusals WHERE app_id = $1 AND day = $2 ORDER BY n DESC, rule, country LIMIT 20`,
		appID, ms(now.Truncate(sending.Day)))
	st.Refused, err = collect(rows, err, func(r scanner) (c sending.Refused, err error) {
		var last int64
		err = r.Scan(&c.Rule, &c.Country, &c.N, &last)
		c.Last = fromMS(last)
		return c, err
	})
	return st, err
}

// EndPause closes a breaker. The row stays: what was sent before it does not open the breaker again.
func (s *Store) EndPause(ctx context.Context, appID, scope, place string, now time.Time, rec audit.Record) error {
	return s.write(ctx, func(t *tx) error {
		n, err := t.exec(ctx, `UPDATE send_pauses SET until = $1, level = -1 WHERE app_id = $2 AND scope = $3 AND place = $4 AND until > $1`, ms(now), appID, scope, place)
		if err != nil {
			return err
		}
		if n == 0 {
			return sending.ErrNoPause
		}
		return t.record(ctx, rec)
	})
}

// forgetSending removes what no rule looks at any more.
func (t *tx) forgetSending(ctx context.Context, now time.Time, limit int) (int64, error) {
	kept, day := ms(now.Add(-sending.Kept)), ms(now.Add(-sending.Kept-sending.Day))
	sends, err := t.exec(ctx, `DELETE FROM sends WHERE id IN (SELECT id FROM sends WHERE at <= $1 ORDER BY at LIMIT $2)`, kept, limit)
	if err != nil {
		return 0, fmt.Errorf("forget sends: %w", err)
	}
	budgets, err := t.exec(ctx, `DELETE FROM send_budgets WHERE (app_id, country, span, began) IN
		(SELECT app_id, country, span, began FROM send_budgets WHERE began <= $1 ORDER BY began LIMIT $2)`, day, limit)
	if err != nil {
		return 0, fmt.Errorf("forget budgets of sending: %w", err)
	}
	pauses, err := t.exec(ctx, `DELETE FROM send_pauses WHERE (app_id, scope, place) IN
		(SELECT app_id, scope, place FROM send_pauses WHERE until <= $1 ORDER BY until LIMIT $2)`, kept, limit)
	if err != nil {
		return 0, fmt.Errorf("forget pauses of sending: %w", err)
	}
	refusals, err := t.exec(ctx, `DELETE FROM send_refusals WHERE (app_id, day, rule, country) IN
		(SELECT app_id, day, rule, country FROM send_refusals WHERE day <= $1 ORDER BY day LIMIT $2)`, day, limit)
	if err != nil {
		return 0, fmt.Errorf("forget refusals of sending: %w", err)
	}
	return sends + budgets + pauses + refusals, nil
}
