// Package audit owns the audit record: who did what to what, and how it ended.
//
// A record is inserted in the transaction of the change that it tells of
// (INV-10). It never carries a secret, and phone numbers only masked (INV-8).
package audit

import (
	"strings"
	"time"

	"countersign.dev/internal/ident"
)

// Record is one entry.
type Record struct {
	ID        string
	At        time.Time
	AccountID string
	AppID     string // "" for what concerns no application
	Actor     string // "app:<id>", "device:<id>", "operator:<id>", "command" (somebody at the server's command line), "system", "person" (not yet known)
	Action    string // dotted, for example "approval.approved"
	Target    string // "user:<id>", "approval:<uuid>", …
	Outcome   string // "ok" or the code of the refusal
	Note      string // short, for people
}

// OK is the outcome of an action that was done.
const OK = "ok"

// New returns a record of something that was done.
func New(now time.Time, appID, actor, action, target string) Record {
	return Record{ID: ident.New(now), At: now, AppID: appID, Actor: actor, Action: action, Target: target, Outcome: OK}
}

// Subject returns the id of what r is about when that is of the kind, "user" for one, and "" otherwise.
func (r Record) Subject(kind string) string {
	if of, id, _ := strings.Cut(r.Target, ":"); of == kind {
		return id
	}
	return ""
}

// Refused returns a copy of r that tells of a refusal.
func (r Record) Refused(code string) Record {
	r.Outcome = code
	return r
}

// Noting returns a copy of r with a note.
func (r Record) Noting(note string) Record {
	r.Note = note
	return r
}
