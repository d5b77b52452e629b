package store

import (
	"context"
	"errors"
	"iter"

	"github.com/jackc/pgx/v5"
)

// This file owns closures that run among each other in one transaction on PostgreSQL, each until it needs an answer. What all of them asked then
// travels together, so that a group costs as many round trips as its longest closure, and not as all of them.
//
// They are coroutines: one runs at a time. Only closures that look at nothing but what is their key's do this (writeAmong), and of each key one.

// strand is the session that such a closure sees. There are no savepoints: when one would be needed, the transaction begins again with them.
type strand struct {
	tx      *pgTransaction
	waiting []flight
	own     bool             // it reads the last answer of what waits itself
	results pgx.BatchResults // where that is, when its turn comes
	changed int              // grows with each statement that changed something, as far as is known

	resume func() (struct{}, bool) // runs the closure until it waits; false: it is done
	stop   func()                  // has it come to an end
	yield  func(struct{}) bool     // waits; false: it is to come to an end
	ended  bool
}

// among runs closures and sets their outcomes. A regret says that all is to begin again.
func (t *pgTransaction) among(writes []write, outcomes []error) {
	var waiting []*strand
	for i, w := range writes {
		s := &strand{tx: t}
		s.resume, s.stop = iter.Pull(func(yield func(struct{}) bool) {
			s.yield = yield
			x := &tx{on: s}
			if outcomes[i] = w.ctx.Err(); outcomes[i] == nil {
				outcomes[i] = x.savepoint(func() error { return w.fn(x) })
			}
		})
		defer s.stop()
		if t.goOn(s) {
			waiting = append(waiting, s)
		}
	}
	for len(waiting) > 0 && t.regret == nil {
		waiting = t.round(waiting)
	}
}

// goOn runs a closure until it waits again. What it asked last travels with the next round, or with COMMIT.
func (t *pgTransaction) goOn(s *strand) (waits bool) {
	if _, waits = s.resume(); !waits {
		t.waiting = append(t.waiting, s.waiting...)
	}
	return waits
}

// round gets those who wait their answers, and returns those who wait again.
func (t *pgTransaction) round(waiting []*strand) (again []*strand) {
	before := t.waiting
	t.waiting, t.begun = nil, true
	batch := &pgx.Batch{}
	queue := func(all []flight) error {
		for _, f := range all {
			if err := t.prepareNow(f.sql); err != nil {
				return err
			}
			batch.Queue(f.sql, f.args...)
		}
		return nil
	}
	err := queue(before)
	for _, s := range waiting {
		err = errors.Join(err, queue(s.waiting))
	}
	if err != nil {
		t.regret = err
		return nil
	}
	t.listen()
	results := t.conn.SendBatch(context.Background(), batch)
	if t.regret = answerAll(before, results); t.regret == nil {
		again = t.handOut(results, waiting)
	}
	if err := results.Close(); err != nil && t.regret == nil {
		t.regret = err
	}
	return again
}

// handOut gives each who waits its answers, and lets it go on.
func (t *pgTransaction) handOut(results pgx.BatchResults, waiting []*strand) (again []*strand) {
	for _, s := range waiting {
		t.listen()
		answers := s.waiting
		if s.own {
			answers = answers[:len(answers)-1]
		}
		if t.regret = answerAll(answers, results); t.regret != nil {
			return nil
		}
		s.waiting, s.own, s.results = nil, false, results
		if t.goOn(s) {
			again = append(again, s)
		}
		if t.regret != nil {
			return nil
		}
	}
	return again
}

func answerAll(flights []flight, results pgx.BatchResults) error {
	for _, f := range flights {
		if err := f.answer(results); err != nil {
			return err
		}
	}
	return nil
}

// add lets a statement wait for the next round.
func (s *strand) add(f flight) error {
	if s.tx.regret != nil {
		return s.tx.regret
	}
	if s.ended {
		return errMixedUp
	}
	s.waiting = append(s.waiting, f)
	return nil
}

// wait returns when what waits was answered, but for the last answer when own.
func (s *strand) wait(own bool) error {
	s.own = own
	if s.ended = !s.yield(struct{}{}); s.ended {
		return errMixedUp
	}
	return nil
}

// failed has all begin again after an error of the database: it takes nothing more in a transaction without savepoints.
func (s *strand) failed(err error) error {
	if err != nil && s.tx.regret == nil {
		s.tx.regret = err
	}
	return err
}

func (s *strand) query(q string, args []any) (rows, error) {
	if err := s.add(flight{sql: q, args: args}); err != nil {
		return nil, err
	}
	if err := s.wait(true); err != nil {
		return nil, err
	}
	r, err := s.results.Query()
	if err != nil {
		return nil, s.failed(err)
	}
	got := &pgRows{Rows: r}
	if !isRead(q) {
		got.changed = &s.changed
	}
	return got, nil
}

func (s *strand) exec(q string, args []any) (int64, error) {
	if err := s.add(flight{sql: q, args: args}); err != nil {
		return 0, err
	}
	if err := s.wait(true); err != nil {
		return 0, err
	}
	tag, err := s.results.Exec()
	if !isRead(q) {
		s.changed += int(tag.RowsAffected())
	}
	return tag.RowsAffected(), s.failed(err)
}

func (s *strand) later(q string, args []any, read func(rows) error) error {
	if !isRead(q) { // what it changes is told later
		s.changed++
	}
	return s.add(flight{q, args, read})
}

func (s *strand) arrive() error {
	if len(s.waiting) == 0 {
		return nil
	}
	return s.wait(false)
}

func (s *strand) lock(q string, args []any) error { return s.later(q, args, nil) }

func (s *strand) hold(name string) error { return s.later(holdName, []any{"countersign:" + name}, nil) }

// control is not called: a strand runs hastily always.
func (s *strand) control(q string) error { return s.failed(errors.New("no " + q + " among others")) }

func (s *strand) hastily(fn func() error) (bool, error) {
	before := s.changed
	err := guarded(fn)
	if needsSavepoint(err, s.changed != before) {
		err = s.failed(err)
	}
	return true, err
}
