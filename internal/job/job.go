// Package job owns durable work: the job as a value, the runner, and the retry schedule.
//
// A job is inserted in the transaction of the fact that causes it, already
// leased to the process that inserts it; after the commit it is offered to the
// runner, which starts it at once. When the process dies, or the runner is
// full, the lease ends and whoever polls next takes it. So a job runs at least
// once, and usually within a millisecond of its commit.
package job

import (
	"math/rand/v2"
	"time"

	"countersign.dev/internal/ident"
)

// Kind names what a job does; the runner has one handler for each.
type Kind string

const (
	Callback   Kind = "callback"   // Ref: the approval's uuid
	Push       Kind = "push"       // Ref: the approval's uuid; Payload: the device's id
	Message    Kind = "message"    // Ref: channel and masked address; Payload: a sealed message.Message
	Report     Kind = "report"     // Ref: the message's id; asks its gateway what became of it
	Webhook    Kind = "webhook"    // Ref: the audit record's id; AppID: the webhook's
	Enrollment Kind = "enrollment" // Ref: the enrolment's id; becomes a Message, with its Payload, if somebody has the number
)

// Job is one piece of durable work.
type Job struct {
	ID        string
	Kind      Kind
	AppID     string // who it is done for, an application or one of its webhooks: nobody's jobs hold up another's
	Ref       string
	Payload   []byte
	Trace     string // traceparent of its cause; "" = not traced
	Attempts  int    // how often it was claimed, this time included
	CreatedAt time.Time
	RunAt     time.Time // when it is due, or when the lease of who runs it ends

	// About is what Ref names, for a handler in the process that made the job, which knows it and need not read it; nil: it is read. It is not kept,
	// and may be only what never changes.
	About any
}

// Lease is how long a started job belongs to who started it.
const Lease = 45 * time.Second

// New returns a job created at now, leased to the caller.
func New(kind Kind, appID, ref string, now time.Time) Job {
	return Job{ID: ident.New(now), Kind: kind, AppID: appID, Ref: ref, Attempts: 1, CreatedAt: now, RunAt: now.Add(Lease)}
}

// schedule is the wait before the second, third, … attempt of a callback or message: quick at first,
// because a receiver that restarts is back in seconds, then patient for a day.
var schedule = []time.Duration{
	time.Second, 4 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 8 * time.Hour,
}

// Backoff returns how long j waits for its next attempt, with up to a fifth of jitter, and false when it is time to give
// up. It enters the schedule where both its attempts and its age have brought it. Attempts alone would end a job early
// that was claimed again and again while its lane was full; age alone would end one early that was held for a day and released.
func (j Job) Backoff(now time.Time) (time.Duration, bool) {
	step := max(0, min(j.Attempts-1, stepAt(now.Sub(j.CreatedAt))))
	if step == len(schedule) {
		return 0, false
	}
	d := schedule[step]
	return d + rand.N(d/5+1), true
}

// stepAt returns how many waits of the schedule are over at that age.
func stepAt(age time.Duration) int {
	for i, wait := range schedule {
		if age -= wait; age < 0 {
			return i
		}
	}
	return len(schedule)
}
