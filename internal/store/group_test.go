package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign.dev/internal/audit"
)

// This file tests group commit through a table of its own. Batches are made by hand: a first write
// holds the writer up until the others wait in the queue.

func openScratch(t testing.TB) *Store {
	t.Helper()
	s, err := OpenSQLite(t.Context(), filepath.Join(t.TempDir(), "group 100%?#.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	scratch := func(x *tx) error {
		_, err := x.exec(t.Context(), `CREATE TABLE scratch (name TEXT PRIMARY KEY, parent TEXT REFERENCES scratch (name) DEFERRABLE INITIALLY DEFERRED)`)
		return err
	}
	if err := s.write(t.Context(), scratch); err != nil {
		t.Fatal(err)
	}
	return s
}

// insert returns a write of one row.
func insert(name string) func(*tx) error {
	return func(x *tx) error {
		_, err := x.exec(context.Background(), `INSERT INTO scratch (name) VALUES ($1)`, name)
		return err
	}
}

// committed returns what another connection sees.
func committed(t testing.TB, s *Store) []string {
	t.Helper()
	rows, err := s.query(context.Background(), `SELECT name FROM scratch ORDER BY name`)
	names, err := collect(rows, err, scanText)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// batch is a number of writes that wait together for the writer.
type batch struct {
	s       *Store
	release chan struct{}
	done    sync.WaitGroup
}

// holdUp occupies the writer until b.run.
func holdUp(s *Store) *batch {
	b := &batch{s: s, release: make(chan struct{})}
	began := make(chan struct{})
	b.done.Go(func() {
		_ = s.write(context.Background(), func(*tx) error {
			close(began)
			<-b.release
			return nil
		})
	})
	<-began
	return b
}

// add queues a write behind those queued already; its outcome is in *err after run.
func (b *batch) add(ctx context.Context, fn func(*tx) error) (err *error) {
	err = new(error)
	waiting := len(b.s.group.queues[0])
	b.done.Go(func() { *err = b.s.write(ctx, fn) })
	for len(b.s.group.queues[0]) == waiting {
		runtime.Gosched()
	}
	return err
}

// run lets the writer go and waits for everybody.
func (b *batch) run() {
	close(b.release)
	b.done.Wait()
}

func TestGroupUndoesOnlyWhatFailed(t *testing.T) {
	s := openScratch(t)
	refused := errors.New("refused")
	b := holdUp(s)
	first := b.add(t.Context(), insert("first"))
	failed := b.add(t.Context(), func(x *tx) error { return errors.Join(insert("failed")(x), refused) })
	panicked := b.add(t.Context(), func(x *tx) error {
		_ = insert("panicked")(x)
		panic("a defect")
	})
	inner := b.add(t.Context(), func(x *tx) error {
		if err := x.savepoint(func() error { return errors.Join(insert("inner")(x), refused) }); !errors.Is(err, refused) {
			return fmt.Errorf("savepoint returned %v", err)
		}
		return insert("outer")(x)
	})
	twice := b.add(t.Context(), insert("first"))
	last := b.add(t.Context(), insert("last"))
	b.run()
	if *first != nil || *inner != nil || *last != nil {
		t.Errorf("good writes ended with %v, %v, %v", *first, *inner, *last)
	}
	if !errors.Is(*failed, refused) || *twice == nil {
		t.Errorf("failed writes ended with %v and %v", *failed, *twice)
	}
	if *panicked == nil || !strings.Contains((*panicked).Error(), "a defect") {
		t.Errorf("the panic ended as %v", *panicked)
	}
	if got, want := committed(t, s), []string{"first", "last", "outer"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

// TestINV12NothingIsToldBeforeCommit guards INV-12: who writes is answered after the commit, and then everybody sees the row.
func TestINV12NothingIsToldBeforeCommit(t *testing.T) {
	s := openScratch(t)
	b := holdUp(s)
	told := make(chan []string, 1) // what others see when the first writer is answered
	waiting := len(s.group.queues[0])
	b.done.Go(func() {
		if err := s.write(context.Background(), insert("first")); err != nil {
			t.Error(err)
		}
		told <- committed(t, s)
	})
	for len(s.group.queues[0]) == waiting {
		runtime.Gosched()
	}
	second := b.add(t.Context(), func(x *tx) error { // the first has run by now, in the same transaction
		for range 100 {
			runtime.Gosched()
		}
		if got := committed(t, s); len(got) > 0 {
			t.Errorf("others see %q before the commit", got)
		}
		if len(told) > 0 {
			t.Error("the first writer was answered before the commit")
		}
		return insert("second")(x)
	})
	b.run()
	if got := <-told; len(got) != 2 || *second != nil {
		t.Errorf("when the first writer was answered, others saw %q (%v), want both", got, *second)
	}
}

func TestDurabilitySettings(t *testing.T) {
	s := openScratch(t)
	for pragma, want := range map[string][2]string{ // of readers, of the writer
		"journal_mode": {"wal", "wal"}, "synchronous": {"2", "2"}, "foreign_keys": {"1", "1"}, "busy_timeout": {"5000", "5000"}, "cache_size": {"-4000", "-16000"},
	} {
		var read, write any
		if err := s.queryRow(t.Context(), "PRAGMA "+pragma).Scan(&read); err != nil {
			t.Fatal(err)
		}
		err := s.write(t.Context(), func(x *tx) error { return x.queryRow(t.Context(), "PRAGMA "+pragma).Scan(&write) })
		if err != nil || fmt.Sprint(read) != want[0] || fmt.Sprint(write) != want[1] {
			t.Errorf("%s is %v for readers and %v for the writer (%v), want %s", pragma, read, write, err, want)
		}
	}
	if err := s.queryRow(t.Context(), `INSERT INTO scratch (name) VALUES ('x') RETURNING 1`).Scan(new(int)); err == nil || errors.Is(err, sql.ErrNoRows) {
		t.Error("a reading connection can write")
	}
}

func TestGroupSkipsWhoLeftBeforeTheirTurn(t *testing.T) {
	s := openScratch(t)
	b := holdUp(s)
	ctx, cancel := context.WithCancel(t.Context())
	left := b.add(ctx, insert("left"))
	stayed := b.add(t.Context(), insert("stayed"))
	cancel()
	b.run()
	if !errors.Is(*left, context.Canceled) || *stayed != nil {
		t.Errorf("ended with %v and %v", *left, *stayed)
	}
	if got := committed(t, s); !slices.Equal(got, []string{"stayed"}) {
		t.Errorf("rows %q", got)
	}
	if err := s.write(ctx, insert("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("a write with an ended context: %v", err)
	}
}

// TestGroupFinishesWhatBegan: a context that ends during its write ends nothing, least of all the writes of others. SQLite
// answers an interrupted INSERT by rolling back the whole transaction.
func TestGroupFinishesWhatBegan(t *testing.T) {
	s := openScratch(t)
	b := holdUp(s)
	ctx, cancel := context.WithCancel(t.Context())
	before := b.add(t.Context(), insert("before"))
	begun := b.add(ctx, func(x *tx) error {
		cancel()
		if _, err := x.exec(ctx, `INSERT INTO scratch (name) VALUES ('begun')`); err != nil {
			return err
		}
		var n int
		return x.queryRow(ctx, `SELECT COUNT(*) FROM scratch`).Scan(&n)
	})
	after := b.add(t.Context(), insert("after"))
	b.run()
	if *before != nil || *begun != nil || *after != nil {
		t.Errorf("ended with %v, %v, %v", *before, *begun, *after)
	}
	if got := committed(t, s); len(got) != 3 {
		t.Errorf("rows %q", got)
	}
}

// TestGroupLosesAllOrNothing: when SQLite gives the whole transaction up by itself, what comes later in the
// batch must not be committed on its own, because its writer is told that it failed.
func TestGroupLosesAllOrNothing(t *testing.T) {
	s := openScratch(t)
	b := holdUp(s)
	before := b.add(t.Context(), insert("before"))
	lost := b.add(t.Context(), func(x *tx) error {
		_, err := x.exec(t.Context(), `INSERT OR ROLLBACK INTO scratch (name) VALUES ('before')`)
		return err
	})
	after := b.add(t.Context(), insert("after"))
	b.run()
	if *before == nil || *lost == nil || *after == nil {
		t.Errorf("ended with %v, %v, %v, want errors", *before, *lost, *after)
	}
	if got := committed(t, s); len(got) > 0 {
		t.Errorf("rows %q, though every writer was told of a failure", got)
	}
	if err := s.write(t.Context(), insert("next")); err != nil {
		t.Errorf("the next write: %v", err)
	}
	if got := committed(t, s); !slices.Equal(got, []string{"next"}) {
		t.Errorf("rows %q", got)
	}
}

// The same inside a closure that goes on after its own savepoint failed, as Redeem does.
func TestGroupRunsNothingInALostTransaction(t *testing.T) {
	s := openScratch(t)
	err := s.write(t.Context(), func(x *tx) error {
		_ = x.savepoint(func() error {
			return errors.Join(insert("a")(x), func() error {
				_, err := x.exec(t.Context(), `INSERT OR ROLLBACK INTO scratch (name) VALUES ('a')`)
				return err
			}())
		})
		_ = insert("b")(x) // without a transaction this would be durable at once
		return nil
	})
	if got := committed(t, s); err == nil || len(got) > 0 {
		t.Errorf("ended with %v, rows %q", err, got)
	}
}

func TestGroupReportsAFailedCommitToAll(t *testing.T) {
	s := openScratch(t)
	b := holdUp(s)
	good := b.add(t.Context(), insert("good"))
	orphan := b.add(t.Context(), func(x *tx) error { // found out only by COMMIT
		_, err := x.exec(t.Context(), `INSERT INTO scratch (name, parent) VALUES ('orphan', 'nobody')`)
		return err
	})
	b.run()
	for _, err := range []error{*good, *orphan} {
		if err == nil || !strings.Contains(err.Error(), "commit") {
			t.Errorf("ended with %v", err)
		}
	}
	if got := committed(t, s); len(got) > 0 {
		t.Errorf("rows %q", got)
	}
	if err := s.write(t.Context(), insert("next")); err != nil {
		t.Errorf("the next write: %v", err)
	}
}

func TestGroupSize(t *testing.T) {
	s := openScratch(t)
	b := holdUp(s)
	seen := map[int]int{} // rows committed by earlier transactions → closures that ran then; the writer alone fills it
	var outcomes []*error
	for i := range 300 {
		outcomes = append(outcomes, b.add(t.Context(), func(x *tx) error {
			seen[len(committed(t, s))]++
			return insert(fmt.Sprintf("%03d", i))(x)
		}))
	}
	b.run()
	for _, err := range outcomes {
		if *err != nil {
			t.Fatal(*err)
		}
	}
	if seen[0] != 128 || seen[128] != 128 || seen[256] != 44 || len(seen) != 3 {
		t.Errorf("batches (rows before: size) %v, want 128, 128 and 44", seen)
	}
}

func TestGroupKeepsTheOrderOfTheQueue(t *testing.T) {
	s := openScratch(t)
	b := holdUp(s)
	var order []int
	for i := range 50 {
		b.add(t.Context(), func(*tx) error {
			order = append(order, i)
			return nil
		})
	}
	b.run()
	if len(order) != 50 || !slices.IsSorted(order) {
		t.Errorf("ran in the order %v", order)
	}
}

func TestCloseWaitsForWhatWasQueued(t *testing.T) {
	s := openScratch(t)
	b := holdUp(s)
	first := b.add(t.Context(), insert("first"))
	second := b.add(t.Context(), insert("second"))
	closed := make(chan error, 2)
	for range 2 { // closing twice at once is fine
		b.done.Go(func() { closed <- s.Close() })
	}
	for { // until Close has shut the door
		s.group.mu.RLock()
		stopped := s.group.stopped
		s.group.mu.RUnlock()
		if stopped {
			break
		}
		runtime.Gosched()
	}
	if err := s.write(t.Context(), insert("late")); !errors.Is(err, errStopped) {
		t.Errorf("a write after Close: %v", err)
	}
	select {
	case <-closed:
		t.Error("Close did not wait")
	default:
	}
	b.run()
	if err := errors.Join(<-closed, <-closed, *first, *second); err != nil {
		t.Error(err)
	}
	if err := s.write(t.Context(), insert("later")); !errors.Is(err, errStopped) {
		t.Errorf("a write after Close: %v", err)
	}
	if _, err := s.query(t.Context(), `SELECT name FROM scratch`); err == nil {
		t.Error("a read after Close works")
	}
}

func TestWritersWaitForRoomInTheQueue(t *testing.T) {
	s := openScratch(t)
	b := holdUp(s)
	for range queueSize {
		b.add(t.Context(), func(*tx) error { return nil })
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.write(ctx, insert("no room")); !errors.Is(err, context.Canceled) {
		t.Errorf("a write without room: %v", err)
	}
	b.run()
}

// TestGroupRunsAgainWhenAClosureFails: a batch runs without savepoints until one is needed, and then once more with them. Who fails without
// having changed anything needs none.
func TestGroupRunsAgainWhenAClosureFails(t *testing.T) {
	refused := errors.New("refused")
	found := func(x *tx) error {
		var one int
		return x.queryRow(context.Background(), `SELECT 1 FROM scratch WHERE name = $1`, "nobody").Scan(&one)
	}
	for name, c := range map[string]struct {
		second func(*tx) error
		runs   int
	}{
		"nobody fails":         {insert("second"), 1},
		"it read, and refuses": {func(x *tx) error { return errors.Join(found(x), refused) }, 1},
		"it changed nothing, and refuses": {func(x *tx) error {
			_, err := x.exec(context.Background(), `DELETE FROM scratch WHERE name = 'nobody'`)
			return errors.Join(err, refused)
		}, 1},
		"it changed something, and fails": {func(x *tx) error { return errors.Join(insert("second")(x), refused) }, 2},
		"a statement fails, and it goes on": {func(x *tx) error {
			_ = insert("first")(x)
			return nil
		}, 2},
		"its own savepoint fails": {func(x *tx) error {
			_ = x.savepoint(func() error { return errors.Join(insert("second")(x), refused) })
			return nil
		}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := openScratch(t)
			b := holdUp(s)
			runs := 0
			first := b.add(t.Context(), func(x *tx) error { runs++; return insert("first")(x) })
			second := b.add(t.Context(), c.second)
			third := b.add(t.Context(), insert("third"))
			b.run()
			if *first != nil || *third != nil || runs != c.runs {
				t.Errorf("first ran %d times and ended with %v, third with %v", runs, *first, *third)
			}
			want := []string{"first", "third"}
			if name == "nobody fails" {
				want = []string{"first", "second", "third"}
			}
			if got := committed(t, s); !slices.Equal(got, want) {
				t.Errorf("rows %q after %v", got, *second)
			}
		})
	}
}

// TestChainOfWhatWasUndone: a record that was undone leaves no gap in the chain (T-52), whether it was alone, one of a batch, or behind a
// savepoint of its own; and those that an earlier version left unlinked are linked between the others.
func TestChainOfWhatWasUndone(t *testing.T) {
	s := openScratch(t)
	refused := errors.New("refused")
	now := time.UnixMilli(1_700_000_000_000)
	record := func(x *tx) error {
		return x.record(context.Background(), audit.New(now, "", "system", "test.done", ""))
	}
	fails := func(x *tx) error { return errors.Join(record(x), refused) }
	inside := func(x *tx) error {
		_ = x.savepoint(func() error { return fails(x) })
		return record(x)
	}
	unlinked := func(x *tx) error {
		_, err := x.exec(context.Background(), `INSERT INTO audit (id, at, account_id, app_id, actor, action, target, outcome, note) VALUES ('old', 1, '', '', '', '', '', '', '')`)
		return err
	}
	if err := s.write(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	if err := s.write(t.Context(), fails); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	linked := make(chan error, 1)
	b := holdUp(s)
	for _, fn := range []func(*tx) error{record, fails, inside, unlinked} {
		b.add(t.Context(), fn)
	}
	b.run()
	b = holdUp(s)
	b.add(t.Context(), record)
	go func() {
		_, _, err := s.LinkAudit(t.Context(), "me", now, now.Add(time.Minute), 10, audit.Head.Next)
		linked <- err
	}()
	for len(s.group.queues[0]) < 2 {
		runtime.Gosched()
	}
	b.add(t.Context(), record)
	b.run()
	if err := <-linked; err != nil {
		t.Fatal(err)
	}
	report, err := audit.Verify(s.AuditChain(t.Context()), nil)
	if err != nil || report.Links != 6 || len(report.Faults) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
