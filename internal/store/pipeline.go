package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"countersign.dev/internal/fault"
)

// This file owns how statements travel to PostgreSQL. What costs is round trips, so whatever needs no answer at once waits
// for the next statement that does, and goes in front of it.

// pgTransaction is a connection in a transaction.
type pgTransaction struct {
	conn     *pgx.Conn
	prepared map[string]bool // on conn
	end      time.Time       // then it is cut off, whatever it does
	waiting  []flight
	begun    bool  // something was sent
	careful  bool  // nothing waits, so that an error is known to be that of the statement just run
	hasty    bool  // there are no savepoints
	changed  int   // grows with each statement that changed something, as far as is known
	regret   error // hasty: why it begins again with savepoints
	mixedUp  bool  // an error came from a statement that had waited: whose it is, only a careful run can tell. Nothing more runs
}

var errMixedUp = errors.New("an earlier statement failed")

// flight is a statement on its way.
type flight struct {
	sql  string
	args []any
	read func(rows) error // nil: its answer is of no interest
}

func onConnection(conn *pgx.Conn, careful bool) *pgTransaction {
	const key = "prepared"
	kept := conn.PgConn().CustomData()
	prepared, ok := kept[key].(map[string]bool)
	if !ok {
		prepared = map[string]bool{}
		kept[key] = prepared
	}
	return &pgTransaction{conn: conn, prepared: prepared, end: time.Now().Add(longest), careful: careful}
}

// listen gives PostgreSQL some time to say something.
func (t *pgTransaction) listen() {
	at := time.Now().Add(silence)
	if at.After(t.end) {
		at = t.end
	}
	cutOff(t.conn, at)
}

// prepare sees to it that only statements that are prepared travel together. PostgreSQL would fail to prepare another one
// before the SAVEPOINT in front of it is there, and the whole transaction would fail with it.
func (t *pgTransaction) prepare(q string) error {
	if t.mixedUp {
		return errMixedUp
	}
	if t.regret != nil {
		return t.regret
	}
	if t.prepared[q] {
		return nil
	}
	if err := t.flush(); err != nil {
		return err
	}
	return t.prepareNow(q)
}

func (t *pgTransaction) prepareNow(q string) error {
	if t.prepared[q] {
		return nil
	}
	t.listen()
	if _, err := t.conn.Prepare(context.Background(), q, q); err != nil {
		return fmt.Errorf("prepare %.60q: %w", q, err)
	}
	t.prepared[q] = true
	return nil
}

// send sends what waits and returns the results of what was given last, whose turn it is then.
func (t *pgTransaction) send() (pgx.BatchResults, error) {
	batch := &pgx.Batch{QueuedQueries: make([]*pgx.QueuedQuery, 0, len(t.waiting))}
	sent := t.waiting
	t.waiting, t.begun = nil, true
	for _, f := range sent {
		batch.Queue(f.sql, f.args...)
	}
	t.listen()
	results := t.conn.SendBatch(context.Background(), batch)
	for _, f := range sent[:len(sent)-1] {
		if err := f.answer(results); err != nil {
			t.mixedUp = true
			results.Close()
			return nil, err
		}
	}
	return results, nil
}

func (f flight) answer(results pgx.BatchResults) error {
	if f.read == nil {
		_, err := results.Exec()
		return err
	}
	r, err := results.Query()
	if err != nil {
		return err
	}
	defer r.Close()
	if err := f.read(&pgRows{Rows: r}); err != nil {
		return err
	}
	r.Close()
	return r.Err()
}

func (t *pgTransaction) arrive() error { return t.flush() }

// flush sends what waits and reads all answers.
func (t *pgTransaction) flush() error {
	if len(t.waiting) == 0 {
		return nil
	}
	last := t.waiting[len(t.waiting)-1]
	results, err := t.send()
	if err != nil {
		return err
	}
	err = last.answer(results)
	if err != nil && !t.careful { // it had waited, and who flushes is another statement
		t.mixedUp = true
	}
	return errors.Join(err, results.Close())
}

func (t *pgTransaction) query(q string, args []any) (rows, error) {
	if err := t.prepare(q); err != nil {
		return nil, err
	}
	t.waiting = append(t.waiting, flight{sql: q, args: args})
	results, err := t.send()
	if err != nil {
		return nil, err
	}
	r, err := results.Query()
	if err != nil {
		results.Close()
		return nil, err
	}
	got := &pgRows{Rows: r, ended: func() { results.Close() }}
	if !isRead(q) {
		got.changed = &t.changed
	}
	return got, nil
}

func (t *pgTransaction) exec(q string, args []any) (int64, error) {
	tag, err := t.run(q, args)
	return tag.RowsAffected(), err
}

func (t *pgTransaction) run(q string, args []any) (pgconn.CommandTag, error) {
	if err := t.prepare(q); err != nil {
		return pgconn.CommandTag{}, err
	}
	t.waiting = append(t.waiting, flight{sql: q, args: args})
	results, err := t.send()
	if err != nil {
		return pgconn.CommandTag{}, err
	}
	tag, err := results.Exec()
	if !isRead(q) {
		t.changed += int(tag.RowsAffected())
	}
	return tag, errors.Join(err, results.Close())
}

func (t *pgTransaction) later(q string, args []any, read func(rows) error) error {
	if err := t.prepare(q); err != nil {
		return err
	}
	t.waiting = append(t.waiting, flight{q, args, read})
	if !isRead(q) { // what it changes is told later
		t.changed++
	}
	if t.careful {
		return t.flush()
	}
	return nil
}

func (t *pgTransaction) control(q string) error {
	if q == "ROLLBACK TO one" {
		_, err := t.run(q, nil)
		return err
	}
	return t.later(q, nil, nil)
}

func (t *pgTransaction) hastily(fn func() error) (bool, error) {
	if !t.hasty {
		return false, nil
	}
	before := t.changed
	err := guarded(fn)
	if t.regret == nil && needsSavepoint(err, t.changed != before) {
		t.regret = err
	}
	return true, err
}

// needsSavepoint reports whether what failed has to be undone by itself. A closure that refuses leaves the transaction as it is; after any other error
// PostgreSQL takes nothing more in one without savepoints.
func needsSavepoint(err error, changed bool) bool {
	_, refused := errors.AsType[*fault.Error](err)
	return err != nil && (changed || !refused || errors.Is(err, ErrAway))
}

const holdName = `SELECT pg_advisory_xact_lock(hashtextextended($1, 0))`

func (t *pgTransaction) lock(q string, args []any) error { return t.later(q, args, nil) }

func (t *pgTransaction) hold(name string) error {
	return t.later(holdName, []any{"countersign:" + name}, nil)
}

func (t *pgTransaction) rollback() error {
	t.waiting = nil
	if !t.begun {
		return nil
	}
	t.listen()
	_, err := t.conn.Exec(context.Background(), "ROLLBACK")
	return err
}

func (t *pgTransaction) commit() error {
	if !t.begun && len(t.waiting) == 1 { // BEGIN alone: the closures did nothing
		return nil
	}
	tag, err := t.run("COMMIT", nil)
	if err == nil && tag.String() != "COMMIT" {
		err = fmt.Errorf("PostgreSQL answered %s: a statement had failed before", tag)
	}
	return err
}
