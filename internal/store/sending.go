package store

import (
	"context"
	"database/sql"
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
	var account found
	err = t.ask(ctx, func(rows rows) error { return account.scan(rows, &owner) }, `SELECT owner_email FROM accounts WHERE id = $1 FOR NO KEY UPDATE`, s.AccountID)
	if err != nil {
		return nil, fmt.Errorf("take the account: %w", err)
	}
	place := sending.Locate(s.To, s.Channel)
	h, err := t.sendHistory(ctx, s, place)
	if err != nil {
		return nil, fmt.Errorf("read what was sent: %w", err)
	}
	if !account {
		return nil, fmt.Errorf("take the account: %w", sql.ErrNoRows)
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

// sendHistory reads what the rules look at; every list of it is bounded by a rule. What can be asked together is, because the account's row is held meanwhile.
func (t *tx) sendHistory(ctx context.Context, s sending.Send, p sending.Place) (h sending.History, err error) {
	var known found
	hour := ms(s.At.Add(-sending.Hour))
	err = errors.Join(
		t.ask(ctx, known.look, `SELECT 1 FROM users WHERE app_id = $1 AND phone = $2 AND confirmed_at > 0 AND removed_at = 0`, s.AppID, s.To),
		t.ask(ctx, func(rows rows) error { return scanPast(rows, &h.Number) }, `SELECT at, typed FROM sends WHERE account_id = $1 AND number = $2 AND at > $3 ORDER BY at DESC LIMIT $4`,
			s.AccountID, s.To, ms(s.At.Add(-sending.Day)), s.Limits.Filled().NumberDay),
		t.askBudgets(ctx, s, "", &h.AppHour, &h.AppDay),
		t.askBudgets(ctx, s, p.Country, &h.CountryHour, &h.CountryDay),
	)
	if address := s.Address(); err == nil && address != "" {
		err = t.ask(ctx, func(rows rows) error { return scanCrowd(rows, &h.Address) }, `SELECT COUNT(*), COALESCE(MIN(at), 0) FROM sends
			WHERE app_id = $1 AND address = $2 AND address <> '' AND at > $3 AND typed = 0`, s.AppID, address, hour)
	}
	if err == nil {
		err = t.arrive()
	}
	if h.Known = bool(known); err != nil || h.Known || s.Channel == sending.Email {
		return h, err // what follows are rules for numbers that never typed a code
	}
	if p.Prefix != "" {
		err = t.ask(ctx, func(rows rows) error { return scanCrowd(rows, &h.Prefix) }, `SELECT COUNT(DISTINCT number), COALESCE(MIN(at), 0) FROM sends
			WHERE app_id = $1 AND prefix = $2 AND at > $3 AND number <> $4 AND typed = 0`, s.AppID, p.Prefix, hour, s.To)
	}
	if err == nil {
		err = t.conversion(ctx, s, p, &h)
	}
	return h, err
}

// scanPast reads what one number was sent.
func scanPast(rows rows, list *[]sending.Past) error {
	*list = nil
	for rows.Next() {
		var at, typed int64
		if err := rows.Scan(&at, &typed); err != nil {
			return err
		}
		*list = append(*list, sending.Past{At: fromMS(at), Verified: typed > 0})
	}
	return rows.Err()
}

// scanCrowd reads the row of a count.
func scanCrowd(rows rows, c *sending.Crowd) error {
	var row found
	var oldest int64
	err := row.scan(rows, &c.N, &oldest)
	c.Oldest = fromMS(oldest)
	return err
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

// spent finds what a country's budget has used in an hour and on a day.
const spent = `SELECT span, messages, cost FROM send_budgets WHERE app_id = $1 AND country = $2
	AND ((span = 'hour' AND began = $3) OR (span = 'day' AND began = $4))`

// budgets returns what was spent in this hour and on this day, in all countries.
func (s *Store) budgets(ctx context.Context, appID string, now time.Time) (hour, day sending.Spent, err error) {
	rows, err := s.query(ctx, spent, appID, "", ms(now.Truncate(hours.long)), ms(now.Truncate(days.long)))
	if err != nil {
		return hour, day, err
	}
	defer rows.Close()
	err = scanBudgets(rows, now, &hour, &day)
	return hour, day, err
}

// askBudgets asks for what was spent of a country in this hour and on this day; of all of them when country is "".
func (t *tx) askBudgets(ctx context.Context, s sending.Send, country string, hour, day *sending.Spent) error {
	return t.ask(ctx, func(rows rows) error { return scanBudgets(rows, s.At, hour, day) }, spent, s.AppID, country, ms(s.At.Truncate(hours.long)), ms(s.At.Truncate(days.long)))
}

func scanBudgets(rows rows, now time.Time, hour, day *sending.Spent) error {
	*hour, *day = sending.Spent{Ends: now.Truncate(hours.long).Add(hours.long)}, sending.Spent{Ends: now.Truncate(days.long).Add(days.long)}
	for rows.Next() {
		var span string
		var b sending.Budget
		if err := rows.Scan(&span, &b.Messages, &b.Cost); err != nil {
			return err
		}
		if into := map[string]*sending.Spent{hours.name: hour, days.name: day}[span]; into != nil {
			into.Budget = b
		}
	}
	return rows.Err()
}

// conversion reads the pauses of country and prefix, and of each how many of the latest codes after its pause were typed. What came before a
// country's pause counts for its prefixes no more.
func (t *tx) conversion(ctx context.Context, s sending.Send, p sending.Place, h *sending.History) error {
	h.Pauses, h.Ratios = map[string]sending.Pause{}, map[string]sending.Ratio{}
	rows, err := t.query(ctx, `SELECT scope, place, until, level, sent, typed FROM send_pauses
		WHERE app_id = $1 AND ((scope = 'country' AND place = $2) OR (scope = 'prefix' AND place = $3))`, s.AppID, p.In(sending.ByCountry), p.In(sending.ByPrefix))
	pauses, err := collect(rows, err, scanPause)
	if err != nil {
		return err
	}
	for _, pause := range pauses {
		h.Pauses[pause.Scope] = pause
	}
	since := func(day time.Time, scope string) time.Time {
		if until := h.Pauses[scope].Until; until.After(day) {
			return until
		}
		return day
	}
	country := since(s.At.Add(-sending.Day), sending.ByCountry)
	prefix := since(country, sending.ByPrefix)
	const newest = ` AND at >= $3 AND at <= $4 ORDER BY at DESC LIMIT $5) AS newest`
	err = errors.Join(
		t.ask(ctx, scanRatio(h.Ratios, sending.ByCountry), `SELECT COUNT(*), CAST(COALESCE(SUM(typed), 0) AS BIGINT) FROM (SELECT typed FROM sends WHERE app_id = $1 AND country = $2`+newest,
			s.AppID, p.In(sending.ByCountry), ms(country), ms(s.At.Add(-sending.Mature)), sending.Sample),
		t.ask(ctx, scanRatio(h.Ratios, sending.ByPrefix), `SELECT COUNT(*), CAST(COALESCE(SUM(typed), 0) AS BIGINT) FROM (SELECT typed FROM sends WHERE app_id = $1 AND prefix = $2`+newest,
			s.AppID, p.In(sending.ByPrefix), ms(prefix), ms(s.At.Add(-sending.Mature)), sending.Sample),
	)
	if err != nil {
		return err
	}
	return t.arrive()
}

func scanRatio(ratios map[string]sending.Ratio, scope string) func(rows) error {
	return func(rows rows) error {
		var row found
		var r sending.Ratio
		err := row.scan(rows, &r.Sent, &r.Typed)
		ratios[scope] = r
		return err
	}
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
	if err := t.later(ctx, `UPDATE sends SET typed = 1 WHERE account_id = (SELECT a.account_id FROM sent_codes c JOIN applications a ON a.id = c.app_id WHERE c.id = $1)
		AND number = (SELECT address FROM sent_codes WHERE id = $1) AND at > $2 AND typed = 0`, sentID, ms(now.Add(-sending.Day))); err != nil {
		return fmt.Errorf("note a typed code: %w", err)
	}
	return nil
}

// SendingState returns what an application's budgets have used, where sending is paused, and what was refused today.
func (s *Store) SendingState(ctx context.Context, appID string, now time.Time) (st sending.State, err error) {
	if st.Hour, st.Day, err = s.budgets(ctx, appID, now); err != nil {
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
