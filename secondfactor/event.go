// This file owns what the application is told beside what was completed: things that the owner of the account should hear of.

package secondfactor

import "context"

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	Refused        EventKind = "denied"          // the person said no
	NotMe          EventKind = "not_me"          // the person said that somebody else did this: the password is known to others
	WrongNumber    EventKind = "wrong_number"    // another number than the page showed was typed on the device
	TooManyCodes   EventKind = "locked"          // wrong codes ended an attempt
	RecoveryUsed   EventKind = "recovery_used"   // a recovery code was used; Left says how many remain
	BrowserTrusted EventKind = "browser_trusted" // a browser is trusted from now on
	TrustStolen    EventKind = "trust_stolen"    // a copy of a trusted browser's cookie was used; that trust has ended
)

// Event is something that happened to a person's account. Tell the owner of it: it carries no secrets.
type Event struct {
	Kind    EventKind
	User    string
	Purpose Purpose
	Origin  Origin // of the browser that it happened in
	Left    int    // recovery codes left
}

// tell hands an event to the application.
func (g *Guard) tell(ctx context.Context, a Attempt, e Event) {
	e.User, e.Purpose, e.Origin = a.User, a.Purpose, a.Origin
	g.config.Log.InfoContext(ctx, "account event", "kind", e.Kind, "attempt", a.ID, "user", e.User)
	if g.config.Happened != nil {
		g.config.Happened(ctx, e)
	}
}
