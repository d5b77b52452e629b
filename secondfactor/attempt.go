// This file owns the attempt: its fields and its states. It does no HTTP, no SQL and no calls.

package secondfactor

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"countersign.dev/client"
)

// State is where an attempt stands.
type State string

// The states. Waiting ones first, then approved, then the final ones.
const (
	Choosing    State = "choosing"     // nothing is asked: not yet, or the provider could not be reached, or it asks no device and there is no code to wait for
	PushPending State = "push_pending" // a device was asked
	CodePending State = "code_pending" // a code is awaited; a request to a device may still be alive
	Approved    State = "approved"     // to be consumed by the browser it belongs to
	Denied      State = "denied"
	Expired     State = "expired"
	Cancelled   State = "cancelled"
	Locked      State = "locked" // too many wrong codes
	Consumed    State = "consumed"
)

// waiting reports whether a decision is still possible.
func (s State) waiting() bool { return s == Choosing || s == PushPending || s == CodePending }

// Is reports whether the state is one of these; templates ask it.
func (s State) Is(words ...State) bool { return slices.Contains(words, s) }

// final reports whether the state can never change.
func (s State) final() bool { return !s.waiting() && s != Approved }

// Purpose is what an attempt is for. An approval for one purpose never serves another.
type Purpose string

// The purposes.
const (
	ForLogin   Purpose = "login"
	ForEnrol   Purpose = "enrol"         // the factor is being set up; completing it signs in
	ForStepUp  Purpose = "step_up"       // one act of a signed-in person
	ForConfirm Purpose = "confirm"       // a signed-in person wants to change settings
	ForChange  Purpose = "factor_change" // a signed-in person proves a new factor, such as a new number
)

// Method is how a person proves the factor.
type Method string

// The methods.
const (
	Push     Method = "push"     // approve on a device
	Code     Method = "code"     // a code from a device
	SMS      Method = "sms"      // a code sent by text message
	Call     Method = "call"     // a code spoken by a call
	Recovery Method = "recovery" // a recovery code; it signs in once, and a new device should follow
	Trusted  Method = "trusted"  // none: the browser is trusted
)

// Why a request was denied, in the provider's words. Any other word, or none, is a plain no.
const (
	ReasonWrongNumber = "number-mismatch" // another number than the page shows was typed
	ReasonNotMe       = "not-me"          // the person did not start this
)

// Notice is the last thing that went otherwise than hoped, or needs saying, in an attempt. The page has a sentence for each.
type Notice string

// The notices.
const (
	NoticeNone        Notice = ""
	NoticeNoDevice    Notice = "no_device"      // the provider knows no device of this user
	NoticePaused      Notice = "push_paused"    // the provider refuses more requests for now: too many were denied or not answered
	NoticeAskedAgain  Notice = "push_again"     // the device was told of the same request once more
	NoticeAskedEnough Notice = "push_enough"    // asked for too soon, or often enough
	NoticeStopped     Notice = "push_stopped"   // the person said "not me" a while ago
	NoticeNotAsked    Notice = "push_refused"   // the provider does not ask for another reason; asking again will not help
	NoticeUnreachable Notice = "unreachable"    // the provider did not answer
	NoticeUnconfirmed Notice = "unconfirmed"    // the provider does not confirm the approval, or its receipt is for something else
	NoticeWrong       Notice = "code_wrong"     // wrong, used and too old look the same
	NoticeMalformed   Notice = "code_malformed" // not 6 to 8 digits; not counted
	NoticeSuspended   Notice = "suspended"      // provider 60017
	NoticeLimited     Notice = "limited"        // provider 60003
	NoticeSent        Notice = "sms_sent"
	NoticeIgnored     Notice = "sms_ignored" // not sent, because there is an authenticator
	NoticeWait        Notice = "sms_wait"    // asked again too soon
	NoticeNotSent     Notice = "sms_failed"
	NoticeReplaced    Notice = "replaced"         // cancelled by a newer attempt of the same browser
	NoticeEnded       Notice = "ended"            // cancelled from elsewhere: the person was signed out there, or the factor was changed
	NoticeStale       Notice = "stale"            // a form of an older attempt was sent
	NoticeNoRecovery  Notice = "recovery_wrong"   // wrong and used recovery codes look the same
	NoticeNoMoreTries Notice = "recovery_limited" // too many wrong recovery codes within an hour
)

// Ask is what a person is asked: everything that the device shows, and what it does not show.
type Ask struct {
	Message string         // at most 200 characters
	Details []client.Field // shown in this order
	Hidden  []client.Field // never shown; part of what is signed
	Logo    string         // absolute URL of a PNG, "" for none
}

// Attempt is one try of one browser to prove a factor. Only stores need its fields.
type Attempt struct {
	ID      string // random; names the attempt in logs
	Version int64  // counts writes; a write is conditional on it
	Browser string // hash of the pending cookie
	State   State
	Purpose Purpose

	User      string // the application's id of the person
	AuthyID   int64
	Keys      []string // pinned device keys, nil when none are
	Stamp     string   // [Person.Stamp]
	Ask       Ask
	Origin    Origin // where the request to begin came from
	Recovery  bool   // the person has recovery codes
	Calls     bool   // calls are offered
	AppCodes  bool   // codes of an authenticator may stand for an act
	Trusted   string // id of the trust that stands in for the factor, "" without
	Ref       string // of the act, for a step-up
	Digest    string // of the act's exact values, for a step-up
	Session   string // hash of the session that asked, for whatever a signed-in person does
	ReturnTo  string // local path to stand on afterwards
	StartOver string // local path to begin again

	Request     string    // UUID of the live or last approval request, "" when none was made
	Match       string    // number to be typed on the device, "" without one
	Device      string    // where the request is, in words, "" when unknown
	Requests    int       // approval requests made
	RequestEnds time.Time // when the live request runs out, by this clock
	AskedAt     time.Time // when the device was last told of it
	RequestOver bool      // the provider said that the request ended without an answer
	RestsUntil  time.Time // before then the provider asks no device; zero when it does, or does not say
	NoDevice    bool      // the provider said that there is nobody to ask
	Reason      string    // why the request was denied, such as [ReasonNotMe]

	Method     Method // that led to approved
	Notice     Notice
	Phone      string // masked, as the provider told it when a text message was sent
	WrongCodes int
	Sends      int
	SentBy     Method // how the last code was asked for, whether or not it went out
	CodeSent   Method // how the last one was sent that the provider said went out, "" when none did
	SentAt     time.Time
	WaitUntil  time.Time // when the provider will listen again, where a notice says that it does not

	CreatedAt time.Time
	ExpiresAt time.Time // the attempt's own end; after approval, the end of the approval
}

// at is the attempt as it stands at a time: what ran out reads as expired, whether or not that was written.
func (a Attempt) at(now time.Time) Attempt {
	if !a.State.final() && !now.Before(a.ExpiresAt) {
		a.State = Expired
	}
	return a
}

// pushLive reports whether a device may still answer.
func (a Attempt) pushLive(now time.Time) bool {
	return a.awaitsPush() && now.Before(a.RequestEnds)
}

// awaitsPush reports whether the provider has not said yet how the last request ended. It may know better than our clock.
func (a Attempt) awaitsPush() bool {
	return a.State.waiting() && a.Request != "" && !a.RequestOver
}

// shown is the state in the words of the page: a request that ran out reads as expired, although another may be sent.
func (a Attempt) shown(now time.Time) State {
	a = a.at(now)
	if a.State == PushPending && !a.pushLive(now) {
		return Expired
	}
	return a.State
}

// methods are the ways that are open now. An act is approved on a device, because only there its values are shown; a person without
// any device may use a text message, whose words name the act. An app code stands for an act only where the application says so, because it cannot
// name one. Where keys are pinned no code of the provider counts: that it is right is the provider's word alone. Recovery codes are this package's own.
func (a Attempt) methods(now time.Time) []Method {
	var ways []Method
	switch {
	case !a.at(now).State.waiting():
		return []Method{}
	case len(a.Keys) > 0:
		ways = []Method{Push}
	case a.Purpose == ForStepUp:
		ways = []Method{Push}
		if a.NoDevice {
			ways = []Method{SMS}
		}
		if a.AppCodes {
			ways = append(ways, Code)
		}
	case a.Purpose == ForChange:
		ways = []Method{SMS, Push, Code}
	case a.Purpose == ForConfirm && a.NoDevice:
		return []Method{} // a text message alone changes no settings: logging in again, with the password, does
	case a.Purpose == ForConfirm:
		ways = []Method{Push, Code}
	case a.NoDevice:
		ways = []Method{SMS, Code}
	default:
		ways = []Method{Push, Code, SMS}
	}
	// Nobody listens to an amount that is read out: an act is never confirmed by a call.
	if a.Calls && a.Purpose != ForStepUp && slices.Contains(ways, SMS) {
		ways = append(ways, Call)
	}
	if a.Recovery && a.Purpose == ForLogin {
		ways = append(ways, Recovery)
	}
	return ways
}

// may reports whether a way is open now.
func (a Attempt) may(method Method, now time.Time) bool {
	return slices.Contains(a.methods(now), method)
}

// waitFor notes how long the provider will not listen, 0 for unknown.
func (a *Attempt) waitFor(wait time.Duration, now time.Time) {
	a.WaitUntil = time.Time{}
	if wait > 0 {
		a.WaitUntil = now.Add(wait)
	}
}

// mayType reports whether a typed code can be right: that of an authenticator, or one that was sent.
func (a Attempt) mayType(now time.Time) bool {
	return a.may(Code, now) || a.may(SMS, now) && a.CodeSent != ""
}

// rests reports whether the provider said that it asks no device now.
func (a Attempt) rests(now time.Time) bool { return now.Before(a.RestsUntil) }

// unasked is the state of a waiting attempt while no device is asked.
func (a Attempt) unasked(now time.Time) State {
	if a.mayType(now) {
		return CodePending
	}
	return Choosing
}

// tag names the attempt to the page, so that a tab notices when a newer attempt took its place. It carries no authority.
func (a Attempt) tag() string { return hashOf("tag|" + a.ID)[:12] }

// Errors of changes that come too late. Nobody is told more than the page then shows.
var (
	errOver    = errors.New("secondfactor: the attempt is over")
	errDecided = errors.New("secondfactor: already decided")
	errOther   = errors.New("secondfactor: not this attempt's request")
)

// attach notes a new approval request.
func (a *Attempt) attach(request client.Approval, device string, life time.Duration, now time.Time) error {
	if !a.at(now).State.waiting() {
		return errOver
	}
	a.State, a.Notice, a.NoDevice, a.RestsUntil = PushPending, NoticeNone, false, time.Time{}
	a.Request, a.RequestOver, a.RequestEnds = request.UUID, false, now.Add(life)
	a.AskedAt, a.Device = now, device
	a.Requests++
	a.Match = ""
	if request.Match != nil {
		a.Match = request.Match.Value
	}
	return nil
}

// decide takes the provider's word on a request. The first decision wins: what is approved or final stays. Only the two exact
// words decide; an end without answer is noted, and any other word changes nothing.
func (a *Attempt) decide(request string, said client.Approval, unused time.Duration, now time.Time) error {
	switch {
	case a.Request != request || a.AuthyID != said.AuthyID:
		return errOther
	case !a.at(now).State.waiting():
		return errDecided
	}
	switch said.Status {
	case client.StatusApproved:
		a.approve(Push, unused, now)
	case client.StatusDenied:
		a.State, a.Notice, a.Reason = Denied, NoticeNone, said.Reason
	case client.StatusExpired, client.StatusCancelled:
		if a.RequestOver {
			return errDecided
		}
		a.RequestOver = true
	default:
		return errDecided
	}
	return nil
}

// approve makes the attempt ready to be consumed, for a short time.
func (a *Attempt) approve(by Method, unused time.Duration, now time.Time) {
	a.State, a.Method, a.Notice = Approved, by, NoticeNone
	a.ExpiresAt = now.Add(unused)
}

// digest binds an act to its exact values, in their order.
func (a Act) digest() string {
	fields := func(list []client.Field) [][2]string {
		pairs := make([][2]string, len(list))
		for i, f := range list {
			pairs[i] = [2]string{f.Name, f.Value}
		}
		return pairs
	}
	// Strings and lists of strings always encode.
	text, _ := json.Marshal([]any{"countersign.act", a.Ref, a.Ask.Message, fields(a.Ask.Details), fields(a.Ask.Hidden)})
	return hashOf(string(text))
}

// Origin is where a browser's request came from.
type Origin struct {
	Browser string // what the browser says of itself, in a few words
	Address string // network address, "" when unknown
}

// hashOf is how cookie values are stored: they are random and long, so a plain hash cannot be reversed.
func hashOf(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
