// This file owns the conformance suite of stores: memory, SQLite and PostgreSQL answer alike.

package secondfactor_test

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"

	"countersign.dev/client"
	"countersign.dev/internal/postgrestest"
	"countersign.dev/secondfactor"
)

// openSQLite returns a store in a new SQLite file.
func openSQLite(t *testing.T) secondfactor.Store {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return openSQL(t, db)
}

// openSQL opens a store twice, as a second start of the application does.
func openSQL(t *testing.T, db *sql.DB) secondfactor.Store {
	t.Helper()
	for range 2 {
		if _, err := secondfactor.OpenSQLStore(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	}
	store, err := secondfactor.OpenSQLStore(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestMemoryStore(t *testing.T) {
	testStore(t, func(*testing.T) secondfactor.Store { return secondfactor.NewMemoryStore() })
}

func TestSQLite(t *testing.T) { testStore(t, openSQLite) }

func TestPostgreSQL(t *testing.T) {
	db, err := sql.Open("pgx", postgrestest.Start(t).URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	testStore(t, func(t *testing.T) secondfactor.Store {
		t.Helper()
		store := openSQL(t, db)
		// One database for all tests of the suite: leave it as it was.
		t.Cleanup(func() {
			far := time.Now().AddDate(100, 0, 0)
			if err := store.Sweep(context.Background(), far, far, far); err != nil {
				t.Error(err)
			}
		})
		return store
	})
}

func testStore(t *testing.T, open func(*testing.T) secondfactor.Store) {
	for name, test := range map[string]func(*testing.T, secondfactor.Store){
		"attempt survives whole":               storeRoundTrip,
		"one of parallel updates wins":         storeUpdateRace,
		"final states never change":            storeFinal,
		"one of parallel consumes wins":        storeConsumeRace,
		"only approved is consumed":            storeConsumeStates,
		"step-up needs its session":            storeStepUp,
		"sessions":                             storeSessions,
		"sessions of a user":                   storeSessionsOf,
		"waiting attempts of a user":           storeAttemptsBy,
		"recovery codes":                       storeRecovery,
		"one of parallel recoveries wins":      storeRecoveryRace,
		"trusted browsers":                     storeTrusted,
		"INV-1 histories of a trusted browser": storeTrustHistory,
		"sweep leaves what is young":           storeSweep,
		"requests are found, each by one":      storeRequests,
		"a browser or a request comes once":    storeUnique,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

var epoch = time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC)

func newAttempt(browser string) secondfactor.Attempt {
	return secondfactor.Attempt{
		ID: "attempt-" + browser, Browser: browser, State: secondfactor.Choosing, Purpose: secondfactor.ForLogin,
		User: "ana", AuthyID: 1635, CreatedAt: epoch, ExpiresAt: epoch.Add(10 * time.Minute),
	}
}

// create stores a new attempt and returns it as read.
func create(t *testing.T, store secondfactor.Store, a secondfactor.Attempt) secondfactor.Attempt {
	t.Helper()
	if err := store.CreateAttempt(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	read, err := store.AttemptOf(t.Context(), a.Browser)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func storeRoundTrip(t *testing.T, store secondfactor.Store) {
	want := newAttempt("b")
	want.Keys = []string{"k1", "k2"}
	want.Ask = secondfactor.Ask{Message: "Größe \"1\" <b>", Details: []client.Field{{Name: "b", Value: "2"}, {Name: "a", Value: "1"}}, Logo: "https://l"}
	want.Stamp, want.Origin, want.Recovery, want.Trusted, want.Reason = "7", secondfactor.Origin{Browser: "Firefox", Address: "192.0.2.1"}, true, "t", secondfactor.ReasonNotMe
	want.AskedAt, want.Calls, want.SentBy, want.CodeSent = epoch, true, secondfactor.Call, secondfactor.SMS
	want.WaitUntil = epoch.Add(time.Hour)
	want.Ref, want.Digest, want.Session, want.ReturnTo, want.StartOver = "r", "d", "s", "/account", "/login"
	want.Request, want.Match, want.Requests, want.RequestEnds, want.RequestOver, want.NoDevice = "u", "12", 2, epoch.Add(time.Minute), true, true
	want.Method, want.Notice, want.Phone, want.WrongCodes, want.Sends, want.SentAt = secondfactor.SMS, secondfactor.NoticeWrong, "XX", 3, 1, epoch
	if diff := cmp.Diff(want, create(t, store, want)); diff != "" {
		t.Error(diff)
	}
	if _, err := store.AttemptOf(t.Context(), "nobody"); !errors.Is(err, secondfactor.ErrNotFound) {
		t.Errorf("unknown browser: %v", err)
	}
}

func storeUpdateRace(t *testing.T, store secondfactor.Store) {
	a := create(t, store, newAttempt("b"))
	if won := race(50, func() error { return store.UpdateAttempt(t.Context(), a) }, t); won != 1 {
		t.Errorf("%d of 50 updates of one version won", won)
	}
	if read, _ := store.AttemptOf(t.Context(), "b"); read.Version != a.Version+1 {
		t.Errorf("version %d after one update of %d", read.Version, a.Version)
	}
}

// race runs a write many times at once and counts successes; anything else must be a conflict.
func race(n int, write func() error, t *testing.T) int64 {
	t.Helper()
	var won atomic.Int64
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			switch err := write(); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, secondfactor.ErrConflict):
				t.Errorf("race: %v", err)
			}
		})
	}
	all.Wait()
	return won.Load()
}

func storeFinal(t *testing.T, store secondfactor.Store) {
	for _, state := range []secondfactor.State{
		secondfactor.Denied, secondfactor.Expired, secondfactor.Cancelled, secondfactor.Locked, secondfactor.Consumed,
	} {
		a := newAttempt(string(state))
		a.State = state
		a = create(t, store, a)
		a.State = secondfactor.Approved
		if err := store.UpdateAttempt(t.Context(), a); !errors.Is(err, secondfactor.ErrConflict) {
			t.Errorf("%s became approved: %v", state, err)
		}
		if err := store.Consume(t.Context(), a, "", secondfactor.Session{Hash: "h" + string(state)}); !errors.Is(err, secondfactor.ErrConflict) {
			t.Errorf("%s was consumed: %v", state, err)
		}
	}
}

func approvedAttempt(t *testing.T, store secondfactor.Store, browser string) secondfactor.Attempt {
	t.Helper()
	a := newAttempt(browser)
	a.State, a.Method = secondfactor.Approved, secondfactor.Push
	return create(t, store, a)
}

func session(hash string) secondfactor.Session {
	return secondfactor.Session{
		Hash: hash, ID: "id-" + hash, User: "ana", AuthyID: 1635, Method: secondfactor.Push, Stamp: "7", Browser: "Firefox", Address: "192.0.2.1",
		CreatedAt: epoch.Local(), SeenAt: epoch.Local(), ConfirmedAt: epoch.Local(), FreshUntil: epoch.Add(time.Minute).Local(), Trusted: "t", TrustAsked: true,
	}
}

func storeConsumeRace(t *testing.T, store secondfactor.Store) {
	a := approvedAttempt(t, store, "b")
	var n atomic.Int64
	hashes := make(chan string, 50)
	won := race(50, func() error {
		s := session("s" + string(rune('A'+n.Add(1))))
		err := store.Consume(t.Context(), a, "", s)
		if err == nil {
			hashes <- s.Hash
		}
		return err
	}, t)
	if won != 1 {
		t.Fatalf("%d of 50 consumes won", won)
	}
	for i := range 50 {
		_, err := store.Session(t.Context(), "s"+string(rune('A'+1+i)))
		if errors.Is(err, secondfactor.ErrNotFound) == (len(hashes) == 1 && "s"+string(rune('A'+1+i)) == peek(hashes)) {
			t.Errorf("session %d: %v", i, err)
		}
	}
	if read, _ := store.AttemptOf(t.Context(), "b"); read.State != secondfactor.Consumed {
		t.Errorf("state %s after consume", read.State)
	}
}

func peek(c chan string) string {
	s := <-c
	c <- s
	return s
}

func storeConsumeStates(t *testing.T, store secondfactor.Store) {
	for _, state := range []secondfactor.State{secondfactor.Choosing, secondfactor.PushPending, secondfactor.CodePending} {
		a := newAttempt(string(state))
		a.State = state
		a = create(t, store, a)
		if err := store.Consume(t.Context(), a, "", session(string(state))); !errors.Is(err, secondfactor.ErrConflict) {
			t.Errorf("%s was consumed: %v", state, err)
		}
	}
	a := approvedAttempt(t, store, "b")
	a.Version++
	if err := store.Consume(t.Context(), a, "", session("s")); !errors.Is(err, secondfactor.ErrConflict) {
		t.Errorf("another version was consumed: %v", err)
	}
}

func storeStepUp(t *testing.T, store secondfactor.Store) {
	for i, existing := range []bool{true, false} {
		name := string(rune('a' + i))
		if existing {
			if err := store.Consume(t.Context(), approvedAttempt(t, store, "login"), "", session("old")); err != nil {
				t.Fatal(err)
			}
		}
		a := newAttempt(name)
		a.State, a.Purpose, a.Session = secondfactor.Approved, secondfactor.ForStepUp, "old"
		a = create(t, store, a)
		err := store.Consume(t.Context(), a, "old", session("new"+name))
		if existing != (err == nil) || !existing && !errors.Is(err, secondfactor.ErrConflict) {
			t.Errorf("session exists: %v, consume: %v", existing, err)
		}
		if _, err := store.Session(t.Context(), "old"); !errors.Is(err, secondfactor.ErrNotFound) {
			t.Errorf("the old session lives: %v", err)
		}
	}
	if read, _ := store.AttemptOf(t.Context(), "b"); read.State == secondfactor.Consumed {
		t.Error("a refused consume left the attempt consumed")
	}
}

func storeSessions(t *testing.T, store secondfactor.Store) {
	ctx := t.Context()
	if err := store.Consume(ctx, approvedAttempt(t, store, "b"), "none", session("s")); err != nil {
		t.Fatal(err)
	}
	read, err := store.Session(ctx, "s")
	if diff := cmp.Diff(session("s"), read, cmp.Comparer(time.Time.Equal)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	want := session("s")
	want.SeenAt, want.FreshUntil, want.Trusted, want.TrustAsked = epoch.Add(time.Minute), time.Time{}, "", false
	changed := want
	changed.User, changed.Stamp, changed.CreatedAt = "eve", "8", epoch.Add(time.Hour) // what never changes
	if err := store.UpdateSession(ctx, changed); err != nil {
		t.Fatal(err)
	}
	read, err = store.Session(ctx, "s")
	if diff := cmp.Diff(want, read, cmp.Comparer(time.Time.Equal)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	for range 2 {
		if err := store.EndSession(ctx, "s"); err != nil {
			t.Fatal(err)
		}
		if err := store.UpdateSession(ctx, session("s")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Session(ctx, "s"); !errors.Is(err, secondfactor.ErrNotFound) {
		t.Errorf("ended session: %v", err)
	}
}

func storeSweep(t *testing.T, store secondfactor.Store) {
	ctx := t.Context()
	if err := store.Consume(ctx, approvedAttempt(t, store, "old"), "", session("s")); err != nil {
		t.Fatal(err)
	}
	young := newAttempt("young")
	young.ExpiresAt = epoch.Add(2 * time.Hour)
	create(t, store, young)
	if err := store.Sweep(ctx, epoch.Add(time.Hour), epoch, epoch); err != nil {
		t.Fatal(err)
	}
	if _, err := store.AttemptOf(ctx, "old"); !errors.Is(err, secondfactor.ErrNotFound) {
		t.Errorf("old attempt: %v", err)
	}
	if _, err := store.AttemptOf(ctx, "young"); err != nil {
		t.Errorf("young attempt: %v", err)
	}
	if _, err := store.Session(ctx, "s"); err != nil {
		t.Errorf("young session: %v", err)
	}
	if err := store.Sweep(ctx, epoch, epoch.Add(time.Millisecond), epoch.Add(time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Session(ctx, "s"); !errors.Is(err, secondfactor.ErrNotFound) {
		t.Errorf("old session: %v", err)
	}
}

func storeRequests(t *testing.T, store secondfactor.Store) {
	ctx := t.Context()
	a := create(t, store, newAttempt("a"))
	create(t, store, newAttempt("b"))
	for _, request := range []string{"first", "second"} {
		a.Request = request
		if err := store.UpdateAttempt(ctx, a); err != nil {
			t.Fatal(err)
		}
		a.Version++
		if found, err := store.AttemptFor(ctx, request); err != nil || found.Browser != "a" {
			t.Errorf("%s: %q, %v", request, found.Browser, err)
		}
	}
	for _, request := range []string{"first", "other", ""} {
		if _, err := store.AttemptFor(ctx, request); !errors.Is(err, secondfactor.ErrNotFound) {
			t.Errorf("request %q: %v", request, err)
		}
	}
}

func storeUnique(t *testing.T, store secondfactor.Store) {
	create(t, store, newAttempt("a"))
	if err := store.CreateAttempt(t.Context(), newAttempt("a")); !errors.Is(err, secondfactor.ErrConflict) {
		t.Errorf("second attempt of one cookie: %v", err)
	}
}

func storeSessionsOf(t *testing.T, store secondfactor.Store) {
	ctx := t.Context()
	for i, hash := range []string{"first", "second", "other"} {
		s := session(hash)
		s.CreatedAt = epoch.Add(time.Duration(i) * time.Minute)
		if hash == "other" {
			s.User = "bob"
		}
		if err := store.Consume(ctx, approvedAttempt(t, store, hash), "", s); err != nil {
			t.Fatal(err)
		}
	}
	list, err := store.SessionsOf(ctx, "ana")
	if err != nil || len(list) != 2 || list[0].Hash != "second" || list[1].Hash != "first" || list[1].ID != "id-first" {
		t.Errorf("%+v, %v", list, err)
	}
}

func storeAttemptsBy(t *testing.T, store secondfactor.Store) {
	for _, state := range []secondfactor.State{
		secondfactor.Choosing, secondfactor.PushPending, secondfactor.CodePending, secondfactor.Approved,
		secondfactor.Denied, secondfactor.Expired, secondfactor.Cancelled, secondfactor.Locked, secondfactor.Consumed,
	} {
		a := newAttempt("b-" + string(state))
		a.State = state
		create(t, store, a)
	}
	other := newAttempt("other")
	other.User = "bob"
	create(t, store, other)
	list, err := store.AttemptsBy(t.Context(), "ana")
	if err != nil || len(list) != 4 {
		t.Errorf("%d attempts, %v", len(list), err)
	}
	for _, a := range list {
		if a.User != "ana" || a.Browser != "b-"+string(a.State) {
			t.Errorf("attempt of %s in %s", a.User, a.State)
		}
	}
}

func storeRecovery(t *testing.T, store secondfactor.Store) {
	ctx := t.Context()
	none, err := store.Recovery(ctx, t.Name())
	if diff := cmp.Diff(secondfactor.RecoveryCodes{User: t.Name()}, none); diff != "" || err != nil {
		t.Error(err, diff)
	}
	want := secondfactor.RecoveryCodes{User: t.Name(), Salt: "salt", Hashes: []string{"a", "b"}, Wrong: 2, WrongAt: epoch, MadeAt: epoch}
	if err := store.PutRecovery(ctx, want); err != nil {
		t.Fatal(err)
	}
	want.Version = 1
	got, err := store.Recovery(ctx, t.Name())
	if diff := cmp.Diff(want, got, cmp.Comparer(time.Time.Equal)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	got.Hashes[0] = "changed by the caller"
	if again, _ := store.Recovery(ctx, t.Name()); again.Hashes[0] != "a" {
		t.Error("the store hands out what it keeps")
	}
}

// INV-1: of any number of writes on one version one wins, so that a code is spent once.
func storeRecoveryRace(t *testing.T, store secondfactor.Store) {
	ctx := t.Context()
	for version := range int64(3) {
		c := secondfactor.RecoveryCodes{User: t.Name(), Version: version, MadeAt: epoch, WrongAt: epoch}
		if won := race(50, func() error { return store.PutRecovery(ctx, c) }, t); won != 1 {
			t.Errorf("%d of 50 writes on version %d won", won, version)
		}
	}
}

func storeTrusted(t *testing.T, store secondfactor.Store) {
	ctx := t.Context()
	user := t.Name()
	b := secondfactor.TrustedBrowser{
		ID: user + "1", User: user, Stamp: "7", Hash: "h", Before: "g", RotatedAt: epoch, Browser: "Firefox", Address: "192.0.2.1",
		CreatedAt: epoch, SeenAt: epoch, ExpiresAt: epoch.Add(time.Hour),
	}
	if won := race(20, func() error { return store.PutTrusted(ctx, b) }, t); won != 1 {
		t.Errorf("%d of 20 inserts won", won)
	}
	b.Version = 1
	got, err := store.Trusted(ctx, b.ID)
	if diff := cmp.Diff(b, got, cmp.Comparer(time.Time.Equal)); diff != "" || err != nil {
		t.Error(err, diff)
	}
	if won := race(20, func() error { return store.PutTrusted(ctx, b) }, t); won != 1 {
		t.Errorf("%d of 20 rotations of one value won", won)
	}
	second := b
	second.ID, second.Version, second.CreatedAt, second.ExpiresAt = user+"2", 0, epoch.Add(time.Minute), epoch.Add(time.Hour+time.Minute)
	if err := store.PutTrusted(ctx, second); err != nil {
		t.Fatal(err)
	}
	list, err := store.TrustedOf(ctx, user)
	if err != nil || len(list) != 2 || list[0].ID != second.ID {
		t.Errorf("%+v, %v", list, err)
	}
	if err := store.RemoveTrusted(ctx, "bob", b.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Trusted(ctx, b.ID); err != nil {
		t.Errorf("removed by somebody else: %v", err)
	}
	for range 2 {
		if err := store.RemoveTrusted(ctx, user, b.ID); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Trusted(ctx, b.ID); !errors.Is(err, secondfactor.ErrNotFound) {
		t.Errorf("removed: %v", err)
	}
	if err := store.PutTrusted(ctx, b); !errors.Is(err, secondfactor.ErrConflict) {
		t.Errorf("a rotation brings a removed one back: %v", err)
	}
	if err := store.Sweep(ctx, epoch, epoch, epoch.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Trusted(ctx, second.ID); err != nil {
		t.Errorf("swept too early: %v", err)
	}
	if err := store.Sweep(ctx, epoch, epoch, epoch.Add(2*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := store.Trusted(ctx, second.ID); !errors.Is(err, secondfactor.ErrNotFound) {
		t.Errorf("not swept: %v", err)
	}
}
