package store

import (
	"errors"
	"path/filepath"
	"testing"
	"time"
)

// TestAskedForOfWhatWasUndone: what a closure looked up about webhooks and then undid does not count for the others of its batch, whose events would be
// told to nobody.
func TestAskedForOfWhatWasUndone(t *testing.T) {
	s, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "countersign.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	db := s.engine.(*sqlite)
	if err := errors.Join(
		db.writer.control(`PRAGMA foreign_keys = OFF`), // for one row without its application
		db.writer.control(`INSERT INTO webhook_events (app_id, event, webhook_id) VALUES ('bank', 'happened', 'hook')`),
	); err != nil {
		t.Fatal(err)
	}
	undone := errors.New("undone")
	var before, after bool
	batch := []write{
		{ctx: t.Context(), fn: func(x *tx) (err error) {
			if _, err := x.exec(t.Context(), `DELETE FROM webhook_events WHERE app_id = 'bank'`); err != nil {
				return err
			}
			if before, err = x.askedFor(t.Context(), "bank", "happened"); err != nil {
				return err
			}
			return undone
		}},
		{ctx: t.Context(), fn: func(x *tx) (err error) {
			after, err = x.askedFor(t.Context(), "bank", "happened")
			return err
		}},
	}
	for i := range batch {
		batch[i].done, batch[i].since = make(chan error, 1), time.Now()
	}
	db.commit(batch)
	if first, second := <-batch[0].done, <-batch[1].done; !errors.Is(first, undone) || second != nil {
		t.Fatalf("outcomes %v and %v", first, second)
	}
	if before || !after {
		t.Errorf("asked for after its removal: %v, after that was undone: %v", before, after)
	}
}
