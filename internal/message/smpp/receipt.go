package smpp

import (
	"bytes"
	"strings"
)

// This file owns delivery receipts (SMPP 3.4 appendix B): the form is the vendor's, the parts below are what all have.

// State is what became of a message.
type State string

// States of a message. All but Enroute and Accepted are final.
const (
	Enroute       State = "ENROUTE"
	Delivered     State = "DELIVRD"
	Expired       State = "EXPIRED"
	Deleted       State = "DELETED"
	Undeliverable State = "UNDELIV"
	Accepted      State = "ACCEPTD"
	Unknown       State = "UNKNOWN"
	Rejected      State = "REJECTD"
)

var states = []State{Enroute, Delivered, Expired, Deleted, Undeliverable, Accepted, Unknown, Rejected} // message_state counts from 1

// Receipt is the message centre's report on one message.
type Receipt struct {
	ID    string // as the answer to its submission named it
	State State
	Error string // the network's error number, "" when there is none
}

// receiptOf reads a receipt; ok is false when it names no message, or no state that there is.
func receiptOf(d delivery) (r Receipt, ok bool) {
	text := string(d.text[:min(len(d.text), 1000)])
	r.ID, r.State = word(text, "id:"), State(strings.ToUpper(word(text, "stat:")))
	if err := word(text, "err:"); strings.Trim(err, "0") != "" {
		r.Error = err
	}
	if id, _, _ := bytes.Cut(d.parameters[tagReceiptedID], []byte{0}); len(id) > 0 && len(id) < maxID {
		r.ID = string(id)
	}
	if state := d.parameters[tagMessageState]; len(state) == 1 && state[0] >= 1 && int(state[0]) <= len(states) {
		r.State = states[state[0]-1]
	}
	known := false
	for _, s := range states {
		known = known || s == r.State
	}
	return r, known && r.ID != "" && printable(r.ID) && printable(r.Error)
}

// word returns what follows name, at most as much of it as an id may have.
func word(text, name string) string {
	for w := range strings.SplitSeq(text, " ") {
		if len(w) >= len(name) && strings.EqualFold(w[:len(name)], name) {
			return w[len(name):min(len(w), len(name)+maxID-1)]
		}
	}
	return ""
}

func printable(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
